//! Reading files that a configuration names, and their paths.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::syntax::units::show_size;

/// Bytes of one config file.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a regular file of at most `bytes_max` bytes. A pipe, which may never end, or a device is refused. For every
/// path that a config or another file names.
///
/// # Errors
/// If it cannot be read; the text says why.
pub fn read_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let metadata = std::fs::metadata(path).map_err(|error| reason(&error))?;
    if !metadata.is_file() {
        return Err(if metadata.is_dir() {
            "it is a folder".into()
        } else {
            "it is not a regular file".into()
        });
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| reason(&error))?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| reason(&error))?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("it is larger than {}", show_size(bytes_max)));
    }
    Ok(bytes)
}

/// Why a file cannot be read, in words of our own for the common causes.
pub(crate) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".into(),
        std::io::ErrorKind::PermissionDenied => "reading it is not permitted".into(),
        _ => error.to_string(),
    }
}

/// Takes `.` out of a path. `..` stays: behind a symbolic link it means what the system says.
pub(crate) fn tidy(path: &Path) -> PathBuf {
    path.components().collect()
}

/// The path without links, if there is such a file, or else the path as it is.
pub(crate) fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

/// The same for a folder that is to be made in one that exists.
pub(crate) fn canonical_new(path: &Path) -> PathBuf {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(path), ..) => path,
        (Err(_), Some(parent), Some(name)) => canonical(parent).join(name),
        _ => path.to_path_buf(),
    }
}

/// The path of a file that lies beside `path`.
pub(crate) fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(extension);
    PathBuf::from(name)
}

/// The bytes of a text file without the byte order mark that some editors put before it.
pub(crate) fn without_mark(mut bytes: Vec<u8>) -> Vec<u8> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    bytes
}
