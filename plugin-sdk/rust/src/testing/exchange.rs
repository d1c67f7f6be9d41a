//! The exchange that a test makes up.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use super::MockGateway;
use super::fields::{BODY_BYTES_MAX, check_reply, text};
use super::piece::Piece;
use super::state::{ExchangeState, Head, Phase, install};
use crate::policy::Policy;
use crate::{
    BodyDecision, Chunk, Decision, Exchange, Outcome, Refused, Reply, Request, Response, Stop, Trailers,
};

/// One request and its response, for tests. Say what it is like, run hooks, and look at what they made of it.
///
/// ```
/// use portcullis_sdk::prelude::*;
/// use portcullis_sdk::testing::MockExchange;
///
/// #[derive(Default)]
/// struct Tag;
///
/// #[policy(name = "tag", description = "Tags requests.")]
/// impl Tag {
///     fn on_request_head(&self, request: &mut Request, exchange: &Exchange) -> Result<(), Stop> {
///         request.set_header("x-route", exchange.route())?;
///         Ok(())
///     }
/// }
///
/// let mut exchange = MockExchange::new("GET", "/a?b=c").header("accept", "*/*").route("site");
/// assert_eq!(exchange.request_head(&mut Tag), Decision::Next);
/// assert_eq!(exchange.request_header("x-route").as_deref(), Some("site"));
/// ```
#[derive(Debug)]
pub struct MockExchange {
    gateway: MockGateway,
    state: Rc<RefCell<ExchangeState>>,
}

impl MockExchange {
    /// An exchange on a gateway of its own: `https`, host `example.com`, from 192.0.2.1, on route `test` with upstream
    /// `upstream`, without fields.
    ///
    /// # Panics
    /// If the path does not begin with `/`.
    #[must_use]
    pub fn new(method: &str, path_and_query: &str) -> Self {
        Self::on(&MockGateway::new(), method, path_and_query)
    }

    /// The same on a gateway that other exchanges share.
    ///
    /// # Panics
    /// If the path does not begin with `/`.
    #[must_use]
    pub fn on(gateway: &MockGateway, method: &str, path_and_query: &str) -> Self {
        let mut state = ExchangeState { method: method.to_owned(), ..ExchangeState::default() };
        state.set_path_and_query(path_and_query).expect("a test's path begins with `/`");
        Self { gateway: gateway.clone(), state: Rc::new(RefCell::new(state)) }
    }

