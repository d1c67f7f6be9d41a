//! What a plugin's schema could do to us.

use serde_json::{Value as Json, json};

use super::schema_error::{Place, report_errors};
use crate::files::source::Span;

/// Checks `config` against `schema` and returns how many mistakes were reported; `None` if the schema is refused.
fn check(schema: &Json, config: &Json) -> Option<usize> {
    let validator = jsonschema::draft202012::options().build(schema).ok()?;
    let span = Span { file: 0, start: 0, end: 0 };
    let files = std::collections::BTreeSet::new();
    let mut reports = Vec::new();
    let place = Place { policy: "p", node: None, config: span, schema, files: &files };
    report_errors(&validator, config, &place, &mut reports);
    Some(reports.len())
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    let config = json!({ "a": [1, 2, { "b": "x" }] });
    for schema in [
        json!({ "$ref": "#" }),
        json!({ "allOf": [{ "$ref": "#" }] }),
        json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] }),
        json!({ "oneOf": [{ "$ref": "#" }, { "$ref": "#" }, { "type": "string" }] }),
        json!({ "not": { "$ref": "#" } }),
        json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } }),
        json!({ "additionalProperties": { "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] } }),
    ] {
        check(&schema, &config);
    }
}

#[test]
fn a_schema_that_refers_elsewhere_is_refused() {
    assert_eq!(check(&json!({ "$ref": "https://example.com/schema" }), &json!({})), None);
    assert_eq!(check(&json!({ "$ref": "file:///etc/passwd" }), &json!({})), None);
}

#[test]
fn a_pattern_that_backtracks_for_ever_ends() {
    let schema = json!({ "properties": { "a": { "type": "string", "pattern": "^(?=a)(a+)+$" } } });
    assert_eq!(check(&schema, &json!({ "a": format!("{}b", "a".repeat(200)) })), Some(1));
}

#[test]
fn mistakes_are_bounded() {
    let schema = json!({ "additionalProperties": { "type": "string" } });
    let config: Json =
        (0..1000).map(|at| (format!("k{at}"), json!(at))).collect::<serde_json::Map<_, _>>().into();
    assert_eq!(check(&schema, &config), Some(50));
}
