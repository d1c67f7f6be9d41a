use crate::h1::{
    BodyFraming, FramingError, HeadLimits, ParsedRequest, RequestError, find_head_end, parse_request,
};
use crate::{Known, PathError, RequestHead, Scheme, Version};

const LIMITS: HeadLimits = HeadLimits { head_bytes: 1024, fields: 8 };

fn parse(input: &[u8]) -> Result<Option<(ParsedRequest, RequestHead)>, RequestError> {
    let mut head = RequestHead::default();
    parse_request(input, &LIMITS, Scheme::Http, &mut head).map(|parsed| parsed.map(|parsed| (parsed, head)))
}

#[track_caller]
fn taken(input: &str) -> (ParsedRequest, RequestHead) {
    parse(input.as_bytes()).unwrap().unwrap()
}

#[track_caller]
fn refused(input: &str, error: RequestError, status: u16) {
    assert_eq!(
        parse(input.as_bytes()).map(|parsed| parsed.map(|(parsed, _)| parsed)),
        Err(error),
        "{input:?}"
    );
    assert_eq!(error.status(), status);
}

/// A request of version 1.1 with Host and these lines.
fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n")
}

#[test]
fn reads_an_ordinary_request() {
    let input = "POST /a/%7eb?x=%2F&y HTTP/1.1\r\nHost: a.example:8080\r\nContent-Length: 5\r\nX-A:  v w \t\r\n\
                 x-empty:\r\n\r\nhello";
    let (parsed, head) = taken(input);
    assert_eq!(
        parsed,
        ParsedRequest {
            head_len: input.len() - 5,
            framing: BodyFraming::Length(5),
            keep_alive: true,
            expect_continue: false
        }
    );
    assert_eq!((head.version, head.scheme, head.method.as_str()), (Version::Http11, Scheme::Http, "POST"));
    assert_eq!((head.authority.as_str(), head.target()), ("a.example:8080", "/a/~b?x=%2F&y"));
    assert_eq!((head.path(), head.query()), ("/a/~b", Some("x=%2F&y")));
    assert_eq!(head.fields.get(b"x-a"), Some(&b"v w"[..]));
    assert_eq!(head.fields.get(b"x-empty"), Some(&b""[..]));
    assert_eq!(head.fields.get_known(Known::Host), None);
    assert_eq!(head.fields.len(), 3);
}

#[test]
fn is_incomplete_until_the_last_byte() {
    let input = b"\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    for end in 0..input.len() {
        assert_eq!(parse(&input[..end]).unwrap().map(|(parsed, _)| parsed), None, "{end}");
    }
    assert_eq!(parse(input).unwrap().unwrap().0.head_len, input.len());
}

#[test]
fn leaves_the_next_request_alone() {
    let input = "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(taken(input).0.head_len, input.len() / 2);
}

#[test]
fn replaces_what_the_head_held() {
    let mut head = RequestHead::default();
    for input in
        ["GET /long/path?q HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", &with("")]
    {
        parse_request(input.as_bytes(), &LIMITS, Scheme::Https, &mut head).unwrap().unwrap();
    }
    assert_eq!(
        (head.target(), head.query(), head.upgrade.as_deref(), head.fields.len()),
        ("/", None, None, 0)
    );
}

#[test]
fn finds_the_end_of_a_head() {
    let input = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    let end = input.len() - 4;
    for from in 0..end - 3 {
        assert_eq!(find_head_end(input, from), Some(end), "{from}");
    }
    // The blank line may have come in two pieces.
    assert_eq!(find_head_end(input, end - 1), Some(end));
    assert_eq!(find_head_end(&input[..end - 1], 0), None);
    assert_eq!(find_head_end(input, 1000), None);
}

/// RFC 9112, 2.2: lines end in CRLF.
#[test]
fn refuses_other_line_ends() {
    refused("GET / HTTP/1.1\nHost: a\n\n", RequestError::BareLf, 400);
    refused("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", RequestError::BareLf, 400);
    refused("GET / HTTP/1.1\r\nHost: a\r\n\n", RequestError::BareLf, 400);
    refused("GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: z\r\n\r\n", RequestError::Malformed, 400);
    refused("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", RequestError::Malformed, 400);
    refused("GET / HTTP/1.1\rHost: a\r\n\r\n", RequestError::Malformed, 400);
    refused(&with("X: a\r\r\n"), RequestError::Malformed, 400);
    // Known before the head is complete: waiting would only reach the timeout.
    refused("GET / HTTP/1.1\n", RequestError::BareLf, 400);
}

/// RFC 9112, 2.2: one empty line before the request is tolerated, which old clients sent behind a POST.
#[test]
fn tolerates_one_empty_line_only() {
    assert_eq!(taken(&format!("\r\n{}", with(""))).1.target(), "/");
    refused(&format!("\r\n\r\n{}", with("")), RequestError::Malformed, 400);
    refused(&format!("\n{}", with("")), RequestError::Malformed, 400);
}

