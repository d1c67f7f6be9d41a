//! What policies say to the cache of their route, with the guest `caches`.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use serde_json::Value;
use tokio::sync::Barrier;

use super::disk::{has_files, ready, table};
use super::purge::{cache, purge};
use super::{counter, edge, fresh, status};
use crate::edge::{Edge, Http};
use crate::harness::{Answer, Received, TestClient, TestGateway, TestUpstream, eventually, portcullis_in};
use crate::setup::policy;

/// The ways in which a guest can be called: directly and on fibers, each in either isolation.
const WAYS: [&str; 4] = [
    "isolation = \"exchange\"",
    "isolation = \"worker\"",
    "isolation = \"exchange\"\nlimits = { deadline = \"1s\" }",
    "isolation = \"worker\"\nlimits = { deadline = \"1s\" }",
];

/// Lets the guest say something to the cache of the route.
fn saying(edge: Edge, settings: &str) -> Edge {
    edge.file("caches.wasm", portcullis_test_guests::CACHES)
        .route("use = [\"says\"]")
        .more(&policy("says", "caches", settings))
}

async fn started(
    settings: &str,
    policy: &str,
    answer: impl Fn(&Received) -> Answer + Send + Sync + 'static,
) -> (TestUpstream, TestGateway) {
    let upstream = TestUpstream::h1(answer).await;
    let gateway = saying(edge(&upstream, settings), policy).start().await;
    (upstream, gateway)
}

/// Asks for a path of `a.test` and has the guest say something. Returns the body and what the cache did.
async fn ask(client: &mut TestClient, path: &str, say: &str) -> (String, String) {
    let reply = client.get_with(path, &[("host", "a.test"), ("x-say", say)]).await;
    (reply.text(), status(&reply))
}

/// What came of what the guest said.
async fn said(client: &mut TestClient, path: &str, say: &str, later: &str) -> String {
    let fields = [("host", "a.test"), ("x-say", say), ("x-say-later", later)];
    let reply = client.get_with(path, &fields).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.header("x-said")
}

#[tokio::test]
async fn a_part_of_the_key_keeps_two_tenants_apart() {
    for way in WAYS {
        let count = counter();
        let (_upstream, gateway) = started("", way, move |_| fresh(count().to_string())).await;
        let mut client = Http::One.client(&gateway).await;
        let mut seen: Vec<(String, String)> = Vec::new();
        // None is another's, whatever the names and values are made of.
        for say in [
            "",
            "vary tenant a",
            "vary tenant b",
            "vary tenan ta",
            "vary tenant a;vary tenant b",
            "vary tenant b;vary tenant a",
            "vary tenant 1:a",
            "vary 6:1:tenant a",
        ] {
            let (text, status) = ask(&mut client, "/a", say).await;
            assert_eq!(status, "fwd=uri-miss", "{way} {say}");
            assert!(seen.iter().all(|(_, other)| *other != text), "{say}: {seen:?}");
            seen.push((say.to_owned(), text));
        }
        for (say, text) in seen {
            assert_eq!(ask(&mut client, "/a", &say).await, (text, "hit".to_owned()), "{way} {say}");
        }
    }
}

#[tokio::test]
async fn a_tag_that_a_policy_adds_is_purged() {
    for way in WAYS {
        let count = counter();
        let answer = move |_: &Received| fresh(count().to_string()).header("cache-tag", "own");
        let (_upstream, gateway) = started("", way, answer).await;
        let mut client = Http::One.client(&gateway).await;
        ask(&mut client, "/a", "tag news;tag sports").await;
        ask(&mut client, "/b", "tag news").await;
        ask(&mut client, "/c", "").await;
        // A hit does not get the tags of the request that it answers.
        ask(&mut client, "/c", "tag news").await;
        for (tag, met) in [("new", 0), ("sports", 1), ("news", 1), ("news", 0), ("own", 1)] {
            assert_eq!(purge(&gateway, &["--tag", tag]).await, [met], "{way} {tag}");
        }
        assert_eq!(ask(&mut client, "/a", "tag news").await.1, "fwd=uri-miss");
    }
}

