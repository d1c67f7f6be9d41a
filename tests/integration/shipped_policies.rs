//! The policies that ship, with configs as an operator writes them.

use hyper::Method;
use tokio::task::JoinSet;

use crate::harness::{Answer, Reply, TestClient, TestGateway, TestUpstream};
use crate::setup::{attribute, config, digest, record};

/// One client of each protocol.
async fn clients(gateway: &TestGateway) -> [TestClient; 2] {
    [TestClient::h1(gateway.address("web")).await, TestClient::h2(gateway.address("web")).await]
}

#[tokio::test]
async fn api_key_lets_in_who_has_a_key() {
    let upstream = TestUpstream::named("app").await;
    let policies = format!(
        "[policies.keys]\nplugin = \"builtin:api-key\"\n\
         config = {{ header = \"x-api-key\", forward-name-as = \"x-user\", keys = [\
         {{ name = \"alice\", sha256 = \"{}\" }}, {{ name = \"bob\", sha256 = \"{}\" }}] }}\n",
        digest("key of alice"),
        digest("key of bob"),
    );
    let gateway = TestGateway::start(&config(upstream.address(), &["keys"], &policies)).await;
    for (at, mut client) in clients(&gateway).await.into_iter().enumerate() {
        for fields in [
            &[][..],
            &[("x-api-key", "")],
            &[("x-api-key", "key of carol")],
            &[("x-api-key", "key of alice "), ("x-api-key", "key of alice")],
            &[("x-user", "alice")],
        ] {
            let reply = client.get_with("/refused", fields).await;
            assert_eq!(reply.status, 401, "{fields:?}");
            assert_eq!(reply.header("www-authenticate"), "ApiKey");
        }
        assert_eq!(upstream.requests().len(), at, "a request without a key has reached the upstream");

        let path = format!("/let-in-{at}");
        let fields = [("x-api-key", "key of bob"), ("x-user", "alice")];
        assert_eq!(client.get_with(&path, &fields).await.text(), "app");
        let received = upstream.last_request();
        assert_eq!((received.header("x-api-key").as_str(), received.header("x-user").as_str()), ("", "bob"));
        assert_eq!(attribute(&record(&gateway, &path).await, "api-key.name"), "bob");
    }
}

