//! A plugin's own configuration: TOML to JSON, the files that it names, and the plugin's schema.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::schema_error::{Place, report_errors};
use crate::diagnostic::Report;
use crate::files::read::without_mark;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::plugins::PluginInfo;
use crate::references::Named;
use crate::syntax::tree::{Node, Value};
use crate::syntax::view::{View, text};

/// Bytes of a file that a configuration names.
const CONFIG_FILE_BYTES_MAX: u64 = 16 << 20;
/// Schemas inside of schemas that are looked through for files.
const SCHEMA_DEPTH_MAX: usize = 32;

/// Makes the JSON that the plugin is configured with. Without `info` only what holds for every plugin is checked.
pub(crate) fn config_json(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    plugin: Option<Span>,
    info: Option<&PluginInfo>,
) -> String {
    let node = view.node("config");
    let count = loader.reports.len();
    let mut json = match node {
        Some(node) => to_json(node, &mut loader.reports),
        None => Json::Object(serde_json::Map::new()),
    };
    // A `config` that is no table was reported.
    let wrong_type = node.is_none() && view.key_span("config").is_some();
    let Some(info) = info.filter(|_| loader.reports.len() == count && !wrong_type) else {
        return json.to_string();
    };
    if let (Some(span), false) = (view.key_span("config"), info.has_lifecycle) {
        let message = format!("policy `{}` has a `config`, but its plugin takes none", named.name);
        let label = format!("{} {} is not configured", info.name, info.version);
        loader.report(Report::new(span, message, label).help("remove it"));
        return json.to_string();
    }
    let Some(schema) = &info.config_schema else { return json.to_string() };
    let mut files = Files { loader, schema, steps: 0, read: BTreeSet::new() };
    if let Some(node) = node {
        files.insert(schema, node, &mut json, 0);
    }
    let read = files.read;
    if loader.reports.len() > count {
        return json.to_string();
    }
    match jsonschema::draft202012::options().build(schema) {
        Ok(validator) => {
            let place = Place {
                policy: named.name,
                node,
                config: view.key_span("config").unwrap_or(named.span),
                schema,
                files: &read,
            };
            report_errors(&validator, &json, &place, &mut loader.reports);
        }
        Err(error) => {
            let message = format!("policy `{}` has a plugin whose schema is not valid", named.name);
            let label = format!(
                "{} {}: at {:?} of it, {error}",
                info.name,
                info.version,
                error.instance_path().as_str()
            );
            let help = "this is a mistake in the plugin: its manifest must hold a JSON schema (2020-12) without references to elsewhere";
            loader.report(Report::new(plugin.unwrap_or(named.span), message, label).help(help));
        }
    }
    json.to_string()
}

/// Turns TOML into JSON; what JSON cannot say is reported.
pub(crate) fn to_json(node: &Node, reports: &mut Vec<Report>) -> Json {
    match &node.value {
        Value::String(text) => Json::String(text.clone()),
        Value::Integer(number) => Json::from(*number),
        Value::Bool(value) => Json::Bool(*value),
        Value::Array(list) => Json::Array(list.iter().map(|node| to_json(node, reports)).collect()),
        Value::Table(table) => {
            let entries =
                table.entries.iter().map(|entry| (entry.key.clone(), to_json(&entry.value, reports)));
            Json::Object(entries.collect())
        }
        Value::Float(number) => match serde_json::Number::from_f64(*number) {
            Some(number) => Json::Number(number),
            None => {
                let report = Report::new(
                    node.span,
                    "a plugin's config cannot hold this number",
                    "JSON has no such number",
                );
                reports.push(report.help("write a finite number"));
                Json::Null
            }
        },
        Value::Datetime => {
            let report = Report::new(node.span, "a plugin's config cannot hold a date", "JSON has no dates");
            reports.push(report.help("write it in quotes, as a string"));
            Json::Null
        }
    }
}

/// Puts the text of files in the place of their paths.
struct Files<'l, 'p, 's> {
    loader: &'l mut Loader<'p>,
    schema: &'s Json,
    /// Steps so far, because references can make a small schema very large.
    steps: usize,
    /// Places that were replaced: two branches of a schema may both name one.
    read: BTreeSet<Span>,
}

impl Files<'_, '_, '_> {
    fn insert(&mut self, schema: &Json, node: &Node, json: &mut Json, depth: usize) {
        self.steps += 1;
        if depth > SCHEMA_DEPTH_MAX || self.steps > 100_000 {
            return;
        }
        if schema.get("x-portcullis-file") == Some(&Json::Bool(true)) {
            self.read(node, json);
        }
        if let Some(target) =
            schema.get("$ref").and_then(Json::as_str).and_then(|path| path.strip_prefix('#'))
        {
            let root = self.schema;
            if let Some(target) = root.pointer(target) {
                self.insert(target, node, json, depth + 1);
            }
        }
        for branches in ["allOf", "anyOf", "oneOf"].iter().filter_map(|key| schema.get(key)?.as_array()) {
            branches.iter().for_each(|branch| self.insert(branch, node, json, depth + 1));
        }
        match (&node.value, json) {
            (Value::Table(table), Json::Object(object)) => {
                for entry in &table.entries {
                    let property = schema.get("properties").and_then(|properties| properties.get(&entry.key));
                    let inner = property.or_else(|| schema.get("additionalProperties"));
                    if let (Some(inner), Some(json)) = (inner, object.get_mut(&entry.key)) {
                        self.insert(inner, &entry.value, json, depth + 1);
                    }
                }
            }
            (Value::Array(nodes), Json::Array(list)) => {
                if let Some(items) = schema.get("items") {
                    nodes.iter().zip(list).for_each(|(node, json)| self.insert(items, node, json, depth + 1));
                }
            }
            _ => {}
        }
    }

    fn read(&mut self, node: &Node, json: &mut Json) {
        // What is no string is for the schema to refuse.
        let Some((path, span)) = text(node) else { return };
        if !self.read.insert(span) {
            return;
        }
        let Some((_, bytes)) = self.loader.read(path, span, "file", CONFIG_FILE_BYTES_MAX) else { return };
        match String::from_utf8(without_mark(bytes)) {
            Ok(text) => *json = Json::String(text),
            Err(_) => {
                let message = format!("the file `{}` cannot be read", crate::syntax::suggest::shown(path));
                self.loader.report(
                    Report::new(span, message, "it is not UTF-8 text")
                        .help("a plugin gets its files as text"),
                );
            }
        }
    }
}
