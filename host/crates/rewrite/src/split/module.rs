//! Takes one core module apart.

use std::convert::Infallible;
use std::ops::Range;

use wasm_encoder::reencode::{Error as ReencodeError, Reencode, RoundtripReencoder};
use wasm_encoder::{
    ConstExpr, DataCountSection, DataSection, EntityType, ExportKind, ExportSection, GlobalSection,
    ImportSection, MemorySection, Module, ModuleType, RawSection, SectionId,
};
use wasmparser::{
    CompositeInnerType, DataKind, Export, ExternalKind, FuncType, GlobalType, HeapType, MemoryType, Operator,
    Parser, Payload, TableType, TypeRef, ValType,
};

/// The name by which a code module imports its state.
pub(super) const STATE: &str = "portcullis:state";

/// Why something stays whole; for the log.
#[derive(Debug, thiserror::Error)]
pub enum NotSplit {
    /// It is no component.
    #[error("it cannot be read: {0}")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    /// It has something in it that cannot be encoded again.
    #[error("it cannot be written anew: {0}")]
    Unwritable(#[from] ReencodeError<Infallible>),
    /// Its parts do not fit together: one of its modules imports a memory of another and says how large it is, which
    /// the type of a code module must not.
    #[error("its parts do not fit: {0}")]
    Unfit(wasmparser::BinaryReaderError),
    /// It has something in it that cannot be taken apart.
    #[error("{0}")]
    Unsuitable(&'static str),
}

/// A module as two.
#[derive(Debug)]
pub(super) struct Halves {
    /// `None` if the module has no state: it is code as it is.
    pub(super) state: Option<Vec<u8>>,
    pub(super) code: Vec<u8>,
    /// What the code module imports and exports.
    pub(super) code_type: ModuleType,
}

/// What a module is made of, as far as it matters here.
#[derive(Default)]
struct Parts<'a> {
    sections: Vec<(u8, Range<usize>)>,
    types: Vec<FuncType>,
    imports: Vec<wasmparser::Import<'a>>,
    /// The types of all functions, tables and tags, imported ones first.
    functions: Vec<u32>,
    tables: Vec<TableType>,
    tags: Vec<wasmparser::TagType>,
    memories_imported: u32,
    /// The memories and globals that it defines.
    memories: Vec<MemoryType>,
    globals: Vec<(GlobalType, wasmparser::ConstExpr<'a>)>,
    /// The types of all memories and globals, as the code module imports them.
    memory_types: Vec<MemoryType>,
    global_types: Vec<GlobalType>,
    exports: Vec<Export<'a>>,
    data: Vec<wasmparser::Data<'a>>,
    code_bytes: usize,
}

/// Takes `module` apart, if it has enough code.
pub(super) fn split(module: &[u8], code_bytes_min: usize) -> Result<Halves, NotSplit> {
    let parts = Parts::read(module)?;
    if parts.code_bytes < code_bytes_min {
        return Err(NotSplit::Unsuitable("no core module of it has much code"));
    }
    if parts.is_stateless() {
        return Ok(Halves { state: None, code: module.to_vec(), code_type: parts.code_type(false)? });
    }
    Ok(Halves { state: Some(parts.state()?), code: parts.code(module)?, code_type: parts.code_type(true)? })
}

impl<'a> Parts<'a> {
    fn read(module: &'a [u8]) -> Result<Self, NotSplit> {
        let mut parts = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload?;
            if let Some((id, range)) = payload.as_section() {
                parts.sections.push((id, range));
            }
            match payload {
                Payload::TypeSection(section) => {
                    for group in section {
                        for ty in group?.into_types() {
                            let CompositeInnerType::Func(function) = ty.composite_type.inner else {
                                return Err(NotSplit::Unsuitable(
                                    "a module of it has types that are no functions'",
                                ));
                            };
                            parts.types.push(function);
                        }
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        parts.import(import?)?;
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        parts.functions.push(ty?);
                    }
                }
                Payload::TableSection(section) => {
                    for table in section {
                        parts.tables.push(table?.ty);
                    }
                }
                Payload::TagSection(section) => {
                    for tag in section {
                        parts.tags.push(tag?);
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        let memory = memory?;
                        parts.memories.push(memory);
                        parts.memory_types.push(any_size(memory));
                    }
                }
                Payload::GlobalSection(section) => {
                    for global in section {
                        let global = global?;
                        parts.globals.push((global.ty, global.init_expr));
                        parts.global_types.push(global.ty);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        parts.exports.push(export?);
                    }
                }
                Payload::DataSection(section) => {
                    for data in section {
                        parts.data.push(data?);
                    }
                }
                Payload::CodeSectionStart { range, .. } => parts.code_bytes = range.len(),
                _ => {}
            }
        }
        Ok(parts)
    }

    fn import(&mut self, import: wasmparser::Import<'a>) -> Result<(), NotSplit> {
        if import.module == STATE {
            return Err(NotSplit::Unsuitable("a module of it imports what is not for it to import"));
        }
        match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => self.functions.push(ty),
            TypeRef::Table(ty) => self.tables.push(ty),
            TypeRef::Memory(ty) => {
                self.memories_imported += 1;
                self.memory_types.push(ty);
            }
            TypeRef::Global(ty) => self.global_types.push(ty),
            TypeRef::Tag(ty) => self.tags.push(ty),
        }
        self.imports.push(import);
        Ok(())
    }

