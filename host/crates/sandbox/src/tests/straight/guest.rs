//! A component that calls one host function after the other, without a loop and without a function of its own in
//! between: guest code in which the engine never looks at the epoch.
//!
//! It is one of the guests of the tests with another core module in place of its own, so that it imports and exports
//! what that one does, with the same types. What a function is called with follows from its type: texts and lists of
//! bytes are large, so that a call takes its time, and everything else is the first of its kind.

use std::collections::BTreeMap;

use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, ElementSection, Elements, EntityType, ExportKind, ExportSection,
    Function, FunctionSection, ImportSection, InstructionSink, MemorySection, MemoryType, Module, RefType,
    TableSection, TableType, TypeSection, ValType,
};
use wasmparser::{CompositeInnerType, ExternalKind, FuncType, Parser, Payload, TypeRef};
use wasmtime::component::Component;
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};

/// Bytes of a text or a list of bytes; at most three of them fit into what a call may hand over.
const LARGE: i32 = 1_000_000;
/// Calls one after the other of a function with such an argument, which together take tens of ticks and more.
const LARGE_CALLS: usize = 2000;
/// Calls of any other, of which each takes 100 ns and more: together several ticks, because the longest stretch between
/// two looks is left out.
const SMALL_CALLS: usize = if cfg!(debug_assertions) { 15_000 } else { 60_000 };

/// The guest's data in its memory: what it knows, what functions return, and what the host hands over. Below it there
/// are only zeros, of which texts and lists are made.
const MEMORY_PAGES: u64 = 100;
const FIELD_AT: i32 = 5 << 20;
const CONFIGURED_AT: i32 = FIELD_AT + 64;
const RETURNED_AT: i32 = FIELD_AT + 1024;
const HANDED_OVER_AT: i32 = FIELD_AT + (64 << 10);

/// A function of the host that the guest can call.
struct Callee {
    name: String,
    /// Its number in the core module.
    index: u32,
    arguments: Vec<Argument>,
    /// Whether a call of it takes its time.
    is_large: bool,
    results: usize,
}

#[derive(Clone, Copy)]
enum Argument {
    I32(i32),
    I64,
    F32,
    F64,
}

/// The component, and what it can do: function by function.
pub(in crate::tests) struct Straight {
    pub(in crate::tests) component: Vec<u8>,
    pub(in crate::tests) functions: Vec<String>,
}

impl Straight {
    /// Made of `guest`, which `compiled` was compiled from.
    pub(in crate::tests) fn of(guest: &[u8], compiled: &Component) -> Self {
        let (begin, end) = main_module(guest);
        let (module, functions) = straight(&guest[begin..end], &types(compiled));
        Self { component: replaced(guest, begin, end, &module), functions }
    }

    /// By what the guest knows that it shall call that function: three digits.
    pub(in crate::tests) fn deed(&self, function: &str) -> String {
        let at = self.functions.iter().position(|name| name == function).unwrap();
        format!("{at:03}")
    }
}

/// The types of all functions that a component imports, by interface and name. Versions are left out: a core module may
/// name an older one of WASI.
fn types(component: &Component) -> BTreeMap<(String, String), ComponentFunc> {
    let engine = component.engine();
    let mut types = BTreeMap::new();
    for (import, item) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else { continue };
        for (function, item) in instance.exports(engine) {
            if let ComponentItem::ComponentFunc(ty) = item.ty {
                types.insert((interface(import).to_owned(), function.to_owned()), ty);
            }
        }
    }
    types
}

fn interface(import: &str) -> &str {
    import.split_once('@').map_or(import, |(interface, _)| interface)
}

/// Returns the range of the core module that calls the host.
fn main_module(component: &[u8]) -> (usize, usize) {
    for payload in Parser::new(0).parse_all(component) {
        let Payload::ModuleSection { unchecked_range: range, .. } = payload.unwrap() else { continue };
        let is_main =
            Parser::new(0).parse_all(&component[range.clone()]).any(|payload| match payload.unwrap() {
                Payload::ImportSection(imports) => imports
                    .into_imports()
                    .any(|import| import.unwrap().module.starts_with("portcullis:policy/")),
                _ => false,
            });
        if is_main {
            return (range.start, range.end);
        }
    }
    panic!("no core module imports the contract");
}

