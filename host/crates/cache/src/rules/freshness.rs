//! How long a response is fresh and how old it is (RFC 9111, 4.2).

#[cfg(test)]
mod tests;

use portcullis_http::{Fields, Known, parse_http_date};

use super::directives::{ResponseDirectives, SECONDS_MAX, delta_seconds};
use super::settings::Settings;
use super::structured::read_targeted;
use super::time::Exchanged;

/// What a response says to this cache.
#[derive(Debug, Default)]
pub(super) struct Policy {
    pub(super) directives: ResponseDirectives,
    /// The directives are those of a targeted field, so that Expires does not count either (RFC 9213, 2.2).
    is_targeted: bool,
}

impl Policy {
    pub(super) fn read(settings: &Settings, fields: &Fields) -> Self {
        let mut targets = settings.targeted.iter();
        match targets.find_map(|name| read_targeted(fields.get_all(name.as_bytes()))) {
            Some(directives) => Self { directives, is_targeted: true },
            None => {
                let directives = ResponseDirectives::read(fields.get_all(b"cache-control"));
                Self { directives, is_targeted: false }
            }
        }
    }

    /// Whether the response says how long it is fresh, be it not at all.
    pub(super) fn is_explicit(&self, fields: &Fields) -> bool {
        self.directives.s_maxage.or(self.directives.max_age).is_some()
            || (!self.is_targeted && fields.get(b"expires").is_some())
    }

    /// Returns the freshness lifetime in seconds (4.2.1), or `None` if neither the response nor the operator says it
    /// and it must not be estimated. `date` is the response's, in seconds since 1970. If `may_estimate` is not set, an
    /// estimate is 0.
    pub(super) fn lifetime(
        &self,
        settings: &Settings,
        status: u16,
        fields: &Fields,
        date: u64,
        may_estimate: bool,
    ) -> Option<u32> {
        let directives = &self.directives;
        let expires = || if self.is_targeted { None } else { expires(fields, date) };
        let stated = directives.s_maxage.or(directives.max_age).or_else(expires);
        let known = stated.or_else(|| settings.ttl_of(status));
        let lifetime = known.or_else(|| self.estimate(settings, status, fields, date, may_estimate))?;
        Some(lifetime.min(settings.lifetime_max).min(SECONDS_MAX))
    }

    /// Returns the heuristic lifetime (4.2.2); 0 if there is nothing to estimate it from.
    fn estimate(
        &self,
        settings: &Settings,
        status: u16,
        fields: &Fields,
        date: u64,
        may_estimate: bool,
    ) -> Option<u32> {
        if !is_heuristically_cacheable(status) && !self.directives.public {
            return None;
        }
        // Servers that send Pragma: no-cache and nothing else want no cache, though it means nothing in a response.
        let pragma = fields.get_all(b"pragma").any(|value| value.eq_ignore_ascii_case(b"no-cache"));
        let modified = last_modified(fields, date).filter(|_| may_estimate && !pragma);
        let (Some(heuristic), Some(modified)) = (settings.heuristic, modified) else { return Some(0) };
        let share = date.saturating_sub(modified).saturating_mul(u64::from(heuristic.percent)) / 100;
        Some(u32::try_from(share).unwrap_or(u32::MAX).min(heuristic.seconds_max))
    }
}

/// Whether the lifetime of a response with this status code may be estimated (RFC 9110, 15.1).
fn is_heuristically_cacheable(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Returns whether a response with this status code often depends on who asks, or on fields that are not in a key: on
/// credentials, on what was sent before, on the size or the form of the request's head. A lifetime that is meant for a
/// whole class of status codes should leave it out, because one odd request would get everyone its error.
#[must_use]
pub const fn depends_on_client(status: u16) -> bool {
    matches!(status, 400..=403 | 405..=409 | 411..=413 | 415..=417 | 421 | 425 | 426 | 428 | 429 | 431 | 511)
}

/// Returns the lifetime by Expires. What is no date has passed (RFC 9111, 5.3), and so it is if lines contradict each
/// other.
fn expires(fields: &Fields, date: u64) -> Option<u32> {
    let mut lines = fields.get_all(b"expires");
    let first = lines.next()?;
    let expires = parse_http_date(first, date).filter(|_| lines.all(|other| other == first));
    let lifetime = expires.map_or(0, |expires| expires.saturating_sub(date));
    Some(u32::try_from(lifetime).unwrap_or(u32::MAX).min(SECONDS_MAX))
}

/// Returns Last-Modified in seconds since 1970, if it is a date.
pub(super) fn last_modified(fields: &Fields, now: u64) -> Option<u64> {
    parse_http_date(fields.get(b"last-modified")?, now)
}

/// Returns Date in seconds since 1970, if there is one and it is a date.
pub(super) fn date(fields: &Fields, received: u64) -> Option<u64> {
    parse_http_date(fields.get_known(Known::Date)?, received)
}

/// Returns the corrected initial age in milliseconds (4.2.3). `date` is the response's, or when it was received.
pub(super) fn initial_age_millis(fields: &Fields, date: u64, times: Exchanged) -> u64 {
    // Date has whole seconds, so the fraction of the second in which the response came is no age.
    let apparent = times.received.seconds().saturating_sub(date) * 1000;
    let corrected = u64::from(age(fields)) * 1000 + times.received.since(times.sent);
    apparent.max(corrected)
}

/// Returns the value of Age: the first member of the first line; 0 if it is no number (5.1). Parameters are skipped, as
/// a reader of structured fields does: a response with `7200;foo` is not younger than one with `7200`.
fn age(fields: &Fields) -> u32 {
    let first = fields.get(b"age").and_then(|line| line.split(|byte| matches!(byte, b',' | b';')).next());
    first.and_then(|member| delta_seconds(member.trim_ascii())).unwrap_or(0)
}
