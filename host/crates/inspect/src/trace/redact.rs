//! Removes from a record what it must not contain: credentials in fields, queries, attributes and settings, and the
//! bytes of secrets.
//!
//! A removed value is replaced by a mark, `[removed:x-api-key]`, which is a value like any other: a replay runs with
//! it, and what a policy derives from it (such as a name of a bucket) is the same in the record and in its replay.

mod query;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use portcullis_policy::recorder::{
    REMOVED_ARGUMENT, bytes_from_json, is_credential, is_credential_parameter, is_credential_setting,
    is_mark, mark, names_credentials,
};
use serde_json::Value;

use super::Scrubber;

/// Calls that are given a credential, or what one was made of: in which argument.
const CREDENTIAL_ARGUMENTS: [(&str, &str); 5] = [
    ("crypto.verify-jws", "token"),
    ("crypto.verify", "message"),
    ("crypto.mac", "message"),
    ("crypto.hmac", "message"),
    ("crypto.sign", "message"),
];
/// Shorter arguments may occur in any value by chance.
const ARGUMENT_BYTES_MIN: usize = 8;

/// Removes from `record` what it must not contain, and lists it in the member `removed`. `scrubber` has the secrets of
/// the config; fields and parameters named by `keep` are kept.
pub fn redact(record: &mut Value, scrubber: Scrubber, keep: &[String]) {
    let mut redaction = Redaction {
        scrubber,
        keep,
        removed: BTreeSet::new(),
        consumed_fields: BTreeSet::new(),
        consumed_parameters: BTreeSet::new(),
        named: BTreeSet::new(),
    };
    redaction.find_consumed(record);
    for policy in record["policies"].as_array().into_iter().flatten() {
        redaction.find_named(&policy["config"]);
    }
    redaction.find_verified(record);
    redaction.fields("request.header", member(record, &["request", "fields"]));
    if let Some(target) = member(record, &["request", "target"]) {
        redaction.target(target);
    }
    redaction.fields("response.header", member(record, &["response", "fields"]));
    for policy in array(record.get_mut("policies")) {
        redaction.policy(policy);
    }
    for hook in array(record.get_mut("hooks")) {
        redaction.hook(hook);
    }
    // Only now are all credentials known.
    for hook in array(record.get_mut("hooks")) {
        redaction.calls(hook);
    }
    redaction.scrubber.scrub(record);
    record["removed"] = redaction.removed.into_iter().collect();
}

struct Redaction<'a> {
    scrubber: Scrubber,
    keep: &'a [String],
    removed: BTreeSet<String>,
    /// Fields of the request that a policy removed before it was forwarded. Such a field was mostly used as a
    /// credential, whatever its name is.
    consumed_fields: BTreeSet<String>,
    /// Parameters of the query that it took away.
    consumed_parameters: BTreeSet<String>,
    /// Fields and parameters that the settings of a policy name as a source, in lower case.
    named: BTreeSet<String>,
}

