//! SIGTERM: what is under way ends as it should, nothing new begins, and the process ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::{Method, Response};
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::edge::{Edge, Http};
use crate::harness::{
    H2Client, H2Frame, H2Frames, Pieces, RawClient, RawUpstream, TestUpstream, eventually, within,
};
use crate::setup::{attribute, policy, record};

/// Begins an answer, and ends it when a permit is there.
async fn held(open: &Arc<Semaphore>) -> TestUpstream {
    let open = Arc::clone(open);
    TestUpstream::streaming_h1(move |_| {
        let open = Arc::clone(&open);
        async move {
            let (pieces, body) = Pieces::new();
            tokio::spawn(async move {
                pieces.send("begin ").await;
                open.acquire().await.unwrap().forget();
                pieces.send("end").await;
            });
            Response::new(body.boxed())
        }
    })
    .await
}

#[tokio::test]
async fn what_is_under_way_ends_as_it_should() {
    let open = Arc::new(Semaphore::new(0));
    let upstream = held(&open).await;
    let mut gateway = Edge::to(upstream.address()).start().await;
    let address = gateway.address("web");
    let mut busy = RawClient::connect(address).await;
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    busy.read_until(b"begin ").await;
    let mut streams = H2Client::connect(address).await;
    let (response, _) = streams.send.send_request(H2Client::get("/"), true).unwrap();
    let mut body = within("a response", response).await.unwrap().into_body();
    assert_eq!(within("a piece", body.data()).await.unwrap().unwrap(), "begin ");
    let mut idle = RawClient::connect(address).await;
    let idle_h2 = H2Client::connect(address).await;

    gateway.signal(Signal::TERM);
    // Who waits for nothing is let go at once.
    assert_eq!(idle.read_to_end().await, b"");
    within("GOAWAY ends an idle connection", idle_h2.connection).await.unwrap().unwrap();
    eventually("nobody is let in", async || TcpStream::connect(address).await.is_err().then_some(())).await;
    // GOAWAY: no further stream.
    let refused = eventually("no further stream is taken", async || {
        let sent = streams.send.clone().ready().await;
        match sent {
            Err(error) => Some(error),
            Ok(mut send) => match send.send_request(H2Client::get("/late"), true) {
                Err(error) => Some(error),
                Ok((response, _)) => response.await.err(),
            },
        }
    })
    .await;
    assert!(refused.is_go_away() || refused.is_reset(), "{refused}");

    open.add_permits(2);
    assert!(busy.read_to_end().await.ends_with(b"3\r\nend\r\n0\r\n\r\n"));
    assert_eq!(within("the rest", body.data()).await.unwrap().unwrap(), "end");
    assert!(within("the end", body.data()).await.is_none());
    let status = gateway.wait().await;
    assert_eq!(status.code(), Some(0));
    assert!(upstream.requests().iter().all(|request| request.path() == "/"));
}

