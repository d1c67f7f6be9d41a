//! What a cache would do with a request now, without doing it.

use portcullis_cache::rules::{Access, Fwd, Request, Verdict, WhyValidate, select};
use portcullis_policy::Exchange;
use portcullis_telemetry::CacheResult;

use super::status::Status;
use super::{CachedRoute, Kept, now, passes_by, stale_since};

/// What a cache would do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreseen {
    /// As the access log has it: `hit`, `stale`, `miss`, `bypass`; `validate` if the upstream would be asked first.
    pub result: &'static str,
    /// What `Cache-Status` would say of it.
    pub status: String,
    /// Why.
    pub why: String,
}

impl CachedRoute {
    /// Returns what the cache would do with the request in `exchange`. Counts no use.
    pub(crate) async fn foresee(&self, exchange: &Exchange, has_body: bool) -> Foreseen {
        let Exchange { request: head, attributes, cache: wishes, upstreams, upstream, .. } = exchange;
        let request = Request::read(&self.rules, head, has_body);
        let forwarded = |fwd, result: CacheResult, why: &str| {
            foreseen(result.as_str(), &Status::forwarded(fwd, result), why.to_owned())
        };
        match request.access() {
            Access::Lookup if passes_by(&self.config, head) => {
                return forwarded(Fwd::Bypass, CacheResult::Bypass, "the route's `bypass`");
            }
            Access::Lookup if wishes.is_bypassed() => {
                return forwarded(Fwd::Bypass, CacheResult::Bypass, "a policy lets it pass by");
            }
            Access::Lookup => {}
            Access::Bypass(why) => return forwarded(Fwd::Bypass, CacheResult::Bypass, why.as_str()),
            Access::Write => {
                return forwarded(Fwd::Method, CacheResult::Bypass, "such a method is always forwarded");
            }
        }
        let upstream = upstreams.get(*upstream).map_or("", |name| name);
        let mut key = Vec::new();
        self.key.write(head, upstream, attributes, wishes, &mut key);
        let now = now();
        let choose = |entries: &[Kept]| {
            select(entries.iter().map(|entry| entry.head()), &request, now).map(|at| entries[at].clone())
        };
        let mut entries = self.open.store.find(&key).map_or_else(Vec::new, |found| found.entries().to_vec());
        let mut found = choose(&entries);
        if found.is_none()
            && let Some(lookup) = self.open.store.find_on_disk(&key)
        {
            let on_disk = lookup.await;
            found = choose(&on_disk);
            entries.extend(on_disk);
        }
        let Some(entry) = found else {
            return match entries.is_empty() {
                true => forwarded(Fwd::UriMiss, CacheResult::Miss, "nothing is stored under this key"),
                false => forwarded(
                    Fwd::VaryMiss,
                    CacheResult::Miss,
                    "what is stored under this key varies by fields that this request has otherwise",
                ),
            };
        };
        let ttl = entry.head().ttl(now);
        let purged = stale_since(&entry);
        match entry.head().verdict(&request, now, purged) {
            Verdict::Fresh => foreseen(
                "hit",
                &Status::answered(CacheResult::Hit, entry.tier(), ttl),
                "it is fresh".to_owned(),
            ),
            Verdict::Stale { refresh } => {
                let why = match refresh {
                    true => "it is stale, may be used while it is renewed, and is renewed in the background",
                    false => "it is stale, and the request accepts that",
                };
                foreseen("stale", &Status::answered(CacheResult::Stale, entry.tier(), ttl), why.to_owned())
            }
            Verdict::Validate(why) => {
                let why = match (why, purged) {
                    (WhyValidate::Stale, Some(since)) => {
                        format!("a purge marked it stale {} s ago", now.since(since) / 1000)
                    }
                    (WhyValidate::Stale, None) => "it is stale".to_owned(),
                    (WhyValidate::NoCache, _) => "it says `no-cache`".to_owned(),
                    (WhyValidate::Request, _) => "the request asks for it".to_owned(),
                };
                let how = if entry.head().has_validator() { "is validated" } else { "has no validator" };
                foreseen(
                    "validate",
                    &Status::forwarded(Fwd::Stale, CacheResult::Revalidated),
                    format!("{why}; it {how}"),
                )
            }
        }
    }
}

fn foreseen(result: &'static str, status: &Status, why: String) -> Foreseen {
    Foreseen { result, status: status.members(), why }
}
