//! What a load has to know of plugins, and asks for.

pub(crate) mod lock;
pub(crate) mod pins;
pub(crate) mod traits;

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use portcullis_model::{
    Capability, ContentDigest, Gateway, LockedPlugin, Name, OciReference, Origin, PinnedPlugin, Registry,
    Signer, SignerKey,
};
use sha2::{Digest as _, Sha256};

/// What a load asks about plugins; it knows neither components nor keys itself.
pub trait Plugins: Components + Images + Keys {}

impl<T: Components + Images + Keys> Plugins for T {}

/// What there is to know of components.
pub trait Components {
    /// Returns the component that ships as `builtin:NAME`.
    fn builtin(&self, name: &str) -> Option<&'static [u8]>;

    /// Returns the names of all that ship.
    fn builtin_names(&self) -> Vec<&'static str>;

    /// Returns what a component says of itself.
    ///
    /// # Errors
    /// If the bytes are not a component of this contract; the text says why, and is printed after a caret.
    fn inspect(&self, component: &[u8]) -> Result<PluginInfo, String>;
}

/// How images are fetched from registries.
pub trait Images {
    /// Returns the component of an image, after checking that it is the one that is pinned and, if `wanted` names
    /// signers, that one of them has signed it. May ask the registry.
    ///
    /// # Errors
    /// If there is no such image, or it is not signed as it must be.
    fn image(&self, wanted: &ImageRequest<'_>) -> Result<Vec<u8>, Problem>;

    /// Called after the last image, with the manifests that are in use.
    fn images_done(&self, sources: &PluginSources, in_use: &BTreeSet<ContentDigest>);
}

/// What keys and certificates can be used for.
pub trait Keys {
    /// Checks that signatures can be checked with `key`.
    ///
    /// # Errors
    /// If they cannot.
    fn check_key(&self, key: &SignerKey) -> Result<(), Problem>;

    /// Checks that TLS can judge servers by these authorities, in PEM.
    ///
    /// # Errors
    /// If it cannot; the text says why, and is printed after a caret.
    fn check_authorities(&self, pem: &[u8]) -> Result<(), String>;

    /// Returns the DNS names that the first certificate in `pem` carries, in lower case. `None` if they cannot be read.
    fn certificate_names(&self, pem: &[u8]) -> Option<Vec<String>>;

    /// Checks that `signature`, from the file beside a component's, is `signer`'s of that component.
    ///
    /// # Errors
    /// If it is not.
    fn verify_file(&self, signer: &Signer, component: &[u8], signature: &[u8]) -> Result<(), Problem>;
}

/// The components that a configuration names, by the SHA-256 of their bytes: what was inspected is what will be
/// compiled, whatever becomes of the files. Together they have at most [`COMPONENTS_BYTES_MAX`]. Drop it after
/// compiling.
#[derive(Debug, Default)]
pub struct LoadedComponents {
    by_digest: BTreeMap<[u8; 32], Cow<'static, [u8]>>,
    /// Of those that do not ship with the binary.
    bytes: u64,
}

/// Bytes that the components of one configuration may have together, without those that ship.
pub(crate) const COMPONENTS_BYTES_MAX: u64 = 1 << 30;

impl LoadedComponents {
    /// Returns the component whose bytes have this digest.
    #[must_use]
    pub fn get(&self, digest: &[u8; 32]) -> Option<&[u8]> {
        self.by_digest.get(digest).map(AsRef::as_ref)
    }

    /// Adds a component and returns its digest, or `None` if all of them would be too large.
    pub fn add(&mut self, component: Cow<'static, [u8]>) -> Option<[u8; 32]> {
        let digest = Sha256::digest(&component).into();
        if let Entry::Vacant(entry) = self.by_digest.entry(digest) {
            if let Cow::Owned(bytes) = &component {
                self.bytes =
                    self.bytes.checked_add(bytes.len() as u64).filter(|all| *all <= COMPONENTS_BYTES_MAX)?;
            }
            entry.insert(component);
        }
        Some(digest)
    }
}

/// A configuration that was read, with the components that its policies name.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The configuration.
    pub gateway: Gateway,
    /// The components.
    pub components: LoadedComponents,
}

