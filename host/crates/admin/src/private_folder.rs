//! Folders to which only their owner can write: a user who can write to the folder of a socket can put another socket
//! in its place.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// How long another gateway that starts or ends may make this one wait for its turn at the folder.
const TURN_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two tries.
const TURN_PAUSE: Duration = Duration::from_millis(5);

/// The file by which gateways take turns. It is never removed, because two could lock one that was removed.
const TURN: &str = ".portcullis-turn";

const A_FOLDER_OF_YOUR_OWN: &str = "a folder of your own, such as /run/portcullis";

/// Returns the effective user of this process.
pub(crate) fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Makes the folder with mode 0700 if it does not exist.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Checks that only this user can write to the folder. The error says why not.
pub(crate) fn check_private(folder: &Path) -> Result<(), String> {
    let meta = std::fs::metadata(folder).map_err(|error| error.to_string())?;
    let user = user();
    if !meta.is_dir() {
        return Err("it is no folder".to_owned());
    }
    if meta.uid() != user {
        return Err(format!(
            "it belongs to user {}, but this process runs as {user}; choose {A_FOLDER_OF_YOUR_OWN}",
            meta.uid()
        ));
    }
    check_mode(&meta)
}

/// As [`check_private`], for a process that may belong to another user than the one who will use the folder: neither
/// the owner nor a missing folder is an error.
pub(crate) fn check_mode_of(folder: &Path) -> Result<(), String> {
    match std::fs::metadata(folder) {
        Ok(meta) if !meta.is_dir() => Err("it is no folder".to_owned()),
        Ok(meta) => check_mode(&meta),
        Err(_) => Ok(()),
    }
}

fn check_mode(meta: &Metadata) -> Result<(), String> {
    let mode = meta.mode() & 0o7777;
    if mode & 0o022 == 0 {
        return Ok(());
    }
    // A sticky folder, such as /tmp, is for all users and must stay so.
    let cure = if mode & 0o1000 == 0 { "run `chmod go-w` on it, or " } else { "" };
    Err(format!("others can write to it (mode {mode:o}); {cure}choose {A_FOLDER_OF_YOUR_OWN}"))
}

/// The turn to change what is in the folder, among all gateways that use it; over when dropped.
pub(crate) struct Turn(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] File);

impl Turn {
    /// Takes the turn, waiting for it for a moment.
    pub(crate) async fn take(folder: &Path) -> io::Result<Self> {
        let waiting = async {
            loop {
                match Self::try_take(folder) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        tokio::time::sleep(TURN_PAUSE).await;
                    }
                    taken => return taken,
                }
            }
        };
        tokio::time::timeout(TURN_TIMEOUT, waiting)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "another process has it locked")))
    }

    /// Takes the turn if it is free. The lock is on a file that only the user can open: any user who can read the
    /// folder could lock the folder itself, and the turn would never be free again.
    pub(crate) fn try_take(folder: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join(TURN))?;
        file.try_lock().map_err(io::Error::from)?;
        Ok(Self(file))
    }
}
