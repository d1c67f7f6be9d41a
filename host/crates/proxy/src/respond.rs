//! Responses that the gateway makes itself.

use bytes::Bytes;
use portcullis_files::FileError;
use portcullis_http::{Known, RequestHead, ResponseHead, reason_phrase};
use portcullis_model::{Action, Route};
use portcullis_policy::Reply;

use crate::body::Body;
use crate::call::CallResponse;

use crate::error::ExchangeError;

const POLICY_FAILED: &str = "a policy failed";
const TRY_LATER: &str = "try again later";

/// Makes `head` an error and returns its body: the status and one short sentence. The log has the details.
pub(crate) fn error(head: &mut ResponseHead, status: u16, reason: &str) -> Bytes {
    head.clear();
    explain(head, status, reason)
}

/// Makes `head` the answer to a request that the gateway refuses, and returns its body.
pub(crate) fn refusal(head: &mut ResponseHead, refused: &ExchangeError) -> Bytes {
    let (status, reason) = refused.response();
    let body = error(head, status, reason);
    match refused {
        ExchangeError::TlsRequired { location: Some(location) } => {
            add(head, b"location", location.as_bytes())
        }
        ExchangeError::FileMethod => add(head, b"allow", b"GET, HEAD"),
        ExchangeError::Range { length } => {
            add(head, b"content-range", format!("bytes */{length}").as_bytes())
        }
        ExchangeError::Coding => add(head, b"accept-encoding", b"zstd, br, gzip"),
        ExchangeError::File(FileError::Busy) | ExchangeError::Full { .. } | ExchangeError::Decoders => {
            add(head, b"retry-after", b"1");
        }
        _ => {}
    }
    body
}

/// As [`error`], but keeps the fields that `head` has.
fn explain(head: &mut ResponseHead, status: u16, reason: &str) -> Bytes {
    head.status = status;
    let text = format!("{status} {}\n{reason}\n", reason_phrase(status));
    add(head, b"content-type", b"text/plain; charset=utf-8");
    add(head, b"cache-control", b"no-store");
    Bytes::from(text)
}

/// Makes `head` the response to the failure of a policy. Earlier policies may have added fields to it since; a body
/// that one of them set stays.
pub(crate) fn failed(head: &mut ResponseHead, status: u16, body: Bytes) -> Bytes {
    match status {
        500 if body.is_empty() => explain(head, status, POLICY_FAILED),
        503 if body.is_empty() => explain(head, status, TRY_LATER),
        _ => body,
    }
}

/// Returns whether a request is a TRACE that its route does not name among its methods. The answer to one shows the
/// request with what policies and proxies have added (RFC 9110, 9.3.8), and nothing behind a gateway needs it.
pub(crate) fn is_unwanted_trace(route: &Route, request: &RequestHead) -> bool {
    request.method == "TRACE" && !route.matches.methods.iter().any(|method| method == "TRACE")
}

/// Adds the methods that a route allows, as a 405 must (RFC 9110, 15.5.6).
pub(crate) fn allow(head: &mut ResponseHead, route: &Route) {
    let mut methods = route.matches.methods.join(", ");
    if matches!(route.action, Action::Files(_)) {
        "GET, HEAD".clone_into(&mut methods);
    } else if methods.is_empty() {
        methods.push_str("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }
    add(head, b"allow", methods.as_bytes());
}

/// Answers a TRACE or OPTIONS that must not be forwarded, because `Max-Forwards` is used up (RFC 9110, 7.6.2). The
/// answer to TRACE shows only the request line and `Via`: the rest may be secret (9.3.8).
pub(crate) fn last_recipient(request: &RequestHead, head: &mut ResponseHead) -> Bytes {
    head.clear();
    head.status = 200;
    if request.method != "TRACE" {
        return Bytes::new();
    }
    add(head, b"content-type", b"message/http");
    let mut shown = Vec::new();
    for part in ["TRACE ", request.target(), " ", request.version.as_str(), "\r\n"] {
        shown.extend_from_slice(part.as_bytes());
    }
    for line in request.fields.all_known(Known::Via) {
        shown.extend_from_slice(b"Via: ");
        shown.extend_from_slice(line);
        shown.extend_from_slice(b"\r\n");
    }
    shown.extend_from_slice(b"\r\n");
    Bytes::from(shown)
}

/// Makes `head` a policy's reply and returns its body.
pub(crate) fn reply(head: &mut ResponseHead, reply: Reply) -> Bytes {
    head.clear();
    head.status = reply.status;
    head.fields = reply.fields;
    finish_reply(head, reply.status, reply.body)
}

/// Returns the body of a reply. One without a body, and without fields except `retry-after`, as a fault makes it, gets
/// the body of an error.
pub(crate) fn finish_reply(head: &mut ResponseHead, status: u16, body: Bytes) -> Bytes {
    let bare =
        body.is_empty() && status >= 400 && head.fields.iter().all(|(_, name, _)| name == "retry-after");
    let reason = match status {
        500 => POLICY_FAILED,
        503 => TRY_LATER,
        _ => "refused by a policy",
    };
    if bare { explain(head, status, reason) } else { body }
}

/// Returns the body and the length to send with `head`. A 205 has neither content nor a length other than zero,
/// whatever it came with (RFC 9110, 15.3.6).
pub(crate) fn content(head: &ResponseHead, body: Body, declared: Option<u64>) -> (Body, Option<u64>) {
    if head.status == 205 { (Body::Full(Bytes::new()), None) } else { (body, declared) }
}

/// A response that the configuration describes. If its status allows a body, the answer to HEAD says how long it
/// would be.
pub(crate) fn configured(head: &ResponseHead, body: Bytes) -> CallResponse {
    let declared = (!head.is_bodyless(false)).then_some(body.len() as u64);
    CallResponse { body: Body::Full(body), tunnel: None, declared }
}

/// A response of the gateway's own making.
pub(crate) fn gateway_response(body: Bytes) -> CallResponse {
    CallResponse { body: Body::Full(body), tunnel: None, declared: None }
}

// The names and values above are valid. If policies have filled the section, the field is left out.
fn add(head: &mut ResponseHead, name: &[u8], value: &[u8]) {
    head.fields.set(name, value).unwrap_or_default();
}
