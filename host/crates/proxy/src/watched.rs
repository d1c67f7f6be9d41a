//! A body that passes by those who are only shown it: a version of a policy that is tried beside the active one.
//!
//! It goes on as it comes, with the framing that it has and whether or not somebody looks; only small pieces that are at hand
//! are put together, so that looking costs about what the bytes cost. [`FilteredBody`] is for those who decide about it.
//!
//! [`FilteredBody`]: crate::filter::FilteredBody

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use portcullis_policy::{BodySide, Exchange, PolicyChain, Watch};

use crate::body::{Body, BodyError, BodySource, Frame};
use crate::coalesce::Coalesced;

/// A body and who sees it.
struct WatchedBody {
    inner: Coalesced,
    /// Empty once nobody looks any more, or the last piece was shown.
    watching: Vec<Box<dyn Watch>>,
}

/// `body`, shown to those in `chain` before `until` who want to see it. Costs one look where nobody in the chain ever does.
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
        // Nobody asks for the end of what is empty.
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
            // It has no end, as for policies that decide.
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

    /// What is taken so is small, and copied for those that look.
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
