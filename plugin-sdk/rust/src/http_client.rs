//! Requests of the policy's own to HTTP servers. Grant: `http = ["https://auth.internal/check"]`.
//!
//! A call waits for its response without delaying other exchanges. It may be made in the hooks of an exchange and in
//! `on_tick`, not in `configure`.
//!
//! ```
//! use portcullis_sdk::prelude::*;
//! use portcullis_sdk::http_client::{self, Inbound};
//! use portcullis_sdk::testing::MockGateway;
//!
//! /// Lets requests through that another server lets through.
//! #[derive(Default)]
//! struct Ask;
//!
//! #[policy(name = "ask", description = "Asks another server.", capabilities = ["http-client"])]
//! impl Ask {
//!     fn on_request_head(&self, request: &Request) -> Result<(), Stop> {
//!         let token = request.header("authorization").unwrap_or_default();
//!         let asked = http_client::get("https://auth.internal/check").header("authorization", token).send();
//!         match asked {
//!             Ok(answer) if answer.status == 204 => Ok(()),
//!             Ok(_) => Err(Reply::new(403).into()),
//!             Err(_) => Err(Reply::new(503).into()),
//!         }
//!     }
//! }
//!
//! let gateway = MockGateway::new().http("GET", "https://auth.internal/check", Ok(Inbound::new(204)));
//! let mut ask = gateway.configure::<Ask>("{}")?;
//! assert_eq!(gateway.exchange("GET", "/").header("authorization", "x").request_head(&mut ask), Decision::Next);
//! assert_eq!(gateway.http_requests()[0].header_value("authorization"), Some("x"));
//! # Ok::<(), String>(())
//! ```

use std::fmt;
use std::time::Duration;

use crate::{FieldBytes, host};

/// A request under construction: see [`get`], [`post`] and [`request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// Any but `CONNECT` and `TRACE`.
    pub method: String,
    /// Absolute, with the scheme `http` or `https`.
    pub url: String,
    /// Framing, hop-by-hop fields and Host are the gateway's.
    pub headers: Vec<FieldBytes>,
    /// The body.
    pub body: Vec<u8>,
    /// What else is wished, by name: see [`option`](Self::option).
    pub options: Vec<(String, String)>,
}

