//! Paths that can be read in several ways: routes that keep `%2F` and `//`, and what must not get past others by them.

use sha2::Digest;

use crate::edge::{COMBINATIONS, Edge};
use crate::harness::{Answer, RawClient, TestGateway, TestUpstream, portcullis_in};

async fn raw(gateway: &TestGateway, target: &str) -> (u16, String) {
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    let reply = client.read_response().await;
    (reply.status, reply.text())
}

async fn gateway(upstream: &TestUpstream) -> TestGateway {
    let digest: String = sha2::Sha256::digest("key").iter().map(|byte| format!("{byte:02x}")).collect();
    Edge::to(upstream.address())
        .more(&format!(
            "[policies.keys]\nplugin = \"builtin:api-key\"\n\
             config = {{ header = \"x-api-key\", keys = [{{ name = \"a\", sha256 = \"{digest}\" }}] }}\n\
             [routes.admin]\nmatch = {{ path = \"/admin/*\" }}\nuse = [\"keys\"]\nto = \"app\"\n\
             [routes.npm]\nmatch = {{ path = \"/npm/{{package}}\" }}\nto = \"app\"\nencoded-slash = \"keep\"\n\
             [routes.files]\nmatch = {{ path = \"/files/*\" }}\nto = \"app\"\nencoded-slash = \"keep\"\n\
             merge-slashes = false\n\
             [routes.vhost]\nmatch = {{ path = \"/api/queues/%2F/*\" }}\nto = \"app\"\nencoded-slash = \"keep\"\n\
             [routes.s3]\nmatch = {{ path = \"/s3/*\" }}\nto = \"app\"\nmerge-slashes = false\n"
        ))
        .start()
        .await
}

#[tokio::test]
async fn routes_serve_paths_in_the_form_that_their_upstream_needs() {
    let upstream = TestUpstream::h1(|request| Answer::text(request.uri.to_string())).await;
    let gateway = gateway(&upstream).await;
    for (target, forwarded) in [
        ("/npm/@scope%2fname?x=%2f//", "/npm/@scope%2Fname?x=%2f//"),
        ("/files/group%2Fproject//raw", "/files/group%2Fproject//raw"),
        ("/api/queues/%2f/orders", "/api/queues/%2F/orders"),
        ("/s3/bucket//a//b", "/s3/bucket//a//b"),
        ("/other//a/./b", "/other/a/b"),
    ] {
        assert_eq!(raw(&gateway, target).await, (200, forwarded.to_owned()), "{target}");
    }
    for target in ["/other/a%2Fb", "/s3/a%2Fb", "/s3/a//../b"] {
        assert_eq!(raw(&gateway, target).await.0, 400, "{target}");
    }
}

#[tokio::test]
async fn no_form_of_a_path_gets_past_a_policy() {
    let upstream = TestUpstream::h1(|request| Answer::text(request.uri.to_string())).await;
    let gateway = gateway(&upstream).await;
    for target in [
        "/admin/x",
        "//admin/x",
        "/admin//x",
        "/./admin/x",
        "/x/../admin/x",
        "/%61dmin/x",
        "/files/..%2Fadmin/x",
        "/files/a%2f..%2f..%2fadmin/x",
        "/files/%2e%2e%2Fadmin/x",
        "/files//../../admin/x",
        "/files%2F..%2Fadmin/x",
        "/npm/..%2Fadmin",
        "/npm/%2F..%2F..%2Fadmin",
        "/admin%2Fx",
        "/%2Fadmin/x",
        "/admin;a=b/x",
        "/;/admin/x",
        "/files/..;/admin/x",
        "/s3/..;a/admin",
    ] {
        let (status, text) = raw(&gateway, target).await;
        assert!(status == 400 || status == 401, "{target}: {status} {text}");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn the_form_is_the_same_over_both_protocols() {
    for (client, server) in COMBINATIONS {
        let upstream = server.server(|request| Answer::text(request.path())).await;
        let gateway = Edge::to(upstream.address())
            .upstream(server.line())
            .route("encoded-slash = \"keep\"\nmerge-slashes = false")
            .start()
            .await;
        let mut client = client.client(&gateway).await;
        assert_eq!(client.get("/a%2fb//c").await.text(), "/a%2Fb//c");
        assert_eq!(client.get("/a%2F..%2Fb").await.status, 400);
    }
}

/// A host is the same host however its address is written.
#[tokio::test]
async fn addresses_of_ipv6_are_compared_as_addresses() {
    let upstream = TestUpstream::h1(|request| Answer::text(request.path())).await;
    let guarded = TestUpstream::named("guarded").await;
    let gateway = Edge::to(upstream.address())
        .more(&format!(
            "[upstreams.guarded]\nendpoints = [\"{}\"]\n\
             [routes.guarded]\nmatch = {{ host = \"[2001:DB8:0::1]\" }}\nto = \"guarded\"\n",
            guarded.address()
        ))
        .start()
        .await;
    for host in ["[2001:db8::1]", "[2001:DB8:0:0:0:0:0:1]", "[2001:0db8::0001]:8080", "[2001:db8::0.0.0.1]"] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(client.read_response().await.text(), "guarded", "{host}");
    }
}

/// Each route is shown the form that it was asked for, and a refusal says why.
#[tokio::test]
async fn explain_shows_the_form_of_a_path_that_each_route_was_asked_for() {
    let upstream = TestUpstream::named("app").await;
    let gateway = gateway(&upstream).await;
    for (target, expected) in [
        (
            "/npm/@scope%2fname",
            &["> npm ", "the request has `/npm/@scope%2Fname`", "GET /npm/@scope%2Fname"][..],
        ),
        (
            "/other/a%2Fb",
            &[
                "asks for path `/admin/*`, and the request has `/other/a/b`",
                "asks for path `/files/*`, and the request has `/other/a%2Fb`",
                "> all ",
                "400: invalid request target: encoded slash or backslash in path",
            ],
        ),
        (
            "/admin;a/x",
            &["400: the path could be read as one of route `admin`, which is guarded by more than"],
        ),
        ("/s3/a//b", &["asks for path `/admin/*`, and the request has `/s3/a/b`", "> s3 ", "GET /s3/a//b"]),
    ] {
        let url = format!("http://a{target}");
        let ran = portcullis_in(gateway.dir(), ["explain", "GET", &url]).await;
        for words in expected {
            assert!(ran.stdout.contains(words), "{words:?} for {target}:\n{}{}", ran.stdout, ran.stderr);
        }
    }
}
