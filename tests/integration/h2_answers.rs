//! Answers of HTTP/2 upstreams, frame by frame: what ended well, what was cut, and what is no answer at all.

use std::sync::Arc;

use crate::edge::Edge;
use crate::harness::{H2Frame, H2Frames, RawClient, RawUpstream, TestGateway};
use crate::setup::policy;

const END_STREAM: u8 = 1;

/// Sends what `answer` makes for the stream of each request, once its head has come. Goes on with the connection after
/// that, unless `closes`.
async fn upstream(closes: bool, answer: impl Fn(u32) -> Vec<H2Frame> + Send + Sync + 'static) -> RawUpstream {
    let answer = Arc::new(answer);
    RawUpstream::start(move |connection, _| {
        let answer = Arc::clone(&answer);
        async move {
            let mut frames = H2Frames::accept(connection).await;
            while let Some(frame) = frames.next().await {
                match frame.kind {
                    4 if frame.flags == 0 => frames.send(&H2Frame::new(4, 1, 0, [])).await,
                    6 if frame.flags == 0 => frames.send(&H2Frame::new(6, 1, 0, frame.payload)).await,
                    1 => {
                        for frame in answer(frame.stream) {
                            frames.send(&frame).await;
                        }
                        if closes {
                            return;
                        }
                    }
                    _ => {}
                }
            }
        }
    })
    .await
}

async fn gateway(upstream: &RawUpstream) -> TestGateway {
    Edge::to(upstream.address()).upstream("protocol = \"h2\"\nhead = \"4KiB\"").start().await
}

fn head(stream: u32, flags: u8, fields: &[(&str, &str)]) -> H2Frame {
    H2Frame { flags: 4 | flags, ..H2Frame::headers(stream, fields) }
}

fn reset(stream: u32, code: u8) -> H2Frame {
    H2Frame::new(3, 0, stream, [0, 0, 0, code])
}

/// A client that asks on stream 1, and leaves its request open.
async fn asking(gateway: &TestGateway) -> H2Frames {
    let mut client = H2Frames::connect(gateway.address("web")).await;
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/a.B/C"),
        (":authority", "a"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    client.send(&head(1, 0, &fields)).await;
    client.send(&H2Frame::new(0, 0, 1, *b"\0\0\0\0\x01a")).await;
    client
}

/// Of gRPC, a head that ends the stream is a whole answer ("Trailers-Only"). With an empty DATA frame behind it,
/// clients find no status in it.
#[tokio::test]
async fn a_head_that_ends_the_stream_stays_alone() {
    for (code, what) in [(None, "no reset"), (Some(0), "NO_ERROR"), (Some(8), "CANCEL")] {
        let upstream = upstream(false, move |stream| {
            let fields = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "7")];
            std::iter::once(head(stream, END_STREAM, &fields))
                .chain(code.map(|code| reset(stream, code)))
                .collect()
        })
        .await;
        let gateway = gateway(&upstream).await;
        // The second one goes over a connection that is known.
        for _ in 0..2 {
            let mut client = asking(&gateway).await;
            let answer = client.find(|frame| frame.stream == 1 && frame.kind < 4).await.unwrap();
            assert_eq!((answer.kind, answer.flags & END_STREAM), (1, END_STREAM), "{what}: {answer:?}");
        }
    }
}

/// Also if policies have seen its body, which is empty.
#[tokio::test]
async fn a_head_that_ends_the_stream_stays_alone_behind_body_hooks() {
    let upstream = upstream(false, |stream| {
        let fields = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "7")];
        vec![head(stream, END_STREAM, &fields), reset(stream, 0)]
    })
    .await;
    let gateway = Edge::to(upstream.address())
        .upstream("protocol = \"h2\"")
        .file("all_hooks.wasm", portcullis_test_guests::ALL_HOOKS)
        .more(&policy("all", "all_hooks", ""))
        .route("use = [\"all\"]")
        .start()
        .await;
    let mut client = asking(&gateway).await;
    let answer = client.find(|frame| frame.stream == 1 && frame.kind < 4).await.unwrap();
    assert_eq!((answer.kind, answer.flags & END_STREAM), (1, END_STREAM), "{answer:?}");
}

async fn taken_for_whole(frames: fn(u32) -> Vec<H2Frame>, closes: bool, what: &str) {
    taken(frames, closes, what, true).await;
}

async fn taken_for_cut(frames: fn(u32) -> Vec<H2Frame>, closes: bool, what: &str) {
    taken(frames, closes, what, false).await;
}

/// Asks over both versions for an answer of a head, two bytes and `frames`.
async fn taken(frames: fn(u32) -> Vec<H2Frame>, closes: bool, what: &str, whole: bool) {
    let upstream = upstream(closes, move |stream| {
        let mut all = vec![head(stream, 0, &[(":status", "200")]), H2Frame::new(0, 0, stream, *b"ok")];
        all.extend(frames(stream));
        all
    })
    .await;
    let gateway = gateway(&upstream).await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te, close\r\n\r\n").await;
    let all = client.read_to_end().await;
    let text = String::from_utf8_lossy(&all);
    let ended = text.contains("\r\n0\r\n") && text.ends_with("\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 200") || text.starts_with("HTTP/1.1 502"), "{what}: {text}");
    assert_eq!(text.starts_with("HTTP/1.1 200") && ended, whole, "over HTTP/1.1, {what}: {text}");

    let mut client = asking(&gateway).await;
    let mut status = None;
    let last = loop {
        let frame = client.find(|frame| frame.stream == 1 && matches!(frame.kind, 0 | 1 | 3)).await.unwrap();
        if frame.kind == 1 {
            // 200 is one byte of HPACK's static table.
            status.get_or_insert(frame.payload[0]);
        }
        if frame.kind == 3 || frame.flags & END_STREAM != 0 {
            break frame;
        }
    };
    // One that failed before the gateway had sent its head on is answered 502.
    let ended_well = last.kind != 3 && status == Some(0x88);
    assert_eq!(ended_well, whole, "over HTTP/2, {what}: {last:?}");
}