/// The component with another module at a place.
fn replaced(component: &[u8], begin: usize, end: usize, module: &[u8]) -> Vec<u8> {
    let leb = |size: usize| {
        let (mut size, mut bytes) = (size, Vec::new());
        while size >= 0x80 {
            bytes.push(size as u8 | 0x80);
            size >>= 7;
        }
        bytes.push(size as u8);
        bytes
    };
    let head = begin - leb(end - begin).len() - 1;
    assert_eq!(component[head], 1, "a section of a core module begins there");
    [&component[..=head], &leb(module.len()), module, &component[end..]].concat()
}

fn val_types(types: &[wasmparser::ValType]) -> Vec<ValType> {
    let one = |ty: &wasmparser::ValType| match ty {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        other => panic!("{other}"),
    };
    types.iter().map(one).collect()
}

/// Appends the flattened arguments for a parameter of type `ty` (the Component Model's canonical ABI). Returns `None`
/// if it has handles.
fn flatten(ty: &Type, arguments: &mut Vec<Argument>, is_large: &mut bool) -> Option<()> {
    match ty {
        Type::String => {
            *is_large = true;
            arguments.extend([Argument::I32(1024), Argument::I32(LARGE)]);
        }
        Type::List(list) if matches!(list.ty(), Type::U8) => {
            *is_large = true;
            arguments.extend([Argument::I32(1024), Argument::I32(LARGE)]);
        }
        Type::List(list) if matches!(list.ty(), Type::Own(_) | Type::Borrow(_)) => return None,
        Type::List(_) => arguments.extend([Argument::I32(1024), Argument::I32(10)]),
        Type::Record(record) => {
            for field in record.fields() {
                flatten(&field.ty, arguments, is_large)?;
            }
        }
        Type::Tuple(tuple) => {
            for ty in tuple.types() {
                flatten(&ty, arguments, is_large)?;
            }
        }
        // None, and the zeros that stand for what is not there.
        Type::Option(option) => {
            arguments.push(Argument::I32(0));
            let (mut inner, mut large) = (Vec::new(), false);
            flatten(&option.ty(), &mut inner, &mut large)?;
            arguments.extend(inner.iter().map(|argument| match argument {
                Argument::I32(_) => Argument::I32(0),
                other => *other,
            }));
        }
        // The longest of the cases, with the first one chosen; those of the contract have numbers alone.
        Type::Variant(variant) => {
            arguments.push(Argument::I32(0));
            let mut longest = Vec::new();
            for case in variant.cases() {
                let mut inner = Vec::new();
                if let Some(ty) = case.ty {
                    flatten(&ty, &mut inner, &mut false)?;
                }
                if inner.len() > longest.len() {
                    longest = inner;
                }
            }
            arguments.extend(longest);
        }
        Type::Result(_) | Type::Enum(_) | Type::Flags(_) => arguments.push(Argument::I32(0)),
        Type::Bool | Type::S8 | Type::U8 | Type::S16 | Type::U16 | Type::S32 | Type::U32 | Type::Char => {
            arguments.push(Argument::I32(1));
        }
        Type::S64 | Type::U64 => arguments.push(Argument::I64),
        Type::Float32 => arguments.push(Argument::F32),
        Type::Float64 => arguments.push(Argument::F64),
        _ => return None,
    }
    Some(())
}

/// Whether a call of it gives handles, of which an instance may have no more than a thousand, or ends the guest.
fn gives_handles_or_nothing(name: &str) -> bool {
    ["get-stdin", "get-stdout", "get-stderr", "subscribe", "exit", "get-terminal", "get-directories"]
        .iter()
        .any(|part| name.contains(part))
}

