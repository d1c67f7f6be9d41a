//! What a route changes in a request and in its responses: `rewrite.host`, `request-headers` and `response-headers`.

use hyper::Method;

use crate::edge::{COMBINATIONS, Edge, Http};
use crate::harness::{Answer, RawClient, RawUpstream, Received, TestGateway, TestUpstream, portcullis_in};
use crate::setup::{KEY, shipped};

/// Answers with the host and the fields that came, and with fields of its own.
fn mirror(request: &Received) -> Answer {
    let host = match request.header("host") {
        host if host.is_empty() => request.uri.authority().map_or(String::new(), ToString::to_string),
        host => host,
    };
    let fields = request.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-"));
    let fields: Vec<String> =
        fields.map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect();
    Answer::text(format!("{host}\n{}", fields.concat()))
        .header("x-powered-by", "inner")
        .header("cache-control", "private")
        .header("vary", "cookie")
}

#[tokio::test]
async fn the_route_says_what_host_says() {
    for (client, server) in COMBINATIONS {
        let upstream = server.server(mirror).await;
        let gateway = Edge::to(upstream.address())
            .upstream(server.line())
            .upstream("host = { value = \"upstream.test\" }")
            .more(
                "[routes.keep]\nmatch = { path = \"/keep\" }\nto = \"app\"\nrewrite = { host = \"preserve\" }\n\
                 [routes.name]\nmatch = { path = \"/name\" }\nto = \"app\"\nrewrite = { host = \"endpoint\" }\n\
                 [routes.fixed]\nmatch = { path = \"/fixed/*\" }\nto = \"app\"\n\
                 rewrite = { path = \"{rest}\", host = { value = \"route.test:81\" } }\n",
            )
            .start()
            .await;
        let mut client = client.client(&gateway).await;
        for (path, expected) in [
            ("/", "upstream.test".to_owned()),
            ("/keep", "gateway.test".to_owned()),
            ("/name", upstream.address().to_string()),
            ("/fixed/x", "route.test:81".to_owned()),
        ] {
            let text = client.get(path).await.text();
            assert_eq!(text.lines().next(), Some(&*expected), "{path}");
        }
    }
}

#[tokio::test]
async fn fields_of_a_request_are_changed_after_the_policies() {
    let upstream = TestUpstream::h1(mirror).await;
    let gateway = Edge::to(upstream.address())
        .more(&shipped("rate = \"1000/s\""))
        .more(
            "[routes.api]\nmatch = { path = \"/api/{version}/*\" }\nuse = [\"keys\", \"stamp\", \"limit\"]\nto = \"app\"\n\
             rewrite = { path = \"{rest}\" }\n\
             [routes.api.request-headers]\n\
             set = { x-path = \"{path}{query}\", x-version = \"v{version}\", x-forwarded-prefix = \"/api\" }\n\
             add = { x-list = [\"edge\", \"{scheme}\"] }\nremove = [\"x-api-key\", \"x-stamp\", \"x-forwarded-for\"]\n",
        )
        .start()
        .await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        let fields = [("x-api-key", KEY), ("x-list", "client"), ("x-path", "/forged"), ("x-stays", "1")];
        let reply = client.get_with("/api/7/a%20b?q={x}", &fields).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let text = reply.text();
        let lines = |name: &str| -> Vec<&str> {
            text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
        };
        assert_eq!(lines("x-path"), ["/api/7/a%20b?q=%7Bx%7D"]);
        assert_eq!((lines("x-version"), lines("x-stays")), (vec!["v7"], vec!["1"]));
        assert_eq!(lines("x-list"), ["client", "edge", "http"]);
        assert_eq!(lines("x-forwarded-prefix"), ["/api"]);
        for gone in ["x-api-key", "x-stamp", "x-forwarded-for"] {
            assert!(lines(gone).is_empty(), "{gone}: {text}");
        }
        assert_eq!(
            client.get("/api/7/x").await.status,
            401,
            "the policies saw the key before it was removed"
        );
    }
}

