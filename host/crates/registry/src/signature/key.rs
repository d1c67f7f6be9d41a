//! The public keys of cosign: ECDSA on P-256 over SHA-256.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{SignerError, error};

/// The bytes before the point in the DER of such a key (RFC 5480, 2): `id-ecPublicKey`, `secp256r1`, a bit string of
/// 65 bytes, which begins with 4 for a point that is not compressed.
const PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
/// Bytes of the point, with the 4.
const POINT: usize = 65;

/// A key.
#[derive(Debug)]
pub(crate) struct CosignKey {
    point: Vec<u8>,
}

impl CosignKey {
    /// Reads `-----BEGIN PUBLIC KEY-----`.
    pub(crate) fn parse(pem: &str) -> Result<Self, SignerError> {
        let help = "name the cosign.pub of `cosign generate-key-pair`";
        if pem.contains("PRIVATE KEY") {
            return Err(error(
                "it is a private key",
                "name the public one, and make a new pair if others could read this file",
            ));
        }
        if pem.contains("BEGIN CERTIFICATE") {
            return Err(error("it is a certificate", help));
        }
        let body = pem
            .split_once("-----BEGIN PUBLIC KEY-----")
            .and_then(|(_, rest)| rest.split_once("-----END PUBLIC KEY-----"));
        let (body, _) = body.ok_or_else(|| error("it holds no public key", help))?;
        let digits: String = body.split_whitespace().collect();
        let der = BASE64.decode(digits).map_err(|_| error("it is damaged: not base64", help))?;
        let point = der
            .strip_prefix(&PREFIX[..PREFIX.len() - 1])
            .filter(|point| point.len() == POINT && point.first() == Some(&4));
        match point {
            Some(point) => Ok(Self { point: point.to_vec() }),
            None => Err(error("it is a key of another kind than ECDSA on P-256", help)),
        }
    }

    /// Returns whether the key has signed `message`.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point).verify(message, signature).is_ok()
    }
}

#[cfg(test)]
impl CosignKey {
    /// Returns a key made by a test.
    pub(crate) fn of_point(point: &[u8]) -> Self {
        Self { point: point.to_vec() }
    }
}
