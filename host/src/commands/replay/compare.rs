//! What a hook did now beside what it did then.

use portcullis_policy::FaultKind;
use portcullis_policy::recorder::same_arguments;
use serde_json::Value;

use super::list;
use crate::commands::explain::{arguments, edited, value};
use portcullis_model::text::escape as shown;

/// What is to be said of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It did the same.
    Same,
    /// It did something else: a sentence for each difference.
    Different(Vec<String>),
    /// It did something else, and that may be because the record does not have what it was given then.
    Unknown {
        /// A sentence for each difference.
        differences: Vec<String>,
        /// What is missing.
        doubts: Vec<String>,
    },
}

impl Verdict {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Different(_) => "different",
            Self::Unknown { .. } => "unknown",
        }
    }

    pub(super) fn differences(&self) -> &[String] {
        match self {
            Self::Same => &[],
            Self::Different(differences) | Self::Unknown { differences, .. } => differences,
        }
    }

    pub(super) fn doubts(&self) -> &[String] {
        match self {
            Self::Unknown { doubts, .. } => doubts,
            Self::Same | Self::Different(_) => &[],
        }
    }
}

/// Compares decision, edits and host calls. `doubts` are reasons why a difference may mean nothing; `whole` says that
/// the record has all notes.
pub(super) fn compare(recorded: &Value, replayed: &Value, mut doubts: Vec<String>, whole: bool) -> Verdict {
    let mut differences = Vec::new();
    let (then, now) = (decision(&recorded["decision"]), decision(&replayed["decision"]));
    if then != now {
        differences.push(format!("decides {}, and in the record {}", told(now), told(then)));
    }
    let (then, now) = (list(&recorded["edits"]), list(&replayed["edits"]));
    for edit in now.iter().filter(|edit| !then.contains(edit)) {
        differences.push(format!("changes {}", edited(edit)));
    }
    for edit in then.iter().filter(|edit| !now.contains(edit)) {
        differences.push(format!("does not change {}", edited(edit)));
    }
    calls(list(&recorded["calls"]), list(&replayed["calls"]), &mut differences);
    if differences.is_empty() {
        return Verdict::Same;
    }
    if recorded["decision"]["kind"] == FaultKind::Quarantined.name() {
        doubts.push("the policy was in quarantine then, and this hook was not called".to_owned());
    }
    if !whole {
        doubts.push("the record is not whole: some notes found no place in it".to_owned());
    }
    if doubts.is_empty() { Verdict::Different(differences) } else { Verdict::Unknown { differences, doubts } }
}

/// What of a decision counts. The words of a fault have addresses and times in them.
fn decision(decision: &Value) -> Value {
    let mut decision = decision.clone();
    if decision["decision"] == "fault"
        && let Some(members) = decision.as_object_mut()
    {
        members.remove("message");
    }
    decision
}

fn told(decision: Value) -> String {
    match decision["decision"].as_str() {
        Some("reply") => {
            let fields = list(&decision["fields"]).len();
            format!("reply {} ({fields} fields, body {})", decision["status"], value(&decision["body"]))
        }
        Some("fault") => format!("fault {}", shown(decision["kind"].as_str().unwrap_or_default())),
        Some("replace") => format!("replace {}", value(&decision["bytes"])),
        Some("split") => {
            let again = shown(decision["again"].as_str().unwrap_or_default());
            format!("pass {}, keep {}, again {again}", value(&decision["bytes"]), decision["kept"])
        }
        other => shown(other.unwrap_or_default()).into_owned(),
    }
}

