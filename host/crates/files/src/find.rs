//! Finds the file that a request asks for, and reads the first piece of what the client gets of it.

use std::ffi::{CStr, CString};
use std::fs::Metadata;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use portcullis_http::{Fields, RequestHead, Selection, Validators, select_representation};
use portcullis_model::{Coding, Symlinks, media_type};
use portcullis_traffic::Permits;

use crate::open::Opened;
use crate::rest::{PIECE_BYTES, Rest, piece};
use crate::{FileError, FilePath, open};

/// So many seconds after a change a file may change again without getting another time: its tag is weak until then.
const UNSETTLED: u64 = 2;

/// What a request asks for. It owns its parts, as the thread that looks for the file is another one.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The folder.
    pub root: PathBuf,
    /// What is below it.
    pub path: FilePath,
    /// The file that stands for a folder.
    pub index: String,
    /// Which links are followed.
    pub symlinks: Symlinks,
    /// The preconditions and the range, see [`conditions_of`].
    pub conditions: Fields,
    /// Whether the content is sent; a response to HEAD has none.
    pub content: bool,
    /// The codings in which the client takes the file, the one that it likes best first, if encoded files beside it are
    /// looked for.
    pub codings: Vec<Coding>,
}

/// What was found.
#[derive(Debug)]
pub enum Found {
    /// A file.
    File(Box<FoundFile>),
    /// A folder that has an index, by a path without the slash that relative links in the index need.
    Folder,
}

/// A file that was found.
#[derive(Debug)]
pub struct FoundFile {
    /// What the client gets of it.
    pub selection: Selection,
    /// The entity tag.
    pub etag: String,
    /// When it was last modified, in seconds since 1970; `None` if that is before 1970.
    pub modified: Option<u64>,
    /// Its whole length.
    pub length: u64,
    /// The coding of its content, if it is one that stands beside the file with the name that was asked for.
    pub coding: Option<Coding>,
    /// Its type, by the extension of its name.
    pub media_type: &'static str,
    /// The first piece of what is sent; empty if nothing is.
    pub first: Bytes,
    /// What comes behind the first piece.
    pub rest: Option<Rest>,
}

/// Finds what `wanted` asks for. One of `open_files` is taken for a file that is not read with that. Blocks.
///
/// # Errors
/// If there is no such file, or it is not sent.
pub fn find(wanted: &Wanted, open_files: &Permits) -> Result<Found, FileError> {
    let root = open::root(&wanted.root)?;
    let Wanted { path, index, symlinks, .. } = wanted;
    let find_index = || match open::below(&root, &path.index(index)?, *symlinks) {
        Ok(file) if file.metadata.is_dir() => Err(FileError::NotRegular),
        Err(FileError::NotFound) => Err(FileError::NoIndex { index: index.clone() }),
        found => found,
    };
    let (opened, name) = if path.is_folder() {
        // What is not a folder, or not there, has no index either.
        (find_index()?, index.as_bytes())
    } else {
        (open::below(&root, &path.file()?, *symlinks)?, path.last())
    };
    if opened.metadata.is_dir() {
        return find_index().map(|_| Found::Folder);
    }
    let file_name = if path.is_folder() { path.index(index)? } else { path.file()? };
    let encoded = wanted.codings.iter().find_map(|coding| {
        let encoded = beside(&root, &file_name, *coding, *symlinks)?;
        is_its(&encoded.metadata, &opened.metadata).then_some((encoded, Some(*coding)))
    });
    let (opened, coding) = encoded.unwrap_or((opened, None));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (length, mtime) = (opened.metadata.len(), opened.metadata.mtime());
    let is_settled = is_settled(&opened.metadata, now);
    let etag = etag(&opened.metadata, is_settled);
    // A time that is to come would be later than `Date`, which RFC 9110, 8.8.2.1 forbids.
    let modified = u64::try_from(mtime).ok().map(|mtime| mtime.min(now));
    let validators = Validators {
        etag: Some(etag.as_bytes()),
        modified,
        modified_is_strong: is_settled,
        length: Some(length),
    };
    let method = if wanted.content { "GET" } else { "HEAD" };
    let selection = select_representation(&wanted.conditions, method, &validators, now);
    let (at, end) = match &selection {
        Selection::Whole if wanted.content => (0, length),
        Selection::Part(part) => (part.start, part.end),
        _ => (0, 0),
    };
    let permit = match end - at > PIECE_BYTES {
        true => Some(open_files.acquire().ok_or(FileError::Busy)?),
        false => None,
    };
    let first = piece(&opened.file, at, end)?;
    let rest = permit.map(|permit| Rest::new(opened.file, permit, at + first.len() as u64, end));
    let media_type = media_type(&String::from_utf8_lossy(name));
    Ok(Found::File(Box::new(FoundFile {
        selection,
        etag,
        modified,
        length,
        coding,
        media_type,
        first,
        rest,
    })))
}

/// Opens the file that stands beside `name` in this coding, if there is one that may be sent.
fn beside(root: impl AsFd, name: &CStr, coding: Coding, symlinks: Symlinks) -> Option<Opened> {
    let extension: &[u8] = match coding {
        Coding::Zstd => b".zst",
        Coding::Brotli => b".br",
        Coding::Gzip => b".gz",
    };
    let name = CString::new([name.to_bytes(), extension].concat()).ok()?;
    open::below(root, &name, symlinks).ok().filter(|opened| opened.metadata.is_file())
}

/// Returns whether an encoded file is of the plain one as it is now: not older.
fn is_its(encoded: &Metadata, plain: &Metadata) -> bool {
    (encoded.mtime(), encoded.mtime_nsec()) >= (plain.mtime(), plain.mtime_nsec())
}

/// Returns the fields of a request that say on which conditions, and what of it, a file is sent.
#[must_use]
pub fn conditions_of(request: &RequestHead) -> Fields {
    let mut conditions = Fields::new();
    let names: [&[u8]; 6] =
        [b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range"];
    for name in names {
        for value in request.fields.get_all(name) {
            // They had room in the section of the request.
            let _full = conditions.append_checked(name, value).is_err();
        }
    }
    conditions
}

/// Returns whether a further change would give the file another time.
fn is_settled(metadata: &Metadata, now: u64) -> bool {
    let changed = metadata.mtime().max(metadata.ctime());
    u64::try_from(changed).unwrap_or_default().saturating_add(UNSETTLED) <= now
}

/// Returns the entity tag: the length, and a hash of what differs whenever the content does. The inode and the time of
/// its last change tell files apart that were given the same time, as by reproducible builds.
fn etag(metadata: &Metadata, is_settled: bool) -> String {
    let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
    let bytes = times.iter().flat_map(|time| time.to_le_bytes()).chain(metadata.ino().to_le_bytes());
    // FNV-1a: short, and the same in each version of the gateway.
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let weak = if is_settled { "" } else { "W/" };
    format!("{weak}\"{:x}-{hash:016x}\"", metadata.len())
}

#[cfg(test)]
mod tests;
