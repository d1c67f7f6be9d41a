//! Whether a file is as it was.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::SystemTime;

/// What changes with each change of a file: when its metadata or content last changed, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    changed: (i64, i64),
    bytes: u64,
}

/// Two changes of a file that are closer may have the same time.
const STAMP_STEP_MS: i128 = 100;

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { changed: (metadata.ctime(), metadata.ctime_nsec()), bytes: metadata.len() }
    }

    /// Whether any later change would have another stamp.
    pub(crate) fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (seconds, nanoseconds) = self.changed;
        let changed = i128::from(seconds) * 1000 + i128::from(nanoseconds) / 1_000_000;
        i128::try_from(now.as_millis()).is_ok_and(|now| now - changed >= STAMP_STEP_MS)
    }
}
