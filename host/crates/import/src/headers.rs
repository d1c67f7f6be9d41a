//! Fields that are set on the way: `proxy_set_header`, `add_header`, `expires` and what they hide.

use crate::context::Import;
use crate::draft::Section;
use crate::report::Verdict;
use crate::scope::Scope;
use crate::template;
use crate::units;
use crate::value::Value;

/// Fields that the gateway writes itself, and what nginx's users set them to.
const WRITTEN: &[(&str, &[&str])] = &[
    ("x-real-ip", &["$remote_addr", "$realip_remote_addr"]),
    ("x-forwarded-for", &["$proxy_add_x_forwarded_for", "$remote_addr"]),
    ("x-forwarded-proto", &["$scheme"]),
    ("x-forwarded-host", &["$host", "$http_host", "$host:$server_port"]),
    (
        "connection",
        &["", "upgrade", "Upgrade", "$connection_upgrade", "$http_connection", "keep-alive", "close"],
    ),
    ("upgrade", &["$http_upgrade", "websocket"]),
    ("content-length", &["", "$content_length"]),
    ("te", &["trailers"]),
];

impl<'a> Import<'a> {
    /// Fields of requests that are sent on. Returns the name of a policy if it takes one.
    pub(crate) fn request_fields(
        &mut self,
        section: &mut Section,
        scope: &Scope<'a>,
        server: Option<&str>,
    ) -> Option<String> {
        let mut set = Vec::new();
        let mut remove = Vec::new();
        let mut by_policy = Vec::new();
        for field in scope.all_of(&["proxy_set_header", "grpc_set_header"]) {
            let (name, value) = (field.arg(0).to_ascii_lowercase(), field.arg(1));
            if name == "host" {
                continue;
            }
            if let Some((_, usual)) = WRITTEN.iter().find(|(written, _)| *written == name) {
                if usual.contains(&value) {
                    self.report.note(field, Verdict::Converted, "the gateway does so by itself");
                } else {
                    let note = format!("the gateway writes `{name}` itself, by what it knows of the client");
                    self.say(section, field, Verdict::Approximated, &note);
                }
                continue;
            }
            if !is_name(&name) {
                let note = "fields with such a name are not sent";
                self.say(section, field, Verdict::Refused, note);
                continue;
            }
            self.report.note(field, Verdict::Converted, "");
            if value.is_empty() {
                remove.push(name);
            } else if let Ok(value) = template::with_braces(value, server, &|_| None) {
                set.push((name, Value::from(value)));
            } else {
                match template::for_policy(value, server) {
                    Ok(value) => by_policy.push((name, Value::from(value))),
                    Err(variable) => {
                        let note = format!("`${variable}` has no counterpart");
                        self.say(section, field, Verdict::Refused, &note);
                    }
                }
            }
        }
        if !set.is_empty() {
            section.set_in("request-headers", "set", Value::Table(set));
        }
        if !remove.is_empty() {
            section.set_in("request-headers", "remove", Value::texts(remove));
        }
        if by_policy.is_empty() {
            return None;
        }
        let mut policy = Section::default();
        policy.set("plugin", "builtin:headers");
        let set = Value::table([("set", Value::Table(by_policy))]);
        policy.set("config", Value::table([("request", set)]));
        Some(self.draft.policies.add("headers", policy))
    }

