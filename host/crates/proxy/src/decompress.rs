//! Decodes bodies, so that policies see what is in them.
//!
//! Requests are decoded before the first policy sees them, and go to the upstream plain. Responses are decoded before
//! the response policies, and encoded again for the client as every other.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use portcullis_compress::{DecodeBounds, DecodeError, Decoder, mark_decoded, mark_not_modified};
use portcullis_http::{Fields, list_elements};
use portcullis_model::{Coding, Decompress, Route};
use portcullis_policy::{BodySide, Exchange};

use crate::body::{Body, BodyError, BodySource, Frame};
use crate::error::ExchangeError;

/// Decoded bytes before other tasks get a turn.
const TURN_BYTES: usize = 128 * 1024;

/// The decoders of one worker. Each takes some MiB at most, for as long as its body goes on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Decoders(Rc<Cell<usize>>);

/// One of them, which is counted while this is kept.
struct Counted(Decoders);

impl Decoders {
    fn take(&self, max: usize) -> Result<Counted, ExchangeError> {
        if self.0.get() >= max {
            return Err(ExchangeError::Decoders);
        }
        self.0.set(self.0.get() + 1);
        Ok(Counted(self.clone()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get().saturating_sub(1));
    }
}

/// How the bodies of one exchange are decoded.
#[derive(Debug)]
pub(crate) struct Decoding<'a> {
    rules: Decompress,
    /// What the route allows for a body of a request.
    body_bytes_max: Option<u64>,
    decoders: &'a Decoders,
    decoders_max: usize,
}

impl<'a> Decoding<'a> {
    /// Returns how bodies are decoded on `route`, if they are, by `decoders` of which at most `decoders_max` are used.
    pub(crate) fn of(decoders: &'a Decoders, decoders_max: usize, route: &Route) -> Option<Self> {
        let Route { decompress, body_bytes_max, .. } = route;
        Some(Self { rules: (*decompress)?, body_bytes_max: *body_bytes_max, decoders, decoders_max })
    }

    /// Prepares the request in `exchange` with `body`, and returns its plain body.
    ///
    /// # Errors
    /// If it is encoded in a way that is not known.
    pub(crate) fn request(&self, exchange: &mut Exchange, body: Body) -> Result<Body, ExchangeError> {
        let Some(coding) = prepare(&self.rules, &mut exchange.request.fields, !body.is_empty())? else {
            return Ok(body);
        };
        let bytes_max =
            self.body_bytes_max.map_or(self.rules.bytes_max, |limit| limit.min(self.rules.bytes_max));
        self.decoded(body, coding, BodySide::Request, bytes_max)
    }

    /// Returns the plain body of the response in `exchange`, and the length to declare for one that is not sent. What
    /// is encoded in a way that is not known, or a part of an encoded body, stays as it is.
    ///
    /// # Errors
    /// If as many bodies as may be are being decoded.
    pub(crate) fn response(
        &self,
        exchange: &mut Exchange,
        body: Body,
        declared: Option<u64>,
    ) -> Result<(Body, Option<u64>), ExchangeError> {
        let (head, request) = (&mut exchange.response, &exchange.request.fields);
        if head.status == 304 {
            let _full = mark_not_modified(&mut head.fields, request).is_err();
        }
        let is_part = head.status == 206 || head.fields.get(b"content-range").is_some();
        let (true, false, Ok(Some(coding))) = (self.rules.responses, is_part, coding_of(&head.fields)) else {
            return Ok((body, declared));
        };
        let body = match body.is_empty() {
            true => body,
            false => self.decoded(body, coding, BodySide::Response, self.rules.bytes_max)?,
        };
        head.fields.remove(b"content-encoding");
        mark_decoded(&mut head.fields);
        Ok((body, None))
    }

    fn decoded(
        &self,
        inner: Body,
        coding: Coding,
        side: BodySide,
        bytes_max: u64,
    ) -> Result<Body, ExchangeError> {
        let counted = self.decoders.take(self.decoders_max)?;
        let bounds = DecodeBounds { bytes_max, ratio_max: self.rules.ratio_max };
        let failed = |error| ExchangeError::RequestBody(BodyError::Decode { side, error });
        let decoder = Decoder::new(coding, bounds).map_err(failed)?;
        let (piece, in_turn) = (Bytes::new(), 0);
        Ok(Body::stream(DecodedBody {
            inner,
            decoding: Some((decoder, counted)),
            piece,
            side,
            next: None,
            in_turn,
        }))
    }
}

