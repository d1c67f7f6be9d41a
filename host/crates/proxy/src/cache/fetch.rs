//! Asks the upstream for a response, for a client or in the background, and stores it if it may be stored.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use portcullis_cache::rules::{
    Combined, Cookies, Exchanged, Request, StoredHead, combine, depends_on_client, is_failure,
    remove_conditions, storable, tags,
};
use portcullis_cache::store::{NewEntry, Refused, Ticket, Tier};
use portcullis_http::{RequestHead, ResponseHead};
use portcullis_policy::{Exchange, Permitted};
use portcullis_telemetry::CacheResult;

use super::fill::{self, Filling, Others};
use super::flight::{Lead, Outcome, Passing};
use super::look::Wanted;
use super::status::Status;
use super::write::{answer, full};
use super::{CachedRoute, Kept, now, stale_since};
use crate::body::Body;
use crate::call::CallResponse;
use crate::downstream::Downstream;
use crate::error::{ExchangeError, SharedFailure};
use crate::target::forward::Forward;
use crate::worker::Worker;

/// One request to the upstream on behalf of the cache.
pub(super) struct Fetch<'f, 'a> {
    pub(super) route: &'f CachedRoute,
    pub(super) worker: &'f Rc<Worker>,
    pub(super) forward: &'f mut Forward<'a>,
    pub(super) permit: Permitted<()>,
    pub(super) lead: Option<Lead<Kept>>,
    pub(super) wanted: Wanted,
    /// The body of the request, which is empty.
    pub(super) body: Body,
}

/// What a request is answered with. The head is in the exchange.
pub(super) type Answered = (CallResponse, Status);

/// What came of asking.
pub(super) enum Fetched {
    Answered(Answered),
    /// The response is too large to be stored, and the client wants a part of it: that is to be asked for.
    InPart(Wanted),
}

/// What came of one attempt.
enum Attempt {
    Done(CallResponse, Status),
    /// What was stored is of no use: ask for all of it.
    Again,
    /// It is too large to be stored, and the client wants a part of it.
    InPart,
}

impl Fetch<'_, '_> {
    /// Asks until there is an answer. The exchange is in the slot afterwards, with the fields of the request as they
    /// were.
    pub(super) async fn run(mut self, mut exchange: Box<Exchange>) -> Result<Fetched, ExchangeError> {
        loop {
            let asked = self.ask(exchange).await;
            exchange = self.forward.slot.taken().await;
            let attempt = match asked {
                Ok((response, times, ticket)) => {
                    self.forward.upstream.shared.clean_response(&mut exchange.response);
                    self.take(&mut exchange, response, times, ticket).await
                }
                Err(error) => match self.failed(&mut exchange, &error) {
                    Some((response, status)) => Attempt::Done(response, status),
                    None => {
                        self.forward.slot.put(exchange);
                        return Err(error);
                    }
                },
            };
            match attempt {
                Attempt::Done(response, status) => {
                    self.forward.slot.put(exchange);
                    return Ok(Fetched::Answered((response, status)));
                }
                Attempt::Again => {}
                Attempt::InPart => {
                    self.forward.slot.put(exchange);
                    return Ok(Fetched::InPart(self.wanted));
                }
            }
        }
    }

    /// Sends the request: without the client's conditions, with its range only if a part is wanted, and with the
    /// conditions of what is stored.
    async fn ask(
        &mut self,
        mut exchange: Box<Exchange>,
    ) -> Result<(CallResponse, Exchanged, Ticket), ExchangeError> {
        let fields = &mut exchange.request.fields;
        let client = fields.clone();
        match &self.wanted.found {
            Some(found) => found.head().write_conditions(fields),
            None => remove_conditions(fields),
        }
        if self.wanted.in_part {
            for name in [&b"range"[..], b"if-range"] {
                for value in client.get_all(name) {
                    // They were there before, so there is room.
                    let _full = fields.append_checked(name, value).is_err();
                }
            }
        }
        let (ticket, sent) = (self.route.open.store.ticket(), now());
        let permitted = self.permit.again().map(|()| exchange);
        let body = std::mem::take(&mut self.body);
        let outcome = {
            let Forward {
                upstream,
                host,
                tries,
                slot,
                downstream,
                timer,
                info,
                client_idle,
                deadline,
                connection,
                ..
            } = &mut *self.forward;
            let mut patient = Patient { client: &mut **downstream, lead: self.lead.as_ref() };
            let mut forward = Forward {
                upstream,
                host: *host,
                tries,
                slot,
                downstream: &mut patient,
                timer,
                info,
                client_idle: *client_idle,
                deadline: *deadline,
                peer: None,
                status: 0,
                connection: *connection,
            };
            forward.run(permitted, body).await
        };
        let mut exchange = self.forward.slot.taken().await;
        exchange.request.fields = client;
        self.forward.slot.put(exchange);
        Ok((outcome?, Exchanged { sent, received: now() }, ticket))
    }

