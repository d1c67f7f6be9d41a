//! Policies that keep failing, and what is told of faults and of cost.

use serde_json::Value;

use crate::harness::{LogLine, TestClient, TestGateway, TestUpstream, eventually};
use crate::setup::{config, misbehave, record};
use crate::status::json;

/// Never ends by itself within a test.
const LONG: &str = "quarantine = { faults = 3, window = \"1h\", backoff = \"1h\", backoff-max = \"1h\" }\n";
/// Ends as soon as a probe succeeds.
const SHORT: &str = "quarantine = { faults = 3, window = \"1h\", backoff = \"50ms\" }\n";

/// A gateway with a route `/NAME` for each of these policies, which do what requests ask for by `x-deed`.
async fn start(upstream: &TestUpstream, policies: &[(&str, &str)]) -> TestGateway {
    TestGateway::builder()
        .file("misbehave.wasm", portcullis_test_guests::MISBEHAVE)
        .start(&routes(upstream, policies, "asked"))
        .await
}

fn routes(upstream: &TestUpstream, policies: &[(&str, &str)], deed: &str) -> String {
    let mut more = String::new();
    for (name, settings) in policies {
        more.push_str(&misbehave(name, "request-head", deed, settings));
        more.push_str(&format!(
            "[routes.{name}]\nmatch = {{ path = \"/{name}\" }}\nuse = [\"{name}\"]\nto = \"app\"\n"
        ));
    }
    config(upstream.address(), &[], &more).replace("[server]\n", "[server]\nmetrics = \"127.0.0.1:0\"\n")
}

async fn ask(client: &mut TestClient, path: &str, deed: &str) -> u16 {
    client.get_with(path, &[("x-deed", deed)]).await.status
}

/// What the status says of a policy.
async fn policy(gateway: &TestGateway, name: &str) -> Value {
    let told = json(gateway).await;
    let policies = told["policies"].as_array().unwrap();
    policies.iter().find(|policy| policy["name"] == name).unwrap().clone()
}

fn lines<'l>(log: &'l [LogLine], policy: &str, begin: &str) -> Vec<&'l LogLine> {
    let of = |line: &&LogLine| line.text("policy") == Some(policy) && line.message.starts_with(begin);
    log.iter().filter(of).collect()
}

async fn metrics(gateway: &TestGateway) -> String {
    let log = gateway.log();
    let line = log.iter().find(|line| line.text("event") == Some("metrics")).expect("the log says where");
    let address = line.text("address").unwrap().parse().unwrap();
    TestClient::h1(address).await.get("/metrics").await.text()
}

#[tokio::test]
async fn a_policy_that_keeps_failing_denies_or_allows_without_being_called() {
    let upstream = TestUpstream::named("app").await;
    let allow = format!("{LONG}on-error = \"allow\"\n");
    let gateway = start(&upstream, &[("closed", LONG), ("open", &allow)]).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    for (name, status) in [("closed", 500), ("open", 200)] {
        let path = format!("/{name}");
        for _ in 0..3 {
            assert_eq!(ask(&mut client, &path, "trap").await, status);
        }
        // It would let these through, and add nothing.
        for _ in 0..20 {
            assert_eq!(ask(&mut client, &path, "next").await, status);
        }
        let told = policy(&gateway, name).await;
        let heads = told["calls"].as_array().unwrap().iter().find(|calls| calls["hook"] == "on-request-head");
        assert_eq!(heads.unwrap()["count"], 3, "{told}");
        assert!(told["quarantine"]["next_probe_s"].as_f64().unwrap() > 3000.0, "{told}");
        assert_eq!(told["last_fault"]["kind"], "trap");
        assert!(told["last_fault"]["message"].as_str().unwrap().contains("unreachable"), "{told}");
        let faults = told["faults"].as_array().unwrap();
        let of = |fault: &&Value| fault["kind"] == "quarantined" && fault["hook"] == "on-request-head";
        let refused = faults.iter().find(of).unwrap();
        assert_eq!(refused["count"], 20);
        let log = gateway.log();
        assert_eq!(lines(&log, name, "policy fault").len(), 3, "none for what was refused");
        assert_eq!(lines(&log, name, "the policy is in quarantine").len(), 1);
        let metrics = metrics(&gateway).await;
        for line in [
            format!("portcullis_policy_quarantined{{policy=\"{name}\"}} 1"),
            format!(
                "portcullis_policy_quarantine_transitions_total{{policy=\"{name}\",transition=\"begun\"}} 1"
            ),
        ] {
            assert!(metrics.lines().any(|written| written == line), "no `{line}` in:\n{metrics}");
        }
    }
    let seen = upstream.requests();
    assert!(seen.iter().all(|request| request.path() == "/open"), "nothing passed beside the closed one");
    let made = record(&gateway, "/closed").await;
    assert!(made["error"].as_str().unwrap().contains("policy `closed` failed in on-request-head"), "{made}");
    // The route without a policy goes on.
    assert_eq!(client.get("/").await.text(), "app");
}

