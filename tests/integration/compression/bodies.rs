//! Bodies that are decoded, so that policies and upstreams get plain ones; and those that cannot be.

use hyper::Method;

use super::{CODINGS, noise, plain};
use crate::edge::{Edge, Http};
use crate::harness::{Answer, TestGateway, TestUpstream};
use crate::setup::misbehave;

fn encoded(coding: &str, plain: &[u8]) -> Vec<u8> {
    use std::io::Write;
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut out = Vec::new();
            brotli::CompressorWriter::new(&mut out, 4096, 5, 20).write_all(plain).unwrap();
            out
        }
        _ => zstd::encode_all(plain, 3).unwrap(),
    }
}

/// A gateway with `decompress`, and a policy that makes bodies of requests and responses upper case.
async fn decoding(upstream: &TestUpstream, decompress: &str) -> TestGateway {
    let more = misbehave("asking", "request-body", "upper", "")
        + &misbehave("answering", "response-body", "upper", "");
    Edge::to(upstream.address())
        .route(&format!("use = [\"asking\", \"answering\"]\ncompress = true\ndecompress = {decompress}"))
        .more(&more)
        .file("misbehave.wasm", portcullis_test_guests::MISBEHAVE)
        .start()
        .await
}

#[tokio::test]
async fn policies_and_upstreams_get_plain_bodies() {
    let upstream = TestUpstream::h1(|request| {
        let coding = request.path().trim_start_matches('/').to_owned();
        let body = if coding.is_empty() { request.body.to_vec() } else { encoded(&coding, &request.body) };
        let answer =
            Answer::text("").body(body).header("content-type", "text/plain").header("etag", "\"one\"");
        if coding.is_empty() { answer } else { answer.header("content-encoding", &coding) }
    })
    .await;
    let gateway = decoding(&upstream, "true").await;
    let (lower, upper) = ("some text, ".repeat(10_000), "SOME TEXT, ".repeat(10_000));
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        for coding in CODINGS {
            for path in ["/".to_owned(), format!("/{coding}")] {
                let fields = [("content-encoding", coding), ("accept-encoding", "gzip")];
                let body = encoded(coding, lower.as_bytes());
                let reply = client.send(Method::POST, &path, &fields, body).await;
                let received = upstream.last_request();
                assert_eq!(
                    (&*received.header("content-encoding"), &*received.header("accept-encoding")),
                    ("", "")
                );
                assert!(received.body == upper.as_bytes(), "{coding} {path}");
                assert_eq!((reply.status, &*reply.header("content-encoding")), (200, "gzip"));
                assert_eq!(reply.header("etag"), "W/\"one\"");
                assert!(plain(&reply) == upper.as_bytes(), "{coding} {path}");
                // A client that takes no coding gets what it can read.
                let reply = client
                    .send(Method::POST, &path, &[("content-encoding", coding)], encoded(coding, b"abc"))
                    .await;
                assert_eq!((&*reply.header("content-encoding"), &*reply.text()), ("", "ABC"));
            }
        }
        let reply = client.send(Method::POST, "/", &[], "plain").await;
        assert_eq!((reply.status, &*reply.text()), (200, "PLAIN"));
    }
}

#[tokio::test]
async fn bombs_and_what_is_not_valid_are_refused() {
    let upstream = TestUpstream::h1(|request| {
        let bomb = encoded("zstd", &vec![b'x'; 8 << 20]);
        match request.path() {
            "/bomb" => Answer::text("").body(bomb).header("content-encoding", "zstd"),
            _ => Answer::text("fine"),
        }
    })
    .await;
    let gateway = decoding(&upstream, "{ size = \"4MiB\", ratio = 100 }").await;
    let text = encoded("gzip", &noise(100_000));
    for version in [Http::One, Http::Two] {
        for (codings, body, status) in [
            ("gzip", encoded("gzip", &noise(3 << 20)), 200),
            ("gzip", encoded("gzip", &noise(5 << 20)), 413),
            ("gzip", encoded("gzip", &vec![0; 3 << 20]), 413),
            ("br", encoded("br", &vec![0; 3 << 20]), 413),
            ("zstd", encoded("zstd", &vec![0; 3 << 20]), 413),
            ("gzip", text[..text.len() / 2].to_vec(), 400),
            ("br", text.clone(), 400),
            ("zstd", b"no coding".to_vec(), 400),
            ("identity, gzip", text.clone(), 200),
            ("gzip, gzip", text.clone(), 415),
            ("deflate", text.clone(), 415),
        ] {
            // A refusal closes the connection or resets the stream, so each has one of its own.
            let mut client = version.client(&gateway).await;
            let asked = client.try_send(Method::POST, "/", &[("content-encoding", codings)], body).await;
            let Ok(reply) = asked else { continue };
            assert_eq!(reply.status, status, "{codings} {}", reply.text());
            if status == 415 {
                assert_eq!(reply.header("accept-encoding"), "zstd, br, gzip");
            }
        }
        let mut client = version.client(&gateway).await;
        let cut = client.try_send(Method::GET, "/bomb", &[], "").await;
        assert!(cut.is_err() || cut.unwrap().status == 502);
        assert_eq!(version.client(&gateway).await.get("/").await.text(), "FINE");
    }
}