#[tokio::test]
async fn an_answer_that_was_cut_is_never_taken_for_whole() {
    taken_for_cut(|stream| vec![reset(stream, 0)], false, "NO_ERROR without an end").await;
    taken_for_cut(|stream| vec![reset(stream, 2)], false, "INTERNAL_ERROR").await;
    taken_for_cut(|stream| vec![reset(stream, 5)], false, "STREAM_CLOSED").await;
    taken_for_cut(|stream| vec![reset(stream, 8)], false, "CANCEL").await;
    taken_for_cut(|stream| vec![reset(stream, 11)], false, "ENHANCE_YOUR_CALM").await;
    taken_for_cut(|stream| vec![reset(stream, 99)], false, "a code that nobody knows").await;
    taken_for_cut(|_| Vec::new(), true, "the end of the connection").await;
    taken_for_cut(|_| vec![H2Frame::new(7, 0, 0, [0; 8])], true, "GOAWAY and the end").await;
    taken_for_cut(
        |stream| vec![head(stream, 0, &[("x-a", "1")]), reset(stream, 0)],
        false,
        "trailers without an end",
    )
    .await;
    taken_for_cut(|stream| vec![head(stream, 0, &[(":status", "200")])], false, "a second head").await;
}

#[tokio::test]
async fn an_answer_whose_trailers_are_not_all_there_is_never_taken_for_whole() {
    taken_for_cut(
        |stream| {
            let long = "m".repeat(5000);
            vec![head(stream, END_STREAM, &[("grpc-message", &long), ("grpc-status", "7")])]
        },
        false,
        "trailers over the limit",
    )
    .await;
    taken_for_cut(
        |stream| {
            let names: Vec<_> = (0..300).map(|at| format!("x{at}")).collect();
            let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
            vec![head(stream, END_STREAM, &fields)]
        },
        false,
        "too many trailers",
    )
    .await;
    taken_for_cut(
        |stream| vec![head(stream, END_STREAM, &[(":status", "500")])],
        false,
        "a status in trailers",
    )
    .await;
    taken_for_cut(|stream| vec![head(stream, END_STREAM, &[(":path", "/")])], false, "a path in trailers")
        .await;
}

#[tokio::test]
async fn a_reset_behind_the_end_of_an_answer_cuts_nothing() {
    taken_for_whole(|stream| vec![H2Frame::new(0, 1, stream, [])], false, "the end").await;
    taken_for_whole(|stream| vec![H2Frame::new(0, 1, stream, *b"more"), reset(stream, 0)], false, "NO_ERROR")
        .await;
    taken_for_whole(|stream| vec![H2Frame::new(0, 1, stream, []), reset(stream, 8)], false, "CANCEL").await;
    taken_for_whole(|stream| vec![head(stream, 1, &[("x-a", "1")]), reset(stream, 0)], false, "trailers")
        .await;
}

#[tokio::test]
async fn an_answer_shorter_or_longer_than_declared_is_cut() {
    for (length, what) in [("3", "shorter"), ("1", "longer")] {
        let upstream = upstream(false, move |stream| {
            let fields = [(":status", "200"), ("content-length", length)];
            vec![head(stream, 0, &fields), H2Frame::new(0, END_STREAM, stream, *b"ok")]
        })
        .await;
        let gateway = gateway(&upstream).await;
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let text = String::from_utf8_lossy(&client.read_to_end().await).into_owned();
        let body = text.split("\r\n\r\n").nth(1).unwrap_or_default();
        let whole = text.starts_with("HTTP/1.1 200") && body.len() == length.parse::<usize>().unwrap();
        assert!(!whole, "{what}: {text}");
    }
}

#[tokio::test]
async fn a_status_of_no_class_is_no_answer() {
    for (status, expected) in
        [("600", 502), ("999", 502), ("099", 502), ("1000", 502), ("599", 599), ("200", 200)]
    {
        let upstream =
            upstream(false, move |stream| vec![head(stream, END_STREAM, &[(":status", status)])]).await;
        let gateway = gateway(&upstream).await;
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.read_response().await.status, expected, "{status}");
    }
    // An interim head that ends the stream, two of a kind that HTTP/2 has not, and none at all.
    for fields in [&[(":status", "103")][..], &[(":status", "101")], &[("x-a", "1")]] {
        let fields: Vec<_> = fields.to_vec();
        let upstream = upstream(false, move |stream| vec![head(stream, END_STREAM, &fields)]).await;
        let gateway = gateway(&upstream).await;
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut answer = client.read_response_head().await;
        while answer.status == 103 {
            answer = client.read_response_head().await;
        }
        assert_eq!(answer.status, 502);
    }
}

#[tokio::test]
async fn a_flood_of_interim_answers_is_no_answer() {
    let upstream = upstream(false, |stream| vec![head(stream, 0, &[(":status", "103")]); 5000]).await;
    let gateway = gateway(&upstream).await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut answer = client.read_response_head().await;
    while answer.status == 103 {
        answer = client.read_response_head().await;
    }
    assert_eq!(answer.status, 502);
}
