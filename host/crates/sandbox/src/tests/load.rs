//! What is loaded and what is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_model::{Capability, Isolation};
use portcullis_policy::HookKind;
use portcullis_test_guests::{CAPABILITIES, HOOK_COST, PLAIN, TICKER, UNKNOWN_IMPORT, WRONG_VERSION};

use super::{config, factory};
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
    assert_eq!(inspect(CAPABILITIES).unwrap().imports, Capability::ALL);
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
    assert!(error.contains("this gateway speaks portcullis:policy@0.2.0"), "{error}");
}

#[test]
fn refuses_what_was_not_granted() {
    type Revoke = fn(&mut portcullis_model::Grants);
    let revoke: [(Capability, Revoke); 9] = [
        (Capability::Log, |grants| grants.log = false),
        (Capability::Clock, |grants| grants.clock = false),
        (Capability::Random, |grants| grants.random = false),
        (Capability::RateLimit, |grants| grants.rate_limit = None),
        (Capability::Metrics, |grants| grants.metrics = false),
        (Capability::Store, |grants| grants.store = None),
        (Capability::Crypto, |grants| grants.crypto = false),
        (Capability::Matchers, |grants| grants.matchers = false),
        (Capability::HttpClient, |grants| grants.http.clear()),
    ];
    // And secrets, below.
    assert_eq!(revoke.len() + 1, Capability::ALL.len());
    for (capability, revoke) in revoke {
        let mut config = config("ungranted", "{}");
        config.grants.secrets.push("key".into());
        revoke(&mut config.grants);
        let error = factory(CAPABILITIES, &config).unwrap_err().to_string();
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
