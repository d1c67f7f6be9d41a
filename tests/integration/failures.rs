//! Upstreams and clients that go away, or talk nonsense, at every moment of an exchange.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hyper::{Method, Response};
use tokio::sync::Semaphore;

use crate::edge::{COMBINATIONS, Edge, Http};
use crate::harness::{
    Answer, H2Client, H2Frame, H2Frames, Pieces, RawClient, RawUpstream, TestUpstream, eventually, within,
};
use crate::setup::record;

#[tokio::test]
async fn an_upstream_killed_in_the_middle_of_a_body_leaves_a_body_cut_off() {
    for head in ["Content-Length: 100000", "Transfer-Encoding: chunked", ""] {
        let response = match head {
            "Transfer-Encoding: chunked" => {
                format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nbegin\r\n5\r\nbeg")
            }
            _ => format!("HTTP/1.1 200 OK\r\n{head}\r\nX: y\r\n\r\nbegin").replace("\r\n\r\nX", "\r\nX"),
        };
        for reset in [true, false] {
            // Without a length an orderly end is the body's end; a reset is not.
            if head.is_empty() && !reset {
                continue;
            }
            let killed = Arc::new(Semaphore::new(0));
            let (gate, response) = (Arc::clone(&killed), response.clone());
            let upstream = RawUpstream::start(move |mut connection, _| {
                let (gate, response) = (Arc::clone(&gate), response.clone());
                async move {
                    connection.read_request().await;
                    connection.send(response).await;
                    gate.acquire().await.unwrap().forget();
                    if reset {
                        connection.reset();
                    }
                }
            })
            .await;
            let gateway = Edge::to(upstream.address()).start().await;
            let mut client = RawClient::connect(gateway.address("web")).await;
            client.send("GET /h1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let answered = client.read_head().await.to_lowercase();
            client.read_until(b"begin").await;
            killed.add_permits(1);
            let rest = client.read_to_end().await;
            if answered.contains("content-length: 100000") {
                assert!(rest.len() < 100, "{head}");
            } else {
                assert!(answered.contains("transfer-encoding: chunked"), "{answered}");
                assert!(!rest.ends_with(b"0\r\n\r\n"), "the last chunk makes it whole");
            }
            let noted = record(&gateway, "/h1").await;
            assert!(noted["error"].as_str().unwrap().contains("ended early"), "{noted}");

            let mut client = H2Client::connect(gateway.address("web")).await;
            let (response, _) = client.send.send_request(H2Client::get("/h2"), true).unwrap();
            let mut body = within("a response", response).await.unwrap().into_body();
            assert!(within("a piece", body.data()).await.unwrap().unwrap().starts_with(b"begin"));
            killed.add_permits(1);
            loop {
                match within("the end", body.data()).await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        assert!(error.is_reset(), "the stream ends, not the connection: {error}");
                        break;
                    }
                    None => panic!("a part was taken for the whole"),
                }
            }
        }
    }
}

