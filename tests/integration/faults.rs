//! Guests that misbehave hurt their own exchange, as their policy's `on-error` says, and nothing else.

use std::sync::Arc;

use hyper::Method;
use tokio::sync::Semaphore;

use crate::harness::{LogLine, Pieces, TestClient, TestGateway, TestUpstream, eventually};
use crate::setup::{attribute, config, every_grant, misbehave, policy, record};

/// What a guest is told to do in `on-request-head`, the kind of fault that it is, and what the log says of it.
const DEEDS: [(&str, &str, &str); 15] = [
    ("fail", "failed", "told to fail in request-head"),
    ("loop", "deadline", "100ms"),
    ("trap", "trap", "unreachable"),
    ("panic", "trap", "told to panic in request-head"),
    ("memory", "memory", "bytes of memory"),
    ("recurse", "trap", "call stack overflowed"),
    ("exit", "trap", "exit"),
    ("abort", "trap", "unreachable"),
    ("status 99", "failed", "invalid-value"),
    ("status 600", "failed", "invalid-value"),
    ("bad-name", "failed", "invalid-name"),
    ("bad-value", "failed", "invalid-value"),
    ("owned", "failed", "forbidden"),
    ("many 2000", "failed", "too-large"),
    ("body 5000", "failed", "too-large"),
];

/// Time enough that only who never ends uses it up, on a busy machine too.
const LIMITS: &str = "limits = { deadline = \"100ms\", memory = \"4MiB\", body = \"4KiB\" }\n";

/// A config with an open route, and for each of these policies a route `/NAME`.
fn routes(upstream: &TestUpstream, policies: &[(String, String)]) -> String {
    let mut more = String::new();
    for (name, text) in policies {
        more.push_str(text);
        more.push_str(&format!(
            "[routes.{name}]\nmatch = {{ path = \"/{name}\" }}\nuse = [\"{name}\"]\nto = \"app\"\n"
        ));
    }
    config(upstream.address(), &[], &more)
}

async fn start(config: &str) -> TestGateway {
    TestGateway::builder()
        .file("misbehave.wasm", portcullis_test_guests::MISBEHAVE)
        .file("edits.wasm", portcullis_test_guests::EDITS)
        .start(config)
        .await
}

/// The log line of a fault of this policy.
async fn fault(gateway: &TestGateway, policy: &str) -> LogLine {
    let found =
        |line: &LogLine| line.text("policy") == Some(policy) && line.message.starts_with("policy fault");
    gateway.wait_for_log(&format!("a fault of {policy}"), found).await
}

#[tokio::test]
async fn every_fault_closes_or_opens_and_is_told() {
    let upstream = TestUpstream::named("app").await;
    let mut policies = Vec::new();
    for (at, (deed, ..)) in DEEDS.iter().enumerate() {
        for mode in ["deny", "allow"] {
            let name = format!("{mode}-{at}");
            let settings = format!("{LIMITS}on-error = \"{mode}\"");
            policies.push((name.clone(), misbehave(&name, "request-head", deed, &settings)));
        }
    }
    let gateway = start(&routes(&upstream, &policies)).await;
    let address = gateway.address("web");
    let mut h1 = TestClient::h1(address).await;
    let mut h2 = TestClient::h2(address).await;
    for (at, (deed, kind, message)) in DEEDS.iter().enumerate() {
        let before = upstream.requests().len();
        for client in [&mut h1, &mut h2] {
            let reply = client.get(&format!("/deny-{at}")).await;
            assert_eq!((reply.status, reply.text().contains("policy")), (500, true), "{deed}");
        }
        assert_eq!(upstream.requests().len(), before, "{deed}: it was let through");
        for client in [&mut h1, &mut h2] {
            assert_eq!(client.get(&format!("/allow-{at}")).await.text(), "app", "{deed}");
        }
        for mode in ["deny", "allow"] {
            let name = format!("{mode}-{at}");
            let line = fault(&gateway, &name).await;
            let field = |field: &str| line.text(field).unwrap_or_default().to_owned();
            let said = (field("hook"), field("route"), field("kind"), field("on_error"));
            let expected = ("on-request-head".to_owned(), name, (*kind).to_owned(), mode.to_owned());
            assert_eq!(said, expected, "{deed}: {}", line.message);
            assert!(line.message.contains(message), "{deed}: {}", line.message);
            assert_eq!((line.level.as_str(), field("trace_id").len()), ("ERROR", 32));
        }
        // The same connections and the same workers go on.
        for client in [&mut h1, &mut h2] {
            assert_eq!(client.get("/").await.text(), "app");
        }
    }
    let panic = fault(&gateway, "deny-2").await.message;
    assert!(panic.contains(" in ") && panic.contains("misbehave::act"), "no backtrace in {panic}");
}

