//! Answers from the disk of a cache, if there is nothing in memory.
//!
//! The request that gets the response for the others looks there, so that a burst reads the disk once. A disk that does
//! not answer in time costs a request its `timeout` and no more: it goes on as if nothing were stored.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use portcullis_cache::rules::{Fwd, Request, StoredHead, select};
use portcullis_cache::store::Lookup;
use portcullis_policy::{Exchange, Permitted};
use tokio::time::Instant;

use super::Kept;
use super::flight::{Lead, Outcome};
use super::look::{Judged, Wanted};
use super::now;
use super::serve::{FromDisk, Serve};
use crate::error::ExchangeError;
use crate::target::forward::Forward;

impl Serve<'_> {
    /// Looks on the disk for what is `wanted`, unless something of it is in memory, and answers with it if it may be
    /// used. Those that wait for the request which has the `lead` get it as well. On an error the exchange is in the
    /// slot.
    pub(super) async fn read_disk(
        &mut self,
        permit: &Permitted<()>,
        mut exchange: Box<Exchange>,
        mut wanted: Wanted,
        lead: Option<Lead<Kept>>,
    ) -> Result<FromDisk, ExchangeError> {
        let lookup = match wanted.found {
            None => self.route.open.store.find_on_disk(wanted.key.bytes()),
            Some(_) => None,
        };
        let Some(lookup) = lookup else { return Ok(FromDisk::Ask { exchange, wanted, lead }) };
        let found = match self.found(lookup).await {
            Ok(found) => found,
            Err(error) => {
                self.forward.slot.put(exchange);
                return Err(error);
            }
        };
        let Exchange { request: head, response, .. } = &mut *exchange;
        let (request, now) = (Request::read(&self.route.rules, head, false), now());
        let Some(at) = select(found.iter().map(|entry| entry.head()), &request, now) else {
            if !found.is_empty() {
                wanted.why = Fwd::VaryMiss;
            }
            return Ok(FromDisk::Ask { exchange, wanted, lead });
        };
        let entry = &found[at];
        match self.route.judge(entry, &request, response, now) {
            Judged::Answer { response, status, renew } => {
                self.route.open.store.promote(entry);
                if let Some(lead) = lead {
                    lead.end(Outcome::Read(entry.clone()));
                }
                if renew {
                    let wanted =
                        Wanted { found: Some(entry.clone()), why: Fwd::Stale, in_part: false, ..wanted };
                    self.renew(permit, &exchange, wanted);
                }
                Ok(FromDisk::Answered(self.done(exchange, response, status)))
            }
            Judged::Validate => {
                let wanted = Wanted { found: Some(entry.clone()), why: Fwd::Stale, in_part: false, ..wanted };
                Ok(FromDisk::Ask { exchange, wanted, lead })
            }
        }
    }

    /// Waits for the disk, for as long as the operator allows. What it has not found by then is not there.
    async fn found(&mut self, lookup: Lookup<StoredHead>) -> Result<Vec<Kept>, ExchangeError> {
        let Some(timeout) = self.route.open.config.disk.as_ref().map(|disk| disk.timeout) else {
            return Ok(Vec::new());
        };
        let until = Instant::now() + timeout;
        let Forward { downstream, timer, deadline, .. } = &mut self.forward;
        let bounded = deadline.map_or(until, |deadline| deadline.min(until));
        let mut lookup = pin!(lookup);
        let found = poll_fn(|cx| {
            if let Poll::Ready(found) = lookup.as_mut().poll(cx) {
                return Poll::Ready(Ok(Some(found)));
            }
            if timer.poll(cx, bounded).is_ready() {
                return Poll::Ready(if bounded < until { Err(ExchangeError::Timeout) } else { Ok(None) });
            }
            downstream.poll_gone(cx).map(|()| Err(ExchangeError::ClientGone))
        });
        let found = found.await?;
        if found.is_none() {
            self.route.open.store.disk_is_slow(timeout);
        }
        Ok(found.unwrap_or_default())
    }
}
