//! HTTP/2 below what a well-behaved client does: streams through the `h2` crate, and frames byte by byte.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use hyper::Request;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::raw::RawClient;
use super::within;

/// A connection whose streams a test opens one by one: for 1xx responses, extended CONNECT, resets and GOAWAY.
#[derive(Debug)]
pub struct H2Client {
    /// Opens streams.
    pub send: SendRequest<Bytes>,
    /// Ends with the connection: an error is how the gateway has closed it.
    pub connection: JoinHandle<Result<(), h2::Error>>,
}

impl H2Client {
    /// Connects with prior knowledge and waits for the gateway's settings.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &h2::client::Builder::new()).await
    }

    /// As [`Self::connect`], with settings of its own.
    pub async fn connect_with(address: SocketAddr, builder: &h2::client::Builder) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (send, mut connection) = within("a handshake", builder.handshake(stream)).await.unwrap();
        let mut ping = connection.ping_pong().unwrap();
        let connection = tokio::spawn(connection);
        // What answers the ping stands behind the settings.
        within("the settings", ping.ping(h2::Ping::opaque())).await.unwrap();
        Self { send, connection }
    }

    /// A request without a body to any host.
    pub fn get(path: &str) -> Request<()> {
        Request::get(format!("http://gateway.test{path}")).body(()).unwrap()
    }
}

/// A frame of HTTP/2.
#[derive(Debug, Clone)]
pub struct H2Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl H2Frame {
    /// Any frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// HEADERS with these fields, none of them compressed, that end the head and the stream.
    pub fn headers(stream: u32, fields: &[(&str, &str)]) -> Self {
        let mut payload = Vec::new();
        for (name, value) in fields {
            payload.push(0);
            for text in [name, value] {
                // RFC 7541, 5.1: an integer with a prefix of seven bits.
                match text.len() {
                    length @ 0..127 => payload.push(u8::try_from(length).unwrap()),
                    mut length => {
                        payload.push(127);
                        length -= 127;
                        while length >= 128 {
                            payload.push(u8::try_from(length % 128 + 128).unwrap());
                            length /= 128;
                        }
                        payload.push(u8::try_from(length).unwrap());
                    }
                }
                payload.extend(text.bytes());
            }
        }
        Self { kind: 1, flags: 5, stream, payload }
    }

    /// The error code of RST_STREAM and GOAWAY.
    pub fn error_code(&self) -> u32 {
        let at = if self.kind == 7 { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], self.kind, self.flags];
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

/// A connection on which frames are written as they are.
#[derive(Debug)]
pub struct H2Frames(RawClient);

impl H2Frames {
    /// Connects, and says that it speaks HTTP/2 with default settings.
    pub async fn connect(address: SocketAddr) -> Self {
        let mut client = RawClient::connect(address).await;
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let mut frames = Self(client);
        frames.send(&H2Frame { kind: 4, flags: 0, stream: 0, payload: Vec::new() }).await;
        frames
    }

    /// The upstream's end of a connection: reads the preface, and says that it speaks HTTP/2 with default settings.
    pub async fn accept(connection: RawClient) -> Self {
        Self::accept_with(connection, Some(&[])).await
    }

    /// The same, with these settings; without any it says nothing yet.
    pub async fn accept_with(mut connection: RawClient, settings: Option<&[(u16, u32)]>) -> Self {
        assert!(connection.read_exact(24).await.starts_with(b"PRI * HTTP/2.0"));
        let mut frames = Self(connection);
        if let Some(settings) = settings {
            frames.settings(settings).await;
        }
        frames
    }

    /// Writes SETTINGS.
    pub async fn settings(&mut self, settings: &[(u16, u32)]) {
        let bytes = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        let payload = settings.iter().flat_map(bytes).collect();
        self.send(&H2Frame { kind: 4, flags: 0, stream: 0, payload }).await;
    }

    /// Writes a frame, if the gateway still takes it.
    pub async fn send(&mut self, frame: &H2Frame) {
        drop(self.0.try_send(frame.bytes()).await);
    }

    /// Writes frames all at once, if the gateway still takes them.
    pub async fn send_all(&mut self, frames: &[H2Frame]) {
        let bytes: Vec<u8> = frames.iter().flat_map(H2Frame::bytes).collect();
        drop(self.0.try_send(bytes).await);
    }

    /// As [`Self::send`]. Returns whether the gateway took it.
    pub async fn try_send(&mut self, frame: &H2Frame) -> bool {
        self.0.try_send(frame.bytes()).await.is_ok()
    }

    /// Writes bytes that need not be a frame.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        drop(self.0.try_send(bytes).await);
    }

    /// The next frame; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<H2Frame> {
        let head = self.0.try_read_exact(9).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap()) & 0x7fff_ffff;
        let payload = self.0.try_read_exact(usize::try_from(length).unwrap()).await?;
        Some(H2Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The first frame that is wanted; `None` if the connection ends before.
    pub async fn find(&mut self, wanted: impl Fn(&H2Frame) -> bool) -> Option<H2Frame> {
        loop {
            let frame = self.next().await?;
            if wanted(&frame) {
                return Some(frame);
            }
        }
    }
}
