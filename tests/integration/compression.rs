//! Responses that are encoded for clients that accept it: which, how, what their heads say, and that a client sees
//! exactly the bytes that it would have got without it.

mod bodies;
mod files;
mod streams;

use std::io::Read;

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;

use crate::edge::{COMBINATIONS, Edge, Http, pattern};
use crate::harness::{
    Answer, Received, Reply, TestClient, TestGateway, TestUpstream, curl, eventually, portcullis_in,
};
use crate::metrics::page;
use crate::setup::{misbehave, record};

const DOCS: &str = include_str!("../../docs/compression.md");

const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];

/// Text of so many bytes, which is worth encoding.
fn text(length: usize) -> String {
    let mut text: String = (0..length / 8 + 1).map(|at| format!("{:07} ", at * 7919 % 9973)).collect();
    text.truncate(length);
    text
}

/// Decodes with decoders that are not the gateway's.
fn decoded(coding: &str, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain)?,
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut plain)?,
        "zstd" => zstd::Decoder::new(bytes)?.read_to_end(&mut plain)?,
        _ => bytes.to_vec().as_slice().read_to_end(&mut plain)?,
    };
    Ok(plain)
}

/// The plain body of a reply.
fn plain(reply: &Reply) -> Vec<u8> {
    decoded(&reply.header("content-encoding"), &reply.body).unwrap()
}

/// An upstream's answer: `/TYPE/LENGTH`, with underscores for slashes in the type.
fn answer(request: &Received) -> Answer {
    let mut parts = request.path().split('/').skip(1);
    let (media_type, length) = (parts.next().unwrap().replace('_', "/"), parts.next().unwrap());
    Answer::text(text(length.parse().unwrap())).header("content-type", &media_type).header("etag", "\"one\"")
}

async fn get(client: &mut TestClient, path: &str, accepted: &str) -> Reply {
    client.get_with(path, &[("accept-encoding", accepted)]).await
}

#[tokio::test]
async fn a_response_is_encoded_as_its_client_likes_it_best() {
    for (downstream, upstream) in COMBINATIONS {
        let server = upstream.server(answer).await;
        let edge = Edge::to(server.address()).upstream(upstream.line());
        let gateway = edge.route("compress = true").start().await;
        let mut client = downstream.client(&gateway).await;
        for length in [1024, 5000, 40_000, 300_000] {
            for coding in CODINGS {
                let reply = get(&mut client, &format!("/text_html/{length}"), coding).await;
                assert_eq!((reply.status, &*reply.header("content-encoding")), (200, coding), "{length}");
                assert_eq!(reply.header("vary"), "accept-encoding");
                assert_eq!(reply.header("etag"), "W/\"one\"");
                let declared = reply.header("content-length");
                assert!(declared.is_empty() || declared == reply.body.len().to_string(), "{declared}");
                assert!(reply.body.len() < length * 2 / 3);
                assert_eq!(plain(&reply), text(length).as_bytes(), "{coding} {length}");
            }
        }
        for (accepted, coding) in
            [("gzip, deflate, br, zstd", "zstd"), ("gzip, br;q=0.9", "gzip"), ("zstd;q=0, *", "br")]
        {
            let reply = get(&mut client, "/text_html/5000", accepted).await;
            assert_eq!(reply.header("content-encoding"), coding, "{accepted}");
        }
        for accepted in ["", "deflate", "identity", "gzip;q=0", "identity;q=0, *;q=0", "gzip;q=0.5, identity"]
        {
            let reply = get(&mut client, "/text_html/5000", accepted).await;
            assert_eq!((reply.status, &*reply.header("content-encoding")), (200, ""), "{accepted}");
            assert_eq!((&*reply.header("vary"), &*reply.header("etag")), ("accept-encoding", "\"one\""));
            assert_eq!((reply.header("content-length"), reply.text()), ("5000".to_owned(), text(5000)));
        }
        let reply = client.get("/text_html/5000").await;
        assert_eq!((&*reply.header("content-encoding"), &*reply.header("vary")), ("", "accept-encoding"));
    }
}

