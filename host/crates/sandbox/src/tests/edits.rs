//! What may be read and edited in which hook.

use std::net::IpAddr;
use std::sync::Arc;

use portcullis_http::Version;
use portcullis_model::Name;
use portcullis_policy::{BodyDecision, Decision, Exchange, FaultKind, Hook, Outcome};
use portcullis_test_guests::{EDITS, LATE_EDITS};

use super::{both, config, exchange, piece, policy, run, tls, trailers};

fn hook(name: &str) -> Hook {
    match name {
        "request-head" => Hook::RequestHead,
        "request-body" => piece("x", true),
        "response-head" => Hook::ResponseHead,
        "response-body" => Hook::ResponseBody { chunk: bytes::Bytes::from_static(b"x"), last: true },
        _ => Hook::Completed(Outcome::default()),
    }
}

/// Makes an edit in a hook, and gives the exchange and what the guest was told.
fn edited(at: &str, mut exchange: Box<Exchange>, edit: &str) -> (Box<Exchange>, String) {
    let policy = policy(EDITS, &config("editing", "{}"));
    exchange.request.fields.set(b"x-edit", edit.as_bytes()).unwrap();
    let (exchange, result) = run(&*policy, hook(at), exchange);
    assert!(result.is_ok(), "{result:?}");
    let told = exchange.attributes.get(at).unwrap_or_default().to_owned();
    (exchange, told)
}

#[track_caller]
fn check(at: &str, edit: &str, told: &str) {
    assert_eq!(edited(at, exchange(), edit).1, told, "{edit} in {at}");
}

#[test]
pub(super) fn reads_the_request() {
    both(|| {
        for at in ["request-head", "request-body", "response-head", "response-body", "completed"] {
            check(at, "request.method", "GET");
            check(at, "request.scheme", "http");
            check(at, "request.authority", "example.com");
            check(at, "request.path", "/a/b");
            check(at, "request.query", "q=1");
            check(at, "request.header x-none", "none");
            check(at, "request.header-values X-Edit", "request.header-values X-Edit");
            check(at, "exchange.client-address", "192.0.2.1");
            check(at, "connection.client-certificate", "None");
            check(at, "connection.tls-server-name", "none");
            check(at, "exchange.route", "the-route");
            check(at, "exchange.trace-id", "0123456789abcdef0123456789abcdef");
        }
    });
}

#[test]
fn joins_lines_and_leaves_out_what_is_the_gateways() {
    both(|| {
        let with_fields = || {
            let mut exchange = exchange();
            for (name, value) in [("X-A", "1"), ("connection", "close"), ("x-a", "2"), ("te", "trailers")] {
                exchange.request.fields.append(name.as_bytes(), value.as_bytes()).unwrap();
            }
            exchange
        };
        let told = |edit| edited("request-head", with_fields(), edit).1;
        assert_eq!(told("request.header x-A"), "1, 2");
        assert_eq!(told("request.header-values x-a"), "1|2");
        assert_eq!(told("request.headers"), "x-a=1|x-a=2|x-edit=request.headers");
    });
}

/// Latin-1, a character of UTF-8 that is cut off, a byte that is in no UTF-8 text, and U+FFFD itself.
const NOT_TEXT: [(&[u8], &str, &str); 4] = [
    (b"caf\xe9", "caf\u{fffd}", r"caf\xe9"),
    (b"\xe2\x82", "\u{fffd}", r"\xe2\x82"),
    (b"a\xffb\xfe", "a\u{fffd}b\u{fffd}", r"a\xffb\xfe"),
    ("\u{fffd}".as_bytes(), "\u{fffd}", r"\xef\xbf\xbd"),
];