#[tokio::test]
async fn a_fault_in_any_hook() {
    let upstream = TestUpstream::named("app").await;
    let mut policies = Vec::new();
    for hook in ["request-head", "request-body", "response-head", "response-body", "completed"] {
        for (mode, settings) in [("deny", ""), ("allow", "on-error = \"allow\"")] {
            let name = format!("{hook}-{mode}");
            policies.push((name.clone(), misbehave(&name, hook, "panic", settings)));
        }
    }
    let gateway = start(&routes(&upstream, &policies)).await;
    let address = gateway.address("web");
    for mut client in [TestClient::h1(address).await, TestClient::h2(address).await] {
        for (name, _) in &policies {
            let denied = name.ends_with("deny") && !name.starts_with("completed");
            let reply = client.send(Method::POST, &format!("/{name}"), &[], "hello").await;
            assert_eq!(reply.status, if denied { 500 } else { 200 }, "{name}");
            assert_eq!(reply.text() == "app", !denied, "{name}");
            let hook = name.rsplit_once('-').unwrap().0;
            let line = fault(&gateway, name).await;
            assert_eq!(line.text("hook"), Some(format!("on-{hook}").as_str()));
            assert!(line.message.contains(&format!("told to panic in {hook}")), "{}", line.message);
        }
    }
    for name in ["request-head-deny", "request-body-deny"] {
        assert!(!upstream.requests().iter().any(|received| received.path() == format!("/{name}")), "{name}");
    }
}

#[tokio::test]
async fn a_fault_is_explained_beside_what_other_policies_add() {
    let upstream = TestUpstream::named("app").await;
    let stamp = "[policies.stamp]\nplugin = \"builtin:headers\"\nconfig = { response = { set = { x-stamp = \"1\" } } }\n";
    for hook in ["request-head", "request-body", "response-head"] {
        let policies = format!("{stamp}{}", misbehave("bad", hook, "trap", ""));
        let gateway = start(&config(upstream.address(), &["stamp", "bad"], &policies)).await;
        let reply = TestClient::h2(gateway.address("web")).await.get("/").await;
        assert_eq!((reply.status, reply.header("x-stamp").as_str()), (500, "1"), "{hook}");
        assert!(reply.text().contains("a policy failed"), "{hook}: {}", reply.text());
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8", "{hook}");
    }
}

#[tokio::test]
async fn other_routes_go_on_meanwhile() {
    let upstream = TestUpstream::named("app").await;
    let looping = misbehave("bad", "request-head", "loop", "limits = { deadline = \"500ms\" }");
    // On the one worker that there is.
    let config = routes(&upstream, &[("bad".to_owned(), looping)]).replace("workers = 2", "workers = 1");
    let gateway = start(&config).await;
    let address = gateway.address("web");
    let mut disturbing = tokio::task::JoinSet::new();
    for _ in 0..3 {
        disturbing.spawn(async move {
            let mut client = TestClient::h2(address).await;
            assert_eq!(client.get("/bad").await.status, 500);
        });
    }
    let mut client = TestClient::h1(address).await;
    let mut asked = 0;
    while !disturbing.is_empty() {
        assert_eq!(client.get("/").await.text(), "app");
        asked += 1;
        while let Some(ended) = disturbing.try_join_next() {
            ended.unwrap();
        }
    }
    // Were they to wait for the loops, one or two would have got through.
    assert!(asked > 10, "{asked}");
}

#[tokio::test]
async fn a_plugin_that_fails_to_start_is_refused_with_the_config() {
    let upstream = TestUpstream::named("app").await;
    let with = |deed: &str| {
        let settings = format!(
            "limits = {{ configure-deadline = \"500ms\", memory = \"4MiB\" }}\nconfig = {{ configure = \"{deed}\" }}"
        );
        config(upstream.address(), &["bad"], &policy("bad", "misbehave", &settings))
    };
    let gateway = start(&with("next")).await;
    for (deed, expected) in [("panic", "told to panic in configure"), ("loop", "500ms"), ("memory", "memory")]
    {
        let refusal = gateway.write_config_and_expect_refusal(&with(deed)).await;
        for expected in ["`bad`", expected, "generation 1 is still running"] {
            assert!(refusal.contains(expected), "{deed}: no {expected:?} in {refusal}");
        }
    }
    assert_eq!(TestClient::h1(gateway.address("web")).await.get("/").await.text(), "app");
}

