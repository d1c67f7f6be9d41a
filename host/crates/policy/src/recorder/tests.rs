use serde_json::json;

use super::{Effects, HostCall, Recorder};

fn recorder() -> Recorder {
    Recorder::new(Effects::None)
}

fn call(function: &str, key: &str, result: u32) -> HostCall {
    let (function, arguments) = (function.to_owned(), json!({ "key": key }));
    HostCall { function, arguments, result: json!(result), from_record: false }
}

#[test]
fn a_record_answers_each_call_once_and_those_out_of_order_too() {
    let mut recorder = recorder();
    assert_eq!(recorder.answer("store.get", &json!({ "key": "a" })), None, "outside of a replay");
    recorder.answer_by(vec![call("store.get", "a", 1), call("store.get", "b", 2), call("store.get", "a", 3)]);
    let mut ask = |key: &str| recorder.answer("store.get", &json!({ "key": key }));
    assert_eq!(ask("b"), Some(json!(2)));
    assert_eq!(ask("a"), Some(json!(1)));
    assert_eq!(ask("a"), Some(json!(3)));
    assert_eq!(ask("a"), None);
    assert_eq!(ask("c"), None);
}

#[test]
fn notes_are_bounded_and_what_is_left_out_is_counted() {
    let mut recorder = recorder().with_bytes_max(1000);
    for _ in 0..100 {
        recorder.note("store.get", json!({ "key": "x".repeat(100) }), json!(null), false);
    }
    assert!(recorder.calls.len() < 10 && !recorder.calls.is_empty());
    assert_eq!(recorder.calls.len() + recorder.left_out(), 100);
}

#[test]
fn scratch_is_kept_for_each_policy_and_type() {
    let mut recorder = recorder();
    *recorder.scratch(0, || 1_u32).unwrap() += 1;
    assert_eq!(*recorder.scratch(0, || 1_u32).unwrap(), 2);
    assert_eq!(*recorder.scratch(1, || 7_u32).unwrap(), 7);
    assert_eq!(*recorder.scratch(0, || 9_u64).unwrap(), 9);
}

#[test]
fn reads_of_what_was_removed_are_told_once() {
    let removed = vec!["request.header cookie".to_owned(), "request.query".to_owned()];
    let mut recorder = recorder().with_removed(removed);
    recorder.note_read("request.header accept");
    recorder.note_read("request.header cookie");
    recorder.note_reads("request.header ");
    assert_eq!(recorder.reads, ["request.header cookie"]);
}
