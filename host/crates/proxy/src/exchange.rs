//! The life of an exchange, from a parsed head to an answer. `docs/request-life.md` is this file in prose.
//!
//! Every request takes this way: HTTP/1 and HTTP/2, HEAD, upgrades and CONNECT, whatever a retry or a failure does to
//! it. [`plan`] decides what happens to it. There is no other call of [`Forward::run`], and it takes a
//! [`Permitted`] exchange, which only the policy chain makes.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use portcullis_files::{FileError, Found};
use portcullis_model::{Files, Route};
use portcullis_policy::{BodySide, ClientGone, Exchange, HeadOutcome, Permitted, PolicyChain, Reply};
use tokio::time::Instant;

use crate::body::{Body, BodyError, BodySource};
use crate::cache::invalidate::Invalidation;
use crate::cache::look::Looked;
use crate::cache::serve::Serve;
use crate::call::CallResponse;
use crate::compress;
use crate::connection::Connection;
use crate::downstream::Downstream;
use crate::error::ExchangeError;
use crate::exchange_info::{ExchangeInfo, RawRequest};
use crate::filter::FilteredBody;
use crate::local::{Local, LocalRoute};
use crate::plan::{self, Plan};
use crate::receive::{Received, receive};
use crate::respond;
use crate::slot::Slot;
use crate::target::edit_response::{MadeBy, edit_response};
use crate::target::{self, files, forward::Forward, rewrite::rewrite};
use crate::timeouts::{IdleTimer, Timeouts};
use crate::timer::Timer;
use crate::tunnel_end::TunnelEnd;
use crate::upstream::LocalUpstream;
use crate::via::add_via;
use crate::watched::watched;
use crate::worker::Worker;

/// One exchange and what it runs on.
pub(crate) struct ExchangeDriver<'a> {
    pub(crate) worker: &'a Rc<Worker>,
    pub(crate) connection: &'a Connection,
    pub(crate) slot: &'a Rc<Slot>,
    pub(crate) downstream: &'a mut dyn Downstream,
    pub(crate) timer: &'a mut Timer,
    pub(crate) info: &'a mut ExchangeInfo,
}

/// The answer to a request. Its head is in the exchange, which is in the slot.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The body, through the policies.
    pub(crate) body: Body,
    /// The upstream's connection, after an accepted upgrade.
    pub(crate) tunnel: Option<Box<dyn TunnelEnd>>,
    /// What the exchange ran on, for its end.
    pub(crate) route: Option<Matched>,
    /// The length that an upstream's head declares, for responses without a body.
    pub(crate) declared: Option<u64>,
    /// How long it may take.
    pub(crate) timeouts: Timeouts,
    /// The route itself or its cache made it, and nothing changed it for this client, so that others get the same.
    pub(crate) is_public: bool,
    /// The client has gone: the answer is for the record alone.
    pub(crate) client_gone: bool,
}

/// The generation and the route of an exchange: both stay the same from its start to its end.
#[derive(Debug, Clone)]
pub(crate) struct Matched {
    pub(crate) local: Rc<Local>,
    pub(crate) route: Rc<LocalRoute>,
}

