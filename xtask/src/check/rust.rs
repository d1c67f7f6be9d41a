//! Rust source as the checks see it: its tokens, without what is compiled for tests only.

use std::str::FromStr as _;

use anyhow::Result;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::tree::Source;

/// Returns the tokens of a file.
///
/// # Errors
/// If it is not Rust.
pub(super) fn tokens(source: &Source) -> Result<Vec<TokenTree>> {
    let tokens = TokenStream::from_str(&source.text)
        .map_err(|error| anyhow::anyhow!("{}: cannot be read as Rust: {error}", source.path))?;
    Ok(tokens.into_iter().collect())
}

/// Returns `tokens` without the items, fields and statements behind `#[cfg(test)]`, on every level.
pub(super) fn without_tests(tokens: Vec<TokenTree>) -> Vec<TokenTree> {
    let mut kept: Vec<TokenTree> = Vec::new();
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        match (&token, rest.peek()) {
            (TokenTree::Punct(mark), Some(TokenTree::Group(attribute)))
                if mark.as_char() == '#' && is_for_tests(attribute) =>
            {
                rest.next();
                skip_item(&mut rest);
            }
            (TokenTree::Group(group), _) => {
                let inside = without_tests(group.stream().into_iter().collect());
                let mut smaller = Group::new(group.delimiter(), inside.into_iter().collect());
                smaller.set_span(group.span());
                kept.push(TokenTree::Group(smaller));
            }
            _ => kept.push(token),
        }
    }
    kept
}

/// Whether an attribute is `cfg(test)` or `cfg(all(test, ...))`.
fn is_for_tests(attribute: &Group) -> bool {
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    attribute.delimiter() == Delimiter::Bracket && (text == "cfg(test)" || text.starts_with("cfg(all(test,"))
}

/// Skips what an attribute stands before: further attributes, then an item, a statement or a field.
fn skip_item(rest: &mut std::iter::Peekable<impl Iterator<Item = TokenTree>>) {
    let mut first_word = None;
    while let Some(token) = rest.next() {
        match token {
            TokenTree::Punct(mark) if mark.as_char() == '#' => {
                rest.next_if(|token| matches!(token, TokenTree::Group(_)));
            }
            TokenTree::Punct(mark) if mark.as_char() == ';' => return,
            // A field or an arm; the comma in `impl<A, B>` ends nothing.
            TokenTree::Punct(mark) if mark.as_char() == ',' && !is_item(first_word.as_deref()) => return,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                // In `use a::{b, c};` and `let a = B { c };` the end is still to come.
                let goes_on = ["use", "let", "static", "const"];
                if !first_word.as_deref().is_some_and(|word| goes_on.contains(&word)) {
                    return;
                }
            }
            TokenTree::Ident(word) if first_word.is_none() && word != "pub" => {
                first_word = Some(word.to_string());
            }
            _ => {}
        }
    }
}

fn is_item(first_word: Option<&str>) -> bool {
    const ITEMS: [&str; 15] = [
        "async", "const", "enum", "extern", "fn", "impl", "let", "mod", "static", "struct", "trait", "type",
        "union", "unsafe", "use",
    ];
    first_word.is_some_and(|word| ITEMS.contains(&word))
}

#[cfg(test)]
mod tests {
    use proc_macro2::{TokenStream, TokenTree};

    use super::{tokens, without_tests};
    use crate::tree::Source;

    fn left(text: &str) -> String {
        let source = Source { path: "a.rs".to_owned(), text: text.to_owned() };
        let left: TokenStream = without_tests(tokens(&source).unwrap()).into_iter().collect::<TokenStream>();
        left.into_iter().map(|token: TokenTree| token.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_for_tests_is_left_out_and_nothing_behind_it() {
        assert_eq!(left("#[cfg(test)] mod tests; a"), "a");
        assert_eq!(left("#[cfg(test)] #[allow(x)] mod tests { b } a"), "a");
        assert_eq!(left("#[cfg(test)] pub(crate) fn f<A, B>(a: A) -> B { b } a"), "a");
        assert_eq!(left("#[cfg(test)] use b::{c, d}; a"), "a");
        assert_eq!(left("struct S { #[cfg(test)] b: Vec<u8>, a: u8 }"), "struct S { a : u8 }");
        assert_eq!(left("fn f() { #[cfg(test)] let b = C { d }; a }"), "fn f () { a }");
        assert_eq!(left("#[cfg(all(test, unix))] fn f() {} a"), "a");
    }

    #[test]
    fn what_is_not_for_tests_alone_stays() {
        assert_eq!(left("#[cfg(not(test))] mod a;"), "# [cfg (not (test))] mod a ;");
        assert_eq!(left("#[cfg(any(test, unix))] a"), "# [cfg (any (test , unix))] a");
    }

    #[test]
    fn what_is_no_rust_is_an_error_with_its_file() {
        let source = Source { path: "a.rs".to_owned(), text: "fn f( {".to_owned() };
        assert!(tokens(&source).unwrap_err().to_string().starts_with("a.rs:"));
    }
}
