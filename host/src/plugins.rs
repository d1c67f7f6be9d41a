//! Where components come from: embedded in the binary or read from files.

use std::path::PathBuf;

use portcullis_config::{PluginInfo, Plugins};
use portcullis_model::{Name, PluginSource, PolicyConfig};
use sha2::{Digest, Sha256};

/// What the config may ask about plugins, answered without compiling any.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Catalog;

impl Plugins for Catalog {
    fn builtin(&self, name: &str) -> Option<&'static [u8]> {
        portcullis_plugins::builtin(name)
    }

    fn builtin_names(&self) -> Vec<&'static str> {
        portcullis_plugins::NAMES.to_vec()
    }

    fn inspect(&self, component: &[u8]) -> Result<PluginInfo, String> {
        let info = portcullis_sandbox::inspect(component).map_err(|error| error.to_string())?;
        // A component that was made without the SDK may have none; then its own `configure` is all that checks.
        let (name, version, config_schema) = info.manifest.map_or_else(
            || ("unnamed".to_owned(), String::new(), None),
            |manifest| (manifest.name, manifest.version, manifest.config_schema),
        );
        Ok(PluginInfo {
            name,
            version,
            config_schema,
            imports: info.imports,
            has_lifecycle: info.has_lifecycle,
            has_tick: info.hooks.tick,
        })
    }
}

/// Why the bytes of a plugin that the config was checked against cannot be had any more.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The file has become another since the config was loaded.
    Moved(PathBuf),
    /// The file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// The binary does not have it.
    Unknown(Name),
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Moved(path) => {
                write!(
                    f,
                    "{} changed while it was being loaded; it is loaded again when it is complete",
                    path.display()
                )
            }
            Self::Unreadable(path, error) => write!(f, "{} cannot be read: {error}", path.display()),
            Self::Unknown(name) => write!(f, "there is no builtin plugin `{name}`"),
        }
    }
}

/// The component of `policy`: exactly the bytes that its digest was made of.
pub(crate) fn read(policy: &PolicyConfig) -> Result<Vec<u8>, ReadError> {
    match &policy.plugin {
        PluginSource::Builtin(name) => portcullis_plugins::builtin(name)
            .map(<[u8]>::to_vec)
            .ok_or_else(|| ReadError::Unknown(Name::clone(name))),
        PluginSource::File(path) => {
            let bytes = std::fs::read(path).map_err(|error| ReadError::Unreadable(path.clone(), error))?;
            if <[u8; 32]>::from(Sha256::digest(&bytes)) == policy.digest {
                Ok(bytes)
            } else {
                Err(ReadError::Moved(path.clone()))
            }
        }
    }
}
