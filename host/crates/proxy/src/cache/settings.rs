//! What the configuration says, as the rules and the stores read it.

use std::time::Duration;

use portcullis_cache::rules::{Cookies, Heuristic, SECONDS_MAX, Settings, VaryRules, depends_on_client};
use portcullis_cache::store::{self, DiskSettings, MemoryBounds};
use portcullis_model::{Cache, CacheDisk, CookieRule, RouteCache, StatusClass, VaryRule};

/// A tenth of its age, which RFC 9111, 4.2.2 names as usual, and at most a day.
const HEURISTIC: Heuristic = Heuristic { percent: 10, seconds_max: 86_400 };

/// Bytes that an entry with an empty body takes: with so many there are more entries than fit.
const ENTRY_BYTES_MIN: usize = 1024;

/// Variants of one key. A response that varies by more is better not cached.
const VARIANTS_MAX: usize = 32;

/// Tags of one response.
const TAGS_MAX: usize = 256;

/// How far a reader of a response that is too large to be stored may be behind the fastest one.
const WINDOW_BYTES: u64 = 4 << 20;

/// Bytes of one response that may wait to be written to the disk: as many as its upstream sends in some milliseconds.
const PENDING_BYTES: usize = 1 << 20;

/// How long a predecessor may take to release the folder of a disk, which it does when its drain begins.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// What a store may have.
pub(super) fn of_store(config: &Cache) -> store::Settings {
    store::Settings {
        memory: MemoryBounds {
            bytes_max: config.memory_bytes_max as u64,
            entries_max: config.memory_bytes_max / ENTRY_BYTES_MIN,
            object_bytes_max: config.object_bytes_max,
            variants_max: VARIANTS_MAX,
        },
        window_bytes: WINDOW_BYTES,
        tags_max: TAGS_MAX,
    }
}

/// What a store may have on a disk.
pub(super) fn of_disk(config: &CacheDisk) -> DiskSettings {
    DiskSettings {
        folder: config.folder.clone(),
        bytes_max: config.bytes_max,
        files_max: config.files_max,
        object_bytes_max: config.object_bytes_max,
        variants_max: VARIANTS_MAX,
        threads: config.threads,
        queue: config.queue_max,
        timeout: config.timeout,
        open_files_max: config.open_files_max,
        pending_bytes: PENDING_BYTES,
        sync: false,
        lock_wait: LOCK_WAIT,
    }
}

/// What the rules need of a route.
pub(super) fn of_route(config: &RouteCache) -> Settings {
    Settings {
        cookies: match config.cookies {
            CookieRule::Skip => Cookies::Skip,
            CookieRule::Rfc => Cookies::Rfc,
        },
        client_directives: config.heeds_clients,
        targeted: config.targeted.clone(),
        ttl: by_status(config),
        heuristic: config.heuristic.then_some(HEURISTIC),
        stale_while_revalidate: seconds(config.stale.while_revalidate),
        stale_if_error: seconds(config.stale.on_error),
        lifetime_max: config.lifetime_max.map_or(SECONDS_MAX, seconds),
        vary: match config.vary {
            VaryRule::Exact => VaryRules::Exact,
            VaryRule::Case => VaryRules::Case,
            VaryRule::Languages => VaryRules::Languages,
        },
    }
}

/// The times of single statuses, of which the first that is found counts.
fn by_status(config: &RouteCache) -> Vec<(u16, u32)> {
    let mut times: Vec<(u16, u32)> = Vec::new();
    for (class, time) in &config.ttl {
        let (statuses, is_class) = match *class {
            StatusClass::Exactly(status) => (status..status + 1, false),
            StatusClass::Hundred(digit) => (digit * 100..(digit + 1) * 100, true),
        };
        // What one client brings about, by its credentials or by a head that is too large, is not everyone's.
        for status in statuses.filter(|status| !is_class || !depends_on_client(*status)) {
            if !times.iter().any(|(known, _)| *known == status) {
                times.push((status, seconds(*time)));
            }
        }
    }
    times
}

/// Whole seconds, as caches count; a part of one is one.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}
