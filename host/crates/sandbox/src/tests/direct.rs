//! Policies whose main module is called directly, beside the same by way of wasmtime's components, on fibers.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_model::{Isolation, PolicyConfig};
use portcullis_policy::{Exchange, FaultKind, Hook};
use portcullis_test_guests::{EDITS, EVERY_CALL, EVERY_CALL_WAITS, HOOK_COST, MISBEHAVE, PLAIN};

use super::faults::{HOOKS, hook};
use super::injected::asking;
use super::straight::guest::Straight;
use super::{SANDBOX, both, component, config, exchange, on_fibers, policy, run, run_in_time, tls, trailers};
use crate::component::Code;
use crate::component::image;
use crate::{Sandbox, SandboxOptions};

#[test]
fn guests_that_do_not_wait_are_called_directly() {
    for guest in [EDITS, EVERY_CALL, HOOK_COST, PLAIN] {
        let component = SANDBOX.compile(guest, Isolation::Worker).unwrap().component;
        assert!(component.direct.is_some());
        let component = SANDBOX.compile(guest, Isolation::Exchange).unwrap().component;
        let source = component.image.as_ref().unwrap();
        let image =
            SANDBOX.0.compile_image(source, &image::blank(&source.component).unwrap(), false).unwrap();
        assert!(matches!(image.code(), Code::Direct(_)));
        assert!(image.code().wipe().is_some());
    }
    let component = SANDBOX.compile(EVERY_CALL_WAITS, Isolation::Worker).unwrap().component;
    assert!(component.direct.is_none(), "it imports the call that waits");
}

/// What can be asked and edited, with values of every sort.
const EDITS_OF_ALL_SORTS: [&str; 79] = [
    "request.method",
    "request.scheme",
    "request.authority",
    "request.path",
    "request.query",
    "request.header x-many",
    "request.header x-bytes",
    "request.header x-none",
    "request.header-values x-many",
    "request.header-values x-none",
    "request.header-bytes x-many",
    "request.header-bytes x-bytes",
    "request.header-bytes x-none",
    "request.header-values x-bytes",
    "request.header-values-bytes x-many",
    "request.header-values-bytes x-bytes",
    "request.headers",
    "request.headers-bytes",
    "request.set-method PUT",
    "request.set-method CONNECT",
    "request.set-authority example.org",
    "request.set-path-and-query /c?d",
    "request.set-path-and-query c",
    "request.set-upstream elsewhere",
    "request.set-header x-a value",
    "request.set-header-bytes x-a ff",
    "request.set-header-bytes x-a 0a",
    "request.set-header-not-text",
    "request.set-header-size 100000",
    "request.set-header-control",
    "request.set-header host x",
    "request.append-header x-many third",
    "request.append-header-bytes x-many ff",
    "request.remove-header x-many",
    "request.remove-header content-length",
    "response.status",
    "response.header content-type",
    "response.header-values content-type",
    "response.header-bytes content-type",
    "response.header-values-bytes content-type",
    "response.headers",
    "response.headers-bytes",
    "response.set-status 418",
    "response.set-header x-a value",
    "response.set-header-bytes x-a ff",
    "response.append-header x-a other",
    "response.append-header-bytes x-a ff",
    "exchange.client-address",
    "exchange.client-address-bytes",
    "exchange.reply-header x-a b",
    "exchange.reply-bytes x-a ff",
    "request.set-endpoint-key one",
    "request.set-endpoint-key-bytes ff",
    "request.set-endpoint-key-size 2000",
    "trailers.header x-some",
    "trailers.header-bytes x-bytes",
    "trailers.header-values x-bytes",
    "trailers.header-values-bytes x-bytes",
    "trailers.headers",
    "trailers.headers-bytes",
    "trailers.set-header x-some other",
    "trailers.set-header content-length 5",
    "trailers.set-header-bytes x-some ff",
    "trailers.set-header-size 70000",
    "trailers.append-header x-some other",
    "trailers.append-header-bytes x-some ff",
    "trailers.remove-header x-some",
    "connection.protocol",
    "connection.listener",
    "connection.peer-address",
    "connection.peer-address-bytes",
    "connection.tls-version",
    "connection.tls-cipher",
    "connection.tls-alpn",
    "connection.tls-server-name",
    "connection.client-certificate",
    "exchange.attribute kept",
    "exchange.set-attribute-size 20000",
    "body.pass",
];

