//! Policies that keep failing, and what is told of faults and of cost.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{LogLine, RawClient, TestClient, TestGateway, TestUpstream, eventually};
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

/// Asks for what fails until the policy is in quarantine.
async fn begin(gateway: &TestGateway, client: &mut TestClient, name: &str) {
    eventually("a quarantine", async || {
        assert_eq!(ask(client, &format!("/{name}"), "trap").await, 500);
        policy(gateway, name).await.get("quarantine").map(drop)
    })
    .await;
}

/// How many times the head's hook of a policy was called, from what the status says of it.
fn calls(told: &Value) -> u64 {
    let calls = told["calls"].as_array().unwrap();
    calls.iter().find(|calls| calls["hook"] == "on-request-head").unwrap()["count"].as_u64().unwrap()
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
async fn a_policy_that_keeps_failing_denies_without_being_called() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream, &[("closed", LONG)]).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    begin(&gateway, &mut client, "closed").await;
    let failed = calls(&policy(&gateway, "closed").await);
    // It would let these through.
    for _ in 0..20 {
        assert_eq!(ask(&mut client, "/closed", "next").await, 500);
    }
    let told = policy(&gateway, "closed").await;
    assert_eq!(calls(&told), failed, "{told}");
    assert!(told["quarantine"]["next_probe_s"].as_f64().unwrap() > 3000.0, "{told}");
    assert_eq!(told["last_fault"]["kind"], "trap");
    assert!(told["last_fault"]["message"].as_str().unwrap().contains("unreachable"), "{told}");
    let faults = told["faults"].as_array().unwrap();
    let of = |fault: &&Value| fault["kind"] == "quarantined" && fault["hook"] == "on-request-head";
    assert!(faults.iter().find(of).unwrap()["count"].as_u64().unwrap() >= 20, "{told}");
    // The log is written behind a queue.
    gateway
        .wait_for_log("that it began", |line| line.message.starts_with("the policy is in quarantine"))
        .await;
    let log = gateway.log();
    assert!(lines(&log, "closed", "policy fault").len() as u64 <= failed, "none for what was refused");
    assert_eq!(lines(&log, "closed", "the policy is in quarantine").len(), 1);
    let metrics = metrics(&gateway).await;
    for line in [
        "portcullis_policy_quarantined{policy=\"closed\"} 1",
        "portcullis_policy_quarantine_transitions_total{policy=\"closed\",transition=\"begun\"} 1",
    ] {
        assert!(metrics.lines().any(|written| written == line), "no `{line}` in:\n{metrics}");
    }
    assert!(upstream.requests().is_empty(), "nothing passed beside it");
    let made = record(&gateway, "/closed").await;
    assert!(made["error"].as_str().unwrap().contains("policy `closed` failed in on-request-head"), "{made}");
    // The route without a policy goes on.
    assert_eq!(client.get("/").await.text(), "app");
}

/// For longer than anything that is counted in the tests of attacks.
const ATTACK: Duration = Duration::from_secs(3);

/// Faults that a client can cause, in a window in which a second is half.
const ATTACKED: &str = "limits = { deadline = \"20ms\", wall = \"60s\", memory = \"4MiB\", body = \"4KiB\" }\n\
                        quarantine = { faults = 3, window = \"2s\", backoff = \"1h\", backoff-max = \"1h\" }\n";

/// So many requests at once for what fails, on one connection.
fn pipelined(path: &str, deed: &str, times: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nX-Deed: {deed}\r\nContent-Length: 1\r\n\r\nx").repeat(times)
}

#[tokio::test]
async fn a_client_that_makes_a_policy_fail_does_not_turn_it_off_for_others() {
    let upstream = TestUpstream::named("app").await;
    let mut more = String::new();
    let hooks = ["request-head", "request-body", "response-head", "response-body", "completed"];
    for hook in hooks {
        more.push_str(&misbehave(hook, hook, "asked", ATTACKED));
        more.push_str(&format!(
            "[routes.{hook}]\nmatch = {{ path = \"/{hook}\" }}\nuse = [\"{hook}\"]\nto = \"app\"\n"
        ));
    }
    let gateway = TestGateway::builder()
        .file("misbehave.wasm", portcullis_test_guests::MISBEHAVE)
        .start(&config(upstream.address(), &[], &more))
        .await;
    let address = gateway.address("web");
    let mut attacks = tokio::task::JoinSet::new();
    for hook in hooks {
        // One that sends all at once, and some that send little now and then.
        for (last, deed, burst) in [(2, "trap", 6), (3, "loop", 1), (4, "memory", 1), (5, "body 5000", 2)] {
            attacks.spawn(async move {
                let (begun, mut every) = (Instant::now(), tokio::time::interval(Duration::from_millis(50)));
                while begun.elapsed() < ATTACK {
                    let from = Ipv4Addr::new(127, 0, 0, last);
                    let mut client = RawClient::connect_from(from, address).await;
                    drop(client.try_send(pipelined(&format!("/{hook}"), deed, burst)).await);
                    client.read_head().await;
                    every.tick().await;
                }
            });
        }
    }
    let (mut client, mut asked) = (TestClient::h1(address).await, 0);
    while !attacks.is_empty() {
        for hook in hooks {
            let deed = [("x-deed", "next")];
            let reply = client.send(hyper::Method::POST, &format!("/{hook}"), &deed, "body").await;
            assert_eq!((reply.status, reply.text()), (200, "app".to_owned()), "{hook}, after {asked}");
            asked += 1;
        }
        while let Some(ended) = attacks.try_join_next() {
            ended.unwrap();
        }
    }
    assert!(asked > 0);
}

