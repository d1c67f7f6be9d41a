//! Why no file is sent.

use std::io;

/// Why a file that was asked for is not sent.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// No file has that name.
    #[error("there is no such file")]
    NotFound,
    /// The path decodes to something that is not the name of a file here: a slash, a backslash or a control character
    /// in a segment, or an empty segment.
    #[error("the path names no file")]
    Name,
    /// A segment of the path begins with a dot.
    #[error("the path names a hidden file")]
    Hidden,
    /// It is a folder without the file that stands for it. Folders are not listed.
    #[error("the path names a folder, which has no `{index}`")]
    NoIndex {
        /// The name of the file that is missing.
        index: String,
    },
    /// It is a pipe, a socket or a device.
    #[error("it is not a regular file")]
    NotRegular,
    /// A symbolic link on the way is not followed: it leads out of the folder, in a circle, or no link may be followed.
    #[error("a symbolic link on the way is not followed, as `symlinks` says")]
    Link,
    /// The operating system does not let the gateway read it.
    #[error("reading the file is not permitted")]
    Denied,
    /// As many files are open as may be, or as the process can open.
    #[error("too many files are open")]
    Busy,
    /// The folder itself cannot be opened.
    #[error("the folder cannot be opened: {0}")]
    Root(io::Error),
    /// It cannot be opened or read.
    #[error("the file cannot be read: {0}")]
    Read(io::Error),
    /// It was cut short while it was read.
    #[error("the file was cut short while it was read")]
    CutShort,
    /// It could not be opened in time.
    #[error("the file could not be read in time")]
    TimedOut,
    /// The threads that read files have ended, or none can be started.
    #[error("no thread reads files")]
    Stopped,
}
