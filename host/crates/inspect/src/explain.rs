//! What would happen to a request, and why, as JSON: scripts read it, the control socket returns it, and the command
//! line makes its text of it.

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_admin::ExplainRequest;
use portcullis_http::{RequestHead, ResponseHead};
use portcullis_model::text::escape;
use portcullis_model::{Balance, Coding, FieldChange, FieldEdit, Gateway, HashKey, Name, UpstreamProtocol};
use portcullis_policy::PolicyFactory;
use portcullis_policy::recorder::{Effects, Recorder, bytes_to_json};
use portcullis_proxy::{
    CacheView, EncodingView, Ending, EndpointHealth, EndpointView, Explainer, Explanation, Foreseen,
    Question, RouteVerdict, Snapshot, TriedRoute, UpstreamView,
};
use serde_json::{Value, json};

use crate::trace::{Scrubber, client_to_json, fields_to_json, hook_to_json, request_to_json};

/// Bytes of a body that are shown.
const BODY_BYTES_MAX: usize = 16 << 10;

/// Bytes of a request head that are accepted. A listener takes less unless it is configured otherwise.
pub const HEAD_BYTES_MAX: usize = 1 << 20;

/// Why a question cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    /// The head is longer than [`HEAD_BYTES_MAX`].
    #[error("`head` has {0} bytes, which is more than any listener takes")]
    Head(usize),
    /// No listener has the name.
    #[error("there is no listener `{}`\n  = help: the listeners are {listeners}", escape(name))]
    Listener {
        /// The name that was asked for.
        name: Name,
        /// The names that there are.
        listeners: String,
    },
}

/// Explains a request by the running generation: its policies see their stores, quotas and metrics as they are and
/// cannot change them, in separate instances; its endpoints are shown with their health. The future is busy as long as
/// the policies run; dropping it ends them.
///
/// # Errors
/// If the question cannot be answered.
pub async fn explain_live(snapshot: &Snapshot, request: ExplainRequest) -> Result<Value, QuestionError> {
    let ExplainRequest { head, tls, server_name, peer, listener } = request;
    if head.len() > HEAD_BYTES_MAX {
        return Err(QuestionError::Head(head.len()));
    }
    let question = Question {
        head: head.into_bytes(),
        tls,
        server_name: server_name.map(|name| Arc::from(name.to_ascii_lowercase())),
        peer,
        listener: listener.map(Name::from),
    };
    let gateway = snapshot.gateway();
    check_listener(gateway, &question)?;
    let explanation = Explainer::live(snapshot).explain(&question, Some(recorder())).await;
    let mut json = explanation_to_json(&explanation, "live");
    json["generation"] = snapshot.generation().into();
    Ok(without_secrets(json, gateway))
}

/// Explains a request by a configuration, without a running gateway. With `policies`, they run in a sandbox of their
/// own; without, only the routes are explained.
pub async fn explain_offline(
    gateway: &Gateway,
    policies: Option<&HashMap<Name, Arc<dyn PolicyFactory>>>,
    question: &Question,
) -> Value {
    let none = HashMap::new();
    let explainer = Explainer::offline(gateway, policies.unwrap_or(&none));
    let explanation = explainer.explain(question, policies.map(|_| recorder())).await;
    let mode = if policies.is_some() { "sandbox" } else { "routes" };
    without_secrets(explanation_to_json(&explanation, mode), gateway)
}

/// Checks that the listener of a question exists.
///
/// # Errors
/// With the names of the listeners, if it does not.
pub fn check_listener(gateway: &Gateway, question: &Question) -> Result<(), QuestionError> {
    let Some(name) = &question.listener else { return Ok(()) };
    if gateway.listeners.iter().any(|listener| listener.name == *name) {
        return Ok(());
    }
    let names: Vec<&str> = gateway.listeners.iter().map(|listener| &*listener.name).collect();
    Err(QuestionError::Listener { name: Name::clone(name), listeners: names.join(", ") })
}

/// Returns a recorder that lets no host call have an effect.
fn recorder() -> Recorder {
    Recorder::new(Effects::None)
}

