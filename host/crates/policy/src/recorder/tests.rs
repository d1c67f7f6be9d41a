use portcullis_model::Name;
use serde_json::json;

use super::edit::{Before, Edit, Message};
use super::{Effects, HostCall, Recorder};
use crate::Exchange;

fn exchange() -> Exchange {
    let mut exchange =
        Exchange { upstreams: vec![Name::from("a"), Name::from("b")].into(), ..Exchange::default() };
    exchange.request.method.push_str("GET");
    exchange.request.set_target("/a", Some("q=1"));
    for (name, value) in [("x-one", "1"), ("x-two", "2"), ("x-two", "22")] {
        exchange.request.fields.append(name.as_bytes(), value.as_bytes()).unwrap();
    }
    exchange
}

fn field(message: Message, name: &str, before: &[&str], after: &[&str]) -> Edit {
    let lines = |lines: &[&str]| lines.iter().map(|line| line.as_bytes().to_vec()).collect();
    Edit::Field { message, name: name.to_owned(), before: lines(before), after: lines(after) }
}

fn recorder() -> Recorder {
    Recorder::new(Effects::None)
}

fn call(function: &str, key: &str, result: u32) -> HostCall {
    let (function, arguments) = (function.to_owned(), json!({ "key": key }));
    HostCall { function, arguments, result: json!(result), from_record: false }
}

#[test]
fn what_was_changed_is_told_and_can_be_done_again() {
    let before = Before::of(&exchange());
    let mut edited = exchange();
    edited.request.method = "POST".to_owned();
    edited.request.authority = "other.test".to_owned();
    edited.request.set_target("/b", None);
    edited.upstream = 1;
    edited.request.fields.remove(b"x-one");
    edited.request.fields.append(b"x-two", b"222").unwrap();
    edited.request.fields.append(b"x-new", b"\xff").unwrap();
    edited.response.status = 204;
    edited.response.fields.append(b"x-answer", b"yes").unwrap();
    assert!(edited.attributes.set("user", "alice"));
    let edits = before.edits(&edited);
    let new = Edit::Field {
        message: Message::Request,
        name: "x-new".to_owned(),
        before: Vec::new(),
        after: vec![vec![0xff]],
    };
    assert_eq!(
        edits,
        [
            Edit::Method("POST".to_owned()),
            Edit::Authority("other.test".to_owned()),
            Edit::Target("/b".to_owned()),
            Edit::Upstream(Name::from("b")),
            field(Message::Request, "x-one", &["1"], &[]),
            field(Message::Request, "x-two", &["2", "22"], &["2", "22", "222"]),
            new,
            Edit::Status(204),
            field(Message::Response, "x-answer", &[], &["yes"]),
            Edit::Attribute { name: "user".to_owned(), value: "alice".to_owned() },
        ]
    );
    let mut again = exchange();
    assert!(edits.iter().all(|edit| edit.apply(&mut again)));
    assert_eq!(Before::of(&again).edits(&edited), []);
}

#[test]
fn nothing_changed_is_no_edit() {
    assert_eq!(Before::of(&exchange()).edits(&exchange()), []);
}

#[test]
fn an_edit_that_does_not_fit_says_so() {
    assert!(!Edit::Upstream(Name::from("c")).apply(&mut exchange()));
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
