//! Shows a body to observers that do not decide about it: a version of a policy that is tried beside the active one.
//!
//! The body is passed on unchanged, with its framing, whether or not it is observed. Only small pieces that have
//! arrived are joined, so that observing costs about as much as the bytes. [`FilteredBody`] is for policies that
//! decide.
//!
//! [`FilteredBody`]: crate::filter::FilteredBody

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use portcullis_policy::{BodySide, Exchange, PolicyChain, Watch};

use crate::body::{Body, BodyError, BodySource, Frame};
use crate::coalesce::Coalesced;

/// A body and its observers.
struct WatchedBody {
    inner: Coalesced,
    /// Empty once no observer wants more, or the last piece was shown.
    watching: Vec<Box<dyn Watch>>,
}

/// Returns `body`, shown to the observers that `chain` has before position `until`. Costs one check if the chain has
/// none.
pub(crate) fn watched(
    body: Body,
    chain: &PolicyChain,
    side: BodySide,
    exchange: &mut Exchange,
    until: usize,
) -> Body {
    if !chain.has_body_watch(side) {
        return body;
    }
    let watching = chain.watch_body(side, exchange, until);
    if watching.is_empty() {
        return body;
    }
    if body.is_empty() {
        // The end of an empty body is not polled, so it is shown here.
        for mut watch in watching {
            watch.show(&Bytes::new(), true);
        }
        return body;
    }
    Body::stream(WatchedBody { inner: Coalesced::new(body), watching })
}

impl BodySource for WatchedBody {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let next = ready!(self.inner.poll_next(cx));
        match &next {
            Some(Ok(Frame::Data(piece))) => {
                let last = self.inner.is_empty();
                self.show(piece, last);
            }
            Some(Ok(Frame::Trailers(_))) | None => self.show(&Bytes::new(), true),
            // A body that fails has no end, as for policies that decide.
            Some(Err(_)) => self.watching.clear(),
        }
        Poll::Ready(next)
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.inner.poll_drive(cx)
    }

    fn moved(&self) -> u64 {
        self.inner.moved()
    }

    fn length(&self) -> Option<u64> {
        self.inner.length()
    }

    /// Copies the bytes for the observers. They are few.
    fn take_buffered(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        let before = out.len();
        let taken = self.inner.take_buffered(out, max);
        if taken && !self.watching.is_empty() {
            let piece = Bytes::copy_from_slice(out.get(before..).unwrap_or_default());
            self.show(&piece, true);
        }
        taken
    }
}

impl WatchedBody {
    fn show(&mut self, piece: &Bytes, last: bool) {
        self.watching.retain_mut(|watching| watching.show(piece, last) && !last);
    }
}
