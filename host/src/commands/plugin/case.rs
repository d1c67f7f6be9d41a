//! `portcullis plugin case`: a test case made of a record, for `portcullis plugin test`.
//!
//! The case is about one policy of the record: it is sent what that policy met, after those before it, and what it did
//! is what is expected.

use std::process::ExitCode;

use anyhow::{Context, bail};
use portcullis_http::{RequestHead, ResponseHead};
use portcullis_inspect::trace::{fields_to_json, read};
use portcullis_model::text::escape as shown;
use portcullis_policy::recorder::{Edit, Message};
use serde_json::{Map, Value};

use crate::cli::CaseArguments;
use crate::commands::explain::{arguments, edited, value};
use crate::commands::replay::{self, list};
use crate::output::print;

/// Prints the case.
///
/// # Errors
/// If the record has no such policy, or is not one.
pub(super) fn run(arguments: &CaseArguments) -> anyhow::Result<ExitCode> {
    let record = replay::open(&arguments.record)?;
    print(&case(&record, arguments.policy.as_deref())?)
}

/// The test file that a record is about.
fn case(record: &Value, policy: Option<&str>) -> anyhow::Result<String> {
    let name = policy_name(record, policy)?;
    let met = Met::of(record, name)?;
    let settings = list(&record["policies"]).iter().find(|policy| policy["name"] == name);
    let settings = settings.with_context(|| format!("the record has no policy `{}`", shown(name)))?;
    let mut text = String::from("# Made of a record by `portcullis plugin case`.\n");
    for removed in list(&record["removed"]).iter().filter_map(Value::as_str) {
        let removed = shown(removed).into_owned();
        text.push_str(&format!(
            "# The record does not have {removed}: put a value in the place of its mark.\n"
        ));
    }
    line(&mut text, "plugin", settings["plugin"].as_str().unwrap_or_default());
    text.push_str("\n[policy]\n");
    match &settings["config"] {
        Value::Null => text.push_str("# Its settings are too large for a record.\n"),
        config => text.push_str(&format!("config = {}\n", toml(config))),
    }
    line(&mut text, "on-error", settings["on-error"].as_str().unwrap_or("deny"));
    let secrets: Vec<&str> = list(&settings["secrets"]).iter().filter_map(Value::as_str).collect();
    if !secrets.is_empty() {
        text.push_str("\n[secrets]\n");
        secrets.iter().for_each(|secret| line(&mut text, &key(secret), "a value for tests"));
    }
    text.push_str("\n[[case]]\n");
    let request = &met.request;
    line(&mut text, "name", &format!("{} {} as it was recorded", request.method, request.target()));
    met.write_request(&mut text, record);
    met.write_response(&mut text);
    met.write_expected(&mut text);
    Ok(text)
}

/// The policy that the case is about.
fn policy_name<'r>(record: &'r Value, policy: Option<&'r str>) -> anyhow::Result<&'r str> {
    let mut names: Vec<&str> =
        list(&record["hooks"]).iter().filter_map(|hook| hook["policy"].as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let known = || names.iter().map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    match (policy, names.as_slice()) {
        (Some(policy), names) if names.contains(&policy) => Ok(policy),
        (Some(policy), _) => {
            bail!("the record has no hook of `{}`\n  = help: it has hooks of {}", shown(policy), known())
        }
        (None, [only]) => Ok(only),
        (None, []) => bail!("no policy ran in this record"),
        (None, _) => bail!(
            "a case is about one policy, and this record has hooks of {}: name one with --policy",
            known()
        ),
    }
}

/// What the policy met, and what it did.
struct Met<'r> {
    request: RequestHead,
    response: Option<ResponseHead>,
    request_pieces: Vec<Vec<u8>>,
    response_pieces: Vec<Vec<u8>>,
    hooks: Vec<&'r Value>,
}

