//! The bindings of the SDK for C: what the gateway offers, as functions. What it calls is defined by the policy itself,
//! by macros of `portcullis.h`, so that a component exports the hooks that it has and no others.

use anyhow::{Context, Result};
use wit_bindgen_c::Opts;
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

use crate::tree::root;

/// The world of all imports.
const WORLD: &str = "imports";
/// How its types and its files are called in C.
const NAME: &str = "pc";

/// The header and the source.
pub(super) fn generate() -> Result<Vec<(String, String)>> {
    let mut resolve = Resolve::default();
    let (contract, _) = resolve.push_path(root().join("wit"))?;
    let version = resolve.packages[contract].name.version.clone().context("the contract has no version")?;
    let world = resolve.select_world(&[contract], Some(WORLD))?;
    let interfaces = resolve.packages[contract].interfaces.keys();
    let mut options = Opts {
        // `pc_request_header` is what it is called, and not `portcullis_policy_request_header`.
        rename: interfaces
            .map(|name| {
                (format!("portcullis:policy/{name}@{version}"), format!("pc_{}", name.replace('-', "_")))
            })
            .collect(),
        rename_world: Some(NAME.to_owned()),
        // `plugin build` puts the types of the world in.
        no_object_file: true,
        ..Opts::default()
    };
    let used: Vec<String> =
        resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key)).collect();
    options.rename.retain(|(name, _)| used.contains(name));
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    files.iter().map(|(name, text)| Ok((name.to_owned(), std::str::from_utf8(text)?.to_owned()))).collect()
}