#[tokio::test]
async fn exchanges_at_the_same_time_have_instances_of_their_own() {
    let upstream = TestUpstream::named("app").await;
    // Long enough to overlap, on the one worker that there is.
    let work = misbehave("work", "request-head", "work 20000000", "limits = { deadline = \"10s\" }");
    let config = config(upstream.address(), &["work"], &work).replace("workers = 2", "workers = 1");
    let gateway = start(&config).await;
    let client = TestClient::h2(gateway.address("web")).await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut client = client.share();
        asking.spawn(async move { client.get("/").await.text() });
    }
    assert!(asking.join_all().await.iter().all(|text| text == "app"));
}

#[tokio::test]
async fn too_many_instances_at_once_are_a_fault_for_which_clients_come_again() {
    const ASKED: usize = 8;
    let answers = Arc::new(Semaphore::new(0));
    let waiting = answers.clone();
    let upstream = TestUpstream::streaming_h1(move |_| {
        let waiting = waiting.clone();
        async move {
            waiting.acquire().await.unwrap().forget();
            hyper::Response::new(Pieces::new().1.boxed())
        }
    })
    .await;
    let policy = misbehave("work", "request-head", "next", "quarantine = false");
    let config = config(upstream.address(), &["work"], &policy)
        .replace("workers = 2", "workers = 1\npolicy-instances-max = 3");
    let gateway = start(&config).await;
    let client = TestClient::h2(gateway.address("web")).await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..ASKED {
        let mut client = client.share();
        asking.spawn(async move { client.get("/").await.status });
    }
    // Some have an instance, which they keep until they have their answer.
    let mut refused = Vec::new();
    eventually("each waits for its answer or is refused", async || {
        while let Some(status) = asking.try_join_next() {
            refused.push(status.unwrap());
        }
        (upstream.requests().len() + refused.len() == ASKED).then_some(())
    })
    .await;
    assert!(refused.iter().all(|status| *status == 503), "{refused:?}");
    assert!((1..=3).contains(&(ASKED - refused.len())), "{refused:?}");
    let found = |line: &LogLine| line.text("kind") == Some("exhausted");
    let line = gateway.wait_for_log("an exhausted pool", found).await;
    assert_eq!(line.text("policy"), Some("work"));
    // When they have ended, with the hooks that hear of it, there is room again.
    answers.add_permits(1000);
    assert!(asking.join_all().await.iter().all(|status| *status == 200));
    let mut client = TestClient::h1(gateway.address("web")).await;
    eventually("an instance", async || (client.get("/afterwards").await.status == 200).then_some(())).await;
}

/// Kilobytes of a process that are in memory.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_thousand_faults_leave_no_memory_behind() {
    let upstream = TestUpstream::named("app").await;
    let deeds = ["trap", "memory", "body 5000", "panic"];
    let policies: Vec<_> = deeds
        .iter()
        .enumerate()
        .map(|(at, deed)| {
            // Each of them is to fail.
            let settings = format!("{LIMITS}quarantine = false");
            (format!("p{at}"), misbehave(&format!("p{at}"), "request-head", deed, &settings))
        })
        .collect();
    let gateway = start(&routes(&upstream, &policies)).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let mut fail = async |times: usize| {
        for at in 0..times {
            assert_eq!(client.get(&format!("/p{}", at % deeds.len())).await.status, 500);
        }
    };
    fail(200).await;
    let before = resident_kib(gateway.pid());
    fail(1000).await;
    // What is freed late is freed soon; an instance that stays would be 16 MiB each.
    eventually("memory is given back", async || {
        (resident_kib(gateway.pid()) < before + 16 * 1024).then_some(())
    })
    .await;
}

