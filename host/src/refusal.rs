//! Why a configuration was not put into effect, as the operator reads it.

use std::fmt;
use std::path::PathBuf;

use portcullis_admin::SocketError;
use portcullis_config::{Diagnostics, MainFile, Mistake};
use portcullis_model::Origin;

use crate::plugins::Catalog;
use crate::words::counted;

/// All that is wrong with one candidate.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The text: with line and caret for each mistake.
    Config(Diagnostics),
    /// Parts that are written well and cannot run all the same: plugins that do not compile or refuse their
    /// configuration, keys of another certificate.
    Parts {
        /// At least one.
        refused: Vec<RefusedPart>,
        /// What the candidate was read from.
        files: Vec<PathBuf>,
    },
    /// Anything else: a log file, a busy port.
    Other {
        /// What is wrong.
        error: anyhow::Error,
        /// What the candidate was read from.
        files: Vec<PathBuf>,
    },
}

/// A part of a configuration that cannot run.
#[derive(Debug, Default)]
pub(crate) struct RefusedPart {
    /// Which, in a sentence.
    pub(crate) message: String,
    /// Its place in the config.
    pub(crate) origin: Option<Origin>,
    /// Why, if the message does not say it.
    pub(crate) reason: Option<String>,
    /// What a plugin found wrong with its settings, each with its place in them.
    pub(crate) mistakes: Vec<Mistake>,
    /// The same at its lines of the file, in place of all the above.
    pub(crate) shown: Option<Diagnostics>,
}

impl RefusedPart {
    /// The number of mistakes in it.
    fn count(&self) -> usize {
        self.shown.as_ref().map_or(1, Diagnostics::count)
    }
}

impl Refusal {
    /// Shows what plugins found wrong with their settings at its lines of the config at `main`.
    pub(crate) fn at_lines(mut self, main: MainFile<'_>) -> Self {
        if let Self::Parts { refused, .. } = &mut self {
            for part in refused.iter_mut().filter(|part| !part.mistakes.is_empty()) {
                part.shown = portcullis_config::locate(main, &Catalog, &part.mistakes);
            }
        }
        self
    }

    /// Why the value of a key of `[server]` cannot be used, such as a file that cannot be opened: shown at its line
    /// of the config at `path` if that can be found. What stands after `help: ` or the first `; ` in the error says
    /// what to do.
    pub(crate) fn of_server_key(
        main: MainFile<'_>,
        key: &str,
        message: &str,
        error: anyhow::Error,
        files: Vec<PathBuf>,
    ) -> Self {
        let text = said(&error);
        let (reason, help) = match text.split_once("\n  = help: ").or_else(|| text.split_once("; ")) {
            Some((reason, help)) => (reason, Some(help)),
            None => (text.as_str(), None),
        };
        match portcullis_config::locate_server_key(main, &Catalog, key, (message, reason, help)) {
            Some(shown) => {
                let part =
                    RefusedPart { message: message.to_owned(), shown: Some(shown), ..RefusedPart::default() };
                Self::Parts { refused: vec![part], files }
            }
            None => Self::Other { error: error.context(format!("`server.{key}`")), files },
        }
    }

    /// The same for the path of the control socket.
    pub(crate) fn of_control_socket(main: MainFile<'_>, error: &SocketError, files: Vec<PathBuf>) -> Self {
        let advice = match error {
            SocketError::Held { .. } => "end that gateway, or name another path",
            SocketError::Occupied { .. } => "name another path, or remove what is there",
            _ => "name a path in a folder that only this user can write to; leave it out for the usual place",
        };
        let error = anyhow::anyhow!("{error}\n  = help: {advice}");
        Self::of_server_key(main, "control", "the control socket cannot be opened", error, files)
    }

    /// The number of mistakes in it.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Config(diagnostics) => diagnostics.count(),
            Self::Parts { refused, .. } => refused.iter().map(RefusedPart::count).sum(),
            Self::Other { .. } => 1,
        }
    }

    /// The first mistake, in a line.
    pub(crate) fn first(&self) -> String {
        let text = self.to_string();
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        line.strip_prefix("error: ").unwrap_or(line).to_owned()
    }

    /// The files whose change could make it acceptable.
    pub(crate) fn files(&self) -> &[PathBuf] {
        match self {
            Self::Config(diagnostics) => diagnostics.files(),
            Self::Parts { files, .. } | Self::Other { files, .. } => files,
        }
    }
}

impl fmt::Display for RefusedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(shown) = &self.shown {
            for (at, diagnostic) in shown.iter().enumerate() {
                let gap = if at > 0 { "\n" } else { "" };
                write!(f, "{gap}{diagnostic}")?;
            }
            return Ok(());
        }
        writeln!(f, "error: {}", self.message)?;
        if let Some(Origin { file, line }) = &self.origin {
            writeln!(f, " --> {file}:{line}")?;
        }
        if let Some(reason) = &self.reason {
            writeln!(f, "  = {}", reason.trim_end().replace('\n', "\n    "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(diagnostics) => diagnostics.fmt(f),
            Self::Parts { refused, .. } => {
                for part in refused {
                    writeln!(f, "{part}")?;
                }
                f.write_str(&counted(self.count() as u64, "error"))
            }
            Self::Other { error, .. } => write!(f, "error: {}", said(error)),
        }
    }
}

impl std::error::Error for Refusal {}

/// An error with its causes, each of which says something that the text before it does not.
pub(crate) fn said(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for part in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = part;
        } else if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
    }
    text
}
