//! What is wrong with a configuration, and how it is shown.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unicode_width::UnicodeWidthChar;

use crate::files::source::{Source, Sources, Span};

/// Errors that are kept of one configuration; a file that is wrong in more places is probably no config file.
const SHOWN_MAX: usize = 200;
/// Columns of a source line that are shown around the place.
const LINE_COLUMNS_MAX: usize = 140;
/// Spaces that a tab is shown as.
const TAB: &str = "    ";

/// One mistake as the checks find it.
#[derive(Debug)]
pub(crate) struct Report {
    span: Span,
    message: String,
    label: String,
    notes: Vec<(String, Span)>,
    remarks: Vec<String>,
    help: Option<String>,
    /// Whether it is about the file as a whole, so that no line of it is shown.
    whole_file: bool,
}

impl Report {
    /// `message` says what is wrong in a sentence of its own; `label` stands behind the caret.
    pub(crate) fn new(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            label: label.into(),
            notes: Vec::new(),
            remarks: Vec::new(),
            help: None,
            whole_file: false,
        }
    }

    /// A mistake that has no line, such as something that is missing.
    pub(crate) fn of_file(file: u32, message: impl Into<String>) -> Self {
        let mut report = Self::new(Span { file, start: 0, end: 0 }, message, "");
        report.whole_file = true;
        report
    }

    /// Whether it points into `span`.
    pub(crate) fn is_in(&self, span: Span) -> bool {
        self.span.file == span.file && (span.start..span.end).contains(&self.span.start) && !self.whole_file
    }

    /// Says what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Names another place; `text` reads on with `at FILE:LINE:COLUMN`.
    pub(crate) fn note(mut self, text: impl Into<String>, span: Span) -> Self {
        self.notes.push((text.into(), span));
        self
    }

    /// Adds a note that names no place of this load.
    pub(crate) fn remark(mut self, text: impl Into<String>) -> Self {
        self.remarks.push(text.into());
        self
    }
}

/// One mistake, with its place. `Display` shows it as rustc would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// `error` or `warning`.
    severity: &'static str,
    message: String,
    file: Arc<str>,
    place: Option<Place>,
    notes: Vec<String>,
    help: Option<String>,
}

/// The line that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    line: u32,
    column: u32,
    text: String,
    indent: usize,
    carets: usize,
    label: String,
}