    /// Adds a field to the request.
    ///
    /// # Panics
    /// If a gateway would not let the field through.
    #[must_use]
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let added = self.state.borrow_mut().request_fields.append(name, value.as_ref());
        added.unwrap_or_else(|refused| panic!("field `{name}` of the test's request: {refused}"));
        self
    }

    /// Sets the host that the client asked for.
    #[must_use]
    pub fn authority(self, authority: &str) -> Self {
        self.state.borrow_mut().authority = authority.to_owned();
        self
    }

    /// Sets how the client came: `http` or `https`.
    #[must_use]
    pub fn scheme(self, scheme: &str) -> Self {
        self.state.borrow_mut().scheme = scheme.to_owned();
        self
    }

    /// Sets the address of the client.
    ///
    /// # Panics
    /// If it is not an IP address.
    #[must_use]
    pub fn client_address(self, address: &str) -> Self {
        let address: IpAddr = address.parse().expect("the address of a test's client is an IP address");
        self.state.borrow_mut().client_address = address.to_canonical();
        self
    }

    /// Sets the verified client certificate, as DER.
    #[must_use]
    pub fn client_certificate(self, der: impl Into<Vec<u8>>) -> Self {
        self.state.borrow_mut().client_certificate = Some(der.into());
        self
    }

    /// Sets the name that the client asked for in TLS.
    #[must_use]
    pub fn tls_server_name(self, name: &str) -> Self {
        self.state.borrow_mut().tls_server_name = Some(name.to_owned());
        self
    }

    /// Sets the address of the peer of the connection, which is the client's own unless a proxy is before the gateway.
    ///
    /// # Panics
    /// If it is not an IP address.
    #[must_use]
    pub fn peer_address(self, address: &str) -> Self {
        let address: IpAddr = address.parse().expect("the address of a test's peer is an IP address");
        self.state.borrow_mut().peer_address = Some(address.to_canonical());
        self
    }

    /// Sets the protocol of the request: `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`. `HTTP/1.1` unless set.
    #[must_use]
    pub fn protocol(self, protocol: &str) -> Self {
        self.state.borrow_mut().protocol = protocol.to_owned();
        self
    }

    /// Sets the name of the listener. `web` unless set.
    #[must_use]
    pub fn listener(self, name: &str) -> Self {
        self.state.borrow_mut().listener = name.to_owned();
        self
    }

    /// Sets what the TLS handshake agreed on: the version, the cipher suite and the protocol of ALPN. None of it unless
    /// set.
    #[must_use]
    pub fn tls(self, version: &str, cipher: &str, alpn: Option<&str>) -> Self {
        let alpn = alpn.map(str::to_owned);
        self.state.borrow_mut().tls = Some((version.to_owned(), cipher.to_owned(), alpn));
        self
    }

    /// Adds a trailer, which comes with the last piece of the next body.
    ///
    /// # Panics
    /// If a gateway would not let the field through.
    #[must_use]
    pub fn trailer(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let added = self.state.borrow_mut().add_trailer(name, value.as_ref());
        added.unwrap_or_else(|refused| panic!("field `{name}` of the test's trailers: {refused}"));
        self
    }

    /// A trailer that would be sent, lines joined by `", "`.
    #[must_use]
    pub fn trailer_value(&self, name: &str) -> Option<String> {
        self.state.borrow().trailers.joined(name).map(text)
    }

    /// What the endpoint would be chosen by, if the policy has said so.
    #[must_use]
    pub fn endpoint_key(&self) -> Option<Vec<u8>> {
        self.state.borrow().endpoint_key.clone()
    }

    /// Sets the name of the route.
    #[must_use]
    pub fn route(self, name: &str) -> Self {
        self.state.borrow_mut().route = name.to_owned();
        self
    }

    /// Sets the upstreams that the route lists; the first is the one it takes unless a policy chooses another.
    #[must_use]
    pub fn upstreams(self, names: &[&str]) -> Self {
        self.state.borrow_mut().upstreams = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Sets an attribute, as a policy earlier in the chain would.
    ///
    /// # Panics
    /// If the attributes exceed 16 KiB.
    #[must_use]
    pub fn attribute(self, name: &str, value: &str) -> Self {
        self.state.borrow_mut().set_attribute(name, value).expect("a test's attributes fit into 16 KiB");
        self
    }

    /// Takes the cache from the route.
    #[must_use]
    pub fn without_cache(self) -> Self {
        self.state.borrow_mut().cache.is_missing = true;
        self
    }

    /// Sets the status of the upstream's answer. 200 unless set.
    #[must_use]
    pub fn response(self, status: u16) -> Self {
        self.state.borrow_mut().status = status;
        self
    }

    /// Adds a field to the upstream's answer.
    ///
    /// # Panics
    /// If a gateway would not let the field through.
    #[must_use]
    pub fn with_response_header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let added = self.state.borrow_mut().response_fields.append(name, value.as_ref());
        added.unwrap_or_else(|refused| panic!("field `{name}` of the test's response: {refused}"));
        self
    }

    /// Runs code that asks of the exchange, as in `on_request_head`.
    pub fn run<T>(&self, code: impl FnOnce() -> T) -> T {
        self.state.borrow_mut().phase = Phase::RequestHead;
        install(&self.gateway.state, Some(&self.state), code)
    }

    /// Runs `on_request_head`. A reply that the gateway cannot send is a failure, in all hooks.
    pub fn request_head<P: Policy>(&mut self, policy: &mut P) -> Decision {
        checked(self.during(Phase::RequestHead, || policy.request_head(&mut Request(()), &mut Exchange(()))))
    }

    /// Runs `on_request_body` with one piece. What it lets go by itself is in [`MockExchange::passed`].
    pub fn request_body<P: Policy>(
        &mut self,
        policy: &mut P,
        bytes: impl Into<Vec<u8>>,
        last: bool,
    ) -> BodyDecision {
        self.give(bytes.into(), last);
        let decision = checked_body(self.during(Phase::RequestBody, || {
            policy.request_body(Chunk(()), &mut Trailers(()), &mut Request(()), &mut Exchange(()))
        }));
        self.state.borrow_mut().body_decided(Head::Request, &decision);
        decision
    }

    /// Sends a body through `on_request_body` piece by piece, holding and replacing as the gateway does, and returns
    /// what comes out. As there, a hook that holds much is called again when about as much again has come.
    ///
    /// # Errors
    /// A reply or a failure, and 413 if more would have to be held than the body limit of 1 MiB.
    pub fn send_request_body<P: Policy, B: Into<Vec<u8>>>(
        &mut self,
        policy: &mut P,
        pieces: impl IntoIterator<Item = B>,
    ) -> Result<Vec<u8>, Stop> {
        self.send(pieces, 413, |exchange, bytes, last| exchange.request_body(policy, bytes, last))
    }

    /// Runs `on_response_head`.
    pub fn response_head<P: Policy>(&mut self, policy: &mut P) -> Decision {
        checked(self.during(Phase::ResponseHead, || {
            policy.response_head(&mut Response(()), &Request(()), &mut Exchange(()))
        }))
    }

    /// Runs `on_response_body` with one piece. What it lets go by itself is in [`MockExchange::passed`].
    pub fn response_body<P: Policy>(
        &mut self,
        policy: &mut P,
        bytes: impl Into<Vec<u8>>,
        last: bool,
    ) -> BodyDecision {
        self.give(bytes.into(), last);
        let decision = checked_body(self.during(Phase::ResponseBody, || {
            policy.response_body(
                Chunk(()),
                &mut Trailers(()),
                &mut Response(()),
                &Request(()),
                &mut Exchange(()),
            )
        }));
        self.state.borrow_mut().body_decided(Head::Response, &decision);
        decision
    }

    /// Sends a body through `on_response_body` piece by piece, as [`MockExchange::send_request_body`] does.
    ///
    /// # Errors
    /// A reply or a failure, and 502 if more would have to be held than the body limit of 1 MiB.
    pub fn send_response_body<P: Policy, B: Into<Vec<u8>>>(
        &mut self,
        policy: &mut P,
        pieces: impl IntoIterator<Item = B>,
    ) -> Result<Vec<u8>, Stop> {
        self.send(pieces, 502, |exchange, bytes, last| exchange.response_body(policy, bytes, last))
    }

    /// What the last body hook let go by itself, with `Chunk::pass` and `Chunk::replace`.
    #[must_use]
    pub fn passed(&self) -> Vec<u8> {
        self.state.borrow().piece.passed.clone()
    }

    fn give(&mut self, rest: Vec<u8>, last: bool) {
        self.state.borrow_mut().piece = Piece { rest, last, passed: Vec::new() };
    }

    fn send<B: Into<Vec<u8>>>(
        &mut self,
        pieces: impl IntoIterator<Item = B>,
        too_large: u16,
        mut hook: impl FnMut(&mut Self, Vec<u8>, bool) -> BodyDecision,
    ) -> Result<Vec<u8>, Stop> {
        let (mut sent, mut held) = (Vec::new(), Vec::new());
        // Bytes that came, and those that the hook was shown, each as often as it was.
        let (mut came, mut shown) = (0, 0);
        let mut again = Again::WithMore;
        let mut pieces = pieces.into_iter().map(Into::into).peekable();
        loop {
            let piece: Vec<u8> = pieces.next().unwrap_or_default();
            let last = pieces.peek().is_none();
            came += piece.len();
            let holds = !held.is_empty();
            held.extend(piece);
            let can_wait = match again {
                Again::WithMore => holds && shown + held.len() > 2 * came,
                Again::AtEnd => true,
                Again::Never => {
                    sent.append(&mut held);
                    true
                }
            };
            if again != Again::Never && (last || !can_wait) {
                shown += held.len();
                let decision = hook(self, std::mem::take(&mut held), last);
                let piece = std::mem::take(&mut self.state.borrow_mut().piece);
                let (mut rest, mut passed) = (piece.rest, piece.passed);
                again = Again::WithMore;
                let kept = match decision {
                    BodyDecision::Forward => 0,
                    BodyDecision::Replace(bytes) => {
                        rest = bytes;
                        0
                    }
                    BodyDecision::Hold => rest.len(),
                    BodyDecision::Collect => {
                        again = Again::AtEnd;
                        rest.len()
                    }
                    BodyDecision::Pass(size) => rest.len().saturating_sub(size),
                    BodyDecision::Finish => {
                        again = Again::Never;
                        0
                    }
                    BodyDecision::Reply(reply) => return Err(reply.into()),
                    BodyDecision::Fail(reason) => return Err(Stop::Fail(reason)),
                };
                let kept = if last { 0 } else { kept };
                held = rest.split_off(rest.len() - kept);
                sent.append(&mut passed);
                sent.append(&mut rest);
            }
            if held.len() > BODY_BYTES_MAX {
                return Err(Reply::new(too_large).into());
            }
            if last {
                return Ok(sent);
            }
        }
    }

    /// Runs `on_completed`. A reply is a failure.
    pub fn completed<P: Policy>(&mut self, policy: &mut P, outcome: &Outcome) -> Decision {
        without_reply(self.during(Phase::Completed, || {
            policy.completed(outcome, &Trailers(()), &Response(()), &Request(()), &mut Exchange(()))
        }))
    }

    fn during<T>(&mut self, phase: Phase, hook: impl FnOnce() -> T) -> T {
        self.state.borrow_mut().phase = phase;
        install(&self.gateway.state, Some(&self.state), hook)
    }

    /// The gateway that it is on.
    #[must_use]
    pub fn gateway(&self) -> &MockGateway {
        &self.gateway
    }

    /// The method that would be forwarded.
    #[must_use]
    pub fn method(&self) -> String {
        self.state.borrow().method.clone()
    }

    /// The path and query that would be forwarded.
    #[must_use]
    pub fn path_and_query(&self) -> String {
        let state = self.state.borrow();
        match &state.query {
            Some(query) => format!("{}?{query}", state.path),
            None => state.path.clone(),
        }
    }

    /// The authority that would be forwarded.
    #[must_use]
    pub fn forwarded_authority(&self) -> String {
        self.state.borrow().authority.clone()
    }

    /// A field of the request that would be forwarded, lines joined by `", "`.
    #[must_use]
    pub fn request_header(&self, name: &str) -> Option<String> {
        self.request_header_bytes(name).map(text)
    }

    /// The same as bytes.
    #[must_use]
    pub fn request_header_bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.state.borrow().request_fields.joined(name)
    }

    /// The upstream that the request would go to.
    #[must_use]
    pub fn upstream(&self) -> String {
        let state = self.state.borrow();
        state.upstreams.get(state.upstream).cloned().unwrap_or_default()
    }

    /// What policies have added to the key of the cache.
    #[must_use]
    pub fn cache_parts(&self) -> Vec<(String, String)> {
        self.state.borrow().cache.parts.clone()
    }

    /// The tags that policies have added to the response.
    #[must_use]
    pub fn cache_tags(&self) -> Vec<String> {
        self.state.borrow().cache.tags.clone()
    }

    /// Whether a policy lets the request pass by the cache.
    #[must_use]
    pub fn is_cache_bypassed(&self) -> bool {
        self.state.borrow().cache.bypass
    }

    /// The status that the client would get.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.state.borrow().status
    }

    /// A field of the response that the client would get, lines joined by `", "`.
    #[must_use]
    pub fn response_header(&self, name: &str) -> Option<String> {
        self.response_header_bytes(name).map(text)
    }

    /// The same as bytes.
    #[must_use]
    pub fn response_header_bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.state.borrow().response_fields.joined(name)
    }

    /// An attribute that a policy has set.
    #[must_use]
    pub fn attribute_value(&self, name: &str) -> Option<String> {
        self.state.borrow().attributes.get(name).cloned()
    }
}