/// RFC 9112, 3: single spaces between the parts of the request line.
#[test]
fn refuses_malformed_request_lines() {
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / a HTTP/1.1",
        "GET /",
        "GET",
        "G(T / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/11",
        "GET / HTTP/1.10",
        "GET / HTTP/x.1",
        "GET / XHTTP/1.1",
        "GET /\0 HTTP/1.1",
        "\u{16}\u{3}\u{1}",
    ] {
        refused(&format!("{line}\r\nHost: a\r\n\r\n"), RequestError::Malformed, 400);
    }
}

#[test]
fn refuses_other_versions() {
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3.0"] {
        refused(&format!("GET / {version}\r\nHost: a\r\n\r\n"), RequestError::Version, 505);
    }
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", RequestError::Version, 505);
}

/// A client of another version may send nothing behind its line.
#[test]
fn refuses_a_line_of_another_version_without_waiting_for_more() {
    for line in ["GET /", "GET", "GET / HTTP", "GET / a", "GET / HTTP/1.1 "] {
        refused(&format!("{line}\r\n"), RequestError::Malformed, 400);
        refused(&format!("\r\n{line}\r\nHost: a\r\n"), RequestError::Malformed, 400);
    }
    for line in ["GET / HTTP/2.0", "GET / HTTP/0.9", "PRI * HTTP/2.0"] {
        refused(&format!("{line}\r\n"), RequestError::Version, 505);
    }
    for line in ["GET / HTTP/1.1", "GET / HTTP/1.0"] {
        assert!(parse(format!("{line}\r\n").as_bytes()).unwrap().is_none(), "{line}");
    }
}

#[test]
fn bounds_the_method() {
    let method = "M".repeat(32);
    assert_eq!(taken(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).1.method, method);
    refused(&format!("{method}M / HTTP/1.1\r\nHost: a\r\n\r\n"), RequestError::Method, 501);
}

/// RFC 9112, 5.1, 5.2 and RFC 9110, 5.5.
#[test]
fn refuses_malformed_fields() {
    for line in [
        "X : y",
        "X\t: y",
        " X: y",
        "X: y\r\n folded",
        "X: y\r\n\tfolded",
        ": y",
        "X",
        "X y: z",
        "X\0: y",
        "X: a\0b",
        "X: a\u{1}b",
        "X: a\u{7f}b",
        "X\u{b}: y",
        "X: \u{b}y",
        "Transfer-Encoding\u{a0}: chunked",
        "X(: y",
        "X: a\u{b}\r\nTransfer-Encoding: chunked",
    ] {
        refused(&with(&format!("{line}\r\n")), RequestError::Malformed, 400);
    }
    // The folding that some servers took for the first field's name.
    refused("GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n", RequestError::Malformed, 400);
}

/// RFC 9110, 5.5: obs-text is opaque.
#[test]
fn takes_bytes_over_7f_in_values() {
    let (_, head) = taken(&with("X: \u{e9}\r\n"));
    assert_eq!(head.fields.get(b"x"), Some("\u{e9}".as_bytes()));
}

/// RFC 9112, 3.2: exactly one Host.
#[test]
fn wants_exactly_one_host() {
    refused("GET / HTTP/1.1\r\n\r\n", RequestError::NoHost, 400);
    refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", RequestError::SeveralHosts, 400);
    refused("GET / HTTP/1.1\r\nHost: a\r\nhOsT: b\r\n\r\n", RequestError::SeveralHosts, 400);
    refused("GET http://a/ HTTP/1.1\r\n\r\n", RequestError::NoHost, 400);
    for host in
        ["", "a b", "user@a", "a/b", "a,b", "a:b", "a:70000", "a:", "[::1", "::1", "a?b", "a#", "\u{e9}"]
    {
        refused(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), RequestError::Host, 400);
        // Even if the target overrules it: a server behind the gateway might read the field.
        refused(&format!("GET http://b/ HTTP/1.1\r\nHost: {host}\r\n\r\n"), RequestError::Host, 400);
    }
    assert_eq!(taken("GET / HTTP/1.0\r\n\r\n").1.authority, "");
    refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", RequestError::SeveralHosts, 400);
    refused("GET / HTTP/1.0\r\nHost:\r\n\r\n", RequestError::Host, 400);
}

