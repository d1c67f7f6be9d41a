//! Every call of the contract, in every hook: it returns values, and if the host fails it, that is a fault of the
//! policy and nothing more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{Grants, Isolation, PolicyConfig};
use portcullis_policy::{Exchange, Fault, FaultKind, Hook, Policy};
use portcullis_test_guests::{EVERY_CALL, EVERY_CALL_WAITS, MISBEHAVE};

use super::calls::until;
use super::faults::{HOOKS, hook};
use super::injected::{self, Alone, alone, call, failing, imports, modes};
use super::{both, config, exchange, on_fibers, run_in_time};
use crate::{ConfigureError, PolicyComponent, Sandbox};

/// By what a guest knows what to call, so that it works in all tests but one.
const DEED: &str = "request.header";
const DEED_FIELD: &[u8] = b"x-do";
/// The calls that wait: only the guest that runs on fibers has them.
pub(super) const WAITS: [&str; 7] = [
    "http-client.send",
    "http-client.send-all",
    "http-client.send-bytes",
    "http-client.send-all-bytes",
    "cache-purge.url",
    "cache-purge.prefix",
    "cache-purge.tag",
];

/// The functions that policies can import, as `wit/` has them: `store.get`.
pub(super) fn contract() -> BTreeSet<String> {
    // Asked when the test runs: a target folder may outlive the checkout that it was filled from.
    let own = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let folder = Path::new(&own).join("../../../wit");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let worlds = read("worlds.wit");
    let imports = worlds.lines().filter_map(|line| line.trim().strip_prefix("import ")?.strip_suffix(';'));
    let imports: BTreeSet<&str> = imports.collect();
    let mut functions = BTreeSet::new();
    for file in ["request.wit", "response.wit", "body.wit", "exchange.wit", "cache.wit", "capabilities.wit"] {
        let mut interface = String::new();
        for line in read(file).lines().map(str::trim).filter(|line| !line.starts_with("///")) {
            if let Some(name) = line.strip_prefix("interface ") {
                interface = name.trim_end_matches(" {").to_owned();
                assert!(imports.contains(&*interface), "{interface}");
            } else if let Some((name, _)) = line.split_once(": func(") {
                // A name that is a word of WIT has a mark.
                functions.insert(format!("{interface}.{}", name.trim_start_matches('%')));
            } else {
                assert!(!line.contains("func("), "{line}");
            }
        }
    }
    let found: BTreeSet<&str> =
        functions.iter().filter_map(|name| name.split_once('.')).map(|(name, _)| name).collect();
    assert_eq!(found, imports, "each interface has its functions");
    functions
}

/// Those of an exchange, which `configure` and `on-tick` do not have.
pub(super) fn needs_exchange(call: &str) -> bool {
    let interfaces =
        ["request.", "response.", "body.", "trailers.", "exchange.", "connection.", "outcome.", "cache."];
    call == "matchers.find-client" || interfaces.iter().any(|interface| call.starts_with(interface))
}

/// The calls that a guest can make.
fn calls(guest: &'static [u8]) -> BTreeSet<String> {
    let mut calls = contract();
    if guest.as_ptr() != EVERY_CALL_WAITS.as_ptr() {
        assert!(WAITS.iter().all(|name| calls.remove(*name)));
    }
    calls
}

fn asking(deed: &str) -> Box<Exchange> {
    let mut exchange = injected::asking(deed);
    assert!(exchange.attributes.set("kept", "yes"));
    exchange
}

/// Checks that it is the fault of a call that the test has fail, and that nothing has become of the exchange.
fn assert_failed(failed: &str, name: &str, exchange: &mut Exchange, result: Result<(), Fault>) {
    let fault = result.expect_err(failed);
    assert_eq!((fault.kind, fault.hook), (FaultKind::Trap, &*format!("on-{name}")), "{failed}: {fault}");
    assert!(fault.message.contains(&format!("the test has `{failed}` fail")), "{failed} in {name}: {fault}");
    assert_eq!(exchange.request.target(), "/a/b?q=1", "{failed} in {name}");
    assert_eq!(exchange.request.method, "GET");
    assert_eq!(exchange.response.status, 200);
    assert_eq!(exchange.attributes.get("kept"), Some("yes"));
    assert!(exchange.slot().instance.is_none(), "what failed is not used again");
}

