//! Requests for the same response at the same time.

use std::sync::Arc;

use hyper::Response;
use tokio::sync::{Barrier, Notify, Semaphore};

use super::{counter, edge, status};
use crate::edge::{Http, pattern};
use crate::harness::{Pieces, RawClient, Reply, TestClient, TestGateway, TestUpstream, eventually, within};
use crate::metrics::page;

const CLIENTS: usize = 40;

async fn clients(gateway: &TestGateway, count: usize) -> Vec<TestClient> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(Http::One.client(gateway).await);
    }
    clients
}

/// Lets all clients ask for `/a` at the same time, and returns what they get. Each sends these fields, by its number.
async fn all_with(
    clients: Vec<TestClient>,
    fields: fn(usize) -> &'static [(&'static str, &'static str)],
) -> Vec<(usize, Reply)> {
    let mut asking = tokio::task::JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        asking.spawn(async move { (number, client.get_with("/a", fields(number)).await) });
    }
    asking.join_all().await
}

/// The same, without fields.
async fn all_at_once(clients: Vec<TestClient>) -> Vec<Reply> {
    all_with(clients, |_| &[]).await.into_iter().map(|(_, reply)| reply).collect()
}

/// An upstream whose answers begin when the gate is opened.
async fn gated(gate: &Arc<Semaphore>, head: &'static [(&'static str, &'static str)]) -> TestUpstream {
    let (gate, count) = (gate.clone(), counter());
    TestUpstream::streaming_h1(move |_| {
        let (gate, number) = (gate.clone(), count());
        async move {
            drop(gate.acquire().await);
            let (pieces, body) = Pieces::new();
            tokio::spawn(async move { pieces.send(number.to_string()).await });
            let response = head
                .iter()
                .fold(Response::builder(), |response, (name, value)| response.header(*name, *value));
            response.body(body.boxed()).unwrap()
        }
    })
    .await
}

#[tokio::test]
async fn a_burst_on_a_cold_key_makes_one_request() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = gated(&gate, &[("cache-control", "max-age=60")]).await;
    let gateway = edge(&upstream, "collapse = { wait = \"60s\" }").start().await;
    let clients = clients(&gateway, CLIENTS).await;
    let replies = all_at_once(clients);
    let opened = async {
        eventually("the upstream is asked", async || (!upstream.requests().is_empty()).then_some(())).await;
        gate.add_permits(1000);
    };
    let (replies, ()) = tokio::join!(replies, opened);
    assert!(replies.iter().all(|reply| reply.text() == "1"));
    assert_eq!(upstream.requests().len(), 1);
    let collapsed = replies.iter().filter(|reply| reply.header("cache-status").contains("collapsed")).count();
    let hits = replies.iter().filter(|reply| status(reply) == "hit").count();
    assert_eq!(collapsed + hits, CLIENTS - 1);
}

#[tokio::test]
async fn a_change_while_a_response_is_awaited_costs_one_more_request_and_not_one_each() {
    let (gate, count) = (Arc::new(Semaphore::new(0)), counter());
    let opened = gate.clone();
    let upstream = TestUpstream::streaming_h1(move |request| {
        let (gate, number) = (gate.clone(), count());
        async move {
            let (pieces, body) = Pieces::new();
            if request.method() == "GET" {
                drop(gate.acquire().await);
            }
            tokio::spawn(async move { pieces.send(number.to_string()).await });
            Response::builder().header("cache-control", "max-age=60").body(body.boxed()).unwrap()
        }
    })
    .await;
    let gateway = edge(&upstream, "collapse = { wait = \"60s\" }").start().await;
    let clients = clients(&gateway, CLIENTS).await;
    let mut changing = Http::One.client(&gateway).await;
    let change = async {
        eventually("the upstream is asked", async || (!upstream.requests().is_empty()).then_some(())).await;
        // What the upstream was asked for before is not what it has now.
        assert_eq!(changing.send(hyper::Method::POST, "/a", &[], "new").await.status, 200);
        opened.add_permits(1000);
    };
    let (replies, ()) = tokio::join!(all_at_once(clients), change);
    assert!(replies.iter().all(|reply| reply.status == 200));
    // One for the response of before, one for the change, one for all others.
    assert_eq!(upstream.requests().len(), 3);
}

