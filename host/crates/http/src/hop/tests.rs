use super::{
    is_forbidden_trailer, is_gateway_owned, strip_request_hop_by_hop, strip_request_trailers,
    strip_response_hop_by_hop, strip_response_trailers,
};
use crate::Fields;

fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.append(name.as_bytes(), value.as_bytes()).unwrap();
    }
    fields
}

#[track_caller]
fn is(fields: &Fields, expected: &[(&str, &str)]) {
    let lines: Vec<_> =
        fields.iter().map(|(_, name, value)| (name, std::str::from_utf8(value).unwrap())).collect();
    assert_eq!(lines, expected);
}

#[track_caller]
fn request(lines: &[(&str, &str)], expected: &[(&str, &str)]) {
    let mut fields = fields(lines);
    strip_request_hop_by_hop(&mut fields);
    is(&fields, expected);
}

#[test]
fn removes_the_fields_of_one_hop() {
    request(
        &[
            ("Connection", "keep-alive, Upgrade, HTTP2-Settings, TE"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Authorization", "Basic x"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "5"),
            ("Upgrade", "websocket"),
            ("HTTP2-Settings", "AAMAAABk"),
            ("Host", "a"),
            ("Trailer", "x-t"),
            ("Expect", "100-continue"),
            ("Accept", "*/*"),
        ],
        &[("trailer", "x-t"), ("expect", "100-continue"), ("accept", "*/*")],
    );
    let mut response = fields(&[
        ("connection", "close"),
        ("content-length", "5"),
        ("proxy-authenticate", "Basic"),
        ("te", "trailers"),
        ("trailer", "x-t"),
        ("x_status", "1"),
    ]);
    strip_response_hop_by_hop(&mut response);
    is(&response, &[("trailer", "x-t"), ("x_status", "1")]);
}

/// RFC 9110, 7.6.1.
#[test]
fn removes_what_connection_nominates() {
    request(
        &[
            ("a", "1"),
            ("connection", "close ,X-B,, x-c"),
            ("X-b", "2"),
            ("connection", "x-d"),
            ("x-c", "3"),
            ("x-d", "4"),
        ],
        &[("a", "1")],
    );
    let mut response = fields(&[("connection", "x-b"), ("x-b", "1"), ("x-c", "2")]);
    strip_response_hop_by_hop(&mut response);
    is(&response, &[("x-c", "2")]);
}

#[test]
fn lets_no_nomination_remove_what_is_for_the_end() {
    for name in [
        "authorization",
        "cookie",
        "set-cookie",
        "cache-control",
        "content-type",
        "content-encoding",
        "x-forwarded-for",
        "x-forwarded-client-cert",
        "forwarded",
        "x-real-ip",
        "via",
        "date",
        "traceparent",
        "x-request-id",
        "x-api-key",
        "x-auth-request-user",
        "x-azure-clientip",
        "fly-client-ip",
        "if-match",
        "range",
        "sec-websocket-key",
        "expect",
        "trailer",
    ] {
        request(&[("connection", name), (name, "1")], &[(name, "1")]);
    }
}

/// A field that may not go further does not, however many options stand before it.
#[test]
fn heeds_every_option_however_many_there_are() {
    let nominated = [("x-a", "1"), ("x-b", "2"), ("x-c", "3")];
    for before in ["x-a,".repeat(1000), ",".repeat(1000), ", ,\t".repeat(500), "close, ".repeat(500)] {
        let many = format!("{before}x-b");
        let left = if before.contains("x-a") { &nominated[2..] } else { &[nominated[0], nominated[2]][..] };
        request(&[&[("connection", many.as_str())][..], &nominated].concat(), left);
    }
    let spread: Vec<_> =
        std::iter::repeat_n(("connection", "x-z"), 500).chain([("connection", "X-B")]).collect();
    request(&[&spread[..], &nominated].concat(), &[nominated[0], nominated[2]]);
}

/// RFC 9110, 10.1.4.
#[test]
fn keeps_trailers_of_te_only() {
    request(&[("te", "trailers"), ("a", "1")], &[("te", "trailers"), ("a", "1")]);
    request(&[("te", "gzip, Trailers;q=1, trailers"), ("a", "1")], &[("a", "1"), ("te", "trailers")]);
    request(&[("te", "gzip"), ("te", "TRAILERS"), ("te", "trailers")], &[("te", "trailers")]);
    request(&[("te", "gzip")], &[]);
}

#[test]
fn drops_names_that_pass_for_others() {
    request(
        &[("X_Forwarded_For", "1"), ("x_user", "2"), ("x-user", "3"), ("content_length", "4")],
        &[("x-user", "3")],
    );
    let lines = [("x_a", "1"), ("x-a", "2"), ("content-length", "3")];
    let (mut of_request, mut of_response) = (fields(&lines), fields(&lines));
    strip_request_trailers(&mut of_request);
    strip_response_trailers(&mut of_response);
    is(&of_request, &[("x-a", "2")]);
    is(&of_response, &[("x_a", "1"), ("x-a", "2")]);
}

/// What names or proves the client, or says what the request is meant for, is looked at in the head alone.
#[test]
fn drops_trailers_that_say_who_the_client_is() {
    for name in [
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Client-IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Api-Key",
        "X-Auth-Request-User",
        "X-User-Id",
        "Remote-User",
        "X-HTTP-Method-Override",
        "X-Forwarded-For",
        "Forwarded",
        "Via",
        "Max-Forwards",
        "Authorization",
        "Cookie",
        "Client-Cert",
    ] {
        let mut trailers = fields(&[(name, "1"), ("x-checksum", "2")]);
        strip_request_trailers(&mut trailers);
        is(&trailers, &[("x-checksum", "2")]);
    }
}

#[test]
fn knows_the_gateways_own_fields() {
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "CONNECTION",
        "te",
        "upgrade",
        "keep-alive",
        ":path",
        "proxy-authenticate",
    ] {
        assert!(is_gateway_owned(name.as_bytes()), "{name}");
    }
    for name in ["", "x-a", "authorization", "date", "server", "content-type", "x-forwarded-for", "trailer"] {
        assert!(!is_gateway_owned(name.as_bytes()), "{name}");
    }
    assert!(!is_gateway_owned(&[b'a'; 100]));
}

#[test]
fn knows_forbidden_trailers() {
    for name in [
        "content-length",
        "host",
        "trailer",
        "authorization",
        "content-type",
        "set-cookie",
        "if-match",
        "date",
    ] {
        assert!(is_forbidden_trailer(name), "{name}");
    }
    for name in ["grpc-status", "grpc-message", "server-timing", "content-digest", "x-checksum", "etag"] {
        assert!(!is_forbidden_trailer(name), "{name}");
    }
}
