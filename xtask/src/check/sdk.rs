//! The SDK as others get it: its bindings are checked in, so that a policy builds without what generates them, and its
//! packages have all that they are built from.

mod c;
mod go;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator as _};
use wit_bindgen_rust::Opts;

use super::outcome::{Findings, Outcome};
use crate::tools::{cargo, output, passes};
use crate::tree::root;

/// The folder of the SDK.
const SDK: &str = "plugin-sdk/rust";

/// Interfaces that components export, each a module of bindings, so that a component exports those that its policy has
/// and no other.
const EXPORTS: [&str; 7] =
    ["lifecycle", "request-head", "request-body", "response-head", "response-body", "completed", "tick"];

/// What the packages must have beside their sources: without it they do not build, or explain nothing.
const NEEDED: [&str; 6] = [
    "bindings/imports.rs",
    "bindings/lifecycle.rs",
    "wit/worlds.wit",
    "wit/digest",
    "README.md",
    "Cargo.toml",
];

/// Compares the bindings of all SDKs with what is generated now, or writes them.
pub(super) fn bindings() -> Result<Findings> {
    let mut findings = rust()?;
    findings.extend(same("plugin-sdk/c/bindings", &c::generate()?)?);
    findings.extend(current("plugin-sdk/go", &go::generate()?)?);
    Ok(findings)
}

fn rust() -> Result<Findings> {
    let mut wanted = vec![("imports.rs".to_owned(), generate("imports", None)?)];
    for interface in EXPORTS {
        let file = format!("{}.rs", interface.replace('-', "_"));
        wanted.push((file, generate(interface, Some(interface))?));
    }
    same(&format!("{SDK}/bindings"), &wanted)
}

/// Compares the files of a folder that has no others with what they should be, or writes them.
fn same(name: &str, wanted: &[(String, String)]) -> Result<Findings> {
    let folder = root().join(name);
    if std::env::var_os("PORTCULLIS_BLESS").is_some() && folder.is_dir() {
        fs::remove_dir_all(&folder)?;
    }
    let mut findings = current(name, wanted)?;
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let other = entry?.file_name().to_string_lossy().into_owned();
        if wanted.iter().all(|(file, _)| *file != other) {
            findings.push(format!("{name}/{other} belongs to no interface"));
        }
    }
    Ok(findings)
}

/// Compares files of a folder with what they should be, or writes them.
fn current(name: &str, wanted: &[(String, String)]) -> Result<Findings> {
    let folder = root().join(name);
    let mut findings = Vec::new();
    for (file, text) in wanted {
        let path = folder.join(file);
        if std::env::var_os("PORTCULLIS_BLESS").is_some() {
            fs::create_dir_all(path.parent().unwrap_or(&folder))?;
            fs::write(&path, text)?;
        }
        if fs::read_to_string(path).unwrap_or_default() != *text {
            findings.push(format!("{name}/{file} is not what is generated from wit/"));
        }
    }
    Ok(findings)
}

/// The bindings of one world: all imports, or one interface that components export.
fn generate(world: &str, exported: Option<&str>) -> Result<String> {
    let mut resolve = Resolve::default();
    let (contract, _) = resolve.push_path(root().join("wit"))?;
    let version = resolve.packages[contract].name.version.clone().context("the contract has no version")?;
    let package = match exported {
        Some(interface) => resolve.push_str(
            "sdk",
            &format!(
                "package portcullis:sdk; world {world} {{ export portcullis:policy/{interface}@{version}; }}"
            ),
        )?,
        None => contract,
    };
    let world = resolve.select_world(&[package], Some(world))?;
    let options = Opts {
        format: true,
        generate_all: true,
        generate_unused_types: exported.is_none(),
        pub_export_macro: exported.is_some(),
        ..Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    let mut files = files.iter();
    let (Some((_, text)), None) = (files.next(), files.next()) else {
        anyhow::bail!("the generator wrote another number of files than one");
    };
    Ok(std::str::from_utf8(text)?.to_owned())
}

/// Packs the SDK and its macros as for a registry, without one, and looks at what is in them.
pub(super) fn package() -> Result<Outcome> {
    const PACKAGES: [&str; 4] = ["-p", "portcullis-sdk-macros", "-p", "portcullis-sdk"];
    let list = ["package", "--list", "--allow-dirty", "--offline", "-p", "portcullis-sdk"];
    let listed = output(cargo().args(list))?;
    let files: Vec<&str> = listed.lines().collect();
    let mut findings = missing(&files);
    findings.extend(outside(&root().join(SDK), &files)?);
    // Builds both from what was packed.
    let packed = passes(cargo().args(["package", "--allow-dirty", "--offline", "--quiet"]).args(PACKAGES))?;
    if !packed {
        findings.push("they cannot be packed, or not built from what was packed".to_owned());
    }
    Ok(Outcome { findings, figures: vec![format!("portcullis-sdk: {} files", files.len())] })
}

fn missing(files: &[&str]) -> Findings {
    let is_missing = |needed: &&&str| !files.contains(*needed);
    NEEDED.iter().filter(is_missing).map(|needed| format!("`{needed}` is not in the package")).collect()
}

/// Files of the package that include others from outside of it, which a registry would not have.
fn outside(folder: &Path, files: &[&str]) -> Result<Findings> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.ends_with(".rs")) {
        let text = fs::read_to_string(folder.join(file)).with_context(|| format!("cannot read {file}"))?;
        let up = "../".repeat(file.matches('/').count() + 1);
        let included = text.split("include").skip(1).filter_map(|rest| rest.split('"').nth(1));
        findings.extend(
            included
                .filter(|path| path.starts_with(&up))
                .map(|path| format!("{file} includes {path}, which lies outside of the package")),
        );
    }
    ensure!(!files.is_empty(), "the package is empty");
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_its_contract_is_found() {
        assert_eq!(missing(&NEEDED), [""; 0]);
        assert_eq!(missing(&NEEDED[1..]), ["`bindings/imports.rs` is not in the package"]);
    }

    #[test]
    fn what_lies_outside_of_a_package_is_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        let text = r#"include!("../bindings/a.rs"); const A: &str = include_str!("../../wit/digest");"#;
        fs::write(folder.path().join("src/lib.rs"), text).unwrap();
        let found = outside(folder.path(), &["src/lib.rs"]).unwrap();
        assert_eq!(found, ["src/lib.rs includes ../../wit/digest, which lies outside of the package"]);
    }

    #[test]
    fn bindings_are_of_one_world() {
        let imports = generate("imports", None).unwrap();
        assert!(imports.contains("pub mod request") && !imports.contains("on_request_head"));
        let hook = generate("request-head", Some("request-head")).unwrap();
        assert!(hook.contains("on_request_head") && hook.contains("macro_rules"));
    }
}
