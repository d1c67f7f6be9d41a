//! The SDKs that a project has a copy of: `plugin build` puts that of this gateway into it.

use std::fs;
use std::path::Path;

use anyhow::Context;
use portcullis_model::text::escape as shown;
use portcullis_sandbox::CONTRACT_VERSION;

/// The folder of a project for them.
pub(super) const FOLDER: &str = "portcullis";

/// Files by their paths, with their texts.
pub(super) type Files = &'static [(&'static str, &'static str)];

/// A file of an SDK, by the folder of the SDK, the file's own and its place in a project.
macro_rules! file {
    ($folder:literal, $path:literal) => {
        ($path, include_str!(concat!("../../../../plugin-sdk/", $folder, "/", $path)))
    };
}

/// The two files of a package in Go, for the gateway and for tests.
macro_rules! packages {
    ($($name:literal),*; $($file:literal),*) => {
        &[
            $(file!("go", $file),)*
            $((concat!($name, "/", $name, ".go"),
               include_str!(concat!("../../../../plugin-sdk/go/", $name, "/", $name, ".go"))),
              (concat!($name, "/", $name, "_native.go"),
               include_str!(concat!("../../../../plugin-sdk/go/", $name, "/", $name, "_native.go"))),)*
        ]
    };
}

pub(super) const C: Files = &[
    file!("c/src", "portcullis.h"),
    file!("c/src", "portcullis.c"),
    file!("c/bindings", "pc.h"),
    file!("c/bindings", "pc.c"),
];

pub(super) const GO: Files = packages![
    "body", "cache", "cachepurge", "clock", "connection", "crypto", "exchange", "httpclient", "log", "matchers",
    "metrics", "outcome", "random", "ratelimit", "request", "response", "secrets", "store", "trailers", "types";
    "go.mod", "policy.go", "abi/abi.go", "hook/hook.go"
];

pub(super) const PYTHON: Files =
    &[file!("python/portcullis", "__init__.py"), file!("python/portcullis", "hook.py")];

/// Writes files into a folder, and to those that are the same already does nothing: what is built of them is not built
/// again.
pub(super) fn write(folder: &Path, files: &[(&str, &str)]) -> anyhow::Result<()> {
    for (file, text) in files {
        let path = folder.join(file);
        let text = text.replace("{{contract}}", CONTRACT_VERSION);
        if fs::read(&path).is_ok_and(|before| before == text.as_bytes()) {
            continue;
        }
        let failed = || format!("{} cannot be written", shown(&path.display().to_string()));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(failed)?;
        }
        fs::write(&path, text).with_context(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::{C, Files, GO, PYTHON};

    /// The files below a folder that a project needs.
    fn below(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name == "__pycache__" {
                continue;
            }
            if path.is_dir() {
                below(&path, &format!("{prefix}{name}/"), found);
            } else if !["README.md", "pyproject.toml"].contains(&name) {
                found.insert(format!("{prefix}{name}"));
            }
        }
    }

    #[test]
    fn every_file_of_an_sdk_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-sdk");
        let all: [(Files, &[&str]); 3] =
            [(C, &["c/src", "c/bindings"]), (GO, &["go"]), (PYTHON, &["python/portcullis"])];
        for (files, folders) in all {
            let mut wanted = BTreeSet::new();
            folders.iter().for_each(|folder| below(&root.join(folder), "", &mut wanted));
            assert_eq!(files.iter().map(|(file, _)| (*file).to_owned()).collect::<BTreeSet<_>>(), wanted);
        }
    }
}
