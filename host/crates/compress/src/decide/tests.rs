use portcullis_http::{Fields, ResponseHead};
use portcullis_model::{Coding, Compress, Credentials, Effort, MediaPattern};

use super::{Why, decide};
use crate::Asked;

fn rules(credentials: Credentials) -> Compress {
    Compress {
        codings: Coding::ALL.to_vec(),
        types: ["text/*", "application/json"].map(|text| MediaPattern::parse(text).unwrap()).to_vec(),
        bytes_min: 100,
        effort: Effort::Normal,
        credentials,
    }
}

fn fields(lines: &str) -> Fields {
    let mut fields = Fields::new();
    for line in lines.split('|').filter(|line| !line.trim().is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        fields.append(name.trim().as_bytes(), value.trim().as_bytes()).unwrap();
    }
    fields
}

/// Decides about a response of this status with `response` and of `length`, to a request with `request`.
fn decided(status: u16, request: &str, response: &str, length: Option<u64>) -> Result<Coding, Why> {
    with(Credentials::SameOrigin, status, request, response, length)
}

fn with(
    credentials: Credentials,
    status: u16,
    request: &str,
    response: &str,
    length: Option<u64>,
) -> Result<Coding, Why> {
    let head = ResponseHead { status, fields: fields(response), ..ResponseHead::default() };
    decide(&rules(credentials), &Asked::read(&fields(request)), &head, length, false)
}

const GZIP: &str = "accept-encoding: gzip";
const HTML: &str = "content-type: text/html; charset=utf-8";

#[test]
fn text_of_some_length_is_encoded_whatever_its_status() {
    for status in [200, 201, 403, 404, 500] {
        assert_eq!(decided(status, GZIP, HTML, None), Ok(Coding::Gzip), "{status}");
    }
    for (length, expected) in [(0, Err(Why::Small)), (99, Err(Why::Small)), (100, Ok(Coding::Gzip))] {
        assert_eq!(decided(200, GZIP, HTML, Some(length)), expected, "{length}");
    }
}

#[test]
fn what_must_stay_as_it_is_does() {
    for (status, request, response, expected) in [
        (204, "", "", Why::Status),
        (205, "", "", Why::Status),
        (206, "", "content-range: bytes 0-1/2", Why::Status),
        (200, "", "content-range: bytes 0-1/2", Why::Status),
        (304, "", "", Why::Status),
        (101, "", "", Why::Status),
        (200, "", "content-encoding: br", Why::Encoded),
        (200, "", "content-encoding: identity", Why::Encoded),
        (200, "", "cache-control: max-age=1, No-Transform", Why::NoTransform),
        (200, "| cache-control: no-transform", "", Why::NoTransform),
    ] {
        let (request, response) = (format!("{GZIP}{request}"), format!("{HTML}|{response}"));
        assert_eq!(
            decided(status, &request, &response, None),
            Err(expected),
            "{status} {request} {response}"
        );
        assert!(!expected.varies());
    }
    for media_type in ["image/png", "application/jsonp", "", "textual/html"] {
        let response = format!("content-type: {media_type}");
        assert_eq!(decided(200, GZIP, &response, None), Err(Why::MediaType), "{media_type}");
    }
    assert_eq!(decided(200, GZIP, "", None), Err(Why::MediaType));
    assert_eq!(decided(200, GZIP, "content-type: TEXT/HTML;a=b", None), Ok(Coding::Gzip));
    // The word in a value of another directive is none.
    assert_eq!(
        decided(200, GZIP, &format!("{HTML}|cache-control: x=\"no-transform\""), None),
        Ok(Coding::Gzip)
    );
}

#[test]
fn a_client_that_takes_no_coding_gets_the_plain_body_and_is_told_that_it_varies() {
    for request in ["", "accept-encoding: br;q=0, *;q=0", "accept-encoding: identity;q=0, *;q=0"] {
        assert_eq!(decided(200, request, HTML, None), Err(Why::NotAccepted), "{request}");
    }
    assert!(Why::NotAccepted.varies());
    assert!(Why::Secrets.varies());
}

#[test]
fn a_client_that_takes_no_plain_body_gets_a_coding_whatever_it_is_worth() {
    let request = "accept-encoding: gzip, identity;q=0";
    assert_eq!(decided(200, request, "content-type: image/png", Some(1)), Ok(Coding::Gzip));
    let response = "content-type: image/png| cache-control: no-transform";
    assert_eq!(decided(200, request, response, Some(1)), Err(Why::NoTransform));
}

#[test]
fn what_may_hold_a_secret_is_encoded_only_if_no_stranger_can_have_asked_for_it() {
    for (request, response, expected) in [
        ("", "", true),
        ("cookie: a=b", "", false),
        ("authorization: Basic eA==", "", false),
        ("authorization: Negotiate eA==", "", false),
        ("authorization: Bearer abc", "", true),
        ("authorization: dpop abc", "", true),
        ("authorization: bearer abc| cookie: a=b", "", false),
        ("", "set-cookie: a=b", false),
        ("cookie: a=b| sec-fetch-site: same-origin", "set-cookie: a=b", true),
        ("cookie: a=b| sec-fetch-site: none", "", true),
        ("cookie: a=b| sec-fetch-site: same-site", "", false),
        ("cookie: a=b| sec-fetch-site: cross-site", "", false),
        ("cookie: a=b", "cache-control: public, max-age=3", true),
        ("cookie: a=b", "cache-control: s-maxage=3", true),
        ("cookie: a=b", "cache-control: private", false),
    ] {
        let (asked, head) = (format!("{GZIP}|{request}"), format!("{HTML}|{response}"));
        let expected = if expected { Ok(Coding::Gzip) } else { Err(Why::Secrets) };
        assert_eq!(decided(200, &asked, &head, None), expected, "{asked} {head}");
        assert_eq!(with(Credentials::Always, 200, &asked, &head, None), Ok(Coding::Gzip), "{asked} {head}");
    }
    let own = format!("{GZIP}|cookie: a=b|sec-fetch-site: same-origin");
    assert_eq!(with(Credentials::Never, 200, &own, HTML, None), Err(Why::Secrets));
    let head = ResponseHead { status: 200, fields: fields(HTML), ..ResponseHead::default() };
    let asked = Asked::read(&fields(&format!("{GZIP}|cookie: a=b")));
    assert_eq!(decide(&rules(Credentials::Never), &asked, &head, None, true), Ok(Coding::Gzip));
}