/// Changes the fields of a request as decoding does, and returns the coding of its body, if that is to be decoded.
///
/// # Errors
/// If it is encoded in a way that is not known.
pub(crate) fn prepare(
    rules: &Decompress,
    fields: &mut Fields,
    has_body: bool,
) -> Result<Option<Coding>, ExchangeError> {
    if rules.responses {
        fields.remove(b"accept-encoding");
    }
    if !rules.requests || !has_body {
        return Ok(None);
    }
    let coding = coding_of(fields).map_err(|Unknown| ExchangeError::Coding)?;
    if coding.is_some() {
        fields.remove(b"content-encoding");
        mark_decoded(fields);
    }
    Ok(coding)
}

/// Content is encoded in a way that is not known, or in several.
struct Unknown;

/// Returns the coding of content with these fields, if it has one.
fn coding_of(fields: &Fields) -> Result<Option<Coding>, Unknown> {
    let mut codings = fields
        .get_all(b"content-encoding")
        .flat_map(list_elements)
        .filter(|name| !name.eq_ignore_ascii_case(b"identity"));
    match (codings.next().map(Coding::named), codings.next()) {
        (None, _) => Ok(None),
        (Some(Some(coding)), None) => Ok(Some(coding)),
        _ => Err(Unknown),
    }
}

/// A body that is decoded at the pace at which it is read.
struct DecodedBody {
    inner: Body,
    /// `None` once the body has ended.
    decoding: Option<(Decoder, Counted)>,
    /// What is here and not decoded yet.
    piece: Bytes,
    side: BodySide,
    /// The trailers that end it.
    next: Option<Frame>,
    /// Bytes since other tasks had their turn.
    in_turn: usize,
}

impl DecodedBody {
    /// Decodes some of what is here. Empty if nothing can be made of it without more.
    fn decode(&mut self) -> Result<Vec<u8>, DecodeError> {
        let mut out = Vec::new();
        let Some((decoder, _)) = &mut self.decoding else { return Ok(out) };
        loop {
            let read = decoder.decode(&self.piece, &mut out)?;
            self.piece.advance(read);
            if !out.is_empty() || self.piece.is_empty() {
                return Ok(out);
            }
        }
    }

    fn failed(&mut self, error: DecodeError) -> BodyError {
        self.decoding = None;
        BodyError::Decode { side: self.side, error }
    }

    /// Ends the body: the encoded one has ended.
    fn finish(&mut self) -> Result<(), BodyError> {
        let finished = self.decoding.as_ref().map_or(Ok(()), |(decoder, _)| decoder.finish());
        self.decoding = None;
        finished.map_err(|error| self.failed(error))
    }
}

impl BodySource for DecodedBody {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        loop {
            if self.decoding.is_none() {
                return Poll::Ready(self.next.take().map(Ok));
            }
            if self.in_turn >= TURN_BYTES {
                self.in_turn = 0;
                ready!(std::pin::pin!(tokio::task::yield_now()).poll(cx));
            }
            // Also with nothing here: the decoder may have more to give of what it took in.
            match self.decode() {
                Ok(out) if out.is_empty() => {}
                Ok(out) => {
                    self.in_turn += out.len();
                    return Poll::Ready(Some(Ok(Frame::Data(Bytes::from(out)))));
                }
                Err(error) => return Poll::Ready(Some(Err(self.failed(error)))),
            }
            match ready!(self.inner.poll_next(cx)) {
                Some(Ok(Frame::Data(piece))) => self.piece = piece,
                Some(Ok(trailers @ Frame::Trailers(_))) => match self.finish() {
                    Ok(()) => self.next = Some(trailers),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
                Some(Err(error)) => {
                    self.decoding = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => match self.finish() {
                    Ok(()) => {}
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
            }
        }
    }

    fn length(&self) -> Option<u64> {
        (self.decoding.is_none() && self.next.is_none()).then_some(0)
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.inner.poll_drive(cx)
    }

    fn moved(&self) -> u64 {
        self.inner.moved()
    }

    fn set_limit(&mut self, limit: u64) {
        self.inner.set_limit(limit);
    }
}
