//! Notices that one of the files a configuration was made of has changed.
//!
//! The folders are watched, not the files: editors and deployment tools replace files by renaming, and Kubernetes swaps
//! the `..data` link beside them, and either would leave a watch on a file that nobody sees any more. Where the kernel
//! tells nothing (network file systems, a renamed folder) a slow poll of the files' metadata does.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher as _};
use sha2::{Digest, Sha256};

/// Changes are looked at when nothing more happened for this long: an editor writes, renames and changes modes at once.
pub(crate) const QUIET: Duration = Duration::from_millis(100);

/// A file that is written to all the time is looked at after this long nevertheless.
const QUIET_MAX: Duration = Duration::from_secs(1);

/// How often metadata is compared, for changes that the kernel does not tell of.
const POLL: Duration = Duration::from_secs(2);

/// Two files may have been written this long before a moment and bear a later time stamp, or the other way round: the
/// kernel's clock for files goes in steps of up to 10 ms.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// As Linux has it (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Watches files on a thread of its own, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    messages: Option<mpsc::SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told.
#[derive(Debug)]
enum Message {
    /// Something happened to a path that counts.
    Event,
    /// These are the files from now on.
    Files(Files),
}

/// What is watched.
#[derive(Debug)]
struct Files {
    /// The files and folders; none to end the thread.
    paths: BTreeSet<PathBuf>,
    /// Reading them began then.
    read_at: SystemTime,
    /// Gets word when they are watched.
    watched: mpsc::SyncSender<()>,
}

/// A file as it is: the digest of its bytes (of a folder, of the names in it), or why there are none.
type Content = Result<[u8; 32], io::ErrorKind>;

/// What changes when a file does: modification, identity, size. `None` where there is no file.
type Stamp = Option<(Option<SystemTime>, u64, u64)>;

