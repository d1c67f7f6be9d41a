//! What one client connection may take. Each default stands beside the sentence that explains it.

use std::time::Duration;

/// How long a client may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownstreamTimeouts {
    /// From accept (or from a request's first byte) to the end of its head. A slow-loris bound: 10 s.
    pub request_head: Duration,
    /// A connection with no exchange may stay open this long; also how long one read or write of a body may make no
    /// progress. 60 s.
    pub idle: Duration,
    /// The TLS handshake: 10 s.
    pub handshake: Duration,
    /// A tunnel (WebSocket, any upgrade) in which neither side has sent anything for this long is closed: 1 h. Sixty
    /// seconds, as for bodies, would cut off quiet WebSockets, which is what nginx's users complain about.
    pub tunnel_idle: Duration,
    /// Behind an answer after which the connection closes: how long the client may send nothing before it is closed
    /// altogether. 5 s.
    pub linger: Duration,
}

impl Default for DownstreamTimeouts {
    fn default() -> Self {
        Self {
            request_head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            handshake: Duration::from_secs(10),
            tunnel_idle: Duration::from_secs(3600),
            linger: Duration::from_secs(5),
        }
    }
}

/// How much a client may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections open at once on the listener, over all workers; a further one is closed at once. 10,000.
    pub connections: u32,
    /// Bytes of a request head: start line and fields. 32 KiB is four times what browsers send with fat cookies.
    pub head_bytes: usize,
    /// Fields in a request head: 100, as nginx and hyper have it.
    pub head_fields: usize,
    /// HTTP/2 streams open at once on a connection: 128 (RFC 9113, 6.5.2 recommends no fewer than 100).
    pub streams: u32,
    /// Bytes that are read and dropped behind an answer after which the connection closes: 256 MiB.
    pub linger_bytes: u64,
    /// Bytes that were handed to one HTTP/2 connection and wait to be written: 256 KiB.
    pub send_buffer_bytes: usize,
    /// HTTP/2 frames that do no work which a client may send at once: 1,000; a fiftieth of that comes back in a second.
    pub idle_frames: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            head_bytes: 32 * 1024,
            head_fields: 100,
            streams: 128,
            linger_bytes: 256 << 20,
            send_buffer_bytes: 256 << 10,
            idle_frames: 1000,
        }
    }
}
