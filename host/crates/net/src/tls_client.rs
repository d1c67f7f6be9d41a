//! TLS towards endpoints.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use portcullis_model::{UpstreamProtocol, UpstreamTls};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};

use crate::certificate;
use crate::server_verifier::{Rule, ServerVerifier};
use crate::tls_server::Alpn;

/// Endpoints whose sessions are kept for resumption, for each upstream.
const SESSIONS_MAX: usize = 256;

/// Why TLS to an upstream cannot be set up. The operator must fix it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TlsClientError {
    /// The machine has no authorities.
    #[error(
        "no certificate authorities were found on this machine ({reason}): install its `ca-certificates` package, or name a file with `ca`"
    )]
    NoSystemRoots {
        /// What the search found.
        reason: String,
    },
    /// The file of authorities cannot be used.
    #[error("`{}` has no usable certificate authority: {reason}", file.display())]
    Ca {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The name for SNI is not a valid one.
    #[error("`{name}` is not a valid server name: give a host name or an IP address")]
    ServerName {
        /// What was written.
        name: String,
    },
    /// The TLS library refuses.
    #[error("tls cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}

/// The authorities that the machine trusts, read when an upstream first needs them.
///
/// They are the machine's (`rustls-native-certs`) and not a compiled-in list (`webpki-roots`): operators add and
/// distrust authorities there, curl and their other programs use them, and they are updated without a new gateway.
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` name another place. Make one for each load of the configuration.
#[derive(Debug, Default)]
pub struct SystemRoots(OnceLock<Result<Arc<RootCertStore>, TlsClientError>>);

impl SystemRoots {
    /// Returns authorities that were not read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads them, if that was not done yet.
    ///
    /// # Errors
    /// If the machine has none.
    pub fn check(&self) -> Result<(), TlsClientError> {
        self.get().map(drop)
    }

    fn get(&self) -> Result<Arc<RootCertStore>, TlsClientError> {
        self.0.get_or_init(Self::read).clone()
    }

    fn read() -> Result<Arc<RootCertStore>, TlsClientError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Machines have a few odd old ones. One that cannot be parsed is not trusted.
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added > 0 {
            return Ok(Arc::new(roots));
        }
        let reason = found.errors.first().map_or_else(|| "none installed".to_owned(), ToString::to_string);
        Err(TlsClientError::NoSystemRoots { reason })
    }
}

/// TLS to one upstream, ready to connect. Cheap to clone; sessions are shared.
#[derive(Clone)]
pub struct UpstreamTlsContext {
    pub(crate) config: Arc<ClientConfig>,
    /// The machine's authorities, if they verify certificates.
    system: Option<Arc<RootCertStore>>,
    server_name: Option<ServerName<'static>>,
    pub(crate) protocol: Alpn,
}

impl std::fmt::Debug for UpstreamTlsContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamTlsContext")
            .field("server_name", &self.server_name)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

impl UpstreamTlsContext {
    /// Builds the context that `tls` describes, for an upstream that speaks `protocol`.
    ///
    /// # Errors
    /// If the authorities cannot be read, or the server name is not valid.
    pub fn build(
        tls: &UpstreamTls,
        protocol: UpstreamProtocol,
        system: &SystemRoots,
    ) -> Result<Self, TlsClientError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        let system = if tls.verify && tls.ca.is_none() { Some(system.get()?) } else { None };
        let algorithms = provider.signature_verification_algorithms;
        let builder = if tls.verify {
            let (roots, named) = match (&tls.ca, &system) {
                (Some((file, pem)), _) => own_roots(file, pem)?,
                (None, Some(system)) => (Arc::clone(system), Vec::new()),
                (None, None) => (Arc::new(RootCertStore::empty()), Vec::new()),
            };
            let chains = WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| TlsClientError::Library(rustls::Error::General(error.to_string())))?;
            match named.is_empty() {
                true => builder.with_webpki_verifier(chains),
                false => builder.dangerous().with_custom_certificate_verifier(Arc::new(ServerVerifier {
                    rule: Rule::Named { named, chains },
                    algorithms,
                })),
            }
        } else {
            let verifier = ServerVerifier { rule: Rule::Every, algorithms };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        };
        let mut config = builder.with_no_client_auth();
        let protocol = match protocol {
            UpstreamProtocol::Http1 => Alpn::Http1,
            UpstreamProtocol::Http2 => Alpn::Http2,
        };
        config.alpn_protocols = vec![protocol.name().to_vec()];
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        // No 0-RTT: an attacker could replay the request to the endpoint.
        config.enable_early_data = false;
        let server_name = tls.server_name.as_deref().map(server_name).transpose()?;
        Ok(Self { config: Arc::new(config), system, server_name, protocol })
    }

    /// Returns whether certificates are verified by the authorities that the machine trusts now, which are `system`, or
    /// by none of the machine's.
    ///
    /// # Errors
    /// If the machine has no authorities any more.
    pub fn believes(&self, system: &SystemRoots) -> Result<bool, TlsClientError> {
        match &self.system {
            Some(roots) => Ok(roots.roots == system.get()?.roots),
            None => Ok(true),
        }
    }

    /// Returns whether both have the same authorities of the machine, if they use them.
    #[must_use]
    pub fn judges_like(&self, other: &Self) -> bool {
        match (&self.system, &other.system) {
            (Some(ours), Some(theirs)) => ours.roots == theirs.roots,
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        }
    }

    /// Returns the name that the certificate must have when `host` is connected to.
    pub(crate) fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsClientError> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => server_name(host),
        }
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsClientError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsClientError::ServerName { name: name.to_owned() })
}

/// Returns the authorities in a file, and the certificates themselves, for servers that present one of those.
fn own_roots(file: &std::path::Path, pem: &[u8]) -> Result<Named, TlsClientError> {
    roots(pem).map_err(|reason| TlsClientError::Ca { file: file.to_owned(), reason })
}

/// Checks that the authorities in a PEM file can verify servers.
///
/// # Errors
/// Why not, as a text after a caret.
pub fn check_authorities(pem: &[u8]) -> Result<(), String> {
    roots(pem).map(drop)
}

type Named = (Arc<RootCertStore>, Vec<CertificateDer<'static>>);

fn roots(pem: &[u8]) -> Result<Named, String> {
    let mut roots = RootCertStore::empty();
    let certificates = certificate::certificates(pem)?;
    for (at, certificate) in certificates.iter().enumerate() {
        roots
            .add(certificate.clone())
            .map_err(|error| format!("certificate {} in it cannot be used: {error}", at + 1))?;
    }
    if roots.is_empty() {
        return Err("it must have a block `BEGIN CERTIFICATE`".to_owned());
    }
    Ok((Arc::new(roots), certificates))
}

#[cfg(test)]
mod tests;
