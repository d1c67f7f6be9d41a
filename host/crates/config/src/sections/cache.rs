//! `[caches.NAME]`.

use std::path::PathBuf;
use std::time::Duration;

use portcullis_model::{Cache, CacheDisk};

use crate::diagnostic::Report;
use crate::files::read::canonical_new;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::references::{Named, Section};
use crate::syntax::keys::CACHE;
use crate::syntax::view::View;

/// Bytes that a cache may hold in memory by default.
const MEMORY_BYTES: usize = 64 << 20;
/// Bytes of one body by default.
const OBJECT_BYTES: u64 = 8 << 20;
/// Bytes of one body on the disk by default.
const DISK_OBJECT_BYTES: u64 = 1 << 30;
/// Bytes of a disk for which there may be a file by default, and how many files at most.
const BYTES_OF_FILE: u64 = 16 << 10;
const FILES_MAX: u64 = 1_000_000;
/// How long a request waits for the disk by default.
const DISK_TIMEOUT: Duration = Duration::from_millis(500);

/// Makes the caches.
pub(crate) fn caches(loader: &mut Loader<'_>, section: &Section<'_>) -> Vec<Cache> {
    let mut caches: Vec<Cache> = Vec::new();
    for named in section.values().filter(|named| named.table.is_some()) {
        let view = View::new(named.table, &CACHE, named.span);
        let memory_bytes_max = view.bytes("memory").unwrap_or(MEMORY_BYTES);
        let object_bytes_max = view.size("object").unwrap_or(OBJECT_BYTES);
        if object_bytes_max > memory_bytes_max as u64 / 2
            && let Some(span) = view.key_span("object").or(view.key_span("memory"))
        {
            let message = format!("cache `{}` keeps bodies that leave no room for others", named.name);
            let help = "give it `memory` for at least two of the largest bodies, or a smaller `object`";
            loader.report(Report::new(span, message, "`object` is more than half of `memory`").help(help));
        }
        let disk = disk(loader, named, view.view("disk"), &caches);
        let origin = loader.sources.origin(named.span);
        caches.push(Cache { name: named.name.into(), memory_bytes_max, object_bytes_max, disk, origin });
    }
    caches
}

/// Reads what a cache keeps on a disk.
fn disk(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>, before: &[Cache]) -> Option<CacheDisk> {
    let ((path, span), bytes_max) = (view.text("folder")?, view.size("size")?);
    let folder = loader.resolve(path, span);
    check_folder(loader, named, (&folder, span), before);
    let object_bytes_max = view.size("object").unwrap_or_else(|| DISK_OBJECT_BYTES.min(bytes_max / 2));
    if object_bytes_max > bytes_max / 2
        && let Some(span) = view.key_span("object")
    {
        let message =
            format!("the disk of cache `{}` keeps bodies that leave no room for others", named.name);
        let help = "give it a `size` for at least two of the largest bodies, or a smaller `object`";
        loader.report(Report::new(span, message, "`object` is more than half of `size`").help(help));
    }
    let files = (bytes_max / BYTES_OF_FILE).min(FILES_MAX);
    Some(CacheDisk {
        folder,
        bytes_max,
        object_bytes_max,
        files_max: view.integer("files").unwrap_or_else(|| usize::try_from(files).unwrap_or(usize::MAX)),
        threads: view.integer("threads").unwrap_or(4),
        queue_max: view.integer("queue").unwrap_or(1000),
        open_files_max: view.integer("open-files").unwrap_or(1000),
        timeout: view.duration("timeout").unwrap_or(DISK_TIMEOUT),
    })
}

/// Reports a folder that another cache has, or has below or above its own.
fn check_folder(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    (folder, span): (&PathBuf, Span),
    before: &[Cache],
) {
    let path = canonical_new(folder);
    let shares = |other: &&Cache| {
        let other = other.disk.as_ref().map(|disk| canonical_new(&disk.folder));
        other.is_some_and(|other| other.starts_with(&path) || path.starts_with(other))
    };
    if let Some(other) = before.iter().find(shares) {
        let message = format!("caches `{}` and `{}` share a folder", other.name, named.name);
        let label = format!("cache `{}` has this folder, or one above or below it", other.name);
        loader.report(Report::new(span, message, label).help("give each cache a folder of its own"));
    }
}
