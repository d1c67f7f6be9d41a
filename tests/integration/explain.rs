//! `portcullis explain`: by a config, and by a gateway that runs.

use std::path::Path;

use portcullis_test_guests::{CAPABILITIES, MISBEHAVE};
use serde_json::{Value, json};

use crate::harness::{Ran, TestClient, TestGateway, TestUpstream, eventually, portcullis, portcullis_in};
use crate::setup::{KEY, PASSWORD, every_grant, misbehave, policy, shipped};
use crate::{setup, status};

/// Routes by host, path, method and field; one with policies, one whose policy fails, one with a secret.
fn config() -> String {
    format!(
        r#"
[server]
trusted-proxies = ["10.0.0.0/8"]

[listeners.web]
address = "127.0.0.1:0"

[upstreams.app]
endpoints = ["127.0.0.1:9", {{ address = "127.0.0.1:10", weight = 2 }}]

[upstreams.one]
endpoints = ["127.0.0.1:11"]
host = {{ value = "inner.test" }}

{shipped}
{traps}
{capable}
[routes.api]
match = {{ host = "api.test", path = "/v1/*" }}
use = ["stamp", "keys", "limit"]
to = "app"

[routes.post]
match = {{ path = "/v1/*", method = "POST", headers = {{ x-beta = "yes" }} }}
to = "app"

[routes.traps]
match = {{ path = "/traps" }}
use = ["stamp", "traps"]
to = "app"

[routes.capable]
match = {{ path = "/capable" }}
use = ["capable"]
to = "app"

[routes.rest]
to = "one"
"#,
        shipped = shipped("rate = \"10/m\", burst = 4"),
        traps = misbehave("traps", "request-head", "trap", ""),
        capable = policy("capable", "capabilities", &every_grant("password")),
    )
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    write("portcullis.toml", config().as_bytes());
    write("misbehave.wasm", MISBEHAVE);
    write("capabilities.wasm", CAPABILITIES);
    write(PASSWORD.0, PASSWORD.1);
    dir
}

async fn explain(dir: &Path, arguments: &[&str]) -> Ran {
    portcullis_in(dir, ["explain"].iter().chain(arguments)).await
}

