//! Every kind of request passes through every hook of its route's policies, and none passes beside them.

use hyper::Method;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{
    Answer, Authority, RawClient, TestClient, TestGateway, TestUpstream, eventually, within,
};
use crate::setup::{attribute, config, misbehave, policy, record};

/// A gateway whose route runs the guest that notes each hook, and then `more`.
async fn noting(endpoint: std::net::SocketAddr, edit: impl FnOnce(String) -> String) -> TestGateway {
    let text = config(endpoint, &["all"], &policy("all", "all_hooks", ""));
    TestGateway::builder().file("all_hooks.wasm", portcullis_test_guests::ALL_HOOKS).start(&edit(text)).await
}

/// The hooks that a record tells of, in order, with the bytes of each body: pieces may come in any sizes.
fn hooks(record: &Value) -> String {
    let seen = attribute(record, "seen");
    let (before, completed) = seen.split_once("completed(").unwrap_or((seen, "?"));
    let mut hooks: Vec<(String, Option<usize>)> = Vec::new();
    let mut ended = true;
    for call in before.split_whitespace() {
        let Some((name, piece)) = call.split_once('(') else {
            assert!(ended, "{call} before a last piece in {seen}");
            hooks.push((call.to_owned(), None));
            continue;
        };
        let (size, last) = piece.trim_end_matches(')').split_once(',').unwrap();
        let size: usize = size.parse().unwrap();
        match hooks.last_mut() {
            Some((before, Some(sum))) if before == name => {
                assert!(!ended, "a piece after the last in {seen}");
                *sum += size;
            }
            _ => hooks.push((name.to_owned(), Some(size))),
        }
        ended = last == "true";
    }
    assert!(ended, "no last piece in {seen}");
    let mut text = String::new();
    for (name, size) in hooks {
        text.push_str(&name);
        if let Some(size) = size {
            text.push_str(&format!("={size}"));
        }
        text.push(' ');
    }
    text + "completed=" + completed.split(',').next().unwrap_or_default()
}

#[tokio::test]
async fn whole_messages() {
    for upstream_protocol in ["h1", "h2"] {
        let answer = |_: &_| Answer::text("answer");
        let upstream = match upstream_protocol {
            "h1" => TestUpstream::h1(answer).await,
            _ => TestUpstream::h2(answer).await,
        };
        let protocol = format!("[upstreams.app]\nprotocol = \"{upstream_protocol}\"\n");
        let gateway = noting(upstream.address(), |text| text.replace("[upstreams.app]\n", &protocol)).await;
        for client_protocol in ["h1", "h2"] {
            let address = gateway.address("web");
            let mut client = match client_protocol {
                "h1" => TestClient::h1(address).await,
                _ => TestClient::h2(address).await,
            };
            let mut expected = Vec::new();
            for (method, size, body, answered) in [
                (Method::GET, 0, "request-body=0", 6),
                (Method::HEAD, 0, "request-body=0", 0),
                (Method::POST, 5, "request-body=5", 6),
                (Method::POST, 100_000, "request-body=100000", 6),
                (Method::PUT, 0, "request-body=0", 6),
                (Method::DELETE, 0, "request-body=0", 6),
                (Method::from_bytes(b"MADE-UP").unwrap(), 0, "request-body=0", 6),
            ] {
                let path = format!("/{client_protocol}/{method}/{size}");
                let reply = client.send(method.clone(), &path, &[], vec![b'x'; size]).await;
                assert_eq!(reply.status, 200, "{path}");
                assert_eq!(reply.text(), if answered > 0 { "ANSWER" } else { "" }, "{path}");
                assert_eq!(upstream.last_request().body.len(), size, "{path}");
                let hooks =
                    format!("request-head {body} response-head response-body={answered} completed=200");
                expected.push((path, hooks));
            }
            for (path, expected) in expected {
                assert_eq!(hooks(&record(&gateway, &path).await), expected, "{path} to {upstream_protocol}");
            }
        }
    }
}

#[tokio::test]
async fn a_head_response_tells_no_length_that_a_policy_may_change() {
    let upstream = TestUpstream::h1(|_| Answer::text("answer").header("content-length", "6")).await;
    let gateway = noting(upstream.address(), |text| text).await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let reply = client.read_response_head().await;
    assert_eq!((reply.status, reply.header("content-length").as_str()), (200, ""));
}

/// Writes to a tunnel and reads what comes back.
async fn echo(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) {
    for text in [&b"ping"[..], b"and again"] {
        stream.write_all(text).await.unwrap();
        let mut back = vec![0; text.len()];
        within("the echo", stream.read_exact(&mut back)).await.unwrap();
        assert_eq!(back, text);
    }
}