    /// Whether it is the same whatever was configured: what it works on is all another module's. So are the libraries
    /// of languages that link dynamically; CPython is one, with nearly all code of its component.
    fn is_stateless(&self) -> bool {
        let is_active = |data: &wasmparser::Data<'_>| matches!(data.kind, DataKind::Active { .. });
        self.memories.is_empty()
            && !self.globals.iter().any(|(ty, _)| ty.mutable)
            && !self.data.iter().any(is_active)
    }

    /// The module that defines memories and globals, and fills them.
    fn state(&self) -> Result<Vec<u8>, NotSplit> {
        let mut reencoder = RoundtripReencoder;
        let (mut memories, mut globals) = (MemorySection::new(), GlobalSection::new());
        let mut exports = ExportSection::new();
        for (at, memory) in (0..).zip(&self.memories) {
            memories.memory(reencoder.memory_type(*memory)?);
            exports.export(&memory_name(at), ExportKind::Memory, at);
        }
        for (at, (ty, init)) in (0..).zip(&self.globals) {
            globals.global(reencoder.global_type(checked(*ty)?)?, &constant(init)?);
            exports.export(&global_name(at), ExportKind::Global, at);
        }
        let mut data = DataSection::new();
        for segment in &self.data {
            if let DataKind::Active { memory_index, offset_expr } = &segment.kind {
                let memory = memory_index
                    .checked_sub(self.memories_imported)
                    .ok_or(NotSplit::Unsuitable("a module of it fills a memory of another"))?;
                data.active(memory, &constant(offset_expr)?, segment.data.iter().copied());
            }
        }
        let mut module = Module::new();
        module.section(&memories).section(&globals).section(&exports).section(&data);
        Ok(module.finish())
    }

    /// All the rest, with what the state module has as imports.
    fn code(&self, module: &[u8]) -> Result<Vec<u8>, NotSplit> {
        let mut imports = ImportSection::new();
        self.each_import(true, |module, name, ty| {
            imports.import(module, name, ty);
        })?;
        let mut imports = Some(imports);
        let mut written = Module::new();
        for (id, range) in &self.sections {
            let is = |section: SectionId| *id == section as u8;
            if !(is(SectionId::Custom) || is(SectionId::Type) || is(SectionId::Import))
                && let Some(imports) = imports.take()
            {
                written.section(&imports);
            }
            if is(SectionId::Import) || is(SectionId::Memory) || is(SectionId::Global) {
                continue;
            }
            if is(SectionId::DataCount) {
                written.section(&DataCountSection {
                    count: u32::try_from(self.data_kept()).unwrap_or(u32::MAX),
                });
            } else if is(SectionId::Data) {
                let mut data = DataSection::new();
                for segment in &self.data[..self.data_kept()] {
                    match segment.kind {
                        DataKind::Passive => data.passive(segment.data.iter().copied()),
                        // Code may name it by its number; as it has been applied, it is empty.
                        DataKind::Active { .. } => data.passive([]),
                    };
                }
                written.section(&data);
            } else {
                written.section(&RawSection { id: *id, data: &module[range.clone()] });
            }
        }
        Ok(written.finish())
    }