/// The answer, whatever its status. Redirects are not followed.
///
/// ```
/// use portcullis_sdk::http_client::Inbound;
///
/// let answer = Inbound::new(200).with_header("X-User", "alice").with_body("hello");
/// assert_eq!(answer.header("x-user").as_deref(), Some("alice"));
/// assert!(answer.is_success());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// The status.
    pub status: u16,
    /// Without hop-by-hop fields and framing.
    pub headers: Vec<FieldBytes>,
    /// The body.
    pub body: Vec<u8>,
    /// What else is known of it, by name. Nothing yet.
    pub details: Vec<(String, String)>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The method, the URL or a field is not valid, and which.
    InvalidRequest(String),
    /// It may not be asked, and why: not granted, a private address that was not granted, or not in this hook.
    NotAllowed(String),
    /// The limit of concurrent calls is reached.
    Busy,
    /// The timeout has passed.
    Timeout,
    /// The connection failed, and why.
    Connect(String),
    /// The server broke the protocol or closed the connection before the end, and how.
    Protocol(String),
    /// The answer is larger than the policy's body limit, or its head than 64 KiB.
    TooLarge,
    /// The client of the exchange has gone away, so the response is not needed.
    ClientGone,
    /// Anything else, and what.
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidRequest(what) => write!(f, "the request is not valid: {what}"),
            Self::NotAllowed(why) => write!(f, "the request is not allowed: {why}"),
            Self::Busy => f.write_str("too many calls are under way"),
            Self::Timeout => f.write_str("the server did not answer in time"),
            Self::Connect(why) => write!(f, "the server cannot be reached: {why}"),
            Self::Protocol(how) => write!(f, "the server broke the protocol: {how}"),
            Self::TooLarge => f.write_str("the answer is too large"),
            Self::ClientGone => f.write_str("the client has gone away"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

/// A request by GET.
///
/// ```
/// # use portcullis_sdk::http_client;
/// assert_eq!(http_client::get("https://a.test/").method, "GET");
/// ```
#[must_use]
pub fn get(url: impl Into<String>) -> Outbound {
    request("GET", url)
}

/// A request by POST with a body.
///
/// ```
/// # use portcullis_sdk::http_client;
/// assert_eq!(http_client::post("https://a.test/", "hello").body, b"hello");
/// ```
#[must_use]
pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Outbound {
    request("POST", url).body(body)
}

/// A request by any method.
///
/// ```
/// # use portcullis_sdk::http_client;
/// assert_eq!(http_client::request("PUT", "https://a.test/").method, "PUT");
/// ```
#[must_use]
pub fn request(method: impl Into<String>, url: impl Into<String>) -> Outbound {
    Outbound {
        method: method.into(),
        url: url.into(),
        headers: Vec::new(),
        body: Vec::new(),
        options: Vec::new(),
    }
}

impl Outbound {
    /// Adds a field. Its value is text, or any bytes.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(FieldBytes { name: name.into(), value: value.into() });
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the time for all of it, from 1 ms to 30 seconds; 5 seconds if it is not set.
    ///
    /// ```
    /// # use portcullis_sdk::http_client;
    /// let request = http_client::get("https://a.test/").timeout(std::time::Duration::from_secs(2));
    /// assert_eq!(request.option_value("timeout-ms"), Some("2000"));
    /// ```
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.option("timeout-ms", timeout.as_millis().to_string())
    }

    /// Sets what else is wished, by its name in the contract. The gateway refuses a request with one that it does not
    /// know.
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        self.options.retain(|(other, _)| *other != name);
        self.options.push((name, value.into()));
        self
    }

    /// The value of an option. For tests, which look at what was sent.
    #[must_use]
    pub fn option_value(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a field, if it is text. For tests, which look at what was sent.
    #[must_use]
    pub fn header_value(&self, name: &str) -> Option<&str> {
        let field = self.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(&field.value).ok()
    }

    /// Sends it and waits for the answer.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn send(self) -> Result<Inbound, Error> {
        host::http_client_send(self)
    }
}

/// Sends several requests at once, at most 32, and waits for all answers, which come in the order of the requests. Each
/// counts as a call of its own: those beyond the limit of concurrent calls are [`Error::Busy`].
///
/// ```
/// # use portcullis_sdk::{http_client::{get, send_all, Error, Inbound}, testing::MockGateway};
/// let gateway = MockGateway::new()
///     .http("GET", "https://a.test/", Ok(Inbound::new(204)))
///     .http("GET", "https://b.test/", Err(Error::Timeout));
/// let answers = gateway.run(|| send_all(vec![get("https://b.test/"), get("https://a.test/")]));
/// assert_eq!(answers, [Err(Error::Timeout), Ok(Inbound::new(204))]);
/// ```
#[must_use]
pub fn send_all(requests: Vec<Outbound>) -> Vec<Result<Inbound, Error>> {
    host::http_client_send_all(requests)
}

impl Inbound {
    /// An answer without fields and body, for tests.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), details: Vec::new() }
    }

    /// Adds a field, for tests.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        let name: String = name.into();
        self.headers.push(FieldBytes { name: name.to_ascii_lowercase(), value: value.into() });
        self
    }

    /// Sets the body, for tests.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// What else is known of it, by its name in the contract.
    #[must_use]
    pub fn detail(&self, name: &str) -> Option<&str> {
        self.details.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Whether the status is 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// All values of a field joined by `", "`. Bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let fields = self.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        let values: Vec<_> = fields.map(FieldBytes::text).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}