const WEBSOCKET: [(&str, &str); 4] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[tokio::test]
async fn an_upgrade() {
    let upstream = TestUpstream::echo().await;
    let gateway = noting(upstream.address(), |text| text).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let body = http_body_util::Empty::new();
    let mut response = client.begin(Method::GET, "/socket", &WEBSOCKET, body).await.unwrap();
    assert_eq!(response.status(), 101);
    let seen = response.headers()["x-seen"].to_str().unwrap();
    assert_eq!(seen, "request-head request-body(0,true) response-head");
    let upgraded = within("the upgrade", hyper::upgrade::on(&mut response)).await.unwrap();
    let mut stream = TokioIo::new(upgraded);
    echo(&mut stream).await;
    drop(stream);
    drop(client);
    let record = record(&gateway, "/socket").await;
    assert_eq!(hooks(&record), "request-head request-body=0 response-head completed=101");
    assert_eq!((&record["request_bytes"], &record["response_bytes"]), (&13.into(), &13.into()));
}

#[tokio::test]
async fn an_upgrade_that_the_upstream_declines() {
    let upstream = TestUpstream::h1(|_| Answer::text("no").status(426)).await;
    let gateway = noting(upstream.address(), |text| text).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let reply = client.get_with("/socket", &WEBSOCKET).await;
    assert_eq!((reply.status, reply.text().as_str()), (426, "NO"));
    let record = record(&gateway, "/socket").await;
    assert_eq!(hooks(&record), "request-head request-body=0 response-head response-body=2 completed=426");
}

#[tokio::test]
async fn an_extended_connect() {
    let upstream = TestUpstream::echo().await;
    let gateway = noting(upstream.address(), |text| text).await;
    let mut client = TestClient::h2(gateway.address("web")).await;
    // So that the client knows the gateway's settings.
    client.get("/before").await;
    let mut response = client.connect(Some("websocket"), "/socket").await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-seen"], "request-head request-body(0,true) response-head");
    let upgraded = within("the upgrade", hyper::upgrade::on(&mut response)).await.unwrap();
    let mut stream = TokioIo::new(upgraded);
    echo(&mut stream).await;
    stream.shutdown().await.unwrap();
    assert_eq!(within("the end", stream.read(&mut [0; 1])).await.unwrap(), 0);
    drop(stream);
    let record = record(&gateway, "/socket").await;
    assert_eq!(hooks(&record), "request-head request-body=0 response-head completed=200");
}

