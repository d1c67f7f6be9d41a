//! The notes of a recorder as JSON: the same for an explanation, for a record and for its replay.

pub mod read;
mod redact;
mod scrub;

use std::time::{Duration, SystemTime};

use portcullis_http::{Fields, RequestHead, ResponseHead};
use portcullis_model::FailureMode;
use portcullis_policy::recorder::{
    Decided, Edit, HookRecord, HostCall, Input, Message, Quarantined, bytes_to_json,
};
use portcullis_policy::{Again, BodySplit, ClientInfo, Outcome};
use serde_json::{Value, json};

pub use self::redact::redact;
pub use self::scrub::{Scrubber, secret_mark};

/// A hook that ran.
pub fn hook_to_json(record: &HookRecord) -> Value {
    let mut hook = json!({
        "policy": &*record.policy,
        "version": record.version.name(),
        "at": record.at,
        "hook": record.hook,
        "decision": decision_to_json(&record.decided),
        "edits": record.edits.iter().map(edit_to_json).collect::<Vec<_>>(),
        "calls": record.calls.iter().map(call_to_json).collect::<Vec<_>>(),
        "cpu-us": micros(record.cpu),
    });
    if let Some(quarantine) = &record.quarantine {
        hook["quarantine"] = quarantine_to_json(*quarantine);
    }
    if let Some(trailers) = &record.trailers {
        hook["trailers"] = fields_to_json(trailers);
    }
    match &record.input {
        Input::None => {}
        Input::Piece { chunk, last, begun } => {
            hook["input"] = json!({ "chunk": bytes_to_json(chunk), "last": last, "begun": begun })
        }
        Input::Outcome(outcome) => hook["input"] = outcome_to_json(outcome),
    }
    hook
}

/// Why a hook was passed over.
fn quarantine_to_json(Quarantined { lasted, probe_in }: Quarantined) -> Value {
    let state = if probe_in.is_zero() { "probe-due" } else { "waiting" };
    let seconds = |time: Duration| (time.as_secs_f64() * 1000.0).round() / 1000.0;
    // Unknown if the clock was set back.
    let since = SystemTime::now().checked_sub(lasted).map(portcullis_telemetry::rfc3339);
    json!({ "state": state, "since": since, "lasted-s": seconds(lasted), "next-probe-s": seconds(probe_in) })
}

/// Returns microseconds with one decimal; clocks of CPU time are not more precise.
fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 10.0
}

fn decision_to_json(decided: &Decided) -> Value {
    match decided {
        Decided::Next => json!({ "decision": "next" }),
        Decided::Forward => json!({ "decision": "forward" }),
        Decided::Hold => json!({ "decision": "hold" }),
        Decided::Replace(bytes) => json!({ "decision": "replace", "bytes": bytes_to_json(bytes) }),
        Decided::Split(BodySplit { passed, kept, again }) => {
            let again = match again {
                Again::WithMore => "with-more",
                Again::AtEnd => "at-end",
                Again::Never => "never",
            };
            json!({ "decision": "split", "bytes": bytes_to_json(passed), "kept": kept, "again": again })
        }
        Decided::Reply { status, fields, body } => json!({
            "decision": "reply", "status": status, "fields": fields_to_json(fields), "body": bytes_to_json(body),
        }),
        Decided::Fault { kind, message, mode } => {
            let mode = match mode {
                FailureMode::Deny => "deny",
                FailureMode::Allow => "allow",
            };
            json!({ "decision": "fault", "kind": kind.to_string(), "message": message, "on-error": mode })
        }
    }
}

fn outcome_to_json(outcome: &Outcome) -> Value {
    let Outcome { status, request_bytes, response_bytes, duration_us, upstream, error } = outcome;
    json!({
        "status": status, "request-bytes": request_bytes, "response-bytes": response_bytes,
        "duration-us": duration_us, "upstream": upstream, "error": error,
    })
}

fn edit_to_json(edit: &Edit) -> Value {
    match edit {
        Edit::Method(method) => json!({ "edit": "method", "value": method }),
        Edit::Authority(authority) => json!({ "edit": "authority", "value": authority }),
        Edit::Target(target) => json!({ "edit": "target", "value": target }),
        Edit::Upstream(name) => json!({ "edit": "upstream", "value": &**name }),
        Edit::EndpointKey(key) => json!({ "edit": "endpoint-key", "value": bytes_to_json(key) }),
        Edit::Status(status) => json!({ "edit": "status", "value": status }),
        Edit::Attribute { name, value } => json!({ "edit": "attribute", "name": name, "value": value }),
        Edit::Field { message, name, before, after } => {
            let edit = match message {
                Message::Request => "request-header",
                Message::Response => "response-header",
                Message::Trailers => "trailer",
            };
            let lines = |lines: &[Vec<u8>]| lines.iter().map(|line| bytes_to_json(line)).collect::<Vec<_>>();
            json!({ "edit": edit, "name": name, "before": lines(before), "after": lines(after) })
        }
    }
}

fn call_to_json(call: &HostCall) -> Value {
    json!({ "function": call.function, "arguments": call.arguments, "result": call.result })
}

/// The fields of a head, in order.
pub fn fields_to_json(fields: &Fields) -> Value {
    let field = |(_, name, value): (_, &str, &[u8])| json!({ "name": name, "value": bytes_to_json(value) });
    fields.iter().map(field).collect()
}

/// The head of a request.
pub fn request_to_json(request: &RequestHead) -> Value {
    json!({
        "version": request.version.as_str(),
        "method": request.method,
        "scheme": request.scheme.as_str(),
        "authority": request.authority,
        "target": request.target(),
        "upgrade": request.upgrade,
        "fields": fields_to_json(&request.fields),
    })
}

/// The head of a response.
pub fn response_to_json(response: &ResponseHead) -> Value {
    json!({ "status": response.status, "fields": fields_to_json(&response.fields) })
}

/// Returns the client as JSON.
pub fn client_to_json(client: &ClientInfo) -> Value {
    json!({
        "address": client.address.to_string(),
        "peer": client.peer.to_string(),
        "tls-server-name": client.tls_server_name.as_deref(),
        "certificate": client.certificate.as_deref().map(bytes_to_json),
        "tls": client.tls.as_ref().map(|tls| json!({
            "version": tls.version.name(), "cipher": tls.cipher, "alpn": tls.alpn,
        })),
        "listener": &*client.listener,
    })
}

#[cfg(test)]
mod tests;
