//! Random bytes from the operating system's generator. Grant: `random = true`.

use crate::host;

/// Why there are no bytes.
///
/// ```
/// use portcullis_sdk::random::Error;
///
/// assert_eq!(Error::TooMany.to_string(), "more than 4,096 random bytes at once");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// More than 4,096 were asked for.
    TooMany,
    /// The operating system gives none, and why. The mock never says so.
    Unavailable(String),
    /// Anything else, and what. The mock never says so.
    Other(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooMany => f.write_str("more than 4,096 random bytes at once"),
            Self::Unavailable(why) | Self::Other(why) => write!(f, "no random bytes: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// `count` random bytes, at most 4,096 a call. The mock gives a fixed sequence.
///
/// # Errors
/// Any [`Error`].
///
/// ```
/// # use portcullis_sdk::{random, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// let nonce = random::bytes(16)?;
/// assert_eq!(nonce.len(), 16);
/// # Ok::<(), random::Error>(())
/// # }).unwrap();
/// ```
pub fn bytes(count: u32) -> Result<Vec<u8>, Error> {
    host::random_bytes(count)
}
