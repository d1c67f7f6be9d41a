//! The record that every exchange ends with, whatever became of it.

use hyper::Method;
use rustix::process::Signal;
use serde_json::Value;

use crate::edge::{Edge, Http};
use crate::h2_attacks::{GET, get, post, silent};
use crate::harness::{Answer, H2Frame, H2Frames, RawClient, TestGateway, TestUpstream, eventually};
use crate::setup::record;

#[tokio::test]
async fn a_record_says_what_happened() {
    let upstream = TestUpstream::h1(|_| Answer::text("four").status(201)).await;
    let gateway = Edge::to(upstream.address()).start().await;
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let fields = [("user-agent", "test/1"), ("traceparent", traceparent)];
    for (version, path, written) in [(Http::One, "/one", "HTTP/1.1"), (Http::Two, "/two", "HTTP/2.0")] {
        version
            .client(&gateway)
            .await
            .send(Method::POST, &format!("{path}?secret=1"), &fields, "body!")
            .await;
        let noted = record(&gateway, path).await;
        for (key, expected) in [
            ("client", "127.0.0.1"),
            ("peer", "127.0.0.1"),
            ("listener", "web"),
            ("method", "POST"),
            ("scheme", "http"),
            ("authority", "gateway.test"),
            ("route", "all"),
            ("upstream", "app"),
            ("endpoint", &upstream.address().to_string()),
            ("user_agent", "test/1"),
            ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ] {
            assert_eq!(noted[key], expected, "{key}");
        }
        assert!(noted["version"].as_str().unwrap().starts_with(&written[..6]), "{noted}");
        for (key, expected) in [("status", 201), ("attempts", 1), ("request_bytes", 5), ("response_bytes", 4)]
        {
            assert_eq!(noted[key], expected, "{key}");
        }
        assert!(noted["duration_us"].as_u64() >= noted["upstream_duration_us"].as_u64());
        assert!(noted["error"].is_null() && noted["tls"].is_null(), "{noted}");
        assert!(!noted.to_string().contains("secret"), "a query may hold secrets: {noted}");
    }
}

#[tokio::test]
async fn text_is_one_line_as_other_servers_write_it() {
    let upstream = TestUpstream::named("app").await;
    let gateway = TestGateway::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[upstreams.app]\nendpoints = [\"{}\"]\n[routes.all]\nto = \"app\"\n",
        upstream.address()
    ))
    .await;
    Http::One.client(&gateway).await.get_with("/a", &[("user-agent", "x \"y\" \\z")]).await;
    let line = gateway.wait_for_access_line("a record", |line| line.contains("GET /a")).await;
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.contains("] \"GET /a HTTP/1.1\" 200 3 \"-\" \"x \\x22y\\x22 \\x5cz\" "), "{line}");
    for part in
        ["listener=web", "authority=gateway.test", "route=all", "upstream=app", "attempts=1", "received=0"]
    {
        assert!(line.contains(&format!(" {part}")), "{part}: {line}");
    }
}

#[tokio::test]
async fn nothing_that_a_client_sends_can_forge_a_record() {
    let upstream = TestUpstream::named("app").await;
    for format in ["text", "json"] {
        let gateway = TestGateway::start(&format!(
            "[server]\naccess-log = {{ format = \"{format}\" }}\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
             [upstreams.app]\nendpoints = [\"{}\"]\n[routes.all]\nto = \"app\"\n",
            upstream.address()
        ))
        .await;
        let hostile: [&[u8]; 4] = [
            b"\" 200 0 \"-\" \"forged",
            b"\xff\xfe\xc2\x9b31m \x80",
            b"\t{\"status\":200}, \\u000a \\n",
            b"</script><script>alert(1)",
        ];
        for (at, value) in hostile.iter().enumerate() {
            let mut client = RawClient::connect(gateway.address("web")).await;
            let head = format!("GET /{at}/%0a%22{{}} HTTP/1.1\r\nHost: a\r\nUser-Agent: ");
            client.send([head.as_bytes(), value, b"\r\n\r\n"].concat()).await;
            // An encoded line end is refused, the others pass; there is one record for each.
            client.read_response().await;
            let mut client = RawClient::connect(gateway.address("web")).await;
            let head = format!("GET /fine/{at}/%22{{}} HTTP/1.1\r\nHost: a\r\nUser-Agent: ");
            client.send([head.as_bytes(), value, b"\r\n\r\n"].concat()).await;
            assert_eq!(client.read_response().await.status, 200);
            let line =
                gateway.wait_for_access_line("a record", |line| line.contains(&format!("/fine/{at}/"))).await;
            assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte) || byte >= 0x80), "{line:?}");
            assert!(!line.contains('\u{9b}'), "{line:?}");
            if format == "json" {
                let parsed: Value = serde_json::from_str(&line).unwrap();
                assert_eq!(
                    (&parsed["status"], &parsed["path"]),
                    (&200.into(), &format!("/fine/{at}/%22%7B%7D").into())
                );
            } else {
                assert_eq!(line.matches('"').count(), 6, "{line}");
            }
        }
    }
}

