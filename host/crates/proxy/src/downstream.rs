//! What an exchange asks of the connection that its request came from, besides the request's body.

use std::task::{Context, Poll};

use portcullis_http::ResponseHead;

/// The client's side of an exchange under way.
pub(crate) trait Downstream {
    /// Ready when the client has gone, so that nobody waits for the answer. Also sends what is buffered.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Passes a 1xx response on, where the client's protocol has them.
    fn send_informational(&mut self, head: &ResponseHead);
}
