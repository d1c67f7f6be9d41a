use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use portcullis_http::RequestHead;
use portcullis_model::HttpGrant;
use portcullis_net::Connector;
use portcullis_policy::outbound::{Outbound, OutboundError, OutboundRequest, OutboundResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::OutboundClient;

/// Runs `test` as a worker runs, with a client.
fn on_worker<F: Future>(test: impl FnOnce(OutboundClient) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let client = OutboundClient::new(3);
        client.serve(Rc::new(Connector::new()));
        let whole = tokio::time::timeout(Duration::from_secs(240), test(client));
        whole.await.expect("the test does not end");
    });
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn request(address: SocketAddr, method: &str) -> OutboundRequest {
    let grant = HttpGrant {
        tls: false,
        host: address.ip().to_string(),
        port: address.port(),
        path: String::new(),
        private: true,
        ca: None,
    };
    let mut head = RequestHead::default();
    head.method.push_str(method);
    head.authority = address.to_string();
    head.set_target("/check", Some("a=b"));
    head.fields.append(b"x-a", b"b").unwrap();
    OutboundRequest {
        grant,
        head,
        body: Bytes::new(),
        timeout: Duration::from_secs(120),
        response_bytes_max: 100,
    }
}

/// The next request on a connection, which has no body; empty at its end.
async fn next_request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte).await {
            Ok(1) => text.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8(text).unwrap()
}

/// What a server that answers with these bytes gives.
async fn answered(
    client: &OutboundClient,
    method: &str,
    answer: &'static [u8],
) -> Result<OutboundResponse, OutboundError> {
    let (listener, address) = listen().await;
    tokio::task::spawn_local(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        next_request(&mut stream).await;
        stream.write_all(answer).await.unwrap();
    });
    client.send(request(address, method)).await
}

#[test]
fn asks_and_uses_the_connection_again() {
    on_worker(|client| async move {
        let (listener, address) = listen().await;
        let server = tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut requests = Vec::new();
            for _ in 0..2 {
                requests.push(next_request(&mut stream).await);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-b: c\r\nkeep-alive: 5\r\n\r\nhi";
                stream.write_all(answer).await.unwrap();
            }
            requests
        });
        for _ in 0..2 {
            let answer = client.send(request(address, "GET")).await.unwrap();
            assert_eq!((answer.head.status, &*answer.body), (200, &b"hi"[..]));
            assert_eq!(answer.head.fields.get(b"x-b"), Some(&b"c"[..]));
            assert_eq!(answer.head.fields.get(b"keep-alive"), None, "which is for one connection");
        }
        let expected = format!("GET /check?a=b HTTP/1.1\r\nhost: {address}\r\nx-a: b\r\n\r\n");
        for request in server.await.unwrap() {
            assert_eq!(request.to_ascii_lowercase(), expected.to_ascii_lowercase());
        }
    });
}

#[test]
fn sends_a_body() {
    on_worker(|client| async move {
        let (listener, address) = listen().await;
        let server = tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = next_request(&mut stream).await;
            let mut body = [0; 5];
            stream.read_exact(&mut body).await.unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            (head, body)
        });
        let mut post = request(address, "POST");
        post.body = Bytes::from_static(b"hello");
        assert_eq!(client.send(post).await.unwrap().head.status, 204);
        let (head, body) = server.await.unwrap();
        assert!(head.to_ascii_lowercase().contains("content-length: 5"), "{head}");
        assert_eq!(&body, b"hello");
    });
}

#[test]
fn no_private_address_is_connected_to_without_leave() {
    on_worker(|client| async move {
        let (listener, address) = listen().await;
        for host in ["127.0.0.1", "localhost"] {
            let mut inside = request(address, "GET");
            inside.grant.host = host.to_owned();
            inside.grant.private = false;
            let refused = client.send(inside).await;
            assert!(matches!(refused, Err(OutboundError::NotAllowed(_))), "{host}: {refused:?}");
        }
        // A client that had connected would be in the queue.
        let first = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        assert!(first.is_err(), "nobody came");
    });
}

#[test]
fn a_connection_made_with_leave_serves_nobody_without() {
    on_worker(|client| async move {
        let (listener, address) = listen().await;
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            while !next_request(&mut stream).await.is_empty() {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        });
        assert!(client.send(request(address, "GET")).await.is_ok());
        let mut inside = request(address, "GET");
        inside.grant.private = false;
        assert!(matches!(client.send(inside).await, Err(OutboundError::NotAllowed(_))));
    });
}

