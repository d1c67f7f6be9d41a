use super::{InspectError, Manifest, contract_interface, inspect, is_virtual_wasi};

#[test]
fn says_how_to_make_a_component_of_a_module() {
    let error = inspect(b"\0asm\x01\0\0\0").unwrap_err();
    assert_eq!(error, InspectError::CoreModule);
    assert!(error.to_string().contains("wasm32-wasip2"), "{error}");
    assert_eq!(inspect(b"#!/bin/sh\n"), Err(InspectError::NotWasm));
    assert_eq!(inspect(b""), Err(InspectError::NotWasm));
    assert_eq!(inspect(b"\0asm\x0d\0\x01\0"), Err(InspectError::NoHook), "an empty component");
    assert!(matches!(inspect(b"\0asm\x63\0\x01\0"), Err(InspectError::Malformed(_))));
}

#[test]
fn knows_its_contract_and_wasi() {
    assert_eq!(contract_interface("portcullis:policy/log@0.2.0"), Ok(Some("log")));
    assert_eq!(contract_interface("portcullis:policyx/log@0.1.0"), Ok(None));
    assert!(contract_interface("portcullis:policy/log@0.1.1").is_err());
    assert!(contract_interface("portcullis:policy/log").is_err());
    assert!(is_virtual_wasi("wasi:cli/environment@0.2.6"));
    assert!(!is_virtual_wasi("wasi:cli/environment@0.3.0"));
    assert!(!is_virtual_wasi("wasi:cli/environment"));
    assert!(!is_virtual_wasi("wasi:keyvalue/store@0.2.0"));
}

#[test]
fn reads_manifests_strictly() {
    let whole = br#"{"name":"n","version":"1","capabilities":["log"],"config-schema":{"type":"object"}}"#;
    let manifest = Manifest::parse(whole).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.description.as_str()), ("n", ""));
    assert_eq!(manifest.capabilities, ["log"]);
    for (json, reason) in [
        (r#"{"version":"1"}"#, "`name` is missing"),
        (r#"{"name":"n"}"#, "`version` is missing"),
        (r#"{"name":1,"version":"1"}"#, "`name` is no string"),
        (r#"{"name":"n","version":"1","capabilities":"log"}"#, "no list of strings"),
        ("[]", "no JSON object"),
        ("{", "EOF"),
    ] {
        let error = Manifest::parse(json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "{json}: {error}");
    }
    let huge = vec![b' '; 2 << 20];
    assert!(matches!(Manifest::parse(&huge), Err(InspectError::TooLarge { .. })));
}
