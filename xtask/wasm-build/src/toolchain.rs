//! Makes sure that the compiler can build components.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::{env, io};

use crate::{BuildError, TARGET};

/// Installs the target by rustup if it is missing, so that a fresh clone builds with nothing but rustup's Rust.
pub(crate) fn ensure_target() -> Result<(), BuildError> {
    if is_installed()? {
        return Ok(());
    }
    let added = Command::new("rustup").args(["target", "add", TARGET]).status();
    if added.as_ref().is_ok_and(std::process::ExitStatus::success) && is_installed()? {
        return Ok(());
    }
    let reason = match added {
        Ok(status) if status.success() => {
            "rustup added it to another toolchain than the one that builds".to_owned()
        }
        Ok(status) => format!("`rustup target add {TARGET}` failed ({status})"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "there is no rustup to add it with".to_owned()
        }
        Err(error) => format!("rustup cannot be run: {error}"),
    };
    Err(BuildError(format!(
        "the Rust target {TARGET} is not installed, and {reason}\n\
         hint: run `rustup target add {TARGET}` while the network can be reached; without rustup, install your \
         distribution's standard library for {TARGET} (Fedora: rust-std-static-{TARGET})"
    )))
}

/// Whether the compiler has a standard library for the target.
fn is_installed() -> Result<bool, BuildError> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let output = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| BuildError(format!("cannot run {}: {error}", rustc.display())))?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(output.status.success() && !folder.is_empty() && PathBuf::from(folder).is_dir())
}
