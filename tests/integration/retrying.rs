//! Requests that are tried again after they were sent, and upstreams of which something always fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Response, StatusCode};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::edge::{COMBINATIONS, Edge, Http};
use crate::harness::{Answer, RawUpstream, Received, TestGateway, TestUpstream, eventually, portcullis_in};
use crate::setup::record;

/// An endpoint that gets nearly every first attempt.
fn first(address: SocketAddr) -> String {
    format!("{{ address = \"{address}\", weight = 1000 }}")
}

/// Two endpoints of which the first answers 503, and a gateway that tries again for it.
async fn busy_and_free(version: Http, route: &str) -> (TestUpstream, TestUpstream, TestGateway) {
    let busy = |_: &Received| Answer::text("busy").status(503).header("retry-after", "7");
    let free = |_: &Received| Answer::text("free");
    let (busy, free, protocol) = match version {
        Http::One => (TestUpstream::h1(busy).await, TestUpstream::h1(free).await, "h1"),
        Http::Two => (TestUpstream::h2(busy).await, TestUpstream::h2(free).await, "h2"),
    };
    let gateway = Edge::to_all([first(busy.address()), free.address().to_string()])
        .upstream(&format!("protocol = \"{protocol}\"\nreplay = \"16KiB\""))
        .route(route)
        .start()
        .await;
    (busy, free, gateway)
}

#[tokio::test]
async fn a_status_is_a_reason_to_try_another_endpoint_if_the_request_may_be_sent_twice() {
    for (client, upstream) in COMBINATIONS {
        let (busy, free, gateway) = busy_and_free(upstream, "retry = { on = [502, 503] }").await;
        let mut client = client.client(&gateway).await;
        let reply = client.get("/got").await;
        assert_eq!(
            (reply.status, reply.text().as_str(), reply.header("retry-after")),
            (200, "free", String::new())
        );
        let noted = record(&gateway, "/got").await;
        assert_eq!((noted["attempts"].as_u64(), noted["status"].as_u64()), (Some(2), Some(200)));
        let body = vec![b'x'; 10_000];
        assert_eq!(client.send(Method::PUT, "/put", &[], body.clone()).await.status, 200);
        assert_eq!(busy.last_request().body, free.last_request().body);
        assert_eq!(free.last_request().body, body);

        // A POST may have been acted on, and what was not kept cannot be sent again.
        let reply = client.send(Method::POST, "/post", &[], "order").await;
        assert_eq!((reply.status, reply.text().as_str(), &*reply.header("retry-after")), (503, "busy", "7"));
        let reply = client.send(Method::PUT, "/large", &[], vec![b'x'; 100_000]).await;
        assert_eq!((reply.status, reply.text().as_str()), (503, "busy"));
        assert!(
            free.requests().iter().all(|request| request.path() != "/post" && request.path() != "/large")
        );
    }
}

#[tokio::test]
async fn the_last_attempt_is_what_the_client_gets() {
    for route in ["retry = { on = [503] }", "attempts = 2\nretry = { on = [503] }"] {
        let busy = TestUpstream::h1(|_| Answer::text("busy").status(503)).await;
        let gateway = Edge::to(busy.address()).route(route).start().await;
        let reply = Http::One.client(&gateway).await.get("/all").await;
        assert_eq!((reply.status, reply.text().as_str()), (503, "busy"));
        let attempts = if route.starts_with("attempts") { 2 } else { 3 };
        assert_eq!(busy.requests().len(), attempts, "one endpoint is asked again");
        assert_eq!(record(&gateway, "/all").await["attempts"], attempts);
        let explained =
            portcullis_in(gateway.dir(), ["explain", "-c", "portcullis.toml", "GET", "/"]).await.stdout;
        assert!(
            explained.contains(&format!("up to {attempts} attempts, on failure to connect, 503")),
            "{explained}"
        );
    }
}

#[tokio::test]
async fn a_request_that_may_not_be_idempotent_is_repeated_if_the_route_says_so() {
    let (busy, free, gateway) =
        busy_and_free(Http::One, "retry = { on = [503], non-idempotent = true }").await;
    let mut client = Http::Two.client(&gateway).await;
    assert_eq!(client.send(Method::POST, "/", &[], "order").await.text(), "free");
    assert_eq!((busy.last_request().body, free.last_request().body), ("order".into(), "order".into()));
}

