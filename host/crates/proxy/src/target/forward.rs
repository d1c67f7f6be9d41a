//! Sends a permitted request to an endpoint: chooses one, connects or reuses a connection, and tries another
//! endpoint if the request may be sent again. The rules for that are those of [`Retries`].

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use portcullis_http::proxy_protocol::ProxyHeader;
use portcullis_http::{ResponseHead, Version};
use portcullis_model::{HostHeader, Retry, Tries, UpstreamProtocol, UpstreamTimeouts};
use portcullis_policy::{Exchange, Permitted};
use portcullis_traffic::{Begin, Choice, Failure, Next, NoPick, Pick, Retries, backoff};
use tokio::time::Instant;

use crate::body::{Body, BodyError};
use crate::call::{Call, CallError, CallEvent, CallResponse, WaitsFor};
use crate::connection::Connection;
use crate::downstream::Downstream;
use crate::endpoint::LocalEndpoint;
use crate::error::{EndpointFault, ExchangeError};
use crate::exchange_info::ExchangeInfo;
use crate::gate::{Gate, Room, UnderWay};
use crate::random;
use crate::replay::keeping;
use crate::slot::Slot;
use crate::timeouts::{IdleTimer, Timeouts};
use crate::timer::Timer;
use crate::upstream::{Acquired, LocalUpstream, balance_key, host};

/// What forwarding needs besides the exchange.
pub(crate) struct Forward<'a> {
    pub(crate) upstream: &'a Rc<LocalUpstream>,
    /// What `Host` says, if the route says it instead of the upstream.
    pub(crate) host: Option<&'a HostHeader>,
    pub(crate) tries: &'a Tries,
    pub(crate) slot: &'a Rc<Slot>,
    pub(crate) downstream: &'a mut dyn Downstream,
    pub(crate) timer: &'a mut Timer,
    pub(crate) info: &'a mut ExchangeInfo,
    /// How long the client may send nothing of its body.
    pub(crate) client_idle: Duration,
    /// When the whole exchange must be over.
    pub(crate) deadline: Option<Instant>,
    /// The address that the request goes to, if the endpoint is a name.
    pub(crate) peer: Option<SocketAddr>,
    /// The status of the last response.
    pub(crate) status: u16,
    /// The client's connection; `None` if the gateway asks by itself.
    pub(crate) connection: Option<&'a Connection>,
}

/// What about a request decides how it is sent.
#[derive(Debug, Clone, Copy)]
struct Traits {
    /// It may be sent twice.
    idempotent: bool,
    /// It is tried again after it was sent, as the route says, if there is an attempt left.
    repeats: bool,
    /// It is an extended CONNECT, which an HTTP/2 endpoint must have offered.
    extended: bool,
    /// What its connection tells the endpoint of the client, if it tells anything.
    announced: Option<ProxyHeader>,
}

/// Returns whether an error speaks against the endpoint that was chosen.
fn is_endpoint_fault(error: &ExchangeError, pick: &Pick) -> bool {
    match error.endpoint_fault() {
        EndpointFault::Never => false,
        EndpointFault::IfSilent => !pick.has_answered_others(),
        EndpointFault::Always => true,
    }
}

/// How one attempt failed.
struct AttemptError {
    error: ExchangeError,
    resend: Resend,
}

/// Whether a request whose attempt failed may be sent again.
enum Resend {
    /// Nothing of it was sent. This is its body.
    Unsent(Body),
    /// Only the connection failed: it was stale, or took no more requests. This is the body from its beginning.
    Connection(Body),
    /// The route has it tried again. This is the body from its beginning; if it was `paid`, the retry has its token of
    /// the budget.
    Repeat { body: Body, paid: bool },
    /// It may not.
    Never,
}

impl AttemptError {
    fn last(error: ExchangeError) -> Self {
        Self { error, resend: Resend::Never }
    }
}

