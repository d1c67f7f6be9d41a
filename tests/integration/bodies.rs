//! Body hooks: what they replace, hold and refuse, and what the other side then gets.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Frame;
use hyper::header::HeaderMap;
use hyper::{Method, Response};
use tokio::sync::{Notify, mpsc};

use crate::harness::{
    Answer, RawClient, RawUpstream, TestClient, TestGateway, TestUpstream, eventually, within,
};
use crate::setup::{config, data, misbehave, record, streamed};

/// A gateway whose only policy does this in that hook.
async fn start(endpoint: std::net::SocketAddr, hook: &str, deed: &str) -> TestGateway {
    start_with(&config(endpoint, &["bodies"], &misbehave("bodies", hook, deed, ""))).await
}

async fn start_with(config: &str) -> TestGateway {
    TestGateway::builder().file("misbehave.wasm", portcullis_test_guests::MISBEHAVE).start(config).await
}

async fn clients(gateway: &TestGateway) -> [TestClient; 2] {
    [TestClient::h1(gateway.address("web")).await, TestClient::h2(gateway.address("web")).await]
}

#[tokio::test]
async fn request_bodies_are_rewritten() {
    let upstream = TestUpstream::h1(|request| Answer::default().body(request.body.clone())).await;
    let gateway = start(upstream.address(), "request-body", "upper").await;
    for mut client in clients(&gateway).await {
        assert_eq!(client.send(Method::POST, "/", &[], "hello").await.text(), "HELLO");
        assert_eq!(upstream.last_request().header("content-length"), "5");
        let large = "x".repeat(1 << 20);
        assert_eq!(client.send(Method::PUT, "/", &[], large.clone()).await.text(), large.to_uppercase());
        assert_eq!(client.send(Method::POST, "/", &[], "").await.text(), "");
    }
    // In place of a chunk that is emptied nothing goes on; it would end the body.
    let gateway = start(upstream.address(), "request-body", "replace 0").await;
    for mut client in clients(&gateway).await {
        assert_eq!(client.send(Method::POST, "/", &[], "hello").await.text(), "");
    }
}

#[tokio::test]
async fn response_bodies_are_rewritten() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab\n\r\n2\r\ncd\r\n0\r\n\r\n";
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab\ncd";
    for answer in [chunked, sized] {
        let upstream = RawUpstream::answering(answer).await;
        let gateway = start(upstream.address(), "response-body", "upper").await;
        for mut client in clients(&gateway).await {
            assert_eq!(client.get("/").await.text(), "AB\nCD");
        }
        // A longer one than was declared.
        let gateway = start(upstream.address(), "response-body", "replace 100").await;
        for mut client in clients(&gateway).await {
            let reply = client.get("/").await;
            assert!(reply.body.len() >= 100 && reply.body.iter().all(|byte| *byte == b'x'), "{reply:?}");
        }
    }
}

#[tokio::test]
async fn a_held_request_arrives_whole_or_not_at_all() {
    let upstream = TestUpstream::h1(|request| Answer::default().body(request.body.clone())).await;
    let gateway = start(upstream.address(), "request-body", "judge").await;
    for mut client in clients(&gateway).await {
        let (sender, body) = streamed();
        let sending = tokio::spawn(async move {
            for piece in ["all ", "is ", "good"] {
                sender.send(data(piece)).await.unwrap();
            }
        });
        let response = client.begin(Method::POST, "/", &[], body).await.unwrap();
        sending.await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "all is good");
        let received = upstream.last_request();
        let framing = (received.header("content-length"), received.header("transfer-encoding"));
        assert_eq!(framing, ("11".to_owned(), String::new()));

        let before = upstream.requests().len();
        let (sender, body) = streamed();
        let sending = tokio::spawn(async move {
            for piece in ["all ", "is ba", "d"] {
                sender.send(data(piece)).await.unwrap();
            }
        });
        let response = client.begin(Method::POST, "/", &[], body).await.unwrap();
        sending.await.unwrap();
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()["x-by"], "request-body");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "that is bad");
        assert_eq!(upstream.requests().len(), before);
    }
}

