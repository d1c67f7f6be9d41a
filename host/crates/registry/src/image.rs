//! An image that contains a plugin, checked from its manifest to the component's bytes.

use portcullis_model::{ContentDigest, LockedPlugin, OciReference};

use crate::layer::LayerFormat;

/// A plugin from a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The digest to which it is pinned.
    pub manifest: ContentDigest,
    /// The layer that contains the component.
    pub layer: ContentDigest,
    /// How the component is packed in it.
    pub format: LayerFormat,
    /// The component.
    pub component: Vec<u8>,
}

impl Image {
    /// Returns its entry for the lock file.
    #[must_use]
    pub fn lock(&self, reference: &OciReference) -> LockedPlugin {
        LockedPlugin {
            reference: OciReference { digest: None, ..reference.clone() },
            manifest: self.manifest,
            layer: self.layer,
            format: self.format.name().into(),
            component: crate::digest(&self.component),
            size: self.component.len() as u64,
        }
    }
}
