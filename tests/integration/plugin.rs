//! `portcullis plugin`: what authors of plugins work with.

use std::os::unix::fs::PermissionsExt;

use portcullis_test_guests::{ALL_HOOKS, CAPABILITIES, EDITS, MISBEHAVE, PLAIN, VERSION_1, VERSION_2};
use serde_json::Value;

use crate::harness::{
    TestClient, TestGateway, TestUpstream, eventually, portcullis_in, portcullis_started,
    portcullis_started_with, portcullis_with,
};
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
        ("edits", include_str!("../cases/plugin-test/edits.cases.toml"), EDITS),
    ] {
        std::fs::write(dir.path().join(format!("{name}.cases.toml")), cases).unwrap();
        std::fs::write(dir.path().join(format!("{name}.wasm")), component).unwrap();
    }
    let ran = portcullis_in(dir.path(), ["plugin", "test"]).await;
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.ends_with("0 failed\n"), "{}", ran.stdout);

    // Only those that were asked for.
    let ran = portcullis_in(dir.path(), ["plugin", "test", "--case", "loop"]).await;
    assert!(ran.stdout.ends_with("2 runs of 4 files: 2 passed, 0 failed\n"), "{}", ran.stdout);
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

#[tokio::test]
async fn a_new_project_in_rust_builds_and_passes_its_cases() {
    let dir = tempfile::tempdir().unwrap();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let sdk = format!("{root}/plugin-sdk/rust");
    let ran =
        portcullis_in(dir.path(), ["plugin", "new", "tenant-gate", "--lang", "rust", "--sdk", &sdk]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let project = dir.path().join("tenant-gate");
    // With the versions of this repository, nothing is fetched; and what is compiled once stays.
    std::fs::copy(format!("{root}/Cargo.lock"), project.join("Cargo.lock")).unwrap();
    let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/plugin-new");
    let environment = [
        ("CARGO_NET_OFFLINE", "true"),
        ("CARGO_TARGET_DIR", target),
        ("CARGO_PROFILE_RELEASE_LTO", "off"),
        ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
        ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ];
    let ran = portcullis_with(&project, &environment, ["plugin", "build"]).await;
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("on-request-head, on-response-head, needs no grants"), "{}", ran.stdout);
    // To where a build without these variables would have put it.
    let (built, _) = ran.stdout.split_once(": ").unwrap();
    let place = project.join("target/wasm32-wasip2/release/tenant_gate.wasm");
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::copy(built, &place).unwrap();

    let ran = portcullis_in(&project, ["plugin", "test"]).await;
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.ends_with("6 runs of 1 file: 6 passed, 0 failed\n"), "{}", ran.stdout);
    let ran = portcullis_in(&project, ["validate", "-c", "gateway.toml"]).await;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "ok: 1 listener, 1 route, 1 policy\n"),
        "{}",
        ran.stderr
    );

    // Nothing is written over.
    let ran =
        portcullis_in(dir.path(), ["plugin", "new", "tenant-gate", "--lang", "rust", "--sdk", &sdk]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("has something in it"), "{}", ran.stderr);
}

