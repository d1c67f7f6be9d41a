use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_model::{ContentDigest, Registry};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::{Client, Patience, may_lead_to, printable};
use crate::error::Error;

/// A server that answers by `answer`, for as long as the runtime lives.
async fn server(
    answer: impl Fn(&Request<Incoming>) -> http::response::Builder + Clone + Send + 'static,
    body: &'static [u8],
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |request| {
                let response = answer(&request).body(Full::new(Bytes::from_static(body))).unwrap();
                async move { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(async move {
                let http = hyper::server::conn::http1::Builder::new();
                drop(http.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    address
}

fn registry(address: SocketAddr) -> Registry {
    Registry {
        name: "test".into(),
        host: address.to_string().into(),
        credentials: None,
        ca: None,
        plain_http: true,
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn takes_up_to_the_bound_and_no_byte_more() {
    run(async {
        let address = server(|_| Response::builder(), b"12345678").await;
        let (registry, digest) = (registry(address), crate::digest(b"12345678"));
        let mut client = Client::new(&registry, "a");
        assert_eq!(client.blob(digest, 8).await.unwrap(), b"12345678");
        assert!(matches!(client.blob(digest, 7).await, Err(Error::TooLarge { max: 7, .. })));
        let other = ContentDigest::new([1; 32]);
        assert!(
            matches!(client.blob(other, 8).await, Err(Error::Digest { expected, .. }) if expected == other)
        );
        assert!(matches!(client.manifest_by_digest(other).await, Err(Error::Digest { .. })));
    });
}

#[test]
fn says_what_a_registry_answers() {
    run(async {
        for (status, expected) in [
            (404, "has no a:1"),
            (403, "does not let anonymous users read a:1"),
            (500, "answered 500 for a:1"),
            (401, "it names neither Basic nor Bearer"),
            (302, "which is no address"),
        ] {
            let address = server(move |_| Response::builder().status(status), b"").await;
            let registry = registry(address);
            let error = Client::new(&registry, "a").manifest("1").await.unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(&address.to_string()), "{error}");
        }
    });
}

#[test]
fn introduces_itself_once_and_only_where_it_may() {
    run(async {
        let challenge = |value: &'static str| {
            move |_: &Request<Incoming>| Response::builder().status(401).header("www-authenticate", value)
        };
        let address = server(challenge("Bearer realm=\"http://169.254.169.254/latest\""), b"").await;
        let told = registry(address);
        let error = Client::new(&told, "a").manifest("1").await.unwrap_err().to_string();
        assert!(
            error.contains("refers to http://169.254.169.254/latest") && error.contains("which has no TLS"),
            "{error}"
        );
        let address = server(challenge("Basic realm=\"x\""), b"").await;
        let mut told = registry(address);
        told.credentials = Some(("u".into(), portcullis_model::Secret::new(&b"p"[..])));
        let error = Client::new(&told, "a").manifest("1").await.unwrap_err().to_string();
        assert!(error.contains("does not let user u read a:1"), "{error}");
    });
}

#[test]
fn says_a_password_to_who_asks_for_one() {
    run(async {
        let address = server(
            |request| match request.headers().get("authorization") {
                // Aladdin's (RFC 7617, 2).
                Some(value) if value == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==" => Response::builder(),
                Some(_) => Response::builder().status(403),
                None => Response::builder().status(401).header("www-authenticate", "Basic realm=\"x\""),
            },
            b"manifest",
        )
        .await;
        let mut told = registry(address);
        told.credentials = Some(("Aladdin".into(), portcullis_model::Secret::new(&b"open sesame"[..])));
        let mut client = Client::new(&told, "a");
        assert_eq!(client.manifest("1").await.unwrap(), b"manifest");
        assert_eq!(client.manifest("1").await.unwrap(), b"manifest");
    });
}

/// A server that says `said`, and then nothing more.
async fn falls_silent_after(said: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(said).await.unwrap();
            open.push(stream);
        }
    });
    address
}

#[test]
fn waits_for_nobody_for_ever() {
    run(async {
        let some = Duration::from_millis(100);
        for (said, expected) in [
            (&b""[..], "no answer within 100ms"),
            (b"HTTP/1.1 200 OK\r\n", "no answer within 100ms"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n1234", "nothing came for 100ms"),
        ] {
            let silent = registry(falls_silent_after(said).await);
            let mut client = Client::new(&silent, "a");
            client.patience = Patience { head: some, idle: some, ..client.patience };
            let error = client.manifest("1").await.unwrap_err();
            assert!(error.is_unreachable() && error.to_string().contains(expected), "{error}");
        }
        // One that ends in the midst is no whole answer either.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cut = registry(listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n1234").await.unwrap();
        });
        assert!(Client::new(&cut, "a").manifest("1").await.unwrap_err().is_unreachable());
    });
}

#[test]
fn is_led_to_private_addresses_by_private_registries_alone() {
    let (public, private) = ("203.1.1.1".parse().unwrap(), "169.254.169.254".parse().unwrap());
    let mapped = "::ffff:10.0.0.1".parse().unwrap();
    for near in [None, Some(false), Some(true)] {
        assert!(may_lead_to(public, near));
        assert_eq!(may_lead_to(private, near), near == Some(true));
        assert_eq!(may_lead_to(mapped, near), near == Some(true));
    }
}

#[test]
fn what_strangers_write_fits_a_line() {
    assert_eq!(printable("a\n\u{1b}[31mb", 4), "a\u{fffd}\u{fffd}[");
}
