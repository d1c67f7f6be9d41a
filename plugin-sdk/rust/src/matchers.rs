//! Sets of patterns and of networks that the gateway compiles once, and a reader of JSON. Grant: `matchers = true`.
//!
//! ```
//! use portcullis_sdk::prelude::*;
//! use portcullis_sdk::matchers::{MakeError, NetworkSet};
//! use portcullis_sdk::testing::MockGateway;
//!
//! /// Shuts out clients of some networks.
//! #[derive(Config)]
//! struct Settings {
//!     /// A file with a network on each line.
//!     networks: FileText,
//! }
//!
//! struct Blocked {
//!     networks: NetworkSet,
//! }
//!
//! #[policy(name = "blocked", description = "Shuts out some networks.", capabilities = ["matchers"])]
//! impl Blocked {
//!     fn configure(settings: Settings) -> Result<Self, MakeError> {
//!         Ok(Self { networks: NetworkSet::new(&settings.networks)? })
//!     }
//!
//!     fn on_request_head(&self) -> Decision {
//!         match self.networks.find_client() {
//!             Ok(None) => Decision::Next,
//!             _ => Decision::Reply(Reply::new(403)),
//!         }
//!     }
//! }
//!
//! let gateway = MockGateway::new();
//! let mut blocked = gateway.configure::<Blocked>(r#"{"networks": "192.0.2.0/24\n"}"#)?;
//! assert_eq!(gateway.exchange("GET", "/").request_head(&mut blocked), Decision::Reply(Reply::new(403)));
//! # Ok::<(), String>(())
//! ```
//!
//! The mock matches patterns by the crate `regex`, which has the same syntax.

use crate::host;
use std::fmt;

/// Why a set was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MakeError {
    /// This is a hook of an exchange: sets are made in `configure` and `on_tick`.
    NotNow,
    /// A pattern or a network cannot be read: which, and why.
    Malformed(String),
    /// The patterns are over 1 MiB, written or compiled.
    TooLarge,
    /// The policy has as many sets as it may, or they take as much memory as they may.
    TooMany,
    /// There is no set of that number to replace.
    NoSet,
    /// Anything else, and what.
    Other(String),
}

impl fmt::Display for MakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNow => f.write_str("sets are made in `configure` and `on_tick`"),
            Self::Malformed(why) => f.write_str(why),
            Self::TooLarge => f.write_str("the patterns are over 1 MiB, written or compiled"),
            Self::TooMany => f.write_str("the policy has as many sets as it may"),
            Self::NoSet => f.write_str("there is no such set to replace"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for MakeError {}

/// Why nothing was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// There is no such set.
    NoSet,
    /// The text is over 1 MiB.
    TooLarge,
    /// Matching took 5 ms, which only patterns with large counted repetitions take.
    TooCostly,
    /// This is no address.
    InvalidAddress,
    /// Anything else, and what.
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSet => "there is no such set",
            Self::TooLarge => "the text is over 1 MiB",
            Self::TooCostly => "matching took too long",
            Self::InvalidAddress => "this is no address",
            Self::Other(what) => what,
        })
    }
}

impl std::error::Error for Error {}

/// A set of patterns. Valid in every instance of the policy, for as long as its configuration runs or until it is
/// [forgotten](Self::forget).
///
/// ```
/// # use portcullis_sdk::{matchers::RegexSet, testing::MockGateway};
/// # MockGateway::new().run(|| -> Result<(), Box<dyn std::error::Error>> {
/// let set = RegexSet::new(&["^/admin(/|$)", r"\.php$"])?;
/// assert_eq!(set.matches("/admin/x.php"), Ok(vec![0, 1]));
/// assert_eq!(set.is_match("/"), Ok(false));
/// # Ok(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegexSet(u32);

impl RegexSet {
    /// Compiles patterns in the syntax of the crate `regex`. They match bytes: `.` is one byte, and `\w`, `\b` and
    /// `(?i)` know ASCII. A pattern matches anywhere unless it is anchored.
    ///
    /// # Errors
    /// Any [`MakeError`].
    pub fn new<P: AsRef<str>>(patterns: &[P]) -> Result<Self, MakeError> {
        let patterns: Vec<&str> = patterns.iter().map(AsRef::as_ref).collect();
        host::matchers_make_regex_set(&patterns).map(Self)
    }

    /// The set of a number that another instance passed on, perhaps through [`store`](crate::store).
    #[must_use]
    pub const fn of_number(number: u32) -> Self {
        Self(number)
    }

    /// Its number, to pass on.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Puts other patterns in its place, in all instances: `on_tick` renews so what `configure` made.
    ///
    /// # Errors
    /// Any [`MakeError`]; the patterns are then the same as before.
    pub fn replace<P: AsRef<str>>(self, patterns: &[P]) -> Result<(), MakeError> {
        let patterns: Vec<&str> = patterns.iter().map(AsRef::as_ref).collect();
        host::matchers_replace_regex_set(self.0, &patterns)
    }

    /// Forgets it, in all instances, and gives its memory back.
    pub fn forget(self) {
        host::matchers_forget_regex_set(self.0);
    }