#[tokio::test]
async fn what_a_new_project_needs_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let ran = portcullis_in(dir.path(), ["plugin", "new", "tenant", "--lang", "rust"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("--sdk ../portcullis/plugin-sdk/rust"), "{}", ran.stderr);
    let ran = portcullis_in(dir.path(), ["plugin", "new", "Tenant", "--lang", "js"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("cannot be the name of a plugin"), "{}", ran.stderr);

    let ran = portcullis_in(dir.path(), ["plugin", "new", "tenant", "--lang", "js"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let project = dir.path().join("tenant");
    for file in ["policy.js", "wit/world.wit", "wit/deps/portcullis/hooks.wit", "tests/tenant.cases.toml"] {
        assert!(project.join(file).is_file(), "no {file}");
    }
    let ran = portcullis_in(dir.path(), ["plugin", "new", "typed", "--lang", "ts", "-o", "other"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for file in ["policy.ts", "tsconfig.json", "wit/deps/portcullis/hooks.wit", "tests/typed.cases.toml"] {
        assert!(dir.path().join("other").join(file).is_file(), "no {file}");
    }
    // Without a tool, the message says what to install.
    let ran = portcullis_with(&project, &[("PATH", "/nowhere")], ["plugin", "build"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("`npm` is not found") && ran.stderr.contains("Node.js"), "{}", ran.stderr);
    for (language, file, missing) in [
        ("c", "portcullis/portcullis.h", "pip install ziglang"),
        ("go", "portcullis/request/request.go", "go.dev"),
        ("python", "portcullis/hook.py", "pip install componentize-py=="),
    ] {
        let ran =
            portcullis_in(dir.path(), ["plugin", "new", "first", "--lang", language, "-o", language]).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let project = dir.path().join(language);
        for file in [file, "manifest.json", "gateway.toml", "tests/first.cases.toml"] {
            assert!(project.join(file).is_file(), "no {file} in {language}");
        }
        let ran = portcullis_with(&project, &[("PATH", "/nowhere")], ["plugin", "build"]).await;
        assert_eq!(ran.code, Some(1), "{}", ran.stdout);
        assert!(ran.stderr.contains("is found") || ran.stderr.contains("is not found"), "{}", ran.stderr);
        assert!(ran.stderr.contains(missing), "{}", ran.stderr);
    }
    let ran = portcullis_in(dir.path(), ["plugin", "build"]).await;
    assert!(ran.stderr.contains("has no Cargo.toml, package.json, go.mod"), "{}", ran.stderr);
}

#[tokio::test]
async fn cases_run_again_when_a_file_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let cases = "plugin = \"builtin:headers\"\n[policy]\nconfig = { request = { set = { x-a = \"1\" } } }\n\
                 [[case]]\nname = \"a\"\nrequest = { url = \"/\" }\nexpect.request.headers = { x-a = \"1\" }\n";
    let file = dir.path().join("a.cases.toml");
    std::fs::write(&file, cases).unwrap();
    let started = portcullis_started(dir.path(), ["plugin", "test", "--watch", "--junit", "report.xml"]);
    let reports = async |text: &str| {
        eventually(text, async || {
            let report = std::fs::read_to_string(dir.path().join("report.xml")).ok()?;
            report.contains(text).then_some(())
        })
        .await;
    };
    reports("tests=\"2\" failures=\"0\" errors=\"0\"").await;
    std::fs::write(&file, cases.replace("{ x-a = \"1\" }\n", "{ x-a = \"2\" }\n")).unwrap();
    reports("tests=\"2\" failures=\"2\" errors=\"0\"").await;
    // A mistake does not end it, and a new file is found.
    std::fs::write(&file, "nonsense").unwrap();
    reports("errors=\"1\"").await;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(dir.path().join("b.cases.toml"), cases).unwrap();
    reports("<testsuite name=\"b.cases.toml\" tests=\"2\" failures=\"0\"").await;
    started.signal(rustix::process::Signal::TERM);
    started.ended().await;
}

#[tokio::test]
async fn a_saved_file_is_built_and_swapped_in() {
    let gateway = TestGateway::builder();
    let project = gateway.dir().to_path_buf();
    // What npm would do is of no interest here.
    let tools = project.join("tools");
    std::fs::create_dir_all(&tools).unwrap();
    std::fs::create_dir_all(project.join("node_modules")).unwrap();
    let npm =
        "#!/bin/sh\n[ \"$1\" = --version ] || { mkdir -p build && cp source.bin build/version.wasm; }\n";
    std::fs::write(tools.join("npm"), npm).unwrap();
    std::fs::set_permissions(tools.join("npm"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(project.join("package.json"), "{ \"name\": \"version\" }").unwrap();
    std::fs::write(project.join("source.bin"), VERSION_1).unwrap();
    let config = "[listeners.web]\naddress = \"127.0.0.1:0\"\n[policies.version]\nplugin = \"version.wasm\"\n\
                  [routes.all]\nuse = [\"version\"]\nrespond = { status = 204 }\n";
    std::fs::write(project.join("gateway.toml"), config).unwrap();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let started = portcullis_started_with(&project, &[("PATH", &path)], ["plugin", "dev"]);
    let runs = async |generation: u64| {
        eventually("that generation runs", async || {
            let ran = portcullis_in(&project, ["status", "-c", "gateway.toml", "--json"]).await;
            let status: Value = serde_json::from_str(&ran.stdout).ok()?;
            (status["generation"] == generation).then_some(())
        })
        .await;
    };
    runs(1).await;
    std::fs::write(project.join("source.bin"), "no component").unwrap();
    std::fs::write(project.join("source.bin"), VERSION_2).unwrap();
    runs(2).await;
    started.signal(rustix::process::Signal::TERM);
    let ran = started.ended().await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.matches("built version.wasm in ").count() >= 2, "{}", ran.stderr);
}
