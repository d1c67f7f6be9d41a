//! The way of a request through the cache, if it is not answered at once: it waits for another request's response, or
//! gets one from the upstream.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use portcullis_cache::rules::{Exchanged, Fwd, HeadEffect, Request, Verdict};
use portcullis_cache::store::Tier;
use portcullis_policy::{Exchange, Permitted};
use portcullis_telemetry::CacheResult;
use tokio::time::Instant;

use super::fetch::{Answered, Fetch, Fetched, stale, wants_less};
use super::flight::{Joined, Lead, Outcome, Passing, Wait};
use super::invalidate::{Invalidation, Removed};
use super::look::{Judged, Looked, Wanted};
use super::refresh::{self, Background};
use super::status::Status;
use super::write::answer;
use super::{CachedRoute, Kept, now, stale_since, whole_length};
use crate::body::Body;
use crate::call::CallResponse;
use crate::error::ExchangeError;
use crate::target::forward::Forward;
use crate::worker::Worker;

/// How often a request tries to share a response before it gets one for itself.
const ROUNDS_MAX: u32 = 3;

/// A request on its way through the cache.
pub(crate) struct Serve<'a> {
    pub(crate) route: &'a Arc<CachedRoute>,
    pub(crate) worker: &'a Rc<Worker>,
    pub(crate) forward: Forward<'a>,
    /// How long an exchange of the route may take.
    pub(crate) timeout: Option<Duration>,
    /// What a change removes from the caches of the exchange's generation.
    pub(crate) invalidation: &'a Invalidation,
}

/// How sharing another request's response went.
enum Shared {
    Answered(Answered),
    /// It has to be tried again: with another key, or because the other request has ended.
    Again,
    /// The request asks the upstream itself.
    Alone,
}

/// What came of looking on the disk.
pub(super) enum FromDisk {
    /// It has answered. The exchange is in the slot.
    Answered(CallResponse),
    /// The upstream has to be asked.
    Ask {
        exchange: Box<Exchange>,
        /// With what was found and has to be validated.
        wanted: Wanted,
        lead: Option<Lead<Kept>>,
    },
}

