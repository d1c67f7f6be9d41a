//! `portcullis rollout promote --write` and `abort --write`: what was decided is in the config as well.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Ran, TestClient, TestGateway, TestUpstream, eventually, portcullis_in};
use crate::rollouts::rollout;
use crate::setup::{PASSWORD, config, every_grant, policy};

/// Those of version 1, and a canary or shadow of version 2, as typed by a user.
fn typed(tried: &str) -> String {
    format!(
        "# Which version a request saw.\n[policies.version]\nplugin = \"v1.wasm\" # the first\n\n\
         # On trial since Monday.\n[policies.version.{tried}\n\n# Nothing more.\n"
    )
}

/// The same once the version that was tried is the policy's own.
const PROMOTED: &str = "# Which version a request saw.\n[policies.version]\nplugin = \"v2.wasm\" # the first\n\n# Nothing more.\n";
/// And once nothing is tried any more.
const ABORTED: &str = "# Which version a request saw.\n[policies.version]\nplugin = \"v1.wasm\" # the first\n\n# Nothing more.\n";

const CANARY: &str = "canary]\nplugin = \"v2.wasm\"\nmatch = { headers = { x-canary = true } }";
const SHADOW: &str = "shadow]\nplugin = \"v2.wasm\"\nsamples = 3";

async fn start(config: &str) -> TestGateway {
    TestGateway::builder()
        .file("v1.wasm", portcullis_test_guests::VERSION_1)
        .file("v2.wasm", portcullis_test_guests::VERSION_2)
        .start(config)
        .await
}

async fn succeeds(gateway: &TestGateway, arguments: &[&str]) -> String {
    let ran = rollout(gateway, arguments).await;
    assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
    ran.stdout
}

fn read(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap()
}

/// The version that requests take: with the field that asks for the canary, and without.
async fn versions(gateway: &TestGateway) -> (String, String) {
    let mut client = TestClient::h1(gateway.address("web")).await;
    let asking = client.get_with("/", &[("x-canary", "1")]).await;
    let others = client.get("/").await;
    assert_eq!((asking.status, others.status), (200, 200));
    (asking.header("x-version"), others.header("x-version"))
}

fn both(version: &str) -> (String, String) {
    (version.to_owned(), version.to_owned())
}

