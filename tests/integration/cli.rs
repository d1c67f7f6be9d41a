//! The commands that end by themselves, and how the gateway starts and stops.

use std::path::Path;

use rustix::process::Signal;

use crate::harness::{
    Answer, Authority, Ran, TestClient, TestGateway, TestUpstream, portcullis_in, portcullis_reading,
};

/// Two listeners, three routes, one policy.
const SOUND: &str = r#"
[listeners.plain]
address = "127.0.0.1:0"

[listeners.secure]
address = "127.0.0.1:0"
tls = { certificates = [{ cert = "site.pem", key = "site.key" }] }

[upstreams.app]
endpoints = ["127.0.0.1:9"]

[policies.stamp]
plugin = "builtin:headers"
config = { response = { set = { x-stamp = "1" } } }

[routes.all]
to = "app"

[routes.api]
match = { host = "api.test", path = "/v1/*", method = ["POST"], headers = { x-beta = "yes" } }
use = ["stamp"]
to = "app"

[routes.exact]
match = { path = "/exact" }
to = "app"
"#;

/// A folder with `config` and a certificate for it.
fn folder(config: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let issued = Authority::new().issue(&["site.test"]);
    std::fs::write(dir.path().join("site.pem"), issued.certificate).unwrap();
    std::fs::write(dir.path().join("site.key"), issued.key).unwrap();
    std::fs::write(dir.path().join("portcullis.toml"), config).unwrap();
    dir
}

async fn run(dir: &Path, arguments: &[&str]) -> Ran {
    portcullis_in(dir, arguments).await
}

/// A config with one open route to `upstream`.
fn simple(upstream: &TestUpstream) -> String {
    format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [upstreams.app]\nendpoints = [\"{}\"]\n\
         [routes.all]\nto = \"app\"\n",
        upstream.address()
    )
}

