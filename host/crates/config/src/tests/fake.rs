//! Plugins that exist only as what they say of themselves, so that no component has to be built here.

use std::collections::BTreeSet;

use portcullis_model::{Capability, ContentDigest, Signer, SignerKey};
use serde_json::{Value, json};

use crate::{Components, ImageRequest, Images, Keys, PluginInfo, PluginSources, Problem};

/// Finds plugins by their bytes: the file `x.wasm` of a case holds the name of one of these.
#[derive(Debug)]
pub(crate) struct FakePlugins;

impl Components for FakePlugins {
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
            chooses_upstream: !schema_is_shipped(&name),
            attributes: schema_is_shipped(&name).then(Vec::new),
        };
        Ok(match name.as_str() {
            "api-key" => info(Some(api_key()), &[]),
            "headers" => info(Some(headers()), &[]),
            "rate-limit" => info(Some(rate_limit()), &[Capability::RateLimit]),
            "everything" | "everything-2" => {
                // Which cache would be purged, each case would have to say.
                let all: Vec<_> =
                    Capability::ALL.into_iter().filter(|one| *one != Capability::CachePurge).collect();
                PluginInfo { has_tick: true, ..info(None, &all) }
            }
            "purging" => info(None, &[Capability::CachePurge]),
            "secretive" => info(None, &[Capability::Secrets]),
            "signing" => info(None, &[Capability::Crypto]),
            "asking" => info(
                Some(json!({ "properties": { "url": { "type": "string", "x-portcullis-value": "url" } } })),
                &[Capability::HttpClient],
            ),
            "plain" => PluginInfo { has_lifecycle: false, ..info(None, &[]) },
            "broken-schema" => info(Some(json!({ "type": 3 })), &[]),
            "endless-schema" => info(Some(json!({ "$ref": "#" })), &[]),
            _ => return Err("it is not a WebAssembly component".into()),
        })
    }
}

impl Images for FakePlugins {
    /// An image holds the plugin that the end of its repository names.
    fn image(&self, wanted: &ImageRequest<'_>) -> Result<Vec<u8>, Problem> {
        let reference = &wanted.plugin.reference;
        let problem = |label: &str, unsigned| {
            Err(Problem {
                label: label.to_owned(),
                help: "do something about it".to_owned(),
                unsigned,
                away: !unsigned,
            })
        };
        match reference.repository.rsplit('/').next() {
            _ if wanted.is_away => problem("it did not answer a moment ago", false),
            Some("gone") => problem("registry registry.example cannot be reached: nobody answers", false),
            Some("unsigned") if !wanted.signers.is_empty() => problem("it has no signature", true),
            name => Ok(name.unwrap_or_default().into()),
        }
    }

    fn images_done(&self, _: &PluginSources, in_use: &BTreeSet<ContentDigest>) {
        assert!(!in_use.is_empty());
    }
}

impl Keys for FakePlugins {
    fn check_key(&self, key: &SignerKey) -> Result<(), Problem> {
        match key {
            SignerKey::Cosign(pem) if !pem.contains("PUBLIC KEY") => Err(Problem {
                label: "it holds no public key".to_owned(),
                help: "name the cosign.pub of `cosign generate-key-pair`".to_owned(),
                unsigned: false,
                away: false,
            }),
            _ => Ok(()),
        }
    }

    /// Certificates begin so.
    fn check_authorities(&self, pem: &[u8]) -> Result<(), String> {
        match String::from_utf8_lossy(pem).contains("\nMII") {
            true => Ok(()),
            false => Err("its first certificate is damaged".to_owned()),
        }
    }

    /// A certificate says its names in a line before it.
    fn certificate_names(&self, pem: &[u8]) -> Option<Vec<String>> {
        let text = String::from_utf8_lossy(pem);
        let names = text.lines().find_map(|line| line.strip_prefix("names:"))?;
        Some(names.split_whitespace().map(str::to_owned).collect())
    }

    fn verify_file(&self, signer: &Signer, _: &[u8], signature: &[u8]) -> Result<(), Problem> {
        if signature == format!("by {}\n", signer.name).as_bytes() {
            return Ok(());
        }
        let (label, help) = ("it was signed with another key".to_owned(), "sign it with this one".to_owned());
        Err(Problem { label, help, unsigned: true, away: false })
    }
}

/// Whether it is one of those that ship: none of them chooses an upstream.
fn schema_is_shipped(name: &str) -> bool {
    FakePlugins.builtin_names().contains(&name)
}

fn api_key() -> Value {
    json!({
        "type": "object",
        "properties": {
            "attribute": { "type": "string", "default": "api-key.name", "x-portcullis-value": "sets-attribute" },
            "header": { "type": "string", "minLength": 1, "x-portcullis-value": "request-field", "description": "Field that carries the key." },
            "query": { "type": "string", "default": "key", "pattern": "^[a-z]+$", "description": "Where else the key may be." },
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
            "set": { "type": "object", "additionalProperties": { "type": "string", "x-portcullis-value": "template" } },
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
                    { "type": "object", "properties": { "attribute": { "type": "string", "x-portcullis-value": "reads-attribute" } }, "required": ["attribute"], "additionalProperties": false },
                ],
            },
            "weight": { "type": "number", "exclusiveMinimum": 0 },
        },
        "required": ["rate"],
        "additionalProperties": false,
    })
}
