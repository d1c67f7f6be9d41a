//! What an exchange finds in an instance that another had before it.

use std::collections::BTreeMap;
use std::rc::Rc;

use portcullis_model::{Isolation, PolicyConfig};
use portcullis_policy::{Exchange, FaultKind, Hook, Outcome, Policy};
use portcullis_test_guests::{ALL_HOOKS, HOOK_COST, WRITES};

use super::{config, exchange, in_time, on_fibers, run};
use crate::component::{ImageSource, image};
use crate::{Sandbox, SandboxOptions};

fn isolated(name: &str) -> PolicyConfig {
    PolicyConfig { isolation: Isolation::Exchange, ..config(name, "{}") }
}

fn options() -> SandboxOptions {
    SandboxOptions { instances_max: 20, ..SandboxOptions::default() }
}

fn policy(sandbox: &Sandbox, guest: &[u8], config: &PolicyConfig) -> Rc<dyn Policy> {
    let component = sandbox.compile(guest, Isolation::Exchange).unwrap().component;
    sandbox.configure(&component, config, &BTreeMap::new()).unwrap().worker()
}

/// What the guest found in its memory, before it wrote to it.
fn found(policy: &Rc<dyn Policy>, write: &str) -> String {
    let exchange = written(policy, write, true);
    exchange.attributes.get("found").unwrap().to_owned()
}

/// Has the guest write, and look at its memory before that.
fn written(policy: &Rc<dyn Policy>, write: &str, look: bool) -> Box<Exchange> {
    let mut exchange = exchange();
    if look {
        exchange.request.fields.append(b"x-look", b"").unwrap();
    }
    exchange.request.fields.append(b"x-write", write.as_bytes()).unwrap();
    let (exchange, result) = run(&**policy, Hook::RequestHead, exchange);
    assert_eq!(result.err().map(|fault| fault.kind), (write == "trap").then_some(FaultKind::Trap), "{write}");
    exchange
}

#[test]
pub(super) fn whatever_an_exchange_wrote_the_next_finds_all_memory_as_it_was_configured() {
    in_time(|| {
        // Compiled whole, and with its code apart from its memory and globals.
        for split_from in [usize::MAX, 0] {
            let sandbox = Sandbox::with(options(), split_from, None).unwrap();
            let on_the_spot = isolated("writes");
            for config in [on_fibers(on_the_spot.clone()), on_the_spot] {
                let policy = policy(&sandbox, WRITES, &config);
                let first = found(&policy, "nothing");
                assert_eq!(sandbox.spares(), 1, "{}: it was wiped for the next", config.name);
                for write in [
                    "few", "many", "all", "stack", "heap", "static", "end", "grow", "print", "trap",
                    "nothing", "nothing",
                ] {
                    assert_eq!(found(&policy, write), first, "{}: before it wrote {write}", config.name);
                    assert_eq!(found(&policy, "nothing"), first, "{}: after it wrote {write}", config.name);
                }
            }
        }
    });
}

#[test]
fn each_region_that_was_written_is_restored() {
    in_time(|| {
        let sandbox = Sandbox::new(options()).unwrap();
        let expected = found(&policy(&sandbox, WRITES, &isolated("untouched")), "nothing");
        for write in ["few", "many", "all", "stack", "heap", "static", "end"] {
            // Not looked at before: what was read may count as written, which makes one region of all.
            let policy = policy(&sandbox, WRITES, &isolated(write));
            written(&policy, write, false);
            assert_eq!(sandbox.spares(), 1, "{write}");
            assert_eq!(found(&policy, "nothing"), expected, "{write}");
        }
    });
}

#[test]
fn what_wiping_does_not_undo_ends_the_instance() {
    in_time(|| {
        let sandbox = Sandbox::new(options()).unwrap();
        let policy = policy(&sandbox, WRITES, &isolated("ended"));
        for (write, spares) in
            [("nothing", 1), ("all", 1), ("grow", 0), ("heap", 1), ("print", 0), ("nothing", 1), ("trap", 0)]
        {
            found(&policy, write);
            assert_eq!(sandbox.spares(), spares, "after {write}");
        }
    });
}

