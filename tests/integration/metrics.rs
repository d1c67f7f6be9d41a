//! The metrics that Prometheus reads.

use crate::edge::{Edge, Http};
use crate::harness::{RawClient, TestClient, TestGateway, TestUpstream, eventually};

#[tokio::test]
async fn count_exchanges_connections_and_calls_of_policies() {
    let app = TestUpstream::named("app").await;
    let gateway = TestGateway::start(&format!(
        r#"
        [server]
        metrics = "127.0.0.1:0"
        [listeners.web]
        address = "127.0.0.1:0"
        [upstreams.app]
        endpoints = ["{}"]
        [policies.stamp]
        plugin = "builtin:headers"
        config = {{ response = {{ set = {{ x-stamp = "1" }} }} }}
        [routes.all]
        use = ["stamp"]
        to = "app"
        "#,
        app.address()
    ))
    .await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let log = gateway.log();
    let line = log.iter().find(|line| line.text("event") == Some("metrics")).expect("the log says where");
    let address = line.text("address").unwrap().parse().unwrap();
    let mut prometheus = TestClient::h1(address).await;
    // An exchange is counted when it has ended, which is a moment after its last byte.
    let text = eventually("the third exchange is counted", async || {
        let text = prometheus.get("/metrics").await.text();
        text.contains("portcullis_requests_total{route=\"all\",status=\"2xx\"} 3\n").then_some(text)
    })
    .await;
    for line in [
        "portcullis_upstream_connects_total{upstream=\"app\"} 1",
        "portcullis_policy_calls_total{policy=\"stamp\",hook=\"on-response-head\"} 3",
        "portcullis_generation 1",
    ] {
        assert!(text.lines().any(|written| written == line), "no line `{line}` in:\n{text}");
    }
    assert_eq!(prometheus.get("/").await.status, 404);
}

/// The text that Prometheus gets.
pub(crate) async fn page(gateway: &TestGateway) -> String {
    let log = gateway.log();
    let line = log.iter().find(|line| line.text("event") == Some("metrics")).expect("the log says where");
    let address = line.text("address").unwrap().parse().unwrap();
    TestClient::h1(address).await.get("/metrics").await.text()
}

#[tokio::test]
async fn what_no_route_takes_is_counted_as_well() {
    let app = TestUpstream::named("app").await;
    let gateway = Edge::to(app.address())
        .server("metrics = \"127.0.0.1:0\"")
        .route("match = { host = \"known.test\" }")
        .start()
        .await;
    let address = gateway.address("web");
    for version in [Http::One, Http::Two] {
        assert_eq!(version.client(&gateway).await.get("/").await.status, 404);
    }
    for (request, status) in [
        ("GET /a%2Fb HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    ] {
        let mut client = RawClient::connect(address).await;
        client.send(request).await;
        assert_eq!(client.read_response().await.status, status);
    }
    let text = eventually("all are counted", async || {
        let text = page(&gateway).await;
        text.contains("portcullis_requests_total{route=\"\",status=\"4xx\"} 4\n").then_some(text)
    })
    .await;
    assert!(text.contains("portcullis_requests_total{route=\"\",status=\"5xx\"} 1\n"), "{text}");
    assert!(text.contains("portcullis_log_lines_lost_total{log=\"access\"} 0\n"), "{text}");
    let told = crate::status::json(&gateway).await;
    assert_eq!(told["unrouted"]["requests"], 5, "{told}");
    assert_eq!(told["unrouted"]["by_status"], serde_json::json!({ "4xx": 4, "5xx": 1 }));
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_at_the_start() {
    let app = TestUpstream::named("app").await;
    let config = format!(
        "[server]\nmetrics = \"{0}\"\n[listeners.web]\naddress = \"127.0.0.1:0\"\n[upstreams.app]\nendpoints = [\"{0}\"]\n\
         [routes.all]\nto = \"app\"\n",
        app.address()
    );
    let failed = TestGateway::builder().try_start(&config).await.expect_err("the address is the upstream's");
    assert!(format!("{failed:?}").contains("server.metrics"), "{failed:?}");
}
