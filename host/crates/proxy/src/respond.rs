//! Responses that the gateway makes itself.

use bytes::Bytes;
use portcullis_http::{Known, RequestHead, ResponseHead, reason_phrase};
use portcullis_model::Route;
use portcullis_policy::Reply;

use crate::body::Body;

use crate::error::ExchangeError;

const POLICY_FAILED: &str = "a policy failed";
const TRY_LATER: &str = "try again later";

/// Makes `head` an error and gives its body: the status and one short sentence. What happened in full is in the log.
pub(crate) fn error(head: &mut ResponseHead, status: u16, reason: &str) -> Bytes {
    head.clear();
    explain(head, status, reason)
}

/// Makes `head` the answer to a request that the gateway does not carry out, and gives its body.
pub(crate) fn refusal(head: &mut ResponseHead, refused: &ExchangeError) -> Bytes {
    let (status, reason) = refused.response();
    let body = error(head, status, reason);
    if let ExchangeError::TlsRequired { location: Some(location) } = refused {
        add(head, b"location", location.as_bytes());
    }
    body
}

/// The same, beside the fields that `head` has.
fn explain(head: &mut ResponseHead, status: u16, reason: &str) -> Bytes {
    head.status = status;
    let text = format!("{status} {}\n{reason}\n", reason_phrase(status));
    add(head, b"content-type", b"text/plain; charset=utf-8");
    add(head, b"cache-control", b"no-store");
    Bytes::from(text)
}

/// Makes `head`, to which earlier policies may have added fields since a later one failed, tell of that failure. A body
/// that one of them gave stays.
pub(crate) fn failed(head: &mut ResponseHead, status: u16, body: Bytes) -> Bytes {
    match status {
        500 if body.is_empty() => explain(head, status, POLICY_FAILED),
        503 if body.is_empty() => explain(head, status, TRY_LATER),
        _ => body,
    }
}

/// Whether a request is a TRACE that its route does not name among its methods. The answer to one shows the request as it
/// arrived, with what policies and proxies have added (RFC 9110, 9.3.8), and nothing that a gateway serves needs it.
pub(crate) fn is_unwanted_trace(route: &Route, request: &RequestHead) -> bool {
    request.method == "TRACE" && !route.matches.methods.iter().any(|method| method == "TRACE")
}

/// Says which methods a route allows, as a 405 has to (RFC 9110, 15.5.6).
pub(crate) fn allow(head: &mut ResponseHead, route: &Route) {
    let mut methods = route.matches.methods.join(", ");
    if methods.is_empty() {
        methods.push_str("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }
    add(head, b"allow", methods.as_bytes());
}

/// Answers a TRACE or OPTIONS that no further server shall see, because `Max-Forwards` was used up (RFC 9110, 7.6.2). Of a
/// TRACE only what is in the request line and in `Via` is shown: the rest may be secret (9.3.8).
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

/// Makes `head` a policy's reply and gives its body.
pub(crate) fn reply(head: &mut ResponseHead, reply: Reply) -> Bytes {
    head.clear();
    head.status = reply.status;
    head.fields = reply.fields;
    finish_reply(head, reply.status, reply.body)
}

/// A reply without a body, and without fields but when to try again, as a fault makes one, gets the body of an error.
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

/// What is sent of a response whose head is this one. Of a 205 there is no content, whatever it came with, and no length but
/// that of none (RFC 9110, 15.3.6).
pub(crate) fn content(head: &ResponseHead, body: Body, declared: Option<u64>) -> (Body, Option<u64>) {
    if head.status == 205 { (Body::Full(Bytes::new()), None) } else { (body, declared) }
}

// The names and values above are valid. Policies may have filled the section to its bound; then it does without.
fn add(head: &mut ResponseHead, name: &[u8], value: &[u8]) {
    head.fields.set(name, value).unwrap_or_default();
}
