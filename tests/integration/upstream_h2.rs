//! HTTP/2 upstreams that refuse, say goodbye, go silent, or are held up by one client: what others notice of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::{Method, Response};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::edge::{Edge, Http, pattern};
use crate::harness::{
    Answer, H2Client, H2Frame, H2Frames, Pieces, RawClient, RawUpstream, TestGateway, TestUpstream,
    eventually, within,
};
use crate::setup::record;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const REFUSED_STREAM: u32 = 7;

/// 200 with an empty body, by the static table.
fn ok(stream: u32) -> H2Frame {
    H2Frame { kind: HEADERS, flags: 5, stream, payload: vec![0x88] }
}

fn goaway(last: u32) -> H2Frame {
    H2Frame { kind: GOAWAY, flags: 0, stream: 0, payload: [last.to_be_bytes(), [0; 4]].concat() }
}

fn reset(stream: u32, code: u32) -> H2Frame {
    H2Frame { kind: RST_STREAM, flags: 0, stream, payload: code.to_be_bytes().to_vec() }
}

fn left_out(gateway: &TestGateway) -> Vec<String> {
    let lines = gateway.log().into_iter().map(|line| line.message);
    lines.filter(|message| message.contains("left out")).collect()
}

/// A connection of an upstream that answers every request once its body is there.
async fn answer_all(mut frames: H2Frames) {
    while let Some(frame) = frames.next().await {
        if frame.kind <= HEADERS && frame.flags & 1 != 0 {
            frames.send(&ok(frame.stream)).await;
        }
    }
}

#[tokio::test]
async fn clients_that_read_nothing_stop_no_other_response() {
    let upstream = TestUpstream::h2(|request| match request.path() {
        "/big" => Answer::default().body(vec![b'x'; 4 << 20]),
        _ => Answer::text("small"),
    })
    .await;
    let gateway = Edge::to(upstream.address()).one_worker().upstream("protocol = \"h2\"").start().await;
    // Windows of 64 KiB are full at once. One byte for each now and then keeps the streams alive.
    let mut stalled = H2Frames::connect(gateway.address("web")).await;
    let streams: Vec<u32> = (0..12).map(|at| 2 * at + 1).collect();
    for stream in &streams {
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/big")];
        stalled.send(&H2Frame::headers(*stream, &fields)).await;
    }
    let heads = async { while stalled.next().await.is_none_or(|frame| frame.stream != 23) {} };
    within("all have begun", heads).await;
    for round in 0..8 {
        for stream in &streams {
            let one = 1_u32.to_be_bytes().to_vec();
            stalled.send(&H2Frame { kind: WINDOW_UPDATE, flags: 0, stream: *stream, payload: one }).await;
        }
        let version = if round % 2 == 0 { Http::One } else { Http::Two };
        let reply = version.client(&gateway).await.get("/small").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "small"));
    }
}

