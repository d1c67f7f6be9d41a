//! Reads a certificate chain and its key from PEM.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_model::Certificate;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::der;

/// Why a certificate cannot be served. The operator must fix it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The file is not PEM.
    #[error("`{}` is not valid PEM: {reason}", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file has no certificate.
    #[error("`{}` has no certificate: it must have a block `BEGIN CERTIFICATE`, the server's own first", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// The file has no key.
    #[error("`{}` has no private key: it must have a block `BEGIN PRIVATE KEY` (or `RSA` or `EC PRIVATE KEY`)", file.display())]
    NoKey {
        /// The file.
        file: PathBuf,
    },
    /// The key has a passphrase.
    #[error("the private key in `{}` has a passphrase: write one without, `openssl pkey -in … -out …`, and guard the file", file.display())]
    EncryptedKey {
        /// The file.
        file: PathBuf,
    },
    /// The key is of an unsupported kind.
    #[error("the private key in `{}` cannot be used: {reason}; take ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more", file.display())]
    BadKey {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate is malformed.
    #[error("the first certificate in `{}` cannot be used: {reason}", file.display())]
    BadCertificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Key and certificate do not belong together.
    #[error("the private key in `{}` does not belong to the first certificate in `{}`: take the key that it was issued for, and put the server's own certificate first", key.display(), cert.display())]
    Mismatch {
        /// The file of the chain.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
}

/// A problem of a certificate that is still served: refusing it would take the listener down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateWarning {
    /// Clients will refuse it.
    #[error("the certificate in `{}` expired {} ago: clients refuse it; renew it", file.display(), days(*seconds))]
    Expired {
        /// The file of the chain.
        file: PathBuf,
        /// Seconds since then.
        seconds: u64,
    },
    /// Clients will refuse it for now.
    #[error("the certificate in `{}` is valid only in {}: clients refuse it until then; check the clock", file.display(), days(*seconds))]
    NotYetValid {
        /// The file of the chain.
        file: PathBuf,
        /// Seconds until then.
        seconds: u64,
    },
    /// It names no host, so it is served only to clients that ask for an unknown host, or none, and only if it is the
    /// first.
    #[error("the certificate in `{}` names no host (no DNS name in subjectAltName): it is not served by name", file.display())]
    NoNames {
        /// The file of the chain.
        file: PathBuf,
    },
}

fn days(seconds: u64) -> String {
    match seconds / 86_400 {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

/// A certificate that is ready to be served.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) key: Arc<CertifiedKey>,
    /// DNS names in lower case; a wildcard as `*.example.com`.
    pub(crate) names: Vec<String>,
    pub(crate) warnings: Vec<CertificateWarning>,
}

/// Reads chain and key and checks that they belong together.
pub(crate) fn load(
    certificate: &Certificate,
    provider: &CryptoProvider,
    now: SystemTime,
) -> Result<Loaded, CertificateError> {
    let file = || certificate.cert_path.clone();
    let chain = chain(certificate)?;
    let leaf = chain.first().ok_or_else(|| CertificateError::NoCertificate { file: file() })?.clone();
    let key = key(certificate)?;
    let bad_certificate =
        |reason: &dyn ToString| CertificateError::BadCertificate { file: file(), reason: reason.to_string() };

    let parsed = webpki::EndEntityCert::try_from(&leaf).map_err(|error| bad_certificate(&error))?;
    let names = names(&parsed);
    let (not_before, not_after) =
        der::validity(&leaf).ok_or_else(|| bad_certificate(&"its validity cannot be read"))?;

    let signing = provider.key_provider.load_private_key(key).map_err(|error| CertificateError::BadKey {
        file: certificate.key_path.clone(),
        reason: error.to_string(),
    })?;
    let key = CertifiedKey::new(chain, signing);
    match key.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(CertificateError::Mismatch { cert: file(), key: certificate.key_path.clone() });
        }
        Err(error) => return Err(bad_certificate(&error)),
    }

    let mut warnings = Vec::new();
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
    if now > not_after {
        warnings.push(CertificateWarning::Expired { file: file(), seconds: now.abs_diff(not_after) });
    } else if now < not_before {
        warnings.push(CertificateWarning::NotYetValid { file: file(), seconds: now.abs_diff(not_before) });
    }
    if names.is_empty() {
        warnings.push(CertificateWarning::NoNames { file: file() });
    }
    Ok(Loaded { key: Arc::new(key), names, warnings })
}

/// Returns the DNS names in the first certificate of a PEM file, in lower case, or `None` if it cannot be read, for
/// which [`load`] has the better message.
#[must_use]
pub fn certificate_names(pem: &[u8]) -> Option<Vec<String>> {
    let chain = certificates(pem).ok()?;
    let leaf = webpki::EndEntityCert::try_from(chain.first()?).ok()?;
    Some(names(&leaf))
}

fn names(leaf: &webpki::EndEntityCert<'_>) -> Vec<String> {
    leaf.valid_dns_names().map(str::to_ascii_lowercase).collect()
}

fn chain(certificate: &Certificate) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    certificates(&certificate.cert_pem)
        .map_err(|reason| CertificateError::Pem { file: certificate.cert_path.clone(), reason })
}

/// Returns the certificates of a PEM file. Other blocks, such as a key in the same file, are skipped.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| pem_reason(&error))
}

fn key(certificate: &Certificate) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let file = || certificate.key_path.clone();
    match PrivateKeyDer::from_pem_slice(&certificate.key_pem) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => {
            let encrypted = certificate.key_pem.windows(21).any(|window| window == b"ENCRYPTED PRIVATE KEY");
            Err(if encrypted {
                CertificateError::EncryptedKey { file: file() }
            } else {
                CertificateError::NoKey { file: file() }
            })
        }
        Err(error) => Err(CertificateError::Pem { file: file(), reason: pem_reason(&error) }),
    }
}

/// Returns the reason in words, without bytes of the file, which may be a key.
fn pem_reason(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a block has no END line".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed".to_owned(),
        pem::Error::Base64Decode(_) => "a block is not base64".to_owned(),
        _ => "it cannot be read".to_owned(),
    }
}

#[cfg(test)]
mod tests;
