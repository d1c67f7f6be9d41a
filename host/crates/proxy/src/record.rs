//! Writes the record of each exchange.

use std::time::SystemTime;

use portcullis_http::Scheme;
use portcullis_policy::Exchange;
use portcullis_telemetry::AccessRecord;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::exchange::Matched;
use crate::exchange_info::ExchangeInfo;
use crate::response_writer::Sent;
use crate::slot::Slot;
use crate::worker::Worker;

/// Counts an exchange that is over, and writes its record.
pub(crate) fn record(
    worker: &Worker,
    connection: &Connection,
    exchange: &Exchange,
    slot: &Slot,
    info: &ExchangeInfo,
    matched: Option<&Matched>,
    sent: &Sent,
) {
    let ended = Instant::now();
    let duration = ended.duration_since(info.started);
    let route = matched.map(|matched| &matched.route);
    let side = info.fault_side();
    let (request_bytes, response_bytes) = (slot.request_bytes(), sent.bytes);
    let metrics = route.map_or(&worker.unrouted, |route| &route.metrics);
    metrics.exchange(worker.index, sent.status, duration, request_bytes, response_bytes, side);
    if let Some(result) = info.cache {
        metrics.cache(worker.index, result, response_bytes);
    }
    if let Some(report) = info.encoding {
        metrics.encoding(worker.index, report, response_bytes);
    }
    if let Some(route) = route {
        for (metrics, policy) in route.policy_metrics.iter().zip(&exchange.policies) {
            if !policy.cost.is_nothing() {
                metrics.add(worker.index, &policy.cost);
            }
        }
    }
    let mut log = worker.access_log.borrow_mut();
    if !log.is_enabled() {
        return;
    }
    let request = &exchange.request;
    let costs = || {
        let names = route.into_iter().flat_map(|route| route.chain.names());
        names.zip(&exchange.policies).map(|(name, policy)| (&**name, &policy.cost))
    };
    let policy_cpu = costs().any(|(_, cost)| cost.calls > 0).then(|| costs().map(|(_, cost)| cost.cpu).sum());
    let asked = info.endpoint.is_some();
    let record = AccessRecord {
        ended: ended.into_std(),
        time: SystemTime::now(),
        client: exchange.client.address,
        peer: connection.peer.ip().to_canonical(),
        proxy: connection.proxy.map(|proxy| proxy.ip().to_canonical()),
        listener: &connection.listener().name,
        method: info.raw.as_ref().map_or(&*request.method, |raw| &raw.method),
        scheme: if connection.tls.is_some() { Scheme::Https.as_str() } else { Scheme::Http.as_str() },
        authority: &request.authority,
        path: info.raw.as_ref().map_or(request.path().as_bytes(), |raw| &raw.path),
        version: request.version.as_str(),
        status: sent.status,
        route: route.map(|route| &*route.config.name),
        upstream: exchange.upstreams.get(exchange.upstream).filter(|_| asked).map(|name| &**name),
        endpoint: info.endpoint_address(),
        cache: info.cache,
        encoding: info.encoding,
        attempts: info.attempts,
        request_bytes,
        response_bytes,
        duration,
        upstream_duration: match (info.forwarded, info.answered) {
            (Some(forwarded), Some(answered)) if asked => Some(answered.duration_since(forwarded)),
            _ => None,
        },
        policy_cpu,
        tls: connection.tls.as_ref().map(|tls| tls.version.name()),
        trace_id: &exchange.trace_id,
        user_agent: request.fields.get(b"user-agent"),
        error: info.error.as_deref(),
        error_side: side,
    };
    log.record(&record, exchange.attributes.iter(), costs());
}
