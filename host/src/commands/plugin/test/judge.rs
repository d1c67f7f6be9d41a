//! Compares what became of an exchange with what was expected, and says at its line what is otherwise.

use portcullis_config::{
    At, CaseExchange, CaseFile, Diagnostic, Expected, ExpectedBody, ExpectedMessage, ExpectedValue, Place,
};
use portcullis_http::Fields;
use portcullis_inspect::abridged;
use portcullis_inspect::trace::hook_to_json;
use portcullis_model::text::escape as shown;
use serde_json::Value;

use super::play::{Played, Unsent};
use crate::commands::explain::{arguments, decision, edited, value};

/// Characters of a body or a field that are shown.
const VALUE_CHARS_MAX: usize = 300;
/// Lines of what the policy did that are shown.
const TRACE_LINES_MAX: usize = 40;
/// The host call that writes a line of the log, and the interface that it is of.
const LOG_CALL: &str = "log.log";
const LOG_INTERFACE: &str = "log.";

/// Judges an exchange of a case. `number` is its position in the case, if that has several. Returns what turned out
/// otherwise.
pub(super) fn judge(
    file: &CaseFile,
    exchange: &CaseExchange,
    outcome: &Result<Played, Unsent>,
    number: Option<usize>,
) -> Vec<Diagnostic> {
    let played = match outcome {
        Ok(played) => played,
        Err(Unsent::Request(reason)) => {
            return vec![file.mismatch(exchange.request.place, "the request cannot be sent", reason, &[])];
        }
        Err(Unsent::Response(reason)) => {
            return vec![file.mismatch(exchange.response.place, "the response cannot be sent", reason, &[])];
        }
    };
    let mut judge = Judge { found: Vec::new() };
    judge.all(&exchange.expect, exchange.expect.place.unwrap_or(exchange.request.place), played);
    let mut found = judge.found;
    let Some(last) = found.pop() else { return Vec::new() };
    let mut notes: Vec<String> =
        number.map(|number| format!("exchange {number} of the case")).into_iter().collect();
    notes.push("what the policy did:".to_owned());
    notes.extend(trace(played).into_iter().map(|line| format!("  {line}")));
    let shown = found.into_iter().map(|mismatch| mismatch.show(file, &[]));
    let mut shown: Vec<Diagnostic> = shown.collect();
    shown.push(last.show(file, &notes));
    shown
}

/// Judges that the settings of a case were refused, or were taken.
pub(super) fn judge_refusal(
    file: &CaseFile,
    expect: &Expected,
    place: Place,
    refused: Option<&str>,
) -> Option<Diagnostic> {
    match (&expect.refused, refused) {
        (None, Some(reason)) => {
            let label = format!("got: {}", short(reason));
            Some(file.mismatch(place, "the policy refuses its settings", &label, &[]))
        }
        (Some(expected), Some(reason)) if !reason.contains(&expected.value) => {
            let label = format!("got: {}", short(reason));
            Some(file.mismatch(
                expected.place,
                "the policy refuses its settings for another reason",
                &label,
                &[],
            ))
        }
        (Some(expected), None) => {
            Some(file.mismatch(expected.place, "the policy takes its settings", "expected a refusal", &[]))
        }
        _ => None,
    }
}

/// Something that turned out otherwise.
struct Mismatch {
    place: Place,
    message: String,
    label: String,
}

impl Mismatch {
    fn show(&self, file: &CaseFile, notes: &[String]) -> Diagnostic {
        file.mismatch(self.place, &self.message, &self.label, notes)
    }
}

struct Judge {
    found: Vec<Mismatch>,
}

impl Judge {
    fn wrong(&mut self, place: Place, message: impl Into<String>, label: impl Into<String>) {
        self.found.push(Mismatch { place, message: message.into(), label: label.into() });
    }