    /// Fields of responses.
    pub(crate) fn response_fields(&mut self, section: &mut Section, scope: &Scope<'a>) {
        let mut add: Vec<(String, Value)> = Vec::new();
        let mut remove = Vec::new();
        let mut always = Vec::new();
        if self.expires(section, scope, &mut add) {
            always.push(false);
        }
        for field in scope.all("add_header") {
            let (name, value) = (field.arg(0).to_ascii_lowercase(), field.arg(1));
            let usual = field.args.iter().any(|word| word == "always");
            if value == "$upstream_cache_status" {
                let note = "`Cache-Status` says the same, and every route with a cache sends it";
                self.say(section, field, Verdict::Approximated, note);
                continue;
            }
            if value.is_empty() {
                self.report.note(field, Verdict::Unneeded, "it adds nothing");
                continue;
            }
            if !template::is_literal(value) {
                let note = "fields of responses are sent as they stand: a policy can compute one (`builtin:headers`)";
                self.say(section, field, Verdict::Refused, note);
                continue;
            }
            if !is_name(&name) || WRITTEN_ANSWER.contains(&name.as_str()) {
                self.say(
                    section,
                    field,
                    Verdict::Refused,
                    "the gateway writes this field itself, or does not send it",
                );
                continue;
            }
            if name == "content-type" {
                if section.get("respond").is_some() {
                    self.report.note(field, Verdict::Converted, "");
                } else {
                    self.say(
                        section,
                        field,
                        Verdict::Refused,
                        "the upstream or the extension of the file says it",
                    );
                }
                continue;
            }
            always.push(usual);
            if usual {
                self.report.note(field, Verdict::Converted, "");
            } else {
                let note = "nginx leaves it out of responses with 4xx and 5xx of the upstream";
                self.report.note(field, Verdict::Approximated, note);
            }
            match add.iter_mut().find(|(other, _)| *other == name) {
                Some((_, Value::List(values))) => values.push(Value::from(value)),
                Some((_, one)) => *one = Value::List(vec![one.clone(), Value::from(value)]),
                None => add.push((name, Value::from(value))),
            }
        }
        for field in scope.all("proxy_hide_header") {
            let name = field.arg(0).to_ascii_lowercase();
            if is_name(&name)
                && !WRITTEN_ANSWER.contains(&name.as_str())
                && !add.iter().any(|(other, _)| *other == name)
            {
                self.report.note(field, Verdict::Converted, "");
                remove.push(name);
            } else if add.iter().any(|(other, _)| *other == name) {
                // What the upstream says goes, and what is added stays.
                self.report.note(field, Verdict::Converted, "");
                if let Some(index) = add.iter().position(|(other, _)| *other == name) {
                    let (name, value) = add.remove(index);
                    section.set_in("response-headers", "set", Value::Table(vec![(name, value)]));
                }
            } else {
                self.report.note(field, Verdict::Unneeded, "the gateway writes this field itself");
            }
        }
        if !add.is_empty() {
            section.set_in("response-headers", "add", Value::Table(add));
        }
        if !remove.is_empty() {
            section.set_in("response-headers", "remove", Value::texts(remove));
        }
        if !always.is_empty() && always.iter().all(|always| *always) {
            section.set_in("response-headers", "always", true);
        } else if always.contains(&true) {
            section.comment(
                "approximated: some of these fields were `always` and others were not; here none is on errors of the \
                 gateway's own",
            );
        }
    }

    /// Adds the field that `expires` sets. Returns whether it sets one.
    fn expires(&mut self, section: &mut Section, scope: &Scope<'a>, add: &mut Vec<(String, Value)>) -> bool {
        let Some(expires) = scope.one("expires") else { return false };
        let value = match (expires.arg(0), expires.args.len()) {
            ("off", 1) => None,
            ("epoch", 1) => Some("no-cache".to_owned()),
            ("max", 1) => Some("max-age=315360000".to_owned()),
            (time, 1) if time.starts_with('-') => Some("no-cache".to_owned()),
            (time, count) => match units::milliseconds(time.trim_start_matches('+')) {
                Some(time) if count == 1 => Some(format!("max-age={}", time / 1000)),
                _ => {
                    let note = "it has neither times of day nor times since the last change";
                    self.say(section, expires, Verdict::Refused, note);
                    return false;
                }
            },
        };
        let Some(value) = value else {
            self.report.note(expires, Verdict::Converted, "");
            return false;
        };
        let note = "as `Cache-Control` alone, without `Expires`, and also on responses with 4xx and 5xx of the upstream";
        self.report.note(expires, Verdict::Approximated, note);
        add.push(("cache-control".to_owned(), Value::from(value)));
        true
    }
}

/// Fields of responses that an operator cannot set.
const WRITTEN_ANSWER: &[&str] = &[
    "connection",
    "content-length",
    "transfer-encoding",
    "date",
    "via",
    "upgrade",
    "keep-alive",
    "trailer",
    "te",
    "proxy-connection",
    "host",
];

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
