//! Bodies in very small pieces, and bodies that are too large to hold: what policies are called for, and who is to
//! blame.

use std::time::Instant;

use hyper::Method;

use crate::harness::{
    Answer, H2Frame, H2Frames, RawClient, RawUpstream, TestClient, TestGateway, TestUpstream, eventually,
    within,
};
use crate::rollouts::told;
use crate::setup::{config, misbehave, policy, record};
use crate::status::json;

/// So many pieces of a byte each.
const PIECES: usize = 4000;

async fn start(config: &str) -> TestGateway {
    TestGateway::builder()
        .file("misbehave.wasm", portcullis_test_guests::MISBEHAVE)
        .file("plain.wasm", portcullis_test_guests::PLAIN)
        .start(config)
        .await
}

/// A body of one-byte chunks.
fn chunks() -> String {
    format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(PIECES))
}

fn data(stream: u32, last: bool) -> H2Frame {
    H2Frame { kind: 0, flags: u8::from(last), stream, payload: vec![b'x'] }
}

/// How many times a hook of a policy was called.
async fn calls(gateway: &TestGateway, name: &str, hook: &str) -> u64 {
    let told = json(gateway).await;
    let policies = told["policies"].as_array().unwrap();
    let policy = policies.iter().find(|policy| policy["name"] == name).unwrap();
    let calls = policy["calls"].as_array().unwrap();
    calls.iter().find(|calls| calls["hook"] == hook).map_or(0, |calls| calls["count"].as_u64().unwrap())
}

/// Two policies after one another: one lets all go, and one holds it back to its end.
fn policies(hook: &str) -> String {
    misbehave("forwards", hook, "next", "") + &misbehave("holds", hook, "judge", "")
}

/// Neither was called for nearly as many pieces as there are.
async fn assert_few_calls(gateway: &TestGateway, hook: &str, case: &str) {
    for name in ["forwards", "holds"] {
        let calls = calls(gateway, name, &format!("on-{hook}")).await;
        assert!(calls >= 1 && calls < PIECES as u64 / 20, "{case}, {name}: {calls} calls");
    }
}

#[tokio::test]
async fn a_request_of_one_byte_pieces_is_few_calls() {
    let upstream = TestUpstream::named("app").await;
    for uses in [&["forwards", "holds"], &["holds", "forwards"]] {
        let text = config(upstream.address(), uses, &policies("request-body"));
        let gateway = start(&text).await;
        let mut client = RawClient::connect(gateway.address("web")).await;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}{}", chunks())).await;
        assert_eq!(client.read_response().await.status, 200);
        assert_eq!(upstream.last_request().body.len(), PIECES);
        assert_few_calls(&gateway, "request-body", "HTTP/1").await;

        let gateway = start(&text).await;
        let mut client = H2Frames::connect(gateway.address("web")).await;
        let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
        let mut frames = vec![H2Frame { flags: 4, ..H2Frame::headers(1, &fields) }];
        frames.extend((1..=PIECES).map(|at| data(1, at == PIECES)));
        client.send_all(&frames).await;
        let answered = client.find(|frame| frame.kind == 1 && frame.stream == 1).await;
        assert!(answered.is_some(), "it was not answered");
        assert_eq!(upstream.last_request().body.len(), PIECES);
        assert_few_calls(&gateway, "request-body", "HTTP/2").await;
    }
}

