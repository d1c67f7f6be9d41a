//! The request of the exchange at hand.

use crate::{Field, FieldBytes, Refused, host, query};

/// The request. Every hook of an exchange can be given it; `on_request_head` and `on_request_body` as `&mut`, and with
/// that the right to edit it: in the latter up to the call in which the policy lets the first bytes of the body go.
/// Later edits are refused as [`Refused::ReadOnly`].
///
/// What is read here is what was matched and what will be forwarded: the path is normalised once, before routing. Each
/// function is a call to the gateway and costs a copy of what it returns, so nothing is paid for that is not asked for.
///
/// ```
/// use portcullis_sdk::prelude::*;
/// use portcullis_sdk::testing::MockExchange;
///
/// #[derive(Default)]
/// struct Canary;
///
/// #[policy(name = "canary", description = "Sends those who ask for it to the new version.")]
/// impl Canary {
///     fn on_request_head(&self, request: &mut Request) -> Result<(), Stop> {
///         if request.header("x-canary").is_some() {
///             request.set_upstream("new")?;
///         }
///         request.remove_header("x-canary")?;
///         Ok(())
///     }
/// }
///
/// let mut exchange = MockExchange::new("GET", "/").upstreams(&["old", "new"]).header("x-canary", "1");
/// assert_eq!(exchange.request_head(&mut Canary), Decision::Next);
/// assert_eq!(exchange.upstream(), "new");
/// ```
#[derive(Debug)]
pub struct Request(pub(crate) ());

impl Request {
    /// The method, such as `GET`. Methods are case-sensitive.
    #[must_use]
    pub fn method(&self) -> String {
        host::request_method()
    }

    /// Sets the method.
    ///
    /// # Errors
    /// Refuses what is no token, and `CONNECT`.
    pub fn set_method(&mut self, method: &str) -> Result<(), Refused> {
        host::request_set_method(method)
    }

    /// `http` or `https`: how the client reached the gateway, or how a trusted proxy says it did.
    #[must_use]
    pub fn scheme(&self) -> String {
        host::request_scheme()
    }