/// What a component says of itself, from its manifest and its imports and exports.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginInfo {
    /// The name in its manifest.
    pub name: String,
    /// The version in its manifest.
    pub version: String,
    /// JSON schema (2020-12) of its configuration. `None` if it has none: then any table is taken.
    pub config_schema: Option<serde_json::Value>,
    /// The capabilities that it imports; it must be granted exactly these.
    pub imports: Vec<Capability>,
    /// Whether it has `configure`, and so takes a configuration at all.
    pub has_lifecycle: bool,
    /// Whether it has `on-tick`.
    pub has_tick: bool,
    /// Whether it imports the function that chooses an upstream.
    pub chooses_upstream: bool,
    /// The attributes that it sets whatever its settings are. `None` if it does not say which it sets: then it may
    /// set any.
    pub attributes: Option<Vec<String>>,
}

/// The sources of plugins, and whose signatures count.
#[derive(Debug, Clone, Default)]
pub struct PluginSources {
    /// The registries that have settings, by name order.
    pub registries: Vec<Registry>,
    /// The signers, by name order; a key that cannot be used is missing.
    pub signers: Vec<Signer>,
    /// The signers of which one must have signed each plugin that does not ship with the gateway.
    pub signed_by: Vec<Name>,
    /// The folder for compiled plugins and the plugin store; `None` is the user's.
    pub cache_dir: Option<PathBuf>,
    /// Bytes that the plugin store may have.
    pub store_max: u64,
}

/// An image that holds the component of a policy.
#[derive(Debug, Clone, Copy)]
pub struct ImageRequest<'a> {
    /// The image.
    pub plugin: &'a PinnedPlugin,
    /// What the lock file says of it; `None` if the config itself pins it.
    pub locked: Option<&'a LockedPlugin>,
    /// Of these one must have signed it. No signature is needed if it is empty.
    pub signers: &'a [Signer],
    /// The sources that it may come from.
    pub sources: &'a PluginSources,
    /// Whether its registry did not answer for another image of this configuration: then it is not asked again, so
    /// that one that is away holds up a load once and not for each plugin.
    pub is_away: bool,
}

/// Why something about a plugin is refused: what reads on behind a caret, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub label: String,
    /// What to do about it.
    pub help: String,
    /// Whether it is about signatures.
    pub unsigned: bool,
    /// Whether the registry did not answer.
    pub away: bool,
}

/// A plugin out of a registry that a configuration wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPlugin {
    /// The policy that wants it.
    pub policy: Name,
    /// Which.
    pub reference: OciReference,
    /// Of these one must have signed it.
    pub signers: Vec<Signer>,
    /// Its place in the config.
    pub origin: Origin,
}

/// What a configuration says of plugins, without any of them having been looked at.
#[derive(Debug)]
pub struct Plan {
    /// The plugins out of registries, by reference.
    pub wanted: Vec<WantedPlugin>,
    /// The sources that they come from.
    pub sources: PluginSources,
    /// The lock file's path.
    pub lock: PathBuf,
    /// What is in it.
    pub locked: Vec<LockedPlugin>,
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{COMPONENTS_BYTES_MAX, LoadedComponents};

    #[test]
    fn components_are_kept_once_and_have_a_bound_together() {
        let mut components = LoadedComponents::default();
        let digest = components.add(Cow::Owned(vec![1; 8])).unwrap();
        assert_eq!(components.add(Cow::Borrowed(&[1; 8])), Some(digest));
        assert_eq!((components.get(&digest), components.bytes), (Some(&[1; 8][..]), 8));
        // As if so many were there.
        components.bytes = COMPONENTS_BYTES_MAX - 8;
        assert!(components.add(Cow::Owned(vec![2; 9])).is_none());
        assert!(components.add(Cow::Owned(vec![2; 8])).is_some());
        assert!(components.add(Cow::Owned(vec![3])).is_none());
        // What ships takes no memory.
        assert!(components.add(Cow::Borrowed(&[3])).is_some());
    }
}
