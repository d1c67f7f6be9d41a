//! A recorded exchange as JSON, without what is secret.

use std::time::SystemTime;

use portcullis_model::text::hex;
use portcullis_model::{FailureMode, PolicyConfig};
use portcullis_proxy::Recorded;
use serde_json::{Value, json};

use crate::trace::{Scrubber, client_to_json, hook_to_json, redact, request_to_json, response_to_json};

/// The version of the files.
pub const VERSION: u64 = 1;
/// The member that identifies a record, and has its version.
pub const VERSION_MEMBER: &str = "portcullis-record";
/// Settings beyond this, such as a list of a million addresses, are left out of a record.
const CONFIG_BYTES_MAX: usize = 256 << 10;
/// Returns a record without credentials, but for the fields named in `keep`.
#[must_use]
pub fn recording_to_json(recorded: &Recorded, keep: &[String]) -> Value {
    let gateway = recorded.snapshot.gateway();
    let route = gateway.routes.iter().find(|route| route.name == recorded.route);
    let policies = route.into_iter().flat_map(|route| &route.policies);
    let policies = policies.filter_map(|name| gateway.policies.iter().find(|policy| policy.name == *name));
    // A version that is tried may have taken the exchange.
    let tried =
        |policy: &'_ PolicyConfig| policy.candidate.as_ref().map(|candidate| candidate.version().clone());
    let policies = policies.flat_map(|policy| std::iter::once(policy.clone()).chain(tried(policy)));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut record = json!({
        VERSION_MEMBER: VERSION,
        "gateway": env!("CARGO_PKG_VERSION"),
        "recorded-unix-ms": u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        "generation": recorded.snapshot.generation(),
        "route": &*recorded.route,
        "upstreams": recorded.upstreams.iter().map(|name| &**name).collect::<Vec<_>>(),
        "trace-id": recorded.trace_id,
        "client": client_to_json(&recorded.client),
        "request": request_to_json(&recorded.request),
        "response": recorded.response.as_ref().map(response_to_json),
        "status": recorded.status,
        "policies": policies.map(|config| policy(&config)).collect::<Vec<_>>(),
        "hooks": recorded.hooks.iter().map(hook_to_json).collect::<Vec<_>>(),
        "notes-left-out": recorded.left_out,
    });
    redact(&mut record, Scrubber::of_secrets(&gateway.secrets), keep);
    record
}

fn policy(policy: &PolicyConfig) -> Value {
    let config = (policy.config_json.len() <= CONFIG_BYTES_MAX)
        .then(|| serde_json::from_str::<Value>(&policy.config_json).ok())
        .flatten();
    json!({
        "name": &*policy.name,
        "version": policy.version.name(),
        "isolation": policy.isolation.name(),
        "plugin": policy.plugin.to_string(),
        "digest": format!("sha256:{}", hex(&policy.digest)),
        "config": config,
        "secrets": policy.grants.secrets.iter().map(|name| &**name).collect::<Vec<_>>(),
        "deadline-us": u64::try_from(policy.limits.deadline.as_micros()).unwrap_or(u64::MAX),
        "memory-bytes": policy.limits.memory_bytes,
        "body-bytes": policy.limits.body_bytes,
        "on-error": match policy.on_error {
            FailureMode::Deny => "deny",
            FailureMode::Allow => "allow",
        },
    })
}
