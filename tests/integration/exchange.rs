//! What holds whatever is spoken on either side: each test runs for all four combinations of HTTP/1.1 and HTTP/2.

use http_body_util::BodyExt;
use hyper::header::HeaderMap;
use hyper::{Method, Response};

use crate::edge::{COMBINATIONS, Edge, Http, pattern};
use crate::harness::{Answer, Pieces, Received, Reply, TestClient, TestUpstream, within};

fn echo(request: &Received) -> Answer {
    match request.path() {
        "/empty" => Answer::default().status(204),
        "/fresh" => Answer::default().status(304).header("etag", "\"7\""),
        "/cookies" => Answer::text("").header("set-cookie", "a=1").header("set-cookie", "b=2; Path=/"),
        "/big" => Answer::default().body(pattern(5 << 20)),
        _ => Answer::text(format!("{} {}", request.method, request.uri.path_and_query().unwrap()))
            .header("x-length", &request.body.len().to_string())
            .header("x-same", if request.body == pattern(request.body.len()) { "yes" } else { "no" }),
    }
}

#[tokio::test]
async fn requests_with_and_without_bodies_pass() {
    for (client, server) in COMBINATIONS {
        let upstream = server.server(echo).await;
        let gateway = Edge::to(upstream.address()).upstream(server.line()).start().await;
        let mut client = client.client(&gateway).await;

        let reply = client.get("/a?b=c").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "GET /a?b=c"));
        assert_eq!(reply.header("content-length"), "10");
        assert_ne!(reply.header("date"), "");

        let reply = client.send(Method::HEAD, "/a?b=c", &[], "").await;
        assert_eq!((reply.status, reply.body.len()), (200, 0));
        assert_eq!(reply.header("content-length"), "11", "{client:?}");

        for length in [0, 1, 16 * 1024, 5 << 20] {
            let reply = client.send(Method::POST, "/length", &[], pattern(length)).await;
            assert_eq!(reply.header("x-length"), length.to_string());
            assert_eq!(reply.header("x-same"), "yes", "{length}");
        }
        assert_eq!(upstream.last_request().header("content-length"), (5 << 20).to_string());

        let reply = client.get("/big").await;
        assert!(reply.body == pattern(5 << 20), "the body was changed");
        let reply = client.send(Method::DELETE, "/gone", &[], "").await;
        assert_eq!(reply.text(), "DELETE /gone");
    }
}

#[tokio::test]
async fn responses_without_a_body_have_none() {
    for (client, server) in COMBINATIONS {
        let upstream = server.server(echo).await;
        let gateway = Edge::to(upstream.address()).upstream(server.line()).start().await;
        let mut client = client.client(&gateway).await;
        let reply = client.get("/empty").await;
        assert_eq!((reply.status, reply.body.len(), reply.header("content-length")), (204, 0, String::new()));
        let reply = client.get("/fresh").await;
        assert_eq!((reply.status, reply.body.len(), reply.header("etag").as_str()), (304, 0, "\"7\""));
        let reply = client.send(Method::HEAD, "/a", &[], "").await;
        assert_eq!((reply.status, reply.body.len()), (200, 0));
        // The connection has not lost its place.
        assert_eq!(client.get("/a").await.text(), "GET /a");
    }
}

#[tokio::test]
async fn lines_of_a_field_stay_apart_and_in_order() {
    for (client, server) in COMBINATIONS {
        let upstream = server.server(echo).await;
        let gateway = Edge::to(upstream.address()).upstream(server.line()).start().await;
        let reply =
            client.client(&gateway).await.get_with("/cookies", &[("x-many", "1"), ("x-many", "2")]).await;
        let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2; Path=/"]);
        let received = upstream.last_request();
        let many: Vec<_> = received.headers.get_all("x-many").iter().collect();
        assert_eq!(many, ["1", "2"]);
    }
}

