//! Purges that operators ask for.
//!
//! A response is stored under the URL that is forwarded. What is named is the URL that a client uses, so it is looked
//! for in every form in which a route with the cache may write it into its keys, as after a change (`invalidate.rs`).

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use portcullis_cache::store::{Mode, Purge, Purged};
use portcullis_http::{RequestHead, set_request_target};
use portcullis_model::PathRules;

use super::invalidate::PATIENCE;
use super::now;
use super::typed_url::{Extent, PurgeTarget, TypedUrl, UrlError};
use crate::snapshot::Snapshot;

/// A purge that was done. It holds for each request that begins from now on.
#[derive(Debug, Default)]
pub struct Purging {
    /// Entries that it met in memory.
    pub in_memory: usize,
    /// Entries that it met on the disk.
    pub on_disk: usize,
    /// The URLs that were purged, as they are stored: those that clients use, and what routes make of them.
    pub urls: Vec<String>,
    written: Vec<Purged>,
}

impl Purging {
    /// Waits until it is written down, so that it holds after a kill as well. `false` if the disk failed.
    pub async fn written(self) -> bool {
        let mut all = true;
        for purged in self.written {
            all &= purged.await;
        }
        all
    }

    fn add(&mut self, purged: Purged) {
        self.in_memory += purged.entries - purged.on_disk;
        self.on_disk += purged.on_disk;
        self.written.push(purged);
    }
}

impl Snapshot {
    /// Removes from `cache` what `target` says, or with `soft` marks it stale. All variants, all routes that share the
    /// cache and all policies' values are meant, and the responses that are on their way. A prefix is searched among
    /// all keys: not for a thread that serves others. `None` if there is no such cache.
    ///
    /// # Errors
    /// If no client could ask for the URL.
    #[must_use]
    pub fn purge(&self, cache: &str, target: &PurgeTarget, soft: bool) -> Option<Result<Purging, UrlError>> {
        let open = self.caches.get(cache)?;
        let urls = match target {
            PurgeTarget::Url(url) => match requests(url) {
                Ok(requests) => self.invalidation.stored_urls(&open.store, &requests),
                Err(error) => return Some(Err(error)),
            },
            PurgeTarget::Tag(_) | PurgeTarget::All => BTreeSet::new(),
        };
        let mode = if soft { Mode::Soft } else { Mode::Hard };
        let mut purging = Purging::default();
        let mut purge = |what: &Purge<'_>| purging.add(open.store.purge(what, mode, now().seconds()));
        match target {
            PurgeTarget::Tag(tag) => purge(&Purge::Tag(tag)),
            PurgeTarget::All => purge(&Purge::Prefix(b"")),
            PurgeTarget::Url(TypedUrl { extent, .. }) => {
                urls.iter().for_each(|url| each_part(url, *extent, &mut purge));
            }
        }
        open.purges.count(target, purging.in_memory + purging.on_disk);
        purging.urls = urls.iter().map(|url| String::from_utf8_lossy(url).into_owned()).collect();
        Some(Ok(purging))
    }

    /// Returns how long the disk of `cache` may take to write down a purge; `None` if it has none.
    pub(super) fn write_timeout(&self, cache: &str) -> Option<Duration> {
        let disk = self.caches.get(cache)?.config.disk.as_ref()?;
        Some(disk.timeout * PATIENCE)
    }

    /// Returns up to `max` URLs in the memory of `cache` that differ from `url` in what is easily mistaken: scheme,
    /// host, port, query, a slash at the end. Of a query only that there is one is returned: it may be another
    /// client's. All keys are searched: not for a thread that serves others.
    #[must_use]
    pub fn similar_urls(&self, cache: &str, url: &TypedUrl, max: usize) -> Vec<String> {
        let Some(open) = self.caches.get(cache) else { return Vec::new() };
        let wanted = path_of_target(url.target.as_bytes());
        let mut similar = BTreeSet::new();
        open.store.each_url(|stored| {
            let path = path_of_url(stored);
            let alike = match url.extent {
                Extent::Exactly => path == wanted,
                Extent::Below | Extent::Beginning => wanted.len() > 1 && path.starts_with(wanted),
            };
            if alike && similar.len() < max {
                let query = stored.iter().position(|byte| *byte == b'?');
                let url = String::from_utf8_lossy(&stored[..query.unwrap_or(stored.len())]).into_owned();
                similar.insert(if query.is_some() { format!("{url}?…") } else { url });
            }
        });
        similar.into_iter().collect()
    }
}

/// The path of a target, without query and a slash at its end.
fn path_of_target(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let path = &target[..end];
    path.strip_suffix(b"/").filter(|path| !path.is_empty()).unwrap_or(path)
}

/// The same of a URL that is stored.
fn path_of_url(url: &[u8]) -> &[u8] {
    let host = url.iter().position(|byte| *byte == b':').map_or(0, |colon| colon + "://".len());
    let rest = url.get(host..).unwrap_or_default();
    let path = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    path_of_target(&rest[path..])
}

/// The purges that a URL, as it is stored, comes to.
fn each_part(url: &[u8], extent: Extent, purge: &mut impl FnMut(&Purge<'_>)) {
    match extent {
        Extent::Exactly => purge(&Purge::Url(url)),
        Extent::Beginning => purge(&Purge::Prefix(url)),
        Extent::Below if url.ends_with(b"/") || url.contains(&b'?') => purge(&Purge::Prefix(url)),
        Extent::Below => {
            purge(&Purge::Url(url));
            for separator in [b"/", b"?"] {
                purge(&Purge::Prefix(&[url, separator].concat()));
            }
        }
    }
}

/// Returns the requests that clients would make for a URL: by both schemes if none is written, and in each form of
/// paths that a route may keep.
///
/// # Errors
/// If no route would take its path.
pub(super) fn requests(url: &TypedUrl) -> Result<Vec<RequestHead>, UrlError> {
    let mut heads: Vec<RequestHead> = Vec::new();
    let mut refused = None;
    for scheme in url.schemes {
        for (keeps_encoded_slash, keeps_empty_segments) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            let mut head = RequestHead::default();
            head.scheme = *scheme;
            head.authority.push_str(&url.authority);
            head.path_rules = PathRules { keeps_encoded_slash, keeps_empty_segments };
            match set_request_target(&mut head, &url.target) {
                Ok(())
                    if heads
                        .iter()
                        .any(|known| known.scheme == *scheme && known.target() == head.target()) => {}
                Ok(()) => heads.push(head),
                Err(error) => refused = Some(error),
            }
        }
    }
    match refused {
        Some(error) if heads.is_empty() => Err(error.into()),
        _ => Ok(heads),
    }
}
