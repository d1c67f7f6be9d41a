//! Purges by policies, with the guest `purges`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use hyper::Response;
use tokio::sync::Semaphore;

use super::disk::{has_files, ready, table};
use super::{counter, edge, fresh, status};
use crate::edge::{Edge, Http};
use crate::harness::{
    Answer, Pieces, Received, TestClient, TestGateway, TestUpstream, eventually, portcullis_in,
};
use crate::metrics::page;
use crate::setup::policy;

/// Lets the guest purge the cache `c` on a route of its own, `/purge`.
fn purging(edge: Edge, settings: &str) -> Edge {
    edge.file("purges.wasm", portcullis_test_guests::PURGES)
        .more("[routes.purge]\nmatch = { path = \"/purge\" }\nuse = [\"purges\"]\nrespond = { status = 200 }")
        .more(&policy("purges", "purges", settings))
}

const GRANTED: &str = "grants = { cache-purge = [\"c\"] }\n";

async fn started(
    settings: &str,
    answer: impl Fn(&Received) -> Answer + Send + Sync + 'static,
) -> (TestUpstream, TestGateway) {
    let upstream = TestUpstream::h1(answer).await;
    let gateway = purging(edge(&upstream, ""), settings).start().await;
    (upstream, gateway)
}

/// Has the guest purge, in either hook of a head. Returns what came of it.
async fn purge(client: &mut TestClient, now: &str, later: &str) -> String {
    let reply = client.get_with("/purge", &[("x-purge", now), ("x-purge-later", later)]).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.header("x-purged")
}

/// What the cache did with a request for a path of `a.test`.
async fn ask(client: &mut TestClient, path: &str) -> String {
    status(&client.get_with(path, &[("host", "a.test")]).await)
}

#[tokio::test]
async fn a_purge_counts_when_the_call_has_returned_on_every_worker() {
    for way in ["isolation = \"exchange\"", "isolation = \"worker\""] {
        let (_upstream, gateway) =
            started(&format!("{GRANTED}{way}"), |_| fresh("x").header("cache-tag", "t")).await;
        // Each on a connection of its own, so that both workers have some.
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(Http::One.client(&gateway).await);
        }
        for (now, later, met) in [
            ("url a.test/a", "", "1"),
            ("prefix a.test/*", "", "2"),
            ("tag t", "", "2"),
            ("", "tag t", "2"),
            ("url http://a.test/a;url a.test/b", "url a.test/c", "1; 10"),
        ] {
            for path in ["/a", "/b"] {
                ask(&mut clients[0], path).await;
            }
            assert_eq!(purge(&mut clients[1], now, later).await, met, "{now}{later}");
            for client in &mut clients[2..] {
                let request = [("host", "a.test"), ("cache-control", "only-if-cached")];
                let _ = client.get_with("/warm", &request).await;
            }
            assert_eq!(ask(&mut clients[7], "/a").await, "fwd=uri-miss", "{now}{later}");
            purge(&mut clients[6], "prefix a.test/*", "").await;
        }
    }
}

#[tokio::test]
async fn a_soft_purge_keeps_what_may_be_validated() {
    let (_upstream, gateway) = started(GRANTED, |request| {
        let answer = match request.header("if-none-match").as_str() {
            "" => Answer::text("x"),
            _ => Answer::default().status(304),
        };
        answer.header("cache-control", "max-age=60").header("etag", "\"v\"").header("cache-tag", "t")
    })
    .await;
    let mut client = Http::One.client(&gateway).await;
    ask(&mut client, "/a").await;
    assert_eq!(purge(&mut client, "soft-tag t", "").await, "1");
    assert_eq!(ask(&mut client, "/a").await, "fwd=stale");
    assert_eq!(ask(&mut client, "/a").await, "hit");
}

#[tokio::test]
async fn a_response_that_is_on_its_way_is_not_stored_after_a_purge_by_a_policy() {
    // Before its head has come, and when a part of its body has.
    for begun in [false, true] {
        let (gate, count) = (Arc::new(Semaphore::new(0)), counter());
        let opened = gate.clone();
        let upstream = TestUpstream::streaming_h1(move |_| {
            let (gate, number) = (gate.clone(), count());
            async move {
                gate.acquire().await.unwrap().forget();
                let (pieces, body) = Pieces::new();
                tokio::spawn(async move {
                    pieces.send(number.to_string()).await;
                    gate.acquire().await.unwrap().forget();
                    pieces.send(".").await;
                });
                let response =
                    Response::builder().header("cache-control", "max-age=60").header("cache-tag", "t");
                response.body(body.boxed()).unwrap()
            }
        })
        .await;
        let gateway = purging(edge(&upstream, "collapse = { wait = \"60s\" }"), GRANTED).start().await;
        let mut client = Http::One.client(&gateway).await;
        let first = tokio::spawn(async move { client.get_with("/a", &[("host", "a.test")]).await });
        eventually("the upstream is asked", async || (!upstream.requests().is_empty()).then_some(())).await;
        let mut client = Http::One.client(&gateway).await;
        if begun {
            opened.add_permits(1);
            let met = async || (purge(&mut client, "tag t", "").await == "1").then_some(());
            eventually("the response is being stored, and purged", met).await;
        } else {
            assert_eq!(purge(&mut client, "tag t", "").await, "0");
        }
        opened.add_permits(100);
        assert_eq!(first.await.unwrap().text(), "1.");
        let mut client = Http::One.client(&gateway).await;
        let second = client.get_with("/a", &[("host", "a.test")]).await;
        assert_eq!(second.text(), "2.", "{begun}");
        assert_eq!(client.get_with("/a", &[("host", "a.test")]).await.text(), "2.");
    }
}

