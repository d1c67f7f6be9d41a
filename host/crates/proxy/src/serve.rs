//! One exchange from its request to its record, whatever protocol the client speaks.

use std::rc::Rc;

use portcullis_policy::{Exchange, Outcome};
use tokio::time::Instant;

use crate::body::Body;
use crate::compress::Encoding;
use crate::connection::Connection;
use crate::downstream::ResponseSink;
use crate::error::{Malformed, StreamError};
use crate::exchange::{Answer, ExchangeDriver, Matched};
use crate::exchange_info::{ExchangeInfo, RawRequest};
use crate::record::record;
use crate::respond;
use crate::response_writer::{ResponseWriter, Sent};
use crate::slot::Slot;
use crate::timeouts::Timeouts;
use crate::timer::Timer;
use crate::tunnel::{self, TunnelLimits};
use crate::tunnel_end::TunnelEnd;
use crate::worker::Worker;

/// The things that serving an exchange needs.
pub(crate) struct Serving<'a> {
    pub(crate) worker: &'a Rc<Worker>,
    pub(crate) connection: &'a Connection,
    pub(crate) slot: &'a Rc<Slot>,
    pub(crate) timer: &'a mut Timer,
}

/// An exchange that becomes a tunnel. The client has not been answered yet.
#[derive(Debug)]
pub(crate) struct Upgraded {
    upstream: Box<dyn TunnelEnd>,
    info: ExchangeInfo,
    route: Option<Matched>,
    /// When the time that the route allows has passed.
    deadline: Option<Instant>,
}

impl Serving<'_> {
    /// Serves a request and writes its record, or returns the upgrade that its upstream has accepted. If the future is
    /// dropped, the client can tell that the response is incomplete, and there is no record.
    pub(crate) async fn run(
        &mut self,
        mut info: ExchangeInfo,
        exchange: Box<Exchange>,
        body: Body,
        client: &mut dyn ResponseSink,
    ) -> Option<Box<Upgraded>> {
        let driver = ExchangeDriver {
            worker: self.worker,
            connection: self.connection,
            slot: self.slot,
            downstream: &mut *client,
            timer: self.timer,
            info: &mut info,
        };
        let Answer { body, tunnel, route, declared, timeouts, is_public, client_gone } =
            driver.run(exchange, body).await;
        if let Some(upstream) = tunnel {
            return Some(Box::new(Upgraded { upstream, info, route, deadline: timeouts.deadline }));
        }
        let sent = if client_gone {
            client.skip();
            // The status is for the record.
            Sent { status: self.status().await, bytes: 0 }
        } else {
            let encoding = encoding(self.worker, &info, route.as_ref(), is_public);
            let mut writer = self.writer(client, timeouts);
            writer.encoding = encoding.as_ref();
            let (sent, result) = writer.write(body, declared).await;
            info.encoding = encoding.as_ref().and_then(Encoding::report);
            if let Err(error) = result {
                info.fail(&error);
            }
            sent
        };
        self.finish(&mut info, route.as_ref(), sent).await;
        None
    }

    /// Refuses an invalid request. It has no route, and so no policies.
    pub(crate) async fn refuse(
        &mut self,
        mut exchange: Box<Exchange>,
        raw: Option<RawRequest>,
        status: u16,
        reason: &str,
        client: &mut dyn ResponseSink,
    ) {
        let mut info = ExchangeInfo::start();
        // If nothing arrived, the record must not show the method or path of an earlier request.
        info.raw = Some(raw.unwrap_or_default());
        info.fail(&Malformed(reason));
        self.connection.set_client(&mut exchange);
        self.slot.clear();
        let body = respond::error(&mut exchange.response, status, reason);
        self.worker.add_date(&mut exchange.response.fields);
        self.slot.put(exchange);
        let (sent, result) = self.writer(client, Timeouts::default()).write(Body::Full(body), None).await;
        if let Err(error) = result {
            tracing::debug!(peer = %self.connection.peer, "a refusal was not read: {error}");
        }
        self.finish(&mut info, None, sent).await;
    }

    /// Copies both ways between the upstream and `client`, which was sent `status`; ends the exchange if that failed.
    pub(crate) async fn tunnel(
        &mut self,
        upgraded: Upgraded,
        client: Result<Box<dyn TunnelEnd>, StreamError>,
        status: u16,
    ) {
        let Upgraded { upstream, mut info, route, deadline } = upgraded;
        let sent = match client {
            Ok(client) => {
                let limits =
                    TunnelLimits { idle: self.connection.tunnel_idle(), deadline, worker: self.worker };
                let report = tunnel::run(client, upstream, limits, self.timer).await;
                let received = usize::try_from(report.from_client).unwrap_or(usize::MAX);
                self.slot.count_request_bytes(received);
                if let Some(error) = &report.error {
                    info.fail(error);
                }
                Sent { status, bytes: report.to_client }
            }
            Err(error) => {
                drop(upstream);
                info.fail(&error);
                Sent::default()
            }
        };
        self.finish(&mut info, route.as_ref(), sent).await;
    }

    /// Returns a writer of responses to `client`.
    pub(crate) fn writer<'a>(
        &'a mut self,
        client: &'a mut dyn ResponseSink,
        timeouts: Timeouts,
    ) -> ResponseWriter<'a> {
        ResponseWriter {
            worker: self.worker,
            slot: self.slot,
            timer: self.timer,
            sink: client,
            client_idle: self.connection.timeouts().idle,
            timeouts,
            encoding: None,
        }
    }

    async fn status(&self) -> u16 {
        let exchange = self.slot.taken().await;
        let status = exchange.response.status;
        self.slot.put(exchange);
        status
    }

    /// Ends an exchange: its completed hooks, its record, its metrics. Releases the exchange for reuse.
    pub(crate) async fn finish(&mut self, info: &mut ExchangeInfo, matched: Option<&Matched>, sent: Sent) {
        let (worker, slot) = (self.worker, self.slot);
        info.in_flight = None;
        if worker.is_drain_over() {
            info.attribute_to_drain();
        }
        let mut exchange = slot.taken().await;
        if let Some(Matched { route, .. }) = matched
            && route.chain.has_completed_hook()
        {
            exchange.trailers = slot.take_trailers();
            let outcome = Outcome {
                status: sent.status,
                request_bytes: slot.request_bytes(),
                response_bytes: sent.bytes,
                duration_us: u64::try_from(info.started.elapsed().as_micros()).unwrap_or(u64::MAX),
                upstream: info.endpoint_address().map(str::to_owned),
                error: info.error.clone(),
            };
            exchange = route.chain.completed(exchange, &outcome).await;
        }
        if let Some(recording) = info.recording.take() {
            recording.end(&mut exchange, sent.status);
        }
        record(worker, self.connection, &exchange, slot, info, matched, &sent);
        worker.release_exchange(Some(exchange));
    }
}

/// Returns how the response on `route` is encoded, if it may be.
fn encoding<'a>(
    worker: &'a Worker,
    info: &ExchangeInfo,
    route: Option<&'a Matched>,
    is_public: bool,
) -> Option<Encoding<'a>> {
    let Matched { local, route } = route?;
    let (rules, asked) = (route.config.compress.as_ref()?, info.asked?);
    let encoders_max = local.snapshot.gateway.server.encoders_max;
    Some(Encoding::new(rules, asked, is_public, &worker.encoders, encoders_max))
}