#[tokio::test]
async fn the_deadline_cuts_off_what_does_not_end() {
    let upstream = held(&Arc::new(Semaphore::new(0))).await;
    let mut gateway = Edge::to(upstream.address()).server("drain-timeout = \"500ms\"").start().await;
    let mut busy = RawClient::connect(gateway.address("web")).await;
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    busy.read_until(b"begin ").await;
    let mut streams = H2Client::connect(gateway.address("web")).await;
    let (response, _) = streams.send.send_request(H2Client::get("/"), true).unwrap();
    let mut body = within("a response", response).await.unwrap().into_body();
    let begun = Instant::now();
    gateway.signal(Signal::TERM);
    let rest = busy.read_to_end().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a part was taken for the whole");
    loop {
        match within("the stream ends", body.data()).await {
            Some(Ok(_)) => {}
            Some(Err(_)) => break,
            None => panic!("a part was taken for the whole"),
        }
    }
    assert!(begun.elapsed() >= Duration::from_millis(500));
    let status = gateway.wait().await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn what_is_cut_off_has_its_record_and_its_completed_hooks() {
    let upstream = held(&Arc::new(Semaphore::new(0))).await;
    let silent = RawUpstream::start(|mut connection, _| async move {
        connection.read_head().await;
        connection.read_to_end().await;
    })
    .await;
    let more = format!(
        "[upstreams.silent]\nendpoints = [\"{}\"]\n[routes.silent]\nmatch = {{ path = \"/silent\" }}\nto = \"silent\"\n\
         use = [\"told\"]\n{}",
        silent.address(),
        policy("told", "hooks", "")
    );
    let mut gateway = Edge::to(upstream.address())
        .server("drain-timeout = \"300ms\"")
        .file("hooks.wasm", portcullis_test_guests::ALL_HOOKS)
        .more(&more)
        .start()
        .await;
    let address = gateway.address("web");
    let mut busy = RawClient::connect(address).await;
    busy.send("GET /h1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    busy.read_until(b"begin ").await;
    let mut waiting = RawClient::connect(address).await;
    waiting.send("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("it is under way", async || (silent.connections() > 0).then_some(())).await;
    let mut streams = H2Client::connect(address).await;
    let (response, _) = streams.send.send_request(H2Client::get("/h2"), true).unwrap();
    let _body = within("a response", response).await.unwrap();
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().await.code(), Some(0));
    for (path, status) in [("/h1", 200), ("/silent", 499), ("/h2", 200)] {
        let record = record(&gateway, path).await;
        assert_eq!(record["status"], status, "{record}");
        assert_eq!(record["error"], "cut off at the end of the drain", "{record}");
        let seen = attribute(&record, "seen");
        assert_eq!(seen.contains("cut off at the end of the drain"), path == "/silent", "{record}");
    }
}

#[tokio::test]
async fn what_ends_during_a_drain_is_in_the_log_before_its_end() {
    let open = Arc::new(Semaphore::new(0));
    let upstream = held(&open).await;
    let mut gateway = Edge::to(upstream.address()).start().await;
    let address = gateway.address("web");
    let (mut first, mut second) = (RawClient::connect(address).await, RawClient::connect(address).await);
    for (client, path) in [(&mut first, "/first"), (&mut second, "/second")] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        client.read_until(b"begin ").await;
    }
    gateway.signal(Signal::TERM);
    eventually("the drain has begun", async || TcpStream::connect(address).await.is_err().then_some(()))
        .await;
    open.add_permits(1);
    // One of the two ends; the other keeps the drain going.
    let line = gateway.wait_for_access_line("a record", |line| line.contains("\"status\":200")).await;
    assert!(line.contains("/first") || line.contains("/second"), "{line}");
    open.add_permits(1);
    assert_eq!(gateway.wait().await.code(), Some(0));
}

#[tokio::test]
async fn a_tunnel_that_is_cut_off_has_its_record() {
    let upstream = RawUpstream::start(|mut connection, _| async move {
        connection.read_head().await;
        connection
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            .await;
        connection.read_to_end().await;
    })
    .await;
    let mut gateway = Edge::to(upstream.address()).server("drain-timeout = \"100ms\"").start().await;
    let mut tunnel = RawClient::connect(gateway.address("web")).await;
    tunnel.send("GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    assert_eq!(tunnel.read_response_head().await.status, 101);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().await.code(), Some(0));
    let record = record(&gateway, "/tunnel").await;
    assert_eq!(
        (&record["status"], &record["error"]),
        (&101.into(), &"cut off at the end of the drain".into())
    );
}

#[tokio::test]
async fn a_request_that_has_begun_is_still_answered() {
    let upstream = TestUpstream::named("app").await;
    let mut gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    // In its head, and in its body.
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nfo").await;
    let mut head = RawClient::connect(gateway.address("web")).await;
    head.send("GET / HTTP/1.1\r\nHo").await;
    eventually("the request is under way", async || (upstream.open_connections() > 0).then_some(())).await;
    // Another exchange behind the half head shows that it was read.
    Http::Two.client(&gateway).await.send(Method::GET, "/", &[], "").await;
    gateway.signal(Signal::TERM);
    let address = gateway.address("web");
    eventually("nobody is let in", async || TcpStream::connect(address).await.is_err().then_some(())).await;
    client.send("ur").await;
    let reply = client.read_response().await;
    assert_eq!((reply.status, reply.header("connection").as_str()), (200, "close"));
    head.send("st: a\r\n\r\n").await;
    let reply = head.read_response().await;
    assert_eq!((reply.status, reply.header("connection").as_str()), (200, "close"));
    assert_eq!(head.read_to_end().await, b"");
    assert_eq!(gateway.wait().await.code(), Some(0));
}

#[tokio::test]
async fn a_tunnel_lives_until_the_deadline() {
    let upstream = RawUpstream::start(|mut connection, _| async move {
        connection.read_head().await;
        connection
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            .await;
        loop {
            let line = connection.read_until(b"\n").await;
            connection.send(line).await;
        }
    })
    .await;
    let mut gateway = Edge::to(upstream.address()).server("drain-timeout = \"1s\"").start().await;
    let address = gateway.address("web");
    let mut tunnel = RawClient::connect(address).await;
    tunnel.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    assert_eq!(tunnel.read_response_head().await.status, 101);
    gateway.signal(Signal::TERM);
    eventually("nobody is let in", async || TcpStream::connect(address).await.is_err().then_some(())).await;
    tunnel.send("still here\n").await;
    assert_eq!(tunnel.read_until(b"\n").await, b"still here\n");
    assert_eq!(tunnel.read_to_end().await, b"");
    assert_eq!(gateway.wait().await.code(), Some(0));
}

#[tokio::test]
async fn clients_that_sleep_do_not_hold_it_up() {
    let upstream = TestUpstream::named("app").await;
    // The deadline is so late that the test would end before it.
    let mut gateway = Edge::to(upstream.address()).server("drain-timeout = \"10m\"").start().await;
    let address = gateway.address("web");
    // One of HTTP/2 that has had an answer, and reads nothing any more; one with a preface alone, and one with a part
    // of it.
    let mut asleep = H2Frames::connect(address).await;
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
    asleep.send(&H2Frame::headers(1, &fields)).await;
    asleep.find(|frame| frame.stream == 1 && frame.flags & 1 == 1).await.unwrap();
    let mut others = Vec::new();
    for bytes in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        "\r\n",
        "GET / HTTP/1.1\r\nHo",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /half",
    ] {
        let mut client = RawClient::connect(address).await;
        client.send(bytes).await;
        others.push(client);
    }
    // Another exchange behind them shows that they were accepted.
    Http::One.client(&gateway).await.get("/").await;
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().await.code(), Some(0));
    assert!(!gateway.stderr().contains("cut off"), "{}", gateway.stderr());
}
