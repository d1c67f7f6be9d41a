//! Bodies that are larger than memory, slower than patience, or go both ways at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Method, Response};

use crate::edge::{COMBINATIONS, Edge, Http};
use crate::harness::{
    H2Client, Pieces, RawClient, RawUpstream, TestGateway, TestUpstream, eventually, within,
};

const MIB: u64 = 1 << 20;

/// What the gateway may take more while a body passes, whatever its length: buffers and windows of a few streams.
const MEMORY_KIB_MAX: u64 = 16 * 1024;

/// A line of `/proc/PID/status`, in KiB.
fn memory(gateway: &TestGateway, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    found.trim_matches([':', '\t', ' ']).trim_end_matches(" kB").parse().unwrap()
}

/// Runs `work` and says by how many KiB the gateway's memory grew at its peak.
async fn growth(gateway: &TestGateway, work: impl Future<Output = ()>) -> u64 {
    // Sets VmHWM back to VmRSS (proc(5)).
    std::fs::write(format!("/proc/{}/clear_refs", gateway.pid()), "5").unwrap();
    let before = memory(gateway, "VmRSS");
    work.await;
    memory(gateway, "VmHWM").saturating_sub(before)
}

/// An HTTP/1.1 upstream that sends as many bytes as the path says, and counts what it is sent.
async fn source_and_sink(chunked: bool) -> RawUpstream {
    RawUpstream::start(move |mut connection, _| async move {
        loop {
            let Some(head) = connection.try_read_head().await else { return };
            let mut words = head.split(' ');
            let (method, length) =
                (words.next().unwrap(), words.next().unwrap()[1..].parse::<u64>().unwrap());
            if method == "POST" {
                let read = connection.discard(length).await;
                connection
                    .send(format!("HTTP/1.1 200 OK\r\nX-Read: {read}\r\nContent-Length: 0\r\n\r\n"))
                    .await;
                continue;
            }
            let mut piece = Vec::new();
            if chunked {
                connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
                piece.extend(b"100000\r\n");
                piece.resize(piece.len() + (1 << 20), b'x');
                piece.extend(b"\r\n");
            } else {
                connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
                piece.resize(1 << 20, b'x');
            }
            for _ in 0..length / MIB {
                if connection.try_send(&piece).await.is_err() {
                    return;
                }
            }
            if chunked {
                connection.send("0\r\n\r\n").await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_download_of_a_gigabyte_passes_in_constant_memory() {
    let length = 1024 * MIB;
    for chunked in [false, true] {
        let upstream = source_and_sink(chunked).await;
        let gateway = Edge::to(upstream.address()).start().await;
        let mut client = RawClient::connect(gateway.address("web")).await;
        let grown = growth(&gateway, async {
            client.send(format!("GET /{length} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
            client.read_head().await;
            // Chunks have lines of their own.
            let read = client.discard(u64::MAX).await;
            assert!(read >= length && (chunked || read == length), "{read}");
        })
        .await;
        assert!(grown < MEMORY_KIB_MAX, "{grown} KiB more for a download");
    }
}

#[tokio::test]
async fn an_upload_of_a_gigabyte_passes_in_constant_memory() {
    let length = 1024 * MIB;
    let upstream = source_and_sink(false).await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    let grown = growth(&gateway, async {
        client.send(format!("POST /{length} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")).await;
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..length / MIB {
            client.send(&piece).await;
        }
        assert_eq!(client.read_response().await.header("x-read"), length.to_string());
    })
    .await;
    assert!(grown < MEMORY_KIB_MAX, "{grown} KiB more for an upload");
}

#[tokio::test]
async fn large_bodies_pass_http2_in_constant_memory() {
    let length = 256 * MIB;
    // It sends back as much as it is sent.
    let upstream = TestUpstream::streaming_h2(|request| async move {
        let (pieces, answer) = Pieces::new();
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                if !pieces.send(frame.into_data().unwrap()).await {
                    return;
                }
            }
        });
        Response::new(answer.boxed())
    })
    .await;
    let gateway = Edge::to(upstream.address()).upstream("protocol = \"h2\"").start().await;
    let mut client = Http::Two.client(&gateway).await;
    let grown = growth(&gateway, async {
        let (pieces, body) = Pieces::new();
        tokio::spawn(async move {
            let piece = Bytes::from(vec![b'x'; 1 << 18]);
            for _ in 0..length >> 18 {
                pieces.send(piece.clone()).await;
            }
        });
        let response = client.begin(Method::POST, "/", &[], body).await.unwrap();
        let (mut body, mut read) = (response.into_body(), 0);
        while let Some(frame) = within("a piece", body.frame()).await {
            read += frame.unwrap().into_data().unwrap().len() as u64;
        }
        assert_eq!(read, length);
    })
    .await;
    assert!(grown < MEMORY_KIB_MAX, "{grown} KiB more");
}

/// Sends bytes until the gateway takes no more, and counts them.
async fn endless() -> (SocketAddr, Arc<AtomicU64>, RawUpstream) {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let upstream = RawUpstream::start(move |mut connection, _| {
        let count = Arc::clone(&count);
        async move {
            connection.read_request().await;
            connection.send("HTTP/1.1 200 OK\r\n\r\n").await;
            let piece = vec![b'x'; 1 << 16];
            while connection.send_for_long(&piece).await {
                count.fetch_add(piece.len() as u64, Ordering::SeqCst);
            }
        }
    })
    .await;
    (upstream.address(), sent, upstream)
}

/// Waits until a counter stands still.
async fn settled(count: &AtomicU64) -> u64 {
    let mut last = u64::MAX;
    let mut quiet = 0;
    eventually("nothing more is taken", async || {
        let now = count.load(Ordering::SeqCst);
        quiet = if now == last && now > 0 { quiet + 1 } else { 0 };
        last = now;
        tokio::time::sleep(Duration::from_millis(10)).await;
        (quiet == 30).then_some(())
    })
    .await;
    last
}

#[tokio::test]
async fn a_slow_reader_slows_the_upstream() {
    let (address, sent, _upstream) = endless().await;
    let gateway = Edge::to(address).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    let grown = growth(&gateway, async {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.read_head().await;
        // What the kernel keeps for three sockets, and no more.
        assert!(settled(&sent).await < 64 * MIB);
    })
    .await;
    assert!(grown < MEMORY_KIB_MAX, "{grown} KiB for a client that does not read");
    // It goes on as soon as the client does.
    let before = sent.load(Ordering::SeqCst);
    client.discard(32 * MIB).await;
    eventually("the upstream goes on", async || (sent.load(Ordering::SeqCst) > before).then_some(())).await;
}

#[tokio::test]
async fn a_slow_reader_of_http2_slows_the_upstream_and_no_other_stream() {
    let (address, sent, _upstream) = endless().await;
    let other = TestUpstream::named("other").await;
    let gateway = Edge::to(address)
        .more(&format!(
            "[upstreams.other]\nendpoints = [\"{}\"]\n[routes.other]\nmatch = {{ path = \"/other\" }}\nto = \"other\"",
            other.address()
        ))
        .start()
        .await;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 24);
    let mut client = H2Client::connect_with(gateway.address("web"), &builder).await;
    let (response, _) = client.send.send_request(H2Client::get("/"), true).unwrap();
    let _body = within("a response", response).await.unwrap();
    assert!(settled(&sent).await < 64 * MIB);
    let (response, _) = client.send.send_request(H2Client::get("/other"), true).unwrap();
    let mut body = within("another stream", response).await.unwrap().into_body();
    assert_eq!(within("its body", body.data()).await.unwrap().unwrap(), "other");
}

#[tokio::test]
async fn a_slow_upstream_slows_the_client() {
    let upstream = RawUpstream::start(|mut connection, _| async move {
        connection.read_head().await;
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let sending = tokio::spawn(async move {
        let piece = [b"10000\r\n", &[b'x'; 1 << 16][..], b"\r\n"].concat();
        while client.send_for_long(&piece).await {
            count.fetch_add(piece.len() as u64, Ordering::SeqCst);
        }
    });
    assert!(settled(&sent).await < 64 * MIB);
    sending.abort();
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    for (client, server) in COMBINATIONS {
        let (next, events) = tokio::sync::mpsc::channel::<&'static str>(1);
        let events = std::sync::Mutex::new(Some(events));
        let handler = move |_| {
            let mut events = events.lock().unwrap().take().unwrap();
            async move {
                let (pieces, body) = Pieces::new();
                tokio::spawn(async move {
                    while let Some(event) = events.recv().await {
                        pieces.send(event).await;
                    }
                });
                let mut response = Response::new(body.boxed());
                response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
                response
            }
        };
        let upstream = match server {
            Http::One => TestUpstream::streaming_h1(handler).await,
            Http::Two => TestUpstream::streaming_h2(handler).await,
        };
        let gateway = Edge::to(upstream.address()).upstream(server.line()).start().await;
        let mut client = client.client(&gateway).await;
        let (_, body) = Pieces::new();
        // The head comes before the first event.
        let response = client.begin(Method::GET, "/", &[], body).await.unwrap();
        let mut body = response.into_body();
        for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
            next.send(event).await.unwrap();
            let frame = within("an event", body.frame()).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), event, "{server:?}");
        }
    }
}