#[tokio::test]
async fn a_plain_connect() {
    let upstream = TestUpstream::named("app").await;
    let gateway = noting(upstream.address(), |text| text).await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("CONNECT victim.test:443 HTTP/1.1\r\nHost: victim.test:443\r\n\r\n").await;
    assert_eq!(client.read_response().await.status, 501);
    let mut client = TestClient::h2(gateway.address("web")).await;
    let response = client.connect(None, "victim2.test:443").await.unwrap();
    assert_eq!(response.status(), 501);
    for authority in ["victim.test:443", "victim2.test:443"] {
        let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
        let line =
            gateway.wait_for_access_line("the record", |line| parse(line)["authority"] == authority).await;
        let hooks = hooks(&parse(&line));
        assert!(hooks.starts_with("request-head response-head response-body="), "{hooks}");
        assert!(hooks.ends_with("completed=501"), "{hooks}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn a_request_that_is_tried_again() {
    let upstream = TestUpstream::named("answer").await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoints = format!("endpoints = [\"{nobody}\", ");
    let gateway = noting(upstream.address(), |text| text.replace("endpoints = [", &endpoints)).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let mut attempts = Vec::new();
    for path in ["/a", "/b"] {
        assert_eq!(client.send(Method::POST, path, &[], "hello").await.text(), "ANSWER");
        let record = record(&gateway, path).await;
        let expected = "request-head request-body=5 response-head response-body=6 completed=200";
        assert_eq!(hooks(&record), expected);
        attempts.push(record["attempts"].as_u64().unwrap());
    }
    assert!(attempts.contains(&2), "nothing was tried again: {attempts:?}");
    assert!(upstream.requests().iter().all(|received| received.body == "hello"));
}

#[tokio::test]
async fn what_the_gateway_answers_itself() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let limited = "[routes.all]\nmatch = { path = \"/here/*\" }\nlimits = { body = \"4B\" }\n";
    let gateway = noting(nobody, |text| text.replace("[routes.all]\n", limited)).await;
    let address = gateway.address("web");
    for (protocol, mut client) in
        [("h1", TestClient::h1(address).await), ("h2", TestClient::h2(address).await)]
    {
        // The upstream is not there; afterwards it is left out for a while.
        let path = format!("/here/{protocol}");
        let status = client.get(&path).await.status;
        assert!([502, 503].contains(&status), "{status}");
        let hooks = |record: &Value| hooks(record);
        let seen = hooks(&record(&gateway, &path).await);
        assert!(seen.starts_with("request-head request-body=0 response-head response-body="), "{seen}");
        assert!(seen.ends_with(&format!("completed={status}")), "{seen}");

        // Without a route there are no policies.
        let path = format!("/elsewhere/{protocol}");
        let reply = client.get(&path).await;
        assert_eq!((reply.status, reply.header("x-seen").as_str()), (404, ""));
        assert!(record(&gateway, &path).await.get("attributes").is_none());

        // A body that is known to be too large is refused before any policy.
        let path = format!("/here/{protocol}/large");
        let reply = client.send(Method::POST, &path, &[], "12345").await;
        assert_eq!((reply.status, reply.header("x-seen").as_str()), (413, ""));
        assert_eq!(hooks(&record(&gateway, &path).await), "completed=413");
    }
}

#[tokio::test]
async fn the_reply_of_a_later_policy() {
    let upstream = TestUpstream::named("app").await;
    let gateway =
        noting(upstream.address(), |text| text.replace("\"all\"", "\"all\", \"deny\"") + DENY).await;
    let address = gateway.address("web");
    for (protocol, mut client) in
        [("h1", TestClient::h1(address).await), ("h2", TestClient::h2(address).await)]
    {
        let path = format!("/{protocol}");
        let reply = client.send(Method::POST, &path, &[], "hello").await;
        assert_eq!((reply.status, reply.text().as_str()), (403, "FORBIDDEN\n"));
        let expected = "request-head response-head response-body=10 completed=403";
        assert_eq!(hooks(&record(&gateway, &path).await), expected);
    }
}

#[tokio::test]
async fn the_reply_of_an_earlier_policy() {
    let upstream = TestUpstream::named("app").await;
    let gateway =
        noting(upstream.address(), |text| text.replace("\"all\"", "\"deny\", \"all\"") + DENY).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let reply = client.send(Method::POST, "/a", &[], "hello").await;
    assert_eq!((reply.status, reply.text().as_str()), (403, "forbidden\n"));
    assert_eq!(hooks(&record(&gateway, "/a").await), "completed=403");
}

#[tokio::test]
async fn an_upgrade_that_a_policy_replaces() {
    let upstream = TestUpstream::echo().await;
    for (deed, status) in [("reply", 418), ("panic", 500)] {
        let text = config(upstream.address(), &["no"], &misbehave("no", "response-head", deed, ""));
        let gateway = TestGateway::builder()
            .file("misbehave.wasm", portcullis_test_guests::MISBEHAVE)
            .start(&text)
            .await;
        let address = gateway.address("web");
        let mut client = TestClient::h1(address).await;
        assert_eq!(client.get_with("/socket", &WEBSOCKET).await.status, status);
        let mut client = TestClient::h2(address).await;
        client.get("/before").await;
        let response = client.connect(Some("websocket"), "/socket").await.unwrap();
        assert_eq!(response.status(), status);
    }
    eventually("the upstream's tunnels are closed", async || {
        (upstream.open_connections() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_goes_away() {
    let upstream = TestUpstream::streaming_h1(|_| std::future::pending()).await;
    let gateway = noting(upstream.address(), |text| text).await;
    let address = gateway.address("web");
    for (protocol, mut client) in
        [("h1", TestClient::h1(address).await), ("h2", TestClient::h2(address).await)]
    {
        let path = format!("/{protocol}");
        let before = upstream.requests().len();
        let asking = client.begin(Method::GET, &path, &[], http_body_util::Empty::new());
        tokio::select! {
            answered = asking => panic!("{answered:?}"),
            () = eventually("the upstream is asked", async || (upstream.requests().len() > before).then_some(())) => {}
        }
        drop(client);
        let seen = hooks(&record(&gateway, &path).await);
        assert!(seen.starts_with("request-head request-body=0 "), "{seen}");
        assert!(seen.ends_with("completed=499"), "{seen}");
    }
    eventually("the upstream is let go", async || (upstream.open_connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn edits_of_the_request_reach_the_upstream() {
    let (one, two) = (TestUpstream::named("one").await, TestUpstream::named("two").await);
    let text = config(one.address(), &["edits"], &policy("edits", "edits", ""))
        .replace("to = \"app\"", "to = [\"app\", \"other\"]")
        + &format!("[upstreams.other]\nendpoints = [\"{}\"]\n", two.address());
    let gateway = TestGateway::builder().file("edits.wasm", portcullis_test_guests::EDITS).start(&text).await;
    let address = gateway.address("web");
    for mut client in [TestClient::h1(address).await, TestClient::h2(address).await] {
        let mut edit = async |edit: &str| client.get_with("/a?b", &[("x-edit", edit)]).await;
        assert_eq!(edit("request.set-upstream other").await.text(), "two");
        assert_eq!(edit("request.set-upstream nobody").await.text(), "one");
        assert_eq!(edit("request.set-path-and-query /c/../d//e?f").await.text(), "one");
        assert_eq!(one.last_request().uri.to_string(), "/d/e?f");
        edit("request.set-authority other.test:8080").await;
        assert_eq!(one.last_request().header("host"), "other.test:8080");
        assert_eq!(edit("request.set-method HEAD").await.text(), "");
        assert_eq!(one.last_request().method, "HEAD");
        assert_eq!(edit("request.set-method CONNECT").await.text(), "one");
        assert_eq!(one.last_request().method, "GET");
        assert_eq!(edit("response.set-status 404").await.status, 404);
        assert_eq!(edit("response.set-status 204").await.status, 200);
    }
}

#[tokio::test]
async fn ticks_go_on_beside_the_exchanges_and_over_reloads() {
    let upstream = TestUpstream::named("app").await;
    let ticker = |more: &str| {
        let settings = format!("tick = \"100ms\"\ngrants = {{ store = true }}\n{more}");
        config(upstream.address(), &["ticker"], &policy("ticker", "ticker", &settings))
    };
    let gateway =
        TestGateway::builder().file("ticker.wasm", portcullis_test_guests::TICKER).start(&ticker("")).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let mut asked = 0;
    let mut ticks = async |gateway: &TestGateway, least: u64| {
        eventually("a few ticks", async || {
            asked += 1;
            let path = format!("/{asked}");
            client.get(&path).await;
            let ticks = attribute(&record(gateway, &path).await, "ticks").parse().unwrap_or(0);
            (ticks >= least).then_some(ticks)
        })
        .await
    };
    let before = ticks(&gateway, 3).await;
    gateway.write_config_and_wait(&ticker("config = { tick = \"trap\" }")).await;
    assert!(ticks(&gateway, before + 3).await > before);
    let line =
        gateway.wait_for_log("the trap", |line| line.message.contains("told to trap in on-tick")).await;
    assert_eq!(line.text("policy"), Some("ticker"));
}

const DENY: &str =
    "[policies.deny]\nplugin = \"builtin:ip-filter\"\nconfig = { deny = [\"0.0.0.0/0\", \"::/0\"] }\n";

#[tokio::test]
async fn nothing_passes_beside_a_policy_over_h1() {
    let upstream = TestUpstream::echo().await;
    let gateway = TestGateway::start(&config(upstream.address(), &["deny"], DENY)).await;
    for (request, statuses) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[403][..]),
        ("GET / HTTP/1.0\r\n\r\n", &[403]),
        ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", &[403]),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &[403]),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", &[403]),
        // Not even the interim response comes: no reader wants the body.
        ("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", &[403]),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", &[403]),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", &[403]),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n", &[403]),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nab",
            &[403, 400],
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
            &[403],
        ),
        ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", &[403]),
        ("GET http://user@other.test:81/x?y HTTP/1.1\r\nHost: other.test:81\r\n\r\n", &[403, 400]),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &[403]),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", &[403]),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", &[403, 400]),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", &[403]),
        ("MADE-UP / HTTP/1.1\r\nHost: a\r\n\r\n", &[403]),
        ("GET //a//../b/%2e%2e/%2E/c?//.. HTTP/1.1\r\nHost: a\r\n\r\n", &[403]),
        ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", &[403, 400]),
    ] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(request).await;
        let reply = client.read_response_head().await;
        assert!(statuses.contains(&reply.status), "{} to {request:?}", reply.status);
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn nothing_passes_beside_a_policy_over_h2() {
    let upstream = TestUpstream::echo().await;
    let gateway = TestGateway::start(&config(upstream.address(), &["deny"], DENY)).await;
    let mut client = TestClient::h2(gateway.address("web")).await;
    for method in ["GET", "HEAD", "POST", "OPTIONS", "TRACE", "MADE-UP"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(client.send(method.clone(), "/", &[], "").await.status, 403, "{method}");
        let fields = [("expect", "100-continue")];
        assert_eq!(client.send(method.clone(), "/a", &fields, "hello").await.status, 403, "{method}");
    }
    for (protocol, target) in [(Some("websocket"), "/socket"), (Some("made-up"), "/"), (None, "a:80")] {
        let status = client.connect(protocol, target).await.unwrap().status();
        assert_eq!(status, 403, "{protocol:?} {target}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn an_upgrade_does_not_pass_beside_a_body_hook() {
    let upstream = TestUpstream::echo().await;
    let text = config(upstream.address(), &["no"], &misbehave("no", "request-body", "reply", ""));
    let gateway =
        TestGateway::builder().file("misbehave.wasm", portcullis_test_guests::MISBEHAVE).start(&text).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    assert_eq!(client.get("/").await.status, 418);
    for offered in ["websocket", "x"] {
        let mut client = TestClient::h1(gateway.address("web")).await;
        let fields = [("connection", "upgrade"), ("upgrade", offered)];
        assert_eq!(client.get_with("/socket", &fields).await.status, 418, "{offered}");
    }
    let mut client = TestClient::h2(gateway.address("web")).await;
    client.get("/before").await;
    assert_eq!(client.connect(Some("websocket"), "/socket").await.unwrap().status(), 418);
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn nothing_passes_beside_a_policy_that_decides_by_the_body() {
    let upstream = TestUpstream::echo().await;
    let text = config(upstream.address(), &["no"], &misbehave("no", "request-body", "reply", ""));
    let gateway =
        TestGateway::builder().file("misbehave.wasm", portcullis_test_guests::MISBEHAVE).start(&text).await;
    let mut h1 = TestClient::h1(gateway.address("web")).await;
    assert_eq!(h1.get("/").await.status, 418);
    assert_eq!(h1.get_with("/socket", &WEBSOCKET).await.status, 418);
    assert_eq!(h1.get_with("/", &[("connection", "upgrade"), ("upgrade", "x")]).await.status, 418);
    let mut h2 = TestClient::h2(gateway.address("web")).await;
    assert_eq!(h2.send(Method::HEAD, "/", &[], "").await.status, 418);
    assert_eq!(h2.connect(Some("websocket"), "/socket").await.unwrap().status(), 418);
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn policies_see_the_connection() {
    let (upstream, authority) = (TestUpstream::named("app").await, Authority::new());
    let site = authority.issue(&["a.test"]);
    for isolation in ["exchange", "worker"] {
        let text = config(
            upstream.address(),
            &["edits"],
            &policy("edits", "edits", &format!("isolation = \"{isolation}\"")),
        ) + "[listeners.secure]\naddress = \"127.0.0.1:0\"\n\
               tls = { certificates = [{ cert = \"site.pem\", key = \"site.key\" }] }\n";
        let gateway = TestGateway::builder()
            .file("edits.wasm", portcullis_test_guests::EDITS)
            .file("site.pem", &site.certificate)
            .file("site.key", &site.key)
            .start(&text)
            .await;
        let (web, secure) = (gateway.address("web"), gateway.address("secure"));
        let none = ["none", "none", "none"];
        let clients = [
            ("HTTP/1.1", "web", none, TestClient::h1(web).await),
            ("HTTP/2", "web", none, TestClient::h2(web).await),
            (
                "HTTP/1.1",
                "secure",
                ["TLSv1.3", "http/1.1", "a.test"],
                TestClient::h1_tls(secure, &authority, "a.test").await,
            ),
            (
                "HTTP/2",
                "secure",
                ["TLSv1.3", "h2", "a.test"],
                TestClient::h2_tls(secure, &authority, "a.test").await,
            ),
        ];
        for (at, (protocol, listener, [version, alpn, name], mut client)) in clients.into_iter().enumerate() {
            let mut told = async |what: &str| {
                let path = format!("/{isolation}-{at}-{what}");
                client.get_with(&path, &[("x-edit", &format!("connection.{what}"))]).await;
                attribute(&record(&gateway, &path).await, "request-head").to_owned()
            };
            assert_eq!(told("protocol").await, protocol);
            assert_eq!(told("listener").await, listener);
            assert_eq!(told("peer-address").await, "127.0.0.1");
            assert_eq!(told("tls-version").await, version);
            assert_eq!(told("tls-alpn").await, alpn);
            assert_eq!(told("tls-server-name").await, name);
            let cipher = told("tls-cipher").await;
            assert!(
                if version == "none" { cipher == "none" } else { cipher.starts_with("TLS_") },
                "{cipher}"
            );
        }
    }
}
