//! What the gateway does because it is one of several on the way: `Via`, `Max-Forwards`, TRACE, and fields that say who
//! the client is.

use hyper::Method;

use crate::edge::{COMBINATIONS, Edge};
use crate::harness::{Answer, RawClient, TestUpstream};

#[tokio::test]
async fn via_names_the_gateway_both_ways() {
    for (client, server) in COMBINATIONS {
        let upstream =
            server.server(|request| Answer::text(request.header("via")).header("via", "1.0 behind")).await;
        let gateway =
            Edge::to(upstream.address()).upstream(server.line()).server("via = \"edge\"").start().await;
        let version = |http| if http == crate::edge::Http::One { "1.1" } else { "2.0" };
        let reply = client.client(&gateway).await.get("/").await;
        assert_eq!(reply.text(), format!("{} edge", version(client)));
        assert_eq!(reply.header("via"), format!("1.0 behind, {} edge", version(server)));
        // Not of the gateway's own answers.
        let reply = client.client(&gateway).await.get("/a%2Fb").await;
        assert_eq!((reply.status, reply.header("via").as_str()), (400, ""));
    }
    let upstream = TestUpstream::h1(|request| Answer::text(request.header("via"))).await;
    for (setting, expected) in [("", "1.1 portcullis"), ("via = false", "")] {
        let gateway = Edge::to(upstream.address()).server(setting).start().await;
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.read_response().await.text(), expected);
    }
}

#[tokio::test]
async fn a_request_that_goes_in_a_circle_ends() {
    // Two gateways that send everything to each other.
    let upstream = TestUpstream::named("app").await;
    let first = Edge::to(upstream.address()).start().await;
    let second = Edge::to(first.address("web")).start().await;
    let config = std::fs::read_to_string(first.dir().join("portcullis.toml")).unwrap();
    let circle = config.replace(&upstream.address().to_string(), &second.address("web").to_string());
    first.write_config_and_wait(&circle).await;
    let mut client = RawClient::connect(second.address("web")).await;
    client.send("GET /round HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.read_response().await.status, 508);
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn max_forwards_is_counted() {
    let upstream = TestUpstream::h1(|request| Answer::text(request.header("max-forwards"))).await;
    let gateway = Edge::to(upstream.address())
        .route("match = { method = [\"TRACE\", \"OPTIONS\", \"GET\"] }")
        .start()
        .await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    for (method, sent, answer) in [
        ("OPTIONS", "2", "1"),
        ("OPTIONS", "0", ""),
        ("TRACE", "1", "0"),
        ("GET", "0", "0"),
        ("OPTIONS", "many", "many"),
    ] {
        client
            .send(format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {sent}\r\nCookie: secret\r\n\r\n"))
            .await;
        assert_eq!(client.read_response().await.text(), answer, "{method} {sent}");
    }
    let asked = upstream.requests().len();
    client.send("TRACE /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nCookie: secret\r\n\r\n").await;
    let reply = client.read_response().await;
    assert_eq!((reply.status, reply.header("content-type").as_str()), (200, "message/http"));
    assert_eq!(reply.text(), "TRACE /a HTTP/1.1\r\nVia: 1.1 portcullis\r\n\r\n");
    assert_eq!(upstream.requests().len(), asked, "the gateway has answered");
}

#[tokio::test]
async fn trace_needs_a_route_that_names_it() {
    for (client, server) in COMBINATIONS {
        let upstream = server.server(|_| Answer::text("traced")).await;
        for (route, status) in [("", 405), ("match = { method = [\"GET\", \"TRACE\"] }", 200)] {
            let gateway = Edge::to(upstream.address()).upstream(server.line()).route(route).start().await;
            let mut client = client.client(&gateway).await;
            let reply = client.send(Method::TRACE, "/", &[], "").await;
            assert_eq!(reply.status, status, "{route}");
            if status == 405 {
                assert!(reply.header("allow").contains("GET"));
            }
        }
    }
}

/// Each line of a field counts by itself, and none of them hides another.
#[tokio::test]
async fn conditions_see_each_line_of_a_field() {
    let upstream = TestUpstream::named("app").await;
    let beta = TestUpstream::named("beta").await;
    let gateway = Edge::to(upstream.address())
        .more(&format!(
            "[upstreams.beta]\nendpoints = [\"{}\"]\n\
             [routes.beta]\nmatch = {{ headers = {{ x-channel = \"beta\" }} }}\nto = \"beta\"\n",
            beta.address()
        ))
        .start()
        .await;
    for (lines, name) in [
        ("X-Channel: beta\r\n", "beta"),
        ("X-Channel: stable\r\nX-Channel: beta\r\n", "beta"),
        ("X-Channel: beta\r\nX-Channel: stable\r\n", "beta"),
        ("X-Channel: stable, beta\r\n", "app"),
        ("X-Channel: stable\r\n", "app"),
    ] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).await;
        assert_eq!(client.read_response().await.text(), name, "{lines}");
    }
}

#[tokio::test]
async fn cookies_of_several_lines_are_joined_as_cookies() {
    let upstream = TestUpstream::h1(|request| Answer::text(request.header("x-cookies"))).await;
    let gateway = Edge::to(upstream.address())
        .route("use = [\"copy\"]")
        .more(
            "[policies.copy]\nplugin = \"builtin:headers\"\n\
             config = { request = { set = { x-cookies = \"${request.header.cookie}\" } } }\n",
        )
        .start()
        .await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1\r\nCookie: b=2; c=3\r\n\r\n").await;
    assert_eq!(client.read_response().await.text(), "a=1; b=2; c=3");
}

/// In the head and in trailers alike.
#[tokio::test]
async fn a_client_cannot_say_who_it_is_or_what_is_meant() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    let names = [
        "True-Client-IP",
        "CF-Connecting-IP",
        "CF-Connecting-IPv6",
        "Fly-Client-IP",
        "X-Azure-ClientIP",
        "X-Envoy-External-Address",
        "X-Forward-For",
        "X-Remote-IP",
        "X-Original-URI",
        "X-Original-URL",
        "X-HTTP-Method-Override",
        "Client-Cert",
    ];
    let lines: String = names.iter().map(|name| format!("{name}: 1\r\n")).collect();
    let many = format!("Connection: {}X-Hop\r\nX-Hop: 1\r\n", ",".repeat(100));
    let mut client = RawClient::connect(gateway.address("web")).await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{many}{lines}\r\n\
             1\r\nx\r\n0\r\n{lines}X-Api-Key: 1\r\nX-Checksum: 2\r\n\r\n"
        ))
        .await;
    assert_eq!(client.read_response().await.status, 200);
    let request = upstream.last_request();
    let trailers = request.trailers.clone().unwrap_or_default();
    for name in names.iter().chain(&["X-Hop", "X-Api-Key"]) {
        assert_eq!(request.header(name), "", "{name}");
        assert!(!trailers.contains_key(*name), "{name} as a trailer");
    }
    assert_eq!(trailers["x-checksum"], "2");
}
