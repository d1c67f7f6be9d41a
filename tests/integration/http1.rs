//! HTTP/1 as clients speak it: connections, pipelines, framing, 100 (Continue) and 103 (Early Hints).

use sha2::Digest;

use crate::edge::{Edge, Http, pattern};
use crate::harness::{Answer, H2Frame, H2Frames, RawClient, RawUpstream, TestClient, TestUpstream, curl};

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let upstream = TestUpstream::h1(|request| Answer::text(request.path())).await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    for path in ["/1", "/2", "/3"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let reply = client.read_response().await;
        assert_eq!((reply.status, reply.text().as_str()), (200, path));
        assert_eq!(reply.header("connection"), "");
    }
    // One worker has served it all, and has reused its connection.
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let upstream =
        TestUpstream::h1(|request| Answer::text(format!("{} {}", request.path(), request.body.len()))).await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    let mut requests = Vec::new();
    for at in 0..20 {
        let request = match at % 3 {
            0 => format!("GET /{at} HTTP/1.1\r\nHost: a\r\n\r\n"),
            1 => format!("POST /{at} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /"),
            _ => format!(
                "POST /{at} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            ),
        };
        requests.extend(request.into_bytes());
    }
    client.send(requests).await;
    for at in 0..20 {
        let length = [0, 5, 3][at % 3];
        assert_eq!(client.read_response().await.text(), format!("/{at} {length}"));
    }
}

#[tokio::test]
async fn a_head_may_come_in_pieces() {
    let upstream = TestUpstream::h1(|request| Answer::text(request.path())).await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    for byte in "\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\n".bytes() {
        client.send([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.read_response().await.text(), "/slow");
}

#[tokio::test]
async fn connection_close_is_kept() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let reply = client.read_response().await;
    assert_eq!((reply.text().as_str(), reply.header("connection").as_str()), ("app", "close"));
    assert_eq!(client.read_to_end().await, b"");
    // It is said between two neighbours: the upstream's connection stays.
    assert_eq!(upstream.last_request().header("connection"), "");
}

#[tokio::test]
async fn http_1_0_clients_get_what_they_understand() {
    let upstream =
        RawUpstream::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
            .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let reply = client.read_response().await;
    // No chunks: the connection's end is the body's.
    assert_eq!((reply.text().as_str(), reply.header("transfer-encoding").as_str()), ("abc", ""));
    assert_eq!(reply.header("connection"), "close");

    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
        let reply = client.read_response().await;
        assert_eq!((reply.text().as_str(), reply.header("connection").as_str()), ("app", "keep-alive"));
    }
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    client.read_response().await;
    assert_eq!(client.read_to_end().await, b"");
}

