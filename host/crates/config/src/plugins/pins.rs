//! Which image a reference stands for, as the lock file says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use portcullis_model::{ContentDigest, LockedPlugin, OciReference};

use crate::diagnostic::Report;
use crate::files::read::{FILE_BYTES_MAX, read_file};
use crate::files::source::Source;
use crate::loader::Loader;
use crate::plugins::lock::{REPAIR, State, parse};

/// What it says of a reference.
#[derive(Debug)]
pub(crate) enum Pin {
    /// There is no file.
    NoFile,
    /// There is one without the reference.
    Unknown,
    /// It cannot be read, which was reported.
    Broken,
    Locked(Box<LockedPlugin>),
}

/// What the lock file says of `reference`.
pub(crate) fn pin(loader: &mut Loader<'_>, reference: &OciReference) -> Pin {
    read(loader);
    match &loader.lock.state {
        State::Unread | State::Absent => Pin::NoFile,
        State::Broken => Pin::Broken,
        State::Read(entries) => match entries.iter().find(|entry| entry.reference == *reference) {
            Some(entry) => Pin::Locked(Box::new(entry.clone())),
            None => Pin::Unknown,
        },
    }
}

/// Reads the file, once.
pub(crate) fn read(loader: &mut Loader<'_>) {
    if !matches!(loader.lock.state, State::Unread) {
        return;
    }
    let (name, path) = loader.lock.path.clone();
    // A missing one may be added.
    loader.files.insert(path.clone());
    loader.lock.state = if path.exists() {
        let before = loader.reports.len();
        let entries = parse_file(loader, &name, &path);
        if loader.reports.len() == before { State::Read(entries) } else { State::Broken }
    } else {
        State::Absent
    };
}

fn parse_file(loader: &mut Loader<'_>, name: &Path, path: &Path) -> Vec<LockedPlugin> {
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let text = read_file(path, FILE_BYTES_MAX)
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned()));
    let text = match text {
        Ok(text) => text,
        Err(reason) => {
            let file = loader.sources.add(Source::new(name, folder, String::new()));
            loader.report(
                Report::of_file(file, format!("the lock file cannot be read: {reason}")).help(REPAIR),
            );
            return Vec::new();
        }
    };
    let file = loader.sources.add(Source::new(name, folder, text.clone()));
    parse(file, &text, &mut loader.reports)
}

/// The manifests that the store must not lose.
pub(crate) fn in_use(loader: &Loader<'_>) -> BTreeSet<ContentDigest> {
    let locked = loader.lock.entries().iter().map(|entry| entry.manifest);
    locked.chain(loader.pins.iter().copied()).collect()
}
