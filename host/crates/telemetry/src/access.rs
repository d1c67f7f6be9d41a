//! The access log. Records go into a buffer of their worker, and full buffers to a thread that sorts the records of all
//! workers by the end of their exchanges and writes them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portcullis_model::{AccessLogFormat, LogTarget, PolicyCost};

use crate::order::{Batch, HandedOver, Mark};
use crate::record::AccessRecord;
use crate::sink::{LogFile, Loss, Output, Sink};
use crate::timestamp::Timestamp;

/// Bytes after which a worker hands over its buffer: some 150 records, so that a busy worker pays for the queue once
/// for that many exchanges.
const BUFFER_BYTES: usize = 32 * 1024;

/// Buffers that wait for the thread: 256 take 8 MiB, which is a third of a second at 100,000 records a second.
const QUEUE_MAX: usize = 256;

/// Records of the process that were lost, over all generations of its log.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Why the access log cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessLogError {
    /// The file cannot be opened.
    #[error("access log file `{}` cannot be opened: {source}; check that its folder exists and can be written to", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The thread cannot be started.
    #[error("the thread of the access log cannot be started: {0}")]
    Thread(std::io::Error),
}

/// The access log. Clones are the same log.
///
/// Each log has its own thread, which writes everything and ends when the last clone and writer are dropped. So after a
/// reload the log of the old generation ends by itself, and a file that was rotated away is closed.
#[derive(Debug, Clone, Default)]
pub struct AccessLog(Option<Arc<Open>>);

#[derive(Debug)]
struct Open {
    json: bool,
    sink: Sink,
}

impl AccessLog {
    /// Opens the log that `config` describes. A file is appended to, or created (readable by owner and group).
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(config: &portcullis_model::AccessLog) -> Result<Self, AccessLogError> {
        let json = match config.format {
            AccessLogFormat::Off => return Ok(Self::off()),
            AccessLogFormat::Text => false,
            AccessLogFormat::Json => true,
        };
        let output: Box<dyn Output> = match &config.target {
            LogTarget::Stdout => Box::new(std::io::stdout()),
            LogTarget::File(path) => {
                let file = LogFile::open(path);
                Box::new(file.map_err(|source| AccessLogError::File { path: path.clone(), source })?)
            }
        };
        Self::to(output, json)
    }

    fn to(output: Box<dyn Output>, json: bool) -> Result<Self, AccessLogError> {
        let sink = Sink::start("access-log", output, QUEUE_MAX, report, Some(&LOST))
            .map_err(AccessLogError::Thread)?;
        Ok(Self(Some(Arc::new(Open { json, sink }))))
    }

    /// Returns a log that writes nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Returns whether records are written at all. If not, a record need not even be made.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Returns whether `other` is the same log, opened once.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }

    /// Returns a writer for one worker, which must call [`AccessLogWriter::tick`] regularly: records of other workers
    /// wait for it.
    #[must_use]
    pub fn worker(&self) -> AccessLogWriter {
        let lines = Vec::with_capacity(if self.is_enabled() { BUFFER_BYTES + 1024 } else { 0 });
        AccessLogWriter {
            handed_over: self.0.as_ref().map(|open| open.sink.clock().worker()),
            log: self.clone(),
            batch: Batch { lines, marks: Vec::new() },
            timestamp: Timestamp::default(),
        }
    }

    /// Returns how many records of this process were lost, because the disk was full or the log was not read.
    #[must_use]
    pub fn lost() -> u64 {
        LOST.load(Ordering::Relaxed)
    }

    /// Reopens the file under its name, after logrotate has moved it away. Returns `false` if the log cannot keep up,
    /// so that the caller must try again. A failure to open is logged, and the old file is used on.
    pub fn reopen(&self) -> bool {
        self.0.as_ref().is_none_or(|open| open.sink.reopen())
    }

    /// Waits until everything that writers have flushed is written, at most for `timeout`, and returns whether it is.
    /// For the end of the process, after the workers; it blocks the thread.
    pub fn sync(&self, timeout: Duration) -> bool {
        self.0.as_ref().is_none_or(|open| open.sink.sync(timeout))
    }
}

fn report(loss: Loss) -> Option<Vec<u8>> {
    let (lost, error) = (loss.lines, loss.error.map(tracing::field::display));
    if loss.recovered {
        tracing::info!(
            lost,
            error,
            "the access log can be written again; so many records were lost since the last report"
        );
    } else {
        tracing::warn!(lost, error, "access log records were lost, or their file could not be reopened");
    }
    None
}

/// Writes one worker's records to the access log. Dropping it flushes.
#[derive(Debug)]
pub struct AccessLogWriter {
    log: AccessLog,
    handed_over: Option<HandedOver>,
    batch: Batch,
    timestamp: Timestamp,
}

impl AccessLogWriter {
    /// Returns whether records are written at all.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.log.is_enabled()
    }

    /// Writes one record, with the attributes that policies have set and the cost of each. Never waits: a full buffer
    /// goes to the log's thread.
    pub fn record<'a>(
        &mut self,
        record: &AccessRecord<'_>,
        attributes: impl Iterator<Item = (&'a str, &'a str)>,
        policies: impl Iterator<Item = (&'a str, &'a PolicyCost)>,
    ) {
        let Some(open) = &self.log.0 else { return };
        let Batch { lines, marks } = &mut self.batch;
        let before = lines.len();
        if open.json {
            record.push_json(lines, &mut self.timestamp, attributes, policies);
        } else {
            record.push_text(lines, &mut self.timestamp, attributes);
        }
        let ended = open.sink.clock().nanos(record.ended);
        marks.push(Mark { ended, bytes: u32::try_from(lines.len() - before).unwrap_or(u32::MAX) });
        if lines.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    /// Hands over what is buffered, and announces that nothing older follows.
    pub fn flush(&mut self) {
        let (Some(open), Some(handed_over)) = (&self.log.0, &self.handed_over) else { return };
        let now = Instant::now();
        if !self.batch.marks.is_empty() {
            let next = Batch {
                lines: Vec::with_capacity(self.batch.lines.capacity().min(2 * BUFFER_BYTES)),
                marks: Vec::with_capacity(self.batch.marks.len()),
            };
            open.sink.send_batch(std::mem::replace(&mut self.batch, next));
        }
        handed_over.until(now);
    }

    /// Hands over what is buffered. The worker calls it about ten times a second, so that the log shows what happens
    /// now.
    pub fn tick(&mut self) {
        self.flush();
    }
}

impl Drop for AccessLogWriter {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests;
