//! Clients of a random run that speak HTTP/2, with several requests at once on a connection.

use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use portcullis_net::MemoryStream;
use tokio::time::{sleep, timeout};

use super::plan::{Random, request_body};
use super::{ENDS_WITHIN, Notes, broken, check};
use crate::tests::message::{Message, Received};

/// Sends the requests `ids`, some of them while others are under way, over as many connections as it takes.
pub(super) async fn run(
    connect: Rc<dyn Fn() -> MemoryStream>,
    ids: Range<u64>,
    mut random: Random,
    notes: Notes,
) {
    let (mut kept, mut under_way) = (None, Vec::new());
    for id in ids {
        if random.one_in(2) {
            sleep(Duration::from_millis(random.below(2000))).await;
        }
        let known = kept.take().filter(|_| !random.one_in(6));
        let Some(sender) = ready(known, &connect, &mut random).await else { continue };
        kept = Some(sender.clone());
        let (request, random_of_stream) = (Request::new(id, &mut random), Random::new(random.next()));
        let notes = notes.clone();
        let exchange = tokio::task::spawn_local(async move {
            match timeout(ENDS_WITHIN, request.send(sender, random_of_stream)).await {
                Ok(received) => check::response(id, request.method, received.as_ref(), &notes),
                Err(_) => broken(&notes, format!("{request:?} did not end")),
            }
        });
        under_way.push(exchange);
        if random.one_in(3) {
            join(&mut under_way).await;
        }
    }
    join(&mut under_way).await;
    // Of the connection that was used last, the gateway has to say goodbye to some.
    if let Some(sender) = kept.filter(|_| random.one_in(2)) {
        tokio::task::spawn_local(async move {
            sleep(ENDS_WITHIN).await;
            drop(sender);
        });
    }
}

async fn join(exchanges: &mut Vec<tokio::task::JoinHandle<()>>) {
    for exchange in exchanges.drain(..) {
        exchange.await.expect("an exchange does not panic");
    }
}

/// Returns what opens a stream, on the connection of `known` if that takes one more, or else on a new one.
async fn ready(
    known: Option<SendRequest<Bytes>>,
    connect: &Rc<dyn Fn() -> MemoryStream>,
    random: &mut Random,
) -> Option<SendRequest<Bytes>> {
    if let Some(sender) = known
        && let Ok(Ok(sender)) = timeout(Duration::from_secs(5), sender.ready()).await
    {
        return Some(sender);
    }
    open(connect(), random).await?.ready().await.ok()
}

/// Takes up a new connection, which may end badly, or stand still for a time. Its windows are random, so that some
/// responses wait for room in them.
async fn open(stream: MemoryStream, random: &mut Random) -> Option<SendRequest<Bytes>> {
    let fate = random.below(8);
    let (after, pause) =
        (Duration::from_millis(random.below(10_000)), Duration::from_millis(random.below(20_000)));
    stream.set_reset_at_end(fate == 0);
    let window = [2_000, 16_384, 65_535, 1 << 20][random.below(4) as usize];
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(window.max(65_535)).enable_push(false);
    let (sender, mut connection) = builder.handshake(stream).await.ok()?;
    tokio::task::spawn_local(async move {
        // Its streams see how it ends.
        let _ended = match fate {
            // It goes away with all its streams, with a reset or in an orderly way.
            0 | 1 => timeout(after, connection).await.is_ok(),
            // It neither reads nor writes for a time.
            2 | 3 if timeout(after, &mut connection).await.is_err() => {
                sleep(pause).await;
                connection.await.is_ok()
            }
            2 | 3 => true,
            _ => connection.await.is_ok(),
        };
    });
    Some(sender)
}

/// A request and what its client does with it.
#[derive(Debug)]
struct Request {
    id: u64,
    method: &'static str,
    /// Its length is in the head.
    declared: bool,
    sends: Sends,
    manner: Manner,
}

/// What is sent of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sends {
    All,
    /// The start of it, and then nothing more.
    Part(usize),
    /// The start of it, and the end of the stream, although more was declared.
    Short(usize),
    /// The start of it, and a reset.
    Reset(usize, Reason),
}

/// What a client does besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It reads its response.
    Reads,
    /// It drops the stream after some time, which resets it.
    Leaves(Duration),
    /// It reads nothing for some time.
    Pauses(Duration),
    /// It reads, but gives the window no room.
    Stalls,
}

