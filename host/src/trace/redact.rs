//! What a record must not have: credentials in fields, in the query, in attributes and settings, and the bytes of secrets.
//!
//! What is removed leaves a mark in its place, `[removed:x-api-key]`, that is a value like another: a replay runs with it,
//! and what a policy makes of it (a name of a bucket, say) is the same in the record and in its replay.

use std::collections::BTreeSet;

use portcullis_policy::recorder::{bytes_from_json, is_credential as is_secret, mark};
use serde_json::Value;

use super::Scrubber;

/// Names of query parameters that say so as a whole.
const SECRET_PARAMETERS: [&str; 6] = ["key", "auth", "sig", "code", "jwt", "state"];
/// How the names of settings end that say so.
const SECRET_SETTINGS: [&str; 6] = ["secret", "password", "passphrase", "token", "private-key", "credential"];

fn is_secret_parameter(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    is_secret(name) || SECRET_PARAMETERS.contains(&lower.as_str())
}

/// Takes out of `record` what it must not have, and lists what that was as its member `removed`. `scrubber` has the
/// secrets of the config; fields named by `keep` stay.
pub(crate) fn redact(record: &mut Value, scrubber: Scrubber, keep: &[String]) {
    let mut redaction = Redaction { scrubber, keep, removed: BTreeSet::new(), consumed: BTreeSet::new() };
    redaction.find_consumed(&record["hooks"]);
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
    /// Fields of the request that a policy took away before it was forwarded. Who does that has mostly used it as a
    /// credential, whatever it is called.
    consumed: BTreeSet<String>,
}

