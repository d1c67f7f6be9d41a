//! HTTP/2 as clients speak it: how it is chosen, streams, flow control, what is malformed.

use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Method, Request, Response};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::edge::{Edge, Http, pattern};
use crate::harness::{
    Answer, H2Client, H2Frame, H2Frames, Pieces, RawClient, RawUpstream, TestClient, TestUpstream, curl,
    eventually, tool, within,
};
use crate::setup::record;

#[tokio::test]
async fn one_plain_listener_speaks_both_versions() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    let url = gateway.url("web", "/");
    let ask = ["--write-out", " %{http_version}", &url];
    for (option, expected) in [
        ("--http1.1", "app 1.1"),
        ("--http2-prior-knowledge", "app 2"),
        // Upgrade: h2c is passed over: what came behind it would pass beside the policies.
        ("--http2", "app 1.1"),
        ("--http1.0", "app 1.1"),
    ] {
        let ran = curl([&[option][..], &ask].concat()).await;
        assert_eq!(ran.stdout, expected, "{option}: {}", ran.stderr);
    }
    assert_eq!(upstream.last_request().header("upgrade"), "");
}

#[tokio::test]
async fn a_listener_may_speak_one_version_alone() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).listener("protocols = [\"h1\"]").start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(client.read_response().await.status, 505);

    let gateway = Edge::to(upstream.address()).listener("protocols = [\"h2\"]").start().await;
    assert_eq!(Http::Two.client(&gateway).await.get("/").await.text(), "app");
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let said = client.read_to_end().await;
    assert!(!String::from_utf8_lossy(&said).contains("HTTP/1"), "{said:?}");
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn cookie_crumbs_are_joined() {
    for server in [Http::One, Http::Two] {
        let upstream = server.server(|_| Answer::text("")).await;
        let gateway = Edge::to(upstream.address()).upstream(server.line()).start().await;
        let mut client = Http::Two.client(&gateway).await;
        client.get_with("/", &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]).await;
        let received = upstream.last_request();
        let cookies: Vec<_> = received.headers.get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }
}

#[tokio::test]
async fn early_hints_pass_to_and_from_http2() {
    let hints =
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let h1 = RawUpstream::answering(hints).await;
    let h2 = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = h2.local_addr().unwrap();
    let server = tokio::spawn(async move {
        // Each worker makes a connection of its own.
        loop {
            let (stream, _) = h2.accept().await.unwrap();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let hint = Response::builder().status(103).header("link", "</a.css>").body(()).unwrap();
                    respond.send_informational(hint).unwrap();
                    respond.send_response(Response::new(()), true).unwrap();
                }
            });
        }
    });
    for (server, address) in [(Http::One, h1.address()), (Http::Two, address)] {
        let gateway = Edge::to(address).upstream(server.line()).start().await;
        let mut client = H2Client::connect(gateway.address("web")).await;
        let (mut response, _) = client.send.send_request(H2Client::get("/"), true).unwrap();
        let hint = within("a hint", std::future::poll_fn(|cx| response.poll_informational(cx))).await;
        let hint = hint.unwrap().unwrap();
        assert_eq!((hint.status().as_u16(), hint.headers()["link"].as_bytes()), (103, &b"</a.css>"[..]));
        assert_eq!(within("the response", response).await.unwrap().status(), 200);
        drop(client);

        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert_eq!(client.read_response_head().await.status, 103, "{server:?}");
        assert_eq!(client.read_response().await.status, 200);
    }
    server.abort();
}

#[tokio::test]
async fn a_client_is_asked_for_its_body_only_behind_the_policies() {
    let upstream = TestUpstream::h1(|request| Answer::text(request.body.len().to_string())).await;
    let gateway = Edge::to(upstream.address()).route("limits = { body = \"1KiB\" }").start().await;
    let mut client = H2Client::connect(gateway.address("web")).await;
    let post = |length: &str| {
        Request::post("http://a/")
            .header("expect", "100-continue")
            .header("content-length", length)
            .body(())
            .unwrap()
    };
    let (mut response, _send) = client.send.send_request(post("1025"), false).unwrap();
    let asked = within("an answer", std::future::poll_fn(|cx| response.poll_informational(cx))).await;
    assert!(asked.is_none(), "a body that is refused was asked for");
    assert_eq!(within("the response", response).await.unwrap().status(), 413);

    let (mut response, mut send) = client.send.send_request(post("4"), false).unwrap();
    let asked = within("100", std::future::poll_fn(|cx| response.poll_informational(cx))).await;
    assert_eq!(asked.unwrap().unwrap().status(), 100);
    send.send_data(Bytes::from_static(b"four"), true).unwrap();
    assert_eq!(within("the response", response).await.unwrap().status(), 200);
    assert_eq!(upstream.last_request().header("expect"), "");
}

