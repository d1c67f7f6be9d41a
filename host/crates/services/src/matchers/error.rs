//! Why a set was not made, or nothing was looked up in one.

/// Why there is no set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MakeError {
    /// A pattern or a network cannot be read: which, and why.
    Malformed(String),
    /// The patterns are too large, written or compiled.
    TooLarge,
    /// The policy has as many sets as it may, or they take as much memory as they may.
    TooMany,
    /// There is no set of that number to replace.
    NoSet,
}

/// Why nothing was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// There is no set of that number.
    NoSet,
    /// The text is too large.
    TooLarge,
    /// Matching took too long.
    TooCostly,
}
