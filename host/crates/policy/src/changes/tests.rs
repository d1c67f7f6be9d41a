use portcullis_model::Name;

use super::Before;
use crate::exchange::Exchange;
use crate::recorder::{Edit, Message};

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
