//! `portcullis record` and `portcullis replay`: an exchange of a client, kept as a file and run again.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hyper::Method;
use portcullis_test_guests::{ALL_HOOKS, CAPABILITIES, VERSION_1, VERSION_2};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{
    Ran, Started, TestClient, TestGateway, TestUpstream, eventually, portcullis_in, portcullis_started, sh,
    within,
};
use crate::setup::{KEY, PASSWORD, config, every_grant, policy, shipped};

/// Policies that ship: a key, header rules, a rate limit; and guests.
fn settings() -> String {
    format!(
        r#"
{shipped}
{version}
{hooks}
{capable}

[routes.api]
match = {{ path = "/v1/*" }}
use = ["keys", "stamp", "limit", "version"]
to = "app"

[routes.hooks]
match = {{ path = "/hooks" }}
use = ["hooks"]
to = "app"

[routes.capable]
match = {{ path = "/capable" }}
use = ["capable"]
to = "app"
"#,
        shipped = shipped("rate = \"100/s\", key = { header = \"x-client\" }"),
        version = policy("version", "version", ""),
        hooks = policy("hooks", "hooks", ""),
        capable = policy("capable", "capabilities", &every_grant("password")),
    )
}

async fn start(upstream: &TestUpstream) -> TestGateway {
    TestGateway::builder()
        .file("version.wasm", VERSION_1)
        .file("other.wasm", VERSION_2)
        .file("hooks.wasm", ALL_HOOKS)
        .file("capabilities.wasm", CAPABILITIES)
        .file(PASSWORD.0, PASSWORD.1)
        .start(&config(upstream.address(), &[], &settings()))
        .await
}

async fn run(dir: &Path, arguments: &[&str]) -> Ran {
    portcullis_in(dir, arguments).await
}

/// Records an exchange that `send` makes again and again until it is recorded: nothing tells when the recording begins.
pub(crate) async fn record(gateway: &TestGateway, arguments: &[&str], send: impl AsyncFn()) -> PathBuf {
    let dir = gateway.dir().to_path_buf();
    let arguments: Vec<String> =
        ["record", "--out", "records"].iter().chain(arguments).map(ToString::to_string).collect();
    let recording = tokio::spawn(async move { portcullis_in(&dir, arguments).await });
    eventually("an exchange is recorded", async || {
        send().await;
        recording.is_finished().then_some(())
    })
    .await;
    let ran = recording.await.unwrap();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    gateway.dir().join(ran.stdout.lines().next().unwrap())
}

/// A record of a request with a key, over all shipped policies.
async fn record_shipped(gateway: &TestGateway, more: &[&str]) -> PathBuf {
    let arguments = [&["--route", "api"], more].concat();
    let address = gateway.address("web");
    record(gateway, &arguments, async || {
        let mut client = TestClient::h1(address).await;
        let headers = [("x-api-key", KEY), ("x-client", "client-7"), ("cookie", "sid=0123456789abcdef")];
        client.try_send(Method::GET, "/v1/a?access_token=tok-87654321&page=2", &headers, "").await.unwrap();
    })
    .await
}

async fn replay(gateway: &TestGateway, file: &Path, more: &[&str]) -> Ran {
    let arguments = [&["replay", file.to_str().unwrap()], more].concat();
    run(gateway.dir(), &arguments).await
}

async fn replay_json(gateway: &TestGateway, file: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let ran = replay(gateway, file, &[more, &["--json"]].concat()).await;
    (ran.code, serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr)))
}

fn read(file: &Path) -> (String, Value) {
    let text = std::fs::read_to_string(file).unwrap();
    let json = serde_json::from_str(&text).unwrap();
    (text, json)
}

