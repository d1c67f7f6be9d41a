//! Finds the one core module that a component of the usual form consists of.
//!
//! What tools make of a module and a world (`wit-component`, and all that build on it) is always the same: the module,
//! a table through which the functions of the host are called, because they want the module's memory, which is there
//! only afterwards, and a small module that fills the table. All three are there for the way that the Component Model
//! links; a host that knows where the memory is needs the first alone. What has another form, with several modules that
//! do something or with code that runs when it is linked, is not taken apart.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;

use wasmparser::{
    CanonicalFunction, CanonicalOption, Chunk, ComponentAlias, ComponentExternalKind,
    ComponentOuterAliasKind, ComponentTypeRef, Export, ExternalKind, Instance, Parser, Payload, TypeRef,
};

/// The main module of a component, and how it is linked.
#[derive(Debug, PartialEq, Eq)]
pub struct Single {
    /// The place of the module in the component.
    pub module: Range<usize>,
    /// The functions that it imports: module and name as it says them, and what they are.
    pub imports: Vec<(String, String, Imported)>,
    /// The functions of it that the component exports, by their names in the module, with what is to be called when
    /// their result was read.
    pub exports: BTreeMap<String, Option<String>>,
    /// The export that gives memory for what the host hands over.
    pub realloc: Option<String>,
    /// The export that is its memory.
    pub memory: String,
    /// Bytes of its code.
    pub code_bytes: usize,
}

/// A function that the main module imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    /// A function of an interface that the component imports.
    Function {
        /// The interface, with its version.
        interface: String,
        /// Its name there.
        name: String,
    },
    /// Drops a handle of a resource of an interface.
    Drop {
        /// The interface, with its version.
        interface: String,
        /// The name of the resource.
        resource: String,
    },
}

/// Why a component is not of the usual form; for the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotSingle {
    /// It is no component.
    #[error("it cannot be read: {0}")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    /// It has another form.
    #[error("{0}")]
    Unusual(&'static str),
}

/// Returns the main module of `component`.
///
/// # Errors
/// Returns what is unusual about the component.
pub fn single(component: &[u8]) -> Result<Single, NotSingle> {
    let mut parts = Parts::default();
    let mut parser = Parser::new(0);
    let mut rest = component;
    while !rest.is_empty() {
        let Chunk::Parsed { consumed, payload } = parser.parse(rest, true)? else {
            return Err(NotSingle::Unusual("it ends too early"));
        };
        rest = &rest[consumed..];
        if let Payload::ModuleSection { unchecked_range, .. }
        | Payload::ComponentSection { unchecked_range, .. } = &payload
        {
            rest = rest.get(unchecked_range.len()..).ok_or(NotSingle::Unusual("it ends too early"))?;
        }
        parts.section(component, payload)?;
    }
    parts.single()
}

/// What a component is made of: its index spaces, as far as they matter here.
#[derive(Default)]
struct Parts {
    modules: Vec<Module>,
    core_instances: Vec<CoreInstance>,
    core_functions: Vec<CoreFunction>,
    core_memories: Vec<(usize, String)>,
    /// The name of each instance that is imported.
    instances: Vec<Option<String>>,
    /// Interface and name of each function that is imported.
    functions: Vec<Option<(String, String)>>,
    /// Interface and name of each type that is imported.
    types: Vec<Option<(String, String)>>,
    /// The functions that are lifted, with their options.
    lifted: Vec<(u32, Box<[CanonicalOption]>)>,
}

#[derive(Default)]
struct Module {
    range: Range<usize>,
    imports: Vec<(String, String)>,
    imports_others: bool,
    memories: usize,
    /// Whether code of it runs when it is linked.
    starts: bool,
    functions: usize,
    code_bytes: usize,
}

enum CoreInstance {
    /// The module, and for each name that it imports from, the instance.
    Of(usize, Vec<(String, usize)>),
    /// The functions among what is exported, by name.
    Exports(Vec<(String, usize)>),
}

