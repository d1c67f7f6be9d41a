//! Notices that one of the files a configuration was made of has changed, and waits until the change is whole.
//!
//! The folders are watched, not the files: editors and deployment tools replace files by renaming, and Kubernetes swaps
//! the `..data` link beside them, and either would leave a watch on a file that is no longer at its path. If the kernel
//! does not notify (network file systems, a renamed folder), a slow poll of the files' metadata notices changes.
//!
//! A file that is copied, or is one of several that are, is half there for a while. Three things show that it is whole:
//! its writer has closed it, nothing has changed for the settle time, or it was renamed into place.

mod events;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use portcullis_model::Lock;

use notify::{RecursiveMode, Watcher as _};
use sha2::{Digest, Sha256};

use self::events::{Scope, Seen};
use crate::run::stamp::{CLOCK_STEP, Stamp};

/// The least that is waited after a change, if the settle time is not shorter: a deployment renames and changes modes
/// at once.
const QUIET: Duration = Duration::from_millis(100);

/// The wait for a file that was written to and is not closed yet. One that was then left alone for so long is taken as
/// it is: its writer may keep it open for ever.
const UNCLOSED_MAX: Duration = Duration::from_secs(30);

/// If changes go on for longer than this, the log says so once: until they end, nothing is loaded.
const RESTLESS_AFTER: Duration = Duration::from_secs(30);

/// The interval at which metadata is compared, for changes that the kernel does not report.
const POLL: Duration = Duration::from_secs(2);

/// The content of a file whose last change was this long ago when it was read is that of its stamp. A younger one is
/// read again: two changes may bear one time.
const STAMP_HOLDS_AFTER: Duration = Duration::from_secs(2);

/// As Linux has it (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Watches files on a thread of its own, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    messages: Option<mpsc::SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
}

/// A message to the thread.
#[derive(Debug)]
enum Message {
    /// Something happened to a path that counts.
    Event,
    /// These are the files from now on.
    Files(Files),
    /// There is nothing more to watch.
    End,
}

/// What is watched.
#[derive(Debug)]
struct Files {
    /// The files and folders.
    paths: BTreeSet<PathBuf>,
    /// Reading them began then.
    read_at: SystemTime,
    /// Nothing may have changed for so long before a change counts.
    settle: Duration,
    /// Gets word when they are watched.
    watched: mpsc::SyncSender<()>,
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    content: Content,
    stamp: Option<Stamp>,
    /// Whether the content of the file is this one for as long as it bears this stamp.
    holds: bool,
}

/// The digest of a file's bytes (of a folder, of the names in it), or why there are none.
type Content = Result<[u8; 32], io::ErrorKind>;

