//! The sources of components, and whose signatures of them count.

use std::fmt;
use std::path::PathBuf;

use crate::{Name, Origin, Secret};

/// SHA-256 of some content: what the content is called by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentDigest([u8; 32]);

impl ContentDigest {
    /// A digest that was computed.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads `sha256:` and 64 hexadecimal digits in lower case, the one form that registries take.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_hex(text.strip_prefix("sha256:")?)
    }

    /// Reads 64 hexadecimal digits in lower case.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = (hex_value(*high)? << 4) | hex_value(*low)?;
        }
        Some(Self(bytes))
    }

    /// The digest itself.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        crate::text::hex(&self.0)
    }
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An image in a registry: `oci://REGISTRY/REPOSITORY:TAG` or `…@DIGEST`. `Display` writes it as it is typed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OciReference {
    /// Host, and port if one is named.
    pub registry: Box<str>,
    /// The path under it, such as `team/auth`.
    pub repository: Box<str>,
    /// A name that may come to mean another image tomorrow.
    pub tag: Option<Box<str>>,
    /// The digest of the image's manifest, if it was typed; then the tag is not used.
    pub digest: Option<ContentDigest>,
}

impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// An image in a registry, and which one exactly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PinnedPlugin {
    /// The reference that names it.
    pub reference: OciReference,
    /// The digest of its manifest, typed or from the lock file.
    pub manifest: ContentDigest,
}

/// What the lock file says of one reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedPlugin {
    /// The reference, with a tag and without a digest.
    pub reference: OciReference,
    /// What the tag stood for: the digest of the image's manifest, or of an index of several.
    pub manifest: ContentDigest,
    /// The digest of the layer that holds the component.
    pub layer: ContentDigest,
    /// How the component lies in that layer: `wasm`, `tar`, `tar+gzip` or `tar+zstd`.
    pub format: Box<str>,
    /// The digest of the component itself.
    pub component: ContentDigest,
    /// Bytes of the component.
    pub size: u64,
}

/// How a registry is spoken to: `[registries.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// Its name in the configuration.
    pub name: Name,
    /// Host, and port if one is named, as in references.
    pub host: Box<str>,
    /// User and password, if it needs them.
    pub credentials: Option<(String, Secret)>,
    /// The authorities that are trusted instead of the system's, as PEM, and the file they come from.
    pub ca: Option<(PathBuf, Vec<u8>)>,
    /// Whether it is spoken to without TLS.
    pub plain_http: bool,
}

/// A party whose signatures of plugins count: `[signers.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The name.
    pub name: Name,
    /// The key that the signature is checked with.
    pub key: SignerKey,
    /// Its place in the config.
    pub origin: Origin,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignerKey {
    /// Of `cosign generate-key-pair`: an ECDSA key on P-256 as PEM.
    Cosign(String),
    /// Of `minisign -G`: one line of base64, or the two lines of its `.pub` file.
    Minisign(String),
}

impl SignerKey {
    /// The program whose key it is.
    #[must_use]
    pub const fn tool(&self) -> &'static str {
        match self {
            Self::Cosign(_) => "cosign",
            Self::Minisign(_) => "minisign",
        }
    }

    /// What is added to a plugin's file name to give its signature's.
    #[must_use]
    pub const fn extension(&self) -> &'static str {
        match self {
            Self::Cosign(_) => ".sig",
            Self::Minisign(_) => ".minisig",
        }
    }
}