#[test]
pub(super) fn every_call_of_the_contract_is_in_these_tests() {
    let mut alone = alone();
    for guest in [EVERY_CALL, EVERY_CALL_WAITS] {
        let component = alone.component(guest, Isolation::Worker);
        let imported = imports(&component).into_iter().filter(|name| !name.starts_with("wasi:"));
        assert_eq!(imported.collect::<BTreeSet<_>>(), calls(guest));
    }
}

#[test]
fn a_call_gives_a_value_in_every_hook_of_an_exchange() {
    both(|| {
        let mut alone = alone();
        for (guest, config) in modes("giving", "{}") {
            let component = alone.component(guest, config.isolation);
            let policy = alone.configure(&component, &config).unwrap().worker();
            for name in HOOKS {
                for deed in &calls(guest) {
                    let (_, result) = call(&*policy, name, asking(deed));
                    assert!(result.is_ok(), "{deed} in {name}: {result:?}");
                }
            }
        }
    });
}

#[test]
fn without_an_exchange_only_what_is_asked_of_one_ends_a_guest() {
    let mut alone = alone();
    for (guest, config) in modes("early", "{}") {
        let component = alone.component(guest, Isolation::Worker);
        let mut ticking = Vec::new();
        for deed in &calls(guest) {
            match alone.configure(&component, &configuring(&config, deed)) {
                Err(ConfigureError::Failed { kind: FaultKind::Trap, message, .. })
                    if needs_exchange(deed) =>
                {
                    assert!(message.contains("no exchange at hand in `configure`"), "{deed}: {message}");
                }
                result => assert!(result.is_ok() && !needs_exchange(deed), "{deed}: {result:?}"),
            }
            ticking.push((deed.clone(), tick(&alone, &component, &config, deed)));
        }
        for (deed, policy) in &ticking {
            if needs_exchange(deed) {
                let message = tick_fault(&alone, policy);
                assert!(message.contains("no exchange at hand in `on-tick`"), "{deed}: {message}");
            } else {
                until(|| alone.report(&**policy).calls.iter().any(|(_, count)| *count >= 2));
                let faults = alone.report(&**policy).faults;
                // On a busy machine a tick may meet its deadline.
                assert!(faults.iter().all(|(_, kind, _)| *kind == FaultKind::Deadline), "{deed}: {faults:?}");
            }
        }
    }
}

#[test]
pub(super) fn one_that_the_host_fails_is_a_fault_in_every_hook() {
    both(|| {
        let mut alone = alone();
        for (guest, config) in modes("failing", "{}") {
            let component = alone.component(guest, config.isolation);
            let mut calls = calls(guest);
            assert!(calls.remove(DEED));
            let all = calls.clone();
            let policy = failing(
                move |name| all.contains(name),
                || alone.policy(&alone.link_again(&component), &config),
            );
            drop(call(&*policy, "completed", asking("nothing")));
            let at_rest = alone.alive();
            for name in HOOKS {
                for deed in &calls {
                    let (mut exchange, result) = call(&*policy, name, asking(deed));
                    assert_failed(deed, name, &mut exchange, result);
                    assert!(exchange.request.fields.set(DEED_FIELD, b"nothing").is_ok());
                    let (exchange, result) = call(&*policy, "response-head", exchange);
                    assert!(result.is_ok(), "after {deed} in {name}: {result:?}");
                    drop(exchange);
                    assert_eq!(alone.alive(), at_rest, "{deed} in {name}");
                }
            }
        }
    });
}

