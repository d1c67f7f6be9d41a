//! How long responses are used: stale ones, validation, times of the operator's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Cached, counter, status};
use crate::edge::Http;
use crate::harness::{Answer, eventually};

/// An answer that was fresh for ten seconds and is twenty seconds old.
fn stale(text: impl Into<String>, more: &str) -> Answer {
    Answer::text(text).header("cache-control", &format!("max-age=10{more}")).header("age", "20")
}

#[tokio::test]
async fn a_stale_response_is_validated_and_used_again() {
    let cached = Cached::start("", |request| match request.header("if-none-match").as_str() {
        "" => stale("the body", "").header("etag", "\"v1\"").header("x-first", "1"),
        _ => Answer::default().status(304).header("cache-control", "max-age=60").header("etag", "\"v1\""),
    })
    .await;
    let mut client = Http::One.client(&cached.gateway).await;
    assert_eq!(client.get("/a").await.text(), "the body");
    let validated = client.get("/a").await;
    assert_eq!((validated.status, &*validated.text(), &*status(&validated)), (200, "the body", "fwd=stale"));
    assert_eq!((&*validated.header("x-first"), &*validated.header("cache-control")), ("1", "max-age=60"));
    assert_eq!(cached.upstream.last_request().header("if-none-match"), "\"v1\"");
    assert_eq!(status(&client.get("/a").await), "hit");
    assert_eq!(cached.asked(), 2);
}

/// RFC 9111, 4.3.4: a 304 updates every stored response that its tag names.
#[tokio::test]
async fn a_304_renews_all_variants_with_the_same_content() {
    let cached = Cached::start("", |request| match request.header("if-none-match").as_str() {
        "" => stale("the body", "").header("etag", "\"v1\"").header("vary", "x-kind"),
        _ => Answer::default().status(304).header("cache-control", "max-age=60").header("etag", "\"v1\""),
    })
    .await;
    let mut client = Http::One.client(&cached.gateway).await;
    for kind in ["a", "b"] {
        assert_eq!(
            status(&client.get_with("/a", &[("x-kind", kind)]).await),
            "fwd=uri-miss".replace("uri", if kind == "a" { "uri" } else { "vary" })
        );
    }
    assert_eq!(status(&client.get_with("/a", &[("x-kind", "a")]).await), "fwd=stale");
    assert_eq!(status(&client.get_with("/a", &[("x-kind", "b")]).await), "hit");
    assert_eq!(cached.asked(), 3);
}

#[tokio::test]
async fn an_error_of_one_client_leaves_what_is_stored() {
    let cached = Cached::start("", |request| match &*request.header("x-odd") {
        "" if request.header("if-none-match") == "\"v1\"" => {
            Answer::default().status(304).header("etag", "\"v1\"")
        }
        "" => stale("the body", "").header("etag", "\"v1\""),
        _ => Answer::text("odd").status(400),
    })
    .await;
    let mut client = Http::One.client(&cached.gateway).await;
    assert_eq!(client.get("/a").await.text(), "the body");
    assert_eq!(client.get_with("/a", &[("x-odd", "1")]).await.status, 400);
    assert_eq!(client.get("/a").await.text(), "the body");
    assert_eq!(cached.upstream.last_request().header("if-none-match"), "\"v1\"");
}

#[tokio::test]
async fn the_clients_own_conditions_do_not_reach_the_upstream() {
    let cached = Cached::start("", |request| match request.header("if-none-match").as_str() {
        "" => stale("the body", "").header("etag", "\"v1\""),
        "\"v1\"" => Answer::default().status(304).header("etag", "\"v1\""),
        other => Answer::text(format!("asked with {other}")),
    })
    .await;
    let mut client = Http::One.client(&cached.gateway).await;
    // Neither on a miss nor for a validation.
    for _ in 0..2 {
        let reply = client.get_with("/a", &[("if-none-match", "\"v0\"")]).await;
        assert_eq!((reply.status, &*reply.text()), (200, "the body"));
        let reply = client.get_with("/a", &[("if-none-match", "\"v0\", \"v1\"")]).await;
        assert_eq!((reply.status, &*reply.text()), (304, ""));
    }
}

#[tokio::test]
async fn a_stale_response_is_renewed_in_the_background_without_what_the_client_sent() {
    let count = counter();
    let cached = Cached::start("", move |_| match count() {
        1 => stale("old", ", stale-while-revalidate=1000"),
        _ => super::fresh("new"),
    })
    .await;
    let mut client = Http::One.client(&cached.gateway).await;
    assert_eq!(client.get("/a?b").await.text(), "old");
    let fields = [("x-secret", "s"), ("cookie", "id=1"), ("user-agent", "curious"), ("range", "bytes=0-0")];
    let reply = client.get_with("/a?b", &fields).await;
    assert_eq!((reply.status, &*reply.text()), (206, "o"));
    eventually("it is renewed", async || (client.get("/a?b").await.text() == "new").then_some(())).await;
    assert_eq!(cached.asked(), 2);
    let renewing = cached.upstream.last_request();
    assert_eq!(renewing.uri.path_and_query().unwrap(), "/a?b");
    for (name, _) in fields {
        assert_eq!(renewing.header(name), "", "{name}");
    }
    assert_eq!(renewing.header("x-forwarded-for"), "");
}