#[tokio::test]
async fn a_connection_that_ends_before_the_response_is_a_reason_to_try_another_endpoint() {
    let cut = RawUpstream::start(|mut connection, _| async move {
        connection.read_request().await;
    })
    .await;
    let good = TestUpstream::named("good").await;
    let gateway = Edge::to_all([first(cut.address()), good.address().to_string()])
        .upstream("ejection = { failures = 0 }")
        .route("retry = { on = [\"reset\"] }")
        .start()
        .await;
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(client.get("/").await.text(), "good");
    assert_eq!(client.send(Method::PUT, "/", &[], "whole").await.text(), "good");
    assert_eq!(&*good.last_request().body, b"whole");
    assert_eq!(client.send(Method::POST, "/", &[], "order").await.status, 502);
}

#[tokio::test]
async fn an_endpoint_that_hangs_does_not_take_the_whole_time() {
    let hung = TestUpstream::streaming_h1(|_| std::future::pending::<Response<_>>()).await;
    let good = TestUpstream::named("good").await;
    let gateway = Edge::to_all([first(hung.address()), good.address().to_string()])
        .upstream("ejection = { failures = 0 }\ntimeouts = { response-head = \"2s\" }")
        .route("retry = { on = [\"timeout\"], try-timeout = \"200ms\" }")
        .start()
        .await;
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(client.get("/tried").await.text(), "good");
    let noted = record(&gateway, "/tried").await;
    assert_eq!(noted["attempts"], 2);
    // It waits for as long as the upstream allows, because it cannot be tried again.
    assert_eq!(client.send(Method::POST, "/waits", &[], "order").await.status, 504);
    let noted = record(&gateway, "/waits").await;
    assert_eq!(noted["attempts"], 1);
}

#[tokio::test]
async fn retries_for_a_status_take_from_the_budget() {
    let busy = TestUpstream::h1(|_| Answer::text("busy").status(503)).await;
    let good = TestUpstream::named("good").await;
    let gateway = Edge::to_all([first(busy.address()), good.address().to_string()])
        .server("metrics = \"127.0.0.1:0\"")
        .upstream("retry-budget = \"1%\"")
        .route("retry = { on = [503], delay = \"1ms\" }")
        .start()
        .await;
    let mut client = Http::One.client(&gateway).await;
    // A hundred at once are always allowed.
    for _ in 0..100 {
        assert_eq!(client.get("/").await.status, 200);
    }
    eventually("the budget is used up", async || (client.get("/").await.text() == "busy").then_some(()))
        .await;
    let page = crate::metrics::page(&gateway).await;
    assert!(page.contains("portcullis_upstream_retries_refused_total{upstream=\"app\"} 1\n"), "{page}");
}

/// What an endpoint of the storm does with each request.
#[derive(Debug, Default)]
struct Weather {
    hangs: AtomicBool,
    refuses: AtomicBool,
    slow_ms: AtomicU64,
    changed: Notify,
}

/// Starts an endpoint at an address, or at a free one.
async fn in_weather(address: Option<SocketAddr>, weather: &Arc<Weather>) -> TestUpstream {
    let weather = Arc::clone(weather);
    TestUpstream::streaming_h1_at(address, move |_| {
        let weather = Arc::clone(&weather);
        async move {
            while weather.hangs.load(Ordering::SeqCst) {
                weather.changed.notified().await;
            }
            let slow = weather.slow_ms.load(Ordering::SeqCst);
            if slow > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(slow)).await;
            }
            // In one piece with its head: a body that breaks off behind a head cannot be tried again.
            let mut response = Response::new(Full::from("ok").boxed_unsync());
            if weather.refuses.load(Ordering::SeqCst) {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            response
        }
    })
    .await
}

