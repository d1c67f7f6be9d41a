//! Encoded bodies that are large, slow, read by no one, or cut short.

use http_body_util::{BodyExt, Empty};
use hyper::{Method, Response};

use super::{CODINGS, decoded, get, noise, text};
use crate::edge::{COMBINATIONS, Edge, Http};
use crate::harness::{
    H2Client, Pieces, RawClient, RawUpstream, TestClient, TestUpstream, eventually, within,
};
use crate::setup::record;

#[tokio::test]
async fn a_stream_of_events_arrives_event_by_event() {
    for (downstream, upstream) in COMBINATIONS {
        for (media_type, coding) in
            CODINGS.map(|coding| ("text/event-stream", coding)).into_iter().chain([("text/html", "gzip")])
        {
            let (sender, receiver) = tokio::sync::mpsc::channel(1);
            let handler = move |_| {
                let sender = sender.clone();
                async move {
                    let (pieces, body) = Pieces::new();
                    sender.send(pieces).await.unwrap();
                    Response::builder().header("content-type", media_type).body(body.boxed()).unwrap()
                }
            };
            let server = match upstream {
                Http::One => TestUpstream::streaming_h1(handler).await,
                Http::Two => TestUpstream::streaming_h2(handler).await,
            };
            let mut receiver = receiver;
            let edge = Edge::to(server.address()).upstream(upstream.line()).route("compress = true");
            let gateway = edge.start().await;
            let mut client = downstream.client(&gateway).await;
            let fields = [("accept-encoding", coding)];
            let begun = client.begin(Method::GET, "/", &fields, Empty::new());
            let (response, pieces) = tokio::join!(begun, within("the upstream is asked", receiver.recv()));
            let (mut body, pieces) = (response.unwrap().into_body(), pieces.unwrap());
            let mut decoder = Live::new(coding);
            for event in ["data: first\n\n", "data: second, and longer\n\n", "data: third\n\n"] {
                assert!(pieces.send(event).await);
                let mut seen = String::new();
                while seen != event {
                    let frame = within("the next event", body.frame()).await.unwrap().unwrap();
                    seen.push_str(&decoder.read(&frame.into_data().unwrap()));
                    assert!(event.starts_with(&seen), "{seen:?}");
                }
            }
            drop(pieces);
            while let Some(frame) = within("the end", body.frame()).await {
                drop(frame.unwrap());
            }
        }
    }
}

/// Decodes what arrives as it arrives.
enum Live {
    Gzip(Box<flate2::write::GzDecoder<Vec<u8>>>),
    Brotli(Box<brotli::DecompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Vec<u8>>>),
}

impl Live {
    fn new(coding: &str) -> Self {
        match coding {
            "gzip" => Self::Gzip(Box::new(flate2::write::GzDecoder::new(Vec::new()))),
            "br" => Self::Brotli(Box::new(brotli::DecompressorWriter::new(Vec::new(), 4096))),
            _ => Self::Zstd(Box::new(zstd::stream::write::Decoder::new(Vec::new()).unwrap())),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> String {
        use std::io::Write;
        let plain = match self {
            Self::Gzip(decoder) => {
                decoder.write_all(bytes).unwrap();
                decoder.flush().unwrap();
                std::mem::take(decoder.get_mut())
            }
            Self::Brotli(decoder) => {
                decoder.write_all(bytes).unwrap();
                decoder.flush().unwrap();
                std::mem::take(decoder.get_mut())
            }
            Self::Zstd(decoder) => {
                decoder.write_all(bytes).unwrap();
                decoder.flush().unwrap();
                std::mem::take(decoder.get_mut())
            }
        };
        String::from_utf8(plain).unwrap()
    }
}

#[tokio::test]
async fn a_response_whose_upstream_dies_has_no_valid_end() {
    let server = RawUpstream::start(|mut connection, _| async move {
        let Some(head) = connection.try_read_head().await else { return };
        let declared =
            if head.contains("/declared") { "Content-Length: 90000" } else { "Transfer-Encoding: chunked" };
        connection.send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{declared}\r\n\r\n")).await;
        if head.contains("/chunked") {
            connection.send("9c40\r\n").await;
        }
        connection.send(text(40_000)).await;
        // In the middle, and without a reset, which could outrun the data.
        connection.finish().await;
    })
    .await;
    let gateway = Edge::to(server.address()).route("compress = true\nattempts = 1").start().await;
    for coding in CODINGS {
        for path in ["/declared", "/chunked"] {
            let mut client = RawClient::connect(gateway.address("web")).await;
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n")).await;
            let head = client.read_head().await.to_lowercase();
            assert!(head.contains(&format!("content-encoding: {coding}")), "{head}");
            assert!(head.contains("transfer-encoding: chunked"), "{head}");
            let chunked = client.read_to_end().await;
            assert!(!chunked.ends_with(b"\r\n0\r\n\r\n"), "{coding} {path}");
            let seen = decoded(coding, &unchunked(&chunked));
            assert!(seen.is_err(), "{coding} {path}: the encoded body ends as if it were complete");
            let mut h2 = H2Client::connect(gateway.address("web")).await;
            let mut request = H2Client::get(path);
            request.headers_mut().insert("accept-encoding", coding.parse().unwrap());
            let (response, _) = h2.send.send_request(request, true).unwrap();
            let response = within("the head", response).await.unwrap();
            let mut body = response.into_body();
            let failed = loop {
                match within("the body", body.data()).await {
                    Some(Ok(piece)) => drop(body.flow_control().release_capacity(piece.len())),
                    Some(Err(_)) => break true,
                    None => break false,
                }
            };
            assert!(failed, "{coding} {path}: the stream ended as if it were complete");
        }
    }
}

/// The content of chunks, as far as it came.
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        let chunk = &bytes[end + 2..];
        content.extend_from_slice(&chunk[..length.min(chunk.len())]);
        bytes = chunk.get(length + 2..).unwrap_or_default();
    }
    content
}

