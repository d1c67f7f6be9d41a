//! Endpoints that are added, removed, drained and re-weighted by `portcullis endpoint`.

use std::collections::BTreeMap;

use crate::edge::{Edge, Http};
use crate::harness::{TestGateway, TestUpstream, portcullis_in};
use crate::retrying::Load;

/// Runs `portcullis endpoint` with these arguments. Returns what it says, and whether it did it.
async fn endpoint(gateway: &TestGateway, arguments: &[&str]) -> (bool, String) {
    let all = ["endpoint"].iter().chain(arguments).chain(&["-c", "portcullis.toml"]).copied();
    let ran = portcullis_in(gateway.dir(), all.collect::<Vec<_>>()).await;
    (ran.code == Some(0), format!("{}{}", ran.stdout, ran.stderr))
}

async fn done(gateway: &TestGateway, arguments: &[&str]) -> String {
    let (done, said) = endpoint(gateway, arguments).await;
    assert!(done, "{said}");
    said
}

/// How many of twelve requests each upstream answered, over connections that land on all workers.
async fn spread(gateway: &TestGateway) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for at in 0..12 {
        let version = if at % 2 == 0 { Http::One } else { Http::Two };
        let reply = version.client(gateway).await.get("/").await;
        let name = if reply.status == 200 { reply.text() } else { reply.status.to_string() };
        *answers.entry(name).or_default() += 1;
    }
    answers
}

fn counts<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected.map(|(name, count)| (name.to_owned(), count)).into()
}

#[tokio::test]
async fn changes_are_at_once_and_reloads_keep_them() {
    let upstreams =
        [TestUpstream::named("a").await, TestUpstream::named("b").await, TestUpstream::named("c").await];
    let [a, b, c] = upstreams.each_ref().map(|upstream| upstream.address().to_string());
    let gateway = Edge::to_all([a.clone(), b.clone()]).start().await;
    let said = done(&gateway, &["drain", "app", &a]).await;
    assert!(said.contains("drained, healthy, drained by command"), "{said}");
    assert_eq!(spread(&gateway).await, counts([("b", 12)]));
    done(&gateway, &["add", "app", &c, "--weight", "2"]).await;
    assert_eq!(spread(&gateway).await, counts([("b", 4), ("c", 8)]));
    let logged = gateway.wait_for_log("the change", |line| line.text("event") == Some("endpoint")).await;
    assert!(
        logged.message.contains(&format!("endpoint {a} of upstream `app` drained")),
        "{}",
        logged.message
    );

    // A reload that changes the upstream keeps what was changed, and one that lists what was added has it as listed.
    let config = std::fs::read_to_string(gateway.dir().join("portcullis.toml")).unwrap();
    gateway
        .write_config_and_wait(&config.replace("endpoints = [", "hide-server = true\nendpoints = ["))
        .await;
    assert_eq!(spread(&gateway).await, counts([("b", 4), ("c", 8)]));
    let listed =
        config.replace("endpoints = [", &format!("endpoints = [{{ address = \"{c}\", weight = 1 }}, "));
    gateway.write_config_and_wait(&listed).await;
    done(&gateway, &["reset", "app", &c]).await;
    assert_eq!(spread(&gateway).await, counts([("b", 6), ("c", 6)]));
    done(&gateway, &["remove", "app", &b]).await;
    done(&gateway, &["undrain", "app", &a]).await;
    done(&gateway, &["weight", "app", &a, "3"]).await;
    let said = done(&gateway, &["list", "app"]).await;
    assert!(said.contains(&format!("removed from app by `portcullis endpoint`: {b}")), "{said}");
    assert_eq!(spread(&gateway).await, counts([("a", 9), ("c", 3)]));
    // What the config does not list any more was not changed either.
    gateway.write_config_and_wait(&config.replace(&format!("\"{b}\""), &format!("\"{c}\""))).await;
    gateway.write_config_and_wait(&config).await;
    assert_eq!(spread(&gateway).await, counts([("a", 9), ("b", 3)]));
    done(&gateway, &["drain", "app", &b]).await;
    done(&gateway, &["remove", "app", &a]).await;
    assert_eq!(spread(&gateway).await, counts([("503", 12)]));
}

#[tokio::test]
async fn what_cannot_be_changed_is_said() {
    let a = TestUpstream::named("a").await;
    let address = a.address().to_string();
    let gateway = Edge::to(a.address()).start().await;
    for (arguments, expected) in [
        (&["drain", "other", &address][..], "there is no upstream `other` in what runs"),
        (&["drain", "app", "127.0.0.1:9"], "upstream `app` has no endpoint `127.0.0.1:9`"),
        (&["add", "app", &address], "already"),
        (&["add", "app", "127.0.0.1"], "`127.0.0.1` is not an endpoint: the port is missing"),
        (&["add", "app", "http://127.0.0.1:80"], "this is a URL"),
        (&["reset", "app", &address], "is as the config says"),
        (&["weight", "app", &address, "0"], "0 is not in 1..=1000"),
        (&["list", "other"], "there is no upstream `other` in what runs"),
    ] {
        let (done, said) = endpoint(&gateway, arguments).await;
        assert!(!done && said.contains(expected), "{arguments:?}: {said}");
    }
    assert_eq!(spread(&gateway).await, counts([("a", 12)]));
}

#[tokio::test]
async fn no_request_fails_while_endpoints_are_changed_by_command() {
    let upstreams =
        [TestUpstream::named("a").await, TestUpstream::named("b").await, TestUpstream::named("c").await];
    let [a, b, c] = upstreams.each_ref().map(|upstream| upstream.address().to_string());
    let gateway = Edge::to_all([a.clone(), b.clone()]).start().await;
    let load = Load::start(&gateway, 6).await;
    for _ in 0..2 {
        done(&gateway, &["add", "app", &c]).await;
        load.more(30).await;
        done(&gateway, &["drain", "app", &a]).await;
        done(&gateway, &["remove", "app", &b]).await;
        load.more(30).await;
        done(&gateway, &["undrain", "app", &a]).await;
        done(&gateway, &["weight", "app", &a, "5"]).await;
        done(&gateway, &["add", "app", &b]).await;
        load.more(30).await;
        done(&gateway, &["remove", "app", &c]).await;
    }
    let (failed, answered) = load.end().await;
    assert!(failed == 0 && answered >= 180, "{failed} of {answered} failed");
    assert!(upstreams.iter().all(|upstream| !upstream.requests().is_empty()));
}
