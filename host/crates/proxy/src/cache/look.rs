//! What the cache says to a request, at once.

use portcullis_cache::rules::{Access, Fwd, Request, Time, Verdict, select};
use portcullis_cache::store::Key;
use portcullis_http::ResponseHead;
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

impl Looked {
    /// Whether it is an answer, and nothing else is to be done.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(self, Self::Answer { renew: None, .. })
    }
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
        let Exchange { request: head, response, attributes, upstreams, upstream, .. } = exchange;
        let head = &*head;
        let request = Request::read(&self.rules, head, has_body);
        match request.access() {
            Access::Lookup if !passes_by(&self.config, head) => {}
            Access::Write => return Looked::Write,
            Access::Lookup | Access::Bypass(_) => return Looked::Bypass,
        }
        let upstream = upstreams.get(*upstream).map_or("", |name| name);
        let url = self.key.write(head, upstream, attributes, key);
        let variants = self.open.store.find(key);
        let entries = variants.as_ref().map_or(&[][..], |variants| variants.entries());
        let now = now();
        let heads = entries.iter().map(|entry| entry.head());
        let selected = select(heads, &request, now);
        let found = selected.and_then(|at| variants.as_ref()?.hit(at));
        let mut why = if entries.is_empty() { Fwd::UriMiss } else { Fwd::VaryMiss };
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
        Wanted {
            key: Key::new(key, url),
            found,
            flight,
            why,
            is_head: request.is_head(),
            only_if_cached: request.only_if_cached(),
        }
    }
}