#[tokio::test]
async fn holding_too_much() {
    let upstream = TestUpstream::named("app").await;
    let limits = "limits = { body = \"64KiB\" }\n";
    let policies = [
        ("deny".to_owned(), misbehave("deny", "request-body", "hold", limits)),
        (
            "allow".to_owned(),
            misbehave("allow", "request-body", "hold", &format!("{limits}on-error = \"allow\"")),
        ),
    ];
    let gateway = start(&routes(&upstream, &policies)).await;
    let address = gateway.address("web");
    for mut client in [TestClient::h1(address).await, TestClient::h2(address).await] {
        // The last byte that is allowed, and the first that is not.
        let most = vec![b'x'; 64 * 1024];
        assert_eq!(client.send(Method::POST, "/deny", &[], most.clone()).await.status, 200);
        let more = [&most[..], b"y"].concat();
        let before = upstream.requests().len();
        assert_eq!(client.send(Method::POST, "/deny", &[], more.clone()).await.status, 413);
        assert_eq!(upstream.requests().len(), before, "nothing was let go");
        // What is too large to be judged does not go on unjudged.
        assert_eq!(client.send(Method::POST, "/allow", &[], more).await.status, 413);
        assert_eq!(upstream.requests().len(), before);
    }
    let made = record(&gateway, "/deny").await;
    assert_eq!(made["error"], serde_json::Value::Null, "the first one was let through");
}

#[tokio::test]
async fn a_route_bounds_what_its_policies_hold() {
    let upstream = TestUpstream::named("app").await;
    let text = config(upstream.address(), &["hold"], &misbehave("hold", "request-body", "hold", ""))
        .replace("[routes.all]\n", "[routes.all]\nlimits = { hold = \"1KiB\" }\n");
    let gateway = start(&text).await;
    let mut client = TestClient::h2(gateway.address("web")).await;
    assert_eq!(client.send(Method::POST, "/", &[], "x".repeat(20 * 1024)).await.status, 413);
    let error = record(&gateway, "/").await["error"].to_string();
    assert!(error.contains("1024 bytes") && error.contains("limits.hold"), "{error}");
}

#[tokio::test]
async fn edits_in_wrong_phases_change_nothing() {
    let upstream = TestUpstream::named("app").await;
    let text = config(upstream.address(), &["edits"], &policy("edits", "edits", ""));
    let gateway = start(&text).await;
    let address = gateway.address("web");
    for (protocol, mut client) in
        [("h1", TestClient::h1(address).await), ("h2", TestClient::h2(address).await)]
    {
        let path = format!("/{protocol}/request");
        client.get_with(&path, &[("x-edit", "request.append-header x-a value")]).await;
        // The hook of the body adds a line too: nothing of the body has been let go before it.
        assert_eq!(upstream.last_request().header("x-a"), "value, value");
        let made = record(&gateway, &path).await;
        for hook in ["request-head", "request-body"] {
            assert_eq!(attribute(&made, hook), "ok");
        }
        for hook in ["response-head", "response-body", "completed"] {
            assert!(attribute(&made, hook).contains("read-only"), "{hook}: {made}");
        }

        let path = format!("/{protocol}/response");
        let reply = client.get_with(&path, &[("x-edit", "response.append-header x-a value")]).await;
        assert_eq!(reply.header("x-a"), "value, value");
        let made = record(&gateway, &path).await;
        for hook in ["response-head", "response-body"] {
            assert_eq!(attribute(&made, hook), "ok");
        }
        for hook in ["request-head", "request-body", "completed"] {
            assert!(attribute(&made, hook).contains("read-only"), "{hook}: {made}");
        }
    }
}

#[tokio::test]
async fn a_plugin_gets_no_capability_that_was_not_granted() {
    let upstream = TestUpstream::named("app").await;
    let with =
        |grants: &str| config(upstream.address(), &["greedy"], &policy("greedy", "capabilities", grants));
    let failed = TestGateway::builder()
        .file("capabilities.wasm", portcullis_test_guests::CAPABILITIES)
        .try_start(&with("grants = { log = true }"))
        .await
        .unwrap_err();
    assert_eq!(failed.code, Some(1));
    for expected in ["`greedy`", "rate-limit", "portcullis.toml:"] {
        assert!(failed.stderr.contains(expected), "no {expected} in:\n{}", failed.stderr);
    }

    let all = &every_grant("token");
    let gateway = TestGateway::builder()
        .file("capabilities.wasm", portcullis_test_guests::CAPABILITIES)
        .file("token", "s3cret\n")
        .start(&with(all))
        .await;
    let refusal = gateway.write_config_and_expect_refusal(&with(&all.replace("clock = true, ", ""))).await;
    assert!(refusal.contains("clock") && refusal.contains("generation 1 is still running"), "{refusal}");
    let mut client = TestClient::h1(gateway.address("web")).await;
    assert_eq!(client.get_with("/", &[("x-do", "secret token")]).await.text(), "app");
    assert_eq!(attribute(&record(&gateway, "/").await, "result"), "s3cret");
}
