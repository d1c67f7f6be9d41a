//! Plays the exchanges of a case through the policy, as the gateway would.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use portcullis_config::{CaseExchange, CaseRequest, CaseResponse};
use portcullis_http::h1::{HeadLimits, parse_request};
use portcullis_http::{
    Fields, RequestHead, ResponseHead, Scheme, rewrite_forwarding_fields, strip_request_hop_by_hop,
    strip_response_hop_by_hop,
};
use portcullis_model::Name;
use portcullis_policy::recorder::{Decided, Effects, HookRecord, Recorder, SimulatedTime};
use portcullis_policy::{
    BodyOutcome, BodySide, ClientInfo, ClientTls, Exchange, HeadOutcome, HeldBody, Outcome, PolicyChain,
    Reply,
};

use crate::commands::explain::Url;

/// What a route calls itself that no config has.
const ROUTE: &str = "test";
/// Its upstream.
const UPSTREAM: &str = "app";
/// What an exchange is called that has no `traceparent`.
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// Notes of one exchange, in bytes: large bodies are noted piece by piece.
const NOTES_BYTES_MAX: usize = 256 << 20;

/// What became of an exchange.
#[derive(Debug, Default)]
pub(super) struct Played {
    /// What the policy replied.
    pub(super) reply: Option<(u16, Fields, Vec<u8>)>,
    /// How it failed first: the kind and the message.
    pub(super) fault: Option<(String, String)>,
    /// Why a body was not passed on, if the policy held back too much of it.
    pub(super) too_large: Option<String>,
    /// The request as it would be forwarded, and its body.
    pub(super) request: RequestHead,
    pub(super) request_body: Vec<u8>,
    /// The response as the client would get it, and its body.
    pub(super) response: ResponseHead,
    pub(super) response_body: Vec<u8>,
    /// The attributes in the end.
    pub(super) attributes: Vec<(String, String)>,
    /// The hooks that ran.
    pub(super) hooks: Vec<HookRecord>,
}

/// A request or a response that cannot be sent, and why.
#[derive(Debug)]
pub(super) enum Unsent {
    Request(String),
    Response(String),
}

/// Plays one exchange at a time that stands still.
///
/// # Errors
/// If its request or its response is not one that could be sent.
pub(super) async fn play(
    chain: &PolicyChain,
    case: &CaseExchange,
    time: SimulatedTime,
) -> Result<Played, Unsent> {
    let recorder = Recorder::new(Effects::All).with_bytes_max(NOTES_BYTES_MAX).at(time);
    let exchange = arrive(&case.request).map_err(Unsent::Request)?;
    let response = response(&case.response).map_err(Unsent::Response)?;
    let exchange = Box::new(Exchange { recorder: Some(Box::new(recorder)), ..exchange });
    let mut played = Played::default();
    let mut exchange = match chain.request_head(exchange).await {
        HeadOutcome::Replied(replied) => {
            played.answer(&replied.reply, replied.fault.is_none());
            replied.exchange
        }
        HeadOutcome::Permitted(permitted) => {
            let exchange = permitted.into_inner();
            forward(chain, case, exchange, response, &mut played).await
        }
    };
    let outcome = Outcome {
        status: played.response.status,
        request_bytes: case.request.pieces.iter().map(|piece| piece.len() as u64).sum(),
        response_bytes: played.response_body.len() as u64,
        duration_us: 1000,
        upstream: Some(UPSTREAM.to_owned()),
        error: played.too_large.clone(),
    };
    exchange = chain.completed(exchange, &outcome).await;
    played.attributes =
        exchange.attributes.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let recorder = exchange.recorder.take();
    played.hooks = recorder.map(|recorder| recorder.into_hooks()).unwrap_or_default();
    played.fault = played.hooks.iter().find_map(|hook| match &hook.decided {
        Decided::Fault { kind, message, .. } => Some((kind.to_string(), message.clone())),
        _ => None,
    });
    Ok(played)
}

/// What comes after the head of the request was let through.
async fn forward(
    chain: &PolicyChain,
    case: &CaseExchange,
    exchange: Box<Exchange>,
    response: ResponseHead,
    played: &mut Played,
) -> Box<Exchange> {
    let side = BodySide::Request;
    let (mut exchange, body, stopped) = pass(chain, side, exchange, &case.request.pieces).await;
    played.request.clone_from(&exchange.request);
    played.request_body = body;
    if let Some(stopped) = stopped {
        played.stop(stopped);
        return exchange;
    }
    exchange.response = response;
    let (exchange, replaced, fault) = chain.response_head(exchange, chain.len()).await;
    played.response.clone_from(&exchange.response);
    let pieces = match replaced {
        Some(body) => {
            if fault.is_none() {
                played.reply =
                    Some((exchange.response.status, exchange.response.fields.clone(), body.to_vec()));
            }
            vec![body.to_vec()]
        }
        None => case.response.pieces.clone(),
    };
    let (exchange, body, stopped) = pass(chain, BodySide::Response, exchange, &pieces).await;
    played.response.clone_from(&exchange.response);
    played.response_body = body;
    if let Some(stopped) = stopped {
        played.stop(stopped);
    }
    exchange
}

/// Why a body was not passed on to its end.
enum Stopped {
    Reply(Reply),
    Fault(Reply),
    TooLarge(String),
}