#[tokio::test]
async fn a_record_has_what_policies_did_and_no_credential() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream).await;
    let file = record_shipped(&gateway, &[]).await;
    let (text, record) = read(&file);
    for secret in [KEY, "0123456789abcdef", "tok-87654321", "hunter2"] {
        assert!(!text.contains(secret), "{secret} in:\n{text}");
    }
    assert_eq!(
        record["removed"],
        json!(["request.header cookie", "request.header x-api-key", "request.query"])
    );
    assert_eq!(record["request"]["target"], "/v1/a?access_token=[removed:access_token]&page=2");
    let hooks: Vec<String> = record["hooks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hook| format!("{} {}", hook["policy"].as_str().unwrap(), hook["hook"].as_str().unwrap()))
        .collect();
    assert_eq!(
        hooks,
        [
            "keys on-request-head",
            "stamp on-request-head",
            "limit on-request-head",
            "version on-request-head",
            "version on-response-head",
            "limit on-response-head",
            "stamp on-response-head",
        ]
    );
    assert_eq!(record["hooks"][2]["calls"][0]["function"], "rate-limit.check");
    assert_eq!((&record["response"]["status"], &record["status"]), (&json!(200), &json!(200)));
    assert_eq!(record["policies"][0]["plugin"], "builtin:api-key");
    assert!(record["policies"][0]["digest"].as_str().unwrap().starts_with("sha256:"));
    // Other users cannot read it.
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let line = gateway.wait_for_log("that it was asked", |line| line.message.contains("record")).await;
    assert_eq!(line.level, "INFO", "{}", line.message);
}

#[tokio::test]
async fn it_replays_as_the_same_and_says_what_it_cannot_judge() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream).await;
    let file = record_shipped(&gateway, &[]).await;

    // With the key that the operator has, all of it is the same.
    let ran = replay(&gateway, &file, &["-H", &format!("x-api-key: {KEY}")]).await;
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("7 the same, 0 different, 0 cannot be judged"), "{}", ran.stdout);
    let given = format!("X-Api-Key: {KEY}");
    let (code, json) = replay_json(&gateway, &file, &["-c", "portcullis.toml", "-H", &given]).await;
    assert_eq!((code, &json["same"]), (Some(0), &json!(7)));
    assert!(!json.to_string().contains(KEY), "what is given back is not shown: {json:#}");

    // Without it, who wanted to see the key cannot be judged, and everybody else can.
    let (code, json) = replay_json(&gateway, &file, &[]).await;
    assert_eq!((code, &json["same"], &json["unknown"]), (Some(0), &json!(6), &json!(1)), "{json:#}");
    let hook = &json["hooks"][0];
    assert_eq!((&hook["policy"], &hook["verdict"]), (&json!("keys"), &json!("unknown")));
    let ran = replay(&gateway, &file, &[]).await;
    for expected in
        ["keys  on-request-head  cannot be judged", "it reads request.header x-api-key", "-H 'x-api-key: …'"]
    {
        assert!(ran.stdout.contains(expected), "no {expected:?} in:\n{}", ran.stdout);
    }

    // With a wrong one, the decision is another.
    let (code, json) = replay_json(&gateway, &file, &["-H", "x-api-key: wrong-key"]).await;
    assert_eq!((code, &json["different"]), (Some(1), &json!(1)), "{json:#}");
}