#[tokio::test]
async fn a_probe_that_succeeds_ends_it() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream, &[("bad", SHORT)]).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    for _ in 0..3 {
        assert_eq!(ask(&mut client, "/bad", "trap").await, 500);
    }
    eventually("a probe succeeds", async || (ask(&mut client, "/bad", "next").await == 200).then_some(()))
        .await;
    assert_eq!(ask(&mut client, "/bad", "next").await, 200);
    assert_eq!(policy(&gateway, "bad").await.get("quarantine"), None);
    let ended = |line: &LogLine| line.text("state") == Some("ended") && line.text("policy") == Some("bad");
    gateway.wait_for_log("the end of the quarantine", ended).await;
}

#[tokio::test]
async fn a_policy_that_was_mended_is_called_at_once() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream, &[("bad", LONG), ("other", LONG)]).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    for path in ["/bad", "/other"] {
        for _ in 0..3 {
            assert_eq!(ask(&mut client, path, "trap").await, 500);
        }
        assert_eq!(ask(&mut client, path, "next").await, 500);
    }
    // A reload that changes one of them leaves the other where it is.
    let mended = routes(&upstream, &[("bad", LONG), ("other", LONG)], "asked").replacen(
        "request-head = \"asked\"",
        "request-head = \"next\"",
        1,
    );
    gateway.write_config_and_wait(&mended).await;
    assert_eq!(ask(&mut client, "/bad", "next").await, 200);
    assert_eq!(ask(&mut client, "/other", "next").await, 500);
    assert_eq!(policy(&gateway, "bad").await.get("quarantine"), None);
    assert!(policy(&gateway, "other").await.get("quarantine").is_some());
}

#[tokio::test]
async fn a_flood_of_faults_is_not_a_flood_of_lines() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream, &[("bad", "quarantine = false\n")]).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let mut faults = 0;
    // Those that were left out are told with the next one that is not.
    let untold = eventually("lines were left out", async || {
        assert_eq!(ask(&mut client, "/bad", "trap").await, 500);
        faults += 1;
        lines(&gateway.log(), "bad", "policy fault").iter().find_map(|line| line.number("untold"))
    })
    .await;
    let told = lines(&gateway.log(), "bad", "policy fault").len() as u64;
    assert!(untold > 0 && told + untold <= faults && told < faults, "{told} + {untold} of {faults}");
    let counted = &policy(&gateway, "bad").await["faults"][0]["count"];
    assert_eq!(counted.as_u64(), Some(faults), "all are counted");
}

