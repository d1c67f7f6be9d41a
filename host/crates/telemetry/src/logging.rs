//! The gateway's own log, on standard error.

use std::borrow::Cow;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use portcullis_model::text::escape_json;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::limit::LineLimit;
use crate::sink::{Loss, Report, Sink};
use crate::timestamp::rfc3339;

/// Lines that wait for the thread. Normal operation has a few a minute, so a burst of warnings fits. If standard error
/// is not read, no worker waits for it.
const QUEUE_MAX: usize = 4096;

/// Bytes of one line that are written: a backtrace fits.
const LINE_MAX: usize = 64 * 1024;
/// Bytes of an event that are processed. The code that logs an event limits its length; this is for places where that
/// was forgotten.
const EVENT_MAX: usize = 4 << 20;
/// Bytes of each string of an event whose line would be too long: the first limit with which it fits.
const STRINGS_MAX: [usize; 5] = [16 << 10, 4 << 10, 1 << 10, 256, 32];

static SINK: OnceLock<Sink> = OnceLock::new();

/// Lines of the process that were lost.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Returns how many lines of this process' log were lost, because standard error was not read.
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
        "`{levels}` is not valid as a log level: write off, error, warn, info, debug or trace, or \
         `info,portcullis_proxy=debug` for one part"
    )]
    Levels {
        /// The levels that were given.
        levels: String,
    },
    /// There is a log already.
    #[error("the log is set up already")]
    Already,
    /// The thread cannot be started.
    #[error("the thread of the log cannot be started: {0}")]
    Thread(io::Error),
}

/// Checks that `levels` are valid for [`init`].
///
/// # Errors
/// If a word in them is not a level.
pub fn check_levels(levels: &str) -> Result<(), InitError> {
    match understood(levels) {
        Some(_) => Ok(()),
        None => Err(InitError::Levels { levels: levels.to_owned() }),
    }
}

/// Sets up the log of the process, once. `levels` is a level, or levels by module (`info,portcullis_proxy=debug`). The
/// environment is not read; the command line does that. A single level is for the gateway: libraries then log errors,
/// and with `debug` and `trace` everything of that level, because they warn about whatever a peer does.
///
/// Lines go to standard error through a thread, so that logging never waits. Call [`flush`] before the process ends.
///
/// # Errors
/// If the levels are malformed, or it was called before.
pub fn init(format: LogFormat, levels: &str) -> Result<(), InitError> {
    let wrong = || InitError::Levels { levels: levels.to_owned() };
    let known = understood(levels).ok_or_else(wrong)?;
    let filter = EnvFilter::try_new(directives(&known)).map_err(|_| wrong())?;
    let (report, left_out): (Report, fn(&'static str, u64)) = match format {
        LogFormat::Text => (tell_text, left_out_text),
        LogFormat::Json => (tell_json, left_out_json),
    };
    let sink = Sink::start("log", Box::new(std::io::stderr()), QUEUE_MAX, report, Some(&LOST))
        .map_err(InitError::Thread)?;
    SINK.set(sink).map_err(|_| InitError::Already)?;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer();
    let done = match format {
        LogFormat::Text => {
            let colour =
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            let layer = layer.with_ansi(colour).with_writer(Lines(LogFormat::Text));
            registry.with(layer.with_filter(LineLimit::new(left_out))).try_init()
        }
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true).with_writer(Lines(LogFormat::Json));
            registry.with(layer.with_filter(LineLimit::new(left_out))).try_init()
        }
    };
    done.map_err(|_| InitError::Already)
}

/// Returns `levels` in the filter's own syntax, `info` if there are none, or `None` if one of them is not a level. The
/// filter would read an unknown word as the name of a module, and log nothing of any other.
fn understood(levels: &str) -> Option<String> {
    let mut known = Vec::new();
    let mut of_all = false;
    for directive in levels.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        // A directive by span or field has its level after the last `=`, or none.
        let (target, word) = match directive.rsplit_once('=') {
            Some((target, word)) if !word.ends_with(']') => (Some(target), word),
            Some(_) => return None,
            None => (None, directive),
        };
        let word = word.to_ascii_lowercase();
        let level = match word.as_str() {
            "warning" => "warn",
            "err" => "error",
            "off" | "error" | "warn" | "info" | "debug" | "trace" => word.as_str(),
            "0" | "1" | "2" | "3" | "4" | "5" => word.as_str(),
            _ => return None,
        };
        known.push(match target {
            Some(target) if target.is_empty() || target.contains(char::is_whitespace) => return None,
            Some(target) => format!("{target}={level}"),
            None => {
                of_all = true;
                level.to_owned()
            }
        });
    }
    if !of_all {
        // A directive for one part must not suppress the errors of the others.
        known.insert(0, if known.is_empty() { "info" } else { "error" }.to_owned());
    }
    Some(known.join(","))
}

