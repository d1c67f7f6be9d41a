//! TLS on both sides: certificates, versions, protocols, and what is believed.

use crate::edge::{Edge, Http};
use crate::harness::{Answer, Authority, Ran, RawClient, TestClient, TestGateway, TestUpstream, curl};
use crate::setup::record;

/// A gateway with certificates for these names, the first one for everybody else.
async fn secured(upstream: &TestUpstream, authority: &Authority, names: &[&str], lines: &str) -> TestGateway {
    let mut edge = Edge::to(upstream.address()).file("ca.pem", &authority.pem);
    let mut certificates = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let issued = authority.issue(&[name]);
        edge = edge.file(&format!("{at}.pem"), issued.certificate).file(&format!("{at}.key"), issued.key);
        certificates.push(format!("{{ cert = \"{at}.pem\", key = \"{at}.key\" }}"));
    }
    edge.listener(&format!("tls.certificates = [{}]\n{lines}", certificates.join(", "))).start().await
}

/// Asks for `name` with curl; prints the body, the version of HTTP and the status.
async fn ask(gateway: &TestGateway, name: &str, options: &[&str]) -> Ran {
    let address = gateway.address("web");
    let (port, ca) = (address.port(), gateway.dir().join("ca.pem"));
    let resolve = format!("{name}:{port}:127.0.0.1");
    let url = format!("https://{name}:{port}/");
    let ca = ca.display().to_string();
    let fixed =
        ["--cacert", &ca, "--resolve", &resolve, "--write-out", " %{http_version} %{http_code}", &url];
    curl([options, &fixed].concat()).await
}

#[tokio::test]
async fn the_certificate_is_chosen_by_the_name_asked_for() {
    let (upstream, authority) = (TestUpstream::named("app").await, Authority::new());
    let gateway = secured(&upstream, &authority, &["a.test", "b.test", "*.c.test"], "").await;
    // curl checks that the certificate is for the name.
    for name in ["a.test", "b.test", "x.c.test", "B.TEST"] {
        let ran = ask(&gateway, name, &[]).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "app 2 200"), "{name}: {}", ran.stderr);
    }
    // Anybody else gets the first one, and believes it or not.
    for name in ["other.test", "x.y.c.test", "c.test"] {
        assert_eq!(ask(&gateway, name, &[]).await.code, Some(60), "{name}");
        assert_eq!(ask(&gateway, name, &["--insecure"]).await.stdout, "app 2 200");
    }
}

#[tokio::test]
async fn alpn_chooses_the_version_of_http() {
    let (upstream, authority) = (TestUpstream::named("app").await, Authority::new());
    let gateway = secured(&upstream, &authority, &["a.test"], "").await;
    assert_eq!(ask(&gateway, "a.test", &["--http2"]).await.stdout, "app 2 200");
    assert_eq!(ask(&gateway, "a.test", &["--http1.1"]).await.stdout, "app 1.1 200");
    assert_eq!(ask(&gateway, "a.test", &["--no-alpn"]).await.stdout, "app 1.1 200");
    let address = gateway.address("web");
    let mut client = TestClient::h2_tls(address, &authority, "a.test").await;
    assert_eq!(client.get("/").await.text(), "app");
    let mut client = TestClient::h1_tls(address, &authority, "a.test").await;
    assert_eq!(client.get("/").await.text(), "app");
    assert_eq!(upstream.last_request().header("x-forwarded-proto"), "https");
    assert_eq!(upstream.last_request().header("forwarded"), "for=127.0.0.1;host=gateway.test;proto=https");

    let gateway = secured(&upstream, &authority, &["a.test"], "protocols = [\"h1\"]").await;
    assert_eq!(ask(&gateway, "a.test", &["--http2"]).await.stdout, "app 1.1 200");
    let gateway = secured(&upstream, &authority, &["a.test"], "protocols = [\"h2\"]").await;
    assert_eq!(ask(&gateway, "a.test", &["--http2"]).await.stdout, "app 2 200");
    // RFC 7301, 3.2: no protocol in common ends the handshake.
    assert_ne!(ask(&gateway, "a.test", &["--http1.1"]).await.code, Some(0));
}

#[tokio::test]
async fn versions_of_tls_are_those_that_are_configured() {
    let (upstream, authority) = (TestUpstream::named("app").await, Authority::new());
    let gateway = secured(&upstream, &authority, &["a.test"], "").await;
    for (options, version) in
        [(&["--tlsv1.2", "--tls-max", "1.2"][..], "TLSv1.2"), (&["--tlsv1.3", "--tls-max", "1.3"], "TLSv1.3")]
    {
        assert_eq!(ask(&gateway, "a.test", options).await.stdout, "app 2 200");
        let line =
            gateway.wait_for_access_line("a record with the version", |line| line.contains(version)).await;
        assert!(line.contains("\"scheme\":\"https\""), "{line}");
    }
    let old = ["--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"];
    assert_ne!(ask(&gateway, "a.test", &old).await.code, Some(0));

    let gateway = secured(&upstream, &authority, &["a.test"], "tls.min-version = \"1.3\"").await;
    assert_eq!(ask(&gateway, "a.test", &[]).await.stdout, "app 2 200");
    assert_ne!(ask(&gateway, "a.test", &["--tls-max", "1.2"]).await.code, Some(0));
}

