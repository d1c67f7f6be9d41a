//! What a new version of a plugin requires of its settings and the old one did not: a comparison of two JSON schemas.
//!
//! The question is whether the new version accepts every config that the old one accepted. Schemas that the SDK writes
//! are compared exactly; if a schema uses more of JSON Schema than that, a keyword that differs and is not known here
//! is reported as one that may refuse what was accepted.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use portcullis_model::text::escape as shown;

use crate::abridged;

/// Tables in tables; a schema that refers to itself ends here too.
const DEPTH_MAX: usize = 32;
/// Differences that are listed for one schema.
const CHANGES_MAX: usize = 200;
/// Characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 60;

/// Keywords without influence on what is accepted.
const SILENT: [&str; 8] =
    ["$schema", "$id", "$comment", "title", "description", "examples", "$defs", "definitions"];
/// Keywords that [`Walk::compare`] understands.
const KNOWN: [&str; 21] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "anyOf",
    "oneOf",
    "default",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "pattern",
    "x-portcullis-file",
    "$ref",
];

/// A difference between two schemas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SettingChange {
    /// Which setting: `keys[].name`. Empty for all of them.
    pub(crate) setting: String,
    /// Whether settings that were right may be refused now.
    pub(crate) breaks: bool,
    /// What differs, in words.
    pub(crate) change: String,
}

/// Returns the changes from `old` to `new`; `None` is a plugin without a schema for its settings.
pub(crate) fn changes(old: Option<&Value>, new: Option<&Value>) -> Vec<SettingChange> {
    let change = |breaks, change: &str| {
        vec![SettingChange { setting: String::new(), breaks, change: change.to_owned() }]
    };
    match (old, new) {
        (None, None) => Vec::new(),
        (None, Some(_)) => change(true, "settings are checked by a schema now; before, any table was taken"),
        (Some(_), None) => change(false, "there is no schema any more: any table is taken"),
        (Some(old), Some(new)) => {
            let mut walk = Walk { roots: (old, new), changes: Vec::new() };
            walk.compare(old, new, "", 0);
            walk.changes
        }
    }
}

struct Walk<'a> {
    roots: (&'a Value, &'a Value),
    changes: Vec<SettingChange>,
}

impl<'a> Walk<'a> {
    fn note(&mut self, setting: &str, breaks: bool, change: impl Into<String>) {
        if self.changes.len() < CHANGES_MAX {
            let change = SettingChange {
                setting: shown(setting).into_owned(),
                breaks,
                change: shown(&change.into()).into_owned(),
            };
            self.changes.push(change);
        }
    }

    fn compare(&mut self, old: &'a Value, new: &'a Value, path: &str, depth: usize) {
        let (old, new) = (resolve(self.roots.0, old), resolve(self.roots.1, new));
        if old == new || depth > DEPTH_MAX {
            return;
        }
        let (old, new) = match (old, new) {
            (Value::Object(old), Value::Object(new)) => (old, new),
            // `true` takes everything and `false` nothing.
            (_, Value::Bool(true)) => return self.note(path, false, "takes any value now"),
            (_, Value::Bool(false)) => return self.note(path, true, "is refused now"),
            _ => return self.note(path, true, "is described otherwise"),
        };
        self.types(old, new, path);
        self.values(old, new, path);
        self.alternatives(old, new, path, depth);
        self.bounds(old, new, path);
        self.properties(old, new, path, depth);
        if let (Some(old), Some(new)) = (old.get("items"), new.get("items")) {
            self.compare(old, new, &format!("{path}[]"), depth + 1);
        }
        if is_file(old) != is_file(new) {
            let now =
                if is_file(new) { "is the path of a file now" } else { "is no path of a file any more" };
            self.note(path, true, now);
        }
        if old.get("default") != new.get("default") && old.contains_key("default") {
            let now = match new.get("default") {
                Some(default) => {
                    format!("is {} where it is left out, and was {}", value(default), value(&old["default"]))
                }
                None => {
                    format!("was {} where it was left out, and has no default now", value(&old["default"]))
                }
            };
            self.note(path, false, now);
        }
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let other = |name: &&&String| {
            !SILENT.contains(&name.as_str())
                && !KNOWN.contains(&name.as_str())
                && old.get(**name) != new.get(**name)
        };
        for name in names.iter().filter(other) {
            self.note(path, true, format!("is described otherwise: `{name}`"));
        }
    }

    fn types(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        let (before, after) = (types_of(old), types_of(new));
        if before == after || after.is_empty() {
            return;
        }
        let takes = |name: &&str| after.contains(name) || (*name == "integer" && after.contains(&"number"));
        let list = |types: &[&str]| if types.is_empty() { "any type".to_owned() } else { types.join(" or ") };
        let breaks = before.is_empty() || !before.iter().all(takes);
        self.note(path, breaks, format!("takes {}, and took {}", list(&after), list(&before)));
    }