#[test]
fn a_spare_takes_no_place_and_no_memory_from_others() {
    in_time(|| {
        let options =
            SandboxOptions { instances_max: 4, memory_bytes_max: 2 << 20, ..SandboxOptions::default() };
        let sandbox = Sandbox::new(options).unwrap();
        let first = policy(&sandbox, HOOK_COST, &isolated("first"));
        let second = policy(&sandbox, HOOK_COST, &isolated("second"));
        for policy in [&first, &second, &first, &second] {
            run(&**policy, Hook::RequestHead, exchange()).1.unwrap();
            assert_eq!(sandbox.metrics().instances, 0);
            assert_eq!(sandbox.metrics().memory_bytes, 0, "each needs more than half of what there is");
        }
        assert_eq!(sandbox.spares(), 1, "a fourth of the instances that may be");
        drop((first, second));
        assert_eq!(sandbox.spares(), 0, "they go with their policy");
    });
}

#[test]
fn a_spare_is_counted_again_when_it_is_taken() {
    in_time(|| {
        let sandbox = Sandbox::new(options()).unwrap();
        let mut config = isolated("counted");
        config.limits.instances = Some(1);
        let policy = policy(&sandbox, portcullis_test_guests::ALL_HOOKS, &config);
        // The instance stays in the exchange for the hooks that may come.
        let (waiting, _) = run(&*policy, Hook::RequestHead, exchange());
        let (_, result) = run(&*policy, Hook::RequestHead, exchange());
        assert_eq!(result.unwrap_err().kind, FaultKind::Exhausted);
        let ended = Hook::Completed(portcullis_policy::Outcome::default());
        run(&*policy, ended, waiting).1.unwrap();
        assert_eq!((sandbox.spares(), sandbox.metrics().instances), (1, 0));
        let (_waiting, result) = run(&*policy, Hook::RequestHead, exchange());
        assert!(result.is_ok());
        assert_eq!((sandbox.spares(), sandbox.metrics().instances), (0, 1));
        assert_eq!(run(&*policy, Hook::RequestHead, exchange()).1.unwrap_err().kind, FaultKind::Exhausted);
    });
}

#[test]
fn instances_that_rest_after_a_peak_are_given_back() {
    in_time(|| {
        let sandbox = Sandbox::new(options()).unwrap();
        let policy = policy(&sandbox, ALL_HOOKS, &isolated("peak"));
        let at_once: Vec<_> = (0..4).map(|_| run(&*policy, Hook::RequestHead, exchange()).0).collect();
        assert_eq!(sandbox.spares(), 0);
        for exchange in at_once {
            assert!(run(&*policy, Hook::Completed(Outcome::default()), exchange).1.is_ok());
        }
        let swept = || {
            policy.sweep();
            sandbox.spares()
        };
        assert_eq!(sandbox.spares(), 4);
        assert_eq!(swept(), 4, "all of them were in use a moment ago");
        assert_eq!(swept(), 2, "half of those that nobody has needed");
        // One is needed, and the other is not.
        let (exchange, _) = run(&*policy, Hook::RequestHead, exchange());
        assert!(run(&*policy, Hook::Completed(Outcome::default()), exchange).1.is_ok());
        assert_eq!([swept(), swept()], [1, 0]);
    });
}

#[test]
fn one_whose_exports_clash_with_those_of_wiping_has_an_image_and_is_not_wiped() {
    let sandbox = Sandbox::new(options()).unwrap();
    for (name, is_wiped) in [("f", true), ("portcullis-wipe-memory", false)] {
        let text = format!(
            r#"(component
                (core module $m (memory (export "memory") 1) (func (export "f")))
                (core instance $m (instantiate $m))
                (func (export "{name}") (canon lift (core func $m "f"))))"#
        );
        let (instrumented, _) = image::instrument(&wat::parse_str(text).unwrap()).unwrap();
        let source = ImageSource::new(instrumented);
        let image = image::blank(&source.component).unwrap();
        let compiled = sandbox.0.compile_image(&source, &image, false).unwrap();
        assert_eq!(compiled.code().wipe().is_some(), is_wiped, "{name}");
    }
}