#[tokio::test]
async fn what_is_no_tls_is_closed() {
    let (upstream, authority) = (TestUpstream::named("app").await, Authority::new());
    let gateway = secured(&upstream, &authority, &["a.test"], "").await;
    for bytes in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0; 64]] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(bytes).await;
        let said = client.read_to_end().await;
        let said = String::from_utf8_lossy(&said);
        // Who speaks HTTP is told what is wrong.
        assert_eq!(said.starts_with("HTTP/1.1 400 "), bytes[0] != 0, "{said:?}");
        assert_eq!(said.ends_with("\r\n\r\nthis port speaks TLS: use https\n"), bytes[0] != 0, "{said:?}");
    }
    assert!(upstream.requests().is_empty());
    assert_eq!(ask(&gateway, "a.test", &[]).await.stdout, "app 2 200");
}

#[tokio::test]
async fn upstreams_are_verified() {
    let (trusted, other) = (Authority::new(), Authority::new());
    let issued = trusted.issue(&["127.0.0.1", "app.test"]);
    let upstream = TestUpstream::h1_tls(&issued, |_| Answer::text("app")).await;
    for (tls, status, why) in [
        // The system's authorities do not know this one.
        ("true", 502, "UnknownIssuer"),
        ("{ ca = \"other.pem\" }", 502, "UnknownIssuer"),
        ("{ ca = \"ca.pem\", server-name = \"wrong.test\" }", 502, "not valid for name"),
        ("{ ca = \"ca.pem\" }", 200, ""),
        ("{ ca = \"ca.pem\", server-name = \"app.test\" }", 200, ""),
        ("{ insecure-skip-verify = true }", 200, ""),
    ] {
        let gateway = Edge::to(upstream.address())
            .file("ca.pem", &trusted.pem)
            .file("other.pem", &other.pem)
            .upstream(&format!("tls = {tls}"))
            .start()
            .await;
        let reply = Http::One.client(&gateway).await.get("/verified").await;
        assert_eq!(reply.status, status, "{tls}");
        let noted = record(&gateway, "/verified").await;
        let error = noted["error"].as_str().unwrap_or_default();
        assert!(error.contains(why), "{tls}: {error}");
        if status == 502 {
            assert!(!reply.text().contains("UnknownIssuer"), "clients are not told about the inside");
            assert_eq!(reply.text(), "502 Bad Gateway\nthe upstream could not be reached\n");
        }
    }
}

#[tokio::test]
async fn upstreams_speak_http2_over_tls() {
    let authority = Authority::new();
    let issued = authority.issue(&["127.0.0.1"]);
    let edge =
        |address| Edge::to(address).file("ca.pem", &authority.pem).upstream("tls = { ca = \"ca.pem\" }");
    let upstream = TestUpstream::h2_tls(&issued, |_| Answer::text("app")).await;
    let gateway = edge(upstream.address()).upstream("protocol = \"h2\"").start().await;
    for version in [Http::One, Http::Two] {
        assert_eq!(version.client(&gateway).await.get("/").await.text(), "app");
    }
    let received = upstream.last_request();
    assert_eq!(
        (received.uri.scheme_str(), received.header("x-forwarded-proto").as_str()),
        (Some("https"), "http")
    );

    // One that does not agree on h2 is not spoken to as if it had.
    let upstream = TestUpstream::h1_tls(&issued, |_| Answer::text("app")).await;
    let gateway = edge(upstream.address()).upstream("protocol = \"h2\"").start().await;
    assert_eq!(Http::Two.client(&gateway).await.get("/other").await.status, 502);
    let noted = record(&gateway, "/other").await;
    assert!(noted["error"].as_str().unwrap().contains("NoApplicationProtocol"), "{noted}");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn big_bodies_pass_tls_on_both_sides() {
    let authority = Authority::new();
    let issued = authority.issue(&["127.0.0.1", "a.test"]);
    let body = crate::edge::pattern(8 << 20);
    let answer = body.clone();
    let upstream = TestUpstream::h1_tls(&issued, move |request| {
        Answer::default().body(answer.clone()).header("x-length", &request.body.len().to_string())
    })
    .await;
    let gateway = Edge::to(upstream.address())
        .file("ca.pem", &authority.pem)
        .file("a.pem", &issued.certificate)
        .file("a.key", &issued.key)
        .listener("tls = { certificates = [{ cert = \"a.pem\", key = \"a.key\" }] }")
        .upstream("tls = { ca = \"ca.pem\" }")
        .start()
        .await;
    let address = gateway.address("web");
    for h2 in [false, true] {
        let mut client = if h2 {
            TestClient::h2_tls(address, &authority, "a.test").await
        } else {
            TestClient::h1_tls(address, &authority, "a.test").await
        };
        let reply = client.send(hyper::Method::POST, "/", &[], body.clone()).await;
        assert_eq!(reply.header("x-length"), body.len().to_string());
        assert!(reply.body == body, "the body was changed");
    }
}
