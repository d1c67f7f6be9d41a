//! What is loaded and what is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis_model::{Capability, Isolation};
use portcullis_policy::HookKind;
use portcullis_test_guests::{
    CAPABILITIES, EVERY_CALL_WAITS, HOOK_COST, PLAIN, TICKER, UNKNOWN_IMPORT, WRONG_VERSION,
};

use super::{config, factory};
use crate::contract::{DIGEST, VERSION};
use crate::{InspectError, Sandbox, SandboxError, SandboxOptions, inspect};

#[test]
pub(super) fn inspects_a_component() {
    let info = inspect(PLAIN).unwrap();
    assert!(
        info.hooks.has(HookKind::RequestHead)
            && !info.hooks.has(HookKind::ResponseHead)
            && !info.has_lifecycle
    );
    assert_eq!(info.imports, []);
    let manifest = info.manifest.unwrap();
    assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("plain", "1.2.3"));
    assert_eq!(manifest.config_schema.unwrap()["type"], "object");
    assert_eq!(inspect(EVERY_CALL_WAITS).unwrap().imports, Capability::ALL);
    let ticker = inspect(TICKER).unwrap();
    assert!(ticker.has_lifecycle && ticker.hooks.has(HookKind::Tick));
    assert_eq!((ticker.imports, ticker.manifest), (vec![Capability::Store], None));
}

#[test]
pub(super) fn refuses_an_import_that_no_gateway_has() {
    let error = inspect(UNKNOWN_IMPORT).unwrap_err();
    assert!(matches!(&error, InspectError::UnknownImport(name) if name == "test:guest/launch"), "{error}");
}

#[test]
pub(super) fn refuses_another_version_of_the_contract() {
    let error = inspect(WRONG_VERSION).unwrap_err().to_string();
    assert!(error.contains("portcullis:policy/request") && error.contains("@0.9.0"), "{error}");
    assert!(error.contains(&format!("this gateway speaks portcullis:policy@{VERSION}")), "{error}");
}