/// An upstream that reads the body and answers with pieces and trailers.
async fn trailing(server: Http) -> (TestUpstream, tokio::sync::mpsc::Receiver<HeaderMap>) {
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    let handler = move |request: hyper::Request<hyper::body::Incoming>| {
        let sender = sender.clone();
        async move {
            let body = request.into_body().collect().await.unwrap();
            sender.send(body.trailers().cloned().unwrap_or_default()).await.unwrap();
            let (pieces, body) = Pieces::new();
            tokio::spawn(async move {
                pieces.send("message").await;
                pieces.trailers(&[("grpc-status", "0"), ("x-sum", "ab"), ("content-length", "1")]).await;
            });
            let mut response = Response::new(body.boxed());
            response.headers_mut().insert("trailer", "grpc-status, x-sum".parse().unwrap());
            response
        }
    };
    let upstream = match server {
        Http::One => TestUpstream::streaming_h1(handler).await,
        Http::Two => TestUpstream::streaming_h2(handler).await,
    };
    (upstream, receiver)
}

async fn post_with_trailers(client: &mut TestClient) -> Reply {
    let (pieces, body) = Pieces::new();
    let fields = [("te", "trailers"), ("trailer", "x-check"), ("content-type", "application/grpc")];
    let send = async {
        pieces.send("one ").await;
        pieces.send("two").await;
        pieces.trailers(&[("x-check", "cd")]).await;
    };
    let (response, ()) = tokio::join!(client.begin(Method::POST, "/service/Method", &fields, body), send);
    let (head, body) = response.unwrap().into_parts();
    let collected = within("the response's body", body.collect()).await.unwrap();
    Reply {
        status: head.status.as_u16(),
        version: head.version,
        headers: head.headers,
        trailers: collected.trailers().cloned(),
        body: collected.to_bytes(),
    }
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    for (client, server) in COMBINATIONS {
        let (upstream, mut trailers) = trailing(server).await;
        let gateway = Edge::to(upstream.address()).upstream(server.line()).start().await;
        let reply = post_with_trailers(&mut client.client(&gateway).await).await;

        assert_eq!((reply.status, reply.text().as_str()), (200, "message"));
        let answered = reply.trailers.unwrap();
        assert_eq!(
            (answered["grpc-status"].as_bytes(), answered["x-sum"].as_bytes()),
            (&b"0"[..], &b"ab"[..])
        );
        assert!(!answered.contains_key("content-length"), "framing has no place behind a body");
        assert_eq!(trailers.recv().await.unwrap()["x-check"], "cd", "{client:?} {server:?}");
        // gRPC servers refuse requests without it.
        assert_eq!(upstream.last_request().header("te"), "trailers");
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_streams_in_pieces() {
    for (client_version, server) in COMBINATIONS {
        // What the upstream says of each piece of the request, as it comes.
        let handler = |request: hyper::Request<hyper::body::Incoming>| async move {
            let (pieces, answer) = Pieces::new();
            tokio::spawn(async move {
                let mut body = request.into_body();
                while let Some(frame) = body.frame().await {
                    let piece = frame.unwrap().into_data().unwrap();
                    // The end of a stream of HTTP/2 may be a piece of its own.
                    if !piece.is_empty() {
                        pieces.send(format!("[{}]", String::from_utf8_lossy(&piece))).await;
                    }
                }
            });
            Response::new(answer.boxed())
        };
        let upstream = match server {
            Http::One => TestUpstream::streaming_h1(handler).await,
            Http::Two => TestUpstream::streaming_h2(handler).await,
        };
        let gateway = Edge::to(upstream.address()).upstream(server.line()).start().await;
        let mut client = client_version.client(&gateway).await;
        let (pieces, body) = Pieces::new();
        let first = async { pieces.send("a").await };
        let (response, _) = tokio::join!(client.begin(Method::POST, "/", &[], body), first);
        let mut answer = response.unwrap().into_body();
        for piece in ["a", "b", "c"] {
            if piece != "a" {
                pieces.send(piece).await;
            }
            // It arrives while the request still goes on.
            let mut echoed = String::new();
            while !echoed.contains(']') {
                let frame = within("an answer to a piece", answer.frame()).await.unwrap().unwrap();
                echoed.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap()));
            }
            assert_eq!(echoed, format!("[{piece}]"));
        }
        drop::<Pieces>(pieces);
        let end = within("the end", answer.collect()).await.unwrap();
        assert!(end.to_bytes().is_empty(), "{client_version:?} {server:?}");
    }
}
