//! What HTTP/2 clients do to use up a gateway, and what honest ones do that looks like it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::edge::{Edge, Http, pattern};
use crate::harness::{
    Answer, H2Frame, H2Frames, RawClient, RawUpstream, TestGateway, TestUpstream, eventually, within,
};

pub(crate) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) fn get(stream: u32) -> H2Frame {
    H2Frame::headers(stream, &GET)
}

/// The head of a request with a body.
pub(crate) fn post(stream: u32) -> H2Frame {
    let mut fields = GET;
    fields[0].1 = "POST";
    H2Frame { flags: 4, ..H2Frame::headers(stream, &fields) }
}

/// An upstream that reads and says nothing.
pub(crate) async fn silent() -> RawUpstream {
    RawUpstream::start(|mut connection, _| async move {
        connection.read_to_end().await;
    })
    .await
}

/// Sends `frames` and waits until the gateway has read them. Returns `false` if it has ended the connection.
pub(crate) async fn sent(client: &mut H2Frames, frames: &[H2Frame]) -> bool {
    for frame in frames {
        client.send(frame).await;
    }
    client.send(&H2Frame::new(6, 0, 0, *b"together")).await;
    let next = client.find(|frame| frame.kind == 7 || frame.kind == 6 && frame.payload == b"together").await;
    next.is_some_and(|frame| frame.kind == 6)
}

/// Whether the gateway is well, over a connection of its own.
pub(crate) async fn serves(gateway: &TestGateway) -> bool {
    Http::Two.client(gateway).await.get("/").await.status == 200
}

#[tokio::test]
async fn frames_that_do_no_work_end_the_connection() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    for (what, frame, open) in [
        ("SETTINGS", H2Frame::new(4, 0, 0, []), false),
        ("SETTINGS that say something", H2Frame::new(4, 0, 0, [0, 4, 0, 0, 255, 255]), false),
        ("PING", H2Frame::new(6, 0, 0, [0; 8]), false),
        ("answers to no PING", H2Frame::new(6, 1, 0, [0; 8]), false),
        ("PRIORITY", H2Frame::new(2, 0, 1, [0, 0, 0, 0, 1]), false),
        ("PRIORITY_UPDATE", H2Frame::new(16, 0, 0, *b"\0\0\0\x01u=1"), false),
        ("WINDOW_UPDATE of the connection", H2Frame::new(8, 0, 0, [0, 0, 0, 1]), false),
        ("WINDOW_UPDATE of a stream", H2Frame::new(8, 0, 1, [0, 0, 0, 1]), true),
        ("empty DATA", H2Frame::new(0, 0, 1, []), true),
        ("DATA of padding", H2Frame::new(0, 8, 1, [3, 0, 0, 0]), true),
        ("a type that nobody knows", H2Frame::new(0xee, 0, 0, [0; 100]), false),
        ("ORIGIN", H2Frame::new(12, 0, 0, []), false),
    ] {
        // It never answers, so that a stream stays open.
        let silent = silent().await;
        let quiet = Edge::to(silent.address()).start().await;
        let mut client = H2Frames::connect(quiet.address("web")).await;
        if open {
            client.send(&post(1)).await;
        }
        let mut batches = 0;
        while batches < 300 && sent(&mut client, &vec![frame.clone(); 100]).await {
            batches += 1;
        }
        assert!(batches < 300, "{what}: 30,000 frames were taken");
        assert!(quiet.log().len() < 200, "{what}: {} lines in the log", quiet.log().len());
    }
    assert!(serves(&gateway).await);
}

#[tokio::test]
async fn a_flood_is_told_to_calm_down() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = H2Frames::connect(gateway.address("web")).await;
    for _ in 0..5000 {
        client.send(&H2Frame::new(6, 0, 0, [0; 8])).await;
    }
    let goodbye = client.find(|frame| frame.kind == 7).await.unwrap();
    assert_eq!(goodbye.error_code(), ENHANCE_YOUR_CALM);
    assert!(client.find(|_| false).await.is_none(), "the connection ends");
}