/// A component of a version of the contract that calls `function` of `interface`, taken for one of `types`, on each
/// tick.
fn ticking(version: &str, interface: &str, function: &str, types: &str, manifest: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (@custom "portcullis:manifest" {manifest:?})
            (import "portcullis:policy/{interface}@{version}" (instance $host (export "{function}" (func {types}))))
            (core module $main
                (memory (export "memory") 1)
                (func (export "tick") (result i32) (i32.const 16)))
            (core instance $main (instantiate $main))
            (type $hook (func (result (result (error string)))))
            (func $tick (type $hook) (canon lift (core func $main "tick") (memory $main "memory")))
            (instance $ticking (export "on-tick" (func $tick)))
            (export "portcullis:policy/tick@{version}" (instance $ticking)))"#
    );
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// This version, and every version on record from which it has grown.
#[test]
fn components_of_all_versions_of_the_line_load_side_by_side() {
    let root = std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../..");
    let records = root.join("wit/released");
    let mut versions = BTreeSet::from([VERSION.to_owned()]);
    // Before anything of the line is on record, there is no such folder.
    if records.exists() {
        let names = std::fs::read_dir(records).unwrap();
        versions.extend(names.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
    }
    let line = VERSION.rsplit_once('.').unwrap().0;
    versions.retain(|version| version.rsplit_once('.').is_some_and(|(other, _)| other == line));
    let policies: Vec<_> = versions
        .iter()
        .map(|version| {
            let component =
                ticking(version, "request", "method", "(result string)", r#"{"name":"t","version":"1"}"#);
            factory(component.leak(), &config(&format!("of-{}", version.replace('.', "-")), "{}"))
        })
        .collect();
    assert_eq!(policies.len(), versions.len());
}

#[test]
fn says_so_when_a_component_was_built_against_another_text_of_its_version() {
    let wrong = |contract: &str| {
        let manifest = format!(r#"{{"manifest":1,"name":"t","version":"1"{contract}}}"#);
        let component = ticking(VERSION, "request", "method", "(result u32)", &manifest);
        super::SANDBOX.compile(&component, Isolation::Worker).unwrap_err().to_string()
    };
    let other = wrong(r#","contract":"sha256:0123""#);
    let expected =
        format!("built against another text of portcullis:policy@{VERSION}, sha256:0123 and not {DIGEST}");
    assert!(other.contains(&expected) && other.contains("request"), "{other}");
    for unknown in ["", &format!(r#","contract":"{DIGEST}""#)] {
        let error = wrong(unknown);
        assert!(!error.contains("another text") && error.contains("request"), "{error}");
    }
}

#[test]
fn refuses_what_was_not_granted() {
    type Revoke = fn(&mut portcullis_model::Grants);
    let revoke: [(Capability, Revoke); 10] = [
        (Capability::Log, |grants| grants.log = false),
        (Capability::Clock, |grants| grants.clock = false),
        (Capability::Random, |grants| grants.random = false),
        (Capability::RateLimit, |grants| grants.rate_limit = None),
        (Capability::Metrics, |grants| grants.metrics = false),
        (Capability::Store, |grants| grants.store = None),
        (Capability::Crypto, |grants| grants.crypto = false),
        (Capability::Matchers, |grants| grants.matchers = false),
        (Capability::HttpClient, |grants| grants.http.clear()),
        (Capability::CachePurge, |grants| grants.cache_purge = None),
    ];
    // And secrets, below.
    assert_eq!(revoke.len() + 1, Capability::ALL.len());
    for (capability, revoke) in revoke {
        let mut config = config("ungranted", "{}");
        config.grants.secrets.push("key".into());
        revoke(&mut config.grants);
        let error = factory(EVERY_CALL_WAITS, &config).unwrap_err().to_string();
        let expected = format!(
            "policy `ungranted`: the component imports `{}`, which was not granted",
            capability.name()
        );
        assert!(error.starts_with(&expected), "{error}");
    }
    let error = factory(CAPABILITIES, &config("ungranted", "{}")).unwrap_err().to_string();
    assert!(error.contains("imports `secrets`") && error.contains("`secrets = [\"NAME\"]`"), "{error}");
}

#[test]
fn refuses_a_granted_secret_that_does_not_exist() {
    let mut config = config("secretive", "{}");
    config.grants.secrets.push("key".into());
    let error = factory(CAPABILITIES, &config).unwrap_err().to_string();
    assert_eq!(error, "policy `secretive` is granted the secret `key`, which is not under [secrets]");
}

#[test]
fn takes_compiled_code_from_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let cache_dir = Some(dir.path().join("made/here"));
    let options = SandboxOptions { cache_dir, instances_max: 10, ..SandboxOptions::default() };
    let first = Sandbox::new(options.clone()).unwrap().compile(HOOK_COST, Isolation::Worker).unwrap();
    assert!(!first.cached && first.took > Duration::ZERO);
    let sandbox = Sandbox::new(options).unwrap();
    let second = sandbox.compile(HOOK_COST, Isolation::Worker).unwrap();
    assert!(second.cached);
    assert!(!sandbox.compile(PLAIN, Isolation::Worker).unwrap().cached, "another component is another code");
    sandbox.configure(&second.component, &config("cached", "{}"), &BTreeMap::new()).unwrap();
}

#[cfg(unix)]
#[test]
fn refuses_a_cache_that_others_can_write() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let mode = |mode| std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    let make = || {
        Sandbox::new(SandboxOptions {
            cache_dir: Some(dir.path().to_path_buf()),
            instances_max: 10,
            ..SandboxOptions::default()
        })
    };
    mode(0o770);
    let error = make().unwrap_err();
    assert!(
        matches!(error, SandboxError::CacheDir { .. }) && error.to_string().contains("chmod 700"),
        "{error}"
    );
    mode(0o750);
    make().unwrap();
}

#[test]
fn refuses_a_component_that_is_cut_off() {
    for end in [9, PLAIN.len() / 2, PLAIN.len() - 1] {
        let error = super::SANDBOX.compile(&PLAIN[..end], Isolation::Worker).unwrap_err();
        assert!(matches!(error, SandboxError::Inspect(InspectError::Malformed(_))), "{end}: {error}");
    }
}