/// When a hook wants to be called again for a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    WithMore,
    AtEnd,
    Never,
}

/// A decision as the gateway takes it: a reply that it cannot send is a failure.
fn checked(decision: Decision) -> Decision {
    match &decision {
        Decision::Reply(reply) => match check_reply(reply) {
            Ok(()) => decision,
            Err(refused) => Decision::Fail(format!("its reply was refused: {refused}")),
        },
        Decision::Next | Decision::Fail(_) => decision,
    }
}

/// The same of a body.
fn checked_body(decision: BodyDecision) -> BodyDecision {
    match &decision {
        BodyDecision::Reply(reply) => match check_reply(reply) {
            Ok(()) => decision,
            Err(refused) => BodyDecision::Fail(format!("its reply was refused: {refused}")),
        },
        BodyDecision::Replace(bytes) if bytes.len() > BODY_BYTES_MAX => {
            BodyDecision::Fail(format!("what it decided about a body was refused: {}", Refused::TooLarge))
        }
        _ => decision,
    }
}

/// A decision of a hook that no client waits for.
pub(super) fn without_reply(decision: Decision) -> Decision {
    match decision {
        Decision::Reply(_) => Decision::Fail("it replied where no client waits".to_owned()),
        Decision::Next | Decision::Fail(_) => decision,
    }
}
