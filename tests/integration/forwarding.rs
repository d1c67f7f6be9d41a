//! What the upstream hears of the client and of the path to it, and what the client hears of the upstream.

use hyper::Method;

use crate::edge::{COMBINATIONS, Edge, Http};
use crate::harness::{Answer, RawClient, TestUpstream};

#[tokio::test]
async fn the_gateway_says_who_the_client_is() {
    for (client, server) in COMBINATIONS {
        let upstream = server.server(|_| Answer::text("")).await;
        let gateway = Edge::to(upstream.address()).upstream(server.line()).start().await;
        client.client(&gateway).await.get_with("/", &[("host", "site.test:81")]).await;
        let received = upstream.last_request();
        for (name, expected) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "site.test:81"),
            ("x-real-ip", "127.0.0.1"),
            ("forwarded", "for=127.0.0.1;host=\"site.test:81\";proto=http"),
        ] {
            assert_eq!(received.header(name), expected, "{name}");
        }
        let host = match server {
            Http::One => received.header("host"),
            Http::Two => received.uri.authority().unwrap().to_string(),
        };
        assert_eq!(host, "site.test:81");
    }
}

const SPOOFED: [(&str, &str); 14] = [
    ("x-forwarded-for", "6.6.6.6"),
    ("x-forwarded-for", "7.7.7.7, 127.0.0.1"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "evil.test"),
    ("x-forwarded-port", "666"),
    ("x-forwarded-prefix", "/evil"),
    ("x-forwarded-server", "evil"),
    ("x-real-ip", "6.6.6.6"),
    ("forwarded", "for=6.6.6.6;proto=https"),
    ("true-client-ip", "6.6.6.6"),
    ("x-original-url", "/admin"),
    ("x-rewrite-url", "/admin"),
    ("x_forwarded_for", "6.6.6.6"),
    ("x-client-ip", "6.6.6.6"),
];

#[tokio::test]
async fn what_a_stranger_says_of_itself_is_dropped() {
    let upstream = TestUpstream::named("app").await;
    let gateway =
        Edge::to(upstream.address()).server("trusted-proxies = [\"10.0.0.0/8\", \"::1\"]").start().await;
    for version in [Http::One, Http::Two] {
        version.client(&gateway).await.get_with("/", &SPOOFED).await;
        let received = upstream.last_request();
        for (name, value) in received.headers.iter().map(|(name, value)| (name, value.to_str().unwrap())) {
            assert!(
                !["6.6.6.6", "7.7.7.7", "evil", "666", "https", "/admin"]
                    .iter()
                    .any(|lie| value.contains(lie)),
                "{name}: {value}"
            );
        }
        assert_eq!(received.header("x-forwarded-for"), "127.0.0.1");
    }
}

#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address())
        .server("trusted-proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]")
        .start()
        .await;
    let said = [
        // What the client itself has made up stands to the left.
        ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
        ("x-forwarded-for", "10.1.2.3"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "public.test"),
        ("x-forwarded-port", "8443"),
    ];
    for version in [Http::One, Http::Two] {
        version.client(&gateway).await.get_with("/believed", &said).await;
        let received = upstream.last_request();
        for (name, expected) in [
            ("x-forwarded-for", "203.0.113.9, 10.1.2.3, 127.0.0.1"),
            ("x-real-ip", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "public.test"),
            ("x-forwarded-port", "8443"),
        ] {
            assert_eq!(received.header(name), expected, "{name}");
        }
    }
    let noted = crate::setup::record(&gateway, "/believed").await;
    assert_eq!((noted["client"].as_str(), noted["peer"].as_str()), (Some("203.0.113.9"), Some("127.0.0.1")));
}

#[tokio::test]
async fn hop_by_hop_fields_stay_behind() {
    let upstream = TestUpstream::h1(|_| {
        Answer::text("")
            .header("connection", "x-secret, keep-alive")
            .header("x-secret", "1")
            .header("keep-alive", "timeout=5")
            .header("proxy-authenticate", "Basic")
            .header("x-kept", "1")
    })
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-hop, Keep-Alive, x-forwarded-for, authorization\r\n\
             X-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\n\
             TE: gzip\r\nAuthorization: Bearer x\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nX-Kept: 1\r\n\r\n",
        )
        .await;
    let reply = client.read_response().await;
    let received = upstream.last_request();
    for name in [
        "connection",
        "x-hop",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "upgrade",
        "http2-settings",
        "transfer-encoding",
    ] {
        assert_eq!(received.header(name), "", "{name} was forwarded");
    }
    // End-to-end fields cannot be taken away by naming them.
    assert_eq!(received.header("authorization"), "Bearer x");
    assert_eq!(received.header("x-forwarded-for"), "127.0.0.1");
    assert_eq!(received.header("x-kept"), "1");
    for name in ["x-secret", "keep-alive", "proxy-authenticate", "connection"] {
        assert_eq!(reply.header(name), "", "{name} was passed back");
    }
    assert_eq!(reply.header("x-kept"), "1");
    // HTTP/2 has no place for them at all.
    let reply = Http::Two.client(&gateway).await.get("/").await;
    assert_eq!(
        (reply.status, reply.header("x-kept").as_str(), reply.header("x-secret").as_str()),
        (200, "1", "")
    );
}