#[tokio::test]
async fn what_is_small_or_of_another_type_is_sent_as_it_is() {
    let server = TestUpstream::h1(answer).await;
    let route =
        "compress = { types = [\"text/plain\", \"*+json\"], min-size = \"100B\", codings = [\"gzip\"] }";
    let gateway = Edge::to(server.address()).route(route).start().await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    for (path, encoded) in [
        ("/text_plain/100", true),
        ("/text_plain/99", false),
        ("/text_html/1000", false),
        ("/application_ld+json/1000", true),
        ("/image_png/1000", false),
    ] {
        let reply = get(&mut client, path, "br, gzip;q=0.5").await;
        assert_eq!(reply.header("content-encoding"), if encoded { "gzip" } else { "" }, "{path}");
        // What no client gets otherwise does not vary.
        assert_eq!(reply.header("vary"), if encoded { "accept-encoding" } else { "" }, "{path}");
        assert!(encoded || (reply.header("etag") == "\"one\"" && !reply.header("content-length").is_empty()));
    }
    // A client that takes no plain body gets what it takes.
    let reply = get(&mut client, "/image_png/10", "gzip, identity;q=0").await;
    assert_eq!(reply.header("content-encoding"), "gzip");
}

#[tokio::test]
async fn responses_without_a_body_of_their_own_stay_right() {
    let server = TestUpstream::h1(|request| {
        let answer = Answer::text(text(5000)).header("etag", "\"one\"").header("content-type", "text/html");
        match request.path() {
            "/no-content" => Answer::text("").status(204),
            "/part" => answer.status(206).header("content-range", "bytes 0-4999/9999"),
            "/encoded" => answer.header("content-encoding", "x-own"),
            "/fixed" => answer.header("cache-control", "no-transform"),
            "/empty" => Answer::text("").header("content-type", "text/html"),
            _ if request.header("if-none-match").contains("\"one\"") => {
                Answer::text("").status(304).header("etag", "\"one\"")
            }
            _ => answer,
        }
    })
    .await;
    let gateway = Edge::to(server.address()).route("compress = { min-size = \"0B\" }").start().await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        let head = client.send(Method::HEAD, "/", &[("accept-encoding", "br")], "").await;
        let whole = get(&mut client, "/", "br").await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), "", "it is not known how long the encoded body is");
        for name in ["content-encoding", "vary", "etag", "content-type"] {
            assert_eq!(head.header(name), whole.header(name), "{name}");
        }
        let head = client.send(Method::HEAD, "/", &[], "").await;
        assert_eq!((&*head.header("content-length"), &*head.header("etag")), ("5000", "\"one\""));
        for path in ["/no-content", "/part", "/encoded", "/fixed"] {
            let reply = get(&mut client, path, "br").await;
            let own = if path == "/encoded" { "x-own" } else { "" };
            assert_eq!((&*reply.header("content-encoding"), &*reply.header("vary")), (own, ""), "{path}");
            assert!(reply.header("etag") == "\"one\"" || path == "/no-content", "{path}");
        }
        let empty = get(&mut client, "/empty", "br").await;
        assert_eq!((empty.status, plain(&empty)), (200, Vec::new()));
        let fields = [("accept-encoding", "br"), ("if-none-match", "W/\"one\"")];
        let held = client.get_with("/", &fields).await;
        assert_eq!(
            (held.status, &*held.header("etag"), &*held.header("vary")),
            (304, "W/\"one\"", "accept-encoding")
        );
        let held = client.get_with("/", &[("if-none-match", "\"one\"")]).await;
        assert_eq!((held.status, &*held.header("etag")), (304, "\"one\""));
    }
}

#[tokio::test]
async fn what_may_hold_a_secret_is_encoded_for_the_sites_own_pages_alone() {
    let server = TestUpstream::h1(|request| {
        let answer = Answer::text(text(5000)).header("content-type", "text/html");
        match request.path() {
            "/login" => answer.header("set-cookie", "session=1"),
            "/shared" => answer.header("cache-control", "public, max-age=60"),
            _ => answer,
        }
    })
    .await;
    for (credentials, own, foreign) in
        [("same-origin", true, false), ("never", false, false), ("always", true, true)]
    {
        let route = format!("compress = {{ credentials = \"{credentials}\" }}");
        let gateway = Edge::to(server.address()).route(&route).start().await;
        let mut client = TestClient::h1(gateway.address("web")).await;
        for (path, fields, expected) in [
            ("/", &[][..], true),
            ("/", &[("cookie", "session=1")], foreign),
            ("/", &[("cookie", "session=1"), ("sec-fetch-site", "same-site")], foreign),
            ("/", &[("cookie", "session=1"), ("sec-fetch-site", "same-origin")], own),
            ("/", &[("authorization", "Basic eDp5")], foreign),
            ("/", &[("authorization", "Bearer x")], true),
            ("/login", &[], foreign),
            ("/shared", &[("cookie", "session=1")], true),
        ] {
            let fields: Vec<_> = [("accept-encoding", "gzip")].iter().chain(fields).copied().collect();
            let reply = client.get_with(path, &fields).await;
            let encoding = reply.header("content-encoding");
            assert_eq!(encoding == "gzip", expected, "{credentials} {path} {fields:?}");
            assert!(reply.header("vary").contains("accept-encoding"));
            assert_eq!(plain(&reply), text(5000).as_bytes());
        }
    }
}

