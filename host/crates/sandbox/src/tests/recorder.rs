//! What a recorder notes of host calls, and that an exchange without effects has none.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use portcullis_policy::recorder::{Effects, HookRecord, HostCall, Recorder};
use portcullis_policy::{Exchange, Hook, Policy, call_recorded};
use portcullis_test_guests::MISBEHAVE;
use serde_json::{Value, json};

use super::capabilities::{capable, capable_with, does, report};
use super::{both, config, exchange, in_time, logged, policy};
use crate::GuestValue;

fn recorder(effects: Effects) -> Recorder {
    Recorder::new(effects)
}

/// Does `deeds` in hooks of one exchange; gives what each came to, and the notes.
fn noted(policy: &Rc<dyn Policy>, deeds: &[&str], recorder: Recorder) -> (Vec<String>, Vec<HookRecord>) {
    let mut exchange = exchange();
    exchange.recorder = Some(Box::new(recorder));
    let mut results = Vec::new();
    for deed in deeds {
        exchange.request.fields.set(b"x-do", deed.as_bytes()).unwrap();
        exchange = call(policy, exchange);
        results.push(exchange.attributes.get("result").unwrap_or_default().to_owned());
    }
    (results, exchange.recorder.take().unwrap().into_hooks())
}

/// Calls a hook that succeeds, and has it noted. Polls all the time: nothing wakes what is called beside the worker.
pub(super) fn call(policy: &Rc<dyn Policy>, exchange: Box<Exchange>) -> Box<Exchange> {
    let mut call = pin!(call_recorded(&**policy, Hook::RequestHead, exchange));
    let (exchange, result) = loop {
        if let Poll::Ready(returned) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            break returned;
        }
    };
    result.unwrap();
    exchange
}

/// The calls as `function(arguments) = result`.
fn calls(hooks: &[HookRecord]) -> Vec<(String, Value, Value)> {
    let all = hooks.iter().flat_map(|hook| &hook.calls);
    all.map(|call| (call.function.clone(), call.arguments.clone(), call.result.clone())).collect()
}

fn asked(function: &str, arguments: Value, result: Value) -> (String, Value, Value) {
    (function.to_owned(), arguments, result)
}

#[test]
fn each_call_is_noted_with_its_arguments_and_its_result() {
    in_time(|| {
        let policy = capable("noted");
        let deeds =
            ["set a b 60000", "get a", "increment a 1", "rate one 1 1000 0 1", "count hits x 2", "log 1"];
        let (results, hooks) = noted(&policy, &deeds, recorder(Effects::All));
        assert_eq!(results[1], "b");
        let quota = json!({ "requests": 1, "per-ms": 1000, "burst": 0 });
        let verdict =
            json!({ "allowed": true, "remaining": 0, "retry-after-ms": 1000, "reset-after-ms": 1000 });
        assert_eq!(
            calls(&hooks),
            [
                asked(
                    "store.set",
                    json!({ "key": "a", "value": "b", "ttl-ms": 60000 }),
                    json!({ "ok": null })
                ),
                asked("store.get", json!({ "key": "a" }), json!({ "ok": ["b"] })),
                asked(
                    "store.increment",
                    json!({ "key": "a", "by": 1, "ttl-ms": null }),
                    json!({ "err": "not-a-number" })
                ),
                asked("rate-limit.check", json!({ "bucket": "one", "quota": quota, "cost": 1 }), verdict),
                asked("metrics.counter", json!({ "name": "hits", "labels": [["label", "x"]] }), json!(1)),
                asked("metrics.add", json!({ "metric": "hits{label=\"x\"}", "value": 2 }), json!(null)),
                asked(
                    "log.log",
                    json!({ "level": "warn", "message": "line 0\u{7}", "fields": [["key", "a\nvalue"]] }),
                    json!(null)
                ),
            ]
        );
        assert!(hooks.iter().all(|hook| &*hook.policy == "noted" && hook.hook == "on-request-head"));
        assert!(hooks.iter().any(|hook| !hook.cpu.is_zero()));
    });
}

#[test]
fn a_secret_is_noted_by_its_name() {
    in_time(|| {
        let (results, hooks) =
            noted(&capable("secretive"), &["secret key", "secret other"], recorder(Effects::All));
        assert_eq!(results, ["hush", "none"], "the guest gets it all the same");
        assert_eq!(
            calls(&hooks),
            [
                asked("secrets.get", json!({ "name": "key" }), json!("[secret:key]")),
                asked("secrets.get", json!({ "name": "other" }), json!(null)),
            ]
        );
    });
}

#[test]
fn authentication_codes_are_in_no_notes() {
    in_time(|| {
        let policy = capable("authenticated");
        // As long as a hash, which the granted secret is not.
        let import = "import-jwk {\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}";
        let deeds = [import, "mac 1 message", "digest 3", "jws 1 nonsense"];
        let (results, hooks) = noted(&policy, &deeds, recorder(Effects::All));
        assert_eq!(results[..3], ["Ok(1)", "32 Ok(true) true", "32"]);
        let code = json!({ "ok": "[removed:crypto]" });
        let calls = calls(&hooks);
        assert_eq!(calls[0], asked("crypto.mac", json!({ "key": 1, "message": "message" }), code));
        let verified = json!({ "key": 1, "message": "message", "signature-bytes": 32 });
        assert_eq!(calls[1], asked("crypto.verify", verified, json!({ "ok": true })));
        assert_eq!((calls[2].0.as_str(), &calls[2].1["hash"]), ("crypto.digest", &json!("sha-256")));
        assert_eq!(calls[3].1, json!({ "token": "nonsense", "keys": [1] }));
        assert!(calls[3].2["err"]["malformed"].is_string(), "{}", calls[3].2);
        assert_eq!(calls.len(), 4);
    });
}

