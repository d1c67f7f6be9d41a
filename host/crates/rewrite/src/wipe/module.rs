//! Adds to a core module what wiping takes.

use std::ops::Range;

use wasm_encoder::{
    CodeSection, Encode, ExportKind, Function, FunctionSection, InstructionSink, MemorySection, MemoryType,
    Module, RawSection, Section, SectionId, TypeSection, ValType,
};
use wasmparser::{BinaryReader, DataKind, Parser, Payload, TypeRef};

/// Regions that one call of [`RESTORE`](super::RESTORE) restores: their places and lengths are its parameters, of which
/// there may be 16.
pub const REGIONS: usize = 7;

/// Why instances of an image are dropped rather than wiped; for the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotWipeable {
    /// It is no component.
    #[error("it cannot be read: {0}")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    /// It has something in it that wiping would not undo.
    #[error("{0}")]
    Unsuitable(&'static str),
}

/// The core modules' exports that are added.
pub(super) const CORE_MEMORY: &str = "portcullis:memory";
pub(super) const CORE_PLACE: &str = "portcullis:place";
/// The export of a module that restores [`REGIONS`] regions of its memory, and its globals.
pub const CORE_RESTORE: &str = "portcullis:restore";
pub(super) const CORE_RESET: &str = "portcullis:reset";

/// What a core module is made of, as far as it matters here.
#[derive(Default)]
pub(super) struct ModuleParts {
    /// Its place in the component.
    pub(super) range: Range<usize>,
    sections: Vec<(u8, Range<usize>)>,
    types: u32,
    functions: u32,
    globals: u32,
    pub(super) memories: Vec<wasmparser::MemoryType>,
    /// Those that it can change, with their types and the place of the expression that they start with.
    mutable: Vec<(u32, wasmparser::ValType, Range<usize>)>,
    /// What its memory is filled with: the places of offset and bytes.
    data: Vec<(Range<usize>, Range<usize>)>,
}

