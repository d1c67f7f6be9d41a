//! The body of a request over HTTP/2.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use h2::RecvStream;
use portcullis_http::strip_request_trailers;

use crate::body::{BodyError, BodySource, Frame};
use crate::h2::streams::{Incoming, StreamGuard};
use crate::h2::{convert, describe};
use crate::slot::Slot;

/// The data that a client sends on its stream.
pub(super) struct H2RequestBody {
    /// Shared with the code that drains the rest of it after the response.
    receive: Rc<RefCell<RecvStream>>,
    incoming: Incoming,
    slot: Rc<Slot>,
    left: Option<u64>,
    limit: u64,
    fields_max: usize,
    /// Bytes that were returned but not yet released to flow control. They are released when the next piece is read, so
    /// the client can send more only then.
    unreleased: usize,
    done: bool,
    /// Set as soon as the body is read.
    wanted: Rc<Cell<bool>>,
}

impl H2RequestBody {
    pub(super) fn new(
        receive: Rc<RefCell<RecvStream>>,
        slot: Rc<Slot>,
        length: Option<u64>,
        fields_max: usize,
        guard: &StreamGuard,
    ) -> Self {
        Self {
            receive,
            incoming: guard.incoming(),
            slot,
            left: length,
            limit: u64::MAX,
            fields_max,
            unreleased: 0,
            done: false,
            wanted: Rc::default(),
        }
    }

    /// Returns a flag that turns true as soon as the body is read.
    pub(super) fn wanted(&self) -> Rc<Cell<bool>> {
        self.wanted.clone()
    }

    /// Releases to flow control what was used.
    fn release(&mut self) -> Result<(), h2::Error> {
        match std::mem::take(&mut self.unreleased) {
            0 => Ok(()),
            used => self.receive.borrow_mut().flow_control().release_capacity(used),
        }
    }
}

impl BodySource for H2RequestBody {
    fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    fn length(&self) -> Option<u64> {
        if self.done || self.receive.borrow().is_end_stream() {
            Some(0)
        } else {
            self.left.filter(|left| *left > 0)
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        self.wanted.set(true);
        let failed = |error: &h2::Error| Poll::Ready(Some(Err(BodyError::Downstream(describe(error)))));
        if let Err(error) = self.release() {
            self.done = true;
            return failed(&error);
        }
        loop {
            match ready!(self.receive.borrow_mut().poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    self.unreleased = data.len();
                    if self.slot.count_request_bytes(data.len()) > self.limit {
                        self.done = true;
                        return Poll::Ready(Some(Err(BodyError::TooLarge { limit: self.limit })));
                    }
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::Data(data))));
                }
                Some(Err(error)) => {
                    self.done = true;
                    return failed(&error);
                }
                None => break,
            }
        }
        let trailers = ready!(self.receive.borrow_mut().poll_trailers(cx));
        self.done = true;
        // The crate has dropped trailers that exceeded its limit or are not allowed there.
        if let Some(fault) = self.incoming.trailers() {
            return Poll::Ready(Some(Err(BodyError::Downstream(fault.to_string()))));
        }
        match trailers {
            Ok(None) => Poll::Ready(None),
            Ok(Some(trailers)) => {
                Poll::Ready(Some(match convert::read_trailers(&trailers, self.fields_max) {
                    Ok(mut fields) => {
                        strip_request_trailers(&mut fields);
                        Ok(Frame::Trailers(Box::new(fields)))
                    }
                    Err(malformed) => Err(BodyError::Downstream(malformed.0.to_owned())),
                }))
            }
            Err(error) => failed(&error),
        }
    }
}

impl Drop for H2RequestBody {
    fn drop(&mut self) {
        // The rest is drained elsewhere. A stream that has ended has nothing to release.
        let _ended = self.release().is_err();
    }
}
