//! Responses that the gateway makes itself.

use bytes::Bytes;
use portcullis_http::{ResponseHead, reason_phrase};
use portcullis_policy::Reply;

/// Makes `head` an error and gives its body: the status and one short sentence. What happened in full is in the log.
pub(crate) fn error(head: &mut ResponseHead, status: u16, reason: &str) -> Bytes {
    head.clear();
    head.status = status;
    let text = format!("{status} {}\n{reason}\n", reason_phrase(status));
    add(head, b"content-type", b"text/plain; charset=utf-8");
    add(head, b"cache-control", b"no-store");
    Bytes::from(text)
}

/// Makes `head` a policy's reply and gives its body.
pub(crate) fn reply(head: &mut ResponseHead, reply: Reply) -> Bytes {
    head.clear();
    head.status = reply.status;
    head.fields = reply.fields;
    finish_reply(head, reply.status, reply.body)
}

/// A reply without fields and body, as a fault makes one, gets the body of an error.
pub(crate) fn finish_reply(head: &mut ResponseHead, status: u16, body: Bytes) -> Bytes {
    let bare = body.is_empty() && head.fields.is_empty() && status >= 400;
    let reason = if status == 500 { "a policy failed" } else { "refused by a policy" };
    if bare { error(head, status, reason) } else { body }
}

// The names and values above are valid, and two lines are far below the bound of a section.
fn add(head: &mut ResponseHead, name: &[u8], value: &[u8]) {
    let added = head.fields.append(name, value);
    debug_assert!(added.is_ok(), "a fixed field is valid");
}
