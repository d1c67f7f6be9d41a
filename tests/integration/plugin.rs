//! `portcullis plugin`: what authors of plugins work with.

use portcullis_test_guests::{ALL_HOOKS, CAPABILITIES, PLAIN};
use serde_json::Value;

use crate::harness::portcullis_in;
use crate::setup::every_grant;

#[tokio::test]
async fn the_contract_is_written_as_the_guide_says() {
    let dir = tempfile::tempdir().unwrap();
    let ran = portcullis_in(dir.path(), ["plugin", "wit", "-o", "wit/deps/portcullis"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("files in wit/deps/portcullis, digest sha256:"), "{}", ran.stdout);
    let hooks = std::fs::read_to_string(dir.path().join("wit/deps/portcullis/hooks.wit")).unwrap();
    let printed = portcullis_in(dir.path(), ["plugin", "wit"]).await;
    assert!(printed.stdout.contains(hooks.trim()), "{}", printed.stdout);

    std::fs::write(dir.path().join("wit/world.wit"), "package my:policy;").unwrap();
    let ran = portcullis_in(dir.path(), ["plugin", "wit", "-o", "wit"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("`world.wit`, which is not of this contract"), "{}", ran.stderr);
}

#[tokio::test]
async fn the_old_name_of_the_group_still_works() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[listeners.web]\naddress = \"127.0.0.1:0\"\n[routes.all]\nrespond = { status = 204 }\n";
    std::fs::write(dir.path().join("portcullis.toml"), config).unwrap();
    for group in ["plugin", "plugins"] {
        let ran = portcullis_in(dir.path(), [group, "list"]).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(ran.stdout.starts_with("POLICY"), "{}", ran.stdout);
    }
}

#[tokio::test]
async fn a_plugin_is_taken_apart_without_being_run() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [("hooks.wasm", ALL_HOOKS), ("plain.wasm", PLAIN), ("capable.wasm", CAPABILITIES)] {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let json = async |plugin: &str| -> Value {
        let ran = portcullis_in(dir.path(), ["plugin", "inspect", plugin, "--json"]).await;
        assert_eq!(ran.code, Some(0), "{plugin}: {}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let hooks = json("hooks.wasm").await;
    assert_eq!(hooks["bytes"]["all"], ALL_HOOKS.len());
    assert!(hooks["bytes"]["code"].as_u64().unwrap() > 1000, "{hooks:#}");
    assert!(hooks["hooks"].as_array().unwrap().iter().any(|hook| hook == "on-response-body"), "{hooks:#}");
    assert_eq!(hooks["contract"]["versions"][0], hooks["contract"]["gateway"]["version"]);
    assert_eq!((&hooks["image"]["possible"], &hooks["direct"]["possible"]), (&true.into(), &true.into()));
    let made = hooks["made-with"].to_string();
    assert!(made.contains("rustc") && made.contains("wit-component"), "{made}");

    // One that waits runs on fibers.
    let capable = json("capable.wasm").await;
    assert!(capable["direct"]["reason"].as_str().unwrap().contains("http-client"), "{capable:#}");
    let shipped = json("builtin:jwt").await;
    assert_eq!(
        (&shipped["name"], &shipped["contract"]["digest"]),
        (&"jwt".into(), &shipped["contract"]["gateway"]["digest"])
    );

    let ran = portcullis_in(dir.path(), ["plugin", "inspect", "plain.wasm"]).await;
    for part in [
        "hooks         ",
        "capabilities  none: it needs no grants",
        "image         yes",
        "calls         direct",
    ] {
        assert!(ran.stdout.contains(part), "no {part:?} in:\n{}", ran.stdout);
    }
    std::fs::write(dir.path().join("text.wasm"), "no component").unwrap();
    let ran = portcullis_in(dir.path(), ["plugin", "inspect", "text.wasm"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("text.wasm is no plugin"), "{}", ran.stderr);
}

#[tokio::test]
async fn what_a_config_grants_is_shown_for_each_of_its_policies() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("capable.wasm"), CAPABILITIES).unwrap();
    std::fs::write(dir.path().join("password"), "hidden-value").unwrap();
    let config = |grants: &str| {
        format!(
            "[listeners.web]\naddress = \"127.0.0.1:0\"\n\
             [policies.capable]\nplugin = \"capable.wasm\"\n{grants}\n\
             [routes.all]\nuse = [\"capable\"]\nrespond = {{ status = 204 }}\n"
        )
    };
    std::fs::write(dir.path().join("gateway.toml"), config(&every_grant("password"))).unwrap();
    let inspect = ["plugin", "inspect", "capable.wasm", "-c", "gateway.toml"];
    let ran = portcullis_in(dir.path(), inspect).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for part in ["policy        `capable`", "secrets (password)", "store (", "isolation   exchange"] {
        assert!(ran.stdout.contains(part), "no {part:?} in:\n{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("hidden-value"), "{}", ran.stdout);

    // What is not granted is refused at its line.
    std::fs::write(dir.path().join("gateway.toml"), config("grants = { log = true }")).unwrap();
    let ran = portcullis_in(dir.path(), inspect).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("gateway.toml:"), "{}", ran.stderr);
    assert!(ran.stderr.contains("wants capabilities that were not granted"), "{}", ran.stderr);
}