#[tokio::test]
async fn a_request_that_passes_by_is_neither_answered_from_the_cache_nor_stored() {
    for way in WAYS {
        let count = counter();
        let (upstream, gateway) = started("", way, move |_| fresh(count().to_string())).await;
        let mut client = Http::One.client(&gateway).await;
        assert_eq!(ask(&mut client, "/a", "bypass").await, ("1".to_owned(), "fwd=bypass".to_owned()));
        assert_eq!(ask(&mut client, "/a", "").await, ("2".to_owned(), "fwd=uri-miss".to_owned()));
        assert_eq!(ask(&mut client, "/a", "bypass").await, ("3".to_owned(), "fwd=bypass".to_owned()));
        // What was stored is still there, and nothing that the policy said is left over.
        assert_eq!(ask(&mut client, "/a", "").await, ("2".to_owned(), "hit".to_owned()));
        assert_eq!(upstream.requests().len(), 3);
    }
}

#[tokio::test]
async fn requests_that_pass_by_do_not_wait_for_each_other() {
    let gate = Arc::new(Barrier::new(3));
    let upstream = TestUpstream::streaming_h1(move |_| {
        let gate = gate.clone();
        async move {
            // All three have to be asked for before any is answered.
            gate.wait().await;
            let body = Full::new(Bytes::from_static(b"x")).boxed_unsync();
            Response::builder().header("cache-control", "max-age=60").body(body).unwrap()
        }
    })
    .await;
    let gateway = saying(edge(&upstream, ""), "").start().await;
    let ask = async || {
        let mut client = Http::One.client(&gateway).await;
        ask(&mut client, "/a", "bypass").await
    };
    let answered = tokio::join!(ask(), ask(), ask());
    for answered in [answered.0, answered.1, answered.2] {
        assert_eq!(answered, ("x".to_owned(), "fwd=bypass".to_owned()));
    }
}

#[tokio::test]
async fn what_was_said_for_a_request_holds_for_its_renewal_in_the_background() {
    let count = counter();
    let (upstream, gateway) = started("", "", move |_| match count() {
        1 => Answer::text("old")
            .header("cache-control", "max-age=10, stale-while-revalidate=1000")
            .header("age", "20"),
        _ => fresh("new"),
    })
    .await;
    let mut client = Http::One.client(&gateway).await;
    let say = "vary tenant a;tag news";
    assert_eq!(ask(&mut client, "/a", say).await.0, "old");
    assert_eq!(ask(&mut client, "/a", say).await, ("old".to_owned(), "hit".to_owned()));
    let renewed = async || (ask(&mut client, "/a", say).await.0 == "new").then_some(());
    eventually("it is renewed", renewed).await;
    assert_eq!(upstream.requests().len(), 2);
    // It is the same tenant's, and has the tag.
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(ask(&mut client, "/a", "").await.1, "fwd=uri-miss");
    assert_eq!(purge(&gateway, &["--tag", "news"]).await, [1]);
    assert_eq!(ask(&mut client, "/a", say).await.1, "fwd=uri-miss");
}

#[tokio::test]
async fn a_validation_for_a_request_with_another_tag_fetches_anew() {
    let count = counter();
    let (_upstream, gateway) = started("", "", move |request| {
        let number = count();
        let answer = match request.header("if-none-match").as_str() {
            "" => Answer::text(number.to_string()),
            _ => Answer::default().status(304),
        };
        answer.header("cache-control", "max-age=10").header("age", "20").header("etag", "\"v1\"")
    })
    .await;
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(ask(&mut client, "/a", "tag red").await.0, "1");
    // The same tag, or fewer: it is validated and kept.
    for say in ["tag red", ""] {
        assert_eq!(ask(&mut client, "/a", say).await.0, "1");
    }
    // It is answered from what was validated, which is not kept.
    assert_eq!(ask(&mut client, "/a", "tag blue").await.0, "1");
    assert_eq!(ask(&mut client, "/a", "tag blue").await.0, "5");
    assert_eq!(purge(&gateway, &["--tag", "red"]).await, [0]);
    assert_eq!(purge(&gateway, &["--tag", "blue"]).await, [1]);
}