#[tokio::test]
async fn head_and_304_keep_the_length_they_declare() {
    let upstream = RawUpstream::start(|mut connection, _| async move {
        while let Some((head, _)) = connection.read_request().await {
            let status = if head.contains("if-none-match") { "304 Not Modified" } else { "200 OK" };
            connection.send(format!("HTTP/1.1 {status}\r\nContent-Length: 1234\r\n\r\n")).await;
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let reply = client.read_response_head().await;
    assert_eq!((reply.status, reply.header("content-length").as_str()), (200, "1234"));
    client.send("GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"1\"\r\n\r\n").await;
    let reply = client.read_response_head().await;
    assert_eq!((reply.status, reply.header("content-length").as_str()), (304, "1234"));
    // Nothing follows either of them.
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.read_response_head().await.status, 200);
}

#[tokio::test]
async fn a_body_that_ends_with_the_upstreams_connection_is_chunked() {
    let upstream = RawUpstream::start(|mut connection, _| async move {
        connection.read_request().await;
        connection.send("HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
    })
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let reply = client.read_response().await;
        assert_eq!(reply.header("transfer-encoding"), "chunked");
        assert_eq!(reply.text(), "until the end");
    }
}

#[tokio::test]
async fn a_client_that_expects_100_is_asked_for_its_body() {
    let upstream = TestUpstream::h1(|request| Answer::text(request.body.len().to_string())).await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n").await;
        assert_eq!(client.read_response_head().await.status, 100);
        client.send("four").await;
        let reply = client.read_response_head().await;
        assert_eq!(reply.status, 200);
        assert_eq!(client.read_exact(1).await, b"4");
    }
    assert_eq!(upstream.last_request().header("expect"), "", "the gateway has answered it");
}

#[tokio::test]
async fn a_refused_client_is_not_asked_for_its_body() {
    let upstream = TestUpstream::named("app").await;
    let digest: String = sha2::Sha256::digest("key").iter().map(|byte| format!("{byte:02x}")).collect();
    let gateway = Edge::to(upstream.address())
        .route("use = [\"keys\"]\nlimits = { body = \"1KiB\" }")
        .more(&format!(
            "[policies.keys]\nplugin = \"builtin:api-key\"\n\
             config = {{ header = \"x-api-key\", keys = [{{ name = \"a\", sha256 = \"{digest}\" }}] }}"
        ))
        .start()
        .await;
    for (fields, status) in [("Content-Length: 4", 401), ("X-Api-Key: key\r\nContent-Length: 1025", 413)] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\nExpect: 100-continue\r\n\r\n")).await;
        let reply = client.read_response_head().await;
        assert_eq!(reply.status, status);
        // The body may come or not, so nothing more can be read from this connection.
        assert_eq!(reply.header("connection"), "close");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn early_hints_pass() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: close, x-hop\r\n\
                 X-Hop: 1\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let upstream = RawUpstream::answering(hints).await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let hint = client.read_response_head().await;
    assert_eq!((hint.status, hint.header("link").as_str()), (103, "</a.css>; rel=preload"));
    for of_one_hop in ["connection", "x-hop", "keep-alive", "content-length"] {
        assert_eq!(hint.header(of_one_hop), "", "{of_one_hop}");
    }
    assert_eq!(client.read_response().await.text(), "ok");
    // HTTP/1.0 has no 1xx.
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.read_response_head().await.status, 200);
}

/// An HTTP/2 upstream that answers so many times with a 1xx status, and then with 200.
async fn hinting(status: &'static [u8; 3], times: usize) -> RawUpstream {
    RawUpstream::start(move |connection, _| async move {
        let mut connection = H2Frames::accept(connection).await;
        while let Some(H2Frame { kind, flags, stream, .. }) = connection.next().await {
            match (kind, flags & 1) {
                (4, 0) => {
                    connection.send(&H2Frame { kind: 4, flags: 1, stream: 0, payload: Vec::new() }).await;
                }
                (1, _) => {
                    // The status as a literal.
                    let payload = [&b"\x08\x03"[..], status].concat();
                    let hint = H2Frame { kind: 1, flags: 4, stream, payload };
                    for _ in 0..times {
                        connection.send(&hint).await;
                    }
                    connection.send(&H2Frame { kind: 1, flags: 5, stream, payload: vec![0x88] }).await;
                }
                _ => {}
            }
        }
    })
    .await
}

#[tokio::test]
async fn an_http2_upstream_cannot_switch_protocols() {
    let upstream = hinting(b"101", 1).await;
    let gateway = Edge::to(upstream.address()).upstream("protocol = \"h2\"").start().await;
    for upgrade in ["", "Connection: upgrade\r\nUpgrade: websocket\r\n"] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n")).await;
        assert_eq!(client.read_response_head().await.status, 502);
    }
}

#[tokio::test]
async fn an_upstream_that_floods_with_1xx_is_cut_off() {
    let flood =
        "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let upstream = RawUpstream::answering(flood).await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.read_response().await.status, 502);

    let upstream = hinting(b"103", 100).await;
    let gateway = Edge::to(upstream.address()).upstream("protocol = \"h2\"").start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.read_response().await.status, 502);
}

#[tokio::test]
async fn options_may_ask_the_server_as_a_whole() {
    let upstream = TestUpstream::h1(|request| Answer::text(request.uri.to_string())).await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let reply = client.read_response().await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "*"));
}

#[tokio::test]
async fn an_answer_before_the_bodys_end_reaches_the_client() {
    // It refuses what it has seen the head of, and closes.
    let upstream = RawUpstream::start(|mut connection, _| async move {
        connection.read_head().await;
        connection.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await;
    })
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin").await;
    let reply = client.read_response().await;
    assert_eq!((reply.status, reply.text().as_str()), (403, "no"));
}