    /// Whether any of the patterns matches.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn is_match(self, text: impl AsRef<[u8]>) -> Result<bool, Error> {
        host::matchers_is_match(self.0, text.as_ref())
    }

    /// Which patterns match, by their places in the list, in order.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn matches(self, text: impl AsRef<[u8]>) -> Result<Vec<u32>, Error> {
        host::matchers_matches(self.0, text.as_ref())
    }
}

/// A set of networks. Valid in every instance of the policy, for as long as its configuration runs or until it is
/// [forgotten](Self::forget).
///
/// ```
/// # use portcullis_sdk::{matchers::NetworkSet, testing::MockGateway};
/// # MockGateway::new().run(|| -> Result<(), Box<dyn std::error::Error>> {
/// let set = NetworkSet::new("10.0.0.0/8\n10.1.0.0/16 # the lab\n")?;
/// assert_eq!(set.find("10.1.2.3"), Ok(Some(1)));
/// assert_eq!(set.find("192.0.2.1"), Ok(None));
/// # Ok(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkSet(u32);

impl NetworkSet {
    /// Makes a set of networks: one on each line, such as `10.0.0.0/8` or `2001:db8::1`. Blank lines, and what follows
    /// a `#`, do not count.
    ///
    /// # Errors
    /// Any [`MakeError`].
    pub fn new(networks: &str) -> Result<Self, MakeError> {
        host::matchers_make_network_set(networks).map(Self)
    }

    /// The set of a number that another instance passed on, perhaps through [`store`](crate::store).
    #[must_use]
    pub const fn of_number(number: u32) -> Self {
        Self(number)
    }

    /// Its number, to pass on.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Puts other networks in its place, in all instances: `on_tick` renews so what `configure` made. The number stays,
    /// and an instance that is configured later and makes the old set gets what is in its place. So two sets that are
    /// renewed apart must be made from different text, be it a comment.
    ///
    /// ```
    /// # use portcullis_sdk::{matchers::NetworkSet, testing::MockGateway};
    /// # MockGateway::new().run(|| -> Result<(), Box<dyn std::error::Error>> {
    /// let set = NetworkSet::new("# blocked")?;
    /// set.replace("192.0.2.0/24")?;
    /// assert_eq!(set.find("192.0.2.1"), Ok(Some(0)));
    /// assert_eq!(NetworkSet::new("# blocked"), Ok(set));
    /// # Ok(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Any [`MakeError`]; the networks are then the same as before.
    pub fn replace(self, networks: &str) -> Result<(), MakeError> {
        host::matchers_replace_network_set(self.0, networks)
    }

    /// Forgets it, in all instances, and gives its memory back.
    pub fn forget(self) {
        host::matchers_forget_network_set(self.0);
    }

    /// The smallest network that has the address, by its place among the networks of the text, from 0.
    ///
    /// # Errors
    /// [`Error::NoSet`] and [`Error::InvalidAddress`].
    pub fn find(self, address: impl fmt::Display) -> Result<Option<u32>, Error> {
        host::matchers_find_network(self.0, &address.to_string())
    }

    /// The same for the client of the exchange at hand.
    ///
    /// # Errors
    /// [`Error::NoSet`].
    pub fn find_client(self) -> Result<Option<u32>, Error> {
        host::matchers_find_client(self.0)
    }
}

/// A value of a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonValue {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number as it is written.
    Number(String),
    /// A string.
    Text(String),
    /// An array, as it is written.
    Items(String),
    /// An object, as it is written.
    Members(String),
}

impl JsonValue {
    /// The string, if it is one.
    ///
    /// ```
    /// # use portcullis_sdk::matchers::JsonValue;
    /// assert_eq!(JsonValue::Text("a".to_owned()).as_text(), Some("a"));
    /// assert_eq!(JsonValue::Null.as_text(), None);
    /// ```
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// Why a document was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonError {
    /// It is not JSON, or a member that is asked for or leads there is in it twice.
    Malformed(String),
    /// This is not a JSON pointer.
    InvalidPointer(String),
    /// The document is over 1 MiB, or there is too much of pointers or values.
    TooLarge,
    /// Anything else, and what.
    Other(String),
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "the document is not JSON: {why}"),
            Self::InvalidPointer(pointer) => write!(f, "`{pointer}` is no JSON pointer"),
            Self::TooLarge => f.write_str("the document, the pointers or the values are too large"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for JsonError {}

/// Reads values of a JSON document by JSON pointers (RFC 6901), in their order. `None` if there is no such value.
///
/// # Errors
/// Any [`JsonError`].
///
/// ```
/// # use portcullis_sdk::{matchers::{read_json, JsonValue}, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// let values = read_json(r#"{"user": {"name": "alice", "age": 7}}"#, &["/user/name", "/user/age", "/x"]);
/// let text = |text: &str| text.to_owned();
/// assert_eq!(values, Ok(vec![Some(JsonValue::Text(text("alice"))), Some(JsonValue::Number(text("7"))), None]));
/// # });
/// ```
pub fn read_json<P: AsRef<str>>(
    document: impl AsRef<[u8]>,
    pointers: &[P],
) -> Result<Vec<Option<JsonValue>>, JsonError> {
    let pointers: Vec<&str> = pointers.iter().map(AsRef::as_ref).collect();
    host::matchers_read_json(document.as_ref(), &pointers)
}
