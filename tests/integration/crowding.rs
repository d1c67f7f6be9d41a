//! Upstreams whose requests under way are bounded: who waits, who is refused, and that every place is given on.

use std::sync::Arc;

use hyper::{Method, Response};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::edge::{Edge, Http};
use crate::harness::{Pieces, TestGateway, TestUpstream, eventually, portcullis_in};

/// An upstream that answers once a permit is there.
async fn held(open: &Arc<Semaphore>) -> TestUpstream {
    let open = Arc::clone(open);
    TestUpstream::streaming_h1(move |_| {
        let open = Arc::clone(&open);
        async move {
            open.acquire().await.unwrap().forget();
            let (pieces, body) = Pieces::new();
            tokio::spawn(async move { pieces.send("done").await });
            Response::new(body.boxed())
        }
    })
    .await
}

/// Sends requests, each on a connection of its own, which land on all workers.
async fn send(gateway: &TestGateway, count: usize, replies: &mut JoinSet<(u16, String)>) {
    for at in 0..count {
        let version = if at % 2 == 0 { Http::One } else { Http::Two };
        let mut client = version.client(gateway).await;
        replies.spawn(async move {
            let reply = client.send(Method::POST, "/", &[], "").await;
            (reply.status, reply.header("retry-after"))
        });
    }
}

async fn metric(gateway: &TestGateway, name: &str) -> u64 {
    let page = crate::metrics::page(gateway).await;
    let start = format!("portcullis_upstream_requests_{name}{{upstream=\"app\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn requests_wait_for_room_and_no_more_are_under_way_than_may_be() {
    for limit in ["requests = 4", "endpoint-requests = 2"] {
        let open = Arc::new(Semaphore::new(0));
        let (a, b) = (held(&open).await, held(&open).await);
        let gateway = Edge::to_all([a.address().to_string(), b.address().to_string()])
            .server("metrics = \"127.0.0.1:0\"")
            .upstream(&format!("limits = {{ {limit}, waiting = 8, wait = \"60s\" }}"))
            .start()
            .await;
        let under_way = || a.requests().len() + b.requests().len();
        let mut replies = JoinSet::new();
        send(&gateway, 12, &mut replies).await;
        eventually("eight wait", async || (metric(&gateway, "waiting").await == 8).then_some(())).await;
        assert_eq!((under_way(), metric(&gateway, "under_way").await), (4, 4), "{limit}");
        assert!(a.requests().len() == 2 || limit.starts_with("requests"), "{limit}");
        let status = portcullis_in(gateway.dir(), ["status", "-c", "portcullis.toml"]).await.stdout;
        assert!(status.contains("requests under way") && status.contains("; 8 of 8 wait"), "{status}");

        // One more may not wait.
        let refused = Http::One.client(&gateway).await.send(Method::POST, "/refused", &[], "").await;
        assert_eq!((refused.status, &*refused.header("retry-after")), (503, "1"));
        let line = gateway.wait_for_access_line("its record", |line| line.contains("/refused")).await;
        assert!(line.contains("no more may wait"), "{line}");

        // Each that ends lets one in.
        for ended in 1..=8 {
            open.add_permits(1);
            eventually("the next one is let in", async || (under_way() == 4 + ended).then_some(())).await;
        }
        open.add_permits(4);
        while let Some(reply) = replies.join_next().await {
            assert_eq!(reply.unwrap().0, 200);
        }
        eventually("no room is taken", async || (metric(&gateway, "under_way").await == 0).then_some(()))
            .await;
        assert_eq!(metric(&gateway, "waited_total").await, 8);
        assert_eq!((metric(&gateway, "refused_total").await, metric(&gateway, "waiting").await), (1, 0));
    }
}

#[tokio::test]
async fn a_request_that_has_waited_for_too_long_is_refused() {
    let open = Arc::new(Semaphore::new(0));
    let upstream = held(&open).await;
    let gateway = Edge::to(upstream.address())
        .upstream("limits = { requests = 1, waiting = 5, wait = \"300ms\" }")
        .start()
        .await;
    let mut replies = JoinSet::new();
    send(&gateway, 1, &mut replies).await;
    eventually("it is under way", async || (upstream.requests().len() == 1).then_some(())).await;
    let reply = Http::Two.client(&gateway).await.get("/late").await;
    assert_eq!((reply.status, &*reply.header("retry-after")), (503, "1"));
    let line = gateway.wait_for_access_line("its record", |line| line.contains("/late")).await;
    assert!(line.contains("none ended within 300ms"), "{line}");
    open.add_permits(2);
    assert_eq!(replies.join_next().await.unwrap().unwrap().0, 200);
    assert_eq!(Http::One.client(&gateway).await.get("/").await.status, 200, "there is room again");
}

#[tokio::test]
async fn clients_that_go_away_give_up_their_place_in_the_queue_and_their_room() {
    let open = Arc::new(Semaphore::new(0));
    let upstream = held(&open).await;
    let gateway = Edge::to(upstream.address())
        .server("metrics = \"127.0.0.1:0\"")
        .upstream("limits = { requests = 2, waiting = 20, wait = \"60s\" }")
        .start()
        .await;
    let mut gone = JoinSet::new();
    send(&gateway, 12, &mut gone).await;
    eventually("ten wait", async || (metric(&gateway, "waiting").await == 10).then_some(())).await;
    let mut stays = JoinSet::new();
    send(&gateway, 2, &mut stays).await;
    eventually("twelve wait", async || (metric(&gateway, "waiting").await == 12).then_some(())).await;
    // Those in flight and those before them go away at once.
    gone.abort_all();
    eventually("the two that stay are let in", async || {
        (metric(&gateway, "waiting").await == 0 && metric(&gateway, "under_way").await == 2).then_some(())
    })
    .await;
    open.add_permits(20);
    while let Some(reply) = stays.join_next().await {
        assert_eq!(reply.unwrap().0, 200);
    }
    eventually("all room is free", async || (metric(&gateway, "under_way").await == 0).then_some(())).await;
}

#[tokio::test]
async fn a_crowd_is_served_in_full_within_the_limits() {
    let upstream = TestUpstream::named("ok").await;
    let gateway = Edge::to(upstream.address())
        .server("metrics = \"127.0.0.1:0\"")
        .upstream("limits = { endpoint-requests = 3, waiting = 100, wait = \"60s\" }")
        .start()
        .await;
    let mut clients = JoinSet::new();
    for at in 0..24 {
        let mut client = if at % 2 == 0 { Http::One } else { Http::Two }.client(&gateway).await;
        clients.spawn(async move {
            for _ in 0..40 {
                assert_eq!(client.get("/").await.status, 200);
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert_eq!(upstream.requests().len(), 960);
    eventually("all room is free", async || (metric(&gateway, "under_way").await == 0).then_some(())).await;
}
