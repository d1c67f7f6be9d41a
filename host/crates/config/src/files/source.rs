//! The files that were read, and places in them.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_model::Origin;

/// A piece of a file: bytes `start..end` of the source with the number `file`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    pub(crate) file: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn new(file: u32, range: &Range<usize>) -> Self {
        // Files are at most 1 MiB, so that offsets always fit.
        let fit = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { file, start: fit(range.start), end: fit(range.end) }
    }
}

/// One config file.
#[derive(Debug)]
pub(crate) struct Source {
    /// The path as the operator named it, for messages.
    pub(crate) name: Arc<str>,
    /// Absolute folder that relative paths in the file start from.
    pub(crate) folder: PathBuf,
    /// The whole text.
    pub(crate) text: String,
    /// The first byte of each line.
    lines: Vec<usize>,
    /// Pieces that are never shown, because they may be secrets typed at the wrong place.
    hidden: Vec<Range<usize>>,
}

/// A position for people: both counted from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Source {
    pub(crate) fn new(name: &Path, folder: PathBuf, text: String) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Self { name: name.display().to_string().into(), folder, text, lines, hidden: Vec::new() }
    }

    /// Keeps a piece from being shown in messages.
    pub(crate) fn hide(&mut self, span: Span) {
        self.hidden.push(span.start as usize..span.end as usize);
    }

    /// The line and column of a byte.
    pub(crate) fn position(&self, offset: u32) -> Position {
        let (index, start) = self.line_of(offset);
        let before = self.text.as_bytes().get(start..offset as usize).unwrap_or_default();
        let column = String::from_utf8_lossy(before).chars().count() + 1;
        Position { line: (index + 1) as u32, column: column as u32 }
    }

    /// The line that holds `offset`, without its line end, and its first byte.
    pub(crate) fn line(&self, offset: u32) -> (&str, usize) {
        let (index, start) = self.line_of(offset);
        let end = self.lines.get(index + 1).copied().unwrap_or(self.text.len());
        let line = self.text.get(start..end).unwrap_or("");
        (line.trim_end_matches(['\r', '\n']), start)
    }

    fn line_of(&self, offset: u32) -> (usize, usize) {
        let index = self.lines.partition_point(|start| *start <= offset as usize).saturating_sub(1);
        (index, self.lines.get(index).copied().unwrap_or(0))
    }

    /// Whether the byte is in a piece that is never shown.
    pub(crate) fn is_hidden(&self, offset: usize) -> bool {
        self.hidden.iter().any(|range| range.contains(&offset))
    }
}

/// All files of one configuration, the main one first.
#[derive(Debug, Default)]
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    /// Adds a file and returns its number.
    pub(crate) fn add(&mut self, source: Source) -> u32 {
        self.0.push(source);
        (self.0.len() - 1) as u32
    }

    pub(crate) fn get(&self, file: u32) -> Option<&Source> {
        self.0.get(file as usize)
    }

    pub(crate) fn hide(&mut self, span: Span) {
        if let Some(source) = self.0.get_mut(span.file as usize) {
            source.hide(span);
        }
    }

    /// The folder that relative paths written at `span` start from.
    pub(crate) fn folder(&self, span: Span) -> &Path {
        self.get(span.file).map_or(Path::new("/"), |source| &source.folder)
    }

    pub(crate) fn origin(&self, span: Span) -> Origin {
        self.get(span.file).map_or_else(Origin::default, |source| Origin {
            file: source.name.clone(),
            line: source.position(span.start).line,
        })
    }
}