#[derive(Clone)]
enum CoreFunction {
    /// An export of an instance.
    Export(usize, String),
    /// A function of the component, with what it wants of the main module.
    Lowered(u32, Box<[CanonicalOption]>),
    Drop(u32),
}

impl Parts {
    fn section(&mut self, component: &[u8], payload: Payload<'_>) -> Result<(), NotSingle> {
        match payload {
            Payload::ModuleSection { unchecked_range, .. } => {
                let module = Module::read(unchecked_range.clone(), &component[unchecked_range])?;
                self.modules.push(module);
            }
            Payload::InstanceSection(section) => {
                for instance in section {
                    let instance = match instance? {
                        Instance::Instantiate { module_index, args } => {
                            let args = args.iter().map(|arg| (arg.name.to_owned(), arg.index as usize));
                            CoreInstance::Of(module_index as usize, args.collect())
                        }
                        Instance::FromExports(exports) => {
                            let is_function = |export: &&Export<'_>| export.kind == ExternalKind::Func;
                            let functions = exports.iter().filter(is_function);
                            let named =
                                functions.map(|export| (export.name.to_owned(), export.index as usize));
                            CoreInstance::Exports(named.collect())
                        }
                    };
                    self.core_instances.push(instance);
                }
            }
            Payload::ComponentInstanceSection(section) => {
                self.instances.extend((0..section.count()).map(|_| None));
            }
            Payload::ComponentTypeSection(section) => self.types.extend((0..section.count()).map(|_| None)),
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import?;
                    match import.ty {
                        ComponentTypeRef::Instance(_) => {
                            self.instances.push(Some(import.name.name.to_owned()));
                        }
                        ComponentTypeRef::Type(_) => self.types.push(None),
                        _ => return Err(NotSingle::Unusual("it imports something else than interfaces")),
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    match export?.kind {
                        ComponentExternalKind::Instance => self.instances.push(None),
                        ComponentExternalKind::Func => self.functions.push(None),
                        ComponentExternalKind::Type => self.types.push(None),
                        _ => return Err(NotSingle::Unusual("it exports something else than interfaces")),
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    self.alias(alias?)?;
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    match function? {
                        CanonicalFunction::Lift { core_func_index, options, .. } => {
                            self.functions.push(None);
                            self.lifted.push((core_func_index, options));
                        }
                        CanonicalFunction::Lower { func_index, options } => {
                            self.core_functions.push(CoreFunction::Lowered(func_index, options));
                        }
                        CanonicalFunction::ResourceDrop { resource } => {
                            self.core_functions.push(CoreFunction::Drop(resource));
                        }
                        _ => return Err(NotSingle::Unusual("it has resources or tasks of its own")),
                    }
                }
            }
            Payload::ComponentStartSection { .. } => {
                return Err(NotSingle::Unusual("it has a start function"));
            }
            _ => {}
        }
        Ok(())
    }