impl<'r> Met<'r> {
    /// Follows the record, and applies what the other policies changed.
    fn of(record: &'r Value, name: &str) -> anyhow::Result<Self> {
        let mut exchange = replay::exchange(record)?;
        let recorded = record.get("response").and_then(read::response_from_json);
        let mut met = Self {
            request: RequestHead::default(),
            response: None,
            request_pieces: Vec::new(),
            response_pieces: Vec::new(),
            hooks: Vec::new(),
        };
        let (mut is_forwarded, mut has_request) = (false, false);
        let (mut kept, mut kept_response) = (0, 0);
        for hook in list(&record["hooks"]) {
            let kind = hook["hook"].as_str().unwrap_or_default();
            let is_of_response = matches!(kind, "on-response-head" | "on-response-body" | "on-completed");
            if is_of_response && !is_forwarded {
                is_forwarded = true;
                if let Some(recorded) = &recorded {
                    exchange.response.clone_from(recorded);
                }
            }
            let is_it = hook["policy"] == name;
            if !has_request && (is_it || is_of_response) {
                has_request = true;
                met.request.clone_from(&exchange.request);
            }
            if is_it {
                if is_of_response && met.response.is_none() && recorded.is_some() {
                    met.response = Some(exchange.response.clone());
                }
                match kind {
                    "on-request-body" => met.request_pieces.extend(piece(hook, &mut kept)),
                    "on-response-body" => met.response_pieces.extend(piece(hook, &mut kept_response)),
                    _ => {}
                }
                met.hooks.push(hook);
            }
            for edit in list(&hook["edits"]).iter().filter_map(read::edit_from_json).filter(|_| !is_it) {
                if !edit.apply(&mut exchange) {
                    bail!("an edit of the record does not fit its exchange");
                }
            }
            if kind == "on-response-head"
                && !is_it
                && let Some(reply) = read::response_from_json(&hook["decision"])
            {
                exchange.response = reply;
            }
        }
        Ok(met)
    }

    fn write_request(&self, text: &mut String, record: &Value) {
        let request = &self.request;
        let url = format!("{}://{}{}", request.scheme.as_str(), request.authority, request.target());
        text.push_str("[case.request]\n");
        line(text, "method", &request.method);
        line(text, "url", &url);
        if let Some(client) = record["client"]["peer"].as_str() {
            line(text, "client", client);
        }
        headers(text, &fields_to_json(&request.fields));
        body(text, &self.request_pieces);
    }

    fn write_response(&self, text: &mut String) {
        let Some(response) = &self.response else { return };
        text.push_str("[case.response]\n");
        text.push_str(&format!("status = {}\n", response.status));
        headers(text, &fields_to_json(&response.fields));
        body(text, &self.response_pieces);
    }

    fn write_expected(&self, text: &mut String) {
        text.push_str("[case.expect]\n");
        for hook in &self.hooks {
            let decision = &hook["decision"];
            match decision["decision"].as_str() {
                Some("reply") => {
                    let mut reply = Map::new();
                    reply.insert("status".to_owned(), decision["status"].clone());
                    if let Some(body) = decision["body"].as_str() {
                        reply.insert("body".to_owned(), body.into());
                    }
                    text.push_str(&format!("reply = {}\n", toml(&reply.into())));
                }
                Some("fault") => {
                    line(text, "fault", decision["kind"].as_str().unwrap_or_default());
                    let why = decision["message"].as_str().and_then(|why| why.lines().next());
                    text.push_str(&format!("# It said: {}\n", shown(why.unwrap_or_default())));
                }
                _ => {}
            }
        }
        let edits = self.hooks.iter().flat_map(|hook| list(&hook["edits"]));
        let lines: Vec<Value> = edits.map(|edit| name_of(&edited(edit)).into()).collect();
        match lines.is_empty() {
            true => line(text, "edits", "none"),
            false => text.push_str(&format!("edits = {}\n", toml(&lines.into()))),
        }
        let (mut request, mut response, mut attributes) = (Map::new(), Map::new(), Map::new());
        let with_hooks =
            self.hooks.iter().flat_map(|hook| list(&hook["edits"]).iter().map(|edit| (&hook["hook"], edit)));
        for (hook, edit) in with_hooks {
            match read::edit_from_json(edit) {
                Some(Edit::Field { message, name, after, .. }) => {
                    let after: Option<Vec<String>> =
                        after.into_iter().map(|line| String::from_utf8(line).ok()).collect();
                    let Some(after) = after else { continue };
                    let expected = if after.is_empty() { Value::Bool(false) } else { after.into() };
                    match message {
                        Message::Request => request.insert(name, expected),
                        Message::Response => response.insert(name, expected),
                        // The bodies of a case have none.
                        Message::Trailers => continue,
                    };
                }
                // How long an exchange took and which endpoint it had is not the same in a test.
                Some(Edit::Attribute { name, .. }) if hook == "on-completed" => {
                    attributes.insert(name, true.into());
                }
                Some(Edit::Attribute { name, value }) => {
                    attributes.insert(name, value.into());
                }
                _ => {}
            }
        }
        for (name, fields) in
            [("request.headers", request), ("response.headers", response), ("attributes", attributes)]
        {
            if !fields.is_empty() {
                text.push_str(&format!("{name} = {}\n", toml(&fields.into())));
            }
        }
        let calls: Vec<&Value> = self.hooks.iter().flat_map(|hook| list(&hook["calls"])).collect();
        if !calls.is_empty() {
            text.push_str(
                "# What it asked of the gateway then. A case begins with empty stores and full quotas, and servers\n\
                 # answer what [[http]] says:\n",
            );
        }
        for call in calls {
            let function = shown(call["function"].as_str().unwrap_or_default()).into_owned();
            text.push_str(&format!(
                "#   {function}({}) = {}\n",
                arguments(&call["arguments"]),
                value(&call["result"])
            ));
        }
    }
}

