use proptest::prelude::*;

use crate::h1::{
    BodyFraming, FramingError, HeadLimits, ParsedResponse, ResponseError, parse_request, parse_response,
};
use crate::{RequestHead, ResponseHead, Scheme, Version};

const LIMITS: HeadLimits = HeadLimits { head_bytes: 512, fields: 8 };

fn parse_for(method: &str, input: &str) -> Result<Option<(ParsedResponse, ResponseHead)>, ResponseError> {
    let mut head = ResponseHead::default();
    parse_response(input.as_bytes(), &LIMITS, method, &mut head)
        .map(|parsed| parsed.map(|parsed| (parsed, head)))
}

#[track_caller]
fn taken(method: &str, input: &str) -> (ParsedResponse, ResponseHead) {
    parse_for(method, input).unwrap().unwrap()
}

#[track_caller]
fn refused(input: &str, error: ResponseError) {
    assert_eq!(
        parse_for("GET", input).map(|parsed| parsed.map(|(parsed, _)| parsed)),
        Err(error),
        "{input:?}"
    );
}

#[test]
fn reads_an_ordinary_response() {
    let input = "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nX-A: b\r\n\r\nabc";
    let (parsed, head) = taken("GET", input);
    let expected = ParsedResponse {
        head_len: input.len() - 3,
        framing: BodyFraming::Length(3),
        content_length: Some(3),
        keep_alive: true,
    };
    assert_eq!(parsed, expected);
    assert_eq!((head.version, head.status, head.fields.len()), (Version::Http11, 404, 2));
    for end in 0..input.len() - 3 {
        assert!(parse_for("GET", &input[..end]).unwrap().is_none(), "{end}");
    }
}

#[test]
fn takes_any_reason_phrase() {
    for line in
        ["HTTP/1.1 200 OK", "HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.1 200 \u{e9}t\u{e9}", "HTTP/1.1 200 a b"]
    {
        assert_eq!(taken("GET", &format!("{line}\r\n\r\n")).1.status, 200);
    }
}

/// RFC 9112, 6.3, rule by rule.
#[test]
fn knows_how_the_body_ends() {
    let framing = |method: &str, status: u16, lines: &str| {
        taken(method, &format!("HTTP/1.1 {status} x\r\n{lines}\r\n")).0
    };
    let length = "Content-Length: 7\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    // 1: no body, whatever the fields say.
    for (method, status) in [("HEAD", 200), ("GET", 304), ("HEAD", 500)] {
        for (lines, content_length) in [(length, Some(7)), (chunked, None), ("", None)] {
            let parsed = framing(method, status, lines);
            assert_eq!((parsed.framing, parsed.content_length), (BodyFraming::None, content_length));
            assert!(parsed.keep_alive);
        }
    }
    assert_eq!(framing("GET", 100, "").framing, BodyFraming::None);
    assert!(framing("GET", 103, "Link: x\r\n").keep_alive);
    // A 204 that announces a body may send it: the connection is not used again.
    assert!(framing("GET", 204, "").keep_alive);
    assert!(framing("GET", 204, "Content-Length: 0\r\n").keep_alive);
    assert!(!framing("GET", 204, length).keep_alive);
    assert!(!framing("GET", 204, chunked).keep_alive);
    assert_eq!(framing("GET", 204, length).framing, BodyFraming::None);
    // 2: tunnels.
    for (method, status) in [("CONNECT", 200), ("GET", 101)] {
        let parsed = framing(method, status, "");
        assert_eq!((parsed.framing, parsed.keep_alive), (BodyFraming::None, false));
    }
    assert_eq!(framing("CONNECT", 200, length).framing, BodyFraming::None);
    assert_eq!(framing("CONNECT", 403, length).framing, BodyFraming::Length(7));
    // 4, 6, 8.
    assert_eq!(framing("GET", 200, chunked).framing, BodyFraming::Chunked);
    assert_eq!(framing("GET", 200, length).framing, BodyFraming::Length(7));
    let until_close = framing("GET", 200, "Connection: keep-alive\r\n");
    assert_eq!((until_close.framing, until_close.keep_alive), (BodyFraming::UntilClose, false));
}

