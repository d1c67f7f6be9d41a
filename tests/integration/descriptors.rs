//! Few file descriptors: the limit is raised as far as may be, and clients do not take what their upstreams need.

use std::time::Instant;

use tokio::task::JoinSet;

use crate::edge::Edge;
use crate::harness::{
    H2Frame, H2Frames, LogLine, Pieces, RawClient, TestClient, TestGateway, TestUpstream, eventually,
};

async fn limited(upstream: &TestUpstream, soft: u64, hard: u64) -> TestGateway {
    Edge::to(upstream.address()).open_files(soft, hard).start().await
}

#[tokio::test]
async fn idle_clients_beyond_the_soft_limit_do_not_stop_it() {
    let app = TestUpstream::named("app").await;
    let gateway = limited(&app, 100, 1000).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let files: Vec<&str> = files.split_whitespace().collect();
    assert_eq!(&files[3..5], ["1000", "1000"], "{limits}");
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(RawClient::connect(gateway.address("web")).await);
    }
    assert_eq!(TestClient::h1(gateway.address("web")).await.get("/").await.text(), "app");
    // Nothing says that it is short of anything, but that the default of 10,000 connections has no room.
    gateway.wait_for_log("a warning", |line| line.text("event") == Some("open-files")).await;
    assert!(!gateway.stderr().contains("no further client"), "{}", gateway.stderr());
}

/// How many clients the gateway said that its descriptors suffice for.
async fn places(gateway: &TestGateway) -> usize {
    let said = |line: &LogLine| line.text("event") == Some("open-files") && line.number("clients").is_some();
    let line = gateway.wait_for_log("how many clients there may be", said).await;
    usize::try_from(line.number("clients").unwrap()).unwrap()
}

#[tokio::test]
async fn each_client_that_is_accepted_is_served() {
    const CLIENTS: usize = 120;
    let started = Instant::now();
    let app = TestUpstream::named("app").await;
    // What has its answer does not hold its place for long.
    let edge = Edge::to(app.address()).listener("timeouts = { linger = \"100ms\" }");
    let gateway = edge.open_files(96, 96).start().await;
    assert!(places(&gateway).await < CLIENTS);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.spawn(async move {
            // The others wait, and get their turn although those that have their answer would keep their connections.
            let status = client.read_response().await.status;
            (status, client)
        });
    }
    gateway.wait_for_log("it rests", |line| line.message.starts_with("no further client")).await;
    let mut answered = Vec::new();
    while let Some(done) = clients.join_next().await {
        let (status, client) = done.unwrap();
        assert_eq!(status, 200);
        answered.push(client);
    }
    let told = gateway.log().iter().filter(|line| line.message.starts_with("no further client")).count();
    let seconds = started.elapsed().as_secs();
    assert!(told as u64 <= seconds + 1, "{told} lines in {seconds} s");
}

#[tokio::test]
async fn idle_clients_of_one_listener_make_room_for_those_of_another() {
    let app = TestUpstream::named("app").await;
    let edge = Edge::to(app.address())
        .listener("timeouts = { idle = \"10m\" }")
        .more("[listeners.other]\naddress = \"127.0.0.1:0\"\n");
    let gateway = edge.open_files(96, 96).start().await;
    let mut idle = Vec::new();
    for _ in 0..places(&gateway).await {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.read_response().await.status, 200);
        idle.push(client);
    }
    // No client waits for a place at the first listener, nor at every worker of the other one.
    for _ in 0..4 {
        let mut client = RawClient::connect(gateway.address("other")).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.read_response().await.status, 200);
        idle.push(client);
    }
}

#[tokio::test]
async fn one_client_of_http2_leaves_upstreams_to_others() {
    let upstream = TestUpstream::streaming_h1(|request| async move {
        if request.uri().path() == "/wait" {
            std::future::pending::<()>().await;
        }
        hyper::Response::new(Pieces::new().1.boxed())
    })
    .await;
    let gateway = limited(&upstream, 160, 160).await;
    let address = gateway.address("web");
    let mut frames = H2Frames::connect(address).await;
    let settings = frames.find(|frame| frame.kind == 4 && frame.flags == 0).await.unwrap();
    let setting = |pair: &[u8]| {
        (u16::from_be_bytes([pair[0], pair[1]]), u32::from_be_bytes(pair[2..].try_into().unwrap()))
    };
    // SETTINGS_MAX_CONCURRENT_STREAMS, which is 128 by default.
    let most = settings.payload.chunks(6).map(setting).find(|(id, _)| *id == 3).unwrap().1;
    assert!((1..=10).contains(&most), "{most}");
    for stream in 0..most {
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/wait")];
        frames.send(&H2Frame::headers(2 * stream + 1, &fields)).await;
    }
    eventually("all are under way", async || {
        (upstream.requests().len() == usize::try_from(most).unwrap()).then_some(())
    })
    .await;
    // Others are accepted, and find a descriptor for their upstream.
    let mut others = Vec::new();
    for _ in 0..20 {
        let mut other = RawClient::connect(address).await;
        other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(other.read_response().await.status, 200);
        others.push(other);
    }
}
