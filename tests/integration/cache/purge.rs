//! What operators remove from a cache, and what they see of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use hyper::Response;
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};

use super::{Cached, counter, edge, fresh, status};
use crate::edge::{Edge, Http};
use crate::harness::{Answer, Pieces, Ran, TestClient, TestGateway, TestUpstream, eventually, portcullis_in};
use crate::metrics::page;
use crate::setup::{KEY, shipped};

/// Runs `portcullis cache` with these arguments.
pub(super) async fn cache(gateway: &TestGateway, arguments: &[&str]) -> Ran {
    portcullis_in(gateway.dir(), ["cache"].iter().chain(arguments)).await
}

/// Purges, and returns how many responses were met by each thing that was named.
pub(super) async fn purge(gateway: &TestGateway, arguments: &[&str]) -> Vec<u64> {
    let arguments: Vec<&str> = ["purge", "--json"].into_iter().chain(arguments.iter().copied()).collect();
    let ran = cache(gateway, &arguments).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    let met = |one: &Value| one["in_memory"].as_u64().unwrap() + one["on_disk"].as_u64().unwrap();
    answer.as_array().unwrap().iter().map(met).collect()
}

/// Whether a path of a host is answered from the cache now.
async fn is_kept(client: &mut TestClient, host: &str, path: &str) -> bool {
    let reply = client.get_with(path, &[("host", host), ("cache-control", "only-if-cached")]).await;
    reply.status == 200
}

/// Stores these paths of a host.
async fn store(client: &mut TestClient, host: &str, paths: &[&str]) {
    for path in paths {
        assert_eq!(client.get_with(path, &[("host", host)]).await.status, 200);
    }
}

/// Settings with which a client can ask for stored responses alone.
const ASKED: &str = "client-directives = \"rfc\"";

#[tokio::test]
async fn a_url_is_purged_with_all_its_variants_and_nothing_else() {
    let cached =
        Cached::start(ASKED, |request| fresh(request.uri.to_string()).header("vary", "x-kind")).await;
    let mut client = Http::One.client(&cached.gateway).await;
    let others = ["/a?b", "/a/", "/ab", "/A"];
    store(&mut client, "a.test", &others).await;
    for (number, spelling) in ["http://a.test/a", "HTTP://A.test:80/a", "a.test/x/../%61", "http://a.test./a"]
        .into_iter()
        .enumerate()
    {
        for kind in ["x", "y"] {
            client.get_with("/a", &[("host", "a.test"), ("x-kind", kind)]).await;
        }
        // How a client spells the host is a part of the key, and not of the URL.
        store(&mut client, "A.TEST", &["/a"]).await;
        assert_eq!(purge(&cached.gateway, &["--url", spelling]).await, [3], "{spelling}");
        assert_eq!(purge(&cached.gateway, &["--url", spelling]).await, [0], "{spelling}");
        let asked = cached.asked();
        client.get_with("/a", &[("host", "a.test"), ("x-kind", "x")]).await;
        assert_eq!(cached.asked(), asked + 1, "{number}");
        purge(&cached.gateway, &["--url", spelling]).await;
    }
    for path in others {
        assert!(is_kept(&mut client, "a.test", path).await, "{path}");
    }
    assert_eq!(purge(&cached.gateway, &["--all"]).await, [4]);
    assert!(!is_kept(&mut client, "a.test", "/ab").await);
}

#[tokio::test]
async fn a_prefix_ends_with_a_segment_unless_it_ends_with_a_star() {
    let cached = Cached::start(ASKED, |request| fresh(request.uri.to_string())).await;
    let mut client = Http::One.client(&cached.gateway).await;
    let all = ["/", "/a", "/a/b", "/a?b", "/ab", "/b"];
    for (prefix, gone) in [
        ("http://a.test/a", &all[1..4]),
        ("http://a.test/a/", &all[2..3]),
        ("http://a.test/a*", &all[1..5]),
        ("a.test", &all[..]),
        ("http://a.tes", &[]),
        ("http://a.test:8080", &[]),
        ("http://a.test/x/../a?", &all[3..4]),
    ] {
        store(&mut client, "a.test", &all).await;
        store(&mut client, "b.test", &["/a"]).await;
        assert_eq!(purge(&cached.gateway, &["--prefix", prefix]).await, [gone.len() as u64], "{prefix}");
        for path in all {
            assert_eq!(is_kept(&mut client, "a.test", path).await, !gone.contains(&path), "{prefix} {path}");
        }
        assert!(is_kept(&mut client, "b.test", "/a").await);
    }
}

