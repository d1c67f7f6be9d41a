//! What the kernel's events say of a change: which paths count, who is still writing, and whether it came in one piece.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use notify::EventKind;
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};

/// Which paths count.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// The files, and the links that lead to them: an event of anything else in their folders is not for us.
    ways: BTreeSet<PathBuf>,
    /// Folders that are watched for which files are in them, as an include with `*` is.
    listed: BTreeSet<PathBuf>,
    /// How names end of what may be read out of such a folder.
    endings: BTreeSet<OsString>,
}

impl Scope {
    pub(super) fn new(ways: BTreeSet<PathBuf>, listed: BTreeSet<PathBuf>, files: &[PathBuf]) -> Self {
        let endings = files.iter().filter_map(|path| path.extension()).map(OsString::from);
        let endings = endings.chain([OsString::from("toml")]).collect();
        Self { ways, listed, endings }
    }

    fn is_way(&self, path: &Path) -> bool {
        self.ways.contains(path)
    }

    fn is_listed(&self, path: &Path) -> bool {
        path.parent().is_some_and(|folder| self.listed.contains(folder))
    }

    /// Whether writing to the file counts: in a folder that is listed, only for what an include may read there. A log
    /// file beside would keep the configuration from ever coming to rest.
    fn counts(&self, path: &Path) -> bool {
        let may_be_read = || path.extension().is_some_and(|ending| self.endings.contains(ending));
        self.is_way(path) || (self.is_listed(path) && may_be_read())
    }
}

/// What happened since the last change was reported.
#[derive(Debug, Default)]
pub(super) struct Seen {
    scope: Scope,
    /// Files that were written to and not closed since.
    unclosed: BTreeSet<PathBuf>,
    /// What was renamed into place.
    renamed: BTreeSet<PathBuf>,
    /// A file was written to in place.
    written: bool,
    /// Anything else: files came or went, or it is unknown what happened.
    other: bool,
}

impl Seen {
    /// Changes which paths count.
    pub(super) fn set(&mut self, scope: Scope) {
        self.unclosed.retain(|path| scope.counts(path));
        self.scope = scope;
    }

    /// The change was reported: what comes is the next one.
    pub(super) fn settled(&mut self) {
        self.unclosed.clear();
        self.renamed.clear();
        (self.written, self.other) = (false, false);
    }

    /// Whether a file was written to and is not closed.
    pub(super) fn is_being_written(&self) -> bool {
        !self.unclosed.is_empty()
    }

    /// Whether all that happened was renaming, and nothing more can belong to it: what was renamed leads to a folder,
    /// so that all in it was swapped at once, or is the `sole` file that there is.
    pub(super) fn is_renamed(&self, sole: Option<&Path>) -> bool {
        let whole = |path: &PathBuf| path.is_dir() || sole.is_some_and(|sole| !sole.is_dir());
        !self.written && !self.other && !self.renamed.is_empty() && self.renamed.iter().all(whole)
    }

    /// Whether the only events were writes to files in place.
    pub(super) fn is_rewritten(&self) -> bool {
        self.written && !self.other && self.renamed.is_empty()
    }

    /// Takes an event in. Returns whether it counts.
    pub(super) fn take(&mut self, event: notify::Result<notify::Event>) -> bool {
        let event = match event {
            Ok(event) if !event.need_rescan() => event,
            // What was lost is unknown, so everything is looked at.
            _ => {
                self.unclosed.clear();
                self.other = true;
                return true;
            }
        };
        let mut counts = false;
        for path in &event.paths {
            counts |= self.take_one(event.kind, path);
        }
        counts
    }

    fn take_one(&mut self, kind: EventKind, path: &Path) -> bool {
        let counts = self.scope.counts(path);
        let is_here = self.scope.is_way(path) || self.scope.is_listed(path);
        match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                self.unclosed.remove(path);
                counts
            }
            // Reading is no change, or every load would cause the next one.
            EventKind::Access(_) => false,
            EventKind::Modify(ModifyKind::Data(_)) if counts => {
                self.written = true;
                self.unclosed.insert(path.to_path_buf());
                true
            }
            EventKind::Modify(ModifyKind::Data(_)) => false,
            EventKind::Modify(ModifyKind::Metadata(_)) => self.scope.is_way(path),
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) if is_here => {
                self.unclosed.remove(path);
                self.renamed.insert(path.to_path_buf());
                true
            }
            // The same once more, with both names.
            EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => false,
            EventKind::Create(CreateKind::File) if is_here => {
                self.other = true;
                // A link, or a second name of a file, is not written to.
                let is_new = |metadata: std::fs::Metadata| metadata.is_file() && metadata.nlink() == 1;
                if counts && std::fs::symlink_metadata(path).is_ok_and(is_new) {
                    self.unclosed.insert(path.to_path_buf());
                }
                true
            }
            _ if is_here => {
                self.unclosed.remove(path);
                self.other = true;
                true
            }
            _ => false,
        }
    }
}
