//! What a cache has of a URL, for operators.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, LazyLock};

use portcullis_cache::rules::Time;
use portcullis_cache::store::Tier;
use portcullis_model::Name;
use portcullis_policy::recorder::is_credential;

use super::key::Part;
use super::purge::requests;
use super::typed_url::{TypedUrl, UrlError};
use super::view::key_parts;
use super::{Kept, OpenCache, now};
use crate::snapshot::{SharedRoute, Snapshot};

/// A cache that runs.
#[derive(Debug)]
pub struct CacheSummary {
    /// Its name.
    pub name: Name,
    /// The routes that use it.
    pub routes: Vec<Name>,
    /// Responses in memory.
    pub entries: usize,
    /// Bytes of memory that they take.
    pub bytes: u64,
    /// Bytes that they may take.
    pub bytes_max: u64,
    /// Responses that made room for others.
    pub evictions: u64,
    /// Files on the disk, and their bytes, if it has a disk.
    pub disk: Option<(usize, u64)>,
}

/// A stored response. Values by which clients could be known, or that may be secret, are replaced by a mark, which is
/// the same for equal values for as long as the process runs.
#[derive(Debug, Clone, Default)]
pub struct StoredView {
    /// The URL of its key.
    pub url: String,
    /// What else its key has.
    pub key: Vec<String>,
    /// The fields that it varies by, with their values.
    pub varies: Vec<(String, Option<String>)>,
    /// The status code.
    pub status: u16,
    /// Bytes of its body, if they are known.
    pub bytes: Option<u64>,
    /// Whether it is still being received.
    pub grows: bool,
    /// Whether it was found on the disk.
    pub is_on_disk: bool,
    /// Its age in seconds.
    pub age: u32,
    /// Seconds that it stays fresh; negative if it is stale.
    pub ttl: i64,
    /// When it becomes stale, in seconds since 1970.
    pub fresh_until: u64,
    /// Seconds that it may be used stale while it is renewed.
    pub stale_while_revalidate: u32,
    /// Seconds that it may be used stale if the upstream fails.
    pub stale_if_error: u32,
    /// Whether it is validated for each request.
    pub is_always_validated: bool,
    /// Seconds since a purge marked it stale.
    pub purged: Option<u64>,
    /// Its validators.
    pub etag: Option<String>,
    /// Its validators.
    pub last_modified: Option<String>,
    /// The tags that the upstream and policies gave it.
    pub tags: Vec<String>,
}

impl Snapshot {
    /// Returns the caches that run.
    pub fn caches(&self) -> impl Iterator<Item = CacheSummary> {
        self.caches.iter().map(|(name, open)| {
            let stats = open.store.stats();
            CacheSummary {
                name: name.clone(),
                routes: self
                    .routes
                    .iter()
                    .filter(|route| uses(route, open))
                    .map(|route| route.config.name.clone())
                    .collect(),
                entries: stats.entries,
                bytes: stats.bytes,
                bytes_max: open.config.memory_bytes_max as u64,
                evictions: stats.evictions,
                disk: open.store.disk_stats().map(|stats| (stats.files, stats.bytes)),
            }
        })
    }

    /// Returns what `cache` has of a URL of clients, and of `stored`, which is a URL as it is stored. `None` if there
    /// is no such cache.
    ///
    /// # Errors
    /// If no client could ask for the URL.
    pub async fn inspect(
        &self,
        cache: &str,
        url: &TypedUrl,
        stored: Option<&str>,
    ) -> Option<Result<Vec<StoredView>, UrlError>> {
        let open = self.caches.get(cache)?;
        let mut urls = match requests(url) {
            Ok(requests) => self.invalidation.stored_urls(&open.store, &requests),
            Err(error) => return Some(Err(error)),
        };
        urls.extend(stored.map(|stored| stored.as_bytes().to_vec()));
        let (mut views, now) = (Vec::new(), now());
        for url in &urls {
            views.extend(open.store.inspect(url).iter().map(|entry| view(entry, now)));
            if let Some(lookup) = open.store.inspect_disk(url) {
                views.extend(lookup.await.iter().map(|entry| view(entry, now)));
            }
        }
        Some(Ok(views))
    }
}

fn uses(route: &SharedRoute, open: &Arc<OpenCache>) -> bool {
    route.cache.as_ref().is_some_and(|cached| Arc::ptr_eq(&cached.open, open))
}

fn view(entry: &Kept, now: Time) -> StoredView {
    let (head, key) = (entry.head(), entry.key());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let rest = key.bytes().get(key.url().len()..).unwrap_or_default();
    let varies = head.varies().map(|(name, value)| {
        let name = text(name);
        let value = value.map(|value| if is_credential(&name) { mark(value) } else { text(value) });
        (name, value)
    });
    let tags: BTreeSet<&[u8]> = head.tags().collect();
    let (stale_while_revalidate, stale_if_error) = head.stale_seconds();
    StoredView {
        url: text(key.url()),
        key: key_parts(rest, value),
        varies: varies.collect(),
        status: head.status(),
        bytes: entry.body().len(),
        grows: !entry.body().is_complete(),
        is_on_disk: entry.tier() == Tier::Disk,
        age: head.age(now),
        ttl: head.ttl(now),
        fresh_until: head.fresh_until().seconds(),
        stale_while_revalidate,
        stale_if_error,
        is_always_validated: head.is_always_validated(),
        purged: entry.stale_since().map(|since| now.seconds().saturating_sub(since)),
        etag: head.fields().get(b"etag").map(text),
        last_modified: head.fields().get(b"last-modified").map(text),
        tags: tags.into_iter().map(text).collect(),
    }
}

/// The value of a part of a key, if it is not of a client or a policy.
fn value(part: &Part<'_>) -> String {
    let is_plain = match part.kind {
        b'h' => true,
        b'f' | b'o' | b'a' => !is_credential(&String::from_utf8_lossy(part.name)),
        _ => false,
    };
    if is_plain { String::from_utf8_lossy(part.value).into_owned() } else { mark(part.value) }
}

/// What stands in place of a value. With the process's own random keys it cannot be guessed from outside.
fn mark(value: &[u8]) -> String {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    format!("[hidden {:08x}]", KEYS.hash_one(value) >> 32)
}