#[tokio::test]
async fn another_plugin_shows_what_it_does_differently() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream).await;
    let file = record_shipped(&gateway, &[]).await;
    let ran = replay(&gateway, &file, &["--plugin", "version=other.wasm"]).await;
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    for expected in [
        "another plugin than the record's",
        "version  on-request-head  DIFFERENT",
        "changes request + x-version: v2",
        "does not change request + x-version: v1",
        "version  on-response-head  DIFFERENT",
        "stamp  on-request-head  same",
        "4 the same, 2 different, 1 cannot be judged",
    ] {
        assert!(ran.stdout.contains(expected), "no {expected:?} in:\n{}", ran.stdout);
    }
    let (code, json) = replay_json(&gateway, &file, &["--plugin", "version=version.wasm"]).await;
    assert_eq!((code, &json["different"]), (Some(0), &json!(0)), "{json:#}");
    let plugin = |json: &Value, name: &str| {
        let policies = json["policies"].as_array().unwrap().iter();
        policies.into_iter().find(|policy| policy["name"] == name).unwrap()["same-plugin"].clone()
    };
    assert_eq!(plugin(&json, "version"), true);
    // A changed config is a difference as well.
    let changed = config(upstream.address(), &[], &settings().replace("x-stamp = \"1\"", "x-stamp = \"2\""));
    std::fs::write(gateway.dir().join("changed.toml"), changed).unwrap();
    let (code, json) = replay_json(&gateway, &file, &["-c", "changed.toml"]).await;
    assert_eq!((code, &json["different"]), (Some(1), &json!(1)), "{json:#}");
    assert_eq!(json["hooks"][1]["differences"][0], "changes request + x-stamp: 2");
}

#[tokio::test]
async fn bodies_and_the_end_replay_as_well() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream).await;
    let address = gateway.address("web");
    let file = record(&gateway, &["--route", "hooks", "--method", "POST"], async || {
        let mut client = TestClient::h1(address).await;
        client.try_send(Method::POST, "/hooks", &[], "a body of the client").await.unwrap();
    })
    .await;
    let (text, record) = read(&file);
    assert!(text.contains("a body of the client"), "{text}");
    let names: Vec<&str> =
        record["hooks"].as_array().unwrap().iter().map(|hook| hook["hook"].as_str().unwrap()).collect();
    for hook in ["on-request-head", "on-request-body", "on-response-head", "on-response-body", "on-completed"]
    {
        assert!(names.contains(&hook), "no {hook} in {names:?}");
    }
    let (code, json) = replay_json(&gateway, &file, &[]).await;
    assert_eq!((code, &json["same"]), (Some(0), &json!(names.len())), "{json:#}");
}

#[tokio::test]
async fn where_a_canary_had_the_exchange_it_is_the_canary_that_runs_again() {
    let upstream = TestUpstream::named("app").await;
    let canary = policy("version", "version", "canary = { plugin = \"other.wasm\", share = \"100%\" }");
    let gateway = TestGateway::builder()
        .file("version.wasm", VERSION_1)
        .file("other.wasm", VERSION_2)
        .start(&config(upstream.address(), &["version"], &canary))
        .await;
    let explained = run(gateway.dir(), &["explain", "GET", "/", "--live", "--json"]).await;
    let explained: Value = serde_json::from_str(&explained.stdout).unwrap();
    assert_eq!(explained["policies"][0]["version"], "canary", "{explained:#}");
    let address = gateway.address("web");
    let file = record(&gateway, &["--route", "all"], async || {
        TestClient::h1(address).await.get("/").await;
    })
    .await;
    let (_, record) = read(&file);
    assert_eq!(record["hooks"][0]["version"], "canary");
    for more in [&[][..], &["-c", "portcullis.toml"]] {
        let (code, json) = replay_json(&gateway, &file, more).await;
        assert_eq!((code, &json["same"]), (Some(0), &json!(2)), "{json:#}");
        assert_eq!(json["policies"][0]["same-plugin"], true, "{json:#}");
    }
    let (code, _) = replay_json(&gateway, &file, &["--plugin", "version=version.wasm"]).await;
    assert_eq!(code, Some(1));
}

/// Records one deed of the guest that uses capabilities.
async fn deed(gateway: &TestGateway, deed: &str) -> PathBuf {
    let address = gateway.address("web");
    record(gateway, &["--route", "capable", "-H", &format!("x-do: {deed}")], async || {
        TestClient::h1(address).await.get_with("/capable", &[("x-do", deed)]).await;
    })
    .await
}

