//! What shows that a file has changed, without reading it; and reading several files as they are at one moment.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The kernel's clock for files goes in steps of up to 10 ms, so two writes within one may bear one time.
pub(crate) const CLOCK_STEP: Duration = Duration::from_millis(20);

/// How often files that change while they are read are read again.
const READS_MAX: u32 = 10;

/// What of a file's metadata changes with it. The time of its last change (`ctime`) is the kernel's own: tools that
/// keep the time and size of what they copy do not keep this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of what `path` leads to, or `None` if that is nothing.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            file: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the file became what it is: was written, renamed or given other rights.
    pub(crate) fn changed_at(&self) -> SystemTime {
        let seconds = Duration::from_secs(u64::try_from(self.changed.0).unwrap_or(0));
        let nanos = Duration::from_nanos(u64::try_from(self.changed.1).unwrap_or(0));
        SystemTime::UNIX_EPOCH + seconds + nanos
    }

    /// Whether the last change was so long before `moment` that another one would bear another time.
    pub(crate) fn is_older_than(&self, moment: SystemTime) -> bool {
        self.changed_at() + CLOCK_STEP < moment
    }
}

/// Files that changed each time while they were read.
#[derive(Debug)]
pub(crate) struct Restless {
    /// One of them.
    path: PathBuf,
}

impl fmt::Display for Restless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "{path} changed while the configuration was read, {READS_MAX} times in a row")
    }
}

impl std::error::Error for Restless {}

/// Runs `read`, whose result names the files that were read, until none of them changed meanwhile: so that no result is
/// made of an old part and a new part. It blocks.
///
/// # Errors
/// If they change each time; with the files.
pub(crate) fn read_at_rest<T>(
    mut read: impl FnMut() -> T,
    files_of: impl Fn(&T) -> Vec<PathBuf>,
) -> Result<T, (Restless, Vec<PathBuf>)> {
    let mut before: BTreeMap<PathBuf, Option<Stamp>> = BTreeMap::new();
    let mut attempt = 1;
    loop {
        let began = SystemTime::now();
        let result = read();
        let files = files_of(&result);
        let stamps: BTreeMap<PathBuf, Option<Stamp>> =
            files.iter().map(|path| (path.clone(), Stamp::of(path))).collect();
        let at_rest = |path: &PathBuf, stamp: &Option<Stamp>| {
            before.get(path) == Some(stamp) || stamp.is_some_and(|stamp| stamp.is_older_than(began))
        };
        let restless = stamps.iter().find(|(path, stamp)| !at_rest(path, stamp));
        let Some((path, _)) = restless else { return Ok(result) };
        if attempt == READS_MAX {
            return Err((Restless { path: path.clone() }, files));
        }
        attempt += 1;
        before = stamps;
        // So that a change from now on bears another time than these.
        wait(CLOCK_STEP);
    }
}

fn wait(time: Duration) {
    let end = std::time::Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests;
