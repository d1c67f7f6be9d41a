//! How long each side may take, and what happens when it takes longer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Method, Response};
use tokio::net::{TcpSocket, TcpStream};

use crate::edge::{Edge, Http, pattern};
use crate::harness::{
    Answer, H2Client, Pieces, RawClient, RawUpstream, TestGateway, TestUpstream, eventually, within,
};
use crate::setup::record;

/// Accepts connections and reads, but says nothing.
async fn silent() -> RawUpstream {
    RawUpstream::start(|mut connection, _| async move {
        connection.read_to_end().await;
    })
    .await
}

/// A port at which SYNs are dropped: its queue is full.
async fn unreachable() -> (std::net::SocketAddr, Vec<TcpStream>, tokio::net::TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await
    {
        queued.push(stream.unwrap());
    }
    (address, queued, listener)
}

#[tokio::test]
async fn an_upstream_that_cannot_be_connected_to_is_504() {
    let (address, _queued, _listener) = unreachable().await;
    let gateway = Edge::to(address).upstream("timeouts = { connect = \"200ms\" }").start().await;
    let reply = Http::One.client(&gateway).await.get("/").await;
    assert_eq!(reply.status, 504, "{}", reply.text());
    gateway.wait_for_log("the endpoint is left out", |line| line.message.contains("left out")).await;
}

#[tokio::test]
async fn an_upstream_that_never_shakes_hands_is_504() {
    let upstream = silent().await;
    let gateway = Edge::to(upstream.address())
        .upstream("tls = { insecure-skip-verify = true }\ntimeouts = { connect = \"200ms\" }")
        .start()
        .await;
    assert_eq!(Http::One.client(&gateway).await.get("/").await.status, 504);
}

#[tokio::test]
async fn a_response_head_that_does_not_come_is_504() {
    for (client, server) in crate::edge::COMBINATIONS {
        let upstream = silent().await;
        let gateway = Edge::to(upstream.address())
            .upstream(&format!("{}\ntimeouts = {{ response-head = \"200ms\" }}", server.line()))
            .start()
            .await;
        let reply = client.client(&gateway).await.get("/late").await;
        assert_eq!(reply.status, 504, "{client:?} {server:?}");
        let record = record(&gateway, "/late").await;
        assert!(record["error"].as_str().unwrap().contains("no response head in time"), "{record}");
    }
}

#[tokio::test]
async fn a_request_head_that_does_not_come_is_408() {
    let upstream = TestUpstream::named("app").await;
    let gateway =
        Edge::to(upstream.address()).listener("timeouts = { request-head = \"300ms\" }").start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n").await;
    assert_eq!(client.read_response().await.status, 408);
    assert_eq!(client.read_to_end().await, b"");

    // Bytes that trickle do not put it off.
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.1\r\n").await;
    let mut sent = 0;
    while client.is_silent_for(Duration::from_millis(50)).await {
        drop(client.try_send("X-Slow: 1\r\n").await);
        sent += 1;
    }
    assert!(sent < 50, "a slow head is not bounded");
    assert_eq!(client.read_response().await.status, 408);

    // Who says nothing at all is not answered.
    let mut client = RawClient::connect(gateway.address("web")).await;
    assert_eq!(client.read_to_end().await, b"");
    // Nor who begins to speak HTTP/2 and goes no further.
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("PRI * HTTP/2.0\r\n\r\n").await;
    let said = client.read_to_end().await;
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408"), "{said:?}");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_handshake_that_does_not_come_ends_the_connection() {
    let authority = crate::harness::Authority::new();
    let issued = authority.issue(&["a.test"]);
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address())
        .listener(
            "tls = { certificates = [{ cert = \"a.pem\", key = \"a.key\" }] }\n\
             timeouts = { handshake = \"300ms\" }",
        )
        .file("a.pem", issued.certificate)
        .file("a.key", issued.key)
        .start()
        .await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    assert_eq!(client.read_to_end().await, b"");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).listener("timeouts = { idle = \"300ms\" }").start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.read_response().await.status, 200);
    assert_eq!(client.read_to_end().await, b"", "not even 408: no request was under way");

    let mut client = H2Client::connect(gateway.address("web")).await;
    let (response, _) = client.send.send_request(H2Client::get("/"), true).unwrap();
    assert_eq!(within("a response", response).await.unwrap().status(), 200);
    // GOAWAY with NO_ERROR, and the end.
    within("the connection ends", client.connection).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_body_that_stops_is_408() {
    let upstream = silent().await;
    let gateway = Edge::to(upstream.address()).listener("timeouts = { idle = \"300ms\" }").start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nbegin").await;
    let reply = client.read_response().await;
    assert_eq!((reply.status, reply.header("connection").as_str()), (408, "close"));

    let mut client = Http::Two.client(&gateway).await;
    let (pieces, body) = Pieces::new();
    let (response, _) = tokio::join!(client.begin(Method::POST, "/", &[], body), pieces.send("begin"));
    assert_eq!(response.unwrap().status(), 408);
}