/// The bytes that came with a call of a body hook: what was held back before stands in front of them. `kept` is how
/// many these are, and becomes how many there are for the next call.
fn piece(hook: &Value, kept: &mut usize) -> Option<Vec<u8>> {
    let (chunk, _) = read::piece_from_json(&hook["input"])?;
    let fresh = chunk.get(*kept..).unwrap_or_default().to_vec();
    let decision = &hook["decision"];
    *kept = match decision["decision"].as_str() {
        Some("hold") => chunk.len(),
        Some("split") => decision["kept"].as_u64().and_then(|kept| kept.try_into().ok()).unwrap_or_default(),
        _ => 0,
    };
    Some(fresh)
}

/// The part of an edit's line that names what is edited, whatever its value.
fn name_of(edit: &str) -> String {
    let end = [edit.find(": "), edit.find(" = ")].into_iter().flatten().min();
    edit.get(..end.unwrap_or(edit.len())).unwrap_or(edit).to_owned()
}

/// The fields of a message: those with several lines as a list.
fn headers(text: &mut String, fields: &Value) {
    let mut by_name: Vec<(String, Vec<Value>)> = Vec::new();
    for field in list(fields) {
        // What is no text cannot be typed.
        let (Some(name), Some(value)) = (field["name"].as_str(), field["value"].as_str()) else { continue };
        match by_name.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value.into()),
            None => by_name.push((name.to_owned(), vec![value.into()])),
        }
    }
    // The gateway writes these itself, in a test too.
    by_name.retain(|(name, _)| {
        !matches!(name.as_str(), "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host")
    });
    if by_name.is_empty() {
        return;
    }
    let fields = by_name.into_iter().map(|(name, mut values)| {
        let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
        format!("{} = {}", key(&name), toml(&value))
    });
    text.push_str(&format!("headers = {{ {} }}\n", fields.collect::<Vec<_>>().join(", ")));
}

fn body(text: &mut String, pieces: &[Vec<u8>]) {
    if pieces.iter().all(Vec::is_empty) {
        return;
    }
    // An empty one at the end is how a body ends whose length was not known.
    let pieces: Vec<String> = pieces
        .iter()
        .map(|piece| match std::str::from_utf8(piece) {
            Ok(piece) => quoted(piece),
            Err(_) => format!("{{ hex = \"{}\" }}", portcullis_model::text::hex(piece)),
        })
        .collect();
    text.push_str(&format!("body = [{}]\n", pieces.join(", ")));
}

fn line(text: &mut String, key: &str, value: &str) {
    text.push_str(&format!("{key} = {}\n", quoted(value)));
}

/// A value as TOML, in one line. TOML has no null: what is null is left out.
fn toml(value: &Value) -> String {
    match value {
        Value::Null => "\"\"".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(values) => {
            format!(
                "[{}]",
                values.iter().filter(|value| !value.is_null()).map(toml).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            let members = members.map(|(name, value)| format!("{} = {}", key(name), toml(value)));
            match members.collect::<Vec<_>>().join(", ") {
                members if members.is_empty() => "{}".to_owned(),
                members => format!("{{ {members} }}"),
            }
        }
    }
}

fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { quoted(name) }
}