#[tokio::test]
async fn a_client_that_stops_reading_holds_one_encoder_and_little_memory_until_it_is_gone() {
    let server = source().await;
    let edge = Edge::to(server.address()).one_worker().server("encoders-max = 1").route("compress = true");
    let gateway = edge.start().await;
    let mut slow = RawClient::connect(gateway.address("web")).await;
    slow.send("GET /64 HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").await;
    assert!(slow.read_head().await.to_lowercase().contains("content-encoding: gzip"));
    let mut client = TestClient::h1(gateway.address("web")).await;
    // Others do not wait for it: they get what they asked for as it is.
    let reply = get(&mut client, "/1", "gzip").await;
    assert_eq!((&*reply.header("content-encoding"), &*reply.header("vary")), ("", "accept-encoding"));
    assert_eq!(reply.body.len(), 1 << 20);
    assert_eq!(record(&gateway, "/1").await["encoding"], "busy");
    slow.reset();
    eventually("the encoder is free again", async || {
        (get(&mut client, "/2", "gzip").await.header("content-encoding") == "gzip").then_some(())
    })
    .await;
}

/// An upstream that sends `/N` MiB of text, without a length.
async fn source() -> RawUpstream {
    RawUpstream::start(|mut connection, _| async move {
        let block = noise(1 << 20);
        while let Some(head) = connection.try_read_head().await {
            let count: usize = head.split(' ').nth(1).unwrap()[1..].parse().unwrap();
            connection
                .send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            for _ in 0..count {
                let chunk = [b"100000\r\n", &block[..], b"\r\n"].concat();
                if connection.try_send(&chunk).await.is_err() {
                    return;
                }
            }
            connection.send("0\r\n\r\n").await;
        }
    })
    .await
}

#[tokio::test]
async fn a_large_response_passes_in_constant_memory_and_holds_up_no_one() {
    let server = source().await;
    let quick = TestUpstream::named("quick").await;
    let gateway = Edge::to(server.address())
        .one_worker()
        .route("compress = true")
        .more(&format!(
            "[upstreams.quick]\nendpoints = [\"{}\"]\n[routes.quick]\nmatch = {{ path = \"/quick\" }}\nto = \"quick\"\n",
            quick.address()
        ))
        .start()
        .await;
    let status = |line: &str| {
        let text = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
        let found = text.lines().find_map(|text| text.strip_prefix(line).map(str::to_owned)).unwrap();
        found.trim_matches([':', '\t', ' ']).trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    for coding in CODINGS {
        std::fs::write(format!("/proc/{}/clear_refs", gateway.pid()), "5").unwrap();
        let before = status("VmRSS");
        let mut client = RawClient::connect(gateway.address("web")).await;
        client
            .send(format!(
                "GET /48 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept-Encoding: {coding}\r\n\r\n"
            ))
            .await;
        client.read_head().await;
        let reading = tokio::spawn(async move { client.discard(u64::MAX).await });
        let mut other = TestClient::h1(gateway.address("web")).await;
        let mut served = 0;
        while !reading.is_finished() {
            assert_eq!(other.get("/quick").await.status, 200);
            served += 1;
        }
        let read = reading.await.unwrap();
        assert!(read > 20 << 20, "{coding}: {read}");
        // If it kept the worker to itself, one request would be served before it and one behind it.
        assert!(served > 20, "{coding}: {served} others were served meanwhile");
        let grown = status("VmHWM").saturating_sub(before);
        assert!(grown < 16 * 1024, "{coding}: {grown} KiB more");
    }
}