#[tokio::test]
async fn a_held_response_is_sent_whole_or_replaced() {
    let upstream = RawUpstream::start(|mut connection, _| async move {
        while let Some((head, _)) = connection.read_request().await {
            let word = if head.starts_with("GET /bad ") { "2\r\nba\r\n1\r\nd\r\n" } else { "4\r\ngood\r\n" };
            let head = "HTTP/1.1 200 OK\r\nX-Upstream: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nis \r\n";
            connection.send(format!("{head}{word}0\r\n\r\n")).await;
        }
    })
    .await;
    let gateway = start(upstream.address(), "response-body", "judge").await;
    for mut client in clients(&gateway).await {
        let reply = client.get("/good").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "is good"));
        assert_eq!(
            (reply.header("x-upstream").as_str(), reply.header("content-length").as_str()),
            ("1", "7")
        );
        let reply = client.get("/bad").await;
        assert_eq!((reply.status, reply.text().as_str()), (422, "that is bad"));
        assert_eq!(
            (reply.header("x-upstream").as_str(), reply.header("content-length").as_str()),
            ("", "11")
        );
    }
}

#[tokio::test]
async fn a_request_that_is_refused_on_its_way_is_cut_off_for_the_upstream() {
    let (said, mut heard) = mpsc::channel(16);
    let upstream = TestUpstream::streaming_h1(move |request| {
        let said = said.clone();
        async move {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                said.send(frame.map(|frame| frame.into_data().unwrap()).map_err(drop)).await.unwrap();
            }
            Response::default()
        }
    })
    .await;
    let gateway = start(upstream.address(), "request-body", "late").await;
    for mut client in clients(&gateway).await {
        let (sender, body) = streamed();
        let sending = tokio::spawn(async move {
            sender.send(data("first")).await.unwrap();
            assert_eq!(within("the first piece", heard.recv()).await, Some(Ok("first".into())));
            sender.send(data("second")).await.unwrap();
            // Never a proper end of a message that must not be taken for complete.
            assert_eq!(within("the end", heard.recv()).await, Some(Err(())));
            heard
        });
        let response = client.begin(Method::POST, "/", &[], body).await.unwrap();
        assert_eq!(response.status(), 422);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "that is bad");
        heard = sending.await.unwrap();
    }
}

