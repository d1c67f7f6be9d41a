use proptest::prelude::*;

use crate::h1::{
    BodyFraming, HeadLimits, LENGTH_MAX, ResponseOptions, parse_request, parse_response, write_request_head,
    write_response_head,
};
use crate::{
    RequestHead, ResponseHead, Scheme, Version, reason_phrase, set_request_target, strip_request_hop_by_hop,
    strip_response_hop_by_hop,
};

fn request(method: &str, fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::default();
    head.method.push_str(method);
    head.authority.push_str("a.example:80");
    if method != "CONNECT" {
        set_request_target(&mut head, "/p?q").unwrap();
    }
    for (name, value) in fields {
        head.fields.append(name.as_bytes(), value.as_bytes()).unwrap();
    }
    head
}

#[track_caller]
fn request_is(head: &RequestHead, framing: BodyFraming, upgrade: Option<&str>, expected: &str) {
    let mut out = b"before ".to_vec();
    write_request_head(&mut out, head, "up.example", framing, upgrade);
    assert_eq!(std::str::from_utf8(&out).unwrap(), format!("before {expected}"));
}

#[test]
fn writes_requests() {
    let head = request("GET", &[("X-A", "b"), ("x-c", "")]);
    let start = "GET /p?q HTTP/1.1\r\nhost: up.example\r\nx-a: b\r\nx-c: \r\n";
    request_is(&head, BodyFraming::None, None, &format!("{start}\r\n"));
    request_is(
        &head,
        BodyFraming::Length(u64::MAX),
        None,
        &format!("{start}content-length: {}\r\n\r\n", u64::MAX),
    );
    request_is(&head, BodyFraming::Chunked, None, &format!("{start}transfer-encoding: chunked\r\n\r\n"));
    let upgrade = format!("{start}connection: upgrade\r\nupgrade: websocket\r\n\r\n");
    request_is(&head, BodyFraming::None, Some("websocket"), &upgrade);
    request_is(
        &request("CONNECT", &[]),
        BodyFraming::None,
        None,
        "CONNECT a.example:80 HTTP/1.1\r\nhost: up.example\r\n\r\n",
    );
    request_is(
        &request("POST", &[("te", "trailers")]),
        BodyFraming::None,
        None,
        "POST /p?q HTTP/1.1\r\nhost: up.example\r\nte: trailers\r\ncontent-length: 0\r\nconnection: te\r\n\r\n",
    );
}

#[track_caller]
fn response_is(status: u16, options: ResponseOptions<'_>, expected: &str) {
    let mut head = ResponseHead { status, ..ResponseHead::default() };
    head.fields.append(b"X-A", b"b").unwrap();
    let mut out = Vec::new();
    write_response_head(&mut out, &head, options);
    let line = format!("HTTP/1.1 {status} {}\r\nx-a: b\r\n", reason_phrase(status));
    assert_eq!(std::str::from_utf8(&out).unwrap(), format!("{line}{expected}\r\n"));
}

#[test]
fn writes_responses() {
    let plain = ResponseOptions {
        version: Version::Http11,
        framing: BodyFraming::Length(5),
        keep_alive: true,
        upgrade: None,
    };
    for status in (200..600).filter(|status| *status != 204) {
        response_is(status, plain, "content-length: 5\r\n");
    }
    response_is(
        200,
        ResponseOptions { framing: BodyFraming::Chunked, ..plain },
        "transfer-encoding: chunked\r\n",
    );
    response_is(200, ResponseOptions { framing: BodyFraming::None, ..plain }, "");
    response_is(200, ResponseOptions { framing: BodyFraming::UntilClose, ..plain }, "connection: close\r\n");
    response_is(
        200,
        ResponseOptions { keep_alive: false, ..plain },
        "content-length: 5\r\nconnection: close\r\n",
    );
    let old = ResponseOptions { version: Version::Http10, ..plain };
    response_is(200, old, "content-length: 5\r\nconnection: keep-alive\r\n");
    response_is(
        200,
        ResponseOptions { keep_alive: false, ..old },
        "content-length: 5\r\nconnection: close\r\n",
    );
    response_is(204, plain, "");
    response_is(103, ResponseOptions { keep_alive: false, ..plain }, "");
    response_is(
        101,
        ResponseOptions { upgrade: Some("x/1"), ..plain },
        "connection: upgrade\r\nupgrade: x/1\r\n",
    );
}

