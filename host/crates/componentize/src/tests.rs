use super::{Contract, Error};

/// A contract as small as one can be, of the form of ours.
const CONTRACT: Contract<'static> = Contract {
    package: "portcullis:policy",
    version: "0.2.1",
    wit: "package portcullis:policy@0.2.1;
          interface request { method: func() -> string; }
          interface log { log: func(text: string); }
          interface request-head { on-request-head: func() -> result<_, string>; }",
};

const HOOK: &str = "portcullis:policy/request-head@0.2.1#on-request-head";

fn module(imports: &str, export: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module {imports}
             (memory (export "memory") 1)
             (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
             (func (export "{export}") (result i32) i32.const 16))"#
    ))
    .unwrap()
}

#[test]
fn a_world_has_what_is_named_and_nothing_else() {
    assert_eq!(
        CONTRACT.world("key-check", ["request"], ["request-head"]),
        "package local:key-check;\n\nworld key-check {\n    import portcullis:policy/request@0.2.1;\n\n    \
         export portcullis:policy/request-head@0.2.1;\n}\n"
    );
}

#[test]
fn a_component_imports_what_its_module_does() {
    let import = r#"(import "portcullis:policy/request@0.2.1" "method" (func (param i32)))"#;
    let component = CONTRACT.component(&module(import, HOOK)).unwrap();
    let has = |name: &str| component.windows(name.len()).any(|part| part == name.as_bytes());
    assert!(has("portcullis:policy/request@0.2.1") && has("portcullis:policy/request-head@0.2.1"));
    assert!(!has("portcullis:policy/log@0.2.1") && !has("wasi:"));
}

#[test]
fn only_what_a_runtime_calls_of_wasi_is_asked_of_the_gateway() {
    let clock =
        r#"(import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))"#;
    let component = CONTRACT.component(&module(clock, HOOK)).unwrap();
    let has = |name: &str| component.windows(name.len()).any(|part| part == name.as_bytes());
    assert!(has("wasi:clocks/wall-clock@0.2.0") && !has("wasi:cli/stderr") && !has("wasi:random"));

    let args = r#"(import "wasi_snapshot_preview1" "args_get" (func (param i32 i32) (result i32)))"#;
    let component = CONTRACT.component(&module(args, HOOK)).unwrap();
    assert!(!component.windows(5).any(|part| part == b"wasi:"));
}

#[test]
fn what_cannot_be_a_policy_is_refused_with_its_reason() {
    let refused = |module: &[u8]| CONTRACT.component(module).unwrap_err();
    let undefined = refused(&module(r#"(import "env" "helper" (func))"#, HOOK));
    assert!(matches!(&undefined, Error::Undefined { module, name } if module == "env" && name == "helper"));
    assert!(matches!(refused(&module("", "main")), Error::NoHook));
    assert!(matches!(refused(b"\0asm"), Error::Malformed(_)));
    assert!(matches!(refused(b"text"), Error::Malformed(_)));
    let component = CONTRACT.component(&module("", HOOK)).unwrap();
    assert!(refused(&component).to_string().contains("a component already"));
    let older = refused(&module("", "portcullis:policy/request-head@0.1.0#on-request-head"));
    assert!(older.to_string().contains("request-head@0.1.0"), "{older}");
    let form = wat::parse_str(format!(r#"(module (func (export "{HOOK}") (param i64)))"#)).unwrap();
    assert!(refused(&form).to_string().contains("on-request-head"));
}
