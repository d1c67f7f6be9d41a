//! Regular expressions of the configuration.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use regex::bytes::{Regex, RegexBuilder};

/// Bytes that a compiled expression may take. It bounds what one look at a long text may cost as well: the time is at
/// most the length of the text times this.
const BYTES_MAX: usize = 256 << 10;

/// A regular expression, which is looked for anywhere in a text. It knows bytes: classes such as `\w` and case are
/// those of ASCII. Its time is linear in the text.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

/// Why a text is not a regular expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is not valid.
    #[error("{0}")]
    Syntax(String),
    /// It would take too much memory.
    #[error("it takes more than {} KiB once it is compiled", BYTES_MAX >> 10)]
    TooLarge,
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// If it is not a regular expression, or is too large.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let compiled = RegexBuilder::new(text).unicode(false).size_limit(BYTES_MAX).build();
        compiled.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
            error => {
                // The last line says what is wrong; those before it draw where.
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                PatternError::Syntax(last.trim_start_matches("error: ").to_owned())
            }
        })
    }

    /// Returns the text it was compiled from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns whether it is found in `text`.
    #[must_use]
    pub fn is_in(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }

    /// Returns the number of the group that has this name, or is written as this number.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<usize> {
        let named = self.0.capture_names().position(|other| other == Some(name));
        named.or_else(|| name.parse().ok().filter(|group| *group > 0 && *group < self.0.captures_len()))
    }

    /// Returns the names that its groups have.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.capture_names().flatten()
    }

    /// Returns what a group took of the first place in `text` where the expression is found: nothing if the group took
    /// no part, `None` if it is not found.
    #[must_use]
    pub fn capture<'t>(&self, text: &'t str, group: usize) -> Option<&'t str> {
        let captures = self.0.captures(text.as_bytes())?;
        let taken = captures.get(group).map_or(&b""[..], |taken| taken.as_bytes());
        std::str::from_utf8(taken).ok()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_name_and_number() {
        let pattern = Pattern::new(r"^/(?<lang>[a-z]{2})(/x)?/(\d+)$").unwrap();
        assert_eq!(pattern.names().collect::<Vec<_>>(), ["lang"]);
        let groups = ["lang", "1", "2", "3", "4", "0", "other"].map(|name| pattern.group(name));
        assert_eq!(groups, [Some(1), Some(1), Some(2), Some(3), None, None, None]);
        assert_eq!(pattern.capture("/de/7", 3), Some("7"));
        assert_eq!(pattern.capture("/de/7", 2), Some(""));
        assert_eq!(pattern.capture("/DE/7", 1), None);
    }

    #[test]
    fn what_is_wrong_is_one_line() {
        let wrong = |text: &str| Pattern::new(text).unwrap_err();
        assert_eq!(wrong("(a"), PatternError::Syntax("unclosed group".to_owned()));
        assert!(matches!(wrong("(?=a)"), PatternError::Syntax(text) if text.contains("look-around")));
        assert_eq!(wrong("(a{1000}){100}"), PatternError::TooLarge);
    }
}