    fn all(&mut self, expect: &Expected, place: Place, played: &Played) {
        if let Some(reason) = &played.too_large {
            self.wrong(place, "the policy holds back more than it may", short(reason));
        }
        self.reply(expect, place, played);
        self.fault(expect, place, played);
        if let Some(At { value, .. }) = &expect.request {
            let request = &played.request;
            self.text("method", value.method.as_ref(), &request.method);
            self.text("path", value.path.as_ref(), request.target());
            self.text("authority", value.authority.as_ref(), &request.authority);
            self.fields("the request", &value.headers, &request.fields);
            self.body("the request", value.body.as_ref(), &played.request_body);
        }
        if let Some(At { value, .. }) = &expect.response {
            self.message(
                "the response",
                value,
                (played.response.status, &played.response.fields, &played.response_body),
            );
        }
        for (name, expected) in &expect.attributes {
            let found = played.attributes.iter().find(|(known, _)| known == name);
            let found: Vec<&[u8]> = found.map(|(_, value)| value.as_bytes()).into_iter().collect();
            self.value(&format!("the attribute `{}`", shown(name)), expected, &found);
        }
        let hooks: Vec<Value> = played.hooks.iter().map(hook_to_json).collect();
        let of = |what: &str| hooks.iter().flat_map(|hook| list(&hook[what])).collect::<Vec<_>>();
        let edits: Vec<String> = of("edits").into_iter().map(edited).collect();
        self.lines("edits", expect.edits.as_ref(), &edits, true);
        let (logged, calls): (Vec<_>, Vec<_>) = of("calls").into_iter().partition(|call| {
            call["function"].as_str().is_some_and(|function| function.starts_with(LOG_INTERFACE))
        });
        let logged: Vec<String> =
            logged.into_iter().filter(|call| call["function"] == LOG_CALL).map(log_line).collect();
        self.lines("log", expect.log.as_ref(), &logged, false);
        let calls: Vec<String> = calls.into_iter().map(call_line).collect();
        self.lines("calls", expect.calls.as_ref(), &calls, false);
    }

    fn reply(&mut self, expect: &Expected, place: Place, played: &Played) {
        match (&expect.reply, &played.reply) {
            (None, None) => {}
            (None, Some((status, _, body))) => {
                let label = format!("expected no reply, got {status}: {}", quoted(body));
                self.wrong(place, "the policy replies", label);
            }
            (Some(At { place, .. }), None) => {
                self.wrong(*place, "the policy does not reply", "expected a reply");
            }
            (Some(At { value, .. }), Some((status, fields, body))) => {
                self.message("the reply", value, (*status, fields, body));
            }
        }
    }

    fn fault(&mut self, expect: &Expected, place: Place, played: &Played) {
        match (&expect.fault, &played.fault) {
            (None, None) => {}
            (None, Some((kind, message))) => {
                self.wrong(place, "the policy fails", format!("{kind}: {}", short(message)));
            }
            (Some(At { place, .. }), None) => {
                self.wrong(*place, "the policy does not fail", "expected a fault");
            }
            (Some(At { value, .. }), Some((kind, message))) => {
                if let Some(expected) = value.kind.as_ref().filter(|expected| expected.value != *kind) {
                    let label = format!("got {kind}: {}", short(message));
                    self.wrong(expected.place, "the policy fails in another way", label);
                }
                if let Some(expected) = value.message.as_ref().filter(|text| !message.contains(&text.value)) {
                    let label = format!("got: {}", short(message));
                    self.wrong(expected.place, "the policy fails for another reason", label);
                }
            }
        }
    }

    fn message(
        &mut self,
        what: &str,
        expected: &ExpectedMessage,
        (status, fields, body): (u16, &Fields, &[u8]),
    ) {
        if let Some(expected) = expected.status.as_ref().filter(|expected| expected.value != status) {
            let message = format!("{what} has another status");
            self.wrong(expected.place, message, format!("expected {}, got {status}", expected.value));
        }
        self.fields(what, &expected.headers, fields);
        self.body(what, expected.body.as_ref(), body);
    }

    fn text(&mut self, what: &str, expected: Option<&At<String>>, found: &str) {
        if let Some(expected) = expected.filter(|expected| expected.value != found) {
            let label = format!("got {}", quoted(found.as_bytes()));
            self.wrong(expected.place, format!("the request has another {what}"), label);
        }
    }

    fn fields(&mut self, what: &str, expected: &[(String, At<ExpectedValue>)], found: &Fields) {
        for (name, expected) in expected {
            let lower = name.to_ascii_lowercase();
            let found: Vec<&[u8]> = found.get_all(lower.as_bytes()).collect();
            self.value(&format!("the field `{}` of {what}", shown(name)), expected, &found);
        }
    }

    fn value(&mut self, what: &str, expected: &At<ExpectedValue>, found: &[&[u8]]) {
        let label = || match found {
            [] => "it is not there".to_owned(),
            found => format!("got {}", found.iter().map(|line| quoted(line)).collect::<Vec<_>>().join(", ")),
        };
        match &expected.value {
            ExpectedValue::Absent if !found.is_empty() => {
                self.wrong(expected.place, format!("{what} is there"), label())
            }
            ExpectedValue::Present if found.is_empty() => {
                self.wrong(expected.place, format!("{what} is missing"), label())
            }
            ExpectedValue::Lines(lines) if !lines.iter().map(String::as_bytes).eq(found.iter().copied()) => {
                let message = if found.is_empty() { "is missing" } else { "has another value" };
                self.wrong(expected.place, format!("{what} {message}"), label());
            }
            _ => {}
        }
    }

