//! `portcullis status`, and the socket by which it asks.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{Ran, TestClient, TestGateway, TestUpstream, curl, eventually, portcullis_in};
use crate::setup::{config, misbehave};

async fn status(gateway: &TestGateway, arguments: &[&str]) -> Ran {
    let arguments = [&["status", "-c", "portcullis.toml"], arguments].concat();
    portcullis_in(gateway.dir(), arguments).await
}

/// The status as JSON.
pub(crate) async fn json(gateway: &TestGateway) -> Value {
    let ran = status(gateway, &["--json"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// Returns the path of the control socket, from the gateway's log.
fn socket(gateway: &TestGateway) -> PathBuf {
    let log = gateway.log();
    let line = log.iter().find(|line| line.text("event") == Some("control")).expect("it says where it is");
    PathBuf::from(line.text("path").unwrap())
}

#[tokio::test]
async fn tells_what_runs_as_text_and_as_json() {
    let upstream = TestUpstream::named("app").await;
    let stamp = "[policies.stamp]\nplugin = \"builtin:headers\"\nconfig = { response = { set = { x-stamp = \"1\" } } }\n";
    let bad = misbehave("bad", "request-head", "trap", "");
    let route = "[routes.bad]\nmatch = { path = \"/bad\" }\nuse = [\"stamp\", \"bad\"]\nto = \"app\"\n";
    let gateway = TestGateway::builder()
        .file("misbehave.wasm", portcullis_test_guests::MISBEHAVE)
        .start(&config(upstream.address(), &["stamp"], &format!("{stamp}{bad}{route}")))
        .await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.get("/bad").await.status, 500);
    // An exchange is counted when it has ended, which is a moment after its last byte.
    let told = eventually("both exchanges are counted", async || {
        let told = json(&gateway).await;
        (told["routes"][0]["requests"] == 1 && told["routes"][1]["requests"] == 1).then_some(told)
    })
    .await;
    assert_eq!((&told["generation"], &told["workers"]), (&1.into(), &2.into()));
    assert_eq!(told["pid"], gateway.pid());
    assert_eq!(told["listeners"][0]["address"], gateway.address("web").to_string());
    assert_eq!(told["listeners"][0]["connections"], 1);
    // In the order in which they are tried.
    let (bad, all) = (&told["routes"][0], &told["routes"][1]);
    assert_eq!((&bad["name"], &all["name"]), (&"bad".into(), &"all".into()));
    assert_eq!(bad["by_status"], serde_json::json!({ "5xx": 1 }));
    assert_eq!(all["by_status"], serde_json::json!({ "2xx": 1 }));
    assert_eq!(bad["policies"], serde_json::json!(["stamp", "bad"]));
    let policies = &told["policies"];
    assert_eq!((&policies[0]["name"], &policies[1]["name"]), (&"bad".into(), &"stamp".into()));
    assert_eq!(policies[1]["plugin"], "builtin:headers");
    assert_eq!(policies[1]["component"], "headers");
    assert_eq!(policies[1]["faults"], serde_json::json!([]));
    assert_eq!(policies[0]["faults"][0]["kind"], "trap");
    assert_eq!(policies[0]["faults"][0]["hook"], "on-request-head");
    let endpoint = &told["upstreams"][0]["endpoints"][0];
    assert_eq!(
        (&endpoint["address"], &endpoint["healthy"]),
        (&upstream.address().to_string().into(), &true.into())
    );

    let ran = status(&gateway, &[]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for expected in ["generation 1", "2xx 1", "5xx 1", "stamp > bad", "builtin:headers", "trap 1", "healthy"]
    {
        assert!(ran.stdout.contains(expected), "no {expected} in:\n{}", ran.stdout);
    }
}

#[tokio::test]
async fn tells_what_runs_while_the_config_is_broken() {
    let upstream = TestUpstream::named("app").await;
    let sound = config(upstream.address(), &[], "");
    let gateway = TestGateway::start(&sound).await;
    gateway.write_config_and_expect_refusal("not = [toml").await;
    assert_eq!(json(&gateway).await["generation"], 1);
    gateway.remove("portcullis.toml");
    assert_eq!(json(&gateway).await["generation"], 1);
    gateway.write_config_and_wait(&format!("{sound}timeout = \"1m\"\n")).await;
    let told = json(&gateway).await;
    assert_eq!(told["generation"], gateway.generation());
}

#[tokio::test]
async fn the_socket_is_the_users_alone_and_plain_http() {
    let upstream = TestUpstream::named("app").await;
    let gateway = TestGateway::start(&config(upstream.address(), &[], "")).await;
    let socket = socket(&gateway);
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let path = socket.to_str().unwrap();
    let ran = curl(["--unix-socket", path, "http://gateway/v1/status"]).await;
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap()["generation"], 1);
    let code = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    let ran = curl(["--unix-socket", path, "http://gateway/v1/nothing"].iter().chain(&code)).await;
    assert_eq!(ran.stdout, "404");
    // Anywhere, by its path.
    let ran = portcullis_in(std::path::Path::new("/"), ["status", "--socket", path]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    gateway.terminate().await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn without_a_gateway_it_says_where_it_looked() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("edge.toml"), "").unwrap();
    let ran = portcullis_in(dir.path(), ["status", "-c", "edge.toml"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    for expected in ["no gateway answers", "edge-", ".sock", "portcullis run", "-c FILE"] {
        assert!(ran.stderr.contains(expected), "no {expected} in:\n{}", ran.stderr);
    }
}

#[tokio::test]
async fn a_named_socket_is_there_or_the_gateway_is_not() {
    let upstream = TestUpstream::named("app").await;
    let with = |control: &str| {
        config(upstream.address(), &[], "").replace("[server]\n", &format!("[server]\ncontrol = {control}\n"))
    };
    let gateway = TestGateway::start(&with("\"run/edge.sock\"")).await;
    assert_eq!(socket(&gateway), gateway.dir().join("run/edge.sock"));
    assert_eq!(json(&gateway).await["generation"], 1);

    // Another gateway does not take it.
    let taken = format!("{:?}", socket(&gateway));
    let failed = TestGateway::builder().try_start(&with(&taken)).await.unwrap_err();
    assert_eq!(failed.code, Some(1));
    for expected in ["another gateway", "edge.sock", "control = "] {
        assert!(failed.stderr.contains(expected), "no {expected} in:\n{}", failed.stderr);
    }
    assert_eq!(json(&gateway).await["generation"], 1);

    // If others could replace it, it is not made.
    let shared = gateway.dir().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o777)).unwrap();
    let failed =
        TestGateway::builder().try_start(&with(&format!("{:?}", shared.join("s")))).await.unwrap_err();
    assert!(failed.stderr.contains("others can write to it"), "{}", failed.stderr);
}

#[tokio::test]
async fn one_that_was_killed_leaves_nothing_in_the_way() {
    let upstream = TestUpstream::named("app").await;
    let text = config(upstream.address(), &[], "");
    let place = tempfile::tempdir().unwrap();
    let path = format!("[server]\ncontrol = {:?}\n", place.path().join("s"));
    let text = text.replace("[server]\n", &path);
    let gateway = TestGateway::start(&text).await;
    let socket = socket(&gateway);
    drop(gateway);
    assert!(socket.exists(), "it was killed");
    let gateway = TestGateway::start(&text).await;
    assert_eq!(json(&gateway).await["generation"], 1);
}

#[tokio::test]
async fn without_its_socket_a_gateway_runs_and_says_so() {
    let upstream = TestUpstream::named("app").await;
    let text = config(upstream.address(), &[], "");
    let gateway = TestGateway::start(&text.replace("[server]\n", "[server]\ncontrol = false\n")).await;
    assert!(gateway.log().iter().all(|line| line.text("event") != Some("control")));
    let ran = status(&gateway, &[]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("`server.control = false`"), "{}", ran.stderr);

    // Two gateways of one config: the second has none.
    let first = TestGateway::start(&text).await;
    let second = TestGateway::beside(&first).await;
    let warned =
        |line: &crate::harness::LogLine| line.message.contains("another gateway") && line.level == "WARN";
    second.wait_for_log("a warning, once it serves", warned).await;
    assert_eq!(json(&first).await["pid"], first.pid());
    // Who waits for the first to end may take over its socket.
    assert_eq!(TestClient::h1(second.address("web")).await.get("/").await.status, 200);
}