/// RFC 9112, 3.2.2.
#[test]
fn takes_the_authority_of_an_absolute_target() {
    for (target, method, authority, expected) in [
        ("http://b.example/x//y?q", "GET", "b.example", "/x/y?q"),
        ("HTTPS://b.example:444/", "GET", "b.example:444", "/"),
        ("http://b.example", "GET", "b.example", "/"),
        ("http://b.example?q=1", "GET", "b.example", "/?q=1"),
        ("http://[::1]:8/x", "GET", "[::1]:8", "/x"),
        ("http://b.example", "OPTIONS", "b.example", "*"),
    ] {
        let (_, head) = taken(&format!("{method} {target} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        assert_eq!((head.authority.as_str(), head.target()), (authority, expected));
        assert_eq!(head.scheme, Scheme::Http);
    }
    for target in ["ftp://b/", "http:/b/", "http:b", "b", "://b/", "javascript:alert(1)", "x/../http://b/"] {
        refused(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), RequestError::TargetForm, 400);
    }
    // RFC 9110, 4.2.4: user info is refused.
    for target in [
        "http://a,b/",
        "http://a:80,b/",
        "http://user@b/",
        "http://user:pass@b/",
        "http:///x",
        "http://",
        "http://b:x/",
        "http://b\\@c/",
    ] {
        refused(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), RequestError::Host, 400);
    }
}

/// RFC 9112, 3.2.3 and 3.2.4.
#[test]
fn ties_the_form_of_the_target_to_the_method() {
    let (_, head) = taken("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n");
    assert_eq!((head.authority.as_str(), head.target()), ("a.example:443", ""));
    assert_eq!(taken("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").1.target(), "*");
    for line in [
        "CONNECT a.example",
        "CONNECT /",
        "CONNECT http://a:80/",
        "CONNECT user@a:80",
        "CONNECT a:80/",
        "CONNECT *",
        "CONNECT :443",
        "CONNECT a:80,b:80",
        "CONNECT a,b:80",
        "CONNECT [::1]",
        "GET *",
        "GET a.example:443",
        "OPTIONS **",
        "OPTIONS *?x",
    ] {
        refused(&format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"), RequestError::TargetForm, 400);
    }
}

#[test]
fn refuses_paths_that_could_be_read_in_two_ways() {
    for (target, error) in [
        ("/a%5cb", PathError::EncodedSeparator),
        ("/a%2f..%2fb", PathError::EncodedSeparator),
        ("/../a", PathError::AboveRoot),
        ("/a\\b", PathError::Character),
        ("/a#b", PathError::Character),
        ("/a?b#c", PathError::Query),
        ("/\u{e9}", PathError::Character),
        ("/%zz", PathError::PercentEncoding),
    ] {
        refused(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), RequestError::Path(error), 400);
    }
}

