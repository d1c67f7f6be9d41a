use std::collections::BTreeSet;

use serde_json::Value;
use wasmparser::{Parser, Payload};

use super::*;

/// What a component says to the outside, read without running it.
#[derive(Debug, Default)]
struct Component {
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
    manifests: Vec<Value>,
}

fn read(bytes: &[u8]) -> Component {
    let mut component = Component::default();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.expect("the component parses") {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                component
                    .imports
                    .extend(section.into_iter().map(|import| import.unwrap().name.name.to_owned()));
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                component
                    .exports
                    .extend(section.into_iter().map(|export| export.unwrap().name.name.to_owned()));
            }
            Payload::CustomSection(section) if section.name() == "portcullis:manifest" => {
                component
                    .manifests
                    .push(serde_json::from_slice(section.data()).expect("the manifest is JSON"));
            }
            _ => {}
        }
    }
    component
}

/// Checks a component's interfaces of the contract (beside `types`, which is free) and its manifest.
fn check(bytes: &[u8], name: &str, imports: &[&str], exports: &[&str]) -> Value {
    let component = read(bytes);
    let of_contract = |name: &String| {
        let name = name.strip_prefix("portcullis:policy/")?.strip_suffix("@0.2.1")?;
        (name != "types").then(|| name.to_owned())
    };
    let imported: Vec<String> = component.imports.iter().filter_map(of_contract).collect();
    let exported: Vec<String> = component.exports.iter().filter_map(of_contract).collect();
    assert_eq!(imported, imports, "imports of {name}");
    assert_eq!(exported, exports, "exports of {name}");
    let foreign = component
        .imports
        .iter()
        .find(|import| !import.starts_with("portcullis:") && !import.starts_with("wasi:"));
    assert_eq!(foreign, None, "{name} imports nothing but the contract and WASI");
    let [manifest] = component.manifests.as_slice() else { panic!("{name} has one manifest") };
    assert_eq!(manifest["name"], name);
    assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"));
    assert!(!manifest["description"].as_str().unwrap().is_empty());
    // A policy of this kind is well under 300 KB; more means that something heavy was linked in.
    assert!(bytes.len() < 300 << 10, "{name} takes {} bytes", bytes.len());
    manifest.clone()
}

#[test]
fn live_policy_asks_for_no_capability() {
    let manifest =
        check(LIVE_DEMO, "live", &["exchange", "request", "response"], &["request-head", "response-head"]);
    assert_eq!(manifest.get("config-schema"), None);
}

#[test]
fn shipped_policies_ask_for_what_they_use_and_no_more() {
    let heads = ["request-head", "response-head"];
    for (name, imports, exports, properties) in [
        (
            "api-key",
            &["exchange", "request"][..],
            &["lifecycle", "request-head"][..],
            &["attribute", "forward-name-as", "header", "keys", "keys-file", "query"][..],
        ),
        (
            "external-auth",
            &["exchange", "http-client", "log", "request", "response"],
            &["lifecycle", heads[0], heads[1]],
            &[
                "client-fields",
                "method",
                "reply-fields",
                "request-fields",
                "timeout-ms",
                "upstream-fields",
                "url",
            ],
        ),
        (
            "headers",
            &["connection", "exchange", "request", "response"],
            &["lifecycle", heads[0], heads[1]],
            &["request", "response"],
        ),
        (
            "ip-filter",
            &["exchange"],
            &["lifecycle", "request-head"],
            &["allow", "allow-file", "deny", "deny-file"],
        ),
        (
            "jwt",
            &["clock", "crypto", "exchange", "request"],
            &["lifecycle", "request-head"],
            &[
                "algorithm",
                "attributes",
                "audience",
                "header",
                "issuer",
                "keys",
                "keys-file",
                "leeway",
                "remove",
                "require-expiry",
                "secret",
                "upstream-fields",
            ],
        ),
        (
            "rate-limit",
            &["exchange", "rate-limit", "request", "response"],
            &["lifecycle", heads[0], heads[1]],
            &["burst", "fields", "key", "name", "rate"],
        ),
    ] {
        assert!(NAMES.contains(&name));
        let manifest = check(builtin(name).unwrap(), name, imports, exports);
        let schema = &manifest["config-schema"];
        assert_eq!(schema["additionalProperties"], false, "{name}");
        let listed: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(listed, properties, "settings of {name}");
        let described = schema["properties"].as_object().unwrap().values();
        assert!(described.into_iter().all(|property| property["description"].is_string()), "{name}");
        let asked: Vec<&str> =
            manifest["capabilities"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let needs_no_grant = ["connection", "exchange", "request", "response"];
        let capabilities: Vec<&&str> =
            imports.iter().filter(|import| !needs_no_grant.contains(import)).collect();
        assert!(asked.iter().eq(capabilities), "capabilities of {name}");
    }
}

#[test]
fn a_file_setting_is_marked() {
    let manifest = read(builtin("api-key").unwrap()).manifests.remove(0);
    assert_eq!(manifest["config-schema"]["properties"]["keys-file"]["x-portcullis-file"], true);
}

#[test]
fn there_is_a_component_for_each_name_and_for_no_other() {
    assert!(NAMES.iter().all(|name| builtin(name).is_some()));
    assert!(NAMES.is_sorted());
    assert_eq!(builtin("nothing"), None);
}
