//! What a table of a config file may hold.

use std::time::Duration;

/// The keys of one kind of table.
#[derive(Debug)]
pub(crate) struct Shape {
    /// What the table is called in messages, such as `listener`; names of named tables follow it.
    pub(crate) noun: &'static str,
    pub(crate) keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) presence: Presence,
    /// A value as it would be typed.
    pub(crate) example: &'static str,
    /// What it is, in a sentence or two of Markdown.
    pub(crate) doc: &'static str,
}

/// What holds if a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The key must be there.
    Required,
    /// It is as if this were typed.
    Default(&'static str),
    /// It is as these words say.
    Absent(&'static str),
}

/// What a value must be.
#[derive(Debug)]
pub(crate) enum Kind {
    Bool,
    /// Only `true`.
    True,
    /// A string that the section's own code reads on; the word says what it holds.
    Text(&'static str),
    /// A string that may be empty and may hold anything; the word says what it holds.
    AnyText(&'static str),
    /// One of these strings.
    Choice(&'static [&'static str]),
    Integer {
        min: i64,
        max: i64,
    },
    Duration {
        min: Duration,
        max: Duration,
    },
    Size {
        min: u64,
        max: u64,
    },
    /// A part of a whole, in hundredths of a per cent.
    Percent {
        min: u32,
        max: u32,
    },
    /// A duration from a microsecond to a minute, or a part of what something else takes.
    Cost,
    /// A table with these keys.
    Table(&'static Shape),
    /// A size, or `"unlimited"`.
    Limit {
        min: u64,
        max: u64,
    },
    /// Such tables under names of the operator's choice.
    Named(&'static Shape),
    /// A table from field names to values.
    Fields(&'static Self),
    /// A list with at least one element.
    List(&'static Self),
    /// One of these; no two of them may be written alike.
    Either(&'static [Self]),
    /// Any table; the plugin says what it holds.
    Any,
}

impl Shape {
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// A duration up to a day.
pub(crate) const fn up_to_a_day(min_ms: u64) -> Kind {
    Kind::Duration { min: Duration::from_millis(min_ms), max: Duration::from_secs(86_400) }
}

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;