#[tokio::test]
async fn host_calls_are_answered_from_the_record() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream).await;
    for what in
        ["clock", "increment visits 1", "count hits x 1", "rate one 1000 1000 0 1", "log 2", "get visits"]
    {
        let file = deed(&gateway, what).await;
        let (code, json) = replay_json(&gateway, &file, &[]).await;
        assert_eq!((code, &json["same"]), (Some(0), &json!(1)), "{what}: {json:#}");
    }
}

#[tokio::test]
async fn secrets_of_the_config_are_in_no_record() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream).await;
    let file = deed(&gateway, "secret password").await;
    let (text, record) = read(&file);
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(record["hooks"][0]["calls"][0]["result"], "[secret:password]");
    assert!(record["removed"].as_array().unwrap().contains(&json!("secret password")));
    // What the policy made of it is replaced as well, and so it is still the same.
    let (code, json) = replay_json(&gateway, &file, &[]).await;
    assert_eq!((code, &json["same"]), (Some(0), &json!(1)), "{json:#}");
    let (code, json) = replay_json(&gateway, &file, &["-c", "portcullis.toml"]).await;
    assert_eq!((code, &json["same"]), (Some(0), &json!(1)), "{json:#}");
    assert!(!json.to_string().contains("hunter2"), "{json:#}");
}

#[tokio::test]
async fn only_what_was_asked_for_is_recorded_and_within_its_bounds() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream).await;
    let address = gateway.address("web");
    let sent = std::cell::Cell::new(0);
    let file = record(&gateway, &["--route", "api", "--path", "/v1/wanted", "--count", "2"], async || {
        let mut client = TestClient::h1(address).await;
        for path in ["/v1/other", "/hooks", "/v1/wanted"] {
            client.get(path).await;
        }
        sent.set(sent.get() + 1);
    })
    .await;
    let folder = file.parent().unwrap();
    let mut targets = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        targets.push(read(&entry.unwrap().path()).1["request"]["target"].clone());
    }
    assert_eq!(targets, ["/v1/wanted", "/v1/wanted"]);

    // A bound on the notes: what found no place is counted, and makes the record no whole one.
    let tight = record(&gateway, &["--route", "api", "--kib", "1"], async || {
        let mut client = TestClient::h1(address).await;
        let long = "x".repeat(2000);
        client.try_send(Method::GET, "/v1/a", &[("x-api-key", KEY), ("x-client", &long)], "").await.unwrap();
    })
    .await;
    let (_, record) = read(&tight);
    assert!(record["notes-left-out"].as_u64().unwrap() > 0, "{record:#}");
    assert!(replay(&gateway, &tight, &[]).await.stdout.contains("found no place in the record"));
}

#[tokio::test]
async fn a_field_is_kept_where_that_was_asked_for() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream).await;
    let file = record_shipped(&gateway, &["--keep-field", "X-Api-Key"]).await;
    let (text, record) = read(&file);
    assert!(text.contains(KEY) && !text.contains("0123456789abcdef\""), "{text}");
    assert_eq!(record["removed"], json!(["request.header cookie", "request.query"]));
    let (code, json) = replay_json(&gateway, &file, &[]).await;
    assert_eq!((code, &json["same"]), (Some(0), &json!(7)), "{json:#}");
}

/// A recording that goes on, and begun.
async fn begun(gateway: &TestGateway, count: usize) -> Started {
    let before = recordings(gateway, "begun");
    let count = count.to_string();
    let arguments = [
        "record",
        "--out",
        "records",
        "--route",
        "api",
        "--path",
        "/v1/wanted",
        "--count",
        &count,
        "--for",
        "600",
    ];
    let started = portcullis_started(gateway.dir(), arguments);
    eventually("the recording begins", async || (recordings(gateway, "begun") > before).then_some(())).await;
    started
}

/// How many times the log says that a recording has come to this.
fn recordings(gateway: &TestGateway, state: &str) -> usize {
    let log = gateway.log();
    log.iter()
        .filter(|line| line.text("event") == Some("recording") && line.text("state") == Some(state))
        .count()
}

