use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{Directive, Files, glob_matches, read};

/// Files in memory.
struct Memory(BTreeMap<PathBuf, String>);

impl Memory {
    fn new<const N: usize>(files: [(&str, &str); N]) -> Self {
        Self(files.into_iter().map(|(path, text)| (path.into(), text.to_owned())).collect())
    }
}

impl Files for Memory {
    fn text(&self, path: &Path) -> Result<String, String> {
        self.0.get(path).cloned().ok_or_else(|| format!("there is no {}", path.display()))
    }

    fn matching(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let fits = |path: &Path| {
            path.parent() == pattern.parent()
                && path
                    .file_name()
                    .and_then(|file| file.to_str())
                    .is_some_and(|file| glob_matches(name, file))
        };
        Ok(self.0.keys().filter(|path| fits(path)).cloned().collect())
    }
}

fn one(text: &str) -> Result<Vec<Directive>, String> {
    let files = Memory::new([("/etc/nginx.conf", text)]);
    read(&files, Path::new("/etc/nginx.conf")).map(|tree| tree.directives).map_err(|error| error.to_string())
}

/// Writes directives on one line, words between `|`.
fn shown(directives: &[Directive]) -> String {
    let one = |directive: &Directive| {
        let words: Vec<&str> =
            std::iter::once(&directive.name).chain(&directive.args).map(String::as_str).collect();
        let block = directive.block.as_ref().map_or(String::new(), |block| format!("{{{}}}", shown(block)));
        format!("{}:{}{block}", directive.place.line, words.join("|"))
    };
    directives.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(one(text).map(|directives| shown(&directives)), Ok(expected.to_owned()), "{text}");
}

#[track_caller]
fn check_refused(text: &str, expected: &str) {
    assert_eq!(one(text).map(|directives| shown(&directives)), Err(expected.to_owned()), "{text}");
}

#[test]
fn words_are_taken_apart_as_nginx_does() {
    check("a b  c;\n# x {\nd;", "1:a|b|c 3:d");
    check("a{b;}c{}", "1:a{1:b} 1:c{}");
    check("a 'x y;{}' \"it's\" '';", "1:a|x y;{}|it's|");
    check("return 301 https://${host}$request_uri;", "1:return|301|https://${host}$request_uri");
}

#[test]
fn escapes_that_nginx_does_not_know_stay() {
    check(r#"a \.php$ "say \"hi\"" b\\c 'tab\tend' \d+;"#, "1:a|\\.php$|say \"hi\"|b\\c|tab\tend|\\d+");
    check("a b#c;", "1:a|b#c");
    check("if ($a = \"b\") { c; }", "1:if|($a|=|b|){1:c}");
}

#[test]
fn blocks_of_lua_are_skipped() {
    check("content_by_lua_block {\n if a then b = \"}\" end {} \n}\nc;", "1:content_by_lua_block{} 4:c");
}

#[test]
fn mistakes_have_their_line() {
    check_refused("a;\nb {\nc;\n", "nginx.conf:4: the file ends inside a block: a `}` is missing");
    check_refused("a;\nb\n", "nginx.conf:3: the file ends inside `b`: a `;` or `}` is missing");
    check_refused("a {\n b }", "nginx.conf:2: `b` does not end with `;`");
    check_refused("a;\n}", "nginx.conf:2: unexpected `}`");
    check_refused("\n;", "nginx.conf:2: unexpected `;`");
    check_refused("a 'b'c;", "nginx.conf:1: unexpected 'c' behind a text in quotes");
    check_refused("a;\n\"b;\n", "nginx.conf:2: a text in \" does not end");
    check_refused(&"a{".repeat(100), "nginx.conf:1: blocks are nested too deep");
}

#[test]
fn includes_start_from_the_folder_of_the_main_file() {
    let files = Memory::new([
        ("/etc/nginx.conf", "a;\nhttp { include sites/*.conf; }\nb;"),
        ("/etc/sites/2.conf", "two { include snippets/x; }"),
        ("/etc/sites/1.conf", "\none;"),
        ("/etc/sites/.hidden.conf", "hidden;"),
        ("/etc/snippets/x", "x;"),
    ]);
    let tree = read(&files, Path::new("/etc/nginx.conf")).expect("it is well formed");
    assert_eq!(shown(&tree.directives), "1:a 2:http{2:one 1:two{1:x}} 3:b");
    assert_eq!(tree.files, ["nginx.conf", "sites/1.conf", "sites/2.conf", "snippets/x"]);
    assert_eq!(tree.includes.len(), 2);
}

#[test]
fn includes_that_are_missing_or_endless_are_errors() {
    check_refused("a;\ninclude none;", "nginx.conf:2: there is no /etc/none");
    check("include none*;", "");
    check_refused("include nginx.conf;", "nginx.conf:1: includes are nested more than 16 deep");
    check_refused("include a b;", "nginx.conf:1: `include` takes one path");
}

#[test]
fn patterns_of_names_are_those_of_the_shell() {
    for (pattern, name, fits) in [
        ("*.conf", "a.conf", true),
        ("*.conf", ".a.conf", false),
        ("*", "a", true),
        ("a*b*c", "aXbYbZc", true),
        ("a*b*c", "aXbYbZ", false),
        ("?.conf", "ab.conf", false),
        ("[a-c]?", "bx", true),
        ("[!a-c]?", "bx", false),
        ("[", "[", true),
        ("[]]", "]", true),
        ("\\*", "*", true),
    ] {
        assert_eq!(glob_matches(pattern, name), fits, "{pattern} {name}");
    }
}

proptest! {
    /// Whatever is in a file, it is read or refused.
    #[test]
    fn no_text_panics(text in r#"[a-c \n{};'"$\\#()*]{0,60}|\PC{0,40}"#) {
        drop(one(&text));
    }

    #[test]
    fn no_pattern_panics(pattern in r"[a-c*?\[\]!\\-]{0,12}", name in "[a-c.\\]-]{0,8}") {
        let fits = glob_matches(&pattern, &name);
        prop_assert!(!pattern.is_empty() || name.is_empty() || !fits);
    }

    /// Words in quotes come out as they went in.
    #[test]
    fn quoted_words_survive(words in proptest::collection::vec(r#"[a-z "'{};$#\\]{0,8}"#, 1..5)) {
        let quoted = |word: &String| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
        let text = format!("a {};", words.iter().map(quoted).collect::<Vec<_>>().join(" "));
        let read = one(&text).expect("it is well formed");
        prop_assert_eq!(&read[0].args, &words);
    }
}
