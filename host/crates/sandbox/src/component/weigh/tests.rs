use std::fmt::Write as _;

use super::{BYTES_MAX, FUNCTION_WEIGHT_MAX, is_heavy, weigh};

fn component(module: &str) -> Vec<u8> {
    let text = format!("(component (core module {module}))");
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error} in {text:.2000}"))
}

/// A function of so many branches, over locals that all stay alive.
fn branches(branches: usize, locals: usize) -> String {
    let mut text = format!("(func (param i32) (local {})", "i32 ".repeat(locals));
    for at in 0..branches {
        let local = 1 + at % locals;
        write!(
            text,
            "(if (local.get 0) (then (local.set {local} (i32.const 1))) (else (local.set {local} (i32.const 2))))"
        )
        .unwrap();
    }
    (0..locals).for_each(|at| write!(text, "(drop (local.get {}))", at + 1).unwrap());
    text + ")"
}

#[test]
fn ordinary_plugins_are_light() {
    let guests = [
        portcullis_test_guests::ALL_HOOKS,
        portcullis_test_guests::CAPABILITIES,
        portcullis_test_guests::GLOBALS,
        portcullis_test_guests::MISBEHAVE,
    ];
    for guest in guests {
        let weight = weigh(guest).unwrap();
        assert!(!weight.is_heavy() && weight.bytes > 1000, "{weight:?}");
        assert!(weight.largest < FUNCTION_WEIGHT_MAX / 4, "{weight:?}");
    }
    assert!(!is_heavy(&component(&branches(1000, 20))));
    assert!(!is_heavy(b"not a component"));
}

#[test]
fn what_takes_long_to_compile_is_heavy() {
    // Many blocks with many values in each: a few hundred kilobytes for minutes of work.
    assert!(is_heavy(&component(&branches(6000, 200))));
    // Small functions, but thousands of them.
    assert!(is_heavy(&component(&branches(200, 100).repeat(500))));
    // Many values in a small function, not in locals.
    let deep = format!(
        "(func (param i32) {} {} {})",
        "i32.const 1 ".repeat(3000),
        "(if (local.get 0) (then)) ".repeat(400),
        "drop ".repeat(3000)
    );
    assert!(is_heavy(&component(&deep)));
    // Calls with a thousand arguments and results, of two bytes each.
    let values = "i32 ".repeat(900);
    let calls = format!(
        "(type $t (func (param {values}) (result {values}))) (func $f (type $t) {}) (func {} {} {})",
        (0..900).fold(String::new(), |text, at| text + &format!("local.get {at} ")),
        "i32.const 1 ".repeat(900),
        "call $f ".repeat(1200),
        "drop ".repeat(900)
    );
    assert!(is_heavy(&component(&calls)));
}

#[test]
fn all_but_data_counts_by_its_bytes() {
    let data = format!("(memory 100) (data (i32.const 0) \"{}\")", "x".repeat(BYTES_MAX + 1));
    assert!(!is_heavy(&component(&data)));
    let types =
        "(type (func (param i32 i64 i32 i64 i32 i64 i32 i64) (result i32 i32 i32 i32)))".repeat(300_000);
    assert!(is_heavy(&component(&types)));
}

#[test]
fn components_that_call_one_another_are_heavy() {
    let text = r#"(component
        (component $inner
            (core module $m (func (export "f") (result i32) (i32.const 1)))
            (core instance $i (instantiate $m))
            (func (export "f") (result u32) (canon lift (core func $i "f"))))
        (instance (instantiate $inner)))"#;
    assert!(is_heavy(&wat::parse_str(text).unwrap()));
}
