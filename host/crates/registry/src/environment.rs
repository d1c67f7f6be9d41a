//! The parts of the process's environment that are about registries: the proxies through which they are reached, and
//! the files in which other programs keep the credentials for them.
//!
//! Both belong to the machine and not to a configuration, which may run on many: so they are read from where curl,
//! podman and docker read them, and have no keys of their own.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::credentials::{CredentialFile, CredentialFiles};
use crate::proxy::Proxies;

/// The environment, as far as it is about registries. No file is opened before a registry requires it.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    pub(crate) proxies: Proxies,
    pub(crate) files: CredentialFiles,
}

impl Environment {
    /// Returns that of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::read(|name| std::env::var_os(name))
    }

    pub(crate) fn read(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        // An empty variable counts as not set.
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self { proxies: Proxies::read(&set), files: files(set) }
    }
}

/// Returns the files in which podman, skopeo, buildah and docker keep credentials, in the order in which podman reads
/// them.
fn files(set: impl Fn(&str) -> Option<OsString>) -> CredentialFiles {
    let folder = |name: &str| set(name).map(PathBuf::from);
    if let Some(path) = folder("REGISTRY_AUTH_FILE") {
        return CredentialFiles(vec![CredentialFile { path, must_exist: true }]);
    }
    let home = folder("HOME");
    let at_home = |rest: &str| home.as_ref().map(|home| home.join(rest));
    let paths = [
        folder("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
        folder("XDG_CONFIG_HOME")
            .or_else(|| at_home(".config"))
            .map(|folder| folder.join("containers/auth.json")),
        folder("DOCKER_CONFIG").or_else(|| at_home(".docker")).map(|folder| folder.join("config.json")),
    ];
    CredentialFiles(
        paths.into_iter().flatten().map(|path| CredentialFile { path, must_exist: false }).collect(),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Environment;

    fn paths(variables: &[(&str, &str)]) -> Vec<String> {
        let environment = Environment::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        });
        let shown = |path: &Path| path.to_str().unwrap().to_owned();
        environment.files.0.iter().map(|file| shown(&file.path)).collect()
    }

    #[test]
    fn looks_where_podman_and_docker_look() {
        assert_eq!(paths(&[]), Vec::<String>::new());
        assert_eq!(
            paths(&[("HOME", "/users/gate"), ("XDG_RUNTIME_DIR", "/run/user/7")]),
            [
                "/run/user/7/containers/auth.json",
                "/users/gate/.config/containers/auth.json",
                "/users/gate/.docker/config.json"
            ]
        );
        let named =
            [("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("DOCKER_CONFIG", "/d"), ("XDG_RUNTIME_DIR", "")];
        assert_eq!(paths(&named), ["/c/containers/auth.json", "/d/config.json"]);
        assert_eq!(paths(&[&named[..], &[("REGISTRY_AUTH_FILE", "/a.json")]].concat()), ["/a.json"]);
    }
}
