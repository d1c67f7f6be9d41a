//! The chunked transfer coding (RFC 9112, 7.1), read in pieces of any size, and written.

use super::write::write_field;
use super::{HeadLimits, LENGTH_MAX};
use crate::Fields;
use crate::hop::is_forbidden;

/// Bytes of one chunk's extensions, which are skipped: nothing uses them.
const EXTENSION_BYTES_MAX: u32 = 256;
/// Bytes of extensions that a body may have beyond the bytes of its data. A body of tiny chunks must not be mostly
/// extensions (CVE-2023-39326), but a long one with a short extension in each chunk is legitimate.
const EXTENSION_BYTES_AHEAD_MAX: u64 = 16 * 1024;
/// Digits of a chunk's size. A longer number does not fit, or has needless zeros.
const SIZE_DIGITS_MAX: u8 = 16;

/// Finds the data in a chunked body. It copies nothing: it returns where the data is, so that the caller can slice its
/// buffer.
///
/// ```
/// use portcullis_http::h1::{ChunkedDecoder, Decoded, HeadLimits};
/// let mut decoder = ChunkedDecoder::new(HeadLimits::default());
/// let input = b"3\r\nabc\r\n0\r\n\r\nGET";
/// assert_eq!(decoder.decode(input), Ok(Decoded::Data { skip: 3, len: 3 }));
/// assert_eq!(decoder.decode(&input[6..]), Ok(Decoded::End { consumed: 7 }));
/// ```
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// The chunk's size so far, then the bytes of its data that follow.
    remaining: u64,
    digits: u8,
    /// Bytes of the extensions of the current chunk.
    extension: u32,
    /// Bytes of extensions beyond those of data, over the body so far.
    ahead: u64,
    limits: HeadLimits,
    /// The raw lines of the trailer section. Allocated only if there is one.
    section: Vec<u8>,
    trailers: Fields,
}

/// What a piece of input holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// `skip` bytes of framing, then `len` bytes (at least one) of data. All of them are consumed; call again with what
    /// follows.
    Data {
        /// Bytes to drop.
        skip: usize,
        /// Bytes of data after them.
        len: usize,
    },
    /// The whole input was framing; more follows.
    More,
    /// The body ends after `consumed` bytes. What follows is the next message.
    End {
        /// Bytes to drop.
        consumed: usize,
    },
}

/// Why a chunked body was refused. The connection cannot be used any more: a request gets 400, a response is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkedError {
    /// The size is not a hexadecimal number, has more than 16 digits, or is over [`LENGTH_MAX`].
    #[error("invalid chunk size")]
    Size,
    /// A control character in an extension, or too many extensions.
    #[error("invalid chunk extension")]
    Extension,
    /// CR LF is missing.
    #[error("chunk does not end in crlf")]
    LineEnd,
    /// The trailer section is malformed.
    #[error("malformed trailers")]
    Trailers,
    /// The trailer section exceeds the limit.
    #[error("trailers too large")]
    TrailersTooLarge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the size line, before the first CR.
    Size,
    /// After a `;` of the size line.
    Extension,
    /// Before the LF of the size line.
    SizeLf,
    /// In the data.
    Data,
    /// Before the CR after the data.
    DataCr,
    /// Before the LF after the data.
    DataLf,
    /// At the start of a line of the trailer section.
    TrailerStart,
    /// Within such a line.
    Trailer,
    /// Before the LF of such a line.
    TrailerLf,
    /// Before the LF of the last, empty line.
    EndLf,
    /// After the whole body.
    End,
}

impl ChunkedDecoder {
    /// Returns a decoder at the start of a body. `limits` are those of the trailer section.
    #[must_use]
    pub const fn new(limits: HeadLimits) -> Self {
        Self {
            state: State::Size,
            remaining: 0,
            digits: 0,
            extension: 0,
            ahead: 0,
            limits,
            section: Vec::new(),
            trailers: Fields::new(),
        }
    }

    /// Returns whether the end was reached. If the connection ends earlier, the body was cut off.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Returns the trailers, once the end was reached, without those that are not allowed in a trailer section
    /// ([`crate::is_forbidden_trailer`]).
    #[must_use]
    pub const fn trailers(&self) -> &Fields {
        &self.trailers
    }

    /// As [`Self::trailers`], but moves them out.
    #[must_use]
    pub fn take_trailers(&mut self) -> Fields {
        std::mem::take(&mut self.trailers)
    }

