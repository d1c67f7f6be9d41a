//! Sends a permitted request to an endpoint: chooses one, connects or reuses, tries another where nothing was lost.

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use portcullis_http::{RequestHead, ResponseHead, Version};
use portcullis_model::{Route, UpstreamProtocol, UpstreamTimeouts};
use portcullis_policy::{Exchange, Permitted};
use portcullis_traffic::{Pick, Tried};
use tokio::time::Instant;

use crate::body::{Body, BodyError};
use crate::call::{Call, CallError, CallEvent, CallResponse, WaitsFor};
use crate::downstream::Downstream;
use crate::error::{Blame, ExchangeError};
use crate::pace::{Pace, Quiet};
use crate::replay::keeping;
use crate::slot::Slot;
use crate::timer::Timer;
use crate::trace::Trace;
use crate::upstream::{Acquired, LocalUpstream};

/// What forwarding needs besides the exchange.
pub(crate) struct Forward<'a> {
    pub(crate) upstream: &'a Rc<LocalUpstream>,
    pub(crate) route: &'a Route,
    pub(crate) slot: &'a Rc<Slot>,
    pub(crate) downstream: &'a mut dyn Downstream,
    pub(crate) timer: &'a mut Timer,
    pub(crate) trace: &'a mut Trace,
    /// How long the client may send nothing of its body.
    pub(crate) client_idle: Duration,
    /// When the whole exchange must be over.
    pub(crate) deadline: Option<Instant>,
    /// The address that is asked, if the endpoint is a name.
    pub(crate) peer: Option<SocketAddr>,
}

/// What of a request decides how it is sent.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// It may be sent twice.
    idempotent: bool,
    /// It is an extended CONNECT, which an HTTP/2 endpoint has to have offered.
    extended: bool,
}

impl Asked {
    fn of(request: &RequestHead) -> Self {
        Self {
            idempotent: request.is_idempotent(),
            extended: request.upgrade.is_some() && request.version == Version::Http2,
        }
    }
}

/// How often one endpoint is asked again that did not act on a request and says so.
const AGAIN_MAX: u32 = 3;

/// How one attempt failed.
enum AttemptError {
    /// Nothing of the request was acted on: another endpoint may be asked, with this body.
    Unsent(ExchangeError, Body),
    /// The connection was stale, or the endpoint took no more requests on it: the same endpoint may be asked over another
    /// one, with this body.
    Again(ExchangeError, Body),
    /// It is over.
    Final(ExchangeError),
}

