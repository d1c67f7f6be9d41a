//! Another version of a policy takes a part of the exchanges, or runs beside the active one.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::Value;

use crate::harness::{
    Answer, LogLine, Ran, Received, TestClient, TestGateway, TestUpstream, eventually, portcullis_in,
};
use crate::setup::{PASSWORD, attribute, config, every_grant, policy, record};

const V1: &[u8] = portcullis_test_guests::VERSION_1;
const V2: &[u8] = portcullis_test_guests::VERSION_2;

/// Tells what the policies did to the request.
fn echo(request: &Received) -> Answer {
    Answer::text("app").header("x-request-version", &request.header("x-version"))
}

/// The policy `version`, with version 2 of its plugin tried as `tried` says.
fn versions(tried: &str) -> String {
    policy("version", "v1", tried)
}

/// With every guest of these tests at hand, and metrics.
async fn start(config: &str) -> TestGateway {
    TestGateway::builder()
        .file("v1.wasm", V1)
        .file("v2.wasm", V2)
        .file("misbehave.wasm", portcullis_test_guests::MISBEHAVE)
        .file("plain.wasm", portcullis_test_guests::PLAIN)
        .start(&measured(config))
        .await
}

/// The same config with metrics.
pub(crate) fn measured(config: &str) -> String {
    config.replace("[server]\n", "[server]\nmetrics = \"127.0.0.1:0\"\n")
}

async fn metrics(gateway: &TestGateway) -> String {
    let log = gateway.log();
    let line = log.iter().find(|line| line.text("event") == Some("metrics")).expect("the log says where");
    TestClient::h1(line.text("address").unwrap().parse().unwrap()).await.get("/metrics").await.text()
}