#[tokio::test]
async fn responses_that_vary_are_got_once_each() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = gated(&gate, &[("cache-control", "max-age=60"), ("vary", "x-kind")]).await;
    let gateway = edge(&upstream, "collapse = { wait = \"60s\" }").start().await;
    let clients = clients(&gateway, CLIENTS).await;
    let replies = all_with(clients, |number| match number % 2 {
        0 => &[("x-kind", "even")],
        _ => &[("x-kind", "odd")],
    });
    let opened = async {
        eventually("the upstream is asked", async || (!upstream.requests().is_empty()).then_some(())).await;
        gate.add_permits(1000);
    };
    let (replies, ()) = tokio::join!(replies, opened);
    let of = |rest: usize| {
        let replies = replies.iter().filter(|(number, _)| number % 2 == rest);
        let mut texts: Vec<String> = replies.map(|(_, reply)| reply.text()).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 1, "{rest}: {texts:?}");
        texts.remove(0)
    };
    assert_ne!(of(0), of(1));
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn what_is_not_stored_is_got_by_all_at_once_and_not_one_after_the_other() {
    // The first answer comes alone. Those that waited for it are answered only once all of them have asked.
    let (barrier, count) = (Arc::new(Barrier::new(CLIENTS - 1)), counter());
    let asked = Arc::new(Notify::new());
    let first = asked.clone();
    let upstream = TestUpstream::streaming_h1(move |_| {
        let (barrier, number, first) = (barrier.clone(), count(), first.clone());
        async move {
            match number {
                1 => first.notified().await,
                _ => {
                    barrier.wait().await;
                }
            }
            let (pieces, body) = Pieces::new();
            tokio::spawn(async move { pieces.send(number.to_string()).await });
            Response::builder().header("cache-control", "no-store").body(body.boxed()).unwrap()
        }
    })
    .await;
    let gateway = edge(&upstream, "collapse = { wait = \"60s\" }").start().await;
    let clients = clients(&gateway, CLIENTS).await;
    let opened = async {
        eventually("the upstream is asked", async || (!upstream.requests().is_empty()).then_some(())).await;
        asked.notify_one();
    };
    let (replies, ()) =
        within("all are answered", async { tokio::join!(all_at_once(clients), opened) }).await;
    let mut texts: Vec<String> = replies.iter().map(|reply| reply.text()).collect();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), CLIENTS);
}

#[tokio::test]
async fn readers_get_what_has_come_and_a_leader_that_goes_takes_nothing_with_it() {
    let body = pattern(300_000);
    let (halves, rest) = (body.clone(), Arc::new(Notify::new()));
    let go_on = rest.clone();
    let upstream = TestUpstream::streaming_h1(move |_| {
        let (halves, go_on) = (halves.clone(), go_on.clone());
        async move {
            let (pieces, stream) = Pieces::new();
            tokio::spawn(async move {
                pieces.send(halves.slice(..100_000)).await;
                go_on.notified().await;
                pieces.send(halves.slice(100_000..)).await;
            });
            Response::builder().header("cache-control", "max-age=60").body(stream.boxed()).unwrap()
        }
    })
    .await;
    let gateway = edge(&upstream, "").start().await;
    let get = "GET /a HTTP/1.0\r\nHost: gateway.test\r\n\r\n";
    let mut leader = RawClient::connect(gateway.address("web")).await;
    leader.send(get).await;
    leader.read_head().await;
    assert!(leader.read_exact(100_000).await == body[..100_000]);
    let mut reader = RawClient::connect(gateway.address("web")).await;
    reader.send(get).await;
    reader.read_head().await;
    assert!(reader.read_exact(100_000).await == body[..100_000]);
    leader.reset();
    // Some time for the gateway to notice, in which it reads the next request.
    crate::edge::Http::One.client(&gateway).await;
    rest.notify_one();
    assert!(reader.read_to_end().await == body[100_000..]);
    assert!(Http::One.client(&gateway).await.get("/a").await.body == body);
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn those_that_wait_are_answered_though_the_first_client_goes_away() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = gated(&gate, &[("cache-control", "max-age=60")]).await;
    let gateway = edge(&upstream, "collapse = { wait = \"60s\" }").start().await;
    let mut leader = RawClient::connect(gateway.address("web")).await;
    leader.send("GET /a HTTP/1.1\r\nHost: gateway.test\r\n\r\n").await;
    eventually("the upstream is asked", async || (!upstream.requests().is_empty()).then_some(())).await;
    let clients = clients(&gateway, 5).await;
    let gone = async {
        leader.reset();
        gate.add_permits(1000);
    };
    let (replies, ()) = tokio::join!(all_at_once(clients), gone);
    assert!(replies.iter().all(|reply| reply.status == 200));
    // The leader's request may have ended with it; then another one led.
    assert!(upstream.requests().len() <= 2, "{}", upstream.requests().len());
}

