//! Endpoints that the gateway asks whether they work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use hyper::Response;
use serde_json::Value;

use crate::edge::{Edge, Http};
use crate::harness::{Answer, Pieces, RawUpstream, TestGateway, TestUpstream, eventually, portcullis_in};

/// An upstream that answers its name, and for `/healthz` with a status that the test sets.
async fn checked(name: &'static str) -> (TestUpstream, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let own = Arc::clone(&status);
    let answer = move |request: &crate::harness::Received| match request.path() {
        "/healthz" => Answer::text("status: up").status(own.load(Ordering::SeqCst)),
        _ => Answer::text(name),
    };
    (TestUpstream::h1(answer).await, status)
}

fn checks(upstream: &TestUpstream) -> usize {
    upstream.requests().iter().filter(|request| request.path() == "/healthz").count()
}

/// The endpoints of the upstream `app`, as `status` shows them.
async fn endpoints(gateway: &TestGateway) -> Vec<Value> {
    let status = portcullis_in(gateway.dir(), ["status", "-c", "portcullis.toml", "--json"]).await.stdout;
    let status: Value = serde_json::from_str(&status).unwrap();
    status["upstreams"][0]["endpoints"].as_array().unwrap().clone()
}

/// Waits until the endpoints are healthy, or not, as `expected` says.
async fn until_healthy(gateway: &TestGateway, expected: &[bool]) -> Vec<Value> {
    eventually("checks have found that", async || {
        let endpoints = endpoints(gateway).await;
        let healthy = endpoints.iter().map(|endpoint| endpoint["healthy"].as_bool().unwrap());
        // An endpoint is used until its first result.
        let asked = endpoints.iter().all(|endpoint| !endpoint["checks"][0].is_null());
        (asked && healthy.eq(expected.iter().copied())).then_some(endpoints)
    })
    .await
}

/// Which endpoints answer ten requests, over connections that land on all workers.
async fn answering(gateway: &TestGateway) -> Vec<String> {
    let mut names = Vec::new();
    for at in 0..10 {
        let version = if at % 2 == 0 { Http::One } else { Http::Two };
        let reply = version.client(gateway).await.get("/").await;
        assert_eq!(reply.status, 200);
        names.push(reply.text());
    }
    names.sort();
    names.dedup();
    names
}

#[tokio::test]
async fn an_endpoint_that_fails_its_check_is_left_out_until_it_passes_again() {
    let ((a, status), (b, _)) = (checked("a").await, checked("b").await);
    let gateway = Edge::to_all([a.address().to_string(), b.address().to_string()])
        .server("metrics = \"127.0.0.1:0\"")
        .upstream(
            "health-checks = [{ path = \"/healthz\", body = \"up\", interval = \"10ms\", rise = 2, fall = 2 }]",
        )
        .start()
        .await;
    until_healthy(&gateway, &[true, true]).await;
    assert_eq!(answering(&gateway).await, ["a", "b"]);
    status.store(503, Ordering::SeqCst);
    let found = until_healthy(&gateway, &[false, true]).await;
    assert_eq!(answering(&gateway).await, ["b"]);
    let check = &found[0]["checks"][0];
    assert_eq!((check["check"].as_str(), check["passes"].as_bool()), (Some("GET /healthz"), Some(false)));
    assert_eq!(check["error"], "it answered 503");
    let warned = gateway.wait_for_log("it says so", |line| line.message.contains("left out")).await;
    let expected = "fails its check `GET /healthz`: it answered 503; 1 of 2 left";
    assert!(warned.message.contains(expected), "{warned:?}");
    let status_text = portcullis_in(gateway.dir(), ["status", "-c", "portcullis.toml"]).await.stdout;
    assert!(status_text.contains("it fails its check `GET /healthz`: it answered 503"), "{status_text}");
    let explained =
        portcullis_in(gateway.dir(), ["explain", "--live", "-c", "portcullis.toml", "GET", "/"]).await.stdout;
    assert!(explained.contains("left-out"), "{explained}");
    let page = crate::metrics::page(&gateway).await;
    let metric = |name: &str, upstream: &TestUpstream| {
        format!(
            "portcullis_upstream_endpoint_{name}{{upstream=\"app\",endpoint=\"{}\"}} ",
            upstream.address()
        )
    };
    for (metric, value) in [
        (metric("healthy", &a), "0\n"),
        (metric("healthy", &b), "1\n"),
        (metric("checks_failed_total", &b), "0\n"),
    ] {
        assert!(page.contains(&format!("{metric}{value}")), "{metric}{value} in {page}");
    }
    assert!(!page.contains(&format!("{}0\n", metric("checks_failed_total", &a))), "{page}");
    // Checks are no exchanges: the access log does not have them.
    assert!(gateway.stdout().iter().all(|line| !line.contains("/healthz")));
    let asked = a.requests().into_iter().find(|request| request.path() == "/healthz").unwrap();
    assert_eq!(asked.header("user-agent"), "portcullis-health-check");
    assert_eq!(asked.header("host"), a.address().to_string());

    status.store(200, Ordering::SeqCst);
    until_healthy(&gateway, &[true, true]).await;
    assert_eq!(answering(&gateway).await, ["a", "b"]);
    gateway
        .wait_for_log("it says so", |line| line.message.contains("passes its check `GET /healthz` again"))
        .await;
}

