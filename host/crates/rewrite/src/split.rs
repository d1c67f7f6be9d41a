//! Takes the code of a configured image apart from what `configure` left.
//!
//! The images of two configurations differ in their memories and globals alone, but a component is compiled as one: a
//! new list of keys would send all of a JavaScript engine through the compiler. So a core module with much code becomes
//! two. The *state* module defines its memories and globals and fills them; the *code* module is what is left, and
//! imports them. It is the same for every configuration, and the component imports it: it is compiled once, and only
//! what is small is compiled for each configuration.
//!
//! A module that defines neither is code as it is: so are the libraries of languages that link dynamically, which work
//! on the memory of another module.
//!
//! Imports come first in WebAssembly's index spaces and keep their order, so that code which is given all that it
//! defined as imports is right as it is, byte by byte.
//!
//! What cannot be taken apart in this way stays whole, which is slower and no error.

#[cfg(test)]
mod tests;

use std::convert::Infallible;

use wasm_encoder::reencode::{Reencode, ReencodeComponent};
use wasm_encoder::{
    Component, ComponentAliasSection, ComponentImportSection, ComponentSectionId, ComponentTypeRef,
    CoreTypeSection, InstanceSection, ModuleArg, RawSection,
};
use wasmparser::{
    Chunk, ComponentAlias, ComponentOuterAliasKind, Instance, Parser, Payload, Validator, WasmFeatures,
};

pub use self::module::NotSplit;
use self::module::{Halves, STATE};

mod module;

/// A component taken apart.
#[derive(Debug)]
pub struct Split {
    /// The component, which imports its code modules.
    pub component: Vec<u8>,
    /// The modules, each with the name that it is imported by.
    pub code: Vec<(String, Vec<u8>)>,
}

/// Takes those core modules apart that have at least `code_bytes_min` of code.
///
/// # Errors
/// Returns why none was: the reason of the last one, or that there is none so large.
pub fn split(image: &[u8], code_bytes_min: usize) -> Result<Split, NotSplit> {
    let mut splitter = Splitter {
        image,
        code_bytes_min,
        encoder: Component::new(),
        modules: Vec::new(),
        modules_written: 0,
        instances: Instances::default(),
        code: Vec::new(),
        whole: NotSplit::Unsuitable("no core module of it has much code"),
    };
    let mut parser = Parser::new(0);
    let mut rest = image;
    while !rest.is_empty() {
        let Chunk::Parsed { consumed, payload } = parser.parse(rest, true)? else {
            return Err(NotSplit::Unsuitable("it ends too early"));
        };
        rest = &rest[consumed..];
        if let Payload::ModuleSection { unchecked_range, .. }
        | Payload::ComponentSection { unchecked_range, .. } = &payload
        {
            rest = rest.get(unchecked_range.len()..).ok_or(NotSplit::Unsuitable("it ends too early"))?;
        }
        splitter.section(payload)?;
    }
    if splitter.code.is_empty() {
        return Err(splitter.whole);
    }
    let component = splitter.encoder.finish();
    // Little is left in it, so that this takes no time.
    Validator::new_with_features(WasmFeatures::all()).validate_all(&component).map_err(NotSplit::Unfit)?;
    Ok(Split { component, code: splitter.code })
}

struct Splitter<'a> {
    image: &'a [u8],
    code_bytes_min: usize,
    encoder: Component,
    /// The new indices of the image's core modules.
    modules: Vec<ModuleAt>,
    modules_written: u32,
    instances: Instances,
    code: Vec<(String, Vec<u8>)>,
    whole: NotSplit,
}

/// The indices of a core module, and of its state module if it was taken apart.
#[derive(Debug, Clone, Copy)]
struct ModuleAt {
    index: u32,
    state: Option<u32>,
}

/// The new indices of core instances.
#[derive(Debug, Default)]
struct Instances {
    indices: Vec<u32>,
    written: u32,
}

impl Reencode for Instances {
    type Error = Infallible;
}

impl ReencodeComponent for Instances {
    fn instance_index(&mut self, index: u32) -> u32 {
        // One that does not exist stays so, and the component is refused.
        self.indices.get(index as usize).copied().unwrap_or(u32::MAX)
    }
}

