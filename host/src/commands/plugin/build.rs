//! `portcullis plugin build`: runs the tools of a plugin's language, puts its manifest in, and says what came out.

mod c;
mod go;
mod hooks;
mod javascript;
mod python;
mod rust;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use portcullis_componentize::Contract;
use portcullis_model::text::escape as shown;
use portcullis_policy::HookKind;
use portcullis_sandbox::{CONTRACT_DIGEST, CONTRACT_PACKAGE, CONTRACT_VERSION, MANIFEST_SECTION};
use serde_json::Value;

use super::wit;
use crate::cli::BuildArguments;
use crate::output::print;
use crate::plugins::PLUGIN_BYTES_MAX;

/// The file that has a plugin's manifest, if its language does not make one.
const MANIFEST: &str = "manifest.json";
/// The folder for what tools make on the way.
const MADE: &str = "build";
/// Bytes of a manifest.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// The number of custom sections in WebAssembly.
const CUSTOM: u8 = 0;

/// A component that was built.
#[derive(Debug)]
pub(super) struct Built {
    /// Its file.
    pub(super) path: PathBuf,
    /// What there is to say of it, in a line.
    pub(super) summary: String,
}

/// Builds the plugin in a folder, and prints what came out.
///
/// # Errors
/// If a tool is missing or fails, or what it makes is no plugin.
pub(super) fn run(arguments: &BuildArguments) -> anyhow::Result<ExitCode> {
    let built = build(&arguments.folder)?;
    print(&format!("{}: {}\n", shown(&built.path.display().to_string()), built.summary))
}

/// Builds the plugin in a folder.
///
/// # Errors
/// See [`run`].
pub(super) fn build(folder: &Path) -> anyhow::Result<Built> {
    let (bytes, path) = if folder.join("Cargo.toml").is_file() {
        let path = rust::build(folder)?;
        (read(&path)?, path)
    } else if folder.join("package.json").is_file() {
        let (made, path) = javascript::build(folder)?;
        (read(&made)?, path)
    } else if folder.join("go.mod").is_file() {
        go::build(folder)?
    } else if python::is_project(folder) {
        python::build(folder)?
    } else if c::is_project(folder) {
        c::build(folder)?
    } else {
        bail!(
            "{} has no Cargo.toml, package.json, go.mod, policy.py, policy.c or policy.cpp, so it is no project of a \
             plugin\n  = help: `portcullis plugin new NAME --lang rust` makes one",
            shown(&folder.display().to_string())
        );
    };
    let bytes = finish(folder, bytes, &path)?;
    let info = portcullis_sandbox::inspect(&bytes).context("what was built is no plugin")?;
    let hooks: Vec<&str> = info.hooks.iter().map(HookKind::name).collect();
    let capabilities: Vec<&str> = info.imports.iter().map(|capability| capability.name()).collect();
    let wants = match capabilities.as_slice() {
        [] => "needs no grants".to_owned(),
        names => format!("needs the grants {}", names.join(", ")),
    };
    let summary = format!("{} KiB, {}, {wants}", bytes.len().div_ceil(1 << 10), hooks.join(", "));
    // As it was typed: `.` says nothing in front of a name.
    let path = path.strip_prefix(".").map_or_else(|_| path.clone(), Path::to_path_buf);
    Ok(Built { path, summary })
}

/// A component that a tool has made.
fn read(made: &Path) -> anyhow::Result<Vec<u8>> {
    portcullis_config::read_file(made, PLUGIN_BYTES_MAX).map_err(anyhow::Error::msg)
}

/// The manifest of a project whose language makes none, as JSON.
fn manifest(folder: &Path) -> anyhow::Result<Value> {
    let text = portcullis_config::read_file(&folder.join(MANIFEST), MANIFEST_BYTES_MAX)
        .map_err(anyhow::Error::msg)
        .context("a plugin has its name and its settings in a manifest")?;
    serde_json::from_slice(&text).with_context(|| format!("{MANIFEST} is not JSON"))
}

/// The name in a manifest, which is that of the file too.
fn name(manifest: &Value) -> anyhow::Result<&str> {
    let name = manifest["name"].as_str().filter(|name| !name.is_empty() && !name.contains(['/', '\\']));
    name.with_context(|| format!("{MANIFEST} has no `name` that a file can have"))
}

/// Makes a component of the module that a compiler has made.
fn component(module: &Path) -> anyhow::Result<Vec<u8>> {
    let wit = wit::in_one_file();
    let contract = Contract { package: CONTRACT_PACKAGE, version: CONTRACT_VERSION, wit: &wit };
    contract.component(&read(module)?).context("no component can be made of what was compiled")
}

/// Puts the component that was made at its place, with manifest.json and the digest of the contract in it if it has no
/// manifest. Returns its bytes.
fn finish(folder: &Path, mut bytes: Vec<u8>, place: &Path) -> anyhow::Result<Vec<u8>> {
    let info = portcullis_sandbox::inspect(&bytes).context("what was built is no plugin")?;
    if info.manifest.is_none() && folder.join(MANIFEST).is_file() {
        let mut json = manifest(folder)?;
        let members = json.as_object_mut().with_context(|| format!("{MANIFEST} is no JSON object"))?;
        members.entry("manifest").or_insert_with(|| 1.into());
        members.entry("contract").or_insert_with(|| CONTRACT_DIGEST.into());
        bytes.extend(section(MANIFEST_SECTION, json.to_string().as_bytes()));
        // With a manifest that the gateway does not take, the plugin would load nowhere.
        portcullis_sandbox::inspect(&bytes).with_context(|| format!("{MANIFEST} cannot be used"))?;
    }
    if fs::read(place).is_ok_and(|before| before == bytes) {
        return Ok(bytes);
    }
    // At once: a gateway that runs would load half of it.
    let beside = place.with_extension(format!("{}.new", std::process::id()));
    let written = fs::write(&beside, &bytes).and_then(|()| fs::rename(&beside, place));
    written
        .inspect_err(|_| drop(fs::remove_file(&beside)))
        .with_context(|| format!("{} cannot be written", shown(&place.display().to_string())))?;
    Ok(bytes)
}

/// A custom section of WebAssembly: its number, its size, its name with that one's size, and its content.
fn section(name: &str, content: &[u8]) -> Vec<u8> {
    let body = [&leb128(name.len())[..], name.as_bytes(), content].concat();
    [&[CUSTOM][..], &leb128(body.len()), &body].concat()
}

/// A number in groups of seven bits, the lowest first; all but the last have the high bit set.
fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::{leb128, section};

    #[test]
    fn a_number_takes_a_byte_for_each_seven_bits() {
        assert_eq!(leb128(0), [0]);
        assert_eq!(leb128(127), [127]);
        assert_eq!(leb128(128), [0x80, 1]);
        assert_eq!(leb128(624_485), [0xe5, 0x8e, 0x26]);
    }

    #[test]
    fn a_section_has_its_size_in_front() {
        assert_eq!(section("ab", b"xyz"), [0, 6, 2, b'a', b'b', b'x', b'y', b'z']);
    }
}