impl Forward<'_> {
    /// Forwards the exchange, which then rests in the slot with the response's head in it. Dropping the future drops the
    /// connection to the endpoint.
    pub(crate) async fn run(
        mut self,
        permitted: Permitted<Box<Exchange>>,
        mut body: Body,
    ) -> Result<CallResponse, ExchangeError> {
        let exchange = permitted.into_inner();
        let asked = Asked::of(&exchange.request);
        let upgrades = exchange.request.upgrade.is_some();
        self.slot.put(exchange);
        self.peek(&mut body).await?;
        if upgrades {
            // The hooks have seen that there is no body, and could refuse. What one would put in its place would be read
            // as the tunnel's first bytes.
            body = Body::Empty;
        }

        let shared = &self.upstream.shared;
        // Whatever the method, an HTTP/2 endpoint may say that it did not act on a request.
        if asked.idempotent || shared.config.protocol == UpstreamProtocol::Http2 {
            body = keeping(body, shared.config.replay_bytes_max);
        }
        let (mut tried, mut last) = (Tried::new(), None);
        while self.trace.attempts < self.route.attempts.max(1) {
            let Some(pick) = shared.state.pick(shared.now(), &tried) else { break };
            self.trace.attempts += 1;
            if self.trace.attempts > 1 {
                shared.metrics.retry();
            }
            self.trace.asked = Some((self.upstream.clone(), pick.index));
            let (mut again, mut alone) = (AGAIN_MAX, false);
            let failed = loop {
                match self.attempt(pick.index, body, asked, alone).await {
                    Ok(response) => {
                        self.answered(&pick);
                        self.trace.in_flight = Some(pick.in_flight);
                        return Ok(response);
                    }
                    // Not the endpoint's failure, and not an attempt that counts: connections do close. What follows has a
                    // connection to itself, on which nothing came before.
                    Err(AttemptError::Again(error, unread)) if again > 0 => {
                        tracing::debug!(%error, "asked again over another connection");
                        (body, again, alone) = (unread, again - 1, true);
                    }
                    // Another address of the endpoint's name is asked.
                    Err(AttemptError::Unsent(error, unread))
                        if again > 0 && self.rest_address(&pick, &error) =>
                    {
                        (body, again) = (unread, again - 1);
                    }
                    Err(failed) => break failed,
                }
            };
            match failed {
                AttemptError::Again(error, unread) | AttemptError::Unsent(error, unread) => {
                    tracing::debug!(%error, "an endpoint failed");
                    self.blame(&pick, &error);
                    tried.insert(pick.index);
                    (body, last) = (unread, Some(error));
                }
                AttemptError::Final(error) => {
                    if !self.rest_address(&pick, &error) {
                        self.blame(&pick, &error);
                    }
                    return Err(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| ExchangeError::NoEndpoint { upstream: shared.name().to_string() }))
    }

    fn answered(&self, pick: &Pick) {
        self.upstream.shared.record_success(pick.endpoint());
        if let (Some(peer), Some(pool)) = (self.peer, self.upstream.pool(pick.index)) {
            pool.addresses.answered(peer);
        }
    }

    /// Holds a failure against the endpoint, if it is one.
    fn blame(&self, pick: &Pick, error: &ExchangeError) {
        let shared = &self.upstream.shared;
        match error.blame() {
            Blame::Never => {}
            Blame::IfSilent if pick.has_answered_others() => {}
            Blame::IfSilent | Blame::Always => shared.record_failure(pick.endpoint(), &error.reason()),
        }
    }

    /// Passes over the address that failed, if the endpoint is a name that has others. Returns whether it has.
    fn rest_address(&self, pick: &Pick, error: &ExchangeError) -> bool {
        let peer = match error {
            ExchangeError::Unreachable { source, .. } => source.peer(),
            _ => self.peer,
        };
        let blamed = match error.blame() {
            Blame::Never => false,
            Blame::IfSilent => !pick.has_answered_others(),
            Blame::Always => true,
        };
        let (true, Some(peer), Some(pool)) = (blamed, peer, self.upstream.pool(pick.index)) else {
            return false;
        };
        let has_others = pool.addresses.rest(peer);
        if has_others {
            tracing::debug!(upstream = %self.upstream.shared.name(), %peer, %error, "an address is passed over");
        }
        has_others
    }

    /// Lets the body hooks decide about the first piece before an upstream hears of the request.
    async fn peek(&mut self, body: &mut Body) -> Result<(), ExchangeError> {
        let (slot, client_idle, pace) = (self.slot, self.client_idle, self.pace());
        let (downstream, timer) = (&mut *self.downstream, &mut *self.timer);
        let mut quiet = Quiet::default();
        std::future::poll_fn(|cx| {
            if let Poll::Ready(result) = body.poll_first(cx) {
                return Poll::Ready(result.map_err(ExchangeError::RequestBody));
            }
            // The policies may hold back all of it, so what counts is what comes in.
            let until = quiet.until(slot.request_bytes(), slot.is_away(), client_idle);
            if timer.poll(cx, pace.bounded(until)).is_ready() {
                return Poll::Ready(Err(match pace.is_over() {
                    true => ExchangeError::Timeout,
                    false => ExchangeError::RequestBody(BodyError::DownstreamTimeout),
                }));
            }
            downstream.poll_gone(cx).map(|()| Err(ExchangeError::ClientGone))
        })
        .await
    }

    /// Asks the endpoint at `at`.
    async fn attempt(
        &mut self,
        at: usize,
        body: Body,
        asked: Asked,
        alone: bool,
    ) -> Result<CallResponse, AttemptError> {
        self.peer = None;
        let acquired = match self.acquire(at, asked, !body.is_empty(), alone).await {
            Ok(acquired) => acquired,
            Err(error @ (ExchangeError::ClientGone | ExchangeError::Timeout)) => {
                return Err(AttemptError::Final(error));
            }
            Err(error) => return Err(AttemptError::Unsent(error, body)),
        };
        self.peer = acquired.peer();
        // The exchange is in its slot: only a body hook takes it away, and the first one has returned.
        let mut exchange = self.slot.taken().await;
        let call = acquired.start(&exchange, self.upstream, at, body);
        // Its buffers are reused; nothing looks at it before a response has come.
        let head = std::mem::take(&mut exchange.response);
        self.slot.put(exchange);
        self.drive(call, head, asked).await
    }

    /// A connection to the endpoint at `at`, for a request with a body if it is an `upload`. One that is for it `alone` is new.
    async fn acquire(
        &mut self,
        at: usize,
        asked: Asked,
        upload: bool,
        alone: bool,
    ) -> Result<Acquired, ExchangeError> {
        let peer = self.upstream.pool(at).and_then(|pool| pool.addresses.next());
        let mut reused = if alone { None } else { self.upstream.reuse(at, peer, upload) };
        if let Some(reused) = reused.take_if(|reused| !asked.extended || reused.is_settled()) {
            return Ok(reused);
        }
        let shared = self.upstream.shared.clone();
        let deadline = self.bounded(Instant::now() + shared.timeouts().connect);
        let downstream = &mut *self.downstream;
        let upstream = self.upstream;
        let mut connecting = std::pin::pin!(async move {
            let acquired = match reused {
                Some(reused) => reused,
                None => upstream.connect(at, peer, upload, alone).await?,
            };
            if asked.extended {
                acquired.settled().await;
            }
            Ok(acquired)
        });
        let connected = self.timer.run(
            deadline,
            std::future::poll_fn(|cx| {
                if let Poll::Ready(result) = connecting.as_mut().poll(cx) {
                    return Poll::Ready(Ok(result));
                }
                downstream.poll_gone(cx).map(|()| Err(ExchangeError::ClientGone))
            }),
        );
        match connected.await {
            Ok(Ok(Ok(acquired))) => Ok(acquired),
            Ok(Ok(Err(source))) => {
                Err(ExchangeError::Unreachable { upstream: shared.name().to_string(), source })
            }
            Ok(Err(gone)) => Err(gone),
            Err(_) => Err(self.timeout(ExchangeError::Unreachable {
                upstream: shared.name().to_string(),
                source: portcullis_net::ConnectError::timed_out(self.endpoint(), shared.timeouts().connect),
            })),
        }
    }

    /// Sends the request and waits for the final head, which ends up in the exchange.
    async fn drive(
        &mut self,
        mut call: Box<dyn Call>,
        mut head: ResponseHead,
        asked: Asked,
    ) -> Result<CallResponse, AttemptError> {
        let UpstreamTimeouts { response_head, idle, .. } = *self.upstream.shared.timeouts();
        let (slot, client_idle, pace) = (self.slot, self.client_idle, self.pace());
        loop {
            let (mut quiet, mut waited_for) = (Quiet::default(), None);
            let (downstream, timer) = (&mut *self.downstream, &mut *self.timer);
            let mut timed_out = false;
            let event = std::future::poll_fn(|cx| {
                if let Poll::Ready(event) = call.poll_event(cx, &mut head) {
                    return Poll::Ready(Some(event));
                }
                let waits_for = call.waits_for();
                if waited_for.replace(waits_for) != Some(waits_for) {
                    quiet = Quiet::default();
                }
                // Policies may hold back what comes, and then the call sees nothing of it.
                let moved = call.progress().wrapping_add(slot.request_bytes());
                let until = match waits_for {
                    WaitsFor::Client => quiet.until(moved, slot.is_away(), client_idle),
                    WaitsFor::Room => quiet.until_taken(call.progress(), idle),
                    WaitsFor::Head => quiet.until(call.progress(), false, response_head),
                };
                if timer.poll(cx, pace.bounded(until)).is_ready() {
                    timed_out = true;
                    return Poll::Ready(None);
                }
                downstream.poll_gone(cx).map(|()| None)
            })
            .await;
            match event {
                Some(Ok(CallEvent::Informational)) => {
                    self.upstream.shared.clean_response(&mut head);
                    self.downstream.send_informational(&head);
                }
                Some(Ok(CallEvent::Final)) => {
                    let mut response = call.into_response(&head);
                    let mut exchange =
                        self.exchange(&mut response.body).await.map_err(AttemptError::Final)?;
                    exchange.response = head;
                    self.slot.put(exchange);
                    return Ok(response);
                }
                Some(Err(error)) => return Err(self.call_failed(error, call, asked)),
                None if !timed_out => return Err(AttemptError::Final(ExchangeError::ClientGone)),
                None if call.waits_for() == WaitsFor::Client => {
                    let error = ExchangeError::RequestBody(BodyError::DownstreamTimeout);
                    return Err(AttemptError::Final(self.timeout(error)));
                }
                None => {
                    call.timed_out();
                    let error = ExchangeError::ResponseTimeout { endpoint: self.endpoint() };
                    return Err(AttemptError::Final(self.timeout(error)));
                }
            }
        }
    }

    /// The exchange, which a hook of the request's body may have: what is left of that is driven on meanwhile.
    async fn exchange(&mut self, response: &mut Body) -> Result<Box<Exchange>, ExchangeError> {
        let (slot, deadline) = (self.slot, self.deadline);
        let (downstream, timer) = (&mut *self.downstream, &mut *self.timer);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(taken) = slot.poll_take_driving(cx, |cx| response.poll_drive(cx)) {
                return Poll::Ready(taken.map_err(ExchangeError::RequestBody));
            }
            if deadline.is_some_and(|deadline| timer.poll(cx, deadline).is_ready()) {
                return Poll::Ready(Err(ExchangeError::Timeout));
            }
            downstream.poll_gone(cx).map(|()| Err(ExchangeError::ClientGone))
        })
        .await
    }

    fn call_failed(&self, error: CallError, call: Box<dyn Call>, asked: Asked) -> AttemptError {
        let endpoint = self.endpoint();
        let failed = |reason: String| ExchangeError::Upstream { endpoint: self.endpoint(), reason };
        match error {
            CallError::RequestBody(error) => AttemptError::Final(ExchangeError::RequestBody(error)),
            CallError::Protocol(_) => AttemptError::Final(failed(error.to_string())),
            CallError::HeadTooLarge => AttemptError::Final(ExchangeError::ResponseHeadTooLarge { endpoint }),
            CallError::NotSent(source) => {
                let error = ExchangeError::NotSent { endpoint, source };
                match call.into_unread_body() {
                    // Another endpoint may take it.
                    Some(body) => AttemptError::Unsent(error, body),
                    None => AttemptError::Final(error),
                }
            }
            CallError::Closed { maybe_stale, unprocessed, .. } => {
                let reason = error.to_string();
                let error = match unprocessed {
                    true => ExchangeError::Unprocessed { endpoint, reason },
                    false => failed(reason),
                };
                // RFC 9110, 9.2.2: only what may be sent twice is sent twice, and what was not acted on.
                let may_repeat = unprocessed || (maybe_stale && asked.idempotent);
                match call.into_unread_body() {
                    Some(body) if may_repeat => AttemptError::Again(error, body),
                    _ => AttemptError::Final(error),
                }
            }
        }
    }

    fn pace(&self) -> Pace {
        Pace { deadline: self.deadline, upstream_idle: None }
    }

    fn endpoint(&self) -> String {
        self.trace.endpoint().unwrap_or("?").to_owned()
    }

    /// `error`, unless it was the whole exchange's time that ran out.
    fn timeout(&self, error: ExchangeError) -> ExchangeError {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => ExchangeError::Timeout,
            _ => error,
        }
    }

    fn bounded(&self, deadline: Instant) -> Instant {
        self.deadline.map_or(deadline, |whole| whole.min(deadline))
    }
}