impl Forward<'_> {
    /// Forwards the exchange, which is then in the slot with the response's head in it. Dropping the future drops the
    /// connection to the endpoint.
    pub(crate) async fn run(
        &mut self,
        permitted: Permitted<Box<Exchange>>,
        mut body: Body,
    ) -> Result<CallResponse, ExchangeError> {
        let exchange = permitted.into_inner();
        let mut traits = self.traits(&exchange);
        let upgrades = exchange.request.upgrade.is_some();
        let key = balance_key(&self.upstream.shared.config, &exchange);
        self.slot.put(exchange);
        if upgrades {
            // The hooks have seen that there is no body, and could refuse. What one would put in its place would be
            // read as the tunnel's first bytes.
            body = Body::Empty;
        }

        let shared = &self.upstream.shared;
        // Whatever the method, an HTTP/2 endpoint may say that it did not act on a request.
        let repeats =
            self.tries.retry.as_ref().is_some_and(|retry| traits.idempotent || retry.non_idempotent);
        if traits.idempotent || repeats || shared.config.protocol == UpstreamProtocol::Http2 {
            body = keeping(body, shared.config.replay_bytes_max);
        }
        let mut retries = Retries::new(self.tries.attempts, self.tries.retry.is_some());
        let (mut last, mut room) = (None, None);
        loop {
            let mut left = shared.endpoints.has_untried(retries.tried());
            if let (Some(number), Some(retry)) = (retries.pause(left), &self.tries.retry) {
                left = true;
                let pause = backoff(retry.delay, retry.delay_max, number, random::next());
                self.pause(pause).await?;
            }
            let now = shared.now();
            match retries.begin(left, shared.retry_budget.as_deref(), now) {
                Begin::Allowed => {}
                Begin::NoneLeft => break,
                Begin::OverBudget => {
                    shared.metrics.retry_refused();
                    break;
                }
            }
            let choice = Choice { now, tried: retries.tried(), key, chance: &random::next };
            let picked = match &shared.gate {
                None => shared.endpoints.pick(&choice).ok(),
                // Boxed, so that it does not make the future of all other requests larger.
                Some(gate) => Box::pin(self.pass(gate, choice, &mut room)).await?,
            };
            let Some(pick) = picked else { break };
            let endpoint = self.upstream.endpoint(pick.endpoint());
            self.info.attempts = retries.attempts();
            self.info.endpoint = Some(endpoint.clone());
            if self.info.attempts > 1 {
                shared.metrics.retry();
            }
            traits.repeats = repeats && retries.may_follow();
            (body, last) = loop {
                let attempt = self.attempt(&endpoint, body, traits, retries.needs_new_connection());
                let AttemptError { error, resend } = match attempt.await {
                    Ok(response) => {
                        self.record_answer(&endpoint, &pick);
                        self.info.in_flight = Some(UnderWay::new(pick.in_flight, room));
                        return Ok(response);
                    }
                    Err(failed) => failed,
                };
                if let ExchangeError::Status { .. } = error {
                    self.record_answer(&endpoint, &pick);
                }
                let faulty = is_endpoint_fault(&error, &pick);
                let other_address = faulty
                    && matches!(resend, Resend::Unsent(_) | Resend::Never)
                    && self.mark_address_failed(&endpoint, &error);
                let (failure, whole) = match resend {
                    Resend::Connection(body) => (Failure::Connection, Some(body)),
                    Resend::Unsent(body) => (Failure::Unsent { other_address }, Some(body)),
                    Resend::Repeat { body, paid } => (Failure::Repeatable { paid }, Some(body)),
                    Resend::Never => (Failure::Final, None),
                };
                let next = retries.after(endpoint.shared.id(), failure);
                tracing::debug!(%error, ?next, "an attempt failed");
                match (next, whole) {
                    (Next::SameEndpoint, Some(whole)) => body = whole,
                    (Next::OtherEndpoint, Some(whole)) => {
                        if faulty {
                            shared.record_failure(&endpoint, &error.reason());
                        }
                        break (whole, Some(error));
                    }
                    (_, _) => {
                        // One address of several speaks only against itself.
                        if faulty && !other_address {
                            shared.record_failure(&endpoint, &error.reason());
                        }
                        return Err(error);
                    }
                }
            };
        }
        Err(last.unwrap_or_else(|| ExchangeError::NoEndpoint { upstream: shared.name().to_string() }))
    }

    /// Returns what about the exchange decides how it is sent.
    fn traits(&self, exchange: &Exchange) -> Traits {
        let request = &exchange.request;
        Traits {
            idempotent: request.is_idempotent(),
            repeats: false,
            extended: request.upgrade.is_some() && request.version == Version::Http2,
            announced: self.upstream.shared.announced(exchange.client.address, self.connection),
        }
    }

    /// Waits before a retry.
    async fn pause(&mut self, pause: Duration) -> Result<(), ExchangeError> {
        let end = Instant::now() + pause;
        let until = self.bounded(end);
        let (downstream, timer) = (&mut *self.downstream, &mut *self.timer);
        std::future::poll_fn(|cx| {
            if timer.poll(cx, until).is_ready() {
                return Poll::Ready(if until < end { Err(ExchangeError::Timeout) } else { Ok(()) });
            }
            downstream.poll_gone(cx).map(|()| Err(ExchangeError::ClientGone))
        })
        .await
    }

    /// Returns the rules of a retry for an attempt that another one may follow.
    fn retry(&self, traits: Traits) -> Option<&'_ Retry> {
        self.tries.retry.as_deref().filter(|_| traits.repeats)
    }

    /// Chooses an endpoint of an upstream that bounds its exchanges. The first time it takes room for the exchange and
    /// may wait for it. Another endpoint, for a retry, is not waited for: a request that has failed is not to hold room
    /// for long.
    async fn pass(
        &mut self,
        gate: &Arc<Gate>,
        choice: Choice<'_>,
        room: &mut Option<Room>,
    ) -> Result<Option<Pick>, ExchangeError> {
        let shared = &self.upstream.shared;
        let limits = &shared.config.limits;
        let full = |waited| ExchangeError::Full { upstream: shared.name().to_string(), waited };
        if room.is_some() {
            return Ok(gate.again(|| shared.endpoints.pick(&choice)).ok());
        }
        let mut entered = gate.enter(limits, false, || shared.endpoints.pick(&choice));
        if let Err(NoPick::Full) = entered {
            let until = self.bounded(Instant::now() + limits.wait);
            let Some(waiting) = gate.wait(limits) else {
                shared.metrics.refused();
                return Err(full(None));
            };
            loop {
                // Enabled before it looks, so that it misses no room that is made in between.
                let mut freed = std::pin::pin!(gate.freed());
                freed.as_mut().enable();
                let choice = Choice { now: shared.now(), ..choice };
                entered = gate.enter(limits, true, || shared.endpoints.pick(&choice));
                if !matches!(entered, Err(NoPick::Full)) {
                    break;
                }
                let (downstream, timer) = (&mut *self.downstream, &mut *self.timer);
                let woken = std::future::poll_fn(|cx| {
                    if freed.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Ok(true));
                    }
                    if timer.poll(cx, until).is_ready() {
                        return Poll::Ready(Ok(false));
                    }
                    downstream.poll_gone(cx).map(|()| Err(ExchangeError::ClientGone))
                });
                if !woken.await? {
                    shared.metrics.refused();
                    return Err(self.timeout(full(Some(limits.wait))));
                }
            }
            drop(waiting);
        }
        let Ok((pick, taken)) = entered else { return Ok(None) };
        *room = Some(taken);
        Ok(Some(pick))
    }

    fn record_answer(&self, endpoint: &LocalEndpoint, pick: &Pick) {
        self.upstream.shared.record_answer(endpoint, pick, self.status);
        if let Some(peer) = self.peer {
            endpoint.addresses.mark_answered(peer);
        }
    }

    /// Passes over the address that failed for a while, if the endpoint is a name that has others. Returns whether
    /// it has.
    fn mark_address_failed(&self, endpoint: &LocalEndpoint, error: &ExchangeError) -> bool {
        let peer = match error {
            ExchangeError::Unreachable { source, .. } => source.peer(),
            _ => self.peer,
        };
        let Some(peer) = peer else { return false };
        let has_others = endpoint.addresses.mark_failed(peer);
        if has_others {
            tracing::debug!(upstream = %self.upstream.shared.name(), %peer, %error, "an address is passed over");
        }
        has_others
    }

    /// Sends the request to the endpoint once.
    async fn attempt(
        &mut self,
        endpoint: &Rc<LocalEndpoint>,
        mut body: Body,
        traits: Traits,
        alone: bool,
    ) -> Result<CallResponse, AttemptError> {
        self.peer = None;
        let acquired = match self.acquire(endpoint, traits, !body.is_empty(), alone).await {
            Ok(acquired) => acquired,
            Err(error @ (ExchangeError::ClientGone | ExchangeError::Timeout)) => {
                return Err(AttemptError::last(error));
            }
            Err(error) => return Err(AttemptError { error, resend: Resend::Unsent(body) }),
        };
        self.peer = acquired.peer();
        let mut exchange = self.slot.taken_beside(&mut body).await;
        let shared = &self.upstream.shared;
        let setting = self.host.unwrap_or(&shared.config.host);
        let host = host(setting, &exchange.request, endpoint.address());
        let call = acquired.start(&exchange, shared, endpoint, host, body);
        // Its buffers are reused; nothing looks at it before a response has come.
        let head = std::mem::take(&mut exchange.response);
        self.slot.put(exchange);
        self.drive(call, head, traits).await
    }

    /// Returns a connection to the endpoint. An `upload` is a request with a body; `alone` asks for a new
    /// connection that is not shared.
    async fn acquire(
        &mut self,
        endpoint: &Rc<LocalEndpoint>,
        traits: Traits,
        upload: bool,
        alone: bool,
    ) -> Result<Acquired, ExchangeError> {
        let peer = endpoint.addresses.next();
        let mut reused =
            if alone { None } else { self.upstream.reuse(endpoint, peer, traits.announced, upload) };
        if let Some(reused) = reused.take_if(|reused| !traits.extended || reused.is_settled()) {
            return Ok(reused);
        }
        let shared = self.upstream.shared.clone();
        let try_timeout = self.retry(traits).and_then(|retry| retry.try_timeout);
        let connect = shared.timeouts().connect.min(try_timeout.unwrap_or(Duration::MAX));
        let deadline = self.bounded(Instant::now() + connect);
        let downstream = &mut *self.downstream;
        let upstream = self.upstream;
        let mut connecting = std::pin::pin!(async move {
            let acquired = match reused {
                Some(reused) => reused,
                None => upstream.connect(endpoint, peer, traits.announced, upload, alone).await?,
            };
            if traits.extended {
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
                source: portcullis_net::ConnectError::timed_out(self.endpoint(), connect),
            })),
        }
    }

    /// Sends the request and waits for the final head, which it puts into the exchange.
    async fn drive(
        &mut self,
        mut call: Box<dyn Call>,
        mut head: ResponseHead,
        traits: Traits,
    ) -> Result<CallResponse, AttemptError> {
        let UpstreamTimeouts { mut response_head, idle, .. } = *self.upstream.shared.timeouts();
        if let Some(try_timeout) = self.retry(traits).and_then(|retry| retry.try_timeout) {
            response_head = response_head.min(try_timeout);
        }
        let (slot, client_idle, timeouts) = (self.slot, self.client_idle, self.timeouts());
        loop {
            let (mut idle_timer, mut waited_for) = (IdleTimer::default(), None);
            let (downstream, timer) = (&mut *self.downstream, &mut *self.timer);
            let mut timed_out = false;
            let event = std::future::poll_fn(|cx| {
                if let Poll::Ready(event) = call.poll_event(cx, &mut head) {
                    return Poll::Ready(Some(event));
                }
                let waits_for = call.waits_for();
                if waited_for.replace(waits_for) != Some(waits_for) {
                    idle_timer = IdleTimer::default();
                }
                // Policies may hold back what the client sends, and then the call sees nothing of it.
                let moved = call.progress().wrapping_add(slot.request_bytes());
                let until = match waits_for {
                    WaitsFor::Client => idle_timer.deadline(moved, slot.is_away(), client_idle),
                    WaitsFor::Room => idle_timer.write_deadline(call.progress(), idle),
                    WaitsFor::Head => idle_timer.deadline(call.progress(), false, response_head),
                };
                if timer.poll(cx, timeouts.bounded(until)).is_ready() {
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
                    self.status = head.status;
                    if self.is_repeated(&*call, head.status, traits) {
                        let error = ExchangeError::Status { endpoint: self.endpoint(), status: head.status };
                        let repeat = |body| Resend::Repeat { body, paid: true };
                        let resend = call.into_unread_body().map_or(Resend::Never, repeat);
                        return Err(AttemptError { error, resend });
                    }
                    let mut response = call.into_response(&head);
                    let mut exchange = self.exchange(&mut response.body).await.map_err(AttemptError::last)?;
                    exchange.response = head;
                    self.slot.put(exchange);
                    return Ok(response);
                }
                Some(Err(error)) => return Err(self.call_failed(error, call, traits)),
                None if !timed_out => return Err(AttemptError::last(ExchangeError::ClientGone)),
                None if call.waits_for() == WaitsFor::Client => {
                    let error = ExchangeError::RequestBody(BodyError::DownstreamTimeout);
                    return Err(AttemptError::last(self.timeout(error)));
                }
                None => {
                    call.timed_out();
                    let error = self.timeout(ExchangeError::ResponseTimeout { endpoint: self.endpoint() });
                    let repeats = self.retry(traits).is_some_and(|retry| retry.on_timeout);
                    let resend = match call.into_unread_body() {
                        Some(body) if repeats && !matches!(error, ExchangeError::Timeout) => {
                            Resend::Repeat { body, paid: false }
                        }
                        _ => Resend::Never,
                    };
                    return Err(AttemptError { error, resend });
                }
            }
        }
    }

    /// Waits for the exchange, which a hook of the request's body may have, and meanwhile sends what is left of
    /// that body.
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

    /// Returns whether a response with this status is dropped and its request tried again. Takes a token of the budget
    /// for that.
    fn is_repeated(&self, call: &dyn Call, status: u16, traits: Traits) -> bool {
        let Some(retry) = self.retry(traits) else { return false };
        if retry.on_statuses.binary_search(&status).is_err() || !call.holds_body() {
            return false;
        }
        let shared = &self.upstream.shared;
        let paid = shared.retry_budget.as_ref().is_none_or(|budget| budget.take(shared.now()));
        if !paid {
            shared.metrics.retry_refused();
        }
        paid
    }

    fn call_failed(&self, error: CallError, call: Box<dyn Call>, traits: Traits) -> AttemptError {
        let endpoint = self.endpoint();
        let failed = |reason: String| ExchangeError::Upstream { endpoint: self.endpoint(), reason };
        match error {
            CallError::RequestBody(error) => AttemptError::last(ExchangeError::RequestBody(error)),
            CallError::Protocol(_) => AttemptError::last(failed(error.to_string())),
            CallError::HeadTooLarge => AttemptError::last(ExchangeError::ResponseHeadTooLarge { endpoint }),
            CallError::NotSent(source) => {
                let error = ExchangeError::NotSent { endpoint, source };
                let resend = call.into_unread_body().map_or(Resend::Never, Resend::Unsent);
                AttemptError { error, resend }
            }
            CallError::Closed { maybe_stale, unprocessed, .. } => {
                let reason = error.to_string();
                let error = match unprocessed {
                    true => ExchangeError::Unprocessed { endpoint, reason },
                    false => failed(reason),
                };
                let failure = Failure::of_closed(unprocessed, maybe_stale, traits.idempotent);
                let repeats = self.retry(traits).is_some_and(|retry| retry.on_reset);
                let resend = match call.into_unread_body() {
                    Some(body) if failure == Failure::Connection => Resend::Connection(body),
                    Some(body) if repeats => Resend::Repeat { body, paid: false },
                    _ => Resend::Never,
                };
                AttemptError { error, resend }
            }
        }
    }

    fn timeouts(&self) -> Timeouts {
        Timeouts { deadline: self.deadline, upstream_idle: None }
    }

    fn endpoint(&self) -> String {
        self.info.endpoint_address().unwrap_or("?").to_owned()
    }

    /// Returns `error`, unless it was the whole exchange's time that ran out.
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