    /// Segments that the code may name. How many active ones come after them is a matter of the configuration.
    fn data_kept(&self) -> usize {
        let passive = |segment: &wasmparser::Data<'_>| matches!(segment.kind, DataKind::Passive);
        self.data.iter().rposition(passive).map_or(0, |last| last + 1)
    }

    fn code_type(&self, imports_state: bool) -> Result<ModuleType, NotSplit> {
        let mut reencoder = RoundtripReencoder;
        let mut written = ModuleType::new();
        for ty in &self.types {
            let ty = reencoder.func_type(ty.clone())?;
            written.ty().function(ty.params().iter().copied(), ty.results().iter().copied());
        }
        self.each_import(imports_state, |module, name, ty| {
            written.import(module, name, ty);
        })?;
        for export in &self.exports {
            let at = export.index as usize;
            let ty = match export.kind {
                ExternalKind::Func | ExternalKind::FuncExact => {
                    self.functions.get(at).map(|ty| TypeRef::Func(*ty))
                }
                ExternalKind::Table => self.tables.get(at).map(|ty| TypeRef::Table(*ty)),
                ExternalKind::Memory => self.memory_types.get(at).map(|ty| TypeRef::Memory(*ty)),
                ExternalKind::Global => self.global_types.get(at).map(|ty| TypeRef::Global(*ty)),
                ExternalKind::Tag => self.tags.get(at).map(|ty| TypeRef::Tag(*ty)),
            };
            let ty = ty.ok_or(NotSplit::Unsuitable("a module of it exports what it does not have"))?;
            written.export(export.name, reencoder.entity_type(ty)?);
        }
        Ok(written)
    }

    /// What the code module imports, in order.
    fn each_import(
        &self,
        imports_state: bool,
        mut write: impl FnMut(&str, &str, EntityType),
    ) -> Result<(), NotSplit> {
        let mut reencoder = RoundtripReencoder;
        for import in &self.imports {
            write(import.module, import.name, reencoder.entity_type(import.ty)?);
        }
        if !imports_state {
            return Ok(());
        }
        for (at, memory) in (0..).zip(&self.memories) {
            write(STATE, &memory_name(at), EntityType::Memory(reencoder.memory_type(any_size(*memory))?));
        }
        for (at, (ty, _)) in (0..).zip(&self.globals) {
            write(STATE, &global_name(at), EntityType::Global(reencoder.global_type(*ty)?));
        }
        Ok(())
    }
}

fn memory_name(at: u32) -> String {
    format!("memory{at}")
}

fn global_name(at: u32) -> String {
    format!("global{at}")
}

/// How large a memory is at first is a matter of the configuration.
fn any_size(memory: MemoryType) -> MemoryType {
    MemoryType { initial: 0, ..memory }
}

/// The state module has no types that a global could be of.
fn checked(ty: GlobalType) -> Result<GlobalType, NotSplit> {
    match ty.content_type {
        ValType::Ref(reference) if !matches!(reference.heap_type(), HeapType::Abstract { .. }) => {
            Err(NotSplit::Unsuitable("a global of it is of a type of its own"))
        }
        _ => Ok(ty),
    }
}

/// An initial value that depends on nothing else.
fn constant(expression: &wasmparser::ConstExpr<'_>) -> Result<ConstExpr, NotSplit> {
    let mut operators = expression.get_operators_reader();
    while !operators.eof() {
        match operators.read()? {
            Operator::I32Const { .. }
            | Operator::I64Const { .. }
            | Operator::F32Const { .. }
            | Operator::F64Const { .. }
            | Operator::V128Const { .. }
            | Operator::RefNull { hty: HeapType::Abstract { .. } }
            | Operator::End => {}
            _ => return Err(NotSplit::Unsuitable("a global or a place of data of it depends on others")),
        }
    }
    let written: Result<_, ReencodeError<Infallible>> = RoundtripReencoder.const_expr(expression.clone());
    Ok(written?)
}