/// Takes the secrets of the configuration out: a policy may have put one into a field or into an argument.
fn without_secrets(mut json: Value, gateway: &Gateway) -> Value {
    Scrubber::of_secrets(&gateway.secrets).scrub(&mut json);
    json
}

/// Returns an explanation as JSON. `mode` is its basis: `routes`, `sandbox` or `live`.
fn explanation_to_json(explanation: &Explanation, mode: &str) -> Value {
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
        "encoding": explanation.encoding.as_ref().map(encoding),
        "ending": ending(&explanation.ending),
    })
}

/// The gateway's changes of the client's fields before any policy saw them.
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
        Ending::Answered { by, response: answer, body_bytes } => {
            let mut response = response(answer);
            response["body-bytes"] = json!(body_bytes);
            json!({ "kind": "answered", "by": by, "status": answer.0.status, "response": response })
        }
        Ending::Forwarded { request, body_policies, cache, upstream: to, response_edits } => json!({
            "kind": "forwarded",
            "request": request_to_json(request),
            "body-policies": body_policies.iter().map(|name| &**name).collect::<Vec<_>>(),
            "cache": cache.as_deref().map(cache_to_json),
            "upstream": upstream(to),
            "response-edits": response_edits.fields.iter().map(field_edit).collect::<Vec<_>>(),
        }),
    }
}

fn encoding(view: &EncodingView) -> Value {
    json!({ "coding": view.coding.map(Coding::name), "says": view.says })
}

fn field_edit(edit: &FieldEdit<String>) -> Value {
    match &edit.change {
        FieldChange::Remove => json!({ "edit": "remove", "name": edit.name }),
        FieldChange::Set(value) => json!({ "edit": "set", "name": edit.name, "value": value }),
        FieldChange::Add(value) => json!({ "edit": "add", "name": edit.name, "value": value }),
    }
}

fn cache_to_json(view: &CacheView) -> Value {
    let CacheView { store, says, url, key, tags, now } = view;
    let now = now.as_ref().map(|now| {
        let Foreseen { result, status, why } = now;
        json!({ "result": result, "status": status, "why": why })
    });
    json!({ "store": &**store, "says": says, "url": url, "key": key, "tags": tags, "now": now })
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
    let UpstreamView { config, tries, endpoints, by_policy, next } = view;
    let endpoints = endpoints.iter().enumerate().map(|(at, endpoint)| {
        let EndpointView { address, weight, priority, host, health } = endpoint;
        json!({
            "address": &**address,
            "weight": weight,
            "priority": priority,
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
            _ if *by_policy => "the key that a policy has set".to_owned(),
            Balance::RoundRobin => "round-robin".to_owned(),
            Balance::LeastRequests => "least-requests".to_owned(),
            Balance::PeakEwma => "peak-ewma".to_owned(),
            Balance::Random => "random".to_owned(),
            Balance::Hash { key, load_max } => {
                let key = match key {
                    HashKey::Client => "the client's address".to_owned(),
                    HashKey::Path => "the path".to_owned(),
                    HashKey::Field(name) => format!("`{name}`"),
                    HashKey::Cookie(name) => format!("cookie `{name}`"),
                };
                match load_max {
                    Some(load_max) => format!("hash of {key}, with loads up to {load_max}"),
                    None => format!("hash of {key}"),
                }
            }
        },
        "attempts": tries.attempts,
        "retry-on": tries.retry.as_ref().map(|retry| {
            let words = [(retry.on_reset, "reset"), (retry.on_timeout, "timeout")];
            let words = words.into_iter().filter(|(is_on, _)| *is_on).map(|(_, word)| word.to_owned());
            words.chain(retry.on_statuses.iter().map(u16::to_string)).collect::<Vec<_>>()
        }),
        "limits": (!config.limits.is_unbounded()).then(|| json!({
            "requests": config.limits.requests_max,
            "endpoint-requests": config.limits.endpoint_requests_max,
            "waiting": config.limits.waiting_max,
        })),
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

fn health_name(health: EndpointHealth) -> &'static str {
    match health {
        EndpointHealth { left_out: false, .. } => "healthy",
        EndpointHealth { available: true, .. } => "probe-due",
        EndpointHealth { .. } => "left-out",
    }
}
