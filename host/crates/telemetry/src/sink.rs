//! A thread that writes lines, behind a bounded queue.
//!
//! Lines are written in the order of their arrival ([`Sink::send`]) or of the ends of their exchanges
//! ([`Sink::send_batch`]). A write that fails half-way, on a full disk, leaves a torn line; the next write that works
//! starts a new line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use crate::order::{Batch, Clock, Waiting};

/// How often losses are reported.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// How often the thread checks whether batches may be written.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Bytes of ordered lines that are written at once.
const WRITE_BYTES: usize = 64 * 1024;

/// The output of lines. Only the thread that writes uses it.
pub(crate) trait Output: Write + Send + std::fmt::Debug {
    /// Reopens it under its name, if it has one: the file may have been moved away.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for io::Stdout {}

impl Output for io::Stderr {}

/// A file that is appended to.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    /// Opens the file, or creates it. Only its owner and group can read it, because it shows who requested what.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: append(path)? })
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Output for LogFile {
    fn reopen(&mut self) -> io::Result<()> {
        self.file = append(&self.path)?;
        Ok(())
    }
}

/// Writes all of `bytes` and flushes. Adds what was written to `written`, even if it fails.
fn write_all(to: &mut dyn Output, bytes: &[u8], written: &mut usize) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match to.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => {
                *written += bytes;
                rest = &rest[bytes.min(rest.len())..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    to.flush()
}

fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path)
}

/// Reports lost lines and failed writes. It runs on the writing thread and returns a line to write, if any.
pub(crate) type Report = fn(Loss) -> Option<Vec<u8>>;

/// What could not be written.
#[derive(Debug)]
pub(crate) struct Loss {
    /// Lines that were lost since the last report.
    pub(crate) lines: u64,
    /// The last error of writing or reopening.
    pub(crate) error: Option<io::Error>,
    /// Writing failed before and works again.
    pub(crate) recovered: bool,
}

#[derive(Debug)]
enum Message {
    Lines {
        bytes: Vec<u8>,
        lines: u64,
    },
    Batch(Batch),
    Reopen,
    /// Answered when everything before it is written.
    Sync(SyncSender<()>),
}

/// Hands lines to the thread. The thread writes everything and ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Sink {
    queue: SyncSender<Message>,
    lost: Arc<Lost>,
    clock: Clock,
}

/// Lines that were lost.
#[derive(Debug, Default)]
struct Lost {
    /// Since the last report.
    unreported: AtomicU64,
    /// Of the whole process: of all sinks that count there.
    total: Option<&'static AtomicU64>,
}