    fn body(&mut self, what: &str, expected: Option<&At<ExpectedBody>>, found: &[u8]) {
        let Some(At { value, place }) = expected else { return };
        let ExpectedBody { whole, contains, bytes: length } = value;
        if let Some(whole) = whole.as_ref().filter(|whole| **whole != found) {
            let same = whole.iter().zip(found).take_while(|(expected, found)| expected == found).count();
            let label = format!(
                "differs from byte {same} on: expected {}, got {}",
                around(whole, same),
                around(found, same)
            );
            self.wrong(*place, format!("the body of {what} is another one"), label);
        }
        let has = |text: &str| found.windows(text.len().max(1)).any(|window| window == text.as_bytes());
        if contains.as_ref().is_some_and(|text| !text.is_empty() && !has(text)) {
            let label = format!("got {}", quoted(found));
            self.wrong(*place, format!("the body of {what} does not contain the text"), label);
        }
        if length.is_some_and(|length| length != found.len() as u64) {
            self.wrong(
                *place,
                format!("the body of {what} has another length"),
                format!("got {} bytes", found.len()),
            );
        }
    }

    /// Each expected text has to be in a line, in order; with `all`, each line has to be expected.
    fn lines(&mut self, what: &str, expected: Option<&At<Vec<At<String>>>>, found: &[String], all: bool) {
        let Some(expected) = expected else { return };
        let mut rest = found.iter();
        if expected.value.is_empty() {
            if let Some(first) = rest.next() {
                let label = format!("expected none, got {}: {}", found.len(), short(first));
                self.wrong(expected.place, format!("there are {what}"), label);
            }
            return;
        }
        for text in &expected.value {
            let is_it = |line: &&String| line.contains(&text.value);
            let hit = if all { rest.next().filter(is_it) } else { rest.find(is_it) };
            if hit.is_none() {
                let label = match found {
                    [] => format!("there are no {what}"),
                    found => format!(
                        "got: {}",
                        found.iter().map(|line| short(line)).collect::<Vec<_>>().join(" | ")
                    ),
                };
                return self.wrong(text.place, format!("this is not among the {what}, in this order"), label);
            }
        }
        if let Some(more) = rest.next().filter(|_| all) {
            let label = format!("also got: {}", short(more));
            self.wrong(expected.place, format!("there are more {what} than expected"), label);
        }
    }
}

/// What the policy did, hook by hook.
fn trace(played: &Played) -> Vec<String> {
    let mut lines = Vec::new();
    for hook in &played.hooks {
        let json = hook_to_json(hook);
        lines.push(format!("{}  {}", hook.hook, decision(&json)));
        lines.extend(list(&json["edits"]).iter().map(|edit| format!("    {}", edited(edit))));
        lines.extend(list(&json["calls"]).iter().map(|call| format!("    {}", call_line(call))));
    }
    if lines.is_empty() {
        lines.push("nothing: it has none of the hooks".to_owned());
    }
    let more = lines.len().saturating_sub(TRACE_LINES_MAX);
    lines.truncate(TRACE_LINES_MAX);
    if more > 0 {
        lines.push(format!("and {more} lines more"));
    }
    lines
}

fn call_line(call: &Value) -> String {
    let result = match &call["result"] {
        Value::Null => String::new(),
        result => format!(" = {}", value(result)),
    };
    format!(
        "{}({}){result}",
        shown(call["function"].as_str().unwrap_or_default()),
        arguments(&call["arguments"])
    )
}

/// A line of the log as it would be written: level, message, fields.
fn log_line(call: &Value) -> String {
    let arguments = &call["arguments"];
    let text = |value: &Value| shown(value.as_str().unwrap_or_default()).into_owned();
    let mut line = format!("{}: {}", text(&arguments["level"]), text(&arguments["message"]));
    for field in list(&arguments["fields"]) {
        line.push_str(&format!(" {}=\"{}\"", text(&field[0]), text(&field[1])));
    }
    line
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn short(text: &str) -> String {
    shown(&abridged(text, VALUE_CHARS_MAX)).into_owned()
}

/// Bytes as text in quotes, or in hexadecimal digits.
fn quoted(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{:?}", abridged(text, VALUE_CHARS_MAX)),
        Err(_) => {
            let digits = portcullis_model::text::hex(bytes.get(..VALUE_CHARS_MAX / 2).unwrap_or(bytes));
            format!("hex {digits} ({} bytes in all)", bytes.len())
        }
    }
}

/// What stands around the first byte that differs.
fn around(body: &[u8], at: usize) -> String {
    const BEFORE: usize = 10;
    const AFTER: usize = 40;
    let (from, to) = (at.saturating_sub(BEFORE), (at + AFTER).min(body.len()));
    let part = String::from_utf8_lossy(body.get(from..to).unwrap_or_default()).into_owned();
    let (before, after) = (if from > 0 { "…" } else { "" }, if to < body.len() { "…" } else { "" });
    format!("{before}{part:?}{after}")
}
