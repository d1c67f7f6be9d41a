//! What clients get: hits, heads, ranges, conditions.

use hyper::Method;

use super::{Cached, counter, edge, fresh, status};
use crate::edge::{COMBINATIONS, pattern};
use crate::harness::{Answer, RawClient, TestUpstream};
use crate::setup::record;

#[tokio::test]
async fn the_second_request_is_answered_without_the_upstream() {
    for (client, server) in COMBINATIONS {
        let upstream =
            server.server(|request| fresh(format!("of {}", request.uri.path_and_query().unwrap()))).await;
        let gateway = edge(&upstream, "").upstream(server.line()).start().await;
        let mut client = client.client(&gateway).await;
        let first = client.get("/a?b").await;
        assert_eq!((first.status, &*first.text(), &*status(&first)), (200, "of /a?b", "fwd=uri-miss"));
        assert!(first.header("cache-status").contains("stored"), "{}", first.header("cache-status"));
        let second = client.get("/a?b").await;
        assert_eq!((second.status, &*second.text(), &*status(&second)), (200, "of /a?b", "hit"));
        assert!(second.header("age").parse::<u32>().unwrap() < 60);
        assert_eq!(second.header("cache-control"), "max-age=60");
        assert_eq!(second.header("date"), first.header("date"));
        assert!(second.header("via").contains("portcullis"));
        let head = client.send(Method::HEAD, "/a?b", &[], "").await;
        assert_eq!((head.status, &*head.text(), &*head.header("content-length")), (200, "", "7"));
        assert_eq!(status(&head), "hit");
        assert_eq!(upstream.requests().len(), 1);
        assert_eq!(client.get("/a?c").await.text(), "of /a?c");
        assert_eq!(upstream.requests().len(), 2);
    }
}

