//! Answers a request with a stored response.

use portcullis_cache::rules::{Answer, Request, StoredHead, Time};
use portcullis_cache::store;
use portcullis_http::ResponseHead;

use super::body::cached;
use crate::body::Body;
use crate::call::CallResponse;

/// Makes `response` the answer to `request` of the stored `head` and `body`, as the client's conditions and range ask
/// for it. What is not there yet of the body is waited for. `validated` says that the upstream has just confirmed it.
/// Returns `None` if the body cannot be read any more.
pub(super) fn answer(
    head: &StoredHead,
    body: &store::Body,
    request: &Request<'_>,
    response: &mut ResponseHead,
    validated: bool,
    now: Time,
) -> Option<CallResponse> {
    let answer = head.answer(request, body.len());
    let nothing = |declared| CallResponse { body: Body::Empty, tunnel: None, declared };
    let answered = match &answer {
        Answer::Full if request.is_head() => nothing(body.len()),
        Answer::Full => full(body)?,
        Answer::NotModified | Answer::Unsatisfiable { .. } => nothing(None),
        Answer::Part(part) => stream(cached(body.read_range(part.stored.clone())?)),
    };
    head.write(&answer, validated, now, response);
    Some(answered)
}

/// Returns all of the body: at once if it is small and complete, else as it can be read.
pub(super) fn full(body: &store::Body) -> Option<CallResponse> {
    Some(stream(match body.in_one_piece() {
        Some(bytes) => Body::Full(bytes),
        None => cached(body.read()?),
    }))
}

fn stream(body: Body) -> CallResponse {
    CallResponse { body, tunnel: None, declared: None }
}