#[tokio::test]
async fn streams_do_not_wait_for_each_other() {
    let open = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&open);
    let upstream = TestUpstream::streaming_h1(move |request| {
        let gate = Arc::clone(&gate);
        async move {
            if request.uri().path() == "/held" {
                gate.acquire().await.unwrap().forget();
            }
            let (_, body) = Pieces::new();
            Response::new(body.boxed())
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let client = Http::Two.client(&gateway).await;
    let mut first = client.share();
    let held = tokio::spawn(async move { first.get("/held").await.status });
    for _ in 0..50 {
        assert_eq!(client.share().get("/free").await.status, 200);
    }
    assert!(!held.is_finished());
    open.add_permits(1);
    assert_eq!(within("the held stream", held).await.unwrap(), 200);
}

#[tokio::test]
async fn h2load_finds_every_request_answered() {
    for server in [Http::One, Http::Two] {
        let upstream = server.server(|_| Answer::text("hello")).await;
        let gateway = Edge::to(upstream.address()).upstream(server.line()).start().await;
        let url = gateway.url("web", "/");
        let mut h2load = Command::new(tool("h2load", "nghttp2-client"));
        h2load.args(["-n", "2000", "-c", "4", "-m", "50", &url]);
        let ran = tokio::task::spawn_blocking(move || h2load.output().unwrap());
        let ran = within("h2load", ran).await.unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
        assert!(said.contains("2000 2xx"), "{said}");
    }
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let upstream =
        RawUpstream::start(
            |mut connection, _| async move { while connection.read_request().await.is_some() {} },
        )
        .await;
    let gateway = Edge::to(upstream.address()).listener("limits = { streams = 4 }").start().await;
    let mut client = H2Frames::connect(gateway.address("web")).await;
    let settings = client.find(|frame| frame.kind == 4 && frame.flags == 0).await.unwrap();
    // SETTINGS_MAX_CONCURRENT_STREAMS is 3.
    assert!(settings.payload.chunks(6).any(|setting| setting == [0, 3, 0, 0, 0, 4]), "{settings:?}");
    client.send(&H2Frame { kind: 4, flags: 1, stream: 0, payload: Vec::new() }).await;
    let request = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    for stream in [1, 3, 5, 7, 9] {
        client.send(&H2Frame::headers(stream, &request)).await;
    }
    let refused = client.find(|frame| frame.kind == 3).await.unwrap();
    assert_eq!((refused.stream, refused.error_code()), (9, 7), "REFUSED_STREAM");
    eventually("four requests are under way", async || (upstream.connections() == 4).then_some(())).await;
}

#[tokio::test]
async fn malformed_requests_reach_no_upstream() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    let good = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    let with = |more: &[(&'static str, &'static str)]| [&good[..], more].concat();
    let connect = |protocol| vec![(":method", "CONNECT"), (":protocol", protocol), good[1], good[2], good[3]];
    let long = "x".repeat(40_000);
    let cases: &[(&str, Vec<(&str, &str)>)] = &[
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("connection", with(&[("connection", "x-a"), ("x-a", "1")])),
        ("keep-alive", with(&[("keep-alive", "1")])),
        ("proxy-connection", with(&[("proxy-connection", "close")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("te", with(&[("te", "gzip")])),
        ("upper case", with(&[("X-Upper", "1")])),
        ("line end in a value", with(&[("x-a", "b\r\nGET /smuggled HTTP/1.1")])),
        ("line end in a name", with(&[("x-a\r\nb", "c")])),
        ("NUL", with(&[("x-a", "b\0")])),
        ("two hosts", with(&[("host", "b")])),
        ("content-length of a request without a body", with(&[("content-length", "5")])),
        ("differing content-length", with(&[("content-length", "0"), ("content-length", "5")])),
        ("content-length that is no number", with(&[("content-length", "+0")])),
        ("pseudo-field behind a field", vec![("x-a", "1"), good[0], good[1], good[2], good[3]]),
        ("twice the same pseudo-field", with(&[(":path", "/b")])),
        ("unknown pseudo-field", with(&[(":secret", "1")])),
        ("no path", vec![good[0], good[1], good[3]]),
        ("empty path", vec![good[0], good[1], (":path", ""), good[3]]),
        ("path with a line end", vec![good[0], good[1], (":path", "/ HTTP/1.1\r\nx: y"), good[3]]),
        ("path with a space", vec![good[0], good[1], (":path", "/a b"), good[3]]),
        ("encoded slash", vec![good[0], good[1], (":path", "/a%2fb"), good[3]]),
        ("above the root", vec![good[0], good[1], (":path", "/../a"), good[3]]),
        ("method with a space", vec![(":method", "GET /x"), good[1], good[2], good[3]]),
        ("authority with a path", vec![good[0], good[1], good[2], (":authority", "a/b")]),
        ("authority with a user", vec![good[0], good[1], good[2], (":authority", "u@a")]),
        ("authority with a comma", vec![good[0], good[1], good[2], (":authority", "a,b")]),
        ("empty authority", vec![good[0], good[1], good[2], (":authority", "")]),
        ("no authority", vec![good[0], good[1], good[2]]),
        ("CONNECT without authority", vec![(":method", "CONNECT")]),
        ("CONNECT with a path", vec![(":method", "CONNECT"), good[1], good[2], good[3]]),
        (
            "extended CONNECT without a path",
            vec![(":method", "CONNECT"), (":protocol", "websocket"), good[1], good[3]],
        ),
        ("protocol of another method", with(&[(":protocol", "websocket")])),
        ("host beside another authority", with(&[("host", "b")])),
        ("status of a request", with(&[(":status", "200")])),
        ("scheme that is none", vec![good[0], (":scheme", "ht tp"), good[2], good[3]]),
        ("protocol with a line end", connect("websocket\r\nx-smuggled: 1")),
        ("protocol with a request behind it", connect("x\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: b")),
        ("empty protocol", connect("")),
        ("protocol with a space", connect("web socket")),
        // What came behind it would pass beside the policies.
        ("HTTP as a protocol", connect("h2c")),
        ("HTTP with its version as a protocol", connect("HTTP/1.1")),
    ];
    for (what, fields) in cases {
        let mut client = H2Frames::connect(gateway.address("web")).await;
        client.send(&H2Frame::headers(1, fields)).await;
        let end = client.find(|frame| matches!(frame.kind, 1 | 3 | 7)).await;
        // A status of 2xx is one byte of HPACK's static table: 200 is index 8.
        assert!(
            end.is_none_or(|frame| frame.kind != 1 || frame.payload[0] != 0x88),
            "{what} was answered 200"
        );
        assert_eq!(upstream.requests().len(), 0, "{what}");
    }
    // Larger than a frame may be, and than what settings announce.
    let mut client = H2Frames::connect(gateway.address("web")).await;
    client
        .send(&H2Frame::headers(1, &with(&[]).into_iter().chain([("x-a", &*long)]).collect::<Vec<_>>()))
        .await;
    while client.next().await.is_some() {}
    assert_eq!(upstream.requests().len(), 0);
    // The gateway is well.
    assert_eq!(Http::Two.client(&gateway).await.get("/").await.text(), "app");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let upstream = TestUpstream::named("app").await;
    let gateway =
        Edge::to(upstream.address()).listener("limits = { head = \"4KiB\", fields = 20 }").start().await;
    let mut client = Http::Two.client(&gateway).await;
    let reply = client.try_send(Method::GET, "/", &[("x-large", &"x".repeat(5000))], "").await;
    // A client that reads the settings does not even send it.
    assert!(reply.is_err() || reply.is_ok_and(|reply| reply.status == 431));
    let many: Vec<_> = (0..21).map(|at| format!("x-{at}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "1")).collect();
    let mut client = Http::Two.client(&gateway).await;
    assert_eq!(client.get_with("/", &many).await.status, 431);
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_body_shorter_or_longer_than_declared_is_no_whole_request() {
    let upstream = TestUpstream::h1(|_| Answer::text("app")).await;
    let gateway = Edge::to(upstream.address()).start().await;
    for body in [&b"abc"[..], b"abcdefg"] {
        let mut client = H2Client::connect(gateway.address("web")).await;
        let request = Request::post("http://a/").header("content-length", "5").body(()).unwrap();
        let (response, mut send) = client.send.send_request(request, false).unwrap();
        drop(send.send_data(Bytes::from_static(body), true));
        let answer = within("an answer", response).await;
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() != 200), "{body:?}");
    }
    assert!(upstream.requests().is_empty(), "a request that is not whole was taken for whole");
}

#[tokio::test]
async fn a_reset_stream_ends_its_request_and_no_other() {
    let upstream = TestUpstream::streaming_h1(|request| async move {
        let (pieces, body) = Pieces::new();
        if request.uri().path() == "/endless" {
            tokio::spawn(async move { while pieces.send("more").await {} });
        }
        Response::new(body.boxed())
    })
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = H2Client::connect(gateway.address("web")).await;
    let (response, mut send) = client.send.send_request(H2Client::get("/endless"), true).unwrap();
    let mut body = within("a response", response).await.unwrap().into_body();
    within("a piece", body.data()).await.unwrap().unwrap();
    send.send_reset(h2::Reason::CANCEL);
    drop((body, send));
    eventually("the upstream's connection is closed", async || {
        (upstream.open_connections() == 0).then_some(())
    })
    .await;
    let (response, _) = client.send.send_request(H2Client::get("/"), true).unwrap();
    assert_eq!(within("a response", response).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_large_body_passes_a_small_window() {
    let upstream = TestUpstream::h2(|_| Answer::default().body(pattern(1 << 20))).await;
    let gateway = Edge::to(upstream.address()).upstream("protocol = \"h2\"").start().await;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1000).max_frame_size(16_384);
    let mut client = H2Client::connect_with(gateway.address("web"), &builder).await;
    let (response, _) = client.send.send_request(H2Client::get("/"), true).unwrap();
    let mut body = within("a response", response).await.unwrap().into_body();
    let mut read = Vec::new();
    while let Some(piece) = within("a piece", body.data()).await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        read.extend(piece);
    }
    assert!(read == pattern(1 << 20), "the body differs");
}

#[tokio::test]
async fn tiny_chunks_do_not_become_tiny_frames() {
    // A receiver that holds as many frames takes them for an attack and closes the connection.
    let upstream = RawUpstream::answering(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        "4\r\ntiny\r\n".repeat(20_000)
    ))
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = H2Client::connect(gateway.address("web")).await;
    let (response, _) = client.send.send_request(H2Client::get("/"), true).unwrap();
    let mut body = within("a response", response).await.unwrap().into_body();
    let (mut bytes, mut frames) = (0, 0);
    while let Some(piece) = within("a piece", body.data()).await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        bytes += piece.len();
        frames += 1;
    }
    assert_eq!(bytes, 80_000);
    assert!(frames < 2_000, "{frames} frames");
}

#[tokio::test]
async fn an_upstream_that_takes_few_streams_at_once_loses_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut builder = h2::server::Builder::new();
                builder.max_concurrent_streams(2);
                let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        // So that streams overlap.
                        tokio::task::yield_now().await;
                        let mut send = respond.send_response(Response::new(()), false).unwrap();
                        send.send_data(Bytes::from_static(b"ok"), true).unwrap();
                    });
                }
            });
        }
    });
    let gateway = Edge::to(address).upstream("protocol = \"h2\"").start().await;
    let client = Http::Two.client(&gateway).await;
    for _ in 0..3 {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let mut client = client.share();
            tasks.spawn(async move { client.get("/").await });
        }
        while let Some(reply) = tasks.join_next().await {
            let reply = reply.unwrap();
            assert_eq!((reply.status, reply.text().as_str()), (200, "ok"));
        }
    }
    server.abort();
}