#[tokio::test]
async fn api_key_takes_a_query_parameter_and_a_file() {
    let upstream = TestUpstream::named("app").await;
    let policies = "[policies.keys]\nplugin = \"builtin:api-key\"\n\
                    config = { query = \"key\", keys-file = \"keys.txt\", attribute = \"who\" }\n";
    let gateway = TestGateway::builder()
        .file("keys.txt", format!("# whose: digest\n\nalice:{}\n", digest("a b&c")))
        .start(&config(upstream.address(), &["keys"], policies))
        .await;
    for mut client in clients(&gateway).await {
        for path in ["/a", "/a?key=wrong", "/a?key=a%20b%26c&key=a%20b%26c", "/a?kEY=a%20b%26c"] {
            assert_eq!(client.get(path).await.status, 401, "{path}");
        }
        // The default field is not looked at if only the parameter is configured.
        assert_eq!(client.get_with("/a", &[("x-api-key", "a b&c")]).await.status, 401);
        assert_eq!(client.get("/a?x=1&key=a%20b%26c&y=%20").await.status, 200);
        let received = upstream.last_request();
        assert_eq!(received.uri.to_string(), "/a?x=1&y=%20");
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn api_key_takes_a_hundred_thousand_keys() {
    let upstream = TestUpstream::named("app").await;
    let keys: String = (0..100_000).map(|n| format!("name-{n}:{}\n", digest(&format!("key-{n}")))).collect();
    let policies = ["exchange", "worker"].map(|isolation| {
        format!(
            "[policies.{isolation}]\nplugin = \"builtin:api-key\"\nisolation = \"{isolation}\"\n\
             limits = {{ memory = \"48MiB\" }}\nconfig = {{ keys-file = \"keys.txt\" }}\n\
             [routes.{isolation}]\nmatch = {{ path = \"/{isolation}\" }}\nuse = [\"{isolation}\"]\nto = \"app\"\n"
        )
    });
    let config = config(upstream.address(), &[], &policies.concat());
    let gateway = TestGateway::builder().file("keys.txt", keys).start(&config).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    for path in ["/exchange", "/worker"] {
        for key in ["key-0", "key-54321", "key-99999"] {
            assert_eq!(client.get_with(path, &[("x-api-key", key)]).await.status, 200, "{path} {key}");
        }
        for key in ["key-100000", ""] {
            assert_eq!(client.get_with(path, &[("x-api-key", key)]).await.status, 401, "{path} {key}");
        }
    }
}

#[tokio::test]
async fn headers_edit_both_heads() {
    let upstream = TestUpstream::h1(|_| {
        Answer::text("app").header("server", "app/1").header("x-old", "1").header("vary", "accept")
    })
    .await;
    let policies = "
        [policies.edit]
        plugin = \"builtin:headers\"
        [policies.edit.config.request]
        remove = [\"x-drop\"]
        set = { x-client = \"${client-address} on ${route}\", x-unset = \"${tls-server-name}\", x-path = \"${request.path}\" }
        append = { x-list = \"two\" }
        [policies.edit.config.response]
        remove = [\"server\", \"x-old\"]
        set = { x-status = \"${response.status}\", x-method = \"${request.method}\" }
        append = { vary = \"origin\" }
    ";
    let gateway = TestGateway::start(&config(upstream.address(), &["edit"], policies)).await;
    for mut client in clients(&gateway).await {
        let fields = [("x-drop", "1"), ("x-drop", "2"), ("x-unset", "forged"), ("x-list", "one")];
        let reply = client.get_with("/a/b?c", &fields).await;
        let received = upstream.last_request();
        let field = |name: &str| received.header(name);
        assert_eq!(field("x-client"), "127.0.0.1 on all");
        assert_eq!((field("x-drop"), field("x-unset")), (String::new(), String::new()));
        assert_eq!((field("x-path"), field("x-list")), ("/a/b".to_owned(), "one, two".to_owned()));
        let field = |name: &str| reply.header(name);
        assert_eq!((field("server"), field("x-old")), (String::new(), String::new()));
        assert_eq!((field("x-status"), field("x-method")), ("200".to_owned(), "GET".to_owned()));
        assert_eq!(field("vary"), "accept, origin");
    }
}

#[tokio::test]
async fn headers_reach_the_answers_of_later_policies_and_of_the_gateway() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let policies = "
        [policies.stamp]
        plugin = \"builtin:headers\"
        config = { response = { set = { x-stamp = \"${response.status}\" } } }
        [policies.filter]
        plugin = \"builtin:ip-filter\"
        config = { deny = [\"127.0.0.0/8\"] }
        [routes.filtered]
        match = { path = \"/filtered\" }
        use = [\"stamp\", \"filter\"]
        to = \"app\"
    ";
    let gateway = TestGateway::start(&config(address, &["stamp"], policies)).await;
    for mut client in clients(&gateway).await {
        for (path, status) in [("/filtered", 403), ("/unreachable", 502)] {
            let reply = client.get(path).await;
            assert!([status, 503].contains(&reply.status), "{path}: {}", reply.status);
            assert_eq!(reply.header("x-stamp"), reply.status.to_string(), "{path}");
        }
    }
}

const LIMIT: &str = "[policies.limit]\nplugin = \"builtin:rate-limit\"\ngrants = { rate-limit = true }\n";

#[tokio::test]
async fn rate_limits_are_exact_over_all_workers() {
    let upstream = TestUpstream::named("app").await;
    let policies = format!("{LIMIT}config = {{ rate = \"10/h\", burst = 24 }}\n");
    let gateway = TestGateway::start(&config(upstream.address(), &["limit"], &policies)).await;
    let mut asking = JoinSet::new();
    for at in 0..12 {
        let address = gateway.address("web");
        asking.spawn(async move {
            let mut client = match at % 2 {
                0 => TestClient::h1(address).await,
                _ => TestClient::h2(address).await,
            };
            let mut replies: Vec<Reply> = Vec::new();
            for _ in 0..10 {
                replies.push(client.get("/").await);
            }
            replies
        });
    }
    let replies: Vec<Reply> = asking.join_all().await.into_iter().flatten().collect();
    let (passed, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    // The one that is due, and the burst.
    assert_eq!((passed.len(), refused.len()), (25, 95));
    assert_eq!(upstream.requests().len(), 25);
    for reply in refused {
        assert_eq!(reply.status, 429);
        let seconds: u64 = reply.header("retry-after").parse().unwrap();
        assert!((1..=360).contains(&seconds), "{seconds}");
        assert_eq!(reply.header("ratelimit-policy"), "\"default\";q=10;w=3600");
        assert!(reply.header("ratelimit").starts_with("\"default\";r=0;t="), "{}", reply.header("ratelimit"));
    }
    let mut remaining: Vec<u64> = passed
        .iter()
        .map(|reply| {
            let field = reply.header("ratelimit");
            field.split("r=").nth(1).and_then(|rest| rest.split(';').next()).unwrap().parse().unwrap()
        })
        .collect();
    remaining.sort_unstable();
    assert_eq!(remaining, (0..25).collect::<Vec<_>>(), "each has seen a count of its own");
}

#[tokio::test]
async fn rate_limits_count_each_key_apart() {
    let upstream = TestUpstream::named("app").await;
    let policies = format!(
        "{LIMIT}config = {{ rate = \"1/h\", burst = 0, key = {{ attribute = \"api-key.name\" }}, fields = false }}\n\
         [policies.keys]\nplugin = \"builtin:api-key\"\nconfig = {{ keys = [\
         {{ name = \"alice\", sha256 = \"{}\" }}, {{ name = \"bob\", sha256 = \"{}\" }}] }}\n",
        digest("a"),
        digest("b"),
    );
    let gateway = TestGateway::start(&config(upstream.address(), &["keys", "limit"], &policies)).await;
    let mut client = TestClient::h2(gateway.address("web")).await;
    for (key, status) in [("a", 200), ("b", 200), ("c", 401), ("a", 429), ("b", 429)] {
        let reply = client.get_with("/", &[("x-api-key", key)]).await;
        assert_eq!(reply.status, status, "{key}");
        assert_eq!(reply.header("ratelimit"), "");
    }
}

#[tokio::test]
async fn ip_filter_judges_the_client_and_not_the_proxy_before_it() {
    let upstream = TestUpstream::named("app").await;
    let policies = "
        [policies.filter]
        plugin = \"builtin:ip-filter\"
        config = { allow = [\"192.0.2.0/24\", \"2001:db8::/32\"], deny-file = \"deny.txt\" }
    ";
    let trusting = config(upstream.address(), &["filter"], policies)
        .replace("workers = 2", "workers = 2\ntrusted-proxies = [\"127.0.0.0/8\"]");
    let gateway = TestGateway::builder().file("deny.txt", "192.0.2.7 # left\n").start(&trusting).await;
    for mut client in clients(&gateway).await {
        for (address, status) in [
            ("192.0.2.6", 200),
            ("192.0.2.7", 403),
            ("192.0.3.1", 403),
            ("2001:db8::1", 200),
            ("2001:db9::1", 403),
            ("192.0.2.6, 10.0.0.1", 403),
        ] {
            let reply = client.send(Method::POST, "/", &[("x-forwarded-for", address)], "body").await;
            assert_eq!(reply.status, status, "{address}");
        }
    }
    assert_eq!(upstream.requests().len(), 4);

    // Without a trusted proxy no client can choose its address.
    let gateway = TestGateway::builder()
        .file("deny.txt", "")
        .start(&config(upstream.address(), &["filter"], policies))
        .await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    assert_eq!(client.get_with("/", &[("x-forwarded-for", "192.0.2.6")]).await.status, 403);
}

#[tokio::test]
async fn jwt_lets_in_who_has_a_valid_token() {
    let upstream = TestUpstream::echo().await;
    // The key and the token of RFC 7515, A.1: its `iss` is joe, and it expired in 2011.
    let jwk = r#"{ "keys": [{ "kty": "oct", "alg": "HS256", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow" }] }"#;
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let policies = "[policies.tokens]\nplugin = \"builtin:jwt\"\n\
                    config = { keys-file = \"keys.json\", issuer = \"joe\" }\n\
                    grants = { clock = true, crypto = true }\n";
    let gateway = TestGateway::builder()
        .file("keys.json", jwk)
        .start(&config(upstream.address(), &["tokens"], policies))
        .await;
    for mut client in clients(&gateway).await {
        let missing = client.get("/").await;
        assert_eq!((missing.status, missing.header("www-authenticate")), (401, "Bearer".into()));
        let expired = client.get_with("/", &[("authorization", &format!("Bearer {token}"))]).await;
        assert!(expired.status == 401 && expired.header("www-authenticate").contains("expired"));
        let forged = token.replace("dBjf", "dBje");
        let forged = client.get_with("/", &[("authorization", &format!("Bearer {forged}"))]).await;
        assert!(forged.status == 401 && forged.header("www-authenticate").contains("signature"));
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn external_auth_asks_a_service_and_heeds_it() {
    let upstream = TestUpstream::h1(|received| Answer::text(received.header("x-user"))).await;
    let service = TestUpstream::h1(|received| match received.header("authorization").as_str() {
        "Bearer alice" => Answer::text("").status(204).header("x-user", "alice"),
        "Bearer broken" => Answer::text("oh").status(500),
        _ => Answer::text("who are you?\n").status(401).header("www-authenticate", "Bearer"),
    })
    .await;
    let url = format!("http://{}/check", service.address());
    let policies = format!(
        "[policies.auth]\nplugin = \"builtin:external-auth\"\n\
         config = {{ url = \"{url}\", upstream-fields = [\"x-user\"] }}\n\
         grants = {{ log = true, http = [{{ url = \"{url}\", private = true }}] }}\n"
    );
    let gateway = TestGateway::start(&config(upstream.address(), &["auth"], &policies)).await;
    for mut client in clients(&gateway).await {
        let known = [("authorization", "Bearer alice"), ("x-user", "mallory")];
        assert_eq!(client.get_with("/a?b", &known).await.text(), "alice");
        assert_eq!(service.requests().pop().unwrap().header("x-forwarded-uri"), "/a?b");
        let refused = client.get_with("/", &[("x-user", "mallory")]).await;
        assert_eq!((refused.status, refused.text().as_str()), (401, "who are you?\n"));
        assert_eq!(refused.header("www-authenticate"), "Bearer");
        assert_eq!(client.get_with("/", &[("authorization", "Bearer broken")]).await.status, 503);
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn external_auth_gives_the_client_cookies_of_a_session_that_was_renewed() {
    let upstream = TestUpstream::h1(|_| Answer::text("app").header("set-cookie", "app=1")).await;
    let service = TestUpstream::h1(|_| {
        Answer::text("").header("set-cookie", "session=2; Path=/").header("set-cookie", "csrf=3")
    })
    .await;
    let url = format!("http://{}/check", service.address());
    let policies = format!(
        "[policies.auth]\nplugin = \"builtin:external-auth\"\n\
         config = {{ url = \"{url}\", client-fields = [\"set-cookie\"] }}\n\
         grants = {{ http = [{{ url = \"{url}\", private = true }}], log = true }}\n"
    );
    let gateway = TestGateway::start(&config(upstream.address(), &["auth"], &policies)).await;
    for mut client in clients(&gateway).await {
        let reply = client.get("/").await;
        let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["app=1", "session=2; Path=/", "csrf=3"]);
        assert_eq!(upstream.last_request().header("set-cookie"), "");
    }
}

#[tokio::test]
async fn mistakes_that_policies_find_are_told_all_at_once_each_at_its_line() {
    let upstream = TestUpstream::named("app").await;
    let policies = r#"
[policies.filter]
plugin = "builtin:ip-filter"
[policies.filter.config]
allow = ["10.0.0.1/8", "::/0", "all"]
deny = ["localhost"]
[policies.edits]
plugin = "builtin:headers"
config = { request = { set = { X-Real-IP = "$remote_addr" } } }
"#;
    let text = config(upstream.address(), &["filter", "edits"], policies);
    let failed = TestGateway::builder().try_start(&text).await.unwrap_err();
    let line = |wanted: &str| text.lines().position(|line| line.contains(wanted)).unwrap() + 1;
    let (allow, deny, set) = (line("allow ="), line("deny ="), line("X-Real-IP"));
    for place in [
        format!("portcullis.toml:{allow}:10"),
        format!("portcullis.toml:{allow}:32"),
        format!("portcullis.toml:{deny}:9"),
        format!("portcullis.toml:{set}:"),
        "`config.allow[2]` of policy `filter`".to_owned(),
        "write ${client-address}".to_owned(),
        "the network is 10.0.0.0/8".to_owned(),
        "4 errors".to_owned(),
    ] {
        assert!(failed.stderr.contains(&place), "{place}: {}", failed.stderr);
    }
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_logged_with_their_id_and_the_others_count() {
    let upstream = TestUpstream::named("app").await;
    let set = r#"{"keys": [
        {"kty": "EC", "crv": "P-256", "kid": "good", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"},
        {"kty": "RSA", "kid": "open", "n": "AQAB", "e": "AQAB"},
        {"kty": "oct", "kid": "short", "alg": "HS256", "k": "AQAB"},
        {"kty": "EC", "use": "enc", "kid": "for-encryption", "crv": "P-256", "x": "a", "y": "b"}
    ]}"#;
    let policies = "[policies.tokens]\nplugin = \"builtin:jwt\"\nconfig = { keys-file = \"keys.json\" }\n\
                    grants = { clock = true, crypto = true }\n";
    let gateway = TestGateway::builder()
        // A byte order mark, as some editors leave it.
        .file("keys.json", format!("\u{feff}{set}"))
        .start(&config(upstream.address(), &["tokens"], policies))
        .await;
    for kid in ["open", "short", "for-encryption"] {
        gateway
            .wait_for_log(kid, |line| {
                line.message.contains(&format!("the key `{kid}` of its key set is left out"))
            })
            .await;
    }
    assert!(!gateway.log().iter().any(|line| line.message.contains("the key `good`")));
}

#[tokio::test]
async fn external_auth_answers_503_where_its_service_takes_as_long_as_a_call_may() {
    let upstream = TestUpstream::named("app").await;
    let service = TestUpstream::streaming_h1(|_| std::future::pending()).await;
    let url = format!("http://{}/check", service.address());
    // It would wait as long as the whole hook may take, and longer.
    let policies = format!(
        "[policies.auth]\nplugin = \"builtin:external-auth\"\n\
         config = {{ url = \"{url}\", timeout-ms = 30_000 }}\nlimits = {{ wall = \"5s\" }}\n\
         grants = {{ log = true, http = [{{ url = \"{url}\", private = true }}] }}\n"
    );
    let gateway = TestGateway::start(&config(upstream.address(), &["auth"], &policies)).await;
    let client = TestClient::h2(gateway.address("web")).await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let mut client = client.share();
        asking.spawn(async move { client.get("/").await.status });
    }
    assert_eq!(asking.join_all().await, [503; 6]);
    assert!(gateway.log().iter().all(|line| !line.message.starts_with("policy fault")));
    assert!(upstream.requests().is_empty());
}
