//! `portcullis plugin build`: runs the tools of a plugin's language, puts its manifest in, and says what came out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use portcullis_model::text::escape as shown;
use portcullis_policy::HookKind;
use portcullis_sandbox::{CONTRACT_DIGEST, MANIFEST_SECTION};
use serde_json::Value;

use crate::cli::BuildArguments;
use crate::output::print;
use crate::plugins::PLUGIN_BYTES_MAX;

/// The target of components in Rust.
const TARGET: &str = "wasm32-wasip2";
/// The file that has a plugin's manifest, if its language does not make one.
const MANIFEST: &str = "manifest.json";
/// The folder for what `npm run build` makes.
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
    let name = folder.display().to_string();
    let (made, path) = if folder.join("Cargo.toml").is_file() {
        let made = rust(folder)?;
        (made.clone(), made)
    } else if folder.join("package.json").is_file() {
        javascript(folder)?
    } else {
        bail!(
            "{} has neither a Cargo.toml nor a package.json, so it is no project of a plugin\n  = help: `portcullis plugin \
             new NAME --lang rust` makes one",
            shown(&name)
        );
    };
    let bytes = finish(folder, &made, &path)?;
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

/// Builds with cargo, and returns the component that it says it has made.
fn rust(folder: &Path) -> anyhow::Result<PathBuf> {
    let cargo =
        tool("cargo", "install Rust as https://rustup.rs says, or on Debian with `apt-get install rustup`")?;
    if let Some(sysroot) = output("rustc", &["--print", "sysroot"])
        && !Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).is_dir()
    {
        bail!("Rust cannot build components here\n  = help: rustup target add {TARGET}");
    }
    let mut cargo = Command::new(cargo);
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    let output = cargo.current_dir(folder).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context("cargo cannot be run")?;
    if !output.status.success() {
        bail!("cargo could not build it; its messages are above");
    }
    let said = String::from_utf8_lossy(&output.stdout);
    artifact(&said).context(
        "cargo made no component\n  = help: the library wants crate-type = [\"cdylib\"] in Cargo.toml",
    )
}

/// The last component that cargo says it has made: that of the package itself, for it comes after what it needs.
fn artifact(said: &str) -> Option<PathBuf> {
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let artifacts = messages.filter(|message| message["reason"] == "compiler-artifact");
    let files = artifacts.flat_map(|artifact| artifact["filenames"].as_array().cloned().unwrap_or_default());
    let components = files.filter_map(|file| Some(PathBuf::from(file.as_str()?)));
    components.fold(None, |last, file| {
        if file.extension().is_some_and(|extension| extension == "wasm") { Some(file) } else { last }
    })
}

/// Builds with npm, after installing what package.json names if that was not done. Returns what that leaves, and the
/// place of the component: a gateway that runs would take one without its manifest from there.
fn javascript(folder: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let help =
        "install Node.js 20 or newer, which brings npm along, or on Debian `apt-get install nodejs npm`";
    let npm = tool("npm", help)?;
    let run = |arguments: &[&str], failed: &str| -> anyhow::Result<()> {
        let status = Command::new(npm)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        if !status.context("npm cannot be run")?.success() {
            bail!("{failed}; its messages are above");
        }
        Ok(())
    };
    if !folder.join("node_modules").is_dir() {
        let install = if folder.join("package-lock.json").is_file() { "ci" } else { "install" };
        run(
            &[install, "--no-audit", "--no-fund", "--loglevel", "error"],
            "npm could not install what package.json names",
        )?;
    }
    run(&["run", "--silent", "build"], "`npm run build` failed")?;
    let package = fs::read(folder.join("package.json")).context("package.json cannot be read")?;
    let package: Value = serde_json::from_slice(&package).context("package.json is not JSON")?;
    let name = package["name"]
        .as_str()
        .filter(|name| !name.contains(['/', '\\']))
        .context("package.json has no `name`")?;
    let file = format!("{name}.wasm");
    let made = folder.join(MADE).join(&file);
    if !made.is_file() {
        bail!("`npm run build` left no {MADE}/{file}, which is what `name` in package.json promises");
    }
    Ok((made, folder.join(file)))
}

/// Puts the component that was made at its place, with manifest.json and the digest of the contract in it if it has no
/// manifest. Returns its bytes.
fn finish(folder: &Path, made: &Path, place: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = portcullis_config::read_file(made, PLUGIN_BYTES_MAX).map_err(anyhow::Error::msg)?;
    let info = portcullis_sandbox::inspect(&bytes).context("what was built is no plugin")?;
    let manifest = folder.join(MANIFEST);
    if info.manifest.is_none() && manifest.is_file() {
        let text = portcullis_config::read_file(&manifest, MANIFEST_BYTES_MAX).map_err(anyhow::Error::msg)?;
        let mut json: Value =
            serde_json::from_slice(&text).with_context(|| format!("{MANIFEST} is not JSON"))?;
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

/// A program that there has to be.
fn tool(name: &'static str, help: &str) -> anyhow::Result<&'static str> {
    match output(name, &["--version"]) {
        Some(_) => Ok(name),
        None => bail!("`{name}` is not found, or does not run\n  = help: {help}"),
    }
}

/// What a program prints, if it runs and succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{artifact, leb128, section};

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

    #[test]
    fn the_component_is_the_last_that_cargo_names() {
        let said = "{\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/libdep.rlib\",\"/t/dep.wasm\"]}\n\
                    not json\n\
                    {\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/a.wasm\",\"/t/liba.rlib\"]}\n\
                    {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(artifact(said).as_deref(), Some(Path::new("/t/a.wasm")));
        assert_eq!(artifact("{}"), None);
    }
}
