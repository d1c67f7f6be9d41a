//! Requests that policies send by themselves, from the guest `capabilities` to servers of the test.

use std::net::SocketAddr;

use hyper::Response;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::harness::{
    Answer, Authority, Builder, Received, StreamBody, TestClient, TestGateway, TestUpstream,
};
use crate::setup::{attribute, config, every_grant_and, policy, record};

/// With the files that the guest needs.
fn builder() -> Builder {
    TestGateway::builder()
        .file("capabilities.wasm", portcullis_test_guests::CAPABILITIES)
        .file("token", "s3cret")
}

/// A gateway whose policy may ask what `http` says, in TOML.
async fn gateway(app: &TestUpstream, http: &str, settings: &str) -> TestGateway {
    started(builder(), app, http, settings).await
}

async fn started(builder: Builder, app: &TestUpstream, http: &str, settings: &str) -> TestGateway {
    let more = policy("asking", "capabilities", &format!("{settings}{}", every_grant_and("token", http)));
    builder.start(&config(app.address(), &["asking"], &more)).await
}

fn inside(address: SocketAddr, path: &str) -> String {
    format!("{{ url = \"http://{address}{path}\", private = true }}")
}

/// The same over TLS, with the authorities in the file `ca`.
fn secured(host: &str, address: SocketAddr, ca: &str) -> String {
    format!("{{ url = \"https://{host}:{}\", private = true, ca = \"{ca}\" }}", address.port())
}

/// What came of a request to `url`.
async fn ask(gateway: &TestGateway, client: &mut TestClient, path: &str, url: &str) -> String {
    let reply = client.get_with(path, &[("x-do", &format!("ask {url}"))]).await;
    assert_eq!(reply.text(), "app", "the exchange goes on");
    attribute(&record(gateway, path).await, "result").to_owned()
}

