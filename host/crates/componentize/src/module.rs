//! What a module imports and exports, and the module without what is only for debuggers.

use wasm_encoder::RawSection;
use wasmparser::{Encoding, Parser, Payload};

use crate::error::Error;

/// A module that was read.
pub(crate) struct Module {
    /// Each import: the module that it names, and the name in it.
    pub(crate) imports: Vec<(String, String)>,
    /// The names of the exports.
    pub(crate) exports: Vec<String>,
    /// The module without debug sections. Names of functions stay: backtraces show them.
    pub(crate) stripped: Vec<u8>,
}

impl Module {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Error> {
        let mut imports = Vec::new();
        let mut exports = Vec::new();
        let mut stripped = wasm_encoder::Module::new();
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(malformed)?;
            match &payload {
                Payload::Version { encoding: Encoding::Component, .. } => {
                    return Err(Error::Malformed("it is a component already".to_owned()));
                }
                Payload::ImportSection(section) => {
                    for import in section.clone().into_imports() {
                        let import = import.map_err(malformed)?;
                        imports.push((import.module.to_owned(), import.name.to_owned()));
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section.clone() {
                        exports.push(export.map_err(malformed)?.name.to_owned());
                    }
                }
                _ => {}
            }
            let is_debug =
                matches!(&payload, Payload::CustomSection(custom) if custom.name().starts_with(".debug_"));
            if let Some((id, range)) = payload.as_section().filter(|_| !is_debug) {
                let data = bytes.get(range).ok_or_else(|| malformed("it is cut off"))?;
                stripped.section(&RawSection { id, data });
            }
        }
        Ok(Self { imports, exports, stripped: stripped.finish() })
    }
}

fn malformed(error: impl std::fmt::Display) -> Error {
    Error::Malformed(error.to_string())
}