#[test]
fn bytes_that_are_not_text_are_given_as_they_are_and_as_text_with_a_mark() {
    both(|| {
        for (value, text, bytes) in NOT_TEXT {
            let with_field = || {
                let mut exchange = exchange();
                for fields in [&mut exchange.request.fields, &mut exchange.response.fields] {
                    fields.append(b"x-bytes", b"first").unwrap();
                    fields.append(b"x-bytes", value).unwrap();
                }
                exchange
            };
            for at in ["request-head", "request-body", "response-head", "response-body", "completed"] {
                let told = |edit: &str| edited(at, with_field(), edit).1;
                for head in
                    ["request", "response"].into_iter().take(if at.starts_with("request") { 1 } else { 2 })
                {
                    let read = |function: &str| told(&format!("{head}.{function} x-bytes"));
                    assert_eq!(read("header"), format!("first, {text}"));
                    assert_eq!(read("header-bytes"), format!("first, {bytes}"));
                    assert_eq!(read("header-values"), format!("first|{text}"));
                    assert_eq!(read("header-values-bytes"), format!("first|{bytes}"));
                    let of_all = read("headers");
                    assert!(of_all.contains(&format!("x-bytes=first|x-bytes={text}")), "{of_all}");
                    let of_all = read("headers-bytes");
                    assert!(of_all.contains(&format!("x-bytes=first|x-bytes={bytes}")), "{of_all}");
                }
            }
        }
    });
}

#[test]
fn sets_bytes_that_are_not_text() {
    both(|| {
        let (exchange, told) = edited("request-head", exchange(), "request.set-header-bytes x-a ff41");
        assert_eq!((&*told, exchange.request.fields.get(b"x-a")), ("ok", Some(&b"\xffA"[..])));
        let (exchange, told) = edited("request-head", exchange, "request.append-header-bytes x-a e9");
        assert_eq!(told, "ok");
        assert_eq!(exchange.request.fields.get_all(b"x-a").collect::<Vec<_>>(), [&b"\xffA"[..], b"\xe9"]);
        let (exchange, told) = edited("response-head", exchange, "response.set-header-bytes x-a ff41");
        assert_eq!((&*told, exchange.response.fields.get(b"x-a")), ("ok", Some(&b"\xffA"[..])));
        let (exchange, told) = edited("response-head", exchange, "response.append-header-bytes x-a e9");
        assert_eq!(told, "ok");
        assert_eq!(exchange.response.fields.get_all(b"x-a").count(), 2);
        check("request-head", "request.set-header-bytes x-a 410a42", "invalid-value");
        check("request-head", "request.set-header-bytes host 41", "forbidden");
        check("response-head", "response.append-header-bytes x-a 0d", "invalid-value");
    });
}

#[test]
fn answers_with_text_and_with_bytes() {
    both(|| {
        for (edit, value, body) in [
            ("exchange.reply-header x-a b", &b"b"[..], &b"text"[..]),
            ("exchange.reply-bytes x-a ffe9", b"\xff\xe9", b"bytes"),
        ] {
            let policy = policy(EDITS, &config("answering", "{}"));
            let mut exchange = exchange();
            exchange.request.fields.set(b"x-edit", edit.as_bytes()).unwrap();
            match run(&*policy, Hook::RequestHead, exchange).1 {
                Ok(Decision::Reply(reply)) => {
                    assert_eq!((reply.fields.get(b"x-a"), &reply.body[..]), (Some(value), body));
                }
                other => panic!("{edit}: {other:?}"),
            }
        }
        check("request-head", "exchange.reply-header content-length 4", "forbidden");
        check("request-head", "exchange.reply-bytes x-a 0a", "invalid-value");
    });
}

#[test]
fn text_that_is_not_utf_8_ends_the_guest() {
    both(|| {
        let policy = policy(EDITS, &config("not text", "{}"));
        let mut exchange = exchange();
        exchange.request.fields.set(b"x-edit", b"request.set-header-not-text").unwrap();
        let (exchange, result) = run(&*policy, Hook::RequestHead, exchange);
        let fault = result.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Trap, "{fault}");
        assert!(fault.message.contains("utf-8"), "{fault}");
        assert_eq!(exchange.request.fields.get(b"x-a"), None);
    });
}