#[tokio::test]
async fn an_http2_upstream_killed_in_the_middle_of_a_body_does_too() {
    for client in [Http::One, Http::Two] {
        let upstream = TestUpstream::streaming_h2(|_| async {
            let (pieces, body) = Pieces::new();
            tokio::spawn(async move {
                pieces.send("begin").await;
                pieces.abandoned().await;
            });
            Response::new(body.boxed())
        })
        .await;
        let gateway = Edge::to(upstream.address()).upstream("protocol = \"h2\"").start().await;
        let mut client = client.client(&gateway).await;
        let (_, body) = Pieces::new();
        let response = client.begin(Method::GET, "/", &[], body).await.unwrap();
        drop(upstream);
        let body = http_body_util::BodyExt::collect(response.into_body());
        assert!(within("the body", body).await.is_err(), "a part was taken for the whole");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_upstreams_work() {
    for (client, server) in COMBINATIONS {
        // Before the head, and in the middle of a body.
        for path in ["/no-head", "/endless"] {
            let handler = |request: hyper::Request<hyper::body::Incoming>| async move {
                let (head, body) = request.into_parts();
                // Over HTTP/2 the end of an empty body may come behind its head; then it is chunked here, and hyper
                // does not see its connection end before it was read.
                drop(http_body_util::BodyExt::collect(body).await);
                if head.uri.path() == "/no-head" {
                    std::future::pending::<()>().await;
                }
                let (pieces, body) = Pieces::new();
                tokio::spawn(async move { while pieces.send("more").await {} });
                Response::new(body.boxed())
            };
            let upstream = match server {
                Http::One => TestUpstream::streaming_h1(handler).await,
                Http::Two => TestUpstream::streaming_h2(handler).await,
            };
            let gateway = Edge::to(upstream.address()).upstream(server.line()).start().await;
            let mut client = client.client(&gateway).await;
            let (_, body) = Pieces::new();
            if path == "/no-head" {
                tokio::select! {
                    response = client.begin(Method::GET, path, &[], body) => panic!("{response:?}"),
                    () = eventually("the request is there", async || {
                        (!upstream.requests().is_empty()).then_some(())
                    }) => {}
                }
            } else {
                client.begin(Method::GET, path, &[], body).await.unwrap();
            }
            drop(client);
            let noted = record(&gateway, path).await;
            assert!(noted["error"].is_string(), "{noted}");
            // A connection of HTTP/2 lives on for others.
            if server == Http::One {
                eventually("the upstream's connection is closed", async || {
                    (upstream.open_connections() == 0).then_some(())
                })
                .await;
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_away_in_its_body_leaves_no_whole_request() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    for head in ["Content-Length: 10\r\n\r\nbegin", "Transfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n"] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}")).await;
        eventually("the request is forwarded", async || (upstream.open_connections() > 0).then_some(()))
            .await;
        drop(client);
        eventually("it is cut off", async || (upstream.open_connections() == 0).then_some(())).await;
    }
    assert!(upstream.requests().is_empty(), "a part was taken for the whole");
}

#[tokio::test]
async fn a_stream_that_is_reset_in_its_body_leaves_no_whole_request() {
    for server in [Http::One, Http::Two] {
        let upstream = server.server(|_| Answer::text("app")).await;
        let gateway = Edge::to(upstream.address()).upstream(server.line()).start().await;
        let mut client = H2Client::connect(gateway.address("web")).await;
        for length in ["10", ""] {
            let mut request = hyper::Request::post("http://a/reset").body(()).unwrap();
            if !length.is_empty() {
                request.headers_mut().insert("content-length", length.parse().unwrap());
            }
            let (response, mut send) = client.send.send_request(request, false).unwrap();
            send.send_data(Bytes::from_static(b"begin"), false).unwrap();
            eventually("the request is forwarded", async || (upstream.open_connections() > 0).then_some(()))
                .await;
            send.send_reset(h2::Reason::CANCEL);
            assert!(within("an answer", response).await.is_err());
            if server == Http::One {
                eventually("it is cut off", async || (upstream.open_connections() == 0).then_some(())).await;
            }
        }
        record(&gateway, "/reset").await;
        assert!(upstream.requests().is_empty(), "a part was taken for the whole");
        assert_eq!(Http::Two.client(&gateway).await.get("/").await.text(), "app");
    }
}

#[tokio::test]
async fn a_status_that_the_gateway_notes_of_clients_that_go_away_is_one_like_any_other() {
    for server in [Http::One, Http::Two] {
        let upstream = server.server(|_| Answer::text("theirs").status(499)).await;
        let gateway = Edge::to(upstream.address()).upstream(server.line()).start().await;
        for client in [Http::One, Http::Two] {
            let mut client = client.client(&gateway).await;
            for _ in 0..2 {
                let reply = client.get("/").await;
                assert_eq!((reply.status, reply.text().as_str()), (499, "theirs"));
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_response_is_502() {
    let cases: [(&str, &[u8]); 16] = [
        ("nothing", b""),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-"),
        ("nonsense", b"nonsense\r\n\r\n"),
        ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("TLS alert", b"\x15\x03\x01\x00\x02\x02\x46"),
        ("HTTP/2", b"\0\0\0\x04\0\0\0\0\0"),
        ("a status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
        ("a folded line", b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
        ("a space before the colon", b"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 0\r\n\r\n"),
        ("NUL in a value", b"HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 0\r\n\r\n"),
        ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        ("a length that is no number", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        (
            "both framings",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("an unknown coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc"),
        ("an upgrade that nobody asked for", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
        ("another version", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    for (what, response) in cases {
        let upstream = RawUpstream::start(move |mut connection, _| async move {
            connection.read_request().await;
            connection.send(response).await;
        })
        .await;
        let gateway = Edge::to(upstream.address()).upstream("ejection = { failures = 0 }").start().await;
        for version in [Http::One, Http::Two] {
            let reply = version.client(&gateway).await.get("/").await;
            assert_eq!(reply.status, 502, "{what}");
            assert!(reply.text().contains("502 Bad Gateway"), "{what}");
        }
        let noted = record(&gateway, "/").await;
        assert!(noted["error"].as_str().unwrap().contains(&upstream.address().to_string()), "{noted}");
    }
}

#[tokio::test]
async fn a_response_head_that_is_too_large_is_502() {
    let response = format!("HTTP/1.1 200 OK\r\nX-Large: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(5000));
    let upstream = RawUpstream::answering(response).await;
    let gateway = Edge::to(upstream.address()).upstream("head = \"4KiB\"").start().await;
    assert_eq!(Http::One.client(&gateway).await.get("/").await.status, 502);
    let gateway = Edge::to(upstream.address()).upstream("head = \"8KiB\"").start().await;
    assert_eq!(Http::One.client(&gateway).await.get("/").await.status, 200);
}

#[tokio::test]
async fn bytes_behind_a_response_answer_no_other_request() {
    let upstream = RawUpstream::start(|mut connection, number| async move {
        while connection.read_request().await.is_some() {
            let more = if number == 0 { "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged" } else { "" };
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright{more}")).await;
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = Http::One.client(&gateway).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "right");
    }
    assert_eq!(upstream.connections(), 2, "the connection with bytes to spare is not used again");
}

/// An upstream that keeps its first connection open and closes it when the second request comes on it.
async fn stale() -> (RawUpstream, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let upstream = RawUpstream::start(move |mut connection, number| {
        let count = Arc::clone(&count);
        async move {
            let mut served = 0;
            while connection.read_request().await.is_some() {
                count.fetch_add(1, Ordering::SeqCst);
                if number == 0 && served == 1 {
                    return;
                }
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                served += 1;
            }
        }
    })
    .await;
    (upstream, seen)
}

#[tokio::test]
async fn a_stale_pooled_connection_is_retried_where_that_is_safe() {
    for (method, body, status) in [
        (Method::GET, "", 200),
        (Method::PUT, "", 200),
        (Method::DELETE, "", 200),
        (Method::POST, "", 502),
        (Method::POST, "body", 502),
        (Method::PATCH, "", 502),
    ] {
        let (upstream, seen) = stale().await;
        let gateway = Edge::to(upstream.address()).start().await;
        // One client: one worker, and so one pool.
        let mut client = Http::One.client(&gateway).await;
        assert_eq!(client.get("/").await.text(), "ok");
        let reply = client.send(method.clone(), "/again", &[], body).await;
        assert_eq!(reply.status, status, "{method}");
        assert_eq!(seen.load(Ordering::SeqCst), if status == 200 { 3 } else { 2 }, "{method}");
    }
}

#[tokio::test]
async fn a_pooled_connection_that_the_upstream_closed_is_not_used() {
    let upstream = RawUpstream::start(|mut connection, _| async move {
        connection.read_request().await;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = Http::One.client(&gateway).await;
    for served in 1..=3 {
        // Even a POST is safe, for the end was seen before anything was sent. If it was not, GET is retried.
        assert_eq!(client.get("/").await.text(), "ok");
        assert_eq!(upstream.connections(), served);
    }
}

#[tokio::test]
async fn an_http2_upstream_that_shuts_down_loses_no_request() {
    // GOAWAY after each request: the next one goes over a new connection.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let mut send = respond.send_response(Response::new(()), false).unwrap();
                    send.send_data(Bytes::from_static(b"ok"), true).unwrap();
                    connection.graceful_shutdown();
                }
            });
        }
    });
    let gateway = Edge::to(address).upstream("protocol = \"h2\"").start().await;
    let mut client = Http::Two.client(&gateway).await;
    // RFC 9113, 6.8: what GOAWAY says was not acted on may be sent again, even POST.
    for at in 0..100 {
        let reply = client.send(Method::POST, "/", &[], "").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "ok"), "request {at}");
    }
    assert!(connections.load(Ordering::SeqCst) >= 10);
    server.abort();
}

/// An HTTP/2 upstream that answers one request on its first connection; the next one on it is met by GOAWAY and left
/// out, or by the connection's end.
async fn answering_once(goaway: bool) -> RawUpstream {
    RawUpstream::start(move |connection, number| async move {
        let mut connection = H2Frames::accept(connection).await;
        let mut served = 0;
        while let Some(frame) = connection.next().await {
            match (frame.kind, frame.flags & 1) {
                // SETTINGS and PING are acknowledged.
                (4, 0) => {
                    connection.send(&H2Frame { kind: 4, flags: 1, stream: 0, payload: Vec::new() }).await;
                }
                (6, 0) => connection.send(&H2Frame { flags: 1, ..frame }).await,
                (1, _) if number == 0 && served == 1 => {
                    if !goaway {
                        return;
                    }
                    // The last stream that it acted on is 1.
                    let payload = vec![0, 0, 0, 1, 0, 0, 0, 0];
                    connection.send(&H2Frame { kind: 7, flags: 0, stream: 0, payload }).await;
                }
                (1, _) => {
                    let answer = H2Frame { kind: 1, flags: 5, stream: frame.stream, payload: vec![0x88] };
                    connection.send(&answer).await;
                    served += 1;
                }
                _ => {}
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_stale_http2_connection_is_retried_where_that_is_safe() {
    for (method, status) in [(Method::GET, 200), (Method::POST, 502)] {
        let upstream = answering_once(false).await;
        let gateway = Edge::to(upstream.address()).upstream("protocol = \"h2\"").start().await;
        let mut client = Http::Two.client(&gateway).await;
        assert_eq!(client.get("/").await.status, 200);
        assert_eq!(client.send(method, "/", &[], "").await.status, status);
    }
}

#[tokio::test]
async fn a_request_behind_a_goaway_is_sent_again() {
    let upstream = answering_once(true).await;
    let gateway = Edge::to(upstream.address()).upstream("protocol = \"h2\"").start().await;
    let mut client = Http::Two.client(&gateway).await;
    for _ in 0..3 {
        // Even POST: RFC 9113, 6.8 says that it was not acted on.
        let reply = client.send(Method::POST, "/", &[], "").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, ""));
    }
    assert_eq!(upstream.connections(), 2);
    assert!(gateway.log().iter().all(|line| !line.message.contains("left out")), "it is no failure");
}

#[tokio::test]
async fn a_refused_stream_is_sent_again() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let first = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    count.fetch_add(1, Ordering::SeqCst);
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                }
            });
        }
    });
    let second = TestUpstream::h2(|_| Answer::text("second")).await;
    let gateway = Edge::to_all([first.to_string(), second.address().to_string()])
        .upstream("protocol = \"h2\"")
        .start()
        .await;
    let mut client = Http::Two.client(&gateway).await;
    // RFC 9113, 8.7: it was not acted on, so even POST may be sent again.
    for _ in 0..4 {
        assert_eq!(client.send(Method::POST, "/", &[], "").await.text(), "second");
    }
    assert!(refused.load(Ordering::SeqCst) > 0);
    server.abort();
}
