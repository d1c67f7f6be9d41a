//! Why a document was not read.

/// Why a document was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonError {
    /// It is not JSON, or a member that is asked for or leads there is in it twice.
    Malformed(String),
    /// This is not a JSON pointer.
    InvalidPointer(String),
    /// The document, its depth, the pointers or what they point to are too large.
    TooLarge,
}