#[tokio::test]
async fn one_that_is_interrupted_writes_what_it_has() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    for signal in [Signal::INT, Signal::TERM] {
        let recording = begun(&gateway, 5).await;
        for _ in 0..2 {
            client.get("/v1/wanted").await;
        }
        // An exchange is recorded when it has ended, a moment after its answer: the next one on its connection begins
        // then.
        client.get("/v1/other").await;
        recording.signal(signal);
        let ran = recording.ended().await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(ran.stderr, "interrupted: 2 of 5 exchanges recorded\n");
        let files: Vec<&str> = ran.stdout.lines().collect();
        assert_eq!(files.len(), 2);
        for file in files {
            assert_eq!(read(&gateway.dir().join(file)).1["request"]["target"], "/v1/wanted");
        }
    }
    // Nothing is nothing.
    let recording = begun(&gateway, 5).await;
    recording.signal(Signal::INT);
    let ran = recording.ended().await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.contains("has ended until it was interrupted"), "{}", ran.stderr);
    eventually("the gateway has ended all of them", async || {
        (recordings(&gateway, "ended") == 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_whose_asker_has_gone_ends_in_the_gateway() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream).await;
    // As many as there may be.
    let mut all = Vec::new();
    for _ in 0..8 {
        all.push(begun(&gateway, 1).await);
    }
    let ran = run(gateway.dir(), &["record", "--route", "api"]).await;
    assert!(
        ran.code == Some(1) && ran.stderr.contains("8 recordings are under way already"),
        "{}",
        ran.stderr
    );
    for gone in all {
        gone.signal(Signal::KILL);
        drop(gone);
    }
    let told = gateway
        .wait_for_log("an end without a client", |line| line.message.contains("asked for it is gone"))
        .await;
    assert_eq!((told.text("state"), told.number("count")), (Some("ended"), Some(0)));
    eventually("all of them end", async || (recordings(&gateway, "ended") == 8).then_some(())).await;
    let file = record(&gateway, &["--route", "api", "--path", "/v1/wanted"], async || {
        TestClient::h1(gateway.address("web")).await.get("/v1/wanted").await;
    })
    .await;
    assert_eq!(read(&file).1["request"]["target"], "/v1/wanted");
}

#[tokio::test]
async fn what_cannot_be_recorded_is_said() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream).await;
    for (arguments, code, expected) in [
        (&["record"][..], 2, "--route"),
        (&["record", "--route", "nowhere"], 1, "the routes are"),
        (&["record", "--route", "api", "--count", "0"], 1, "out of bounds: 1 to 100"),
        (&["record", "--route", "api", "--count", "101"], 1, "out of bounds: 1 to 100"),
        (&["record", "--route", "api", "--for", "601"], 1, "out of bounds: 1 to 600"),
        (&["record", "--route", "api", "--kib", "999999"], 1, "out of bounds"),
        (&["record", "--route", "api", "-H", "no field: x"], 2, "is no field"),
        (
            &["record", "--route", "api", "--for", "1"],
            1,
            "no exchange of route `api` that fits has ended within 1 s",
        ),
        (&["record", "--route", "api", "--out", "portcullis.toml/x"], 1, "cannot be made"),
    ] {
        let ran = run(gateway.dir(), arguments).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{arguments:?}: no {expected:?} in:\n{}", ran.stderr);
    }
}

