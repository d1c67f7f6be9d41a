//! TLS towards clients.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use portcullis_model::{Origin, Protocol, Protocols, TlsServer, TlsVersion};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::certificate::{self, CertificateError, CertificateWarning};

/// Sessions that are kept for clients that resume without tickets: a few megabytes at most.
const SESSIONS_MAX: usize = 10_240;

/// Why TLS cannot be offered. The operator must fix it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsServerError {
    /// One of the certificates cannot be used.
    #[error("{source}")]
    Certificate {
        /// The place in the config.
        origin: Origin,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// There is no certificate.
    #[error("tls has no certificate: give at least one")]
    NoCertificate,
    /// The TLS library refuses.
    #[error("tls cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}

/// TLS of one listener, ready to serve. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    warnings: Arc<[CertificateWarning]>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").field("warnings", &self.warnings).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Builds the context that `tls` describes. `protocols` is what ALPN offers; HTTP/2 is preferred.
    ///
    /// Certificates are chosen by SNI: an exact name, then a wildcard for its first label, then the first certificate.
    /// If several have the same name (one ECDSA, one RSA), the first that the client can verify is used. Sessions are
    /// resumed with tickets, whose keys change every six hours, or from a bounded cache. There is no 0-RTT, because its
    /// requests can be replayed (RFC 8446, 8).
    ///
    /// # Errors
    /// If a certificate or its key cannot be used.
    pub fn build(tls: &TlsServer, protocols: Protocols) -> Result<Self, TlsServerError> {
        Self::build_at(tls, protocols, SystemTime::now())
    }

    pub(crate) fn build_at(
        tls: &TlsServer,
        protocols: Protocols,
        now: SystemTime,
    ) -> Result<Self, TlsServerError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let (resolver, warnings) = CertificateTable::load(tls, &provider, now)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(tls.min_version))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = protocols.iter().map(|protocol| alpn(protocol).name().to_vec()).collect();
        // The strongest suite that both have: a client that lists a weaker one first does not weaken the connection.
        config.ignore_client_order = true;
        config.max_early_data_size = 0;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        Ok(Self { config: Arc::new(config), warnings: warnings.into() })
    }

    /// Returns warnings about the certificates, as of when this was made.
    #[must_use]
    pub fn warnings(&self) -> &[CertificateWarning] {
        &self.warnings
    }
}

const fn alpn(protocol: Protocol) -> Alpn {
    match protocol {
        Protocol::Http1 => Alpn::Http1,
        Protocol::Http2 => Alpn::Http2,
    }
}

fn versions(oldest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    // Newest first.
    static ALL: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
    match oldest {
        TlsVersion::V1_2 => &ALL,
        TlsVersion::V1_3 => &ALL[..1],
    }
}

/// Certificates by the names that they carry.
#[derive(Debug)]
struct CertificateTable {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By the part after `*.`.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// For clients that ask for no host, or an unknown one.
    default: Vec<Arc<CertifiedKey>>,
}

impl CertificateTable {
    fn load(
        tls: &TlsServer,
        provider: &CryptoProvider,
        now: SystemTime,
    ) -> Result<(Self, Vec<CertificateWarning>), TlsServerError> {
        let mut table = Self { exact: HashMap::new(), wildcard: HashMap::new(), default: Vec::new() };
        let mut warnings = Vec::new();
        let mut first_name = None;
        for certificate in &tls.certificates {
            let loaded = certificate::load(certificate, provider, now).map_err(|source| {
                TlsServerError::Certificate { origin: certificate.origin.clone(), source }
            })?;
            warnings.extend(loaded.warnings);
            if table.default.is_empty() {
                table.default.push(Arc::clone(&loaded.key));
                first_name = loaded.names.first().cloned();
            }
            for name in loaded.names {
                let entry = match name.strip_prefix("*.") {
                    Some(suffix) => table.wildcard.entry(suffix.to_owned()),
                    None => table.exact.entry(name),
                };
                entry.or_default().push(Arc::clone(&loaded.key));
            }
        }
        if table.default.is_empty() {
            return Err(TlsServerError::NoCertificate);
        }
        // The default's twins of another key type are defaults as well.
        if let Some(twins) = first_name.and_then(|name| table.by_certificate_name(&name).cloned()) {
            table.default = twins;
        }
        Ok((table, warnings))
    }

    fn by_certificate_name(&self, name: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        match name.strip_prefix("*.") {
            Some(suffix) => self.wildcard.get(suffix),
            None => self.exact.get(name),
        }
    }

    /// Returns the certificates for a host in lower case.
    fn by_host(&self, host: &str) -> &[Arc<CertifiedKey>] {
        let host = host.strip_suffix('.').unwrap_or(host);
        if let Some(found) = self.exact.get(host) {
            return found;
        }
        // RFC 9525, 6.3: a wildcard matches exactly one label.
        let found = host.split_once('.').and_then(|(_, suffix)| self.wildcard.get(suffix));
        found.unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for CertificateTable {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = match hello.server_name() {
            Some(host) if host.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                self.by_host(&host.to_ascii_lowercase())
            }
            Some(host) => self.by_host(host),
            None => &self.default,
        };
        let schemes = hello.signature_schemes();
        let usable = candidates.iter().find(|key| key.key.choose_scheme(schemes).is_some());
        // If none fits, rustls answers with the right alert.
        usable.or_else(|| candidates.first()).cloned()
    }
}

/// A protocol that ALPN chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// `http/1.1`.
    Http1,
    /// `h2`.
    Http2,
}

impl Alpn {
    /// Returns its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }

    /// Returns its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static [u8] {
        self.as_str().as_bytes()
    }

    /// Returns the protocol of that name, if it is supported.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Http1, Self::Http2].into_iter().find(|protocol| protocol.name() == name)
    }
}

/// What the handshake with a client agreed on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The host that the client asked for (SNI), lower case.
    pub server_name: Option<Arc<str>>,
    /// The protocol, if the client has ALPN.
    pub alpn: Option<Alpn>,
    /// The version of TLS.
    pub version: TlsVersion,
    /// The cipher suite, by its IANA name.
    pub cipher: &'static str,
    /// DER of the client's certificate, if it presented one that was verified.
    pub client_certificate: Option<Arc<[u8]>>,
}

impl TlsInfo {
    /// Reads it from a finished handshake.
    pub(crate) fn of(connection: &rustls::ServerConnection) -> Self {
        let lower = |name: &str| -> Arc<str> { name.to_ascii_lowercase().into() };
        Self {
            server_name: connection.server_name().map(lower),
            alpn: connection.alpn_protocol().and_then(Alpn::from_name),
            version: match connection.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
                // Nothing older is compiled in.
                _ => TlsVersion::V1_2,
            },
            cipher: connection.negotiated_cipher_suite().map_or("unknown", |suite| cipher(suite.suite())),
            client_certificate: connection
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|leaf| Arc::from(leaf.as_ref())),
        }
    }
}

/// Returns the name of a cipher suite in IANA's registry, which for TLS 1.3 is another than in the library.
fn cipher(suite: rustls::CipherSuite) -> &'static str {
    match suite {
        rustls::CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        rustls::CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or("unknown"),
    }
}

#[cfg(test)]
mod tests;