impl Redaction<'_> {
    fn find_consumed(&mut self, record: &Value) {
        let mut target = record["request"]["target"].as_str().unwrap_or_default();
        let hooks = record["hooks"].as_array();
        let edits = hooks.into_iter().flatten().filter_map(|hook| hook["edits"].as_array()).flatten();
        for edit in edits {
            let is_empty = edit["after"].as_array().is_some_and(Vec::is_empty);
            match (edit["edit"].as_str(), edit["name"].as_str(), edit["value"].as_str()) {
                (Some("request-header"), Some(name), _) if is_empty => {
                    self.consumed_fields.insert(name.to_ascii_lowercase());
                }
                (Some("target"), _, Some(new)) => {
                    let left: BTreeSet<String> = query::parameters(new).map(|(name, _)| name).collect();
                    let gone = query::parameters(target).map(|(name, _)| name);
                    self.consumed_parameters.extend(gone.filter(|name| !left.contains(name)));
                    target = new;
                }
                _ => {}
            }
        }
    }

    /// Finds the names in settings.
    fn find_named(&mut self, settings: &Value) {
        match settings {
            Value::Array(values) => values.iter().for_each(|value| self.find_named(value)),
            Value::Object(members) => {
                for (name, value) in members {
                    if names_credentials(name) {
                        let names = value.as_array().into_iter().flatten().chain([value]);
                        self.named.extend(names.filter_map(Value::as_str).map(str::to_ascii_lowercase));
                    }
                    // What something is counted by is no credential: see `key` of `rate-limit`.
                    if name != "key" {
                        self.find_named(value);
                    }
                }
            }
            _ => {}
        }
    }

    /// Finds fields and parameters that contain what a policy had verified, whatever their names are.
    fn find_verified(&mut self, record: &Value) {
        let mut verified: Vec<String> = Vec::new();
        for hook in record["hooks"].as_array().into_iter().flatten() {
            for call in hook["calls"].as_array().into_iter().flatten() {
                let text = credential_argument(call).and_then(|name| call["arguments"][name].as_str());
                verified.extend(text.filter(|text| text.len() >= ARGUMENT_BYTES_MIN).map(str::to_owned));
            }
        }
        let has = |value: &str| verified.iter().any(|text| value.contains(text.as_str()));
        for field in record["request"]["fields"].as_array().into_iter().flatten() {
            if let (Some(name), true) = (field["name"].as_str(), field["value"].as_str().is_some_and(has)) {
                self.named.insert(name.to_ascii_lowercase());
            }
        }
        for (name, value) in query::parameters(record["request"]["target"].as_str().unwrap_or_default()) {
            if has(&value) {
                self.named.insert(name.to_ascii_lowercase());
            }
        }
    }

    fn keeps(&self, name: &str) -> bool {
        self.keep.iter().any(|kept| kept.eq_ignore_ascii_case(name))
    }

    fn hides(&self, message: &str, name: &str) -> bool {
        let lower = name.to_ascii_lowercase();
        let of_request = || self.consumed_fields.contains(&lower) || self.named.contains(&lower);
        !self.keeps(name) && (is_credential(name) || (message == "request.header" && of_request()))
    }

    fn hides_parameter(&self, name: &str) -> bool {
        let of_policy =
            || self.consumed_parameters.contains(name) || self.named.contains(&name.to_ascii_lowercase());
        !self.keeps(name) && (is_credential_parameter(name) || of_policy())
    }

    fn fields(&mut self, message: &str, fields: Option<&mut Value>) {
        for field in array(fields) {
            let Some(name) = field["name"].as_str().map(str::to_owned) else { continue };
            let Some(value) = field.get_mut("value") else { continue };
            if self.hides(message, &name) {
                self.hide(value, &format!("{message} {name}"), &name);
            } else {
                self.addresses(value, &format!("{message} {name}"));
            }
        }
    }

    /// Puts the mark in the place of a value.
    fn hide(&mut self, value: &mut Value, what: &str, name: &str) {
        let mark = mark(name);
        if let Some(bytes) = bytes_from_json(value)
            && bytes != mark.as_bytes()
        {
            self.scrubber.add_field(&bytes, &mark);
            self.removed.insert(what.to_owned());
            *value = mark.into();
        }
    }

    /// The values of query parameters that are secret.
    fn target(&mut self, target: &mut Value) {
        self.parameters(target, "request.query", false);
    }

    /// The same in each address that a text has, as `referer` and `location` do.
    fn addresses(&mut self, text: &mut Value, what: &str) {
        if text.as_str().is_some_and(|text| text.contains(['?', '@'])) {
            self.parameters(text, what, false);
        }
    }

    fn parameters(&mut self, text: &mut Value, what: &str, is_form: bool) {
        let Some(written) = text.as_str() else { return };
        let mut hidden = Vec::new();
        let clean = query::hidden(written, is_form, |name, value| {
            let mark = match name {
                Some(name) if self.hides_parameter(name) => mark(name),
                Some(_) => return None,
                None => mark("userinfo"),
            };
            hidden.push((value.to_owned(), mark.clone()));
            Some(mark)
        });
        for (value, mark) in hidden {
            self.scrubber.add_field(value.as_bytes(), &mark);
            self.removed.insert(what.to_owned());
        }
        if let Some(clean) = clean {
            *text = clean.into();
        }
    }

    fn policy(&mut self, policy: &mut Value) {
        let name = policy["name"].as_str().unwrap_or_default().to_owned();
        for secret in policy["secrets"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            self.removed.insert(format!("secret {secret}"));
        }
        let what = format!("config {name}");
        let mut keys = Vec::new();
        private_keys(&policy["config"], &mut |key| keys.push(key.to_owned()));
        for key in &keys {
            self.scrubber.add(key.as_bytes(), &mark("jwk"));
        }
        if policy.get_mut("config").is_some_and(|config| self.settings(config, &what)) || !keys.is_empty() {
            self.removed.insert(what);
        }
    }

    fn settings(&mut self, settings: &mut Value, what: &str) -> bool {
        match settings {
            Value::Array(values) => {
                values.iter_mut().fold(false, |any, value| self.settings(value, what) | any)
            }
            Value::Object(members) => members.iter_mut().fold(false, |any, (name, value)| {
                if value.is_string() && is_credential_setting(name) {
                    let mark = mark(name);
                    self.scrubber.add_field(value.as_str().unwrap_or_default().as_bytes(), &mark);
                    *value = mark.into();
                    return true;
                }
                self.settings(value, what) | any
            }),
            // A set of keys may have those that sign.
            Value::String(text) if text.contains("\"kty\"") => {
                let keys = serde_json::from_str(text).unwrap_or_default();
                let mut any = false;
                private_keys(&keys, &mut |key| {
                    self.scrubber.add(key.as_bytes(), &mark("jwk"));
                    any = true;
                });
                any
            }
            Value::String(text) if text.contains("://") => {
                let before = text.clone();
                self.addresses(settings, what);
                *settings != before
            }
            _ => false,
        }
    }

    fn hook(&mut self, hook: &mut Value) {
        for edit in array(hook.get_mut("edits")) {
            let name = edit["name"].as_str().unwrap_or_default().to_owned();
            let message = match edit["edit"].as_str() {
                Some("request-header") => "request.header",
                Some("response-header") => "response.header",
                Some("trailer") => "trailer",
                // `api-key.name` is not an API key, and `oidc.id-token` is a token.
                Some("attribute") if is_credential(name.rsplit('.').next().unwrap_or(&name)) => {
                    if let Some(value) = edit.get_mut("value") {
                        self.hide(value, &format!("attribute {}", name.to_ascii_lowercase()), &name);
                    }
                    continue;
                }
                Some("target") => {
                    if let Some(value) = edit.get_mut("value") {
                        self.target(value);
                    }
                    continue;
                }
                _ => continue,
            };
            let hides = self.hides(message, &name);
            for lines in ["before", "after"] {
                for line in array(edit.get_mut(lines)) {
                    match hides {
                        true => self.hide(line, &format!("{message} {name}"), &name),
                        false => self.addresses(line, &format!("{message} {name}")),
                    }
                }
            }
        }
        self.fields("response.header", member(hook, &["decision", "fields"]));
        self.fields("trailer", member(hook, &["trailers"]));
        let hook_name = hook["hook"].as_str().unwrap_or_default().to_owned();
        if let Some(chunk) = member(hook, &["input", "chunk"]) {
            self.parameters(chunk, &format!("body of {hook_name}"), true);
        }
    }

    /// Verified values are credentials; a value computed from one can be used to guess it; and a request to another
    /// server may have one in its URL or form.
    fn calls(&mut self, hook: &mut Value) {
        for call in array(hook.get_mut("calls")) {
            let function = call["function"].as_str().unwrap_or_default().to_owned();
            if function == "http-client.send" {
                for (argument, is_form) in [("url", false), ("body", true)] {
                    if let Some(text) = member(call, &["arguments", argument]) {
                        self.parameters(text, &function, is_form);
                    }
                }
                for headers in [&["arguments", "headers"][..], &["result", "ok", "headers"]] {
                    for field in array(member(call, headers)) {
                        if let Some(value) = field.get_mut(1) {
                            self.addresses(value, &function);
                        }
                    }
                }
            }
            if !function.starts_with("crypto.") {
                continue;
            }
            let mut arguments = call["arguments"].clone();
            self.scrubber.scrub(&mut arguments);
            let is_of_credential = arguments != call["arguments"];
            let argument = credential_argument(call).and_then(|name| member(call, &["arguments", name]));
            if let Some(argument) = argument {
                let mut scrubbed = argument.clone();
                self.scrubber.scrub(&mut scrubbed);
                // One that the request has under another name gets its mark, so that a replay asks the same.
                if !scrubbed.as_str().is_some_and(is_mark) {
                    let removed = mark(REMOVED_ARGUMENT);
                    if function == "crypto.verify-jws"
                        && let Some(token) = argument.as_str()
                    {
                        self.scrubber.add_field(token.as_bytes(), &removed);
                    }
                    self.removed.insert(function.clone());
                    *argument = removed.into();
                }
            }
            if function == "crypto.verify-jws" {
                continue;
            }
            let mark = mark(REMOVED_ARGUMENT);
            if let Some(result) = member(call, &["result", "ok"])
                && (*result == *mark || (!result.is_boolean() && is_of_credential))
            {
                self.removed.insert(function);
                call["result"]["ok"] = mark.into();
            }
        }
    }
}

