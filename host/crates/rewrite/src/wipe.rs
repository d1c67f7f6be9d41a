//! Adds to a configured image what its instances are wiped with: a second memory that keeps what is in the first one at
//! the start, and functions that restore the pages that were written and the globals.
//!
//! An image whose code does what they would not undo is refused, and its instances are dropped rather than wiped.

#[cfg(test)]
mod tests;

use std::ops::Range;

use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption, ComponentAliasSection, ComponentExportKind,
    ComponentExportSection, ComponentSectionId, ComponentTypeSection, ComponentValType, ExportKind,
    PrimitiveValType, RawSection,
};
use wasmparser::{
    CanonicalFunction, Chunk, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind,
    ComponentTypeRef, ExternalKind, Instance, Operator, Parser, Payload,
};

use self::module::{CORE_MEMORY, CORE_PLACE, CORE_RESET, ModuleParts};
pub use self::module::{CORE_RESTORE, NotWipeable, REGIONS};

mod module;

/// The added export that returns the memory. None of the contract's has this name.
pub const MEMORY: &str = "portcullis-wipe-memory";
/// The added export that restores [`REGIONS`] regions of the memory, and the globals of its module.
pub const RESTORE: &str = "portcullis-wipe-restore";

/// Returns the name of the added export that resets the globals of the `at`th module that has some, beside that of the
/// memory.
#[must_use]
pub fn reset_name(at: usize) -> String {
    format!("portcullis-wipe-globals{at}")
}

/// An image whose instances can be wiped.
#[derive(Debug)]
pub struct Wipeable {
    /// The component, with the exports that wiping takes.
    pub component: Vec<u8>,
    /// Bytes of the memory that it starts with, and of the second one that keeps what is in it at first.
    pub memory_bytes: usize,
    /// How many of its modules beside that of the memory have globals to be reset.
    pub resets: usize,
}

