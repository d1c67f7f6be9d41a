use crate::contract::VERSION;

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
    let own = super::numbers(VERSION).unwrap();
    let interface = |[major, minor, patch]: [u32; 3]| {
        contract_interface(&format!("portcullis:policy/log@{major}.{minor}.{patch}"))
            .map(|found| found.map(str::to_owned))
    };
    let [major, minor, patch] = own;
    for patch in 0..=patch {
        assert_eq!(interface([major, minor, patch]), Ok(Some("log".to_owned())), "what only lacks additions");
    }
    assert!(matches!(interface([major, minor, patch + 1]), Err(InspectError::NewerVersion { .. })));
    for other in [[major, minor + 1, patch], [major + 1, minor, patch]] {
        assert!(matches!(interface(other), Err(InspectError::WrongVersion { .. })), "{other:?}");
    }
    assert_eq!(contract_interface(&format!("portcullis:policyx/log@{VERSION}")), Ok(None));
    for odd in
        ["", "@", "@0", "@0.1", "@0.1.0.0", "@00.1.0", "@0.1.+0", "@0.1.0-rc.1", "@0.1.99999999999", "@a.b.c"]
    {
        let found =
            contract_interface(&format!("portcullis:policy/log{odd}")).map(|found| found.map(str::to_owned));
        assert!(matches!(found, Err(InspectError::WrongVersion { .. })), "{odd}: {found:?}");
    }
    assert!(is_virtual_wasi("wasi:cli/environment@0.2.6"));
    assert!(!is_virtual_wasi("wasi:cli/environment@0.3.0"));
    assert!(!is_virtual_wasi("wasi:cli/environment"));
    assert!(!is_virtual_wasi("wasi:keyvalue/store@0.2.0"));
}

#[test]
fn reads_manifests_strictly() {
    let whole = br#"{"manifest":1,"name":"n","version":"1","capabilities":["log"],"config-schema":{"type":"object"}}"#;
    let manifest = Manifest::parse(whole).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.description.as_str()), ("n", ""));
    assert_eq!(manifest.capabilities, ["log"]);
    for (json, reason) in [
        (r#"{"version":"1"}"#, "`name` is missing"),
        (r#"{"name":"n"}"#, "`version` is missing"),
        (r#"{"name":1,"version":"1"}"#, "`name` is no string"),
        (
            r#"{"manifest":2,"name":"n","version":"1"}"#,
            "it is of version 2, and this gateway reads version 1",
        ),
        (r#"{"manifest":"1","name":"n","version":"1"}"#, "`manifest`, its version, is no number"),
        (r#"{"name":"n","version":"1","contract":1}"#, "`contract` is no string"),
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