/// The value of a metric, by its name and labels as they are written; 0 if there is none.
pub(crate) async fn metric(gateway: &TestGateway, name: &str) -> f64 {
    let text = metrics(gateway).await;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

async fn both(gateway: &TestGateway) -> [TestClient; 2] {
    let address = gateway.address("web");
    [TestClient::h1(address).await, TestClient::h2(address).await]
}

fn traceparent(id: u32) -> String {
    format!("00-{:032x}-00f067aa0ba902b7-01", u128::from(id) + 1)
}

#[tokio::test]
async fn a_share_takes_the_canary_for_whole_exchanges() {
    let upstream = TestUpstream::h1(echo).await;
    let tried = "canary = { plugin = \"v2.wasm\", share = \"50%\" }";
    let gateway = start(&config(upstream.address(), &["version"], &versions(tried))).await;
    let mut seen = BTreeSet::new();
    for mut client in both(&gateway).await {
        for id in 0..100 {
            let (id, mut first) = (traceparent(id), None);
            // The same trace takes the same version, on whichever worker and however often.
            for _ in 0..2 {
                let reply = client.get_with("/", &[("traceparent", &id)]).await;
                let version = reply.header("x-version");
                assert_eq!(version, reply.header("x-request-version"), "one version for both heads");
                assert_eq!(*first.get_or_insert(version.clone()), version);
                seen.insert(version);
            }
        }
    }
    // That all of a hundred traces fall on one side happens once in 10^30 times.
    assert_eq!(seen, BTreeSet::from(["v1".to_owned(), "v2".to_owned()]));
    let count = async |version: &str| {
        metric(
            &gateway,
            &format!("portcullis_rollout_exchanges_total{{policy=\"version\",version=\"{version}\"}}"),
        )
        .await
    };
    let (active, canary) = (count("active").await, count("canary").await);
    assert!((active + canary - 400.0).abs() < 0.5 && active > 0.0 && canary > 0.0, "{active} {canary}");
}

#[tokio::test]
async fn a_match_takes_those_who_ask_for_it() {
    let upstream = TestUpstream::h1(echo).await;
    let tried = "canary = { plugin = \"v2.wasm\", match = { headers = { x-canary = \"yes\" } } }";
    let gateway = start(&config(upstream.address(), &["version"], &versions(tried))).await;
    for mut client in both(&gateway).await {
        for (fields, expected) in
            [(&[("x-canary", "yes")][..], "v2"), (&[("x-canary", "no")], "v1"), (&[], "v1")]
        {
            let reply = client.get_with("/", fields).await;
            assert_eq!(
                (reply.header("x-version"), reply.header("x-request-version")),
                (expected.into(), expected.into())
            );
        }
    }
}

/// Who asks for the canary.
const ASKING: &[(&str, &str)] = &[("x-canary", "1")];

/// A policy that does nothing, and its canary for those who ask, which does this in `on-request-head`.
fn misbehaving(deed: &str, settings: &str) -> String {
    let canary = format!(
        "canary = {{ plugin = \"misbehave.wasm\", match = {{ headers = {{ x-canary = true }} }}, config = {{ request-head = \"{deed}\" }}, {settings} }}"
    );
    policy("tried", "plain", &canary)
}

async fn aborted(gateway: &TestGateway) -> LogLine {
    let event = |line: &LogLine| line.text("event") == Some("rollout-aborted");
    gateway.wait_for_log("the canary is taken back", event).await
}

#[tokio::test]
async fn a_canary_that_fails_is_taken_back() {
    let upstream = TestUpstream::named("app").await;
    let text = config(upstream.address(), &["tried"], &misbehaving("panic", "abort = { faults = 3 }"));
    let gateway = start(&text).await;
    let [mut h1, mut h2] = both(&gateway).await;
    for at in 0..3 {
        let client = if at == 1 { &mut h2 } else { &mut h1 };
        assert_eq!(client.get("/").await.status, 200, "the others do not notice");
        assert_eq!(client.get_with("/", ASKING).await.status, 500);
    }
    for client in [&mut h1, &mut h2] {
        assert_eq!(client.get_with("/", ASKING).await.text(), "app", "it is over at the third");
    }
    let line = aborted(&gateway).await;
    assert_eq!(
        (line.level.as_str(), line.text("policy"), line.number("faulted")),
        ("ERROR", Some("tried"), Some(3))
    );
    for expected in ["3 of its last 3 exchanges had a fault", "plain.wasm again"] {
        assert!(line.message.contains(expected), "no {expected} in {}", line.message);
    }
    let fault = gateway.wait_for_log("the fault", |line| line.message.starts_with("policy fault")).await;
    assert!(fault.message.contains("in its canary"), "{}", fault.message);
    let state = "portcullis_rollout_state{policy=\"tried\",version=\"canary\",state=\"aborted\"}";
    assert!((metric(&gateway, state).await - 1.0).abs() < 0.1);
    let faults = "portcullis_rollout_faults_total{policy=\"tried\",version=\"canary\",kind=\"trap\"}";
    assert!((metric(&gateway, faults).await - 3.0).abs() < 0.1);
    assert_eq!(gateway.log().iter().filter(|line| line.text("event") == Some("rollout-aborted")).count(), 1);

    // A reload that changes nothing of the rollout leaves it so, and one that does begins anew.
    let more = "[routes.more]\nmatch = { path = \"/more\" }\nuse = [\"tried\"]\nto = \"app\"\n";
    gateway.write_config_and_wait(&measured(&format!("{text}{more}"))).await;
    assert_eq!(h1.get_with("/more", ASKING).await.status, 200);
    let deny = text.replace(
        "plugin = \"plain.wasm\"",
        "plugin = \"plain.wasm\"\non-error = \"deny\"\nlimits = { memory = \"8MiB\" }",
    );
    gateway.write_config_and_wait(&measured(&deny.replace("faults = 3", "faults = 4"))).await;
    for _ in 0..4 {
        assert_eq!(h1.get_with("/", ASKING).await.status, 500);
    }
    assert_eq!(h1.get_with("/", ASKING).await.status, 200);
}

#[tokio::test]
async fn a_canary_that_is_dear_is_taken_back() {
    let upstream = TestUpstream::named("app").await;
    // One runs as a plain call, one on fibers, and one so long that it is called beside the worker.
    for (deadline, work, bound) in
        [("10ms", 200_000, "20us"), ("2s", 200_000, "20us"), ("2s", 20_000_000, "1ms")]
    {
        let settings = format!(
            "limits = {{ deadline = \"{deadline}\" }}, abort = {{ cpu = \"{bound}\", faults = \"100%\", window = 10 }}"
        );
        let tried = misbehaving(&format!("work {work}"), &settings);
        let gateway = start(&config(upstream.address(), &["tried"], &tried)).await;
        let mut client = TestClient::h1(gateway.address("web")).await;
        for _ in 0..11 {
            assert_eq!(client.get_with("/", ASKING).await.status, 200);
        }
        let line = aborted(&gateway).await;
        assert!(line.message.contains("CPU time") && line.message.contains("abort.cpu"), "{}", line.message);
    }
}

#[tokio::test]
async fn instances_of_a_canary_that_was_taken_back_are_freed() {
    let upstream = TestUpstream::named("app").await;
    // Instances that wait for exchanges: those of `isolation = "exchange"` end with theirs.
    let tried = misbehaving("panic", "abort = { faults = 1 }") + "isolation = \"worker\"\n";
    let gateway = start(&config(upstream.address(), &["tried"], &tried)).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.extend(both(&gateway).await);
    }
    // Whichever workers they are on: both versions have instances on both.
    for client in &mut clients {
        assert_eq!(client.get("/").await.status, 200);
    }
    let instances = async || metric(&gateway, "portcullis_policy_instances").await;
    assert!(instances().await >= 3.0, "{}", instances().await);
    assert_eq!(clients[0].get_with("/", ASKING).await.status, 500);
    aborted(&gateway).await;
    eventually("only those of the active version are left", async || (instances().await < 2.5).then_some(()))
        .await;
    for client in &mut clients {
        assert_eq!(client.get_with("/", ASKING).await.status, 200);
    }
}

