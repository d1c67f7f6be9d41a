//! Attacks on a shared cache, a row each: what an attacker sends, what a victim asks for afterwards. The victim has to
//! get what it gets from a gateway without a cache.
//!
//! The classes are those of the published research: unkeyed fields and keys that are cut off (Kettle, "Practical web
//! cache poisoning" and "Web cache entanglement"), errors that one request brings about ("Your cache has fallen":
//! oversized heads, meta characters, overridden methods), deception by what path a server sees (Gil; Mirheidari et al.;
//! Doyhenard, "Gotta cache 'em all"), and responses that are more than one.

use super::{counter, edge, fresh};
use crate::edge::Edge;
use crate::harness::{Answer, RawClient, RawUpstream, Received, TestGateway, TestUpstream};

/// What a victim sends who wants nothing special. `{p}` is a folder of the row's own.
const PLAIN: &str = "GET {p}/a HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// Name, what the attacker sends, what the victim sends.
type Row = (&'static str, &'static str, &'static str);

/// Requests that try to have an answer of their own kept for others.
const POISONING: &[Row] = &[
    // Fields that servers and frameworks read in place of parts of the URL.
    ("X-Original-URL", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Original-URL: /evil\r\n\r\n", PLAIN),
    ("X-Rewrite-URL", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Rewrite-URL: /evil\r\n\r\n", PLAIN),
    ("X-Forwarded-Prefix", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Prefix: /evil\r\n\r\n", PLAIN),
    ("X-Forwarded-Host", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Host: evil.test\r\n\r\n", PLAIN),
    (
        "X-Forwarded-Host twice",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Host: a.test\r\nX-Forwarded-Host: evil.test\r\n\r\n",
        PLAIN,
    ),
    ("X-Forwarded-Port", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Port: 1337\r\n\r\n", PLAIN),
    ("X-Forwarded-Proto", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: evil\r\n\r\n", PLAIN),
    ("X-Forwarded-Scheme", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Scheme: evil\r\n\r\n", PLAIN),
    (
        "X-Forwarded-Server",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Server: evil.test\r\n\r\n",
        PLAIN,
    ),
    ("X-Forwarded-For", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: evil\r\n\r\n", PLAIN),
    ("Forwarded", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nForwarded: host=evil.test\r\n\r\n", PLAIN),
    ("X-Host", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Host: evil.test\r\n\r\n", PLAIN),
    ("X-Original-Host", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Original-Host: evil.test\r\n\r\n", PLAIN),
    (
        "X-HTTP-Host-Override",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-HTTP-Host-Override: evil.test\r\n\r\n",
        PLAIN,
    ),
    (
        "two such fields",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Scheme: http\r\nX-Forwarded-Host: evil.test\r\n\r\n",
        PLAIN,
    ),
    (
        "a field with an underscore",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX_Forwarded_Host: evil.test\r\n\r\n",
        PLAIN,
    ),
    ("a field in capitals", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-ORIGINAL-URL: /evil\r\n\r\n", PLAIN),
    // Methods.
    (
        "X-HTTP-Method-Override",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-HTTP-Method-Override: EVIL\r\n\r\n",
        PLAIN,
    ),
    ("X-HTTP-Method", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-HTTP-Method: EVIL\r\n\r\n", PLAIN),
    ("X-Method-Override", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Method-Override: EVIL\r\n\r\n", PLAIN),
    ("HEAD", "HEAD {p}/a HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    ("POST", "POST {p}/a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nevil", PLAIN),
    ("a method of its own", "EVIL {p}/a HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    ("a method in small letters", "get {p}/a HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    // Bodies of GET and HEAD.
    ("a body", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nevil", PLAIN),
    (
        "a form",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 6\r\n\r\nq=evil",
        PLAIN,
    ),
    (
        "a chunked body",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        PLAIN,
    ),
    // Framing.
    (
        "both framings",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        PLAIN,
    ),
    (
        "an odd Transfer-Encoding",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        PLAIN,
    ),
    (
        "two lengths",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nContent-Length: 4\r\n\r\nevil",
        PLAIN,
    ),
    // The host.
    ("a port in Host", "GET {p}/a HTTP/1.1\r\nHost: a.test:1337\r\n\r\n", PLAIN),
    ("the usual port in Host", "GET {p}/a HTTP/1.1\r\nHost: a.test:80\r\n\r\n", PLAIN),
    ("Host in capitals", "GET {p}/a HTTP/1.1\r\nHost: A.TEST\r\n\r\n", PLAIN),
    ("a dot behind Host", "GET {p}/a HTTP/1.1\r\nHost: a.test.\r\n\r\n", PLAIN),
    ("an absolute target", "GET http://evil.test{p}/a HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    ("two hosts", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nHost: evil.test\r\n\r\n", PLAIN),
    ("a host with a path", "GET {p}/a HTTP/1.1\r\nHost: a.test/evil\r\n\r\n", PLAIN),
    ("a host with a user", "GET {p}/a HTTP/1.1\r\nHost: evil@a.test\r\n\r\n", PLAIN),
    // The path, as the cache and a server may read it.
    ("an encoded slash", "GET {p}/x/..%2Fa HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    ("an encoded letter", "GET {p}/%61?evil HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    ("encoded dots", "GET {p}/x/%2e%2e/a;evil HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    ("a backslash", "GET {p}/x\\..\\a HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    ("an encoded backslash", "GET {p}/x%5c..%5ca HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    ("two slashes", "GET {p}//a?evil HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    ("a path parameter", "GET {p}/a;evil HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    ("an encoded question mark", "GET {p}/a%3Fevil HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    ("an encoded number sign", "GET {p}/a%23evil HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    ("an encoded line break", "GET {p}/a%0aevil HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    ("an encoded zero", "GET {p}/a%00evil HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    ("another case", "GET {p}/A HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    // The query.
    ("another query", "GET {p}/a?evil HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    ("an empty query", "GET {p}/a? HTTP/1.1\r\nHost: a.test\r\n\r\n", PLAIN),
    (
        "a parameter that does not count, and one behind it",
        "GET {p}/a?v=1&utm=1;v=evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET {p}/a?v=1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
    (
        "a parameter in another spelling",
        "GET {p}/a?v=1&%76=evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET {p}/a?v=1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
    (
        "a parameter twice",
        "GET {p}/a?v=1&v=evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET {p}/a?v=1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
    (
        "a parameter as a list",
        "GET {p}/a?v=1&v[]=evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET {p}/a?v=1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
    (
        "a second question mark",
        "GET {p}/a?v=1?evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET {p}/a?v=1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
    // Parts and conditions.
    ("a part", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nRange: bytes=0-0\r\n\r\n", PLAIN),
    ("the last part", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nRange: bytes=-1\r\n\r\n", PLAIN),
    ("a part far behind", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nRange: bytes=99999999-\r\n\r\n", PLAIN),
    ("parts that overlap", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nRange: bytes=0-,0-,0-\r\n\r\n", PLAIN),
    ("a part of an odd unit", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nRange: evil=0-1\r\n\r\n", PLAIN),
    ("a condition", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nIf-None-Match: *\r\n\r\n", PLAIN),
    ("a condition that fails", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nIf-Match: \"evil\"\r\n\r\n", PLAIN),
    ("an expectation", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nExpect: evil\r\n\r\n", PLAIN),
    // Hop by hop.
    (
        "Connection names what identifies",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nAuthorization: Basic eDp5\r\nConnection: Authorization\r\n\r\n",
        PLAIN,
    ),
    (
        "Connection names a forwarding field",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nConnection: X-Forwarded-For, X-Forwarded-Proto, Host\r\n\r\n",
        PLAIN,
    ),
    (
        "Connection names Cookie",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nCookie: id=evil\r\nConnection: Cookie\r\n\r\n",
        PLAIN,
    ),
    (
        "an upgrade",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: evil\r\n\r\n",
        PLAIN,
    ),
    (
        "an upgrade to h2c",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        PLAIN,
    ),
    (
        "a proxy's credentials",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nProxy-Authorization: Basic ZXZpbA==\r\n\r\n",
        PLAIN,
    ),
    ("TE and trailers", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nTE: trailers, evil\r\n\r\n", PLAIN),
    ("an old version", "GET {p}/a HTTP/1.0\r\nHost: a.test\r\n\r\n", PLAIN),
    // What only this client may be answered.
    ("credentials", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nAuthorization: Basic ZXZpbA==\r\n\r\n", PLAIN),
    (
        "a field that the response varies by",
        "GET {p}/vary HTTP/1.1\r\nHost: a.test\r\nX-Kind: evil\r\n\r\n",
        "GET {p}/vary HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
    (
        "such a field twice",
        "GET {p}/vary HTTP/1.1\r\nHost: a.test\r\nX-Kind: k\r\nX-Kind: evil\r\n\r\n",
        "GET {p}/vary HTTP/1.1\r\nHost: a.test\r\nX-Kind: k\r\n\r\n",
    ),
    (
        "such a field that imitates two",
        "GET {p}/vary HTTP/1.1\r\nHost: a.test\r\nX-Kind: k, evil\r\n\r\n",
        "GET {p}/vary HTTP/1.1\r\nHost: a.test\r\nX-Kind: k\r\n\r\n",
    ),
    (
        "an empty field that the response varies by",
        "GET {p}/vary HTTP/1.1\r\nHost: a.test\r\nX-Kind:\r\nX-Other: evil\r\n\r\n",
        "GET {p}/vary HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
    (
        "a cookie that the response sets again",
        "GET {p}/cookie HTTP/1.1\r\nHost: a.test\r\nCookie: id=evil\r\n\r\n",
        "GET {p}/cookie HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
    // Errors that one request brings about.
    ("an oversized head", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Large: {large}\r\n\r\n", PLAIN),
    ("a meta character", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Meta: a\x07b\r\n\r\n", PLAIN),
    ("a byte that is no letter", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Meta: \u{e9}vil\r\n\r\n", PLAIN),
    ("a field name that is none", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX Meta: evil\r\n\r\n", PLAIN),
    ("too many requests of one client", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Fails: 429\r\n\r\n", PLAIN),
    (
        "a request that the server forbids",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Fails: 403\r\n\r\n",
        PLAIN,
    ),
    ("a request that breaks the server", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Fails: 500\r\n\r\n", PLAIN),
    ("a redirect to itself", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nX-Fails: 302\r\n\r\n", PLAIN),
    // Directives of a client.
    (
        "Cache-Control of a client",
        "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nCache-Control: no-store, max-stale\r\nX-Host: evil\r\n\r\n",
        PLAIN,
    ),
    ("only-if-cached", "GET {p}/a HTTP/1.1\r\nHost: a.test\r\nCache-Control: only-if-cached\r\n\r\n", PLAIN),
];

/// An upstream that believes whatever a client says, and repeats it.
fn gullible(request: &Received) -> Answer {
    let field = |name: &str| request.header(name);
    if field("x-large").len() > 4000 || field("x-meta").contains(|letter: char| !letter.is_ascii_graphic()) {
        return Answer::text("what a head").status(400);
    }
    if let Ok(status) = field("x-fails").parse() {
        return Answer::text("evil").status(status).header("location", &request.uri.to_string());
    }
    if !field("expect").is_empty() {
        return Answer::text("evil").status(417);
    }
    let credentials = field("authorization") + &field("cookie");
    if request.path().ends_with("/cookie") {
        return fresh(credentials.clone())
            .header("set-cookie", if credentials.is_empty() { "id=new" } else { "id=evil" });
    }
    // A server that reads paths its own way.
    let path = request.path().split([';', '\\']).next().unwrap().replace("%2F", "/").replace("%2f", "/");
    let mut said: Vec<String> = request
        .headers
        .iter()
        .filter(|(name, _)| {
            ![
                "x-other",
                "cache-control",
                "connection",
                "range",
                "x-forwarded-for",
                "x-real-ip",
                "cookie",
                "via",
                "te",
            ]
            .contains(&name.as_str())
        })
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    said.sort();
    let answer = fresh(format!(
        "{} {path}?{}\n{}\n{}",
        request.method,
        request.uri.query().unwrap_or("none"),
        said.join("\n"),
        String::from_utf8_lossy(&request.body)
    ));
    match request.path().ends_with("/vary") {
        true => answer.header("vary", "X-Kind"),
        false => answer,
    }
}

/// Sends a request and returns the status line and the body of the answer.
async fn ask(gateway: &TestGateway, request: &str, folder: &str) -> (String, String) {
    let request = request.replace("{p}", folder).replace("{large}", &"x".repeat(20_000));
    let mut client = RawClient::connect(gateway.address("web")).await;
    // In Latin 1, as these bytes were written.
    let request = request.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
    client.send(request.chars().map(|letter| letter as u8).collect::<Vec<u8>>()).await;
    let reply = String::from_utf8_lossy(&client.read_to_end().await).into_owned();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_default();
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

#[tokio::test]
async fn no_request_changes_what_another_client_gets() {
    let upstream = TestUpstream::h1(gullible).await;
    let without = Edge::to(upstream.address()).start().await;
    let keys = "key = { query = { except = [\"utm\"] } }, ttl = { 4xx = \"1m\", 5xx = \"1m\", 3xx = \"1m\" }";
    let by_default = edge(&upstream, "").start().await;
    let with_keys = edge(&upstream, &format!("{keys}, stale = {{ on-error = \"1h\" }}")).start().await;
    for (number, (name, attack, victim)) in POISONING.iter().enumerate() {
        let folder = format!("/{number}");
        let clean = ask(&without, victim, &folder).await;
        assert!(clean.0.contains("200") && !clean.1.contains("evil"), "{name}: {clean:?}");
        for cached in [&by_default, &with_keys] {
            if std::ptr::eq(cached, &with_keys)
                && ["a request that breaks the server", "a redirect to itself"].contains(name)
            {
                // These are what the operator has asked for by `5xx` and `3xx`.
                continue;
            }
            ask(cached, attack, &folder).await;
            for _ in 0..2 {
                assert_eq!(ask(cached, victim, &folder).await, clean, "{name}");
            }
        }
    }
}

/// What a signed-in client is lured to, so that its own page is kept under a name that the attacker asks for.
const DECEPTION: &[&str] = &[
    "/account",
    "/account/x.css",
    "/account;x.css",
    "/account%3Bx.css",
    "/account%2Fx.css",
    "/account%3Fx.css",
    "/account%23x.css",
    "/account%00x.css",
    "/account%0Ax.css",
    "/account?x.css",
    "/account/.css",
    "/account!x.css",
    "/account$x.css",
    "/account\\x.css",
    "/account%5Cx.css",
    "//account/x.css",
    "/static/../account",
    "/static/%2e%2e/account",
    "/static/..;/account",
    "/account/..%2Fstatic/x.css",
    "/account/%2e%2e/static/x.css",
];

#[tokio::test]
async fn what_a_signed_in_client_gets_is_kept_under_no_name() {
    // It shows the page of who asks, whatever the rest of the path, and says nothing of caches.
    let upstream = TestUpstream::h1(|request| {
        let user = request.header("cookie") + &request.header("authorization");
        Answer::text(format!("page of {user}"))
            .header("etag", &format!("\"{}\"", user.len()))
            .header("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT")
    })
    .await;
    let stale = "stale = { while-revalidate = \"1h\", on-error = \"1h\" }";
    for settings in [stale, "heuristic = true", "heuristic = true, client-directives = \"rfc\""] {
        let gateway = edge(&upstream, settings).start().await;
        for path in DECEPTION {
            for secret in ["Cookie: id=secret", "Authorization: Bearer secret"] {
                let lured = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{secret}\r\n\r\n");
                ask(&gateway, &lured, "").await;
                for asking in
                    ["", "Cookie: id=other\r\n", "If-None-Match: \"0\"\r\n", "Cache-Control: max-stale\r\n"]
                {
                    let attack = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{asking}\r\n");
                    let (line, body) = ask(&gateway, &attack, "").await;
                    assert!(!body.contains("secret"), "{settings} {path} {asking}: {line} {body}");
                }
            }
        }
    }
}

/// What an upstream sends that an attacker has brought to say it, and what must not become of it: a second request gets
/// none of it from the cache.
const RESPONSES: &[(&str, &str)] = &[
    (
        "a second response behind the first",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 4\r\n\r\nevil",
    ),
    (
        "a body behind a 304",
        "HTTP/1.1 304 Not Modified\r\ncache-control: max-age=60\r\netag: \"x\"\r\ncontent-length: 4\r\n\r\nevil",
    ),
    (
        "a quote without an end",
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60, private=\"a\r\ncontent-length: 4\r\n\r\nevil",
    ),
    (
        "private in capitals",
        "HTTP/1.1 200 OK\r\ncache-control: PRIVATE, MAX-AGE=60\r\ncontent-length: 4\r\n\r\nevil",
    ),
    (
        "no-store on a second line",
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncache-control: no-store\r\ncontent-length: 4\r\n\r\nevil",
    ),
    (
        "no-store with an argument",
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60, no-store=\"x\"\r\ncontent-length: 4\r\n\r\nevil",
    ),
    (
        "Vary with a star among names",
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\nvary: a, *\r\ncontent-length: 4\r\n\r\nevil",
    ),
    (
        "Vary with garbage",
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\nvary: a b\r\ncontent-length: 4\r\n\r\nevil",
    ),
    (
        "a large Age",
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\nage: 99999999999999999999\r\ncontent-length: 4\r\n\r\nevil",
    ),
    (
        "two ages",
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\nage: 100\r\nage: 0\r\ncontent-length: 4\r\n\r\nevil",
    ),
    (
        "a part that was not asked for",
        "HTTP/1.1 206 Partial Content\r\ncache-control: max-age=60\r\ncontent-range: bytes 0-3/4\r\ncontent-length: 4\r\n\r\nevil",
    ),
    (
        "a cookie",
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\nset-cookie: id=evil\r\ncontent-length: 4\r\n\r\nevil",
    ),
    (
        "an odd Transfer-Encoding",
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: evil\r\n\r\nevil",
    ),
    (
        "both framings",
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
    ),
    (
        "two lengths",
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nevil",
    ),
    ("less than it said", "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 5\r\n\r\nevil"),
    (
        "chunks without an end",
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n4\r\nevil\r\n",
    ),
    (
        "a folded field",
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\nx-a: b\r\n c: evil\r\ncontent-length: 4\r\n\r\nevil",
    ),
    (
        "a status of its own",
        "HTTP/1.1 099 Evil\r\ncache-control: max-age=60\r\ncontent-length: 4\r\n\r\nevil",
    ),
    ("an early hint alone", "HTTP/1.1 103 Early Hints\r\ncache-control: max-age=60\r\nlink: </evil>\r\n\r\n"),
];

#[tokio::test]
async fn what_an_upstream_was_brought_to_say_is_not_kept() {
    for (name, response) in RESPONSES {
        let count = counter();
        let upstream = RawUpstream::start(move |mut connection, _| {
            let number = count();
            async move {
                connection.read_request().await;
                let clean = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nclean";
                connection.send(if number == 1 { response } else { clean }).await;
            }
        })
        .await;
        let gateway = Edge::to(upstream.address())
            .route("cache = \"c\"\nattempts = 1")
            .more("[caches.c]")
            .start()
            .await;
        let request = "GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(request).await;
        client.read_to_end().await;
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(request).await;
        let reply = String::from_utf8_lossy(&client.read_to_end().await).into_owned();
        assert!(reply.ends_with("clean") && !reply.contains("evil"), "{name}: {reply}");
    }
}

#[tokio::test]
async fn what_connection_names_in_a_response_is_not_kept() {
    let upstream = RawUpstream::start(|mut connection, _| async move {
        connection.read_request().await;
        let head = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\nconnection: close, x-hop\r\nx-hop: evil\r\nkeep-alive: evil\r\n";
        connection.send(format!("{head}proxy-authenticate: evil\r\ncontent-length: 2\r\n\r\nok")).await;
    })
    .await;
    let gateway = Edge::to(upstream.address()).route("cache = \"c\"").more("[caches.c]").start().await;
    for _ in 0..2 {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await;
        let reply = String::from_utf8_lossy(&client.read_to_end().await).into_owned();
        assert!(
            reply.ends_with("ok") && !reply.contains("x-hop") && !reply.contains("keep-alive: evil"),
            "{reply}"
        );
    }
    assert_eq!(upstream.connections(), 1);
}
