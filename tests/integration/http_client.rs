//! Requests that policies send by themselves, from the guest `capabilities` to servers of the test.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Response;
use rustix::process::Signal;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::harness::{
    Answer, Authority, Builder, LogLine, Pieces, RawClient, Received, StreamBody, TestClient, TestGateway,
    TestUpstream,
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

/// A server that takes requests and never answers. It tells when it was asked, and when it has lost who asked.
async fn silent() -> (TestUpstream, mpsc::Receiver<&'static str>) {
    struct Lost(mpsc::Sender<&'static str>);
    impl Drop for Lost {
        fn drop(&mut self) {
            // The test may be over.
            let _over = self.0.try_send("lost").is_err();
        }
    }
    let (events, seen) = mpsc::channel(8);
    let server = TestUpstream::streaming_h1(move |_| {
        let events = events.clone();
        async move {
            events.try_send("asked").unwrap();
            let _lost = Lost(events);
            std::future::pending::<Response<StreamBody>>().await
        }
    });
    (server.await, seen)
}

/// A request whose policy asks the silent server, and of whose body this has come.
async fn waiting(gateway: &TestGateway, framing: &str, silent: &TestUpstream, body: &str) -> RawClient {
    let mut client = RawClient::connect(gateway.address("web")).await;
    let deed = format!("ask http://{}/ 20000", silent.address());
    client.send(format!("POST /waiting HTTP/1.1\r\nhost: a\r\nx-do: {deed}\r\n{framing}\r\n{body}")).await;
    client
}

#[tokio::test]
async fn a_call_waits_without_holding_up_others_and_ends_with_its_client() {
    let app = TestUpstream::named("app").await;
    let (silent, mut seen) = silent().await;
    let gateway = gateway(&app, &inside(silent.address(), ""), "").await;
    let waiting = waiting(&gateway, "", &silent, "").await;
    assert_eq!(seen.recv().await, Some("asked"));
    for _ in 0..10 {
        // On both workers.
        let mut other = TestClient::h1(gateway.address("web")).await;
        assert_eq!(other.get_with("/other", &[("x-do", "clock")]).await.text(), "app");
    }
    assert!(seen.try_recv().is_err(), "it still waits");
    drop(waiting);
    assert_eq!(seen.recv().await, Some("lost"), "long before the time is over");
    assert_eq!(attribute(&record(&gateway, "/waiting").await, "result"), "Error::ClientGone");
}

#[tokio::test]
async fn a_client_that_goes_away_is_noticed_before_its_body_was_read() {
    let app = TestUpstream::named("app").await;
    let (silent, mut seen) = silent().await;
    for (framing, body) in [
        ("content-length: 5\r\n", ""),
        ("content-length: 5\r\n", "part"),
        ("content-length: 5\r\n", "whole"),
        ("content-length: 5\r\nexpect: 100-continue\r\n", ""),
        ("transfer-encoding: chunked\r\n", "4\r\npart\r\n"),
        ("transfer-encoding: chunked\r\n", "5\r\nwhole\r\n0\r\n\r\n"),
    ] {
        let gateway = gateway(&app, &inside(silent.address(), ""), "").await;
        let waiting = waiting(&gateway, framing, &silent, body).await;
        assert_eq!(seen.recv().await, Some("asked"));
        drop(waiting);
        assert_eq!(seen.recv().await, Some("lost"), "{framing}{body}");
        let record = record(&gateway, "/waiting").await;
        assert_eq!(
            (attribute(&record, "result"), &record["status"]),
            ("Error::ClientGone", &499.into()),
            "{record}"
        );
    }
    assert!(app.requests().is_empty());
}

#[tokio::test]
async fn hooks_of_bodies_and_of_the_response_hear_of_their_client_too() {
    let app = TestUpstream::named("app").await;
    let (silent, mut seen) = silent().await;
    for (hook, status) in [("request-body", 499), ("response-head", 200), ("response-body", 499)] {
        let settings = format!(
            "config = {{ hook = \"{hook}\", url = \"http://{}/\" }}\ngrants = {{ http = [{}] }}",
            silent.address(),
            inside(silent.address(), "")
        );
        let gateway = TestGateway::builder()
            .file("asks.wasm", portcullis_test_guests::ASKS)
            .start(&config(app.address(), &["asking"], &policy("asking", "asks", &settings)))
            .await;
        let waiting = waiting(&gateway, "content-length: 5\r\n", &silent, "whole").await;
        assert_eq!(seen.recv().await, Some("asked"));
        drop(waiting);
        assert_eq!(seen.recv().await, Some("lost"), "{hook}");
        let record = record(&gateway, "/waiting").await;
        assert_eq!(
            (attribute(&record, "result"), &record["status"]),
            ("Error::ClientGone", &status.into()),
            "{record}"
        );
    }
}

#[tokio::test]
async fn what_has_come_of_a_body_while_a_policy_waits_is_passed_on() {
    let app = TestUpstream::named("app").await;
    let (events, mut seen) = mpsc::channel(8);
    let (release, released) = watch::channel(0);
    let server = TestUpstream::streaming_h1(move |_| {
        let (events, mut released) = (events.clone(), released.clone());
        async move {
            let at = *released.borrow();
            events.try_send("asked").unwrap();
            released.changed().await.unwrap();
            Response::new(Full::from(format!("answer {at}")).boxed_unsync())
        }
    })
    .await;
    let gateway = gateway(&app, &inside(server.address(), ""), "").await;
    let body: String = (0..30_000).map(|at| format!("{at:08}")).collect();
    let (first, rest) = body.split_at(100_000);
    for (at, (framing, first, rest)) in [
        (format!("content-length: {}\r\n", body.len()), first.to_owned(), rest.to_owned()),
        (
            "transfer-encoding: chunked\r\n".to_owned(),
            format!("{:x}\r\n{first}\r\n", first.len()),
            format!("{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len()),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let framing = format!("connection: close\r\n{framing}");
        let mut client = waiting(&gateway, &framing, &server, &first).await;
        assert_eq!(seen.recv().await, Some("asked"));
        for _ in 0..10 {
            // On both workers, so that what has come was met by theirs.
            let mut other = TestClient::h1(gateway.address("web")).await;
            assert_eq!(other.get_with("/other", &[("x-do", "clock")]).await.text(), "app");
        }
        release.send(at + 1).unwrap();
        client.send(&rest).await;
        assert_eq!(client.read_response().await.text(), "app");
        assert_eq!(app.last_request().body, body);
    }
}

#[tokio::test]
async fn a_response_that_comes_while_a_hook_of_the_requests_body_waits_is_passed_on() {
    let chunk = "5\r\npiece\r\n";
    for (server_is_h2, whole) in [(false, false), (false, true), (true, false), (true, true)] {
        let (events, mut seen) = mpsc::channel(8);
        let asked = Arc::new(Semaphore::new(1));
        let gate = asked.clone();
        // The first hook is answered at once, and each other one when the test says so.
        let server = TestUpstream::streaming_h1(move |_| {
            let (events, gate) = (events.clone(), gate.clone());
            async move {
                events.try_send("asked").unwrap();
                gate.acquire().await.unwrap().forget();
                Response::new(Full::from("ok").boxed_unsync())
            }
        })
        .await;
        let (begin, begun) = watch::channel(0);
        let handler = move |_: hyper::Request<hyper::body::Incoming>| {
            let mut begun = begun.clone();
            async move {
                begun.wait_for(|step| *step > 0).await.unwrap();
                if whole {
                    return Response::new(Full::from("early").boxed_unsync());
                }
                let (pieces, body) = Pieces::new();
                tokio::spawn(async move {
                    begun.wait_for(|step| *step > 1).await.unwrap();
                    pieces.send("early").await;
                });
                Response::new(body.boxed())
            }
        };
        let app = match server_is_h2 {
            false => TestUpstream::streaming_h1(handler).await,
            true => TestUpstream::streaming_h2(handler).await,
        };
        let settings = format!(
            "config = {{ hook = \"request-body\", url = \"http://{}/\" }}\ngrants = {{ http = [{}] }}",
            server.address(),
            inside(server.address(), "")
        );
        let mut config = config(app.address(), &["asking"], &policy("asking", "asks", &settings));
        if server_is_h2 {
            config = config.replace("[upstreams.app]\n", "[upstreams.app]\nprotocol = \"h2\"\n");
            assert!(config.contains("h2"), "{config}");
        }
        let gateway =
            TestGateway::builder().file("asks.wasm", portcullis_test_guests::ASKS).start(&config).await;
        let settle = async || {
            for _ in 0..10 {
                // On both workers, so that what has come was met by theirs.
                let mut other = RawClient::connect(gateway.address("web")).await;
                other.send("nothing\r\n\r\n").await;
                assert_eq!(other.read_response().await.status, 400);
            }
        };
        let mut client = RawClient::connect(gateway.address("web")).await;
        client
            .send(format!(
                "POST /early HTTP/1.1\r\nhost: app.test\r\ntransfer-encoding: chunked\r\n\r\n{chunk}"
            ))
            .await;
        assert_eq!(seen.recv().await, Some("asked"));
        client.send(chunk).await;
        assert_eq!(seen.recv().await, Some("asked"));
        // Its head comes while the second hook waits, and its body while the third does.
        begin.send(1).unwrap();
        settle().await;
        asked.add_permits(1);
        if !whole {
            // The head is with the gateway until its policy has let the first piece go.
            client.send(chunk).await;
            assert_eq!(seen.recv().await, Some("asked"));
            begin.send(2).unwrap();
            settle().await;
            asked.add_permits(1);
        }
        let response = String::from_utf8(client.read_until(b"early").await).unwrap();
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        drop(client);
        let record = record(&gateway, "/early").await;
        assert_eq!(record["status"], 200, "{record}");
    }
}

#[tokio::test]
async fn a_drain_waits_for_hooks_that_hear_of_the_end() {
    let app = TestUpstream::named("app").await;
    for http2 in [false, true] {
        let (events, mut seen) = mpsc::channel(8);
        let open = Arc::new(Semaphore::new(0));
        let gate = open.clone();
        let server = TestUpstream::streaming_h1(move |_| {
            let (events, gate) = (events.clone(), gate.clone());
            async move {
                events.try_send("asked").unwrap();
                gate.acquire().await.unwrap().forget();
                Response::new(Full::from("ok").boxed_unsync())
            }
        })
        .await;
        let settings = format!(
            "config = {{ hook = \"completed\", url = \"http://{}/\" }}\ngrants = {{ http = [{}] }}",
            server.address(),
            inside(server.address(), "")
        );
        let mut gateway = TestGateway::builder()
            .file("asks.wasm", portcullis_test_guests::ASKS)
            .start(&config(app.address(), &["asking"], &policy("asking", "asks", &settings)))
            .await;
        let mut client = match http2 {
            false => TestClient::h1(gateway.address("web")).await,
            true => TestClient::h2(gateway.address("web")).await,
        };
        assert_eq!(client.get("/last").await.text(), "app");
        assert_eq!(seen.recv().await, Some("asked"));
        drop(client);
        gateway.signal(Signal::TERM);
        gateway.wait_for_log("a drain", |line| line.message.starts_with("draining")).await;
        {
            let mut end = pin!(gateway.wait());
            let early = tokio::time::timeout(Duration::from_millis(500), &mut end).await;
            assert!(early.is_err(), "it ends while the hook waits; http2: {http2}");
            open.add_permits(1);
            assert_eq!(end.await.code(), Some(0));
        }
        assert_eq!(attribute(&record(&gateway, "/last").await, "result"), "200");
    }
}

#[tokio::test]
async fn a_hook_hears_of_a_timeout_before_its_own_time_is_over() {
    let app = TestUpstream::named("app").await;
    let (silent, mut seen) = silent().await;
    let server = TestUpstream::named("server").await;
    let http = format!("{}, {}", inside(silent.address(), ""), inside(server.address(), ""));
    for isolation in ["exchange", "worker"] {
        for on_error in ["deny", "allow"] {
            let case = format!("{isolation} {on_error}");
            // A tenth of it is left to the hook, which a busy machine may need.
            let settings = format!(
                "isolation = \"{isolation}\"\non-error = \"{on_error}\"\nlimits = {{ wall = \"3s\" }}\n"
            );
            let gateway = gateway(&app, &http, &settings).await;
            let mut client = TestClient::h1(gateway.address("web")).await;
            let deed = format!("ask http://{}/ 20000", silent.address());
            assert_eq!(client.get_with("/slow", &[("x-do", &deed)]).await.status, 200, "{case}");
            assert_eq!((seen.recv().await, seen.recv().await), (Some("asked"), Some("lost")), "{case}");
            let noted = record(&gateway, "/slow").await;
            assert_eq!(attribute(&noted, "result"), "Error::Timeout", "{case}: {noted}");
            let told = ask(&gateway, &mut client, "/after", &format!("http://{}/", server.address())).await;
            assert!(told.starts_with("200 [") && told.ends_with("server"), "{case}: {told}");
        }
    }
}

#[tokio::test]
async fn what_is_outstanding_is_bounded() {
    let (app, server) = (TestUpstream::named("app").await, TestUpstream::named("server").await);
    let (silent, mut seen) = silent().await;
    let http = format!("{}, {}", inside(silent.address(), ""), inside(server.address(), ""));
    for (all, limits) in [
        ("policy-http-calls-max = 1\n", ""),
        ("", "limits = { http-calls = 1 }\n"),
        ("", "limits = { hook-calls = 1 }\n"),
    ] {
        let more = policy("asking", "capabilities", &format!("{limits}{}", every_grant_and("token", &http)));
        let config =
            config(app.address(), &["asking"], &more).replace("[server]\n", &format!("[server]\n{all}"));
        let gateway = builder().start(&config).await;
        let waiting = waiting(&gateway, "", &silent, "").await;
        assert_eq!(seen.recv().await, Some("asked"));
        let mut client = TestClient::h1(gateway.address("web")).await;
        let url = format!("http://{}/", server.address());
        if limits.contains("hook-calls") {
            let reply = client.get_with("/bounded", &[("x-do", &format!("ask {url}"))]).await;
            assert_eq!((reply.status, reply.header("retry-after").as_str()), (503, "1"));
            let line = gateway.wait_for_log("a fault", |line| line.text("kind") == Some("exhausted")).await;
            assert!(
                line.message.contains("all 1 calls of it") && line.message.contains("`limits.hook-calls`")
            );
        } else {
            assert_eq!(ask(&gateway, &mut client, "/bounded", &url).await, "Error::Busy", "{all}{limits}");
        }
        assert!(server.requests().is_empty());
        drop(waiting);
        assert_eq!(seen.recv().await, Some("lost"));
        record(&gateway, "/waiting").await;
        let told = ask(&gateway, &mut client, "/after", &url).await;
        assert!(told.starts_with("200 ["), "{all}{limits}: {told}");
        server.forget();
    }
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
async fn the_machines_authorities_are_read_again_with_the_config() {
    let (one, other) = (Authority::new(), Authority::new());
    let app = TestUpstream::h1_tls(&one.issue(&["127.0.0.1"]), |_| Answer::text("app")).await;
    let server = TestUpstream::h1_tls(&one.issue(&["127.0.0.1"]), version).await;
    let http = format!("{{ url = \"https://{}\", private = true }}", server.address());
    let more = policy("asking", "capabilities", &every_grant_and("token", &http));
    let text = config(app.address(), &["asking"], &more)
        .replace("[upstreams.app]\n", "[upstreams.app]\ntls = true\n");
    let builder = builder().file("roots.pem", &one.pem);
    let roots = builder.dir().join("roots.pem");
    let builder = builder.variable("SSL_CERT_FILE", &roots).variable("SSL_CERT_DIR", "");
    let gateway = builder.start(&text).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let url = format!("https://{}/", server.address());
    // Twice, so that connections of either sort are idle, and used again.
    for path in ["/1", "/2"] {
        assert!(ask(&gateway, &mut client, path, &url).await.starts_with("200 ["));
    }
    assert_eq!((app.connections(), server.connections()), (1, 1));

    let others = || gateway.log().iter().filter(|line| line.text("event") == Some("authorities")).count();
    gateway.reload().await;
    assert!(ask(&gateway, &mut client, "/3", &url).await.starts_with("200 ["));
    assert_eq!((app.connections(), server.connections(), others()), (1, 1, 0), "nothing has changed");

    // Neither is believed any more, whatever connection there is.
    std::fs::write(&roots, &other.pem).unwrap();
    gateway.reload().await;
    assert_eq!(others(), 1);
    let reply = client.get_with("/4", &[("x-do", &format!("ask {url}"))]).await;
    assert_eq!(reply.status, 502, "{}", reply.text());
    let told = record(&gateway, "/4").await;
    assert!(attribute(&told, "result").contains("UnknownIssuer"), "{told}");
    assert_eq!((app.requests().len(), server.requests().len()), (3, 3));

    // If there are none at all, what runs goes on.
    std::fs::write(&roots, "nobody\n").unwrap();
    gateway.signal(Signal::HUP);
    let refused = |line: &LogLine| line.message.contains("no certificate authorities were found");
    gateway.wait_for_log("a refusal", refused).await;

    std::fs::write(&roots, format!("{}{}", other.pem, one.pem)).unwrap();
    gateway.reload().await;
    assert_eq!(others(), 2);
    assert!(ask(&gateway, &mut client, "/5", &url).await.starts_with("200 ["));
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
