//! Makes a component of the WebAssembly module that a compiler of C, Go or another language has made of a policy.
//!
//! The world of the component is what the module itself imports and exports of the contract, so a policy asks for what
//! its code uses and no more. What the language's runtime asks of an operating system is answered by an adapter inside
//! of the component, a virtual WASI (`preview1.wat`).

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod error;
mod module;

use std::collections::BTreeSet;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

pub use self::error::Error;
use self::module::Module;

/// What compilers call WASI, preview 1.
const PREVIEW1: &str = "wasi_snapshot_preview1";
/// The adapter that answers it.
const ADAPTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/preview1.wasm"));
/// What the adapter asks of the gateway.
const ADAPTER_WIT: &str = include_str!("preview1.wit");
/// The world in it.
const ADAPTER_WORLD: &str = "adapter";
/// The package and the world that are made for a policy.
const WORLD: &str = "policy";

/// The contract that a policy is built against.
#[derive(Debug, Clone, Copy)]
pub struct Contract<'a> {
    /// `portcullis:policy`.
    pub package: &'a str,
    /// Its version.
    pub version: &'a str,
    /// All of its WIT, as one file.
    pub wit: &'a str,
}

impl Contract<'_> {
    /// The text of a world of the contract's interfaces, in a package of its own.
    #[must_use]
    pub fn world<'n>(
        &self,
        name: &str,
        imports: impl IntoIterator<Item = &'n str>,
        exports: impl IntoIterator<Item = &'n str>,
    ) -> String {
        let Self { package, version, .. } = self;
        let line = |word: &str, interface: &str| format!("    {word} {package}/{interface}@{version};\n");
        let imports: String = imports.into_iter().map(|interface| line("import", interface)).collect();
        let exports: String = exports.into_iter().map(|interface| line("export", interface)).collect();
        let gap = if imports.is_empty() || exports.is_empty() { "" } else { "\n" };
        format!("package local:{name};\n\nworld {name} {{\n{imports}{gap}{exports}}}\n")
    }

    /// Makes the component of a module, without what is only for debuggers.
    ///
    /// # Errors
    /// If it is no module, calls what nothing provides, has no hook, or was not built against this contract.
    pub fn component(&self, module: &[u8]) -> Result<Vec<u8>, Error> {
        let read = Module::read(module)?;
        let prefix = format!("{}/", self.package);
        let suffix = format!("@{}", self.version);
        let mut imports = BTreeSet::new();
        let mut wants_wasi = false;
        for (from, name) in &read.imports {
            if let Some(interface) = from.strip_prefix(&prefix) {
                imports.insert(self.interface(interface, &suffix)?);
            } else if from == PREVIEW1 {
                wants_wasi = true;
            } else {
                return Err(Error::Undefined { module: from.clone(), name: name.clone() });
            }
        }
        let mut exports = BTreeSet::new();
        for name in &read.exports {
            if let Some((interface, _)) = name.strip_prefix(&prefix).and_then(|name| name.split_once('#')) {
                exports.insert(self.interface(interface, &suffix)?);
            }
        }
        if exports.is_empty() {
            return Err(Error::NoHook);
        }
        let mut resolve = Resolve::default();
        let world = self.world(WORLD, imports, exports);
        resolve.push_source("contract.wit", self.wit).map_err(refused)?;
        let module = embedded(read.stripped, resolve, &world, WORLD)?;
        let mut encoder = ComponentEncoder::default().module(&module).map_err(refused)?.validate(true);
        if wants_wasi {
            let adapter = embedded(ADAPTER.to_vec(), Resolve::default(), ADAPTER_WIT, ADAPTER_WORLD)?;
            encoder = encoder.adapter(PREVIEW1, &adapter).map_err(refused)?;
        }
        encoder.encode().map_err(refused)
    }

    /// The interface of a name such as `request@0.2.1`.
    fn interface<'n>(&self, name: &'n str, suffix: &str) -> Result<&'n str, Error> {
        name.strip_suffix(suffix).ok_or_else(|| {
            Error::Refused(format!(
                "its bindings name `{}/{name}`, and the contract of this gateway is {}",
                self.package, self.version
            ))
        })
    }
}

/// The module with the types of a world of `wit` in it.
fn embedded(mut module: Vec<u8>, mut resolve: Resolve, wit: &str, world: &str) -> Result<Vec<u8>, Error> {
    let package = resolve.push_source("world.wit", wit).map_err(refused)?;
    let world = resolve.select_world(&[package], Some(world)).map_err(refused)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(refused)?;
    Ok(module)
}

/// What the encoder says, with all of its causes.
fn refused(error: impl std::fmt::Display) -> Error {
    Error::Refused(format!("{error:#}"))
}

#[cfg(test)]
mod tests;
