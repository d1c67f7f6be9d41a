//! The packages of the work tree, each with its folder.

use anyhow::{Context, Result};

use crate::tree::sources;

/// A package.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: String,
    /// Relative to the root of the workspace, without a slash at its end.
    pub(super) folder: String,
}

/// Returns every package below the root, also those outside of the workspace, in the order of their folders.
///
/// # Errors
/// If a `Cargo.toml` cannot be read.
pub(super) fn packages() -> Result<Vec<Package>> {
    let mut packages = Vec::new();
    for source in sources(&["Cargo.toml"])? {
        let manifest: toml::Table = toml::from_str(&source.text).with_context(|| source.path.clone())?;
        let Some(name) = manifest.get("package").and_then(|package| package.get("name")?.as_str()) else {
            continue;
        };
        let folder = source.path.trim_end_matches("Cargo.toml").trim_end_matches('/').to_owned();
        packages.push(Package { name: name.to_owned(), folder });
    }
    Ok(packages)
}

/// Returns the package that a file belongs to: the one with the innermost folder around it.
pub(super) fn package_of<'a>(path: &str, packages: &'a [Package]) -> Option<&'a Package> {
    let holds = |package: &&Package| {
        path.strip_prefix(&*package.folder)
            .is_some_and(|rest| package.folder.is_empty() || rest.starts_with('/'))
    };
    packages.iter().filter(holds).max_by_key(|package| package.folder.len())
}

#[cfg(test)]
mod tests {
    use super::{Package, package_of};

    #[test]
    fn a_file_belongs_to_the_innermost_package() {
        let package = |name: &str, folder: &str| Package { name: name.to_owned(), folder: folder.to_owned() };
        let packages = [package("a", "x"), package("b", "x/y"), package("c", "xy")];
        let of = |path: &str| package_of(path, &packages).map(|package| &*package.name);
        assert_eq!(of("x/src/lib.rs"), Some("a"));
        assert_eq!(of("x/y/src/lib.rs"), Some("b"));
        assert_eq!(of("xy/README.md"), Some("c"));
        assert_eq!(of("README.md"), None);
    }
}
