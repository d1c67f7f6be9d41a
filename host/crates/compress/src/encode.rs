//! Streams that encode.

#[cfg(test)]
mod tests;

use flate2::{Compress, Compression, FlushCompress, Status};
use portcullis_model::{Coding, Effort};
use zstd::stream::raw::{CParameter, Encoder as ZstdEncoder, Operation};
use zstd::zstd_safe::OutBuffer;

use crate::brotli_stream::BrotliEncoder;

/// How far back encoders look, as a power of two: 256 KiB. More saves a percent of a large body, and costs memory on
/// both sides.
const WINDOW_BITS: u32 = 18;
/// The same for gzip, which has no more.
const GZIP_WINDOW_BITS: u8 = 15;
/// Bytes that are taken out of an encoder at once.
const PIECE_BYTES: usize = 8 * 1024;
/// Bytes after which Brotli encodes what it has taken in. By itself it would gather 512 KiB, and take some milliseconds
/// at once for them.
const BROTLI_BLOCK_BYTES: usize = 64 * 1024;

/// An encoder failed. The body cannot be continued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {} encoder failed: {reason}", coding.name())]
pub struct EncodeError {
    coding: Coding,
    reason: String,
}

/// Encodes a body, piece by piece. How long a call takes and how much memory it needs depends on how much it is given:
/// give it some KiB.
#[derive(Debug)]
pub struct Encoder {
    coding: Coding,
    effort: Effort,
    stream: Stream,
}

enum Stream {
    Zstd(ZstdEncoder<'static>),
    Brotli {
        encoder: Box<BrotliEncoder>,
        /// Bytes that it has taken in since its last block.
        gathered: usize,
    },
    Gzip(Compress),
}

impl Encoder {
    /// Returns an encoder for a body of `length` bytes, if that is known.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn new(coding: Coding, effort: Effort, length: Option<u64>) -> Result<Self, EncodeError> {
        let stream = match coding {
            Coding::Zstd => {
                let level = match effort {
                    Effort::Low => 1,
                    Effort::Normal => 3,
                    Effort::High => 7,
                };
                let made = ZstdEncoder::new(level).and_then(|mut encoder| {
                    encoder.set_parameter(CParameter::WindowLog(WINDOW_BITS))?;
                    encoder.set_pledged_src_size(length)?;
                    Ok(encoder)
                });
                Stream::Zstd(made.map_err(|error| failed(coding, &error))?)
            }
            Coding::Brotli => {
                let quality = match effort {
                    Effort::Low => 2,
                    Effort::Normal => 4,
                    Effort::High => 6,
                };
                let encoder = Box::new(BrotliEncoder::new(quality, WINDOW_BITS, length));
                Stream::Brotli { encoder, gathered: 0 }
            }
            Coding::Gzip => {
                let level = match effort {
                    Effort::Low => 1,
                    Effort::Normal => 5,
                    Effort::High => 8,
                };
                Stream::Gzip(Compress::new_gzip(Compression::new(level), GZIP_WINDOW_BITS))
            }
        };
        Ok(Self { coding, effort, stream })
    }

    /// Returns its coding.
    #[must_use]
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// Returns its effort.
    #[must_use]
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// Makes it ready for another body of `length` bytes, if that is known, and returns it; `None` if it cannot be used
    /// again.
    #[must_use]
    pub fn again(mut self, length: Option<u64>) -> Option<Self> {
        match &mut self.stream {
            Stream::Zstd(stream) => {
                stream.reinit().ok()?;
                stream.set_pledged_src_size(length).ok()?;
            }
            Stream::Gzip(stream) => stream.reset(),
            Stream::Brotli { .. } => return None,
        }
        Some(self)
    }