/// Text as TOML has it in quotes. That is as JSON has it, but for one character that TOML wants escaped as well, and
/// for those that would steer a terminal.
fn quoted(text: &str) -> String {
    portcullis_model::text::escape_json(&Value::from(text).to_string(), &[]).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::case;

    fn record() -> Value {
        json!({
            "portcullis-record": 1, "route": "api", "upstreams": ["app"], "trace-id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "client": { "address": "203.0.113.7", "peer": "203.0.113.7" },
            "request": {
                "method": "POST", "scheme": "https", "authority": "api.test", "target": "/v1?a=1",
                "fields": [
                    { "name": "x-a", "value": "1" }, { "name": "x-a", "value": "2\"" },
                    { "name": "x-forwarded-for", "value": "203.0.113.7" },
                ],
            },
            "response": { "status": 201, "fields": [{ "name": "x-up", "value": "yes" }] },
            "removed": ["request.header authorization"],
            "policies": [
                { "name": "first", "plugin": "builtin:headers", "config": {}, "on-error": "deny", "secrets": [] },
                {
                    "name": "tenant", "plugin": "/p/tenant.wasm", "on-error": "allow", "secrets": ["pass word"],
                    "config": { "limit": 3, "none": null, "tenants": { "a b": ["good"] } },
                },
            ],
            "hooks": [
                {
                    "policy": "first", "version": "active", "at": 0, "hook": "on-request-head",
                    "decision": { "decision": "next" }, "calls": [],
                    "edits": [{ "edit": "request-header", "name": "x-first", "before": [], "after": ["set"] }],
                },
                {
                    "policy": "tenant", "version": "active", "at": 1, "hook": "on-request-head",
                    "decision": { "decision": "next" },
                    "calls": [{ "function": "store.get", "arguments": { "key": "a" }, "result": { "ok": null } }],
                    "edits": [
                        { "edit": "request-header", "name": "x-a", "before": ["1"], "after": [] },
                        { "edit": "attribute", "name": "tenant", "value": "acme: \u{7f}and co" },
                    ],
                },
                {
                    "policy": "tenant", "version": "active", "at": 1, "hook": "on-request-body", "calls": [], "edits": [],
                    "input": { "chunk": "ab", "last": false }, "decision": { "decision": "hold" },
                },
                {
                    "policy": "tenant", "version": "active", "at": 1, "hook": "on-request-body", "calls": [], "edits": [],
                    "input": { "chunk": "abcd", "last": true }, "decision": { "decision": "forward" },
                },
                {
                    "policy": "tenant", "version": "active", "at": 1, "hook": "on-response-head", "calls": [], "edits": [],
                    "decision": { "decision": "reply", "status": 403, "fields": [], "body": "no\n" },
                },
            ],
        })
    }

    #[test]
    fn a_case_is_what_one_policy_met_and_did() {
        let text = case(&record(), Some("tenant")).unwrap();
        for line in [
            "# The record does not have request.header authorization: put a value in the place of its mark.",
            "plugin = \"/p/tenant.wasm\"",
            "config = { limit = 3, tenants = { \"a b\" = [\"good\"] } }",
            "on-error = \"allow\"",
            "\"pass word\" = \"a value for tests\"",
            "client = \"203.0.113.7\"",
            "headers = { x-a = [\"1\", \"2\\\"\"], x-first = \"set\" }",
            "body = [\"ab\", \"cd\"]",
            "status = 201",
            "headers = { x-up = \"yes\" }",
            "reply = { body = \"no\\n\", status = 403 }",
            "edits = [\"request - x-a\", \"attribute tenant\"]",
            "request.headers = { x-a = false }",
            "attributes = { tenant = \"acme: \\u007fand co\" }",
            "#   store.get(key: \"a\") = {\"ok\":null}",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line:?} in:\n{text}");
        }
        assert!(!text.contains('\u{7f}') && !text.contains("x-forwarded"), "{text}");
    }

    #[test]
    fn a_record_of_several_policies_wants_one_named() {
        let error = case(&record(), None).unwrap_err().to_string();
        assert!(error.contains("hooks of first, tenant") && error.contains("--policy"), "{error}");
        let error = case(&record(), Some("other")).unwrap_err().to_string();
        assert!(error.contains("no hook of `other`"), "{error}");
    }
}