#[tokio::test]
async fn what_was_found_stays_over_reloads_and_each_endpoint_is_asked_once_for_all_workers() {
    let ((a, status), (b, _)) = (checked("a").await, checked("b").await);
    status.store(500, Ordering::SeqCst);
    let gateway = Edge::to_all([a.address().to_string(), b.address().to_string()])
        .upstream("health-checks = [{ path = \"/healthz\", interval = \"1h\" }]")
        .start()
        .await;
    until_healthy(&gateway, &[false, true]).await;
    assert_eq!((checks(&a), checks(&b)), (1, 1));
    // The same check after a change of the upstream and of its endpoints: a new one alone is asked.
    let (c, _) = checked("c").await;
    let config = std::fs::read_to_string(gateway.dir().join("portcullis.toml")).unwrap();
    let more =
        config.replace("endpoints = [", &format!("hide-server = true\nendpoints = [\"{}\", ", c.address()));
    gateway.write_config_and_wait(&more).await;
    until_healthy(&gateway, &[true, false, true]).await;
    assert_eq!(answering(&gateway).await, ["b", "c"]);
    assert_eq!((checks(&a), checks(&b), checks(&c)), (1, 1, 1));
    // Without the check nothing speaks against it.
    let without: Vec<&str> = more.lines().filter(|line| !line.starts_with("health-checks")).collect();
    gateway.write_config_and_wait(&without.join("\n")).await;
    eventually("all are used", async || (answering(&gateway).await == ["a", "b", "c"]).then_some(())).await;
    gateway.write_config_and_wait(&config).await;
    until_healthy(&gateway, &[false, true]).await;
    assert_eq!(checks(&a), 2);
}

#[tokio::test]
async fn a_gateway_whose_endpoints_all_fail_starts_and_tries_them() {
    let ((a, first), (b, second)) = (checked("a").await, checked("b").await);
    first.store(503, Ordering::SeqCst);
    second.store(503, Ordering::SeqCst);
    let gateway = Edge::to_all([a.address().to_string(), b.address().to_string()])
        .upstream("health-checks = [{ path = \"/healthz\", interval = \"1h\" }]")
        .start()
        .await;
    until_healthy(&gateway, &[false, false]).await;
    assert_eq!(answering(&gateway).await, ["a", "b"]);
}

#[tokio::test]
async fn one_check_of_several_is_enough_to_leave_an_endpoint_out() {
    let hung = RawUpstream::start(|connection, _| async move {
        std::future::pending::<()>().await;
        drop(connection);
    })
    .await;
    let (good, _) = checked("good").await;
    let gateway = Edge::to_all([hung.address().to_string(), good.address().to_string()])
        .upstream(
            "health-checks = [{ kind = \"tcp\" }, { path = \"/healthz\", host = \"app.test\", timeout = \"300ms\" }]",
        )
        .start()
        .await;
    let found = until_healthy(&gateway, &[false, true]).await;
    let by_check = |endpoint: &Value| {
        let mut checks: Vec<(String, bool)> = (endpoint["checks"].as_array().unwrap().iter())
            .map(|check| (check["check"].as_str().unwrap().to_owned(), check["passes"].as_bool().unwrap()))
            .collect();
        checks.sort();
        checks
    };
    let expected = |passes| vec![("GET /healthz".to_owned(), passes), ("TCP connect".to_owned(), true)];
    eventually("all results are there", async || {
        let endpoints = endpoints(&gateway).await;
        (by_check(&endpoints[0]) == expected(false) && by_check(&endpoints[1]) == expected(true))
            .then_some(())
    })
    .await;
    assert_eq!(found[0]["left_out"]["reason"], "it fails its check `GET /healthz`: no answer within 300ms");
    assert_eq!(good.requests()[0].header("host"), "app.test");
}

#[tokio::test]
async fn a_grpc_server_is_asked_by_its_own_protocol() {
    let serving = Arc::new(AtomicBool::new(false));
    let own = Arc::clone(&serving);
    let server = TestUpstream::streaming_h2(move |request| {
        let own = Arc::clone(&own);
        async move {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            assert_eq!(request.headers()["te"], "trailers");
            let asked = http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
            assert_eq!(&asked[..], b"\0\0\0\0\x08\x0a\x06a.Shop");
            let status = if own.load(Ordering::SeqCst) { 1 } else { 2 };
            let (pieces, body) = Pieces::new();
            tokio::spawn(async move {
                pieces.send(vec![0, 0, 0, 0, 2, 8, status]).await;
                pieces.trailers(&[("grpc-status", "0")]).await;
            });
            Response::builder().header("content-type", "application/grpc").body(body.boxed()).unwrap()
        }
    })
    .await;
    let gateway = Edge::to(server.address())
        .upstream(
            "protocol = \"h2\"\n\
             health-checks = [{ kind = \"grpc\", service = \"a.Shop\", interval = \"10ms\", rise = 1, fall = 1 }]",
        )
        .start()
        .await;
    let found = until_healthy(&gateway, &[false]).await;
    assert_eq!(found[0]["checks"][0]["error"], "it says that it is not serving");
    serving.store(true, Ordering::SeqCst);
    until_healthy(&gateway, &[true]).await;
    serving.store(false, Ordering::SeqCst);
    until_healthy(&gateway, &[false]).await;
}