    /// The values that an `enum` lists.
    fn values(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        match (listed(old), listed(new)) {
            (Some(before), Some(after)) => {
                for gone in before.iter().filter(|value| !after.contains(value)) {
                    self.note(path, true, format!("does not take {} any more", value(gone)));
                }
                for added in after.iter().filter(|value| !before.contains(value)) {
                    self.note(path, false, format!("takes {} as well", value(added)));
                }
            }
            (None, Some(after)) => {
                let list: Vec<String> = after.iter().map(|listed| value(listed)).collect();
                self.note(path, true, format!("takes one of {} only", list.join(", ")));
            }
            (Some(_), None) => self.note(path, false, "takes other values as well"),
            (None, None) => {}
        }
    }

    /// Returns the forms that `anyOf` or `oneOf` lists, named as the SDK names variants.
    fn alternatives(
        &mut self,
        old: &'a Map<String, Value>,
        new: &'a Map<String, Value>,
        path: &str,
        depth: usize,
    ) {
        let (before, after) = (forms(old, self.roots.0), forms(new, self.roots.1));
        for (key, form) in &before {
            match after.iter().find(|(other, _)| other == key) {
                Some((_, other)) => self.compare(form, other, path, depth + 1),
                None => self.note(path, true, format!("does not take the form {key} any more")),
            }
        }
        for (key, _) in after.iter().filter(|(key, _)| !before.iter().any(|(other, _)| other == key)) {
            if before.is_empty() {
                self.note(path, true, format!("takes one of several forms now, such as {key}"));
            } else {
                self.note(path, false, format!("takes the form {key} as well"));
            }
        }
    }

    fn bounds(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        for (name, is_floor) in [
            ("minimum", true),
            ("exclusiveMinimum", true),
            ("minLength", true),
            ("minItems", true),
            ("maximum", false),
            ("exclusiveMaximum", false),
            ("maxLength", false),
            ("maxItems", false),
        ] {
            let (before, after) = (old.get(name), new.get(name));
            if before == after {
                continue;
            }
            let breaks = match (before.and_then(Value::as_f64), after.and_then(Value::as_f64)) {
                (Some(before), Some(after)) => {
                    if is_floor {
                        after > before
                    } else {
                        after < before
                    }
                }
                (None, Some(_)) => true,
                _ => false,
            };
            let text = |bound: Option<&Value>| bound.map_or_else(|| "none".to_owned(), value);
            self.note(path, breaks, format!("has `{name}` {}, and had {}", text(after), text(before)));
        }
        if old.get("pattern") != new.get("pattern") {
            match new.get("pattern") {
                Some(pattern) => self.note(path, true, format!("must match {}", value(pattern))),
                None => self.note(path, false, "need not match a pattern any more"),
            }
        }
    }

    fn properties(
        &mut self,
        old: &'a Map<String, Value>,
        new: &'a Map<String, Value>,
        path: &str,
        depth: usize,
    ) {
        let (before, after) = (table(old, "properties"), table(new, "properties"));
        let (must_before, must_after) = (required(old), required(new));
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        for (name, schema) in before {
            let setting = below(name);
            match after.get(name) {
                Some(other) => {
                    if must_after.contains(name.as_str()) && !must_before.contains(name.as_str()) {
                        self.note(&setting, true, "is required now");
                    } else if must_before.contains(name.as_str()) && !must_after.contains(name.as_str()) {
                        self.note(&setting, false, "may be left out now");
                    }
                    self.compare(schema, other, &setting, depth + 1);
                }
                None if is_closed(new) => self.note(&setting, true, "is gone, and refused where it is set"),
                None => self.note(&setting, false, "is not described any more"),
            }
        }
        for name in after.keys().filter(|name| !before.contains_key(*name)) {
            let setting = below(name);
            if must_after.contains(name.as_str()) {
                self.note(&setting, true, "is new, and required");
            } else {
                self.note(&setting, false, "is new, and may be left out");
            }
        }
        match (old.get("additionalProperties"), new.get("additionalProperties")) {
            (Some(before), Some(after)) if before != after => {
                self.compare(before, after, &below("*"), depth + 1);
            }
            (None, Some(Value::Bool(false))) => {
                self.note(path, true, "takes no settings any more beside those that are described");
            }
            (Some(Value::Bool(false)), None) => self.note(path, false, "takes other settings as well"),
            _ => {}
        }
    }
}

/// Returns what a reference within the schema refers to.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..DEPTH_MAX {
        let reference = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
        match reference.and_then(|pointer| root.pointer(pointer)) {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

fn types_of(schema: &Map<String, Value>) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn listed(schema: &Map<String, Value>) -> Option<Vec<&Value>> {
    match (schema.get("enum"), schema.get("const")) {
        (Some(Value::Array(values)), _) => Some(values.iter().collect()),
        (_, Some(value)) => Some(vec![value]),
        _ => None,
    }
}

/// Returns each form and its name: the one setting that it requires, its type, or its position.
fn forms<'a>(schema: &'a Map<String, Value>, root: &'a Value) -> Vec<(String, &'a Value)> {
    let list = ["anyOf", "oneOf"].iter().find_map(|name| schema.get(*name)?.as_array());
    let forms = list.into_iter().flatten().map(|form| resolve(root, form)).enumerate();
    forms
        .map(|(at, form)| {
            let key = match form.as_object() {
                Some(form) if listed(form).is_some() => "of a plain value".to_owned(),
                Some(form) => match (required(form).first(), types_of(form).as_slice()) {
                    (Some(name), _) => format!("`{name} = …`"),
                    (None, [name]) => (*name).to_owned(),
                    _ => format!("number {}", at + 1),
                },
                None => format!("number {}", at + 1),
            };
            (key, form)
        })
        .collect()
}

