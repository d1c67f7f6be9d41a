//! Routes that answer by themselves: redirects, and answers from the configuration.

use hyper::Method;

use crate::edge::{Edge, Http};
use crate::harness::{Answer, RawClient, TestGateway, TestUpstream};
use crate::setup::{KEY, record, shipped};

/// A gateway without any upstream.
async fn start() -> TestGateway {
    TestGateway::start(&format!(
        r#"
[server]
access-log = {{ format = "json" }}

[listeners.web]
address = "127.0.0.1:0"

{shipped}
[routes.moved]
match = {{ path = "/old/{{id}}/*" }}
redirect = {{ to = "https://new.test/{{id}}{{rest}}{{query}}", status = 308 }}

[routes.here]
match = {{ path = "/here/*" }}
merge-slashes = false
redirect = {{ to = "{{path}}/index.html{{query}}" }}

[routes.health]
match = {{ path = "/healthz" }}
use = ["stamp"]
respond = {{ body = "ok\n", headers = {{ x-from = "config" }} }}

[routes.guarded]
match = {{ path = "/guarded" }}
use = ["keys", "limit"]
respond = {{ status = 204 }}
limits = {{ body = "10B" }}

[routes.rest]
respond = {{ status = 410, body = "<h1>gone</h1>", headers = {{ content-type = "text/html" }} }}
"#,
        shipped = shipped("rate = \"1000/s\""),
    ))
    .await
}

#[tokio::test]
async fn a_redirect_names_the_new_place_of_each_request() {
    let gateway = start().await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        let moved = client.get("/old/7/a%20b/c?x={y}&z=%0d%0a").await;
        assert_eq!(moved.status, 308);
        assert_eq!(moved.header("location"), "https://new.test/7/a%20b/c?x=%7By%7D&z=%0d%0a");
        assert!(moved.text().contains("https://new.test/7/a%20b/c"), "{}", moved.text());
        assert_eq!(client.get("/old/7").await.header("location"), "https://new.test/7");
        let posted = client.send(Method::POST, "/here/x?q", &[], "").await;
        assert_eq!((posted.status, &*posted.header("location")), (307, "/here/x/index.html?q"));
    }
}

#[tokio::test]
async fn a_redirect_to_a_path_never_names_another_server() {
    let gateway = TestGateway::start(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [routes.all]\nmerge-slashes = false\nredirect = { to = \"{path}\" }\n",
    )
    .await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    for (target, status) in [("/x", 307), ("//evil.test/x", 400), ("/%2e//evil.test/x", 400)] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        let reply = client.read_response().await;
        assert_eq!(reply.status, status, "{target}: {}", reply.head);
        assert_eq!(reply.header("location"), if status == 307 { target } else { "" });
    }
}

#[tokio::test]
async fn an_answer_of_the_configuration_is_sent_as_it_stands() {
    let gateway = start().await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        let health = client.get("/healthz").await;
        assert_eq!((health.status, &*health.text()), (200, "ok\n"));
        assert_eq!(health.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(health.header("x-from"), "config");
        // The policies of the route see the answer.
        assert_eq!(health.header("x-frame-options"), "DENY");
        assert!(!health.header("date").is_empty());
        let head = client.send(Method::HEAD, "/healthz", &[], "").await;
        assert_eq!((head.status, &*head.text(), &*head.header("content-length")), (200, "", "3"));
        let gone = client.get("/anything").await;
        assert_eq!((gone.status, &*gone.header("content-type")), (410, "text/html"));
        assert_eq!(gone.text(), "<h1>gone</h1>");
    }
    let noted = record(&gateway, "/healthz").await;
    assert_eq!((&noted["route"], &noted["status"]), (&"health".into(), &200.into()));
    assert!(
        noted["upstream"].is_null() && noted["endpoint"].is_null() && noted["error"].is_null(),
        "{noted}"
    );
}

#[tokio::test]
async fn a_rewritten_path_is_what_the_upstream_sees_and_the_log_has_the_clients() {
    let upstream = TestUpstream::h1(|request| Answer::text(request.uri.to_string())).await;
    let gateway = Edge::to(upstream.address())
        .more(
            "[routes.api]\nmatch = { path = \"/api/{version}/*\" }\nto = \"app\"\n\
             rewrite = { path = \"/{version}/inner{rest}\" }\n\
             [routes.strip]\nmatch = { path = \"/strip/*\" }\nto = \"app\"\nrewrite = { path = \"{rest}\" }\n",
        )
        .start()
        .await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        for (path, expected) in [
            ("/api/v1/a%20b/c?d=e", "/v1/inner/a%20b/c?d=e"),
            ("/api/v1", "/v1/inner"),
            ("/strip/x/../y", "/y"),
            ("/strip", "/"),
            ("/strip/", "/"),
            ("/other", "/other"),
        ] {
            assert_eq!(client.get(path).await.text(), expected, "{path}");
        }
        assert_eq!(client.get("/strip/..;/x").await.status, 400);
    }
    assert_eq!(record(&gateway, "/api/v1/a%20b/c").await["status"], 200);
}

#[tokio::test]
async fn policies_come_before_the_answer() {
    let gateway = start().await;
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(client.get("/guarded").await.status, 401);
    let let_in = client.get_with("/guarded", &[("x-api-key", KEY)]).await;
    assert_eq!((let_in.status, &*let_in.header("content-length")), (204, ""));
    let too_large = client.send(Method::POST, "/guarded", &[("x-api-key", KEY)], "eleven bytes").await;
    assert_eq!(too_large.status, 413);
}

#[tokio::test]
async fn a_body_that_was_not_sent_yet_closes_the_connection_behind_the_answer() {
    let gateway = start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("POST /healthz HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi").await;
    let reply = client.read_response().await;
    assert_eq!((reply.status, &*reply.header("connection")), (200, ""));
    client.send("POST /healthz HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\n").await;
    let reply = client.read_response().await;
    assert_eq!((reply.status, &*reply.header("connection")), (200, "close"));
    client.finish().await;
    assert_eq!(client.read_to_end().await, b"");
}

#[tokio::test]
async fn a_body_from_a_file_is_what_the_file_holds_now() {
    let gateway = TestGateway::builder()
        .file("pages/down.html", "<h1>back soon</h1>")
        .start(
            "[listeners.web]\naddress = \"127.0.0.1:0\"\n[routes.all]\n\
             respond = { status = 503, body-file = \"pages/down.html\", headers = { retry-after = \"60\" } }\n",
        )
        .await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        let down = client.get("/").await;
        assert_eq!((down.status, &*down.text()), (503, "<h1>back soon</h1>"));
        assert_eq!(down.header("content-type"), "text/html; charset=utf-8");
        let head = client.send(Method::HEAD, "/", &[], "").await;
        assert_eq!((&*head.text(), &*head.header("content-length")), ("", "18"));
    }
    gateway.write_and_wait("pages/down.html", "<h1>tomorrow</h1>").await;
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(client.get("/").await.text(), "<h1>tomorrow</h1>");
    let refused = gateway.write_and_expect_refusal("pages/down.html", vec![b'x'; (1 << 20) + 1]).await;
    assert!(refused.contains("down.html") && refused.contains("1MiB"), "{refused}");
    assert_eq!(client.get("/").await.text(), "<h1>tomorrow</h1>");
}