#[tokio::test]
async fn what_cannot_be_replayed_is_trouble() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream).await;
    let file = record_shipped(&gateway, &[]).await;
    let (_, sound) = read(&file);
    let write = |name: &str, record: &Value| {
        std::fs::write(gateway.dir().join(name), record.to_string()).unwrap();
    };
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut record = sound.clone();
        edit(&mut record);
        record
    };
    write("newer.json", &edited(&|record| record["portcullis-record"] = json!(2)));
    write("other.json", &json!({ "a": 1 }));
    write("smuggled.json", &edited(&|record| record["request"]["fields"][0]["value"] = json!("a\r\nb: c")));
    write("hook.json", &edited(&|record| record["hooks"][0]["hook"] = json!("on-nothing")));
    write("policy.json", &edited(&|record| record["hooks"][0]["policy"] = json!("nobody")));
    write("position.json", &edited(&|record| record["hooks"][0]["at"] = json!(u64::MAX)));
    write(
        "edit.json",
        &edited(&|record| record["hooks"][0]["edits"] = json!([{ "edit": "upstream", "value": "evil" }])),
    );
    std::fs::write(gateway.dir().join("garbage.json"), b"\xff\xfe").unwrap();
    let sound = file.to_str().unwrap();
    for (arguments, expected) in [
        (&["replay", "nowhere.json"][..], "nowhere.json cannot be read"),
        (&["replay", "garbage.json"], "cannot be read"),
        (&["replay", "other.json"], "is no record"),
        (&["replay", "newer.json"], "version 2"),
        (&["replay", "smuggled.json"], "`request` of the record is not as it was written"),
        (&["replay", "hook.json"], "hook 1 of the record is not as it was written"),
        (&["replay", "policy.json"], "hook 1 of the record"),
        (&["replay", "position.json"], "hook 1 of the record"),
        (&["replay", "edit.json"], "does not fit the exchange"),
        (&["replay", sound, "--plugin", "version"], "NAME=PATH"),
        (&["replay", sound, "--plugin", "nobody=other.wasm"], "of which the record has no hook"),
        (&["replay", sound, "--plugin", "version=nowhere.wasm"], "cannot be read"),
        (&["replay", sound, "--plugin", "version=password"], "no"),
        (&["replay", sound, "-H", "accept: x"], "was not removed from the record"),
        (&["replay", sound, "-H", "nonsense"], "is no field"),
        (&["replay", sound, "-c", "nowhere.toml"], "nowhere.toml"),
    ] {
        let ran = run(gateway.dir(), arguments).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{arguments:?}: no {expected:?} in:\n{}", ran.stderr);
    }
}

/// A record is a file that may have been edited: what it names is read as warily as what a config names.
#[tokio::test]
async fn a_plugin_that_a_record_names_is_a_file_of_a_bounded_size() {
    let upstream = TestUpstream::named("app").await;
    let gateway = start(&upstream).await;
    let file = record_shipped(&gateway, &[]).await;
    let (_, sound) = read(&file);
    let in_folder = |name: &str| gateway.dir().join(name).to_str().unwrap().to_owned();
    let made = sh(&format!("mkfifo '{}' && mkdir '{}'", in_folder("pipe"), in_folder("folder"))).await;
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    // All of it is a hole, which takes no place.
    std::fs::File::create(in_folder("huge.wasm")).unwrap().set_len(300 << 20).unwrap();
    for (plugin, expected) in [
        ("/dev/zero".to_owned(), "it is not a regular file"),
        ("/dev/stdin".to_owned(), "it is not a regular file"),
        (in_folder("pipe"), "it is not a regular file"),
        (in_folder("folder"), "it is a folder"),
        (in_folder("huge.wasm"), "it is larger than"),
        ("/proc/self/mem".to_owned(), ""),
        (in_folder("nowhere"), "there is no such file"),
    ] {
        let mut record = sound.clone();
        for policy in record["policies"].as_array_mut().unwrap() {
            if policy["name"] == "version" {
                policy["plugin"] = json!(plugin);
            }
        }
        std::fs::write(gateway.dir().join("edited.json"), record.to_string()).unwrap();
        let ran = within(&plugin, run(gateway.dir(), &["replay", "edited.json"])).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{plugin}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{plugin}: no {expected:?} in:\n{}", ran.stderr);
    }
}
