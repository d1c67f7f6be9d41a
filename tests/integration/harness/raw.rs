//! Both sides of HTTP/1.1 byte by byte, for what no library would send.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::within;

/// A connection on which bytes are written and read as they are: a client's, or one that a [`RawUpstream`] accepted.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A response of HTTP/1.1, taken apart by its framing.
#[derive(Debug)]
pub struct RawReply {
    /// Its status.
    pub status: u16,
    /// Its head as it came, without the empty line.
    pub head: String,
    /// Its body, with chunks put together.
    pub body: Vec<u8>,
}

impl RawReply {
    /// The lines of a field, joined; empty if there is none.
    pub fn header(&self, name: &str) -> String {
        field(&self.head, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl RawClient {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.unwrap();
        Self::new(stream)
    }

    /// Connects from another address of this machine: to the gateway it is another client.
    pub async fn connect_from(local: std::net::Ipv4Addr, address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((local, 0).into()).unwrap();
        let stream = within("a connection", socket.connect(address)).await.unwrap();
        Self::new(stream)
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Writes all of it.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within("bytes are written", self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Writes what the other side will take, which may have closed already.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        within("bytes are written", self.stream.write_all(bytes.as_ref())).await
    }

    /// Writes all of it, however long the other side takes. False if it takes nothing any more.
    pub async fn send_for_long(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Says that nothing more comes, and keeps reading.
    pub async fn finish(&mut self) {
        within("the writing side is closed", self.stream.shutdown()).await.unwrap();
    }

    /// Closes with a reset (RST) in place of an orderly end.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// The bytes up to and with `end`.
    pub async fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        match self.try_read_until(end).await {
            Some(bytes) => bytes,
            None => panic!("the connection ended before {:?}: {:?}", text(end), text(&self.buffer)),
        }
    }

    async fn try_read_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Some(self.buffer.drain(..at + end.len()).collect());
            }
            if self.fill().await == 0 {
                return None;
            }
        }
    }

    /// Exactly `count` bytes.
    pub async fn read_exact(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(
                self.fill().await > 0,
                "the connection ended after {} of {count} bytes",
                self.buffer.len()
            );
        }
        self.buffer.drain(..count).collect()
    }

    /// Exactly `count` bytes; `None` if the connection ends before.
    pub async fn try_read_exact(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if self.fill().await == 0 {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// Everything until the other side closes; a reset counts as that.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill().await > 0 {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads `count` bytes and forgets them. Gives how many came before the end.
    pub async fn discard(&mut self, count: u64) -> u64 {
        let mut read = (self.buffer.len() as u64).min(count);
        self.buffer.drain(..usize::try_from(read).unwrap());
        let mut piece = vec![0; 256 * 1024];
        while read < count {
            let room = usize::try_from(count - read).unwrap_or(usize::MAX).min(piece.len());
            match within("bytes are read", self.stream.read(&mut piece[..room])).await {
                Ok(0) | Err(_) => break,
                Ok(more) => read += more as u64,
            }
        }
        read
    }

    /// Whether nothing comes for `time`, and the connection stays open.
    pub async fn is_silent_for(&mut self, time: Duration) -> bool {
        self.buffer.is_empty() && tokio::time::timeout(time, self.fill()).await.is_err()
    }

    /// How much was read; 0 at the end, and if the connection broke.
    async fn fill(&mut self) -> usize {
        within("bytes are read", self.stream.read_buf(&mut self.buffer)).await.unwrap_or(0)
    }

    /// A head, request's or response's, without its empty line.
    pub async fn read_head(&mut self) -> String {
        text(&self.read_until(b"\r\n\r\n").await).trim_end_matches("\r\n").to_owned()
    }

    /// As [`Self::read_head`]; `None` if the connection ends before.
    pub async fn try_read_head(&mut self) -> Option<String> {
        let head = self.try_read_until(b"\r\n\r\n").await?;
        Some(text(&head).trim_end_matches("\r\n").to_owned())
    }

    /// A request with its body; `None` if the connection ends before.
    pub async fn read_request(&mut self) -> Option<(String, Vec<u8>)> {
        let head = self.try_read_until(b"\r\n\r\n").await?;
        let head = text(&head).trim_end_matches("\r\n").to_owned();
        let body = self.read_body(&head, Some(0)).await;
        Some((head, body))
    }

    /// The next final response to a request other than HEAD; 1xx responses are passed over.
    pub async fn read_response(&mut self) -> RawReply {
        loop {
            let head = self.read_head().await;
            let status = status(&head);
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let bodiless = matches!(status, 101 | 204 | 304);
            let body = self.read_body(&head, bodiless.then_some(0)).await;
            return RawReply { status, head, body };
        }
    }

    /// Only the head of the next response, 1xx included, such as of an answer to HEAD.
    pub async fn read_response_head(&mut self) -> RawReply {
        let head = self.read_head().await;
        RawReply { status: status(&head), head, body: Vec::new() }
    }

    /// By the framing of `head`; if it says nothing, `without` bytes, or all until the end.
    async fn read_body(&mut self, head: &str, without: Option<usize>) -> Vec<u8> {
        if field(head, "transfer-encoding").to_ascii_lowercase().contains("chunked") {
            return self.read_chunks().await;
        }
        match (field(head, "content-length").parse(), without) {
            (_, Some(count)) if matches!(status(head), 101 | 204 | 304) => self.read_exact(count).await,
            (Ok(count), _) => self.read_exact(count).await,
            (Err(_), Some(count)) => self.read_exact(count).await,
            (Err(_), None) => self.read_to_end().await,
        }
    }

    async fn read_chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = text(&self.read_until(b"\r\n").await);
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).unwrap();
            if size == 0 {
                // Trailers, then an empty line.
                while self.read_until(b"\r\n").await != b"\r\n" {}
                return body;
            }
            body.extend(self.read_exact(size).await);
            assert_eq!(self.read_exact(2).await, b"\r\n");
        }
    }
}

/// 0 for a request.
fn status(head: &str) -> u16 {
    head.strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .unwrap_or(0)
}

fn field(head: &str, name: &str) -> String {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let values: Vec<&str> =
        lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect();
    values.join(", ")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server that hands each connection to a script. Dropping it closes the port and all connections.
#[derive(Debug)]
pub struct RawUpstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl RawUpstream {
    /// `script` gets each connection and its number, from 0. The connection is closed when the script ends.
    pub async fn start<F>(script: impl Fn(RawClient, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut scripts = JoinSet::new();
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    Some(ended) = scripts.join_next() => { report(ended); continue },
                };
                if let Ok((stream, _)) = accepted {
                    scripts.spawn(script(RawClient::new(stream), counter.fetch_add(1, Ordering::SeqCst)));
                }
            }
        });
        Self { address, connections, task }
    }

    /// Answers every request with these bytes.
    pub async fn answering(response: impl Into<Vec<u8>>) -> Self {
        let response: Arc<Vec<u8>> = Arc::new(response.into());
        Self::start(move |mut connection, _| {
            let response = Arc::clone(&response);
            async move {
                while connection.read_request().await.is_some() {
                    if connection.try_send(&*response).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A script that fails an assertion says so, although the test itself fails elsewhere.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        eprintln!("the script of a raw upstream panicked: {error}");
    }
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