impl Redaction<'_> {
    fn find_consumed(&mut self, hooks: &Value) {
        let edits =
            hooks.as_array().into_iter().flatten().filter_map(|hook| hook["edits"].as_array()).flatten();
        for edit in edits {
            let gone =
                edit["edit"] == "request-header" && edit["after"].as_array().is_some_and(Vec::is_empty);
            if let (true, Some(name)) = (gone, edit["name"].as_str()) {
                self.consumed.insert(name.to_owned());
            }
        }
    }

    fn hides(&self, message: &str, name: &str) -> bool {
        let kept = self.keep.iter().any(|kept| kept.eq_ignore_ascii_case(name));
        !kept && (is_secret(name) || (message == "request.header" && self.consumed.contains(name)))
    }

    fn fields(&mut self, message: &str, fields: Option<&mut Value>) {
        for field in array(fields) {
            let Some(name) = field["name"].as_str().map(str::to_owned) else { continue };
            if self.hides(message, &name)
                && let Some(value) = field.get_mut("value")
            {
                self.hide(value, &format!("{message} {name}"), &name);
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

    /// The values of query parameters whose names say that they are secret.
    fn target(&mut self, target: &mut Value) {
        let Some((path, query)) = target.as_str().and_then(|target| target.split_once('?')) else { return };
        let mut any = false;
        let parameters: Vec<String> = query
            .split('&')
            .map(|parameter| match parameter.split_once('=') {
                Some((name, value)) if is_secret_parameter(name) && !value.is_empty() => {
                    any = true;
                    self.scrubber.add_field(value.as_bytes(), &mark(name));
                    // A bracket may stand in a query (it is forwarded byte for byte), and the mark is one word.
                    format!("{name}={}", mark(name))
                }
                _ => parameter.to_owned(),
            })
            .collect();
        if any {
            self.removed.insert("request.query".to_owned());
            *target = format!("{path}?{}", parameters.join("&")).into();
        }
    }

    fn policy(&mut self, policy: &mut Value) {
        let name = policy["name"].as_str().unwrap_or_default().to_owned();
        for secret in policy["secrets"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            self.removed.insert(format!("secret {secret}"));
        }
        if policy.get_mut("config").is_some_and(|config| self.settings(config)) {
            self.removed.insert(format!("config {name}"));
        }
    }

    fn settings(&mut self, settings: &mut Value) -> bool {
        match settings {
            Value::Array(values) => values.iter_mut().fold(false, |any, value| self.settings(value) | any),
            Value::Object(members) => members.iter_mut().fold(false, |any, (name, value)| {
                let lower = name.to_ascii_lowercase().replace('_', "-");
                if value.is_string() && SECRET_SETTINGS.iter().any(|end| lower.ends_with(end)) {
                    let mark = mark(name);
                    self.scrubber.add(value.as_str().unwrap_or_default().as_bytes(), &mark);
                    *value = mark.into();
                    return true;
                }
                self.settings(value) | any
            }),
            _ => false,
        }
    }

    fn hook(&mut self, hook: &mut Value) {
        for edit in array(hook.get_mut("edits")) {
            let name = edit["name"].as_str().unwrap_or_default().to_owned();
            let message = match edit["edit"].as_str() {
                Some("request-header") => "request.header",
                Some("response-header") => "response.header",
                // `api-key.name` is not an API key, and `oidc.id-token` is a token.
                Some("attribute") if is_secret(name.rsplit('.').next().unwrap_or(&name)) => {
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
            if self.hides(message, &name) {
                for lines in ["before", "after"] {
                    for line in array(edit.get_mut(lines)) {
                        self.hide(line, &format!("{message} {name}"), &name);
                    }
                }
            }
        }
        self.fields("response.header", member(hook, &["decision", "fields"]));
    }

    /// What was computed of a credential says what it was to who can guess; only `crypto` computes.
    fn calls(&mut self, hook: &mut Value) {
        for call in array(hook.get_mut("calls")) {
            let function = call["function"].as_str().unwrap_or_default().to_owned();
            if !function.starts_with("crypto.") || function == "crypto.verify-jws" {
                continue;
            }
            let mut arguments = call["arguments"].clone();
            self.scrubber.scrub(&mut arguments);
            let mark = mark("crypto");
            if let Some(result) = member(call, &["result", "ok"])
                && (*result == *mark || (!result.is_boolean() && arguments != call["arguments"]))
            {
                self.removed.insert(function);
                call["result"]["ok"] = mark.into();
            }
        }
    }
}

fn array(value: Option<&mut Value>) -> &mut [Value] {
    value.and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

/// What is there at the end of `names`. Indexing would put it there.
fn member<'a>(value: &'a mut Value, names: &[&str]) -> Option<&'a mut Value> {
    names.iter().try_fold(value, |value, name| value.get_mut(name))
}

#[cfg(test)]
mod tests {
    use portcullis_model::{Name, Secret};
    use serde_json::{Value, json};

    use super::{Scrubber, redact};

    fn record() -> Value {
        let field = |name: &str, value: &str| json!({ "name": name, "value": value });
        json!({
            "request": {
                "target": "/a?b=c&access_token=tok-12345678&x=y",
                "fields": [
                    field("accept", "*/*"),
                    field("authorization", "Bearer abcdefgh12345678"),
                    field("cookie", "theme=dark; sid=0123456789abcdef"),
                    field("x-own", "own-key-87654321"),
                ],
            },
            "response": { "status": 200, "fields": [field("set-cookie", "sid=fedcba9876543210"), field("etag", "1")] },
            "policies": [{ "name": "keys", "secrets": ["db"], "config": { "header": "x-own", "client-secret": "s3cr3t" } }],
            "hooks": [{
                "decision": { "decision": "next" },
                "edits": [
                    { "edit": "request-header", "name": "x-own", "before": ["own-key-87654321"], "after": [] },
                    { "edit": "request-header", "name": "x-db", "before": [], "after": ["pw=database-password"] },
                    { "edit": "attribute", "name": "oidc.id-token", "value": "eyJabc" },
                ],
                "calls": [
                    { "function": "rate-limit.check", "arguments": { "bucket": "k:own-key-87654321" }, "result": null },
                    { "function": "store.get", "arguments": { "key": "0123456789abcdef" }, "result": null },
                ],
            }],
        })
    }

    fn redacted(keep: &[&str]) -> Value {
        let secrets = [(Name::from("db"), Secret::new(b"database-password".as_slice()))];
        let scrubber = Scrubber::of_secrets(secrets.iter().map(|(name, secret)| (name, secret)));
        let keep: Vec<String> = keep.iter().map(ToString::to_string).collect();
        let mut record = record();
        redact(&mut record, scrubber, &keep);
        record
    }

    #[test]
    fn credentials_are_gone_wherever_they_stood() {
        let record = redacted(&[]);
        let text = record.to_string();
        for secret in [
            "abcdefgh12345678",
            "0123456789abcdef",
            "fedcba9876543210",
            "own-key-87654321",
            "tok-12345678",
            "database-password",
            "s3cr3t",
            "eyJabc",
        ] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert_eq!(record["request"]["target"], "/a?b=c&access_token=[removed:access_token]&x=y");
        assert_eq!(record["request"]["fields"][0]["value"], "*/*");
        assert_eq!(record["hooks"][0]["calls"][0]["arguments"]["bucket"], "k:[removed:x-own]");
        assert_eq!(record["hooks"][0]["calls"][1]["arguments"]["key"], "[removed:cookie]");
        assert_eq!(record["hooks"][0]["edits"][1]["after"][0], "pw=[secret:db]");
        assert_eq!(
            record["removed"],
            json!([
                "attribute oidc.id-token",
                "config keys",
                "request.header authorization",
                "request.header cookie",
                "request.header x-own",
                "request.query",
                "response.header set-cookie",
                "secret db",
            ])
        );
    }

    #[test]
    fn what_was_computed_of_a_credential_is_gone_as_well() {
        let call = |function: &str, data: &str, result: Value| json!({ "function": function, "arguments": { "data": data }, "result": { "ok": result } });
        let mut record = record();
        record["hooks"][0]["calls"] = json!([
            call("crypto.digest", "own-key-87654321", json!({ "hex": "c0ffee" })),
            call("crypto.digest", "/a", json!("digest of a path")),
            call("crypto.mac", "/a", json!("[removed:crypto]")),
            call("crypto.verify", "own-key-87654321", json!(true)),
            call("crypto.verify-jws", "abcdefgh12345678", json!({ "payload": "{}" })),
        ]);
        redact(&mut record, Scrubber::default(), &[]);
        let results: Vec<&Value> = record["hooks"][0]["calls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|call| &call["result"]["ok"])
            .collect();
        let mark = json!("[removed:crypto]");
        assert_eq!(
            results,
            [&mark, &json!("digest of a path"), &mark, &json!(true), &json!({ "payload": "{}" })]
        );
        let removed = record["removed"].as_array().unwrap();
        assert!(
            removed.contains(&json!("crypto.digest")) && removed.contains(&json!("crypto.mac")),
            "{removed:?}"
        );
    }

    #[test]
    fn a_field_is_kept_where_that_was_asked_for() {
        let record = redacted(&["Authorization", "x-own"]);
        assert_eq!(record["request"]["fields"][1]["value"], "Bearer abcdefgh12345678");
        assert_eq!(record["hooks"][0]["edits"][0]["before"][0], "own-key-87654321");
        assert!(!record.to_string().contains("0123456789abcdef"));
    }

    #[test]
    fn what_is_not_there_is_nothing_to_remove() {
        let mut record = json!({ "request": { "target": "/a?", "fields": [] }, "hooks": [], "policies": [], "response": null });
        redact(&mut record, Scrubber::default(), &[]);
        assert_eq!(record["removed"], json!([]));
        assert_eq!(record["response"], json!(null), "and nothing is put there");
    }
}