#[tokio::test]
async fn a_purge_goes_only_to_the_caches_that_were_granted() {
    let upstream = TestUpstream::h1(|_| fresh("x")).await;
    let gateway = purging(edge(&upstream, ""), GRANTED)
        .more("[caches.d]\n[routes.d]\nmatch = { path = \"/d/*\" }\nto = \"app\"\ncache = \"d\"")
        .start()
        .await;
    let mut client = Http::One.client(&gateway).await;
    for path in ["/a", "/d/a"] {
        ask(&mut client, path).await;
    }
    assert_eq!(purge(&mut client, "prefix a.test/*", "").await, "1");
    assert_eq!(ask(&mut client, "/a").await, "fwd=uri-miss");
    assert_eq!(ask(&mut client, "/d/a").await, "hit");
}

#[tokio::test]
async fn wrong_texts_are_refused_and_a_storm_is_bounded() {
    let settings =
        "grants = { cache-purge = { caches = [\"c\"], per-second = 5 } }\nlimits = { deadline = \"5s\" }";
    let (_upstream, gateway) = started(settings, |_| fresh("x").header("cache-tag", "t")).await;
    let mut client = Http::One.client(&gateway).await;
    let told = purge(&mut client, "url /a;tag", "prefix ftp://a.test/").await;
    assert!(told.contains("it names no host") && told.contains("it is empty"), "{told}");
    assert!(told.contains("another scheme than http and https"), "{told}");
    let told = purge(&mut client, "storm 100 t", "").await;
    let busy: u32 = told.trim_end_matches(" busy").parse().unwrap();
    assert!((1..100).contains(&busy), "{told}");
    // The gateway serves on, and the next second has purges again.
    assert_eq!(ask(&mut client, "/a").await, "fwd=uri-miss");
    let again = async || (purge(&mut client, "tag t", "").await == "1").then_some(());
    eventually("it may purge again", again).await;
    assert_eq!(ask(&mut client, "/a").await, "fwd=uri-miss");
}

#[tokio::test]
async fn on_tick_purges_and_purges_are_counted() {
    let upstream = TestUpstream::h1(|_| fresh("x").header("cache-tag", "t")).await;
    let settings = format!("{GRANTED}config = {{ tick = \"tag t\" }}\ntick = \"100ms\"");
    let gateway = purging(edge(&upstream, ""), &settings).server("metrics = \"127.0.0.1:0\"").start().await;
    let mut client = Http::One.client(&gateway).await;
    ask(&mut client, "/a").await;
    let gone = async || {
        let metrics = page(&gateway).await;
        let has = |line: &str| metrics.lines().any(|found| found == line);
        has("portcullis_cache_purged_entries_total{cache=\"c\"} 1").then_some(())
    };
    eventually("a tick has purged it", gone).await;
    assert!(page(&gateway).await.contains("portcullis_cache_purges_total{cache=\"c\",kind=\"tag\"}"));
}

#[tokio::test]
async fn what_a_policy_has_purged_on_a_disk_does_not_come_back_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("cache");
    let version = Arc::new(AtomicU64::new(1));
    let served = version.clone();
    let upstream =
        TestUpstream::h1(move |_| fresh(served.load(SeqCst).to_string()).header("cache-tag", "t")).await;
    let start = async || {
        let edge = Edge::to(upstream.address())
            .server("metrics = \"127.0.0.1:0\"")
            .route("cache = { store = \"c\" }")
            .more(&table(&folder, ""));
        let gateway = purging(edge, GRANTED).start().await;
        ready(&gateway).await;
        gateway
    };
    let gateway = start().await;
    let mut client = Http::One.client(&gateway).await;
    ask(&mut client, "/a").await;
    has_files(&folder, 1).await;
    version.store(2, SeqCst);
    // One in memory, one on the disk.
    assert_eq!(purge(&mut client, "tag t", "").await, "2");
    drop(gateway);
    let gateway = start().await;
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(client.get_with("/a", &[("host", "a.test")]).await.text(), "2");
}

#[tokio::test]
async fn an_explanation_shows_purges_and_purges_nothing_and_a_reload_leaves_the_caches_within_reach() {
    let (_upstream, gateway) = started(GRANTED, |_| fresh("x").header("cache-tag", "t")).await;
    let mut client = Http::One.client(&gateway).await;
    ask(&mut client, "/a").await;
    for live in [&[][..], &["--live"]] {
        let arguments = [&["explain", "GET", "/purge", "-H", "x-purge: tag t"], live].concat();
        let explained = portcullis_in(gateway.dir(), arguments).await;
        assert_eq!(explained.code, Some(0), "{explained:?}");
        assert!(explained.stdout.contains("cache-purge.tag"), "{}", explained.stdout);
    }
    assert_eq!(ask(&mut client, "/a").await, "hit");
    let config = std::fs::read_to_string(gateway.dir().join("portcullis.toml")).unwrap();
    gateway.write_config_and_wait(&config.replace("16MiB", "17MiB")).await;
    assert_eq!(purge(&mut client, "tag t", "").await, "1");
    assert_eq!(ask(&mut client, "/a").await, "fwd=uri-miss");
}