impl Serve<'_> {
    /// Answers the request, of which the cache has said `looked`. The exchange is in the slot afterwards, with the
    /// response's head in it. Dropping the future lets another request get the response for those
    /// that wait for it.
    pub(crate) async fn run(
        mut self,
        permitted: Permitted<Box<Exchange>>,
        mut body: Body,
        looked: Looked,
    ) -> Result<CallResponse, ExchangeError> {
        let permit = permitted.again();
        let mut exchange = permitted.into_inner();
        let mut looked = Some(looked);
        let mut round = 0;
        loop {
            round += 1;
            let look = || {
                let scratch = &mut self.worker.scratch.borrow_mut();
                self.route.look(&mut exchange, !body.is_empty(), scratch)
            };
            let mut wanted = match looked.take().unwrap_or_else(look) {
                Looked::Answer { response, status, renew } => {
                    if let Some(wanted) = renew {
                        self.renew(&permit, &exchange, wanted);
                    }
                    return Ok(self.done(exchange, response, status));
                }
                Looked::NotHere => return Err(self.not_here(exchange)),
                Looked::Bypass => return self.pass(permit, exchange, body, Fwd::Bypass).await,
                Looked::Write => return self.write(permit, exchange, body).await,
                Looked::Ask(wanted) => wanted,
            };
            if wanted.is_head || wanted.only_if_cached {
                // Neither gets a response for others.
                let (is_head, only_if_cached) = (wanted.is_head, wanted.only_if_cached);
                return match self.read_disk(&permit, exchange, wanted, None).await? {
                    FromDisk::Answered(response) => Ok(response),
                    FromDisk::Ask { exchange, .. } if only_if_cached => Err(self.not_here(exchange)),
                    FromDisk::Ask { exchange, wanted, .. } if is_head => {
                        self.head(permit, exchange, wanted).await
                    }
                    FromDisk::Ask { exchange, wanted, .. } => {
                        self.pass(permit, exchange, body, wanted.why).await
                    }
                };
            }
            let may_wait = round <= ROUNDS_MAX;
            let mut passes = false;
            let lead = match self.join(&mut wanted, &exchange, may_wait) {
                Joined::Lead(lead) => Some(lead),
                Joined::Wait(wait) => match self.share(wait, &mut exchange, &wanted).await {
                    Ok(Shared::Answered((response, status))) => {
                        return Ok(self.done(exchange, response, status));
                    }
                    Ok(Shared::Again) => continue,
                    Ok(Shared::Alone) => None,
                    Err(error) => {
                        self.forward.slot.put(exchange);
                        return Err(error);
                    }
                },
                Joined::Alone(why) => {
                    passes = why.is_some();
                    None
                }
            };
            let lead = match self.read_disk(&permit, exchange, wanted, lead).await? {
                FromDisk::Answered(response) => return Ok(response),
                FromDisk::Ask { exchange: back, wanted: asked, lead } => {
                    (exchange, wanted) = (back, asked);
                    lead
                }
            };
            if passes && wants_less(&exchange.request) && wanted.found.is_none() {
                // What is not stored is not asked for as a whole either.
                return self.pass(permit, exchange, body, wanted.why).await;
            }
            let fetch = Fetch {
                route: self.route,
                worker: self.worker,
                forward: &mut self.forward,
                permit: permit.again(),
                lead,
                wanted,
                body: std::mem::take(&mut body),
            };
            match fetch.run(exchange).await? {
                Fetched::Answered((response, status)) => {
                    let exchange = self.forward.slot.taken().await;
                    return Ok(self.done(exchange, response, status));
                }
                Fetched::InPart(mut wanted) => {
                    exchange = self.forward.slot.taken().await;
                    wanted.ask_in_part(&exchange.request);
                    looked = Some(Looked::Ask(wanted));
                }
            }
        }
    }

    /// Takes part in getting what is `wanted`: a part of it, if it is known that all is too large to be stored.
    fn join(&self, wanted: &mut Wanted, exchange: &Exchange, may_wait: bool) -> Joined<Kept> {
        let rules = &self.route.config.collapse;
        let joined = self.route.open.flights.join(&wanted.flight, rules, may_wait);
        let request = Request::read(&self.route.rules, &exchange.request, false);
        let is_too_large = matches!(joined, Joined::Alone(Some(Passing::TooLarge)));
        if !is_too_large || wanted.in_part || request.first_byte().is_none() {
            return joined;
        }
        wanted.ask_in_part(&exchange.request);
        self.route.open.flights.join(&wanted.flight, rules, may_wait)
    }

    /// Waits for the response that another request gets, and answers with that if it is for this one too.
    async fn share(
        &mut self,
        mut wait: Wait<Kept>,
        exchange: &mut Exchange,
        wanted: &Wanted,
    ) -> Result<Shared, ExchangeError> {
        let until = Instant::now() + self.route.config.collapse.wait;
        let Forward { downstream, timer, deadline, .. } = &mut self.forward;
        let bounded = deadline.map_or(until, |deadline| deadline.min(until));
        let outcome = poll_fn(|cx| {
            if let Poll::Ready(outcome) = wait.poll(cx) {
                return Poll::Ready(Ok(Some(outcome)));
            }
            if timer.poll(cx, bounded).is_ready() {
                return Poll::Ready(if bounded < until { Err(ExchangeError::Timeout) } else { Ok(None) });
            }
            downstream.poll_gone(cx).map(|()| Err(ExchangeError::ClientGone))
        });
        Ok(match outcome.await? {
            // Perhaps it is too large, and parts of it can be shared.
            Some(Outcome::NotShared) if wants_less(&exchange.request) && !wanted.in_part => Shared::Again,
            None | Some(Outcome::NotShared) => Shared::Alone,
            Some(Outcome::Abandoned) => Shared::Again,
            Some(Outcome::Read(entry)) => self.read(&entry, exchange, wanted),
            Some(Outcome::Failed(failure)) => {
                let found = wanted.found.as_ref();
                match (found.and_then(|found| stale(self.route, exchange, found)), failure) {
                    (Some(answered), _) => Shared::Answered(answered),
                    (None, Some(failure)) => return Err(ExchangeError::Shared(failure)),
                    (None, None) => Shared::Alone,
                }
            }
        })
    }

    /// Answers with a response that another request is getting, if it is for this one too.
    fn read(&self, entry: &Kept, exchange: &mut Exchange, wanted: &Wanted) -> Shared {
        if !self.route.open.store.is_current(entry) {
            // It was purged while this request waited.
            return Shared::Again;
        }
        let Exchange { request, response, .. } = exchange;
        let (request, now) = (Request::read(&self.route.rules, request, false), now());
        let head = entry.head();
        if !head.matches(&request) {
            // By now it is known what the response varies by.
            return Shared::Again;
        }
        if entry.tier() == Tier::Disk && head.suits(&request) {
            // The other request has found it there.
            return match self.route.judge(entry, &request, response, now) {
                Judged::Answer { response, status, renew: false } => Shared::Answered((response, status)),
                _ => Shared::Alone,
            };
        }
        let verdict = head.verdict(&request, now, stale_since(entry));
        if !head.suits(&request) || !matches!(verdict, Verdict::Fresh) {
            return Shared::Alone;
        }
        let Some(response) = answer(head, entry.body(), &request, response, false, now) else {
            return Shared::Alone;
        };
        let asked = Status::forwarded(wanted.why, CacheResult::Collapsed);
        Shared::Answered((response, Status { collapsed: true, ttl: Some(head.ttl(now)), ..asked }))
    }

    /// Forwards a request as it is, and stores nothing.
    async fn pass(
        &mut self,
        permit: Permitted<()>,
        exchange: Box<Exchange>,
        body: Body,
        why: Fwd,
    ) -> Result<CallResponse, ExchangeError> {
        let response = self.forward.run(permit.map(|()| exchange), body).await?;
        let exchange = self.forward.slot.taken().await;
        self.invalidate(&exchange).written().await;
        let status = Status::forwarded(why, CacheResult::Bypass).with_answer(exchange.response.status);
        Ok(self.done(exchange, response, status))
    }

    /// Forwards a request that may change what is stored, and removes that if it did.
    async fn write(
        &mut self,
        permit: Permitted<()>,
        exchange: Box<Exchange>,
        body: Body,
    ) -> Result<CallResponse, ExchangeError> {
        let response = self.forward.run(permit.map(|()| exchange), body).await?;
        let exchange = self.forward.slot.taken().await;
        self.invalidate(&exchange).written().await;
        let status =
            Status::forwarded(Fwd::Method, CacheResult::Bypass).with_answer(exchange.response.status);
        Ok(self.done(exchange, response, status))
    }

    /// Removes what the request in `exchange`, which was forwarded, has changed.
    fn invalidate(&self, exchange: &Exchange) -> Removed {
        if !Invalidation::is_due(exchange) {
            return Removed::default();
        }
        let newest = self.worker.current();
        let asked = self.forward.info.changes.as_deref();
        self.invalidation.after(asked, exchange, &newest.snapshot.invalidation)
    }

    /// Forwards a request for a head alone. It says whether what is stored is still right.
    async fn head(
        &mut self,
        permit: Permitted<()>,
        exchange: Box<Exchange>,
        wanted: Wanted,
    ) -> Result<CallResponse, ExchangeError> {
        let (ticket, sent) = (self.route.open.store.ticket(), now());
        let response = self.forward.run(permit.map(|()| exchange), Body::Empty).await?;
        let times = Exchanged { sent, received: now() };
        let mut exchange = self.forward.slot.taken().await;
        self.forward.upstream.shared.clean_response(&mut exchange.response);
        // Nothing is known yet of one whose body still comes.
        if let Some(found) = &wanted.found
            && let Some(length) = whole_length(found.body())
        {
            let request = Request::read(&self.route.rules, &exchange.request, false);
            let (rules, store) = (&self.route.rules, &self.route.open.store);
            let effect = found.head().head_effect(
                rules,
                &request,
                &exchange.response,
                response.declared,
                length,
                times,
            );
            let kept = match effect {
                HeadEffect::None => true,
                HeadEffect::Update(new) => {
                    let wishes = Some(&exchange.cache);
                    new.keep.is_ok() && self.route.update(ticket, found, new.head, wishes).is_some()
                }
                HeadEffect::Stale => false,
            };
            if !kept {
                store.forget(found);
            }
        }
        let status = Status::forwarded(wanted.why, CacheResult::Miss).with_answer(exchange.response.status);
        Ok(self.done(exchange, response, status))
    }

    /// Starts to renew what is stored.
    pub(super) fn renew(&self, permit: &Permitted<()>, exchange: &Exchange, wanted: Wanted) {
        let background = Background {
            upstream: self.forward.upstream.clone(),
            host: self.forward.host.cloned(),
            tries: self.forward.tries.clone(),
            timeout: self.timeout,
        };
        refresh::renew(self.worker, self.route, background, permit, exchange, wanted);
    }

    /// Nothing is stored that answers a request whose client does not want the upstream to be asked.
    fn not_here(&mut self, exchange: Box<Exchange>) -> ExchangeError {
        self.forward.info.cache = Some(CacheResult::Miss);
        self.forward.slot.put(exchange);
        ExchangeError::NotStored
    }

    /// Notes what the cache did, and puts the exchange into its slot.
    pub(super) fn done(
        &mut self,
        mut exchange: Box<Exchange>,
        response: CallResponse,
        status: Status,
    ) -> CallResponse {
        let scratch = &mut self.worker.scratch.borrow_mut();
        self.route.note(&mut exchange, self.forward.info, status, scratch);
        self.forward.slot.put(exchange);
        response
    }
}
