//! What a gateway must know of an HTTP/2 connection and the `h2` crate does not report: its frames are scanned on their
//! way.
//!
//! The crate does frames, flow control and HPACK, and hides some things on which a gateway has to decide: it cuts a
//! `:path` at `#`, drops the trailers that are over its limit and the pseudo-header fields among them, does not say
//! whether a stream had ended before it was reset, and accepts frames that do nothing without limit.

mod allowance;
mod frames;
mod hpack;
mod huffman;
mod sent;
#[cfg(test)]
mod tests;

pub use allowance::Allowance;
pub use frames::{Peer, Scan, Scanner, Trailers, Violation};
pub use sent::{Answered, SentFrames};