#[tokio::test]
async fn a_slow_reader_slows_no_other() {
    let body = pattern(900_000);
    let sent = body.clone();
    let upstream = TestUpstream::h1(move |_| super::fresh("").body(sent.clone())).await;
    let gateway = edge(&upstream, "").start().await;
    let mut slow = RawClient::connect(gateway.address("web")).await;
    slow.send("GET /a HTTP/1.0\r\nHost: gateway.test\r\n\r\n").await;
    slow.read_head().await;
    let mut fast = Http::One.client(&gateway).await;
    for _ in 0..2 {
        assert!(fast.get("/a").await.body == body);
    }
    assert!(slow.read_to_end().await == body);
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_failure_is_one_for_all_that_wait() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let upstream = crate::harness::RawUpstream::start(move |mut connection, _| {
        let gate = held.clone();
        async move {
            connection.read_request().await;
            drop(gate.acquire().await);
        }
    })
    .await;
    let gateway = crate::edge::Edge::to(upstream.address())
        .route("cache = { store = \"c\", collapse = { wait = \"60s\" } }\nattempts = 1")
        .more("[caches.c]")
        .start()
        .await;
    let clients = clients(&gateway, 10).await;
    let opened = async {
        eventually("the upstream is asked", async || (upstream.connections() > 0).then_some(())).await;
        gate.add_permits(1000);
    };
    let (replies, ()) = tokio::join!(all_at_once(clients), opened);
    assert!(replies.iter().all(|reply| reply.status == 502));
    assert!(upstream.connections() <= 10);
}

#[tokio::test]
async fn none_waits_longer_than_it_may() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = gated(&gate, &[("cache-control", "max-age=60")]).await;
    let gateway = edge(&upstream, "collapse = { wait = \"100ms\" }").start().await;
    let clients = clients(&gateway, 2).await;
    let opened = async {
        eventually("the second one asks for itself", async || (upstream.requests().len() == 2).then_some(()))
            .await;
        gate.add_permits(1000);
    };
    let (replies, ()) = tokio::join!(all_at_once(clients), opened);
    assert!(replies.iter().all(|reply| reply.status == 200));
}

#[tokio::test]
async fn what_caches_hold_and_did_is_counted() {
    let upstream = TestUpstream::h1(|_| super::fresh("0123456789")).await;
    let gateway = edge(&upstream, "").server("metrics = \"127.0.0.1:0\"").start().await;
    let mut client = Http::One.client(&gateway).await;
    for _ in 0..3 {
        client.get("/a").await;
    }
    let has = async |line: &str| {
        eventually(line, async || page(&gateway).await.lines().any(|found| found == line).then_some(()))
            .await;
    };
    has(r#"portcullis_cache_requests_total{route="all",result="hit"} 2"#).await;
    has(r#"portcullis_cache_requests_total{route="all",result="miss"} 1"#).await;
    has(r#"portcullis_cache_response_body_bytes_total{route="all"} 20"#).await;
    has(r#"portcullis_cache_entries{cache="c"} 1"#).await;
    has(r#"portcullis_cache_bytes_max{cache="c"} 16777216"#).await;
}
