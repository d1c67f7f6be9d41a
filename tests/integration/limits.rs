//! How much a client may send: the last that is allowed and the first that is refused.

use hyper::Method;

use crate::edge::{Edge, Http};
use crate::harness::{Answer, H2Client, Pieces, RawClient, TestUpstream, eventually, within};
use crate::setup::record;

#[tokio::test]
async fn a_head_has_a_size() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).listener("limits = { head = \"4KiB\" }").start().await;
    let frame = "GET / HTTP/1.1\r\nHost: a\r\nX-A: \r\n\r\n".len();
    for (length, status) in [(4096, 200), (4097, 431), (40_000, 431)] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        let value = "x".repeat(length - frame);
        drop(client.try_send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {value}\r\n\r\n")).await);
        let reply = client.read_response().await;
        assert_eq!(reply.status, status, "{length}");
        assert_eq!(reply.header("connection"), if status == 200 { "" } else { "close" });
    }
    // A target that alone is too long is told so.
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(5000))).await;
    assert_eq!(client.read_response().await.status, 414);
    // A head that never ends is not waited for.
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}", "x".repeat(5000))).await;
    assert_eq!(client.read_response().await.status, 431);
}

#[tokio::test]
async fn a_head_has_a_number_of_fields() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).listener("limits = { fields = 20 }").start().await;
    for (count, status) in [(19, 200), (20, 431)] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        let fields: String = (0..count).map(|at| format!("X-{at}: 1\r\n")).collect();
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
        assert_eq!(client.read_response().await.status, status, "{count} and Host");
    }
}

#[tokio::test]
async fn a_body_has_a_size() {
    let upstream = TestUpstream::h1(|request| Answer::text(request.body.len().to_string())).await;
    let gateway = Edge::to(upstream.address()).route("limits = { body = \"1000B\" }").start().await;
    for version in [Http::One, Http::Two] {
        for (length, status) in [(1000, 200), (1001, 413), (1_000_000, 413)] {
            // With a length the head decides; without one the byte that is too many.
            let mut client = version.client(&gateway).await;
            let reply = client.send(Method::POST, "/declared", &[], vec![b'x'; length]).await;
            assert_eq!(reply.status, status, "{version:?} {length}");

            let mut client = version.client(&gateway).await;
            let (pieces, body) = Pieces::new();
            let send = async {
                for part in vec![b'x'; length].chunks(700) {
                    if !pieces.send(part.to_vec()).await {
                        break;
                    }
                }
                drop::<Pieces>(pieces);
            };
            let (response, ()) = tokio::join!(client.begin(Method::POST, "/chunked", &[], body), send);
            assert_eq!(response.unwrap().status(), status, "{version:?} {length} in pieces");
        }
    }
    assert!(
        upstream.requests().iter().all(|request| request.body.len() == 1000),
        "too large a body was taken"
    );
    let noted = record(&gateway, "/chunked").await;
    assert_eq!(noted["route"], "all");
}

#[tokio::test]
async fn connections_past_the_limit_are_closed_at_once() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).listener("limits = { connections = 3 }").start().await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.read_response().await.status, 200);
        clients.push(client);
    }
    let mut fourth = RawClient::connect(gateway.address("web")).await;
    drop(fourth.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await);
    assert_eq!(fourth.read_to_end().await, b"");
    let line =
        gateway.wait_for_log("it is logged", |line| line.message.contains("too many connections")).await;
    assert_eq!((line.text("listener"), line.number("limit")), (Some("web"), Some(3)));
    // Those that are there are served on, and one that ends makes room.
    clients[0].send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(clients[0].read_response().await.status, 200);
    clients.pop();
    eventually("there is room again", async || {
        let mut client = RawClient::connect(gateway.address("web")).await;
        drop(client.try_send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await);
        client.read_to_end().await.starts_with(b"HTTP/1.1 200").then_some(())
    })
    .await;
}

#[tokio::test]
async fn streams_have_a_number() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).listener("limits = { streams = 7 }").start().await;
    let mut client = H2Client::connect(gateway.address("web")).await;
    let (response, _) = client.send.send_request(H2Client::get("/"), true).unwrap();
    within("a response", response).await.unwrap();
    assert_eq!(client.send.current_max_send_streams(), 7);
}