#[test]
fn refuses_unclear_framing() {
    for (lines, error) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", FramingError::Both),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", FramingError::ContentLength),
        ("Content-Length: 5, 5\r\n", FramingError::ContentLength),
        ("Content-Length: +5\r\n", FramingError::ContentLength),
        ("Content-Length: 9223372036854775808\r\n", FramingError::ContentLength),
        ("Content-Length: 18446744073709551615\r\n", FramingError::ContentLength),
        ("Transfer-Encoding: gzip, chunked\r\n", FramingError::TransferCoding),
        ("Transfer-Encoding: chunked, chunked\r\n", FramingError::TransferEncoding),
    ] {
        refused(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n"), ResponseError::Framing(error));
    }
    let old = ResponseError::Framing(FramingError::TransferEncodingIn10);
    refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", old);
    // Its body would be read as the final response.
    refused("HTTP/1.1 100 x\r\nContent-Length: 5\r\n\r\n", ResponseError::InformationalBody);
    refused("HTTP/1.1 103 x\r\nTransfer-Encoding: chunked\r\n\r\n", ResponseError::InformationalBody);
}

#[test]
fn refuses_malformed_heads() {
    for line in [
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTX/1.1 200 OK",
        "HTTP/1.1",
        " HTTP/1.1 200 OK",
        "\r\nHTTP/1.1 200",
    ] {
        let result = parse_for("GET", &format!("{line}\r\n\r\n"));
        assert!(
            matches!(result, Err(ResponseError::Malformed | ResponseError::Version | ResponseError::Status)),
            "{line:?}: {result:?}"
        );
    }
    for line in ["X : y", " X: y", "X: y\r\n z", ": y", "X", "X: a\0", "X: a\rb"] {
        refused(&format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"), ResponseError::Malformed);
    }
    refused("HTTP/1.1 200 OK\nX: y\n\n", ResponseError::BareLf);
    refused("HTTP/1.1 200 OK\r\nX: y\n\r\n", ResponseError::BareLf);
    refused("HTTP/2.0 200 OK\r\n\r\n", ResponseError::Version);
    for status in ["600", "999", "099", "000"] {
        refused(&format!("HTTP/1.1 {status} x\r\n\r\n"), ResponseError::Status);
    }
    refused("HTTP/1.1 20 x\r\n\r\n", ResponseError::Status);
    refused("HTTP/1.1 2000 x\r\n\r\n", ResponseError::Status);
    // HTTP/0.9, and the rest of an earlier body.
    refused("<html>", ResponseError::Malformed);
}

#[test]
fn bounds_the_head() {
    refused(&"HTTP/1.1 200 OK\r\nX: ".to_owned().repeat(40), ResponseError::TooLarge);
    refused(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(9)), ResponseError::TooManyFields);
    assert_eq!(taken("GET", &format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(8))).1.fields.len(), 8);
}

#[test]
fn knows_whether_the_connection_stays() {
    let stays = |head: &str| taken("GET", &format!("{head}\r\nContent-Length: 0\r\n\r\n")).0.keep_alive;
    assert!(stays("HTTP/1.1 200 OK"));
    assert!(!stays("HTTP/1.1 200 OK\r\nConnection: close"));
    assert!(!stays("HTTP/1.0 200 OK"));
    assert!(stays("HTTP/1.0 200 OK\r\nConnection: keep-alive"));
}

/// Pieces from which heads are put together that are nearly right.
fn nearly_a_head() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&'static [u8]> = vec![
        b"GET ",
        b"/ ",
        b"HTTP/1.1",
        b"HTTP/1.0 ",
        b"200 ",
        b"OK",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"Host: a",
        b"Host:",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Connection: upgrade, close",
        b"Upgrade: x",
        b"CONNECT ",
        b"a:1 ",
        b"OPTIONS * ",
        b"http://a?b ",
        b" ",
        b":",
        b"\0",
        b"\xff",
        b"%2e",
        b"/..",
        b"x: y",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Arbitrary bytes never panic, and a head that is taken is taken the same when nothing follows it.
    #[test]
    fn any_bytes(input in prop_oneof![nearly_a_head(), prop::collection::vec(any::<u8>(), 0..200)]) {
        let mut request = RequestHead::default();
        if let Ok(Some(parsed)) = parse_request(&input, &LIMITS, Scheme::Http, &mut request) {
            prop_assert!(request.method == "CONNECT" || request.target() == "*" || request.target().starts_with('/'));
            let again = parse_request(&input[..parsed.head_len], &LIMITS, Scheme::Http, &mut request);
            prop_assert_eq!(again, Ok(Some(parsed)));
            for end in 0..parsed.head_len {
                prop_assert_eq!(parse_request(&input[..end], &LIMITS, Scheme::Http, &mut request), Ok(None));
            }
        }
        let mut response = ResponseHead::default();
        if let Ok(Some(parsed)) = parse_response(&input, &LIMITS, "GET", &mut response) {
            let again = parse_response(&input[..parsed.head_len], &LIMITS, "GET", &mut response);
            prop_assert_eq!(again, Ok(Some(parsed)));
        }
    }
}