/// Clients that send idempotent requests one after the other until they are stopped, and count those that failed.
pub(crate) struct Load {
    done: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    pub(crate) async fn start(gateway: &TestGateway, count: usize) -> Self {
        let mut load = Self {
            done: Arc::default(),
            failed: Arc::default(),
            stop: Arc::default(),
            clients: JoinSet::new(),
        };
        for at in 0..count {
            let mut client = if at % 2 == 0 { Http::One } else { Http::Two }.client(gateway).await;
            let (done, failed, stop) = (load.done.clone(), load.failed.clone(), load.stop.clone());
            load.clients.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let (method, body) =
                        if at % 3 == 0 { (Method::PUT, "a body") } else { (Method::GET, "") };
                    let reply = client.send(method, "/", &[], body).await;
                    if reply.status != 200 {
                        failed.fetch_add(1, Ordering::SeqCst);
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        load
    }

    /// Waits until so many more requests were answered.
    pub(crate) async fn more(&self, count: usize) {
        let until = self.done.load(Ordering::SeqCst) + count;
        eventually("requests are answered", async || {
            (self.done.load(Ordering::SeqCst) >= until).then_some(())
        })
        .await;
    }

    /// Returns how many requests failed, and how many were answered.
    pub(crate) async fn end(mut self) -> (usize, usize) {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        (self.failed.load(Ordering::SeqCst), self.done.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn no_idempotent_request_fails_while_endpoints_are_killed_hang_slow_down_and_flap() {
    for balance in ["\"round-robin\"", "\"least-requests\"", "\"peak-ewma\"", "{ hash = \"client\" }"] {
        let [steady, killed, hanging, flapping] = [(); 4].map(|()| Arc::new(Weather::default()));
        let a = in_weather(None, &steady).await;
        let mut b = Some(in_weather(None, &killed).await);
        let address = b.as_ref().map(TestUpstream::address);
        let (c, d) = (in_weather(None, &hanging).await, in_weather(None, &flapping).await);
        let endpoints = [a.address(), address.unwrap(), c.address(), d.address()];
        let gateway = Edge::to_all(endpoints.map(|address| address.to_string()))
            .upstream(&format!("balance = {balance}\nejection = {{ duration = \"100ms\" }}"))
            .route("attempts = 8\nretry = { on = [\"reset\", \"timeout\", 503], try-timeout = \"1s\", delay = \"5ms\" }")
            .start()
            .await;
        let load = Load::start(&gateway, 8).await;
        for round in 0..8 {
            steady.slow_ms.store(if round % 3 == 0 { 20 } else { 0 }, Ordering::SeqCst);
            match b.take() {
                Some(running) => drop(running),
                None => b = Some(in_weather(address, &killed).await),
            }
            hanging.hangs.store(round % 4 == 1, Ordering::SeqCst);
            hanging.changed.notify_waiters();
            load.more(40).await;
            flapping.refuses.store(round % 2 == 0, Ordering::SeqCst);
            load.more(40).await;
        }
        hanging.hangs.store(false, Ordering::SeqCst);
        hanging.changed.notify_waiters();
        let (failed, done) = load.end().await;
        assert!(failed == 0 && done >= 640, "{balance}: {failed} of {done} failed");
    }
}

#[tokio::test]
async fn no_request_fails_while_endpoints_are_added_and_removed() {
    let upstreams =
        [TestUpstream::named("a").await, TestUpstream::named("b").await, TestUpstream::named("c").await];
    let endpoints: Vec<String> =
        upstreams.iter().map(|upstream| format!("\"{}\"", upstream.address())).collect();
    let gateway =
        Edge::to_all(endpoints.iter().map(|endpoint| endpoint.trim_matches('"').to_owned())).start().await;
    let config = std::fs::read_to_string(gateway.dir().join("portcullis.toml")).unwrap();
    let all = endpoints.join(", ");
    assert!(config.contains(&all));
    let load = Load::start(&gateway, 6).await;
    for round in 0..4 {
        let fewer = [&endpoints[round % 3], &endpoints[(round + 1) % 3]].map(String::as_str).join(", ");
        gateway.write_config_and_wait(&config.replace(&all, &fewer)).await;
        load.more(50).await;
        gateway.write_config_and_wait(&config).await;
        load.more(50).await;
    }
    let (failed, done) = load.end().await;
    assert!(failed == 0 && done >= 400, "{failed} of {done} failed");
    assert!(upstreams.iter().all(|upstream| !upstream.requests().is_empty()));
}
