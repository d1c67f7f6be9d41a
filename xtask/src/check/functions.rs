//! How long functions are.

use anyhow::Result;
use proc_macro2::{Delimiter, TokenTree};

use super::outcome::Outcome;
use super::rust::tokens;
use crate::tree::{Source, sources};

/// Lines from `fn` to the closing brace.
const LINES_MAX: usize = 100;

/// Functions that may have more, with their files, and why.
const LONG: &[(&str, &str, &str)] = &[
    ("host/crates/sandbox/src/tests/straight/guest.rs", "straight", "a test: a component as text"),
    (
        "host/src/commands/status/tests.rs",
        "shows_everything_in_tables",
        "a test: a whole status and its text",
    ),
    (
        "tests/guests/examples/capabilities.rs",
        "on_request_head",
        "a test's guest: one arm for each capability",
    ),
    ("tests/integration/reload.rs", "fifty_reloads", "a test: one story, told in order"),
];

/// A function and its lines.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    /// The line of its `fn`, from 1.
    line: usize,
    lines: usize,
}

pub(super) fn check() -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut listed: Vec<_> = LONG.iter().map(|(file, name, _)| (*file, *name)).collect();
    for source in sources(&[".rs"])? {
        for function in functions(&source)?.into_iter().filter(|function| function.lines > LINES_MAX) {
            let entry = (source.path.as_str(), function.name.as_str());
            match listed.iter().position(|listed| *listed == entry) {
                Some(at) => drop(listed.swap_remove(at)),
                None => outcome.findings.push(too_long(&source, &function)),
            }
        }
    }
    let stale = listed.iter().map(|(file, name)| {
        format!(
            "`{name}` in {file} is not long any more: take it out of the list in xtask/src/check/functions.rs"
        )
    });
    outcome.figures.extend(stale);
    Ok(outcome)
}

fn too_long(source: &Source, Function { name, line, lines }: &Function) -> String {
    format!("{}:{line}: `{name}` has {lines} lines, {LINES_MAX} are the most", source.path)
}

/// Returns the functions of a file that have a body, also those inside others.
fn functions(source: &Source) -> Result<Vec<Function>> {
    let mut found = Vec::new();
    collect(&tokens(source)?, &mut found);
    Ok(found)
}

fn collect(tokens: &[TokenTree], found: &mut Vec<Function>) {
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(word) if word == "fn" => found.extend(function(&tokens[at..])),
            TokenTree::Group(group) => {
                collect(&group.stream().into_iter().collect::<Vec<_>>(), found);
            }
            _ => {}
        }
    }
}

/// Reads a function that begins with the `fn` in front of `tokens`. A type such as `fn(u8)` has no name, and a method
/// without a body ends with a semicolon.
fn function(tokens: &[TokenTree]) -> Option<Function> {
    let (TokenTree::Ident(keyword), TokenTree::Ident(name)) = (tokens.first()?, tokens.get(1)?) else {
        return None;
    };
    let line = keyword.span().start().line;
    for token in &tokens[2..] {
        match token {
            TokenTree::Punct(mark) if mark.as_char() == ';' => return None,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let lines = group.span_close().end().line + 1 - line;
                return Some(Function { name: name.to_string(), line, lines });
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Function, functions, too_long};
    use crate::tree::Source;

    fn source(text: &str) -> Source {
        Source { path: "a.rs".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn lines_are_counted_from_the_name_to_the_brace() {
        let text = "/// Doc.\n#[inline]\nfn a(b: fn(u8)) -> u8\nwhere\n    u8: Copy,\n{\n    // }\n    1\n}\nimpl A { fn c() {} }\ntrait B { fn d(); }\n";
        let found = functions(&source(text)).unwrap();
        let lines: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
        assert_eq!(lines, [("a", 3, 7), ("c", 10, 1)]);
    }

    #[test]
    fn a_function_inside_another_is_found_too() {
        let found = functions(&source("fn a() {\n    fn b() {\n    }\n}\n")).unwrap();
        let lines: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.lines)).collect();
        assert_eq!(lines, [("a", 4), ("b", 2)]);
    }

    #[test]
    fn a_finding_names_the_place() {
        let function = Function { name: "f".to_owned(), line: 7, lines: 101 };
        assert_eq!(too_long(&source(""), &function), "a.rs:7: `f` has 101 lines, 100 are the most");
    }
}