async fn as_json(dir: &Path, arguments: &[&str]) -> Value {
    let ran = explain(dir, &[arguments, &["--json"]].concat()).await;
    assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn says(ran: &Ran, expected: &[&str]) {
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for expected in expected {
        assert!(ran.stdout.contains(expected), "no {expected:?} in:\n{}", ran.stdout);
    }
}

#[tokio::test]
async fn each_route_says_why_it_lost() {
    let dir = folder();
    let ran = explain(dir.path(), &["GET", "http://other.test/v1/a", "--routes-only"]).await;
    says(
        &ran,
        &[
            "listener   web",
            "request    GET http://other.test/v1/a",
            "asks for host `api.test`, and the request has `other.test`",
            "asks for path `/traps`, and the request has `/v1/a`",
            "asks for method `POST`, and the request has `GET`",
            "> rest",
            "the policies were not run",
            "forwarded to upstream `one` (http1)",
            "> 127.0.0.1:11  weight 1, host `inner.test`",
        ],
    );
    let json =
        as_json(dir.path(), &["POST", "http://other.test/v1/a", "--routes-only", "-H", "X-Beta: no"]).await;
    assert_eq!((&json["mode"], &json["route"]), (&json!("routes"), &json!("rest")));
    let post = json["routes"].as_array().unwrap().iter().find(|route| route["route"] == "post").unwrap();
    assert_eq!(
        (&post["verdict"], &post["condition"], &post["expected"], &post["found"]),
        (&json!("lost"), &json!("header"), &json!("x-beta=yes"), &json!("no"))
    );
    let json =
        as_json(dir.path(), &["POST", "http://api.test./v1/a", "--routes-only", "-H", "X-Beta: yes"]).await;
    assert_eq!(json["route"], "api");
    let post = json["routes"].as_array().unwrap().iter().find(|route| route["route"] == "post").unwrap();
    assert_eq!((&post["verdict"], &post["takes"]), (&json!("behind"), &json!(true)));
}

#[tokio::test]
async fn policies_run_and_show_what_they_did() {
    let dir = folder();
    let key = format!("x-api-key: {KEY}");
    let arguments = ["GET", "https://api.test/v1/a?b=c", "-H", &key, "--client", "192.0.2.7"];
    let ran = explain(dir.path(), &arguments).await;
    says(
        &ran,
        &[
            "client     192.0.2.7",
            "+ x-forwarded-for: 192.0.2.7",
            "stamp  on-request-head  next",
            "request + x-stamp: 1",
            "keys  on-request-head  next",
            "request - x-api-key",
            "attribute api-key.name = \"alice\"",
            "rate-limit.check(bucket: ",
            "forwarded to upstream `app`",
            "GET /v1/a?b=c",
            "balanced by round-robin",
        ],
    );
    let json = as_json(dir.path(), &arguments).await;
    assert_eq!((&json["mode"], &json["route"]), (&json!("sandbox"), &json!("api")));
    assert_eq!(json["client"]["tls-server-name"], "api.test");
    let hooks: Vec<&Value> =
        json["policies"].as_array().unwrap().iter().map(|hook| &hook["policy"]).collect();
    assert_eq!(hooks, ["stamp", "keys", "limit"]);
    assert!(json["policies"].as_array().unwrap().iter().all(|hook| hook["cpu-us"].as_f64().unwrap() > 0.0));
    let check = &json["policies"][2]["calls"][0];
    assert_eq!((&check["function"], &check["result"]["allowed"]), (&json!("rate-limit.check"), &json!(true)));
    assert_eq!(
        json["ending"]["upstream"]["endpoints"][1],
        json!({
            "address": "127.0.0.1:10", "weight": 2, "priority": 0, "host": "api.test", "next": false,
            "health": null, "in-flight": null,
        })
    );
}

#[tokio::test]
async fn a_reply_is_shown_as_the_client_would_get_it() {
    let dir = folder();
    let ran = explain(dir.path(), &["GET", "https://api.test/v1/a"]).await;
    says(
        &ran,
        &[
            "keys  on-request-head  replies 401",
            "policy `keys` answers",
            "x-frame-options: DENY",
            "stamp  on-response-head",
        ],
    );
    let json = as_json(dir.path(), &["GET", "https://api.test/v1/a"]).await;
    let ending = &json["ending"];
    assert_eq!(
        (&ending["kind"], &ending["policy"], &ending["status"]),
        (&json!("replied"), &json!("keys"), &json!(401))
    );
    assert!(!ending["response"]["body"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn a_fault_is_shown_with_what_it_means() {
    let dir = folder();
    let ran = explain(dir.path(), &["GET", "/traps"]).await;
    says(
        &ran,
        &[
            "traps  on-request-head  fails: trap: ",
            "(on-error = \"deny\")",
            "policy `traps` failed, and so the request is refused",
            "  500",
        ],
    );
}

#[tokio::test]
async fn secrets_of_the_config_are_not_shown() {
    let dir = folder();
    for more in [&[][..], &["--json"]] {
        let arguments = [&["GET", "/capable", "-H", "x-do: secret password"], more].concat();
        let ran = explain(dir.path(), &arguments).await;
        says(&ran, &["[secret:password]"]);
        assert!(!ran.stdout.contains("hunter2"), "{}", ran.stdout);
    }
}

#[tokio::test]
async fn what_a_policy_logs_is_shown_and_not_logged() {
    let dir = folder();
    let ran = explain(dir.path(), &["GET", "/capable", "-H", "x-do: log 1"]).await;
    says(&ran, &["log.log(fields: [[\"key\",", "message: \"line 0\\u0007\""]);
    assert_eq!(ran.stderr, "");
}

#[tokio::test]
async fn what_the_parser_refuses_is_told_with_its_status() {
    let dir = folder();
    let long = format!("/{}", "a".repeat(100_000));
    for (method, url, headers, status, reason) in [
        ("GET", "http://api.test/a/%2e%2e/%2e%2e/b", &[][..], 400, "above the root"),
        ("GET", "/a%2fb", &[], 400, "encoded slash"),
        ("GET", "/a\\b", &[], 400, "invalid character"),
        ("GET", "/%zz", &[], 400, "percent-encoding"),
        ("GET", "http://user:pass@api.test/", &[], 400, "invalid host"),
        ("GET", "http:///", &[], 400, "invalid host"),
        ("GET", "/a b", &[], 400, "malformed"),
        ("GET", "/ü", &[], 400, ""),
        ("GET", "/", &["bad name: x"], 400, "malformed"),
        ("GET", "/", &["host: a", "host: b"], 400, "several host"),
        ("POST", "/", &["content-length: 1", "transfer-encoding: chunked"], 400, ""),
        ("GET", &long, &[], 414, "too long"),
        ("CONNECT", "api.test:443", &[], 501, "CONNECT"),
        ("EXTRAORDINARILY-LONG-METHOD-OF-NOBODY", "/", &[], 501, "method too long"),
    ] {
        let headers: Vec<&str> = headers.iter().flat_map(|header| ["-H", *header]).collect();
        let json = as_json(dir.path(), &[&[method, url], headers.as_slice()].concat()).await;
        let ending = &json["ending"];
        assert_eq!(
            (&ending["kind"], &ending["status"]),
            (&json!("refused"), &json!(status)),
            "{method} {url}: {ending}"
        );
        assert!(ending["reason"].as_str().unwrap().contains(reason), "{method} {url}: {ending}");
    }
    let ran = explain(dir.path(), &["GET", "/a%2fb"]).await;
    says(&ran, &["refused: the client gets 400: "]);
}

#[tokio::test]
async fn a_proxy_is_believed_where_it_is_trusted() {
    let dir = folder();
    let ask = async |client: &str| {
        as_json(
            dir.path(),
            &["GET", "/", "--routes-only", "--client", client, "-H", "x-forwarded-for: 192.0.2.1"],
        )
        .await
    };
    assert_eq!(ask("10.1.2.3").await["client"]["address"], "192.0.2.1");
    assert_eq!(ask("172.16.0.1").await["client"]["address"], "172.16.0.1");
}

#[tokio::test]
async fn without_a_route_it_is_404() {
    let dir = folder();
    let config = config()
        .replace("[routes.rest]\nto = \"one\"", "[routes.rest]\nmatch = { path = \"/rest\" }\nto = \"one\"");
    std::fs::write(dir.path().join("portcullis.toml"), config).unwrap();
    let ran = explain(dir.path(), &["GET", "/nowhere"]).await;
    says(&ran, &["refused: the client gets 404: no route takes the request"]);
}

#[tokio::test]
async fn wrong_usage_and_hostile_input_are_two() {
    let dir = folder();
    for arguments in [
        &["GET"][..],
        &["GET", "/", "--client", "nobody"],
        &["GET", "/", "-H", "no-colon"],
        &["GET", "/", "-H", "x: y\r\nhost: evil.test"],
        &["GET", "/", "-H", "x\ny: z"],
        &["GET", "/a\r\nx-injected: 1"],
        &["GET\r\nx: y", "/"],
        &["GET POST", "/"],
        &["GET", "ftp://a.test/"],
        &["GET", ""],
        &["GET", "http://a.test/", "--sni", "a.test"],
    ] {
        let ran = explain(dir.path(), arguments).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("evil.test\n"), "{arguments:?}: {}", ran.stderr);
    }
    let ran = explain(dir.path(), &["GET", "/", "--listener", "nowhere"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("the listeners are web"), "{}", ran.stderr);
    let ran = portcullis(["explain", "GET", "/", "-c", "/nowhere/edge.toml"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("/nowhere/edge.toml"), "{}", ran.stderr);
}

#[tokio::test]
async fn what_clients_choose_does_not_steer_the_terminal() {
    let dir = folder();
    let ran = explain(dir.path(), &["GET", "/", "--routes-only", "-H", "x-note: a\u{202e}b"]).await;
    says(&ran, &["\\u{202e}"]);
    assert!(!ran.stdout.contains('\u{202e}'), "{}", ran.stdout);
}

/// A gateway with a route whose limit lets two requests through, one whose policy keeps things, and one that fails.
async fn live(upstream: &TestUpstream) -> TestGateway {
    let config = config()
        .replace("127.0.0.1:9\"", &format!("{}\"", upstream.address()))
        .replace("127.0.0.1:11", &upstream.address().to_string())
        .replace("rate = \"10/m\", burst = 4", "rate = \"2/h\"");
    TestGateway::builder()
        .file("misbehave.wasm", MISBEHAVE)
        .file("capabilities.wasm", CAPABILITIES)
        .file(PASSWORD.0, PASSWORD.1)
        .start(&config)
        .await
}

async fn ask(gateway: &TestGateway, arguments: &[&str]) -> Value {
    as_json(gateway.dir(), &[arguments, &["--live"]].concat()).await
}

#[tokio::test]
async fn live_it_tells_what_is_left_of_a_quota_and_takes_nothing() {
    let upstream = TestUpstream::named("app").await;
    let gateway = live(&upstream).await;
    let key = format!("x-api-key: {KEY}");
    let arguments = ["GET", "http://api.test/v1/a", "-H", &key];
    let verdict = async || {
        let json = ask(&gateway, &arguments).await;
        assert_eq!((&json["mode"], &json["generation"]), (&json!("live"), &json!(1)));
        (json["policies"][2]["calls"][0]["result"].clone(), json["ending"]["kind"].clone())
    };
    for _ in 0..5 {
        let (verdict, kind) = verdict().await;
        assert_eq!((&verdict["remaining"], &kind), (&json!(1), &json!("forwarded")));
    }
    assert!(upstream.requests().is_empty(), "no upstream is asked");

    let mut client = TestClient::h1(gateway.address("web")).await;
    let headers = [("host", "api.test"), ("x-api-key", KEY)];
    for (status, left) in [(200, Some(0)), (200, None)] {
        let reply = client.try_send(hyper::Method::GET, "/v1/a", &headers, "").await.unwrap();
        assert_eq!(reply.status, status);
        let (verdict, kind) = verdict().await;
        match left {
            Some(left) => assert_eq!((&verdict["remaining"], &kind), (&json!(left), &json!("forwarded"))),
            None => assert_eq!((&verdict["allowed"], &kind), (&json!(false), &json!("replied"))),
        }
    }
    let ran = explain(gateway.dir(), &[&arguments[..], &["--live"]].concat()).await;
    says(&ran, &["generation 1, as it runs", "policy `limit` answers", "  429"]);
}

#[tokio::test]
async fn live_it_reads_the_store_and_writes_nothing() {
    let upstream = TestUpstream::named("app").await;
    let gateway = live(&upstream).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let set =
        client.try_send(hyper::Method::GET, "/capable", &[("x-do", "set visits many")], "").await.unwrap();
    assert_eq!(set.status, 200);
    let result = async |deed: &str| {
        let json = ask(&gateway, &["GET", "/capable", "-H", deed]).await;
        json["policies"][0]["calls"][0]["result"].clone()
    };
    assert_eq!(result("x-do: get visits").await, json!({ "ok": ["many"] }));
    assert_eq!(result("x-do: delete visits").await, json!({ "ok": null }));
    assert_eq!(result("x-do: get visits").await, json!({ "ok": ["many"] }));
    assert_eq!(result("x-do: secret password").await, json!("[secret:password]"));
}

#[tokio::test]
async fn live_faults_are_neither_counted_nor_logged() {
    let upstream = TestUpstream::named("app").await;
    let gateway = live(&upstream).await;
    for _ in 0..3 {
        let json = ask(&gateway, &["GET", "/traps"]).await;
        assert_eq!((&json["ending"]["kind"], &json["ending"]["status"]), (&json!("replied"), &json!(500)));
        assert_eq!(json["policies"][1]["decision"]["kind"], "trap");
    }
    let told = status::json(&gateway).await;
    for policy in told["policies"].as_array().unwrap() {
        assert_eq!((&policy["calls"], &policy["faults"]), (&json!([]), &json!([])), "{policy}");
    }
    assert!(gateway.log().iter().all(|line| !line.message.contains("fault")), "{}", gateway.stderr());
}

#[tokio::test]
async fn live_it_tells_that_a_policy_is_passed_over_for_its_quarantine() {
    let upstream = TestUpstream::named("app").await;
    let mut more = String::new();
    for (name, backoff, on_error) in [("closed", "1h", "deny"), ("due", "1ms", "deny")] {
        let rule = format!(
            "quarantine = {{ faults = 3, window = \"1h\", backoff = \"{backoff}\", backoff-max = \"1h\" }}\n\
             on-error = \"{on_error}\"\n"
        );
        more.push_str(&misbehave(name, "request-head", "trap", &rule));
        more.push_str(&format!(
            "[routes.{name}]\nmatch = {{ path = \"/{name}\" }}\nuse = [\"{name}\"]\nto = \"app\"\n"
        ));
    }
    let gateway = TestGateway::builder()
        .file("misbehave.wasm", MISBEHAVE)
        .start(&setup::config(upstream.address(), &[], &more))
        .await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    for name in ["closed", "due"] {
        eventually("a quarantine", async || {
            client.get(&format!("/{name}")).await;
            let log = gateway.log();
            log.iter()
                .any(|line| line.text("state") == Some("begun") && line.text("policy") == Some(name))
                .then_some(())
        })
        .await;
    }
    for (path, kind, mode, ending) in
        [("/closed", "replied", "deny", "policy `closed` is in quarantine, and so the request is refused")]
    {
        let json = ask(&gateway, &["GET", path]).await;
        let hook = &json["policies"][0];
        assert_eq!(
            (&json["ending"]["kind"], &hook["decision"]["kind"]),
            (&json!(kind), &json!("quarantined"))
        );
        let quarantine = &hook["quarantine"];
        assert_eq!(quarantine["state"], "waiting");
        let seconds = |name: &str| quarantine[name].as_f64().unwrap();
        let (lasted, probe) = (seconds("lasted-s"), seconds("next-probe-s"));
        assert!((3599.0..=3600.1).contains(&(lasted + probe)), "{quarantine}");
        assert!(quarantine["since"].as_str().unwrap().ends_with('Z'), "{quarantine}");
        let ran = explain(gateway.dir(), &["GET", path, "--live"]).await;
        let mode = format!("(on-error = \"{mode}\")");
        says(
            &ran,
            &["on-request-head  passed over: in quarantine for ", " s, next probe in ", &mode, ending],
        );
    }
    // A look is no probe, however often one is due.
    eventually("a probe is due", async || {
        (ask(&gateway, &["GET", "/due"]).await["policies"][0]["quarantine"]["state"] == "probe-due")
            .then_some(())
    })
    .await;
    let ran = explain(gateway.dir(), &["GET", "/due", "--live"]).await;
    says(&ran, &["the next request is let through as a probe"]);
    let heads = async || {
        let told = status::json(&gateway).await;
        let policies = told["policies"].as_array().unwrap().iter();
        policies.into_iter().find(|policy| policy["name"] == "due").unwrap()["calls"][0]["count"].clone()
    };
    let before = heads().await.as_u64().unwrap();
    ask(&gateway, &["GET", "/due"]).await;
    assert_eq!(heads().await, before, "a look is no call");
    assert_eq!(client.get("/due").await.status, 500);
    assert_eq!(heads().await, before + 1, "the request was a probe");
}

#[tokio::test]
async fn live_it_tells_the_health_of_endpoints_and_which_is_next() {
    let upstream = TestUpstream::named("app").await;
    let gateway = live(&upstream).await;
    let endpoints = async || {
        let json = ask(&gateway, &["POST", "http://other.test/v1/a", "-H", "x-beta: yes"]).await;
        json["ending"]["upstream"]["endpoints"].clone()
    };
    let before = endpoints().await;
    assert_eq!((&before[0]["health"], &before[1]["health"]), (&json!("healthy"), &json!("healthy")));
    let next = |endpoints: &Value| {
        endpoints.as_array().unwrap().iter().position(|endpoint| endpoint["next"] == true)
    };
    assert!(next(&before).is_some());
    assert_eq!(endpoints().await, before, "a look takes no turn");
    // The second endpoint is a port without a listener.
    let mut client = TestClient::h1(gateway.address("web")).await;
    eventually("the dead endpoint was met", async || {
        client.try_send(hyper::Method::POST, "/v1/a", &[("x-beta", "yes")], "").await.unwrap();
        let after = endpoints().await;
        (after[1]["health"] == "left-out").then_some(next(&after))
    })
    .await
    .map_or_else(|| panic!("no endpoint is next"), |next| assert_eq!(next, 0));
}

#[tokio::test]
async fn live_it_is_what_runs_that_explains() {
    let upstream = TestUpstream::named("app").await;
    let gateway = live(&upstream).await;
    let refusal =
        gateway.write_config_and_expect_refusal("[listeners.web]\nadress = \"127.0.0.1:0\"\n").await;
    assert!(refusal.contains("generation 1"));
    assert_eq!(ask(&gateway, &["GET", "/anywhere"]).await["route"], "rest");
    let ran = explain(gateway.dir(), &["GET", "/", "--live", "--listener", "nowhere"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("the listeners are web"), "{}", ran.stderr);
    let dir = gateway.dir().to_path_buf();
    let ran = explain(&dir, &["GET", "/", "--live", "--routes-only"]).await;
    assert_eq!(ran.code, Some(2));
}

#[tokio::test]
async fn without_a_gateway_live_says_where_it_looked() {
    let dir = folder();
    let ran = explain(dir.path(), &["GET", "/", "--live"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.contains("no gateway answers"), "{}", ran.stderr);
}

#[tokio::test]
async fn the_key_of_the_endpoint_the_connection_and_who_sees_the_body_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    let text = setup::config("127.0.0.1:9".parse().unwrap(), &["edits"], &policy("edits", "edits", ""));
    write("portcullis.toml", text.as_bytes());
    write("edits.wasm", portcullis_test_guests::EDITS);
    let ran =
        explain(dir.path(), &["-H", "x-edit: request.set-endpoint-key alice", "GET", "http://a.test/"]).await;
    let expected = [
        "endpoint-key = \"alice\"",
        "policies that see its body first, and may change this: edits",
        "endpoints, balanced by the key that a policy has set",
    ];
    says(&ran, &expected);
    let json = as_json(dir.path(), &["-H", "x-edit: connection.tls-version", "GET", "https://a.test/"]).await;
    assert_eq!(json["client"]["tls"]["version"], "TLSv1.3");
    assert_eq!(json["client"]["listener"], "web");
    assert_eq!(json["policies"][0]["edits"][0]["value"], "TLSv1.3", "{json}");
}
