//! Endpoints that are left out because they do worse than the others, and what happens if too few are left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::Response;

use crate::edge::{Edge, Http};
use crate::harness::{Answer, TestGateway, TestUpstream, eventually, portcullis_in};

/// Sends requests over connections that land on all workers.
async fn send(gateway: &TestGateway, count: usize) -> Vec<(u16, String)> {
    let (mut one, mut two) = (Http::One.client(gateway).await, Http::Two.client(gateway).await);
    let mut replies = Vec::new();
    for at in 0..count {
        let reply = if at % 2 == 0 { one.get("/").await } else { two.get("/").await };
        replies.push((reply.status, reply.text()));
    }
    replies
}

#[tokio::test]
async fn an_endpoint_that_fails_more_than_the_others_is_left_out() {
    let bad = TestUpstream::h1(|_| Answer::text("bad").status(500)).await;
    let (good, other) = (TestUpstream::named("good").await, TestUpstream::named("other").await);
    let gateway = Edge::to_all([&bad, &good, &other].map(|upstream| upstream.address().to_string()))
        .server("metrics = \"127.0.0.1:0\"")
        .upstream("ejection = { duration = \"1h\", outliers = { failures = \"20%\", window = \"100ms\", requests = 5 } }")
        .start()
        .await;
    eventually("it is left out", async || {
        let replies = send(&gateway, 30).await;
        replies.iter().all(|(status, _)| *status == 200).then_some(())
    })
    .await;
    let said = gateway.wait_for_log("it says so", |line| line.message.contains("left out")).await;
    let expected = format!(
        "endpoint {} of upstream `app` left out for 3600s: 100 % of its requests fail, and 0 % of the others'; 2 of 3 left",
        bad.address()
    );
    assert_eq!(said.message, expected);
    let status = portcullis_in(gateway.dir(), ["status", "-c", "portcullis.toml"]).await.stdout;
    assert!(status.contains("100 % of its requests fail"), "{status}");
    let page = crate::metrics::page(&gateway).await;
    let healthy = format!("endpoint_healthy{{upstream=\"app\",endpoint=\"{}\"}} 0\n", bad.address());
    assert!(page.contains(&healthy), "{page}");
}

#[tokio::test]
async fn an_endpoint_that_is_slower_than_the_others_is_left_out() {
    let slow_ms = Arc::new(AtomicU64::new(0));
    let own = Arc::clone(&slow_ms);
    let slow = TestUpstream::streaming_h1(move |_| {
        let ms = own.load(Ordering::SeqCst);
        async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Response::new(Full::from("slow").boxed_unsync())
        }
    })
    .await;
    let quick = TestUpstream::named("quick").await;
    let gateway = Edge::to_all([&slow, &quick].map(|upstream| upstream.address().to_string()))
        .upstream("ejection = { duration = \"1h\", outliers = { latency = \"200%\", window = \"500ms\", requests = 1 } }")
        .start()
        .await;
    // How long the quick one takes is the machine's affair, so the other one becomes slower until that is seen.
    let mut ms = 50;
    eventually("it is left out", async || {
        ms = (ms * 2).min(2000);
        slow_ms.store(ms, Ordering::SeqCst);
        let replies = send(&gateway, 20).await;
        replies.iter().all(|(_, name)| name == "quick").then_some(())
    })
    .await;
    let said = gateway.wait_for_log("it says so", |line| line.message.contains("left out")).await;
    assert!(said.message.contains("on average, and the others in"), "{}", said.message);
}

#[tokio::test]
async fn with_too_few_healthy_endpoints_requests_go_to_all_or_to_none() {
    for (setting, answers) in [("50%", &["a", "b", "c"][..]), ("0%", &["c"][..])] {
        let status = |name: &'static str, status: u16| {
            TestUpstream::h1(move |request| match request.path() {
                "/healthz" => Answer::text("").status(status),
                _ => Answer::text(name),
            })
        };
        let upstreams = [status("a", 503).await, status("b", 503).await, status("c", 200).await];
        let gateway = Edge::to_all(upstreams.each_ref().map(|upstream| upstream.address().to_string()))
            .server("metrics = \"127.0.0.1:0\"")
            .upstream(&format!(
                "panic = \"{setting}\"\nhealth-checks = [{{ path = \"/healthz\", interval = \"1h\" }}]"
            ))
            .start()
            .await;
        eventually("all are checked", async || {
            upstreams.iter().all(|upstream| !upstream.requests().is_empty()).then_some(())
        })
        .await;
        eventually("both are left out", async || {
            let left_out = gateway.log().iter().filter(|line| line.message.contains("left out")).count();
            (left_out == 2).then_some(())
        })
        .await;
        let mut names: Vec<String> = send(&gateway, 12).await.into_iter().map(|(_, name)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names, answers, "{setting}");
        let panics = setting == "50%";
        let status = portcullis_in(gateway.dir(), ["status", "-c", "portcullis.toml"]).await.stdout;
        assert_eq!(status.contains("too few endpoints of app are healthy"), panics, "{status}");
        let page = crate::metrics::page(&gateway).await;
        assert!(
            page.contains(&format!("portcullis_upstream_panic{{upstream=\"app\"}} {}\n", u8::from(panics))),
            "{page}"
        );
        let said = gateway.log().iter().any(|line| line.message.contains("go to all of them (`panic`)"));
        assert_eq!(said, panics);
    }
}

#[tokio::test]
async fn no_more_endpoints_are_left_out_than_may_be_and_none_is_used_without_panic() {
    let refusing = tokio::net::TcpSocket::new_v4().unwrap();
    refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addresses = [refusing.local_addr().unwrap(), other.local_addr().unwrap()];
    for (share, left_out) in [("50%", 1), ("100%", 2)] {
        let gateway = Edge::to_all(addresses.map(|address| address.to_string()))
            .upstream(&format!("panic = \"0%\"\nejection = {{ duration = \"1h\", share-max = \"{share}\" }}"))
            .route("attempts = 1")
            .start()
            .await;
        let statuses: Vec<u16> = send(&gateway, 12).await.into_iter().map(|(status, _)| status).collect();
        let status = portcullis_in(gateway.dir(), ["status", "-c", "portcullis.toml"]).await.stdout;
        assert_eq!(status.matches("left out for").count(), left_out, "{status}");
        // What may not be left out is still tried, and nothing is once all are.
        let expected = if left_out == 1 { 502 } else { 503 };
        assert_eq!(statuses.last(), Some(&expected), "{statuses:?}");
    }
}
