//! The gateway's own log, on standard error.

use std::borrow::Cow;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::limit::LineLimit;
use crate::sink::{Loss, Output, Sink, Tell};
use crate::stamp::rfc3339;

/// Lines that wait for the thread. Ordinary operation has a few a minute; a burst of warnings fits, and where the reader
/// of standard error stands still no worker waits for it.
const QUEUE_MAX: usize = 4096;

/// Bytes of one line that are kept: a backtrace fits.
const LINE_MAX: usize = 64 * 1024;

static SINK: OnceLock<Sink> = OnceLock::new();

/// Lines of the process that were lost.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many lines of this process' log were lost, because standard error was not read.
#[must_use]
pub fn lost_log_lines() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people; in colour on a terminal, unless `NO_COLOR` is set.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The levels are malformed.
    #[error(
        "`{levels}` are no log levels: write error, warn, info, debug or trace, or `info,portcullis_proxy=debug` for one part"
    )]
    Levels {
        /// What was given.
        levels: String,
    },
    /// There is a log already.
    #[error("the log is set up already")]
    Already,
    /// The thread cannot be started.
    #[error("the thread of the log cannot be started: {0}")]
    Thread(io::Error),
}

/// Sets the log of the process up, once. `levels` is a level, or levels by module (`info,portcullis_proxy=debug`); the
/// environment is not read, that is for the command line to do. A level alone is the gateway's: libraries log errors, but
/// with `debug` and `trace` whatever is asked for, because they warn about whatever a peer does.
///
/// Lines go to standard error through a thread, so that who logs never waits; [`flush`] before the process ends.
///
/// # Errors
/// Where the levels are malformed, or it was called before.
pub fn init(format: LogFormat, levels: &str) -> Result<(), InitError> {
    let filter = EnvFilter::try_new(directives(levels))
        .map_err(|_| InitError::Levels { levels: levels.to_owned() })?;
    let (tell, left_out): (Tell, fn(&'static str, u64)) = match format {
        LogFormat::Text => (tell_text, left_out_text),
        LogFormat::Json => (tell_json, left_out_json),
    };
    let sink = Sink::start("log", Output::Stderr, QUEUE_MAX, tell, Some(&LOST)).map_err(InitError::Thread)?;
    SINK.set(sink).map_err(|_| InitError::Already)?;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer();
    let done = match format {
        LogFormat::Text => {
            let colour =
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            let layer = layer.with_ansi(colour).with_writer(Lines { indent: true });
            registry.with(layer.with_filter(LineLimit::new(left_out))).try_init()
        }
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true).with_writer(Lines { indent: false });
            registry.with(layer.with_filter(LineLimit::new(left_out))).try_init()
        }
    };
    done.map_err(|_| InitError::Already)
}

/// Waits until all that was logged is written, at most for `patience`; says whether it is. For the end of the process.
pub fn flush(patience: Duration) -> bool {
    SINK.get().is_none_or(|sink| sink.sync(patience))
}

/// The directives for `levels`.
fn directives(levels: &str) -> Cow<'_, str> {
    match levels.parse() {
        Ok(level @ (Level::INFO | Level::WARN)) => Cow::Owned(format!("error,portcullis={level}")),
        _ => Cow::Borrowed(levels),
    }
}

fn left_out_text(target: &'static str, lines: u64) {
    let time = rfc3339(SystemTime::now());
    send(format!("{time}  WARN {target}: {lines} more lines like the last one were left out\n"));
}

fn left_out_json(target: &'static str, lines: u64) {
    let time = rfc3339(SystemTime::now());
    send(format!(
        "{{\"timestamp\":\"{time}\",\"level\":\"WARN\",\"message\":\"more lines like the last one were left out\",\
         \"left_out\":{lines},\"target\":\"{target}\"}}\n"
    ));
}

fn send(line: String) {
    if let Some(sink) = SINK.get() {
        sink.send(line.into_bytes(), 1);
    }
}

fn tell_text(loss: Loss) -> Option<Vec<u8>> {
    Some(format!("{} log lines were lost: standard error is not read fast enough\n", loss.lines).into_bytes())
}

fn tell_json(loss: Loss) -> Option<Vec<u8>> {
    let line = format!(
        "{{\"level\":\"WARN\",\"message\":\"log lines were lost: standard error is not read fast enough\",\"lost\":{}}}\n",
        loss.lines
    );
    Some(line.into_bytes())
}

/// Makes a line of each event.
#[derive(Debug, Clone, Copy)]
struct Lines {
    indent: bool,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { bytes: Vec::new(), indent: self.indent }
    }
}

/// One event. It goes to the thread when it is dropped.
#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    indent: bool,
}

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LINE_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(sink) = SINK.get() {
            let line = std::mem::take(&mut self.bytes);
            sink.send(if self.indent { indent(line) } else { ended(line) }, 1);
        }
    }
}

/// Makes what follows the first line of an event look like a part of it. A message may have text of a peer or a guest in
/// it; none can pass for an event of its own, or overwrite one on a terminal.
fn indent(line: Vec<u8>) -> Vec<u8> {
    let line = ended(line);
    let body = &line[..line.len() - 1];
    if !body.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return line;
    }
    let mut safe = Vec::with_capacity(line.len() + 64);
    for &byte in body {
        match byte {
            b'\n' => safe.extend_from_slice(b"\n    "),
            b'\r' => safe.extend_from_slice(b"\\r"),
            _ => safe.push(byte),
        }
    }
    safe.push(b'\n');
    safe
}

fn ended(mut line: Vec<u8>) -> Vec<u8> {
    if line.last() != Some(&b'\n') {
        line.push(b'\n');
    }
    line
}

#[cfg(test)]
mod tests;
