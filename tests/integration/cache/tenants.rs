//! Two tenants behind one cache, with each policy that ships: neither gets the other's answer, and a hit is as
//! authorised as a miss.

use hyper::Method;

use super::{counter, edge, fresh, status};
use crate::edge::Http;
use crate::harness::{Answer, TestGateway, TestUpstream};
use crate::setup::{config, digest, policy};

const KEY_OF_ALICE: &str = "key-of-alice-0123456789";
const KEY_OF_BOB: &str = "key-of-bob-0123456789";
/// A key for HS256, and the tokens that it signed for `sub` alice and bob.
const JWKS: &str =
    r#"{ "keys": [{ "kty": "oct", "alg": "HS256", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" }] }"#;
const TOKEN_OF_ALICE: &str =
    "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.1LyJX3n8HF4PKpKt6cAnOsvYK1JymjhYdwLb9Q6B8gQ";
const TOKEN_OF_BOB: &str =
    "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.RPQELiFOASTb6el51MJLaiKVFj3IfMXqNi-NBNhOFcI";

type Fields<'a> = &'a [(&'a str, &'a str)];

/// Policies of a route, and who may ask.
struct Case<'a> {
    name: &'a str,
    policies: String,
    uses: &'a str,
    alice: Fields<'a>,
    bob: Fields<'a>,
    /// Who may not, and what that gets.
    refused: Fields<'a>,
    status: u16,
}

fn keys(more: &str) -> String {
    format!(
        "[policies.keys]\nplugin = \"builtin:api-key\"\nconfig = {{ keys = [\
         {{ name = \"alice\", sha256 = \"{}\" }}, {{ name = \"bob\", sha256 = \"{}\" }}]{more} }}\n",
        digest(KEY_OF_ALICE),
        digest(KEY_OF_BOB)
    )
}

fn tokens(more: &str) -> String {
    format!(
        "[policies.tokens]\nplugin = \"builtin:jwt\"\ngrants = {{ clock = true, crypto = true }}\n\
         config = {{ keys-file = \"keys.json\", require-expiry = false{more} }}\n"
    )
}

fn headers(value: &str) -> String {
    format!(
        "[policies.stamp]\nplugin = \"builtin:headers\"\n\
         config = {{ request = {{ set = {{ x-user = \"{value}\" }} }}, response = {{ set = {{ x-frame-options = \"DENY\" }} }} }}\n"
    )
}

/// A service that knows two sessions.
async fn sessions() -> TestUpstream {
    TestUpstream::h1(|request| {
        let user = match request.header("cookie").as_str() {
            "session=1" => "alice",
            "session=2" => "bob",
            _ => return Answer::text("who are you?").status(401),
        };
        Answer::text("").header("x-user", user).header("x-hello", user)
    })
    .await
}