impl ModuleParts {
    pub(super) fn read(module: &[u8]) -> Result<Self, NotWipeable> {
        let mut parts = Self::default();
        let mut memories_imported = 0;
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload?;
            if let Some((id, range)) = payload.as_section() {
                parts.sections.push((id, range));
            }
            match payload {
                Payload::TypeSection(section) => {
                    for group in section {
                        let types = group?.into_types().count();
                        parts.types += u32::try_from(types).unwrap_or(u32::MAX);
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        match import?.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => parts.functions += 1,
                            TypeRef::Global(_) => parts.globals += 1,
                            TypeRef::Memory(_) => memories_imported += 1,
                            TypeRef::Table(_) | TypeRef::Tag(_) => {}
                        }
                    }
                }
                Payload::FunctionSection(section) => parts.functions += section.count(),
                Payload::MemorySection(section) => {
                    for memory in section {
                        parts.memories.push(memory?);
                    }
                }
                Payload::GlobalSection(section) => {
                    for global in section {
                        let global = global?;
                        if global.ty.mutable {
                            if matches!(global.ty.content_type, wasmparser::ValType::Ref(_)) {
                                return Err(NotWipeable::Unsuitable(
                                    "it has globals that refer to something",
                                ));
                            }
                            let range = global.init_expr.get_binary_reader().range();
                            parts.mutable.push((parts.globals, global.ty.content_type, range));
                        }
                        parts.globals += 1;
                    }
                }
                Payload::StartSection { .. } => {
                    return Err(NotWipeable::Unsuitable("it has a start function"));
                }
                Payload::DataSection(section) => {
                    for data in section {
                        let data = data?;
                        if let DataKind::Active { offset_expr, .. } = data.kind {
                            if memories_imported > 0 {
                                return Err(NotWipeable::Unsuitable(
                                    "a module of it fills a memory of another",
                                ));
                            }
                            let bytes = data.range.end - data.data.len()..data.range.end;
                            parts.data.push((offset_expr.get_binary_reader().range(), bytes));
                        }
                    }
                }
                _ => {}
            }
        }
        if !parts.memories.is_empty() && memories_imported > 0 || parts.memories.len() > 1 {
            return Err(NotWipeable::Unsuitable("it has more than one memory"));
        }
        Ok(parts)
    }

    pub(super) fn is_touched(&self) -> bool {
        !(self.memories.is_empty() && self.mutable.is_empty())
    }

    pub(super) fn memory_bytes(&self) -> Result<usize, NotWipeable> {
        let bytes = self.memories.first().and_then(|memory| {
            let odd = memory.memory64 || memory.shared || memory.page_size_log2.is_some();
            usize::try_from(memory.initial).ok().filter(|_| !odd)?.checked_mul(64 << 10)
        });
        bytes.ok_or(NotWipeable::Unsuitable("its memory is not of 32 bits"))
    }

    /// Returns the module with a memory that keeps what is in its own at first, with the first values of its globals,
    /// and with the functions that restore both. All that is new comes last, so that no index changes.
    pub(super) fn rewritten(&self, module: &[u8]) -> Result<Vec<u8>, NotWipeable> {
        let has_memory = !self.memories.is_empty();
        let mut types = Added::default();
        let mut functions = Added::default();
        let mut exports = Added::default();
        let mut code = Added::default();
        let mut add = |ty: &dyn Fn(&mut TypeSection), name: &str, body: Function| {
            let mut section = TypeSection::new();
            ty(&mut section);
            types.take(&section);
            let mut section = FunctionSection::new();
            section.function(self.types + functions.count);
            let mut export = wasm_encoder::ExportSection::new();
            export.export(name, ExportKind::Func, self.functions + functions.count);
            functions.take(&section);
            exports.take(&export);
            let mut section = CodeSection::new();
            section.function(&body);
            code.take(&section);
        };
        if has_memory {
            add(&|types| types.ty().function([], [ValType::I32]), CORE_PLACE, place());
            let restored = |types: &mut TypeSection| {
                types.ty().function(vec![ValType::I32; 2 * REGIONS], []);
            };
            add(&restored, CORE_RESTORE, self.reset(true));
        } else {
            add(&|types| types.ty().function([], []), CORE_RESET, self.reset(false));
        }

        let mut memories = Added::default();
        if has_memory {
            let pages = self.memories.first().map_or(0, |memory| memory.initial);
            let mut section = MemorySection::new();
            section.memory(MemoryType {
                minimum: pages,
                // Nothing can grow it. How large it is differs between configurations, so the code must not know it.
                maximum: None,
                memory64: false,
                shared: false,
                page_size_log2: None,
            });
            memories.take(&section);
            let mut export = wasm_encoder::ExportSection::new();
            export.export(CORE_MEMORY, ExportKind::Memory, 0);
            exports.take(&export);
        }
        let mut globals = Added::default();
        for (_, ty, init) in &self.mutable {
            globals.bytes.push(match ty {
                wasmparser::ValType::I32 => 0x7f,
                wasmparser::ValType::I64 => 0x7e,
                wasmparser::ValType::F32 => 0x7d,
                wasmparser::ValType::F64 => 0x7c,
                wasmparser::ValType::V128 => 0x7b,
                wasmparser::ValType::Ref(_) => {
                    return Err(NotWipeable::Unsuitable("it has globals that refer to something"));
                }
            });
            // Mutable, though nothing changes it: a constant is written into the code that reads it, and code is kept
            // on disk. Besides, the code would differ between configurations.
            globals.bytes.push(1);
            globals.bytes.extend_from_slice(&module[init.clone()]);
            globals.count += 1;
        }
        let mut data = Added::default();
        if has_memory {
            for (offset, bytes) in &self.data {
                // Active, in memory 1.
                data.bytes.extend_from_slice(&[2, 1]);
                data.bytes.extend_from_slice(&module[offset.clone()]);
                (bytes.len()).encode(&mut data.bytes);
                data.bytes.extend_from_slice(&module[bytes.clone()]);
                data.count += 1;
            }
        }
        let counted = Added { count: data.count, bytes: Vec::new() };
        let added = [
            (SectionId::Type, types),
            (SectionId::Function, functions),
            (SectionId::Memory, memories),
            (SectionId::Global, globals),
            (SectionId::Export, exports),
            (SectionId::DataCount, counted),
            (SectionId::Code, code),
            (SectionId::Data, data),
        ];
        self.with(module, added)
    }

    /// Sets its globals to their first values, and copies up to so many regions of its memory from the other one.
    fn reset(&self, memory: bool) -> Function {
        let mut function = Function::new([]);
        let mut code = function.instructions();
        if memory {
            for region in (0..2 * u32::try_from(REGIONS).unwrap_or(0)).step_by(2) {
                copy(&mut code, region);
            }
        }
        for (kept, (global, ..)) in (self.globals..).zip(&self.mutable) {
            code.global_get(kept).global_set(*global);
        }
        code.end();
        function
    }

    /// Returns the module with `added` at the ends of its sections.
    fn with<const N: usize>(
        &self,
        module: &[u8],
        added: [(SectionId, Added); N],
    ) -> Result<Vec<u8>, NotWipeable> {
        let mut written = Module::new();
        let mut added = added.into_iter().peekable();
        for (id, range) in &self.sections {
            while *id != SectionId::Custom as u8
                && let Some((section, more)) = added.next_if(|(section, _)| rank(*section as u8) < rank(*id))
            {
                // Without bulk memory there need be no count of segments.
                if more.count > 0 && section != SectionId::DataCount {
                    more.append(&mut written, section as u8, &[0])?;
                }
            }
            match added.next_if(|(section, _)| *section as u8 == *id) {
                Some((_, more)) => more.append(&mut written, *id, &module[range.clone()])?,
                None => drop(written.section(&RawSection { id: *id, data: &module[range.clone()] })),
            }
        }
        for (section, more) in added {
            if more.count > 0 && section != SectionId::DataCount {
                more.append(&mut written, section as u8, &[0])?;
            }
        }
        Ok(written.finish())
    }
}