#[tokio::test]
async fn a_shadow_has_no_effect_and_its_differences_are_counted() {
    let upstream = TestUpstream::h1(echo).await;
    let gateway =
        start(&config(upstream.address(), &["version"], &versions("shadow = { plugin = \"v2.wasm\" }")))
            .await;
    for mut client in both(&gateway).await {
        for _ in 0..10 {
            let reply = client.send(Method::POST, "/", &[], "body").await;
            assert_eq!(
                (reply.header("x-version"), reply.header("x-request-version")),
                ("v1".into(), "v1".into())
            );
        }
    }
    for kind in ["request-field", "response-field"] {
        let name = format!("portcullis_rollout_differences_total{{policy=\"version\",kind=\"{kind}\"}}");
        eventually("each exchange is compared", async || {
            ((metric(&gateway, &name).await - 20.0).abs() < 0.1).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_shadow_sees_bodies_that_the_active_version_sees() {
    let upstream =
        TestUpstream::h1(|request: &Received| Answer::text(String::from_utf8_lossy(&request.body))).await;
    let other = "shadow = { plugin = \"misbehave.wasm\", config = { request-body = \"replace 3\" } }";
    let settings = format!("config = {{ request-body = \"hold\" }}\n{other}");
    let gateway =
        start(&config(upstream.address(), &["bodies"], &policy("bodies", "misbehave", &settings))).await;
    for mut client in both(&gateway).await {
        assert_eq!(client.send(Method::POST, "/", &[], "a body").await.text(), "a body");
    }
    let count = async |kind: &str| {
        let name = format!("portcullis_rollout_differences_total{{policy=\"bodies\",kind=\"{kind}\"}}");
        metric(&gateway, &name).await
    };
    eventually("both bodies are compared", async || {
        ((count("request-body").await - 2.0).abs() < 0.1).then_some(())
    })
    .await;
    let told = told(&gateway, "bodies").await;
    let difference = &told["comparison"]["samples"][0]["differences"][0];
    assert_eq!((&difference["kind"], &difference["active"]), (&"request-body".into(), &"6 bytes".into()));
    assert_eq!(told["comparison"]["left_behind"], 0);
    assert_eq!(told["comparison"]["kinds"], serde_json::json!({ "request-body": 2 }));
}

/// Tells how the request's body was framed, and answers with it.
fn framed(request: &Received) -> Answer {
    let framing = format!("{} {}", request.header("content-length"), request.header("transfer-encoding"));
    Answer::text(String::from_utf8_lossy(&request.body)).header("x-framing", framing.trim())
}

#[tokio::test]
async fn a_shadow_sees_bodies_for_which_the_active_version_has_no_hook() {
    let upstream = TestUpstream::h1(framed).await;
    for (deed, side, differing) in [
        ("request-body = \"replace 3\"", "request-body", true),
        ("response-body = \"replace 3\"", "response-body", true),
        ("request-body = \"hold\", response-body = \"hold\"", "response-body", false),
    ] {
        let shadow = format!("shadow = {{ plugin = \"misbehave.wasm\", config = {{ {deed} }} }}");
        let gateway =
            start(&config(upstream.address(), &["bodies"], &policy("bodies", "plain", &shadow))).await;
        for mut client in both(&gateway).await {
            let reply = client.send(Method::POST, "/", &[], "a body").await;
            assert_eq!((reply.status, reply.text()), (200, "a body".to_owned()));
            // Framed as they came, and not as what passes through policies is.
            assert_eq!((reply.header("x-framing"), reply.header("content-length")), ("6".into(), "6".into()));
            assert_eq!(client.get("/empty").await.text(), "");
        }
        let kinds = if differing { serde_json::json!({ side: 4 }) } else { serde_json::json!({}) };
        eventually("all is compared", async || {
            let comparison = &told(&gateway, "bodies").await["comparison"];
            // In each of four exchanges three hooks of heads and ends, and both bodies, in a piece or in two.
            (comparison["compared"].as_u64()? >= 20 && comparison["kinds"] == kinds).then_some(())
        })
        .await;
        let told = told(&gateway, "bodies").await;
        assert_eq!(told["comparison"]["left_behind"], 0);
    }
}

#[tokio::test]
async fn a_long_body_passes_beside_a_shadow_as_it_came() {
    let upstream = TestUpstream::h1(framed).await;
    let shadow = "shadow = { plugin = \"misbehave.wasm\", config = { request-body = \"hold\", response-body = \"replace 1\" } }";
    let gateway = start(&config(upstream.address(), &["bodies"], &policy("bodies", "plain", shadow))).await;
    let body: String = (0..500_000).map(|number| format!("{number:07}\n")).collect();
    for mut client in both(&gateway).await {
        let reply = client.send(Method::POST, "/", &[], body.clone()).await;
        assert_eq!(reply.header("x-framing"), body.len().to_string());
        assert!(reply.text() == body, "the client gets what it sent");
    }
}

#[tokio::test]
async fn a_shadow_that_fails_or_loops_over_a_body_keeps_nobody_waiting() {
    let upstream = TestUpstream::h1(framed).await;
    for hook in ["request-body", "response-body"] {
        for (deed, kind) in [("panic", "trap"), ("memory", "memory"), ("loop", "deadline")] {
            let shadow = format!(
                "shadow = {{ plugin = \"misbehave.wasm\", config = {{ {hook} = \"{deed}\" }}, \
                 limits = {{ memory = \"4MiB\", deadline = \"1s\", wall = \"5m\" }} }}"
            );
            let gateway =
                start(&config(upstream.address(), &["bodies"], &policy("bodies", "plain", &shadow))).await;
            let name = format!(
                "portcullis_rollout_faults_total{{policy=\"bodies\",version=\"shadow\",kind=\"{kind}\"}}"
            );
            for (at, mut client) in both(&gateway).await.into_iter().enumerate() {
                let reply = client.send(Method::POST, "/", &[], "a body").await;
                assert_eq!((reply.status, reply.text()), (200, "a body".to_owned()), "{hook} {deed}");
                if deed == "loop" {
                    // It has a second of CPU time, and the client has its answer before that is over.
                    assert!(
                        metric(&gateway, &name).await < at as f64 + 0.5,
                        "{hook}: the client had to wait"
                    );
                }
                eventually("it has failed", async || {
                    ((metric(&gateway, &name).await - (at as f64 + 1.0)).abs() < 0.1).then_some(())
                })
                .await;
            }
        }
    }
}

#[tokio::test]
async fn requests_that_a_shadow_is_refused_are_counted() {
    let upstream = TestUpstream::named("app").await;
    let shadow = "shadow = { plugin = \"capabilities.wasm\", limits = { memory = \"8MiB\" } }\n";
    let asks = policy("asks", "capabilities", &format!("{shadow}{}", every_grant(PASSWORD.0)));
    let gateway = TestGateway::builder()
        .file("capabilities.wasm", portcullis_test_guests::CAPABILITIES)
        .file(PASSWORD.0, PASSWORD.1)
        .start(&measured(&config(upstream.address(), &["asks"], &asks)))
        .await;
    let refused = "portcullis_rollout_refused_requests_total{policy=\"asks\"}";
    assert!(metrics(&gateway).await.contains(&format!("{refused} 0")));
    assert!(!rollout(&gateway, &["status"]).await.stdout.contains("were refused"));
    for mut client in both(&gateway).await {
        client.get_with("/", &[("x-do", "ask http://127.0.0.1:9/")]).await;
    }
    eventually("the shadow has asked twice", async || {
        ((metric(&gateway, refused).await - 2.0).abs() < 0.1).then_some(())
    })
    .await;
    assert_eq!(told(&gateway, "asks").await["comparison"]["refused_requests"], 2);
    let ran = rollout(&gateway, &["status"]).await;
    assert!(ran.stdout.contains("2 requests of its own refused"), "{}", ran.stdout);
}

#[tokio::test]
async fn a_shadow_that_fails_or_loops_hurts_nobody() {
    let upstream = TestUpstream::named("app").await;
    for deed in ["panic", "loop", "reply", "memory"] {
        let shadow = format!(
            "shadow = {{ plugin = \"misbehave.wasm\", config = {{ request-head = \"{deed}\" }}, limits = {{ memory = \"4MiB\" }} }}"
        );
        let gateway =
            start(&config(upstream.address(), &["tried"], &policy("tried", "plain", &shadow))).await;
        for mut client in both(&gateway).await {
            for _ in 0..5 {
                assert_eq!(client.get("/").await.text(), "app", "{deed}");
            }
        }
        let name = "portcullis_rollout_differences_total{policy=\"tried\",kind=\"decision\"}";
        eventually("each exchange is compared", async || {
            ((metric(&gateway, name).await - 10.0).abs() < 0.1).then_some(())
        })
        .await;
        let is_fault = |line: &LogLine| line.message.starts_with("fault of a shadow");
        if deed != "reply" {
            // The log is written behind a queue.
            gateway.wait_for_log("the first fault", is_fault).await;
        }
        let told = gateway.log().iter().filter(|line| is_fault(line)).count();
        assert_eq!(told, usize::from(deed != "reply"), "{deed}: the first is told, and the others counted");
    }
}

/// A limit of five in an hour for the whole route.
const LIMIT: &str = "[policies.limit]\nplugin = \"builtin:rate-limit\"\ngrants = { rate-limit = true }\n\
                     config = { rate = \"1/h\", burst = 4, key = \"route\" }\n";

/// How many of twenty requests get through.
async fn let_through(tried: &str) -> usize {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&config(upstream.address(), &["limit"], &format!("{LIMIT}{tried}\n"))).await;
    let mut client = TestClient::h2(gateway.address("web")).await;
    let mut through = 0;
    for id in 0..20 {
        through +=
            usize::from(client.get_with("/", &[("traceparent", &traceparent(id))]).await.status == 200);
    }
    through
}

#[tokio::test]
async fn a_client_meets_one_limit_whichever_version_it_takes() {
    let other = "plugin = \"builtin:rate-limit\", limits = { memory = \"8MiB\" }";
    assert_eq!(let_through("").await, 5);
    assert_eq!(
        let_through(&format!("canary = {{ {other}, share = \"50%\" }}")).await,
        5,
        "they share the buckets"
    );
    assert_eq!(let_through(&format!("shadow = {{ {other} }}")).await, 5, "a shadow has buckets of its own");
}

#[tokio::test]
async fn what_a_policy_keeps_in_an_exchange_belongs_to_its_version() {
    let upstream = TestUpstream::named("app").await;
    let deeds = "config = { request-head = \"state\", response-head = \"state\", completed = \"state\" }";
    let settings =
        format!("{deeds}\nshadow = {{ plugin = \"misbehave.wasm\", limits = {{ memory = \"8MiB\" }} }}");
    let gateway =
        start(&config(upstream.address(), &["kept"], &policy("kept", "misbehave", &settings))).await;
    for (at, mut client) in both(&gateway).await.into_iter().enumerate() {
        let path = format!("/{at}");
        assert_eq!(client.get(&path).await.status, 200);
        assert_eq!(attribute(&record(&gateway, &path).await, "state"), "abc");
    }
    // The shadow has come to the same by itself.
    let calls = async |version: &str| {
        let name = format!("portcullis_rollout_calls_total{{policy=\"kept\",version=\"{version}\"}}");
        metric(&gateway, &name).await
    };
    eventually("all is compared, bodies too", async || {
        let (active, shadow) = (calls("active").await, calls("shadow").await);
        (active > 7.5 && (active - shadow).abs() < 0.1).then_some(())
    })
    .await;
    assert!(!metrics(&gateway).await.contains("portcullis_rollout_differences_total{"));
}

#[tokio::test]
async fn a_version_that_cannot_run_is_refused_with_the_config() {
    let upstream = TestUpstream::named("app").await;
    let text = |deed: &str| {
        let canary = format!(
            "canary = {{ plugin = \"misbehave.wasm\", share = \"1%\", config = {{ configure = \"{deed}\" }} }}"
        );
        config(upstream.address(), &["tried"], &policy("tried", "plain", &canary))
    };
    let gateway = start(&text("next")).await;
    let refusal = gateway.write_config_and_expect_refusal(&measured(&text("panic"))).await;
    for expected in ["`tried`", "told to panic in configure", "generation 1 is still running"] {
        assert!(refusal.contains(expected), "no {expected} in {refusal}");
    }
    assert_eq!(TestClient::h1(gateway.address("web")).await.get("/").await.status, 200);
}

pub(crate) async fn rollout(gateway: &TestGateway, arguments: &[&str]) -> Ran {
    let arguments = [&["rollout"], arguments, &["-c", "portcullis.toml"]].concat();
    portcullis_in(gateway.dir(), arguments).await
}

/// The rollout of a policy, as JSON.
/// What a rollout's status says.
pub(crate) async fn told(gateway: &TestGateway, policy: &str) -> Value {
    let ran = rollout(gateway, &["status", policy, "--json"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let Value::Array(mut all) = serde_json::from_str(&ran.stdout).unwrap() else { panic!("{}", ran.stdout) };
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[tokio::test]
async fn an_operator_aborts_resumes_and_promotes() {
    let upstream = TestUpstream::h1(echo).await;
    let tried = "canary = { plugin = \"v2.wasm\", match = { headers = { x-canary = true } } }";
    let gateway = start(&config(upstream.address(), &["version"], &versions(tried))).await;
    let [mut h1, mut h2] = both(&gateway).await;
    let mut check = async |asking: &str, others: &str| {
        for client in [&mut h1, &mut h2] {
            assert_eq!(client.get_with("/", ASKING).await.header("x-version"), asking);
            assert_eq!(client.get("/").await.header("x-version"), others);
        }
    };
    check("v2", "v1").await;
    let status = told(&gateway, "version").await;
    assert_eq!((&status["state"], &status["candidate"]), (&"running".into(), &"canary".into()));
    let [active, canary] = [0, 1].map(|at| &status["versions"][at]);
    assert_eq!((&active["exchanges"], &canary["exchanges"]), (&2.into(), &2.into()));
    assert!(
        canary["cpu_us"].as_f64().unwrap() > 0.0 && canary["plugin"].as_str().unwrap().ends_with("v2.wasm")
    );

    let ran = rollout(&gateway, &["abort", "version", "--reason", "a test says so"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    check("v1", "v1").await;
    let ran = rollout(&gateway, &["status"]).await;
    for expected in ["canary aborted", "a test says so", "no exchanges", "v2.wasm"] {
        assert!(ran.stdout.contains(expected), "no {expected} in:\n{}", ran.stdout);
    }
    let ran = rollout(&gateway, &["abort", "version"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("it is aborted already"), "{}", ran.stderr);

    assert_eq!(rollout(&gateway, &["resume", "version"]).await.code, Some(0));
    check("v2", "v1").await;

    let ran = rollout(&gateway, &["promote", "version"]).await;
    for expected in ["takes all exchanges", "a restart forgets it", "move `plugin`", "portcullis.toml:"] {
        assert!(ran.stdout.contains(expected), "no {expected} in:\n{}", ran.stdout);
    }
    check("v2", "v2").await;
    assert!(rollout(&gateway, &["status", "version"]).await.stdout.contains("a restart forgets it"));
    gateway.wait_for_log("the promotion", |line| line.message.contains("a restart forgets it")).await;

    // Written into the config as it says, it is the active version, and the rollout is over.
    let written = config(upstream.address(), &["version"], &policy("version", "v2", ""));
    gateway.write_config_and_wait(&measured(&written)).await;
    check("v2", "v2").await;
    assert_eq!(rollout(&gateway, &["status"]).await.stdout, "no policy has a canary or a shadow\n");
    for (policy, expected) in
        [("version", "neither a canary nor a shadow"), ("versoin", "no policy `versoin`")]
    {
        let ran = rollout(&gateway, &["promote", policy]).await;
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains(expected) && ran.stderr.contains("help"), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn a_shadow_is_told_with_samples_and_serves_nobody_as_it_is() {
    let upstream = TestUpstream::h1(echo).await;
    let gateway =
        start(&config(upstream.address(), &["version"], &versions("shadow = { plugin = \"v2.wasm\" }")))
            .await;
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let field = [("traceparent", format!("00-{id}-00f067aa0ba902b7-01"))];
    TestClient::h2(gateway.address("web")).await.get_with("/", &[(field[0].0, &field[0].1)]).await;
    let status = eventually("both heads are compared", async || {
        let status = told(&gateway, "version").await;
        (status["comparison"]["compared"] == 2).then_some(status)
    })
    .await;
    let sample = &status["comparison"]["samples"][0];
    assert_eq!((&sample["trace_id"], &sample["hook"]), (&id.into(), &"on-request-head".into()));
    let difference = serde_json::json!(
        { "kind": "request-field", "name": "x-version", "active": "\"v1\"", "candidate": "\"v2\"" }
    );
    assert_eq!(sample["differences"][0], difference);
    let ran = rollout(&gateway, &["status", "version"]).await;
    for expected in ["2 hooks compared, 2 differed", id, "response-field x-version: \"v1\" -> \"v2\""] {
        assert!(ran.stdout.contains(expected), "no {expected} in:\n{}", ran.stdout);
    }
    let ran = rollout(&gateway, &["promote", "version"]).await;
    assert_eq!(ran.code, Some(1));
    for expected in ["a shadow has kept its state apart", "--write"] {
        assert!(ran.stderr.contains(expected), "no {expected} in {}", ran.stderr);
    }
}
