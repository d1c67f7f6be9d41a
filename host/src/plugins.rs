//! Where components come from: embedded in the binary, read from files, or from registries through the plugin store.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use portcullis_config::{Components, ImageRequest, Images, Keys, PluginInfo, PluginSources, Problem};
use portcullis_model::{
    ContentDigest, LockedPlugin, OciReference, PinnedPlugin, Registry, Signer, SignerKey,
};
use portcullis_policy::HookKind;
use portcullis_registry::{Environment, Image, Memory, Registries, SignerError, Store, Unverified};

use crate::refusal::Refusal;
use crate::run::cache_dir::default_cache_dir;
use crate::run::footprint;

/// The folder of the plugin store, in the one for what is kept.
const STORE: &str = "plugins";

/// A larger file is no plugin.
pub(crate) const PLUGIN_BYTES_MAX: u64 = 256 << 20;

/// Answers what a load asks about plugins, without compiling any.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Catalog;

impl Components for Catalog {
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
            has_tick: info.hooks.has(HookKind::Tick),
            chooses_upstream: info.chooses_upstream,
            attributes,
        })
    }
}

impl Images for Catalog {
    fn image(&self, wanted: &ImageRequest<'_>) -> Result<Vec<u8>, Problem> {
        let PinnedPlugin { reference, manifest } = wanted.plugin;
        let registries = registries(wanted.sources).map_err(|label| Problem {
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
                    // A registry that does not answer says nothing about signatures.
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

    fn images_done(&self, sources: &PluginSources, in_use: &BTreeSet<ContentDigest>) {
        let Ok(registries) = registries(sources) else { return };
        match registries.store().prune(sources.store_max, in_use) {
            Ok(0) => {}
            Ok(bytes) => tracing::info!(bytes, "plugins that are not used were removed from the store"),
            Err(error) => tracing::warn!("{error}"),
        }
    }
}

impl Keys for Catalog {
    fn check_key(&self, key: &SignerKey) -> Result<(), Problem> {
        portcullis_registry::check_key(key).map_err(unverified)
    }

    fn check_authorities(&self, pem: &[u8]) -> Result<(), String> {
        portcullis_net::check_authorities(pem)
    }

    fn certificate_names(&self, pem: &[u8]) -> Option<Vec<String>> {
        portcullis_net::certificate_names(pem)
    }

    fn verify_file(&self, signer: &Signer, component: &[u8], signature: &[u8]) -> Result<(), Problem> {
        portcullis_registry::verify_file(signer, component, signature).map_err(unverified)
    }
}

fn unverified(SignerError { reason, help }: SignerError) -> Problem {
    Problem { label: reason, help, unsigned: true, away: false }
}

/// The problem of an image whose content differs from what the lock file says.
pub(crate) fn disagreement(locked: &LockedPlugin, image: &Image) -> Problem {
    let label = format!(
        "portcullis.lock says that {} holds the component {}, and it holds {}",
        locked.manifest,
        locked.component,
        portcullis_registry::digest(&image.component),
    );
    let help = format!(
        "the lock file was edited by hand: restore the last good one, or run `portcullis plugin lock --update {}`",
        locked.reference
    );
    Problem { label, help, unsigned: false, away: false }
}

/// The registries of a configuration and the store before them. The error reads on behind a caret.
pub(crate) fn registries(sources: &PluginSources) -> Result<Registries, String> {
    store_of(sources.cache_dir.as_deref(), &sources.registries)
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

/// Returns the image that `reference` names, asking its registry as the config at `config` says. No signature is
/// checked, because it is only inspected.
///
/// # Errors
/// If it cannot be fetched, or is not what its digest says.
pub(crate) fn fetch_unverified(reference: &OciReference, config: Option<&Path>) -> anyhow::Result<Image> {
    let sources = match config {
        Some(path) => portcullis_config::plan(path, &Catalog).map_err(Refusal::Config)?.sources,
        None => PluginSources::default(),
    };
    let registries = registries(&sources).map_err(|reason| {
        anyhow::anyhow!("{reference} cannot be inspected: {reason}\n  = help: name a folder with `server.cache-dir`, and that config with -c")
    })?;
    let manifest = match reference.digest {
        Some(digest) => Ok(digest),
        None => registries.resolve(reference),
    };
    let image = manifest.and_then(|manifest| registries.image(reference, manifest));
    image.map_err(|error| {
        anyhow::anyhow!("{reference} cannot be inspected: {error}\n  = help: {}", error.help())
    })
}

/// The image as cosign calls it.
pub(crate) fn signed_name(PinnedPlugin { reference, manifest }: &PinnedPlugin) -> String {
    format!("{}/{}@{manifest}", reference.registry, reference.repository)
}
