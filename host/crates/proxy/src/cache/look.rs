//! What the cache says to a request, at once.

use portcullis_cache::rules::{Access, Fwd, Request, Time, Verdict, select};
use portcullis_cache::store::Key;
use portcullis_http::{FirstByte, RequestHead, ResponseHead};
use portcullis_policy::Exchange;
use portcullis_telemetry::CacheResult;

use super::status::Status;
use super::write::answer;
use super::{CachedRoute, Kept, now, passes_by, stale_since};
use crate::call::CallResponse;

/// What the cache says to a request.
pub(crate) enum Looked {
    /// It answers. The response's head is in the exchange.
    Answer {
        response: CallResponse,
        status: Status,
        /// The response is stale, and is to be renewed in the background.
        renew: Option<Wanted>,
    },
    /// The upstream has to be asked.
    Ask(Wanted),
    /// The request may change what is stored.
    Write,
    /// The request passes by.
    Bypass,
    /// Nothing is stored that answers it, and its client does not want the upstream to be asked.
    NotHere,
}

/// A response that the upstream has to be asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(super) key: Key,
    /// What is stored, and has to be validated first.
    pub(super) found: Option<Kept>,
    /// By what requests for the same response find each other.
    pub(super) flight: Vec<u8>,
    pub(super) why: Fwd,
    /// The client wants the head alone.
    pub(super) is_head: bool,
    /// The client does not want the upstream to be asked.
    pub(super) only_if_cached: bool,
    /// The upstream is asked for the part that the client wants, and not for all.
    pub(super) in_part: bool,
}

/// A part that begins so many bytes behind what is there is asked for by itself: its client would wait too long for
/// all that is before it.
const FAR_BYTES: u64 = 1 << 20;

impl Wanted {
    /// Asks for the part that `request` wants. Only requests for the same part wait for it.
    pub(super) fn ask_in_part(&mut self, request: &RequestHead) {
        self.in_part = true;
        for name in [&b"range"[..], b"if-range"] {
            self.flight.push(0);
            for value in request.fields.get_all(name) {
                self.flight.extend_from_slice(value);
            }
        }
    }
}

/// What is to be done with a stored response that was selected.
pub(super) enum Judged {
    /// It answers. The response's head is written.
    Answer {
        response: CallResponse,
        status: Status,
        /// It is stale, and is to be renewed in the background.
        renew: bool,
    },
    /// It has to be validated first.
    Validate,
}

impl CachedRoute {
    /// Looks for an answer to the request in `exchange`. `key` is a buffer to reuse.
    pub(crate) fn look(&self, exchange: &mut Exchange, has_body: bool, key: &mut Vec<u8>) -> Looked {
        let Exchange { request: head, response, attributes, cache: wishes, upstreams, upstream, .. } =
            exchange;
        let head = &*head;
        let request = Request::read(&self.rules, head, has_body);
        match request.access() {
            Access::Lookup if !passes_by(&self.config, head) && !wishes.is_bypassed() => {}
            Access::Write => return Looked::Write,
            Access::Lookup | Access::Bypass(_) => return Looked::Bypass,
        }
        let upstream = upstreams.get(*upstream).map_or("", |name| name);
        let url = self.key.write(head, upstream, attributes, wishes, key);
        let variants = self.open.store.find(key);
        let entries = variants.as_ref().map_or(&[][..], |variants| variants.entries());
        let now = now();
        let heads = entries.iter().map(|entry| entry.head());
        let selected = select(heads, &request, now);
        let found = selected.and_then(|at| variants.as_ref()?.hit(at));
        let found = found.filter(|entry| !comes_late(entry, &request));
        let is_part = |entry: &Kept| entry.head().span().is_some() && entry.head().matches(&request);
        let mut why = match entries {
            [] => Fwd::UriMiss,
            entries if entries.iter().any(is_part) => Fwd::Partial,
            _ => Fwd::VaryMiss,
        };
        if let Some(entry) = &found {
            match self.judge(entry, &request, response, now) {
                Judged::Answer { response, status, renew } => {
                    let renew =
                        renew.then(|| self.wanted(key, url, &request, found.clone(), entries, Fwd::Stale));
                    return Looked::Answer { response, status, renew };
                }
                Judged::Validate => why = Fwd::Stale,
            }
        }
        if request.only_if_cached() && (found.is_some() || !self.open.has_disk()) {
            return Looked::NotHere;
        }
        Looked::Ask(self.wanted(key, url, &request, found, entries, why))
    }

    /// Decides what becomes of a request for which `entry` was selected, and writes the head of the answer.
    pub(super) fn judge(
        &self,
        entry: &Kept,
        request: &Request<'_>,
        response: &mut ResponseHead,
        now: Time,
    ) -> Judged {
        let (result, renew) = match entry.head().verdict(request, now, stale_since(entry)) {
            Verdict::Fresh => (CacheResult::Hit, false),
            Verdict::Stale { refresh } => (CacheResult::Stale, refresh),
            Verdict::Validate(_) => return Judged::Validate,
        };
        match answer(entry.head(), entry.body(), request, response, false, now) {
            Some(response) => {
                let status = Status::answered(result, entry.tier(), entry.head().ttl(now));
                Judged::Answer { response, status, renew }
            }
            None => Judged::Validate,
        }
    }

    fn wanted(
        &self,
        key: &[u8],
        url: std::ops::Range<usize>,
        request: &Request<'_>,
        found: Option<Kept>,
        entries: &[Kept],
        why: Fwd,
    ) -> Wanted {
        let mut flight = key.to_vec();
        // Requests that get different variants do not wait for each other, as far as it is known what varies.
        if let Some(varies) = found.as_ref().or(entries.first()) {
            flight.push(0);
            flight.extend_from_slice(&varies.head().variant_of(request));
        }
        let in_part = found.is_none() && asks_in_part(request, entries);
        let mut wanted = Wanted {
            key: Key::new(key, url),
            found,
            flight,
            why,
            is_head: request.is_head(),
            only_if_cached: request.only_if_cached(),
            in_part: false,
        };
        if in_part {
            wanted.ask_in_part(request.head());
        }
        wanted
    }
}

/// Whether the part that a request wants of a response whose body still comes will not be there soon.
fn comes_late(entry: &Kept, request: &Request<'_>) -> bool {
    let body = entry.body();
    let (false, Some(first)) = (body.is_complete(), request.first_byte()) else { return false };
    let first = match (first, body.len()) {
        (FirstByte::At(first), _) => first,
        (FirstByte::FromEnd(bytes), Some(length)) => length.saturating_sub(bytes),
        (FirstByte::FromEnd(_), None) => return true,
    };
    first > entry.head().span().map_or(0, |span| span.start) + body.written() + FAR_BYTES
}

/// Whether the upstream is asked for a part alone: one that is far into the content, or one of content of which other
/// parts are stored. Else it is asked for all, so that the next request for whichever part is a hit.
fn asks_in_part(request: &Request<'_>, entries: &[Kept]) -> bool {
    let Some(first) = request.first_byte() else { return false };
    let is_far = match first {
        FirstByte::At(first) => first >= FAR_BYTES,
        FirstByte::FromEnd(_) => true,
    };
    is_far || entries.iter().any(|entry| entry.head().span().is_some() && entry.head().matches(request))
}