#[tokio::test]
async fn joined_parts_have_the_tags_of_all() {
    // More than may be stored as a whole.
    let content: Vec<u8> = (0..2000_u32).map(|at| b'a' + (at % 23) as u8).collect();
    let whole = content.clone();
    let (_upstream, gateway) = started("object = \"1KiB\"", "", move |request| {
        let range = request.header("range");
        let part = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
        let part = part.map(|(start, end)| (start.parse::<usize>().unwrap(), end.parse::<usize>().unwrap()));
        let (status, body) = match part {
            Some((start, end)) => (206, &content[start..=end]),
            None => (200, &content[..]),
        };
        let answer = Answer::text(String::from_utf8_lossy(body)).status(status);
        let answer = answer.header("cache-control", "max-age=60").header("etag", "\"v\"");
        match part {
            Some((start, end)) => answer.header("content-range", &format!("bytes {start}-{end}/2000")),
            None => answer,
        }
    })
    .await;
    let mut client = Http::One.client(&gateway).await;
    for (range, say) in [("bytes=0-99", "tag first"), ("bytes=100-199", "tag second")] {
        let fields = [("host", "a.test"), ("x-say", say), ("range", range)];
        assert_eq!(client.get_with("/a", &fields).await.status, 206, "{range}");
    }
    let fields = [("host", "a.test"), ("range", "bytes=0-199")];
    let joined = client.get_with("/a", &fields).await;
    assert_eq!((&*joined.body, status(&joined)), (&whole[..200], "hit".to_owned()));
    assert_eq!(purge(&gateway, &["--tag", "first"]).await, [1]);
    assert_ne!(status(&client.get_with("/a", &fields).await), "hit");
}

#[tokio::test]
async fn a_response_on_a_disk_keeps_its_key_and_its_tags() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("cache");
    let count = counter();
    let upstream = TestUpstream::h1(move |_| fresh(count().to_string())).await;
    let start = async || {
        let edge = Edge::to(upstream.address())
            .server("metrics = \"127.0.0.1:0\"")
            .route("cache = { store = \"c\" }")
            .more(&table(&folder, ""));
        let gateway = saying(edge, "").start().await;
        ready(&gateway).await;
        gateway
    };
    let gateway = start().await;
    let mut client = Http::One.client(&gateway).await;
    ask(&mut client, "/a", "vary tenant a\u{fc};tag news").await;
    ask(&mut client, "/b", "tag sports").await;
    has_files(&folder, 2).await;
    drop(gateway);
    let gateway = start().await;
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(ask(&mut client, "/a", "vary tenant a\u{fc}").await, ("1".to_owned(), "hit".to_owned()));
    assert_eq!(ask(&mut client, "/a", "").await.1, "fwd=uri-miss");
    let text = cache(&gateway, &["inspect", "http://a.test/b"]).await.stdout;
    assert!(text.contains("disk") && text.contains("tags: sports"), "{text}");
    assert_eq!(purge(&gateway, &["--tag", "news"]).await.len(), 1);
    assert_eq!(ask(&mut client, "/a", "vary tenant a\u{fc}").await.1, "fwd=uri-miss");
    assert_eq!(ask(&mut client, "/b", "").await, ("2".to_owned(), "hit".to_owned()));
}