#[tokio::test]
async fn validate_counts_what_is_sound() {
    let ran = run(folder(SOUND).path(), &["validate"]).await;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "ok: 2 listeners, 3 routes, 1 policy\n"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn validate_names_every_mistake_with_its_line() {
    let config = SOUND
        .replace("endpoints", "endpoint")
        .replace("to = \"app\"\n\n[routes.exact]", "to = \"ap\"\n\n[routes.exact]");
    let ran = run(folder(&config).path(), &["validate"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    for expected in ["`endpoint`", "portcullis.toml:10:1", "`ap`", "portcullis.toml:22:", "errors"] {
        assert!(ran.stderr.contains(expected), "no {expected:?} in:\n{}", ran.stderr);
    }
}

#[tokio::test]
async fn validate_and_routes_read_standard_input() {
    let dir = folder("this file is not read");
    let ran = portcullis_reading(dir.path(), SOUND, ["validate", "-c", "-"]).await;
    let expected = (Some(0), "ok: 2 listeners, 3 routes, 1 policy\n");
    assert_eq!((ran.code, ran.stdout.as_str()), expected, "{}", ran.stderr);
    let ran = portcullis_reading(dir.path(), SOUND, ["routes", "-c", "-"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("<stdin>:19"), "{}", ran.stdout);

    // Mistakes have their places, those that a plugin finds as well.
    let wrong = SOUND.replace("endpoints", "endpoint");
    let ran = portcullis_reading(dir.path(), &wrong, ["validate", "-c", "-"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("--> <stdin>:10:1"), "{}", ran.stderr);
    let refused = SOUND.replace("set = { x-stamp = \"1\" }", "set = { \"x stamp\" = \"1\" }");
    let ran = portcullis_reading(dir.path(), &refused, ["validate", "-c", "-"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("--> <stdin>:1"), "{}", ran.stderr);

    let large = "#".repeat((1 << 20) + 1);
    let ran = portcullis_reading(dir.path(), &large, ["validate", "-c", "-"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("larger than 1 MiB"), "{}", ran.stderr);

    // What is read again at each reload has to be a file.
    let ran = portcullis_reading(dir.path(), SOUND, ["run", "-c", "-"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("needs it as a file"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_path_of_the_server_that_cannot_be_used_is_shown_at_its_line() {
    for (line, expected) in
        [("access-log = { file = \"nowhere/access.log\" }", ":3:23"), ("cache-dir = \"site.pem\"", ":3:13")]
    {
        let dir = folder(&format!("\n[server]\n{line}\n{SOUND}"));
        for command in ["validate", "run"] {
            let ran = run(dir.path(), &[command]).await;
            assert_eq!(ran.code, Some(1), "{command}: {}", ran.stdout);
            let place = format!("--> portcullis.toml{expected}\n");
            assert!(ran.stderr.contains(&place), "{command}: no {place:?} in:\n{}", ran.stderr);
            assert!(ran.stderr.contains(&format!("3 | {line}\n")), "{command}: {}", ran.stderr);
            assert!(ran.stderr.ends_with("1 error\n"), "{command}: {}", ran.stderr);
        }
    }
    // The folder of a socket may be another user's to write to.
    let dir = folder(&format!("\n[server]\ncontrol = \"open/edge.sock\"\n{SOUND}"));
    let open = dir.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    for command in ["validate", "run"] {
        let ran = run(dir.path(), &[command]).await;
        assert_eq!(ran.code, Some(1), "{command}: {}", ran.stdout);
        assert!(ran.stderr.contains("--> portcullis.toml:3:11\n"), "{command}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn validate_refuses_a_key_of_another_certificate() {
    let dir = folder(SOUND);
    std::fs::write(dir.path().join("site.key"), Authority::new().issue(&["site.test"]).key).unwrap();
    let ran = run(dir.path(), &["validate"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("site.key"), "{}", ran.stderr);
}

#[tokio::test]
async fn validate_lets_the_plugin_refuse_its_config() {
    let config = SOUND.replace("set = { x-stamp = \"1\" }", "set = { \"x stamp\" = \"1\" }");
    let ran = run(folder(&config).path(), &["validate"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("stamp"), "{}", ran.stderr);
}

#[tokio::test]
async fn without_a_config_it_says_where_one_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    for command in ["run", "validate", "routes"] {
        let ran = run(dir.path(), &[command]).await;
        assert_eq!(ran.code, Some(1), "{command}");
        for expected in ["./portcullis.toml", "/etc/portcullis/portcullis.toml", "portcullis demo"] {
            assert!(ran.stderr.contains(expected), "{command}: no {expected:?} in:\n{}", ran.stderr);
        }
    }
}

#[tokio::test]
async fn a_named_config_that_is_not_there_is_named() {
    let ran = run(Path::new("/"), &["validate", "-c", "/nowhere/edge.toml"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("/nowhere/edge.toml"), "{}", ran.stderr);
}

#[tokio::test]
async fn routes_are_shown_in_match_order_with_their_origin() {
    let ran = run(folder(SOUND).path(), &["routes"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let rows: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows,
        [
            vec![
                "ROUTE",
                "HOST",
                "PATH",
                "METHODS",
                "CONDITIONS",
                "LISTENERS",
                "TLS",
                "POLICIES",
                "ACTION",
                "ORIGIN",
            ],
            vec![
                "api",
                "api.test",
                "/v1/*",
                "POST",
                "x-beta=yes",
                "*",
                "*",
                "stamp",
                "app",
                "./portcullis.toml:19",
            ],
            vec!["exact", "*", "/exact", "*", "-", "*", "*", "-", "app", "./portcullis.toml:24"],
            vec!["all", "*", "/*", "*", "-", "*", "*", "-", "app", "./portcullis.toml:16"],
        ]
        .map(|row| row.into_iter().map(|cell| cell.trim_start_matches("./")).collect::<Vec<_>>())
    );
}

#[tokio::test]
async fn routes_are_shown_as_json() {
    let ran = run(folder(SOUND).path(), &["routes", "--json"]).await;
    let routes: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        routes[0],
        serde_json::json!({
            "name": "api", "hosts": ["api.test"], "priority": 0, "path": "/v1/*", "path-regex": null,
            "methods": ["POST"], "conditions": ["x-beta=yes"], "clients": [],
            "listeners": [], "tls": "any", "policies": ["stamp"], "action": "forward", "upstreams": ["app"], "file": "portcullis.toml", "line": 19,
        })
    );
}

#[tokio::test]
async fn the_schema_is_json_and_knows_the_sections() {
    let ran = run(Path::new("/"), &["schema"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let schema: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    for section in ["listeners", "upstreams", "policies", "routes", "secrets", "server"] {
        assert!(schema["properties"][section].is_object(), "no {section}");
    }
}

#[tokio::test]
async fn help_teaches_and_wrong_usage_is_two() {
    let ran = run(Path::new("/"), &["--help"]).await;
    assert_eq!(ran.code, Some(0));
    for expected in [
        "run",
        "validate",
        "schema",
        "routes",
        "explain",
        "record",
        "replay",
        "diff",
        "demo",
        "[routes.all]",
        "Exit codes",
    ] {
        assert!(ran.stdout.contains(expected), "no {expected:?} in:\n{}", ran.stdout);
    }
    for command in ["run", "validate", "schema", "routes", "explain", "record", "replay", "diff", "demo"] {
        let ran = run(Path::new("/"), &[command, "--help"]).await;
        assert!(ran.code == Some(0) && ran.stdout.contains("Examples:"), "{command}:\n{}", ran.stdout);
    }
    for arguments in [&["frobnicate"][..], &["run", "--nonsense"], &[]] {
        assert_eq!(run(Path::new("/"), arguments).await.code, Some(2), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_config_that_is_refused_at_the_start_ends_it() {
    let failed =
        TestGateway::builder().try_start("[listeners.web]\nadress = \"127.0.0.1:0\"\n").await.unwrap_err();
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("`adress`"), "{}", failed.stderr);
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let upstream = TestUpstream::named("app").await;
    let config = simple(&upstream).replace("127.0.0.1:0", &address);
    let failed = TestGateway::builder().try_start(&config).await.unwrap_err();
    assert_eq!(failed.code, Some(1));
    let told = failed.stderr.matches(&format!("{address} is in use")).count();
    assert_eq!(told, 1, "once, for it is one fact: {}", failed.stderr);
}

#[tokio::test]
async fn a_second_gateway_on_a_busy_port_tells_of_the_port_alone() {
    let upstream = TestUpstream::named("app").await;
    let gateway = TestGateway::start(&simple(&upstream)).await;
    // The first one holds the control socket of this config, and goes on if the port is not available.
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let config = simple(&upstream).replace("127.0.0.1:0", &address);
    gateway.write_config_and_expect_refusal(&config).await;
    let failed = run(gateway.dir(), &["run"]).await;
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains(&format!("{address} is in use")), "{}", failed.stderr);
    for other in ["control socket", "WARN"] {
        assert!(!failed.stderr.contains(other), "{other} in:\n{}", failed.stderr);
    }
}

#[tokio::test]
async fn it_says_what_listens_and_serves_and_ends_cleanly() {
    let upstream = TestUpstream::h1(|request| Answer::text(format!("you asked {}", request.path()))).await;
    let gateway = TestGateway::start(&simple(&upstream)).await;
    let reply = TestClient::h1(gateway.address("web")).await.get("/a").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "you asked /a"));
    assert_eq!(gateway.generation(), 1);
    assert_eq!(gateway.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_a_drain() {
    let upstream = TestUpstream::streaming_h1(|_| std::future::pending()).await;
    let mut gateway = TestGateway::start(&simple(&upstream)).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let asked = tokio::spawn(async move {
        drop(client.try_send(hyper::Method::GET, "/", &[], "").await);
    });
    crate::harness::eventually("the upstream is asked", async || {
        (!upstream.requests().is_empty()).then_some(())
    })
    .await;
    gateway.signal(Signal::TERM);
    gateway.wait_for_log("draining", |line| line.message.starts_with("draining")).await;
    gateway.signal(Signal::INT);
    assert_eq!(gateway.wait().await.code(), Some(1));
    drop(asked.await);
}

#[tokio::test]
async fn a_changed_config_runs_and_a_bad_one_does_not() {
    let (one, two) = (TestUpstream::named("one").await, TestUpstream::named("two").await);
    let gateway = TestGateway::start(&simple(&one)).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    assert_eq!(client.get("/").await.text(), "one");

    assert_eq!(gateway.write_config_and_wait(&simple(&two)).await, 2);
    assert_eq!(client.get("/").await.text(), "two");

    let refusal =
        gateway.write_config_and_expect_refusal("[listeners.web]\nadress = \"127.0.0.1:0\"\n").await;
    assert!(refusal.contains("`adress`"), "{refusal}");
    assert!(refusal.contains("generation 2 is still running"), "{refusal}");
    assert_eq!(client.get("/").await.text(), "two");

    assert_eq!(gateway.write_config_and_wait(&simple(&one)).await, 3);
    assert_eq!(client.get("/").await.text(), "one");
}

#[tokio::test]
async fn hangup_loads_again_although_nothing_changed() {
    let upstream = TestUpstream::named("app").await;
    let gateway = TestGateway::start(&simple(&upstream)).await;
    assert_eq!(gateway.reload().await, 2);
    let line = gateway.wait_for_log("a reload", |line| line.text("event") == Some("reloaded")).await;
    assert!(line.message.ends_with("nothing changed"), "{}", line.message);
}

#[tokio::test]
async fn what_needs_a_restart_is_said() {
    let upstream = TestUpstream::named("app").await;
    let gateway = TestGateway::start(&simple(&upstream)).await;
    gateway.write_config_and_wait(&format!("[server]\nworkers = 1\n{}", simple(&upstream))).await;
    let line = gateway.wait_for_log("a warning", |line| line.level == "WARN").await;
    assert!(
        line.message.contains("server.workers") && line.message.contains("next start"),
        "{}",
        line.message
    );
}