#[tokio::test]
async fn curl_reads_the_bytes_that_it_gets_without_encoding() {
    let server = TestUpstream::h1(|request| {
        let length: usize = request.path()[1..].parse().unwrap();
        let body = if length.is_multiple_of(2) { Bytes::from(text(length)) } else { pattern(length) };
        Answer::text("").body(body).header("content-type", "text/css")
    })
    .await;
    let gateway = Edge::to(server.address()).route("compress = { min-size = \"0B\" }").start().await;
    let file = gateway.dir().join("got");
    let fetch = async |length: usize, more: &[&str]| {
        let url = gateway.url("web", &format!("/{length}"));
        let ran =
            curl(more.iter().copied().chain(["-D", "/dev/stderr", "-o", file.to_str().unwrap(), &url])).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        (ran.stderr.to_lowercase(), std::fs::read(&file).unwrap_or_default())
    };
    for length in [1, 2, 1023, 16_384, 32_768, 65_537, 1_000_000] {
        let (_, without) = fetch(length, &[]).await;
        assert_eq!(without.len(), length);
        for coding in CODINGS {
            let accepted = format!("accept-encoding: {coding}");
            for version in ["--http1.0", "--http1.1", "--http2-prior-knowledge"] {
                let (head, with) = fetch(length, &["--compressed", version, "-H", &accepted]).await;
                assert!(head.contains(&format!("content-encoding: {coding}")), "{head}");
                assert!(with == without, "{coding} {version} {length}");
            }
        }
    }
}

/// An answer that is fresh for a minute, and large.
fn fresh() -> Answer {
    Answer::text(text(200_000)).header("content-type", "text/html").header("cache-control", "max-age=60")
}

fn cached(upstream: &TestUpstream, compress: &str) -> Edge {
    Edge::to(upstream.address())
        .route(&format!("cache = \"c\"\ncompress = {compress}"))
        .more("[caches.c]\nmemory = \"16MiB\"\nobject = \"1MiB\"")
}

#[tokio::test]
async fn a_cached_response_is_asked_for_once_and_sent_in_every_coding_under_load() {
    let upstream = TestUpstream::h1(|request| match request.header("if-none-match").is_empty() {
        true => fresh().header("etag", "\"one\""),
        false => Answer::text("").status(304).header("etag", "\"one\""),
    })
    .await;
    let gateway = cached(&upstream, "true").start().await;
    let load = (0..12).map(|number| {
        let address = gateway.address("web");
        tokio::spawn(async move {
            let mut client =
                if number % 2 == 0 { TestClient::h1(address).await } else { TestClient::h2(address).await };
            for round in 0..12 {
                let coding = ["zstd", "br", "gzip", "identity"][(number + round) % 4];
                let reply = get(&mut client, "/", coding).await;
                let expected = if coding == "identity" { "" } else { coding };
                assert_eq!(reply.header("content-encoding"), expected);
                assert!(plain(&reply) == text(200_000).as_bytes(), "{coding}");
                let tag = if coding == "identity" { "\"one\"" } else { "W/\"one\"" };
                assert_eq!(reply.header("etag"), tag);
                let held = client.get_with("/", &[("accept-encoding", coding), ("if-none-match", tag)]).await;
                assert_eq!((held.status, held.header("etag")), (304, tag.to_owned()), "{coding}");
                // The tag of one coding is good for the other: they mean the same.
                let other = [("accept-encoding", "br"), ("if-none-match", "W/\"one\"")];
                assert_eq!(client.get_with("/", &other).await.status, 304);
                // What is kept has no coding, so a part of it is of the plain bytes.
                let part =
                    client.get_with("/", &[("accept-encoding", coding), ("range", "bytes=8-15")]).await;
                assert_eq!((part.status, part.text()), (206, text(200_000)[8..16].to_owned()));
                assert_eq!((&*part.header("content-encoding"), &*part.header("etag")), ("", "\"one\""));
            }
        })
    });
    for client in load.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert_eq!(upstream.requests().len(), 1);
    // Others get the same, so it holds no secret of a client with a cookie.
    let mut client = TestClient::h1(gateway.address("web")).await;
    let fields = [("accept-encoding", "br"), ("cookie", "session=1")];
    assert_eq!(client.get_with("/", &fields).await.header("content-encoding"), "br");
}