/// Returns whether a member is a part of a JSON Web Key that is not public: those of symmetric keys (RFC 7518, 6.4) and
/// of private ones (6.2.2, 6.3.2).
fn private_keys(value: &Value, tell: &mut impl FnMut(&str)) {
    const PRIVATE: [&str; 7] = ["k", "d", "p", "q", "dp", "dq", "qi"];
    match value {
        Value::Array(values) => values.iter().for_each(|value| private_keys(value, tell)),
        Value::Object(members) if members.contains_key("kty") => {
            PRIVATE.iter().filter_map(|name| members.get(*name)?.as_str()).for_each(tell);
        }
        Value::Object(members) => members.values().for_each(|value| private_keys(value, tell)),
        _ => {}
    }
}

/// The argument of a call that is a credential.
fn credential_argument(call: &Value) -> Option<&'static str> {
    let function = call["function"].as_str()?;
    CREDENTIAL_ARGUMENTS.iter().find(|(of, _)| *of == function).map(|(_, name)| *name)
}

fn array(value: Option<&mut Value>) -> &mut [Value] {
    value.and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

/// Returns the value at the end of `names`. Indexing would create it.
fn member<'a>(value: &'a mut Value, names: &[&str]) -> Option<&'a mut Value> {
    names.iter().try_fold(value, |value, name| value.get_mut(name))
}