#[tokio::test]
async fn a_stale_response_stands_in_for_an_upstream_that_fails() {
    let failing = Arc::new(AtomicBool::new(false));
    let fails = failing.clone();
    let cached =
        Cached::start("stale = { on-error = \"1h\" }", move |_| match fails.load(Ordering::SeqCst) {
            false => stale("old", ""),
            true => Answer::text("broken").status(503),
        })
        .await;
    let mut client = Http::One.client(&cached.gateway).await;
    assert_eq!(client.get("/a").await.text(), "old");
    failing.store(true, Ordering::SeqCst);
    let reply = client.get("/a").await;
    assert_eq!((reply.status, &*reply.text()), (200, "old"));
    assert_eq!((client.get("/b").await.status, cached.asked()), (503, 3));
    // Also if it cannot be reached at all.
    let gateway = cached.gateway;
    drop(cached.upstream);
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(client.get("/a").await.text(), "old");
    assert_eq!(client.get("/b").await.status, 502);
}

#[tokio::test]
async fn the_operator_says_how_long_what_says_nothing_is_fresh() {
    let count = counter();
    let cached = Cached::start("ttl = { 200 = \"1h\", 4xx = \"1m\", 5xx = \"1m\" }", move |request| {
        let answer = Answer::text(count().to_string());
        match request.path().trim_start_matches('/').parse() {
            Ok(status) => answer.status(status),
            Err(_) => answer.header("cache-control", "no-cache"),
        }
    })
    .await;
    let mut client = Http::One.client(&cached.gateway).await;
    for (path, kept) in [
        ("/200", true),
        ("/404", true),
        ("/500", true),
        ("/503", true),
        // A class leaves out what one client brings about.
        ("/400", false),
        ("/401", false),
        ("/403", false),
        ("/431", false),
        ("/no-cache", false),
    ] {
        let first = client.get(path).await.text();
        assert_eq!(client.get(path).await.text() == first, kept, "{path}");
    }
}

#[tokio::test]
async fn what_a_client_asks_of_the_cache_counts_if_the_operator_says_so() {
    for (setting, heeded) in [("", false), ("client-directives = \"rfc\"", true)] {
        let count = counter();
        let cached = Cached::start(setting, move |_| super::fresh(count().to_string())).await;
        let mut client = Http::One.client(&cached.gateway).await;
        let alone = client.get_with("/a", &[("cache-control", "only-if-cached")]).await;
        assert_eq!(alone.status, if heeded { 504 } else { 200 });
        let first = client.get("/a").await.text();
        let again = client.get_with("/a", &[("cache-control", "no-cache")]).await.text();
        assert_eq!(again != first, heeded);
        let alone = client.get_with("/a", &[("cache-control", "only-if-cached")]).await;
        assert_eq!((alone.status, alone.text()), (200, again));
    }
}

#[tokio::test]
async fn targeted_fields_count_in_order_and_a_lifetime_has_a_cap() {
    let count = counter();
    let settings = "targeted = [\"Own-Cache-Control\", \"CDN-Cache-Control\"], lifetime-max = \"1m\"";
    let cached = Cached::start(settings, move |request| {
        let answer = Answer::text(count().to_string());
        match request.path() {
            "/own" => {
                answer.header("own-cache-control", "max-age=30").header("cdn-cache-control", "no-store")
            }
            "/own-none" => {
                answer.header("own-cache-control", "no-store").header("cdn-cache-control", "max-age=9")
            }
            "/cdn" => answer.header("cdn-cache-control", "max-age=20").header("cache-control", "no-store"),
            _ => answer.header("cache-control", "max-age=31536000"),
        }
    })
    .await;
    let mut client = Http::One.client(&cached.gateway).await;
    for (path, ttl) in [("/own", Some(30)), ("/own-none", None), ("/cdn", Some(20)), ("/capped", Some(60))] {
        let first = client.get(path).await;
        let second = client.get(path).await;
        assert_eq!(first.text() == second.text(), ttl.is_some(), "{path}");
        if let Some(ttl) = ttl {
            let line = first.header("cache-status");
            assert!(line.contains(&format!("ttl={ttl};")), "{path}: {line}");
        }
    }
}
