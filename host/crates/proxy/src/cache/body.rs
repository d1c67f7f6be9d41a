//! The body of a stored response, on its way to a client.

use std::task::{Context, Poll};

use portcullis_cache::store::{FilePart, Reader};

use crate::body::{Body, BodyError, BodySource, Frame};

/// Reads a stored body, which may still be growing, at the pace of one client.
struct CachedBody {
    reader: Reader,
    /// Bytes that were read.
    read: u64,
    over: bool,
}

/// Returns the body that `reader` reads.
pub(super) fn cached(reader: Reader) -> Body {
    Body::stream(CachedBody { reader, read: 0, over: false })
}

impl BodySource for CachedBody {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        Poll::Ready(match std::task::ready!(self.reader.poll_next(cx)) {
            Some(Ok(bytes)) => {
                self.read += bytes.len() as u64;
                Some(Ok(Frame::Data(bytes)))
            }
            Some(Err(error)) => {
                self.over = true;
                Some(Err(BodyError::Upstream(error.to_string())))
            }
            None => {
                self.over = true;
                None
            }
        })
    }

    fn take_file_part(&mut self) -> Option<FilePart> {
        let part = self.reader.file_part()?;
        self.reader.advance(part.len());
        self.read += part.len();
        Some(part)
    }

    fn length(&self) -> Option<u64> {
        if self.over { Some(0) } else { self.reader.remaining() }
    }

    fn moved(&self) -> u64 {
        self.read
    }
}
