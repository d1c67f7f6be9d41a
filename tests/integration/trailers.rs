//! Trailers in the hooks of policies: read and edited where a body ends, over each protocol, and never a way around the
//! head.

use http_body_util::BodyExt;
use hyper::body::Frame;
use hyper::header::{HeaderMap, HeaderName};
use hyper::{Method, Response};
use tokio::sync::mpsc;

use crate::edge::{COMBINATIONS, Http};
use crate::harness::{RawClient, RawUpstream, TestClient, TestGateway, TestUpstream, within};
use crate::setup::{attribute, config, data, policy, record, streamed};

const ISOLATIONS: [&str; 2] = ["isolation = \"exchange\"", "isolation = \"worker\""];

/// A policy that follows these scripts: see `tests/guests/examples/late_edits.rs`.
fn scripts(request: &str, response: &str, completed: &str, settings: &str) -> String {
    let config = format!(
        "config = {{ request-body = \"{request}\", response-body = \"{response}\", completed = \"{completed}\" }}"
    );
    policy("late", "late_edits", &format!("{config}\n{settings}"))
}

async fn start(config: &str) -> TestGateway {
    TestGateway::builder().file("late_edits.wasm", portcullis_test_guests::LATE_EDITS).start(config).await
}

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
}

fn listed(trailers: Option<&HeaderMap>) -> Vec<String> {
    let lines = trailers.into_iter().flatten();
    let mut lines: Vec<String> =
        lines.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines
}

/// Reads the body, tells what came behind it, and answers with a message and trailers.
async fn trailing(
    server: Http,
    answers: &'static [(&str, &str)],
) -> (TestUpstream, mpsc::Receiver<Vec<String>>) {
    let (told, came) = mpsc::channel(16);
    let handler = move |request: hyper::Request<hyper::body::Incoming>| {
        let told = told.clone();
        async move {
            let body = request.into_body().collect().await.unwrap();
            told.send(listed(body.trailers())).await.unwrap();
            let (sender, body) = streamed();
            tokio::spawn(async move {
                sender.send(data("mess")).await.unwrap();
                sender.send(data("age")).await.unwrap();
                sender.send(Frame::trailers(map(answers))).await.unwrap();
            });
            let mut response = Response::new(body.boxed_unsync());
            let names: Vec<&str> = answers.iter().map(|(name, _)| *name).collect();
            response.headers_mut().insert("trailer", names.join(", ").parse().unwrap());
            response
        }
    };
    let upstream = match server {
        Http::One => TestUpstream::streaming_h1(handler).await,
        Http::Two => TestUpstream::streaming_h2(handler).await,
    };
    (upstream, came)
}

/// Sends a body with trailers, and returns the status, the body and the trailers of the answer.
async fn ask(client: &mut TestClient, path: &str, trailers: &[(&str, &str)]) -> (u16, String, Vec<String>) {
    let (sender, body) = streamed();
    let names: Vec<&str> = trailers.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    let fields = [("te", "trailers"), ("trailer", names.as_str())];
    let send = async {
        sender.send(data("hel")).await.unwrap();
        sender.send(data("lo")).await.unwrap();
        if !trailers.is_empty() {
            sender.send(Frame::trailers(map(trailers))).await.unwrap();
        }
        drop(sender);
    };
    let (response, ()) = tokio::join!(client.begin(Method::POST, path, &fields, body), send);
    let (head, body) = response.unwrap().into_parts();
    let collected = within("the answer's body", body.collect()).await.unwrap();
    let trailers = listed(collected.trailers());
    (head.status.as_u16(), String::from_utf8(collected.to_bytes().to_vec()).unwrap(), trailers)
}

#[tokio::test]
async fn a_policy_edits_what_comes_behind_a_body_over_each_protocol() {
    let sent: &[(&str, &str)] = &[("grpc-status", "13"), ("grpc-message", "at line 7"), ("x-gone", "1")];
    let scripts = |settings: &str| {
        scripts(
            "last; no-trailer x-gone; trailer x-check edited",
            "last; no-trailer x-gone; trailer grpc-message failed",
            "trailers",
            settings,
        )
    };
    for (client, server) in COMBINATIONS {
        let (upstream, mut came) = trailing(server, sent).await;
        for isolation in ISOLATIONS {
            let text = config(upstream.address(), &["late"], &scripts(isolation))
                .replace("[upstreams.app]\n", &format!("[upstreams.app]\n{}\n", server.line()));
            let gateway = start(&text).await;
            let mut client = match client {
                Http::One => TestClient::h1(gateway.address("web")).await,
                Http::Two => TestClient::h2(gateway.address("web")).await,
            };
            let (status, body, answered) =
                ask(&mut client, "/call", &[("x-check", "of client"), ("x-gone", "1")]).await;
            assert_eq!((status, body.as_str()), (200, "message"), "{server:?}");
            assert_eq!(answered, ["grpc-message: failed", "grpc-status: 13"], "{server:?}");
            assert_eq!(came.recv().await.unwrap(), ["x-check: edited"], "{server:?}");
            let record = record(&gateway, "/call").await;
            // What was sent, at the end of the exchange.
            assert_eq!(attribute(&record, "trailers"), "grpc-status=13|grpc-message=failed", "{record}");
        }
    }
}