#[tokio::test]
async fn a_response_that_is_refused_on_its_way_is_cut_off_for_the_client() {
    let go_on = Arc::new(Notify::new());
    let waiting = Arc::clone(&go_on);
    let upstream = TestUpstream::streaming_h1(move |_| {
        let go_on = Arc::clone(&waiting);
        async move {
            let (sender, body) = streamed();
            tokio::spawn(async move {
                sender.send(data("first")).await.unwrap();
                go_on.notified().await;
                // Until the gateway goes away.
                while sender.send(data("more")).await.is_ok() {}
            });
            Response::new(body.boxed_unsync())
        }
    })
    .await;
    let gateway = start(upstream.address(), "response-body", "late").await;
    for (protocol, mut client) in ["h1", "h2"].into_iter().zip(clients(&gateway).await) {
        let path = format!("/{protocol}");
        let body = http_body_util::Empty::new();
        let mut response = client.begin(Method::GET, &path, &[], body).await.unwrap();
        assert_eq!(response.status(), 200);
        let first = within("the first piece", response.frame()).await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "first");
        go_on.notify_one();
        assert!(within("the end", response.collect()).await.is_err(), "{protocol}: it looks whole");
        let record = record(&gateway, &path).await;
        assert!(record["error"].as_str().is_some_and(|error| error.contains("policy")), "{record}");
    }
    eventually("the upstream is let go", async || (upstream.open_connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn what_came_before_a_response_was_cut_off_arrives() {
    let go_on = Arc::new(Notify::new());
    let notified = Arc::clone(&go_on);
    let upstream = RawUpstream::start(move |mut connection, _| {
        let waiting = Arc::clone(&notified);
        async move {
            connection.read_head().await;
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
            // What is there at once is one piece.
            waiting.notified().await;
            connection.send("4\r\nmore\r\n").await;
            connection.read_to_end().await;
        }
    })
    .await;
    let gateway = start(upstream.address(), "response-body", "late").await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.read_response_head().await.status, 200);
    assert_eq!(client.read_until(b"first\r\n").await, b"5\r\nfirst\r\n");
    go_on.notify_one();
    assert_eq!(client.read_to_end().await, b"");
}

#[tokio::test]
async fn trailers_pass_by() {
    let upstream = RawUpstream::start(|mut connection, _| async move {
        let head = connection.read_head().await;
        assert!(head.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{head}");
        let body = connection.read_until(b"\r\n\r\n").await;
        let body = String::from_utf8(body).unwrap().to_ascii_lowercase();
        assert!(body.ends_with("0\r\nx-sum: 42\r\n\r\n"), "{body}");
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 17\r\n\r\n";
        connection.send(answer).await;
    })
    .await;
    for hook in ["request-body", "response-body"] {
        for deed in ["upper", "judge"] {
            let gateway = start(upstream.address(), hook, deed).await;
            let mut client = RawClient::connect(gateway.address("web")).await;
            let head = "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n";
            client.send(format!("{head}Trailer: x-sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n")).await;
            assert_eq!(client.read_response_head().await.status, 200, "{hook} {deed}");
            let body = client.read_until(b"0\r\n").await;
            let text = String::from_utf8(body).unwrap();
            assert!(text.to_ascii_lowercase().contains("ok"), "{text}");
            let trailers = String::from_utf8(client.read_until(b"\r\n\r\n").await).unwrap();
            assert_eq!(trailers.to_ascii_lowercase(), "x-sum: 17\r\n\r\n", "{hook} {deed}");
        }
    }
}

/// Sends back every frame as it comes, as a bidirectional gRPC call does.
async fn repeating() -> TestUpstream {
    TestUpstream::streaming_h2(|request| async {
        let (sender, body) = streamed();
        tokio::spawn(async move {
            let mut request = request.into_body();
            while let Some(Ok(frame)) = request.frame().await {
                sender.send(frame).await.unwrap();
            }
        });
        Response::new(body.boxed_unsync())
    })
    .await
}

#[tokio::test]
async fn streams_flow_both_ways_through_body_hooks() {
    let upstream = repeating().await;
    let policies = misbehave("asking", "request-body", "upper", "")
        + &misbehave("answering", "response-body", "next", "");
    let config = config(upstream.address(), &["asking", "answering"], &policies)
        .replace("[upstreams.app]\n", "[upstreams.app]\nprotocol = \"h2\"\n");
    let gateway = start_with(&config).await;
    let mut client = TestClient::h2(gateway.address("web")).await;
    let (sender, body) = streamed();
    sender.send(data("one")).await.unwrap();
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    let mut response = client.begin(Method::POST, "/service/Method", &fields, body).await.unwrap();
    let mut next = async || within("a frame", response.frame()).await.map(Result::unwrap);
    assert_eq!(next().await.unwrap().into_data().unwrap(), "ONE");
    for (text, answer) in [("two", "TWO"), ("three", "THREE")] {
        sender.send(data(text)).await.unwrap();
        assert_eq!(next().await.unwrap().into_data().unwrap(), answer);
    }
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    sender.send(Frame::trailers(trailers.clone())).await.unwrap();
    drop(sender);
    assert_eq!(next().await.unwrap().into_trailers().unwrap(), trailers);
    assert!(next().await.is_none());
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_for_its_body_is_asked() {
    let upstream = TestUpstream::h1(|request| Answer::default().body(request.body.clone())).await;
    let gateway = start(upstream.address(), "request-body", "judge").await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").await;
    assert_eq!(client.read_response_head().await.status, 100);
    client.send("good").await;
    assert_eq!(client.read_response().await.text(), "good");
    assert_eq!(upstream.last_request().header("expect"), "");
}

#[tokio::test]
async fn a_response_without_a_body_stays_without_one() {
    let upstream = TestUpstream::h1(|request| match request.path() {
        "/204" => Answer::default().status(204),
        "/304" => Answer::default().status(304).header("etag", "\"a\""),
        _ => Answer::text("ok"),
    })
    .await;
    let gateway = start(upstream.address(), "response-body", "replace 10").await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    for path in ["/204", "/304", "/200"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let reply = client.read_response().await;
        assert_eq!(format!("/{}", reply.status), path);
        let expected = if path == "/200" { "x".repeat(10) } else { String::new() };
        assert_eq!(reply.text(), expected, "{path}");
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.read_response_head().await.status, 200, "after {path}");
    }
    let mut client = TestClient::h2(gateway.address("web")).await;
    for path in ["/204", "/304", "/200"] {
        assert_eq!(format!("/{}", client.get(path).await.status), path);
    }
}

#[tokio::test]
async fn an_old_client_gets_a_held_body_with_its_length() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n";
    let upstream = RawUpstream::answering(chunked).await;
    for (deed, length) in [("judge", "4"), ("upper", "")] {
        let gateway = start(upstream.address(), "response-body", deed).await;
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
        let reply = client.read_response().await;
        assert_eq!(reply.text().to_lowercase(), "abcd");
        assert_eq!(
            (reply.header("content-length").as_str(), reply.header("transfer-encoding").as_str()),
            (length, "")
        );
    }
}

#[tokio::test]
async fn a_client_that_goes_away_while_a_hook_works() {
    let upstream = TestUpstream::h1(|_| Answer::text("answer")).await;
    for hook in ["request-body", "response-body"] {
        // It works on a thread of a low priority, which gets little of a busy machine.
        let limits = "limits = { deadline = \"10s\", wall = \"5m\" }";
        let work = misbehave("bodies", hook, "work 100000000", limits);
        let text = config(upstream.address(), &["bodies"], &work).replace("workers = 2", "workers = 1");
        let gateway = start_with(&text).await;
        let asked = upstream.requests().len();
        let mut h1 = RawClient::connect(gateway.address("web")).await;
        h1.send("POST /h1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
        let mut h2 = TestClient::h2(gateway.address("web")).await;
        let empty = http_body_util::Empty::new();
        tokio::select! {
            _ = h2.begin(Method::POST, "/h2", &[], empty) => {}
            // The response's hook works as soon as the upstream has answered.
            () = eventually("they are on their way", async || {
                let there = hook == "request-body" || upstream.requests().len() == asked + 2;
                there.then_some(())
            }) => {}
        }
        h1.reset();
        drop(h2);
        if hook == "response-body" {
            record(&gateway, "/h1").await;
            record(&gateway, "/h2").await;
        }
        // The worker and its instances are as good as before.
        let mut client = TestClient::h1(gateway.address("web")).await;
        assert_eq!(client.get("/after").await.text(), "answer");
        assert!(!gateway.stderr().contains("panicked"), "{}", gateway.stderr());
    }
}

#[tokio::test]
async fn a_request_that_is_refused_after_its_response_began_cuts_both_off() {
    let upstream = repeating().await;
    let policies = misbehave("late", "request-body", "late", "");
    let config = config(upstream.address(), &["late"], &policies)
        .replace("[upstreams.app]\n", "[upstreams.app]\nprotocol = \"h2\"\n");
    let gateway = start_with(&config).await;
    for (protocol, mut client) in ["h1", "h2"].into_iter().zip(clients(&gateway).await) {
        let path = format!("/{protocol}");
        let (sender, body) = streamed();
        sender.send(data("one")).await.unwrap();
        let mut response = client.begin(Method::POST, &path, &[], body).await.unwrap();
        assert_eq!(response.status(), 200);
        let first = within("the first piece", response.frame()).await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "one");
        sender.send(data("two")).await.unwrap();
        assert!(within("the end", response.collect()).await.is_err(), "{protocol}: it looks whole");
        let record = record(&gateway, &path).await;
        assert!(record["error"].as_str().is_some_and(|error| error.contains("policy")), "{record}");
    }
}

#[tokio::test]
async fn a_response_that_says_that_there_is_no_content_is_sent_without_any() {
    let upstream = TestUpstream::h1(|received| {
        Answer::text("content").status(received.path().trim_start_matches('/').parse().unwrap())
    })
    .await;
    let gateway = TestGateway::start(&config(upstream.address(), &[], "")).await;
    for mut client in clients(&gateway).await {
        for (status, length) in [("205", "0"), ("200", "7")] {
            let reply = client.get(&format!("/{status}")).await;
            assert_eq!(reply.status.to_string(), status);
            assert_eq!(
                (reply.header("content-length").as_str(), reply.text().len()),
                (length, length.parse().unwrap())
            );
        }
    }
}
