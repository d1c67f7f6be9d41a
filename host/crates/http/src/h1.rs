//! The HTTP/1 codec (RFC 9112): heads in, heads out, chunked bodies both ways. The same code reads clients and
//! upstreams.
//!
//! It is strict: a message that can be understood in two ways is refused, because the next server might understand it
//! in the other way. Nothing is forwarded unchanged; heads and framing are always written anew.

mod case;
mod chunked;
mod framing;
mod request;
mod response;
mod write;

#[cfg(test)]
mod tests;

pub use case::capitalize_names;
pub use chunked::{CHUNK_END, ChunkedDecoder, ChunkedError, Decoded, write_chunk_header, write_last_chunk};
pub use framing::{BodyFraming, FramingError, LENGTH_MAX};
pub use request::{ParsedRequest, RequestError, is_upgrade_protocol, parse_request};
pub use response::{ParsedResponse, ResponseError, parse_response};
pub use write::{ResponseOptions, write_request_head, write_response_head};

use portcullis_model::ConnectionLimits;

/// How large a head or a trailer section may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes from the start line's first to the blank line's last.
    pub head_bytes: usize,
    /// Field lines. Values above [`HeadLimits::FIELDS_MAX`] count as that many.
    pub fields: usize,
}

impl HeadLimits {
    /// The most fields of any head, whatever the limit is.
    pub const FIELDS_MAX: usize = 1024;
}

impl Default for HeadLimits {
    /// Those of [`ConnectionLimits`].
    fn default() -> Self {
        Self::from(&ConnectionLimits::default())
    }
}

impl From<&ConnectionLimits> for HeadLimits {
    fn from(limits: &ConnectionLimits) -> Self {
        Self { head_bytes: limits.head_bytes, fields: limits.head_fields }
    }
}

/// Returns the length of the head at the start of `buf`, including its blank line, or `None` if that has not arrived.
/// The first `from` bytes are known to contain no complete blank line, so that a head that arrives in many pieces is
/// scanned once. The head may still be invalid.
#[must_use]
pub fn find_head_end(buf: &[u8], from: usize) -> Option<usize> {
    let from = from.saturating_sub(3).min(buf.len());
    memchr::memmem::find(&buf[from..], b"\r\n\r\n").map(|at| from + at + 4)
}

/// The line ends that were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// The head is complete and has this length.
    Whole(usize),
    /// The blank line has not arrived.
    Partial,
    /// A line ends in LF without CR. RFC 9112, 2.2 allows a recipient to accept that as a line end. If one server does
    /// and the next does not, they see different fields.
    BareLf,
}

/// Checks the line ends of a head.
fn scan_lines(buf: &[u8]) -> Lines {
    for at in memchr::memchr_iter(b'\n', buf) {
        if at == 0 || buf[at - 1] != b'\r' {
            return Lines::BareLf;
        }
        if at >= 3 && buf[at - 2] == b'\n' {
            return Lines::Whole(at + 1);
        }
    }
    Lines::Partial
}