#[test]
fn chooses_a_framing_that_the_client_knows() {
    for (framing, old, new) in [
        (BodyFraming::None, BodyFraming::None, BodyFraming::None),
        (BodyFraming::Length(1), BodyFraming::Length(1), BodyFraming::Length(1)),
        (BodyFraming::Chunked, BodyFraming::UntilClose, BodyFraming::Chunked),
        (BodyFraming::UntilClose, BodyFraming::UntilClose, BodyFraming::Chunked),
    ] {
        assert_eq!(framing.for_client(Version::Http10), old);
        assert_eq!(framing.for_client(Version::Http11), new);
    }
}

/// Names and values that a message may hold; some of them mean something.
fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        "x-[a-z]{1,8}",
        prop::sample::select(vec!["Connection", "TE", "Keep-Alive", "Trailer", "Proxy-Connection"])
            .prop_map(str::to_owned)
    ];
    let value = prop_oneof!["[!-~]{0,12}", Just("close, x-a".to_owned()), Just("trailers".to_owned())];
    prop::collection::vec((name, value), 0..10)
}

proptest! {
    /// What is written is read as what was meant, with no field of the client's framing among it.
    #[test]
    fn a_written_request_reads_back(
        fields in fields(),
        framing in prop_oneof![
            Just(BodyFraming::None),
            (0..=LENGTH_MAX).prop_map(BodyFraming::Length),
            Just(BodyFraming::Chunked),
        ],
    ) {
        let mut head = request("GET", &[]);
        for (name, value) in &fields {
            head.fields.append(name.as_bytes(), value.as_bytes()).unwrap();
        }
        strip_request_hop_by_hop(&mut head.fields);
        let mut out = Vec::new();
        write_request_head(&mut out, &head, &head.authority, framing, None);
        let mut read = RequestHead::default();
        let parsed = parse_request(&out, &HeadLimits::default(), Scheme::Http, &mut read).unwrap().unwrap();
        prop_assert_eq!((parsed.head_len, parsed.framing, parsed.keep_alive), (out.len(), framing, true));
        strip_request_hop_by_hop(&mut read.fields);
        prop_assert_eq!((read.target(), &read.authority), (head.target(), &head.authority));
        prop_assert!(read.fields.iter().eq(head.fields.iter()));
    }

    #[test]
    fn a_written_response_reads_back(
        fields in fields(),
        status in 200u16..600,
        framing in prop_oneof![(0..=LENGTH_MAX).prop_map(BodyFraming::Length), Just(BodyFraming::Chunked)],
        keep_alive in any::<bool>(),
    ) {
        prop_assume!(status != 204 && status != 304);
        let mut head = ResponseHead { status, ..ResponseHead::default() };
        for (name, value) in &fields {
            head.fields.append(name.as_bytes(), value.as_bytes()).unwrap();
        }
        strip_response_hop_by_hop(&mut head.fields);
        let mut out = Vec::new();
        let options = ResponseOptions { version: Version::Http11, framing, keep_alive, upgrade: None };
        write_response_head(&mut out, &head, options);
        let mut read = ResponseHead::default();
        let parsed = parse_response(&out, &HeadLimits::default(), "GET", &mut read).unwrap().unwrap();
        prop_assert_eq!((parsed.head_len, parsed.framing, parsed.keep_alive), (out.len(), framing, keep_alive));
        strip_response_hop_by_hop(&mut read.fields);
        prop_assert_eq!(read.status, status);
        prop_assert!(read.fields.iter().eq(head.fields.iter()));
    }
}
