//! Bodies that move slowly, in one direction or in both, and peers that take nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, Request, Response};

use crate::edge::{COMBINATIONS, Edge, Http};
use crate::harness::{
    H2Frame, H2Frames, PieceBody, Pieces, RawClient, RawUpstream, TestGateway, TestUpstream, within,
};
use crate::setup::{misbehave, record};

/// Well beyond the idle time of these tests, which is a second.
const LONG: Duration = Duration::from_millis(2500);
/// Between two pieces: far below it.
const STEP: Duration = Duration::from_millis(50);

async fn streaming<F>(
    version: Http,
    handler: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
) -> TestUpstream
where
    F: Future<Output = Response<crate::harness::StreamBody>> + Send + 'static,
{
    match version {
        Http::One => TestUpstream::streaming_h1(handler).await,
        Http::Two => TestUpstream::streaming_h2(handler).await,
    }
}

/// Sends a byte now and then for longer than any idle time. Returns `false` if it is no longer read.
async fn trickle(pieces: &Pieces) -> bool {
    let (begun, mut every) = (Instant::now(), tokio::time::interval(STEP));
    while begun.elapsed() < LONG {
        if !pieces.send("x").await {
            return false;
        }
        every.tick().await;
    }
    true
}

/// The length of what is read to its end.
async fn read(mut body: Incoming) -> Result<usize, hyper::Error> {
    let mut length = 0;
    while let Some(frame) = within("a frame", body.frame()).await {
        length += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(length)
}

async fn gateway(server: Http, address: std::net::SocketAddr, policy: &str) -> TestGateway {
    let edge = Edge::to(address)
        .listener("timeouts = { idle = \"1s\" }")
        .upstream(&format!("{}\ntimeouts = {{ idle = \"1s\" }}", server.line()))
        .file("misbehave.wasm", portcullis_test_guests::MISBEHAVE);
    match policy {
        "" => edge.start().await,
        policy => edge.route("use = [\"slow\"]").more(policy).start().await,
    }
}

/// Answers with a head at once, reads the whole request, and says then how long it was.
async fn answers_early(version: Http) -> TestUpstream {
    streaming(version, |request| async {
        let (pieces, body) = Pieces::new();
        tokio::spawn(async move {
            if let Ok(length) = read(request.into_body()).await {
                pieces.send(format!("{} bytes", if length > 0 { "some" } else { "no" })).await;
            }
        });
        Response::new(body.boxed())
    })
    .await
}

#[tokio::test]
async fn an_upload_that_goes_on_after_the_response_head_is_not_cut_off() {
    let mut combinations = tokio::task::JoinSet::new();
    for (client, server) in COMBINATIONS {
        // Also if a policy holds all of the response, of which nothing comes for as long.
        for hold in ["", "response-body"] {
            combinations.spawn(async move {
                let upstream = answers_early(server).await;
                let policy = if hold.is_empty() { "" } else { &misbehave("slow", hold, "judge", "") };
                let gateway = gateway(server, upstream.address(), policy).await;
                let mut client = client.client(&gateway).await;
                let (pieces, body) = Pieces::new();
                let answering = async {
                    let response = client.begin(Method::POST, "/", &[], body).await.unwrap();
                    assert_eq!(response.status(), 200);
                    response.into_body().collect().await.map(http_body_util::Collected::to_bytes)
                };
                let sending = async move { assert!(trickle(&pieces).await, "the upload was cut off") };
                let (answer, ()) = tokio::join!(answering, sending);
                assert_eq!(answer.unwrap(), "some bytes", "{server:?} {hold}");
            });
        }
    }
    combinations.join_all().await;
}

#[tokio::test]
async fn a_body_that_a_policy_holds_may_come_slowly() {
    let mut combinations = tokio::task::JoinSet::new();
    for (client, server) in COMBINATIONS {
        combinations.spawn(async move {
            let upstream = TestUpstream::echo().await;
            let held = misbehave("slow", "request-body", "judge", "");
            let gateway = gateway(Http::One, upstream.address(), &held).await;
            let mut to_hold = client.client(&gateway).await;
            let (pieces, body) = Pieces::new();
            let sending = async move { assert!(trickle(&pieces).await, "the upload was cut off") };
            let (response, ()) = tokio::join!(to_hold.begin(Method::POST, "/", &[], body), sending);
            assert_eq!(response.unwrap().status(), 200, "{client:?}");

            let upstream = streaming(server, |_| async {
                let (pieces, body) = Pieces::new();
                tokio::spawn(async move { trickle(&pieces).await });
                Response::new(body.boxed())
            })
            .await;
            let gateway = gateway_holding_responses(server, &upstream).await;
            let mut to_hold = client.client(&gateway).await;
            let response = to_hold.begin(Method::GET, "/", &[], nothing()).await.unwrap();
            assert_eq!(response.status(), 200, "{client:?} {server:?}");
            assert!(read(response.into_body()).await.unwrap() > 0);
        });
    }
    combinations.join_all().await;
}

async fn gateway_holding_responses(server: Http, upstream: &TestUpstream) -> TestGateway {
    gateway(server, upstream.address(), &misbehave("slow", "response-body", "judge", "")).await
}

fn nothing() -> http_body_util::Empty<Bytes> {
    http_body_util::Empty::new()
}

#[tokio::test]
async fn a_body_that_a_policy_holds_must_not_stand_still() {
    for server in [Http::One, Http::Two] {
        let upstream = streaming(server, |_| async {
            let (pieces, body) = Pieces::new();
            tokio::spawn(async move {
                pieces.send("begin").await;
                pieces.abandoned().await;
            });
            Response::new(body.boxed())
        })
        .await;
        let gateway = gateway_holding_responses(server, &upstream).await;
        let response = Http::One.client(&gateway).await.get("/stops").await;
        assert_eq!(response.status, 502);
        let made = record(&gateway, "/stops").await;
        assert!(made["error"].as_str().unwrap().contains("for too long"), "{made}");
    }
    let upstream = TestUpstream::echo().await;
    let held = misbehave("slow", "request-body", "judge", "");
    let gateway = gateway(Http::One, upstream.address(), &held).await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nbegin").await;
    assert_eq!(client.read_response().await.status, 408);
}

/// Sends without an end, and reads as much.
async fn pours() -> TestUpstream {
    TestUpstream::streaming_h1(|request| async {
        let (pieces, body) = Pieces::new();
        tokio::spawn(read(request.into_body()));
        tokio::spawn(async move { while pieces.send(Bytes::from_static(&[7; 65_536])).await {} });
        Response::new(body.boxed())
    })
    .await
}

#[tokio::test]
async fn a_client_that_takes_nothing_does_not_make_up_for_it_by_sending() {
    let upstream = pours().await;
    let gateway = gateway(Http::One, upstream.address(), "").await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("POST /h1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let dripping = tokio::spawn(async move {
        let mut every = tokio::time::interval(STEP);
        while client.try_send("1\r\nx\r\n").await.is_ok() {
            every.tick().await;
        }
    });
    let made = record(&gateway, "/h1").await;
    assert!(made["error"].as_str().unwrap().contains("client took nothing"), "{made}");
    within("the connection is closed", dripping).await.unwrap();
}

