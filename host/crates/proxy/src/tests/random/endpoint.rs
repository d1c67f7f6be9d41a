//! Endpoints of a random run.

use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use portcullis_net::MemoryStream;
use tokio::time::sleep;

use super::client::push_chunks;
use super::plan::{Random, request_body, response_body};
use super::{Notes, broken, note};
use crate::tests::message::{Message, Peer};

/// Serves one connection, well or badly.
pub(super) async fn serve(stream: MemoryStream, http2: bool, mut random: Random, notes: Notes) {
    if http2 {
        serve_h2(stream, random, notes).await;
        return;
    }
    let mut peer = Peer::new(stream);
    while let Some(request) = peer.head().await {
        let Some(id) = permitted(request.field("x-id"), request.field("x-guard"), &notes) else { return };
        let then = answer(&mut peer, request, id, &mut random, &notes).await;
        if let Then::Close { reset } = then {
            peer.close(reset);
            return;
        }
    }
}

/// Returns the number of a request, which its policy must have permitted.
fn permitted(id: Option<&str>, mark: Option<&str>, notes: &Notes) -> Option<u64> {
    let number = id.and_then(|id| id.parse().ok());
    let is_permitted = number.is_some_and(|id| notes.lock().unwrap().permitted.contains(&id));
    if !is_permitted || mark != id {
        broken(notes, format!("{id:?} reached an endpoint with the mark {mark:?}"));
        return None;
    }
    number
}

fn arrived(id: u64, has_body: bool, body: &[u8], notes: &Notes) {
    let expected = if has_body { request_body(id) } else { Vec::new() };
    if body == expected {
        note(notes, |ledger| ledger.arrived += 1);
    } else {
        broken(notes, format!("{id}: {} bytes of {} were taken for whole", body.len(), expected.len()));
    }
}

fn has_body(method: &str) -> bool {
    matches!(method, "POST" | "PUT")
}

/// What becomes of a connection of HTTP/1 after an answer.
enum Then {
    GoOn,
    Close { reset: bool },
}

/// Answers one request over HTTP/1.
async fn answer(peer: &mut Peer, mut request: Message, id: u64, random: &mut Random, notes: &Notes) -> Then {
    let close = Then::Close { reset: random.one_in(2) };
    let method = request.start.split(' ').next().unwrap_or_default().to_owned();
    let manner = random.below(12);
    match manner {
        0 => return close,
        1 => {
            sleep(Duration::from_secs(30)).await;
            return close;
        }
        _ => {}
    }
    let early = manner == 2;
    if !early {
        if !peer.body(&mut request).await {
            return close;
        }
        arrived(id, has_body(&method), &request.body, notes);
    }
    if random.one_in(4) {
        peer.send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n").await;
    }
    sleep(Duration::from_millis(random.below(2000))).await;
    let body = response_body(id);
    let (framing, until_close, chunked) = match random.below(4) {
        0 => (String::new(), true, false),
        1 => ("transfer-encoding: chunked\r\n".to_owned(), false, true),
        _ => (format!("content-length: {}\r\n", body.len()), false, false),
    };
    let mut response = format!("HTTP/1.1 200 OK\r\nx-id: {id}\r\n{framing}\r\n").into_bytes();
    if method != "HEAD" {
        if chunked {
            push_chunks(&mut response, &body, random);
        } else {
            response.extend_from_slice(&body);
        }
    }
    let cut = random.one_in(5);
    let end = if cut { random.below(response.len() as u64) as usize } else { response.len() };
    for part in response[..end].chunks(500 + random.below(40_000) as usize) {
        if random.one_in(6) {
            sleep(Duration::from_millis(random.below(4000))).await;
        }
        if !peer.send(part).await {
            return close;
        }
    }
    if until_close {
        // An orderly end is the end of the body, so that what is cut off has to be reset.
        return Then::Close { reset: cut };
    }
    if cut || early || random.one_in(5) { close } else { Then::GoOn }
}

async fn serve_h2(stream: MemoryStream, mut random: Random, notes: Notes) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut streams = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (random_of_stream, notes) = (Random::new(random.next()), notes.clone());
        tokio::task::spawn_local(async move {
            // What fails here, the other side sees.
            let _failed = answer_h2(request, respond, random_of_stream, &notes).await.is_err();
        });
        streams += 1;
        if streams > 3 && random.one_in(8) {
            connection.graceful_shutdown();
        }
        if random.one_in(20) {
            return;
        }
    }
}

async fn answer_h2(
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    mut random: Random,
    notes: &Notes,
) -> Result<(), h2::Error> {
    let (parts, mut receive) = request.into_parts();
    let field = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let Some(id) = permitted(field("x-id"), field("x-guard"), notes) else { return Ok(()) };
    let manner = random.below(12);
    match manner {
        0 => {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            return Ok(());
        }
        1 => {
            sleep(Duration::from_secs(30)).await;
            return Ok(());
        }
        _ => {}
    }
    if manner != 2 {
        let mut body = Vec::new();
        while let Some(data) = receive.data().await {
            let data = data?;
            body.extend_from_slice(&data);
            receive.flow_control().release_capacity(data.len())?;
        }
        arrived(id, has_body(parts.method.as_str()), &body, notes);
    }
    sleep(Duration::from_millis(random.below(2000))).await;
    let mut response = http::Response::builder().header("x-id", id).body(()).expect("a valid head");
    let body = response_body(id);
    if random.one_in(2) {
        response.headers_mut().insert("content-length", body.len().into());
    }
    if parts.method == http::Method::HEAD {
        return respond.send_response(response, true).map(drop);
    }
    let mut send = respond.send_response(response, false)?;
    let cut = random.one_in(5).then(|| random.below(body.len() as u64 + 1) as usize);
    let part = 500 + random.below(40_000) as usize;
    for piece in body[..cut.unwrap_or(body.len())].chunks(part) {
        if random.one_in(6) {
            sleep(Duration::from_millis(random.below(4000))).await;
        }
        send.send_data(Bytes::copy_from_slice(piece), false)?;
    }
    match cut {
        Some(_) => send.send_reset(h2::Reason::INTERNAL_ERROR),
        None => send.send_data(Bytes::new(), true)?,
    }
    Ok(())
}
