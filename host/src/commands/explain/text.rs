//! An explanation as people read it, made of its JSON, so that both say the same.

use std::fmt::Write as _;

use portcullis_policy::FaultKind;
use serde_json::Value;

use crate::words::age;
use portcullis_inspect::abridged;
use portcullis_model::text::escape as shown;

/// Characters of a value that are shown; all of it is in the JSON.
const VALUE_CHARS_MAX: usize = 200;
/// Lines of a body that are shown.
const BODY_LINES_MAX: usize = 20;

/// The whole of it.
pub(crate) fn explanation(json: &Value) -> String {
    let mut text = Text::default();
    text.request(json);
    text.routes(json);
    text.policies(json);
    text.ending(json);
    text.encoding(&json["encoding"]);
    text.0
}

#[derive(Default)]
struct Text(String);

/// A line. A string takes what fits into memory.
macro_rules! line {
    ($text:expr, $($part:tt)*) => {{
        let _infallible = writeln!($text.0, $($part)*);
    }};
}

impl Text {
    fn request(&mut self, json: &Value) {
        if json["mode"] == "live" {
            line!(self, "generation {}, as it runs", json["generation"]);
        }
        let listener = string(&json["listener"]);
        if !listener.is_empty() {
            line!(self, "listener   {listener}");
        }
        let client = &json["client"];
        let (address, peer) = (string(&client["address"]), string(&client["peer"]));
        if json["request"].is_null() {
            return;
        }
        if address == peer {
            line!(self, "client     {address}");
        } else {
            line!(self, "client     {address} (as {peer} says, which is a trusted proxy)");
        }
        let request = &json["request"];
        line!(
            self,
            "request    {} {}://{}{}",
            string(&request["method"]),
            string(&request["scheme"]),
            string(&request["authority"]),
            string(&request["target"])
        );
        for (mark, what) in [("-", "dropped"), ("+", "added")] {
            for field in list(&json["received"][what]) {
                line!(self, "           {mark} {}: {}", string(&field["name"]), bytes(&field["value"]));
            }
        }
    }

    fn routes(&mut self, json: &Value) {
        let routes = list(&json["routes"]);
        if routes.is_empty() {
            return;
        }
        line!(self, "\nroutes, in the order in which they are tried");
        let width = routes.iter().map(|route| string(&route["route"]).chars().count()).max().unwrap_or(0);
        for route in routes {
            let origin = format!("({}:{})", string(&route["file"]), route["line"]);
            let (mark, what) = match route["verdict"].as_str() {
                Some("wins") => (">", "takes it".to_owned()),
                Some("behind") if route["takes"] == true => {
                    (" ", "would take it, and comes later".to_owned())
                }
                Some("behind") => (" ", "comes later, and would not take it".to_owned()),
                _ => (" ", lost(route)),
            };
            line!(self, "{mark} {:width$}  {what}  {origin}", string(&route["route"]));
        }
    }

    fn policies(&mut self, json: &Value) {
        if json["route"].is_null() {
            return;
        }
        if json["mode"] == "routes" {
            line!(self, "\nthe policies were not run");
            return;
        }
        let hooks = list(&json["policies"]);
        if hooks.is_empty() {
            line!(self, "\nno policy has a hook that ran");
            return;
        }
        line!(self, "\npolicies");
        for hook in hooks {
            self.hook(hook);
        }
        if json["notes-left-out"].as_u64().is_some_and(|count| count > 0) {
            line!(self, "  {} further notes found no place", json["notes-left-out"]);
        }
    }

    fn hook(&mut self, hook: &Value) {
        let decided = decision(hook);
        let version = match hook["version"].as_str() {
            Some("active") | None => String::new(),
            Some(version) => format!(" ({})", shown(version)),
        };
        line!(
            self,
            "  {}{version}  {}  {decided}  {} us",
            string(&hook["policy"]),
            string(&hook["hook"]),
            hook["cpu-us"]
        );
        for edit in list(&hook["edits"]) {
            line!(self, "      {}", edited(edit));
        }
        for call in list(&hook["calls"]) {
            let result = match &call["result"] {
                Value::Null => String::new(),
                result => format!(" = {}", value(result)),
            };
            line!(self, "      {}({}){result}", string(&call["function"]), arguments(&call["arguments"]));
        }
    }

