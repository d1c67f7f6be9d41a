//! Encodes responses for clients that accept it.
//!
//! It is the last step before a response is sent, after policies and the route have changed it: policies and caches see
//! plain bodies, and what the client gets is decided by the head that it gets. The rules are in
//! [`portcullis_compress`]; here they meet an exchange.

mod encoded;
pub(crate) mod view;

use std::cell::Cell;
use std::rc::Rc;

use portcullis_compress::{Asked, Pool, Why, decide, mark_encoded, mark_not_modified, mark_varying};
use portcullis_http::Fields;
use portcullis_model::{Action, Coding, Compress, Route};
use portcullis_policy::Exchange;
use portcullis_telemetry::{CacheResult, EncodingReport, EncodingResult, PlainReason};

use self::encoded::EncodedBody;
use crate::body::Body;
use crate::target::edit_response::MadeBy;

/// Returns what the client of `exchange` says of codings, if `route` encodes. For the request as it arrived, before
/// policies and the route change what the upstream is asked for.
pub(crate) fn asked(route: &Route, exchange: &Exchange) -> Option<Asked> {
    route.compress.as_ref()?;
    let asked = Asked::read(&exchange.request.fields);
    let has_credentials = asked.has_credentials || exchange.client.certificate.is_some();
    Some(Asked { has_credentials, ..asked })
}

/// Returns whether a response on `route` that `made_by` made is the same for all clients. `cache` is what the route's
/// cache did.
pub(crate) fn is_shared(route: &Route, made_by: MadeBy, cache: Option<CacheResult>) -> bool {
    match &route.action {
        _ if made_by == MadeBy::Others => false,
        Action::Files(_) | Action::Respond(_) | Action::Redirect(_) => true,
        Action::Forward(_) => cache.is_some_and(CacheResult::is_from_cache),
    }
}

/// How the response of one exchange is encoded.
#[derive(Debug)]
pub(crate) struct Encoding<'a> {
    pub(crate) rules: &'a Compress,
    pub(crate) asked: Asked,
    /// Others get the same response, so that it holds no secret of this client.
    pub(crate) is_public: bool,
    pub(crate) pool: &'a Pool,
    /// Encoders that may be in use at once.
    pub(crate) encoders_max: usize,
    /// What became of the response, once that is decided.
    result: Cell<Option<EncodingResult>>,
    /// Bytes that went into the encoder.
    plain_bytes: Rc<Cell<u64>>,
}

impl<'a> Encoding<'a> {
    pub(crate) fn new(
        rules: &'a Compress,
        asked: Asked,
        is_public: bool,
        pool: &'a Pool,
        encoders_max: usize,
    ) -> Self {
        let (result, plain_bytes) = (Cell::default(), Rc::default());
        Self { rules, asked, is_public, pool, encoders_max, result, plain_bytes }
    }

    /// Encodes the response in `exchange`, if it is for that: returns its body, and the length to declare for a body
    /// that is not sent. `wants_head` says that the client waits for the head alone.
    pub(crate) fn encode(
        &self,
        exchange: &mut Exchange,
        body: Body,
        declared: Option<u64>,
        wants_head: bool,
    ) -> (Body, Option<u64>) {
        let head = &mut exchange.response;
        let length = if wants_head { declared } else { body.length() };
        if head.status == 304 {
            // A section without room keeps the strong tag, and the client asks for all of it the next time.
            let _full = mark_not_modified(&mut head.fields, &exchange.request.fields).is_err();
        }
        let coding = match decide(self.rules, &self.asked, head, length, self.is_public) {
            Ok(coding) => coding,
            Err(why) => {
                if why.varies() {
                    mark(&mut head.fields);
                }
                self.result.set(Some(EncodingResult::Plain(reason(why))));
                return (body, declared);
            }
        };
        if wants_head {
            let result = self.marked(&mut head.fields, coding);
            let is_encoded = matches!(result, EncodingResult::Encoded(_));
            self.result.set(Some(result));
            return (body, declared.filter(|_| !is_encoded));
        }
        let encoder = self.pool.encoder(coding, self.rules.effort, length, self.encoders_max);
        let Ok(Some(encoder)) = encoder else {
            if let Err(error) = encoder {
                tracing::warn!("a response is sent as it is: {error}");
            }
            mark(&mut head.fields);
            self.result.set(Some(EncodingResult::Plain(PlainReason::Busy)));
            return (body, declared);
        };
        let is_live = encoded::is_live(&head.fields);
        let result = self.marked(&mut head.fields, coding);
        self.result.set(Some(result));
        match result {
            EncodingResult::Encoded(_) => {
                let body = EncodedBody::new(body, encoder, is_live, self.plain_bytes.clone());
                (Body::stream(body), None)
            }
            EncodingResult::Plain(_) => (body, declared),
        }
    }

    /// Says in the head that the content is encoded, if it has room for that.
    fn marked(&self, fields: &mut Fields, coding: Coding) -> EncodingResult {
        match mark_encoded(fields, coding) {
            Ok(()) => EncodingResult::Encoded(coding),
            Err(_full) => EncodingResult::Plain(PlainReason::Busy),
        }
    }

    /// Returns what became of the response, if it came that far.
    pub(crate) fn report(&self) -> Option<EncodingReport> {
        let plain_bytes = self.plain_bytes.get();
        self.result.get().map(|result| EncodingReport { result, plain_bytes })
    }
}

/// Says in the head that other clients may get another coding. A full section goes without.
fn mark(fields: &mut Fields) {
    let _full = mark_varying(fields).is_err();
}

fn reason(why: Why) -> PlainReason {
    match why {
        Why::Status => PlainReason::Status,
        Why::Encoded => PlainReason::Encoded,
        Why::NoTransform => PlainReason::NoTransform,
        Why::MediaType => PlainReason::MediaType,
        Why::Small => PlainReason::Small,
        Why::Secrets => PlainReason::Secrets,
        Why::NotAccepted => PlainReason::NotAccepted,
    }
}
