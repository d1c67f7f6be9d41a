//! What a process prints, line by line, as it comes.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::watch;

use super::within;

/// A line of the gateway's log.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// `INFO`, `WARN`, …
    pub level: String,
    /// The message.
    pub message: String,
    /// All fields, the message among them.
    pub fields: Value,
}

impl LogLine {
    fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let fields = value.get("fields").unwrap_or(&value).clone();
        Some(Self {
            level: value.get("level")?.as_str()?.to_owned(),
            message: fields.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
            fields,
        })
    }

    /// A field that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    /// A field that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.fields.get(name)?.as_u64()
    }
}

/// Everything that was printed so far, and word of what comes.
#[derive(Debug)]
pub(super) struct Output {
    lines: Mutex<Lines>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Lines {
    stderr: Vec<String>,
    stdout: Vec<String>,
    open: usize,
}

impl Output {
    /// Reads both until they end, each on a thread, so that the process never waits for the test.
    pub(super) fn read(stderr: impl Read + Send + 'static, stdout: impl Read + Send + 'static) -> Arc<Self> {
        let lines = Mutex::new(Lines { open: 2, ..Lines::default() });
        let output = Arc::new(Self { lines, changed: watch::Sender::new(()) });
        output.follow(stderr, |lines| &mut lines.stderr);
        output.follow(stdout, |lines| &mut lines.stdout);
        output
    }

    fn follow(self: &Arc<Self>, from: impl Read + Send + 'static, into: fn(&mut Lines) -> &mut Vec<String>) {
        let output = Arc::clone(self);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(from);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                into(&mut output.lines.lock().unwrap()).push(text);
                line.clear();
                output.changed.send_replace(());
            }
            output.lines.lock().unwrap().open -= 1;
            output.changed.send_replace(());
        });
    }

    pub(super) fn stderr(&self) -> Vec<String> {
        self.lines.lock().unwrap().stderr.clone()
    }

    pub(super) fn stdout(&self) -> Vec<String> {
        self.lines.lock().unwrap().stdout.clone()
    }

    /// Lines of the log from the one with number `from` on.
    pub(super) fn log(&self, from: usize) -> Vec<LogLine> {
        let lines = self.lines.lock().unwrap();
        lines.stderr.iter().skip(from).filter_map(|line| LogLine::parse(line)).collect()
    }

    /// Returns the present end of the log, to wait for what comes after.
    pub(super) fn mark(&self) -> usize {
        self.lines.lock().unwrap().stderr.len()
    }

    /// Waits until `probe` finds something. `None` if the process has ended without.
    pub(super) async fn wait<T>(&self, what: &str, mut probe: impl FnMut(&Self) -> Option<T>) -> Option<T> {
        let mut changed = self.changed.subscribe();
        within(what, async {
            loop {
                changed.borrow_and_update();
                let ended = self.lines.lock().unwrap().open == 0;
                if let Some(found) = probe(self) {
                    return Some(found);
                }
                if ended || changed.changed().await.is_err() {
                    return None;
                }
            }
        })
        .await
    }
}