#[test]
fn follows_no_redirect_and_passes_over_informational_heads() {
    on_worker(|client| async move {
        let answer = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 302 Found\r\nlocation: http://evil.test/\r\ncontent-length: 0\r\n\r\n";
        let answer = answered(&client, "GET", answer).await.unwrap();
        assert_eq!(answer.head.status, 302);
        assert_eq!(answer.head.fields.get(b"link"), None, "which was of another head");
    });
}

#[test]
fn bounds_what_it_takes() {
    on_worker(|client| async move {
        let most = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";
        assert_eq!(answered(&client, "GET", most).await.unwrap().body.len(), 100);
        let declared = b"HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n";
        assert_eq!(answered(&client, "GET", declared).await.unwrap_err(), OutboundError::TooLarge);
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n65\r\n01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890\r\n0\r\n\r\n";
        assert_eq!(answered(&client, "GET", chunked).await.unwrap_err(), OutboundError::TooLarge);
        let of_head = b"HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n";
        assert!(
            answered(&client, "HEAD", of_head).await.unwrap().body.is_empty(),
            "of a body that is not sent"
        );
    });
}

#[test]
fn says_how_a_server_broke_the_protocol() {
    on_worker(|client| async move {
        for answer in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
            b"hello",
            b"",
        ] {
            let error = answered(&client, "GET", answer).await.unwrap_err();
            assert!(matches!(error, OutboundError::Protocol(_)), "{error:?}");
        }
        let (listener, address) = listen().await;
        drop(listener);
        let error = client.send(request(address, "GET")).await.unwrap_err();
        assert!(matches!(error, OutboundError::Connect(_)), "{error:?}");
    });
}

#[test]
fn a_call_that_is_given_up_or_too_slow_closes_its_connection() {
    on_worker(|client| async move {
        let (listener, address) = listen().await;
        let given_up = client.send(request(address, "GET"));
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(!next_request(&mut stream).await.is_empty());
        drop(given_up);
        assert_eq!(next_request(&mut stream).await, "", "the end");

        let mut slow = request(address, "GET");
        slow.timeout = Duration::from_millis(20);
        let slow = tokio::task::spawn_local(client.send(slow));
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(!next_request(&mut stream).await.is_empty());
        assert_eq!(slow.await.unwrap().unwrap_err(), OutboundError::Timeout);
        assert_eq!(next_request(&mut stream).await, "", "the end");
    });
}

#[test]
fn a_connection_that_was_closed_while_idle_costs_no_call() {
    on_worker(|client| async move {
        let (listener, address) = listen().await;
        tokio::task::spawn_local(async move {
            loop {
                // Each connection serves once, without saying so.
                let (mut stream, _) = listener.accept().await.unwrap();
                next_request(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        });
        for _ in 0..5 {
            assert_eq!(client.send(request(address, "GET")).await.unwrap().head.status, 200);
        }
    });
}

#[test]
fn calls_of_another_thread_are_carried_out_by_a_worker() {
    on_worker(|client| async move {
        let (listener, address) = listen().await;
        let other = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(client.send(request(address, "GET")))
        });
        let (mut stream, _) = listener.accept().await.unwrap();
        next_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        let answer = tokio::task::spawn_blocking(move || other.join().unwrap()).await.unwrap();
        assert_eq!(answer.unwrap().head.status, 200);
    });
}

#[test]
fn without_a_worker_nothing_is_sent() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let sent = OutboundClient::new(1).send(request("127.0.0.1:1".parse().unwrap(), "GET"));
    assert_eq!(runtime.block_on(sent).unwrap_err(), OutboundError::Busy);
}

#[test]
fn bounds_the_calls_that_are_outstanding() {
    on_worker(|client| async move {
        let (listener, address) = listen().await;
        let mut calls = Vec::new();
        for _ in 0..3 {
            let call = client.send(request(address, "GET"));
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(!next_request(&mut stream).await.is_empty());
            calls.push((call, stream));
        }
        assert_eq!(client.send(request(address, "GET")).await.unwrap_err(), OutboundError::Busy);
        // One is given up, and one is answered: there is place for two.
        let (given_up, mut stream) = calls.pop().unwrap();
        drop(given_up);
        assert_eq!(next_request(&mut stream).await, "", "the end");
        let (answered, mut stream) = calls.pop().unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
        assert_eq!(answered.await.unwrap().head.status, 204);
        for _ in 0..2 {
            let call = client.send(request(address, "GET"));
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(!next_request(&mut stream).await.is_empty());
            calls.push((call, stream));
        }
        assert_eq!(client.send(request(address, "GET")).await.unwrap_err(), OutboundError::Busy);
        let next = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        assert!(next.is_err(), "nobody else was connected to");
    });
}