    /// Reads the next bytes of the body. After the end it consumes nothing.
    ///
    /// # Errors
    /// If the framing is not exactly that of RFC 9112. The decoder cannot be used any more then.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, ChunkedError> {
        let mut at = 0;
        while at < input.len() {
            match self.state {
                State::Data => {
                    let rest = input.len() - at;
                    let len = usize::try_from(self.remaining).map_or(rest, |remaining| remaining.min(rest));
                    self.remaining -= len as u64;
                    self.ahead = self.ahead.saturating_sub(len as u64);
                    if self.remaining == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Decoded::Data { skip: at, len });
                }
                State::End => break,
                _ => self.state = self.step(input[at])?,
            }
            at += 1;
        }
        if self.state == State::End { Ok(Decoded::End { consumed: at }) } else { Ok(Decoded::More) }
    }

    /// Reads one byte of framing.
    fn step(&mut self, byte: u8) -> Result<State, ChunkedError> {
        match self.state {
            State::Size => self.size(byte),
            State::Extension => match byte {
                b'\r' => Ok(State::SizeLf),
                // RFC 9112, 7.1.1. Some servers accept a bare LF as the line's end here, and others do not.
                b'\t' | b' '..=b'~' | 0x80.. => {
                    self.extension += 1;
                    self.ahead += 1;
                    if self.extension > EXTENSION_BYTES_MAX || self.ahead > EXTENSION_BYTES_AHEAD_MAX {
                        return Err(ChunkedError::Extension);
                    }
                    Ok(State::Extension)
                }
                _ => Err(ChunkedError::Extension),
            },
            State::SizeLf => {
                expect_lf(byte)?;
                (self.digits, self.extension) = (0, 0);
                Ok(if self.remaining == 0 { State::TrailerStart } else { State::Data })
            }
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataCr => Err(ChunkedError::LineEnd),
            State::DataLf => expect_lf(byte).map(|()| State::Size),
            State::TrailerStart if byte == b'\r' => Ok(State::EndLf),
            State::TrailerStart | State::Trailer => self.trailer(byte),
            State::TrailerLf => {
                expect_lf(byte)?;
                self.section.push(byte);
                Ok(State::TrailerStart)
            }
            State::EndLf => {
                expect_lf(byte)?;
                self.finish_trailers()?;
                Ok(State::End)
            }
            State::Data | State::End => Ok(self.state),
        }
    }

    fn size(&mut self, byte: u8) -> Result<State, ChunkedError> {
        if let Some(digit) = crate::path::hex_value(byte) {
            if self.digits == SIZE_DIGITS_MAX {
                return Err(ChunkedError::Size);
            }
            self.remaining = self.remaining << 4 | u64::from(digit);
            if self.remaining > LENGTH_MAX {
                return Err(ChunkedError::Size);
            }
            self.digits += 1;
            return Ok(State::Size);
        }
        match byte {
            _ if self.digits == 0 => Err(ChunkedError::Size),
            b'\r' => Ok(State::SizeLf),
            b';' => Ok(State::Extension),
            _ => Err(ChunkedError::Size),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, ChunkedError> {
        // Two bytes for the empty line.
        if self.section.len() + 2 >= self.limits.head_bytes {
            return Err(ChunkedError::TrailersTooLarge);
        }
        self.section.push(byte);
        match byte {
            b'\n' => Err(ChunkedError::LineEnd),
            b'\r' => Ok(State::TrailerLf),
            _ => Ok(State::Trailer),
        }
    }

    /// Parses the trailer section, which is complete.
    fn finish_trailers(&mut self) -> Result<(), ChunkedError> {
        if self.section.is_empty() {
            return Ok(());
        }
        self.section.extend_from_slice(b"\r\n");
        let mut rest = self.section.as_slice();
        let mut count = 0;
        // Line by line, so that no table of lines is needed: trailers are few.
        while rest != b"\r\n" {
            let end = memchr::memchr(b'\n', rest).ok_or(ChunkedError::Trailers)? + 1;
            let (line, tail) = rest.split_at(end);
            rest = tail;
            count += 1;
            if count > self.limits.fields {
                return Err(ChunkedError::TrailersTooLarge);
            }
            let line = line.strip_suffix(b"\r\n").ok_or(ChunkedError::Trailers)?;
            let colon = memchr::memchr(b':', line).ok_or(ChunkedError::Trailers)?;
            // A folded line starts with white space, so its name is not a token.
            let (name, value) = (&line[..colon], trim_ows(&line[colon + 1..]));
            self.trailers.append(name, value).map_err(|error| match error {
                crate::FieldError::TooLarge => ChunkedError::TrailersTooLarge,
                _ => ChunkedError::Trailers,
            })?;
        }
        self.trailers.retain_bytes(|known, name, _| !is_forbidden(known, name));
        self.section = Vec::new();
        Ok(())
    }
}

fn expect_lf(byte: u8) -> Result<(), ChunkedError> {
    if byte == b'\n' { Ok(()) } else { Err(ChunkedError::LineEnd) }
}

/// Removes optional white space at the ends (RFC 9110, 5.6.3), which is less than what ASCII calls white space.
fn trim_ows(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The line end after a chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Appends the size line of a chunk with `len` bytes of data. The data and [`CHUNK_END`] must follow. `len` must not be
/// 0, which would end the body.
pub fn write_chunk_header(out: &mut Vec<u8>, len: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    debug_assert!(len > 0, "an empty chunk ends the body");
    let mut line = *b"0000000000000000\r\n";
    let mut at = 16;
    let mut rest = len;
    loop {
        at -= 1;
        line[at] = DIGITS[rest & 15];
        rest >>= 4;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&line[at..]);
}

/// Appends the end of a chunked body with its trailers, except forbidden ones.
pub fn write_last_chunk(out: &mut Vec<u8>, trailers: Option<&Fields>) {
    out.extend_from_slice(b"0\r\n");
    for (known, name, value) in trailers.into_iter().flat_map(Fields::iter_bytes) {
        if !is_forbidden(known, name) {
            write_field(out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
}
