//! Renews a stale response in the background, after a client was answered with it.
//!
//! What is asked for is the stored response and not what that client wanted: of its request there is the URL, what the
//! key holds and what the response varies by, and nothing else. Policies do not run for it: they have permitted the
//! request that was answered, and what they have set is part of the key. What they have said to the cache of that
//! request holds for this one.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use portcullis_http::{FieldError, ResponseHead};
use portcullis_model::{HostHeader, Tries};
use portcullis_policy::{Exchange, Permitted};
use tokio::time::Instant;

use super::fetch::Fetch;
use super::flight::Joined;
use super::look::Wanted;
use super::{CachedRoute, Kept};
use crate::body::Body;
use crate::downstream::Downstream;
use crate::exchange_info::ExchangeInfo;
use crate::slot::Slot;
use crate::target::forward::Forward;
use crate::timer::Timer;
use crate::upstream::LocalUpstream;
use crate::worker::Worker;

/// Responses that one worker renews at once. Further ones stay stale for a moment longer.
const AT_ONCE_MAX: usize = 1000;

/// What renewing a response in the background needs.
#[derive(Debug, Clone)]
pub(crate) struct Background {
    pub(crate) upstream: Rc<LocalUpstream>,
    pub(crate) host: Option<HostHeader>,
    pub(crate) tries: Tries,
    /// How long it may take as a whole.
    pub(crate) timeout: Option<Duration>,
}

/// Starts to renew what is stored, unless that is under way. `exchange` is the one that was answered.
pub(crate) fn renew(
    worker: &Rc<Worker>,
    route: &Arc<CachedRoute>,
    background: Background,
    permit: &Permitted<()>,
    exchange: &Exchange,
    wanted: Wanted,
) {
    if worker.fills().len() >= AT_ONCE_MAX {
        return;
    }
    let joined = route.open.flights.join(&wanted.flight, &route.config.collapse, false);
    let (Joined::Lead(lead), Some(found)) = (joined, &wanted.found) else { return };
    let mut asking = worker.take_exchange();
    if asked_for(route, exchange, found, &mut asking).is_err() {
        worker.release_exchange(Some(asking));
        return;
    }
    let (worker, route) = (worker.clone(), route.clone());
    let permit = permit.again();
    worker.clone().fills().spawn_local(async move {
        let (slot, mut timer, mut info) = (Rc::new(Slot::default()), Timer::default(), ExchangeInfo::start());
        let deadline = background.timeout.map(|timeout| Instant::now() + timeout);
        let mut forward = Forward {
            upstream: &background.upstream,
            host: background.host.as_ref(),
            tries: &background.tries,
            slot: &slot,
            downstream: &mut NoClient,
            timer: &mut timer,
            info: &mut info,
            client_idle: Duration::ZERO,
            deadline,
            peer: None,
            status: 0,
            connection: None,
        };
        let fetch = Fetch {
            route: &route,
            worker: &worker,
            forward: &mut forward,
            permit,
            lead: Some(lead),
            wanted,
            body: Body::Empty,
        };
        if let Err(error) = fetch.run(asking).await {
            tracing::debug!(%error, "a stale response was not renewed");
        }
        worker.release_exchange(slot.take());
    });
}

/// Makes `asking` a request for the response that is stored.
fn asked_for(
    route: &CachedRoute,
    exchange: &Exchange,
    found: &Kept,
    asking: &mut Exchange,
) -> Result<(), FieldError> {
    let (from, to) = (&exchange.request, &mut asking.request);
    to.method.push_str("GET");
    to.scheme = from.scheme;
    to.authority.push_str(&from.authority);
    to.set_target(from.path(), from.query());
    to.path_rules = from.path_rules;
    route.key.copy_fields(from, &mut to.fields)?;
    for line in found.head().fields().get_all(b"vary") {
        for name in line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if to.fields.get(name).is_none() {
                from.fields.get_all(name).try_for_each(|value| to.fields.append_checked(name, value))?;
            }
        }
    }
    asking.cache.clone_from(&exchange.cache);
    asking.route.clone_from(&exchange.route);
    asking.upstreams.clone_from(&exchange.upstreams);
    asking.upstream = exchange.upstream;
    Ok(())
}

/// No client waits.
struct NoClient;

impl Downstream for NoClient {
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn send_informational(&mut self, _: &ResponseHead) {}
}
