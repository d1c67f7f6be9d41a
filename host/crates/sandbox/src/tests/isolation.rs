//! `isolation = "exchange"`: what an instance starts with, how long it lives, and what is left of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use portcullis_model::{Isolation, Name, PolicyConfig, Secret};
use portcullis_policy::{Exchange, Hook, Outcome, Policy, PolicyFactory};
use portcullis_test_guests::{ALL_HOOKS, GLOBALS, HOOK_COST, MISBEHAVE, TICKER};

use super::{config, exchange, in_time, logged, on_fibers, piece, run};
use crate::{GuestValue, Sandbox, SandboxOptions};

fn isolated(name: &str, json: &str) -> PolicyConfig {
    PolicyConfig { isolation: Isolation::Exchange, ..config(name, json) }
}

fn options(cache_dir: Option<&Path>) -> SandboxOptions {
    let cache_dir = cache_dir.map(Path::to_path_buf);
    SandboxOptions { cache_dir, instances_max: 20, ..SandboxOptions::default() }
}

fn sandbox(cache_dir: Option<&Path>) -> Sandbox {
    Sandbox::new(options(cache_dir)).unwrap()
}

/// One that compiles images whole, and one that compiles their code apart, as it does with those of slow languages.
fn whole_and_split(cache_dir: Option<&Path>, test: impl Fn(Sandbox)) {
    for split_from in [usize::MAX, 0] {
        in_time(|| test(Sandbox::with(options(cache_dir), split_from, None).unwrap()));
    }
}

fn factory(sandbox: &Sandbox, guest: &[u8], config: &PolicyConfig) -> Arc<dyn PolicyFactory> {
    let component = sandbox.compile(guest, Isolation::Exchange).unwrap().component;
    sandbox.configure(&component, config, &BTreeMap::<Name, Secret>::new()).unwrap()
}

/// What the guest found in its globals, and the exchange.
fn globals(policy: &Rc<dyn Policy>, hook: Hook, exchange: Box<Exchange>) -> (String, Box<Exchange>) {
    let (exchange, result) = run(&**policy, hook, exchange);
    result.unwrap();
    (exchange.attributes.get("globals").unwrap().to_owned(), exchange)
}

fn chunk(last: bool) -> Hook {
    Hook::ResponseBody { chunk: bytes::Bytes::from_static(b"piece"), last }
}

