//! Reads the frames that the gateway sends along, for what the `h2` crate answers by itself.

const HEAD_BYTES: usize = 9;
/// Bytes behind the head of an RST_STREAM: its error code.
const CODE_BYTES: usize = 4;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;

/// A frame that answers a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// The head of a response, or the trailers.
    Head,
    /// RST_STREAM with this error code (RFC 9113, 7).
    Reset(u32),
}

/// Reads one direction of a connection, in pieces of any size.
#[derive(Debug, Default)]
pub struct SentFrames {
    /// The start of the frame that is being read: its head, and the error code if it has one.
    start: [u8; HEAD_BYTES + CODE_BYTES],
    read: usize,
    /// Bytes of the frame behind its start.
    payload_left: usize,
}

impl SentFrames {
    /// Reads what is sent next, and calls `answered` with the stream of each frame that answers one.
    pub fn read(&mut self, mut bytes: &[u8], mut answered: impl FnMut(u32, Answered)) {
        loop {
            let skipped = self.payload_left.min(bytes.len());
            self.payload_left -= skipped;
            bytes = &bytes[skipped..];
            let whole = self.start_bytes();
            let taken = (whole - self.read).min(bytes.len());
            if taken == 0 {
                return;
            }
            self.start[self.read..self.read + taken].copy_from_slice(&bytes[..taken]);
            self.read += taken;
            bytes = &bytes[taken..];
            if self.read == self.start_bytes() {
                self.frame(&mut answered);
            }
        }
    }

    /// Bytes that are kept of the frame whose start is being read, so far as they are known.
    const fn start_bytes(&self) -> usize {
        match self.start[3] {
            RST_STREAM if self.read >= HEAD_BYTES => HEAD_BYTES + CODE_BYTES,
            _ => HEAD_BYTES,
        }
    }

    fn frame(&mut self, answered: &mut impl FnMut(u32, Answered)) {
        let [a, b, c, kind, _, s0, s1, s2, s3, code @ ..] = self.start;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        self.payload_left = length.saturating_sub(self.read - HEAD_BYTES);
        self.read = 0;
        match kind {
            HEADERS => answered(stream, Answered::Head),
            RST_STREAM => answered(stream, Answered::Reset(u32::from_be_bytes(code))),
            _ => {}
        }
    }
}
