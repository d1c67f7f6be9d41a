//! Reads values out of tables that were checked. What is absent or was reported as wrong reads as `None`.

use std::time::Duration;

use portcullis_model::Share;

use crate::files::source::Span;
use crate::syntax::check::accepts;
use crate::syntax::shape::{Kind, Shape};
use crate::syntax::tree::{Entry, Node, Table, Value};
use crate::syntax::units::{self, Cost};

/// A table, the shape that it was checked against, and its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    table: Option<&'a Table>,
    shape: &'static Shape,
    /// The place that a message about the table as a whole points at.
    pub(crate) span: Span,
}

impl<'a> View<'a> {
    pub(crate) fn new(table: Option<&'a Table>, shape: &'static Shape, span: Span) -> Self {
        Self { table, shape, span }
    }

    /// The shape that it was checked against.
    pub(crate) fn shape(&self) -> &'static Shape {
        self.shape
    }

    /// The value of a key, if it has the right type.
    pub(crate) fn node(&self, key: &str) -> Option<&'a Node> {
        #[cfg(test)]
        crate::tests::asked(self.shape, key);
        let known = self.shape.key(key);
        debug_assert!(known.is_some(), "`{key}` is not in the table of keys of {}", self.shape.noun);
        let node = &self.table?.get(key)?.value;
        accepts(&known?.kind, &node.value).then_some(node)
    }

    /// The place of the key itself.
    pub(crate) fn key_span(&self, key: &str) -> Option<Span> {
        Some(self.table?.get(key)?.key_span)
    }

    /// The place to report a needed key that is missing: that of the table, if it has neither the key nor one that was
    /// probably meant for it.
    pub(crate) fn missing(&self, key: &str) -> Option<Span> {
        let table = self.table?;
        let meant = |entry: &Entry| crate::syntax::check::meant_key(&entry.key, self.shape) == Some(key);
        (table.get(key).is_none() && !table.entries.iter().any(meant)).then_some(self.span)
    }

    /// A string that is neither empty nor impossible.
    pub(crate) fn text(&self, key: &str) -> Option<(&'a str, Span)> {
        text(self.node(key)?)
    }

    /// A string without its place, for choices.
    pub(crate) fn word(&self, key: &str) -> Option<&'a str> {
        Some(self.text(key)?.0)
    }

    pub(crate) fn bool(&self, key: &str) -> Option<bool> {
        match self.node(key)?.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn integer<T: TryFrom<i64>>(&self, key: &str) -> Option<T> {
        match self.node(key)?.value {
            Value::Integer(number) => T::try_from(number).ok(),
            _ => None,
        }
    }

    pub(crate) fn duration(&self, key: &str) -> Option<Duration> {
        units::duration(self.word(key)?).ok()
    }

    pub(crate) fn percent(&self, key: &str) -> Option<Share> {
        units::percent(self.word(key)?).ok().map(Share::of_hundredths)
    }

    pub(crate) fn cost(&self, key: &str) -> Option<Cost> {
        units::cost(self.word(key)?).ok()
    }

    pub(crate) fn size(&self, key: &str) -> Option<u64> {
        units::size(self.word(key)?).ok()
    }

    /// A size of something in memory.
    pub(crate) fn bytes(&self, key: &str) -> Option<usize> {
        usize::try_from(self.size(key)?).ok()
    }

    /// The strings of a list, or the one string in its place.
    pub(crate) fn texts(&self, key: &str) -> Vec<(&'a str, Span)> {
        self.node(key).map_or_else(Vec::new, |node| node.elements().iter().filter_map(text).collect())
    }

    /// The table under a key, or an empty one.
    pub(crate) fn view(&self, key: &str) -> Self {
        let node = self.node(key);
        let shape = self.shape.key(key).and_then(|key| shape_of(&key.kind)).unwrap_or(self.shape);
        let span = self.key_span(key).unwrap_or(self.span);
        Self { table: node.and_then(Node::as_table), shape, span }
    }

    /// Whether there is a table.
    pub(crate) fn is_there(&self) -> bool {
        self.table.is_some()
    }
}

/// A string that is neither empty nor impossible.
pub(crate) fn text(node: &Node) -> Option<(&str, Span)> {
    let text = node.as_str().filter(|text| !text.is_empty() && !text.contains('\0'))?;
    Some((text, node.span))
}

/// The shape of the table that a kind may be.
fn shape_of(kind: &Kind) -> Option<&'static Shape> {
    match kind {
        Kind::Table(shape) => Some(shape),
        Kind::Either(kinds) => kinds.iter().find_map(shape_of),
        _ => None,
    }
}