/// Waits until everything that was logged is written, at most for `timeout`, and returns whether it is. For the end of
/// the process.
pub fn flush(timeout: Duration) -> bool {
    SINK.get().is_none_or(|sink| sink.sync(timeout))
}

/// Returns the directives for `levels`.
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
struct Lines(LogFormat);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { bytes: Vec::new(), format: self.0 }
    }
}

/// One event. It goes to the thread when it is dropped.
#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    format: LogFormat,
}

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = EVENT_MAX.saturating_sub(self.bytes.len());
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
            sink.send(if self.format == LogFormat::Text { text(line) } else { json(line) }, 1);
        }
    }
}

/// Indents the lines of an event after its first. A message may contain text of a peer or a guest, which must not look
/// like an event of its own, or overwrite one on a terminal.
fn text(mut line: Vec<u8>) -> Vec<u8> {
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    let is_whole = line.len() < LINE_MAX;
    // ESC is the gateway's own, for colours: the formatter has escaped those of a message.
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | 0x1b);
    if is_whole && line.iter().all(is_plain) {
        return ended(line);
    }
    let all = String::from_utf8_lossy(&line);
    let begin = &all[..all.floor_char_boundary(LINE_MAX - 1)];
    let safe = escape_json(begin, &['\n', '\r', '\t', '\u{1b}']).replace('\r', "\\r").replace('\n', "\n    ");
    ended(safe.into_bytes())
}

/// Makes one line of JSON of an event's bytes, without characters at which readers split lines. If it is too long, its
/// strings are cut rather than the whole, which would not be JSON any more.
fn json(line: Vec<u8>) -> Vec<u8> {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n');
    if line.len() <= LINE_MAX && line.iter().all(is_plain) {
        return ended(line);
    }
    let whole = String::from_utf8_lossy(&line);
    let whole = escape_json(whole.trim_end_matches('\n'), &[]);
    if whole.len() < LINE_MAX {
        return ended(whole.into_owned().into_bytes());
    }
    let mut cut = STRINGS_MAX.into_iter().filter_map(|max| cut_strings(&whole, max));
    let cut = cut.find(|cut| cut.len() < LINE_MAX);
    let lost = || r#"{"level":"WARN","message":"an event was too long for a line of the log"}"#.to_owned();
    ended(cut.unwrap_or_else(lost).into_bytes())
}

/// Returns the JSON text with each string cut to `max` bytes as it is written, and three dots after those that were
/// longer, or `None` if it does not end as a JSON text does.
fn cut_strings(json: &str, max: usize) -> Option<String> {
    let mut cut = String::with_capacity(LINE_MAX);
    let mut rest = json;
    while let Some(open) = rest.find('"') {
        let (before, string) = rest.split_at(open + 1);
        cut.push_str(before);
        // The end of the string, and the position at which it is cut: between two characters, each with its escape.
        let (mut end, mut fits, mut letters) = (None, 0, string.char_indices());
        while let Some((at, letter)) = letters.next() {
            if at <= max {
                fits = at;
            }
            match letter {
                '"' => {
                    end = Some(at);
                    break;
                }
                '\\' => {
                    let digits = if letters.next().is_some_and(|(_, escape)| escape == 'u') { 4 } else { 0 };
                    letters.by_ref().take(digits).for_each(drop);
                }
                _ => {}
            }
        }
        let end = end?;
        let shown = if end <= max { end } else { whole_pairs(&string[..fits]) };
        cut.push_str(&string[..shown]);
        cut.push_str(if end <= max { "" } else { "..." });
        cut.push('"');
        rest = &string[end + 1..];
        if cut.len() > 2 * LINE_MAX {
            return Some(cut);
        }
    }
    cut.push_str(rest);
    rest.trim_end().ends_with('}').then_some(cut)
}

/// Returns the length of a string without the first half of a surrogate pair at its end (RFC 8259, 7), whose second
/// half was cut off.
fn whole_pairs(string: &str) -> usize {
    let last = string.len().checked_sub(6).filter(|at| string.is_char_boundary(*at)).map(|at| &string[at..]);
    let is_half = |escape: &str| {
        let code = escape.strip_prefix("\\u").and_then(|digits| u32::from_str_radix(digits, 16).ok());
        code.is_some_and(|code| (0xd800..0xdc00).contains(&code))
    };
    string.len() - if last.is_some_and(is_half) { 6 } else { 0 }
}

fn ended(mut line: Vec<u8>) -> Vec<u8> {
    if line.last() != Some(&b'\n') {
        line.push(b'\n');
    }
    line
}

#[cfg(test)]
mod tests;
