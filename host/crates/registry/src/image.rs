//! An image that holds a plugin, checked from its manifest to the component's bytes.

use portcullis_model::{ContentDigest, LockedPlugin, OciReference};

use crate::layer::LayerFormat;

/// A plugin out of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The digest that it is pinned by.
    pub manifest: ContentDigest,
    /// The layer that holds the component.
    pub layer: ContentDigest,
    /// How the component lies in it.
    pub format: LayerFormat,
    /// The component.
    pub component: Vec<u8>,
}

impl Image {
    /// What the lock file says of it.
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