#[tokio::test]
async fn host_is_kept_or_the_endpoints_or_fixed() {
    for (line, expected) in [
        ("", "asked.test"),
        ("host = \"preserve\"", "asked.test"),
        ("host = \"endpoint\"", ""),
        ("host = { value = \"fixed.test\" }", "fixed.test"),
    ] {
        for (client, server) in COMBINATIONS {
            let upstream = server.server(|_| Answer::text("")).await;
            let gateway =
                Edge::to(upstream.address()).upstream(&format!("{}\n{line}", server.line())).start().await;
            client.client(&gateway).await.get_with("/", &[("host", "asked.test")]).await;
            let received = upstream.last_request();
            let host = match server {
                Http::One => received.header("host"),
                Http::Two => received.uri.authority().unwrap().to_string(),
            };
            let expected =
                if expected.is_empty() { upstream.address().to_string() } else { expected.to_owned() };
            assert_eq!(host, expected, "{line}");
            assert_eq!(received.header("x-forwarded-host"), "asked.test");
        }
    }
}

#[tokio::test]
async fn server_is_hidden_on_request() {
    for (line, expected) in [("", "app/1.0"), ("hide-server = true", "")] {
        let upstream = TestUpstream::h1(|_| Answer::text("").header("server", "app/1.0")).await;
        let gateway = Edge::to(upstream.address()).upstream(line).start().await;
        for version in [Http::One, Http::Two] {
            assert_eq!(version.client(&gateway).await.get("/").await.header("server"), expected);
        }
    }
}

#[tokio::test]
async fn what_was_matched_is_what_is_forwarded() {
    let upstream = TestUpstream::h1(|request| Answer::text(request.uri.to_string())).await;
    let gateway = Edge::to(upstream.address())
        .route("match = { path = \"/open/*\" }")
        .more(
            "[upstreams.closed]\nendpoints = [\"127.0.0.1:1\"]\n\
             [routes.closed]\nmatch = { path = \"/closed/*\" }\nto = \"closed\"",
        )
        .start()
        .await;
    for (sent, forwarded) in [
        ("/open/a", "/open/a"),
        ("//open///a", "/open/a"),
        ("/open/./a/../b", "/open/b"),
        ("/closed/../open/a", "/open/a"),
        ("/closed/%2e%2E/open/a", "/open/a"),
        ("/%6fpen/%7Ea", "/open/~a"),
        ("/open/%e2%82%ac", "/open/%E2%82%AC"),
        ("/open/%252e%252e/a", "/open/%252e%252e/a"),
        ("/open/a?b=//..%2F&c", "/open/a?b=//..%2F&c"),
        ("/open/a;v=1/b", "/open/a;v=1/b"),
        ("/open/", "/open/"),
        ("/open/a?", "/open/a?"),
    ] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(format!("GET {sent} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let reply = client.read_response().await;
        assert_eq!((reply.status, reply.text().as_str()), (200, forwarded), "{sent}");
        assert_eq!(Http::Two.client(&gateway).await.get(sent).await.text(), forwarded, "{sent} over HTTP/2");
    }
    let before = upstream.requests().len();
    for (sent, status) in [
        ("/open/a%2fb", 400),
        ("/open/a%5Cb", 400),
        ("/open/a\\b", 400),
        ("/open/%00", 400),
        ("/open/%zz", 400),
        ("/open/%2", 400),
        ("/open/../..", 400),
        ("/open/..;/closed", 400),
        ("/open/a#b", 400),
        ("/open/../closed/a", 502),
        ("/opened", 404),
        ("/OPEN/a", 404),
    ] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(format!("GET {sent} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(client.read_response().await.status, status, "{sent}");
    }
    assert_eq!(upstream.requests().len(), before);
}

#[tokio::test]
async fn routes_are_chosen_by_host_method_and_field() {
    let (a, b) = (TestUpstream::named("a").await, TestUpstream::named("b").await);
    let other =
        |name: &str, condition: &str| format!("[routes.{name}]\nmatch = {{ {condition} }}\nto = \"b\"\n");
    let gateway = Edge::to(a.address())
        .more(&format!("[upstreams.b]\nendpoints = [\"{}\"]", b.address()))
        .more(&other("host", "host = \"b.test\""))
        .more(&other("wildcard", "host = \"*.b.test\""))
        .more(&other("method", "path = \"/method\", method = \"DELETE\""))
        .more(&other("field", "path = \"/field\", headers = { x-beta = \"yes\" }"))
        .start()
        .await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        for (method, path, fields, expected) in [
            (Method::GET, "/", &[("host", "a.test")][..], "a"),
            (Method::GET, "/", &[("host", "b.test")], "b"),
            (Method::GET, "/", &[("host", "B.TEST:8080")], "b"),
            (Method::GET, "/", &[("host", "x.y.b.test")], "b"),
            (Method::GET, "/", &[("host", "xb.test")], "a"),
            (Method::GET, "/method", &[], "a"),
            (Method::DELETE, "/method", &[], "b"),
            (Method::GET, "/field", &[("x-beta", "yes")], "b"),
            (Method::GET, "/field", &[("x-beta", "no")], "a"),
        ] {
            let reply = client.send(method.clone(), path, fields, "").await;
            assert_eq!(reply.text(), expected, "{method} {path} {fields:?}");
        }
    }
}