/// The version that a gateway would take for everybody if it was started now.
async fn after_a_restart(gateway: &TestGateway) -> String {
    let ran = portcullis_in(gateway.dir(), ["explain", "GET", "/", "--json"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    let fields = json["ending"]["request"]["fields"].as_array().unwrap().iter();
    let version = fields.into_iter().find(|field| field["name"] == "x-version").unwrap();
    version["value"].as_str().unwrap().to_owned()
}

/// Waits until the gateway has taken up what was written.
async fn reloaded(gateway: &TestGateway, generation: u64) {
    eventually("the file is taken up", async || (gateway.generation() == generation).then_some(())).await;
}

#[tokio::test]
async fn a_promotion_that_is_written_outlives_the_process() {
    let upstream = TestUpstream::named("app").await;
    let text = |policy: &str| config(upstream.address(), &["version"], policy);
    let gateway = start(&text(&typed(CANARY))).await;
    let file = gateway.dir().join("portcullis.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(versions(&gateway).await, ("v2".to_owned(), "v1".to_owned()));

    let said = succeeds(&gateway, &["promote", "version", "--write"]).await;
    assert!(said.contains("is policy `version` itself now, and portcullis.toml says so"), "{said}");
    // At once, before the file is taken up, and afterwards.
    assert_eq!(versions(&gateway).await, both("v2"));
    assert_eq!(read(gateway.dir(), "portcullis.toml"), text(PROMOTED));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o640);
    let files = std::fs::read_dir(gateway.dir()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = files.filter(|name| name.to_string_lossy().ends_with(".new")).collect();
    assert!(left.is_empty(), "{left:?}");
    reloaded(&gateway, 2).await;
    assert_eq!(versions(&gateway).await, both("v2"));
    assert_eq!(after_a_restart(&gateway).await, "v2");
    assert_eq!(succeeds(&gateway, &["status"]).await, "no policy has a canary or a shadow\n");
    let told =
        gateway.wait_for_log("the promotion", |line| line.message.contains("takes all exchanges")).await;
    assert!(told.message.contains("the config is about to say so"), "{}", told.message);
}

#[tokio::test]
async fn one_that_was_promoted_before_can_be_written_later() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&config(upstream.address(), &["version"], &typed(CANARY))).await;
    succeeds(&gateway, &["promote", "version"]).await;
    assert_eq!(after_a_restart(&gateway).await, "v1");
    succeeds(&gateway, &["promote", "version", "--write"]).await;
    assert_eq!(versions(&gateway).await, both("v2"));
    assert_eq!(after_a_restart(&gateway).await, "v2");
}

#[tokio::test]
async fn an_abort_that_is_written_takes_the_version_out_of_the_config() {
    let upstream = TestUpstream::named("app").await;
    for tried in [CANARY, SHADOW] {
        let text = |policy: &str| config(upstream.address(), &["version"], policy);
        let gateway = start(&text(&typed(tried))).await;
        let said = succeeds(&gateway, &["abort", "version", "--write", "--reason", "a test says so"]).await;
        assert!(said.contains("any more, and portcullis.toml says so"), "{said}");
        assert_eq!(versions(&gateway).await, both("v1"));
        assert_eq!(read(gateway.dir(), "portcullis.toml"), text(ABORTED));
        reloaded(&gateway, 2).await;
        assert_eq!(versions(&gateway).await, both("v1"));
        gateway.wait_for_log("the reason", |line| line.message.contains("a test says so")).await;
    }
}

#[tokio::test]
async fn a_shadow_becomes_a_canary_of_a_share_and_then_the_policy() {
    let upstream = TestUpstream::named("app").await;
    let text = |policy: &str| config(upstream.address(), &["version"], policy);
    let gateway = start(&text(&typed(SHADOW))).await;
    assert_eq!(versions(&gateway).await, both("v1"));
    let said = succeeds(&gateway, &["promote", "version", "--write", "--share", "0.5%"]).await;
    assert!(said.contains("a canary for 0.5% of the exchanges now"), "{said}");
    assert_eq!(
        read(gateway.dir(), "portcullis.toml"),
        text(&typed("canary]\nplugin = \"v2.wasm\"\nshare = \"0.5%\""))
    );
    reloaded(&gateway, 2).await;
    // All of them, so that it can be seen.
    succeeds(&gateway, &["promote", "version", "--write", "--share", "100%"]).await;
    reloaded(&gateway, 3).await;
    assert_eq!(versions(&gateway).await, both("v2"));
    succeeds(&gateway, &["promote", "version", "--write"]).await;
    assert_eq!(read(gateway.dir(), "portcullis.toml"), text(PROMOTED));
    assert_eq!(versions(&gateway).await, both("v2"));

    // Or at once.
    let gateway = start(&text(&typed(SHADOW))).await;
    succeeds(&gateway, &["promote", "version", "--write"]).await;
    assert_eq!(read(gateway.dir(), "portcullis.toml"), text(PROMOTED));
    reloaded(&gateway, 2).await;
    assert_eq!(versions(&gateway).await, both("v2"));
}

#[tokio::test]
async fn it_is_written_where_the_policy_is_written() {
    let upstream = TestUpstream::named("app").await;
    let main = format!("include = [\"conf.d/*.toml\"]\n{}", config(upstream.address(), &["version"], ""));
    let builder = TestGateway::builder()
        .file("conf.d/v1.wasm", portcullis_test_guests::VERSION_1)
        .file("conf.d/v2.wasm", portcullis_test_guests::VERSION_2)
        .file("shared/version.toml", typed(CANARY));
    // By a link, as those who deploy by folders have it.
    std::os::unix::fs::symlink("../shared/version.toml", builder.dir().join("conf.d/version.toml")).unwrap();
    let gateway = builder.start(&main).await;
    assert_eq!(versions(&gateway).await, ("v2".to_owned(), "v1".to_owned()));
    let said = succeeds(&gateway, &["promote", "version", "--write"]).await;
    assert!(said.contains("conf.d/version.toml says so"), "{said}");
    assert_eq!(read(gateway.dir(), "portcullis.toml"), main);
    assert_eq!(read(gateway.dir(), "shared/version.toml"), PROMOTED);
    assert!(gateway.dir().join("conf.d/version.toml").is_symlink());
    reloaded(&gateway, 2).await;
    assert_eq!(versions(&gateway).await, both("v2"));
}

/// What is refused leaves the gateway and the file as they were.
async fn refuses(gateway: &TestGateway, ran: Ran, expected: &[&str]) {
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    for expected in expected {
        assert!(ran.stderr.contains(expected), "no {expected:?} in:\n{}", ran.stderr);
    }
    let ran = rollout(gateway, &["status"]).await;
    assert!(ran.stdout.contains("canary running"), "{}", ran.stdout);
}

#[tokio::test]
async fn a_file_that_is_not_what_runs_is_left_alone() {
    let upstream = TestUpstream::named("app").await;
    let text = config(upstream.address(), &["version"], &typed(CANARY));
    let gateway = start(&text).await;
    let socket = {
        let log = gateway.log();
        let line = log.iter().find(|line| line.text("event") == Some("control")).unwrap();
        line.text("path").unwrap().to_owned()
    };
    // Sound, and something else than what runs: in the table itself, and in a setting beside it.
    for (from, to) in [("x-canary", "x-other"), ("# the first", "\nlimits = { memory = \"8MiB\" }")] {
        let other = text.replacen(from, to, 1);
        std::fs::write(gateway.dir().join("other.toml"), &other).unwrap();
        let arguments = ["rollout", "promote", "version", "--write", "--socket", &socket, "-c", "other.toml"];
        let ran = portcullis_in(gateway.dir(), arguments).await;
        refuses(&gateway, ran, &["is not written in other.toml as the gateway runs it"]).await;
        assert_eq!(read(gateway.dir(), "other.toml"), other);
    }
    // A wrong one, which the gateway has refused.
    let wrong = text.replace("plugin = \"v1.wasm\"", "plugni = \"v1.wasm\"");
    gateway.write_config_and_expect_refusal(&wrong).await;
    let ran = rollout(&gateway, &["promote", "version", "--write"]).await;
    refuses(&gateway, ran, &["cannot be edited while it is wrong", "`plugni`", "mend it first"]).await;
    assert_eq!(read(gateway.dir(), "portcullis.toml"), wrong);
}

#[tokio::test]
async fn a_file_that_is_read_only_is_left_alone() {
    let upstream = TestUpstream::named("app").await;
    let text = config(upstream.address(), &["version"], &typed(CANARY));
    let gateway = start(&text).await;
    let file = gateway.dir().join("portcullis.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o444)).unwrap();
    for act in ["promote", "abort"] {
        let ran = rollout(&gateway, &[act, "version", "--write"]).await;
        refuses(&gateway, ran, &["portcullis.toml is read-only (mode 0444)", "nothing was changed"]).await;
    }
    assert_eq!(read(gateway.dir(), "portcullis.toml"), text);
}

#[tokio::test]
async fn a_file_that_has_no_place_beside_it_is_left_alone() {
    let upstream = TestUpstream::named("app").await;
    // As long as a name may be, so that the new text could not have one that is longer.
    let name = format!("conf.d/{}.toml", "v".repeat(250));
    let main = format!("include = [\"conf.d/*.toml\"]\n{}", config(upstream.address(), &["version"], ""));
    let builder = TestGateway::builder()
        .file("conf.d/v1.wasm", portcullis_test_guests::VERSION_1)
        .file("conf.d/v2.wasm", portcullis_test_guests::VERSION_2);
    std::fs::write(builder.dir().join(&name), typed(CANARY)).unwrap();
    let gateway = builder.start(&main).await;
    for act in ["promote", "abort"] {
        let ran = rollout(&gateway, &[act, "version", "--write"]).await;
        refuses(&gateway, ran, &["cannot be written: nothing was changed", "found no place beside it"]).await;
    }
    assert_eq!(read(gateway.dir(), &name), typed(CANARY));
    assert_eq!(versions(&gateway).await, ("v2".to_owned(), "v1".to_owned()));
}

#[tokio::test]
async fn a_config_that_is_a_link_stays_one() {
    let upstream = TestUpstream::named("app").await;
    let text = |policy: &str| config(upstream.address(), &["version"], policy);
    let gateway = start(&text(&typed(CANARY))).await;
    // The file moves elsewhere, and a link of its name leads there.
    let (link, file) = (gateway.dir().join("portcullis.toml"), gateway.dir().join("moved.toml"));
    std::fs::rename(&link, &file).unwrap();
    std::os::unix::fs::symlink("moved.toml", &link).unwrap();
    succeeds(&gateway, &["promote", "version", "--write"]).await;
    assert!(link.is_symlink());
    assert_eq!(read(gateway.dir(), "moved.toml"), text(PROMOTED));
    eventually("it is taken up", async || (versions(&gateway).await == both("v2")).then_some(())).await;
    assert_eq!(after_a_restart(&gateway).await, "v2");
}

#[tokio::test]
async fn a_version_that_does_not_fit_in_the_place_of_the_policy_is_left_to_people() {
    let upstream = TestUpstream::named("app").await;
    // The version has no use for what the policy is granted, and no other policy has one for the secret.
    let canary =
        format!("canary = {{ plugin = \"plain.wasm\", share = \"1%\" }}\n{}", every_grant(PASSWORD.0));
    let text = config(upstream.address(), &["capable"], &policy("capable", "capabilities", &canary));
    let gateway = TestGateway::builder()
        .file("capabilities.wasm", portcullis_test_guests::CAPABILITIES)
        .file("plain.wasm", portcullis_test_guests::PLAIN)
        .file(PASSWORD.0, PASSWORD.1)
        .start(&text)
        .await;
    let ran = rollout(&gateway, &["promote", "capable", "--write"]).await;
    let expected = ["the config would be wrong", "secret `password` is not used", "make the change by hand"];
    refuses(&gateway, ran, &expected).await;
    assert_eq!(read(gateway.dir(), "portcullis.toml"), text);
}

#[tokio::test]
async fn grants_that_a_promoted_version_has_no_use_for_are_gone() {
    let upstream = TestUpstream::named("app").await;
    for tried in
        ["canary = { plugin = \"plain.wasm\", share = \"1%\" }", "shadow = { plugin = \"plain.wasm\" }"]
    {
        let text = |policy: &str| config(upstream.address(), &["asks"], policy);
        let before = text(&policy(
            "asks",
            "asks",
            &format!(
                "{tried}\ngrants = {{ http = [\"http://auth.test/\"] }} # whom it asks\nlimits = {{ http-calls = 7, memory = \"8MiB\" }}"
            ),
        ));
        let gateway = TestGateway::builder()
            .file("asks.wasm", portcullis_test_guests::ASKS)
            .file("plain.wasm", portcullis_test_guests::PLAIN)
            .start(&before)
            .await;
        let said = succeeds(&gateway, &["promote", "asks", "--write"]).await;
        let told = "it has no use for `grants.http`, `limits.http-calls` of policy `asks`, so they are gone from the config";
        assert!(said.contains(told), "{said}");
        let after = text(&policy("asks", "plain", "limits = { memory = \"8MiB\" }"));
        assert_eq!(read(gateway.dir(), "portcullis.toml"), after);
        reloaded(&gateway, 2).await;
        assert_eq!(TestClient::h1(gateway.address("web")).await.get("/").await.text(), "app");
    }
}

#[tokio::test]
async fn wrong_usage_is_told() {
    for (arguments, expected) in [
        (&["rollout", "promote", "version", "--share", "5%"][..], "--write"),
        (&["rollout", "promote", "version", "--write", "--share", "5"], "the unit is missing"),
        (&["rollout", "promote", "version", "--write", "--share", "0%"], "0.01% to 100%"),
        (&["rollout", "resume", "version", "--write"], "--write"),
    ] {
        let ran = portcullis_in(Path::new("/"), arguments).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ran.stderr.contains(expected), "{arguments:?}: no {expected:?} in:\n{}", ran.stderr);
    }
}