#[tokio::test]
async fn tags_of_both_fields_are_purged_each_by_itself() {
    let cached = Cached::start(ASKED, |request| {
        let answer = fresh("x").header("vary", "x-kind");
        match request.path() {
            "/a" => answer.header("surrogate-key", "red  a/b,c").header("Surrogate-Key", "green"),
            "/b" => answer.header("cache-tag", "red, with space ,\u{fc}ber,").header("cache-tag", "green"),
            _ => answer.header("cache-tag", "other"),
        }
    })
    .await;
    let mut client = Http::One.client(&cached.gateway).await;
    for (tag, met) in [
        ("red", 3),
        ("green", 3),
        ("a/b,c", 2),
        ("with space", 1),
        ("\u{fc}ber", 1),
        ("c", 0),
        ("Red", 0),
        ("with", 0),
    ] {
        purge(&cached.gateway, &["--all"]).await;
        store(&mut client, "a.test", &["/a", "/b", "/c"]).await;
        client.get_with("/a", &[("host", "a.test"), ("x-kind", "k")]).await;
        assert_eq!(purge(&cached.gateway, &["--tag", tag]).await, [met], "{tag}");
        assert!(is_kept(&mut client, "a.test", "/c").await);
    }
    purge(&cached.gateway, &["--all"]).await;
    store(&mut client, "a.test", &["/a", "/c"]).await;
    assert_eq!(purge(&cached.gateway, &["--tag", "red", "--tag", "other", "--tag", "none"]).await, [1, 1, 0]);
    // Clients get the fields, unless the route removes them.
    assert_eq!(client.get("/a").await.headers.get_all("surrogate-key").iter().count(), 2);
}

/// RFC 9111, 3.2: a 304 replaces the fields of what is stored, tags among them.
#[tokio::test]
async fn tags_that_a_validation_changes_are_purged_too() {
    let count = counter();
    let cached = Cached::start(ASKED, move |request| {
        let number = count();
        let answer = match request.header("if-none-match").as_str() {
            "" => Answer::text(number.to_string()).header("age", if number == 1 { "20" } else { "0" }),
            _ => Answer::default().status(304),
        };
        answer
            .header("cache-control", "max-age=10")
            .header("etag", "\"v1\"")
            .header("cache-tag", if number == 1 { "old" } else { "new" })
    })
    .await;
    let mut client = Http::One.client(&cached.gateway).await;
    let ask = async |client: &mut TestClient| client.get_with("/a", &[("host", "a.test")]).await.text();
    assert_eq!(ask(&mut client).await, "1");
    // The 304 that follows names another tag, and so does what is stored from then on.
    assert_eq!(ask(&mut client).await, "1");
    assert_eq!(ask(&mut client).await, "3");
    assert_eq!(purge(&cached.gateway, &["--tag", "old"]).await, [0]);
    assert_eq!(purge(&cached.gateway, &["--tag", "new"]).await, [1]);
    assert_eq!(ask(&mut client).await, "4");
}