    /// Decides what becomes of a response, whose head is in the exchange.
    async fn take(
        &mut self,
        exchange: &mut Exchange,
        response: CallResponse,
        times: Exchanged,
        ticket: Ticket,
    ) -> Attempt {
        let status = exchange.response.status;
        if response.tunnel.is_some() {
            return self.pass(exchange, response, None);
        }
        if let Some(found) = self.wanted.found.clone() {
            if status == 304 {
                return self.renewed(exchange, &found, times, ticket);
            }
            if is_failure(status)
                && let Some((response, status)) = self.stale(exchange, &found, Some(status))
            {
                self.end(Outcome::Failed(None));
                return Attempt::Done(response, status);
            }
        }
        let Exchange { request, response: head, .. } = exchange;
        let request = Request::read(&self.route.rules, request, false);
        // The upstream has seen no range, unless a part was asked for; one that sends a part all the same is believed.
        let request = if self.wanted.in_part || status == 206 { request } else { request.for_the_whole() };
        let length = response.body.length().or(response.declared);
        match storable(&self.route.rules, &request, head, length, times) {
            Ok(stored) => self.store(exchange, response, stored, ticket).await,
            Err(why) => self.pass(exchange, response, Some(why.as_str())),
        }
    }

    /// The upstream has said that what is stored is still right.
    fn renewed(
        &mut self,
        exchange: &mut Exchange,
        found: &Kept,
        times: Exchanged,
        ticket: Ticket,
    ) -> Attempt {
        let store = &self.route.open.store;
        let Exchange { request, response, cache: wishes, .. } = exchange;
        let request = Request::read(&self.route.rules, request, false);
        let Some(freshened) = found.head().freshen(&self.route.rules, &request, response, true, times) else {
            // It means another one.
            store.forget(found);
            self.wanted.found = None;
            return Attempt::Again;
        };
        // They are for this client, and not stored.
        let cookies: Vec<Vec<u8>> = match self.route.rules.cookies {
            Cookies::Skip => response.fields.get_all(b"set-cookie").map(<[u8]>::to_vec).collect(),
            Cookies::Rfc => Vec::new(),
        };
        let mut status = Status::forwarded(self.wanted.why, CacheResult::Revalidated);
        status.answered = Some(304);
        let kept = match freshened.keep {
            Ok(()) => self.route.update(ticket, found, freshened.head.clone(), Some(wishes)),
            Err(why) => {
                status.detail = Some(why.as_str());
                store.forget(found);
                None
            }
        };
        status.stored = kept.is_some();
        self.renew_others(&request, response, found, times, ticket);
        let now = now();
        status.ttl = Some(freshened.head.ttl(now));
        let answered = answer(&freshened.head, found.body(), &request, response, true, now);
        for cookie in cookies {
            // A full section goes without.
            let _full = response.fields.append_checked(b"set-cookie", &cookie).is_err();
        }
        match kept {
            Some(kept) if kept.head().is_fresh(now) => self.end(Outcome::Read(kept)),
            // It was purged or replaced meanwhile: one of those that wait gets the next response for the others.
            None if status.detail.is_none() => self.lead = None,
            _ => self.end_alone(Passing::NotStored),
        }
        match answered {
            Some(response) => Attempt::Done(response, status),
            None => {
                self.wanted.found = None;
                Attempt::Again
            }
        }
    }

    /// Updates what else is stored of the URL and is named by a 304 (RFC 9111, 4.3.4): other variants with the same
    /// content.
    fn renew_others(
        &self,
        request: &Request<'_>,
        not_modified: &ResponseHead,
        found: &Kept,
        times: Exchanged,
        ticket: Ticket,
    ) {
        let store = &self.route.open.store;
        let Some(variants) = store.find(self.wanted.key.bytes()) else { return };
        for other in variants.entries().iter().filter(|other| other.variant() != found.variant()) {
            let named = other.head().freshen(&self.route.rules, request, not_modified, false, times);
            let is_kept = named.is_none_or(|named| {
                named.keep.is_ok() && self.route.update(ticket, other, named.head, None).is_some()
            });
            if !is_kept {
                store.forget(other);
            }
        }
    }