#[test]
fn without_effects_calls_answer_as_they_would_and_change_nothing() {
    in_time(|| {
        let policy = capable_with("without effects", "sets");
        assert_eq!(does(&policy, "set kept old"), "Ok(())");
        assert_eq!(does(&policy, "import-secret long"), "Ok(1)");
        assert_eq!(does(&policy, "count hits x 1"), "1");
        let deeds = [
            "rate one 1 60000 1 1",
            "rate one 1 60000 1 1",
            "rate one 1 60000 1 1",
            "get kept",
            "set kept new",
            "get kept",
            "increment number 5",
            "increment number 5",
            "list",
            "delete kept",
            "get kept",
            "list",
            "forget-key 1",
            "forget-sets 1",
            "count hits x 10",
            "count other x 10",
            "log 3",
        ];
        let mut results = Vec::new();
        let log = logged(|| results = noted(&policy, &deeds, recorder(Effects::None)).0);
        assert_eq!(
            results,
            [
                "true 1 0",
                "true 0 60000",
                "false 0 60000",
                "old",
                "Ok(())",
                "new",
                "Ok(5)",
                "Ok(10)",
                r#"Ok(["kept", "number"])"#,
                "Ok(())",
                "none",
                r#"Ok(["number"])"#,
                "",
                "",
                "1",
                "0",
                ""
            ]
        );
        assert!(!log.contains("line "), "{log}");
        // Nothing of that has happened.
        assert_eq!(does(&policy, "rate one 1 60000 1 1"), "true 1 0");
        assert_eq!(does(&policy, "get kept"), "old");
        assert_eq!(does(&policy, "increment number 1"), "Ok(1)");
        assert_eq!(does(&policy, "mac 1 message"), "32 Ok(true) true", "the key is there");
        assert_eq!(does(&policy, "match 1 ab"), "[0, 1] Ok(true)", "and the sets");
        assert_eq!(does(&policy, "network 1 10.0.0.1"), "Some(0)");
        let guest = report("without effects").guest;
        assert_eq!(guest.len(), 1, "no metric was made");
        assert_eq!(guest[0].value, GuestValue::Counter(1));
    });
}

#[test]
fn a_copy_of_the_store_is_as_full_as_the_store() {
    in_time(|| {
        let policy = capable("quota without effects");
        let fill: Vec<String> = (0..300).map(|at| format!("set-size big{at} 65536")).collect();
        let (mut real, mut dry) = (Vec::new(), Vec::new());
        for deed in &fill {
            real.push(does(&policy, deed));
        }
        let deeds: Vec<&str> =
            fill[..1].iter().map(String::as_str).chain(["set-size one-more 65536"]).collect();
        dry.extend(noted(&policy, &deeds, recorder(Effects::None)).0);
        assert!(real.iter().any(|result| result.contains("Quota")), "the store has room for all");
        assert_eq!(dry[0], "Ok(())", "a value takes the place of one of its size");
        assert!(dry[1].contains("Quota"), "{dry:?}");
    });
}

#[test]
fn a_replay_is_answered_from_the_record() {
    in_time(|| {
        let policy = capable("replayed");
        let mut recorder = recorder(Effects::None);
        let answer = |function: &str, arguments: Value, result: Value| HostCall {
            function: function.to_owned(),
            arguments,
            result,
            from_record: false,
        };
        recorder.answer_by(vec![
            answer("store.get", json!({ "key": "a" }), json!({ "ok": ["as it was"] })),
            answer("clock.now-ms", json!({}), json!(1234)),
            answer("clock.monotonic-us", json!({}), json!(5678)),
            answer("store.get", json!({ "key": "edited" }), json!("no answer")),
        ]);
        let (results, hooks) = noted(&policy, &["get a", "clock", "get a", "get edited"], recorder);
        assert_eq!(results, ["as it was", "1234 5678", "none", "none"]);
        let from_record: Vec<bool> =
            hooks.iter().flat_map(|hook| &hook.calls).map(|call| call.from_record).collect();
        assert_eq!(
            from_record,
            [true, true, true, false, false],
            "what the record does not answer, the host does"
        );
    });
}

#[test]
fn reads_of_what_a_record_has_no_more_are_told() {
    in_time(|| {
        let policy = capable("reading");
        let removed = vec!["request.header x-do".to_owned(), "request.header cookie".to_owned()];
        let (_, hooks) = noted(&policy, &["clock"], recorder(Effects::None).with_removed(removed));
        assert_eq!(hooks[0].removed_reads, ["request.header x-do"]);
    });
}

#[test]
fn what_a_hook_burns_is_noted_wherever_it_runs() {
    both(|| {
        let mut config = config("burning-noted", r#"{"request-head":"work 20000000"}"#);
        config.limits.deadline = Duration::from_secs(10);
        let policy = policy(MISBEHAVE, &config);
        let mut exchange = exchange();
        exchange.recorder = Some(Box::new(recorder(Effects::All)));
        // The first call is on this thread. It is so long that those after it are on the one beside.
        for _ in 0..3 {
            exchange = call(&policy, exchange);
        }
        let hooks = exchange.recorder.take().unwrap().into_hooks();
        let noted: Vec<Duration> = hooks.iter().map(|hook| hook.cpu).collect();
        assert_eq!(noted.len(), 3);
        assert!(noted.iter().all(|cpu| *cpu > Duration::from_millis(1)), "{noted:?}");
        assert_eq!(noted.iter().sum::<Duration>(), exchange.slot().cost.cpu, "there is one account of it");
    });
}
