//! Which route takes a request: by listener, by one of several hosts, and over TLS only.

use hyper::Method;

use crate::harness::{
    Authority, RawClient, TestClient, TestGateway, TestUpstream, portcullis, portcullis_in,
};

/// A gateway with a plain listener `web`, one with TLS and one for the inside, and what `more` adds.
async fn three_listeners(upstream: &TestUpstream, authority: &Authority, more: &str) -> TestGateway {
    let issued = authority.issue(&["a.test", "b.test"]);
    TestGateway::builder()
        .file("site.pem", issued.certificate)
        .file("site.key", issued.key)
        .start(&three_listeners_config(upstream, more))
        .await
}

fn three_listeners_config(upstream: &TestUpstream, more: &str) -> String {
    format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [listeners.secure]
        address = "127.0.0.1:0"
        tls = {{ certificates = [{{ cert = "site.pem", key = "site.key" }}] }}
        [listeners.internal]
        address = "127.0.0.1:0"
        [upstreams.app]
        endpoints = ["{}"]
        {more}
        "#,
        upstream.address()
    )
}

const INTERNAL: &str = r#"
    [routes.site]
    match = { path = "/site/*" }
    to = "app"
    [routes.admin]
    match = { path = "/admin/*" }
    listeners = ["internal"]
    to = "app"
"#;

#[tokio::test]
async fn a_route_for_one_listener_does_not_exist_on_another() {
    let (upstream, authority) = (TestUpstream::named("app").await, Authority::new());
    let gateway = three_listeners(&upstream, &authority, INTERNAL).await;
    let (web, secure) = (gateway.address("web"), gateway.address("secure"));
    let mut clients = [
        TestClient::h1(web).await,
        TestClient::h2(web).await,
        TestClient::h1_tls(secure, &authority, "a.test").await,
        TestClient::h2_tls(secure, &authority, "a.test").await,
    ];
    for client in &mut clients {
        assert_eq!(client.get("/site/x").await.status, 200);
        let reply = client.get("/admin/x").await;
        assert_eq!((reply.status, reply.text().contains("no route")), (404, true));
    }
    for path in ["/site/x", "/admin/x"] {
        assert_eq!(TestClient::h1(gateway.address("internal")).await.get(path).await.status, 200);
    }

    // `explain` asks for the same listener, by the running gateway and by the file.
    let config = gateway.dir().join("portcullis.toml").display().to_string();
    for (listener, expected) in [("internal", "forwarded"), ("web", "refused")] {
        for mode in ["--live", "--routes-only"] {
            let arguments =
                ["explain", "GET", "/admin/x", "-c", &config, "--listener", listener, "--json", mode];
            let ran = portcullis_in(gateway.dir(), arguments).await;
            let json: serde_json::Value = serde_json::from_str(&ran.stdout).expect(&ran.stderr);
            assert_eq!(json["ending"]["kind"], expected, "{listener} {mode}: {}", ran.stdout);
        }
    }
    let ran = portcullis(["explain", "GET", "/admin/x", "-c", &config, "--listener", "web"]).await;
    assert!(ran.stdout.contains("listener"), "{}", ran.stdout);
    let ran = portcullis(["explain", "GET", "/admin/x", "-c", &config, "--listener", "wep"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("the listeners are"), "{}", ran.stderr);
    let ran = portcullis(["routes", "-c", &config, "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json[0]["listeners"], serde_json::json!(["internal"]), "{}", ran.stdout);
}

#[tokio::test]
async fn connections_follow_a_reload_that_moves_a_route_to_another_listener() {
    let (upstream, authority) = (TestUpstream::named("app").await, Authority::new());
    let gateway = three_listeners(&upstream, &authority, INTERNAL).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    assert_eq!(client.get("/admin/x").await.status, 404);
    let moved = INTERNAL.replace("\"internal\"", "\"web\"");
    gateway.write_config_and_wait(&three_listeners_config(&upstream, &moved)).await;
    assert_eq!(client.get("/admin/x").await.status, 200);
    assert_eq!(TestClient::h1(gateway.address("internal")).await.get("/admin/x").await.status, 404);
}

#[tokio::test]
async fn a_route_takes_each_of_its_hosts() {
    let upstream = TestUpstream::named("app").await;
    let gateway = TestGateway::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [upstreams.app]
        endpoints = ["{}"]
        [routes.names]
        match = {{ host = ["a.test", "www.a.test", "*.b.test"] }}
        to = "app"
        [routes.narrower]
        match = {{ host = "x.b.test", path = "/x" }}
        to = "app"
        timeout = "1s"
        "#,
        upstream.address()
    ))
    .await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    for (host, status) in
        [("a.test", 200), ("WWW.A.test:80", 200), ("y.b.test", 200), ("b.test", 404), ("c.a.test", 404)]
    {
        assert_eq!(client.get_with("/", &[("host", host)]).await.status, status, "{host}");
    }
    let config = gateway.dir().join("portcullis.toml").display().to_string();
    let ran = portcullis(["routes", "-c", &config]).await;
    // A row for each host, in the order in which they are tried.
    let rows: Vec<Vec<&str>> =
        ran.stdout.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    let expected = [
        ["ROUTE", "HOST", "PATH"],
        ["narrower", "x.b.test", "/x"],
        ["names", "a.test", "/*"],
        ["names", "www.a.test", "/*"],
        ["names", "*.b.test", "/*"],
    ];
    assert_eq!(rows, expected, "{}", ran.stdout);
}

const TLS_ONLY: &str = r#"
    [routes.site]
    match = { host = ["a.test", "b.test"] }
    tls = "required"
    use = ["deny"]
    to = "app"
    [routes.plain]
    match = { host = "a.test", path = "/.well-known/acme-challenge/*" }
    to = "app"
    [policies.deny]
    plugin = "builtin:ip-filter"
    config = { deny = ["0.0.0.0/0"] }
"#;

#[tokio::test]
async fn a_route_over_tls_only_sends_clients_to_https() {
    let (upstream, authority) = (TestUpstream::named("app").await, Authority::new());
    let gateway = three_listeners(&upstream, &authority, TLS_ONLY).await;
    let (web, secure) = (gateway.address("web"), gateway.address("secure"));
    let port = secure.port();
    for http2 in [false, true] {
        let mut client = if http2 { TestClient::h2(web).await } else { TestClient::h1(web).await };
        for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::PATCH] {
            let body = if method == Method::POST { "x=1" } else { "" };
            let reply = client.send(method.clone(), "/a/../b?c=d", &[("host", "a.test:8080")], body).await;
            assert_eq!(reply.status, 308, "{method}");
            assert_eq!(reply.header("location"), format!("https://a.test:{port}/b?c=d"), "{method}");
            assert_eq!(reply.header("cache-control"), "no-store");
        }
    }
    // What cannot be asked for over https is told that it came to the wrong place.
    for request in [
        "OPTIONS * HTTP/1.1\r\nhost: a.test\r\n\r\n",
        "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n",
    ] {
        let mut client = RawClient::connect(web).await;
        client.send(request).await;
        let reply = client.read_response().await;
        assert_eq!((reply.status, reply.header("location")), (421, String::new()), "{request}");
    }
    assert_eq!(upstream.requests().len(), 0);
    // Over TLS the route is served: its policy sees the request.
    let mut client = TestClient::h1_tls(secure, &authority, "a.test").await;
    assert_eq!(client.get_with("/", &[("host", "a.test")]).await.status, 403);
    let mut client = TestClient::h1(web).await;
    let reply = client.get_with("/.well-known/acme-challenge/x", &[("host", "a.test")]).await;
    assert_eq!(reply.status, 200);

    let config = gateway.dir().join("portcullis.toml").display().to_string();
    let ran =
        portcullis_in(gateway.dir(), ["explain", "GET", "http://a.test/x", "-c", &config, "--live"]).await;
    assert!(
        ran.stdout.contains("308") && ran.stdout.contains(&format!("https://a.test:{port}/x")),
        "{}",
        ran.stdout
    );
}