    /// Stores a response while it is sent to the client and to those that wait for it.
    async fn store(
        &mut self,
        exchange: &mut Exchange,
        response: CallResponse,
        stored: StoredHead,
        ticket: Ticket,
    ) -> Attempt {
        let now = now();
        let request = Request::read(&self.route.rules, &exchange.request, false);
        let has_first_byte = request.first_byte().is_some();
        if !stored.suits(&request) {
            // It is another part than the client has asked for, which gets it as it is.
            return self.pass(exchange, response, Some("range"));
        }
        let mut stored = stored;
        exchange.cache.tags().for_each(|tag| stored.add_tag(tag.as_bytes()));
        let joining = self.join_parts(stored);
        let length = joining.bytes().or(response.body.length());
        let Joining { head, before, others } = joining;
        let (variant, is_fresh) = (head.variant(), head.is_fresh(now));
        let tags: Vec<Vec<u8>> =
            tags(&exchange.response.fields).chain(head.added_tags()).map(<[u8]>::to_vec).collect();
        let tags: Vec<&[u8]> = tags.iter().map(Vec::as_slice).collect();
        let is_part = others.part_bytes.is_some();
        let new = NewEntry {
            key: self.wanted.key.clone(),
            variant: &variant,
            head,
            tags: &tags,
            length,
            object_bytes_max: match is_part {
                true => self.part_bytes_max(),
                false => self.route.object_bytes_max(),
            },
            only_in_memory: is_part,
        };
        let mut fill = match self.route.open.store.begin(ticket, new) {
            Ok(fill) => fill,
            Err(Refused::TooLarge) => {
                if let Some(found) = self.wanted.found.take() {
                    // It is not what the upstream has there any more.
                    self.route.open.store.forget(&found);
                }
                self.end_alone(Passing::TooLarge);
                if has_first_byte && !self.wanted.in_part {
                    return Attempt::InPart;
                }
                return self.pass(exchange, response, Some("too-large"));
            }
            Err(Refused::Purged | Refused::NoRoom) => {
                // Nothing is known of the next response: one of those that wait gets that for the others.
                self.lead = None;
                return self.pass(exchange, response, Some("refused"));
            }
            Err(_) => return self.pass(exchange, response, Some("refused")),
        };
        let entry = fill.entry().clone();
        let mut status = Status::forwarded(self.wanted.why, CacheResult::Miss);
        (status.answered, status.stored) = (Some(exchange.response.status), true);
        status.ttl = Some(entry.head().ttl(now));
        // Readers begin before the first byte, so that none is gone if it turns out that there is no room for all.
        let whole = full(entry.body());
        let Exchange { request: head, response: answered, .. } = exchange;
        let request = Request::read(&self.route.rules, head, false);
        let early = match wants_less(head) {
            true => answer(entry.head(), entry.body(), &request, answered, true, now),
            false => None,
        };
        if let Some((part, bytes)) = before
            && !fill.append_part(part.body(), bytes)
        {
            // Only parts that are whole in memory are joined.
            return Attempt::Again;
        }
        match is_fresh {
            true => self.end(Outcome::Read(entry.clone())),
            false => self.end_alone(Passing::NotStored),
        }
        let filling = Filling {
            body: response.body,
            fill,
            others,
            idle: self.forward.upstream.shared.timeouts().idle,
            deadline: self.forward.deadline,
            disk_timeout: self.route.open.config.disk.as_ref().map_or(Duration::ZERO, |disk| disk.timeout),
            in_flight: self.forward.info.in_flight.take(),
        };
        fill::start(self.worker, filling).await;
        // All of a small body is there by now, and its length is known.
        let late = match early.is_some() && entry.body().is_complete() {
            true => answer(entry.head(), entry.body(), &request, answered, true, now),
            false => None,
        };
        // A client that wants all of it gets the head as it came.
        match late.or(early).or_else(|| full(entry.body())).or(whole) {
            Some(response) => Attempt::Done(response, status),
            // It was given up before its first byte.
            None => Attempt::Again,
        }
    }

    /// Joins a part with those that are stored of the same content (RFC 9111, 3.4), and finds out what it replaces.
    fn join_parts(&self, stored: StoredHead) -> Joining {
        let store = &self.route.open.store;
        let variants = store.find(self.wanted.key.bytes());
        let known = variants.as_ref().map_or(&[][..], |variants| variants.entries());
        let mut others =
            Others { store: store.clone(), part_bytes: None, behind: None, replaced: Vec::new() };
        let (mut head, mut before) = (stored, None);
        if let Some(span) = head.span() {
            others.part_bytes = Some(span.end - span.start);
            let is_there = |entry: &&Kept| entry.body().is_complete() && entry.tier() == Tier::Memory;
            let parts: Vec<&Kept> = known.iter().filter(is_there).collect();
            let heads = parts.iter().map(|entry| entry.head());
            if let Some(Combined { head: joined, before: first, behind }) =
                combine(heads, &head, self.part_bytes_max())
            {
                head = joined;
                before = first.map(|piece| (parts[piece.of].clone(), piece.bytes));
                others.behind = behind.map(|piece| (parts[piece.of].clone(), piece.bytes));
                // A purge of any of their tags is to meet what they become.
                for (part, _) in before.iter().chain(&others.behind) {
                    part.head().added_tags().for_each(|tag| head.add_tag(tag));
                }
            }
        }
        others.replaced = known.iter().filter(|old| head.replaces(old.head())).cloned().collect();
        Joining { head, before, others }
    }