#[test]
fn shows_no_response_before_there_is_one() {
    both(|| {
        for at in ["request-head", "request-body"] {
            check(at, "response.status", "0");
            check(at, "response.header content-type", "none");
            check(at, "response.headers", "");
            check(at, "response.set-header x-a b", "read-only");
        }
        for at in ["response-head", "response-body", "completed"] {
            check(at, "response.status", "200");
            check(at, "response.header content-type", "text/plain");
            check(at, "response.header-values content-type", "text/plain");
            check(at, "response.headers", "content-type=text/plain");
        }
    });
}

#[test]
fn edits_each_head_in_its_own_hooks_only() {
    both(|| {
        let of_request = [
            "set-method PUT",
            "set-authority a.b",
            "set-path-and-query /x",
            "set-upstream two",
            "set-header x-a b",
            "append-header x-a b",
            "remove-header x-a",
        ];
        for edit in of_request {
            let edit = format!("request.{edit}");
            for at in ["response-head", "response-body", "completed"] {
                check(at, &edit, "read-only");
            }
        }
        for edit in ["set-status 404", "set-header x-a b", "append-header x-a b", "remove-header x-a"] {
            let edit = format!("response.{edit}");
            for at in ["request-head", "request-body", "completed"] {
                check(at, &edit, "read-only");
            }
            check("response-head", &edit, "ok");
        }
    });
}

#[test]
pub(super) fn edits_the_head_until_the_policy_lets_its_body_go() {
    let of_request = [
        "set-method PUT",
        "set-authority a.b",
        "set-path-and-query /x",
        "set-upstream two",
        "set-header x-a b",
        "append-header x-a b",
        "remove-header x-a",
    ];
    let of_response = ["set-status 404", "set-header x-a b", "append-header x-a b", "remove-header x-a"];
    let sides = [("request", of_request.as_slice()), ("response", of_response.as_slice())];
    both(|| {
        for (side, edits) in sides {
            for edit in edits {
                let (at, edit) = (format!("{side}-body"), format!("{side}.{edit}"));
                let mut before = exchange();
                before.upstreams = Arc::from([Name::from("one"), Name::from("two")]);
                let mut after = exchange();
                after.body_begun = true;
                assert_eq!(edited(&at, before, &edit).1, "ok", "{edit}");
                assert_eq!(edited(&at, after, &edit).1, "read-only", "{edit}");
            }
        }
        // What is refused in the hook of the head is refused here.
        check("request-body", "request.set-header content-length 5", "forbidden");
        check("request-body", "request.set-header transfer-encoding chunked", "forbidden");
        check("response-body", "response.set-header connection close", "forbidden");
        check("response-body", "response.set-status 204", "invalid-value");
    });
    // One call may do both in whichever order: nothing goes on before it has returned.
    let script = r#"{"request-body":"set x-a b; replace new; set x-c d"}"#;
    let policy = policy(LATE_EDITS, &config("late", script));
    let (exchange, result) = run(&*policy, piece("old", false), exchange());
    let Ok(Decision::Body(BodyDecision::Replace(bytes))) = result else { panic!("{result:?}") };
    assert_eq!((&bytes[..], exchange.request.fields.get(b"x-c")), (&b"new"[..], Some(b"d".as_slice())));
}

