//! A replay as people read it, made of its JSON.

use std::fmt::Write as _;

use serde_json::Value;

use super::list;
use portcullis_model::text::escape as shown;

/// The whole of it.
pub(super) fn replay(json: &Value) -> String {
    let mut text = String::new();
    // A string takes what fits into memory.
    let mut line = |line: std::fmt::Arguments<'_>| {
        let _infallible = writeln!(text, "{line}");
    };
    let request = &json["request"];
    line(format_args!(
        "request    {} {}{}",
        string(&request["method"]),
        string(&request["authority"]),
        string(&request["target"])
    ));
    line(format_args!(
        "route      {}, recorded on generation {}",
        string(&json["route"]),
        json["generation"]
    ));
    for policy in list(&json["policies"]) {
        let version = if policy["same-plugin"] == true {
            "the plugin of the record"
        } else {
            "another plugin than the record's"
        };
        line(format_args!(
            "policy     {}: {} ({version})",
            string(&policy["name"]),
            string(&policy["plugin"])
        ));
    }
    line(format_args!(""));
    for hook in list(&json["hooks"]) {
        let verdict = match hook["verdict"].as_str() {
            Some("same") => "same",
            Some("different") => "DIFFERENT",
            _ => "cannot be judged",
        };
        line(format_args!("  {}  {}  {verdict}", string(&hook["policy"]), string(&hook["hook"])));
        for difference in list(&hook["differences"]) {
            line(format_args!("      {}", string(difference)));
        }
        for doubt in list(&hook["doubts"]) {
            line(format_args!("      = {}", string(doubt)));
        }
    }
    if list(&json["hooks"]).is_empty() {
        line(format_args!("  the record has no hook"));
    }
    line(format_args!(
        "\n{} the same, {} different, {} cannot be judged",
        json["same"], json["different"], json["unknown"]
    ));
    if json["notes-left-out"] != 0 {
        line(format_args!("{} notes found no place in the record", json["notes-left-out"]));
    }
    text
}

fn string(value: &Value) -> String {
    shown(value.as_str().unwrap_or_default()).into_owned()
}