    /// How many bytes of a response may be stored as a part. Parts are in memory alone.
    fn part_bytes_max(&self) -> u64 {
        self.route.open.config.object_bytes_max.min(self.route.object_bytes_max())
    }

    /// Passes a response on that is not stored.
    fn pass(&mut self, exchange: &Exchange, response: CallResponse, why: Option<&'static str>) -> Attempt {
        let answered = exchange.response.status;
        let is_of_all = !is_failure(answered) && !depends_on_client(answered);
        if let Some(found) = self.wanted.found.take().filter(|_| is_of_all) {
            // It is not what the upstream has there any more. An error of one client says nothing of that.
            self.route.open.store.forget(&found);
        }
        self.end_alone(Passing::NotStored);
        let mut status = Status::forwarded(self.wanted.why, CacheResult::Miss);
        (status.answered, status.detail) = (Some(answered), why);
        Attempt::Done(response, status)
    }

    /// The upstream could not be asked. Returns what is stored, if that may be used then.
    fn failed(&mut self, exchange: &mut Exchange, error: &ExchangeError) -> Option<Answered> {
        if !error.is_of_upstream() {
            // Another request may fare better.
            self.lead = None;
            return None;
        }
        self.end(Outcome::Failed(Some(Arc::new(SharedFailure::of(error)))));
        let found = self.wanted.found.clone()?;
        self.stale(exchange, &found, None)
    }

    fn stale(&self, exchange: &mut Exchange, found: &Kept, answered: Option<u16>) -> Option<Answered> {
        stale(self.route, exchange, found).map(|(response, status)| (response, Status { answered, ..status }))
    }

    fn end(&mut self, outcome: Outcome<Kept>) {
        if let Some(lead) = self.lead.take() {
            lead.end(outcome);
        }
    }

    /// Lets those that wait ask for themselves.
    fn end_alone(&mut self, why: Passing) {
        if let Some(lead) = self.lead.take() {
            lead.pass(why, self.route.config.collapse.pass);
        }
    }
}

/// Answers with what is stored, although it is stale, because the upstream has failed. `None` if that is not allowed.
pub(super) fn stale(route: &CachedRoute, exchange: &mut Exchange, found: &Kept) -> Option<Answered> {
    if !route.open.store.is_current(found) {
        // It was purged while the upstream was asked.
        return None;
    }
    let Exchange { request, response, .. } = exchange;
    let (request, now) = (Request::read(&route.rules, request, false), now());
    if !found.head().usable_on_error(&request, now, stale_since(found)) {
        return None;
    }
    let answered = answer(found.head(), found.body(), &request, response, false, now)?;
    Some((answered, Status::stale_on_error(found.head().ttl(now))))
}

/// A response on its way into the store, with the parts that it is joined with.
struct Joining {
    head: StoredHead,
    /// What a stored part has before it.
    before: Option<(Kept, Range<u64>)>,
    others: Others,
}

impl Joining {
    /// Returns how many bytes a part and those that it is joined with have together; `None` if it is no part.
    fn bytes(&self) -> Option<u64> {
        let joined = [&self.before, &self.others.behind].into_iter().flatten();
        let joined: u64 = joined.map(|(_, bytes)| bytes.end - bytes.start).sum();
        self.others.part_bytes.map(|bytes| bytes + joined)
    }
}

/// Whether a request may be answered with less than a whole response.
pub(super) fn wants_less(request: &RequestHead) -> bool {
    let names = ["range", "if-none-match", "if-modified-since"];
    names.iter().any(|name| request.fields.get(name.as_bytes()).is_some())
}

/// The client of a request whose response others wait for. If it goes away, they still get the response.
struct Patient<'p> {
    client: &'p mut dyn Downstream,
    lead: Option<&'p Lead<Kept>>,
}

impl Downstream for Patient<'_> {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.client.poll_gone(cx) {
            Poll::Ready(()) if self.lead.is_some_and(|lead| lead.waiting() > 0) => Poll::Pending,
            polled => polled,
        }
    }

    fn send_informational(&mut self, head: &ResponseHead) {
        self.client.send_informational(head);
    }
}
