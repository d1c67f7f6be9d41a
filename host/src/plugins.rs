//! Where components come from: embedded in the binary, read from files, or out of registries by way of the plugin store.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use portcullis_config::{ImageRequest, PluginInfo, Plugins, Problem, Supply};
use portcullis_model::{
    ContentDigest, LockedPlugin, Name, OciReference, PinnedPlugin, PluginSource, PolicyConfig, Registry,
    Server, Signer, SignerKey,
};
use portcullis_registry::{Environment, Image, Memory, Registries, SignerError, Store, Unverified};
use sha2::{Digest, Sha256};

use crate::refusal::Refusal;
use crate::run::cache_dir::default_cache_dir;
use crate::run::footprint;

/// The folder of the plugin store, in the one for what is kept.
const STORE: &str = "plugins";

/// A larger file is no plugin.
pub(crate) const PLUGIN_BYTES_MAX: u64 = 256 << 20;

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
        let (name, version, config_schema, attributes) = info.manifest.map_or_else(
            || ("unnamed".to_owned(), String::new(), None, None),
            |manifest| (manifest.name, manifest.version, manifest.config_schema, manifest.attributes),
        );
        Ok(PluginInfo {
            name,
            version,
            config_schema,
            imports: info.imports,
            has_lifecycle: info.has_lifecycle,
            has_tick: info.hooks.tick,
            chooses_upstream: info.chooses_upstream,
            attributes,
        })
    }

    fn image(&self, wanted: &ImageRequest<'_>) -> Result<Vec<u8>, Problem> {
        let PinnedPlugin { reference, manifest } = wanted.plugin;
        let registries = registries(wanted.supply).map_err(|label| Problem {
            label,
            help: "name a folder with `server.cache-dir`".to_owned(),
            unsigned: false,
            away: false,
        })?;
        let registries = if wanted.is_away { registries.offline() } else { registries };
        // Before anything reads what is in it.
        if !wanted.signers.is_empty() {
            let signer =
                registries.verify(reference, *manifest, wanted.signers).map_err(|error| Problem {
                    label: error.to_string(),
                    help: error.help(&signed_name(wanted.plugin)),
                    // That nobody could be asked says nothing about signatures.
                    unsigned: !matches!(error, Unverified::Fetch(_)),
                    away: error.is_unreachable(),
                })?;
            tracing::debug!(plugin = %reference, %manifest, %signer, "the signature of an image counts");
        }
        let image = registries.image(reference, *manifest).map_err(|error| Problem {
            label: error.to_string(),
            help: error.help(),
            unsigned: false,
            away: error.is_unreachable(),
        })?;
        match wanted.locked {
            Some(locked) if image.lock(reference) != *locked => Err(disagreement(locked, &image)),
            _ => Ok(image.component),
        }
    }

    fn images_done(&self, supply: &Supply, in_use: &BTreeSet<ContentDigest>) {
        let Ok(registries) = registries(supply) else { return };
        match registries.store().prune(supply.store_max, in_use) {
            Ok(0) => {}
            Ok(bytes) => tracing::info!(bytes, "plugins that are not used were removed from the store"),
            Err(error) => tracing::warn!("{error}"),
        }
    }

    fn check_key(&self, key: &SignerKey) -> Result<(), Problem> {
        portcullis_registry::check_key(key).map_err(unverified)
    }

    fn check_authorities(&self, pem: &[u8]) -> Result<(), String> {
        portcullis_net::check_authorities(pem)
    }

    fn verify_file(&self, signer: &Signer, component: &[u8], signature: &[u8]) -> Result<(), Problem> {
        portcullis_registry::verify_file(signer, component, signature).map_err(unverified)
    }
}

fn unverified(SignerError { reason, help }: SignerError) -> Problem {
    Problem { label: reason, help, unsigned: true, away: false }
}

/// What is in the image is not what the lock file says that was in it.
pub(crate) fn disagreement(locked: &LockedPlugin, image: &Image) -> Problem {
    let label = format!(
        "portcullis.lock says that {} holds the component {}, and it holds {}",
        locked.manifest,
        locked.component,
        portcullis_registry::digest(&image.component),
    );
    let help = format!(
        "somebody edited the file: take the last good one back, or run `portcullis plugins lock --update {}`",
        locked.reference
    );
    Problem { label, help, unsigned: false, away: false }
}