impl Request {
    fn new(id: u64, random: &mut Random) -> Self {
        let method = ["GET", "HEAD", "POST", "PUT"][random.below(4) as usize];
        let length = if has_body(method) { request_body(id).len() } else { 0 };
        let part = random.below(length as u64 + 1) as usize;
        let sends = match random.below(12) {
            0 if length > 0 => Sends::Part(part),
            1 if part < length => Sends::Short(part),
            2 => {
                let reasons = [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR];
                Sends::Reset(part, reasons[random.below(3) as usize])
            }
            _ => Sends::All,
        };
        let declared = random.one_in(2) || matches!(sends, Sends::Short(_));
        let time = Duration::from_millis(random.below(20_000));
        let manner = match random.below(10) {
            0 => Manner::Leaves(time),
            1 => Manner::Pauses(time),
            2 => Manner::Stalls,
            _ => Manner::Reads,
        };
        Self { id, method, declared, sends, manner }
    }

    /// Sends it and reads the response at the same time; `None` if the client went away before that was there.
    async fn send(&self, mut sender: SendRequest<Bytes>, mut random: Random) -> Option<Received> {
        let body = if has_body(self.method) { request_body(self.id) } else { Vec::new() };
        let ends = !has_body(self.method) || (body.is_empty() && self.sends == Sends::All);
        let mut head = http::Request::builder()
            .method(self.method)
            .uri(format!("http://a.example/{}", self.id))
            .header("x-id", self.id);
        if self.declared && has_body(self.method) {
            head = head.header("content-length", body.len());
        }
        let Ok((response, stream)) = sender.send_request(head.body(()).expect("a valid head"), ends) else {
            return Some(Received::Nothing);
        };
        drop(sender);
        let writing = self.write(stream, ends, Bytes::from(body), &mut random);
        let reading = self.read(response);
        let both = async { tokio::join!(writing, reading).1 };
        match self.manner {
            Manner::Leaves(time) => timeout(time, both).await.ok(),
            _ => Some(both.await),
        }
    }

    /// Returns the stream if the request has not ended.
    async fn write(
        &self,
        mut stream: SendStream<Bytes>,
        ended: bool,
        body: Bytes,
        random: &mut Random,
    ) -> Option<SendStream<Bytes>> {
        let length = match self.sends {
            Sends::All => body.len(),
            Sends::Part(part) | Sends::Short(part) | Sends::Reset(part, _) => part,
        };
        let (slow, piece_max) = (random.one_in(3), 1 + random.below(30_000) as usize);
        let mut rest = body.slice(..length);
        while !rest.is_empty() {
            if slow && random.one_in(4) {
                sleep(Duration::from_millis(random.below(1500))).await;
            }
            stream.reserve_capacity(rest.len().min(piece_max));
            let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return None };
            let piece = rest.split_to(room.min(rest.len()));
            stream.send_data(piece, false).ok()?;
        }
        match self.sends {
            Sends::Reset(_, reason) => {
                if random.one_in(2) {
                    sleep(Duration::from_millis(random.below(3000))).await;
                }
                stream.send_reset(reason);
            }
            Sends::Part(_) => return Some(stream),
            Sends::All | Sends::Short(_) if !ended => stream.send_data(Bytes::new(), true).ok()?,
            Sends::All | Sends::Short(_) => {}
        }
        None
    }

    async fn read(&self, response: ResponseFuture) -> Received {
        let Ok(response) = response.await else { return Received::Nothing };
        let (head, mut body) = response.into_parts();
        let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let mut message = Message {
            start: format!("HTTP/2 {}", head.status.as_u16()),
            fields: head.headers.iter().map(field).collect(),
            body: Vec::new(),
        };
        if let Manner::Pauses(time) = self.manner {
            sleep(time).await;
        }
        while let Some(data) = body.data().await {
            let Ok(data) = data else { return Received::Cut(message) };
            message.body.extend_from_slice(&data);
            if self.manner != Manner::Stalls && body.flow_control().release_capacity(data.len()).is_err() {
                return Received::Cut(message);
            }
        }
        match body.trailers().await {
            Ok(_) => Received::Whole(message),
            Err(_) => Received::Cut(message),
        }
    }
}

fn has_body(method: &str) -> bool {
    matches!(method, "POST" | "PUT")
}