#[test]
fn edits_the_request() {
    both(|| {
        let at = "request-head";
        let (exchange, told) = edited(at, exchange(), "request.set-method PATCH");
        assert_eq!((told.as_str(), exchange.request.method.as_str()), ("ok", "PATCH"));
        let (exchange, told) = edited(at, exchange, "request.set-authority [::1]:80");
        assert_eq!((told.as_str(), exchange.request.authority.as_str()), ("ok", "[::1]:80"));
        let (exchange, told) = edited(at, exchange, "request.set-path-and-query /x/../y//z?a=%2F");
        assert_eq!(told, "ok");
        assert_eq!(exchange.request.query(), Some("a=%2F"));
        assert!(!exchange.request.path().contains(".."), "{}", exchange.request.path());
        let (mut exchange, _) = edited(at, exchange, "request.set-header X-New one");
        assert_eq!(exchange.request.fields.get(b"x-new"), Some(b"one".as_slice()));
        exchange = edited(at, exchange, "request.append-header x-new two").0;
        assert_eq!(exchange.request.fields.get_all(b"x-new").count(), 2);
        exchange = edited(at, exchange, "request.set-header x-new three").0;
        assert_eq!(exchange.request.fields.get_all(b"x-new").collect::<Vec<_>>(), [b"three"]);
        exchange = edited(at, exchange, "request.remove-header X-NEW").0;
        assert_eq!(exchange.request.fields.get(b"x-new"), None);
        exchange.upstreams = Arc::from([Name::from("one"), Name::from("two")]);
        let (exchange, told) = edited(at, exchange, "request.set-upstream two");
        assert_eq!((told.as_str(), exchange.upstream), ("ok", 1));
        let (exchange, told) = edited(at, exchange, "request.set-upstream three");
        assert_eq!((told.as_str(), exchange.upstream), ("invalid-value", 1));
    });
}

#[test]
fn refuses_edits_that_are_not_valid() {
    both(|| {
        let at = "request-head";
        check(at, "request.set-method G@T", "invalid-name");
        check(at, "request.set-method CONNECT", "invalid-value");
        check(at, "request.set-authority user@host", "invalid-name");
        check(at, "request.set-path-and-query http://other/", "invalid-value");
        check(at, "request.set-header bad@name x", "invalid-name");
        check(at, "request.remove-header bad@name", "invalid-name");
        check(at, "request.set-header-control", "invalid-value");
        check(at, "request.set-header-size 70000", "too-large");
        for name in [
            "host",
            "Content-Length",
            "transfer-encoding",
            "CONNECTION",
            "keep-alive",
            "te",
            "upgrade",
            ":path",
        ] {
            check(at, &format!("request.set-header {name} x"), "forbidden");
            check(at, &format!("request.append-header {name} x"), "forbidden");
            check(at, &format!("request.remove-header {name}"), "forbidden");
            check("response-head", &format!("response.set-header {name} x"), "forbidden");
        }
    });
}

#[test]
fn keeps_method_and_target_of_one_kind() {
    both(|| {
        let mut tunnel = exchange();
        tunnel.request.method = "CONNECT".to_owned();
        tunnel.request.set_target("", None);
        let (tunnel, told) = edited("request-head", tunnel, "request.set-method GET");
        assert_eq!(told, "invalid-value");
        assert_eq!(edited("request-head", tunnel, "request.set-path-and-query /x").1, "invalid-value");
        // An extended CONNECT of HTTP/2 keeps the method that it was matched as, and may go to another path.
        let mut extended = exchange();
        extended.request.version = Version::Http2;
        extended.request.upgrade = Some("websocket".to_owned());
        let (extended, told) = edited("request-head", extended, "request.set-method POST");
        assert_eq!((told.as_str(), extended.request.method.as_str()), ("invalid-value", "GET"));
        assert_eq!(edited("request-head", extended, "request.set-path-and-query /x").1, "ok");
        let mut server_wide = exchange();
        server_wide.request.method = "OPTIONS".to_owned();
        server_wide.request.set_target("*", None);
        let (server_wide, told) = edited("request-head", server_wide, "request.set-method GET");
        assert_eq!(told, "invalid-value");
        let (server_wide, told) = edited("request-head", server_wide, "request.set-path-and-query /x");
        assert_eq!((told.as_str(), server_wide.request.target()), ("ok", "/x"));
    });
}