impl ExchangeDriver<'_> {
    /// Runs the exchange and returns its answer. It never fails: an error becomes an answer.
    pub(crate) async fn run(mut self, mut exchange: Box<Exchange>, mut body: Body) -> Answer {
        let local = self.worker.current();
        let received = receive(
            &local.snapshot.gateway.server,
            &mut exchange,
            self.connection.peer_info(),
            &mut self.worker.scratch.borrow_mut(),
        );
        let received = match received {
            Ok(received) => received,
            Err(error) => return self.refuse(exchange, None, 0, &error).await,
        };
        let found = plan::route(&local.snapshot.table, &self.connection.listener().name, &mut exchange);
        let route = match found.and_then(|at| local.routes.get(at).ok_or(ExchangeError::NoRoute)) {
            Ok(route) => route.clone(),
            Err(error) => return self.refuse(exchange, None, 0, &error).await,
        };
        let matched = Matched { local, route: route.clone() };
        let config = route.config.clone();
        let chain = route.chain.clone();
        self.info.asked = compress::asked(&config, &exchange);
        if route.cache.is_some() {
            // What policies set from now on is part of the key.
            exchange.request.fields.mark_edits();
        }
        exchange.cache.keys.clone_from(&route.cache_keys);
        self.info.changes = matched.local.snapshot.invalidation.asked(&exchange.request);
        exchange.route.clone_from(&route.name);
        exchange.upstreams.clone_from(&route.upstream_names);
        if self.worker.recordings().is_active() {
            self.info.recording = self.worker.recordings().begin(&mut exchange, &matched.local.snapshot);
        }

        let https_port = || route.https.as_ref()?.public_port();
        if let Err(error) = plan::admit(&config, &exchange.request, body.length(), https_port) {
            return self.refuse(exchange, Some(matched), 0, &error).await;
        }
        if let Some(limit) = config.body_bytes_max {
            body.set_limit(limit);
        }
        if let Some(decoding) = matched.local.decoding(&self.worker.decoders, &matched.route) {
            match decoding.request(&mut exchange, std::mem::take(&mut body)) {
                Ok(plain) => body = plain,
                Err(error) => return self.refuse(exchange, Some(matched), 0, &error).await,
            }
        }
        let permitted = match self.request_head(&chain, exchange).await {
            HeadOutcome::Permitted(permitted) => permitted,
            HeadOutcome::Replied(replied) => {
                if let Some(fault) = &replied.fault {
                    self.info.fail(fault);
                }
                return self.reply(replied.exchange, matched, replied.at, replied.reply).await;
            }
        };
        self.act(permitted, matched, received, body).await
    }

    /// Does with a permitted request what its route says.
    async fn act(
        mut self,
        mut permitted: Permitted<Box<Exchange>>,
        matched: Matched,
        received: Received,
        mut body: Body,
    ) -> Answer {
        let route = matched.route.clone();
        let (config, chain) = (route.config.clone(), route.chain.clone());
        let deadline = config.timeout.map(|timeout| self.info.started + timeout);
        let timeouts = Timeouts { deadline, upstream_idle: None };
        if chain.has_body_hook(BodySide::Request)
            && matches!(plan::act(&config, &permitted.request, received), Plan::Forward(_))
        {
            // They may change the head until they release the first piece. All that follows goes by what they leave.
            (permitted, body) = match self.filter_request(&chain, permitted, body, timeouts).await {
                Ok(passed) => passed,
                Err(error) => return self.stopped(matched, &error).await,
            };
        }
        let action = match plan::act(&config, &permitted.request, received) {
            Plan::Refuse(error) => {
                let exchange = permitted.into_inner();
                return self.refuse(exchange, Some(matched), chain.len(), &error).await;
            }
            Plan::Answer(answer) => {
                let made_by = answer.made_by();
                return match target::answer(answer, &config, permitted) {
                    (exchange, Ok(body)) => {
                        let response = respond::configured(&exchange.response, body);
                        self.respond(exchange, matched, chain.len(), response, timeouts, made_by).await
                    }
                    (exchange, Err(error)) => self.refuse(exchange, Some(matched), chain.len(), &error).await,
                };
            }
            Plan::Serve(action) => {
                let changes_bodies = chain.has_body_hook(BodySide::Response);
                let found = self.find_file(action, &config, &permitted, changes_bodies, timeouts).await;
                let (exchange, answered) = files::answer(found, &config, permitted);
                return match answered {
                    Ok(content) => {
                        let response = content.into_response(self.worker.files());
                        self.respond(exchange, matched, chain.len(), response, timeouts, MadeBy::Route).await
                    }
                    Err(error) => self.refuse(exchange, Some(matched), chain.len(), &error).await,
                };
            }
            Plan::Forward(action) => action,
        };
        let Some(upstream) = route.upstreams.get(permitted.upstream).cloned() else {
            let error = ExchangeError::NoEndpoint { upstream: String::new() };
            return self.refuse(permitted.into_inner(), Some(matched), chain.len(), &error).await;
        };
        if !action.filters.is_empty() {
            // The record shows what the client asked for.
            let request = &mut permitted.request;
            self.info.raw = Some(RawRequest::new(&request.method, request.path().as_bytes()));
            if let Err(error) = rewrite(&action.filters, &config.matches, request) {
                let exchange = permitted.into_inner();
                return self.refuse(exchange, Some(matched), chain.len(), &error).await;
            }
        }
        self.forward(permitted, matched, action, upstream, body, deadline).await
    }

    /// Answers a permitted request with what its upstream says, or its route's cache.
    async fn forward(
        self,
        mut permitted: Permitted<Box<Exchange>>,
        matched: Matched,
        action: &portcullis_model::Forward,
        upstream: Rc<LocalUpstream>,
        mut body: Body,
        deadline: Option<Instant>,
    ) -> Answer {
        let (route, chain) = (matched.route.clone(), matched.route.chain.clone());
        // Notifies a body hook that waits when the client goes away.
        let gone = chain.has_body_hook(BodySide::Request).then(|| permitted.gone.clone());
        if gone.is_none() {
            body = watched(body, &chain, BodySide::Request, &mut permitted, chain.len());
        }

        let timeouts = Timeouts { deadline, upstream_idle: Some(upstream.shared.timeouts().idle) };
        let mut asked = None;
        if let Some(cache) = &route.cache {
            let looked = cache.look(&mut permitted, !body.is_empty(), &mut self.worker.scratch.borrow_mut());
            match looked {
                Looked::Answer { response, status, renew: None } => {
                    let mut exchange = permitted.into_inner();
                    cache.note(&mut exchange, self.info, status, &mut self.worker.scratch.borrow_mut());
                    self.add_via(&mut exchange, &matched);
                    return self
                        .respond(exchange, matched, chain.len(), response, timeouts, MadeBy::Route)
                        .await;
                }
                looked => asked = Some((cache, looked)),
            }
        }
        self.info.forwarded = Some(Instant::now());
        let mut forward = Forward {
            upstream: &upstream,
            host: action.host.as_ref(),
            tries: &action.tries,
            slot: self.slot,
            downstream: &mut *self.downstream,
            timer: &mut *self.timer,
            info: &mut *self.info,
            client_idle: self.connection.timeouts().idle,
            deadline,
            peer: None,
            status: 0,
            connection: Some(self.connection),
        };
        let outcome = match asked {
            None => forward.run(permitted, body).await,
            Some((route, looked)) => {
                let timeout = matched.route.config.timeout;
                let invalidation = &matched.local.snapshot.invalidation;
                let serve = Serve { route, worker: self.worker, forward, timeout, invalidation };
                // Boxed, so that it does not make the future of routes without a cache larger.
                Box::pin(serve.run(permitted, body, looked)).await
            }
        };
        self.info.answered = Some(Instant::now());
        if let (Err(ExchangeError::ClientGone), Some(gone)) = (&outcome, gone) {
            gone.notify();
        }
        match outcome {
            Ok(response) => {
                let mut exchange = self.slot.taken().await;
                // A route with a cache has done so.
                if route.cache.is_none() && Invalidation::is_due(&exchange) {
                    let newest = self.worker.current();
                    let (asked, own) = (self.info.changes.as_deref(), &matched.local.snapshot.invalidation);
                    let removed = own.after(asked, &exchange, &newest.snapshot.invalidation);
                    if removed.is_pending() {
                        // Boxed, so that it does not make the future of all other requests larger.
                        Box::pin(removed.written()).await;
                    }
                }
                upstream.shared.clean_response(&mut exchange.response);
                self.add_via(&mut exchange, &matched);
                self.respond(exchange, matched, chain.len(), response, timeouts, MadeBy::Route).await
            }
            Err(error) => self.stopped(matched, &error).await,
        }
    }

    /// Answers a request that was not sent, or not answered: with the reply of a body hook, or by what the hook's
    /// fault means, if one has stopped it.
    async fn stopped(self, matched: Matched, error: &ExchangeError) -> Answer {
        let exchange = self.slot.taken().await;
        let Some(stop) = self.slot.take_stop() else {
            let until = matched.route.chain.len();
            return self.refuse(exchange, Some(matched), until, error).await;
        };
        match &stop.fault {
            Some(fault) => self.info.fail(fault),
            None => self.info.error = None,
        }
        self.reply(exchange, matched, stop.at, stop.reply).await
    }

    /// Passes the request's body through the policies, and waits until they release the first piece, before anything
    /// is done with the request.
    async fn filter_request(
        &mut self,
        chain: &Rc<PolicyChain>,
        permitted: Permitted<Box<Exchange>>,
        body: Body,
        timeouts: Timeouts,
    ) -> Result<(Permitted<Box<Exchange>>, Body), ExchangeError> {
        let (permit, gone) = (permitted.again(), permitted.gone.clone());
        self.slot.put(permitted.into_inner());
        let filtered =
            FilteredBody::new(body, chain.clone(), self.slot.clone(), BodySide::Request, chain.len());
        let mut filtered = Box::new(filtered);
        let (slot, client_idle) = (self.slot, self.connection.timeouts().idle);
        let (downstream, timer) = (&mut *self.downstream, &mut *self.timer);
        let mut idle_timer = IdleTimer::default();
        let peeked = poll_fn(|cx| {
            if let Poll::Ready(peeked) = filtered.poll_first(cx) {
                return Poll::Ready(peeked.map_err(ExchangeError::RequestBody));
            }
            // The policies may hold back all of it, so what counts is what the client has sent.
            let until = idle_timer.deadline(slot.request_bytes(), slot.is_away(), client_idle);
            if timer.poll(cx, timeouts.bounded(until)).is_ready() {
                return Poll::Ready(Err(match timeouts.is_over() {
                    true => ExchangeError::Timeout,
                    false => ExchangeError::RequestBody(BodyError::DownstreamTimeout),
                }));
            }
            downstream.poll_gone(cx).map(|()| Err(ExchangeError::ClientGone))
        });
        if let Err(error) = peeked.await {
            // A hook that is running continues by itself, and puts the exchange back.
            drop(filtered);
            if matches!(error, ExchangeError::ClientGone) {
                gone.notify();
            }
            return Err(error);
        }
        let mut body = Body::Stream(filtered);
        let exchange = self.slot.taken_beside(&mut body).await;
        Ok((permit.map(|()| exchange), body))
    }

    /// Adds the gateway to `Via` of a response of an upstream.
    fn add_via(&self, exchange: &mut Exchange, matched: &Matched) {
        if let Some(name) = &matched.local.snapshot.gateway.server.via {
            let head = &mut exchange.response;
            let scratch = &mut self.worker.scratch.borrow_mut();
            // If the section is full, `Via` is left out: RFC 9110, 7.6.3 does not require it of responses.
            let _full = add_via(&mut head.fields, head.version, name, scratch).is_err();
        }
    }

    /// Runs the hooks of the request's head.
    async fn request_head(&mut self, chain: &PolicyChain, exchange: Box<Exchange>) -> HeadOutcome {
        if chain.is_empty() {
            return chain.request_head(exchange).await;
        }
        let gone = exchange.gone.clone();
        self.run_hooks(gone, chain.request_head(exchange)).await
    }

    /// Runs hooks. A hook that waits is notified when the client goes away.
    async fn run_hooks<T>(&mut self, gone: ClientGone, hooks: impl Future<Output = T>) -> T {
        let mut hooks = pin!(hooks);
        poll_fn(|cx| {
            let outcome = hooks.as_mut().poll(cx);
            if outcome.is_pending() && !gone.is_notified() && self.downstream.poll_gone(cx).is_ready() {
                gone.notify();
            }
            outcome
        })
        .await
    }

    /// Waits until the file is found that the request asks for.
    async fn find_file(
        &mut self,
        action: &Files,
        route: &Route,
        permitted: &Permitted<Box<Exchange>>,
        changes_bodies: bool,
        timeouts: Timeouts,
    ) -> Result<Found, ExchangeError> {
        let wanted = files::wanted(action, route, permitted, changes_bodies)?;
        let mut pending = self.worker.files().find(wanted);
        let until = timeouts.bounded(Instant::now() + self.connection.timeouts().idle);
        poll_fn(|cx| {
            if let Poll::Ready(found) = Pin::new(&mut pending).poll(cx) {
                return Poll::Ready(found.map_err(ExchangeError::File));
            }
            if self.timer.poll(cx, until).is_ready() {
                return Poll::Ready(Err(match timeouts.is_over() {
                    true => ExchangeError::Timeout,
                    false => ExchangeError::File(FileError::TimedOut),
                }));
            }
            self.downstream.poll_gone(cx).map(|()| Err(ExchangeError::ClientGone))
        })
        .await
    }

    /// Answers with an error of the gateway itself.
    async fn refuse(
        self,
        mut exchange: Box<Exchange>,
        matched: Option<Matched>,
        until: usize,
        error: &ExchangeError,
    ) -> Answer {
        self.info.fail(error);
        let body = respond::refusal(&mut exchange.response, error);
        if let (ExchangeError::Trace, Some(matched)) = (error, &matched) {
            respond::allow(&mut exchange.response, &matched.route.config);
        }
        let mut answer = match matched {
            Some(matched) => {
                let response = respond::gateway_response(body);
                self.respond(exchange, matched, until, response, Timeouts::default(), MadeBy::Others).await
            }
            None => {
                self.worker.add_date(&mut exchange.response.fields);
                self.slot.put(exchange);
                Answer { body: Body::Full(body), ..Answer::default() }
            }
        };
        answer.client_gone |= matches!(error, ExchangeError::ClientGone);
        answer
    }

    /// Answers with a policy's reply.
    async fn reply(self, mut exchange: Box<Exchange>, matched: Matched, at: usize, reply: Reply) -> Answer {
        let body = respond::reply(&mut exchange.response, reply);
        let response = respond::gateway_response(body);
        self.respond(exchange, matched, at, response, Timeouts::default(), MadeBy::Others).await
    }

    /// Takes the answer in `exchange.response` back through the policies before `until`, and then changes it as the
    /// route says.
    async fn respond(
        mut self,
        mut exchange: Box<Exchange>,
        matched: Matched,
        until: usize,
        response: CallResponse,
        timeouts: Timeouts,
        mut made_by: MadeBy,
    ) -> Answer {
        let CallResponse { mut body, mut tunnel, mut declared } = response;
        if let (Some(decoding), MadeBy::Route, None) =
            (matched.local.decoding(&self.worker.decoders, &matched.route), made_by, &tunnel)
        {
            match decoding.response(&mut exchange, body, declared) {
                Ok(plain) => (body, declared) = plain,
                Err(error) => {
                    self.info.fail(&error);
                    (body, declared) = (Body::Full(respond::refusal(&mut exchange.response, &error)), None);
                    made_by = MadeBy::Others;
                }
            }
        }
        self.worker.add_date(&mut exchange.response.fields);
        let chain = matched.route.chain.clone();
        let (mut exchange, replaced, fault) = if chain.has_response_head_hook() {
            let gone = exchange.gone.clone();
            self.run_hooks(gone, chain.response_head(exchange, until)).await
        } else {
            chain.response_head(exchange, until).await
        };
        if let Some(fault) = &fault {
            self.info.fail(fault);
        }
        if let Some(bytes) = replaced {
            let status = exchange.response.status;
            let bytes = match fault {
                Some(_) => respond::failed(&mut exchange.response, status, bytes),
                None => respond::finish_reply(&mut exchange.response, status, bytes),
            };
            (body, tunnel, declared) = (Body::Full(bytes), None, None);
            self.worker.add_date(&mut exchange.response.fields);
            made_by = MadeBy::Others;
        }
        let filtered = tunnel.is_none() && chain.has_body_hook(BodySide::Response);
        let mut client_gone = false;
        if filtered {
            // The length that GET would have is not known: a policy may make it longer or shorter.
            declared = None;
            let passed = self.filter_response(&chain, exchange, body, until, timeouts).await;
            exchange = match passed {
                Ok((passed, rest)) => {
                    body = rest;
                    passed
                }
                Err((mut exchange, failed)) => {
                    body = Body::Full(self.failed(&mut exchange, &failed));
                    client_gone = matches!(failed, ExchangeError::ClientGone);
                    made_by = MadeBy::Others;
                    exchange
                }
            };
        }
        let edits = &matched.route.config.response_edits;
        if let Err(error) = edit_response(edits, made_by, &mut exchange.response) {
            self.info.fail(&error);
            let bytes = respond::refusal(&mut exchange.response, &error);
            (body, tunnel, declared) = (Body::Full(bytes), None, None);
            self.worker.add_date(&mut exchange.response.fields);
        }
        if tunnel.is_none() && !filtered {
            body = watched(body, &chain, BodySide::Response, &mut exchange, until);
        }
        self.slot.put(exchange);
        let is_public = !filtered && compress::is_shared(&matched.route.config, made_by, self.info.cache);
        Answer { body, tunnel, route: Some(matched), declared, timeouts, is_public, client_gone }
    }

    /// Makes the response what a body hook has replied before anything of the response was released, or what the
    /// failure of its body means. Returns the new body.
    fn failed(&mut self, exchange: &mut Exchange, failed: &ExchangeError) -> bytes::Bytes {
        let response = &mut exchange.response;
        let bytes = match self.slot.take_stop() {
            Some(stop) => {
                if let Some(fault) = &stop.fault {
                    self.info.fail(fault);
                }
                respond::reply(response, stop.reply)
            }
            None => {
                self.info.fail(failed);
                let (status, reason) = failed.response();
                respond::error(response, status, reason)
            }
        };
        self.worker.add_date(&mut response.fields);
        bytes
    }

    /// Passes the body through the policies, and waits until they release the first piece: until then they may change
    /// the head. Returns the body to send; or why there is none to send.
    async fn filter_response(
        &mut self,
        chain: &Rc<PolicyChain>,
        exchange: Box<Exchange>,
        body: Body,
        until: usize,
        timeouts: Timeouts,
    ) -> Result<(Box<Exchange>, Body), (Box<Exchange>, ExchangeError)> {
        let gone = exchange.gone.clone();
        self.slot.put(exchange);
        let filtered = FilteredBody::new(body, chain.clone(), self.slot.clone(), BodySide::Response, until)
            .notifying(gone);
        let mut filtered = Box::new(filtered);
        let idle = timeouts.upstream_idle.unwrap_or(self.connection.timeouts().idle);
        let (downstream, timer, slot) = (&mut *self.downstream, &mut *self.timer, self.slot);
        let mut idle_timer = IdleTimer::default();
        let peeked = poll_fn(|cx| {
            match filtered.poll_first(cx) {
                Poll::Ready(Err(failed)) => return Poll::Ready(Err(ExchangeError::RequestBody(failed))),
                Poll::Ready(Ok(())) => {
                    // A hook of the request's body may have the exchange.
                    if let Poll::Ready(taken) = slot.poll_take_driving(cx, |cx| filtered.poll_drive(cx)) {
                        return Poll::Ready(taken.map_err(ExchangeError::RequestBody));
                    }
                }
                Poll::Pending => {}
            }
            // The policies may hold back all of it, and the rest of the request may still be sent.
            let moved = filtered.moved().wrapping_add(slot.request_bytes());
            let until = timeouts.bounded(idle_timer.deadline(moved, slot.is_away(), idle));
            if timer.poll(cx, until).is_ready() {
                return Poll::Ready(Err(match timeouts.is_over() {
                    true => ExchangeError::Timeout,
                    false => {
                        let reason = "it sent nothing for too long".to_owned();
                        ExchangeError::RequestBody(BodyError::Upstream(reason))
                    }
                }));
            }
            downstream.poll_gone(cx).map(|()| Err(ExchangeError::ClientGone))
        });
        match peeked.await {
            Ok(exchange) => Ok((exchange, Body::Stream(filtered))),
            Err(failed) => {
                drop(filtered);
                Err((self.slot.taken().await, failed))
            }
        }
    }
}