#[tokio::test]
async fn the_rest_of_a_refused_body_is_no_request() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).route("limits = { body = \"10B\" }").start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    let body = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    assert_eq!(client.read_response().await.status, 413);
    client.send("GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(client.read_response().await.status, 200);
    assert_eq!(client.read_to_end().await, b"", "two requests, two answers");
    assert_eq!(upstream.requests().len(), 1);
    assert_eq!(upstream.last_request().path(), "/next");
}

#[tokio::test]
async fn curl_posts_and_downloads() {
    let upstream = TestUpstream::h1(|request| match request.method.as_str() {
        "POST" => Answer::text(request.body.len().to_string()),
        _ => Answer::default().body(pattern(300_000)),
    })
    .await;
    let gateway = Edge::to(upstream.address()).file("upload", pattern(100_000)).start().await;
    let file = format!("@{}", gateway.dir().join("upload").display());
    let url = gateway.url("web", "/");
    let ran = curl(["--http1.1", "--data-binary", &file, &url]).await;
    assert_eq!(ran.stdout, "100000", "{}", ran.stderr);
    let ran = curl(["--http1.1", "-H", "Transfer-Encoding: chunked", "--data-binary", &file, &url]).await;
    assert_eq!(ran.stdout, "100000", "{}", ran.stderr);
    let output = gateway.dir().join("download");
    let ran = curl(["--http1.1", "--output", &output.display().to_string(), &url]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(std::fs::read(output).unwrap() == pattern(300_000), "the download differs");
}

#[tokio::test]
async fn idle_upstream_connections_are_shared_by_clients() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    for _ in 0..20 {
        let mut client: TestClient = Http::One.client(&gateway).await;
        assert_eq!(client.get("/").await.text(), "app");
    }
    assert!(upstream.connections() <= 2, "one for each worker, not {}", upstream.connections());
}

/// Old devices and servers compare names as text.
#[tokio::test]
async fn names_of_fields_are_spelled_as_a_peer_needs_them() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\netag: \"a-b\"\r\nx-one-two: three-four\r\n\r\nok";
    let upstream = RawUpstream::start(move |mut connection, _| async move {
        while let Some((head, _)) = connection.read_request().await {
            let names: Vec<&str> = head.lines().skip(1).filter_map(|line| line.split(':').next()).collect();
            let shown = format!("x-names: {}\r\n\r\n", names.join(" "));
            if connection.try_send(answer.replacen("\r\n\r\n", &format!("\r\n{shown}"), 1)).await.is_err() {
                return;
            }
        }
    })
    .await;
    let request =
        "POST /x:y HTTP/1.1\r\nHOST: a\r\nsoapaction: b-c\r\nx-thing: d-e\r\ncontent-length: 1\r\n\r\nz";
    let title = "field-case = \"title\"";
    for (listener, endpoint) in [("", ""), (title, ""), ("", title)] {
        let gateway = Edge::to(upstream.address()).listener(listener).upstream(endpoint).start().await;
        let mut client = RawClient::connect(gateway.address("web")).await;
        // The second request goes over a connection that is reused.
        for _ in 0..2 {
            client.send(request).await;
            let reply = client.read_response().await;
            assert_eq!((reply.status, reply.text().as_str()), (200, "ok"));
            let sent = reply.header("x-names");
            let has = |name: &str| sent.split(' ').any(|sent| sent == name);
            if endpoint == title {
                assert!(
                    has("Host") && has("SOAPAction") && has("X-Thing") && has("Content-Length"),
                    "{sent}"
                );
            } else {
                assert!(
                    has("host") && has("soapaction") && has("x-thing") && has("content-length"),
                    "{sent}"
                );
            }
            let lines: Vec<&str> = reply.head.lines().collect();
            let expected = if listener == title {
                ["Content-Length: 2", "ETag: \"a-b\"", "X-One-Two: three-four"]
            } else {
                ["content-length: 2", "etag: \"a-b\"", "x-one-two: three-four"]
            };
            assert!(expected.iter().all(|line| lines.contains(line)), "{}", reply.head);
        }
    }
}
