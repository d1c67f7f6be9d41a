//! Why a plugin cannot be fetched, and what to do about it.

use std::path::PathBuf;

use portcullis_model::ContentDigest;

use crate::store::StoreError;

/// Why an image cannot be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing answers at its address, or TLS fails.
    #[error("registry {host} cannot be reached: {reason}")]
    Unreachable {
        /// The host.
        host: String,
        /// What happened.
        reason: String,
    },
    /// It returned an unexpected status.
    #[error("registry {host} answered {status} for {what}")]
    Status {
        /// The host.
        host: String,
        /// What was requested.
        what: String,
        /// The status.
        status: u16,
    },
    /// It does not have it.
    #[error("registry {host} has no {what}")]
    NotFound {
        /// The host.
        host: String,
        /// What was requested.
        what: String,
    },
    /// It requires authentication, or does not allow this user.
    #[error("registry {host} does not let {who} read {what}")]
    Denied {
        /// The host.
        host: String,
        /// The user.
        who: String,
        /// What was requested.
        what: String,
        /// Why there were no better credentials.
        hint: Option<String>,
    },
    /// The proxy does not connect to it.
    #[error("registry {host} cannot be reached by way of {proxy}, the proxy of {variable}: {reason}")]
    Proxy {
        /// The host.
        host: String,
        /// The proxy's host and port.
        proxy: String,
        /// The variable that names it.
        variable: &'static str,
        /// What happened.
        reason: String,
    },
    /// The variable does not name a proxy.
    #[error("{variable} of the environment names no proxy that {host} could be asked by way of: {reason}")]
    ProxySetting {
        /// The variable.
        variable: &'static str,
        /// The host.
        host: String,
        /// What is wrong with it, without its value.
        reason: String,
    },
    /// A credential file cannot be read.
    #[error("the credentials in {} cannot be read: {reason}", path.display())]
    CredentialFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without its content.
        reason: String,
    },
    /// The content does not match its digest.
    #[error("{what} is not what it was pinned to: {expected} was asked for, and {found} came")]
    Digest {
        /// What was requested.
        what: String,
        /// The pinned digest.
        expected: ContentDigest,
        /// The digest of what was received.
        found: ContentDigest,
    },
    /// It is larger than the limit.
    #[error("{what} is larger than {max} bytes")]
    TooLarge {
        /// What was requested.
        what: String,
        /// The limit.
        max: u64,
    },
    /// It cannot be read.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// What was requested.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The registry refers to an address that the gateway does not follow.
    #[error("registry {host} refers to {to}, {why}")]
    Referred {
        /// The host.
        host: String,
        /// The address to which it refers.
        to: String,
        /// Why the gateway does not follow.
        why: &'static str,
    },
    /// The image contains no component, or more than one.
    #[error("the image {reason}")]
    Image {
        /// What it contains instead.
        reason: String,
    },
    /// An error of the plugin store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An error of the gateway itself.
    #[error("{0}")]
    Local(String),
}

impl Error {
    /// Returns what the operator can do.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Unreachable { .. } => "what is in the plugin store needs no registry: fill it with `portcullis plugin fetch` \
                                         where the registry can be reached"
                .to_owned(),
            Self::Denied { host, hint, .. } => {
                let help = format!(
                    "a [registries.NAME] with host = \"{host}\", username and password says who asks; the user needs the \
                     right to pull"
                );
                match hint {
                    Some(hint) => format!("{help}; {hint}"),
                    None => help,
                }
            }
            Self::Proxy { host, variable, .. } => {
                format!(
                    "{variable} is http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT where the proxy wants to know who asks; \
                     NO_PROXY={host} goes past it"
                )
            }
            Self::ProxySetting { variable, host, .. } => {
                format!("set {variable} to http://HOST:PORT, or NO_PROXY={host}")
            }
            Self::CredentialFile { .. } => {
                "mend the file, or name username and password under [registries.NAME], so that no file is asked; \
                 REGISTRY_AUTH_FILE names another"
                    .to_owned()
            }
            Self::NotFound { .. } => {
                "see that it was pushed there, and is spelled so; registries also say this of what one may not see".to_owned()
            }
            Self::Digest { .. } => {
                "somebody changed it, there or on the way: find out who before you run `portcullis plugin lock`".to_owned()
            }
            Self::Status { status: 429 | 500.., .. } => {
                "that is the registry's own trouble: try again later, or ask who runs it".to_owned()
            }
            Self::Status { .. } | Self::Malformed { .. } | Self::TooLarge { .. } => {
                "see that the host is an OCI registry and the image one that holds a plugin".to_owned()
            }
            Self::Referred { .. } => {
                "a registry may refer to another host over https only, and to a private address only from one".to_owned()
            }
            Self::Image { .. } => {
                "push the component as a layer of type application/wasm, or as plugin.wasm in a tar layer: docs/plugins.md"
                    .to_owned()
            }
            Self::Store(_) => "`server.cache-dir` names the folder that the plugin store is in".to_owned(),
            Self::Local(_) => "look at the machine's limits and memory".to_owned(),
        }
    }

    /// Returns whether the registry did not answer, so that another request to it would only take as long again.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Proxy { .. })
    }
}

/// Why no signature of an image is accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unverified {
    /// It has no signature.
    #[error("it has no signature")]
    Missing,
    /// It has signatures, by other keys or for another image.
    #[error(
        "{count} {} there, and none is by {wanted}{}",
        if *count == 1 { "signature is" } else { "signatures are" },
        if *asked { "" } else { "; its registry cannot be asked for others" }
    )]
    Wrong {
        /// How many were tried.
        count: usize,
        /// The accepted signers.
        wanted: String,
        /// Whether the registry was searched for more than the store has.
        asked: bool,
    },
    /// Keys of this kind cannot sign an image.
    #[error("signer `{signer}` has a minisign key, which signs files and not images")]
    FileKey {
        /// Whose.
        signer: String,
    },
    /// A key that cannot be used.
    #[error("the key of signer `{signer}` cannot be used: {reason}")]
    Key {
        /// Whose.
        signer: String,
        /// Why.
        reason: String,
    },
    /// The signatures cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] Error),
}

impl Unverified {
    /// Returns whether the registry did not answer.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_unreachable(),
            Self::Wrong { asked, .. } => !asked,
            Self::Missing | Self::FileKey { .. } | Self::Key { .. } => false,
        }
    }

    /// Returns what the operator can do.
    #[must_use]
    pub fn help(&self, image: &str) -> String {
        match self {
            Self::Missing => format!("sign it: cosign sign --key cosign.key {image}"),
            Self::Wrong { .. } => format!(
                "somebody else signed it, or another image; if you trust this one, sign it: cosign sign --key cosign.key {image}"
            ),
            Self::FileKey { .. } => {
                "sign images with cosign; minisign is for plugins that are files".to_owned()
            }
            Self::Key { .. } => "name the public key of `cosign generate-key-pair`".to_owned(),
            Self::Fetch(error) => error.help(),
        }
    }
}