#[tokio::test]
async fn a_body_that_came_without_trailers_gets_some() {
    let received = RawUpstream::start(|mut connection, _| async move {
        let head = connection.read_head().await.to_ascii_lowercase();
        assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{head}");
        let body = String::from_utf8(connection.read_until(b"\r\n\r\n").await).unwrap();
        assert!(body.ends_with("0\r\nx-sum: 1\r\n\r\n"), "{body}");
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    for steps in ["last; trailer x-sum 1", "collect; trailer x-sum 1"] {
        for isolation in ISOLATIONS {
            let gateway =
                start(&config(received.address(), &["late"], &scripts(steps, steps, "", isolation))).await;
            for mut client in
                [TestClient::h1(gateway.address("web")).await, TestClient::h2(gateway.address("web")).await]
            {
                for body in ["hello", ""] {
                    let reply = client.send(Method::POST, "/", &[("te", "trailers")], body).await;
                    assert_eq!((reply.status, reply.text().as_str()), (200, "ok"));
                    assert_eq!(reply.header("content-length"), "", "trailers come behind chunks alone");
                    assert_eq!(listed(reply.trailers.as_ref()), ["x-sum: 1"], "{steps} {body}");
                }
            }
            // HTTP/1.0 has none, and gets the body all the same.
            let mut old = RawClient::connect(gateway.address("web")).await;
            old.send("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
            let answer = String::from_utf8(old.read_to_end().await).unwrap();
            assert!(answer.ends_with("\r\n\r\nok") && !answer.contains("x-sum"), "{answer}");
        }
    }
}

#[tokio::test]
async fn what_must_not_be_a_trailer_is_neither_seen_nor_sent() {
    let smuggled = "Content-Length: 0\r\nTransfer-Encoding: chunked\r\nHost: b\r\nSet-Cookie: a=b\r\n\
                    Cache-Control: public\r\nContent-Type: text/html\r\nX-Fine: 1\r\n";
    let upstream = RawUpstream::start(move |mut connection, _| async move {
        while let Some(head) = connection.try_read_head().await {
            assert!(!head.is_empty());
            let body = String::from_utf8(connection.read_until(b"\r\n\r\n").await).unwrap();
            assert!(body.ends_with("0\r\nx-fine: 1\r\n\r\n"), "{body}");
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n";
            connection.send(format!("{head}{smuggled}\r\n")).await;
        }
    })
    .await;
    for isolation in ISOLATIONS {
        let late = scripts("last; trailers", "last; trailers", "", isolation);
        let gateway = start(&config(upstream.address(), &["late"], &late)).await;
        let mut client = RawClient::connect(gateway.address("web")).await;
        let own = "Authorization: Bearer x\r\nCookie: a=b\r\nX-Forwarded-For: 10.0.0.1\r\nX_Fine: 2\r\n";
        let head = "POST /smuggled HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}2\r\nhi\r\n0\r\n{smuggled}{own}\r\n")).await;
        assert_eq!(client.read_response_head().await.status, 200);
        let body = String::from_utf8(client.read_until(b"0\r\n").await).unwrap();
        assert_eq!(body, "2\r\nok\r\n0\r\n");
        assert_eq!(client.read_until(b"\r\n\r\n").await, b"x-fine: 1\r\n\r\n");
        let record = record(&gateway, "/smuggled").await;
        assert_eq!(attribute(&record, "trailers"), "x-fine=1", "{record}");
        // The connection has not lost its place.
        client.send(format!("{}2\r\nhi\r\n0\r\nX-Fine: 1\r\n\r\n", head.replace("smuggled", "next"))).await;
        assert_eq!(client.read_response_head().await.status, 200);
    }
}

#[tokio::test]
async fn edits_of_trailers_that_are_not_allowed_change_nothing() {
    let (upstream, mut came) = trailing(Http::Two, &[("grpc-status", "0")]).await;
    let edits =
        "trailer content-length 1; trailer host b; trailer transfer-encoding chunked; trailer set-cookie a";
    let text = config(upstream.address(), &["late"], &scripts(edits, edits, "", ""))
        .replace("[upstreams.app]\n", "[upstreams.app]\nprotocol = \"h2\"\n");
    let gateway = start(&text).await;
    let clients =
        [TestClient::h1(gateway.address("web")).await, TestClient::h2(gateway.address("web")).await];
    for (path, mut client) in ["/h1", "/h2"].into_iter().zip(clients) {
        let (status, body, answered) = ask(&mut client, path, &[("x-check", "1")]).await;
        assert_eq!((status, body.as_str(), answered), (200, "message", vec!["grpc-status: 0".to_owned()]));
        assert_eq!(came.recv().await.unwrap(), ["x-check: 1"]);
        let record = record(&gateway, path).await;
        for hook in ["request-body", "response-body"] {
            let told = attribute(&record, hook);
            assert!(!told.contains("ok"), "{told}");
            // Before the end there are none, and at the end these may not be.
            assert!(told.starts_with("trailer: Refused::ReadOnly"), "{told}");
            assert!(told.ends_with("trailer: Refused::Forbidden"), "{told}");
        }
    }
}

#[tokio::test]
async fn a_message_without_a_body_has_no_trailers() {
    let upstream = TestUpstream::named("app").await;
    let late = scripts("", "trailer x-sum 1; trailers", "trailers", "");
    let gateway = start(&config(upstream.address(), &["late"], &late)).await;
    let clients =
        [TestClient::h1(gateway.address("web")).await, TestClient::h2(gateway.address("web")).await];
    for (path, mut client) in ["/h1", "/h2"].into_iter().zip(clients) {
        let reply = client.send(Method::HEAD, path, &[("te", "trailers")], "").await;
        assert_eq!((reply.status, reply.trailers), (200, None));
        let record = record(&gateway, path).await;
        assert_eq!(attribute(&record, "response-body"), "trailer: Refused::ReadOnly, trailers: ok");
        assert_eq!(attribute(&record, "trailers"), "");
    }
}