#[tokio::test]
async fn refused_requests_are_recorded_with_a_reason() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address())
        .server("trusted-proxies = [\"127.0.0.1\"]")
        .listener("limits = { head = \"4KiB\" }\ntimeouts = { request-head = \"2s\" }")
        .route("match = { path = \"/app/*\" }\nlimits = { body = \"10B\" }")
        .start()
        .await;
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(5000));
    for (bytes, status, reason) in [
        ("GET / HTTP/1.1\r\n\r\n", 400, "no host"),
        ("GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n", 400, "encoded slash"),
        (&*large, 431, "too large"),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, "version"),
        ("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404, "no route"),
        ("POST /app/x HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 413, "larger than 10 bytes"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 404, "no route"),
        ("GET / HTTP/1.1\r\nHost", 408, "too long"),
    ] {
        // What served others before does not say who this one is.
        for _ in 0..8 {
            let mut other = Http::One.client(&gateway).await;
            let reply = other.get_with("/other", &[("x-forwarded-for", "203.0.113.7")]).await;
            assert_eq!(reply.status, 404);
        }
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(bytes).await;
        assert_eq!(client.read_response().await.status, status, "{bytes:?}");
        let wanted = |line: &str| {
            let noted: Value = serde_json::from_str(line).unwrap_or_default();
            noted["client"] == "127.0.0.1"
                && noted["status"] == status
                && noted["error"].as_str().is_some_and(|error| error.contains(reason))
        };
        gateway.wait_for_access_line(&format!("a record of {status} with `{reason}`"), wanted).await;
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn records_may_go_to_a_file_or_nowhere() {
    let upstream = TestUpstream::named("app").await;
    let config = |log: &str| {
        format!(
            "[server]\naccess-log = {log}\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
             [upstreams.app]\nendpoints = [\"{}\"]\n[routes.all]\nto = \"app\"\n",
            upstream.address()
        )
    };
    let gateway = TestGateway::start(&config("{ format = \"json\", file = \"access.log\" }")).await;
    let file = gateway.dir().join("access.log");
    Http::One.client(&gateway).await.get("/to-a-file").await;
    eventually("the record is in the file", async || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains("/to-a-file")).then_some(())
    })
    .await;
    assert!(gateway.stdout().is_empty());

    let gateway = TestGateway::start(&config("{ format = \"off\" }")).await;
    assert_eq!(Http::One.client(&gateway).await.get("/nowhere").await.status, 200);
    assert_eq!(gateway.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn what_was_refused_is_shown_as_it_came() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    for (request, method, path) in [
        ("GET /a%2Fb?key=secret HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/a%2Fb"),
        ("DELETE /old/..;/x HTTP/1.1\r\nHost: a\r\n\r\n", "DELETE", "/old/..;/x"),
        ("GET /nohost HTTP/1.1\r\n\r\n", "GET", "/nohost"),
        ("GET /bare HTTP/1.1\nHost: a\n\n", "GET", "/bare"),
    ] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        // Nothing of an earlier request of the connection is taken for this one's.
        client.send("GET /fine HTTP/1.1\r\nHost: fine.test\r\nUser-Agent: fine\r\n\r\n").await;
        assert_eq!(client.read_response().await.status, 200);
        client.send(request).await;
        assert_eq!(client.read_response().await.status, 400);
        let noted = record(&gateway, path).await;
        assert_eq!((&noted["method"], &noted["status"]), (&method.into(), &400.into()), "{noted}");
        assert!(!noted.to_string().contains("fine") && !noted.to_string().contains("secret"), "{noted}");
        assert!(noted["error"].is_string(), "{noted}");
    }
    // Over HTTP/2 the same.
    let answer = Http::Two.client(&gateway).await.get("/two%2Fb").await;
    assert_eq!(answer.status, 400);
    assert_eq!(record(&gateway, "/two%2Fb").await["method"], "GET");
}

#[tokio::test]
async fn a_head_that_does_not_come_is_shown_as_far_as_it_came() {
    let upstream = TestUpstream::named("app").await;
    let gateway =
        Edge::to(upstream.address()).listener("timeouts = { request-head = \"100ms\" }").start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET /half HTTP/1.1\r\nHos").await;
    assert_eq!(client.read_response().await.status, 408);
    assert_eq!(record(&gateway, "/half").await["status"], 408);
}

/// What the HTTP/2 codec refuses by itself never becomes an exchange.
#[tokio::test]
async fn heads_that_never_become_a_request_are_recorded_over_http2_too() {
    let upstream = silent().await;
    let gateway = Edge::to(upstream.address())
        .server("metrics = \"127.0.0.1:0\"")
        .listener("limits = { streams = 1, head = \"4KiB\" }\ntimeouts = { request-head = \"2s\" }")
        .start()
        .await;
    let large = "x".repeat(5000);
    let with = |field: (&'static str, &'static str)| [&GET[..], &[field]].concat();
    let large = [&GET[..], &[("x-a", &*large)]].concat();
    let cases: Vec<(&str, Vec<H2Frame>, u16, &str)> = vec![
        ("no path", vec![H2Frame::headers(1, &[GET[0], GET[1], GET[3]])], 0, "malformed head"),
        (
            "a field of the connection",
            vec![H2Frame::headers(1, &with(("connection", "close")))],
            0,
            "malformed head",
        ),
        ("upper case", vec![H2Frame::headers(1, &with(("X-A", "1")))], 0, "protocol error"),
        ("a large field", vec![H2Frame::headers(1, &large)], 431, "too large"),
        ("a stream too many", vec![post(1), get(3)], 0, "more streams at once"),
        (
            "an index without an entry",
            vec![H2Frame::new(1, 5, 1, [0xff, 0xff, 0x7f])],
            0,
            "cannot be decoded",
        ),
        ("half a head", vec![H2Frame::new(1, 1, 1, [0x82])], 0, "took too long"),
    ];
    let count = cases.len();
    let refused = || -> Vec<Value> {
        let records = gateway.stdout();
        let records = records.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.filter(|record| record["path"] == "").collect()
    };
    for (at, (what, frames, status, reason)) in cases.into_iter().enumerate() {
        let mut client = H2Frames::connect(gateway.address("web")).await;
        client.send_all(&frames).await;
        let noted = eventually(&format!("a record of {what}"), async || refused().get(at).cloned()).await;
        assert!(noted["error"].as_str().is_some_and(|error| error.contains(reason)), "{what}: {noted}");
        assert_eq!(
            (&noted["status"], &noted["version"]),
            (&status.into(), &"HTTP/2.0".into()),
            "{what}: {noted}"
        );
        assert_eq!(
            (&noted["client"], &noted["error_side"]),
            (&"127.0.0.1".into(), &"client".into()),
            "{noted}"
        );
        assert!(noted.get("route").is_none() && noted["method"] == "", "{noted}");
    }
    let text = crate::metrics::page(&gateway).await;
    let errors = format!("portcullis_request_errors_total{{route=\"\",side=\"client\"}} {count}\n");
    assert!(text.contains(&errors), "{text}");
}

/// The codec resets some streams that it hands over nevertheless.
#[tokio::test]
async fn a_request_that_was_reset_before_it_was_served_has_one_record() {
    let upstream = TestUpstream::named("app").await;
    let mut gateway = Edge::to(upstream.address()).start().await;
    let mut fields = [&GET[..], &[("content-length", "1")]].concat();
    fields[0].1 = "POST";
    let head = H2Frame { flags: 4, ..H2Frame::headers(1, &fields) };
    let mut client = H2Frames::connect(gateway.address("web")).await;
    client.send_all(&[head, H2Frame::new(0, 1, 1, *b"two"), get(3)]).await;
    gateway.wait_for_access_line("a record of the one behind it", |line| line.contains("\"GET\"")).await;
    gateway.signal(Signal::TERM);
    gateway.wait().await;
    let lines = gateway.stdout();
    assert_eq!(lines.iter().filter(|line| !line.contains("\"GET\"")).count(), 1, "{lines:?}");
}

#[tokio::test]
async fn records_are_in_the_order_in_which_exchanges_ended() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    // A connection for each, so that all workers have some.
    for at in 0..60 {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(format!("GET /{at} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        client.read_to_end().await;
    }
    record(&gateway, "/59").await;
    let records: Vec<Value> =
        gateway.stdout().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let paths: Vec<_> = records.iter().map(|record| record["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(paths, (0..60).map(|at| format!("/{at}")).collect::<Vec<_>>());
    let times: Vec<_> = records.iter().map(|record| record["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
}
