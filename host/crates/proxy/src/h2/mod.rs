//! HTTP/2 on both sides. The `h2` crate does frames, flow control and HPACK; this module does messages.

mod client;
mod connection;
mod convert;
mod downstream;
mod first_settings;
mod outbox;
mod refused;
mod request_body;
mod server;
mod streams;
mod tunnel_end;
mod wire;

pub(crate) use connection::{ClientHandle, ConnectionRules, Lease, handshake};
pub(crate) use server::serve;

/// Bytes that may arrive on one stream before they are read: enough for 1 Gbit/s at 8 ms.
pub(crate) const STREAM_WINDOW: u32 = 1 << 20;

/// The same for a whole connection, so that one stalled stream does not stop the others.
pub(crate) const CONNECTION_WINDOW: u32 = 4 << 20;

/// Bytes that the crate may buffer for one stream. Its `Outbox` limits them for a whole connection.
pub(crate) const SEND_BUFFER: usize = 256 * 1024;

/// Turns an error of the `h2` crate into words.
pub(crate) fn describe(error: &h2::Error) -> String {
    match error.reason() {
        Some(reason) if error.is_reset() => format!("the stream was reset: {reason}"),
        Some(reason) if error.is_go_away() => format!("the connection was shut down: {reason}"),
        _ => error.to_string(),
    }
}
