use portcullis_test_guests::{ALL_HOOKS, CAPABILITIES, GLOBALS, MISBEHAVE};
use wasm_encoder::{
    CodeSection, Component, ConstExpr, DataSection, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, ImportSection, InstanceSection, MemorySection, MemoryType, Module, ModuleArg,
    ModuleSection, TypeSection, ValType,
};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use super::{NotSplit, split};

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
        let is_as_it_was = |code: &[u8]| guest.windows(code.len()).any(|part| part == code);
        let stateless = apart.code.iter().filter(|(_, code)| is_as_it_was(code)).count();
        assert_eq!(imported, apart.code.len());
        assert_eq!(left + stateless, modules, "each state module takes the place of its code");
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

/// A component of two modules, as languages make it that link dynamically: one has the memory, and the other, which
/// `library` makes, the code.
fn linked(library: &Module) -> Vec<u8> {
    let memory_type =
        MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None };
    let (mut memories, mut exports) = (MemorySection::new(), ExportSection::new());
    memories.memory(memory_type);
    exports.export("memory", ExportKind::Memory, 0);
    let mut memory = Module::new();
    memory.section(&memories).section(&exports);
    let mut instances = InstanceSection::new();
    instances.instantiate(0, std::iter::empty::<(&str, ModuleArg)>());
    instances.instantiate(1, [("env", ModuleArg::Instance(0))]);
    let mut component = Component::new();
    component.section(&ModuleSection(&memory)).section(&ModuleSection(library)).section(&instances);
    component.finish()
}

/// Much code, a memory that is imported, a global, and data if there is any.
fn library(mutable: bool, data: Option<&DataSection>) -> Module {
    let memory =
        MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None };
    let (mut types, mut imports, mut functions) =
        (TypeSection::new(), ImportSection::new(), FunctionSection::new());
    types.ty().function([], [ValType::I32]);
    imports.import("env", "memory", memory);
    functions.function(0);
    let (mut globals, mut exports, mut code) =
        (GlobalSection::new(), ExportSection::new(), CodeSection::new());
    globals.global(GlobalType { val_type: ValType::I32, mutable, shared: false }, &ConstExpr::i32_const(7));
    exports.export("f", ExportKind::Func, 0).export("g", ExportKind::Global, 0);
    let mut function = Function::new([]);
    for _ in 0..2000 {
        function.instructions().nop();
    }
    function.instructions().global_get(0).end();
    code.function(&function);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&globals).section(&exports);
    module.section(&code);
    if let Some(data) = data {
        module.section(data);
    }
    module
}

#[test]
fn a_module_that_works_on_the_memory_of_another_is_code_as_it_is() {
    let library = library(false, None);
    let apart = split(&linked(&library), 1000).unwrap();
    is_valid(&apart.component);
    let (left, imported, code) = inside(&apart.component);
    assert_eq!((left, imported, code), (1, 1, 0), "the memory stays");
    assert_eq!(apart.code, [("portcullis-code-n0".to_owned(), library.finish())]);
}

#[test]
fn a_module_whose_globals_change_is_taken_apart_also_without_a_memory() {
    let apart = split(&linked(&library(true, None)), 1000).unwrap();
    is_valid(&apart.component);
    is_valid(&apart.code[0].1);
    assert_eq!(inside(&apart.component).0, 2, "the memory and the global");
}

#[test]
fn a_module_that_fills_the_memory_of_another_stays_whole() {
    let mut data = DataSection::new();
    data.active(0, &ConstExpr::i32_const(0), *b"configured");
    let error = split(&linked(&library(false, Some(&data))), 1000).unwrap_err();
    assert!(matches!(error, NotSplit::Unsuitable("a module of it fills a memory of another")), "{error}");
}

#[test]
fn a_module_whose_memory_another_wants_large_stays_whole() {
    let text = r#"(component
        (core module $main (memory (export "memory") 2) (func (export "f")))
        (core module $library (import "main" "memory" (memory 2)) (func (export "g")))
        (core instance $main (instantiate $main))
        (core instance $library (instantiate $library (with "main" (instance $main)))))"#;
    let error = split(&wat::parse_str(text).unwrap(), 0).unwrap_err();
    assert!(matches!(error, NotSplit::Unfit(_)), "{error}");
    // It may be of any size.
    let text = text.replace("(memory 2))", "(memory 0))");
    assert_eq!(split(&wat::parse_str(text).unwrap(), 0).unwrap().code.len(), 2);
}

#[test]
fn what_has_little_code_stays_whole() {
    let error = split(GLOBALS, 100 << 20).unwrap_err();
    assert!(matches!(error, NotSplit::Unsuitable("no core module of it has much code")), "{error}");
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
