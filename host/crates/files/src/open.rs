//! Opens a file below a folder. The kernel sees to it that no link leads out, whatever changes meanwhile.

use std::ffi::CStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use portcullis_model::Symlinks;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::FileError;

/// How often a file is looked up anew if folders on its way are moved meanwhile.
const TRIES: u32 = 16;

/// An open file or folder.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) metadata: Metadata,
}

/// Checks that files below the folder can be opened: that the gateway may search it, and that the system has `openat2`.
/// Linux before 5.6 and some containers do not have it, and nothing else keeps links from leading out.
///
/// # Errors
/// If they cannot be opened.
pub fn check_root(path: &Path) -> Result<(), FileError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = root(path)?;
    match rustix::fs::openat2(&root, c".", flags, Mode::empty(), ResolveFlags::BENEATH) {
        Ok(_) => Ok(()),
        Err(error) => Err(FileError::Root(error.into())),
    }
}

/// Opens the folder. It is looked up each time, so that what takes its place is served from then on.
pub(crate) fn root(path: &Path) -> Result<OwnedFd, FileError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
        Errno::MFILE | Errno::NFILE => FileError::Busy,
        error => FileError::Root(error.into()),
    })
}

/// Opens `name` below `root`: a regular file or a folder.
pub(crate) fn below(root: impl AsFd, name: &CStr, symlinks: Symlinks) -> Result<Opened, FileError> {
    // Opening a pipe would else wait for its other end.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::NO_MAGICLINKS
        | match symlinks {
            Symlinks::Inside => ResolveFlags::BENEATH,
            Symlinks::Refuse => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
            Symlinks::Follow => ResolveFlags::empty(),
        };
    // The folder itself has an empty name.
    let name = if name.is_empty() { c"." } else { name };
    let open = || rustix::fs::openat2(&root, name, flags, Mode::empty(), resolve);
    let mut opened = open();
    for _ in 1..TRIES {
        match opened {
            Err(Errno::AGAIN | Errno::INTR) => opened = open(),
            _ => break,
        }
    }
    let file = opened.map_err(refused)?;
    let file = File::from(file);
    let metadata = file.metadata().map_err(FileError::Read)?;
    match metadata.is_file() || metadata.is_dir() {
        true => Ok(Opened { file, metadata }),
        false => Err(FileError::NotRegular),
    }
}

fn refused(error: Errno) -> FileError {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => FileError::NotFound,
        Errno::LOOP | Errno::XDEV => FileError::Link,
        Errno::ACCESS | Errno::PERM => FileError::Denied,
        Errno::NXIO | Errno::NODEV => FileError::NotRegular,
        Errno::MFILE | Errno::NFILE => FileError::Busy,
        error => FileError::Read(io::Error::from(error)),
    }
}