/// Checks that no code of the component does what wiping would not undo: changes tables, or drops segments.
///
/// # Errors
/// Returns what of it does.
pub fn check_code(component: &[u8]) -> Result<(), NotWipeable> {
    for payload in Parser::new(0).parse_all(component) {
        let Payload::CodeSectionEntry(body) = payload? else { continue };
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            match operators.read()? {
                Operator::TableSet { .. }
                | Operator::TableGrow { .. }
                | Operator::TableFill { .. }
                | Operator::TableCopy { .. }
                | Operator::TableInit { .. } => {
                    return Err(NotWipeable::Unsuitable("its code changes tables"));
                }
                Operator::ElemDrop { .. } | Operator::DataDrop { .. } => {
                    return Err(NotWipeable::Unsuitable("its code drops segments"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Adds to an image what wiping takes.
///
/// # Errors
/// Returns what of it wiping would not undo.
pub fn rewrite(image: &[u8]) -> Result<Wipeable, NotWipeable> {
    let component = Parts::read(image)?;
    let with_memory = component.with_memory()?;
    let mut written = wasm_encoder::Component::new();
    let mut modules = component.modules.iter();
    for (id, range) in &component.sections {
        if *id == ComponentSectionId::CoreModule as u8
            && let Some(module) = modules.next()
        {
            let data = match module.is_touched() {
                true => module.rewritten(&image[module.range.clone()])?,
                false => image[module.range.clone()].to_vec(),
            };
            written.section(&RawSection { id: *id, data: &data });
        } else {
            written.section(&RawSection { id: *id, data: &image[range.clone()] });
        }
    }
    let resets = component.exports(&mut written, with_memory)?;
    let memory_bytes = component.modules[with_memory].memory_bytes()?;
    Ok(Wipeable { component: written.finish(), memory_bytes, resets })
}

/// Adds to the one module of an image that has state what wiping takes, for a host that calls it without the component
/// around it. Returns the module and the bytes of its memory.
///
/// # Errors
/// Returns what of it wiping would not undo.
pub fn rewrite_module(module: &[u8]) -> Result<(Vec<u8>, usize), NotWipeable> {
    let parts = ModuleParts::read(module)?;
    if parts.memories.is_empty() {
        return Err(NotWipeable::Unsuitable("it has no memory"));
    }
    Ok((parts.rewritten(module)?, parts.memory_bytes()?))
}

/// What a component is made of, as far as it matters here.
#[derive(Default)]
struct Parts {
    /// All of them, in order.
    sections: Vec<(u8, Range<usize>)>,
    modules: Vec<ModuleParts>,
    /// The module that each core instance is one of.
    instances: Vec<Option<usize>>,
    core_functions: u32,
    core_memories: u32,
    types: u32,
    functions: u32,
}

impl Parts {
    fn read(image: &[u8]) -> Result<Self, NotWipeable> {
        let mut parts = Self::default();
        let mut parser = Parser::new(0);
        let mut rest = image;
        while !rest.is_empty() {
            let Chunk::Parsed { consumed, payload } = parser.parse(rest, true)? else {
                return Err(NotWipeable::Unsuitable("it ends too early"));
            };
            rest = &rest[consumed..];
            if let Payload::ModuleSection { unchecked_range, .. }
            | Payload::ComponentSection { unchecked_range, .. } = &payload
            {
                rest =
                    rest.get(unchecked_range.len()..).ok_or(NotWipeable::Unsuitable("it ends too early"))?;
            }
            parts.section(image, payload)?;
        }
        Ok(parts)
    }

    fn section(&mut self, image: &[u8], payload: Payload<'_>) -> Result<(), NotWipeable> {
        if let Some((id, range)) = payload.as_section() {
            self.sections.push((id, range));
        }
        match payload {
            Payload::ModuleSection { unchecked_range, .. } => {
                let mut module = ModuleParts::read(&image[unchecked_range.clone()])?;
                module.range = unchecked_range;
                self.modules.push(module);
            }
            Payload::ComponentSection { unchecked_range, .. } => {
                for payload in Parser::new(0).parse_all(&image[unchecked_range]) {
                    if matches!(payload?, Payload::ModuleSection { .. }) {
                        return Err(NotWipeable::Unsuitable("it has modules inside nested components"));
                    }
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section {
                    self.instances.push(match instance? {
                        Instance::Instantiate { module_index, .. } => Some(module_index as usize),
                        Instance::FromExports(_) => None,
                    });
                }
            }
            Payload::ComponentTypeSection(section) => self.types += section.count(),
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    self.alias(&alias?)?;
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    match import?.ty {
                        ComponentTypeRef::Type(_) => self.types += 1,
                        ComponentTypeRef::Func(_) => self.functions += 1,
                        ComponentTypeRef::Module(_) => {
                            return Err(NotWipeable::Unsuitable("it imports modules"));
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    match export?.kind {
                        ComponentExternalKind::Type => self.types += 1,
                        ComponentExternalKind::Func => self.functions += 1,
                        _ => {}
                    }
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    match function? {
                        CanonicalFunction::Lift { .. } => self.functions += 1,
                        CanonicalFunction::Lower { .. } | CanonicalFunction::ResourceDrop { .. } => {
                            self.core_functions += 1;
                        }
                        // What resources of its own stand for, and what tasks keep, is in tables of the host.
                        _ => return Err(NotWipeable::Unsuitable("it keeps something outside its memory")),
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) -> Result<(), NotWipeable> {
        match alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Type, .. }
            | ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. } => self.types += 1,
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Func, .. } => self.functions += 1,
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. }
            | ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, .. } => {
                return Err(NotWipeable::Unsuitable("it has aliases of modules"));
            }
            ComponentAlias::CoreInstanceExport { kind, .. } => match kind {
                ExternalKind::Func | ExternalKind::FuncExact => self.core_functions += 1,
                ExternalKind::Memory => self.core_memories += 1,
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    /// The one module that has the memory.
    fn with_memory(&self) -> Result<usize, NotWipeable> {
        let mut found = None;
        for (at, module) in self.modules.iter().enumerate() {
            let times = self.instances.iter().filter(|of| **of == Some(at)).count();
            if times != 1 && module.is_touched() {
                return Err(NotWipeable::Unsuitable(
                    "a module of it that has state is not instantiated once",
                ));
            }
            if !module.memories.is_empty() && found.replace(at).is_some() {
                return Err(NotWipeable::Unsuitable("it has more than one memory"));
            }
        }
        found.ok_or(NotWipeable::Unsuitable("it has no memory"))
    }

    /// Writes the component's exports. Returns the number of those that reset globals.
    fn exports(
        &self,
        written: &mut wasm_encoder::Component,
        with_memory: usize,
    ) -> Result<usize, NotWipeable> {
        let mut aliases = ComponentAliasSection::new();
        let mut alias = |module: usize, kind, name| {
            let instance = self.instances.iter().position(|of| *of == Some(module));
            let instance = instance.and_then(|at| u32::try_from(at).ok());
            let instance = instance.ok_or(NotWipeable::Unsuitable("a module of it is not instantiated"))?;
            aliases.alias(Alias::CoreInstanceExport { instance, kind, name });
            Ok::<_, NotWipeable>(())
        };
        alias(with_memory, ExportKind::Memory, CORE_MEMORY)?;
        alias(with_memory, ExportKind::Func, CORE_PLACE)?;
        alias(with_memory, ExportKind::Func, CORE_RESTORE)?;
        let mut resets = 0_u32;
        for (at, module) in self.modules.iter().enumerate() {
            if at != with_memory && module.is_touched() {
                alias(at, ExportKind::Func, CORE_RESET)?;
                resets += 1;
            }
        }

        let mut types = ComponentTypeSection::new();
        let [bytes, place, restore, reset] = [0, 1, 2, 3].map(|at| self.types + at);
        types.defined_type().list(PrimitiveValType::U8);
        types
            .function()
            .params(std::iter::empty::<(&str, ComponentValType)>())
            .result(Some(ComponentValType::Type(bytes)));
        let names: Vec<String> = (0..2 * REGIONS).map(|at| format!("p{at}")).collect();
        let u32_type = ComponentValType::Primitive(PrimitiveValType::U32);
        types.function().params(names.iter().map(|name| (name.as_str(), u32_type))).result(None);
        types.function().params(std::iter::empty::<(&str, ComponentValType)>()).result(None);

        let mut lifted = CanonicalFunctionSection::new();
        lifted.lift(self.core_functions, place, [CanonicalOption::Memory(self.core_memories)]);
        lifted.lift(self.core_functions + 1, restore, []);
        let mut exports = ComponentExportSection::new();
        exports.export(MEMORY, ComponentExportKind::Func, self.functions, None);
        // An export is an index of its own, after all that were lifted.
        exports.export(RESTORE, ComponentExportKind::Func, self.functions + 1, None);
        for at in 0..resets {
            lifted.lift(self.core_functions + 2 + at, reset, []);
            exports.export(
                &*reset_name(at as usize),
                ComponentExportKind::Func,
                self.functions + 2 + at,
                None,
            );
        }
        written.section(&aliases).section(&types).section(&lifted).section(&exports);
        Ok(resets as usize)
    }
}