#[tokio::test]
async fn a_policy_asks_the_servers_that_it_was_granted_and_no_others() {
    let (app, other) = (TestUpstream::named("app").await, TestUpstream::named("other").await);
    let server = TestUpstream::h1(|received| {
        let body = String::from_utf8_lossy(&received.body).into_owned();
        Answer::text(format!("{} {} {body}", received.method, received.header("x-from"))).status(403)
    })
    .await;
    for isolation in ["exchange", "worker"] {
        let settings = format!("isolation = \"{isolation}\"\n");
        let gateway = gateway(&app, &inside(server.address(), "/check"), &settings).await;
        let mut client = TestClient::h1(gateway.address("web")).await;
        let address = server.address();
        let told = ask(&gateway, &mut client, "/1", &format!("http://{address}/check/a?b=c")).await;
        assert!(told.starts_with("403 [") && told.ends_with("POST guest hello"), "{isolation}: {told}");
        let asked = server.requests().pop().unwrap();
        assert_eq!(asked.uri.to_string(), "/check/a?b=c");
        assert_eq!(asked.header("host"), address.to_string());
        let count = server.requests().len();
        for url in [format!("http://{address}/other"), format!("http://{}/check", other.address())] {
            let told = ask(&gateway, &mut client, &format!("/2{}", url.len()), &url).await;
            assert!(told.starts_with("Error::NotAllowed("), "{told}");
        }
        assert_eq!((server.requests().len(), other.requests().len()), (count, 0));
    }
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_connected_to() {
    let (app, server) = (TestUpstream::named("app").await, TestUpstream::named("server").await);
    let port = server.address().port();
    let gateway = gateway(&app, &format!("\"http://localhost:{port}\""), "").await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let told = ask(&gateway, &mut client, "/1", &format!("http://localhost:{port}/")).await;
    assert!(told.starts_with("Error::NotAllowed(") && told.contains("private"), "{told}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_server_that_fails_is_a_value_to_the_policy() {
    let app = TestUpstream::named("app").await;
    let silent =
        TestUpstream::streaming_h1(|_| async { std::future::pending::<Response<StreamBody>>().await }).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let http = format!("{}, {}", inside(silent.address(), ""), inside(closed, ""));
    let gateway = gateway(&app, &http, "").await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let told = ask(&gateway, &mut client, "/1", &format!("http://{}/ 50", silent.address())).await;
    assert_eq!(told, "Error::Timeout");
    let told = ask(&gateway, &mut client, "/2", &format!("http://{closed}/")).await;
    assert!(told.starts_with("Error::Connect("), "{told}");
}

#[tokio::test]
async fn a_call_waits_without_holding_up_others_and_ends_with_its_client() {
    /// Tells the test that the server has lost its client.
    struct Lost(mpsc::Sender<&'static str>);
    impl Drop for Lost {
        fn drop(&mut self) {
            // The test may be over.
            let _over = self.0.try_send("lost").is_err();
        }
    }
    let app = TestUpstream::named("app").await;
    let (events, mut seen) = mpsc::channel(8);
    let silent = TestUpstream::streaming_h1(move |_| {
        let events = events.clone();
        async move {
            events.try_send("asked").unwrap();
            let _lost = Lost(events);
            std::future::pending::<Response<StreamBody>>().await
        }
    })
    .await;
    let gateway = gateway(&app, &inside(silent.address(), ""), "").await;
    let address = gateway.address("web");
    let mut waiting = TcpStream::connect(address).await.unwrap();
    let head = format!("GET /waiting HTTP/1.1\r\nhost: a\r\nx-do: ask http://{}/\r\n\r\n", silent.address());
    waiting.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(seen.recv().await, Some("asked"));
    for _ in 0..10 {
        // On both workers.
        let mut other = TestClient::h1(address).await;
        assert_eq!(other.get_with("/other", &[("x-do", "clock")]).await.text(), "app");
    }
    assert!(seen.try_recv().is_err(), "it still waits");
    drop(waiting);
    assert_eq!(seen.recv().await, Some("lost"), "long before the time is over");
    assert_eq!(attribute(&record(&gateway, "/waiting").await, "result"), "Error::ClientGone");
}

/// What a server tells of the protocol that it is spoken to by.
fn version(received: &Received) -> Answer {
    Answer::text(format!("{:?}", received.version))
}

#[tokio::test]
async fn a_server_is_believed_by_the_authorities_that_its_grant_names() {
    let app = TestUpstream::named("app").await;
    let (inside, stranger) = (Authority::new(), Authority::new());
    let right = inside.issue(&["127.0.0.1"]);
    let right = TestUpstream::h1_tls(&right, version).await;
    let unknown = TestUpstream::h1_tls(&stranger.issue(&["127.0.0.1"]), version).await;
    let misnamed = TestUpstream::h1_tls(&inside.issue(&["auth.test"]), version).await;
    let modern = TestUpstream::h2_tls(&inside.issue(&["127.0.0.1"]), version).await;
    let untrusted = TestUpstream::h1_tls(&inside.issue(&["127.0.0.1"]), version).await;
    let plain = TestUpstream::h1(version).await;
    let http = [&right, &unknown, &misnamed, &modern, &plain]
        .map(|server| secured("127.0.0.1", server.address(), "ca.pem"))
        .join(", ");
    let without = format!("{{ url = \"https://{}\", private = true }}", untrusted.address());
    let gateway = builder().file("ca.pem", &inside.pem);
    let gateway = started(gateway, &app, &format!("{http}, {without}"), "").await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    for path in ["/1", "/2"] {
        let told = ask(&gateway, &mut client, path, &format!("https://{}/check", right.address())).await;
        assert!(told.starts_with("200 [") && told.ends_with("HTTP/1.1"), "{told}");
    }
    assert_eq!((right.requests().len(), right.connections()), (2, 1), "the connection is used again");
    for (path, server, why) in [
        ("/unknown", &unknown, "UnknownIssuer"),
        ("/misnamed", &misnamed, "not valid for name"),
        ("/modern", &modern, "NoApplicationProtocol"),
        ("/untrusted", &untrusted, "UnknownIssuer"),
        ("/plain", &plain, "tls"),
    ] {
        let told = ask(&gateway, &mut client, path, &format!("https://{}/", server.address())).await;
        assert!(told.starts_with("Error::Connect(") && told.contains(why), "{path}: {told}");
        assert!(server.requests().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_connection_serves_none_who_would_not_have_believed_the_server() {
    let (app, inside, stranger) = (TestUpstream::named("app").await, Authority::new(), Authority::new());
    let server = TestUpstream::h1_tls(&inside.issue(&["127.0.0.1"]), version).await;
    let grants = |ca| every_grant_and("token", &secured("127.0.0.1", server.address(), ca));
    let (believing, doubting) = (grants("ca.pem"), grants("stranger.pem"));
    // The secret is the one table that both policies end with.
    let believing = believing.split_once("\n[secrets]").unwrap().0;
    let more =
        policy("believing", "capabilities", believing) + &policy("doubting", "capabilities", &doubting);
    let gateway = builder()
        .file("ca.pem", &inside.pem)
        .file("stranger.pem", &stranger.pem)
        .start(&config(app.address(), &["believing", "doubting"], &more))
        .await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    for (path, asked) in [("/1", 1), ("/2", 2)] {
        // The first policy is answered, the second one not, and it is the one who tells last.
        let told = ask(&gateway, &mut client, path, &format!("https://{}/", server.address())).await;
        assert!(told.starts_with("Error::Connect(") && told.contains("UnknownIssuer"), "{told}");
        assert_eq!(server.requests().len(), asked);
    }
}

#[tokio::test]
async fn authorities_are_watched_and_checked() {
    let (app, inside, stranger) = (TestUpstream::named("app").await, Authority::new(), Authority::new());
    let server = TestUpstream::h1_tls(&inside.issue(&["127.0.0.1"]), version).await;
    let http = secured("127.0.0.1", server.address(), "ca.pem");
    let gateway = started(builder().file("ca.pem", &stranger.pem), &app, &http, "").await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let url = format!("https://{}/", server.address());
    assert!(ask(&gateway, &mut client, "/1", &url).await.contains("UnknownIssuer"));
    gateway.write_and_wait("ca.pem", &inside.pem).await;
    assert!(ask(&gateway, &mut client, "/2", &url).await.starts_with("200 ["));
    for (pem, label) in [
        (stranger.issue(&["a.test"]).key, "it holds a private key, no certificate"),
        (
            "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n".to_owned(),
            "certificate 1 in it",
        ),
    ] {
        let refusal = gateway.write_and_expect_refusal("ca.pem", pem).await;
        assert!(
            refusal.contains("`ca.pem` is not usable") && refusal.contains(&format!("^ {label}")),
            "{refusal}"
        );
    }
    assert!(ask(&gateway, &mut client, "/3", &url).await.starts_with("200 ["), "what was running stays");
    gateway.write_and_wait("ca.pem", &stranger.pem).await;
    let told = ask(&gateway, &mut client, "/4", &url).await;
    assert!(told.contains("UnknownIssuer"), "not by a connection of before: {told}");
}
