//! What a component is made of, and how the sandbox would run it: for its author, who wants to know before it runs.

use std::collections::BTreeSet;

use portcullis_model::text::one_line;
use wasmparser::{Encoding, KnownCustom, Parser, Payload};

use crate::component::image;
use crate::contract::PACKAGE;
use crate::direct;
use crate::sandbox::SPLIT_FROM;
use crate::{ComponentInfo, InspectError, inspect};

/// Tools that a component names at most, and interfaces of WASI.
const LISTED_MAX: usize = 100;
/// Bytes of a name that a stranger chose.
const NAME_BYTES_MAX: usize = 200;

/// What a component is made of, and how it would be run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Anatomy {
    /// What it says about itself.
    pub info: ComponentInfo,
    /// The versions of the contract that its imports and exports name, in order.
    pub contracts: BTreeSet<String>,
    /// The interfaces of WASI that it imports, in order.
    pub wasi: BTreeSet<String>,
    /// The languages and tools that it says it was made with, each with its version if it has one.
    pub made_with: BTreeSet<String>,
    /// Bytes of all of it.
    pub bytes: usize,
    /// Bytes of machine-independent code in its modules.
    pub code_bytes: usize,
    /// Bytes of data that its memories start with.
    pub data_bytes: usize,
    /// Bytes of names and debug information.
    pub debug_bytes: usize,
    /// Bytes of memory that its modules start with.
    pub memory_bytes: u64,
    /// Core modules in it.
    pub modules: usize,
    /// Why instances cannot start from an image of what `configure` left, with `isolation = "exchange"`; `None` if they
    /// can.
    pub no_image: Option<String>,
    /// Why its hooks are called by way of a component and not directly; `None` if they are called directly.
    pub not_direct: Option<String>,
}

/// Reads what a component is made of, and how it would be run. Compiles and runs nothing.
///
/// # Errors
/// As [`inspect()`].
pub fn dissect(component: &[u8]) -> Result<Anatomy, InspectError> {
    let mut anatomy = Anatomy { info: inspect(component)?, bytes: component.len(), ..Anatomy::default() };
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|error| InspectError::Malformed(error.to_string()))? {
            Payload::Version { encoding, .. } => {
                depth += 1;
                anatomy.modules += usize::from(encoding == Encoding::Module);
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section.into_iter().flatten() {
                    anatomy.note_interface(import.name.name);
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section.into_iter().flatten() {
                    anatomy.note_interface(export.name.name);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section.into_iter().flatten() {
                    let bytes = memory.initial.saturating_mul(64 << 10);
                    anatomy.memory_bytes = anatomy.memory_bytes.saturating_add(bytes);
                }
            }
            Payload::CodeSectionStart { size, .. } => anatomy.code_bytes += size as usize,
            Payload::DataSection(section) => anatomy.data_bytes += section.range().len(),
            Payload::CustomSection(section) => {
                let name = section.name();
                if name == "name" || name == "component-name" || name.starts_with(".debug_") {
                    anatomy.debug_bytes += section.data().len();
                }
                if let KnownCustom::Producers(fields) = section.as_known() {
                    let values = fields.into_iter().flatten().flat_map(|field| field.values);
                    for value in values.flatten() {
                        add(&mut anatomy.made_with, format!("{} {}", value.name, value.version).trim_end());
                    }
                }
            }
            _ => {}
        }
    }
    anatomy.no_image = image::instrument(component).err();
    let waits = anatomy.info.imports.iter().find(|capability| capability.waits());
    anatomy.not_direct = match waits {
        Some(waits) => Some(format!("it imports `{}`, so its hooks wait and run on fibers", waits.name())),
        None => direct::obstacle(component, SPLIT_FROM),
    };
    Ok(anatomy)
}

impl Anatomy {
    fn note_interface(&mut self, name: &str) {
        if let Some(rest) = name.strip_prefix(PACKAGE) {
            if let Some((_, version)) = rest.split_once('@') {
                add(&mut self.contracts, version);
            }
        } else if name.starts_with("wasi:") {
            add(&mut self.wasi, name);
        }
    }
}

fn add(list: &mut BTreeSet<String>, name: &str) {
    if list.len() < LISTED_MAX {
        list.insert(one_line(name, NAME_BYTES_MAX));
    }
}
