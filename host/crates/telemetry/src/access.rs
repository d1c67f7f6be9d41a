//! The access log: records go into a buffer of their worker, full buffers to a thread that writes them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_model::{AccessLogFormat, LogTarget, PolicyCost};

use crate::record::AccessRecord;
use crate::sink::{Loss, Output, Sink};
use crate::stamp::Stamp;

/// Bytes after which a worker's buffer is handed on: some 150 records, so that a busy worker pays for the queue once in
/// as many exchanges.
const BUFFER_BYTES: usize = 32 * 1024;

/// Buffers that wait for the thread: 256 take 8 MiB, and at 100,000 records a second last for a third of a second.
const QUEUE_MAX: usize = 256;

/// How long a record may lie in its buffer, so that who watches the log sees what happens.
const FLUSH_AFTER: Duration = Duration::from_millis(200);

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
/// Each one has its own thread, which ends, with all written, when the last clone and writer are dropped; so after a
/// reload the log of the old generation ends by itself, and one that was rotated away is let go.
#[derive(Debug, Clone, Default)]
pub struct AccessLog(Option<Arc<Open>>);

#[derive(Debug)]
struct Open {
    json: bool,
    sink: Sink,
}

impl AccessLog {
    /// Opens what `config` describes. A file is appended to, and made (readable by owner and group) if there is none.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub fn open(config: &portcullis_model::AccessLog) -> Result<Self, AccessLogError> {
        let json = match config.format {
            AccessLogFormat::Off => return Ok(Self::off()),
            AccessLogFormat::Text => false,
            AccessLogFormat::Json => true,
        };
        let output = match &config.target {
            LogTarget::Stdout => Output::Stdout,
            LogTarget::File(path) => {
                Output::file(path).map_err(|source| AccessLogError::File { path: path.clone(), source })?
            }
        };
        Self::to(output, json)
    }

    fn to(output: Output, json: bool) -> Result<Self, AccessLogError> {
        let sink = Sink::start("access-log", output, QUEUE_MAX, tell).map_err(AccessLogError::Thread)?;
        Ok(Self(Some(Arc::new(Open { json, sink }))))
    }

    /// No access log.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Whether records are written at all. Where not, a record need not even be made.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Whether `other` is the same log, opened once.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }

    /// A writer for one worker.
    #[must_use]
    pub fn worker(&self) -> AccessLogWriter {
        let buffer = Vec::with_capacity(if self.is_enabled() { BUFFER_BYTES + 1024 } else { 0 });
        AccessLogWriter {
            log: self.clone(),
            buffer,
            records: 0,
            since: Instant::now(),
            stamp: Stamp::default(),
        }
    }

    /// Opens a file anew under its name, after logrotate has moved it away. Says `false` where the log cannot keep up,
    /// so that it has to be asked again; failure to open is logged, and the old file goes on.
    pub fn reopen(&self) -> bool {
        self.0.as_ref().is_none_or(|open| open.sink.reopen())
    }

    /// Waits until all that writers have flushed is written, at most for `patience`; says whether it is. For the end of
    /// the process, after the workers; it blocks the thread.
    pub fn sync(&self, patience: Duration) -> bool {
        self.0.as_ref().is_none_or(|open| open.sink.sync(patience))
    }
}

fn tell(loss: Loss) -> Option<Vec<u8>> {
    let (lost, error) = (loss.lines, loss.error.map(tracing::field::display));
    tracing::warn!(lost, error, "access log records were lost, or their file could not be reopened");
    None
}

/// One worker's way into the access log. Dropping it flushes.
#[derive(Debug)]
pub struct AccessLogWriter {
    log: AccessLog,
    buffer: Vec<u8>,
    records: u64,
    since: Instant,
    stamp: Stamp,
}

impl AccessLogWriter {
    /// Whether records are written at all.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.log.is_enabled()
    }

    /// Writes one record, with what policies have set and what each has cost. Never waits; a full buffer goes to the log's thread.
    pub fn record<'a>(
        &mut self,
        record: &AccessRecord<'_>,
        attributes: impl Iterator<Item = (&'a str, &'a str)>,
        policies: impl Iterator<Item = (&'a str, &'a PolicyCost)>,
    ) {
        let Some(open) = &self.log.0 else { return };
        if open.json {
            record.push_json(&mut self.buffer, &mut self.stamp, attributes, policies);
        } else {
            record.push_text(&mut self.buffer, &mut self.stamp, attributes);
        }
        self.records += 1;
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    /// Hands on what is buffered.
    pub fn flush(&mut self) {
        self.since = Instant::now();
        let Some(open) = &self.log.0 else { return };
        if !self.buffer.is_empty() {
            let next = Vec::with_capacity(self.buffer.capacity().min(2 * BUFFER_BYTES));
            open.sink.send(std::mem::replace(&mut self.buffer, next), self.records);
            self.records = 0;
        }
    }

    /// Hands on what is buffered if the last time was 200 ms ago. For the worker to call every now and then.
    pub fn tick(&mut self) {
        if !self.buffer.is_empty() && self.since.elapsed() >= FLUSH_AFTER {
            self.flush();
        }
    }
}

impl Drop for AccessLogWriter {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests;