/// Each policy that ships, such that the upstream sees whose request it is. `external` is external-auth.
fn cases(external: String) -> Vec<Case<'static>> {
    let filter = "[policies.filter]\nplugin = \"builtin:ip-filter\"\nconfig = { deny = [\"192.0.2.9\"] }\n";
    let by_key: (Fields<'_>, Fields<'_>) = (&[("x-api-key", KEY_OF_ALICE)], &[("x-api-key", KEY_OF_BOB)]);
    let by_token: (Fields<'_>, Fields<'_>) =
        (&[("authorization", TOKEN_OF_ALICE)], &[("authorization", TOKEN_OF_BOB)]);
    let by_address: (Fields<'_>, Fields<'_>) =
        (&[("x-forwarded-for", "192.0.2.1")], &[("x-forwarded-for", "192.0.2.2")]);
    vec![
        Case {
            name: "api-key that forwards the name",
            policies: keys(", forward-name-as = \"x-user\""),
            uses: "[\"keys\"]",
            alice: by_key.0,
            bob: by_key.1,
            refused: &[("x-api-key", "wrong"), ("x-user", "alice")],
            status: 401,
        },
        Case {
            name: "api-key and headers by its attribute",
            policies: keys("") + &headers("${attribute.api-key.name}"),
            uses: "[\"keys\", \"stamp\"]",
            alice: by_key.0,
            bob: by_key.1,
            refused: &[("x-user", "alice")],
            status: 401,
        },
        Case {
            name: "jwt that forwards a claim",
            policies: tokens(", upstream-fields = { x-user = \"sub\" }"),
            uses: "[\"tokens\"]",
            alice: by_token.0,
            bob: by_token.1,
            refused: &[("authorization", "Bearer x.y.z"), ("x-user", "alice")],
            status: 401,
        },
        Case {
            name: "jwt that takes the token away, and headers",
            policies: tokens(", remove = true") + &headers("${attribute.jwt.sub}"),
            uses: "[\"tokens\", \"stamp\"]",
            alice: by_token.0,
            bob: by_token.1,
            refused: &[("x-user", "alice")],
            status: 401,
        },
        Case {
            name: "external-auth",
            policies: external,
            uses: "[\"auth\"]",
            alice: &[("cookie", "session=1")],
            bob: &[("cookie", "session=2")],
            refused: &[("cookie", "session=3"), ("x-user", "alice")],
            status: 401,
        },
        Case {
            name: "ip-filter and headers by the address",
            policies: filter.to_owned() + &headers("${client-address}"),
            uses: "[\"filter\", \"stamp\"]",
            alice: by_address.0,
            bob: by_address.1,
            refused: &[("x-forwarded-for", "192.0.2.9"), ("x-user", "192.0.2.1")],
            status: 403,
        },
        Case {
            name: "headers by what a client says",
            policies: filter.to_owned() + &headers("${request.header.x-tenant}"),
            uses: "[\"filter\", \"stamp\"]",
            alice: &[("x-tenant", "a")],
            bob: &[("x-tenant", "b"), ("x-user", "a")],
            refused: &[("x-forwarded-for", "192.0.2.9"), ("x-tenant", "a")],
            status: 403,
        },
    ]
}

#[tokio::test]
async fn no_tenant_gets_the_answer_of_another_and_a_hit_is_as_authorised_as_a_miss() {
    let sessions = sessions().await;
    let url = format!("http://{}/check", sessions.address());
    let external = format!(
        "[policies.auth]\nplugin = \"builtin:external-auth\"\n\
         config = {{ url = \"{url}\", upstream-fields = [\"x-user\"], client-fields = [\"x-hello\"] }}\n\
         grants = {{ log = true, http = [{{ url = \"{url}\", private = true }}] }}\n"
    );
    for case in cases(external) {
        let name = case.name;
        let count = counter();
        let upstream = TestUpstream::h1(move |request| {
            fresh(format!("{} for {}", count(), request.header("x-user"))).header("cache-control", "public")
        })
        .await;
        let gateway = edge(&upstream, "")
            .server("trusted-proxies = [\"127.0.0.0/8\"]")
            .route(&format!("use = {}", case.uses))
            .more(&case.policies)
            .file("keys.json", JWKS)
            .start()
            .await;
        let refused = async || {
            let mut client = Http::One.client(&gateway).await;
            for (method, more) in [
                (Method::GET, None),
                (Method::HEAD, None),
                (Method::GET, Some(("range", "bytes=0-1"))),
                (Method::GET, Some(("if-none-match", "*"))),
                (Method::GET, Some(("cache-control", "only-if-cached, max-stale"))),
            ] {
                let fields: Vec<_> = case.refused.iter().copied().chain(more).collect();
                let reply = client.send(method, "/a", &fields, "").await;
                assert_eq!(
                    (reply.status, &*reply.header("cache-status")),
                    (case.status, ""),
                    "{name} {more:?}"
                );
                assert!(!reply.text().contains(" for "), "{name}");
            }
        };
        refused().await;
        for http in [Http::One, Http::Two] {
            let mut client = http.client(&gateway).await;
            let alice = client.get_with("/a", case.alice).await;
            let bob = client.get_with("/a", case.bob).await;
            assert_eq!((alice.status, bob.status), (200, 200), "{name}");
            assert_ne!(alice.text().split(" for ").nth(1), bob.text().split(" for ").nth(1), "{name}");
            refused().await;
            for (fields, first) in [(case.alice, &alice), (case.bob, &bob)] {
                let again = client.get_with("/a", fields).await;
                assert_eq!((&*status(&again), again.text()), ("hit", first.text()), "{name}");
                // Policies see the response to a hit as that to a miss.
                for field in ["x-hello", "x-frame-options"] {
                    assert_eq!(again.header(field), first.header(field), "{name}");
                }
            }
        }
        assert_eq!(upstream.requests().len(), 2, "{name}");
    }
}

