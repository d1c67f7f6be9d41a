//! What distinguishes stored responses: attacks on what is shared, policies, and what operators name.

use hyper::Method;

use super::{Cached, counter, edge, fresh, status};
use crate::edge::Http;
use crate::harness::{Answer, RawClient, TestUpstream};
use crate::setup::{KEY, shipped};

/// Requests that try to have their own answer kept for others, each with what is asked for afterwards.
const ATTACKS: &[(&str, &str, &str)] = &[
    (
        "a field that some servers read as the path",
        "GET /a HTTP/1.1\r\nHost: a.test\r\nX-Original-URL: /evil\r\n\r\n",
        "/a",
    ),
    ("another such field", "GET /a HTTP/1.1\r\nHost: a.test\r\nX-Rewrite-Url: /evil\r\n\r\n", "/a"),
    ("a field that names another host", "GET /a HTTP/1.1\r\nHost: a.test\r\nX-Host: evil.test\r\n\r\n", "/a"),
    (
        "a field that names another scheme",
        "GET /a HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Scheme: evil\r\n\r\n",
        "/a",
    ),
    (
        "a field that names another method",
        "GET /a HTTP/1.1\r\nHost: a.test\r\nX-HTTP-Method-Override: DELETE\r\n\r\n",
        "/a",
    ),
    ("a GET with a body", "GET /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nevil", "/a"),
    ("a port in Host", "GET /a HTTP/1.1\r\nHost: a.test:1337\r\n\r\n", "/a"),
    ("the usual port in Host", "GET /a HTTP/1.1\r\nHost: a.test:80\r\n\r\n", "/a"),
    ("letters of another case in Host", "GET /a HTTP/1.1\r\nHost: A.test\r\n\r\n", "/a"),
    ("a dot behind Host", "GET /a HTTP/1.1\r\nHost: a.test.\r\n\r\n", "/a"),
    ("an absolute target of another host", "GET http://b.test/a HTTP/1.1\r\nHost: b.test\r\n\r\n", "/a"),
    ("another query", "GET /a?evil HTTP/1.1\r\nHost: a.test\r\n\r\n", "/a"),
    ("an empty query", "GET /a? HTTP/1.1\r\nHost: a.test\r\n\r\n", "/a"),
    ("another spelling of the path", "GET /A HTTP/1.1\r\nHost: a.test\r\n\r\n", "/a"),
    ("an encoded slash", "GET /x/..%2Fa HTTP/1.1\r\nHost: a.test\r\n\r\n", "/a"),
    ("a backslash", "GET /x\\..\\a HTTP/1.1\r\nHost: a.test\r\n\r\n", "/a"),
    ("a part", "GET /a HTTP/1.1\r\nHost: a.test\r\nRange: bytes=0-0\r\n\r\n", "/a"),
    ("parts that overlap", "GET /a HTTP/1.1\r\nHost: a.test\r\nRange: bytes=0-,0-,0-\r\n\r\n", "/a"),
    ("a HEAD", "HEAD /a HTTP/1.1\r\nHost: a.test\r\n\r\n", "/a"),
    ("another method", "POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n", "/a"),
];

#[tokio::test]
async fn no_request_has_its_own_answer_kept_for_another() {
    for (name, attack, path) in ATTACKS {
        // The upstream answers by everything that it is sent but the fields of the gateway's.
        let cached = Cached::start("", |request| {
            let headers = request.headers.iter().filter(|(name, _)| {
                !matches!(name.as_str(), "x-forwarded-for" | "x-real-ip" | "x-forwarded-proto" | "forwarded")
            });
            let headers: Vec<String> =
                headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            let (method, body) = (&request.method, String::from_utf8_lossy(&request.body));
            fresh(format!("{method} {}\n{}\n{body}", request.uri, headers.join("\n")))
        })
        .await;
        let ask = async |request: &str| {
            let mut client = RawClient::connect(cached.gateway.address("web")).await;
            client.send(request.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)).await;
            String::from_utf8_lossy(&client.read_to_end().await).into_owned()
        };
        let plain = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        ask(attack).await;
        let reply = ask(&plain).await;
        let (_, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(reply.starts_with("HTTP/1.1 200"), "{name}: {reply}");
        assert!(
            body.starts_with(&format!("GET {path}\n")) && body.contains("host: a.test\n"),
            "{name}: {body}"
        );
        assert!(!body.contains("evil") && !body.contains("1337"), "{name}: {body}");
    }
}

#[tokio::test]
async fn errors_that_a_client_brings_about_are_not_kept() {
    let count = counter();
    let cached = Cached::start("", move |request| {
        let number = count();
        // As servers do with heads that are too large for them, and with methods that they do not know.
        if request.headers.contains_key("x-large") {
            return Answer::text("too large").status(400);
        }
        fresh(number.to_string())
    })
    .await;
    let mut client = Http::One.client(&cached.gateway).await;
    assert_eq!(client.get_with("/a", &[("x-large", &"x".repeat(20_000))]).await.status, 400);
    assert_eq!(client.get("/a").await.status, 200);
    // One that the gateway itself refuses does not even get to the cache.
    assert_eq!(client.get_with("/b", &[("x-huge", &"x".repeat(40_000))]).await.status, 431);
    let mut client = Http::One.client(&cached.gateway).await;
    assert_eq!(client.get("/b").await.status, 200);
}

