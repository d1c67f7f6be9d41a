//! What routes match beside plain hosts and paths: regular expressions, parameters, cookies, clients, priorities; and
//! what is made of the groups of expressions.

use crate::edge::Http;
use crate::harness::{Answer, Received, TestGateway, TestUpstream, portcullis_in};

/// As in docs/configuration.md, and more.
const ROUTES: &str = r#"
[routes.maintenance]
priority = 100
match = { host = "www.example.com", cookies = { tester = false } }
respond = { status = 503, body = "back at noon" }

[routes.shop]
match = { host = "www.example.com", path = "/shop/*" }
respond = { body = "shop" }

[routes.home]
match = { host = { regex = '^(?<user>[a-z]+)\.users\.example\.com$' }, path = { regex = '^/(?<page>[a-z]+)\.html$' } }
redirect = { to = "https://example.com/~{user}/{page}{query}" }

[routes.user]
match = { host = { regex = '^(?<user>[a-z]+)\.users\.example\.com$' } }
request-headers = { set = { x-user = "{user}" } }
to = "app"

[routes.images]
priority = 1
match = { path = { regex = '(?i)^/(?<folder>.+)\.(png|jpe?g)$' } }
rewrite = { path = "/images/{2}/{folder}" }
to = "app"

[routes.site]
rewrite = { path = [
  { regex = '^/old/(.*)$', to = "/new/{1}" },
  { regex = '^/([0-9]{4})/([0-9]+)$', to = "/posts/{2}-{1}" },
] }
to = "app"

[routes.download]
match = { path = "/files/{name}" }
respond = { body = "download" }

[routes.two]
match = { path = "/v", headers = { x-version = { prefix = "2." } } }
respond = { body = "two" }

[routes.one]
match = { path = "/v", headers = { x-version = { regex = '^1(\.|$)' }, x-test = false } }
respond = { body = "one" }

[routes.page]
match = { path = "/p", query = { page = { regex = '^[0-9]+$' }, "a b" = true } }
respond = { body = "page" }

[routes.office]
match = { path = "/internal/*", client = ["10.1.0.0/16", "2001:db8::/32"] }
respond = { body = "office" }

[routes.internal]
match = { path = "/internal/*" }
respond = { status = 403, body = "no" }
"#;

async fn start() -> (TestUpstream, TestGateway) {
    let echo = |request: &Received| {
        Answer::text(format!("{} {}", request.uri.path_and_query().unwrap(), request.header("x-user")))
    };
    let upstream = TestUpstream::h1(echo).await;
    let gateway = TestGateway::start(&format!(
        "[server]\ntrusted-proxies = [\"127.0.0.1\"]\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [upstreams.app]\nendpoints = [\"{}\"]\n{ROUTES}",
        upstream.address()
    ))
    .await;
    (upstream, gateway)
}

/// Name and value.
type Field = (&'static str, &'static str);

#[tokio::test]
async fn a_request_takes_the_first_route_whose_conditions_all_hold() {
    let (_upstream, gateway) = start().await;
    let www = ("host", "www.example.com");
    let cases: &[(&str, &[Field], &str)] = &[
        // A greater priority wins over a narrower path, and not over a narrower host.
        ("/shop/7", &[www], "back at noon"),
        ("/shop/7", &[www, ("cookie", "a=b; tester=1")], "shop"),
        ("/files/a.png", &[], "/images/png/files/a "),
        ("/shop/a.png", &[www, ("cookie", "tester")], "shop"),
        ("/files/a.txt", &[], "download"),
        // Groups of the path, of the host and of a rule.
        ("/a/b/c.JPEG?q=1", &[], "/images/JPEG/a/b/c?q=1 "),
        ("/x", &[("host", "Ann.Users.example.com:80")], "/x ann"),
        ("/x", &[("host", "a.b.users.example.com")], "/x "),
        ("/old/a/b?c", &[], "/new/a/b?c "),
        ("/2026/11", &[], "/posts/11-2026 "),
        ("/2026/xi", &[], "/2026/xi "),
        // Fields and parameters.
        ("/v", &[("x-version", "2.1")], "two"),
        ("/v", &[("x-version", "1")], "one"),
        ("/v", &[("x-version", "1"), ("x-test", "")], "/v "),
        ("/v", &[("x-version", "12")], "/v "),
        ("/p?page=x&%61%20b&p%61ge=12", &[], "page"),
        ("/p?page=x&a+b", &[], "/p?page=x&a+b "),
        // Clients.
        ("/internal/x", &[("x-forwarded-for", "10.1.2.3")], "office"),
        ("/internal/x", &[("x-forwarded-for", "2001:db8::7")], "office"),
        ("/internal/x", &[("x-forwarded-for", "10.2.2.3")], "no"),
        ("/internal/x", &[], "no"),
    ];
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        for (path, fields, expected) in cases {
            assert_eq!(client.get_with(path, fields).await.text(), *expected, "{path} {fields:?}");
        }
        let reply = client.get_with("/about.html?a", &[("host", "ann.users.example.com")]).await;
        assert_eq!((reply.status, &*reply.header("location")), (307, "https://example.com/~ann/about?a"));
    }
}

#[tokio::test]
async fn explain_and_routes_show_the_conditions() {
    let (_upstream, gateway) = start().await;
    let explain = async |target: &str, fields: &[&str]| {
        let first = ["explain", "GET", target, "--live"];
        let arguments = first.iter().chain(fields);
        portcullis_in(gateway.dir(), arguments).await.stdout
    };
    let text = explain("http://h.test/v", &["-H", "x-version: 3"]).await;
    for line in [
        "asks for header `x-version^=2.`, and the request has `3`",
        r"asks for path `~(?i)^/(?<folder>.+)\.(png|jpe?g)$`, and the request has `/v`",
    ] {
        assert!(text.contains(line), "no {line:?} in:\n{text}");
    }
    let text = explain("http://h.test/p?page=1", &[]).await;
    assert!(text.contains("asks for query `?a b`, which is not there"), "{text}");
    let text = explain("http://h.test/internal/x", &["--client", "10.9.0.1"]).await;
    let line = "asks for client `10.1.0.0/16, 2001:db8::/32`, and the request has `10.9.0.1`";
    assert!(text.contains(line), "{text}");
    let text = explain("http://h.test/old/x", &[]).await;
    assert!(text.contains("GET /new/x"), "{text}");
    let ran = portcullis_in(gateway.dir(), ["routes"]).await;
    let row = |name: &str| ran.stdout.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(row("maintenance").contains("!cookie:tester,priority=100"), "{}", ran.stdout);
    assert!(row("office").contains("client=10.1.0.0/16|2001:db8::/32"), "{}", ran.stdout);
}