#[tokio::test]
async fn a_purge_that_meets_nothing_says_what_is_like_it() {
    let cached = Cached::start("", |_| fresh("x")).await;
    let mut client = Http::One.client(&cached.gateway).await;
    store(&mut client, "www.a.test", &["/news"]).await;
    store(&mut client, "a.test", &["/news/", "/news?token=secret", "/other"]).await;
    for (arguments, said) in [
        (&["--url", "https://a.test/news"][..], "c: nothing is stored of `https://a.test/news`"),
        (&["--url", "https://a.test/news"], "looked for: https://a.test/news"),
        (
            &["--url", "https://a.test/news"],
            "http://a.test/news/, http://a.test/news?…, http://www.a.test/news",
        ),
        (&["--prefix", "b.test/ne*"], "stored with the same path: http://a.test/news/"),
        (&["--tag", "a b"], "divides tags by spaces"),
    ] {
        let arguments: Vec<&str> = ["purge"].into_iter().chain(arguments.iter().copied()).collect();
        let ran = cache(&cached.gateway, &arguments).await;
        assert_eq!(ran.code, Some(0));
        assert!(
            ran.stdout.contains(said) && !ran.stdout.contains("secret"),
            "no `{said}` in: {}",
            ran.stdout
        );
    }
    let long = format!("a.test/{}", "x".repeat(9000));
    let many = vec!["a.test/x"; 21];
    for (arguments, code, said) in [
        (&["--url", "a.test/", "--cache", "d"][..], 1, "there is no cache `d`\n  = help: the caches are c"),
        (&["--url", "/news"], 1, "it names no host"),
        (&["--url", "http://a.test/%zz"], 1, "cannot be stored"),
        (&["--url", &long], 1, "8 KiB"),
        (&["--tag", "a\nb"], 1, "no tag that a response could have"),
        (&["--tag", ""], 1, "no tag that a response could have"),
        (&[], 2, "required arguments"),
        (&["--all", "--url", "a.test/"], 2, "cannot be used with"),
    ] {
        let arguments: Vec<&str> = ["purge"].into_iter().chain(arguments.iter().copied()).collect();
        let ran = cache(&cached.gateway, &arguments).await;
        assert!(ran.code == Some(code) && ran.stderr.contains(said), "{arguments:?}: {ran:?}");
    }
    let many: Vec<&str> =
        ["purge"].into_iter().chain(many.iter().flat_map(|url| ["--prefix", url])).collect();
    assert!(cache(&cached.gateway, &many).await.stderr.contains("21 things to purge"));
    assert!(is_kept_plain(&mut client, "/other").await);
}

/// Whether a path of `a.test` is a hit.
async fn is_kept_plain(client: &mut TestClient, path: &str) -> bool {
    status(&client.get_with(path, &[("host", "a.test")]).await) == "hit"
}

#[tokio::test]
async fn urls_are_those_that_clients_use_whatever_routes_make_of_them() {
    let upstream = TestUpstream::h1(|request| fresh(request.uri.to_string())).await;
    let routes = "cache = { store = \"c\", key = { query = [\"v\"] } }\nmatch = { path = \"/public/*\" }\n\
                  rewrite = { path = \"/internal{rest}\" }";
    let gateway = Edge::to(upstream.address())
        .route(routes)
        .more(
            "[caches.c]\nmemory = \"16MiB\"\nobject = \"1MiB\"\n\
             [routes.other]\nto = \"app\"\nmatch = { path = \"/internal/*\" }\ncache = { store = \"c\" }",
        )
        .start()
        .await;
    let mut client = Http::One.client(&gateway).await;
    let paths = ["/public/a?utm=1&v=2", "/internal/a?v=2", "/public/b?v=2"];
    for (arguments, met) in [
        (["--url", "a.test/public/a?v=2&utm=9"], 2),
        (["--prefix", "a.test/public"], 3),
        (["--url", "a.test/internal/a?v=2"], 2),
        (["--url", "a.test/internal/a"], 0),
    ] {
        purge(&gateway, &["--all"]).await;
        store(&mut client, "a.test", &paths).await;
        assert_eq!(purge(&gateway, &arguments).await, [met], "{arguments:?}");
    }
}

/// An upstream whose answers begin when the gate is opened, and a gateway before it.
async fn gated(settings: &str) -> (Arc<Semaphore>, TestUpstream, TestGateway) {
    let (gate, count) = (Arc::new(Semaphore::new(0)), counter());
    let opened = gate.clone();
    let upstream = TestUpstream::streaming_h1(move |_| {
        let (gate, number) = (gate.clone(), count());
        async move {
            gate.acquire().await.unwrap().forget();
            let (pieces, body) = Pieces::new();
            tokio::spawn(async move {
                pieces.send(number.to_string()).await;
                // The second piece comes when the gate is opened again.
                gate.acquire().await.unwrap().forget();
                pieces.send(".").await;
            });
            let response = Response::builder().header("cache-control", "max-age=60").header("cache-tag", "t");
            response.body(body.boxed()).unwrap()
        }
    })
    .await;
    let gateway = edge(&upstream, settings).start().await;
    (opened, upstream, gateway)
}