#[tokio::test]
async fn a_listener_may_allow_more_or_fewer_frames_that_do_no_work() {
    let upstream = TestUpstream::named("app").await;
    for (most, lives) in [(100, false), (100_000, true)] {
        let limits = format!("limits = {{ idle-frames = {most} }}");
        let gateway = Edge::to(upstream.address()).listener(&limits).start().await;
        let mut client = H2Frames::connect(gateway.address("web")).await;
        let mut batches = 0;
        while batches < 50 && sent(&mut client, &vec![H2Frame::new(6, 0, 0, [0; 8]); 100]).await {
            batches += 1;
        }
        assert_eq!(batches == 50, lives, "{batches} batches of 100 of at most {most}");
    }
}

#[tokio::test]
async fn the_housekeeping_of_an_honest_client_ends_nothing() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = H2Frames::connect(gateway.address("web")).await;
    // More in all than a client may send at once; each request and its answer earn some.
    for stream in (1..1201).step_by(2) {
        client.send(&H2Frame::new(2, 0, stream, [0, 0, 0, 0, 1])).await;
        client.send(&get(stream)).await;
        client.send(&H2Frame::new(8, 0, 0, [0, 0, 0, 3])).await;
        client.send(&H2Frame::new(6, 0, 0, [0; 8])).await;
        let end = client.find(|frame| frame.stream == stream && frame.flags & 1 != 0 && frame.kind < 2).await;
        assert!(end.is_some(), "stream {stream}");
    }
}

/// Opens and resets streams in tens, as `reset` makes them, until the gateway ends the connection or `most` were
/// opened.
async fn reset_streams(gateway: &TestGateway, most: u32, reset: fn(u32) -> Vec<H2Frame>) -> u32 {
    let mut client = H2Frames::connect(gateway.address("web")).await;
    let mut opened = 0;
    while opened < most {
        let frames: Vec<_> = (opened..opened + 10).flat_map(|at| reset(2 * at + 1)).collect();
        if !sent(&mut client, &frames).await {
            break;
        }
        opened += 10;
    }
    opened
}

pub(crate) fn rst(stream: u32) -> H2Frame {
    H2Frame::new(3, 0, stream, [0, 0, 0, 8])
}

#[tokio::test]
async fn a_client_that_opens_streams_to_reset_them_is_ended_and_costs_few_connections() {
    for (what, reset) in [
        ("reset at once", (|stream| vec![get(stream), rst(stream)]) as fn(u32) -> Vec<H2Frame>),
        ("with a part of a body", |stream| {
            vec![post(stream), H2Frame::new(0, 0, stream, *b"part"), rst(stream)]
        }),
        // What the client does makes the gateway reset the stream (CVE-2025-8671).
        ("window update of nothing", |stream| vec![get(stream), H2Frame::new(8, 0, stream, [0; 4])]),
        ("window beyond its most", |stream| {
            vec![get(stream), H2Frame::new(8, 0, stream, [0x7f, 255, 255, 255])]
        }),
        ("priority on itself", |stream| {
            vec![
                get(stream),
                H2Frame::new(2, 0, stream, stream.to_be_bytes().into_iter().chain([1]).collect::<Vec<_>>()),
            ]
        }),
        // The crate refuses these by itself.
        ("malformed", |stream| {
            let mut fields = GET.to_vec();
            fields.push(("connection", "close"));
            vec![H2Frame::headers(stream, &fields)]
        }),
        ("trailers without an end", |stream| {
            vec![post(stream), H2Frame { flags: 4, ..H2Frame::headers(stream, &[("x-a", "1")]) }]
        }),
        ("more than was declared", |stream| {
            let mut fields = GET.to_vec();
            fields.push(("content-length", "1"));
            vec![
                H2Frame { flags: 4, ..H2Frame::headers(stream, &fields) },
                H2Frame::new(0, 0, stream, *b"four"),
            ]
        }),
    ] {
        let upstream = silent().await;
        let gateway = Edge::to(upstream.address()).start().await;
        let opened = reset_streams(&gateway, 20_000, reset).await;
        assert!(opened < 20_000, "{what}: {opened} streams were opened");
        assert!(
            upstream.connections() < 600,
            "{what}: {} connections for {opened} streams",
            upstream.connections()
        );
    }
}

