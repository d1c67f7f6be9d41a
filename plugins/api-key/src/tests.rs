use portcullis_sdk::testing::{Configured, MockExchange, MockGateway};

use super::*;

fn digest(key: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn policy(more: &str) -> Configured<ApiKey> {
    configure(&format!(r#"{{"keys": [{{"name": "alice", "sha256": "{}"}}]{more}}}"#, digest("k1"))).unwrap()
}

fn configure(config: &str) -> Result<Configured<ApiKey>, String> {
    MockGateway::new().configure(config)
}

fn refused(decision: &Decision) -> bool {
    matches!(decision, Decision::Reply(reply) if reply.status == 401 && reply.header_value("www-authenticate").is_some())
}

#[test]
fn lets_a_known_key_through_and_removes_it() {
    let mut exchange = MockExchange::new("GET", "/a").header("X-Api-Key", "k1");
    assert_eq!(exchange.request_head(&mut policy("")), Decision::Next);
    assert_eq!(exchange.attribute_value("api-key.name").as_deref(), Some("alice"));
    assert_eq!(exchange.request_header("x-api-key"), None);
}

#[test]
fn refuses_missing_wrong_and_several_keys() {
    let exchange = || MockExchange::new("GET", "/");
    for mut exchange in [
        exchange(),
        exchange().header("x-api-key", "k2"),
        exchange().header("x-api-key", ""),
        exchange().header("x-api-key", "k1").header("x-api-key", "k1"),
    ] {
        assert!(refused(&exchange.request_head(&mut policy(""))));
        assert_eq!(exchange.attribute_value("api-key.name"), None);
    }
}

/// As text these would all be the same.
#[test]
fn bytes_that_are_not_text_make_no_two_keys_the_same() {
    let config = format!(
        r#"{{"keys": [{{"name": "odd", "sha256": "{}"}}], "query": "key", "header": "x-api-key"}}"#,
        digest("k\u{fffd}")
    );
    let mut policy = configure(&config).unwrap();
    let mut by_field =
        |key: &[u8]| MockExchange::new("GET", "/").header("x-api-key", key).request_head(&mut policy);
    assert_eq!(by_field("k\u{fffd}".as_bytes()), Decision::Next);
    assert!(refused(&by_field(b"k\xff")) && refused(&by_field(b"k\xe2\x82")));
    let mut by_query =
        |key: &str| MockExchange::new("GET", &format!("/?key={key}")).request_head(&mut policy);
    assert_eq!(by_query("k%EF%BF%BD"), Decision::Next);
    assert!(refused(&by_query("k%ff")) && refused(&by_query("k%E2%82")));
}

#[test]
fn takes_a_key_from_the_query_and_cuts_it_out() {
    let mut policy = policy(r#", "query": "key""#);
    let mut exchange = MockExchange::new("GET", "/a?x=1&key=%6b1&y=2").header("x-api-key", "of no concern");
    assert_eq!(exchange.request_head(&mut policy), Decision::Next);
    assert_eq!(exchange.path_and_query(), "/a?x=1&y=2");

    let mut twice = MockExchange::new("GET", "/a?key=k1&key=k1");
    assert!(refused(&twice.request_head(&mut policy)));
}

#[test]
fn a_wrong_key_in_the_field_is_not_made_up_for_by_the_query() {
    let mut policy = policy(r#", "query": "key", "header": "x-key""#);
    let mut exchange = MockExchange::new("GET", "/a?key=k1").header("x-key", "k2");
    assert!(refused(&exchange.request_head(&mut policy)));
    let mut exchange = MockExchange::new("GET", "/a?key=zz").header("x-key", "k1");
    assert_eq!(exchange.request_head(&mut policy), Decision::Next);
    assert_eq!(exchange.path_and_query(), "/a");
}

#[test]
fn tells_the_upstream_the_name_and_not_what_the_client_claims() {
    let mut policy = policy(r#", "forward-name-as": "x-consumer", "attribute": "who""#);
    let mut exchange = MockExchange::new("GET", "/")
        .header("x-api-key", "k1")
        .header("X-Consumer", "root")
        .header("x-consumer", "r");
    assert_eq!(exchange.request_head(&mut policy), Decision::Next);
    assert_eq!(exchange.request_header("x-consumer").as_deref(), Some("alice"));
    assert_eq!(exchange.attribute_value("who").as_deref(), Some("alice"));
}

#[test]
fn reads_a_keys_file() {
    let file = format!("# people\n\nalice:{}\n  b:ob : {}  \r\n", digest("k1"), digest("k2").to_uppercase());
    let config = format!(r#"{{"keys-file": {file:?}}}"#);
    let mut policy = configure(&config).unwrap();
    let mut exchange = MockExchange::new("GET", "/").header("x-api-key", "k2");
    assert_eq!(exchange.request_head(&mut policy), Decision::Next);
    assert_eq!(exchange.attribute_value("api-key.name").as_deref(), Some("b:ob"));
}

#[test]
fn finds_each_of_any_number_of_keys() {
    for count in [1, 2, 3, 10, 1_000, 20_000] {
        let lines: String = (0..count).map(|n| format!("n{n}:{}\\n", digest(&format!("k{n}")))).collect();
        let policy = configure(&format!(r#"{{"keys-file": "{lines}"}}"#)).unwrap();
        for n in 0..count {
            assert_eq!(policy.keys.name_of(format!("k{n}").as_bytes()), Some(format!("n{n}").as_str()));
        }
        for n in count..count + 1_000 {
            assert_eq!(policy.keys.name_of(format!("k{n}").as_bytes()), None);
        }
    }
}

#[test]
fn the_first_and_the_last_digest_are_found_and_what_lies_beyond_is_not() {
    let (least, most, beside) = ("00".repeat(32), "ff".repeat(32), format!("{}01", "00".repeat(31)));
    let mut list = keys::KeyList::default();
    for (name, digest) in [("most", &most), ("least", &least), ("beside", &beside)] {
        list.add(name, digest).unwrap();
    }
    let keys = Keys::from(list);
    let name_of = |hex: &str| keys.name_of_digest(keys::parse(hex).unwrap());
    assert_eq!(name_of(&least), Some("least"));
    assert_eq!(name_of(&beside), Some("beside"));
    assert_eq!(name_of(&most), Some("most"));
    assert_eq!(name_of(&format!("{}fe", "ff".repeat(31))), None);
    // With one key only, what pads the list must not be found as a key.
    let mut list = keys::KeyList::default();
    list.add("most", &most).unwrap();
    assert_eq!(Keys::from(list).name_of_digest(keys::parse(&least).unwrap()), None);
}

#[test]
fn refuses_wrong_settings() {
    let key = |name: &str, digest: &str| format!(r#"{{"name": "{name}", "sha256": "{digest}"}}"#);
    let keys = |keys: &[String]| format!(r#"{{"keys": [{}]}}"#, keys.join(","));
    let (one, two) = (digest("1"), digest("2"));
    for (config, expected) in [
        ("{}".to_owned(), "/: there is no key, so no client would get in; add one to keys or keys-file"),
        (
            keys(&[key("a", "12")]),
            "/keys/0: the digest of `a` is not 64 hexadecimal digits; make one with `printf %s KEY | sha256sum`",
        ),
        (
            keys(&[key("", &one)]),
            "/keys/0: name \"\": expected text without control characters or spaces at its ends",
        ),
        (keys(&[key("a", &one), key("a", &two)]), "/keys/1: name `a` is there twice"),
        (keys(&[key("a", &one), key("b", &one)]), "/keys/1: the key of `b` belongs to another name already"),
        (r#"{"keys-file": "\nalice"}"#.to_owned(), "/keys-file: line 2: expected `name:digest`"),
        (r#"{"header": "a b"}"#.to_owned(), "/header: `a b`: invalid name"),
        (
            r#"{"forward-name-as": "host"}"#.to_owned(),
            "/forward-name-as: `host`: the gateway alone writes this field",
        ),
        (r#"{"query": ""}"#.to_owned(), "/query: expected the name of a parameter"),
    ] {
        assert_eq!(configure(&config).unwrap_err(), expected, "{config}");
    }
}
