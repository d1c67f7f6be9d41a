//! Requests of HTTP/2, frame by frame: targets, fields, how they end, and answers that come before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::edge::{Edge, pattern};
use crate::h2_attacks::{GET, get, post, rst, sent, serves, silent};
use crate::harness::{
    Answer, H2Frame, H2Frames, RawClient, RawUpstream, TestGateway, TestUpstream, curl, eventually,
};

/// The status of the answer to a GET of `path`: 200, 400 and the like are one byte of HPACK's static table.
async fn status_of(gateway: &TestGateway, fields: &[(&str, &str)]) -> u16 {
    let mut client = H2Frames::connect(gateway.address("web")).await;
    client.send(&H2Frame::headers(1, fields)).await;
    let answer = client.find(|frame| matches!(frame.kind, 1 | 3 | 7)).await.unwrap();
    match (answer.kind, answer.payload[0]) {
        (1, 0x88) => 200,
        (1, 0x8c) => 400,
        (1, 0x8d) => 404,
        (1, _) => 1,
        _ => 0,
    }
}

#[tokio::test]
async fn a_target_is_read_as_over_http1() {
    let h1 = TestUpstream::named("app").await;
    let h2 = TestUpstream::h2(|_| Answer::text("app")).await;
    for (upstream, line) in [(&h1, ""), (&h2, "protocol = \"h2\"\nejection = { failures = 1 }")] {
        let gateway = Edge::to(upstream.address()).upstream(line).start().await;
        for (path, expected) in [
            ("/a#b", None),
            ("#x", None),
            ("#", None),
            ("/?q#x", None),
            ("/#", None),
            ("/a b", None),
            ("/a\\b", None),
            ("/a\u{e9}", None),
            ("/?\u{e9}", None),
            ("a", None),
            ("http://b/", None),
            ("?a", None),
            ("*", None),
            ("/a\tb", None),
            ("/?q=\"<x>\"", Some("/?q=%22%3Cx%3E%22")),
            ("/\"<a>\"", Some("/%22%3Ca%3E%22")),
            ("/?a|b^c`{d}", Some("/?a|b^c`{d}")),
            ("/[a]`^{b}|", Some("/%5Ba%5D%60%5E%7Bb%7D%7C")),
        ] {
            let mut fields = GET;
            fields[2].1 = path;
            let over_h2 = status_of(&gateway, &fields).await;
            let mut client = RawClient::connect(gateway.address("web")).await;
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
            let over_h1 = client.read_response_head().await.status;
            match expected {
                None => assert_eq!(over_h2, 400, "{path}, {line}"),
                Some(target) => {
                    assert_eq!((over_h1, over_h2), (200, 200), "{path}, {line}");
                    let requests = upstream.requests();
                    for request in &requests[requests.len() - 2..] {
                        assert_eq!(request.uri.path_and_query().unwrap().as_str(), target, "{path}, {line}");
                    }
                }
            }
        }
        assert!(!gateway.stderr().contains("left out"), "an endpoint was left out: {}", gateway.stderr());
    }
}

#[tokio::test]
async fn crumbs_of_cookies_are_one_field_and_bounded_singly() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).listener("limits = { fields = 50 }").start().await;
    let crumbs: Vec<_> = (0..200).map(|at| format!("c{at}=v")).collect();
    let with = |crumbs: &[String], others: usize| {
        let names: Vec<_> = (0..others).map(|at| format!("x-{at}")).collect();
        let mut fields: Vec<(String, String)> =
            GET.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        fields.extend(crumbs.iter().map(|crumb| ("cookie".to_owned(), crumb.clone())));
        fields.extend(names.into_iter().map(|name| (name, "1".to_owned())));
        fields
    };
    let ask = async |fields: Vec<(String, String)>| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        status_of(&gateway, &fields).await
    };
    // Fifty fields are allowed: the last one is the cookie.
    assert_eq!(ask(with(&crumbs, 49)).await, 200);
    assert_eq!(upstream.last_request().headers.get_all("cookie").iter().count(), 1);
    assert_eq!(upstream.last_request().header("cookie"), crumbs.join("; "));
    assert_eq!(ask(with(&crumbs, 50)).await, 1, "431");
    // Each counts 32 octets beside its own: 32 KiB are some 700 of these, though they are but 7 KiB.
    let many: Vec<_> = (0..1000).map(|at| format!("{at}=v")).collect();
    assert_eq!(ask(with(&many, 0)).await, 1, "431");
    assert_eq!(upstream.requests().len(), 1);
}

