//! Builds packages of this workspace to WebAssembly components, for build scripts.
//!
//! A build script runs a second cargo for `wasm32-wasip2` with a target folder of its own: the first cargo holds the
//! lock of the outer one. Only the standard library is used, because everything here is built before anything else.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod environment;
mod toolchain;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt, fs, io};

/// The target that components are built for.
pub const TARGET: &str = "wasm32-wasip2";

/// Components could not be built. Prints what failed and what to do.
pub struct BuildError(String);

/// The same as `Display`, because that is how an error that `main` returns is printed.
impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BuildError {}

/// What to build.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// The `cdylib` of each of these packages.
    Packages(&'a [&'a str]),
    /// These `cdylib` examples of one package, built with one of its features. Names have underscores.
    Examples {
        /// The package.
        package: &'a str,
        /// The feature that the examples require, so that a build of the workspace leaves them out.
        feature: &'a str,
        /// The examples.
        names: &'a [&'a str],
    },
}

/// A component that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The package or example, as it was asked for.
    pub name: String,
    /// A copy of it in the build script's `OUT_DIR`.
    pub path: PathBuf,
}

/// Builds components from a build script of a package of the same workspace, and prints `rerun-if-changed` for all that
/// went into them. `profile` is a profile of the workspace, such as `plugin` or `release`.
///
/// # Errors
/// When the target is missing and cannot be installed, when cargo fails (its messages went to standard error), and when
/// files cannot be read or written.
pub fn build_components(source: Source<'_>, profile: &str) -> Result<Vec<Component>, BuildError> {
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let root = workspace_root(Path::new(&variable("CARGO_MANIFEST_DIR")?))?;
    let target_dir = nested_target_dir(&out_dir);
    toolchain::ensure_target()?;

    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    environment::clean(&mut cargo);
    cargo.current_dir(&root).args(["build", "--target", TARGET, "--profile", profile]);
    cargo.arg("--target-dir").arg(&target_dir);
    match source {
        Source::Packages(packages) => {
            // A fresh instance is made for each exchange, and every page that lies between what it writes is looked at
            // when it is wiped: a mebibyte of stack, the linker's default, is most of what a policy has.
            cargo.env("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", "-Clink-arg=-zstack-size=262144");
            cargo.arg("--lib");
            cargo.args(packages.iter().flat_map(|package| ["--package", package]));
        }
        Source::Examples { package, feature, names } => {
            cargo.args(["--package", package, "--features", feature]);
            cargo.args(names.iter().flat_map(|name| ["--example", name]));
        }
    }
    let status = cargo.status().map_err(|error| BuildError(format!("cannot run cargo: {error}")))?;
    if !status.success() {
        return Err(BuildError(format!(
            "cargo could not build the components ({status}); its messages are above"
        )));
    }

    // `dev` is the only profile whose folder has another name.
    let mut folder = target_dir.join(TARGET).join(if profile == "dev" { "debug" } else { profile });
    let names = match source {
        Source::Packages(packages) => packages,
        Source::Examples { names, .. } => {
            folder.push("examples");
            names
        }
    };
    let mut inputs = BTreeSet::from([root.join("Cargo.toml"), root.join("Cargo.lock")]);
    let mut components = Vec::with_capacity(names.len());
    for name in names {
        let file = name.replace('-', "_");
        let path = out_dir.join(format!("{file}.wasm"));
        copy_if_changed(&folder.join(format!("{file}.wasm")), &path)?;
        inputs.extend(inputs_of(&folder.join(format!("{file}.d")))?);
        components.push(Component { name: (*name).to_owned(), path });
    }
    announce(&inputs);
    Ok(components)
}

fn variable(name: &str) -> Result<String, BuildError> {
    env::var(name)
        .map_err(|_| BuildError(format!("{name} is not set: this is to be called from a build script")))
}

/// The folder of the workspace that `package` belongs to: the outermost one above it with a manifest of a workspace.
fn workspace_root(package: &Path) -> Result<PathBuf, BuildError> {
    let is_root = |dir: &&Path| {
        fs::read_to_string(dir.join("Cargo.toml"))
            .is_ok_and(|text| text.lines().any(|line| line.trim() == "[workspace]"))
    };
    let root = package.ancestors().filter(is_root).last();
    root.map(Path::to_path_buf)
        .ok_or_else(|| BuildError(format!("{} belongs to no cargo workspace", package.display())))
}

/// `components` in the outer target folder, which cargo marks with `CACHEDIR.TAG`; all build scripts share it, so that
/// what components have in common is compiled once. Returns `OUT_DIR` itself if no such folder is found.
fn nested_target_dir(out_dir: &Path) -> PathBuf {
    let outer = out_dir.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    outer.unwrap_or(out_dir).join("components")
}

/// Keeps the old file, and its time, if nothing changed.
fn copy_if_changed(from: &Path, to: &Path) -> Result<(), BuildError> {
    let fail = |what: &str, path: &Path, error: io::Error| {
        BuildError(format!("cannot {what} {}: {error}", path.display()))
    };
    let bytes = fs::read(from).map_err(|error| fail("read", from, error))?;
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(to, bytes).map_err(|error| fail("write", to, error))
}

/// The files that cargo's dep-info names, and the manifests of their packages.
fn inputs_of(dep_info: &Path) -> Result<BTreeSet<PathBuf>, BuildError> {
    let text = fs::read_to_string(dep_info)
        .map_err(|error| BuildError(format!("cannot read {}: {error}", dep_info.display())))?;
    let mut inputs = parse_dep_info(&text);
    let manifests: Vec<PathBuf> = inputs
        .iter()
        .filter_map(|input| input.ancestors().map(|dir| dir.join("Cargo.toml")).find(|path| path.is_file()))
        .collect();
    inputs.extend(manifests);
    Ok(inputs)
}

/// Dep-info is a line of a makefile, `output: input input`, in which a space of a name is written `\ `.
fn parse_dep_info(text: &str) -> BTreeSet<PathBuf> {
    let mut inputs = BTreeSet::new();
    for line in text.lines() {
        let Some((_, list)) = line.split_once(": ") else { continue };
        let mut name = String::new();
        let mut chars = list.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '\\' if chars.peek() == Some(&' ') => name.extend(chars.next()),
                ' ' => drop(inputs.insert(PathBuf::from(std::mem::take(&mut name)))),
                _ => name.push(char),
            }
        }
        inputs.insert(PathBuf::from(name));
    }
    inputs.remove(Path::new(""));
    inputs
}

#[expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]
fn announce(inputs: &BTreeSet<PathBuf>) {
    for input in inputs {
        println!("cargo::rerun-if-changed={}", input.display());
    }
}

#[cfg(test)]
mod tests;
