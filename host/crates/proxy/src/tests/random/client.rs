//! Clients of a random run that speak HTTP/1.

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use portcullis_net::MemoryStream;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

use super::plan::{Random, request_body};
use super::{ENDS_WITHIN, Notes, broken, check};
use crate::tests::message::{Peer, Received};

/// Sends the requests `ids`, one after the other, over as many connections as it takes.
pub(super) async fn run(
    connect: Rc<dyn Fn() -> MemoryStream>,
    ids: Range<u64>,
    mut random: Random,
    notes: Notes,
) {
    let mut kept = None;
    for id in ids {
        sleep(Duration::from_millis(random.below(2000))).await;
        let mut peer = kept.take().unwrap_or_else(|| Peer::new(connect()));
        let request = Request::new(id, &mut random);
        let Ok(received) = timeout(ENDS_WITHIN, request.send(&mut peer, &mut random)).await else {
            broken(&notes, format!("{request:?} did not end"));
            return;
        };
        check::response(request.id, request.method, received.as_ref(), &notes);
        if request.leaves_usable(received.as_ref()) {
            kept = Some(peer);
        }
    }
}

/// The bytes of a request, of which only the number is shown.
struct Bytes(Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// A request and what its client does with it.
#[derive(Debug)]
struct Request {
    id: u64,
    method: &'static str,
    version: &'static str,
    bytes: Bytes,
    /// How much of them is sent.
    sent: usize,
    manner: Manner,
}

/// What a client does besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It reads its response.
    Reads,
    /// It goes away after some time.
    Leaves(Duration),
    /// It reads nothing for some time.
    Pauses(Duration),
}

impl Request {
    fn new(id: u64, random: &mut Random) -> Self {
        let method = ["GET", "HEAD", "POST", "PUT"][random.below(4) as usize];
        let body = if matches!(method, "POST" | "PUT") { request_body(id) } else { Vec::new() };
        let chunked = random.one_in(2) && !body.is_empty();
        let version = if !chunked && random.one_in(5) { "1.0" } else { "1.1" };
        let framing = match chunked {
            true => "transfer-encoding: chunked\r\n".to_owned(),
            false if body.is_empty() => String::new(),
            false => format!("content-length: {}\r\n", body.len()),
        };
        let head = format!("{method} /{id} HTTP/{version}\r\nhost: a.example\r\nx-id: {id}\r\n{framing}\r\n");
        let mut bytes = head.into_bytes();
        if chunked {
            push_chunks(&mut bytes, &body, random);
        } else {
            bytes.extend_from_slice(&body);
        }
        let sent = match random.below(8) {
            0 => random.below(bytes.len() as u64) as usize,
            _ => bytes.len(),
        };
        let time = Duration::from_millis(random.below(20_000));
        let manner = match random.below(8) {
            0 => Manner::Leaves(time),
            1 => Manner::Pauses(time),
            _ => Manner::Reads,
        };
        Self { id, method, version, bytes: Bytes(bytes), sent, manner }
    }

    /// Sends it and reads the response at the same time; `None` if the client went away before that was there.
    async fn send(&self, peer: &mut Peer, random: &mut Random) -> Option<Received> {
        let Peer { reader, write } = peer;
        let mut random = Random::new(random.next());
        let slow = random.one_in(3);
        let writing = async {
            for part in self.bytes.0[..self.sent].chunks(10_000) {
                if slow && random.one_in(4) {
                    sleep(Duration::from_millis(random.below(1500))).await;
                }
                if write.write_all(part).await.is_err() {
                    return;
                }
            }
        };
        let reading = async {
            if let Manner::Pauses(time) = self.manner {
                sleep(time).await;
            }
            reader.response(self.method).await
        };
        let both = async { tokio::join!(writing, reading).1 };
        match self.manner {
            Manner::Leaves(time) => timeout(time, both).await.ok(),
            _ => Some(both.await),
        }
    }

    /// Returns whether the connection may be used again after this.
    fn leaves_usable(&self, received: Option<&Received>) -> bool {
        let Some(Received::Whole(response)) = received else { return false };
        self.sent == self.bytes.0.len()
            && self.version == "1.1"
            && response.field("connection") != Some("close")
    }
}

/// Appends `body` in chunks of random sizes.
pub(super) fn push_chunks(out: &mut Vec<u8>, body: &[u8], random: &mut Random) {
    for piece in body.chunks(200 + random.below(30_000) as usize) {
        out.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
}
