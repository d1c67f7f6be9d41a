//! A request to an endpoint, whatever protocol the endpoint speaks.

use std::task::{Context, Poll};

use portcullis_http::ResponseHead;

use crate::body::{Body, BodyError};
use crate::tunnel_end::TunnelEnd;

/// 1xx heads that an endpoint may send before its final one. Each is passed on without waiting for the client to take
/// it.
pub(crate) const INFORMATIONAL_MAX: u32 = 16;

/// A head has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallEvent {
    /// A 1xx response; the final one is still to come.
    Informational,
    /// The final response, or 101.
    Final,
}

/// What a request waits for. Each has its own timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    /// More of the client's body.
    Client,
    /// The endpoint to take more of the body.
    Room,
    /// The response's head, after all of the request was sent.
    Head,
}

/// Why no head arrived.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The connection ended. If it was reused and no byte of a response had arrived, the endpoint may just have closed
    /// an idle connection.
    #[error("it closed the connection before it answered: {reason}")]
    Closed {
        /// How it ended.
        reason: String,
        /// Whether the connection had served a request before and nothing of a response had arrived.
        maybe_stale: bool,
        /// Whether the endpoint is certain not to have acted on the request (RFC 9113, 8.7).
        unprocessed: bool,
    },
    /// No byte of the request was sent.
    #[error("the request was not sent: {0}")]
    NotSent(NotSent),
    /// The endpoint broke the protocol.
    #[error("it broke the protocol: {0}")]
    Protocol(String),
    /// The head of its response is over the limit.
    #[error("its response head is too large")]
    HeadTooLarge,
    /// The client's body failed.
    #[error(transparent)]
    RequestBody(BodyError),
}

/// Why nothing of a request was sent to an endpoint. The endpoint is not at fault.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NotSent {
    /// It is an extended CONNECT (RFC 8441), which the endpoint does not offer.
    #[error("the endpoint does not take extended CONNECT")]
    ExtendedConnect,
    /// The endpoint takes no head of this size.
    #[error("the endpoint takes no request head over {max} bytes")]
    HeadTooLarge {
        /// Its SETTINGS_MAX_HEADER_LIST_SIZE.
        max: u32,
    },
    /// It cannot be written in the endpoint's protocol.
    #[error("it cannot be written: {0}")]
    Malformed(String),
}

/// What follows a final head.
pub(crate) struct CallResponse {
    /// The body.
    pub(crate) body: Body,
    /// The connection itself, after 101 (or 2xx to an extended CONNECT).
    pub(crate) tunnel: Option<Box<dyn TunnelEnd>>,
    /// The length that the head declares, which for HEAD and 304 is not that of the body.
    pub(crate) declared: Option<u64>,
}

/// A request that was handed to an endpoint. Dropping it cancels the request.
pub(crate) trait Call {
    /// Continues to send the request, and reads the next head into `head`.
    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<CallEvent, CallError>>;

    /// Returns a number that grows with every byte of the request's body that was taken or sent.
    fn progress(&self) -> u64;

    /// Returns what the request waits for while its event is not ready.
    fn waits_for(&self) -> WaitsFor;

    /// Returns the response, after [`CallEvent::Final`]. The rest of the request's body is sent while the response is
    /// read.
    fn into_response(self: Box<Self>, head: &ResponseHead) -> CallResponse;

    /// Records that the endpoint did not answer in time. A connection that others share is then checked with a ping.
    fn timed_out(&self) {}

    /// Returns whether [`Self::into_unread_body`] returns the body.
    fn holds_body(&self) -> bool;

    /// Returns the request's body from its beginning, if nothing of it was read or all that was read is kept.
    fn into_unread_body(self: Box<Self>) -> Option<Body>;
}
