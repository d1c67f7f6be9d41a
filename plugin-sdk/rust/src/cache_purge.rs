//! Removes stored responses from caches. Grant: `cache-purge = ["assets"]`, which names the caches; each call means all
//! of them.
//!
//! A call waits until the purge is done, while other exchanges go on: it counts for each request that begins after the
//! call has returned. It may be made in the hooks of an exchange and in `on_tick`, not in `configure`.
//!
//! ```
//! use portcullis_sdk::prelude::*;
//! use portcullis_sdk::cache_purge::{self, Mode};
//! use portcullis_sdk::testing::MockGateway;
//!
//! /// The shop says which products a change concerns.
//! #[derive(Default)]
//! struct Changes;
//!
//! #[policy(name = "changes", description = "Purges changed products.", capabilities = ["cache-purge"])]
//! impl Changes {
//!     fn on_response_head(&self, response: &Response) -> Result<(), Stop> {
//!         for product in response.header("x-changed").unwrap_or_default().split_whitespace() {
//!             cache_purge::tag(&format!("product-{product}"), Mode::Soft).map_err(|error| Stop::fail(error.to_string()))?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let gateway = MockGateway::new();
//! let mut exchange = gateway.exchange("POST", "/").with_response_header("x-changed", "7 8");
//! assert_eq!(exchange.response_head(&mut Changes), Decision::Next);
//! assert_eq!(gateway.purges(), ["tag product-7 (soft)", "tag product-8 (soft)"]);
//! ```

use crate::host;

/// What becomes of the responses.
///
/// ```
/// # use portcullis_sdk::{cache_purge::{self, Mode}, testing::MockGateway};
/// let gateway = MockGateway::new();
/// assert_eq!(gateway.run(|| cache_purge::tag("news", Mode::Soft)), Ok(0));
/// assert_eq!(gateway.purges(), ["tag news (soft)"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They are removed.
    Hard,
    /// They are kept as stale ones: each is validated before it is used, unless the route allows otherwise.
    Soft,
}

/// Why a purge was not done, or does not last.
///
/// ```
/// use portcullis_sdk::cache_purge::Error;
///
/// assert_eq!(Error::Busy.to_string(), "too many purges");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The text is no URL with a host, or no tag, and why.
    Invalid(String),
    /// It is not allowed in this hook, and why.
    NotAllowed(String),
    /// The policy has purged as often in this second as it may, or too many of its purges wait.
    Busy,
    /// It counts, but a disk did not write it down: after a crash, what was purged may be there again.
    NotLasting,
    /// Anything else, and what.
    Other(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Invalid(why) => write!(f, "it cannot be purged: {why}"),
            Self::NotAllowed(why) => write!(f, "the purge is not allowed: {why}"),
            Self::Busy => f.write_str("too many purges"),
            Self::NotLasting => f.write_str("a disk did not write the purge down"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

/// Purges the responses of one URL in all variants. Without a scheme it means http and https. Returns how many there
/// were; the mock has none.
///
/// # Errors
/// Any [`Error`].
///
/// ```
/// # use portcullis_sdk::{cache_purge::{self, Mode}, testing::MockGateway};
/// let gateway = MockGateway::new();
/// assert_eq!(gateway.run(|| cache_purge::url("https://www.example.com/news", Mode::Hard)), Ok(0));
/// assert_eq!(gateway.purges(), ["url https://www.example.com/news"]);
/// ```
pub fn url(url: &str, mode: Mode) -> Result<u64, Error> {
    host::cache_purge_url(url, mode == Mode::Soft)
}

/// The same for this URL and all below it, or with a `*` at its end for all that begin so.
///
/// # Errors
/// Any [`Error`].
///
/// ```
/// # use portcullis_sdk::{cache_purge::{self, Mode}, testing::MockGateway};
/// let gateway = MockGateway::new();
/// assert_eq!(gateway.run(|| cache_purge::prefix("www.example.com/im*", Mode::Hard)), Ok(0));
/// assert_eq!(gateway.purges(), ["prefix www.example.com/im*"]);
/// ```
pub fn prefix(url: &str, mode: Mode) -> Result<u64, Error> {
    host::cache_purge_prefix(url, mode == Mode::Soft)
}

/// The same for all responses with this tag.
///
/// # Errors
/// Any [`Error`].
///
/// ```
/// # use portcullis_sdk::{cache_purge::{self, Error, Mode}, testing::MockGateway};
/// let gateway = MockGateway::new();
/// assert_eq!(gateway.run(|| cache_purge::tag("news", Mode::Hard)), Ok(0));
/// assert!(matches!(gateway.run(|| cache_purge::tag("", Mode::Hard)), Err(Error::Invalid(_))));
/// ```
pub fn tag(tag: &str, mode: Mode) -> Result<u64, Error> {
    host::cache_purge_tag(tag, mode == Mode::Soft)
}
