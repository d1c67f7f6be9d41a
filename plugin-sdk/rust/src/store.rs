//! A small key-value store that the policy's instances on all workers share. It survives reloads, not restarts. Grant:
//! `store = true`.
//!
//! ```
//! use std::time::Duration;
//! use portcullis_sdk::{store, testing::MockGateway};
//!
//! let gateway = MockGateway::new();
//! gateway.run(|| store::set("seen:a", b"1", Some(Duration::from_secs(60))))?;
//! assert!(gateway.run(|| store::get("seen:a"))?.is_some());
//! gateway.advance(Duration::from_secs(61));
//! assert!(gateway.run(|| store::get("seen:a"))?.is_none());
//! # Ok::<(), store::Error>(())
//! ```

use std::time::Duration;

use crate::host;

/// Why the store did not do it.
///
/// ```
/// use portcullis_sdk::store::Error;
///
/// assert_eq!(Error::Quota.to_string(), "the policy's store is full");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The store cannot be reached, and why. A local store never says so.
    Unavailable(String),
    /// The key is over 1 KiB or the value over 64 KiB.
    TooLarge,
    /// The policy's quota of entries or bytes is used up.
    Quota,
    /// The value is not a number that [`increment`] wrote.
    NotANumber,
    /// Anything else, and what.
    Other(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "the store cannot be reached: {why}"),
            Self::TooLarge => f.write_str("key over 1 KiB or value over 64 KiB"),
            Self::Quota => f.write_str("the policy's store is full"),
            Self::NotANumber => f.write_str("the value is not a number"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

/// The value of a key. `None` if the key is absent or has expired.
///
/// # Errors
/// [`Error::Unavailable`] and [`Error::TooLarge`].
///
/// ```
/// # use portcullis_sdk::{store, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// assert_eq!(store::get("nothing"), Ok(None));
/// # });
/// ```
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    host::store_get(key)
}

/// Sets a key. Without `ttl` it stays. A `ttl` counts in milliseconds.
///
/// # Errors
/// Any but [`Error::NotANumber`].
///
/// ```
/// # use portcullis_sdk::{store, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// assert_eq!(store::set("greeting", "hello", None), Ok(()));
/// # });
/// ```
pub fn set(key: &str, value: impl AsRef<[u8]>, ttl: Option<Duration>) -> Result<(), Error> {
    host::store_set(key, value.as_ref(), ttl)
}

/// Sets a key only if its value is the expected one (`None`: only if it is absent). Returns `false` if it was not.
///
/// # Errors
/// Any but [`Error::NotANumber`].
///
/// ```
/// # use portcullis_sdk::{store, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// assert_eq!(store::compare_and_set("leader", None, "a", None), Ok(true));
/// assert_eq!(store::compare_and_set("leader", None, "b", None), Ok(false));
/// # });
/// ```
pub fn compare_and_set(
    key: &str,
    expected: Option<&[u8]>,
    value: impl AsRef<[u8]>,
    ttl: Option<Duration>,
) -> Result<bool, Error> {
    host::store_compare_and_set(key, expected, value.as_ref(), ttl)
}

/// Adds to a number, from 0 if the key is absent, and returns the sum, which stops at the limits of `i64`. `ttl` counts
/// from the key's first increment. [`get`] returns the number in decimal digits.
///
/// # Errors
/// Any.
///
/// ```
/// # use portcullis_sdk::{store, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// assert_eq!(store::increment("failures", 1, None), Ok(1));
/// assert_eq!(store::increment("failures", 2, None), Ok(3));
/// # });
/// ```
pub fn increment(key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, Error> {
    host::store_increment(key, by, ttl)
}

/// Removes a key. An absent key is no error.
///
/// # Errors
/// [`Error::Unavailable`] and [`Error::TooLarge`].
///
/// ```
/// # use portcullis_sdk::{store, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// assert_eq!(store::delete("nothing"), Ok(()));
/// # });
/// ```
pub fn delete(key: &str) -> Result<(), Error> {
    host::store_delete(key)
}

/// The keys that begin with `prefix`, in the order of their bytes; at most the first 1,000.
///
/// # Errors
/// [`Error::Unavailable`] and [`Error::TooLarge`].
///
/// ```
/// # use portcullis_sdk::{store, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// store::set("seen:b", "", None)?;
/// store::set("seen:a", "", None)?;
/// store::set("other", "", None)?;
/// assert_eq!(store::list("seen:")?, ["seen:a", "seen:b"]);
/// # Ok::<(), store::Error>(())
/// # }).unwrap();
/// ```
pub fn list(prefix: &str) -> Result<Vec<String>, Error> {
    host::store_list(prefix)
}
