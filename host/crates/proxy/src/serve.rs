//! One exchange from its request to its record, whatever protocol the client speaks.

use std::rc::Rc;

use portcullis_policy::{Exchange, Outcome};
use tokio::time::Instant;

use crate::body::Body;
use crate::connection::Connection;
use crate::downstream::ResponseSink;
use crate::error::{Malformed, StreamError};
use crate::exchange::{Answer, Drive, Matched};
use crate::pace::Pace;
use crate::record::record;
use crate::respond;
use crate::response_writer::{ResponseWriter, Sent};
use crate::slot::Slot;
use crate::timer::Timer;
use crate::trace::{RawRequest, Trace};
use crate::tunnel::{self, Life};
use crate::tunnel_end::TunnelEnd;
use crate::worker::Worker;

/// What an exchange is served with.
pub(crate) struct Serving<'a> {
    pub(crate) worker: &'a Rc<Worker>,
    pub(crate) connection: &'a Connection,
    pub(crate) slot: &'a Rc<Slot>,
    pub(crate) timer: &'a mut Timer,
}

/// An exchange that becomes a tunnel. The client does not know it yet.
#[derive(Debug)]
pub(crate) struct Upgraded {
    upstream: Box<dyn TunnelEnd>,
    trace: Trace,
    route: Option<Matched>,
    /// When the route's time is over.
    deadline: Option<Instant>,
}

impl Serving<'_> {
    /// Serves a request to its record, or to the upgrade that its upstream has accepted. Dropping the future leaves a
    /// response that the client can tell from a whole one, and no record.
    pub(crate) async fn run(
        &mut self,
        mut trace: Trace,
        exchange: Box<Exchange>,
        body: Body,
        client: &mut dyn ResponseSink,
    ) -> Option<Box<Upgraded>> {
        let drive = Drive {
            worker: self.worker,
            connection: self.connection,
            slot: self.slot,
            downstream: &mut *client,
            timer: self.timer,
            trace: &mut trace,
        };
        let Answer { body, tunnel, route, declared, pace, unread } = drive.run(exchange, body).await;
        if let Some(upstream) = tunnel {
            return Some(Box::new(Upgraded { upstream, trace, route, deadline: pace.deadline }));
        }
        let sent = if unread {
            client.skip();
            // The status is for the record.
            Sent { status: self.status().await, bytes: 0 }
        } else {
            let (sent, result) = self.writer(client, pace).write(body, declared).await;
            if let Err(error) = result {
                trace.fail(&error);
            }
            sent
        };
        self.finish(&mut trace, route.as_ref(), sent).await;
        None
    }

    /// Refuses what is not a valid request. There is no route, and so no policy, that it could belong to.
    pub(crate) async fn refuse(
        &mut self,
        mut exchange: Box<Exchange>,
        raw: Option<RawRequest>,
        status: u16,
        reason: &str,
        client: &mut dyn ResponseSink,
    ) {
        let mut trace = Trace::start();
        // If nothing has come that could be shown, no method or path of an earlier request is either.
        trace.raw = Some(raw.unwrap_or_default());
        trace.fail(&Malformed(reason));
        self.connection.name_client(&mut exchange);
        self.slot.clear();
        let body = respond::error(&mut exchange.response, status, reason);
        self.worker.add_date(&mut exchange.response.fields);
        self.slot.put(exchange);
        let (sent, result) = self.writer(client, Pace::default()).write(Body::Full(body), None).await;
        if let Err(error) = result {
            tracing::debug!(peer = %self.connection.peer, "a refusal was not read: {error}");
        }
        self.finish(&mut trace, None, sent).await;
    }

    /// Copies both ways between the upstream and `client`, which got `status`; or ends the exchange if the client could not be
    /// told.
    pub(crate) async fn tunnel(
        &mut self,
        upgraded: Upgraded,
        client: Result<Box<dyn TunnelEnd>, StreamError>,
        status: u16,
    ) {
        let Upgraded { upstream, mut trace, route, deadline } = upgraded;
        let sent = match client {
            Ok(client) => {
                let life = Life { idle: self.connection.tunnel_idle(), deadline, worker: self.worker };
                let report = tunnel::run(client, upstream, life, self.timer).await;
                let received = usize::try_from(report.from_client).unwrap_or(usize::MAX);
                self.slot.count_request_bytes(received);
                if let Some(error) = &report.error {
                    trace.fail(error);
                }
                Sent { status, bytes: report.to_client }
            }
            Err(error) => {
                drop(upstream);
                trace.fail(&error);
                Sent::default()
            }
        };
        self.finish(&mut trace, route.as_ref(), sent).await;
    }

    /// Returns what writes a response to `client`.
    pub(crate) fn writer<'a>(
        &'a mut self,
        client: &'a mut dyn ResponseSink,
        pace: Pace,
    ) -> ResponseWriter<'a> {
        ResponseWriter {
            worker: self.worker,
            slot: self.slot,
            timer: self.timer,
            sink: client,
            client_idle: self.connection.timeouts().idle,
            pace,
        }
    }

    async fn status(&self) -> u16 {
        let exchange = self.slot.taken().await;
        let status = exchange.response.status;
        self.slot.put(exchange);
        status
    }

    /// Ends an exchange: its completed hooks, its record, its metrics. Releases the exchange for reuse.
    pub(crate) async fn finish(&mut self, trace: &mut Trace, matched: Option<&Matched>, sent: Sent) {
        let (worker, slot) = (self.worker, self.slot);
        trace.in_flight = None;
        if worker.is_cutting_off() {
            trace.cut_off();
        }
        let mut exchange = slot.taken().await;
        if let Some(Matched { route, .. }) = matched
            && route.chain.has_completed_hook()
        {
            let outcome = Outcome {
                status: sent.status,
                request_bytes: slot.request_bytes(),
                response_bytes: sent.bytes,
                duration_us: u64::try_from(trace.started.elapsed().as_micros()).unwrap_or(u64::MAX),
                upstream: trace.endpoint().map(str::to_owned),
                error: trace.error.clone(),
            };
            exchange = route.chain.completed(exchange, &outcome).await;
        }
        if let Some(recording) = trace.recording.take() {
            recording.end(&mut exchange, sent.status);
        }
        record(worker, self.connection, &exchange, slot, trace, matched, &sent);
        worker.give_back_exchange(Some(exchange));
    }
}