#[tokio::test]
async fn the_record_says_what_the_cache_did() {
    let cached = Cached::start("cache-status = false", |_| fresh("x")).await;
    let mut client = crate::edge::Http::One.client(&cached.gateway).await;
    assert_eq!(client.get("/first").await.header("cache-status"), "");
    assert_eq!(record(&cached.gateway, "/first").await["cache"], "miss");
    client.get("/second").await;
    client.get("/second?again").await;
    client.send(Method::HEAD, "/first", &[], "").await;
    client.send(Method::POST, "/posted", &[], "body").await;
    assert_eq!(record(&cached.gateway, "/posted").await["cache"], "bypass");
    let hit = cached.gateway.wait_for_access_line("a hit", |line| line.contains(r#""cache":"hit""#)).await;
    assert!(hit.contains(r#""method":"HEAD""#) && !hit.contains("upstream"), "{hit}");
}

#[tokio::test]
async fn parts_and_conditions_are_answered_from_what_is_stored() {
    let body = pattern(100_000);
    let sent = body.clone();
    let cached = Cached::start("", move |_| {
        fresh("")
            .body(sent.clone())
            .header("etag", "\"v1\"")
            .header("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT")
    })
    .await;
    let mut client = crate::edge::Http::One.client(&cached.gateway).await;
    // The upstream is asked for all of it.
    let part = client.get_with("/a", &[("range", "bytes=10-19")]).await;
    assert_eq!(cached.upstream.last_request().header("range"), "");
    assert_eq!((part.status, &part.body[..]), (206, &body[10..20]));
    assert_eq!(part.header("content-range"), "bytes 10-19/100000");
    for (range, content, expected) in [
        ("bytes=0-0", "bytes 0-0/100000", &body[..1]),
        ("bytes=99990-", "bytes 99990-99999/100000", &body[99_990..]),
        ("bytes=-5", "bytes 99995-99999/100000", &body[99_995..]),
        ("bytes=60000-130000", "bytes 60000-99999/100000", &body[60_000..]),
    ] {
        let part = client.get_with("/a", &[("range", range)]).await;
        assert_eq!((part.status, &*part.header("content-range")), (206, content));
        assert!(part.body == expected, "{range}");
        assert_eq!(part.header("content-length"), expected.len().to_string());
    }
    let beyond = client.get_with("/a", &[("range", "bytes=100000-")]).await;
    assert_eq!((beyond.status, &*beyond.header("content-range")), (416, "bytes */100000"));
    let same = client.get_with("/a", &[("if-none-match", "\"v0\", W/\"v1\"")]).await;
    assert_eq!((same.status, &*same.header("etag"), same.body.len()), (304, "\"v1\"", 0));
    let since = [("if-modified-since", "Mon, 01 Jan 2024 00:00:00 GMT")];
    assert_eq!(client.get_with("/a", &since).await.status, 304);
    assert_eq!(client.get_with("/a", &[("if-none-match", "\"v2\""), since[0]]).await.status, 200);
    let other = client.get_with("/a", &[("range", "bytes=0-9"), ("if-range", "\"v0\"")]).await;
    assert_eq!((other.status, other.body.len()), (200, 100_000));
    assert_eq!(cached.asked(), 1);
}

#[tokio::test]
async fn a_large_body_streams_to_clients_and_is_kept() {
    let body = pattern(900_000);
    let sent = body.clone();
    let cached = Cached::start("", move |_| fresh("").body(sent.clone())).await;
    for client in [crate::edge::Http::One, crate::edge::Http::Two] {
        let mut client = client.client(&cached.gateway).await;
        for _ in 0..2 {
            assert!(client.get("/large").await.body == body);
        }
    }
    assert_eq!(cached.asked(), 1);
}

#[tokio::test]
async fn what_is_too_large_is_passed_on_and_parts_of_it_are_asked_for() {
    let body = pattern(2_000_000);
    let sent = body.clone();
    let cached = Cached::start("", move |request| match request.header("range").as_str() {
        "" => fresh("").body(sent.clone()),
        _ => fresh("").status(206).header("content-range", "bytes 5-9/2000000").body(sent.slice(5..10)),
    })
    .await;
    let mut client = crate::edge::Http::One.client(&cached.gateway).await;
    let part = client.get_with("/a", &[("range", "bytes=5-9")]).await;
    assert_eq!((part.status, &part.body[..]), (206, &body[5..10]));
    let asked: Vec<String> =
        cached.upstream.requests().iter().map(|request| request.header("range")).collect();
    assert_eq!(asked, ["", "bytes=5-9"]);
    for _ in 0..2 {
        let whole = client.get("/a").await;
        assert!(whole.body == body);
        assert_eq!(status(&whole), "fwd=partial");
    }
    let part = client.get_with("/a", &[("range", "bytes=5-9")]).await;
    assert_eq!((part.status, &*status(&part), &part.body[..]), (206, "hit", &body[5..10]));
    assert_eq!(cached.asked(), 4);
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_passed_on_whole() {
    let body = pattern(3_000_000);
    let sent = body.clone();
    let upstream = TestUpstream::streaming_h1(move |_| {
        let sent = sent.clone();
        async move {
            let (pieces, stream) = crate::harness::Pieces::new();
            tokio::spawn(async move {
                for piece in sent.chunks(100_000) {
                    pieces.send(piece.to_vec()).await;
                }
            });
            hyper::Response::builder().header("cache-control", "max-age=60").body(stream.boxed()).unwrap()
        }
    })
    .await;
    let gateway = edge(&upstream, "").start().await;
    let mut client = crate::edge::Http::One.client(&gateway).await;
    for _ in 0..2 {
        assert!(client.get("/a").await.body == body);
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn a_response_that_ends_early_is_not_kept_and_its_client_can_tell() {
    let count = counter();
    let upstream = crate::harness::RawUpstream::start(move |mut connection, _| {
        let number = count();
        async move {
            connection.read_request().await;
            let head = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 10\r\nconnection: close\r\n\r\n";
            connection.send(format!("{head}{}", if number == 1 { "abc" } else { "0123456789" })).await;
        }
    })
    .await;
    let gateway =
        crate::edge::Edge::to(upstream.address()).route("cache = \"c\"").more("[caches.c]").start().await;
    let mut first = RawClient::connect(gateway.address("web")).await;
    first.send("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let cut = String::from_utf8(first.read_to_end().await).unwrap();
    let (head, body) = cut.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-length: 10") && "abc".starts_with(body), "{cut}");
    let mut client = crate::edge::Http::One.client(&gateway).await;
    for _ in 0..2 {
        assert_eq!(client.get("/a").await.text(), "0123456789");
    }
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn informational_responses_pass_and_are_not_kept() {
    let upstream = crate::harness::RawUpstream::start(|mut connection, _| async move {
        connection.read_request().await;
        connection
            .send(
                "HTTP/1.1 103 Early Hints\r\nlink: </s.css>\r\n\r\n\
                 HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
            )
            .await;
    })
    .await;
    let gateway =
        crate::edge::Edge::to(upstream.address()).route("cache = \"c\"").more("[caches.c]").start().await;
    for expected in [&[103, 200][..], &[200]] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await;
        let text = String::from_utf8(client.read_to_end().await).unwrap();
        let statuses: Vec<u16> =
            text.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()).collect();
        assert_eq!(statuses, expected, "{text}");
        assert!(text.ends_with("ok"));
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn other_methods_are_forwarded_and_remove_what_they_change() {
    let count = counter();
    let cached = Cached::start("", move |request| {
        let answer = fresh(count().to_string());
        match request.path() {
            "/failing" if request.method == Method::POST => answer.status(500),
            "/elsewhere" => answer.status(201).header("location", "/a"),
            "/other-host" => answer.header("location", "http://other.test/a"),
            _ => answer,
        }
    })
    .await;
    let mut client = crate::edge::Http::One.client(&cached.gateway).await;
    let a = client.get("/a").await.text();
    let b = client.get("/b").await.text();
    let failing = client.get("/failing").await.text();
    for (path, changes_a) in [("/a", true), ("/elsewhere", true), ("/other-host", false), ("/failing", false)]
    {
        let before = client.get("/a").await.text();
        let posted = client.send(Method::POST, path, &[], "x").await;
        assert_eq!(status(&posted), "fwd=method");
        assert_eq!(client.get("/a").await.text() != before, changes_a, "{path}");
    }
    assert_ne!(client.get("/a").await.text(), a);
    assert_eq!((client.get("/b").await.text(), client.get("/failing").await.text()), (b, failing));
}

#[tokio::test]
async fn what_is_not_for_others_is_not_kept() {
    let count = counter();
    let cached = Cached::start("", move |request| {
        let answer = Answer::text(count().to_string());
        match request.path() {
            "/cookie" => answer.header("cache-control", "max-age=60").header("set-cookie", "a=b"),
            "/plain" => answer,
            path => answer.header("cache-control", path.trim_start_matches('/')),
        }
    })
    .await;
    let mut client = crate::edge::Http::One.client(&cached.gateway).await;
    for path in ["/cookie", "/plain", "/no-store", "/private,max-age=60", "/PRIVATE,max-age=60"] {
        let first = client.get(path).await.text();
        assert_ne!(client.get(path).await.text(), first, "{path}");
    }
    let authorized = [("authorization", "Basic eDp5")];
    let first = client.get_with("/max-age=60", &authorized).await.text();
    assert_ne!(client.get_with("/max-age=60", &authorized).await.text(), first);
    let shared = client.get_with("/public,max-age=60", &authorized).await.text();
    assert_eq!(client.get("/public,max-age=60").await.text(), shared);
}
