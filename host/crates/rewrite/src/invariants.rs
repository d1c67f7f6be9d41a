//! What holds of every rewritten component, whatever came in. The fuzz targets in `fuzz/targets` check it with this
//! file, and the tests with the seeds of the targets.

use portcullis_rewrite::looks::with_looks;
use portcullis_rewrite::single::{Imported, single};
use portcullis_rewrite::split::split;
use portcullis_rewrite::wipe::{MEMORY, RESTORE, check_code, rewrite};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef, Validator, WasmFeatures};

/// What of WebAssembly the gateway's engine takes.
const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::COMPONENT_MODEL);

/// Takes a component apart. If it is valid, so are its parts, and each function body is in one of them as it was.
///
/// # Errors
/// Returns why it stays whole.
pub(crate) fn check_split(component: &[u8]) -> Result<(), String> {
    let apart = split(component, 0).map_err(|reason| reason.to_string())?;
    if is_valid(component) {
        assert_valid("the component without its code", &apart.component);
        let mut bodies_after = bodies(&apart.component);
        for (name, code) in &apart.code {
            assert_valid(name, code);
            bodies_after.extend(bodies(code));
        }
        let mut bodies_before = bodies(component);
        bodies_before.sort_unstable();
        bodies_after.sort_unstable();
        assert!(bodies_before == bodies_after, "a function is lost, is there twice or was changed");
    }
    Ok(())
}

/// Adds to a component what wiping takes. If it is valid, so is what comes out, which has the exports of wiping and
/// each function body as it was.
///
/// # Errors
/// Returns why it cannot be wiped.
pub(crate) fn check_wipe(component: &[u8]) -> Result<(), String> {
    let rewritten = check_code(component).and_then(|()| rewrite(component));
    let rewritten = rewritten.map_err(|reason| reason.to_string())?;
    // A component with exports of these names is refused by the engine afterwards.
    if is_valid(component) && !exports(component).iter().any(|name| name.starts_with("portcullis-wipe-")) {
        assert_valid("what can be wiped", &rewritten.component);
        let exports = exports(&rewritten.component);
        for name in [MEMORY, RESTORE] {
            assert!(exports.iter().any(|export| export == name), "there is no export `{name}`");
        }
        let mut left = bodies(&rewritten.component);
        for body in bodies(component) {
            let at = left.iter().position(|other| *other == body);
            left.swap_remove(at.expect("a function is lost or was changed"));
        }
    }
    Ok(())
}

/// Finds the module of a component. If the component is valid, so is the module, which has everything that is said of
/// it; and it stays valid when it is made to look at the time.
///
/// # Errors
/// Returns why the component is no single module.
pub(crate) fn check_single(component: &[u8]) -> Result<(), String> {
    let single = single(component).map_err(|reason| reason.to_string())?;
    if !is_valid(component) {
        return Ok(());
    }
    let module = component.get(single.module.clone()).expect("the module is in the component");
    assert_valid("the module", module);
    assert_valid(
        "the module that looks at the time",
        &with_looks(module).expect("a valid module can be read"),
    );
    let (mut imports, mut functions, mut memories) = (Vec::new(), Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(module).flatten() {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports().flatten() {
                    assert!(matches!(import.ty, TypeRef::Func(_)), "it imports {import:?}");
                    imports.push((import.module.to_owned(), import.name.to_owned()));
                }
            }
            Payload::ExportSection(section) => {
                for export in section.into_iter().flatten() {
                    match export.kind {
                        ExternalKind::Func => functions.push(export.name.to_owned()),
                        ExternalKind::Memory => memories.push(export.name.to_owned()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let said: Vec<_> = single.imports.iter().map(|(from, name, _)| (from.clone(), name.clone())).collect();
    assert_eq!(said, imports, "what it imports");
    assert!(memories.contains(&single.memory), "`{}` is no memory of it", single.memory);
    let post_returns = single.exports.values().flatten();
    for function in single.exports.keys().chain(post_returns).chain(&single.realloc) {
        assert!(functions.contains(function), "`{function}` is no function of it");
    }
    for (_, _, imported) in &single.imports {
        let (Imported::Function { interface, name } | Imported::Drop { interface, resource: name }) =
            imported;
        assert!(!interface.is_empty() && !name.is_empty(), "{imported:?}");
    }
    Ok(())
}

fn is_valid(wasm: &[u8]) -> bool {
    Validator::new_with_features(FEATURES).validate_all(wasm).is_ok()
}

fn assert_valid(what: &str, wasm: &[u8]) {
    if let Err(error) = Validator::new_with_features(FEATURES).validate_all(wasm) {
        panic!("{what} is not valid: {error}");
    }
}

/// The function bodies of all core modules. `wasm` is valid.
fn bodies(wasm: &[u8]) -> Vec<&[u8]> {
    let bodies = Parser::new(0).parse_all(wasm).filter_map(|payload| match payload {
        Ok(Payload::CodeSectionEntry(body)) => Some(body.as_bytes()),
        _ => None,
    });
    bodies.collect()
}

/// The names of the component's exports.
fn exports(component: &[u8]) -> Vec<String> {
    let mut depth = 0_usize;
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::ComponentExportSection(section)) if depth == 0 => {
                names.extend(section.into_iter().flatten().map(|export| export.name.name.to_owned()));
            }
            _ => {}
        }
    }
    names
}