/// RFC 9112, 6.3, rule 3: both framings are a smuggling attempt (CL.TE and TE.CL).
#[test]
fn refuses_both_framings() {
    let error = RequestError::Framing(FramingError::Both);
    refused(&with("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n"), error, 400);
    refused(&with("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n"), error, 400);
    refused(&with("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), error, 400);
}

/// RFC 9110, 8.6 and RFC 9112, 6.3, rule 5.
#[test]
fn takes_one_plain_content_length() {
    let error = RequestError::Framing(FramingError::ContentLength);
    for value in [
        "",
        "+5",
        "-5",
        "5 5",
        "5,5",
        "5, 5",
        "0x5",
        "5.0",
        "5e1",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999",
        "\u{665}",
        "5;",
        "\"5\"",
    ] {
        refused(&with(&format!("Content-Length: {value}\r\n")), error, 400);
    }
    refused(&with("Content-Length: 5\r\nContent-Length: 5\r\n"), error, 400);
    refused(&with("Content-Length: 5\r\nContent-Length: 6\r\n"), error, 400);
    for (value, length) in [("0", 0), ("00012", 12), ("9223372036854775807", i64::MAX as u64)] {
        let (parsed, _) = taken(&with(&format!("Content-Length: {value}\r\n")));
        assert_eq!(parsed.framing, BodyFraming::Length(length));
    }
}

/// RFC 9112, 6.1 and 7 (TE.TE).
#[test]
fn takes_chunked_once_and_no_other_coding() {
    for value in ["chunked", "Chunked", "CHUNKED"] {
        assert_eq!(taken(&with(&format!("Transfer-Encoding: {value}\r\n"))).0.framing, BodyFraming::Chunked);
    }
    let malformed = RequestError::Framing(FramingError::TransferEncoding);
    for value in [
        "",
        ",",
        "chunked,",
        ",chunked",
        "chunked, chunked",
        "chunked, gzip",
        "\"chunked\"",
        "chunked;q=1",
        "x chunked",
    ] {
        refused(&with(&format!("Transfer-Encoding: {value}\r\n")), malformed, 400);
    }
    refused(&with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), malformed, 400);
    refused(&with("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), malformed, 400);
    let unsupported = RequestError::Framing(FramingError::TransferCoding);
    for value in ["gzip", "gzip, chunked", "identity", "xchunked", "chunked-x"] {
        refused(&with(&format!("Transfer-Encoding: {value}\r\n")), unsupported, 501);
    }
    refused(&with("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"), unsupported, 501);
    let old = RequestError::Framing(FramingError::TransferEncodingIn10);
    refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", old, 400);
}

#[test]
fn refuses_a_body_of_connect() {
    for line in ["Content-Length: 0", "Content-Length: 5", "Transfer-Encoding: chunked"] {
        let input = format!("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n{line}\r\n\r\n");
        refused(&input, RequestError::ConnectBody, 400);
    }
}

/// RFC 9112, 9.3.
#[test]
fn knows_whether_the_connection_stays() {
    let stays = |version: &str, lines: &str| {
        taken(&format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n")).0.keep_alive
    };
    assert!(stays("1.1", ""));
    assert!(stays("1.1", "Connection: x\r\nConnection: keep-alive\r\n"));
    assert!(!stays("1.1", "Connection: Close\r\n"));
    assert!(!stays("1.1", "Connection: keep-alive, close\r\n"));
    assert!(!stays("1.0", ""));
    assert!(stays("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!stays("1.0", "Connection: keep-alive\r\nConnection: close\r\n"));
    assert!(!stays("1.0", "Keep-Alive: timeout=5\r\n"));
}

/// RFC 9110, 7.8.
#[test]
fn takes_an_upgrade_only_where_it_is_meant() {
    let upgrade = |lines: &str| taken(&with(lines)).1.upgrade;
    assert_eq!(
        upgrade("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n").as_deref(),
        Some("websocket")
    );
    assert_eq!(upgrade("Connection: upgrade\r\nUpgrade: a/1, b\r\n").as_deref(), Some("a/1"));
    assert_eq!(upgrade("Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: a\r\n").as_deref(), Some("a"));
    assert_eq!(upgrade("Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 0\r\n").as_deref(), Some("x"));
    for lines in [
        "Upgrade: websocket\r\n",
        "Connection: upgrade\r\n",
        "Connection: upgrade\r\nUpgrade:\r\n",
        "Connection: upgrade\r\nUpgrade: a b\r\n",
        "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: upgrade\r\nUpgrade: HTTP/2.0\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert_eq!(upgrade(lines), None, "{lines:?}");
    }
    let old = "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(taken(old).1.upgrade, None);
}

/// RFC 9110, 10.1.1.
#[test]
fn expects_100_only_with_a_body_to_come() {
    let expects = |version: &str, lines: &str| {
        taken(&format!("PUT / HTTP/{version}\r\nHost: a\r\nExpect: 100-Continue\r\n{lines}\r\n"))
            .0
            .expect_continue
    };
    assert!(expects("1.1", "Content-Length: 5\r\n"));
    assert!(expects("1.1", "Transfer-Encoding: chunked\r\n"));
    assert!(!expects("1.1", ""));
    assert!(!expects("1.1", "Content-Length: 0\r\n"));
    assert!(!expects("1.0", "Content-Length: 5\r\n"));
}

#[test]
fn bounds_the_head() {
    let line = |len: usize| with(&format!("X: {}\r\n", "y".repeat(len)));
    let room = LIMITS.head_bytes - line(0).len();
    assert_eq!(taken(&line(room)).0.head_len, LIMITS.head_bytes);
    refused(&line(room + 1), RequestError::TooLarge, 431);
    // Refused when the limit is reached, not when the head ends.
    refused(&line(room + 1)[..LIMITS.head_bytes], RequestError::TooLarge, 431);
    assert!(parse(&line(room + 1).as_bytes()[..LIMITS.head_bytes - 1]).unwrap().is_none());
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(LIMITS.head_bytes));
    refused(&long, RequestError::TargetTooLong, 414);
    refused(&long[..LIMITS.head_bytes], RequestError::TargetTooLong, 414);
    // Host counts.
    assert_eq!(taken(&with(&"X: y\r\n".repeat(LIMITS.fields - 1))).1.fields.len(), LIMITS.fields - 1);
    refused(&with(&"X: y\r\n".repeat(LIMITS.fields)), RequestError::TooManyFields, 431);
}

#[test]
fn takes_many_fields_where_the_operator_allows_them() {
    let limits = HeadLimits { head_bytes: 1 << 20, fields: 5000 };
    let mut head = RequestHead::default();
    let input = with(&"X: y\r\n".repeat(HeadLimits::FIELDS_MAX - 1));
    assert!(parse_request(input.as_bytes(), &limits, Scheme::Http, &mut head).unwrap().is_some());
    let input = with(&"X: y\r\n".repeat(HeadLimits::FIELDS_MAX));
    let result = parse_request(input.as_bytes(), &limits, Scheme::Http, &mut head);
    assert_eq!(result, Err(RequestError::TooManyFields));
}