/// The registries of a configuration and the store before them. The error reads on behind a caret.
pub(crate) fn registries(supply: &Supply) -> Result<Registries, String> {
    store_of(supply.cache_dir.as_deref(), &supply.registries)
}

fn store_of(cache_dir: Option<&Path>, settings: &[Registry]) -> Result<Registries, String> {
    let dir = cache_dir.map(Path::to_path_buf).or_else(default_cache_dir);
    let dir = dir.ok_or_else(|| "there is no folder to keep it in".to_owned())?;
    let mut store = Store::new(&dir.join(STORE));
    if footprint::leaves_nothing() && !footprint::is_own(&dir) {
        static MEMORY: LazyLock<Arc<Memory>> = LazyLock::new(Arc::default);
        store = store.untouched(Arc::clone(&MEMORY));
    }
    Ok(Registries::new(store, settings).within(Environment::of_process()))
}

/// The image that `reference` names, of which the config at `config` says how its registry is asked. Nobody's signature is asked
/// for: it is only looked at.
///
/// # Errors
/// Where it cannot be had, and where it is not what its digest says.
pub(crate) fn look(reference: &OciReference, config: Option<&Path>) -> anyhow::Result<Image> {
    let supply = match config {
        Some(path) => portcullis_config::plan(path, &Catalog).map_err(Refusal::Config)?.supply,
        None => Supply::default(),
    };
    let registries = registries(&supply).map_err(|reason| {
        anyhow::anyhow!("{reference} cannot be looked at: {reason}\n  = help: name a folder with `server.cache-dir`, and that config with -c")
    })?;
    let manifest = match reference.digest {
        Some(digest) => Ok(digest),
        None => registries.resolve(reference),
    };
    let image = manifest.and_then(|manifest| registries.image(reference, manifest));
    image.map_err(|error| {
        anyhow::anyhow!("{reference} cannot be looked at: {error}\n  = help: {}", error.help())
    })
}

/// The image as cosign calls it.
pub(crate) fn signed_name(PinnedPlugin { reference, manifest }: &PinnedPlugin) -> String {
    format!("{}/{}@{manifest}", reference.registry, reference.repository)
}

/// Why the bytes of a plugin that the config was checked against cannot be had any more.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The file has become another since the config was loaded.
    Moved(PathBuf),
    /// The file cannot be read.
    Unreadable(PathBuf, String),
    /// The binary does not have it.
    Unknown(Name),
    /// It has gone from the store since the config was loaded.
    Store(String),
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
            Self::Store(reason) => f.write_str(reason),
        }
    }
}

/// The component of `policy`: exactly the bytes that its digest was made of.
pub(crate) fn read(policy: &PolicyConfig, server: &Server) -> Result<Vec<u8>, ReadError> {
    match &policy.plugin {
        PluginSource::Builtin(name) => portcullis_plugins::builtin(name)
            .map(<[u8]>::to_vec)
            .ok_or_else(|| ReadError::Unknown(Name::clone(name))),
        PluginSource::File(path) => {
            let bytes = portcullis_config::read_file(path, PLUGIN_BYTES_MAX)
                .map_err(|reason| ReadError::Unreadable(path.clone(), reason))?;
            if <[u8; 32]>::from(Sha256::digest(&bytes)) == policy.digest {
                Ok(bytes)
            } else {
                Err(ReadError::Moved(path.clone()))
            }
        }
        PluginSource::Oci(plugin) => {
            let PinnedPlugin { reference, manifest } = &**plugin;
            // It was put there a moment ago, so nobody need be asked. Where another gateway has removed it since, the config is
            // loaded again, which fetches it.
            let registries = store_of(server.cache_dir.as_deref(), &[]).map_err(ReadError::Store)?.offline();
            let gone = || {
                ReadError::Store(format!("{reference} has gone from the plugin store while it was loaded"))
            };
            let image = registries.image(reference, *manifest).map_err(|_| gone())?;
            // One manifest holds one component; that it is the one that was checked is looked at all the same.
            if <[u8; 32]>::from(Sha256::digest(&image.component)) == policy.digest {
                Ok(image.component)
            } else {
                Err(gone())
            }
        }
    }
}