    /// Takes in a piece of the body, and appends what is encoded of it and of earlier ones to `out`: often nothing.
    ///
    /// # Errors
    /// If the encoder fails, which ends the body.
    pub fn write(&mut self, mut piece: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let coding = self.coding;
        let mut room = [0; PIECE_BYTES];
        while !piece.is_empty() {
            let (read, written) = match &mut self.stream {
                Stream::Zstd(stream) => {
                    let done = stream.run_on_buffers(piece, &mut room);
                    let done = done.map_err(|error| failed(coding, &error))?;
                    (done.bytes_read, done.bytes_written)
                }
                Stream::Brotli { encoder, gathered } => {
                    let done = encoder.process(piece, &mut room);
                    let done = done.ok_or_else(|| failed(coding, &"it takes no more"))?;
                    *gathered += done.0;
                    done
                }
                Stream::Gzip(stream) => deflate(stream, piece, &mut room, FlushCompress::None)
                    .map_err(|reason| failed(coding, &reason))
                    .map(|done| (done.read, done.written))?,
            };
            out.extend_from_slice(&room[..written]);
            if (read, written) == (0, 0) {
                return Err(failed(coding, &"it does not go on"));
            }
            piece = &piece[read..];
        }
        match &self.stream {
            Stream::Brotli { gathered, .. } if *gathered >= BROTLI_BLOCK_BYTES => self.flush(out),
            _ => Ok(()),
        }
    }

    /// Appends all that is held back to `out`, so that a client can read all that was taken in.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.drain(out, false)
    }

    /// Ends the body and appends the rest to `out`. Without it, a client sees that the body is incomplete.
    ///
    /// # Errors
    /// As [`Self::write`]; also if the body had another length than was said.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.drain(out, true)
    }

    fn drain(&mut self, out: &mut Vec<u8>, ends: bool) -> Result<(), EncodeError> {
        let coding = self.coding;
        let mut room = [0; PIECE_BYTES];
        loop {
            let (written, is_done) = match &mut self.stream {
                Stream::Zstd(stream) => {
                    let mut buffer = OutBuffer::around(&mut room[..]);
                    let left =
                        if ends { stream.finish(&mut buffer, true) } else { stream.flush(&mut buffer) };
                    (buffer.pos(), left.map_err(|error| failed(coding, &error))? == 0)
                }
                Stream::Brotli { encoder, gathered } => {
                    *gathered = 0;
                    encoder.drain(&mut room, ends).ok_or_else(|| failed(coding, &"it does not end"))?
                }
                Stream::Gzip(stream) => {
                    let flush = if ends { FlushCompress::Finish } else { FlushCompress::Sync };
                    let done = deflate(stream, &[], &mut room, flush);
                    let done = done.map_err(|reason| failed(coding, &reason))?;
                    let is_done = if ends { done.ended } else { done.written < room.len() };
                    if !is_done && done.written == 0 {
                        return Err(failed(coding, &"it does not end"));
                    }
                    (done.written, is_done)
                }
            };
            out.extend_from_slice(&room[..written]);
            if is_done {
                return Ok(());
            }
        }
    }
}

/// What a call of the gzip encoder did.
struct Deflated {
    read: usize,
    written: usize,
    ended: bool,
}

fn deflate(
    stream: &mut Compress,
    input: &[u8],
    output: &mut [u8],
    flush: FlushCompress,
) -> Result<Deflated, String> {
    let (read, written) = (stream.total_in(), stream.total_out());
    let status = stream.compress(input, output, flush).map_err(|error| error.to_string())?;
    Ok(Deflated {
        read: usize::try_from(stream.total_in() - read).unwrap_or(input.len()),
        written: usize::try_from(stream.total_out() - written).unwrap_or(output.len()),
        ended: status == Status::StreamEnd,
    })
}

fn failed(coding: Coding, reason: &dyn ToString) -> EncodeError {
    EncodeError { coding, reason: reason.to_string() }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Zstd(_) => "Zstd",
            Self::Brotli { .. } => "Brotli",
            Self::Gzip(_) => "Gzip",
        })
    }
}