fn calls(then: &[Value], now: &[Value], differences: &mut Vec<String>) {
    let same = |then: &Value, now: &Value| {
        then["function"] == now["function"] && same_arguments(&then["arguments"], &now["arguments"])
    };
    let told = |call: &Value| {
        format!("{}({})", shown(call["function"].as_str().unwrap_or_default()), arguments(&call["arguments"]))
    };
    let mut left: Vec<&Value> = then.iter().collect();
    let mut all = true;
    for call in now {
        match left.iter().position(|other| same(other, call)) {
            Some(at) => drop(left.remove(at)),
            None => {
                all = false;
                differences.push(format!("asks {}, which the record does not answer", told(call)));
            }
        }
    }
    for call in &left {
        differences.push(format!("does not ask {}", told(call)));
    }
    let in_order = then.iter().zip(now).all(|(then, now)| same(then, now));
    if all && left.is_empty() && !in_order {
        differences.push("asks the host in another order".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Verdict, compare};

    fn hook(decision: Value, edits: Value, calls: &[(&str, u32)]) -> Value {
        let calls: Vec<Value> = calls
            .iter()
            .map(|(function, key)| json!({ "function": function, "arguments": { "key": key }, "result": null }))
            .collect();
        json!({ "decision": decision, "edits": edits, "calls": calls, "cpu-us": 1.0 })
    }

    fn next(calls: &[(&str, u32)]) -> Value {
        hook(json!({ "decision": "next" }), json!([]), calls)
    }

    fn differences(then: &Value, now: &Value) -> Vec<String> {
        compare(then, now, Vec::new(), true).differences().to_vec()
    }

    #[test]
    fn the_same_is_the_same_however_long_it_took() {
        let (then, mut now) = (next(&[("a", 1)]), next(&[("a", 1)]));
        now["cpu-us"] = json!(99.0);
        assert_eq!(compare(&then, &now, vec!["a doubt".to_owned()], false), Verdict::Same);
    }

    #[test]
    fn each_difference_is_told() {
        let reply = json!({ "decision": "reply", "status": 403, "fields": [], "body": "no" });
        let set = |value: &str| json!([{ "edit": "attribute", "name": "user", "value": value }]);
        let then = hook(json!({ "decision": "next" }), set("alice"), &[("a", 1)]);
        let now = hook(reply, set("bob"), &[("b", 2)]);
        assert_eq!(
            differences(&then, &now),
            [
                "decides reply 403 (0 fields, body \"no\"), and in the record next",
                "changes attribute user = \"bob\"",
                "does not change attribute user = \"alice\"",
                "asks b(key: 2), which the record does not answer",
                "does not ask a(key: 1)",
            ]
        );
    }

    #[test]
    fn another_order_is_a_difference() {
        let (then, now) = (next(&[("a", 1), ("b", 2)]), next(&[("b", 2), ("a", 1)]));
        assert_eq!(differences(&then, &now), ["asks the host in another order"]);
        let twice = next(&[("a", 1), ("a", 1)]);
        assert_eq!(differences(&twice, &next(&[("a", 1)])), ["does not ask a(key: 1)"]);
    }

    #[test]
    fn a_doubt_makes_a_difference_unknown() {
        let (then, now) = (next(&[("a", 1)]), next(&[]));
        assert_eq!(compare(&then, &now, Vec::new(), true).name(), "different");
        assert_eq!(compare(&then, &now, vec!["a doubt".to_owned()], true).name(), "unknown");
        assert_eq!(compare(&then, &now, Vec::new(), false).name(), "unknown");
    }

    fn fault(kind: &str, message: &str) -> Value {
        let decision = json!({ "decision": "fault", "kind": kind, "message": message, "on-error": "deny" });
        hook(decision, json!([]), &[])
    }

    #[test]
    fn what_was_not_called_for_a_quarantine_cannot_be_judged() {
        let verdict = compare(&fault("quarantined", ""), &next(&[]), Vec::new(), true);
        assert_eq!(verdict.name(), "unknown");
        assert_eq!(verdict.doubts(), ["the policy was in quarantine then, and this hook was not called"]);
    }

    #[test]
    fn faults_are_told_apart_by_their_kind() {
        assert_eq!(compare(&fault("trap", "at 1"), &fault("trap", "at 2"), Vec::new(), true), Verdict::Same);
        assert_eq!(
            differences(&fault("trap", ""), &fault("deadline", "")),
            ["decides fault deadline, and in the record fault trap"]
        );
    }
}
