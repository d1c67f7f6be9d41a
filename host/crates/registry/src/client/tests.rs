use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_model::{ContentDigest, Registry};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::transport::Asked;
use super::{Client, Timeouts};
use crate::environment::Environment;
use crate::error::Error;
use crate::manifest::MANIFEST_BYTES_MAX;
use crate::url::Url;

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

static NOTHING: LazyLock<Environment> = LazyLock::new(Environment::default);

fn client(registry: &Registry) -> Client<'_> {
    Client::new(registry, "a", &NOTHING)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn takes_up_to_the_bound_and_no_byte_more() {
    run(async {
        let address = server(|_| Response::builder(), b"12345678").await;
        let (registry, digest) = (registry(address), crate::digest(b"12345678"));
        let mut client = client(&registry);
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
            let error = client(&registry).manifest("1").await.unwrap_err().to_string();
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
        let error = client(&told).manifest("1").await.unwrap_err().to_string();
        assert!(
            error.contains("refers to http://169.254.169.254/latest") && error.contains("which has no TLS"),
            "{error}"
        );
        let address = server(challenge("Basic realm=\"x\""), b"").await;
        let mut told = registry(address);
        told.credentials = Some(("u".into(), portcullis_model::Secret::new(&b"p"[..])));
        let error = client(&told).manifest("1").await.unwrap_err().to_string();
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
        let mut client = client(&told);
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
            let mut client = client(&silent);
            client.timeouts = Timeouts { head: some, idle: some, ..client.timeouts };
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
        assert!(client(&cut).manifest("1").await.unwrap_err().is_unreachable());
    });
}

#[test]
fn a_proxy_is_not_waited_for_for_ever_either() {
    run(async {
        for (said, expected) in [
            (&b""[..], "no answer within 100ms"),
            (b"HTTP/1.1 200 OK\r\n", "no answer within 100ms"),
            (b"SSH-2.0-x\r\n", "invalid HTTP"),
        ] {
            let address = falls_silent_after(said).await.to_string();
            let environment = Environment::read(|name| (name == "HTTPS_PROXY").then(|| (&address).into()));
            let registry = registry(([127, 0, 0, 1], 1).into());
            let mut client = Client::new(&registry, "a", &environment);
            client.timeouts = Timeouts { head: Duration::from_millis(100), ..client.timeouts };
            let url = Url::parse("https://registry.test/v2/", None).unwrap();
            let proxy = environment.proxies.of(&url).unwrap().unwrap();
            let stream = client.connector.connect(&address, None, client.timeouts.connect).await.unwrap();
            let error = client.tunnel(stream, &url, proxy).await.unwrap_err();
            // Not asked again in the same load.
            assert!(error.is_unreachable(), "{error}");
            let text = error.to_string();
            assert!(
                text.contains(expected) && text.contains(&address) && text.contains("HTTPS_PROXY"),
                "{text}"
            );
        }
    });
}

