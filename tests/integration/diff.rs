//! `portcullis diff`, and what a reload says of capabilities that a new version of a plugin adds.

use std::path::Path;

use portcullis_test_guests::{CAPABILITIES, VERSION_1, VERSION_2};
use serde_json::{Value, json};

use crate::harness::{Ran, TestGateway, TestUpstream, portcullis, portcullis_in};
use crate::setup::{config, every_grant, policy};

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

async fn diff(dir: &Path, old: &str, new: &str) -> Ran {
    portcullis_in(dir, ["diff", old, new]).await
}

async fn as_json(dir: &Path, old: &str, new: &str) -> (Option<i32>, Value) {
    let ran = portcullis_in(dir, ["diff", "--json", old, new]).await;
    (ran.code, serde_json::from_str(&ran.stdout).unwrap())
}

#[tokio::test]
async fn the_same_plugin_is_the_same() {
    let ran = portcullis(["diff", "builtin:headers", "builtin:headers"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("the same bytes"), "{}", ran.stdout);
}

#[tokio::test]
async fn a_plugin_that_wants_more_says_what() {
    let ran = portcullis(["diff", "builtin:headers", "builtin:rate-limit"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    for expected in [
        "builtin:headers -> builtin:rate-limit",
        "+ rate-limit (grant it, or the policy does not load)",
        "! `rate` is new, and required",
        "! `request` is gone, and refused where it is set",
        "  `burst` is new, and may be left out",
        "! may refuse settings that the old version took",
    ] {
        assert!(ran.stdout.contains(expected), "no {expected:?} in:\n{}", ran.stdout);
    }
}

#[tokio::test]
async fn scripts_read_the_same_as_json() {
    let (code, diff) = as_json(Path::new("/"), "builtin:headers", "builtin:rate-limit").await;
    assert_eq!((code, &diff["same"]), (Some(1), &json!(false)));
    assert_eq!(diff["capabilities"], json!({ "added": ["rate-limit"], "dropped": [] }));
    assert_eq!((&diff["old"]["name"], &diff["new"]["name"]), (&json!("headers"), &json!("rate-limit")));
    let settings = diff["settings"].as_array().unwrap();
    let rate = json!({ "setting": "rate", "breaks": true, "change": "is new, and required" });
    assert!(settings.contains(&rate), "{settings:#?}");
}

#[tokio::test]
async fn files_are_compared_by_their_content() {
    let dir = folder(&[("a.wasm", VERSION_1), ("b.wasm", VERSION_2), ("c.wasm", CAPABILITIES)]);
    let (code, same) = as_json(dir.path(), "a.wasm", "a.wasm").await;
    assert_eq!((code, &same["same"]), (Some(0), &json!(true)));
    let (code, versions) = as_json(dir.path(), "a.wasm", "b.wasm").await;
    assert_eq!((code, &versions["same"]), (Some(1), &json!(false)));
    assert_eq!(versions["capabilities"]["added"], json!([]));
    let (_, wants) = as_json(dir.path(), "a.wasm", "c.wasm").await;
    assert!(wants["capabilities"]["added"].as_array().unwrap().contains(&json!("store")), "{wants:#}");
    assert_eq!(wants["hooks"], json!({ "added": [], "dropped": ["on-response-head"] }));
}

#[tokio::test]
async fn configs_are_compared_policy_by_policy() {
    let endpoint = "127.0.0.1:9".parse().unwrap();
    let old = config(endpoint, &["version"], &policy("version", "a", ""));
    let new = config(endpoint, &["version"], &policy("version", "c", &every_grant("password")))
        .replace("workers = 2", "workers = 3");
    let dir = folder(&[
        ("old.toml", old.as_bytes()),
        ("new.toml", new.as_bytes()),
        ("a.wasm", VERSION_1),
        ("c.wasm", CAPABILITIES),
        ("password", b"hunter2-hunter2"),
    ]);
    let ran = diff(dir.path(), "old.toml", "new.toml").await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    for expected in [
        "policy `version` runs another version of its plugin",
        "server.workers changed (at the next start)",
        "+ store (grant it, or the policy does not load)",
        "grant         + store",
        "- on-response-head",
    ] {
        assert!(ran.stdout.contains(expected), "no {expected:?} in:\n{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("hunter2"), "{}", ran.stdout);
    let (code, diff) = as_json(dir.path(), "old.toml", "new.toml").await;
    assert_eq!(code, Some(1));
    assert_eq!(diff["policies"]["version"]["plugin"]["capabilities"]["added"][0], "log", "{diff:#}");
    let (code, diff) = as_json(dir.path(), "old.toml", "old.toml").await;
    assert_eq!((code, &diff["same"]), (Some(0), &json!(true)));
}

#[tokio::test]
async fn what_cannot_be_compared_is_trouble() {
    let dir = folder(&[
        ("a.wasm", VERSION_1),
        ("garbage.wasm", b"\0asm garbage"),
        ("sound.toml", config("127.0.0.1:9".parse().unwrap(), &[], "").as_bytes()),
        ("wrong.toml", b"[listeners.web]\nadress = \"127.0.0.1:0\"\n"),
    ]);
    for (old, new, expected) in [
        ("a.wasm", "nowhere.wasm", "nowhere.wasm cannot be read"),
        ("a.wasm", "builtin:nonsense", "the builtin plugins are"),
        ("a.wasm", "sound.toml", "not of one kind"),
        ("a.wasm", "garbage.wasm", "garbage.wasm is no plugin"),
        ("sound.toml", "wrong.toml", "`adress`"),
        ("a.wasm", ".", "cannot be read"),
        ("a.wasm", "oci://127.0.0.1:9/a:1", "cannot be reached"),
        ("a.wasm", "oci://127.0.0.1:9/a", "it does not say which image"),
        ("a.wasm", "https://127.0.0.1:9/a:1", "only oci:// leads to a plugin over the network"),
    ] {
        let ran = diff(dir.path(), old, new).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{old} {new}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{old} {new}: no {expected:?} in:\n{}", ran.stderr);
    }
    for arguments in [&["diff"][..], &["diff", "a.wasm"], &["diff", "a.wasm", "a.wasm", "a.wasm"]] {
        assert_eq!(portcullis_in(dir.path(), arguments).await.code, Some(2), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_reload_calls_out_what_a_plugin_newly_imports() {
    let upstream = TestUpstream::named("app").await;
    let with = |plugin: &str, settings: &str| {
        config(upstream.address(), &["version"], &policy("version", plugin, settings))
    };
    let gateway = TestGateway::builder()
        .file("a.wasm", VERSION_1)
        .file("b.wasm", VERSION_2)
        .file("c.wasm", CAPABILITIES)
        .file("password", b"hunter2")
        .start(&with("a", ""))
        .await;
    let refusal = gateway.write_config_and_expect_refusal(&with("c", "")).await;
    for expected in [
        "capabilities that were not granted",
        "the component imports `log`",
        "`store`",
        "generation 1 is still running",
    ] {
        assert!(refusal.contains(expected), "no {expected:?} in:\n{refusal}");
    }
    gateway.write_config_and_wait(&with("b", "")).await;
    let called_out = |gateway: &TestGateway| -> Vec<String> {
        let log = gateway.log().into_iter();
        log.filter(|line| line.text("event") == Some("newly-imported")).map(|line| line.message).collect()
    };
    assert_eq!(called_out(&gateway), [""; 0], "the same imports are nothing new");
    gateway.write_config_and_wait(&with("c", &every_grant("password"))).await;
    let sentence = "policy `version`: its plugin newly imports `store`, which is granted";
    let line = gateway.wait_for_log("the call-out", |line| line.message == sentence).await;
    assert_eq!(line.level, "WARN");
    gateway.write_config_and_wait(&with("a", "")).await;
    // The component imports each of them but `cache-purge`.
    assert_eq!(
        called_out(&gateway).len(),
        portcullis_model::Capability::ALL.len() - 1,
        "what is imported no more is nothing to call out"
    );
}

#[tokio::test]
async fn validate_calls_out_the_same_against_another_config() {
    let endpoint = "127.0.0.1:9".parse().unwrap();
    let old = config(endpoint, &["version"], &policy("version", "a", ""));
    let new = config(endpoint, &["version"], &policy("version", "c", &every_grant("password")));
    let dir = folder(&[
        ("old.toml", old.as_bytes()),
        ("new.toml", new.as_bytes()),
        ("a.wasm", VERSION_1),
        ("c.wasm", CAPABILITIES),
        ("password", b"hunter2"),
    ]);
    let ran = portcullis_in(dir.path(), ["validate", "-c", "new.toml", "--against", "old.toml"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("policy `version`: its plugin newly imports `secrets`, which is granted"),
        "{}",
        ran.stderr
    );
    let ran = portcullis_in(dir.path(), ["validate", "-c", "new.toml", "--against", "new.toml"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let ran = portcullis_in(dir.path(), ["validate", "-c", "new.toml", "--against", "none.toml"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("none.toml"), "{}", ran.stderr);
}

/// Whatever a plugin calls what it imports, or says in its manifest, a terminal is not steered by it.
#[tokio::test]
async fn a_plugin_that_is_looked_at_does_not_steer_the_terminal() {
    let import = |name: &str| wat::parse_str(format!("(component (import \"{name}\" (func)))")).unwrap();
    let manifest = |text: &str| {
        // A custom section in front of the others: its number, its length, the length of its name and the name.
        let name = "portcullis:manifest";
        let section = [&[name.len() as u8][..], name.as_bytes(), text.as_bytes()].concat();
        let component = wat::parse_str("(component)").unwrap();
        [&component[..], &[0, section.len() as u8], &section].concat()
    };
    let harmful = r"\1b]0;owned\07\1b[2J\c2\9b2J\0d\e2\80\ae";
    let text = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}";
    let cases = [
        ("import.wasm", import(&format!("wasi:evil{harmful}"))),
        ("contract.wasm", import(&format!("portcullis:policy/{harmful}@0.2.1"))),
        ("version.wasm", import(&format!("portcullis:policy/request@{harmful}"))),
        ("manifest.wasm", manifest(&format!("{{\"name\":\"a\",\"{text}\":1,{text}"))),
        (&*format!("name{text}.wasm"), b"\0asm and no more".to_vec()),
    ];
    let files: Vec<_> = cases.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let dir = folder(&files);
    std::fs::write(dir.path().join("plain.wasm"), VERSION_1).unwrap();
    for (name, _) in files {
        std::fs::write(
            dir.path().join("portcullis.toml"),
            config("127.0.0.1:9".parse().unwrap(), &["odd"], &format!("[policies.odd]\nplugin = {name:?}\n"))
                .replace("\\u{1b}", "\\u001b")
                .replace("\\u{7}", "\\u0007")
                .replace("\\u{9b}", "\\u009b")
                .replace("\\u{202e}", "\\u202e"),
        )
        .unwrap();
        for arguments in
            [&["diff", "plain.wasm", name][..], &["validate"], &["--log-format", "json", "validate"]]
        {
            let ran = portcullis_in(dir.path(), arguments).await;
            assert!(ran.code != Some(0) && !ran.stderr.is_empty(), "{arguments:?}: {}", ran.stdout);
            let is_harmful = |letter: char| (letter.is_control() && letter != '\n') || letter == '\u{202e}';
            for said in [ran.stdout, ran.stderr] {
                assert!(!said.contains(is_harmful), "{arguments:?}: {said:?}");
            }
        }
    }
}
