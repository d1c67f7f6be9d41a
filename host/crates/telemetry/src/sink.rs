//! A thread that writes lines, behind a bounded queue.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// How often losses are told of.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Where lines go.
#[derive(Debug)]
pub(crate) enum Output {
    Stdout,
    Stderr,
    File {
        path: PathBuf,
        file: File,
    },
    /// For tests: whatever takes bytes.
    #[cfg(test)]
    Other(Box<dyn OtherOutput>),
}

#[cfg(test)]
pub(crate) trait OtherOutput: Write + Send + std::fmt::Debug {}

impl Output {
    /// A file that is appended to, made if there is none. Others than its owner and group cannot read it: it says who
    /// asked for what.
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        Ok(Self::File { path: path.to_owned(), file: append(path)? })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(bytes),
            Self::File { file, .. } => file.write_all(bytes),
            #[cfg(test)]
            Self::Other(other) => other.write_all(bytes),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Self::File { path, file } = self {
            *file = append(path)?;
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path)
}

/// Tells of lost lines and of failures to write. It runs on the writing thread and returns a line to write, if any.
pub(crate) type Tell = fn(Loss) -> Option<Vec<u8>>;

/// What could not be written.
#[derive(Debug)]
pub(crate) struct Loss {
    /// Lines that were lost since the last report.
    pub(crate) lines: u64,
    /// The last error of writing or reopening.
    pub(crate) error: Option<io::Error>,
}

#[derive(Debug)]
enum Message {
    Lines {
        bytes: Vec<u8>,
        lines: u64,
    },
    Reopen,
    /// Answered when all before it is written.
    Sync(SyncSender<()>),
}

/// The way to the thread. The thread ends, with all written, when this is dropped.
#[derive(Debug)]
pub(crate) struct Sink {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Sink {
    /// Starts a thread that writes to `output`, with room for `queue_max` messages.
    pub(crate) fn start(name: &str, output: Output, queue_max: usize, tell: Tell) -> io::Result<Self> {
        let (queue, messages) = sync_channel(queue_max);
        let lost = Arc::new(AtomicU64::new(0));
        let thread = Thread { output, tell, lost: Arc::clone(&lost), error: None, reported: None };
        std::thread::Builder::new().name(name.to_owned()).spawn(move || thread.run(&messages))?;
        Ok(Self { queue, lost })
    }

    /// Hands over whole lines. They are lost, and counted, where the thread cannot keep up. Never waits.
    pub(crate) fn send(&self, bytes: Vec<u8>, lines: u64) {
        if self.queue.try_send(Message::Lines { bytes, lines }).is_err() {
            self.lost.fetch_add(lines, Ordering::Relaxed);
        }
    }

    /// Has a file opened anew under its name. Lost like lines when the thread cannot keep up; then `false`.
    pub(crate) fn reopen(&self) -> bool {
        self.queue.try_send(Message::Reopen).is_ok()
    }

    /// Waits until all that was handed over is written, at most for `patience`; says whether it is.
    pub(crate) fn sync(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let (done, answer) = sync_channel(1);
        let mut message = Message::Sync(done);
        loop {
            match self.queue.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < deadline => message = back,
                Err(_) => return false,
            }
            // The queue is full and std's has no send with a deadline. Only the end of the process waits here.
            std::thread::park_timeout(Duration::from_millis(1));
        }
        answer.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
    }
}

struct Thread {
    output: Output,
    tell: Tell,
    lost: Arc<AtomicU64>,
    error: Option<io::Error>,
    reported: Option<Instant>,
}

impl Thread {
    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            match message {
                Message::Lines { bytes, lines } => {
                    if let Err(error) = self.output.write(&bytes) {
                        self.lost.fetch_add(lines, Ordering::Relaxed);
                        self.error = Some(error);
                    }
                }
                // With the old file still open: lines under a name that is gone are better than none.
                Message::Reopen => self.error = self.output.reopen().err().or(self.error.take()),
                // Who asked may have lost patience.
                Message::Sync(done) => drop(done.try_send(())),
            }
            self.report();
        }
    }

    fn report(&mut self) {
        if self.lost.load(Ordering::Relaxed) == 0 && self.error.is_none() {
            return;
        }
        if self.reported.is_some_and(|last| last.elapsed() < REPORT_EVERY) {
            return;
        }
        self.reported = Some(Instant::now());
        let loss = Loss { lines: self.lost.swap(0, Ordering::Relaxed), error: self.error.take() };
        if let Some(line) = (self.tell)(loss) {
            // Where this fails as well there is nobody left to tell.
            drop(self.output.write(&line));
        }
    }
}

#[cfg(test)]
mod tests;
