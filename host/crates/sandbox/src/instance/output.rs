//! What a guest wrote to standard output and standard error and was not logged yet.

use std::collections::VecDeque;

use portcullis_model::text::one_line;

/// A longer line is written in pieces.
const LINE_BYTES_MAX: usize = 8 << 10;
/// Lines of stderr that a fault's message shows: a panic of Rust takes two, an exception of Python its last few.
const TAIL_LINES_MAX: usize = 4;
/// And how much of each.
const TAIL_LINE_BYTES_MAX: usize = 400;

/// One of the two outputs; the numbers are those of their handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout = 1,
    Stderr = 2,
}

/// Lines that are not whole yet, and the last whole ones of stderr.
#[derive(Debug, Default)]
pub(crate) struct Stdio {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    tail: VecDeque<String>,
}

impl Stdio {
    /// The last that was written to stderr, as one line.
    pub(crate) fn take_tail(&mut self) -> String {
        let rest = std::mem::take(&mut self.stderr);
        if !rest.is_empty() {
            self.remember(&String::from_utf8_lossy(&rest));
        }
        let lines: Vec<String> = self.tail.drain(..).collect();
        lines.join(" / ")
    }

    /// Remembers a whole line of stderr.
    pub(crate) fn remember(&mut self, line: &str) {
        // Rust's hint is for people who can set variables.
        if line.trim().is_empty() || line.starts_with("note: run with `RUST_BACKTRACE") {
            return;
        }
        if self.tail.len() == TAIL_LINES_MAX {
            self.tail.pop_front();
        }
        self.tail.push_back(one_line(line, TAIL_LINE_BYTES_MAX));
    }

    /// Takes from the front of `bytes` what belongs to the line at hand, and returns the line if it is whole.
    pub(crate) fn take_line(&mut self, output: Output, bytes: &mut &[u8]) -> Option<Vec<u8>> {
        let buffer = match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        };
        let room = LINE_BYTES_MAX - buffer.len();
        let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(room.min(bytes.len()));
        buffer.extend_from_slice(&bytes[..taken]);
        *bytes = &bytes[taken + usize::from(end.is_some())..];
        let is_whole = end.is_some() || buffer.len() >= LINE_BYTES_MAX;
        is_whole.then(|| std::mem::take(buffer))
    }
}