#[tokio::test]
async fn fields_of_a_response_are_changed_after_the_policies_and_errors_only_if_asked_for() {
    let upstream = TestUpstream::h1(mirror).await;
    let edits = "set = { cache-control = \"max-age=60\", x-frame-options = \"SAMEORIGIN\" }\n\
                 add = { vary = [\"accept\", \"origin\"] }\nremove = [\"x-powered-by\"]\n";
    let gateway = Edge::to(upstream.address())
        .more(&shipped("rate = \"1000/s\""))
        .more(&format!(
            "[upstreams.gone]\nendpoints = [\"127.0.0.1:9\"]\n\
             [routes.api]\nmatch = {{ path = \"/api\" }}\nuse = [\"stamp\", \"keys\"]\nto = \"app\"\n\
             [routes.api.response-headers]\n{edits}\
             [routes.fixed]\nmatch = {{ path = \"/fixed\" }}\nuse = [\"stamp\", \"limit\"]\n\
             respond = {{ body = \"ok\", headers = {{ x-powered-by = \"toml\" }} }}\n\
             [routes.fixed.response-headers]\n{edits}\
             [routes.moved]\nmatch = {{ path = \"/moved\" }}\nredirect = {{ to = \"/api\" }}\n\
             [routes.moved.response-headers]\n{edits}\
             [routes.gone]\nmatch = {{ path = \"/gone\" }}\nto = \"gone\"\n\
             [routes.gone.response-headers]\n{edits}\
             [routes.always]\nmatch = {{ path = \"/always/*\" }}\nuse = [\"keys\"]\nto = \"gone\"\nlimits = {{ body = \"1B\" }}\n\
             [routes.always.response-headers]\nalways = true\n{edits}"
        ))
        .start()
        .await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        for (path, fields, status, edited, caching) in [
            ("/api", &[("x-api-key", KEY)][..], 200, true, "max-age=60"),
            ("/fixed", &[], 200, true, "max-age=60"),
            ("/moved", &[], 307, true, "max-age=60"),
            // The replies of policies and the gateway's own errors stay as they are, above all `no-store`.
            ("/api", &[], 401, false, ""),
            ("/gone", &[], 502, false, "no-store"),
            ("/always/x", &[("x-api-key", KEY)], 502, true, "max-age=60"),
            ("/always/x", &[], 401, true, "max-age=60"),
        ] {
            let reply = client.get_with(path, fields).await;
            assert_eq!(reply.status, status, "{path}");
            let found = (reply.header("x-frame-options") == "SAMEORIGIN", reply.header("cache-control"));
            if !caching.is_empty() {
                assert_eq!(found, (edited, caching.to_owned()), "{path} {status}");
            }
            assert_eq!(found.0, edited, "{path} {status}");
            assert_eq!(reply.header("x-powered-by"), "", "{path} {status}");
            assert_eq!(reply.header("vary").ends_with("accept, origin"), edited, "{path} {status}");
        }
        let too_large = client.send(Method::POST, "/always/x", &[], "two").await;
        assert_eq!((too_large.status, &*too_large.header("cache-control")), (413, "max-age=60"));
        // What no route takes is nobody's to change.
        assert_eq!(client.get("/%00").await.header("x-frame-options"), "");
    }
}

#[tokio::test]
async fn an_accepted_upgrade_and_a_head_are_changed_too() {
    let upstream = RawUpstream::answering(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\nX-Inner: 1\r\n\r\n",
    )
    .await;
    let gateway = Edge::to(upstream.address())
        .route("response-headers = { set = { x-edge = \"1\" }, remove = [\"x-inner\"] }")
        .start()
        .await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n").await;
    let head = client.read_head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("x-edge: 1") && !head.to_lowercase().contains("x-inner"), "{head}");

    let plain = TestUpstream::h1(mirror).await;
    let gateway = Edge::to(plain.address())
        .route("response-headers = { set = { x-edge = \"1\" }, remove = [\"x-powered-by\"] }")
        .start()
        .await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        let head = client.send(Method::HEAD, "/", &[], "").await;
        assert_eq!((&*head.header("x-edge"), &*head.header("x-powered-by")), ("1", ""));
    }
}

#[tokio::test]
async fn explain_shows_what_a_route_changes() {
    let gateway = TestGateway::start(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[upstreams.app]\nendpoints = [\"127.0.0.1:9\"]\n\
         [routes.all]\nmatch = { path = \"/api/*\" }\nto = \"app\"\nrewrite = { path = \"{rest}\", host = \"endpoint\" }\n\
         request-headers = { set = { x-path = \"{path}\" } }\n\
         response-headers = { set = { x-edge = \"1\" }, add = { vary = \"accept\" }, remove = [\"server\"] }\n",
    )
    .await;
    let ran = portcullis_in(gateway.dir(), ["explain", "GET", "http://a.test/api/x"]).await;
    for line in [
        "  GET /x",
        "  x-path: /api/x",
        "host `127.0.0.1:9`",
        "what the route changes in the response, after the policies",
        "  - server",
        "  x-edge: 1",
        "  + vary: accept",
    ] {
        assert!(ran.stdout.contains(line), "{line:?} is missing in\n{}\n{}", ran.stdout, ran.stderr);
    }
}
