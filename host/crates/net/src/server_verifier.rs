//! Verifies certificates of servers by other rules than a chain to an authority.
//!
//! # DANGER: one rule verifies nothing
//!
//! [`Rule::Every`] is used if, and only if, the operator wrote `insecure-skip-verify = true` for an upstream. An
//! attacker who can answer in the place of that upstream's endpoints (by ARP, DNS, a route, a stolen address) then
//! reads and changes all traffic to it, and no log will show it. The rule exists because an upstream with a
//! self-signed certificate is still better off with TLS than without; `ca = "…"` with that very certificate is as
//! easy to write and is safe.
//!
//! Signatures of the handshake are checked under every rule, so that a broken peer is detected. Under [`Rule::Every`]
//! that proves only that it has the key of the certificate that it presents.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::der;

/// Verifies the certificate of a server by a rule.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    pub(crate) rule: Rule,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

/// Which certificates are accepted.
#[derive(Debug)]
pub(crate) enum Rule {
    /// Those that are byte for byte one of `named`, if their names and their time are valid, and those whose chain
    /// leads to an authority.
    ///
    /// `openssl req -x509` and many devices make certificates that are their own authority and a server's at once.
    /// RFC 5280 does not allow that, so they fail the check of a chain, although there is none to check.
    Named { named: Vec<CertificateDer<'static>>, chains: Arc<WebPkiServerVerifier> },
    /// Every certificate. See the module's documentation before changing it.
    Every,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.rule {
            Rule::Every => Ok(ServerCertVerified::assertion()),
            Rule::Named { named, .. } if named.iter().any(|named| named == end_entity) => {
                verify_named(end_entity, server_name, now)
            }
            Rule::Named { chains, .. } => {
                chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Checks the time and the names of a certificate that the operator named.
fn verify_named(
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let (from, to) = der::validity(certificate).ok_or(CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < from {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > to {
        return Err(CertificateError::Expired.into());
    }
    verify_server_name(&ParsedCertificate::try_from(certificate)?, server_name)?;
    Ok(ServerCertVerified::assertion())
}
