//! The response of the exchange at hand.

use crate::{Field, FieldBytes, Refused, host};

/// The final response; 1xx responses pass by. `on_response_head` and the hooks after it can be given it;
/// `on_response_head` and `on_response_body` as `&mut`, and with that the right to edit it: in the latter up to the
/// call in which the policy lets the first bytes of the body go. Later edits are refused as [`Refused::ReadOnly`].
///
/// An answer made by the gateway (no route, no upstream, a policy's reply) passes through here like an upstream's.
///
/// ```
/// use portcullis_sdk::prelude::*;
/// use portcullis_sdk::testing::MockExchange;
///
/// #[derive(Default)]
/// struct NoSniff;
///
/// #[policy(name = "no-sniff", description = "Tells browsers to believe the media type.")]
/// impl NoSniff {
///     fn on_response_head(&self, response: &mut Response) -> Result<(), Stop> {
///         response.set_header("x-content-type-options", "nosniff")?;
///         Ok(())
///     }
/// }
///
/// let mut exchange = MockExchange::new("GET", "/").response(200);
/// exchange.response_head(&mut NoSniff);
/// assert_eq!(exchange.response_header("x-content-type-options").as_deref(), Some("nosniff"));
/// ```
#[derive(Debug)]
pub struct Response(pub(crate) ());

impl Response {
    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        host::response_status()
    }

    /// Sets the status.
    ///
    /// # Errors
    /// Refuses what is outside 200 to 599, and any change from or to 204, 205 or 304, which say that there is no body.
    pub fn set_status(&mut self, status: u16) -> Result<(), Refused> {
        host::response_set_status(status)
    }

    /// All values of a field joined by `", "`; `None` if there is no such field. See
    /// [`Request::header`](crate::Request::header).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        host::response_header(name)
    }

    /// The same as bytes.
    #[must_use]
    pub fn header_bytes(&self, name: &str) -> Option<Vec<u8>> {
        host::response_header_bytes(name)
    }

    /// The value of each line of a field, in order. See [`Request::header_values`](crate::Request::header_values).
    #[must_use]
    pub fn header_values(&self, name: &str) -> Vec<String> {
        host::response_header_values(name)
    }

    /// The same as bytes.
    #[must_use]
    pub fn header_values_bytes(&self, name: &str) -> Vec<Vec<u8>> {
        host::response_header_values_bytes(name)
    }

    /// All fields in order, but the hop-by-hop ones. Costs a copy of the whole head.
    #[must_use]
    pub fn headers(&self) -> Vec<Field> {
        host::response_headers()
    }

    /// The same as bytes.
    #[must_use]
    pub fn headers_bytes(&self) -> Vec<FieldBytes> {
        host::response_headers_bytes()
    }

    /// Replaces all lines of a field by one. The value is text, or any bytes.
    ///
    /// # Errors
    /// Refuses a name that is no token, a value with control characters, and the fields that the gateway alone writes.
    pub fn set_header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Refused> {
        host::response_set_header(name, value.as_ref())
    }

    /// Adds a line to a field. The value is text, or any bytes.
    ///
    /// # Errors
    /// As [`Response::set_header`].
    pub fn append_header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Refused> {
        host::response_append_header(name, value.as_ref())
    }

    /// Removes all lines of a field. Removing one that is not there is no error.
    ///
    /// # Errors
    /// Refuses the fields that the gateway alone writes.
    pub fn remove_header(&mut self, name: &str) -> Result<(), Refused> {
        host::response_remove_header(name)
    }
}
