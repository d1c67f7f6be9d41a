use portcullis_http::Fields;
use portcullis_model::Coding;

use super::{mark_encoded, mark_not_modified, mark_varying};

fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.append(name.as_bytes(), value.as_bytes()).unwrap();
    }
    fields
}

fn lines(fields: &Fields) -> Vec<String> {
    fields.iter().map(|(_, name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect()
}

#[test]
fn an_encoded_response_varies_and_has_a_weak_tag_and_nothing_about_the_plain_bytes() {
    let mut head = fields(&[
        ("etag", "\"a\""),
        ("accept-ranges", "bytes"),
        ("vary", "origin"),
        ("content-digest", "sha-256=:x:"),
        ("repr-digest", "sha-256=:x:"),
        ("content-md5", "x"),
        ("content-type", "text/html"),
    ]);
    mark_encoded(&mut head, Coding::Brotli).unwrap();
    let expected = [
        "etag: W/\"a\"",
        "vary: origin",
        "content-type: text/html",
        "content-encoding: br",
        "vary: accept-encoding",
    ];
    assert_eq!(lines(&head), expected);
}

#[test]
fn a_weak_tag_and_a_vary_that_covers_it_stay() {
    for vary in ["*", "Accept-Encoding", "origin , ACCEPT-encoding"] {
        let mut head = fields(&[("etag", "W/\"a\""), ("vary", vary)]);
        mark_encoded(&mut head, Coding::Gzip).unwrap();
        let expected =
            ["etag: W/\"a\"".to_owned(), format!("vary: {vary}"), "content-encoding: gzip".to_owned()];
        assert_eq!(lines(&head), expected);
    }
}

#[test]
fn a_304_has_the_tag_of_what_its_client_holds() {
    for (held, expected) in [
        ("W/\"a\"", "W/\"a\""),
        ("\"b\", W/\"a\"", "W/\"a\""),
        ("\"a\"", "\"a\""),
        ("W/\"b\"", "\"a\""),
        ("*", "\"a\""),
    ] {
        let mut head = fields(&[("etag", "\"a\"")]);
        mark_not_modified(&mut head, &fields(&[("if-none-match", held)])).unwrap();
        assert_eq!(head.get(b"etag"), Some(expected.as_bytes()), "{held}");
        assert_eq!(head.get(b"vary").is_some(), expected.starts_with("W/"), "{held}");
    }
}

#[test]
fn a_full_section_is_an_error_and_has_no_content_encoding() {
    let mut head = Fields::new();
    while head.append(b"x-a", b"1").is_ok() {}
    assert!(mark_encoded(&mut head, Coding::Gzip).is_err());
    assert!(mark_varying(&mut head).is_err());
    assert_eq!(head.get(b"content-encoding"), None);
}