#[tokio::test]
async fn a_response_body_that_stops_is_cut_off() {
    for (client, server) in crate::edge::COMBINATIONS {
        let handler = |_| async {
            let (pieces, body) = Pieces::new();
            tokio::spawn(async move {
                pieces.send("begin").await;
                pieces.abandoned().await;
            });
            Response::new(body.boxed())
        };
        let upstream = match server {
            Http::One => TestUpstream::streaming_h1(handler).await,
            Http::Two => TestUpstream::streaming_h2(handler).await,
        };
        // The upstream's own bound, not the client's.
        let gateway = Edge::to(upstream.address())
            .upstream(&format!("{}\ntimeouts = {{ idle = \"300ms\" }}", server.line()))
            .start()
            .await;
        let reply = client.client(&gateway).await.try_send(Method::GET, "/stops", &[], "").await;
        assert!(reply.is_err(), "a part was taken for the whole");
        let record = record(&gateway, "/stops").await;
        assert!(record["error"].as_str().unwrap().contains("for too long"), "{record}");
    }
}

#[tokio::test]
async fn an_upstream_that_takes_nothing_of_a_body_is_504() {
    let upstream = RawUpstream::start(|mut connection, _| async move {
        connection.read_head().await;
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = Edge::to(upstream.address()).upstream("timeouts = { idle = \"300ms\" }").start().await;
    let body = pattern(32 << 20);
    let reply = Http::One.client(&gateway).await.send(Method::POST, "/", &[], body.clone()).await;
    assert_eq!(reply.status, 504);
    assert_eq!(Http::Two.client(&gateway).await.send(Method::POST, "/", &[], body).await.status, 504);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    let upstream = TestUpstream::streaming_h1(|_| async {
        let (pieces, body) = Pieces::new();
        tokio::spawn(async move { while pieces.send(Bytes::from_static(&[7; 65_536])).await {} });
        Response::new(body.boxed())
    })
    .await;
    let gateway = Edge::to(upstream.address()).listener("timeouts = { idle = \"300ms\" }").start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET /h1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.read_head().await;
    let record_h1 = record(&gateway, "/h1").await;
    assert!(record_h1["error"].as_str().unwrap().contains("client took nothing"), "{record_h1}");

    let mut client = H2Client::connect(gateway.address("web")).await;
    let (response, _) = client.send.send_request(H2Client::get("/h2"), true).unwrap();
    let _unread = within("a response", response).await.unwrap();
    let record_h2 = record(&gateway, "/h2").await;
    assert!(record_h2["error"].as_str().unwrap().contains("client took nothing"), "{record_h2}");
    eventually("the upstream's connections are closed", async || {
        (upstream.open_connections() == 0).then_some(())
    })
    .await;
}

/// An upstream whose body never ends, a piece at a time.
async fn trickling() -> TestUpstream {
    TestUpstream::streaming_h1(|_| async {
        let (pieces, body) = Pieces::new();
        tokio::spawn(async move {
            let mut every = tokio::time::interval(Duration::from_millis(20));
            while pieces.send("more").await {
                every.tick().await;
            }
        });
        Response::new(body.boxed())
    })
    .await
}

#[tokio::test]
async fn a_body_that_moves_outlives_every_idle_timeout() {
    let upstream = trickling().await;
    let gateway = Edge::to(upstream.address())
        .listener("timeouts = { idle = \"1500ms\", request-head = \"1500ms\" }")
        .upstream("timeouts = { idle = \"1500ms\", response-head = \"1500ms\" }")
        .start()
        .await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        let (_, body) = Pieces::new();
        let mut response = client.begin(Method::GET, "/", &[], body).await.unwrap();
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(3000) {
            within("a piece", response.frame()).await.unwrap().unwrap();
        }
    }
}

async fn bounded(upstream: std::net::SocketAddr) -> TestGateway {
    Edge::to(upstream).route("timeout = \"1500ms\"").start().await
}

#[tokio::test]
async fn an_exchange_that_takes_too_long_as_a_whole_is_ended() {
    let upstream = silent().await;
    let gateway = bounded(upstream.address()).await;
    for version in [Http::One, Http::Two] {
        let reply = version.client(&gateway).await.get("/no-head").await;
        assert_eq!(reply.status, 504);
    }
    let record_late = record(&gateway, "/no-head").await;
    assert!(record_late["error"].as_str().unwrap().contains("longer than the route allows"), "{record_late}");

    let upstream = trickling().await;
    let gateway = bounded(upstream.address()).await;
    for version in [Http::One, Http::Two] {
        let reply = version.client(&gateway).await.try_send(Method::GET, "/endless", &[], "").await;
        assert!(reply.is_err(), "the response was taken for whole");
    }
    eventually("the upstream's connections are closed", async || {
        (upstream.open_connections() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_pooled_connection_that_was_idle_for_long_is_closed() {
    let upstream = TestUpstream::h1(|_| Answer::text("app")).await;
    let gateway = Edge::to(upstream.address()).upstream("timeouts = { pool-idle = \"100ms\" }").start().await;
    assert_eq!(Http::One.client(&gateway).await.get("/").await.text(), "app");
    eventually("the pooled connection is closed", async || (upstream.open_connections() == 0).then_some(()))
        .await;
    assert_eq!(Http::One.client(&gateway).await.get("/").await.text(), "app");
    assert_eq!(upstream.connections(), 2);
}