#[tokio::test]
async fn a_client_that_cancels_now_and_then_is_served_on() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = H2Frames::connect(gateway.address("web")).await;
    // A browser that leaves a page: all that was under way, at once.
    let (open, reset): (Vec<_>, Vec<_>) = (0..100).map(|at| (get(2 * at + 1), rst(2 * at + 1))).unzip();
    for frames in [open, reset] {
        assert!(sent(&mut client, &frames).await);
    }
    // One of two is cancelled, for as long as another page takes.
    for at in (100..400).step_by(2) {
        client.send(&get(2 * at + 1)).await;
        client.send(&rst(2 * at + 1)).await;
        let stream = 2 * (at + 1) + 1;
        client.send(&get(stream)).await;
        let end =
            client.find(|frame| frame.kind == 7 || frame.stream == stream && frame.flags & 1 != 0).await;
        assert!(end.is_some_and(|frame| frame.kind != 7), "stream {stream}");
    }
}

#[tokio::test]
async fn what_was_begun_has_to_become_whole() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address())
        .listener("timeouts = { request-head = \"2s\", idle = \"60s\" }")
        .start()
        .await;
    // One that has said what it is may be idle for longer.
    let mut idle = H2Frames::connect(gateway.address("web")).await;
    assert!(sent(&mut idle, &[]).await);

    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.read_to_end().await;

    let half = H2Frame { flags: 1, ..get(1) };
    for (what, frames) in [
        ("a head without an end", vec![half.clone()]),
        ("the head of a frame", vec![]),
        ("a head with CONTINUATION", vec![half.clone(), H2Frame::new(9, 0, 1, [0x82])]),
    ] {
        let mut client = H2Frames::connect(gateway.address("web")).await;
        assert!(sent(&mut client, &[]).await);
        for frame in &frames {
            client.send(frame).await;
        }
        if frames.is_empty() {
            client.send_bytes(&[0, 0, 9, 1]).await;
        }
        assert!(client.find(|_| false).await.is_none(), "{what}");
    }
    // A header block that drips on as CONTINUATION does not live on either.
    let mut client = H2Frames::connect(gateway.address("web")).await;
    client.send(&half).await;
    let mut drips = 0;
    while drips < 10_000 && client.try_send(&H2Frame::new(9, 0, 1, [0x82])).await {
        drips += 1;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(drips < 10_000);

    idle.send(&get(1)).await;
    assert!(idle.find(|frame| frame.kind == 1).await.is_some(), "the idle connection is served");
}

#[tokio::test]
async fn a_preface_that_is_none_is_answered_or_closed_at_once() {
    let upstream = TestUpstream::named("app").await;
    for listener in ["", "protocols = [\"h2\"]"] {
        let lines = format!("timeouts = {{ request-head = \"60s\", idle = \"60s\" }}\n{listener}");
        let gateway = Edge::to(upstream.address()).listener(&lines).start().await;
        for preface in
            ["PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", "PRI /x HTTP/2.0\r\n\r\n"]
        {
            let mut client = RawClient::connect(gateway.address("web")).await;
            client.send(preface).await;
            client.read_to_end().await;
        }
    }
    assert!(upstream.requests().is_empty());
}

