use std::path::Path;

use portcullis_model::Isolation;

use super::{CaseFile, ExpectedValue, keys, load_cases};
use crate::syntax::shape::Shape;
use crate::tests::cases::cases_folder;
use crate::tests::docs::rows;
use crate::tests::fake::FakePlugins;

fn load(text: &str) -> Result<CaseFile, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.cases.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::write(dir.path().join("piece.bin"), [0xff, 0x00]).unwrap();
    std::fs::write(dir.path().join("everything.wasm"), "everything").unwrap();
    let folder = format!("{}/", dir.path().display());
    load_cases(&path, None, &FakePlugins).map_err(|error| error.to_string().replace(&folder, ""))
}

fn refused(text: &str, expected: &[&str]) {
    let Err(message) = load(text) else { panic!("it loads:\n{text}") };
    for part in expected {
        assert!(message.contains(part), "no {part:?} in:\n{message}");
    }
}

#[test]
fn a_case_has_all_that_was_typed() {
    let file = load(
        r#"
plugin = "everything.wasm"
[policy]
config = { a = 1 }
[secrets]
password = "hush"
[[http]]
url = "https://auth.internal/check?x=1"
status = 204
[[case]]
name = "first"
time = "2026-12-31T23:59:59Z"
request = { url = "/", method = "POST", headers = { x-a = ["1", ""] }, body = ["ab", { hex = "ff00" }, { file = "piece.bin" }, { repeat = "xy", times = 2 }] }
expect.reply = 403
expect.request.headers = { x-a = false, x-b = true, x-c = ["1", "2"] }
expect.edits = "none"
[[case.then]]
after = "1m"
request = { url = "/again" }
[[case]]
name = "second"
config = { a = 2 }
request = { url = "/" }
"#,
    )
    .unwrap();
    assert_eq!(file.isolations, [Isolation::Exchange, Isolation::Worker]);
    let [first, second] = &file.cases[..] else { panic!("{:?}", file.cases) };
    assert_eq!((first.name.value.as_str(), file.line(first.name.place)), ("first", 11));
    assert_eq!(
        (first.policy.config_json.as_str(), second.policy.config_json.as_str()),
        (r#"{"a":1}"#, r#"{"a":2}"#)
    );
    assert_eq!(first.time.as_secs(), 1_798_761_599);
    assert_eq!((first.http.len(), first.http[0].url.as_str()), (1, "https://auth.internal/check"));
    let grants = &first.policy.grants;
    assert!(grants.log && grants.store.is_some() && &*grants.secrets[0] == "password");
    assert_eq!((grants.http.len(), grants.http[0].host.as_str()), (1, "auth.internal"));
    let [one, two] = &first.exchanges[..] else { panic!("{:?}", first.exchanges) };
    assert_eq!(one.request.headers, [("x-a".to_owned(), "1".to_owned()), ("x-a".to_owned(), String::new())]);
    assert_eq!(one.request.pieces, [&b"ab"[..], b"\xff\x00", b"\xff\x00", b"xyxy"]);
    assert_eq!(one.expect.reply.as_ref().unwrap().value.status.as_ref().unwrap().value, 403);
    let headers: Vec<_> =
        one.expect.request.as_ref().unwrap().value.headers.iter().map(|(_, at)| at.value.clone()).collect();
    let lines = ExpectedValue::Lines(vec!["1".to_owned(), "2".to_owned()]);
    assert_eq!(headers, [ExpectedValue::Absent, ExpectedValue::Present, lines]);
    assert!(one.expect.edits.as_ref().unwrap().value.is_empty());
    assert_eq!((two.after.as_secs(), two.request.url.as_str()), (60, "/again"));
}

#[test]
fn mistakes_are_shown_at_their_lines() {
    let with = |rest: &str| format!("plugin = \"everything.wasm\"\n[[case]]\nname = \"a\"\n{rest}\n");
    refused(
        &with("request = { url = \"/\", heders = {} }"),
        &["a.cases.toml:4:24", "did you mean `headers`?"],
    );
    refused(&with("request = { method = \"GET\" }"), &["a.cases.toml:4:11", "has no `url`"]);
    refused(&with("request = { url = \"/\" }\nexpect.reply = 99"), &[":5:16", "expected 200 to 599"]);
    refused(
        &with("request = { url = \"/\" }\nexpect.fault = \"traps\""),
        &[":5:16", "did you mean \"trap\"?"],
    );
    refused(&with("request = { url = \"/\" }\ntime = \"noon\""), &[":5:8", "not a time in UTC"]);
    refused(&with("request = { url = \"/\", client = \"me\" }"), &[":4:33", "not an IP address"]);
    refused(&with("request = { url = \"/\", body = { hex = \"f\" } }"), &[":4:39", "two hexadecimal digits"]);
    refused(
        &with("request = { url = \"/\", body = { hex = \"ff\", file = \"piece.bin\" } }"),
        &["not said in one way"],
    );
    refused(
        &with("request = { url = \"/\", body = { file = \"gone\" } }"),
        &[":4:40", "there is no such file"],
    );
    refused(
        &with("request = { url = \"http://a.test/\", tls-server-name = \"a.test\" }"),
        &["a.cases.toml:4:37", "without TLS"],
    );
    refused(&with("request = { url = \"/\" }\nhttp = [{ url = \"auth\" }]"), &[":5:17", "cannot be used"]);
    refused("[[case]]\nname = \"a\"\nrequest = { url = \"/\" }\n", &["the file names no plugin", "--plugin"]);
    refused(
        "plugin = \"builtin:none\"\n[[case]]\nname = \"a\"\nrequest = { url = \"/\" }\n",
        &[":1:10", "api-key"],
    );
    refused(
        "plugin = \"oci://registry.example/a:1\"\n[[case]]\nname = \"a\"\nrequest = { url = \"/\" }\n",
        &[":1:10", "an image in a registry", "--plugin"],
    );
    refused("plugin = \"builtin:api-key\"\n", &["has no `case`"]);
    refused("plugin = \n", &["a.cases.toml:1:", "this is not TOML"]);
}

#[test]
fn settings_are_checked_against_the_schema_of_the_plugin() {
    let case = |name: &str, config: &str| {
        format!("[[case]]\nname = \"{name}\"\n{config}request = {{ url = \"/\" }}\n")
    };
    let own = case("a", "config = { nonsense = 1 }\n");
    refused(&format!("plugin = \"builtin:api-key\"\n{own}"), &["a.cases.toml:4:", "nonsense"]);
    // What all cases share is wrong once.
    let two = [case("a", ""), case("b", "")].concat();
    let shared = format!("plugin = \"builtin:api-key\"\n[policy]\nconfig = {{ nonsense = 1 }}\n{two}");
    let Err(message) = load(&shared) else { panic!("it loads") };
    let places = message.lines().filter(|line| line.contains("--> a.cases.toml:3:")).count();
    assert!(places >= 1 && message.matches("key `nonsense`").count() <= 1, "{message}");
    refused(
        &format!("plugin = \"builtin:api-key\"\n{two}"),
        &["a.cases.toml:3:1", "needs `keys`", "1 error"],
    );
}

#[test]
fn grants_that_are_typed_are_those_that_the_plugin_imports() {
    let text = |grants: &str| {
        format!(
            "plugin = \"builtin:rate-limit\"\npolicy.grants = {grants}\npolicy.config = {{ rate = \"1/s\" }}\n\
             [[case]]\nname = \"a\"\nrequest = {{ url = \"/\" }}\n"
        )
    };
    refused(&text("{ log = true }"), &["a.cases.toml:2:", "`rate-limit`", "does not use it"]);
    refused(
        &text("{ rate-limit = true, secrets = [\"x\"] }"),
        &["names the secret `x`, which does not exist"],
    );
}

#[test]
fn a_secret_is_not_shown() {
    let text = "plugin = \"everything.wasm\"\n[secrets]\npassword = \"hush-hush\"\nother = 3\n[[case]]\nname = \"a\"\nrequest = { url = \"/\" }\n";
    let Err(message) = load(text) else { panic!("it loads") };
    assert!(message.contains("a.cases.toml:4:9") && !message.contains("hush"), "{message}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load_cases(Path::new("/nowhere/a.cases.toml"), None, &FakePlugins).unwrap_err().to_string();
    assert!(error.contains("there is no such file") && error.contains("/nowhere/a.cases.toml"), "{error}");
}

/// The tables of docs/testing-a-policy.md, by the place that each is about.
fn tables() -> Vec<(&'static str, &'static Shape)> {
    vec![
        ("the file", &keys::ROOT),
        ("policy", &keys::POLICY),
        ("case", &keys::CASE),
        ("then", &keys::THEN),
        ("request", &keys::REQUEST),
        ("response", &keys::RESPONSE),
        ("bytes", &keys::BYTES),
        ("http", &keys::HTTP),
        ("expect", &keys::EXPECT),
        ("expected request", &keys::EXPECTED_REQUEST),
        ("expected response", &keys::EXPECTED_RESPONSE),
        ("expected body", &keys::EXPECTED_BYTES),
        ("fault", &keys::FAULT),
    ]
}

#[test]
fn the_page_lists_every_key() {
    let path = cases_folder().ancestors().nth(2).unwrap().join("docs/testing-a-policy.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut written = text.clone();
    for (place, shape) in tables() {
        let begin = format!("<!-- keys of {place} -->\n");
        let (before, rest) = written.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
        let (_, after) = rest.split_once("<!-- end -->").unwrap();
        written = format!("{before}{begin}{}<!-- end -->{after}", rows(shape));
    }
    if std::env::var_os("PORTCULLIS_BLESS").is_some() {
        return std::fs::write(&path, &written).unwrap();
    }
    assert!(written == text, "the tables are not those of the keys; PORTCULLIS_BLESS=1 rewrites them");
}
