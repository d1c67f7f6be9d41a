//! Why a response is not stored.

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its body is larger than the stores take.
    #[error("the body is larger than the store takes")]
    TooLarge,
    /// No room can be made for it, because everything in the store is in use.
    #[error("no room can be made in the store")]
    NoRoom,
    /// It has more tags than an entry may have. Without one of them it would survive a purge.
    #[error("more tags than an entry may have")]
    TooManyTags,
    /// It was purged after its request was sent.
    #[error("purged while the response was received")]
    Purged,
    /// The entry to update is still being stored.
    #[error("the entry is still being stored")]
    Growing,
    /// The body has another length than was announced.
    #[error("the body has not the length that was announced")]
    WrongLength,
}