impl Watch {
    /// Starts with no files. `changed` is called, on the watching thread, each time the content of a file has become
    /// another and things are quiet again; it must not block.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(crate) fn start(changed: impl Fn() + Send + 'static) -> io::Result<Self> {
        // One waiting event stands for any number of them, but a list of files must not be lost: it waits for a place.
        let (sender, receiver) = mpsc::sync_channel(2);
        let relevant = Arc::new(Mutex::new(BTreeSet::new()));
        let notifier = notifier(sender.clone(), Arc::clone(&relevant));
        let state = State {
            receiver,
            relevant,
            notifier,
            folders: BTreeSet::new(),
            contents: BTreeMap::new(),
            stamps: BTreeMap::new(),
            changed: Box::new(changed),
        };
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || state.run())?;
        Ok(Self { messages: Some(sender), thread: Some(thread) })
    }

    /// Watches exactly `files` from now on. A file that has changed since `read_at`, when reading them began, counts as
    /// changed. The receiver gets word when changes are noticed; there is no need to wait for it.
    pub(crate) fn files(
        &self,
        files: impl IntoIterator<Item = PathBuf>,
        read_at: SystemTime,
    ) -> Receiver<()> {
        let (watched, receiver) = mpsc::sync_channel(1);
        if let Some(messages) = &self.messages {
            let files = Files { paths: files.into_iter().collect(), read_at, watched };
            if messages.send(Message::Files(files)).is_err() {
                tracing::error!(
                    "the thread that watches files has ended: changes go unnoticed until a restart"
                );
            }
        }
        receiver
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The notifier on the thread holds a sender too, so the end is said with an empty list of files: see `run`.
        if let Some(messages) = self.messages.take() {
            let (watched, _) = mpsc::sync_channel(1);
            let end = Files { paths: BTreeSet::new(), read_at: SystemTime::UNIX_EPOCH, watched };
            drop(messages.send(Message::Files(end)));
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The kernel's notifications, or `None` where it has none to give, which the poll makes up for.
fn notifier(
    sender: mpsc::SyncSender<Message>,
    relevant: Arc<Mutex<BTreeSet<PathBuf>>>,
) -> Option<notify::RecommendedWatcher> {
    let handler = move |event: notify::Result<notify::Event>| {
        let counts = match &event {
            Ok(event) => event.need_rescan() || (is_change(event.kind) && concerns(event, &relevant)),
            // What was lost is unknown, so everything is looked at.
            Err(_) => true,
        };
        if counts {
            // A full channel already holds what wakes the thread.
            drop(sender.try_send(Message::Event));
        }
    };
    notify::recommended_watcher(handler)
        .inspect_err(|error| tracing::warn!("files are watched by polling: {error}"))
        .ok()
}

fn is_change(kind: EventKind) -> bool {
    // Reading is no change, or every load would cause the next one.
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

fn concerns(event: &notify::Event, relevant: &Mutex<BTreeSet<PathBuf>>) -> bool {
    let relevant = relevant.lock().unwrap_or_else(PoisonError::into_inner);
    // A folder that is watched for what is in it, as an include with `*` is.
    let within = |path: &Path| path.parent().is_some_and(|folder| relevant.contains(folder));
    event.paths.iter().any(|path| relevant.contains(path) || within(path))
}

/// What the thread has.
struct State {
    receiver: Receiver<Message>,
    /// The files and the links that lead to them: an event of anything else in their folders is not for us.
    relevant: Arc<Mutex<BTreeSet<PathBuf>>>,
    notifier: Option<notify::RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    contents: BTreeMap<PathBuf, Content>,
    stamps: BTreeMap<PathBuf, Stamp>,
    changed: Box<dyn Fn() + Send>,
}

impl State {
    fn run(mut self) {
        loop {
            match self.receiver.recv_timeout(POLL) {
                Ok(Message::Event) => match self.wait_for_quiet() {
                    Some(files) if files.paths.is_empty() => return,
                    Some(files) => self.set_files(files),
                    None => self.compare(),
                },
                Ok(Message::Files(files)) if files.paths.is_empty() => return,
                Ok(Message::Files(files)) => self.set_files(files),
                Err(RecvTimeoutError::Timeout) => {
                    if self.stamps.iter().any(|(path, stamp)| *stamp != stamp_of(path)) {
                        self.compare();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Waits until no event came for [`QUIET`], and no longer than [`QUIET_MAX`]. A list of files ends it.
    fn wait_for_quiet(&self) -> Option<Files> {
        let end = Instant::now() + QUIET_MAX;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.receiver.recv_timeout(QUIET.min(left)) {
                Ok(Message::Event) if !left.is_zero() => {}
                Ok(Message::Files(files)) => return Some(files),
                _ => return None,
            }
        }
    }

    /// Reads all files again and tells if one is another than before.
    fn compare(&mut self) {
        let files: Vec<PathBuf> = self.contents.keys().cloned().collect();
        // Links may lead elsewhere by now. New watches come before reading, so that nothing falls between the two.
        self.follow(&files);
        let mut changed = false;
        for path in files {
            self.stamps.insert(path.clone(), stamp_of(&path));
            let content = content_of(&path);
            changed |= self.contents.insert(path, content) != Some(content);
        }
        if changed {
            (self.changed)();
        }
    }

    fn set_files(&mut self, Files { paths, read_at, watched }: Files) {
        let list: Vec<PathBuf> = paths.into_iter().collect();
        self.follow(&list);
        self.contents.retain(|path, _| list.contains(path));
        self.stamps.retain(|path, _| list.contains(path));
        let mut changed = false;
        for path in list {
            self.stamps.insert(path.clone(), stamp_of(&path));
            let content = content_of(&path);
            changed |= match self.contents.insert(path.clone(), content) {
                Some(before) => before != content,
                // Nothing is known of it but its time stamp.
                None => changed_at(&path).is_some_and(|at| at + CLOCK_STEP > read_at),
            };
        }
        // Nobody need be waiting.
        watched.try_send(()).unwrap_or_default();
        if changed {
            (self.changed)();
        }
    }

    /// Watches the folders of `files` and of every link on the way to them, and no others.
    fn follow(&mut self, files: &[PathBuf]) {
        let relevant: BTreeSet<PathBuf> = files.iter().flat_map(|path| way_to(path)).collect();
        let parents = relevant.iter().filter_map(|path| path.parent());
        let listed = files.iter().map(PathBuf::as_path).filter(|path| path.is_dir());
        let folders: BTreeSet<PathBuf> = parents.chain(listed).map(Path::to_path_buf).collect();
        *self.relevant.lock().unwrap_or_else(PoisonError::into_inner) = relevant;
        let Some(notifier) = &mut self.notifier else { return };
        for gone in self.folders.difference(&folders) {
            // A folder that no longer exists has lost its watch already.
            drop(notifier.unwatch(gone));
        }
        for folder in &folders {
            // Also those that are watched: a folder that was removed and made again is another one.
            if let Err(error) = notifier.watch(folder, RecursiveMode::NonRecursive)
                && !self.folders.contains(folder)
            {
                tracing::warn!(folder = %folder.display(), "the folder is watched by polling: {error}");
            }
        }
        self.folders = folders;
    }
}

/// `path` and every symbolic link that is followed on the way to the file, each as a path whose folder is a real one.
fn way_to(path: &Path) -> BTreeSet<PathBuf> {
    let mut way = BTreeSet::from([path.to_path_buf()]);
    let mut real = PathBuf::new();
    let mut rest: Vec<OsString> = components_reversed(path);
    let mut links = 0;
    while let Some(name) = rest.pop() {
        if name == ".." {
            real.pop();
            continue;
        }
        let next = real.join(&name);
        match std::fs::read_link(&next) {
            Ok(target) if links < LINKS_MAX => {
                links += 1;
                way.insert(next);
                if target.is_absolute() {
                    real = PathBuf::new();
                }
                rest.extend(components_reversed(&target));
            }
            _ => real = next,
        }
    }
    way.insert(real);
    way
}

fn components_reversed(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter(|component| !matches!(component, Component::CurDir));
    let mut parts: Vec<OsString> = parts.map(|component| component.as_os_str().to_owned()).collect();
    parts.reverse();
    parts
}

/// Bytes of a file that are compared.
const CONTENT_BYTES_MAX: u64 = 512 << 20;

fn content_of(path: &Path) -> Content {
    let mut digest = Sha256::new();
    let metadata = std::fs::metadata(path).map_err(|error| error.kind())?;
    if metadata.is_dir() {
        let names = std::fs::read_dir(path).map_err(|error| error.kind())?;
        let names: BTreeSet<OsString> = names.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        for name in names {
            digest.update(name.as_encoded_bytes());
            digest.update([0]);
        }
        return Ok(digest.finalize().into());
    }
    // Opening a pipe, as a shell makes for `-c <(…)`, would wait for its writer for ever.
    if !metadata.is_file() {
        return Err(io::ErrorKind::Unsupported);
    }
    // A config names no file that is larger and can be used. One that is grows on without a reading of all of it each time.
    if metadata.len() > CONTENT_BYTES_MAX {
        digest.update(format!("{:?}", stamp_of(path)));
        return Ok(digest.finalize().into());
    }
    let mut file = std::fs::File::open(path).map_err(|error| error.kind())?.take(CONTENT_BYTES_MAX);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match io::Read::read(&mut file, &mut buffer).map_err(|error| error.kind())? {
            0 => return Ok(digest.finalize().into()),
            read => digest.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// When the file became what it is: was written, or moved here (which leaves the time of writing as it was).
fn changed_at(path: &Path) -> Option<SystemTime> {
    let metadata = std::fs::metadata(path).ok()?;
    let moved = Duration::from_secs(u64::try_from(metadata.ctime()).ok()?);
    let moved = moved + Duration::from_nanos(u64::try_from(metadata.ctime_nsec()).ok()?);
    metadata.modified().ok().max(Some(SystemTime::UNIX_EPOCH + moved))
}

fn stamp_of(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok(), metadata.ino(), metadata.len()))
}

#[cfg(test)]
mod tests;