fn told(exchange: &Exchange) -> String {
    let attributes: Vec<_> = exchange.attributes.iter().collect();
    let Exchange { request, response, upstream, endpoint_key, trailers, .. } = exchange;
    format!("{request:?} {response:?} {upstream} {endpoint_key:?} {trailers:?} {attributes:?}")
}

#[test]
fn what_a_policy_sees_and_does_is_the_same() {
    both(|| {
        let plain = config("the same", "{}");
        let both_ways = [policy(EDITS, &plain), policy(EDITS, &on_fibers(plain.clone()))];
        for edit in EDITS_OF_ALL_SORTS {
            for name in HOOKS {
                let [direct, linked] = [0, 1].map(|way| {
                    let mut exchange = exchange();
                    exchange.client.address = "2001:db8::7".parse().unwrap();
                    exchange.client.tls = Some(tls());
                    exchange.trailers = Some(Box::new(trailers()));
                    assert!(exchange.attributes.set("kept", "yes"));
                    for (field, value) in [("x-many", &b"first"[..]), ("x-many", b""), ("x-bytes", b"\xff a")]
                    {
                        exchange.request.fields.append(field.as_bytes(), value).unwrap();
                    }
                    exchange.request.fields.set(b"x-edit", edit.as_bytes()).unwrap();
                    let (exchange, result) = run_in_time(&*both_ways[way], || hook(name), exchange);
                    format!("{} {:?}", told(&exchange), result.is_ok())
                });
                assert_eq!(direct, linked, "{edit} in {name}");
            }
        }
    });
}

#[test]
fn a_failure_and_a_trap_say_the_same() {
    both(|| {
        for deed in ["fail", "panic", "status 99", "exit", "sleep", "print", "body 4194304"] {
            let plain = config(&format!("says {deed}"), &format!("{{\"request-head\":\"{deed}\"}}"));
            let [direct, linked] = [plain.clone(), on_fibers(plain)].map(|config| {
                let policy = policy(MISBEHAVE, &config);
                let (_, result) = run_in_time(&*policy, || Hook::RequestHead, exchange());
                // Where it was differs: the backtrace of a component has what links it too.
                result.map(|_| ()).map_err(|fault| {
                    let said = fault.message.split("; in ").next().unwrap_or_default().to_owned();
                    (fault.kind, said)
                })
            });
            assert_eq!(direct, linked, "{deed}");
        }
    });
}