#[tokio::test]
async fn a_policy_sees_the_key_as_explain_and_purges_have_it() {
    let (_upstream, gateway) = started("key = { query = [\"v\"] }", "", |_| fresh("x")).await;
    let mut client = Http::One.client(&gateway).await;
    let told = said(&mut client, "/a?v=1&utm=2", "vary plan gold;url;key;path /b;url", "url;key").await;
    let told: Vec<&str> = told.split("; ").collect();
    assert_eq!((told[0], told[1]), ("ok", "http://a.test/a?v=1"));
    assert!(told[2].ends_with("upstream: app, added by a policy: plan: gold"), "{told:?}");
    // In a later hook the cache was asked already.
    assert_eq!(told[3..], ["ok", "http://a.test/bnone;"]);
    assert_eq!(purge(&gateway, &["--url", "a.test/b"]).await, [1]);
    let say = "x-say: vary plan gold;tag news";
    let arguments = ["explain", "GET", "http://a.test/a?utm=2", "--json", "-H", say];
    let explained = portcullis_in(gateway.dir(), arguments).await;
    assert_eq!(explained.code, Some(0), "{explained:?}");
    let explained: Value = serde_json::from_str(&explained.stdout).unwrap();
    let shown = &explained["ending"]["cache"];
    assert_eq!(shown["url"], "http://a.test/a");
    assert_eq!(shown["key"].as_array().unwrap().last().unwrap(), "added by a policy: plan: gold");
    assert_eq!(shown["tags"], serde_json::json!(["news"]));
    assert_eq!(shown["says"], "looked up");
}

#[tokio::test]
async fn inspect_says_that_a_policy_lets_a_request_pass_by_and_hides_what_it_adds() {
    let (_upstream, gateway) = started("", "", |_| fresh("x").header("cache-tag", "own")).await;
    let mut client = Http::One.client(&gateway).await;
    ask(&mut client, "/a", "vary tenant klingon;tag news").await;
    let inspect = async |say: &str| {
        let say = format!("x-say: {say}");
        cache(&gateway, &["inspect", "http://a.test/a", "-H", &say]).await.stdout
    };
    let text = inspect("vary tenant klingon").await;
    assert!(text.contains("now: hit, for it is fresh"), "{text}");
    assert!(
        text.contains("added by a policy: tenant: [hidden ") && text.contains("tags: news, own"),
        "{text}"
    );
    assert!(!text.contains("klingon"), "{text}");
    let text = inspect("bypass").await;
    assert!(text.contains("now: bypass, for a policy lets it pass by"), "{text}");
}

#[tokio::test]
async fn a_policy_that_fails_open_stores_nothing_under_a_key_that_lacks_its_part() {
    let count = counter();
    let (_upstream, gateway) = started("", "on-error = \"allow\"", move |_| fresh(count().to_string())).await;
    let mut client = Http::One.client(&gateway).await;
    for number in ["1", "2"] {
        let answered = ask(&mut client, "/a", "fail;vary tenant a").await;
        assert_eq!(answered, (number.to_owned(), "fwd=bypass".to_owned()));
    }
    assert_eq!(ask(&mut client, "/a", "vary tenant a").await, ("3".to_owned(), "fwd=uri-miss".to_owned()));
}

#[tokio::test]
async fn what_is_said_beyond_the_bounds_is_refused_and_the_request_goes_on() {
    let (_upstream, gateway) = started("", "", |_| fresh("x")).await;
    let mut client = Http::One.client(&gateway).await;
    let say = "vary-size 256 4096;vary-size 1 1048576;varies 100;tag-size 1024;tags 300";
    let told = said(&mut client, "/a", say, "bypass").await;
    assert_eq!(told, "ok; Refused::TooLarge; Refused::TooLarge; ok; 63Refused::ReadOnly");
    // What fits is stored, is found again, and has all the tags that fit.
    assert_eq!(ask(&mut client, "/a", say).await.1, "hit");
    assert_eq!(purge(&gateway, &["--tag", "t62"]).await, [1]);
}

#[tokio::test]
async fn on_a_route_without_a_cache_nothing_comes_of_it() {
    let upstream = TestUpstream::h1(|_| fresh("x")).await;
    let gateway = saying(Edge::to(upstream.address()), "").start().await;
    let mut client = Http::One.client(&gateway).await;
    let told = said(&mut client, "/a", "url;key;vary a b;tag t;bypass", "").await;
    assert_eq!(told, "none; ; ok; ok; ok");
}