fn table<'a>(schema: &'a Map<String, Value>, name: &str) -> &'a Map<String, Value> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    schema.get(name).and_then(Value::as_object).unwrap_or(&EMPTY)
}

fn required(schema: &Map<String, Value>) -> BTreeSet<&str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn is_closed(schema: &Map<String, Value>) -> bool {
    schema.get("additionalProperties") == Some(&Value::Bool(false))
}

fn is_file(schema: &Map<String, Value>) -> bool {
    schema.get("x-portcullis-file") == Some(&Value::Bool(true))
}

fn value(value: &Value) -> String {
    abridged(&value.to_string(), VALUE_CHARS_MAX).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::changes;

    fn object(properties: Value, required: Value) -> Value {
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    }

    /// The differences, those that break marked with `!`.
    fn check(old: Value, new: Value, expected: &[&str]) {
        let found: Vec<String> = changes(Some(&old), Some(&new))
            .into_iter()
            .map(|change| {
                let mark = if change.breaks { "!" } else { "" };
                format!("{mark}{}: {}", change.setting, change.change)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_only_explains_is_no_difference() {
        let old = object(json!({ "a": { "type": "string", "description": "one" } }), json!(["a"]));
        let new = object(json!({ "a": { "type": "string", "description": "two" } }), json!(["a"]));
        check(old, new, &[]);
    }

    #[test]
    fn settings_that_come_and_go_break_where_they_are_asked_for() {
        let old = object(json!({ "a": {}, "gone": {}, "b": {} }), json!(["b"]));
        let new = object(json!({ "a": {}, "more": {}, "must": {}, "b": {} }), json!(["a", "must"]));
        check(
            old,
            new,
            &[
                "!a: is required now",
                "b: may be left out now",
                "!gone: is gone, and refused where it is set",
                "more: is new, and may be left out",
                "!must: is new, and required",
            ],
        );
    }

    #[test]
    fn bounds_break_when_they_are_tighter_only() {
        let of = |low: i32, high: i32| {
            object(json!({ "n": { "type": "integer", "minimum": low, "maximum": high } }), json!([]))
        };
        check(of(0, 9), of(0, 10), &["n: has `maximum` 10, and had 9"]);
        check(of(0, 10), of(0, 9), &["!n: has `maximum` 9, and had 10"]);
        check(of(0, 9), of(1, 9), &["!n: has `minimum` 1, and had 0"]);
    }

    #[test]
    fn a_type_may_become_wider() {
        let of = |name: &str| object(json!({ "n": { "type": name } }), json!([]));
        check(of("integer"), of("number"), &["n: takes number, and took integer"]);
        check(of("number"), of("integer"), &["!n: takes integer, and took number"]);
    }

    #[test]
    fn values_and_forms_are_told_by_name() {
        let of = |units: Value, name: &str| {
            let table = object(json!({ name: { "type": "string" } }), json!([name]));
            object(json!({ "key": { "anyOf": [{ "enum": units }, table] } }), json!([]))
        };
        check(
            of(json!(["a", "b"]), "header"),
            of(json!(["a", "c"]), "cookie"),
            &[
                "!key: does not take \"b\" any more",
                "key: takes \"c\" as well",
                "!key: does not take the form `header = …` any more",
                "key: takes the form `cookie = …` as well",
            ],
        );
    }

    #[test]
    fn looks_into_lists_and_tables_and_through_references() {
        let old = json!({
            "type": "object",
            "properties": { "keys": { "type": "array", "items": { "$ref": "#/$defs/key" } } },
            "$defs": { "key": object(json!({ "name": { "type": "string" } }), json!([])) },
        });
        let new = object(
            json!({ "keys": { "type": "array", "items": object(json!({ "name": { "type": "string", "pattern": "^a" } }), json!(["name"])) } }),
            json!([]),
        );
        check(
            old,
            new,
            &[
                "!keys[].name: is required now",
                "!keys[].name: must match \"^a\"",
                "!: takes no settings any more beside those that are described",
            ],
        );
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let of =
            |name: &str| json!({ "type": "object", "properties": { "next": { "$ref": "#" }, name: {} } });
        assert!(!changes(Some(&of("a")), Some(&of("b"))).is_empty());
    }

    #[test]
    fn an_unknown_keyword_may_refuse() {
        let of = |parts: i32| object(json!({ "n": { "type": "integer", "multipleOf": parts } }), json!([]));
        check(of(2), of(3), &["!n: is described otherwise: `multipleOf`"]);
    }

    #[test]
    fn a_schema_that_comes_or_goes_is_told() {
        assert!(changes(None, Some(&json!({})))[0].breaks);
        assert!(!changes(Some(&json!({})), None)[0].breaks);
        assert!(changes(None, None).is_empty());
    }
}