/// Passes a body through the policy, piece by piece. Returns what it let go.
async fn pass(
    chain: &PolicyChain,
    side: BodySide,
    mut exchange: Box<Exchange>,
    pieces: &[Vec<u8>],
) -> (Box<Exchange>, Vec<u8>, Option<Stopped>) {
    let mut passed = Vec::new();
    if !chain.has_body_hook(side) {
        return (exchange, pieces.concat(), None);
    }
    let mut held = HeldBody::default();
    // A message without a body is shown to the hook once, empty and last.
    let empty = [Vec::new()];
    let pieces = if pieces.is_empty() { &empty[..] } else { pieces };
    for (at, piece) in pieces.iter().enumerate() {
        let last = at + 1 == pieces.len();
        let piece = Bytes::copy_from_slice(piece);
        let (back, outcome) = chain.body(side, &mut held, exchange, piece, last, chain.len()).await;
        exchange = back;
        let stopped = match outcome {
            BodyOutcome::Pass(bytes) => {
                passed.extend_from_slice(&bytes);
                continue;
            }
            BodyOutcome::Reply { reply, .. } => Stopped::Reply(reply),
            BodyOutcome::Fault { fault, .. } => Stopped::Fault(fault.reply()),
            BodyOutcome::TooLarge { reason } => Stopped::TooLarge(reason),
        };
        return (exchange, passed, Some(stopped));
    }
    (exchange, passed, None)
}

impl Played {
    /// The policy answers, or the gateway does because the policy failed.
    fn answer(&mut self, reply: &Reply, is_its_own: bool) {
        self.response.status = reply.status;
        self.response.fields = reply.fields.clone();
        self.response_body = reply.body.to_vec();
        if is_its_own {
            self.reply = Some((reply.status, reply.fields.clone(), reply.body.to_vec()));
        }
    }

    fn stop(&mut self, stopped: Stopped) {
        match stopped {
            Stopped::Reply(reply) => self.answer(&reply, true),
            Stopped::Fault(reply) => self.answer(&reply, false),
            Stopped::TooLarge(reason) => {
                // As the gateway answers a body that a policy cannot hold.
                self.answer(&Reply { status: 413, ..Reply::default() }, false);
                self.too_large = Some(reason);
            }
        }
    }
}

/// The exchange as the policy meets it: parsed as strictly as a client's, without hop-by-hop fields, with the fields
/// that say who the client is.
fn arrive(request: &CaseRequest) -> Result<Exchange, String> {
    let url = Url::read(&request.url).map_err(|error| error.to_string())?;
    let lines = request.headers.iter().map(|(name, value)| format!("{name}: {value}"));
    let lines: Vec<String> = lines.collect();
    for text in lines.iter().chain([&request.method]) {
        if text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err("a line end or a zero byte would make it another request".to_owned());
        }
    }
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, url.target);
    if !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("host: {}\r\n", url.authority.unwrap_or("localhost")));
    }
    for line in lines {
        head.push_str(&line);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    let mut parsed = RequestHead::default();
    let scheme = if url.tls { Scheme::Https } else { Scheme::Http };
    match parse_request(head.as_bytes(), &HeadLimits::default(), scheme, &mut parsed) {
        Ok(Some(found)) if found.head_len == head.len() => {}
        Ok(_) => return Err("it is no request head".to_owned()),
        Err(error) => return Err(error.to_string()),
    }
    strip_request_hop_by_hop(&mut parsed.fields);
    let address = rewrite_forwarding_fields(&mut parsed, request.client, &[], &mut Vec::new())
        .map_err(|error| error.to_string())?;
    let named = request.tls_server_name.as_deref();
    let server_name = named.or_else(|| url.tls.then(|| host_name(&parsed)).flatten());
    let client = ClientInfo {
        address,
        peer: request.client,
        tls_server_name: server_name.map(|name| name.to_ascii_lowercase().into()),
        certificate: request.client_certificate.as_deref().map(Into::into),
        tls: url.tls.then(ClientTls::of_http1),
        ..ClientInfo::default()
    };
    Ok(Exchange {
        request: parsed,
        client,
        route: Name::from(ROUTE),
        upstreams: [Name::from(UPSTREAM)].into(),
        trace_id: TRACE_ID.to_owned(),
        ..Exchange::default()
    })
}

/// The host of a request, unless it is an address, which is no name that a client asks for (RFC 6066, 3).
fn host_name(request: &RequestHead) -> Option<&str> {
    let host = request.host();
    (!host.starts_with('[') && host.parse::<IpAddr>().is_err()).then_some(host)
}

/// The response as the policy meets it.
fn response(response: &CaseResponse) -> Result<ResponseHead, String> {
    let mut head = ResponseHead { status: response.status, ..ResponseHead::default() };
    head.fields = fields(&response.headers)?;
    strip_response_hop_by_hop(&mut head.fields);
    Ok(head)
}

/// The fields of a head.
///
/// # Errors
/// If one is not a field.
pub(super) fn fields(lines: &[(String, String)]) -> Result<Fields, String> {
    let mut fields = Fields::new();
    for (name, value) in lines {
        let appended = fields.append_checked(name.to_ascii_lowercase().as_bytes(), value.as_bytes());
        appended.map_err(|error| format!("`{name}`: {error}"))?;
    }
    Ok(fields)
}

/// What the clocks say at an exchange of a case: `passed` after its start.
pub(super) fn time(wall: Duration, start: Duration, passed: Duration) -> SimulatedTime {
    SimulatedTime { wall: wall + passed, monotonic: start + passed }
}
