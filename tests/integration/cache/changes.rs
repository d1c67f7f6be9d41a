//! What a change removes: RFC 9111, 4.4, whichever route the change takes.

use std::sync::Arc;

use hyper::{Method, Response};
use tokio::sync::Semaphore;

use super::{counter, fresh, status};
use crate::edge::Http;
use crate::harness::{Pieces, TestClient, TestGateway, TestUpstream, eventually};

/// A configuration before `upstream` with two caches and these routes.
fn config(upstream: &TestUpstream, routes: &str) -> String {
    format!(
        "[server]\nworkers = 2\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [upstreams.app]\nendpoints = [\"{address}\"]\n[upstreams.writer]\nendpoints = [\"{address}\"]\n\
         [caches.c]\nmemory = \"16MiB\"\nobject = \"1MiB\"\n[caches.d]\nmemory = \"16MiB\"\nobject = \"1MiB\"\n{routes}",
        address = upstream.address()
    )
}

/// Gets `path`, changes `changed` and gets `path` again. Returns whether the second answer was another one.
async fn is_removed(client: &mut TestClient, path: &str, method: Method, changed: &str) -> bool {
    let before = client.get(path).await.text();
    assert_eq!(client.get(path).await.text(), before, "{path} is not cached");
    let answer = client.send(method, changed, &[], "x").await;
    assert!(answer.status < 600, "{changed}");
    client.get(path).await.text() != before
}

#[tokio::test]
async fn a_change_through_any_route_removes_what_every_cache_has_of_the_url() {
    let count = counter();
    let upstream = TestUpstream::h1(move |request| {
        let answer = fresh(count().to_string());
        match (request.method == Method::POST, request.path()) {
            (true, "/fails") => answer.status(500),
            (true, "/names") => answer.status(201).header("location", "/in-c?v=1&utm=9"),
            (true, "/names-other") => answer.status(201).header("location", "http://evil.test/in-c?v=1"),
            _ => answer,
        }
    })
    .await;
    let routes = "\
        [routes.in-c]\nmatch = { path = \"/in-c\", method = \"GET\" }\nto = \"app\"\n\
        cache = { store = \"c\", key = { query = [\"v\"] } }\n\
        [routes.in-d]\nmatch = { path = \"/in-d\", method = \"GET\" }\nto = \"app\"\n\
        cache = { store = \"d\", key = { query = { except = [\"utm\"] } } }\n\
        [routes.below]\nmatch = { path = \"/api/*\", method = \"GET\" }\nto = \"app\"\n\
        rewrite = { path = \"/v2{rest}\" }\ncache = \"c\"\n\
        [routes.all]\nmatch = { method = \"GET\" }\nto = \"app\"\ncache = \"d\"\n\
        [routes.changes]\nto = \"writer\"\n\
        [routes.changes-with-cache]\nmatch = { path = \"/in-c\", method = \"PATCH\" }\nto = \"writer\"\ncache = \"d\"\n\
        [routes.moved]\nmatch = { path = \"/public/*\", method = \"POST\" }\nto = \"writer\"\n\
        rewrite = { path = \"/private{rest}\" }\n";
    let gateway = TestGateway::start(&config(&upstream, routes)).await;
    for client in [Http::One, Http::Two] {
        let mut client = client.client(&gateway).await;
        for (path, method, changed, removed) in [
            ("/in-c?v=1", "POST", "/in-c?v=1", true),
            // Other parameters do not count there.
            ("/in-c?v=1", "POST", "/in-c?utm=5&v=1", true),
            ("/in-c?v=1", "POST", "/in-c?v=2", false),
            ("/in-c?v=1", "PATCH", "/in-c?v=1", true),
            ("/in-c?v=1", "POST", "/names", true),
            ("/in-c?v=1", "POST", "/names-other", false),
            ("/in-d?a=1", "DELETE", "/in-d?a=1&utm=5", true),
            ("/in-d?a=1", "OPTIONS", "/in-d?a=1", false),
            ("/fails", "POST", "/fails", false),
            ("/fails", "PUT", "/fails", true),
            // What the client calls it, and what the upstream does.
            ("/api/x?q", "POST", "/api/x?q", true),
            ("/api/x?q", "POST", "/v2/x?q", true),
            ("/api/x?q", "POST", "/api/y?q", false),
            ("/private/a", "POST", "/public/a", true),
            ("/public/a", "POST", "/public/a", true),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let is = is_removed(&mut client, path, method.clone(), changed).await;
            assert_eq!(is, removed, "{path} after {method} {changed}");
        }
    }
}

#[tokio::test]
async fn a_change_that_ends_after_a_reload_counts_for_the_new_rules() {
    let (gate, count) = (Arc::new(Semaphore::new(0)), counter());
    let opened = gate.clone();
    let upstream = TestUpstream::streaming_h1(move |request| {
        let (gate, number) = (gate.clone(), count());
        async move {
            if request.method() == Method::POST {
                drop(gate.acquire().await);
            }
            let (pieces, body) = Pieces::new();
            tokio::spawn(async move { pieces.send(number.to_string()).await });
            Response::builder().header("cache-control", "max-age=60").body(body.boxed()).unwrap()
        }
    })
    .await;
    let routes = |cache: &str| {
        format!(
            "[routes.all]\nmatch = {{ method = \"GET\" }}\nto = \"app\"\ncache = {cache}\n\
             [routes.changes]\nto = \"writer\"\n[routes.other]\nmatch = {{ path = \"/d\" }}\nto = \"app\"\ncache = \"d\"\n"
        )
    };
    let (all, some) = ("\"c\"", "{ store = \"c\", key = { query = [\"v\"] } }");
    let gateway = TestGateway::start(&config(&upstream, &routes(all))).await;
    let mut client = Http::One.client(&gateway).await;
    let by_old_rules = client.get("/a?v=1&w=2").await.text();
    let mut changing = Http::One.client(&gateway).await;
    let change = async { changing.send(Method::POST, "/a?v=1&w=2", &[], "x").await };
    let meanwhile = async {
        eventually("it is asked", async || {
            upstream.requests().iter().any(|request| request.method == Method::POST).then_some(())
        })
        .await;
        gateway.write_config_and_wait(&config(&upstream, &routes(some))).await;
        let mut client = Http::One.client(&gateway).await;
        let before = client.get("/a?v=1&w=2").await.text();
        assert_eq!(status(&client.get("/a?v=1&w=3").await), "hit");
        opened.add_permits(1);
        before
    };
    let (changed, before) = tokio::join!(change, meanwhile);
    assert_eq!(changed.status, 200);
    let after = client.get("/a?v=1").await.text();
    assert_ne!(after, before);
    // Nor does what was stored by the rules of before come back with them.
    gateway.write_config_and_wait(&format!("# again\n{}", config(&upstream, &routes(all)))).await;
    assert_ne!(client.get("/a?v=1&w=2").await.text(), by_old_rules);
}
