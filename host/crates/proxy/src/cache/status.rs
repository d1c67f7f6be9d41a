//! What the cache did, for `Cache-Status` (RFC 9211), the access log and the metrics.

use portcullis_cache::rules::{CacheStatus, Fwd};
use portcullis_cache::store::Tier;
use portcullis_policy::Exchange;
use portcullis_telemetry::CacheResult;

use super::CachedRoute;
use crate::exchange_info::ExchangeInfo;

/// What the cache did for one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status {
    pub(crate) result: CacheResult,
    /// Why the upstream was asked.
    pub(super) forwarded: Option<Fwd>,
    /// What the upstream answered.
    pub(super) answered: Option<u16>,
    /// Seconds that the response is still fresh.
    pub(super) ttl: Option<i64>,
    /// The response is being stored.
    pub(super) stored: bool,
    /// Another request got the response.
    pub(super) collapsed: bool,
    /// Why the response is not stored, or where it was.
    pub(super) detail: Option<&'static str>,
}

impl Status {
    /// The cache has answered with what it has in `tier`.
    pub(super) const fn answered(result: CacheResult, tier: Tier, ttl: i64) -> Self {
        let (result, detail) = match (tier, result) {
            (Tier::Memory, result) => (result, None),
            (Tier::Disk, CacheResult::Hit) => (CacheResult::DiskHit, Some("disk")),
            (Tier::Disk, result) => (result, Some("disk")),
        };
        Self { ttl: Some(ttl), detail, ..Self::of(result) }
    }

    /// The cache has answered because the upstream failed.
    pub(super) const fn stale_on_error(ttl: i64) -> Self {
        let asked = Self::forwarded(Fwd::Stale, CacheResult::Stale);
        Self { ttl: Some(ttl), detail: Some("stale-if-error"), ..asked }
    }

    /// The upstream is asked.
    pub(super) const fn forwarded(why: Fwd, result: CacheResult) -> Self {
        Self { forwarded: Some(why), ..Self::of(result) }
    }

    /// The same, with the status that the upstream answered.
    pub(super) const fn with_answer(self, status: u16) -> Self {
        Self { answered: Some(status), ..self }
    }

    const fn of(result: CacheResult) -> Self {
        Self {
            result,
            forwarded: None,
            answered: None,
            ttl: None,
            stored: false,
            collapsed: false,
            detail: None,
        }
    }

    /// Returns it as `Cache-Status` has it, without the name of the cache.
    pub(super) fn members(&self) -> String {
        let mut line = Vec::new();
        self.write("c", &mut line);
        String::from_utf8_lossy(line.strip_prefix(b"c; ").unwrap_or(&line)).into_owned()
    }

    /// Appends it as `Cache-Status` has it. `cache` is what the gateway calls itself.
    fn write(&self, cache: &str, out: &mut Vec<u8>) {
        let status = CacheStatus {
            cache,
            hit: self.forwarded.is_none(),
            fwd: self.forwarded,
            fwd_status: self.answered,
            ttl: self.ttl,
            stored: self.stored,
            collapsed: self.collapsed,
            detail: self.detail,
        };
        status.write(out);
    }
}

impl CachedRoute {
    /// Notes what the cache did for the request in `exchange`: for its record, and for its client as a further member
    /// of `Cache-Status`. `line` is a buffer to reuse.
    pub(crate) fn note(
        &self,
        exchange: &mut Exchange,
        info: &mut ExchangeInfo,
        status: Status,
        line: &mut Vec<u8>,
    ) {
        info.cache = Some(status.result);
        if self.config.reports {
            line.clear();
            status.write(&self.called, line);
            // A full section goes without.
            let _full = exchange.response.fields.append_checked(b"cache-status", line).is_err();
        }
    }
}