#[tokio::test]
async fn a_response_that_is_on_its_way_is_not_stored_after_a_purge() {
    for (soft, arguments) in [
        (false, &["--url", "a.test/a"][..]),
        (false, &["--prefix", "a.test"]),
        (false, &["--all"]),
        (false, &["--tag", "t"]),
        (true, &["--url", "a.test/a"]),
        (true, &["--tag", "t"]),
    ] {
        // Before its head has come, and when a part of its body has.
        for begun in [false, true] {
            let (gate, upstream, gateway) = gated("collapse = { wait = \"60s\" }").await;
            let mut client = Http::One.client(&gateway).await;
            let first = tokio::spawn(async move { client.get_with("/a", &[("host", "a.test")]).await });
            eventually("the upstream is asked", async || (!upstream.requests().is_empty()).then_some(()))
                .await;
            if begun {
                gate.add_permits(1);
                eventually("the response is being stored", async || {
                    let list = cache(&gateway, &["list", "--json"]).await.stdout;
                    (serde_json::from_str::<Value>(&list).unwrap()[0]["entries"] == 1).then_some(())
                })
                .await;
            }
            let mut arguments = arguments.to_vec();
            arguments.extend(soft.then_some("--soft"));
            assert_eq!(purge(&gateway, &arguments).await, [u64::from(begun)], "{arguments:?} {begun}");
            gate.add_permits(100);
            // It is passed on, for it was asked for before.
            assert_eq!(first.await.unwrap().text(), "1.");
            let mut client = Http::One.client(&gateway).await;
            let second = client.get_with("/a", &[("host", "a.test")]).await;
            assert_eq!(second.text(), "2.", "{arguments:?} {begun}");
            assert_eq!(client.get_with("/a", &[("host", "a.test")]).await.text(), "2.");
        }
    }
}

#[tokio::test]
async fn a_soft_purge_leaves_what_may_be_used_stale() {
    let (broken, renewed) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let (fails, asked, count) = (broken.clone(), renewed.clone(), counter());
    let settings = "stale = { while-revalidate = \"1m\", on-error = \"1h\" }";
    let cached = Cached::start(settings, move |request| {
        if fails.load(SeqCst) == 1 {
            return Answer::text("broken").status(503);
        }
        asked.notify_one();
        let never = if request.path() == "/strict" { ", must-revalidate" } else { "" };
        Answer::text(count().to_string()).header("cache-control", &format!("max-age=60{never}"))
    })
    .await;
    let mut client = Http::One.client(&cached.gateway).await;
    assert_eq!(client.get("/a").await.text(), "1");
    renewed.notified().await;
    assert_eq!(purge(&cached.gateway, &["--all", "--soft"]).await, [1]);
    // Answered at once with what there is, and renewed in the background.
    let stale = client.get("/a").await;
    assert_eq!((stale.text(), &*status(&stale)), ("1".to_owned(), "hit"));
    renewed.notified().await;
    eventually("it is renewed", async || (client.get("/a").await.text() == "2").then_some(())).await;
    // What must be validated is.
    assert_eq!(client.get("/strict").await.text(), "3");
    assert_eq!(purge(&cached.gateway, &["--all", "--soft"]).await, [2]);
    assert_eq!(client.get("/strict").await.text(), "4");
    purge(&cached.gateway, &["--all", "--soft"]).await;
    broken.store(1, SeqCst);
    assert_eq!(client.get("/strict").await.status, 503);
    assert_eq!(client.get("/a").await.status, 200);
    // A hard purge leaves nothing to fall back upon.
    purge(&cached.gateway, &["--all"]).await;
    assert_eq!(client.get("/a").await.status, 503);
}

