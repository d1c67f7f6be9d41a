//! What a command leaves on disk. One that only looks (`validate`, `routes`, `explain`, `replay`, `diff`, `schema`,
//! `plugin list`) leaves nothing: it may run as root, and what root made could not be used by the gateway's own user.
//!
//! What it would have to make it does without: plugins are compiled into memory, and images of registries are kept
//! there. What is this user's own and there already, a cache of compiled plugins or a store of images, is used as the
//! gateway uses it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::bail;
use portcullis_model::{AccessLog, AccessLogFormat, Gateway, LogTarget};
use portcullis_proxy::check_cache_folder;
use rustix::fs::{Access, access};

use crate::refusal::RefusedPart;

static NOTHING: AtomicBool = AtomicBool::new(false);

/// From now on this process leaves nothing on disk.
pub(crate) fn leave_nothing() {
    NOTHING.store(true, Ordering::Relaxed);
}

/// Whether this process leaves nothing on disk.
pub(crate) fn leaves_nothing() -> bool {
    NOTHING.load(Ordering::Relaxed)
}

/// Checks that the file of the access log could be opened, as far as that shows without opening it.
///
/// # Errors
/// Why not.
pub(crate) fn check_access_log(log: &AccessLog) -> anyhow::Result<()> {
    let LogTarget::File(path) = &log.target else { return Ok(()) };
    if log.format == AccessLogFormat::Off {
        return Ok(());
    }
    let shown = path.display();
    let advice = "check that its folder exists and can be written to";
    let (what, wanted) = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => bail!("access log file `{shown}` is a folder"),
        Ok(_) => (path.as_path(), Access::WRITE_OK),
        Err(_) => (folder_of(path), Access::WRITE_OK | Access::EXEC_OK),
    };
    match access(what, wanted) {
        Ok(()) => Ok(()),
        Err(error) => {
            bail!("access log file `{shown}` cannot be opened: {}: {error}; {advice}", what.display())
        }
    }
}

/// Checks that the folder for what is kept could be used, as far as that shows without making it.
///
/// # Errors
/// Why not.
pub(crate) fn check_cache_dir(dir: &Path) -> anyhow::Result<()> {
    let shown = dir.display();
    let Ok(metadata) = std::fs::metadata(dir) else {
        let there = dir.ancestors().skip(1).find(|folder| folder.exists()).unwrap_or(Path::new("."));
        return match access(
            if there.as_os_str().is_empty() { Path::new(".") } else { there },
            Access::WRITE_OK,
        ) {
            Ok(()) if there.is_dir() || there.as_os_str().is_empty() => Ok(()),
            Ok(()) => bail!("{shown} cannot be made: {} is not a folder", there.display()),
            Err(error) => bail!("{shown} cannot be made in {}: {error}", there.display()),
        };
    };
    let user = rustix::process::geteuid().as_raw();
    if !metadata.is_dir() {
        bail!("{shown} is not a folder");
    }
    // Root may well look at the config of another user's gateway.
    if metadata.uid() != user && user != 0 {
        bail!("{shown} belongs to user {}, and this is user {user}", metadata.uid());
    }
    if metadata.mode() & 0o022 != 0 {
        bail!("others can write to {shown} (mode {:o}); run `chmod 700` on it", metadata.mode() & 0o777);
    }
    Ok(())
}

/// Checks that the folders of caches could be used, as far as that shows without changing anything, and leaves them out
/// of what runs: another process may be using them.
///
/// # Errors
/// Which cannot be used, and why.
pub(crate) fn check_cache_disks(gateway: &mut Gateway) -> Result<(), Vec<RefusedPart>> {
    let mut refused = Vec::new();
    for cache in &mut gateway.caches {
        if let Some(disk) = cache.disk.take()
            && let Err(error) = check_cache_folder(&disk.folder)
        {
            let message = format!("cache `{}`: {error}", cache.name);
            let origin = Some(cache.origin.clone());
            refused.push(RefusedPart { message, origin, ..RefusedPart::default() });
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(refused) }
}

/// Whether the folder is there, and this user's own.
pub(crate) fn is_own(folder: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    let metadata = std::fs::metadata(folder);
    metadata.is_ok_and(|meta| meta.is_dir() && meta.uid() == user && meta.mode() & 0o022 == 0)
}

/// The folder for what is kept if it is this user's own, and has been used before: then nothing is made in it but what
/// a compiler adds to its cache. Compiled code is executed, so code of other users is not used.
pub(crate) fn own_cache(dir: Option<PathBuf>) -> Option<PathBuf> {
    dir.filter(|dir| {
        [dir.clone(), dir.join("compiled"), dir.join("functions")].iter().all(|path| is_own(path))
    })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