/// A manifest has a limit of its own, also if its length is not known beforehand.
#[test]
fn takes_no_manifest_that_is_larger_than_any() {
    run(async {
        let most = usize::try_from(MANIFEST_BYTES_MAX).unwrap();
        let bytes: &'static [u8] = vec![b' '; most + 1].leak();
        for (body, fits) in [(&bytes[..most], true), (bytes, false)] {
            let registry = registry(server(|_| Response::builder(), body).await);
            match client(&registry).manifest("1").await {
                Ok(manifest) => assert!(fits && manifest.len() == most),
                Err(error) => assert!(!fits && matches!(error, Error::TooLarge { .. }), "{error}"),
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endless = registry(listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
            let chunk = [&b"8000\r\n"[..], &[b' '; 0x8000], b"\r\n"].concat();
            while stream.write_all(&chunk).await.is_ok() {}
        });
        assert!(matches!(client(&endless).manifest("1").await, Err(Error::TooLarge { .. })));
    });
}

/// A name that meant a public address and now means this machine is not followed there: what holds for a redirect
/// holds for the registry's own name server.
#[test]
fn a_registry_stays_where_it_was() {
    run(async {
        let registry = registry(server(|_| Response::builder(), b"manifest").await);
        let mut client = client(&registry);
        client.is_near = Some(false);
        let error = client.manifest("1").await.unwrap_err().to_string();
        assert!(error.contains("which is at a private address"), "{error}");
        // Another port of the same host is another server, and no exception either.
        client.is_near = None;
        assert_eq!(client.manifest("1").await.unwrap(), b"manifest");
        assert_eq!(client.is_near, Some(true));
    });
}

/// An environment whose credential file says that of the registry.
fn with_file(dir: &tempfile::TempDir, registry: &Registry, entry: &serde_json::Value) -> Environment {
    let path = dir.path().join("auth.json");
    let content = serde_json::json!({ "auths": { &*registry.host: entry } });
    std::fs::write(&path, content.to_string()).unwrap();
    Environment::read(|name| (name == "REGISTRY_AUTH_FILE").then(|| path.clone().into()))
}

/// A registry whose token service keeps what it is asked, and gives the token `good` to who says `expected` there.
async fn with_token_service(expected: &'static str) -> (Registry, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            let service = service_fn(move |request: Request<Incoming>| {
                let kept = Arc::clone(&kept);
                async move {
                    let (head, body) = request.into_parts();
                    let said = head.headers.get("authorization").map_or("", |value| value.to_str().unwrap());
                    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
                    let whole = format!("{} {} [{said}] {body}", head.method, head.uri);
                    kept.lock().unwrap().push(whole.clone());
                    let response = match (head.uri.path(), said) {
                        ("/token", _) if whole.contains(expected) => {
                            Response::builder().body(Full::<Bytes>::from(r#"{"access_token":"good"}"#))
                        }
                        ("/token", _) => Response::builder().status(400).body(Full::default()),
                        (_, "Bearer good") => Response::builder().body("manifest".into()),
                        _ => {
                            let realm = format!("Bearer realm=\"http://{address}/token\",service=\"s\"");
                            Response::builder()
                                .status(401)
                                .header("www-authenticate", realm)
                                .body(Full::default())
                        }
                    };
                    Ok::<_, Infallible>(response.unwrap())
                }
            });
            tokio::spawn(async move {
                let http = hyper::server::conn::http1::Builder::new();
                drop(http.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    (registry(address), asked)
}

#[test]
fn tells_what_other_programs_keep_in_the_way_that_it_is_meant() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        // Aladdin's (RFC 7617, 2), an identity, and a token as it is.
        for (entry, expected, told) in [
            (
                serde_json::json!({ "auth": "QWxhZGRpbjpvcGVuIHNlc2FtZQ==" }),
                "[Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==]",
                "GET /token?scope=repository%3Aa%3Apull&service=s [Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==] ",
            ),
            (
                serde_json::json!({ "identitytoken": "re fresh" }),
                "refresh_token=re%20fresh",
                "POST /token [] scope=repository%3Aa%3Apull&service=s&client_id=portcullis&grant_type=refresh_token\
                 &refresh_token=re%20fresh",
            ),
            (serde_json::json!({ "registrytoken": "good" }), "never", "GET /v2/a/manifests/1 [Bearer good] "),
        ] {
            let (registry, asked) = with_token_service(expected).await;
            let environment = with_file(&dir, &registry, &entry);
            assert_eq!(Client::new(&registry, "a", &environment).manifest("1").await.unwrap(), b"manifest");
            let asked = asked.lock().unwrap();
            assert!(asked.iter().any(|request| request == told), "no {told} in {asked:#?}");
        }
        // One that the service does not know is named by its file and not shown.
        let (registry, _) = with_token_service("never").await;
        let environment = with_file(&dir, &registry, &serde_json::json!({ "identitytoken": "stale" }));
        let error = Client::new(&registry, "a", &environment).manifest("1").await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("the holder of the token of ") && text.contains("auth.json"), "{text}");
        assert!(!text.contains("stale"), "{text}");
    });
}

#[test]
fn the_configuration_says_who_asks_before_any_file() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (mut registry, _) = with_token_service("[Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==]").await;
        // A file that is broken is not even read.
        let environment = with_file(&dir, &registry, &serde_json::json!(3));
        let error = Client::new(&registry, "a", &environment).manifest("1").await.unwrap_err();
        assert!(matches!(error, Error::CredentialFile { .. }), "{error}");
        registry.credentials = Some(("Aladdin".into(), portcullis_model::Secret::new(&b"open sesame"[..])));
        assert_eq!(Client::new(&registry, "a", &environment).manifest("1").await.unwrap(), b"manifest");
    });
}

#[test]
fn passwords_of_files_are_not_sent_where_others_could_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut registry = registry(([127, 0, 0, 1], 1).into());
    registry.host = "registry.test:5000".into();
    let environment = with_file(&dir, &registry, &serde_json::json!({ "username": "u", "password": "p" }));
    let client = Client::new(&registry, "a", &environment);
    let to = |https| Url::of_host("registry.test:5000", https, "/".to_owned()).unwrap();
    let identity = client.identity(&to(false)).unwrap();
    assert!(identity.credentials.is_none() && identity.hint.unwrap().contains("are not sent without TLS"));
    let identity = client.identity(&to(true)).unwrap();
    assert!(identity.credentials.is_some() && identity.who.contains("user u of "));
}

/// Whether a port is open near us, or how long it takes to find out, is nothing that a registry learns.
#[test]
fn a_name_that_leads_inside_is_refused_before_anything_connects() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut registry = registry(([203, 0, 113, 1], 443).into());
        registry.plain_http = false;
        let mut client = client(&registry);
        client.is_near = Some(false);
        let first = Url::of_host("registry.test", true, "/v2/".to_owned()).unwrap();
        for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "169.254.169.254", "168.63.129.16"] {
            let url = Url::parse(&format!("https://{host}:{port}/blob"), None).unwrap();
            let asked = Asked { accept: "*/*", authorization: None, form: None };
            let Err(error) = client.send(&url, &first, asked).await else { panic!("{host} was asked") };
            assert!(error.to_string().contains("which is at a private address"), "{host}: {error}");
        }
        let accepted = std::future::poll_fn(|context| std::task::Poll::Ready(listener.poll_accept(context)));
        assert!(accepted.await.is_pending(), "a connection was opened");
    });
}