/// Returns the memory as a list of its bytes, whose place and length are written to its start.
fn place() -> Function {
    let at = |offset| wasm_encoder::MemArg { offset, align: 2, memory_index: 0 };
    let mut function = Function::new([]);
    function
        .instructions()
        .i32_const(0)
        .i32_const(0)
        .i32_store(at(0))
        .i32_const(0)
        .memory_size(0)
        .i32_const(16)
        .i32_shl()
        .i32_store(at(4))
        .i32_const(0)
        .end();
    function
}

/// Copies the region that two parameters name, from the memory that keeps what was there at first.
fn copy(code: &mut InstructionSink<'_>, start: u32) {
    code.local_get(start + 1)
        .if_(wasm_encoder::BlockType::Empty)
        .local_get(start)
        .local_get(start)
        .local_get(start + 1)
        .memory_copy(0, 1)
        .end();
}

/// The place of a section among the others.
fn rank(id: u8) -> u8 {
    const ORDER: [SectionId; 13] = [
        SectionId::Type,
        SectionId::Import,
        SectionId::Function,
        SectionId::Table,
        SectionId::Memory,
        SectionId::Tag,
        SectionId::Global,
        SectionId::Export,
        SectionId::Start,
        SectionId::Element,
        SectionId::DataCount,
        SectionId::Code,
        SectionId::Data,
    ];
    ORDER.iter().position(|section| *section as u8 == id).map_or(u8::MAX, |at| at as u8)
}

/// Entries for the end of a section.
#[derive(Default)]
struct Added {
    count: u32,
    bytes: Vec<u8>,
}

impl Added {
    /// Takes the one entry of `section`.
    fn take(&mut self, section: &impl Section) {
        let mut bytes = Vec::new();
        section.encode(&mut bytes);
        // Before the entry stand the section's length and the number of its entries.
        let mut reader = BinaryReader::new(&bytes, 0);
        let entry = reader.read_var_u32().and_then(|_| reader.read_var_u32());
        if entry.is_ok() {
            self.bytes.extend_from_slice(&bytes[reader.original_position()..]);
            self.count += 1;
        }
    }

    /// Writes what is in `section`, from its count on, and these after it.
    fn append(&self, written: &mut Module, id: u8, section: &[u8]) -> Result<(), NotWipeable> {
        let mut reader = BinaryReader::new(section, 0);
        let count = reader.read_var_u32()?;
        let mut data = Vec::with_capacity(section.len() + self.bytes.len() + 5);
        (count + self.count).encode(&mut data);
        data.extend_from_slice(&section[reader.original_position()..]);
        data.extend_from_slice(&self.bytes);
        written.section(&RawSection { id, data: &data });
        Ok(())
    }
}