#[test]
fn refused_edits_leave_the_exchange_as_it_was() {
    both(|| {
        for edit in
            ["request.set-header-size 70000", "request.set-header-control", "request.set-path-and-query x"]
        {
            let (exchange, told) = edited("request-head", exchange(), edit);
            assert!(told != "ok", "{told}");
            assert_eq!(exchange.request.fields.len(), 1, "x-edit alone");
            assert_eq!(exchange.request.target(), "/a/b?q=1");
        }
    });
}

#[test]
fn a_head_that_came_in_large_may_shrink_but_not_grow() {
    both(|| {
        let mut large = exchange();
        large.request.fields.append(b"x-large", &vec![b'x'; 70_000]).unwrap();
        let (large, told) = edited("request-head", large, "request.set-header x-new y");
        assert_eq!(told, "too-large");
        let (large, told) = edited("request-head", large, "request.set-header x-large y");
        assert_eq!(told, "ok");
        assert!(large.request.fields.size() < 1000);
    });
}

#[test]
fn sets_a_status_that_keeps_the_body_what_it_is() {
    both(|| {
        let at = "response-head";
        for (status, told) in [(200, "ok"), (599, "ok"), (199, "no"), (600, "no"), (204, "no"), (304, "no")] {
            let told = if told == "no" { "invalid-value" } else { told };
            check(at, &format!("response.set-status {status}"), told);
        }
        let mut empty = exchange();
        empty.response.status = 204;
        assert_eq!(edited(at, empty, "response.set-status 200").1, "invalid-value");
    });
}

#[test]
fn shows_mapped_addresses_as_ipv4() {
    both(|| {
        let told = |address: &str| {
            ["exchange.client-address", "exchange.client-address-bytes"].map(|function| {
                let mut exchange = exchange();
                exchange.client.address = address.parse::<IpAddr>().unwrap();
                edited("request-head", exchange, function).1
            })
        };
        assert_eq!(told("::ffff:192.0.2.7"), ["192.0.2.7", "[c0, 0, 2, 7]"]);
        let v6 = "[20, 1, d, b8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]";
        assert_eq!(told("2001:db8:0:0::1"), ["2001:db8::1", v6]);
    });
}

#[test]
fn bounds_the_attributes() {
    both(|| {
        check("request-head", "exchange.set-attribute-size 16000", "ok");
        check("request-head", "exchange.set-attribute-size 16384", "too-large");
    });
}

#[test]
fn trailers_are_at_hand_where_a_body_ends_and_can_be_edited_there() {
    let with = || {
        let mut exchange = exchange();
        exchange.trailers = Some(Box::new(trailers()));
        exchange
    };
    both(|| {
        for at in ["request-body", "response-body", "completed"] {
            let told = |edit| edited(at, with(), edit).1;
            assert_eq!(told("trailers.header X-Some"), "first, second");
            assert_eq!(told("trailers.header-values x-some"), "first|second");
            assert_eq!(told("trailers.header x-bytes"), "\u{fffd} a");
            assert_eq!(told("trailers.header x-none"), "none");
        }
        for at in ["request-body", "response-body"] {
            let edit = |edit: &str| {
                let (exchange, told) = edited(at, with(), edit);
                (exchange.trailers.unwrap_or_default(), told)
            };
            let (after, told) = edit("trailers.set-header grpc-status 0");
            assert_eq!((after.get(b"grpc-status"), told.as_str()), (Some(&b"0"[..]), "ok"));
            let (after, told) = edit("trailers.append-header x-some third");
            assert_eq!((after.get_all(b"x-some").count(), told.as_str()), (3, "ok"));
            let (after, told) = edit("trailers.remove-header x-some");
            assert_eq!((after.get(b"x-some"), told.as_str()), (None, "ok"));
            assert_eq!(edit("trailers.set-header-size 70000").1, "too-large");
            assert_eq!(edit("trailers.set-header no@token x").1, "invalid-name");
            // What is framing, routing or a credential must not come behind what it is about.
            for name in [
                "Content-Length",
                "transfer-encoding",
                "Host",
                "CONNECTION",
                "te",
                "trailer",
                "upgrade",
                "authorization",
                "cookie",
                "set-cookie",
                "cache-control",
                "content-type",
                "content-encoding",
                "if-match",
                "x-forwarded-for",
                "vary",
                "age",
            ] {
                let (after, told) = edit(&format!("trailers.set-header {name} 5"));
                assert_eq!((after.len(), told.as_str()), (3, "forbidden"), "{name}");
                assert_eq!(edit(&format!("trailers.append-header {name} 5")).1, "forbidden", "{name}");
            }
            // A body without trailers gets some.
            let (exchange, told) = edited(at, exchange(), "trailers.set-header x-a b");
            assert_eq!((exchange.trailers.unwrap().len(), told.as_str()), (1, "ok"));
        }
    });
}