#[test]
pub(super) fn nothing_that_an_exchange_wrote_is_seen_by_another() {
    whole_and_split(None, |sandbox| {
        for config in [isolated("globals", r#"{"start":"configured"}"#), {
            let config = isolated("globals", r#"{"start":"configured"}"#);
            on_fibers(config)
        }] {
            let policy = factory(&sandbox, GLOBALS, &config).worker();
            // One in the other and one after the other: each finds what `configure` left and what it wrote itself.
            let (found, first) = globals(&policy, Hook::RequestHead, exchange());
            assert_eq!(found, "configured");
            let (found, second) = globals(&policy, Hook::RequestHead, exchange());
            assert_eq!(found, "configured");
            let (found, first) = globals(&policy, Hook::ResponseHead, first);
            assert_eq!(found, "configured request-head");
            let (found, _) = globals(&policy, Hook::Completed(Outcome::default()), first);
            assert_eq!(found, "configured request-head response-head");
            let (found, _) = globals(&policy, Hook::ResponseHead, second);
            assert_eq!(found, "configured request-head");
            let (found, _) = globals(&policy, Hook::RequestHead, exchange());
            assert_eq!(found, "configured");
        }
    });
}

#[test]
fn a_shared_instance_keeps_its_globals() {
    in_time(|| {
        let sandbox = sandbox(None);
        let component = sandbox.compile(GLOBALS, Isolation::Worker).unwrap().component;
        let config = config("shared globals", r#"{"start":"configured"}"#);
        let policy = sandbox.configure(&component, &config, &BTreeMap::new()).unwrap().worker();
        for expected in ["configured", "configured request-head"] {
            assert_eq!(
                globals(&policy, Hook::RequestHead, exchange()).0,
                expected,
                "which is what the other mode is for"
            );
        }
    });
}

#[test]
fn an_instance_lives_as_long_as_hooks_of_its_exchange_may_come() {
    whole_and_split(None, |sandbox| {
        let alive = || sandbox.metrics().instances;
        let every = factory(&sandbox, ALL_HOOKS, &isolated("every hook", "{}")).worker();
        let one = factory(&sandbox, HOOK_COST, &isolated("one hook", "{}")).worker();
        assert_eq!(alive(), 0, "what configure ran in is gone");

        let (exchange, _) = run(&*one, Hook::RequestHead, exchange());
        assert_eq!(alive(), 0, "it has no other hook");
        let hooks = [
            Hook::RequestHead,
            piece("a", false),
            piece("b", true),
            Hook::ResponseHead,
            chunk(false),
            chunk(true),
        ];
        let mut exchange = hooks.into_iter().fold(exchange, |exchange, hook| {
            let (exchange, result) = run(&*every, hook, exchange);
            assert!(result.is_ok(), "{result:?}");
            assert_eq!(alive(), 1, "it waits in the exchange");
            exchange
        });
        exchange = run(&*every, Hook::Completed(Outcome::default()), exchange).0;
        assert_eq!(alive(), 0, "the last hook was called");
        drop(run(&*every, Hook::RequestHead, exchange));
        assert_eq!(alive(), 0, "it goes with an exchange that ends early");
    });
}

#[test]
fn one_that_replied_is_not_kept_for_hooks_that_are_passed_over() {
    in_time(|| {
        let sandbox = sandbox(None);
        let config = isolated("replying", r#"{"request-head":"reply"}"#);
        let policy = factory(&sandbox, MISBEHAVE, &config).worker();
        let (mut exchange, result) = run(&*policy, Hook::RequestHead, exchange());
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(sandbox.metrics().instances, 1, "it has on-completed");
        exchange.clear();
        assert_eq!(sandbox.metrics().instances, 0);
    });
}

#[test]
fn a_fault_is_not_met_again_by_the_next_hook() {
    whole_and_split(None, |sandbox| {
        let config = isolated("trapping", r#"{"request-head":"trap"}"#);
        let policy = factory(&sandbox, MISBEHAVE, &config).worker();
        let (exchange, result) = run(&*policy, Hook::RequestHead, exchange());
        assert!(result.is_err());
        assert_eq!(sandbox.metrics().instances, 0, "the instance is gone");
        let (_, result) = run(&*policy, Hook::ResponseHead, exchange);
        assert!(result.is_ok(), "{result:?}");
    });
}

#[test]
fn what_configure_made_in_the_host_is_valid_in_every_instance() {
    whole_and_split(None, |sandbox| {
        let policy = factory(&sandbox, GLOBALS, &isolated("measuring", "{}")).worker();
        for _ in 0..3 {
            globals(&policy, Hook::RequestHead, exchange());
        }
        let report =
            sandbox.metrics().policies.into_iter().find(|report| &*report.policy == "measuring").unwrap();
        assert_eq!((&*report.guest[0].name, &report.guest[0].value), ("hooks", &GuestValue::Counter(3)));
    });
}

#[test]
fn a_tick_has_an_instance_of_its_own_each_time() {
    whole_and_split(None, |sandbox| {
        let mut config = isolated("ticking alone", "{}");
        config.tick = std::time::Duration::from_millis(10);
        let policy = factory(&sandbox, TICKER, &config).worker();
        super::calls::until(|| super::calls::ticks(&policy) >= 3);
        drop(policy);
        super::calls::until(|| sandbox.metrics().instances == 0);
    });
}

#[test]
fn an_image_that_holds_a_secret_is_never_written_to_disk() {
    const SECRET: &str = "a-secret-that-configure-keeps-in-memory-7f3a";
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        whole_and_split(Some(dir.path()), |sandbox| {
            let json = format!(r#"{{"start":"{SECRET}"}}"#);
            let policy = factory(&sandbox, GLOBALS, &isolated("secretive", &json)).worker();
            assert_eq!(globals(&policy, Hook::RequestHead, exchange()).0, SECRET, "the image has it");
        });
    }
    let files = files_without(dir.path(), &[SECRET.as_bytes()]);
    assert!(files >= 2, "the component and its functions are kept: {files}");
}

/// The number of files in a folder and those in it, none of which has one of `secrets` in it.
fn files_without(dir: &Path, secrets: &[&[u8]]) -> usize {
    let mut files = 0;
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // The engine's cache writes files under names that it changes in the end.
            let Ok(bytes) = std::fs::read(&path) else { continue };
            files += 1;
            for found in [bytes.clone(), decompressed(&bytes)] {
                for secret in secrets {
                    let holds = found.windows(secret.len()).any(|window| window == *secret);
                    assert!(!holds, "{} in {}", String::from_utf8_lossy(secret), path.display());
                }
            }
        }
    }
    files
}

/// A policy that keeps the text of its configuration, byte for byte, in globals of all types, in memory in a row, and
/// spread over pages.
fn keeper() -> Vec<u8> {
    // The text begins with a quotation mark.
    let text = r#"(component
        (core module $main
            (memory (export "memory") 3)
            (global $i32 (mut i32) (i32.const 1)) (global $i64 (mut i64) (i64.const 2))
            (global $f32 (mut f32) (f32.const 3)) (global $f64 (mut f64) (f64.const 4))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
            (func (export "configure") (param $at i32) (param $length i32) (result i32) (local $i i32)
                (global.set $i32 (i32.load offset=1 (local.get $at)))
                (global.set $i64 (i64.load offset=5 (local.get $at)))
                (global.set $f32 (f32.load offset=13 (local.get $at)))
                (global.set $f64 (f64.load offset=17 (local.get $at)))
                (loop $next
                    (i32.store8 (i32.add (i32.const 65536) (i32.mul (local.get $i) (i32.const 100)))
                        (i32.load8_u (i32.add (local.get $at) (local.get $i))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $next (i32.lt_u (local.get $i) (local.get $length))))
                (i32.const 16))
            (func (export "tick") (result i32)
                (global.set $i32 (i32.const 0)) (global.set $i64 (i64.const 0))
                (global.set $f32 (f32.const 0)) (global.set $f64 (f64.const 0))
                (i32.const 16)))
        (core instance $main (instantiate $main))
        (type $configure-type (func (param "config" string) (result (result (error string)))))
        (func $configure (type $configure-type)
            (canon lift (core func $main "configure") (memory $main "memory") (realloc (func $main "realloc"))))
        (type $tick-type (func (result (result (error string)))))
        (func $tick (type $tick-type) (canon lift (core func $main "tick") (memory $main "memory")))
        (instance $lifecycle (export "configure" (func $configure)))
        (instance $ticking (export "on-tick" (func $tick)))
        (export "portcullis:policy/lifecycle@0.2.1" (instance $lifecycle))
        (export "portcullis:policy/tick@0.2.1" (instance $ticking)))"#;
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Neither what is in globals of any type nor what is in memory.
#[test]
fn what_a_policy_keeps_of_its_configuration_is_in_no_file() {
    // The pieces that the globals have: of 4, 8, 4 and 8 bytes.
    const SECRETS: [[&str; 4]; 2] =
        [["aZ7x", "Qk3vT9mB", "pW2c", "Yh8sLd5g"], ["Rf4u", "Nj6eXo1t", "Kq9z", "Vi3wCb7n"]];
    let component = keeper();
    for split_from in [usize::MAX, 0] {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::with(options(Some(dir.path())), split_from, None).unwrap();
        let kept = || -> usize {
            let folder = std::fs::read_dir(dir.path().join("functions")).unwrap();
            folder.map(|entry| entry.unwrap().metadata().unwrap().len() as usize).sum()
        };
        for secret in SECRETS {
            let json = format!("\"{}\"", secret.concat());
            let log = logged(|| drop(factory(&sandbox, &component, &isolated("keeper", &json))));
            assert!(!log.contains("cannot start from a configured image"), "{log}");
            assert!(kept() > 0, "its image is compiled by its functions");
            let whole = secret.concat();
            let pieces: Vec<&[u8]> =
                secret.iter().map(|piece| piece.as_bytes()).chain([whole.as_bytes()]).collect();
            assert!(files_without(dir.path(), &pieces) >= 2, "the component and its functions are kept");
        }
    }
}

/// What the cache of whole components keeps is compressed; a file that is not gives nothing.
fn decompressed(bytes: &[u8]) -> Vec<u8> {
    zstd::decode_all(bytes).unwrap_or_default()
}

#[test]
fn a_new_configuration_takes_the_functions_of_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = sandbox(Some(dir.path()));
    let pack = || {
        let folder = std::fs::read_dir(dir.path().join("functions")).unwrap();
        let files: Vec<_> = folder.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
        assert_eq!(files.len(), 1);
        files.into_iter().next().unwrap()
    };
    drop(factory(&sandbox, GLOBALS, &isolated("first", r#"{"start":"one"}"#)));
    let functions = pack();
    assert!(functions.len() > 10_000, "{} bytes", functions.len());
    drop(factory(&sandbox, GLOBALS, &isolated("second", r#"{"start":"quite another"}"#)));
    assert!(pack() == functions, "hardly any was added");
}

#[test]
fn what_was_rehearsed_has_the_code_of_the_images() {
    in_time(|| {
        for split_from in [0, usize::MAX] {
            let dir = tempfile::tempdir().unwrap();
            let sandbox = || Sandbox::with(options(Some(dir.path())), split_from, None).unwrap();
            sandbox().rehearse(GLOBALS, Isolation::Exchange).unwrap();
            let files = || {
                let folder =
                    std::fs::read_dir(dir.path().join("functions")).unwrap().map(|entry| entry.unwrap());
                let mut files: Vec<_> =
                    folder.map(|file| (file.file_name(), file.metadata().unwrap().len())).collect();
                files.sort();
                files
            };
            let rehearsed = files();
            assert!(!rehearsed.is_empty());
            let sandbox = sandbox();
            assert!(sandbox.compile(GLOBALS, Isolation::Exchange).unwrap().cached);
            let policy = factory(&sandbox, GLOBALS, &isolated("rehearsed", r#"{"start":"here"}"#)).worker();
            assert_eq!(globals(&policy, Hook::RequestHead, exchange()).0, "here");
            assert_eq!(files(), rehearsed, "no module is another one, and hardly a function");
        }
    });
}

#[test]
fn the_code_of_a_component_is_compiled_once_whatever_it_is_configured_to() {
    in_time(|| {
        let sandbox = Sandbox::with(options(None), 0, None).unwrap();
        let component = sandbox.compile(GLOBALS, Isolation::Exchange).unwrap().component;
        let modules = || component.image.as_ref().unwrap().code.lock().len();
        // The second takes more memory.
        for (name, blanks) in [("one", 0), ("two", 1 << 18), ("three", 0)] {
            let config = isolated(name, &format!(r#"{{"start":"{name}"{}}}"#, " ".repeat(blanks)));
            let policy = sandbox.configure(&component, &config, &BTreeMap::new()).unwrap().worker();
            assert_eq!(globals(&policy, Hook::RequestHead, exchange()).0, name);
            // The guest's own, and the two of wit-component's that its imports go through.
            assert_eq!(modules(), 3, "after `{name}`");
        }
    });
}

#[test]
fn a_damaged_file_of_functions_is_compiled_again() {
    in_time(|| {
        let dir = tempfile::tempdir().unwrap();
        let config = isolated("damaged", r#"{"start":"here"}"#);
        drop(factory(&sandbox(Some(dir.path())), GLOBALS, &config));
        let file = std::fs::read_dir(dir.path().join("functions")).unwrap().next().unwrap().unwrap().path();
        let whole = std::fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 0xff;
        std::fs::write(&file, &damaged).unwrap();
        let log = logged(|| {
            let policy = factory(&sandbox(Some(dir.path())), GLOBALS, &config).worker();
            assert_eq!(globals(&policy, Hook::RequestHead, exchange()).0, "here");
        });
        assert!(log.contains("is damaged: what was in it is compiled again"), "{log}");
        assert_ne!(std::fs::read(&file).unwrap(), damaged);
    });
}

#[test]
fn what_cannot_have_an_image_is_isolated_without_one() {
    in_time(|| {
        let sandbox = sandbox(None);
        // Standard output is a handle, which an image would have without what it stands for.
        let config = isolated("printing", r#"{"start":"here","print":"yes"}"#);
        let log = logged(|| {
            let policy = factory(&sandbox, GLOBALS, &config).worker();
            for _ in 0..3 {
                let (found, exchange) = globals(&policy, Hook::RequestHead, exchange());
                assert_eq!(found, "here");
                assert_eq!(globals(&policy, Hook::ResponseHead, exchange).0, "here request-head");
            }
        });
        assert!(
            log.contains("cannot start from a configured image") && log.contains("WASI handles"),
            "{log}"
        );
        assert_eq!(sandbox.metrics().instances, 0);
    });
}