#[tokio::test]
async fn a_response_of_one_byte_pieces_is_few_calls() {
    let policies = policies("response-body");
    let upstream = RawUpstream::start(|mut connection, _| async move {
        while connection.read_request().await.is_some() {
            connection
                .send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}", chunks()))
                .await;
        }
    })
    .await;
    let gateway = start(&config(upstream.address(), &["forwards", "holds"], &policies)).await;
    let reply = TestClient::h1(gateway.address("web")).await.get("/").await;
    assert_eq!(reply.body.len(), PIECES);
    assert_few_calls(&gateway, "response-body", "HTTP/1").await;

    let upstream = RawUpstream::start(|connection, _| async move {
        let mut connection = H2Frames::accept(connection).await;
        while let Some(request) = connection.find(|frame| frame.kind == 1 || frame.kind == 6).await {
            if request.kind == 6 {
                connection.send(&H2Frame { flags: 1, ..request }).await;
                continue;
            }
            let head = H2Frame::headers(request.stream, &[(":status", "200")]);
            let mut frames = vec![H2Frame { flags: 4, ..head }];
            frames.extend((1..=PIECES).map(|at| data(request.stream, at == PIECES)));
            connection.send_all(&frames).await;
        }
    })
    .await;
    let text = config(upstream.address(), &["forwards", "holds"], &policies)
        .replace("[upstreams.app]\n", "[upstreams.app]\nprotocol = \"h2\"\n");
    let gateway = start(&text).await;
    let reply = TestClient::h1(gateway.address("web")).await.get("/").await;
    assert_eq!(reply.body.len(), PIECES);
    assert_few_calls(&gateway, "response-body", "HTTP/2").await;
}

#[tokio::test]
async fn pieces_that_come_one_by_one_to_who_holds_are_few_calls() {
    let upstream = TestUpstream::named("app").await;
    let policies = misbehave("holds", "request-body", "judge", "");
    let gateway = start(&config(upstream.address(), &["holds"], &policies)).await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let begun = Instant::now();
    for _ in 0..PIECES {
        client.send("1\r\nx\r\n").await;
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.read_response().await.status, 200);
    // As often as there is twice as much, and four times a second besides.
    let calls = calls(&gateway, "holds", "on-request-body").await;
    let in_time = u64::try_from(begun.elapsed().as_millis() / 250).unwrap();
    assert!(calls <= 16 + in_time, "{calls} calls in {:?}", begun.elapsed());
}

#[tokio::test]
async fn who_holds_the_begin_of_a_message_is_asked_again_though_little_comes() {
    let upstream = TestUpstream::h1(|request| Answer::default().body(request.body.clone())).await;
    let policies = misbehave("late", "request-body", "until 6", "");
    let gateway = start(&config(upstream.address(), &["late"], &policies)).await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n").await;
    let held = async |times: u64| {
        eventually("it is held", async || {
            (calls(&gateway, "late", "on-request-body").await == times).then_some(())
        })
        .await;
    };
    held(1).await;
    client.send("1\r\ne\r\n").await;
    held(2).await;
    // Far from twice as much as it has seen, and nothing comes behind it.
    client.send("1\r\nf\r\n").await;
    eventually("it is let go", async || (upstream.connections() == 1).then_some(())).await;
    client.send("0\r\n\r\n").await;
    assert_eq!(client.read_response().await.text(), "abcdef");
}

#[tokio::test]
async fn a_shadow_sees_a_body_of_one_byte_pieces_to_its_end() {
    let upstream = TestUpstream::named("app").await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for active in ["plain", "misbehave"] {
        let active_config = if active == "plain" { "" } else { "config = { request-body = \"next\" }\n" };
        let settings = format!(
            "{active_config}shadow = {{ plugin = \"misbehave.wasm\", config = {{ request-body = \"judge\" }} }}"
        );
        let gateway =
            start(&config(upstream.address(), &["tried"], &policy("tried", active, &settings))).await;
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(format!("{head}{}", chunks())).await;
        assert_eq!(client.read_response().await.status, 200);
        assert_eq!(upstream.last_request().body.len(), PIECES);
        let compared = eventually("the shadow is through", async || {
            let comparison = told(&gateway, "tried").await["comparison"].clone();
            let count = comparison["compared"].as_u64()? + comparison["left_behind"].as_u64()?;
            (count >= 2).then_some(comparison)
        })
        .await;
        assert_eq!(compared["left_behind"], 0, "{active}: {compared}");
    }
}

