//! Conditions of a route on single values of a request: fields, parameters of the query, cookies.

use crate::Pattern;

/// A condition on one value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Condition {
    /// What it looks at.
    pub on: Subject,
    /// What must hold for it.
    pub test: Test,
}

/// What a condition looks at. There may be several values; then one of them is enough.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// The lines of a field, whose name is in lower case.
    Field(String),
    /// The values of a parameter of the query. Name and values are compared after percent-decoding.
    Query(String),
    /// The cookies of a name.
    Cookie(String),
}

/// What must hold for a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Test {
    /// It is there.
    Present,
    /// It is not there.
    Absent,
    /// It is this.
    Exact(String),
    /// It begins with this.
    Prefix(String),
    /// This is found in it.
    Pattern(Pattern),
}

impl Test {
    /// Returns whether one of `values` passes it, or for [`Test::Absent`] whether there are no values.
    pub fn holds<V: AsRef<[u8]>>(&self, mut values: impl Iterator<Item = V>) -> bool {
        match self {
            Self::Absent => values.next().is_none(),
            _ => values.any(|value| self.takes(value.as_ref())),
        }
    }

    fn takes(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Absent => false,
            Self::Exact(exact) => value == exact.as_bytes(),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Pattern(pattern) => pattern.is_in(value),
        }
    }

    /// Returns whether all values that pass `other` certainly pass this too.
    #[must_use]
    pub fn is_implied_by(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, other) => *other == Self::Absent,
            (_, Self::Absent) => false,
            (Self::Present, _) => true,
            (_, Self::Exact(value)) => self.takes(value.as_bytes()),
            (Self::Prefix(prefix), Self::Prefix(longer)) => longer.starts_with(prefix.as_str()),
            (Self::Pattern(one), Self::Pattern(other)) => one == other,
            _ => false,
        }
    }

    /// Returns whether no value certainly passes both.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => false,
            (Self::Absent, _) | (_, Self::Absent) => true,
            (Self::Exact(value), test) | (test, Self::Exact(value)) => !test.takes(value.as_bytes()),
            (Self::Prefix(one), Self::Prefix(other)) => {
                !one.starts_with(other.as_str()) && !other.starts_with(one.as_str())
            }
            _ => false,
        }
    }
}

impl Subject {
    /// Returns the word for it, as in `header`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Field(_) => "header",
            Self::Query(_) => "query",
            Self::Cookie(_) => "cookie",
        }
    }

    /// Returns the name of what it looks at.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Field(name) | Self::Query(name) | Self::Cookie(name) => name,
        }
    }
}

impl std::fmt::Display for Condition {
    /// As in `x-tenant=a`, `?page`, `!cookie:session`, `x-version^=v2`, `?id~^[0-9]+$`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.test == Test::Absent {
            f.write_str("!")?;
        }
        f.write_str(match self.on {
            Subject::Field(_) => "",
            Subject::Query(_) => "?",
            Subject::Cookie(_) => "cookie:",
        })?;
        f.write_str(self.on.name())?;
        match &self.test {
            Test::Present | Test::Absent => Ok(()),
            Test::Exact(value) => write!(f, "={value}"),
            Test::Prefix(value) => write!(f, "^={value}"),
            Test::Pattern(pattern) => write!(f, "~{pattern}"),
        }
    }
}