/// A module in the place of `main`, and the names of the functions that it can be asked to call, in order.
fn straight(main: &[u8], types: &BTreeMap<(String, String), ComponentFunc>) -> (Vec<u8>, Vec<String>) {
    let mut func_types: Vec<FuncType> = Vec::new();
    let mut imported: Vec<(String, String, u32)> = Vec::new();
    let (mut functions, mut exported) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(main) {
        match payload.unwrap() {
            Payload::TypeSection(section) => {
                for group in section {
                    for ty in group.unwrap().into_types() {
                        let CompositeInnerType::Func(ty) = ty.composite_type.inner else { panic!("{ty}") };
                        func_types.push(ty);
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.unwrap();
                    let TypeRef::Func(ty) = import.ty else { panic!("{import:?}") };
                    imported.push((import.module.to_owned(), import.name.to_owned(), ty));
                }
            }
            Payload::FunctionSection(section) => functions.extend(section.into_iter().map(Result::unwrap)),
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.unwrap();
                    exported.push((export.name.to_owned(), export.kind, export.index));
                }
            }
            _ => {}
        }
    }
    let type_of = |function: u32| match imported.get(function as usize) {
        Some((_, _, ty)) => *ty,
        None => functions[function as usize - imported.len()],
    };

    let mut callees = Vec::new();
    for (index, (module, name, ty)) in (0_u32..).zip(&imported) {
        let Some(component) = types.get(&(interface(module).to_owned(), name.clone())) else { continue };
        let ty = &func_types[*ty as usize];
        let (mut arguments, mut is_large) = (Vec::new(), false);
        let flat =
            component.params().try_for_each(|(_, ty)| flatten(&ty, &mut arguments, &mut is_large).ok_or(()));
        if flat.is_err() || gives_handles_or_nothing(name) {
            continue;
        }
        if ty.params().len() == arguments.len() + 1 {
            arguments.push(Argument::I32(RETURNED_AT));
        }
        assert_eq!(ty.params().len(), arguments.len(), "{module} {name}");
        let from = interface(module);
        let from = from.strip_prefix("portcullis:policy/").unwrap_or(from);
        let (name, results) = (format!("{from}.{name}"), ty.results().len());
        callees.push(Callee { name, index, arguments, is_large, results });
    }
    let header =
        imported.iter().position(|(module, name, _)| module.contains("/request@") && name == "header");

    let mut module = Module::new();
    let mut type_section = TypeSection::new();
    for ty in &func_types {
        type_section.ty().function(val_types(ty.params()), val_types(ty.results()));
    }
    let nothing = type_section.len();
    type_section.ty().function([], []);
    module.section(&type_section);
    let mut imports = ImportSection::new();
    for (from, name, ty) in &imported {
        imports.import(from, name, EntityType::Function(*ty));
    }
    module.section(&imports);

    let (mut function_section, mut code) = (FunctionSection::new(), CodeSection::new());
    let count = imported.len() as u32;
    for callee in &callees {
        function_section.function(nothing);
        code.function(&callee.body());
    }
    for body in INSTRUCTIONS.map(|(_, body)| body()) {
        function_section.function(nothing);
        code.function(&body);
    }
    let mut exports = ExportSection::new();
    for (name, kind, index) in &exported {
        match kind {
            ExternalKind::Memory => drop(exports.export(name, ExportKind::Memory, 0)),
            ExternalKind::Func => {
                let ty = type_of(*index);
                exports.export(name, ExportKind::Func, count + function_section.len());
                function_section.function(ty);
                code.function(&export_body(name, &func_types[ty as usize], header.unwrap() as u32, nothing));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    module.section(&function_section);
    let count_called = callees.len() + INSTRUCTIONS.len();
    let table_type = TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: count_called as u64,
        maximum: Some(count_called as u64),
        shared: false,
    };
    module.section(TableSection::new().table(table_type));
    module.section(MemorySection::new().memory(MemoryType {
        minimum: MEMORY_PAGES,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    }));
    module.section(&exports);
    let members: Vec<u32> = (count..).take(count_called).collect();
    let mut elements = ElementSection::new();
    elements.active(None, &ConstExpr::i32_const(0), Elements::Functions(members.into()));
    module.section(&elements);
    module.section(&code);
    module.section(DataSection::new().active(0, &ConstExpr::i32_const(FIELD_AT), *b"x-do"));
    let instructions = INSTRUCTIONS.map(|(name, _)| name.to_owned());
    (module.finish(), callees.into_iter().map(|callee| callee.name).chain(instructions).collect())
}

type MakeBody = fn() -> Function;

/// Instructions that take their time, one after the other.
const INSTRUCTIONS: [(&str, MakeBody); 2] = [
    ("instruction.memory-fill", || {
        repeated(|code| {
            code.i32_const(1024).i32_const(0).i32_const(LARGE).memory_fill(0);
        })
    }),
    ("instruction.memory-copy", || {
        repeated(|code| {
            code.i32_const(1024).i32_const(2048).i32_const(LARGE).memory_copy(0, 0);
        })
    }),
];

fn repeated(instruction: fn(&mut InstructionSink<'_>)) -> Function {
    let mut body = Function::new([]);
    let mut code = body.instructions();
    for _ in 0..LARGE_CALLS {
        instruction(&mut code);
    }
    code.end();
    body
}

impl Callee {
    /// Calls it over and over, with nothing in between.
    fn body(&self) -> Function {
        let mut body = Function::new([]);
        let mut code = body.instructions();
        for _ in 0..if self.is_large { LARGE_CALLS } else { SMALL_CALLS } {
            for argument in &self.arguments {
                match argument {
                    Argument::I32(value) => code.i32_const(*value),
                    Argument::I64 => code.i64_const(1),
                    Argument::F32 => code.f32_const(1.0.into()),
                    Argument::F64 => code.f64_const(1.0.into()),
                };
            }
            code.call(self.index);
            for _ in 0..self.results {
                code.drop();
            }
        }
        code.end();
        body
    }
}

fn load(code: &mut InstructionSink<'_>, offset: u64) {
    code.i32_load8_u(wasm_encoder::MemArg { offset, align: 0, memory_index: 0 });
}

/// What an exported function does. `configure` calls what its configuration says behind a `c`, and keeps what it says
/// behind a `t` for `on-tick`; hooks of an exchange call what the field `x-do` says.
fn export_body(name: &str, ty: &FuncType, header: u32, nothing: u32) -> Function {
    let params = ty.params().len() as u32;
    let mut body = Function::new([(1, ValType::I32)]);
    let at = params;
    let mut code = body.instructions();
    // Calls the function whose number is written in three digits at the place that the local says.
    let call = |code: &mut InstructionSink<'_>| {
        for (digit, factor) in [(0, 100), (1, 10), (2, 1)] {
            code.local_get(at);
            load(code, digit);
            code.i32_const(i32::from(b'0')).i32_sub().i32_const(factor).i32_mul();
        }
        code.i32_add().i32_add().call_indirect(0, nothing);
    };
    // Makes the call if the configuration's first letter, after the quote, is this one.
    let if_configured = |code: &mut InstructionSink<'_>, letter: u8| {
        code.i32_const(CONFIGURED_AT);
        load(code, 0);
        code.i32_const(letter.into()).i32_eq().if_(wasm_encoder::BlockType::Empty);
        code.i32_const(CONFIGURED_AT + 1).local_set(at);
        call(code);
        code.end();
    };
    if name.contains("#configure") && !name.starts_with("cabi_post") {
        for byte in 0..4 {
            code.i32_const(CONFIGURED_AT + byte).local_get(0);
            load(&mut code, byte as u64 + 1);
            code.i32_store8(wasm_encoder::MemArg { offset: 0, align: 0, memory_index: 0 });
        }
        if_configured(&mut code, b'c');
    } else if name.contains("#on-tick") {
        if_configured(&mut code, b't');
    } else if name.contains("#on-") && !name.starts_with("cabi_post") {
        code.i32_const(FIELD_AT).i32_const(4).i32_const(RETURNED_AT).call(header);
        code.i32_const(RETURNED_AT);
        load(&mut code, 0);
        code.if_(wasm_encoder::BlockType::Empty).i32_const(HANDED_OVER_AT).local_set(at);
        call(&mut code);
        code.end();
    }
    for result in val_types(ty.results()) {
        match (result, name) {
            (ValType::I32, "cabi_realloc") => code.i32_const(HANDED_OVER_AT),
            // Of all zeros: the first decision, and no error.
            (ValType::I32, _) => code.i32_const(0),
            (other, _) => panic!("{name}: {other:?}"),
        };
    }
    code.end();
    body
}