#[test]
fn trailers_are_read_only_where_none_can_be_sent() {
    both(|| {
        let edit = "trailers.set-header x-a b";
        for at in ["request-head", "response-head", "completed"] {
            check(at, edit, "read-only");
        }
        let policy = policy(EDITS, &config("editing", "{}"));
        let mut midway = exchange();
        midway.request.fields.set(b"x-edit", edit.as_bytes()).unwrap();
        let (midway, _) = run(&*policy, piece("x", false), midway);
        assert_eq!(midway.attributes.get("request-body"), Some("read-only"), "more of the body follows");
        let told = |at, change: fn(&mut Exchange)| {
            let mut exchange = exchange();
            change(&mut exchange);
            edited(at, exchange, edit).1
        };
        assert_eq!(
            told("response-body", |exchange| exchange.request.method = "HEAD".to_owned()),
            "read-only"
        );
        for status in [204, 205, 304] {
            let mut empty = exchange();
            empty.response.status = status;
            assert_eq!(edited("response-body", empty, edit).1, "read-only", "{status}");
        }
        let upgrade = |exchange: &mut Exchange| exchange.request.upgrade = Some("websocket".to_owned());
        assert_eq!(told("request-body", upgrade), "read-only");
    });
}

#[test]
fn shows_the_connection() {
    both(|| {
        let told = |edit| {
            let mut exchange = exchange();
            exchange.request.version = Version::Http2;
            exchange.client.listener = Name::from("public");
            exchange.client.peer = "::ffff:192.0.2.7".parse().unwrap();
            exchange.client.tls = Some(tls());
            edited("request-head", exchange, edit).1
        };
        assert_eq!(told("connection.protocol"), "HTTP/2");
        assert_eq!(told("connection.listener"), "public");
        assert_eq!(told("connection.peer-address"), "192.0.2.7");
        assert_eq!(told("connection.peer-address-bytes"), "[c0, 0, 2, 7]");
        assert_eq!(told("connection.tls-version"), "TLSv1.3");
        assert_eq!(told("connection.tls-cipher"), "TLS_AES_128_GCM_SHA256");
        assert_eq!(told("connection.tls-alpn"), "h2");
        check("request-head", "connection.protocol", "HTTP/1.1");
        for what in ["tls-version", "tls-cipher", "tls-alpn"] {
            check("completed", &format!("connection.{what}"), "none");
        }
    });
}

#[test]
fn sets_the_key_of_the_endpoint() {
    both(|| {
        let key = |edit| {
            let (exchange, told) = edited("request-head", exchange(), edit);
            (exchange.endpoint_key, told)
        };
        assert_eq!(key("request.set-endpoint-key alice"), (Some(b"alice"[..].into()), "ok".to_owned()));
        assert_eq!(key("request.set-endpoint-key-bytes ff00"), (Some([0xff, 0][..].into()), "ok".to_owned()));
        assert_eq!(key("request.set-endpoint-key-size 1024").1, "ok");
        assert_eq!(key("request.set-endpoint-key-size 1025"), (None, "too-large".to_owned()));
        check("request-body", "request.set-endpoint-key alice", "ok");
        check("response-head", "request.set-endpoint-key alice", "read-only");
    });
}