#[tokio::test]
async fn a_body_that_passes_through_a_policy_leaves_others_their_turn() {
    let upstream = TestUpstream::named("app").await;
    let policies = misbehave("work", "request-body", "work 20000", "");
    let route = "[routes.up]\nmatch = { path = \"/up\" }\nuse = [\"work\"]\nto = \"app\"\n";
    let text =
        config(upstream.address(), &[], &format!("{policies}{route}")).replace("workers = 2", "workers = 1");
    let gateway = start(&text).await;
    let address = gateway.address("web");
    let uploading = tokio::spawn(async move {
        let mut client = RawClient::connect(address).await;
        client.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 67108864\r\n\r\n").await;
        within("all is taken", client.send_for_long(&vec![7; 64 << 20])).await;
        client.read_response().await.status
    });
    let (mut client, mut answered) = (TestClient::h1(address).await, 0);
    while !uploading.is_finished() {
        assert_eq!(client.get("/").await.text(), "app");
        answered += 1;
    }
    assert_eq!(uploading.await.unwrap(), 200);
    // Each piece would be a turn of its own. A client on a busy machine is slower than the gateway, and asks less
    // often.
    assert!(answered > 10, "{answered} while it was uploaded");
}

#[tokio::test]
async fn a_body_that_is_too_large_to_hold_is_its_senders_doing() {
    let upstream = TestUpstream::h1(|_| Answer::text("x".repeat(70_000))).await;
    let bounded = "limits = { body = \"64KiB\" }\n";
    let mut policies = String::new();
    for mode in ["deny", "allow"] {
        for hook in ["request-body", "response-body"] {
            let name = format!("{hook}-{mode}");
            policies.push_str(&misbehave(&name, hook, "judge", &format!("{bounded}on-error = \"{mode}\"\n")));
            policies.push_str(&format!(
                "[routes.{name}]\nmatch = {{ path = \"/{name}\" }}\nuse = [\"{name}\"]\nto = \"app\"\n"
            ));
        }
    }
    let gateway = start(&config(upstream.address(), &[], &policies)).await;
    let address = gateway.address("web");
    for mode in ["deny", "allow"] {
        for mut client in [TestClient::h1(address).await, TestClient::h2(address).await] {
            let before = upstream.requests().len();
            // More than what puts a policy that fails into quarantine.
            for _ in 0..12 {
                let path = format!("/request-body-{mode}");
                let reply = client.send(Method::POST, &path, &[], "x".repeat(65_537)).await;
                assert_eq!(reply.status, 413, "{mode}: {}", reply.text());
            }
            assert_eq!(upstream.requests().len(), before, "nothing passes by");
            for _ in 0..12 {
                let reply = client.get(&format!("/response-body-{mode}")).await;
                assert_eq!(reply.status, 502, "{mode}: {}", reply.text());
            }
        }
        for (path, whose) in [("request-body", "request"), ("response-body", "response")] {
            let made = record(&gateway, &format!("/{path}-{mode}")).await;
            let error = made["error"].as_str().unwrap();
            for expected in [whose, &format!("`{path}-{mode}`"), "65536", "limits.body"] {
                assert!(error.contains(expected), "no {expected} in {error}");
            }
        }
    }
    let told = json(&gateway).await;
    for policy in told["policies"].as_array().unwrap() {
        assert_eq!(policy["faults"], serde_json::json!([]), "{policy}");
        assert_eq!(policy.get("quarantine"), None, "{policy}");
    }
    let faults: Vec<_> =
        gateway.log().into_iter().filter(|line| line.message.starts_with("policy fault")).collect();
    assert!(faults.is_empty(), "{faults:?}");
    // The last byte that is allowed.
    let mut client = TestClient::h1(address).await;
    let reply = client.send(Method::POST, "/request-body-deny", &[], "x".repeat(65_536)).await;
    assert_eq!(reply.status, 200);
}