impl Watch {
    /// Starts with no files. `changed` is called, on the watching thread, each time the content of a file has become
    /// another and the change is whole; it must not block.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn start(changed: impl Fn() + Send + 'static) -> io::Result<Self> {
        // One waiting event stands for any number of them, but a list of files must not be lost: it waits for a place.
        let (sender, receiver) = mpsc::sync_channel(2);
        let seen = Arc::new(Lock::new(Seen::default()));
        let notifier = notifier(sender.clone(), Arc::clone(&seen));
        let state = State {
            receiver,
            seen,
            notifier,
            folders: BTreeSet::new(),
            files: BTreeMap::new(),
            settle: QUIET,
            pending: None,
            changed: Box::new(changed),
        };
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || state.run())?;
        Ok(Self { messages: Some(sender), thread: Some(thread) })
    }

    /// Watches exactly `files` from now on. A file that has changed since `read_at`, when reading them began, counts as
    /// changed. A change is reported when nothing has changed for `settle`, or sooner if it is known to be whole. The
    /// receiver gets word when changes are noticed; there is no need to wait for it.
    pub(crate) fn files(
        &self,
        files: impl IntoIterator<Item = PathBuf>,
        read_at: SystemTime,
        settle: Duration,
    ) -> Receiver<()> {
        let (watched, receiver) = mpsc::sync_channel(1);
        if let Some(messages) = &self.messages {
            let files = Files { paths: files.into_iter().collect(), read_at, settle, watched };
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
        // The notifier on the thread holds a sender too, so the end has to be said.
        if let Some(messages) = self.messages.take() {
            drop(messages.send(Message::End));
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The kernel's notifications, or `None` if there are none; then only the poll notices changes.
fn notifier(sender: mpsc::SyncSender<Message>, seen: Arc<Lock<Seen>>) -> Option<notify::RecommendedWatcher> {
    let handler = move |event: notify::Result<notify::Event>| {
        if seen.lock().take(event) {
            // A full channel already holds what wakes the thread.
            drop(sender.try_send(Message::Event));
        }
    };
    notify::recommended_watcher(handler)
        .inspect_err(|error| tracing::warn!("files are watched by polling: {error}"))
        .ok()
}

/// What the thread has.
struct State {
    receiver: Receiver<Message>,
    /// What happened, and which paths count.
    seen: Arc<Lock<Seen>>,
    notifier: Option<notify::RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Known>,
    settle: Duration,
    pending: Option<Pending>,
    changed: Box<dyn Fn() + Send>,
}

/// A change that may not be whole yet.
struct Pending {
    /// When it began, and when the last part of it came.
    since: Instant,
    last: Instant,
    /// Whether it is known that a content is another than the one that was loaded.
    certain: bool,
    /// The stamps at the last poll, for changes that the kernel did not report.
    look: Option<Vec<Option<Stamp>>>,
    polled: bool,
    /// Whether the log says that it does not end.
    told: bool,
}

impl State {
    fn run(mut self) {
        loop {
            match self.receiver.recv_timeout(self.wait_time()) {
                Ok(Message::Event) => self.touch(),
                Ok(Message::Files(files)) => self.set_files(files),
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) if self.pending.is_some() => self.due(),
                Err(RecvTimeoutError::Timeout) => self.poll(),
            }
        }
    }

    /// How long to wait for the next event before something has to be done.
    fn wait_time(&self) -> Duration {
        match &self.pending {
            Some(pending) => self.wait(pending).saturating_sub(pending.last.elapsed()),
            None => POLL,
        }
    }

    /// How long nothing may have happened before the change counts as whole.
    fn wait(&self, pending: &Pending) -> Duration {
        if pending.polled {
            return self.settle.max(POLL);
        }
        let quick = QUIET.min(self.settle);
        let seen = self.lock();
        if seen.is_being_written() {
            return UNCLOSED_MAX.max(self.settle);
        }
        // What is one file, and nothing else, has no parts that could come later. So has a folder that is swapped
        // whole.
        let sole = match self.files.iter().next() {
            Some((path, known)) if self.files.len() == 1 => Some((path, known)),
            _ => None,
        };
        if seen.is_renamed(sole.map(|(path, _)| path.as_path())) {
            return quick;
        }
        let shrank = |(path, known): (&PathBuf, &Known)| {
            let bytes = |stamp: Option<Stamp>| stamp.map_or(0, |stamp| stamp.bytes());
            bytes(Stamp::of(path)) < bytes(known.stamp) / 10 * 9
        };
        // Written in one go and closed. The first part of what is written in parts is shorter than
        // what was there before.
        if seen.is_rewritten() && sole.is_some_and(|sole| !shrank(sole)) {
            return (self.settle / 4).max(quick);
        }
        self.settle
    }

    /// Something happened.
    fn touch(&mut self) {
        let now = Instant::now();
        let pending = self.pending.get_or_insert(Pending {
            since: now,
            last: now,
            certain: false,
            look: None,
            polled: false,
            told: false,
        });
        pending.last = now;
        if !pending.told && now.duration_since(pending.since) > RESTLESS_AFTER {
            pending.told = true;
            tracing::warn!(
                event = "restless",
                "files of the configuration have been changing for {RESTLESS_AFTER:?} without a pause of {:?} \
                 (`server.settle`); they are loaded when they rest, or with `portcullis reload` as they are",
                self.settle
            );
        }
    }

    /// Looks for changes that the kernel did not report.
    fn poll(&mut self) {
        if self.files.iter().any(|(path, known)| known.stamp != Stamp::of(path)) {
            self.touch();
            if let Some(pending) = &mut self.pending {
                pending.polled = true;
            }
        }
    }

    /// Nothing happened for as long as had to be waited.
    fn due(&mut self) {
        if let Some(pending) = &mut self.pending
            && pending.polled
        {
            let look: Vec<Option<Stamp>> = self.files.keys().map(|path| Stamp::of(path)).collect();
            if pending.look.as_ref() != Some(&look) {
                pending.look = Some(look);
                return self.touch();
            }
        }
        let certain = self.pending.take().is_some_and(|pending| pending.certain);
        self.lock().settled();
        if self.compare() || certain {
            (self.changed)();
        }
    }

    /// Reads what may have changed and says if something is another than before.
    fn compare(&mut self) -> bool {
        let files: Vec<PathBuf> = self.files.keys().cloned().collect();
        // Links may lead elsewhere by now. New watches come before reading, so that nothing falls between the two.
        self.follow(&files);
        let mut changed = false;
        for path in files {
            let before = self.files.get(&path).copied();
            let known = know(&path, before);
            changed |= before.is_none_or(|before| before.content != known.content);
            self.files.insert(path, known);
        }
        changed
    }

    fn set_files(&mut self, Files { paths, read_at, settle, watched }: Files) {
        self.settle = settle;
        let list: Vec<PathBuf> = paths.into_iter().collect();
        self.follow(&list);
        self.files.retain(|path, _| list.contains(path));
        let mut changed = false;
        for path in list {
            let before = self.files.get(&path).copied();
            let known = know(&path, before);
            changed |= match before {
                Some(before) => before.content != known.content,
                None => has_changed_since(read_at, &known, Stamp::of(&path)),
            };
            self.files.insert(path, known);
        }
        if self.files.is_empty() {
            self.pending = None;
        }
        // The receiver may be gone.
        watched.try_send(()).unwrap_or_default();
        if changed {
            self.touch();
            if let Some(pending) = &mut self.pending {
                pending.certain = true;
            }
        }
    }

    /// Watches the folders of `files` and of every link on the way to them, and no others.
    fn follow(&mut self, files: &[PathBuf]) {
        let ways: BTreeSet<PathBuf> = files.iter().flat_map(|path| way_to(path)).collect();
        let parents = ways.iter().filter_map(|path| path.parent());
        let listed: BTreeSet<PathBuf> = files.iter().filter(|path| path.is_dir()).cloned().collect();
        let folders: BTreeSet<PathBuf> =
            parents.chain(listed.iter().map(PathBuf::as_path)).map(Path::to_path_buf).collect();
        self.lock().set(Scope::new(ways, listed, files));
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

    // What is in it is whole at every moment, so a panic elsewhere does not spoil it.
    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock()
    }
}

/// What is known of the file from now on. One that bears the stamp that it had is not read.
fn know(path: &Path, before: Option<Known>) -> Known {
    let stamp = Stamp::of(path);
    if let Some(before) = before
        && before.holds
        && before.stamp == stamp
    {
        return before;
    }
    let now = SystemTime::now();
    let content = content_of(path);
    // The stamp is older than the reading, so a change meanwhile bears another one.
    let holds = content.is_ok()
        && stamp.is_some_and(|stamp| {
            now.duration_since(stamp.changed_at()).is_ok_and(|age| age > STAMP_HOLDS_AFTER)
        });
    Known { content, stamp, holds }
}

/// Returns whether a file that was read from `read_at` on, and of which no content was known until now, is another one
/// since. `after` is its stamp once its content was read: a file that came, or was replaced, after `known.stamp` was
/// taken has its new content in `known`, and no later comparison would find a difference.
fn has_changed_since(read_at: SystemTime, known: &Known, after: Option<Stamp>) -> bool {
    known.stamp != after || after.is_some_and(|stamp| stamp.changed_at() + CLOCK_STEP > read_at)
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
    // A config names no file that is larger and can be used. One that is grows on without a reading of all of it each
    // time.
    if metadata.len() > CONTENT_BYTES_MAX {
        digest.update(format!("{:?}", Stamp::of(path)));
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

#[cfg(test)]
mod tests;
