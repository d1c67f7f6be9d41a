use portcullis_test_guests::{ALL_HOOKS, CAPABILITIES, GLOBALS, MISBEHAVE};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use super::{Whole, split};

fn is_valid(wasm: &[u8]) {
    Validator::new_with_features(WasmFeatures::all()).validate_all(wasm).unwrap();
}

/// How many core modules a component has in it and imports, and the bytes of code that are left in it.
fn inside(component: &[u8]) -> (usize, usize, usize) {
    let (mut modules, mut imported, mut code) = (0, 0, 0);
    for payload in Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            Payload::ModuleSection { .. } => modules += 1,
            Payload::ComponentImportSection(section) => {
                let names = section.into_iter().map(|import| import.unwrap().name.name);
                imported += names.filter(|name| name.starts_with("portcullis-code-")).count();
            }
            Payload::CodeSectionStart { range, .. } => code += range.len(),
            _ => {}
        }
    }
    (modules, imported, code)
}

#[test]
fn the_halves_are_valid_and_all_code_is_in_one_of_them() {
    for guest in [ALL_HOOKS, CAPABILITIES, GLOBALS, MISBEHAVE] {
        let (modules, _, code) = inside(guest);
        let apart = split(guest, 1000).unwrap();
        is_valid(&apart.component);
        apart.code.iter().for_each(|(_, code)| is_valid(code));
        let (left, imported, small) = inside(&apart.component);
        assert_eq!(
            (left, imported),
            (modules, apart.code.len()),
            "each state module takes the place of its code"
        );
        let moved: usize = apart.code.iter().map(|(_, code)| inside_module(code)).sum();
        assert_eq!(small + moved, code);
        assert!(small < 10_000 && moved > 10_000, "{small} bytes stay, {moved} are moved");
    }
}

fn inside_module(module: &[u8]) -> usize {
    let sizes = Parser::new(0).parse_all(module).filter_map(|payload| match payload.unwrap() {
        Payload::CodeSectionStart { range, .. } => Some(range.len()),
        _ => None,
    });
    sizes.sum()
}

#[test]
fn what_has_little_code_stays_whole() {
    let error = split(GLOBALS, 100 << 20).unwrap_err();
    assert!(matches!(error, Whole::Odd("no core module of it has much code")), "{error}");
}

#[test]
fn what_is_broken_is_an_error_and_no_panic() {
    for length in 0..GLOBALS.len().min(4000) {
        assert!(split(&GLOBALS[..length], 0).is_err(), "{length} bytes");
    }
    // Every byte of the small sections at the end, and some of the rest.
    let mut damaged = GLOBALS.to_vec();
    for at in (0..damaged.len()).step_by(97).chain(damaged.len().saturating_sub(4000)..damaged.len()) {
        let byte = damaged[at];
        for wrong in [0, 0xff, byte ^ 1] {
            damaged[at] = wrong;
            drop(split(&damaged, 0));
        }
        damaged[at] = byte;
    }
}
