//! What operators do: reload, explain.

use super::{counter, edge, fresh, status};
use crate::edge::Http;
use crate::harness::{TestUpstream, portcullis_in};

fn config(upstream: &TestUpstream, memory: &str, key: &str) -> String {
    format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[upstreams.app]\nendpoints = [\"{}\"]\n\
         [caches.c]\nmemory = \"{memory}\"\nobject = \"1MiB\"\n\
         [routes.all]\nto = \"app\"\ncache = {{ store = \"c\", key = {{ query = {key} }} }}\n",
        upstream.address()
    )
}

#[tokio::test]
async fn a_reload_keeps_what_is_stored_and_other_key_rules_begin_anew() {
    let count = counter();
    let upstream = TestUpstream::h1(move |_| fresh(count().to_string())).await;
    let gateway = crate::harness::TestGateway::start(&config(&upstream, "16MiB", "\"all\"")).await;
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(client.get("/a").await.text(), "1");
    for (memory, key, expected) in
        [("32MiB", "\"all\"", "1"), ("32MiB", "[\"v\"]", "2"), ("32MiB", "\"all\"", "1")]
    {
        gateway
            .write_config_and_wait(&format!("# {memory} {expected}\n{}", config(&upstream, memory, key)))
            .await;
        assert_eq!(client.get("/a").await.text(), expected, "{memory} {key}");
    }
}

#[tokio::test]
async fn a_route_stores_no_longer_bodies_than_its_object() {
    let count = counter();
    let upstream = TestUpstream::h1(move |request| {
        let length = if request.uri.path() == "/long" { 1025 } else { 1024 };
        fresh(format!("{:>length$}", count()))
    })
    .await;
    let gateway = edge(&upstream, "object = \"1KiB\"").start().await;
    let mut client = Http::One.client(&gateway).await;
    for (path, expected) in
        [("/short", "1"), ("/short", "1"), ("/long", "2"), ("/long", "3"), ("/short", "1")]
    {
        assert_eq!(client.get(path).await.text().trim(), expected, "{path}");
    }
}

#[tokio::test]
async fn explain_says_what_the_cache_makes_of_a_request() {
    let upstream = TestUpstream::h1(|_| fresh("x")).await;
    let settings = "key = { cookies = [\"lang\"] }, bypass = { headers = { x-preview = true } }";
    let gateway = edge(&upstream, settings).start().await;
    let explain = async |arguments: &[&str]| {
        let arguments = ["explain"].iter().chain(arguments);
        let ran = portcullis_in(gateway.dir(), arguments).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout
    };
    let text = explain(&["GET", "http://A.test:80/a/../b?q", "-H", "cookie: lang=de"]).await;
    for line in ["cache `c`: looked up", "  http://a.test/b?q", "  upstream: app", "  cookie: lang: de"] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
    }
    let text = explain(&["GET", "http://a.test/", "-H", "x-preview: 1"]).await;
    assert!(text.contains("cache `c`: passed by, as `bypass` says"), "{text}");
    let text = explain(&["DELETE", "http://a.test/"]).await;
    assert!(
        text.contains("cache `c`: forwarded; if it succeeds, what is stored of its URL is removed"),
        "{text}"
    );
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(status(&client.get("/b").await), "fwd=uri-miss");
}