    fn ending(&mut self, json: &Value) {
        let ending = &json["ending"];
        match ending["kind"].as_str() {
            Some("forwarded") => {
                self.forwarded(ending);
                self.response_edits(list(&ending["response-edits"]));
            }
            Some("replied") => {
                match ending["fault"].as_str() {
                    Some(_) if is_quarantined(json) => line!(
                        self,
                        "\npolicy `{}` is in quarantine, and so the request is refused",
                        string(&ending["policy"])
                    ),
                    None => line!(self, "\npolicy `{}` answers", string(&ending["policy"])),
                    Some(_) => line!(
                        self,
                        "\npolicy `{}` failed, and so the request is refused",
                        string(&ending["policy"])
                    ),
                }
                self.response(&ending["response"]);
            }
            Some("answered") => {
                line!(self, "\nanswered by {}", string(&ending["by"]));
                self.response(&ending["response"]);
            }
            _ => {
                line!(self, "\nrefused: the client gets {}: {}", ending["status"], string(&ending["reason"]));
                if !ending["response"].is_null() {
                    self.response(&ending["response"]);
                }
            }
        }
    }

    /// What the route's `compress` makes of the response.
    fn encoding(&mut self, encoding: &Value) {
        if !encoding.is_null() {
            line!(self, "\nencoding: {}", string(&encoding["says"]));
        }
    }

    fn forwarded(&mut self, ending: &Value) {
        let (request, cache, upstream) = (&ending["request"], &ending["cache"], &ending["upstream"]);
        if !cache.is_null() {
            line!(self, "\ncache `{}`: {}", string(&cache["store"]), string(&cache["says"]));
            line!(self, "  {}", string(&cache["url"]));
            for part in list(&cache["key"]) {
                line!(self, "  {}", string(part));
            }
            for tag in list(&cache["tags"]) {
                line!(self, "  tag added by a policy: {}", string(tag));
            }
            if !cache["now"].is_null() {
                let now = &cache["now"];
                line!(self, "  now: {} ({})", string(&now["status"]), string(&now["why"]));
            }
        }
        let tls = if upstream["tls"] == true { " over TLS" } else { "" };
        line!(
            self,
            "\nforwarded to upstream `{}` ({}{tls})",
            string(&upstream["name"]),
            string(&upstream["protocol"])
        );
        line!(self, "  {} {}", string(&request["method"]), string(&request["target"]));
        for field in list(&request["fields"]) {
            line!(self, "  {}: {}", string(&field["name"]), bytes(&field["value"]));
        }
        let policies: Vec<String> = list(&ending["body-policies"]).iter().map(string).collect();
        if !policies.is_empty() {
            line!(self, "policies that see its body first, and may change this: {}", policies.join(", "));
        }
        let endpoints = list(&upstream["endpoints"]);
        if upstream["retry-on"].is_array() {
            let on: Vec<String> = list(&upstream["retry-on"]).iter().map(string).collect();
            line!(self, "up to {} attempts, on failure to connect, {}", upstream["attempts"], on.join(", "));
        }
        if let Some(limits) = upstream["limits"].as_object() {
            let bounds = limits.iter().filter(|(_, bound)| !bound.is_null());
            let bounds: Vec<String> = bounds.map(|(name, bound)| format!("{name} {bound}")).collect();
            line!(self, "limits: {}", bounds.join(", "));
        }
        line!(self, "endpoints, balanced by {}", string(&upstream["balance"]));
        for endpoint in endpoints {
            let mark = if endpoint["next"] == true { ">" } else { " " };
            let backup = match endpoint["priority"].as_u64() {
                Some(priority @ 1..) => format!(", backup {priority}"),
                _ => String::new(),
            };
            let health = match endpoint["health"].as_str() {
                Some(health) => format!(", {health}, {} under way", endpoint["in-flight"]),
                None => String::new(),
            };
            line!(
                self,
                "{mark} {}  weight {}{backup}, host `{}`{health}",
                string(&endpoint["address"]),
                endpoint["weight"],
                string(&endpoint["host"])
            );
        }
    }

    fn response_edits(&mut self, edits: &[Value]) {
        if !edits.is_empty() {
            line!(self, "what the route changes in the response, after the policies");
        }
        for edit in edits {
            let name = string(&edit["name"]);
            match edit["edit"].as_str() {
                Some("remove") => line!(self, "  - {name}"),
                Some("add") => line!(self, "  + {name}: {}", bytes(&edit["value"])),
                _ => line!(self, "  {name}: {}", bytes(&edit["value"])),
            }
        }
    }

