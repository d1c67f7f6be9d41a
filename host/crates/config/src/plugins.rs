//! What a load has to know of plugins, and asks for.

pub(crate) mod lock;
pub(crate) mod pins;
pub(crate) mod traits;

use std::collections::BTreeSet;
use std::path::PathBuf;

use portcullis_model::{
    Capability, ContentDigest, LockedPlugin, Name, OciReference, Origin, PinnedPlugin, Registry, Signer,
    SignerKey,
};

/// What the configuration has to know of components, and of keys and certificates: it reads none of them itself.
pub trait Plugins {
    /// The component that ships as `builtin:NAME`.
    fn builtin(&self, name: &str) -> Option<&'static [u8]>;

    /// The names of all that ship.
    fn builtin_names(&self) -> Vec<&'static str>;

    /// What a component says of itself.
    ///
    /// # Errors
    /// When the bytes are no component of this contract; the text says why, and reads on behind a caret.
    fn inspect(&self, component: &[u8]) -> Result<PluginInfo, String>;

    /// The component of an image in a registry, once it is known to be the one that is pinned and, where that is asked for,
    /// to be signed. May ask the registry.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn image(&self, wanted: &ImageRequest<'_>) -> Result<Vec<u8>, Problem>;

    /// Hears that all images were asked for, and which manifests are in use.
    fn images_done(&self, supply: &Supply, in_use: &BTreeSet<ContentDigest>);

    /// Whether signatures can be checked with that key.
    ///
    /// # Errors
    /// Why not.
    fn check_key(&self, key: &SignerKey) -> Result<(), Problem>;

    /// Whether TLS can judge servers by these authorities, in PEM.
    ///
    /// # Errors
    /// Why not, which reads on behind a caret.
    fn check_authorities(&self, pem: &[u8]) -> Result<(), String>;

    /// Whether `signature`, which lies beside a component's file, is `signer`'s of that component.
    ///
    /// # Errors
    /// Why not.
    fn verify_file(&self, signer: &Signer, component: &[u8], signature: &[u8]) -> Result<(), Problem>;
}

/// What a component says of itself, from its manifest and its imports and exports.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginInfo {
    /// The name in its manifest.
    pub name: String,
    /// The version in its manifest.
    pub version: String,
    /// JSON schema (2020-12) of its configuration. `None` where it has none: then any table is taken.
    pub config_schema: Option<serde_json::Value>,
    /// The capabilities that it imports; it must be granted exactly these.
    pub imports: Vec<Capability>,
    /// Whether it has `configure`, and so takes a configuration at all.
    pub has_lifecycle: bool,
    /// Whether it has `on-tick`.
    pub has_tick: bool,
    /// Whether it imports the function that chooses an upstream.
    pub chooses_upstream: bool,
    /// The attributes that it sets whatever its settings are. `None` if it does not say which it sets: then it may set any.
    pub attributes: Option<Vec<String>>,
}

/// What is said of plugins outside of policies.
#[derive(Debug, Clone, Default)]
pub struct Supply {
    /// The registries that have settings, by name order.
    pub registries: Vec<Registry>,
    /// The signers, by name order; a key that cannot be used is missing.
    pub signers: Vec<Signer>,
    /// Those of whom one must have signed each plugin that does not ship with the gateway.
    pub signed_by: Vec<Name>,
    /// The folder for compiled plugins and the plugin store; `None` is the user's.
    pub cache_dir: Option<PathBuf>,
    /// Bytes that the plugin store may have.
    pub store_max: u64,
}

/// An image that a policy's component is wanted of.
#[derive(Debug, Clone, Copy)]
pub struct ImageRequest<'a> {
    /// Which, exactly.
    pub plugin: &'a PinnedPlugin,
    /// What the lock file says of it; `None` where the config itself pins it.
    pub locked: Option<&'a LockedPlugin>,
    /// Of these one must have signed it; nobody where it is empty.
    pub signers: &'a [Signer],
    /// Where it may come from.
    pub supply: &'a Supply,
    /// Whether its registry did not answer for another image of this configuration: then it is not asked again, so that one
    /// that is away holds up a load once and not for each plugin.
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
    /// Where it was written.
    pub origin: Origin,
}

/// What a configuration says of plugins, without any of them having been looked at.
#[derive(Debug)]
pub struct Plan {
    /// The plugins out of registries, by reference.
    pub wanted: Vec<WantedPlugin>,
    /// Where they come from.
    pub supply: Supply,
    /// The lock file's path.
    pub lock: PathBuf,
    /// What is in it.
    pub locked: Vec<LockedPlugin>,
}
