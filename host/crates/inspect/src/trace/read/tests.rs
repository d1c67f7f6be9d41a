use bytes::Bytes;
use portcullis_http::{RequestHead, ResponseHead};
use portcullis_model::Name;
use portcullis_policy::recorder::{Decided, Edit, Input, Message};
use portcullis_policy::{ClientInfo, Outcome};
use serde_json::json;

use super::*;
use crate::trace::tests::record;
use crate::trace::{client_to_json, edit_to_json, hook_to_json, request_to_json, response_to_json};

fn get() -> RequestHead {
    let mut request = RequestHead::default();
    request.method.push_str("GET");
    request
}

#[test]
fn edits_are_read_as_they_were_written() {
    let line = |bytes: &[u8]| vec![bytes.to_vec()];
    for edit in [
        Edit::Method("POST".to_owned()),
        Edit::Authority("a.test".to_owned()),
        Edit::Target("/a?b".to_owned()),
        Edit::Upstream(Name::from("b")),
        Edit::Status(503),
        Edit::Attribute { name: "a".to_owned(), value: "b".to_owned() },
        Edit::Field {
            message: Message::Request,
            name: "x".to_owned(),
            before: Vec::new(),
            after: line(b"\xff"),
        },
        Edit::Field {
            message: Message::Response,
            name: "x".to_owned(),
            before: line(b"a"),
            after: Vec::new(),
        },
    ] {
        assert_eq!(edit_from_json(&edit_to_json(&edit)), Some(edit));
    }
    assert_eq!(edit_from_json(&json!({ "edit": "nonsense" })), None);
}

#[test]
fn inputs_are_read_as_they_were_written() {
    let piece = Input::Piece { chunk: Bytes::from_static(b"\xffab"), last: true, begun: false };
    let hook = hook_to_json(&record(piece, Decided::Hold, Vec::new(), Vec::new()));
    assert_eq!(piece_from_json(&hook["input"]), Some((Bytes::from_static(b"\xffab"), true)));
    let outcome =
        Outcome { status: 200, duration_us: 5, error: Some("late".to_owned()), ..Outcome::default() };
    let hook = hook_to_json(&record(Input::Outcome(outcome), Decided::Next, Vec::new(), Vec::new()));
    let read = outcome_from_json(&hook["input"]).unwrap();
    assert_eq!(
        (read.status, read.duration_us, read.upstream, read.error),
        (200, 5, None, Some("late".to_owned()))
    );
}

#[test]
fn heads_are_read_as_they_were_written() {
    let mut request = get();
    request.authority.push_str("a.test:1");
    request.set_target("/a/b", Some("c=d"));
    request.fields.append(b"x-one", b"1").unwrap();
    let written = request_to_json(&request);
    assert_eq!(request_to_json(&request_from_json(&written).unwrap()), written);
    let response = ResponseHead { status: 404, fields: request.fields.clone(), ..ResponseHead::default() };
    let written = response_to_json(&response);
    assert_eq!(response_to_json(&response_from_json(&written).unwrap()), written);
    let client = ClientInfo { tls_server_name: Some("a.test".into()), ..ClientInfo::default() };
    let written = client_to_json(&client);
    assert_eq!(client_to_json(&client_from_json(&written).unwrap()), written);
}

#[test]
fn a_head_that_no_client_could_have_sent_is_not_read() {
    let sound = request_to_json(&get());
    for (member, value) in [
        ("method", json!("G T")),
        ("scheme", json!("ftp")),
        ("target", json!("/../a")),
        ("target", json!("/a/%00")),
        ("target", json!("nonsense")),
        ("fields", json!([{ "name": "a", "value": "b\r\nc: d" }])),
    ] {
        let mut head = sound.clone();
        head[member] = value;
        assert!(request_from_json(&head).is_none(), "{head}");
    }
}
