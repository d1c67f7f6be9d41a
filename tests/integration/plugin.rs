//! `portcullis plugin`: what authors of plugins work with.

use portcullis_test_guests::{ALL_HOOKS, CAPABILITIES, MISBEHAVE, PLAIN};
use serde_json::Value;

use crate::harness::{TestClient, TestGateway, TestUpstream, portcullis_in};
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

/// The first block of that language in a page of the docs.
fn block<'p>(page: &'p str, language: &str) -> &'p str {
    let (_, rest) = page.split_once(&format!("\n```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

#[tokio::test]
async fn the_cases_of_the_guide_pass_and_the_output_is_what_it_says() {
    let page = include_str!("../../docs/testing-a-policy.md");
    let (cases, output) = (block(page, "toml"), block(page, "text"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("limit.cases.toml"), cases).unwrap();
    let ran = portcullis_in(dir.path(), ["plugin", "test"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), output), "{}", ran.stderr);

    // One number other, and the case fails as the guide shows it.
    std::fs::write(dir.path().join("limit.cases.toml"), cases.replace("\"30\"", "\"60\"")).unwrap();
    let ran = portcullis_in(dir.path(), ["plugin", "test", "--junit", "report.xml"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let (_, failed) = page.split_once("```text\nFAIL").unwrap();
    for line in failed.lines().take(6).skip(1).chain(["   = note: exchange 3 of the case"]) {
        assert!(ran.stdout.contains(line), "no {line:?} in:\n{}", ran.stdout);
    }
    assert!(ran.stdout.ends_with("4 runs of 1 file: 2 passed, 2 failed\n"), "{}", ran.stdout);
    let report = std::fs::read_to_string(dir.path().join("report.xml")).unwrap();
    assert!(report.contains("tests=\"4\" failures=\"2\" errors=\"0\""), "{report}");
}

#[tokio::test]
async fn every_part_of_an_exchange_can_be_expected() {
    let dir = tempfile::tempdir().unwrap();
    for (name, cases, component) in [
        ("hooks", include_str!("../cases/plugin-test/hooks.cases.toml"), ALL_HOOKS),
        ("misbehave", include_str!("../cases/plugin-test/misbehave.cases.toml"), MISBEHAVE),
        ("capable", include_str!("../cases/plugin-test/capable.cases.toml"), CAPABILITIES),
    ] {
        std::fs::write(dir.path().join(format!("{name}.cases.toml")), cases).unwrap();
        std::fs::write(dir.path().join(format!("{name}.wasm")), component).unwrap();
    }
    let ran = portcullis_in(dir.path(), ["plugin", "test"]).await;
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.ends_with("0 failed\n"), "{}", ran.stdout);

    // Only those that were asked for.
    let ran = portcullis_in(dir.path(), ["plugin", "test", "--case", "loop"]).await;
    assert!(ran.stdout.ends_with("2 runs of 3 files: 2 passed, 0 failed\n"), "{}", ran.stdout);
    let ran = portcullis_in(dir.path(), ["plugin", "test", "--case", "no such case"]).await;
    assert_eq!(ran.code, Some(2), "{}", ran.stdout);
    assert!(ran.stderr.contains("no case has `no such case` in its name"), "{}", ran.stderr);
}

#[tokio::test]
async fn cases_that_cannot_be_run_are_trouble_and_not_failures() {
    let dir = tempfile::tempdir().unwrap();
    let run = async |text: &str| {
        std::fs::write(dir.path().join("a.cases.toml"), text).unwrap();
        portcullis_in(dir.path(), ["plugin", "test"]).await
    };
    let case = "[[case]]\nname = \"a\"\nrequest = { url = \"/\" }\n";
    let ran = run(&format!("plugin = \"gone.wasm\"\n{case}")).await;
    assert_eq!(ran.code, Some(2), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("a.cases.toml:1:10") && ran.stderr.contains("no such file"),
        "{}",
        ran.stderr
    );
    let ran = run(&format!("plugin = \"builtin:headers\"\n{case}expect.replay = 403\n")).await;
    assert_eq!(ran.code, Some(2), "{}", ran.stdout);
    assert!(ran.stderr.contains("a.cases.toml:5:8"), "{}", ran.stderr);
    assert!(ran.stderr.contains("did you mean `reply`?"), "{}", ran.stderr);

    // What cannot be sent, and settings that the policy itself refuses.
    let ran = run(
        "plugin = \"builtin:headers\"\n[[case]]\nname = \"a\"\nrequest = { url = \"/\", method = \"G T\" }\n\
         config = { request = { set = { x = \"1\" } } }\n",
    )
    .await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stdout.contains("the request cannot be sent"), "{}", ran.stdout);
    let refused = "plugin = \"builtin:headers\"\n[[case]]\nname = \"a\"\nrequest = { url = \"/\" }\n\
                   config = { response = { set = { \"x stamp\" = \"1\" } } }\n";
    let ran = run(refused).await;
    assert!(ran.stdout.contains("the policy refuses its settings"), "{}", ran.stdout);
    let ran = run(&format!("{refused}expect.refused = \"x stamp\"\n")).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);

    std::fs::remove_file(dir.path().join("a.cases.toml")).unwrap();
    let ran = portcullis_in(dir.path(), ["plugin", "test"]).await;
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("their names end in .cases.toml"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_record_becomes_a_case_that_passes() {
    let upstream = TestUpstream::named("app").await;
    let config = format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[upstreams.app]\nendpoints = [\"{}\"]\n\
         [policies.hooks]\nplugin = \"hooks.wasm\"\n[policies.stamp]\nplugin = \"builtin:headers\"\n\
         config = {{ request = {{ set = {{ x-stamp = \"1\" }} }} }}\n\
         [routes.all]\nuse = [\"stamp\", \"hooks\"]\nto = \"app\"\n",
        upstream.address()
    );
    let gateway = TestGateway::builder().file("hooks.wasm", ALL_HOOKS).start(&config).await;
    let (address, folder) = (gateway.address("web"), gateway.dir().to_path_buf());
    let file = crate::recording::record(&gateway, &["--route", "all"], async || {
        let mut client = TestClient::h1(address).await;
        client.try_send(hyper::Method::POST, "/a?b=c", &[], "a body of the client").await.unwrap();
    })
    .await;
    let case = |policy: &'static str| {
        portcullis_in(
            &folder,
            ["plugin".as_ref(), "case".as_ref(), file.as_os_str(), "--policy".as_ref(), policy.as_ref()],
        )
    };
    for policy in ["hooks", "stamp"] {
        let ran = case(policy).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let cases = folder.join(format!("{policy}.cases.toml"));
        std::fs::write(&cases, &ran.stdout).unwrap();
        // What it asks of the end of an exchange is not the same without an upstream.
        let tested = portcullis_in(&folder, ["plugin".as_ref(), "test".as_ref(), cases.as_os_str()]).await;
        assert_eq!(tested.code, Some(0), "{}\n{}\n{}", ran.stdout, tested.stdout, tested.stderr);
    }
    let ran = portcullis_in(&folder, ["plugin".as_ref(), "case".as_ref(), file.as_os_str()]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("hooks of hooks, stamp"), "{}", ran.stderr);
}