    /// Host and port as the client wrote them; the port is absent if the client left it out. Empty only for an HTTP/1.0
    /// request without `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        host::request_authority()
    }

    /// Sets the authority that is forwarded if the upstream's `host` setting is `preserve`. It does not change the
    /// route.
    ///
    /// # Errors
    /// Refuses what is no host and port.
    pub fn set_authority(&mut self, authority: &str) -> Result<(), Refused> {
        host::request_set_authority(authority)
    }

    /// The path without its query: normalised, percent-encoding kept, beginning with `/` (`*` for `OPTIONS *`).
    #[must_use]
    pub fn path(&self) -> String {
        host::request_path()
    }

    /// The query without its `?`, as the client wrote it. `None` if there is no `?`; empty if nothing follows it.
    #[must_use]
    pub fn query(&self) -> Option<String> {
        host::request_query()
    }

    /// The values of a query parameter, in order, percent-decoded and with `+` as a space (the form encoding of the URL
    /// standard). Bytes that are not UTF-8 become U+FFFD.
    ///
    /// ```
    /// # use portcullis_sdk::{prelude::*, testing::MockExchange};
    /// # #[derive(Default)]
    /// # struct Search;
    /// # #[policy(name = "search", description = "")]
    /// # impl Search {
    /// fn on_request_head(&self, request: &Request) -> Decision {
    ///     match request.query_values("q").first() {
    ///         Some(words) => Decision::Reply(Reply::new(200).text(words)),
    ///         None => Decision::Next,
    ///     }
    /// }
    /// # }
    /// # let mut exchange = MockExchange::new("GET", "/?q=red+fox%21&r");
    /// # assert_eq!(exchange.request_head(&mut Search), Decision::Reply(Reply::new(200).text("red fox!")));
    /// ```
    #[must_use]
    pub fn query_values(&self, name: &str) -> Vec<String> {
        query::values(&self.query().unwrap_or_default(), name)
    }

    /// The same as the bytes that they encode.
    #[must_use]
    pub fn query_values_bytes(&self, name: &str) -> Vec<Vec<u8>> {
        query::values_bytes(&self.query().unwrap_or_default(), name)
    }

    /// Removes all of a query parameter, and leaves the rest of the query as the client wrote it. Removing one that is
    /// not there is no error.
    ///
    /// # Errors
    /// As [`Request::set_path_and_query`].
    pub fn remove_query(&mut self, name: &str) -> Result<(), Refused> {
        let Some(query) = self.query() else { return Ok(()) };
        match query::without(&query, name) {
            None => Ok(()),
            Some(rest) if rest.is_empty() => self.set_path_and_query(&self.path()),
            Some(rest) => self.set_path_and_query(&format!("{}?{rest}", self.path())),
        }
    }

    /// Sets path and query (`/path?query`). It is normalised as a client's is, and does not change the route.
    ///
    /// # Errors
    /// Refuses what is no absolute path.
    pub fn set_path_and_query(&mut self, value: &str) -> Result<(), Refused> {
        host::request_set_path_and_query(value)
    }

    /// Chooses one of the upstreams that the route lists in `to`.
    ///
    /// # Errors
    /// Refuses any other as [`Refused::InvalidValue`].
    pub fn set_upstream(&mut self, name: &str) -> Result<(), Refused> {
        host::request_set_upstream(name)
    }

    /// Sends requests of the same key to the same endpoint of the upstream for as long as it is there and in health,
    /// whatever the upstream's `balance` says. If it is not, its keys are spread over the others. A retry goes to
    /// another endpoint.
    ///
    /// # Errors
    /// At most 1 KiB; more is [`Refused::TooLarge`].
    pub fn set_endpoint_key(&mut self, key: impl AsRef<[u8]>) -> Result<(), Refused> {
        host::request_set_endpoint_key(key.as_ref())
    }

    /// All values of a field joined by `", "` (RFC 9110, 5.3), those of `Cookie` by `"; "`. The name is compared
    /// without case. `None` if there is no such field. Bytes that are not UTF-8 become U+FFFD. A policy that admits or
    /// refuses by the value of one line must use [`Request::header_values`]: a client may send several lines, and each
    /// is only a part of the joined text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        host::request_header(name)
    }

    /// The same as bytes.
    ///
    /// ```
    /// # use portcullis_sdk::{prelude::*, testing::MockExchange};
    /// # #[derive(Default)]
    /// # struct Copy;
    /// # #[policy(name = "copy", description = "")]
    /// # impl Copy {
    /// fn on_request_head(&self, request: &mut Request) -> Result<(), Stop> {
    ///     if let Some(value) = request.header_bytes("x-from") {
    ///         request.set_header("x-to", value)?;
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// # let mut exchange = MockExchange::new("GET", "/").header("x-from", b"\xff");
    /// # exchange.request_head(&mut Copy);
    /// # assert_eq!(exchange.request_header_bytes("x-to").as_deref(), Some(&b"\xff"[..]));
    /// ```
    #[must_use]
    pub fn header_bytes(&self, name: &str) -> Option<Vec<u8>> {
        host::request_header_bytes(name)
    }

    /// The value of each line of a field, in order. Empty if there is no such field. Bytes that are not UTF-8 become
    /// U+FFFD, so different bytes can be the same text: what is compared with a secret is read by
    /// [`Request::header_values_bytes`].
    #[must_use]
    pub fn header_values(&self, name: &str) -> Vec<String> {
        host::request_header_values(name)
    }

    /// The same as bytes.
    #[must_use]
    pub fn header_values_bytes(&self, name: &str) -> Vec<Vec<u8>> {
        host::request_header_values_bytes(name)
    }

    /// All fields in order, except `Host` and the hop-by-hop fields. Costs a copy of the whole head: prefer
    /// [`Request::header`].
    #[must_use]
    pub fn headers(&self) -> Vec<Field> {
        host::request_headers()
    }

    /// The same as bytes.
    #[must_use]
    pub fn headers_bytes(&self) -> Vec<FieldBytes> {
        host::request_headers_bytes()
    }

    /// Replaces all lines of a field by one. The value is text, or any bytes.
    ///
    /// # Errors
    /// Refuses a name that is no token, a value with control characters, and the fields that the gateway alone writes.
    pub fn set_header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Refused> {
        host::request_set_header(name, value.as_ref())
    }

    /// Adds a line to a field. The value is text, or any bytes.
    ///
    /// # Errors
    /// As [`Request::set_header`].
    pub fn append_header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Refused> {
        host::request_append_header(name, value.as_ref())
    }

    /// Removes all lines of a field. Removing one that is not there is no error.
    ///
    /// # Errors
    /// Refuses the fields that the gateway alone writes.
    pub fn remove_header(&mut self, name: &str) -> Result<(), Refused> {
        host::request_remove_header(name)
    }
}