#[tokio::test]
async fn nor_for_those_behind_the_same_address() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream, &[("shared", LONG)]).await;
    let address = gateway.address("web");
    let mut client = TestClient::h1(address).await;
    assert_eq!(ask(&mut client, "/shared", "next").await, 200);
    let begun = Instant::now();
    while begun.elapsed() < ATTACK {
        let mut attacker = RawClient::connect(address).await;
        attacker.send(pipelined("/shared", "trap", 6)).await;
        assert_eq!(attacker.read_response().await.status, 500);
        assert_eq!(ask(&mut client, "/shared", "next").await, 200);
    }
    assert_eq!(policy(&gateway, "shared").await.get("quarantine"), None);
}

#[tokio::test]
async fn a_client_for_whom_it_did_not_fail_is_let_through_by_the_address_that_a_proxy_told() {
    let upstream = TestUpstream::named("app").await;
    let text = routes(&upstream, &[("bad", LONG)], "asked")
        .replace("[server]\n", "[server]\ntrusted-proxies = [\"127.0.0.1\"]\n");
    let gateway =
        TestGateway::builder().file("misbehave.wasm", portcullis_test_guests::MISBEHAVE).start(&text).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let mut from = async |client_address: &str, deed: &str| {
        client.get_with("/bad", &[("x-forwarded-for", client_address), ("x-deed", deed)]).await.status
    };
    eventually("a quarantine", async || {
        assert_eq!(from("192.0.2.1", "trap").await, 500);
        policy(&gateway, "bad").await.get("quarantine").map(drop)
    })
    .await;
    assert_eq!(from("192.0.2.1", "next").await, 500);
    assert_eq!(from("192.0.2.2", "next").await, 200);
    assert_eq!(from("192.0.2.1", "next").await, 200, "with that it is over");
}

#[tokio::test]
async fn a_filter_that_fails_open_is_not_got_around_by_making_it_fail() {
    let upstream = TestUpstream::named("app").await;
    let allow = format!("{LONG}on-error = \"allow\"\n");
    let gateway = start(&upstream, &[("open", &allow)]).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let begun = Instant::now();
    while begun.elapsed() < ATTACK {
        for _ in 0..6 {
            assert_eq!(ask(&mut client, "/open", "trap").await, 200);
        }
        // Nothing else ever succeeds, and it is asked all the same.
        assert_eq!(ask(&mut client, "/open", "panic").await, 200);
    }
    let before = upstream.requests().len();
    for _ in 0..5 {
        assert_eq!(ask(&mut client, "/open", "status 403").await, 403);
    }
    assert_eq!(upstream.requests().len(), before);
    assert_eq!(policy(&gateway, "open").await.get("quarantine"), None);
}

#[tokio::test]
async fn a_probe_that_succeeds_ends_it() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream, &[("bad", SHORT)]).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    eventually("a quarantine", async || {
        assert_eq!(ask(&mut client, "/bad", "trap").await, 500);
        gateway.log().iter().any(|line| line.text("state") == Some("begun")).then_some(())
    })
    .await;
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
    for name in ["bad", "other"] {
        begin(&gateway, &mut client, name).await;
        assert_eq!(ask(&mut client, &format!("/{name}"), "next").await, 500);
    }
    // A reload that changes one of them leaves the other unchanged.
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
    let statuses = asking.join_all().await;
    assert!(statuses.iter().all(|status| matches!(status, 500 | 503)), "{statuses:?}");
    let found = |line: &LogLine| matches!(line.text("kind"), Some("timeout" | "exhausted"));
    let line = gateway.wait_for_log("a call that took too long", found).await;
    // If other programs had the cores for more than half of the time, it is the machine that is too busy.
    let expected = if statuses.contains(&500) { "longer than the 400ms" } else { "the machine is too busy" };
    gateway.wait_for_log(expected, |line| line.message.contains(expected)).await;
    assert!(line.message.contains("the 400ms that a call of it may"), "{}", line.message);
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
