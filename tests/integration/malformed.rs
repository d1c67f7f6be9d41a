//! Requests over which two servers might disagree. Each is refused, and nothing of it reaches the upstream.

use std::sync::{Arc, Mutex};

use crate::edge::Edge;
use crate::harness::{RawClient, RawUpstream, TestGateway};

/// Keeps every byte that it is sent, and answers whatever looks like a request.
async fn recorder() -> (RawUpstream, Arc<Mutex<Vec<u8>>>) {
    let received = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&received);
    let upstream = RawUpstream::start(move |mut connection, _| {
        let record = Arc::clone(&record);
        async move {
            loop {
                let Some((head, body)) = connection.read_request().await else { return };
                {
                    let mut record = record.lock().unwrap();
                    record.extend(head.as_bytes());
                    record.extend(b"\r\n\r\n");
                    record.extend(body);
                }
                if connection.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (upstream, received)
}

/// Heads and bodies that are refused as a whole. Behind each stands a request that must not be taken for one.
const REFUSED: &[(&str, &[u8])] = &[
    ("both framings", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("both framings, the other way round", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
    ("two lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"),
    ("the same length twice", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd"),
    ("a list of lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\nabcd"),
    ("a signed length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd"),
    ("a negative length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
    ("a hexadecimal length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\nabcd"),
    ("a length past 64 bits", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n"),
    ("an empty length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n"),
    ("a length with a space", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 0\r\n\r\n"),
    ("a length with an underscore", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\n"),
    ("chunked twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("two lines of chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunked and identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"),
    ("identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
    ("chunked first", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    ("gzip", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("xchunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("quoted chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    ("chunked with a parameter", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
    ("chunked with a vertical tab", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    ("empty transfer-encoding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \r\n\r\n"),
    ("chunked in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a space before the colon", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\nabcd"),
    ("a tab before the colon", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    ("a space before the name", b"POST / HTTP/1.1\r\n Host: a\r\n\r\n"),
    ("a folded line", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n Transfer-Encoding: chunked\r\n\r\n"),
    ("a folded transfer-encoding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    ("a line without a colon", b"GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n"),
    ("an empty name", b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
    ("a control character in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\x01A: b\r\n\r\n"),
    ("a bare LF behind the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    ("a bare LF behind a field", b"GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n"),
    ("bare LFs throughout", b"GET / HTTP/1.1\nHost: a\n\n"),
    ("a bare LF for the blank line", b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    ("a bare CR in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rContent-Length: 4\r\n\r\n"),
    ("a bare CR behind the request line", b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
    ("NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n"),
    ("NUL in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\0A: b\r\n\r\n"),
    ("NUL in the path", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a control character in the path", b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a byte over 127 in the path", b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("the same host twice", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    ("no host", b"GET / HTTP/1.1\r\nX-A: b\r\n\r\n"),
    ("a host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("a host with a user", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    ("a host with a space", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("a host with a port that is none", b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    ("absolute-form without a host field", b"GET http://a/ HTTP/1.1\r\n\r\n"),
    ("absolute-form of another scheme", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("absolute-form with a user", b"GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a target that is no path", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("authority-form for GET", b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("an asterisk for GET", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("two spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a tab for a space", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a space in the path", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a space behind the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    ("no version", b"GET /\r\nHost: a\r\n\r\n"),
    ("HTTP/0.9", b"GET /\r\n\r\n"),
    ("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    ("HTTP/2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    ("HTTP/3.0", b"GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
    ("HTTP/1.10", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    ("a version in lower case", b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    ("a method that is no token", b"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("an endless method", b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no method", b" / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("CONNECT with a body", b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 4\r\n\r\nabcd"),
    ("CONNECT to a path", b"CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ("SSH", b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n"),
    ("nothing but line ends", b"\r\n\r\n\r\n"),
    ("a PROXY protocol head", b"PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
];

/// Bodies that turn out to be malformed when the head is forwarded already.
const BROKEN: &[(&str, &[u8])] = &[
    ("a chunk size that is no number", b"xyz\r\n"),
    ("a chunk size with a sign", b"+3\r\nabc\r\n0\r\n\r\n"),
    ("a chunk size with 0x", b"0x3\r\nabc\r\n0\r\n\r\n"),
    ("a chunk size past 64 bits", b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("a chunk size with a space before it", b" 3\r\nabc\r\n0\r\n\r\n"),
    ("an empty chunk size", b"\r\nabc\r\n0\r\n\r\n"),
    ("a bare LF behind a chunk size", b"3\nabc\r\n0\r\n\r\n"),
    ("a bare CR behind a chunk size", b"3\rabc\r\n0\r\n\r\n"),
    ("a bare LF in an extension", b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    ("a chunk longer than its size", b"3\r\nabcd\r\n0\r\n\r\n"),
    ("a bare LF behind a chunk", b"3\r\nabc\n0\r\n\r\n"),
    ("a bare LF behind the last chunk", b"3\r\nabc\r\n0\n\r\n"),
    ("a trailer without a colon", b"3\r\nabc\r\n0\r\nnothing\r\n\r\n"),
    ("a folded trailer", b"3\r\nabc\r\n0\r\nX-A: b\r\n c\r\n\r\n"),
    ("a bare LF behind a trailer", b"3\r\nabc\r\n0\r\nX-A: b\n\r\n"),
    ("a trailer with a space before its colon", b"3\r\nabc\r\n0\r\nX-A : b\r\n\r\n"),
];

const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn is_refusal(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let one = text.matches("HTTP/1.1 ").count() == 1;
    one && (text.starts_with("HTTP/1.1 4") || text.starts_with("HTTP/1.1 5"))
}

async fn answer(gateway: &TestGateway, bytes: &[u8]) -> Vec<u8> {
    let mut client = RawClient::connect(gateway.address("web")).await;
    // The gateway may have closed before all is written.
    drop(client.try_send(bytes).await);
    client.read_to_end().await
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_close_the_connection() {
    let (upstream, received) = recorder().await;
    let gateway = Edge::to(upstream.address()).start().await;
    for (what, bytes) in REFUSED {
        let said = answer(&gateway, &[bytes, SMUGGLED].concat()).await;
        assert!(is_refusal(&said), "{what}: {:?}", String::from_utf8_lossy(&said));
        assert!(String::from_utf8_lossy(&said).to_lowercase().contains("connection: close"), "{what}");
        let received = received.lock().unwrap();
        assert!(received.is_empty(), "{what} reached the upstream: {:?}", String::from_utf8_lossy(&received));
    }
}

#[tokio::test]
async fn malformed_chunks_end_the_exchange_on_both_sides() {
    let (upstream, received) = recorder().await;
    let gateway = Edge::to(upstream.address()).upstream("ejection = { failures = 0 }").start().await;
    for (what, body) in BROKEN {
        let head = b"POST /broken HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let said = answer(&gateway, &[head, *body, SMUGGLED].concat()).await;
        assert!(is_refusal(&said), "{what}: {:?}", String::from_utf8_lossy(&said));
        assert!(String::from_utf8_lossy(&said).starts_with("HTTP/1.1 400"), "{what}");
        // The recorder notes whole requests alone: it was never given an end.
        let received = received.lock().unwrap();
        assert!(received.is_empty(), "{what} was taken for whole: {:?}", String::from_utf8_lossy(&received));
    }
}

#[tokio::test]
async fn what_looks_like_a_request_in_a_body_stays_a_body() {
    let (upstream, received) = recorder().await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    let mut bytes =
        format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", SMUGGLED.len()).into_bytes();
    bytes.extend(SMUGGLED);
    bytes.extend(
        format!("POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", SMUGGLED.len())
            .bytes(),
    );
    bytes.extend(SMUGGLED);
    bytes.extend(b"\r\n0\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.send(bytes).await;
    for _ in 0..3 {
        assert_eq!(client.read_response().await.text(), "ok");
    }
    assert_eq!(client.read_to_end().await, b"");
    let received = String::from_utf8(received.lock().unwrap().clone()).unwrap();
    assert_eq!(received.matches("HTTP/1.1\r\nhost:").count(), 3, "{received}");
}

#[tokio::test]
async fn absolute_form_is_taken_apart() {
    let (upstream, received) = recorder().await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    // RFC 9112, 3.2.2: the target's host wins, and what is forwarded says one thing.
    client.send("GET http://right.test/a?b HTTP/1.1\r\nHost: wrong.test\r\n\r\n").await;
    assert_eq!(client.read_response().await.status, 200);
    let head = String::from_utf8(received.lock().unwrap().clone()).unwrap();
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\nhost: right.test\r\n"), "{head}");
    assert!(!head.contains("wrong.test"), "{head}");
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_goes_on_sending() {
    let (upstream, received) = recorder().await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n").await;
    for _ in 0..20 {
        drop(client.try_send([b'x'; 10_000]).await);
    }
    assert!(is_refusal(&client.read_to_end().await));
    assert!(received.lock().unwrap().is_empty());
}