#[test]
fn host_functions_in_straight_code_meet_the_deadline() {
    let made_of = component(EVERY_CALL);
    let straight = Straight::of(EVERY_CALL, made_of.linked.pre.component());
    // It has much code.
    let sandbox = Sandbox::with(SandboxOptions::default(), usize::MAX, None).unwrap();
    let component = sandbox.compile(&straight.component, Isolation::Worker).unwrap().component;
    assert!(component.direct.is_some());
    let mut config = config("straight, directly", r#""-""#);
    config.limits.deadline = Duration::from_micros(1);
    config.limits.configure_deadline = Duration::from_secs(20);
    config.limits.memory_bytes = 64 << 20;
    config.grants.secrets = vec!["key".into()];
    let secrets = BTreeMap::from([("key".into(), portcullis_model::Secret::new(b"value".to_vec()))]);
    let config = PolicyConfig { isolation: Isolation::Worker, ..config };
    let policy = sandbox.configure(&component, &config, &secrets).unwrap().worker();
    for function in straight.functions.iter().filter(|name| !name.starts_with("wasi:")) {
        let fault =
            (0..200).find_map(|_| run(&*policy, Hook::RequestHead, asking(&straight.deed(function))).1.err());
        let fault = fault.unwrap_or_else(|| panic!("{function} was never stopped"));
        assert_eq!(fault.kind, FaultKind::Deadline, "{function}: {fault}");
    }
}

/// A policy that calls `secrets.get` with these places and lengths in `configure`, and gives the host memory at
/// `given`.
fn hands_over(text: (u32, u32), out: u32, given: u32) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "portcullis:policy/secrets@0.2.1" (instance $secrets
                (export "get" (func (param "name" string) (result (option (list u8)))))))
            (core module $shim
                (type $t (func (param i32 i32 i32)))
                (table (export "$imports") 1 1 funcref)
                (func (export "0") (type $t)
                    local.get 0 local.get 1 local.get 2 i32.const 0 call_indirect (type $t)))
            (core instance $shim (instantiate $shim))
            (core module $m
                (import "portcullis:policy/secrets@0.2.1" "get" (func $get (param i32 i32 i32)))
                (memory (export "memory") 1)
                (data (i32.const 64) "key\ff")
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    ;; The configuration has a place; for anything else it is `given`.
                    (if (result i32) (i32.eq (local.get 3) (i32.const 2))
                        (then (i32.const 1024)) (else (i32.const {given}))))
                (func (export "portcullis:policy/lifecycle@0.2.1#configure") (param i32 i32) (result i32)
                    (call $get (i32.const {at}) (i32.const {length}) (i32.const {out})) (i32.const 16))
                (func (export "portcullis:policy/tick@0.2.1#on-tick") (result i32) (i32.const 16)))
            (core instance $m (instantiate $m
                (with "portcullis:policy/secrets@0.2.1" (instance (export "get" (func $shim "0"))))))
            (alias core export $m "memory" (core memory $memory))
            (core func $get (canon lower (func $secrets "get") (memory $memory) (realloc (func $m "realloc"))))
            (core module $fix
                (import "" "$imports" (table 1 1 funcref)) (import "" "0" (func (param i32 i32 i32)))
                (elem (i32.const 0) func 0))
            (core instance (instantiate $fix
                (with "" (instance (export "$imports" (table $shim "$imports")) (export "0" (func $get))))))
            (type $configure-type (func (param "config" string) (result (result (error string)))))
            (type $tick-type (func (result (result (error string)))))
            (func $configure (type $configure-type)
                (canon lift (core func $m "portcullis:policy/lifecycle@0.2.1#configure") (memory $memory)
                    (realloc (func $m "realloc"))))
            (func $tick (type $tick-type)
                (canon lift (core func $m "portcullis:policy/tick@0.2.1#on-tick") (memory $memory)))
            (instance $lifecycle (export "configure" (func $configure)))
            (instance $ticking (export "on-tick" (func $tick)))
            (export "portcullis:policy/lifecycle@0.2.1" (instance $lifecycle))
            (export "portcullis:policy/tick@0.2.1" (instance $ticking)))"#,
        at = text.0 as i32,
        length = text.1 as i32,
        out = out as i32,
        given = given as i32,
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn pointers_out_of_memory_end_a_guest_and_nothing_else() {
    const END: u32 = 64 << 10;
    let secrets = BTreeMap::from([("key".into(), portcullis_model::Secret::new(b"value".to_vec()))]);
    type Case = ((u32, u32), u32, u32, Option<&'static str>);
    let cases: [Case; 14] = [
        ((64, 3), 128, 2048, None),
        ((64, 0), 128, 2048, None),
        ((END - 1, 1), 128, 2048, None),
        ((64, 3), END - 12, 2048, None),
        ((64, 3), 128, END - 5, None),
        ((END, 1), 128, 2048, Some("out of bounds")),
        ((END - 1, 2), 128, 2048, Some("out of bounds")),
        ((u32::MAX, u32::MAX), 128, 2048, Some("")),
        ((64, 1 << 30), 128, 2048, Some("")),
        ((64, 4), 128, 2048, Some("utf-8")),
        ((64, 3), END - 8, 2048, Some("out of bounds")),
        ((64, 3), 129, 2048, Some("aligned")),
        ((64, 3), 128, END - 4, Some("end of memory")),
        ((64, 3), 128, u32::MAX, Some("end of memory")),
    ];
    for (text, out, given, error) in cases {
        let component = hands_over(text, out, given);
        let compiled = SANDBOX.compile(&component, Isolation::Worker).unwrap().component;
        assert!(compiled.direct.is_some());
        let mut plain = config("hands over", "{}");
        plain.grants.secrets = vec!["key".into()];
        for config in [plain.clone(), on_fibers(plain)] {
            let way = &config.name;
            let configured = SANDBOX
                .configure(&compiled, &config, &secrets)
                .map(|_| ())
                .map_err(|error| error.to_string());
            match (error, configured) {
                (None, configured) => assert_eq!(configured, Ok(()), "{way}: {text:?} {out} {given}"),
                (Some(part), Err(said)) => {
                    assert!(said.contains("trap") || said.contains("too-large"), "{way}: {said}");
                    assert!(said.contains(part), "{way}: {text:?} {out} {given}: {said}");
                }
                (Some(part), Ok(())) => panic!("{way}: {text:?} {out} {given}: not {part}"),
            }
        }
    }
}
