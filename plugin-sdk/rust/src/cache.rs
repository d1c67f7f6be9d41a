//! What the cache of the route makes of the request at hand. Needs no grant. Without a cache on the route, what is said
//! here has no effect.
//!
//! The cache is asked when the request is about to be forwarded, so what it is to know is said as long as the request
//! can be edited: in `on_request_head`, and in `on_request_body` until some of the body was let go. What is said for a
//! request holds for the response that is fetched for it.
//!
//! ```
//! use portcullis_sdk::prelude::*;
//! use portcullis_sdk::{cache, testing::MockExchange};
//!
//! /// The site shows other prices to each plan, which it knows by the session.
//! #[derive(Default)]
//! struct Plans;
//!
//! #[policy(name = "plans", description = "Keeps responses apart by the customer's plan.")]
//! impl Plans {
//!     fn on_request_head(&self, exchange: &mut Exchange) -> Result<(), Stop> {
//!         match exchange.attribute("plan") {
//!             Some(plan) => cache::vary_by("plan", &plan)?,
//!             None => cache::bypass()?,
//!         }
//!         cache::add_tag("prices")?;
//!         Ok(())
//!     }
//! }
//!
//! let mut gold = MockExchange::new("GET", "/").attribute("plan", "gold");
//! assert_eq!(gold.request_head(&mut Plans), Decision::Next);
//! assert_eq!(gold.cache_parts(), [("plan".to_owned(), "gold".to_owned())]);
//! assert_eq!(gold.cache_tags(), ["prices"]);
//!
//! let mut unknown = MockExchange::new("GET", "/");
//! assert_eq!(unknown.request_head(&mut Plans), Decision::Next);
//! assert!(unknown.is_cache_bypassed());
//! ```

use crate::{Refused, host};

/// The URL that the request would be looked up by, and that its response is purged by, if nothing else changed. `None`
/// if the route has no cache, and if the request cannot be edited any more.
///
/// ```
/// # use portcullis_sdk::{cache, testing::MockExchange};
/// let exchange = MockExchange::new("GET", "/a?b");
/// assert_eq!(exchange.run(cache::url).as_deref(), Some("https://example.com/a?b"));
/// assert_eq!(exchange.without_cache().run(cache::url), None);
/// ```
#[must_use]
pub fn url() -> Option<String> {
    host::cache_url()
}

/// What else the request would be looked up by, a text each, as `portcullis explain` prints it. Empty if [`url`] is
/// `None`. The mock has the upstream and what [`vary_by`] added.
///
/// ```
/// # use portcullis_sdk::{cache, testing::MockExchange};
/// let exchange = MockExchange::new("GET", "/");
/// assert_eq!(exchange.run(cache::key), ["upstream: upstream"]);
/// ```
#[must_use]
pub fn key() -> Vec<String> {
    host::cache_key()
}

/// Adds a value to the key: for what tells responses apart and is not in the request as it is forwarded. Fields that a
/// policy sets are part of the key without this. The same name may have several values, and their order counts.
///
/// # Errors
/// [`Refused::InvalidName`] if the name is empty, longer than 256 bytes or has control characters,
/// [`Refused::TooLarge`] for a value over 4 KiB and for more than 16 values in an exchange, [`Refused::ReadOnly`] if
/// the request cannot be edited any more.
///
/// ```
/// # use portcullis_sdk::{cache, testing::MockExchange};
/// let exchange = MockExchange::new("GET", "/");
/// assert_eq!(exchange.run(|| cache::vary_by("plan", "gold")), Ok(()));
/// assert_eq!(exchange.cache_parts(), [("plan".to_owned(), "gold".to_owned())]);
/// ```
pub fn vary_by(name: &str, value: &str) -> Result<(), Refused> {
    host::cache_vary_by(name, value)
}

/// Adds a tag to the response if it is fetched for this request and stored. It can be purged by it, as by those that it
/// has in `Surrogate-Key` and `Cache-Tag`.
///
/// # Errors
/// [`Refused::InvalidValue`] if the tag is empty or has control characters, [`Refused::TooLarge`] if it is over 1 KiB
/// and for more than 64 in an exchange, [`Refused::ReadOnly`] if the request cannot be edited any more.
///
/// ```
/// # use portcullis_sdk::{Refused, cache, testing::MockExchange};
/// let exchange = MockExchange::new("GET", "/");
/// assert_eq!(exchange.run(|| cache::add_tag("news")), Ok(()));
/// assert_eq!(exchange.run(|| cache::add_tag("")), Err(Refused::InvalidValue));
/// assert_eq!(exchange.cache_tags(), ["news"]);
/// ```
pub fn add_tag(tag: &str) -> Result<(), Refused> {
    host::cache_add_tag(tag)
}

/// Lets the request pass by the cache: it is not answered from there, and its response is not stored.
///
/// # Errors
/// [`Refused::ReadOnly`] if the request cannot be edited any more.
///
/// ```
/// # use portcullis_sdk::{cache, testing::MockExchange};
/// let exchange = MockExchange::new("GET", "/");
/// assert_eq!(exchange.run(cache::bypass), Ok(()));
/// assert!(exchange.is_cache_bypassed());
/// ```
pub fn bypass() -> Result<(), Refused> {
    host::cache_bypass()
}