#[tokio::test]
async fn inspect_says_what_is_stored_and_what_would_happen_and_hides_what_is_secret() {
    let upstream = TestUpstream::h1(|_| {
        fresh("0123456789")
            .header("etag", "\"v1\"")
            .header("cache-tag", "t1, t2")
            .header("vary", "x-kind, cookie")
    })
    .await;
    let settings = "key = { cookies = [\"lang\"], headers = [\"x-api-key\"] }, \
                    stale = { while-revalidate = \"1m\" }, bypass = { headers = { x-preview = true } }";
    let gateway = edge(&upstream, settings)
        .route("use = [\"keys\", \"stamp\", \"limit\"]")
        .more(&shipped("rate = \"1000/s\""))
        .start()
        .await;
    let mut client = Http::One.client(&gateway).await;
    let fields = [("host", "a.test"), ("x-api-key", KEY), ("x-kind", "k"), ("cookie", "lang=klingon")];
    assert_eq!(client.get_with("/a", &fields).await.status, 200);
    let lines: Vec<String> =
        fields[1..].iter().flat_map(|(name, value)| ["-H".to_owned(), format!("{name}: {value}")]).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let inspect = async |more: &[&str]| {
        let arguments: Vec<&str> = ["inspect"].iter().chain(more).copied().collect();
        let ran = cache(&gateway, &arguments).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        for secret in [KEY, "klingon", "alice"] {
            assert!(!ran.stdout.contains(secret), "`{secret}` in {}", ran.stdout);
        }
        ran.stdout
    };
    let with_fields: Vec<&str> = ["http://a.test/x/../a"].into_iter().chain(lines.iter().copied()).collect();
    let text = inspect(&with_fields).await;
    for line in [
        "now: hit, for it is fresh",
        "  http://a.test/a",
        "200 in `c`, memory, 10 bytes",
        "  upstream: app",
        "  varies by x-kind: k",
        "  validated by etag \"v1\"",
        "  may be used stale for 1 min 0 s while it is renewed",
        "  tags: t1, t2",
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
    }
    assert!(text.contains("set by a policy: x-stamp: [hidden "), "{text}");
    let mut other = with_fields.clone();
    other[4] = "x-kind: other";
    for (arguments, said) in [
        (other, "now: miss, for what is stored under this key varies by fields"),
        (vec!["http://a.test/a"], "now: the cache is not asked: policy `keys` answers 401"),
        (vec!["http://a.test/a", lines[0], lines[1], "--method", "POST"], "now: bypass, for such a method"),
        (
            vec!["http://a.test/a", lines[0], lines[1], "-H", "x-preview: 1"],
            "now: bypass, for the route's `bypass`",
        ),
        (vec!["http://a.test/b", lines[0], lines[1]], "now: miss, for nothing is stored under this key"),
        (vec!["https://b.test/a", lines[0], lines[1]], "stored with the same path: http://a.test/a"),
    ] {
        let text = inspect(&arguments).await;
        assert!(text.contains(said), "no `{said}` in:\n{text}");
    }
    assert_eq!(purge(&gateway, &["--url", "a.test/a", "--soft"]).await, [1]);
    let text = inspect(&with_fields).await;
    assert!(text.contains("now: stale, for it is stale, may be used while it is renewed"), "{text}");
    assert!(text.contains("marked stale by a purge"), "{text}");
    // None of this has asked the upstream.
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn caches_are_listed_and_purges_are_counted() {
    let upstream = TestUpstream::h1(|_| fresh("x")).await;
    let gateway = edge(&upstream, "").server("metrics = \"127.0.0.1:0\"").start().await;
    let mut client = Http::One.client(&gateway).await;
    store(&mut client, "a.test", &["/a", "/b"]).await;
    let ran = cache(&gateway, &["list"]).await;
    assert!(ran.stdout.contains("c      2"), "{ran:?}");
    purge(&gateway, &["--url", "a.test/a", "--prefix", "a.test", "--tag", "t"]).await;
    let metrics = page(&gateway).await;
    for line in [
        "portcullis_cache_purges_total{cache=\"c\",kind=\"url\"} 1",
        "portcullis_cache_purges_total{cache=\"c\",kind=\"prefix\"} 1",
        "portcullis_cache_purges_total{cache=\"c\",kind=\"tag\"} 1",
        "portcullis_cache_purged_entries_total{cache=\"c\"} 2",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no `{line}` in {metrics}");
    }
    let logged = |line: &crate::harness::LogLine| line.text("event") == Some("cache-purge");
    let line = gateway.wait_for_log("a purge", logged).await;
    assert_eq!((line.text("cache"), line.text("purged")), (Some("c"), Some("a.test/a")));
}

/// What an upstream has changes, is purged, and must not be seen any more from then on: not by fills that were under
/// way, nor by validations, renewals in the background and requests that waited.
#[tokio::test]
async fn a_purged_response_never_comes_back_under_load() {
    const CLIENTS: usize = 8;
    const PATHS: [&str; 4] = ["/fresh", "/validated", "/renewed", "/varied"];
    let (version, floor) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(1)));
    let served = version.clone();
    let upstream = TestUpstream::streaming_h1(move |request| {
        let served = served.clone();
        async move {
            // What it has when it is asked, and not when it answers.
            let now = served.load(SeqCst);
            let field = |name: &str| {
                request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
            };
            for _ in 0..now * 7919 % 97 {
                tokio::task::yield_now().await;
            }
            let control = match request.uri().path() {
                "/validated" => "max-age=10",
                "/renewed" => "max-age=10, stale-while-revalidate=1000",
                _ => "max-age=60",
            };
            let aged = if control.starts_with("max-age=10") { "20" } else { "0" };
            let etag = format!("\"{now}\"");
            let same = field("if-none-match").as_deref() == Some(&etag);
            let response = Response::builder()
                .status(if same { 304 } else { 200 })
                .header("cache-control", control)
                .header("age", aged)
                .header("etag", &etag)
                .header("vary", "x-kind")
                .header("surrogate-key", "all");
            let (pieces, body) = Pieces::new();
            if !same {
                tokio::spawn(async move {
                    for piece in [now.to_string(), " ".repeat(100)] {
                        pieces.send(piece).await;
                        tokio::task::yield_now().await;
                    }
                });
            }
            response.body(body.boxed()).unwrap()
        }
    })
    .await;
    let gateway = Arc::new(edge(&upstream, "").start().await);
    let (ended, answered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let (gateway, floor) = (gateway.clone(), floor.clone());
        let (ended, answered) = (ended.clone(), answered.clone());
        clients.spawn(async move {
            let mut client = Http::One.client(&gateway).await;
            let (mut asked, kind) = (0_usize, (number % 2).to_string());
            while ended.load(SeqCst) == 0 {
                let path = PATHS[(asked + number) % PATHS.len()];
                asked += 1;
                let before = floor.load(SeqCst);
                let reply = client.get_with(path, &[("host", "a.test"), ("x-kind", &kind)]).await;
                let got: u64 = reply.text().trim().parse().unwrap();
                assert!(got >= before, "{path}: {got} after {before} was purged: {:?}", reply.headers);
                answered.fetch_add(1, SeqCst);
            }
        });
    }
    for round in 0..24 {
        let changed = version.fetch_add(1, SeqCst) + 1;
        let arguments: Vec<&str> = match round % 4 {
            0 => PATHS.iter().flat_map(|path| ["--url", *path]).collect(),
            1 => vec!["--prefix", "http://a.test"],
            2 => vec!["--tag", "all"],
            _ => vec!["--all"],
        };
        let urls: Vec<String> = arguments.iter().map(|argument| argument.replace("/", "a.test/")).collect();
        let arguments: Vec<&str> =
            if round % 4 == 0 { urls.iter().map(String::as_str).collect() } else { arguments };
        purge(&gateway, &arguments).await;
        floor.store(changed, SeqCst);
        let enough = answered.load(SeqCst) + 2 * (CLIENTS * PATHS.len()) as u64;
        eventually("all paths were asked for", async || (answered.load(SeqCst) >= enough).then_some(()))
            .await;
    }
    ended.store(1, SeqCst);
    clients.join_all().await;
}