    fn alias(&mut self, alias: ComponentAlias<'_>) -> Result<(), NotSingle> {
        match alias {
            ComponentAlias::InstanceExport { kind, instance_index, name } => {
                let of = self.instances.get(instance_index as usize).cloned().flatten();
                let item = of.map(|interface| (interface, name.to_owned()));
                match kind {
                    ComponentExternalKind::Func => self.functions.push(item),
                    ComponentExternalKind::Type => self.types.push(item),
                    ComponentExternalKind::Instance => self.instances.push(None),
                    _ => return Err(NotSingle::Unusual("it has aliases of modules or components")),
                }
            }
            ComponentAlias::CoreInstanceExport { kind, instance_index, name } => {
                let item = (instance_index as usize, name.to_owned());
                match kind {
                    ExternalKind::Func | ExternalKind::FuncExact => {
                        self.core_functions.push(CoreFunction::Export(item.0, item.1));
                    }
                    ExternalKind::Memory => self.core_memories.push(item),
                    _ => {}
                }
            }
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. } => self.types.push(None),
            ComponentAlias::Outer { .. } => {
                return Err(NotSingle::Unusual("it has aliases of modules or components"));
            }
        }
        Ok(())
    }

    fn single(&self) -> Result<Single, NotSingle> {
        let mains = self.modules.iter().enumerate().filter(|(_, module)| module.memories > 0);
        let [(main, module)] = mains.collect::<Vec<_>>()[..] else {
            return Err(NotSingle::Unusual("it has not one module with one memory"));
        };
        if module.memories != 1 || module.imports_others {
            return Err(NotSingle::Unusual("it has not one module with one memory"));
        }
        if self.modules.iter().any(|module| module.starts) {
            return Err(NotSingle::Unusual("code of it runs when it is linked"));
        }
        let mut found = None;
        for (at, instance) in self.core_instances.iter().enumerate() {
            if let CoreInstance::Of(of, args) = instance
                && *of == main
                && found.replace((at, args)).is_some()
            {
                return Err(NotSingle::Unusual("its main module is there twice"));
            }
        }
        let (instance, args) = found.ok_or(NotSingle::Unusual("its main module is not used"))?;
        let linker = Linker { parts: self, instance, fixed: self.fixed(main)? };

        let mut realloc = None;
        let mut imports = Vec::new();
        for (from, name) in &module.imports {
            let argument = args.iter().find(|(argument, _)| argument == from).map(|(_, at)| *at);
            let of = argument.ok_or(NotSingle::Unusual("an import of it is missing"))?;
            let imported = linker.imported(of, name, &mut realloc)?;
            imports.push((from.clone(), name.clone(), imported));
        }
        let mut exports = BTreeMap::new();
        for (function, options) in &self.lifted {
            let name = linker.own(*function)?;
            // `interface#function`, by which it is found.
            if !name.contains('#') {
                return Err(NotSingle::Unusual("a function of it is not named as one of an interface"));
            }
            let post_return = linker.options(options, &mut realloc)?;
            if exports.insert(name.clone(), post_return).is_some() {
                return Err(NotSingle::Unusual("it exports a function twice"));
            }
        }
        let memory = self.core_memories.iter().find(|(of, _)| *of == instance).map(|(_, name)| name.clone());
        let memory = memory.ok_or(NotSingle::Unusual("its memory has no name"))?;
        let (range, code_bytes) = (module.range.clone(), module.code_bytes);
        Ok(Single { module: range, imports, exports, realloc, memory, code_bytes })
    }

    /// The functions that are put into a table when the main module is there, by the names of their places. That is
    /// what every other module must be for: one has a function for each place and no state, the other no function at
    /// all.
    fn fixed(&self, main: usize) -> Result<BTreeMap<String, usize>, NotSingle> {
        let mut fixed = BTreeMap::new();
        for instance in &self.core_instances {
            let CoreInstance::Of(module, args) = instance else { continue };
            if *module == main {
                continue;
            }
            let of = self.modules.get(*module).ok_or(NotSingle::Unusual("a module of it is missing"))?;
            if of.functions > 0 {
                // The table, and a function for each place in it that calls what is there.
                if !of.imports.is_empty() || of.imports_others {
                    return Err(NotSingle::Unusual("it has more than one module that does something"));
                }
                continue;
            }
            let [(_, from)] = &args[..] else {
                return Err(NotSingle::Unusual("it has more than one module that does something"));
            };
            let Some(CoreInstance::Exports(functions)) = self.core_instances.get(*from) else {
                return Err(NotSingle::Unusual("it has more than one module that does something"));
            };
            for (place, function) in functions {
                if fixed.insert(place.clone(), *function).is_some() {
                    return Err(NotSingle::Unusual("it has more than one table of functions"));
                }
            }
        }
        Ok(fixed)
    }
}

/// Follows what the main module imports to what it is.
struct Linker<'a> {
    parts: &'a Parts,
    /// That of the main module.
    instance: usize,
    fixed: BTreeMap<String, usize>,
}

