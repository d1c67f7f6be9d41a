//! Builds a plugin in C or C++ with zig or clang.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::{MADE, component, manifest, name, tools};
use crate::commands::plugin::sdk;

/// The stack: the component's memory begins with it. zig's own 16 MiB are more than a policy may have.
const STACK: &str = "-Wl,-z,stack-size=65536";
const FLAGS: [&str; 10] = [
    "-mexec-model=reactor",
    "-O2",
    "-Wall",
    "-Wextra",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-exceptions",
    "-Wl,--gc-sections",
    STACK,
    "-Iportcullis",
];
const HELP: &str = "install zig: `pip install ziglang`, or as https://ziglang.org/download says; or clang with the libraries of \
                    wasi-sdk, whose folder WASI_SDK_PATH names";

/// Whether a folder is a plugin's in C or C++.
pub(super) fn is_project(folder: &Path) -> bool {
    ["policy.c", "policy.cpp"].iter().any(|file| folder.join(file).is_file())
}

/// Compiles all sources of the folder, and returns the component and its place.
pub(super) fn build(folder: &Path) -> anyhow::Result<(Vec<u8>, PathBuf)> {
    let manifest = manifest(folder)?;
    let name = name(&manifest)?;
    sdk::write(&folder.join(sdk::FOLDER), sdk::C)?;
    let made = folder.join(MADE);
    fs::create_dir_all(&made).with_context(|| format!("the folder {MADE} cannot be made"))?;
    let mut sources = sources(folder)?;
    sources.extend(
        sdk::C
            .iter()
            .map(|(file, _)| *file)
            .filter(|file| file.ends_with(".c"))
            .map(|file| format!("{}/{file}", sdk::FOLDER)),
    );
    let compiler = compiler()?;
    let module = format!("{MADE}/{name}.module.wasm");
    let (c, other): (Vec<String>, Vec<String>) = sources.into_iter().partition(|file| file.ends_with(".c"));
    if other.is_empty() {
        let mut command = compiler.command("cc");
        command.args(FLAGS).args(["-s", "-o", &module]).args(c);
        tools::run(&mut command, folder, "the compiler could not build it")?;
    } else {
        let mut objects = Vec::new();
        for file in c {
            let object = format!("{MADE}/{}.o", file.replace('/', "-"));
            let mut command = compiler.command("cc");
            command.args(FLAGS.iter().filter(|flag| !flag.starts_with("-Wl") && !flag.starts_with("-m")));
            tools::run(
                command.args(["-c", "-o", &object, &file]),
                folder,
                "the compiler could not build it",
            )?;
            objects.push(object);
        }
        let mut command = compiler.command("c++");
        command.args(FLAGS).args(["-fno-rtti", "-s", "-o", &module]).args(other).args(objects);
        tools::run(&mut command, folder, "the compiler could not build it")?;
    }
    Ok((component(&folder.join(module))?, folder.join(format!("{name}.wasm"))))
}

/// The sources in the folder and in `src`, which are named as the compiler finds them.
fn sources(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for (below, prefix) in [(folder.to_owned(), ""), (folder.join("src"), "src/")] {
        if !below.is_dir() {
            continue;
        }
        for entry in
            fs::read_dir(&below).with_context(|| format!("the folder {} cannot be read", below.display()))?
        {
            let file = entry?.file_name().to_string_lossy().into_owned();
            let extension =
                Path::new(&file).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            if ["c", "cc", "cpp", "cxx"].contains(&extension) {
                found.push(format!("./{prefix}{file}"));
            }
        }
    }
    // So that the same sources make the same component.
    found.sort_unstable();
    Ok(found)
}

/// What compiles.
enum Compiler {
    /// zig, and how it is called.
    Zig(&'static [&'static str]),
    /// The folder of wasi-sdk.
    WasiSdk(PathBuf),
}

fn compiler() -> anyhow::Result<Compiler> {
    if tools::output("zig", &["version"]).is_some() {
        return Ok(Compiler::Zig(&["zig"]));
    }
    if let Some(folder) = std::env::var_os("WASI_SDK_PATH").map(PathBuf::from) {
        if folder.join("bin/clang").is_file() {
            return Ok(Compiler::WasiSdk(folder));
        }
        bail!("WASI_SDK_PATH is {}, which has no bin/clang", folder.display());
    }
    // As pip installs it.
    match tools::output("python3", &["-m", "ziglang", "version"]) {
        Some(_) => Ok(Compiler::Zig(&["python3", "-m", "ziglang"])),
        None => bail!("no compiler of C for WebAssembly is found\n  = help: {HELP}"),
    }
}

impl Compiler {
    /// The compiler of a language, `cc` or `c++`.
    fn command(&self, language: &str) -> Command {
        match self {
            Self::Zig(call) => {
                let mut words = call.iter().copied().chain([language, "-target", "wasm32-wasi"]);
                let mut command = Command::new(words.next().unwrap_or("zig"));
                command.args(words);
                command
            }
            Self::WasiSdk(folder) => {
                let mut command =
                    Command::new(folder.join(if language == "cc" { "bin/clang" } else { "bin/clang++" }));
                command.arg("--target=wasm32-wasip1");
                command
            }
        }
    }
}
