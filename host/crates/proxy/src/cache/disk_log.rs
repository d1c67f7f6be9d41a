//! What an operator reads of a cache's disk: a line when it begins to fail, with what to do, and one when it works
//! again.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use portcullis_cache::store::{Failing, Watcher};
use portcullis_model::{CacheDisk, Name};

/// Writes to the log how a disk is.
#[derive(Debug)]
pub(super) struct DiskLog {
    cache: Name,
    folder: PathBuf,
}

impl DiskLog {
    pub(super) fn new(cache: &Name, disk: &CacheDisk) -> Self {
        Self { cache: cache.clone(), folder: disk.folder.clone() }
    }
}

impl Watcher for DiskLog {
    fn fails(&self, what: Failing, error: &io::Error) {
        let (cache, folder) = (&self.cache, self.folder.display());
        let (doing, meanwhile) = match what {
            Failing::Reads => ("be read", "what cannot be read is asked of the upstream"),
            Failing::Writes => ("be written", "responses are kept in memory alone"),
            Failing::Answers => ("be read in time", "requests go on to the upstream"),
        };
        let advice = advice(what, error);
        tracing::warn!(
            event = "cache-disk",
            %cache,
            works = false,
            "cache `{cache}`: files in {folder} cannot {doing}: {error}. Until they can, {meanwhile}. {advice}"
        );
    }

    fn works(&self, what: Failing) {
        let (cache, folder) = (&self.cache, self.folder.display());
        let doing = match what {
            Failing::Reads => "be read",
            Failing::Writes => "be written",
            Failing::Answers => "be read in time",
        };
        tracing::info!(
            event = "cache-disk",
            %cache,
            works = true,
            "cache `{cache}`: files in {folder} can {doing} again"
        );
    }
}

/// What to do about it.
fn advice(what: Failing, error: &io::Error) -> &'static str {
    match error.kind() {
        _ if is_out_of_files(error) => {
            "Raise the limit of open files (LimitNOFILE= of a systemd unit, ulimit -n), or lower `disk.open-files` or \
             `limits.connections`"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "Make room on that file system, or give the cache a smaller `disk.size`"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "Mount that file system for writing; the kernel's log says why it is not"
        }
        ErrorKind::PermissionDenied => "Give the folder and all in it to the gateway's user, with mode 0700",
        ErrorKind::NotFound => "Make the folder above it, or mount what belongs there",
        _ if what == Failing::Answers => {
            "If the disk is sound, give the cache more `disk.threads`, or another `disk.timeout`"
        }
        _ => "Look for errors of the disk in the kernel's log",
    }
}

/// Whether the process or the machine has no descriptor left.
fn is_out_of_files(error: &io::Error) -> bool {
    // EMFILE and ENFILE, which have no kind of their own.
    matches!(error.raw_os_error(), Some(24 | 23))
}
