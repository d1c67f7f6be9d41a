//! `portcullis plugin wit`: the contract of this gateway, for tools that build plugins.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use portcullis_model::text::escape as shown;
use portcullis_sandbox::{CONTRACT_DIGEST, CONTRACT_PACKAGE, CONTRACT_VERSION};

use crate::cli::WitArguments;
use crate::output::print;
use crate::words::counted;

/// The file that names the digest of the contract.
const DIGEST_FILE: &str = "digest";

/// The contract's own files. What a plugin is built against lies in one folder.
const FILES: [(&str, &str); 9] = [
    ("types.wit", include_str!("../../../../wit/types.wit")),
    ("hooks.wit", include_str!("../../../../wit/hooks.wit")),
    ("request.wit", include_str!("../../../../wit/request.wit")),
    ("response.wit", include_str!("../../../../wit/response.wit")),
    ("body.wit", include_str!("../../../../wit/body.wit")),
    ("exchange.wit", include_str!("../../../../wit/exchange.wit")),
    ("cache.wit", include_str!("../../../../wit/cache.wit")),
    ("capabilities.wit", include_str!("../../../../wit/capabilities.wit")),
    ("worlds.wit", include_str!("../../../../wit/worlds.wit")),
];

/// Prints the contract, or writes it.
///
/// # Errors
/// If it cannot be written.
pub(super) fn run(arguments: &WitArguments) -> anyhow::Result<ExitCode> {
    match &arguments.out {
        None => print(&in_one_file()),
        Some(folder) => {
            write(folder)?;
            print(&format!(
                "{CONTRACT_PACKAGE}@{CONTRACT_VERSION}: {} in {}, digest {CONTRACT_DIGEST}\n",
                counted(FILES.len() as u64, "file"),
                shown(&folder.display().to_string())
            ))
        }
    }
}

/// The contract as one file. The first of its files alone names the package.
pub(super) fn in_one_file() -> String {
    FILES.map(|(_, text)| text).join("\n")
}

/// Writes the contract into a folder, and to the files there that are the same already does nothing: what is built of
/// them is not built again.
pub(super) fn write(folder: &Path) -> anyhow::Result<()> {
    let name = folder.display().to_string();
    fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", shown(&name)))?;
    let entries =
        fs::read_dir(folder).with_context(|| format!("the folder {} cannot be read", shown(&name)))?;
    for entry in entries {
        let file = entry?.file_name().to_string_lossy().into_owned();
        if file.ends_with(".wit") && !FILES.iter().any(|(known, _)| *known == file) {
            bail!(
                "{} has the file `{}`, which is not of this contract\n  = help: name a folder of its own, as in -o \
                 wit/deps/portcullis; if it is left from another version, remove it",
                shown(&name),
                shown(&file)
            );
        }
    }
    let digest = format!("{CONTRACT_DIGEST}\n");
    for (file, text) in FILES.into_iter().chain([(DIGEST_FILE, digest.as_str())]) {
        let path = folder.join(file);
        if fs::read(&path).is_ok_and(|before| before == text.as_bytes()) {
            continue;
        }
        fs::write(&path, text)
            .with_context(|| format!("{} cannot be written", shown(&path.display().to_string())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::{DIGEST_FILE, FILES, in_one_file, write};

    #[test]
    fn every_file_of_the_contract_is_there_and_is_the_file() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        let names: BTreeSet<String> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".wit"))
            .collect();
        assert_eq!(names, FILES.iter().map(|(name, _)| (*name).to_owned()).collect());
        for (name, text) in FILES {
            assert_eq!(std::fs::read_to_string(folder.join(name)).unwrap(), text, "{name}");
        }
    }

    #[test]
    fn one_file_names_the_package_once_and_has_all_interfaces() {
        let text = in_one_file();
        assert_eq!(text.matches("\npackage ").count() + usize::from(text.starts_with("package ")), 1);
        for (_, file) in FILES {
            for line in
                file.lines().filter(|line| line.starts_with("interface ") || line.starts_with("world "))
            {
                assert!(text.contains(line), "{line}");
            }
        }
    }

    #[test]
    fn what_is_written_before_is_left_as_it_is_and_what_is_old_is_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("wit/deps/portcullis");
        write(&inner).unwrap();
        let digest = std::fs::read_to_string(inner.join(DIGEST_FILE)).unwrap();
        assert!(digest.ends_with('\n') && digest.len() > 20, "{digest}");
        let before = std::fs::metadata(inner.join("types.wit")).unwrap().modified().unwrap();
        std::fs::write(inner.join("hooks.wit"), "package old:one;").unwrap();
        write(&inner).unwrap();
        assert_eq!(std::fs::metadata(inner.join("types.wit")).unwrap().modified().unwrap(), before);
        assert!(std::fs::read_to_string(inner.join("hooks.wit")).unwrap().contains("interface lifecycle"));
    }

    #[test]
    fn a_folder_with_other_wit_files_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("world.wit"), "package my:policy;").unwrap();
        let error = write(folder.path()).unwrap_err().to_string();
        assert!(error.contains("`world.wit`") && error.contains("wit/deps/portcullis"), "{error}");
        assert!(!folder.path().join("types.wit").exists());
    }
}