impl Diagnostic {
    /// What is wrong, in one line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The file, as the operator named it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Line and column, both from 1, the column in characters. `None` if it is about the file as a whole.
    #[must_use]
    pub fn position(&self) -> Option<(u32, u32)> {
        self.place.as_ref().map(|place| (place.line, place.column))
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    pub(crate) fn new(severity: &'static str, report: Report, sources: &Sources) -> Self {
        let source = sources.get(report.span.file);
        let notes = report.notes.iter().map(|(text, span)| match sources.get(span.file) {
            Some(source) => {
                let at = source.position(span.start);
                format!("{text} at {}:{}:{}", source.name, at.line, at.column)
            }
            None => text.clone(),
        });
        Self {
            severity,
            notes: notes.chain(report.remarks.iter().map(|remark| clean(remark))).collect(),
            file: source.map_or_else(|| Arc::from(""), |source| source.name.clone()),
            place: source
                .filter(|_| !report.whole_file)
                .map(|source| Place::new(source, report.span, report.label)),
            message: clean(&report.message),
            help: report.help.as_deref().map(clean),
        }
    }
}

impl Place {
    fn new(source: &Source, span: Span, label: String) -> Self {
        let at = source.position(span.start);
        let (line, start) = source.line(span.start);
        let (text, indent, carets) = excerpt(source, line, start, span);
        Self { line: at.line, column: at.column, text, indent, carets, label: clean(&label) }
    }
}

/// The part of `line` around `span` as it is shown, the first column of the carets, and how many there are.
fn excerpt(source: &Source, line: &str, start: usize, span: Span) -> (String, usize, usize) {
    let from = span.start as usize;
    let to = (span.end as usize).max(from + 1);
    let before = line.get(..from.saturating_sub(start)).unwrap_or(line);
    // A very long line is shown from shortly before the place.
    let skipped = match before.char_indices().rev().nth(LINE_COLUMNS_MAX / 2) {
        Some((at, _)) if line.chars().count() > LINE_COLUMNS_MAX => at,
        _ => 0,
    };
    let mut text = String::from(if skipped > 0 { "..." } else { "" });
    let mut width = text.len();
    let (mut indent, mut carets) = (None, 0);
    let mut in_hidden = false;
    for (at, letter) in line.char_indices().skip_while(|(at, _)| *at < skipped) {
        let offset = start + at;
        if width > LINE_COLUMNS_MAX {
            text.push_str("...");
            break;
        }
        let hidden = source.is_hidden(offset);
        let shown = match letter {
            // What is hidden becomes one mark, which does not show its length either.
            _ if hidden && in_hidden => String::new(),
            _ if hidden => "\"***\"".to_owned(),
            '\t' => TAB.to_owned(),
            letter if letter.is_control() => '\u{fffd}'.to_string(),
            letter => letter.to_string(),
        };
        in_hidden = hidden;
        let columns: usize = shown.chars().map(|letter| letter.width().unwrap_or(0)).sum();
        if (from..to).contains(&offset) {
            indent.get_or_insert(width);
            carets += columns;
        }
        text.push_str(&shown);
        width += columns;
    }
    text.truncate(text.trim_end().len());
    (text, indent.unwrap_or(width), carets.max(1))
}

/// Text for one line of a terminal: no control characters, whatever a config or a plugin put in.
fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.severity, self.message)?;
        let number = self.place.as_ref().map_or(String::new(), |place| place.line.to_string());
        let gutter = number.len().max(1);
        match &self.place {
            None => writeln!(f, "{:gutter$}--> {}", "", self.file)?,
            Some(place) => {
                let Place { line, column, text, indent, carets, label } = place;
                writeln!(f, "{:gutter$}--> {}:{line}:{column}", "", self.file)?;
                writeln!(f, "{:gutter$} |", "")?;
                writeln!(f, "{number} | {text}")?;
                let marks = format!("{:indent$}{:^<carets$} {label}", "", "");
                writeln!(f, "{:gutter$} | {}", "", marks.trim_end())?;
            }
        }
        for note in &self.notes {
            writeln!(f, "{:gutter$} = note: {note}", "")?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "{:gutter$} = help: {help}", "")?;
        }
        Ok(())
    }
}

/// Returns the warnings about a configuration that can run, by file and line, as they are shown.
pub(crate) fn warnings(mut reports: Vec<Report>, sources: &Sources) -> Vec<String> {
    reports.sort_by_key(|report| report.span);
    let shown = reports.into_iter().take(SHOWN_MAX);
    shown
        .map(|report| Diagnostic::new("warning", report, sources).to_string().trim_end().to_owned())
        .collect()
}

/// Everything that is wrong with a configuration. `Display` shows all of it and ends with a line that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    left_out: usize,
    files: Vec<PathBuf>,
}

impl Diagnostics {
    pub(crate) fn new(mut reports: Vec<Report>, sources: &Sources, files: Vec<PathBuf>) -> Self {
        reports.sort_by_key(|report| report.span);
        let left_out = reports.len().saturating_sub(SHOWN_MAX);
        let shown = reports.into_iter().take(SHOWN_MAX);
        Self {
            list: shown.map(|report| Diagnostic::new("error", report, sources)).collect(),
            left_out,
            files,
        }
    }

    /// That the main file cannot even be read.
    pub(crate) fn unreadable(path: &Path, message: String, help: Option<String>, file: PathBuf) -> Self {
        let file_name = path.display().to_string().into();
        let only =
            Diagnostic { severity: "error", message, file: file_name, place: None, notes: Vec::new(), help };
        Self { list: vec![only], left_out: 0, files: vec![file] }
    }

    /// The mistakes, by file and line.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// How many mistakes there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len() + self.left_out
    }

    /// Every file that was looked at, absolute, whether or not it was there: a change of one of them may mend the
    /// configuration, so they are what to watch.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.list {
            writeln!(f, "{diagnostic}")?;
        }
        if self.left_out > 0 {
            writeln!(f, "{} more are not shown", self.left_out)?;
        }
        match self.count() {
            1 => f.write_str("1 error"),
            count => write!(f, "{count} errors"),
        }
    }
}

impl std::error::Error for Diagnostics {}
