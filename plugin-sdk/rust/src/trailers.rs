//! The trailers of the message whose body is at hand.

use crate::{Field, FieldBytes, Refused, host};

/// The trailer fields of the message whose body ends: those of HTTP/2, such as `grpc-status`, and of chunked bodies of
/// HTTP/1.1. A body hook can be given them, as `&mut` too: they are there in the call in which
/// [`Chunk::is_last`](crate::Chunk::is_last) holds, and can be edited in it. In `on_completed` they are those that were
/// sent behind the response.
///
/// ```
/// use portcullis_sdk::prelude::*;
/// use portcullis_sdk::testing::MockExchange;
///
/// #[derive(Default)]
/// struct Hides;
///
/// #[policy(name = "hides", description = "Keeps the messages of failures in gRPC to itself.")]
/// impl Hides {
///     fn on_response_body(&self, chunk: Chunk, trailers: &mut Trailers) -> Result<(), Stop> {
///         if chunk.is_last() && trailers.header("grpc-status").is_some_and(|status| status != "0") {
///             trailers.set_header("grpc-message", "failed")?;
///         }
///         Ok(())
///     }
/// }
///
/// let mut exchange = MockExchange::new("POST", "/").trailer("grpc-status", "13").trailer("grpc-message", "at line 7");
/// exchange.response_body(&mut Hides, "", true);
/// assert_eq!(exchange.trailer_value("grpc-message").as_deref(), Some("failed"));
/// ```
#[derive(Debug)]
pub struct Trailers(pub(crate) ());

impl Trailers {
    /// All values of a field joined by `", "`. `None` if there is no such field. Bytes that are not UTF-8 become
    /// U+FFFD.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        host::trailers_header(name)
    }

    /// The same as bytes.
    #[must_use]
    pub fn header_bytes(&self, name: &str) -> Option<Vec<u8>> {
        host::trailers_header_bytes(name)
    }

    /// The value of each line of a field, in order. Empty if there is no such field.
    #[must_use]
    pub fn header_values(&self, name: &str) -> Vec<String> {
        host::trailers_header_values(name)
    }

    /// The same as bytes.
    #[must_use]
    pub fn header_values_bytes(&self, name: &str) -> Vec<Vec<u8>> {
        host::trailers_header_values_bytes(name)
    }

    /// All fields in order.
    #[must_use]
    pub fn headers(&self) -> Vec<Field> {
        host::trailers_headers()
    }

    /// The same as bytes.
    #[must_use]
    pub fn headers_bytes(&self) -> Vec<FieldBytes> {
        host::trailers_headers_bytes()
    }

    /// Replaces all lines of a field by one. A body without trailers gets some by that.
    ///
    /// # Errors
    /// Refuses a name that is no token, a value with control characters, and fields that may not be trailers (RFC 9110,
    /// 6.5.1). In a call that does not end the body, and for messages that have none, it is [`Refused::ReadOnly`].
    pub fn set_header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Refused> {
        host::trailers_set_header(name, value.as_ref())
    }

    /// Adds a line to a field.
    ///
    /// # Errors
    /// As [`Trailers::set_header`].
    pub fn append_header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Refused> {
        host::trailers_append_header(name, value.as_ref())
    }

    /// Removes all lines of a field. Removing one that is not there is no error.
    ///
    /// # Errors
    /// As [`Trailers::set_header`].
    pub fn remove_header(&mut self, name: &str) -> Result<(), Refused> {
        host::trailers_remove_header(name)
    }
}
