//! Plugins that exist only as what they say of themselves, so that no component has to be built here.

use portcullis_model::Capability;
use serde_json::{Value, json};

use crate::{PluginInfo, Plugins};

/// Finds plugins by their bytes: the file `x.wasm` of a case holds the name of one of these.
#[derive(Debug)]
pub(crate) struct FakePlugins;

impl Plugins for FakePlugins {
    fn builtin(&self, name: &str) -> Option<&'static [u8]> {
        self.builtin_names().into_iter().find(|other| *other == name).map(str::as_bytes)
    }

    fn builtin_names(&self) -> Vec<&'static str> {
        vec!["api-key", "headers", "rate-limit"]
    }

    fn inspect(&self, component: &[u8]) -> Result<PluginInfo, String> {
        let name = String::from_utf8_lossy(component).trim().to_owned();
        let info = |schema: Option<Value>, imports: &[Capability]| PluginInfo {
            name: name.clone(),
            version: "0.1.0".into(),
            config_schema: schema,
            imports: imports.to_vec(),
            has_lifecycle: true,
            has_tick: false,
        };
        Ok(match name.as_str() {
            "api-key" => info(Some(api_key()), &[]),
            "headers" => info(Some(headers()), &[]),
            "rate-limit" => info(Some(rate_limit()), &[Capability::RateLimit]),
            "everything" => PluginInfo { has_tick: true, ..info(None, &Capability::ALL) },
            "secretive" => info(None, &[Capability::Secrets]),
            "plain" => PluginInfo { has_lifecycle: false, ..info(None, &[]) },
            "broken-schema" => info(Some(json!({ "type": 3 })), &[]),
            "endless-schema" => info(Some(json!({ "$ref": "#" })), &[]),
            _ => return Err("it is not a WebAssembly component".into()),
        })
    }
}

fn api_key() -> Value {
    json!({
        "type": "object",
        "properties": {
            "header": { "type": "string", "minLength": 1, "description": "Field that carries the key." },
            "query": { "type": "string" },
            "keys": {
                "type": "array",
                "minItems": 1,
                "items": { "$ref": "#/$defs/Key" },
                "description": "The keys that are known.",
            },
            "keys-file": { "type": "string", "x-portcullis-file": true, "pattern": "^[a-z]+:" },
            "status": { "enum": [401, 403, 404] },
        },
        "additionalProperties": false,
        "anyOf": [{ "required": ["keys"] }, { "required": ["keys-file"] }],
        "$defs": { "Key": {
            "type": "object",
            "properties": {
                "name": { "type": "string" },
                "sha256": { "type": "string", "pattern": "^[0-9a-f]{64}$", "description": "SHA-256 of the key, in hexadecimal digits" },
            },
            "required": ["name", "sha256"],
            "additionalProperties": false,
        } },
    })
}

fn headers() -> Value {
    let edits = json!({
        "type": "object",
        "properties": {
            "set": { "type": "object", "additionalProperties": { "type": "string" } },
            "remove": { "type": "array", "items": { "type": "string" }, "uniqueItems": true },
        },
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": { "request": edits, "response": edits },
        "additionalProperties": false,
    })
}

fn rate_limit() -> Value {
    json!({
        "type": "object",
        "properties": {
            "rate": { "type": "string", "pattern": "^[0-9]+/(s|m|h)$", "description": "Requests in a time, such as 100/s" },
            "burst": { "type": "integer", "minimum": 1, "maximum": 1_000_000 },
            "key": {
                "oneOf": [
                    { "enum": ["client-address", "route"] },
                    { "type": "object", "properties": { "header": { "type": "string" } }, "required": ["header"], "additionalProperties": false },
                ],
            },
            "weight": { "type": "number", "exclusiveMinimum": 0 },
        },
        "required": ["rate"],
        "additionalProperties": false,
    })
}
