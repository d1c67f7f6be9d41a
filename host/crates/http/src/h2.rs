//! What is to be known of an HTTP/2 connection beside what the `h2` crate tells: its frames, read along on their way.
//!
//! The crate does frames, flow control and HPACK, and hides what a gateway has to decide about: it cuts a `:path` at `#`,
//! drops the trailers that are over its limit and the pseudo-header fields among them, says of a stream that was reset
//! not whether it had ended before, and takes frames that do nothing without an end.

mod allowance;
mod frames;
mod hpack;
mod huffman;
#[cfg(test)]
mod tests;

pub use allowance::Allowance;
pub use frames::{Peer, Scan, Scanner, Trailers, Violation};