#[tokio::test]
async fn a_window_that_opens_a_byte_at_a_time_is_no_progress() {
    let upstream = pours().await;
    let gateway = gateway(Http::One, upstream.address(), "").await;
    let mut client = H2Frames::connect(gateway.address("web")).await;
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/drip")];
    client.send(&H2Frame::headers(1, &fields)).await;
    let dripping = tokio::spawn(async move {
        let mut every = tokio::time::interval(STEP);
        loop {
            for stream in [0, 1] {
                client.send(&H2Frame { kind: 8, flags: 0, stream, payload: vec![0, 0, 0, 1] }).await;
            }
            every.tick().await;
        }
    });
    let made = record(&gateway, "/drip").await;
    assert!(made["error"].as_str().unwrap().contains("client took nothing"), "{made}");
    dripping.abort();
}

#[tokio::test]
async fn a_client_may_send_all_before_it_reads() {
    // More than sockets and windows hold, both ways.
    const BYTES: usize = 24 << 20;
    let mut combinations = tokio::task::JoinSet::new();
    for (client, server) in COMBINATIONS {
        combinations.spawn(async move {
            let upstream = streaming(server, |request| async {
                let (pieces, body) = Pieces::new();
                tokio::spawn(async move {
                    let reading = tokio::spawn(read(request.into_body()));
                    for _ in 0..BYTES >> 16 {
                        pieces.send(Bytes::from_static(&[7; 1 << 16])).await;
                    }
                    assert_eq!(reading.await.unwrap().unwrap(), BYTES);
                });
                Response::new(body.boxed())
            })
            .await;
            let gateway = Edge::to(upstream.address()).upstream(server.line()).start().await;
            let mut client = client.client(&gateway).await;
            let (pieces, body): (Pieces, PieceBody) = Pieces::new();
            let sending = tokio::spawn(async move {
                for _ in 0..BYTES >> 16 {
                    assert!(pieces.send(Bytes::from_static(&[7; 1 << 16])).await);
                }
            });
            let response = client.begin(Method::POST, "/", &[], body).await.unwrap();
            within("all is sent", sending).await.unwrap();
            assert_eq!(read(response.into_body()).await.unwrap(), BYTES);
        });
    }
    combinations.join_all().await;
}

#[tokio::test]
async fn an_end_of_a_tunnel_that_takes_nothing_does_not_make_up_for_it_by_sending() {
    let upstream = RawUpstream::start(|mut connection, _| async move {
        connection.read_head().await;
        connection.send("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
        while connection.send_for_long(&[7; 65_536]).await {}
    })
    .await;
    let gateway = Edge::to(upstream.address()).listener("timeouts = { tunnel-idle = \"1s\" }").start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    let dripping = tokio::spawn(async move {
        let mut every = tokio::time::interval(STEP);
        while client.try_send("x").await.is_ok() {
            every.tick().await;
        }
    });
    let made = record(&gateway, "/tunnel").await;
    assert!(made["error"].as_str().unwrap().contains("client took nothing"), "{made}");
    within("the connection is closed", dripping).await.unwrap();
}

#[tokio::test]
async fn what_the_whole_exchange_took_too_long_for_is_not_called_silence() {
    let mut combinations = tokio::task::JoinSet::new();
    for (client, server) in COMBINATIONS {
        combinations.spawn(async move {
            let upstream = streaming(server, |_| async {
                let (pieces, body) = Pieces::new();
                tokio::spawn(async move { trickle(&pieces).await });
                Response::new(body.boxed())
            })
            .await;
            let edge = Edge::to(upstream.address()).route("timeout = \"1s\"").upstream(server.line());
            let gateway = edge.start().await;
            let reply = client.client(&gateway).await.try_send(Method::GET, "/", &[], "").await;
            assert!(reply.is_err(), "it was taken for whole");
            let made = record(&gateway, "/").await;
            assert!(made["error"].as_str().unwrap().contains("longer than the route allows"), "{made}");
        });
    }
    combinations.join_all().await;
}