#[tokio::test]
async fn grpc_errors_in_trailers_alone_pass() {
    // A gRPC server that refuses at once sends one head that ends the stream.
    let upstream = TestUpstream::h2(|_| {
        Answer::default().header("content-type", "application/grpc").header("grpc-status", "12")
    })
    .await;
    let gateway = Edge::to(upstream.address()).upstream("protocol = \"h2\"").start().await;
    let mut client: TestClient = Http::Two.client(&gateway).await;
    let (pieces, body) = Pieces::new();
    let fields = [("te", "trailers"), ("content-type", "application/grpc")];
    let send = async {
        pieces.send(&b"\0\0\0\0\x01a"[..]).await;
        drop::<Pieces>(pieces);
    };
    let (response, ()) = tokio::join!(client.begin(Method::POST, "/a.B/C", &fields, body), send);
    let response = response.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["grpc-status"].as_bytes()), (200, &b"12"[..]));
    let body = within("the body", response.into_body().collect()).await.unwrap();
    assert!(body.to_bytes().is_empty());
    let received = upstream.last_request();
    assert_eq!((received.header("te").as_str(), received.body.len()), ("trailers", 6));
}

#[tokio::test]
async fn a_flood_of_odd_frames_is_no_flood_of_lines() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = H2Frames::connect(gateway.address("web")).await;
    // Answers to a PING that was never sent.
    for _ in 0..5000 {
        client.send(&H2Frame { kind: 6, flags: 1, stream: 0, payload: b"12345678".to_vec() }).await;
    }
    // An exchange after them is over, or the connection is.
    client
        .send(&H2Frame::headers(
            1,
            &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")],
        ))
        .await;
    let _answer = client.find(|frame| frame.kind == 1 && frame.stream == 1).await;
    Http::Two.client(&gateway).await.get("/after").await;
    record(&gateway, "/after").await;
    let lines = gateway.stderr().lines().count();
    assert!(lines < 100, "{lines} lines:\n{}", gateway.stderr());
}
