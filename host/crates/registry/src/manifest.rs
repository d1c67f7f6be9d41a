//! Manifests and indexes (OCI image specification 1.1, and Docker's schema 2, which differs only in media types).

use portcullis_model::ContentDigest;
use portcullis_model::text::one_line;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Bytes of a manifest: the usual limit of registries.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// Letters of the message about a malformed manifest.
const REASON_LETTERS_MAX: usize = 200;

/// The accepted media types.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// Layers that are an unpacked component: of the CNCF's artifact, of wasm-to-oci, of the `oci` variant of Envoy's
/// filters, and of the registry before it.
const WASM_LAYERS: [&str; 4] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
];

/// Layers that are an archive, as `docker build`, `buildah` and `oras` make them.
const TAR_LAYERS: [&str; 6] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

/// An image, or a list of images of which each is for another platform.
#[derive(Debug)]
pub(crate) enum Manifest {
    Image(Vec<Descriptor>),
    Index(Vec<Descriptor>),
}

/// A piece of content that a manifest names.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    digest: String,
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) artifact_type: Option<String>,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

impl Manifest {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        // serde's messages repeat unexpected text, which may be as long as the manifest.
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| one_line(&error.to_string(), REASON_LETTERS_MAX))?;
        if document.schema_version != 2 {
            return Err(format!("it is of schema {}, and only 2 is read", document.schema_version));
        }
        match (document.layers, document.manifests) {
            (Some(layers), None) => Ok(Self::Image(layers)),
            (None, Some(manifests)) => Ok(Self::Index(manifests)),
            // Two programs could read it differently.
            (Some(_), Some(_)) => Err("it has both `layers` and `manifests`".to_owned()),
            (None, None) => Err("it has neither `layers` nor `manifests`".to_owned()),
        }
    }

    /// Returns everything that it names.
    pub(crate) fn descriptors(&self) -> &[Descriptor] {
        match self {
            Self::Image(list) | Self::Index(list) => list,
        }
    }
}

impl Descriptor {
    pub(crate) fn digest(&self) -> Result<ContentDigest, String> {
        let parsed = ContentDigest::parse(&self.digest);
        parsed.ok_or_else(|| format!("`{}` is no SHA-256 digest", one_line(&self.digest, 100)))
    }

    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(name).map(String::as_str)
    }

    fn is(&self, architecture: &str) -> bool {
        self.platform.as_ref().is_some_and(|platform| platform.architecture == architecture)
    }
}

/// Returns the image of an index that contains the plugin. A component runs everywhere, so the choice must not depend
/// on this machine: the lock file is for all of them.
pub(crate) fn choose_image(images: &[Descriptor]) -> Result<&Descriptor, String> {
    // Skips provenance and other attestations, which `docker build` adds.
    let images: Vec<&Descriptor> = images.iter().filter(|image| !image.is("unknown")).collect();
    if let [only] = images.as_slice() {
        return Ok(only);
    }
    let wasm: Vec<&&Descriptor> = images.iter().filter(|image| image.is("wasm")).collect();
    if let [only] = wasm.as_slice() {
        return Ok(only);
    }
    let common = |image: &&Descriptor| {
        image
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "linux" && platform.architecture == "amd64")
    };
    let found = if wasm.is_empty() { images.iter().copied().find(common) } else { None };
    found.ok_or_else(|| {
        format!(
            "is an index of {} images, and which of them holds the plugin cannot be told: one for wasm/wasi, or for \
             linux/amd64, would be taken",
            images.len()
        )
    })
}

/// Returns the layer of an image that contains the plugin.
pub(crate) fn choose_layer(layers: &[Descriptor]) -> Result<&Descriptor, String> {
    let wasm: Vec<&Descriptor> =
        layers.iter().filter(|layer| WASM_LAYERS.contains(&layer.media_type.as_str())).collect();
    match wasm.as_slice() {
        [only] => return Ok(only),
        [] => {}
        several => return Err(format!("has {} WebAssembly layers, and a plugin is one", several.len())),
    }
    // The last of several, as in Istio and Envoy Gateway: the one that `docker build` copied last.
    if let Some(layer) = layers.iter().rev().find(|layer| TAR_LAYERS.contains(&layer.media_type.as_str())) {
        return Ok(layer);
    }
    let types: Vec<String> = layers.iter().take(8).map(|layer| one_line(&layer.media_type, 100)).collect();
    Err(match types.as_slice() {
        [] => "has no layer".to_owned(),
        types => format!("has no layer that could hold a plugin, but {}", types.join(", ")),
    })
}

#[cfg(test)]
mod tests;