impl Linker<'_> {
    /// What the function `name` of a core instance is.
    fn imported(&self, of: usize, name: &str, realloc: &mut Option<String>) -> Result<Imported, NotSingle> {
        let Some(CoreInstance::Exports(functions)) = self.parts.core_instances.get(of) else {
            return Err(NotSingle::Unusual("its modules are linked to one another"));
        };
        let function = functions.iter().find(|(export, _)| export == name).map(|(_, function)| *function);
        let function = function.ok_or(NotSingle::Unusual("an import of it is missing"))?;
        let function = match self.function(function)? {
            // A place in the table.
            CoreFunction::Export(of, place) if *of != self.instance => {
                let function = self.fixed.get(place);
                self.function(*function.ok_or(NotSingle::Unusual("a place in its table is empty"))?)?
            }
            function => function,
        };
        let named = |item: Option<&Option<(String, String)>>| {
            item.cloned()
                .flatten()
                .ok_or(NotSingle::Unusual("it imports what is no function of an interface"))
        };
        match function {
            CoreFunction::Lowered(lowered, options) => {
                self.options(options, realloc)?;
                let (interface, function) = named(self.parts.functions.get(*lowered as usize))?;
                // Tools call it in the module as it is called in the component. Were it not so, the module would be
                // linked to other functions than its author thinks.
                if function != name {
                    return Err(NotSingle::Unusual("a function has another name in its module"));
                }
                Ok(Imported::Function { interface, name: function })
            }
            CoreFunction::Drop(resource) => {
                let (interface, resource) = named(self.parts.types.get(*resource as usize))?;
                Ok(Imported::Drop { interface, resource })
            }
            CoreFunction::Export(..) => Err(NotSingle::Unusual("its modules are linked to one another")),
        }
    }

    fn function(&self, at: usize) -> Result<&CoreFunction, NotSingle> {
        self.parts.core_functions.get(at).ok_or(NotSingle::Unusual("a function of it is missing"))
    }

    /// The name of a function that the main module exports.
    fn own(&self, function: u32) -> Result<String, NotSingle> {
        match self.function(function as usize)? {
            CoreFunction::Export(of, name) if *of == self.instance => Ok(name.clone()),
            _ => Err(NotSingle::Unusual("a function of it is not one of its main module")),
        }
    }

    /// Checks that a function works on the main module's memory, with text in UTF-8, and that all take memory from the
    /// same function of it. Returns what is called after it.
    fn options(
        &self,
        options: &[CanonicalOption],
        realloc: &mut Option<String>,
    ) -> Result<Option<String>, NotSingle> {
        let mut post_return = None;
        for option in options {
            match option {
                CanonicalOption::UTF8 => {}
                CanonicalOption::Memory(memory) => {
                    let memory = self.parts.core_memories.get(*memory as usize);
                    if memory.is_none_or(|(of, _)| *of != self.instance) {
                        return Err(NotSingle::Unusual("a function of it works on another memory"));
                    }
                }
                CanonicalOption::Realloc(function) => {
                    let name = self.own(*function)?;
                    if realloc.get_or_insert_with(|| name.clone()) != &name {
                        return Err(NotSingle::Unusual("it has more than one allocator"));
                    }
                }
                CanonicalOption::PostReturn(function) => post_return = Some(self.own(*function)?),
                _ => return Err(NotSingle::Unusual("its text is not UTF-8, or it has tasks")),
            }
        }
        Ok(post_return)
    }
}

impl Module {
    fn read(range: Range<usize>, module: &[u8]) -> Result<Self, NotSingle> {
        let mut read = Self { range, ..Self::default() };
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        match import.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                                read.imports.push((import.module.to_owned(), import.name.to_owned()));
                            }
                            _ => read.imports_others = true,
                        }
                    }
                }
                Payload::MemorySection(section) => read.memories += section.count() as usize,
                Payload::FunctionSection(section) => read.functions += section.count() as usize,
                Payload::CodeSectionStart { size, .. } => read.code_bytes = size as usize,
                Payload::StartSection { .. } => read.starts = true,
                _ => {}
            }
        }
        Ok(read)
    }
}
