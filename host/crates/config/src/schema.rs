//! The JSON schema of the config file, for editors and for checks elsewhere. It is made from the table of keys.

use serde_json::{Map, Value as Json, json};

use crate::plugins::Plugins;
use crate::syntax::keys::ROOT;
use crate::syntax::shape::{Key, Kind, Presence, Shape};

/// The JSON schema (2020-12) of a config file, with the configuration of every builtin plugin.
///
/// It knows the form of each value; what has to fit together over several places is for [`load`](crate::load()) to
/// check.
pub fn schema(plugins: &dyn Plugins) -> Json {
    let mut root = table(&ROOT);
    root.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".into(), json!("Portcullis configuration"));
    let conditions: Vec<Json> = plugins
        .builtin_names()
        .into_iter()
        .filter_map(|name| {
            let info = plugins.inspect(plugins.builtin(name)?).ok()?;
            let config = match info.config_schema {
                Some(schema) => embed(name, schema),
                None if info.has_lifecycle => return None,
                None => json!({ "maxProperties": 0 }),
            };
            let plugin = json!({ "const": format!("builtin:{name}") });
            Some(json!({
                "if": { "properties": { "plugin": plugin }, "required": ["plugin"] },
                "then": { "properties": { "config": config } },
            }))
        })
        .collect();
    if let (false, Some(policy)) = (
        conditions.is_empty(),
        root.get_mut("properties").and_then(|all| all.pointer_mut("/policies/additionalProperties")),
    ) {
        policy["allOf"] = Json::Array(conditions);
    }
    Json::Object(root)
}

/// A plugin's schema as a part of ours: its references stay its own, and files are paths.
fn embed(name: &str, mut schema: Json) -> Json {
    files_to_paths(&mut schema);
    if let Json::Object(object) = &mut schema {
        object.remove("$schema");
        object.insert("$id".into(), json!(format!("urn:portcullis:builtin:{name}")));
    }
    schema
}

/// A property that holds a file's text is written as the file's path.
fn files_to_paths(schema: &mut Json) {
    match schema {
        Json::Object(object) if object.get("x-portcullis-file") == Some(&Json::Bool(true)) => {
            object.retain(|key, _| {
                matches!(key.as_str(), "type" | "description" | "title" | "x-portcullis-file")
            });
        }
        Json::Object(object) => object.values_mut().for_each(files_to_paths),
        Json::Array(list) => list.iter_mut().for_each(files_to_paths),
        _ => {}
    }
}

fn table(shape: &Shape) -> Map<String, Json> {
    let properties: Map<String, Json> =
        shape.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required = shape.keys.iter().filter(|key| key.presence == Presence::Required);
    let required: Vec<Json> = required.map(|key| json!(key.name)).collect();
    let mut table = Map::new();
    table.insert("type".into(), json!("object"));
    table.insert("properties".into(), Json::Object(properties));
    table.insert("additionalProperties".into(), json!(false));
    if !required.is_empty() {
        table.insert("required".into(), Json::Array(required));
    }
    table
}

fn property(key: &Key) -> Json {
    let mut schema = kind(&key.kind);
    if let Json::Object(object) = &mut schema {
        object.insert("description".into(), json!(key.doc));
        if let Presence::Default(text) = key.presence
            && let Some(value) = literal(text)
        {
            object.insert("default".into(), value);
        }
    }
    schema
}

/// The value that a default in the table of keys stands for. The simple ones are written alike in TOML and JSON.
fn literal(text: &str) -> Option<Json> {
    serde_json::from_str(text).ok()
}

fn kind(kind: &Kind) -> Json {
    const NAME: &str = "^[a-z0-9][a-z0-9_-]{0,63}$";
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::True => json!({ "const": true }),
        Kind::Text(_) => json!({ "type": "string", "minLength": 1 }),
        Kind::AnyText(_) => json!({ "type": "string" }),
        Kind::Choice(choices) => json!({ "enum": choices }),
        Kind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Duration { .. } => json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$" }),
        Kind::Size { .. } => json!({ "type": "string", "pattern": "^[0-9]+([KMG]i)?B$" }),
        Kind::Percent { .. } => json!({ "type": "string", "pattern": "^[0-9]+([.][0-9]{1,2})?%$" }),
        Kind::Cost => json!({ "type": "string", "pattern": "^([0-9]+(us|ms|s)|[0-9]+([.][0-9]{1,2})?%)$" }),
        Kind::Limit { .. } => json!({ "type": "string", "pattern": "^([0-9]+([KMG]i)?B|unlimited)$" }),
        Kind::Table(shape) => Json::Object(table(shape)),
        Kind::Named(shape) => json!({
            "type": "object",
            "propertyNames": { "pattern": NAME },
            "additionalProperties": table(shape),
        }),
        Kind::Fields(value) => json!({ "type": "object", "additionalProperties": self::kind(value) }),
        Kind::List(element) => json!({ "type": "array", "minItems": 1, "items": self::kind(element) }),
        Kind::Either(kinds) => json!({ "anyOf": kinds.iter().map(self::kind).collect::<Vec<_>>() }),
        Kind::Any => json!({ "type": "object" }),
    }
}