#[tokio::test]
async fn an_upload_that_the_endpoint_does_not_read_stops_no_other_upload() {
    // The handler of `/stuck` leaves the body where it is; the connection's window is the default of 64 KiB.
    let upstream = RawUpstream::start(|connection, _| async move {
        let mut frames = H2Frames::accept(connection).await;
        let mut stuck = None;
        while let Some(frame) = frames.next().await {
            // The first stream of a connection with a body of 200,000 bytes is the one that is not read.
            if frame.kind == 0 && frame.payload.len() > 10_000 {
                stuck = Some(frame.stream);
            }
            if frame.kind <= HEADERS && frame.flags & 1 != 0 && Some(frame.stream) != stuck {
                frames.send(&ok(frame.stream)).await;
            }
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).one_worker().upstream("protocol = \"h2\"").start().await;
    let mut stuck = RawClient::connect(gateway.address("web")).await;
    stuck.send("POST /stuck HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n").await;
    stuck.send(vec![b'x'; 200_000]).await;
    eventually("it has begun", async || (upstream.connections() > 0).then_some(())).await;
    for _ in 0..10 {
        let reply = Http::One.client(&gateway).await.send(Method::POST, "/", &[], "small body").await;
        assert_eq!(reply.status, 200);
    }
}

#[tokio::test]
async fn a_connection_that_went_silent_is_used_no_more() {
    let upstream = RawUpstream::start(|connection, number| async move {
        let mut frames = H2Frames::accept(connection).await;
        if number > 0 {
            return answer_all(frames).await;
        }
        // The kernel goes on acknowledging, as it does for a process that hangs.
        while let Some(frame) = frames.next().await {
            if frame.kind == HEADERS && frame.stream == 1 {
                frames.send(&ok(1)).await;
            }
        }
    })
    .await;
    let gateway = Edge::to(upstream.address())
        .one_worker()
        .upstream("protocol = \"h2\"\ntimeouts = { response-head = \"2s\" }")
        .start()
        .await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(Http::One.client(&gateway).await.get("/").await.status);
    }
    assert_eq!(statuses, [200, 504, 200, 200, 200, 200]);
}

#[tokio::test]
async fn a_connection_that_answers_late_is_used_again() {
    // Its handler takes long; its connection lives, as the answer to a PING shows.
    let upstream = TestUpstream::streaming_h2(|request| async move {
        if request.uri().path() == "/slow" {
            std::future::pending::<()>().await;
        }
        Response::new(Pieces::new().1.boxed())
    })
    .await;
    let gateway = Edge::to(upstream.address())
        .one_worker()
        .upstream("protocol = \"h2\"\ntimeouts = { response-head = \"1s\" }")
        .start()
        .await;
    let mut client = Http::One.client(&gateway).await;
    for _ in 0..3 {
        assert_eq!(client.get("/slow").await.status, 504);
    }
    eventually("one that was made before is used", async || {
        let before = upstream.connections();
        assert_eq!(client.get("/").await.status, 200);
        (upstream.connections() == before).then_some(())
    })
    .await;
    assert!(upstream.connections() <= 4, "{}", upstream.connections());
}

#[tokio::test]
async fn what_an_orderly_goaway_left_out_goes_over_another_connection() {
    // The first connection takes no stream at all, and says so when the request is there, whole or in part.
    for when in ["at the head", "in the body", "at the end"] {
        let upstream = RawUpstream::start(move |connection, number| async move {
            let mut frames = H2Frames::accept(connection).await;
            if number > 0 {
                return answer_all(frames).await;
            }
            let wanted = |frame: &H2Frame| match when {
                "at the head" => frame.kind == HEADERS,
                "in the body" => frame.kind == 0,
                _ => frame.kind == 0 && frame.flags & 1 != 0,
            };
            assert!(frames.find(wanted).await.is_some());
            frames.send(&goaway(0)).await;
            while frames.next().await.is_some() {}
        })
        .await;
        let gateway = Edge::to(upstream.address()).upstream("protocol = \"h2\"").start().await;
        let reply = Http::One.client(&gateway).await.send(Method::POST, "/", &[], pattern(20_000)).await;
        assert_eq!((reply.status, upstream.connections()), (200, 2), "{when}");
        assert!(left_out(&gateway).is_empty(), "{when}: {:?}", left_out(&gateway));
        assert_eq!(record(&gateway, "/").await["attempts"], 1, "{when}: the same endpoint, asked once");
    }
}

#[tokio::test]
async fn the_whole_body_is_sent_again() {
    let (bodies, mut seen) = tokio::sync::mpsc::channel(10);
    let upstream = RawUpstream::start(move |connection, number| {
        let bodies = bodies.clone();
        async move {
            let mut frames = H2Frames::accept(connection).await;
            let mut body = Vec::new();
            while let Some(frame) = frames.next().await {
                if frame.kind != 0 {
                    continue;
                }
                body.extend(&frame.payload);
                if frame.flags & 1 != 0 {
                    bodies.send(std::mem::take(&mut body)).await.unwrap();
                    frames
                        .send(&if number < 2 {
                            reset(frame.stream, REFUSED_STREAM)
                        } else {
                            ok(frame.stream)
                        })
                        .await;
                }
            }
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).upstream("protocol = \"h2\"").start().await;
    let (pieces, body) = Pieces::new();
    let mut client = Http::Two.client(&gateway).await;
    let asked =
        tokio::spawn(async move { client.begin(Method::POST, "/", &[], body).await.unwrap().status() });
    // Small pieces and large ones, one after the other.
    let whole = pattern(40_000);
    for range in [0..1, 1..3, 3..5000, 5000..5007, 5007..40_000] {
        assert!(pieces.send(whole.slice(range)).await);
    }
    drop(pieces);
    assert_eq!(within("an answer", asked).await.unwrap(), 200);
    for time in 0..3 {
        assert!(within("a body", seen.recv()).await.unwrap() == whole, "the body differs, time {time}");
    }
    assert!(left_out(&gateway).is_empty());
}

#[tokio::test]
async fn a_body_over_replay_is_not_sent_again() {
    let upstream = RawUpstream::start(|connection, number| async move {
        let mut frames = H2Frames::accept(connection).await;
        if number > 0 {
            return answer_all(frames).await;
        }
        frames.find(|frame| frame.kind == 0 && frame.flags & 1 != 0).await;
        frames.send(&reset(1, REFUSED_STREAM)).await;
        while frames.next().await.is_some() {}
    })
    .await;
    let gateway = Edge::to(upstream.address()).upstream("protocol = \"h2\"\nreplay = \"1KiB\"").start().await;
    let reply = Http::One.client(&gateway).await.send(Method::POST, "/large", &[], pattern(1025)).await;
    assert_eq!((reply.status, upstream.connections()), (502, 1));
    assert!(left_out(&gateway).is_empty(), "it only said that it has no room");
}

#[tokio::test]
async fn a_connection_that_said_goodbye_is_left_to_its_streams() {
    let go = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&go);
    let upstream = RawUpstream::start(move |connection, number| {
        let gate = Arc::clone(&gate);
        async move {
            let mut frames = H2Frames::accept(connection).await;
            if number > 0 {
                return answer_all(frames).await;
            }
            assert!(frames.find(|frame| frame.kind == HEADERS).await.is_some());
            frames.send(&goaway(1)).await;
            // What came before the goodbye is answered at leisure.
            gate.acquire().await.unwrap().forget();
            frames.send(&ok(1)).await;
            while frames.next().await.is_some() {}
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).upstream("protocol = \"h2\"").start().await;
    let mut client = Http::Two.client(&gateway).await;
    let mut held = client.share();
    let held = tokio::spawn(async move { held.get("/held").await.status });
    eventually("it is held", async || (upstream.connections() == 1).then_some(())).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert!(upstream.connections() <= 3, "{} connections for one client", upstream.connections());
    go.add_permits(1);
    assert_eq!(within("the held one", held).await.unwrap(), 200);
}

#[tokio::test]
async fn an_endpoint_that_refuses_every_stream_is_asked_so_often_and_not_left_out() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let upstream = RawUpstream::start(move |connection, _| {
        let counter = Arc::clone(&counter);
        async move {
            let mut frames = H2Frames::accept(connection).await;
            while let Some(frame) = frames.next().await {
                if frame.kind == HEADERS {
                    counter.fetch_add(1, Ordering::SeqCst);
                    frames.send(&reset(frame.stream, REFUSED_STREAM)).await;
                }
            }
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).upstream("protocol = \"h2\"").start().await;
    assert_eq!(Http::One.client(&gateway).await.get("/").await.status, 502);
    assert_eq!(asked.load(Ordering::SeqCst), 4, "once, and three times more");
    assert!(left_out(&gateway).is_empty(), "{:?}", left_out(&gateway));
}

#[tokio::test]
async fn a_burst_waits_for_what_the_endpoint_grants() {
    // The endpoint's settings come late, and allow five streams at once. More are refused, as RFC 9113, 5.1.2 has it.
    const GRANTED: usize = 5;
    let upstream = RawUpstream::start(|connection, _| async move {
        let mut frames = H2Frames::accept_with(connection, None).await;
        assert!(frames.find(|frame| frame.kind == HEADERS).await.is_some());
        // Whatever else is sent before the settings is on its way by now.
        tokio::time::sleep(Duration::from_millis(50)).await;
        frames.settings(&[(3, GRANTED as u32)]).await;
        let mut open = vec![1];
        loop {
            if let Ok(frame) = tokio::time::timeout(Duration::from_millis(20), frames.next()).await {
                let Some(frame) = frame else { return };
                if frame.kind == HEADERS && open.len() >= GRANTED {
                    frames.send(&reset(frame.stream, REFUSED_STREAM)).await;
                } else if frame.kind == HEADERS {
                    open.push(frame.stream);
                }
            } else if !open.is_empty() {
                frames.send(&ok(open.remove(0))).await;
            }
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).one_worker().upstream("protocol = \"h2\"").start().await;
    let client = Http::Two.client(&gateway).await;
    let mut tasks = JoinSet::new();
    for _ in 0..30 {
        let mut client = client.share();
        tasks.spawn(async move { client.send(Method::POST, "/", &[], "").await.status });
    }
    while let Some(status) = tasks.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert!(left_out(&gateway).is_empty(), "{:?}", left_out(&gateway));
    assert!(upstream.connections() <= 10, "{} connections for 30 streams of 5", upstream.connections());
}

#[tokio::test]
async fn a_head_over_what_the_endpoint_takes_is_not_sent() {
    let upstream = RawUpstream::start(|connection, _| async move {
        let mut frames = H2Frames::accept_with(connection, Some(&[(6, 2000)])).await;
        while let Some(frame) = frames.next().await {
            if frame.kind == HEADERS {
                frames.send(&ok(frame.stream)).await;
            }
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).one_worker().upstream("protocol = \"h2\"").start().await;
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(client.get("/first").await.status, 200);
    let field = "x".repeat(2000);
    let reply = client.get_with("/large", &[("x-large", &field)]).await;
    assert_eq!(reply.status, 431);
    assert_eq!(client.get_with("/fits", &[("x-large", &field[..500])]).await.status, 200);
    assert!(left_out(&gateway).is_empty(), "{:?}", left_out(&gateway));
    assert!(record(&gateway, "/large").await["error"].as_str().unwrap().contains("2000 bytes"));
}

#[tokio::test]
async fn requests_that_cannot_be_sent_leave_no_endpoint_out() {
    // Neither announces extended CONNECT.
    let (a, b) =
        (TestUpstream::h2(|_| Answer::text("a")).await, TestUpstream::h2(|_| Answer::text("b")).await);
    let gateway = Edge::to_all([a.address().to_string(), b.address().to_string()])
        .upstream("protocol = \"h2\"")
        .start()
        .await;
    for _ in 0..4 {
        let mut client = H2Client::connect(gateway.address("web")).await;
        let mut request = hyper::Request::connect("http://a/chat").body(()).unwrap();
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        let (response, _send) = client.send.send_request(request, false).unwrap();
        assert_eq!(within("an answer", response).await.unwrap().status(), 502);
    }
    assert!(left_out(&gateway).is_empty(), "{:?}", left_out(&gateway));
    assert_eq!(Http::One.client(&gateway).await.get("/").await.status, 200);
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_share_a_connection() {
    let upstream = TestUpstream::h2(|_| Answer::text("app")).await;
    let gateway = Edge::to(upstream.address()).one_worker().upstream("protocol = \"h2\"").start().await;
    let mut client = H2Client::connect(gateway.address("web")).await;
    for _ in 0..20 {
        for _ in 0..10 {
            let (_, mut send) = client.send.send_request(H2Client::get("/"), true).unwrap();
            send.send_reset(h2::Reason::CANCEL);
        }
        let (response, _) = client.send.send_request(H2Client::get("/"), true).unwrap();
        assert_eq!(within("an answer", response).await.unwrap().status(), 200);
    }
    assert!(upstream.connections() <= 3, "{} connections for 220 streams", upstream.connections());
}