/// A client with large windows that does not read makes the gateway hold little, however many streams it opens.
#[tokio::test]
async fn a_client_that_does_not_read_costs_a_bounded_buffer_over_all_its_streams() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let upstream = RawUpstream::start(move |mut connection, _| {
        let counted = Arc::clone(&counted);
        async move {
            connection.read_head().await;
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").await;
            let piece = vec![b'x'; 16 * 1024];
            while connection.send_for_long(&piece).await {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
    };
    let before = resident();
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = H2Frames::connect(gateway.address("web")).await;
        client.send(&H2Frame::new(4, 0, 0, [0, 4, 0x7f, 255, 255, 255])).await;
        client.send(&H2Frame::new(8, 0, 0, [0x7f, 0, 0, 0])).await;
        for at in 0..128 {
            client.send(&get(2 * at + 1)).await;
        }
        clients.push(client);
    }
    eventually("all are asked", async || (upstream.connections() == 256).then_some(())).await;
    // Until nothing moves any more.
    let (mut last, mut still) = (0, 0);
    while still < 5 {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let now = sent.load(Ordering::SeqCst);
        still = if now == last { still + 1 } else { 0 };
        last = now;
    }
    let grown = resident().saturating_sub(before) / 1024;
    // 256 streams with 256 KiB each would be 64 MiB.
    assert!(grown < 32, "{grown} MiB for two connections");
    drop(clients);
}

/// Its stream is cut off although it moves.
#[tokio::test]
async fn a_client_that_takes_single_bytes_is_cut_off() {
    let upstream = TestUpstream::h1(|_| Answer::default().body(pattern(1 << 20))).await;
    let gateway = Edge::to(upstream.address()).listener("timeouts = { idle = \"500ms\" }").start().await;
    let mut client = H2Frames::connect(gateway.address("web")).await;
    client.send(&H2Frame::new(4, 0, 0, [0, 4, 0, 0, 0, 1])).await;
    client.send(&get(1)).await;
    // A byte for each byte, each well within the idle time.
    let mut bytes = 0;
    let end = loop {
        match client.find(|frame| matches!(frame.kind, 0 | 3 | 7)).await {
            Some(frame) if frame.kind == 0 => bytes += frame.payload.len(),
            end => break end,
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        client.send(&H2Frame::new(8, 0, 1, [0, 0, 0, 1])).await;
    };
    assert!(end.is_none_or(|frame| frame.kind == 3) && bytes < 4096, "{bytes} bytes");
    assert!(serves(&gateway).await);
}

#[tokio::test]
async fn an_upstream_that_takes_single_bytes_is_cut_off() {
    let upstream = RawUpstream::start(|connection, _| async move {
        let mut frames = H2Frames::accept(connection).await;
        frames.send(&H2Frame::new(4, 0, 0, [0, 4, 0, 0, 0, 1])).await;
        while let Some(frame) = frames.next().await {
            match frame.kind {
                4 if frame.flags == 0 => frames.send(&H2Frame::new(4, 1, 0, [])).await,
                6 if frame.flags == 0 => frames.send(&H2Frame::new(6, 1, 0, frame.payload)).await,
                0 | 1 => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    frames.send(&H2Frame::new(8, 0, frame.stream, [0, 0, 0, 1])).await;
                }
                _ => {}
            }
        }
    })
    .await;
    let gateway = Edge::to(upstream.address())
        .upstream("protocol = \"h2\"\ntimeouts = { idle = \"500ms\" }")
        .start()
        .await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await;
    client.send_for_long(&pattern(100_000)).await;
    assert_eq!(client.read_response().await.status, 504);
}

/// A drain does not wait for a client that sleeps.
#[tokio::test]
async fn an_idle_client_that_answers_nothing_holds_no_drain_up() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).server("drain-timeout = \"60s\"").start().await;
    let mut client = H2Frames::connect(gateway.address("web")).await;
    assert!(sent(&mut client, &[]).await);
    client.send(&get(1)).await;
    assert!(client.find(|frame| frame.flags & 1 != 0 && frame.kind < 2).await.is_some());
    // It reads, and says nothing.
    within("the gateway ends", gateway.terminate()).await;
    assert!(client.find(|_| false).await.is_none());
}

/// Streams beyond the limit are refused, as long as it is not a flood of them.
#[tokio::test]
async fn a_flood_of_streams_beyond_the_limit_ends_the_connection() {
    let upstream = silent().await;
    let gateway = Edge::to(upstream.address()).start().await;
    let opened = reset_streams(&gateway, 20_000, |stream| vec![get(stream)]).await;
    assert!((128..20_000).contains(&opened), "{opened} streams");
    assert_eq!(upstream.connections(), 128);
}