#[tokio::test]
async fn policies_see_the_plain_body_and_what_they_make_of_it_is_encoded() {
    let upstream = TestUpstream::h1(answer).await;
    let more = misbehave("bodies", "response-body", "upper", "");
    let gateway = Edge::to(upstream.address())
        .route("use = [\"bodies\"]\ncompress = { types = [\"text/lower\"] }")
        .more(&more)
        .file("misbehave.wasm", portcullis_test_guests::MISBEHAVE)
        .start()
        .await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        for coding in CODINGS {
            let reply = get(&mut client, "/text_lower/100000", coding).await;
            assert_eq!(reply.header("content-encoding"), coding);
            assert!(plain(&reply) == text(100_000).as_bytes());
        }
    }
}

#[tokio::test]
async fn what_became_of_responses_is_logged_and_counted() {
    let server = TestUpstream::h1(answer).await;
    let edge = Edge::to(server.address()).server("metrics = \"127.0.0.1:0\"").route("compress = true");
    let gateway = edge.start().await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let reply = get(&mut client, "/text_html/50000", "gzip").await;
    let line = record(&gateway, "/text_html/50000").await;
    assert_eq!((line["encoding"].as_str(), line["plain_bytes"].as_u64()), (Some("gzip"), Some(50_000)));
    assert_eq!(line["response_bytes"].as_u64(), Some(reply.body.len() as u64));
    for (path, accepted, reason) in [
        ("/text_html/10", "gzip", "small"),
        ("/image_png/5000", "gzip", "type"),
        ("/text_html/5001", "deflate", "not-accepted"),
    ] {
        get(&mut client, path, accepted).await;
        let line = record(&gateway, path).await;
        assert_eq!((line["encoding"].as_str(), &line["plain_bytes"]), (Some(reason), &Value::Null), "{path}");
    }
    let sent = reply.body.len();
    let expected = [
        "portcullis_encoding_responses_total{route=\"all\",result=\"gzip\"} 1".to_owned(),
        "portcullis_encoding_responses_total{route=\"all\",result=\"small\"} 1".to_owned(),
        "portcullis_encoding_plain_bytes_total{route=\"all\"} 50000".to_owned(),
        format!("portcullis_encoding_encoded_bytes_total{{route=\"all\"}} {sent}"),
    ];
    eventually("the metrics have all of it", async || {
        let page = page(&gateway).await;
        expected.iter().all(|line| page.lines().any(|written| written == line)).then_some(())
    })
    .await;
}

/// Hexadecimal digits of chance: they become half as many bytes.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut digit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b"0123456789abcdef"[(state >> 60) as usize]
    };
    (0..length).map(|_| digit()).collect()
}

#[tokio::test]
async fn a_field_of_ten_thousand_members_is_read_or_refused_like_any_other() {
    let server = TestUpstream::h1(answer).await;
    let edge = Edge::to(server.address()).listener("limits = { head = \"256KiB\" }").route("compress = true");
    let gateway = edge.start().await;
    let members = vec!["deflate;q=0.5"; 10_000].join(",");
    let mut client = TestClient::h1(gateway.address("web")).await;
    let reply = get(&mut client, "/text_html/5000", &format!("{members}, br")).await;
    assert_eq!((reply.status, &*reply.header("content-encoding")), (200, "br"));
}

#[tokio::test]
async fn the_example_of_the_documentation_runs() {
    let server = TestUpstream::h1(|_| Answer::text(text(5000)).header("content-type", "text/csv")).await;
    let (_, example) = DOCS.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let example = example.replace("0.0.0.0:8080", "127.0.0.1:0");
    let example = example.replace("10.0.0.11:8080", &server.address().to_string());
    let gateway = TestGateway::start(&example).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    for (path, expected) in [("/", "zstd"), ("/downloads/a.csv", ""), ("/reports/a.csv", "zstd")] {
        let reply = get(&mut client, path, "gzip, br, zstd").await;
        assert_eq!((&*reply.header("content-encoding"), plain(&reply).len()), (expected, 5000), "{path}");
    }
}

#[tokio::test]
async fn explain_says_what_a_request_would_get() {
    let server = TestUpstream::named("app").await;
    let gateway = Edge::to(server.address()).route("compress = true").start().await;
    for (field, expected) in [
        (
            "accept-encoding: br",
            "\nencoding: br, if the response is of one of `types` and not smaller than 1024 bytes, and sets no cookie\n",
        ),
        (
            "accept-encoding: deflate",
            "\nencoding: as it is: the client takes none of zstd, br, gzip, or likes that better\n",
        ),
    ] {
        let ran = portcullis_in(gateway.dir(), ["explain", "GET", "/", "-H", field]).await;
        assert!(ran.stdout.contains(expected), "{}{}", ran.stdout, ran.stderr);
    }
}
