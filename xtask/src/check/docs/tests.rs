use super::markdown::{anchors, blocks, links};
use super::{arguments, broken_links, missing_tests};
use crate::tree::Source;

const DOCUMENT: &str = "\
# The first one
See [a](b.md#c), [`code`](d.md \"title\") and `[not](a-link)`.

```toml complete
[a]
```
## `path`, and what else?
```console
$ [x](y)
```
## The first one
";

#[test]
fn finds_links_outside_of_code() {
    assert_eq!(links(DOCUMENT), [(2, "b.md#c"), (2, "d.md")]);
}

#[test]
fn finds_blocks_with_their_marks() {
    let found: Vec<_> = blocks(DOCUMENT)
        .into_iter()
        .map(|block| (block.line, block.language, block.is_complete, block.text))
        .collect();
    assert_eq!(
        found,
        [(4, "toml", true, "[a]\n".to_owned()), (8, "console", false, "$ [x](y)\n".to_owned())]
    );
}

#[test]
fn spells_headings_as_addresses_do() {
    let expected = ["path-and-what-else", "the-first-one", "the-first-one-1"];
    assert_eq!(anchors(DOCUMENT).into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_link_to_nowhere_is_found() {
    let document = |text: &str| Source { path: "docs/here.md".to_owned(), text: text.to_owned() };
    let broken = |text: &str| broken_links(&document(text), &[document("# Here\n")]).len();
    assert_eq!(broken("[a](../Cargo.toml) [b](https://example.com/x)"), 0);
    assert_eq!(broken("[a](../Cargo.tomb)"), 1);
    assert_eq!(broken("[a](#nowhere)"), 1);
}

#[test]
fn a_promise_whose_test_is_gone_is_found() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let code = [
        source("tests/integration/drain.rs", "fn ends() {}"),
        source("host/crates/http/src/path/tests.rs", "fn is_idempotent() {}"),
        source("plugins/jwt/src/tests.rs", "fn refuses() {}"),
    ];
    let missing = |names: &str| {
        let page = format!("| promise | `a::mechanism` | {names} |\n");
        missing_tests(&source("docs/security-model.md", &page), &code)
    };
    assert_eq!(
        missing("`drain::ends`, `path::tests::is_idempotent`, `jwt: refuses` (the case `other`)"),
        [""; 0]
    );
    assert_eq!(
        missing("`drain::ends`, `drain::begins`"),
        ["docs/security-model.md:1: there is no test `drain::begins`"]
    );
    assert_eq!(missing("`path::tests::ends`").len(), 1, "it is in another module");
}

#[test]
fn finds_the_gateway_in_a_shell_line() {
    assert_eq!(arguments("portcullis run -c a.toml"), Some(vec!["run", "-c", "a.toml"]));
    assert_eq!(arguments("KEY=1 ./target/release/portcullis routes | head"), Some(vec!["routes"]));
    assert_eq!(arguments("cargo run --release -- demo"), Some(vec!["demo"]));
    assert_eq!(arguments("cargo run --release -p portcullis-bench -- --quick"), None);
    assert_eq!(arguments("curl http://localhost:8080/portcullis"), None);
}