#[tokio::test]
async fn a_limit_counts_hits() {
    let upstream = TestUpstream::h1(|_| fresh("x")).await;
    let limit = "[policies.limit]\nplugin = \"builtin:rate-limit\"\ngrants = { rate-limit = true }\n\
                 config = { rate = \"3/h\", key = { attribute = \"api-key.name\" } }\n";
    let gateway =
        edge(&upstream, "").route("use = [\"keys\", \"limit\"]").more(&(keys("") + limit)).start().await;
    let mut client = Http::One.client(&gateway).await;
    for key in [KEY_OF_ALICE, KEY_OF_BOB] {
        for expected in [200, 200, 200, 429, 429] {
            let reply = client.get_with("/a", &[("x-api-key", key)]).await;
            assert_eq!(reply.status, expected);
            assert!(!reply.header("ratelimit").is_empty(), "on a hit as well");
        }
    }
    assert_eq!(upstream.requests().len(), 1);
}

/// What a policy makes of a request decides which answer it gets, whatever the client had asked for.
#[tokio::test]
async fn what_a_policy_makes_of_a_request_is_its_key() {
    let answer = |name: &'static str| {
        move |request: &crate::harness::Received| {
            fresh(format!(
                "{name} {} {}{} {}",
                request.method,
                request.header("host"),
                request.uri,
                request.header("x-user")
            ))
        }
    };
    let (one, two) = (TestUpstream::h1(answer("one")).await, TestUpstream::h1(answer("two")).await);
    let text = config(one.address(), &["edits"], &policy("edits", "edits", ""))
        .replace("to = \"app\"", "to = [\"app\", \"other\"]\ncache = \"c\"")
        + &format!("[upstreams.other]\nendpoints = [\"{}\"]\n[caches.c]\n", two.address());
    let gateway = TestGateway::builder().file("edits.wasm", portcullis_test_guests::EDITS).start(&text).await;
    let edits = [
        "request.method",
        "request.set-path-and-query /b",
        "request.set-path-and-query /a?q",
        "request.set-upstream other",
        "request.set-authority other.test",
        "request.set-method HEAD",
        "request.set-method POST",
        "request.set-header x-user alice",
        "request.set-header x-user bob",
        "request.append-header x-user alice",
    ];
    for http in [Http::One, Http::Two] {
        let mut client = http.client(&gateway).await;
        // In both orders, so that each edit has come before and after each other one.
        for edit in edits.iter().chain(edits.iter().rev()) {
            for sent in ["", "alice"] {
                let fields = [("x-edit", *edit), ("x-user", sent)];
                let fields = if sent.is_empty() { &fields[..1] } else { &fields[..] };
                let text = client.get_with("/a", fields).await.text();
                let words: Vec<&str> = edit.split(' ').collect();
                let has = |wanted: &str| assert!(text.contains(wanted), "{edit} {sent}: {text}");
                match words[0] {
                    "request.set-path-and-query" => has(words[1]),
                    "request.set-upstream" => has("two GET"),
                    "request.set-authority" => has("other.test/a"),
                    "request.set-method" if words[1] == "HEAD" => assert_eq!(text, ""),
                    "request.set-method" => has("one POST"),
                    "request.set-header" => assert!(text.ends_with(words[2]), "{edit} {sent}: {text}"),
                    "request.append-header" if sent.is_empty() => has(" alice"),
                    "request.append-header" => has("alice, alice"),
                    _ => {
                        assert!(text.starts_with("one GET") && text.contains("/a "), "{edit} {sent}: {text}")
                    }
                }
            }
        }
    }
}