impl Lost {
    fn add(&self, lines: u64) {
        self.unreported.fetch_add(lines, Ordering::Relaxed);
        if let Some(total) = self.total {
            total.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

impl Sink {
    /// Starts a thread that writes to `output`, with room for `queue_max` messages. Lines that are lost are added to
    /// `total`.
    pub(crate) fn start(
        name: &str,
        output: Box<dyn Output>,
        queue_max: usize,
        report: Report,
        total: Option<&'static AtomicU64>,
    ) -> io::Result<Self> {
        let (queue, messages) = sync_channel(queue_max);
        let (lost, clock) = (Arc::new(Lost { total, ..Lost::default() }), Clock::new());
        let thread = Thread {
            output,
            report,
            lost: Arc::clone(&lost),
            clock: clock.clone(),
            waiting: Waiting::default(),
            torn: false,
            failing: false,
            error: None,
            reported: None,
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(move || thread.run(&messages))?;
        Ok(Self { queue, lost, clock })
    }

    /// Returns the clock by which batches are sorted.
    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Hands over a batch, whose lines are written in the order of their ends. As [`Sink::send`].
    pub(crate) fn send_batch(&self, batch: Batch) {
        let lines = batch.marks.len() as u64;
        if self.queue.try_send(Message::Batch(batch)).is_err() {
            self.lost.add(lines);
        }
    }

    /// Hands over whole lines. They are dropped, and counted, if the thread cannot keep up. Never waits.
    pub(crate) fn send(&self, bytes: Vec<u8>, lines: u64) {
        if self.queue.try_send(Message::Lines { bytes, lines }).is_err() {
            self.lost.add(lines);
        }
    }

    /// Has the file reopened under its name. Returns `false` if the thread cannot keep up, so that the request was
    /// dropped.
    pub(crate) fn reopen(&self) -> bool {
        self.queue.try_send(Message::Reopen).is_ok()
    }

    /// Waits until everything that was handed over is written, at most for `timeout`, and returns whether it is.
    pub(crate) fn sync(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
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
    output: Box<dyn Output>,
    report: Report,
    lost: Arc<Lost>,
    clock: Clock,
    waiting: Waiting,
    /// The last write ended within a line.
    torn: bool,
    /// The last write failed.
    failing: bool,
    error: Option<io::Error>,
    reported: Option<Instant>,
}

impl Thread {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut out = Vec::new();
        loop {
            let first = if self.waiting.is_empty() {
                messages.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                messages.recv_timeout(LOOK_EVERY)
            };
            // Read before the queue is emptied: everything that ended by then is in it.
            let until = self.clock.handed_over();
            let ended = matches!(first, Err(RecvTimeoutError::Disconnected));
            for message in first.into_iter().chain(std::iter::from_fn(|| messages.try_recv().ok())) {
                self.handle(message, &mut out);
                self.report_if_due();
            }
            self.write_waiting(if ended || self.waiting.is_full() { u64::MAX } else { until }, &mut out);
            self.report_if_due();
            if ended {
                return;
            }
        }
    }

    fn handle(&mut self, message: Message, out: &mut Vec<u8>) {
        match message {
            Message::Lines { bytes, lines } => self.write(&bytes, lines),
            Message::Batch(batch) => {
                self.waiting.push(batch);
                if self.waiting.is_full() {
                    self.write_waiting(u64::MAX, out);
                }
            }
            // If this fails, the old file stays open: lines under a name that is gone are better than none.
            Message::Reopen => {
                self.write_waiting(u64::MAX, out);
                match self.output.reopen() {
                    Ok(()) => self.torn = false,
                    Err(error) => self.error = Some(error),
                }
            }
            Message::Sync(done) => {
                self.write_waiting(u64::MAX, out);
                // The caller may have stopped waiting.
                let _unheard = done.try_send(()).is_err();
            }
        }
    }

    /// Writes the records that ended by `until`.
    fn write_waiting(&mut self, until: u64, out: &mut Vec<u8>) {
        loop {
            out.clear();
            let records = self.waiting.take(until, WRITE_BYTES, out);
            if records == 0 {
                return;
            }
            self.write(out, records);
        }
    }

    fn write(&mut self, bytes: &[u8], lines: u64) {
        if self.torn {
            match write_all(&mut *self.output, b"\n", &mut 0) {
                Ok(()) => self.torn = false,
                Err(error) => return self.failed(error, lines),
            }
        }
        let mut written = 0;
        match write_all(&mut *self.output, bytes, &mut written) {
            Ok(()) if self.failing => {
                self.failing = false;
                self.report_now(true);
            }
            Ok(()) => {}
            Err(error) => {
                let whole = bytes[..written.min(bytes.len())].iter().filter(|byte| **byte == b'\n').count();
                self.torn = written > 0 && bytes.get(written - 1) != Some(&b'\n');
                self.failed(error, lines.saturating_sub(whole as u64));
            }
        }
    }

    fn failed(&mut self, error: io::Error, lines: u64) {
        self.failing = true;
        self.lost.add(lines);
        self.error = Some(error);
    }

    fn report_if_due(&mut self) {
        if self.lost.unreported.load(Ordering::Relaxed) == 0 && self.error.is_none() {
            return;
        }
        if self.reported.is_some_and(|last| last.elapsed() < REPORT_EVERY) {
            return;
        }
        self.report_now(false);
    }

    fn report_now(&mut self, recovered: bool) {
        self.reported = Some(Instant::now());
        let lines = self.lost.unreported.swap(0, Ordering::Relaxed);
        let loss = Loss { lines, error: self.error.take(), recovered };
        if let Some(line) = (self.report)(loss) {
            // If this fails as well, there is nowhere left to report it.
            drop(write_all(&mut *self.output, &line, &mut 0));
        }
    }
}

#[cfg(test)]
mod tests;