/// The one by which the guest knows what to do.
#[test]
fn so_is_the_one_that_all_hooks_make() {
    both(|| {
        let mut alone = alone();
        for well in ["request-head", "response-head"] {
            for (guest, config) in modes("deedless", &format!(r#"{{"{well}":"nothing"}}"#)) {
                let component = alone.component(guest, config.isolation);
                let policy = failing(
                    |name| name == DEED,
                    || alone.configure(&alone.link_again(&component), &config).unwrap().worker(),
                );
                for name in HOOKS.into_iter().filter(|name| *name != well) {
                    let (mut exchange, result) = call(&*policy, name, asking("nothing"));
                    assert_failed(DEED, name, &mut exchange, result);
                    let (_, result) = call(&*policy, well, exchange);
                    assert!(result.is_ok(), "after {name}: {result:?}");
                }
            }
        }
    });
}

#[test]
fn in_configure_it_refuses_the_configuration() {
    both(|| {
        let mut alone = alone();
        for (guest, config) in modes("unconfigurable", "{}") {
            let component = alone.component(guest, config.isolation);
            let (calls, all) = (calls(guest), calls(guest));
            let component = failing(move |name| all.contains(name), || alone.link_again(&component));
            for deed in &calls {
                let error = alone.configure(&component, &configuring(&config, deed)).unwrap_err();
                assert!(
                    matches!(&error, ConfigureError::Failed { kind: FaultKind::Trap, message, .. }
                        if message.contains(&format!("the test has `{deed}` fail"))),
                    "{deed}: {error}"
                );
                assert_eq!(alone.alive(), (0, 0), "{deed}");
            }
        }
    });
}

#[test]
fn in_on_tick_it_is_a_fault_and_the_next_tick_comes() {
    both(|| {
        let mut alone = alone();
        // An image for each of them would take long: there, one of each interface.
        let mut interfaces = BTreeSet::new();
        for (guest, config) in modes("failing ticks", "{}") {
            let component = alone.component(guest, config.isolation);
            let (calls, all) = (calls(guest), calls(guest));
            let chosen: Vec<&String> = calls
                .iter()
                .filter(|name| {
                    let interface = name.split_once('.').map(|(interface, _)| interface.to_owned());
                    interfaces.insert(interface) || config.isolation == Isolation::Worker
                })
                .collect();
            let ticking: Vec<_> = failing(
                move |name| all.contains(name),
                || {
                    let component = alone.link_again(&component);
                    chosen.iter().map(|deed| (deed, tick(&alone, &component, &config, deed))).collect()
                },
            );
            for (deed, policy) in &ticking {
                let message = tick_fault(&alone, policy);
                assert!(message.contains(&format!("the test has `{deed}` fail")), "{deed}: {message}");
                until(|| {
                    alone.report(&**policy).faults.iter().any(|(hook, kind, count)| {
                        (*hook, *kind) == ("on-tick", FaultKind::Trap) && *count >= 2
                    })
                });
            }
        }
    });
}

/// The policy, which makes that call in `configure`.
fn configuring(config: &PolicyConfig, deed: &str) -> PolicyConfig {
    PolicyConfig { config_json: format!(r#"{{"configure":"{deed}"}}"#), ..config.clone() }
}

/// A policy of its own that makes that call in `on-tick`, live.
fn tick(
    alone: &Alone,
    component: &Arc<PolicyComponent>,
    config: &PolicyConfig,
    deed: &str,
) -> Rc<dyn Policy> {
    let config = PolicyConfig {
        name: format!("{} {deed}", config.name).into(),
        tick: Duration::from_millis(10),
        config_json: format!(r#"{{"tick":"{deed}"}}"#),
        ..config.clone()
    };
    alone.configure(component, &config).unwrap().worker()
}

/// The message of its last trap, once there is one.
fn tick_fault(alone: &Alone, policy: &Rc<dyn Policy>) -> String {
    let mut message = String::new();
    until(|| {
        let last = alone.report(&**policy).last_fault.filter(|fault| fault.kind == FaultKind::Trap);
        last.inspect(|fault| message.clone_from(&fault.message)).is_some()
    });
    message
}

#[test]
fn each_looks_at_the_grant_again() {
    both(|| {
        let mut alone = alone();
        let [(guest, mut config), ..] = modes("let in by mistake", "{}");
        config.grants = Grants::default();
        // As if its imports had not been compared with its grants.
        let component = alone.component(guest, config.isolation);
        let mut component = Arc::try_unwrap(alone.link_again(&component)).unwrap();
        component.info.imports.clear();
        let component = Arc::new(component);
        let policy = Sandbox::configure(&alone, &component, &config, &BTreeMap::new()).unwrap().worker();
        for deed in calls(guest).iter().filter(|deed| !needs_exchange(deed)) {
            let (_, result) = call(&*policy, "request-head", asking(deed));
            if deed == "secrets.get" {
                assert!(result.is_ok(), "it has none that could be given: {result:?}");
                continue;
            }
            let fault = result.unwrap_err();
            let capability = deed.split('.').next().unwrap();
            assert!(fault.message.contains(&format!("`{capability}` was not granted")), "{deed}: {fault}");
        }
    });
}

/// What a guest's standard library asks of WASI.
const WASI_DEEDS: [&str; 7] = ["print", "files", "environment", "stdin", "times", "random", "panic"];

#[test]
fn so_is_a_call_of_wasi() {
    let mut alone = alone();
    let component = alone.component(MISBEHAVE, Isolation::Worker);
    let asked: Vec<String> =
        imports(&component).into_iter().filter(|name| name.starts_with("wasi:")).collect();
    let json = r#"{"request-head":"asked","response-head":"next"}"#;
    let mut reached = BTreeSet::new();
    for function in &asked {
        let only = function.clone();
        let component = failing(move |name| name == only, || alone.link_again(&component));
        let policy = alone.policy(&component, &config("failing wasi", json));
        for deed in WASI_DEEDS {
            let mut exchange = exchange();
            exchange.request.fields.append(b"x-deed", deed.as_bytes()).unwrap();
            let (exchange, result) = run_in_time(&*policy, || Hook::RequestHead, exchange);
            if let Err(fault) = result.map(drop) {
                assert_eq!(fault.kind, FaultKind::Trap, "{fault}");
                if fault.message.contains(&format!("the test has `{function}` fail")) {
                    reached.insert(function.clone());
                } else {
                    assert_eq!(deed, "panic", "{function}: {fault}");
                }
            }
            assert_eq!(exchange.request.target(), "/a/b?q=1");
            let (_, result) = run_in_time(&*policy, || Hook::ResponseHead, exchange);
            assert!(result.is_ok(), "after {function}: {result:?}");
            assert_eq!(alone.alive().0, 1, "{function}");
        }
    }
    for function in ["wasi:cli/stdout.get-stdout", "wasi:cli/environment.get-environment"] {
        assert!(reached.contains(function), "{function} of {reached:?}");
    }
    assert!(reached.len() >= 8, "{reached:?}");
}

#[test]
fn nothing_is_asked_from_inside_of_a_call() {
    both(|| {
        // What the host gives is put into the guest's memory by the guest's own allocator, and what it took is freed by
        // it as well. Meanwhile it may not call out (the Component Model's canonical ABI), so that no host function
        // ever runs inside another one.
        let json = r#"{"request-head":"asked","request-body":"asked","response-head":"asked","response-body":"asked"}"#;
        let plain = config("asking from inside", json);
        for config in [on_fibers(plain.clone()), plain] {
            let policy = super::policy(MISBEHAVE, &config);
            for deed in ["ask-while-given", "ask-while-taken"] {
                for name in ["request-head", "request-body", "response-head", "response-body"] {
                    let mut exchange = exchange();
                    exchange.request.fields.append(b"x-deed", deed.as_bytes()).unwrap();
                    let (exchange, result) = run_in_time(&*policy, || hook(name), exchange);
                    let fault = result.unwrap_err();
                    assert_eq!(fault.kind, FaultKind::Trap, "{deed} in {name}: {fault}");
                    assert!(fault.message.contains("cannot leave component instance"), "{fault}");
                    assert_eq!(exchange.request.target(), "/a/b?q=1");
                    let (_, result) = run_in_time(&*policy, || hook("completed"), exchange);
                    assert!(result.is_ok(), "{result:?}");
                }
            }
        }
    });
}