    fn response(&mut self, response: &Value) {
        line!(self, "  {}", response["status"]);
        for field in list(&response["fields"]) {
            line!(self, "  {}: {}", string(&field["name"]), bytes(&field["value"]));
        }
        let body = response["body"].as_str().map_or_else(|| bytes(&response["body"]), str::to_owned);
        let lines: Vec<&str> = body.lines().collect();
        if !lines.is_empty() {
            line!(self, "");
        }
        for one in lines.iter().take(BODY_LINES_MAX) {
            line!(self, "  {}", shown(&abridged(one, VALUE_CHARS_MAX)));
        }
        if lines.len() > BODY_LINES_MAX {
            line!(self, "  … ({} bytes in all)", response["body-bytes"]);
        }
    }
}

/// That a hook was not called, for how long its policy has not been, and when it is tried again.
fn passed_over(hook: &Value) -> String {
    let (quarantine, mode) = (&hook["quarantine"], string(&hook["decision"]["on-error"]));
    let seconds = |name: &str| quarantine[name].as_f64().unwrap_or_default();
    let times = match quarantine["state"].as_str() {
        None => String::new(),
        Some(state) => {
            let probe = match state {
                "waiting" => format!("next probe in {} s", seconds("next-probe-s").ceil()),
                _ => "the next request is let through as a probe".to_owned(),
            };
            format!(" for {}, {probe}", age(seconds("lasted-s") as u64))
        }
    };
    format!("passed over: in quarantine{times} (on-error = \"{mode}\")")
}

/// Whether the request ends at a policy that was not called.
fn is_quarantined(json: &Value) -> bool {
    let last = list(&json["policies"]).iter().rfind(|hook| hook["policy"] == json["ending"]["policy"]);
    last.is_some_and(|hook| hook["decision"]["kind"] == FaultKind::Quarantined.name())
}

fn lost(route: &Value) -> String {
    let (condition, expected) = (string(&route["condition"]), string(&route["expected"]));
    match (route["condition"].as_str(), string(&route["found"])) {
        (Some(kind @ ("header" | "query" | "cookie")), found) if found.is_empty() => {
            format!("asks for {kind} `{expected}`, which is not there")
        }
        (_, found) => format!("asks for {condition} `{expected}`, and the request has `{found}`"),
    }
}

/// What a hook decided, in words.
pub(crate) fn decision(hook: &Value) -> String {
    let decision = &hook["decision"];
    match decision["decision"].as_str() {
        Some("reply") => format!("replies {}", decision["status"]),
        Some("fault") if decision["kind"] == FaultKind::Quarantined.name() => passed_over(hook),
        Some("fault") => {
            format!(
                "fails: {}: {} (on-error = \"{}\")",
                string(&decision["kind"]),
                string(&decision["message"]),
                string(&decision["on-error"])
            )
        }
        Some(other) => other.to_owned(),
        None => String::new(),
    }
}

/// One change of an exchange, in words.
pub(crate) fn edited(edit: &Value) -> String {
    let name = string(&edit["name"]);
    let message = match edit["edit"].as_str() {
        Some("request-header") => "request",
        Some("response-header") => "response",
        Some("trailer") => "trailer",
        Some("attribute") => return format!("attribute {name} = {}", value(&edit["value"])),
        _ => return format!("{} = {}", string(&edit["edit"]), value(&edit["value"])),
    };
    let (before, after) = (list(&edit["before"]), list(&edit["after"]));
    let lines = |lines: &[Value]| lines.iter().map(bytes).collect::<Vec<_>>().join(" | ");
    if after.is_empty() {
        format!("{message} - {name}")
    } else if before.is_empty() {
        format!("{message} + {name}: {}", lines(after))
    } else if after.starts_with(before) {
        format!("{message} + {name}: {} (appended)", lines(after.get(before.len()..).unwrap_or_default()))
    } else {
        format!("{message} {name}: {} -> {}", lines(before), lines(after))
    }
}

/// The arguments of a call, abridged.
pub(crate) fn arguments(arguments: &Value) -> String {
    let members = arguments.as_object().into_iter().flatten();
    members
        .map(|(name, argument)| format!("{}: {}", shown(name), value(argument)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A value, abridged.
pub(crate) fn value(value: &Value) -> String {
    shown(&abridged(&value.to_string(), VALUE_CHARS_MAX)).into_owned()
}

fn string(value: &Value) -> String {
    shown(&abridged(value.as_str().unwrap_or_default(), VALUE_CHARS_MAX * 10)).into_owned()
}

/// Returns a field's value: unchanged if it is text.
fn bytes(value: &Value) -> String {
    match value.as_str() {
        Some(text) => shown(&abridged(text, VALUE_CHARS_MAX)).into_owned(),
        None => self::value(value),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