#[tokio::test]
async fn a_redirect_names_the_port_that_clients_connect_to() {
    let (upstream, authority) = (TestUpstream::named("app").await, Authority::new());
    let issued = authority.issue(&["a.test"]);
    for (public, port) in [(443, String::new()), (9443, ":9443".to_owned())] {
        let config = format!(
            r#"
            [listeners.web]
            address = "127.0.0.1:0"
            [listeners.secure]
            address = "127.0.0.1:0"
            public-port = {public}
            tls = {{ certificates = [{{ cert = "site.pem", key = "site.key" }}] }}
            [upstreams.app]
            endpoints = ["{}"]
            [routes.all]
            match = {{ host = "a.test" }}
            tls = "required"
            to = "app"
            "#,
            upstream.address()
        );
        let builder = TestGateway::builder().file("site.pem", &issued.certificate);
        let gateway = builder.file("site.key", &issued.key).start(&config).await;
        let mut client = TestClient::h1(gateway.address("web")).await;
        let reply = client.get_with("/x?y=1", &[("host", "a.test:8080")]).await;
        let location = format!("https://a.test{port}/x?y=1");
        assert_eq!((reply.status, reply.header("location")), (308, location.clone()));
        // An explanation by the config alone agrees.
        let file = gateway.dir().join("portcullis.toml").display().to_string();
        let ran = portcullis(["explain", "GET", "http://a.test:8080/x?y=1", "-c", &file, "--json"]).await;
        assert!(ran.stdout.contains(&location), "{}{}", ran.stdout, ran.stderr);
    }
}

#[tokio::test]
async fn a_trusted_proxy_that_ends_tls_is_believed() {
    let upstream = TestUpstream::named("app").await;
    let gateway = TestGateway::start(&format!(
        r#"
        [server]
        trusted-proxies = ["127.0.0.1"]
        [listeners.web]
        address = "127.0.0.1:0"
        [upstreams.app]
        endpoints = ["{}"]
        [routes.all]
        tls = "required"
        to = "app"
        "#,
        upstream.address()
    ))
    .await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let fields = [("host", "a.test"), ("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https")];
    assert_eq!(client.get_with("/", &fields).await.status, 200);
    let reply = client.get_with("/x", &[("host", "a.test"), ("x-forwarded-proto", "http")]).await;
    // No listener has TLS, so the proxy's port is taken to be the usual one.
    assert_eq!((reply.status, reply.header("location")), (308, "https://a.test/x".to_owned()));
}
