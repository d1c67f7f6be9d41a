//! HTTP/1 messages as the clients and endpoints of a simulation read them: simply, and strictly.

use std::ops::{Deref, DerefMut};

use portcullis_net::MemoryStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

/// A message that was read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The first line.
    pub(super) start: String,
    /// Names in lower case, and values.
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// How reading a message ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// The message is whole, by what the protocol says.
    Whole(Message),
    /// The connection ended behind its head and before the message was whole.
    Cut(Message),
    /// The connection ended before there was a head.
    Nothing,
}

impl Received {
    /// Returns the message, which must be whole.
    #[track_caller]
    pub(super) fn whole(self) -> Message {
        match self {
            Self::Whole(message) => message,
            other => panic!("not a whole message: {other:?}"),
        }
    }
}

impl Message {
    /// Returns the value of a field.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Returns the status of a response.
    pub(super) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) reader: Reader,
    pub(super) write: WriteHalf<MemoryStream>,
}

impl Peer {
    pub(super) fn new(stream: MemoryStream) -> Self {
        let (read, write) = tokio::io::split(stream);
        Self { reader: Reader { read, unread: Vec::new(), end: None }, write }
    }

    /// Sends all of `bytes`. Returns whether the other side took them.
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.write.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Ends the connection, with a reset or in an orderly way.
    pub(super) fn close(self, reset: bool) {
        self.reader.read.unsplit(self.write).set_reset_at_end(reset);
    }
}

impl Deref for Peer {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl DerefMut for Peer {
    fn deref_mut(&mut self) -> &mut Reader {
        &mut self.reader
    }
}

/// What comes on a connection, and what of it was read and not used.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) read: ReadHalf<MemoryStream>,
    unread: Vec<u8>,
    /// What ended the stream, once something did.
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Orderly,
    Failed,
}

impl Reader {
    /// Reads a request; `None` if the connection ends before its head, or within it.
    pub(super) async fn request(&mut self) -> Option<Received> {
        let mut message = self.head().await?;
        Some(if self.body(&mut message).await { Received::Whole(message) } else { Received::Cut(message) })
    }

    /// Reads more. Returns whether anything came.
    async fn fill(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        let mut buffer = [0; 4096];
        match self.read.read(&mut buffer).await {
            Ok(0) => self.end = Some(End::Orderly),
            Ok(read) => self.unread.extend_from_slice(&buffer[..read]),
            Err(_) => self.end = Some(End::Failed),
        }
        self.end.is_none()
    }

    /// Reads a line without its end; `None` if the stream ends before that.
    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line = self.unread.drain(..at + 2).collect::<Vec<_>>();
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads a head; `None` if the stream ends before that.
    pub(super) async fn head(&mut self) -> Option<Message> {
        let mut message = Message { start: self.line().await?, ..Message::default() };
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some(message);
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            message.fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads `length` bytes behind `body`, as many as come. Returns whether all came.
    async fn bytes(&mut self, body: &mut Vec<u8>, length: usize) -> bool {
        let mut left = length;
        loop {
            let taken = left.min(self.unread.len());
            body.extend(self.unread.drain(..taken));
            left -= taken;
            if left == 0 {
                return true;
            }
            if !self.fill().await {
                return false;
            }
        }
    }

    /// Reads the body of `message` to its end. Returns whether the message is whole.
    pub(super) async fn body(&mut self, message: &mut Message) -> bool {
        if message.field("transfer-encoding") == Some("chunked") {
            loop {
                let Some(line) = self.line().await else { return false };
                let length = usize::from_str_radix(&line, 16).expect("a chunk begins with its length");
                if !self.bytes(&mut message.body, length).await {
                    return false;
                }
                if self.line().await.as_deref() != Some("") {
                    return false;
                }
                if length == 0 {
                    return true;
                }
            }
        }
        if let Some(length) = message.field("content-length") {
            let length = length.parse().expect("a length is a number");
            return self.bytes(&mut message.body, length).await;
        }
        if !message.start.starts_with("HTTP/") {
            return true;
        }
        while self.fill().await {}
        message.body.append(&mut self.unread);
        self.end == Some(End::Orderly)
    }

    /// Reads a response to a request with this method, after those that are informational.
    pub(super) async fn response(&mut self, method: &str) -> Received {
        loop {
            let Some(mut message) = self.head().await else { return Received::Nothing };
            if (100..200).contains(&message.status()) {
                continue;
            }
            if method == "HEAD" || matches!(message.status(), 204 | 304) || self.body(&mut message).await {
                return Received::Whole(message);
            }
            return Received::Cut(message);
        }
    }

    /// Moves what was read and not used to `out`, and returns how much it was.
    pub(super) fn take_unread(&mut self, out: &mut Vec<u8>) -> usize {
        let taken = self.unread.len();
        out.append(&mut self.unread);
        taken
    }

    /// Returns whether the stream ends now, without anything before.
    pub(super) async fn is_at_end(&mut self) -> bool {
        self.unread.is_empty() && !self.fill().await
    }
}
