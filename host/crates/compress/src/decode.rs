//! Streams that decode, within bounds.

#[cfg(test)]
pub(crate) mod tests;

use flate2::{Decompress, FlushDecompress, Status};
use portcullis_model::Coding;
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation};

use crate::brotli_stream::{BrotliDecoder, Decoded};

/// How far back a zstd frame may refer, as a power of two: 8 MiB, which is what RFC 9659 allows on the web.
const ZSTD_WINDOW_BITS: u32 = 23;
/// As gzip has it.
const GZIP_WINDOW_BITS: u8 = 15;
/// Bytes that are taken out of a decoder at once.
const PIECE_BYTES: usize = 16 * 1024;
/// Bytes below which the ratio does not count: a short body of spaces is no bomb.
const RATIO_FREE_BYTES: u64 = 256 * 1024;

/// How much a body may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeBounds {
    /// Bytes of the plain body.
    pub bytes_max: u64,
    /// Bytes of the plain body for each byte of the encoded one, beyond the first 256 KiB.
    pub ratio_max: u32,
}

/// Why a body cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is not what its coding says.
    #[error("it is not valid {}", .0.name())]
    Invalid(Coding),
    /// It ends too early.
    #[error("its {} content ends too early", .0.name())]
    Truncated(Coding),
    /// It is larger than it may be.
    #[error("it is larger than {0} bytes when decoded")]
    TooLarge(u64),
    /// It grows more than it may.
    #[error("it is more than {0} times as large when decoded")]
    TooDense(u32),
}

/// Decodes a body, piece by piece.
#[derive(Debug)]
pub struct Decoder {
    coding: Coding,
    bounds: DecodeBounds,
    stream: Stream,
    read: u64,
    written: u64,
    /// What was read last ended a whole body; another one may follow in gzip and zstd.
    ended: bool,
}

enum Stream {
    Zstd(ZstdDecoder<'static>),
    Brotli(Box<BrotliDecoder>),
    Gzip(Decompress),
}

impl Decoder {
    /// Returns a decoder.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn new(coding: Coding, bounds: DecodeBounds) -> Result<Self, DecodeError> {
        let stream = match coding {
            Coding::Zstd => {
                let made = ZstdDecoder::new().and_then(|mut decoder| {
                    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_BITS))?;
                    Ok(decoder)
                });
                Stream::Zstd(made.map_err(|_| DecodeError::Invalid(coding))?)
            }
            Coding::Brotli => Stream::Brotli(Box::new(BrotliDecoder::new())),
            Coding::Gzip => Stream::Gzip(Decompress::new_gzip(GZIP_WINDOW_BITS)),
        };
        Ok(Self { coding, bounds, stream, read: 0, written: 0, ended: false })
    }

    /// Decodes the beginning of `piece`, and appends the plain bytes to `out`: at most 16 KiB. Returns how many bytes
    /// of `piece` were taken in; call it again with the rest, and with nothing left until it appends nothing.
    ///
    /// # Errors
    /// If the body is not valid, or exceeds its bounds. Nothing more can be decoded then.
    pub fn decode(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<usize, DecodeError> {
        if self.ended {
            if piece.is_empty() {
                return Ok(0);
            }
            self.next_member()?;
        }
        let mut room = [0; PIECE_BYTES];
        let Decoded { read, written, ended } = self.run(piece, &mut room)?;
        self.ended = ended;
        self.read += read as u64;
        self.written += written as u64;
        if self.written > self.bounds.bytes_max {
            return Err(DecodeError::TooLarge(self.bounds.bytes_max));
        }
        let dense = self.read.saturating_mul(u64::from(self.bounds.ratio_max));
        if self.written > dense.max(RATIO_FREE_BYTES) {
            return Err(DecodeError::TooDense(self.bounds.ratio_max));
        }
        out.extend_from_slice(&room[..written]);
        if !piece.is_empty() && (read, written) == (0, 0) && !ended {
            return Err(DecodeError::Invalid(self.coding));
        }
        Ok(read)
    }

    /// Checks that the body is complete, after all of it was decoded. An empty one is.
    ///
    /// # Errors
    /// If it is not.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.ended || self.read == 0 {
            true => Ok(()),
            false => Err(DecodeError::Truncated(self.coding)),
        }
    }

    fn run(&mut self, piece: &[u8], room: &mut [u8]) -> Result<Decoded, DecodeError> {
        let invalid = DecodeError::Invalid(self.coding);
        match &mut self.stream {
            Stream::Zstd(stream) => {
                let done = stream.run_on_buffers(piece, room).map_err(|_| invalid)?;
                let is_idle = (done.bytes_read, done.bytes_written) == (0, 0);
                let ended = if is_idle { self.ended } else { done.remaining == 0 };
                Ok(Decoded { read: done.bytes_read, written: done.bytes_written, ended })
            }
            Stream::Brotli(stream) => stream.decode(piece, room).ok_or(invalid),
            Stream::Gzip(stream) => {
                let (read, written) = (stream.total_in(), stream.total_out());
                // An empty piece only takes out what is left: that nothing is, is no error.
                let Ok(status) = stream.decompress(piece, room, FlushDecompress::None) else {
                    return Err(invalid);
                };
                Ok(Decoded {
                    read: usize::try_from(stream.total_in() - read).unwrap_or(piece.len()),
                    written: usize::try_from(stream.total_out() - written).unwrap_or(room.len()),
                    ended: status == Status::StreamEnd,
                })
            }
        }
    }

    /// Begins with what follows a complete body: gzip and zstd allow another one (RFC 1952, 2.2; RFC 8878, 3.1).
    fn next_member(&mut self) -> Result<(), DecodeError> {
        self.ended = false;
        match &mut self.stream {
            Stream::Zstd(_) => Ok(()),
            Stream::Gzip(stream) => {
                stream.reset(true);
                Ok(())
            }
            Stream::Brotli(_) => Err(DecodeError::Invalid(self.coding)),
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Zstd(_) => "Zstd",
            Self::Brotli(_) => "Brotli",
            Self::Gzip(_) => "Gzip",
        })
    }
}
