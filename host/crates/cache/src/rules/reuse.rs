//! Whether a stored response may answer a request (RFC 9111, 4), and which of several.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use portcullis_http::{Selection, Validators, select_representation};

use super::directives::MaxStale;
use super::request::Request;
use super::stored::StoredHead;
use super::time::Time;

/// How a stored response may be used for a request that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it is.
    Fresh,
    /// As it is, though it is stale.
    Stale {
        /// It has to be validated in the background (RFC 5861, 3). Otherwise the client accepts stale responses.
        refresh: bool,
    },
    /// After it was validated.
    Validate(WhyValidate),
}

/// Why a stored response has to be validated first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyValidate {
    /// It is stale.
    Stale,
    /// It says so itself: `no-cache`.
    NoCache,
    /// The request wants a younger one, or one that was validated.
    Request,
}

impl StoredHead {
    /// Returns whether it answers a request that demands nothing, without validation, as far as its age goes.
    #[must_use]
    pub fn is_fresh(&self, now: Time) -> bool {
        !self.rules.no_cache && self.staleness_millis(now, None).is_none()
    }

    /// Returns how it may be used for a request. `stale_since` says when a purge made it stale, whatever its lifetime.
    #[must_use]
    pub fn verdict(&self, request: &Request<'_>, now: Time, stale_since: Option<Time>) -> Verdict {
        let asked = &request.directives;
        let age = self.age(now);
        let staleness = self.staleness_millis(now, stale_since);
        // RFC 8246, 2: a reload sends `max-age=0`, which a response that does not change need not heed; `no-cache`
        // counts.
        let max_age = asked.max_age.filter(|_| !self.rules.immutable);
        if self.rules.no_cache {
            return Verdict::Validate(WhyValidate::NoCache);
        }
        if asked.no_cache || max_age.is_some_and(|max| age > max) {
            return Verdict::Validate(WhyValidate::Request);
        }
        let Some(staleness) = staleness else {
            let left = u64::from(self.lifetime) * 1000 - self.age_millis(now);
            let wanted = asked.min_fresh.map_or(0, |seconds| u64::from(seconds) * 1000);
            return if left < wanted { Verdict::Validate(WhyValidate::Request) } else { Verdict::Fresh };
        };
        let accepted = match asked.max_stale {
            Some(MaxStale::Any) => true,
            Some(MaxStale::Seconds(seconds)) => staleness <= u64::from(seconds) * 1000,
            None => false,
        };
        if accepted && !self.rules.never_stale {
            return Verdict::Stale { refresh: false };
        }
        // A client that says how old or fresh a response must be wants no stale one (5.2.1.1).
        let is_demanding = max_age.is_some() || asked.min_fresh.is_some();
        if !is_demanding && staleness < u64::from(self.stale_while_revalidate) * 1000 {
            return Verdict::Stale { refresh: true };
        }
        Verdict::Validate(WhyValidate::Stale)
    }

    /// Returns whether it may answer the request because the upstream failed: it could not be reached, or it answered
    /// with a status of [`is_failure`] (RFC 9111, 4.2.4; RFC 5861, 4).
    #[must_use]
    pub fn usable_on_error(&self, request: &Request<'_>, now: Time, stale_since: Option<Time>) -> bool {
        if self.rules.no_cache || request.directives.no_cache {
            return false;
        }
        let Some(staleness) = self.staleness_millis(now, stale_since) else { return true };
        let asked = request.directives.stale_if_error.filter(|_| !self.rules.never_stale);
        staleness < u64::from(self.stale_if_error.max(asked.unwrap_or(0))) * 1000
    }

    /// Returns for how long it has been stale, or `None` if it is fresh.
    fn staleness_millis(&self, now: Time, stale_since: Option<Time>) -> Option<u64> {
        let by_age = self.age_millis(now).checked_sub(u64::from(self.lifetime) * 1000);
        let by_purge = stale_since.map(|since| now.since(since));
        by_age.max(by_purge)
    }

    /// Returns whether it has what the request asks for: it is whole, or the part has the range.
    #[must_use]
    pub fn suits(&self, request: &Request<'_>) -> bool {
        let Some(span) = self.span else { return true };
        match self.select(request, Some(span.complete)) {
            Selection::Part(range) => span.contains(&range),
            Selection::NotModified => true,
            Selection::Whole | Selection::Failed | Selection::Unsatisfiable => false,
        }
    }

    /// Evaluates the request's conditions and range. `length` is that of the whole content, if ranges of it can be
    /// sent.
    pub(super) fn select(&self, request: &Request<'_>, length: Option<u64>) -> Selection {
        let validators = Validators {
            etag: self.etag(),
            // RFC 9111, 4.3.2: without Last-Modified, Date is compared.
            modified: Some(self.modified.unwrap_or(self.date)),
            modified_is_strong: self.modified.is_some_and(|modified| modified < self.date),
            length,
        };
        select_representation(&request.head.fields, &request.head.method, &validators, self.date)
    }
}

/// Returns the index of the stored response to use among those of a URL: one that matches and suits the request; fresh
/// before stale, one with Vary before one without (RFC 9111, 4.1), a whole one before a part, then the most recent.
pub fn select<'s>(
    variants: impl Iterator<Item = &'s StoredHead>,
    request: &Request<'_>,
    now: Time,
) -> Option<usize> {
    let usable = variants.enumerate().filter(|(_, stored)| stored.matches(request) && stored.suits(request));
    let rank = |stored: &StoredHead| {
        let is_fresh = stored.staleness_millis(now, None).is_none();
        (is_fresh, !stored.selection.is_empty(), stored.span.is_none(), stored.date, stored.times.received)
    };
    // The first of equals: stores list the newest first.
    usable.max_by_key(|(index, stored)| (rank(stored), Reverse(*index))).map(|(index, _)| index)
}

/// Returns whether a response with this status code is a failure for which a stale response may stand in (RFC 5861, 4).
#[must_use]
pub const fn is_failure(status: u16) -> bool {
    matches!(status, 500 | 502 | 503 | 504)
}
