//! What the commands print, and how they report that they failed.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use portcullis_model::text::escape_json;
use serde_json::json;

use crate::cli::LogFormat;
use crate::refusal::{Refusal, said};

/// Reports why a command failed, on standard error, in the format of the log.
pub(crate) fn complain(error: &anyhow::Error, format: LogFormat) {
    // A refusal brings its own marks, one for each mistake.
    let text = match error.downcast_ref::<Refusal>() {
        Some(refusal) => {
            // What was said about it on the way here is advice.
            let (refusal, said) = (refusal.to_string(), error.to_string());
            if said == refusal { format!("{refusal}\n") } else { format!("{refusal}\n  = help: {said}\n") }
        }
        None => format!("error: {}\n", said(error)),
    };
    let text = match format {
        LogFormat::Text => text,
        LogFormat::Json => {
            format!("{}\n", json!({ "level": "ERROR", "event": "failed", "message": text.trim_end() }))
        }
    };
    tell(&text);
}

/// Writes `text` to standard error, without what would steer a terminal: a plugin, a registry or a peer may have
/// written parts of it.
pub(crate) fn tell(text: &str) {
    // If it is closed, there is no reader.
    drop(io::stderr().write_all(printable(text).as_bytes()));
}

/// Writes `text` to standard output, without what would steer a terminal. That the reader has gone, as in
/// `portcullis schema | head`, is no failure.
///
/// # Errors
/// If it cannot be written for another reason.
pub(crate) fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match out.write_all(printable(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Marks an error as wrong usage, which has an exit code of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage;

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrong usage")
    }
}

/// Returns what is printed, with nothing in it that steers a terminal: such characters are written as `\uHHHH`, which
/// in JSON means the same. Line ends and tabs stay: text from elsewhere is escaped before it is put into a line.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    escape_json(text, &['\n', '\t'])
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn what_is_printed_keeps_its_lines_and_no_more() {
        assert_eq!(printable("a\n\tb ü"), "a\n\tb ü");
        assert_eq!(
            printable("\u{1b}]0;owned\u{7}\u{9b}2J\r\u{202e}"),
            "\\u001b]0;owned\\u0007\\u009b2J\\u000d\\u202e"
        );
    }
}