impl<'a> Splitter<'a> {
    fn section(&mut self, payload: Payload<'a>) -> Result<(), NotSplit> {
        match payload {
            Payload::Version { .. } | Payload::End(_) => {}
            Payload::ModuleSection { unchecked_range, .. } => self.module(&self.image[unchecked_range])?,
            Payload::InstanceSection(section) => {
                let mut instances = InstanceSection::new();
                for instance in section {
                    self.instance(&mut instances, instance?)?;
                }
                self.encoder.section(&instances);
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    let outer = matches!(
                        alias?,
                        ComponentAlias::Outer {
                            kind: ComponentOuterAliasKind::CoreModule | ComponentOuterAliasKind::CoreType,
                            ..
                        }
                    );
                    if outer {
                        return Err(NotSplit::Unsuitable("it has aliases of core modules or types"));
                    }
                }
                let mut aliases = ComponentAliasSection::new();
                self.instances.parse_component_alias_section(&mut aliases, section)?;
                self.encoder.section(&aliases);
            }
            // Their indices are those of the types that the code modules are imported by.
            Payload::CoreTypeSection(_) => return Err(NotSplit::Unsuitable("it has core types of its own")),
            // Its names are of other indices now.
            Payload::CustomSection(section) if section.name() == "component-name" => {}
            other => {
                let (id, range) =
                    other.as_section().ok_or(NotSplit::Unsuitable("it has something unknown in it"))?;
                // Of a section with code, the parser has read the beginning alone.
                let data = self.image.get(range).ok_or(NotSplit::Unsuitable("it ends too early"))?;
                self.encoder.section(&RawSection { id, data });
            }
        }
        Ok(())
    }

    fn module(&mut self, module: &[u8]) -> Result<(), NotSplit> {
        let state = match module::split(module, self.code_bytes_min) {
            Ok(halves) => self.halves(halves),
            Err(whole) => {
                self.whole = whole;
                self.encoder.section(&RawSection { id: ComponentSectionId::CoreModule as u8, data: module });
                None
            }
        };
        self.modules.push(ModuleAt { index: self.modules_written, state });
        self.modules_written += 1;
        Ok(())
    }

    /// Writes the state module, if there is one, and the import of the code module. Returns the index of the former.
    fn halves(&mut self, halves: Halves) -> Option<u32> {
        let Halves { state, code, code_type } = halves;
        let state = state.map(|state| {
            self.encoder.section(&RawSection { id: ComponentSectionId::CoreModule as u8, data: &state });
            self.modules_written += 1;
            self.modules_written - 1
        });
        let at = u32::try_from(self.code.len()).unwrap_or(u32::MAX);
        let name = format!("portcullis-code-n{at}");
        let mut types = CoreTypeSection::new();
        types.ty().module(&code_type);
        self.encoder.section(&types);
        let mut imports = ComponentImportSection::new();
        imports.import(&name, ComponentTypeRef::Module(at));
        self.encoder.section(&imports);
        self.code.push((name, code));
        state
    }

    fn instance(&mut self, section: &mut InstanceSection, instance: Instance<'_>) -> Result<(), NotSplit> {
        let Instance::Instantiate { module_index, args } = &instance else {
            self.instances.parse_instance(section, instance)?;
            self.count_instance();
            return Ok(());
        };
        let module = self.modules.get(*module_index as usize);
        let module =
            module.copied().ok_or(NotSplit::Unsuitable("it instantiates a module that it does not have"))?;
        let mut arguments: Vec<_> = args
            .iter()
            .map(|arg| (arg.name, ModuleArg::Instance(self.instances.instance_index(arg.index))))
            .collect();
        if let Some(state) = module.state {
            section.instantiate(state, std::iter::empty::<(&str, ModuleArg)>());
            arguments.push((STATE, ModuleArg::Instance(self.instances.written)));
            self.instances.written += 1;
        }
        section.instantiate(module.index, arguments);
        self.count_instance();
        Ok(())
    }

    fn count_instance(&mut self) {
        self.instances.indices.push(self.instances.written);
        self.instances.written += 1;
    }
}