/// A request whose end is not what it should be, is no whole request for the upstream.
#[tokio::test]
async fn a_request_that_does_not_end_as_it_should_is_never_taken_for_whole() {
    let long = "m".repeat(15_000);
    let many: Vec<_> = (0..120).map(|at| format!("x-{at}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "")).collect();
    let trailers = |fields: &[(&str, &str)]| vec![H2Frame::headers(1, fields)];
    for (what, frames) in [
        ("pseudo-header field in trailers", trailers(&[("x-a", "1"), (":path", "/b")])),
        ("another one", trailers(&[(":method", "GET")])),
        ("status in trailers", trailers(&[(":status", "200")])),
        ("a pseudo-header field that nobody knows", trailers(&[(":secret", "1")])),
        ("trailers over the limit", trailers(&[("x-a", &long), ("x-b", "1")])),
        ("too many trailers", trailers(&many)),
        ("connection-specific trailers", trailers(&[("connection", "close")])),
        ("transfer-encoding in trailers", trailers(&[("transfer-encoding", "chunked")])),
        ("upper case in trailers", trailers(&[("X-A", "1")])),
        ("trailers without an end", vec![H2Frame { flags: 4, ..H2Frame::headers(1, &[("x-a", "1")]) }]),
        ("NO_ERROR", vec![H2Frame::new(3, 0, 1, [0; 4])]),
        ("CANCEL", vec![rst(1)]),
        ("the end of the connection", vec![]),
        (
            "DATA behind trailers without an end",
            vec![
                H2Frame { flags: 4, ..H2Frame::headers(1, &[("x-a", "1")]) },
                H2Frame::new(0, 1, 1, *b"more"),
            ],
        ),
        ("a block that cannot be decoded", vec![H2Frame::new(1, 5, 1, [0x80])]),
    ] {
        let whole = Arc::new(AtomicUsize::new(0));
        let (seen, ended) = (Arc::clone(&whole), Arc::new(AtomicUsize::new(0)));
        let over = Arc::clone(&ended);
        let upstream = RawUpstream::start(move |mut connection, _| {
            let (seen, over) = (Arc::clone(&seen), Arc::clone(&over));
            async move {
                let all = connection.read_to_end().await;
                if all.ends_with(b"0\r\n\r\n") || String::from_utf8_lossy(&all).contains("\r\n0\r\n") {
                    seen.fetch_add(1, Ordering::SeqCst);
                }
                over.fetch_add(1, Ordering::SeqCst);
            }
        })
        .await;
        let gateway = Edge::to(upstream.address()).listener("limits = { head = \"8KiB\" }").start().await;
        let mut client = H2Frames::connect(gateway.address("web")).await;
        assert!(sent(&mut client, &[post(1), H2Frame::new(0, 0, 1, *b"part")]).await);
        eventually("the upstream is asked", async || (upstream.connections() == 1).then_some(())).await;
        for frame in &frames {
            client.send(frame).await;
        }
        if frames.is_empty() {
            drop(client);
        }
        eventually(what, async || (ended.load(Ordering::SeqCst) == 1).then_some(())).await;
        assert_eq!(whole.load(Ordering::SeqCst), 0, "{what}");
    }
}

#[tokio::test]
async fn frames_behind_the_end_of_a_stream_are_an_error() {
    let upstream = silent().await;
    let gateway = Edge::to(upstream.address()).start().await;
    for (what, frame) in [
        ("DATA", H2Frame::new(0, 0, 1, *b"more")),
        ("DATA that ends it again", H2Frame::new(0, 1, 1, [])),
        ("trailers", H2Frame::headers(1, &[("x-a", "1")])),
        ("a head", get(1)),
    ] {
        let mut client = H2Frames::connect(gateway.address("web")).await;
        client.send(&get(1)).await;
        client.send(&frame).await;
        let end = client.find(|frame| matches!(frame.kind, 3 | 7)).await;
        assert!(end.is_none_or(|end| end.error_code() != 0), "{what}");
    }
    // And on a stream that was never opened.
    for frame in
        [H2Frame::new(0, 1, 1, *b"x"), rst(1), H2Frame::new(8, 0, 1, [0, 0, 0, 1]), H2Frame::new(9, 4, 1, [])]
    {
        let mut client = H2Frames::connect(gateway.address("web")).await;
        client.send(&frame).await;
        let end = client.find(|frame| matches!(frame.kind, 7)).await;
        assert!(end.is_none_or(|end| end.error_code() != 0), "{frame:?}");
    }
}

/// An early answer reaches clients that take a reset behind it for a failure: Debian 12's curl does.
#[tokio::test]
async fn an_early_answer_reaches_curl_whatever_it_still_sends() {
    let upstream = TestUpstream::named("app").await;
    let gateway = TestGateway::builder()
        .file("small", pattern(60 * 1024))
        .file("large", pattern(200 * 1024))
        .file("huge", pattern(5 << 20));
    let config = format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n\n[upstreams.app]\nendpoints = [\"{}\"]\n\n\
         [policies.keys]\nplugin = \"builtin:api-key\"\nconfig = {{ keys = [{{ name = \"a\", \
         sha256 = \"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\" }}] }}\n\n\
         [routes.small]\nmatch = {{ path = \"/limited\" }}\nlimits = {{ body = \"10KiB\" }}\nto = \"app\"\n\n\
         [routes.keys]\nmatch = {{ path = \"/keys\" }}\nuse = [\"keys\"]\nto = \"app\"\n",
        upstream.address()
    );
    let gateway = gateway.start(&config).await;
    for (path, status) in [("/limited", "413"), ("/keys", "401"), ("/nowhere", "404")] {
        for body in ["small", "large", "huge"] {
            let file = format!("@{}", gateway.dir().join(body).display());
            let url = gateway.url("web", path);
            let ran = curl([
                "--http2-prior-knowledge",
                "--output",
                "/dev/null",
                "--write-out",
                "%{http_code}",
                "--header",
                "expect:",
                "--data-binary",
                &file,
                &url,
            ])
            .await;
            assert_eq!(ran.stdout, status, "{path}, {body}: {}", ran.stderr);
        }
    }
    assert!(upstream.requests().is_empty());
}

/// A head of few bytes that is large when it is unpacked (the "HTTP/2 bomb").
#[tokio::test]
async fn a_head_that_unpacks_to_a_large_one_is_refused() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    for (what, name, value) in
        [("small fields", "a", "b"), ("crumbs", "cookie", "a"), ("large ones", "a", "b")]
    {
        let value = if what == "large ones" { "b".repeat(3000) } else { value.to_owned() };
        let mut client = H2Frames::connect(gateway.address("web")).await;
        let mut bomb = H2Frame::headers(1, &GET);
        // Written out once, into the table, then named again and again by one byte.
        let field = H2Frame::headers(1, &[(name, &value)]).payload;
        bomb.payload.push(0x40);
        bomb.payload.extend(&field[1..]);
        bomb.payload.extend([0xbe; 10_000]);
        client.send(&bomb).await;
        let end = client.find(|frame| matches!(frame.kind, 1 | 3 | 7)).await;
        assert!(end.is_none_or(|frame| frame.kind != 1 || frame.payload[0] != 0x88), "{what}");
    }
    assert!(upstream.requests().is_empty());
    assert!(serves(&gateway).await);
}
