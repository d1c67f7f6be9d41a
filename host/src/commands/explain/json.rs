//! An explanation as JSON: what scripts read, what comes over the control socket, and what the text is made of.

use portcullis_http::{RequestHead, ResponseHead};
use portcullis_model::{Balance, HashKey, UpstreamProtocol};
use portcullis_policy::recorder::bytes_to_json;
use portcullis_proxy::{
    Ending, EndpointHealth, EndpointView, Explanation, RouteVerdict, TriedRoute, UpstreamView,
};
use serde_json::{Value, json};

use crate::trace::{client_to_json, fields_to_json, hook_to_json, request_to_json};

/// Bytes of a body that are shown.
const BODY_BYTES_MAX: usize = 16 << 10;

/// `mode` is how it was found out: `routes`, `sandbox` or `live`.
pub(crate) fn explanation(explanation: &Explanation, mode: &str) -> Value {
    let route = explanation.routes.iter().find(|tried| tried.verdict == RouteVerdict::Wins);
    json!({
        "mode": mode,
        "listener": explanation.listener.as_deref(),
        "request": explanation.received.as_ref().map(request_to_json),
        "received": received(explanation.parsed.as_ref(), explanation.received.as_ref()),
        "client": client_to_json(&explanation.client),
        "trace-id": explanation.trace_id,
        "routes": explanation.routes.iter().map(tried).collect::<Vec<_>>(),
        "route": route.map(|tried| &*tried.route),
        "policies": explanation.hooks.iter().map(hook_to_json).collect::<Vec<_>>(),
        "notes-left-out": explanation.left_out,
        "ending": ending(&explanation.ending),
    })
}

/// What the gateway made of the client's fields before anybody saw them.
fn received(parsed: Option<&RequestHead>, received: Option<&RequestHead>) -> Value {
    let (Some(parsed), Some(received)) = (parsed, received) else { return Value::Null };
    let only = |these: &RequestHead, those: &RequestHead| -> Vec<Value> {
        let fields = these.fields.iter();
        let gone = fields
            .filter(|(_, name, value)| !those.fields.get_all(name.as_bytes()).any(|line| line == *value));
        gone.map(|(_, name, value)| json!({ "name": name, "value": bytes_to_json(value) })).collect()
    };
    json!({ "dropped": only(parsed, received), "added": only(received, parsed) })
}

fn tried(tried: &TriedRoute) -> Value {
    let mut route = json!({ "route": &*tried.route, "file": &*tried.origin.file, "line": tried.origin.line });
    match &tried.verdict {
        RouteVerdict::Wins => route["verdict"] = json!("wins"),
        RouteVerdict::Behind { takes } => {
            route["verdict"] = json!("behind");
            route["takes"] = json!(takes);
        }
        RouteVerdict::Lost { condition, expected, found } => {
            route["verdict"] = json!("lost");
            route["condition"] = json!(condition);
            route["expected"] = json!(expected);
            route["found"] = json!(found);
        }
    }
    route
}

fn ending(ending: &Ending) -> Value {
    match ending {
        Ending::Refused { status, reason, response: answer } => json!({
            "kind": "refused", "status": status, "reason": reason, "response": answer.as_ref().map(response),
        }),
        Ending::Replied { policy, fault, response: answer } => json!({
            "kind": "replied", "policy": &**policy, "status": answer.0.status, "fault": fault, "response": response(answer),
        }),
        Ending::Answered { by, response: answer } => json!({
            "kind": "answered", "by": by, "status": answer.0.status, "response": response(answer),
        }),
        Ending::Forwarded { request, upstream: to } => {
            json!({ "kind": "forwarded", "request": request_to_json(request), "upstream": upstream(to) })
        }
    }
}

fn response((head, body): &(ResponseHead, bytes::Bytes)) -> Value {
    let shown = body.get(..body.len().min(BODY_BYTES_MAX)).unwrap_or_default();
    // A character that the cut went through is left out.
    let shown = match std::str::from_utf8(shown) {
        Err(error) if error.error_len().is_none() => shown.get(..error.valid_up_to()).unwrap_or_default(),
        _ => shown,
    };
    json!({
        "status": head.status,
        "fields": fields_to_json(&head.fields),
        "body": bytes_to_json(shown),
        "body-bytes": body.len(),
    })
}

fn upstream(view: &UpstreamView) -> Value {
    let UpstreamView { config, endpoints, next } = view;
    let endpoints = endpoints.iter().enumerate().map(|(at, endpoint)| {
        let EndpointView { address, weight, host, health } = endpoint;
        json!({
            "address": &**address,
            "weight": weight,
            "host": host,
            "next": *next == Some(at),
            "health": health.as_ref().map(|health| health_name(*health)),
            "in-flight": health.as_ref().map(|health| health.in_flight),
        })
    });
    json!({
        "name": &*config.name,
        "protocol": match config.protocol {
            UpstreamProtocol::Http1 => "http1",
            UpstreamProtocol::Http2 => "http2",
        },
        "tls": config.tls.is_some(),
        "balance": match &config.balance {
            Balance::RoundRobin => "round-robin".to_owned(),
            Balance::LeastRequests => "least-requests".to_owned(),
            Balance::Hash(HashKey::Client) => "hash of the client's address".to_owned(),
            Balance::Hash(HashKey::Path) => "hash of the path".to_owned(),
            Balance::Hash(HashKey::Field(name)) => format!("hash of `{name}`"),
        },
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

fn health_name(health: EndpointHealth) -> &'static str {
    match health {
        EndpointHealth { ejected: false, .. } => "healthy",
        EndpointHealth { available: true, .. } => "probe-due",
        EndpointHealth { .. } => "left-out",
    }
}
