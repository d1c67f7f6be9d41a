use std::path::Path;

use portcullis_test_guests::{ALL_HOOKS, EVERY_CALL, HOOK_COST, PLAIN};

use super::*;
use crate::invariants::check_single;

/// Whatever becomes of the bytes of a component, what is found in it is there.
#[test]
fn what_is_found_in_a_component_that_was_changed_is_there() {
    let usual = wat::parse_str(USUAL).unwrap();
    let mut found = 0;
    for at in 0..usual.len() {
        for change in [1, 0x80, 0xff] {
            let mut changed = usual.clone();
            changed[at] ^= change;
            found += usize::from(check_single(&changed).is_ok());
        }
        found += usize::from(check_single(&usual[..at]).is_ok());
    }
    assert!(found > 50, "{found}");
    for guest in [PLAIN, HOOK_COST, EVERY_CALL] {
        check_single(guest).unwrap();
    }
}

#[test]
fn a_guest_is_one_module() {
    for (guest, hook) in [(PLAIN, "#on-request-head"), (HOOK_COST, "#configure")] {
        let found = single(guest).unwrap();
        assert!(guest[found.module.clone()].starts_with(b"\0asm"));
        assert!(found.exports.keys().any(|name| name.ends_with(hook)), "{:?}", found.exports);
    }
    let found = single(HOOK_COST).unwrap();
    let header = found.imports.iter().find(|(_, name, _)| name == "header").unwrap();
    assert!(matches!(&header.2, Imported::Function { interface, name }
            if interface.starts_with("portcullis:policy/request@") && name == "header"));
    assert_eq!((found.realloc.as_deref(), found.memory.as_str()), (Some("cabi_realloc"), "memory"));
}

#[test]
fn every_function_that_it_imports_is_found() {
    for guest in [ALL_HOOKS, EVERY_CALL] {
        let found = single(guest).unwrap();
        assert!(found.imports.len() > 20, "{}", found.imports.len());
        let drops = |imported: &Imported| matches!(imported, Imported::Drop { .. });
        assert!(
            found
                .imports
                .iter()
                .all(|(_, name, imported)| drops(imported) == name.contains("[resource-drop]"))
        );
    }
}

/// A component of the usual form.
const USUAL: &str = r#"(component
    (import "a:b/c" (instance $c (export "f" (func (param "x" string)))))
    (core module $shim
        (type $t (func (param i32 i32)))
        (table (export "$imports") 1 1 funcref)
        (func (export "0") (type $t) local.get 0 local.get 1 i32.const 0 call_indirect (type $t)))
    (core instance $shim (instantiate $shim))
    (core module $main
        (import "a:b/c" "f" (func (param i32 i32)))
        (memory (export "memory") 1)
        (func (export "a:b/d#run") i32.const 0 i32.const 0 call 0)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable))
    (core instance $main (instantiate $main
        (with "a:b/c" (instance (export "f" (func $shim "0"))))))
    (alias core export $main "memory" (core memory $memory))
    (core func $f (canon lower (func $c "f") (memory $memory)))
    (core module $fix
        (import "" "$imports" (table 1 1 funcref))
        (import "" "0" (func (param i32 i32)))
        (elem (i32.const 0) func 0))
    (core instance (instantiate $fix
        (with "" (instance (export "$imports" (table $shim "$imports")) (export "0" (func $f))))))
    (func (export "run") (canon lift (core func $main "a:b/d#run"))))"#;

/// The same with something in the place of a part of it.
fn with(part: &str, other: &str) -> Result<Single, NotSingle> {
    assert!(USUAL.contains(part), "{part}");
    single(&wat::parse_str(USUAL.replace(part, other)).unwrap())
}

#[test]
fn the_usual_form_is_found_and_others_are_not() {
    let usual = with("a:b/c", "a:b/c").unwrap();
    let imported = Imported::Function { interface: "a:b/c".to_owned(), name: "f".to_owned() };
    assert_eq!(usual.imports, [("a:b/c".to_owned(), "f".to_owned(), imported)]);
    assert_eq!(usual.exports, BTreeMap::from([("a:b/d#run".to_owned(), None)]));

    for (part, other) in [
        ("(memory (export \"memory\") 1)", "(memory (export \"memory\") 1) (memory 1)"),
        ("(func (export \"a:b/d#run\") i32", "(func $s) (start $s) (func (export \"a:b/d#run\") i32"),
        ("\"a:b/d#run\"", "\"run\""),
        (
            "(canon lower (func $c \"f\") (memory $memory))",
            "(canon lower (func $c \"f\") (memory $memory) string-encoding=utf16)",
        ),
        // Something that is neither the table nor what fills it.
        ("(core module $fix", "(core module $more (func (export \"g\")) (memory 1)) (core module $fix"),
        ("(elem (i32.const 0) func 0)", "(elem (i32.const 0) func 0) (func)"),
    ] {
        assert!(with(part, other).is_err(), "{part}");
    }
}

#[test]
fn a_function_under_another_name_is_not_taken_for_it() {
    let text = |name: &str| {
        format!(
            r#"(component
            (import "a:b/c" (instance $c (export "f" (func))))
            (core module $main
                (import "a:b/c" "{name}" (func))
                (memory (export "memory") 1)
                (func (export "a:b/d#run") call 0))
            (core func $f (canon lower (func $c "f")))
            (core instance $main (instantiate $main (with "a:b/c" (instance (export "{name}" (func $f))))))
            (alias core export $main "memory" (core memory $memory))
            (func (export "run") (canon lift (core func $main "a:b/d#run"))))"#
        )
    };
    assert!(single(&wat::parse_str(text("f")).unwrap()).is_ok());
    assert!(single(&wat::parse_str(text("g")).unwrap()).is_err());
}

#[test]
fn whatever_comes_in_is_taken_or_refused() {
    let own = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    for target in ["split", "wipe"] {
        for entry in std::fs::read_dir(Path::new(&own).join("../../../fuzz/seeds").join(target)).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            drop(single(&bytes));
        }
    }
    // Cut at any place.
    for end in 0..PLAIN.len().min(3000) {
        drop(single(&PLAIN[..end]));
    }
}