#[tokio::test]
async fn the_spellings_of_one_path_share_an_answer() {
    let cached = Cached::start("", |request| fresh(request.uri.to_string())).await;
    let mut client = RawClient::connect(cached.gateway.address("web")).await;
    for path in ["/a/b", "/a//b", "/a/./b", "/a/x/../b", "/%61/b"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        assert_eq!(client.read_response().await.text(), "/a/b", "{path}");
    }
    assert_eq!(cached.asked(), 1);
}

#[tokio::test]
async fn responses_go_by_what_they_vary_by() {
    let cached = Cached::start("", |request| {
        fresh(request.header("accept-language")).header("vary", "Accept-Language").header("vary", "x-other")
    })
    .await;
    let mut client = Http::One.client(&cached.gateway).await;
    for language in ["de", "fr", "de", "fr"] {
        assert_eq!(client.get_with("/a", &[("accept-language", language)]).await.text(), language);
    }
    assert_eq!(status(&client.get_with("/a", &[("accept-language", "it")]).await), "fwd=vary-miss");
    assert_eq!(cached.asked(), 3);
}

#[tokio::test]
async fn the_operator_names_what_else_counts_and_what_passes_by() {
    let settings = "key = { query = [\"v\"], headers = [\"x-kind\"], cookies = [\"lang\"] }, \
                    bypass = { headers = { x-preview = true }, cookies = [\"session\"] }";
    let count = counter();
    let cached = Cached::start(settings, move |_| fresh(count().to_string())).await;
    let mut client = Http::One.client(&cached.gateway).await;
    let first = client.get("/a?v=1").await.text();
    for (path, fields, shared) in [
        ("/a?utm=2&v=1", &[][..], true),
        ("/a?v=2", &[], false),
        ("/a", &[], false),
        ("/a?v=1", &[("x-kind", "k")], false),
        ("/a?v=1", &[("cookie", "lang=de")], false),
        ("/a?v=1", &[("cookie", "other=de")], true),
        ("/a?v=1", &[("x-preview", "")], false),
        ("/a?v=1", &[("cookie", "a=b; session=c")], false),
    ] {
        assert_eq!(client.get_with(path, fields).await.text() == first, shared, "{path} {fields:?}");
    }
    assert_eq!(status(&client.get_with("/a?v=1", &[("x-preview", "")]).await), "fwd=bypass");
    assert_eq!(client.get("/a?v=1").await.text(), first);
}

/// A policy of each kind that ships, with two requests of different users and what the upstream sees of them.
#[tokio::test]
async fn a_hit_is_as_authorised_as_a_miss_and_each_user_has_an_own_answer() {
    let upstream = TestUpstream::h1(|request| fresh(format!("for {}", request.header("x-consumer")))).await;
    let keys = shipped("rate = \"1000/s\"");
    let gateway =
        edge(&upstream, "").route("use = [\"stamp\", \"keys\", \"limit\"]").more(&keys).start().await;
    let mut client = Http::One.client(&gateway).await;
    let allowed = [("x-api-key", KEY)];
    let first = client.get_with("/a", &allowed).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let hit = client.get_with("/a", &allowed).await;
    assert_eq!((&*status(&hit), hit.text()), ("hit", first.text()));
    // Response policies see hits too.
    assert_eq!(hit.header("x-frame-options"), "DENY");
    for fields in [&[][..], &[("x-api-key", "wrong")]] {
        let denied = client.get_with("/a", fields).await;
        assert_eq!(denied.status, 401);
        assert_eq!(denied.header("cache-status"), "");
    }
    assert_eq!(upstream.requests().len(), 1);
    assert_eq!(client.send(Method::HEAD, "/a", &[("x-api-key", "wrong")], "").await.status, 401);
}

#[tokio::test]
async fn requests_are_compared_as_vary_of_the_route_says() {
    // Each with what two requests have in the field, and which rules take them for the same.
    let same: &[(&str, &str, &str, &[&str])] = &[
        ("accept-encoding", "gzip,br", "gzip ,  br", &["exact", "case", "languages"]),
        ("accept-encoding", "gzip, br", "BR, gzip", &["case", "languages"]),
        ("accept-language", "de, fr", "DE,fr", &["case", "languages"]),
        ("accept-language", "de, fr;q=0.5", "fr;q=0.5, de", &["languages"]),
        // The response is in German, which both prefer.
        ("accept-language", "de, fr;q=0.5", "it;q=0.1, de", &["languages"]),
        ("accept-language", "de", "fr", &[]),
        ("x-other", "a, b", "b, a", &[]),
        ("x-other", "a", "A", &[]),
    ];
    for rule in ["exact", "case", "languages"] {
        let count = counter();
        let cached = Cached::start(&format!("vary = \"{rule}\""), move |request| {
            fresh(count().to_string())
                .header("vary", &request.uri.query().unwrap_or_default().replace("v=", ""))
                .header("content-language", "de")
        })
        .await;
        let mut client = Http::One.client(&cached.gateway).await;
        for (number, (field, one, other, rules)) in same.iter().enumerate() {
            let path = format!("/{number}?v={field}");
            let first = client.get_with(&path, &[(field, one)]).await.text();
            let second = client.get_with(&path, &[(field, other)]).await.text();
            assert_eq!(first == second, rules.contains(&rule), "{rule}: {field}: {one} and {other}");
        }
    }
}
