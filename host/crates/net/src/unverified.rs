//! # DANGER: a verifier that verifies nothing
//!
//! It is used where, and only where, the operator wrote `insecure-skip-verify = true` for an upstream. Whoever can
//! answer in the place of that upstream's endpoints (by ARP, DNS, a route, a stolen address) then reads and changes all
//! that goes there, and no log will show it. It exists because an upstream with a self-signed certificate is still
//! better off with TLS than without; `ca = "…"` with that very certificate is as easy to write and is safe.
//!
//! Signatures of the handshake are still checked, so that a broken peer is found and not taken for a working one; that
//! proves only that it holds the key of the certificate it made up.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Believes every certificate. See the module's documentation before touching it.
#[derive(Debug)]
pub(crate) struct BelievesEveryCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl BelievesEveryCertificate {
    pub(crate) fn new(algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { algorithms }
    }
}

impl ServerCertVerifier for BelievesEveryCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
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