#[tokio::test]
async fn tells_what_policies_cost_by_route_and_in_the_record() {
    let upstream = TestUpstream::named("app").await;
    let limits = "limits = { deadline = \"5s\" }\n";
    let gateway = start(&upstream, &[("busy", limits), ("idle", limits)]).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    assert_eq!(ask(&mut client, "/busy", "work 5000000").await, 200);
    assert_eq!(ask(&mut client, "/idle", "next").await, 200);
    let made = record(&gateway, "/busy").await;
    let (all, one) = (&made["policy_cpu_ns"], &made["policies"][0]);
    assert_eq!((&one["name"], all), (&"busy".into(), &one["cpu_ns"]));
    let calls = one["calls"].as_u64().unwrap();
    assert!(calls >= 1, "{made}");
    assert!(all.as_u64().unwrap() > 1_000_000, "5,000,000 steps in less than a millisecond: {made}");
    assert!(one["memory_bytes"].as_u64().unwrap() >= 1 << 20, "{made}");
    // The root has no policy.
    client.get("/").await;
    assert_eq!(record(&gateway, "/").await.get("policy_cpu_ns"), None);

    let text = metrics(&gateway).await;
    let value = |name: &str, route: &str| -> f64 {
        let begin = format!("portcullis_route_policy_{name}{{route=\"{route}\",policy=\"{route}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&begin));
        line.unwrap_or_else(|| panic!("no {begin} in:\n{text}")).parse().unwrap()
    };
    assert_eq!(value("calls_total", "busy"), calls as f64);
    assert_eq!(value("faults_total", "busy"), 0.0);
    assert!(value("cpu_seconds_total", "busy") > value("cpu_seconds_total", "idle"));
    assert!(value("memory_bytes_max", "busy") >= f64::from(1 << 20));
    let told = policy(&gateway, "busy").await;
    assert!(told["cpu_s"].as_f64().unwrap() > 0.001, "{told}");
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_a_timeout() {
    let upstream = TestUpstream::named("app").await;
    // Eight at once on one worker: none comes to its deadline in time.
    let limits = "limits = { deadline = \"300ms\", wall = \"400ms\" }\nquarantine = false\n";
    let text = routes(&upstream, &[("slow", limits)], "asked").replace("workers = 2", "workers = 1");
    let gateway =
        TestGateway::builder().file("misbehave.wasm", portcullis_test_guests::MISBEHAVE).start(&text).await;
    let client = TestClient::h2(gateway.address("web")).await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut client = client.share();
        asking.spawn(async move { ask(&mut client, "/slow", "loop").await });
    }
    assert!(asking.join_all().await.iter().all(|status| *status == 500));
    let found = |line: &LogLine| line.text("kind") == Some("timeout");
    let line = gateway.wait_for_log("a timeout", found).await;
    assert!(line.message.contains("longer than the 400ms"), "{}", line.message);
}

#[tokio::test]
async fn bounds_that_cannot_do_are_refused() {
    let upstream = TestUpstream::named("app").await;
    let with = |settings: &str, server: &str| {
        routes(&upstream, &[("p", settings)], "next")
            .replace("workers = 2", &format!("workers = 2\n{server}"))
    };
    let builder = || TestGateway::builder().file("misbehave.wasm", portcullis_test_guests::MISBEHAVE);
    let worker = "isolation = \"worker\"\nlimits = { instances = 1 }";
    let failed = builder().try_start(&with(worker, "")).await.unwrap_err();
    assert_eq!(failed.code, Some(1));
    for expected in ["policy `p` may have 1 instances", "portcullis.toml:", "instances = 2"] {
        assert!(failed.stderr.contains(expected), "no {expected} in:\n{}", failed.stderr);
    }
    assert!(builder().try_start(&with(&worker.replace('1', "2"), "")).await.is_ok());
    let failed = builder().try_start(&with("", "policy-memory-max = \"1MiB\"")).await.unwrap_err();
    for expected in ["`p`", "exhausted", "server.policy-memory-max"] {
        assert!(failed.stderr.contains(expected), "no {expected} in:\n{}", failed.stderr);
    }
}
