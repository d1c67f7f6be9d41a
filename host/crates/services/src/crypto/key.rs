//! A key, bound to the one algorithm that it is for.

use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};
use aws_lc_rs::signature::{self as sig, ParsedPublicKey, VerificationAlgorithm};
use aws_lc_rs::{constant_time, hmac};

use super::types::{Algorithm, Hash, KeyError};
use crate::numbered::Content;
use crate::{CheckTime, OutOfTime};

/// Bytes between two checks of the time.
const BLOCK_BYTES: usize = 64 << 10;

/// Bits of an RSA modulus. Checking a signature by a larger one takes too long for a worker's thread, and aws-lc knows
/// none.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A key.
pub(crate) struct Key {
    algorithm: Algorithm,
    /// The name that it has in its key set.
    kid: Option<String>,
    material: Material,
    content: Content,
}

enum Material {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl Key {
    /// A secret for an HMAC.
    pub(super) fn secret(secret: &[u8], algorithm: Algorithm, kid: Option<String>) -> Result<Self, KeyError> {
        let Some(hash) = hmac_of(algorithm) else {
            let message = format!("a secret is for HS256, HS384 or HS512, not for {}", algorithm.name());
            return Err(KeyError::WrongAlgorithm(message));
        };
        let needed = digest_algorithm(hash).output_len();
        if secret.len() < needed {
            let message = format!("{} needs a secret of {needed} bytes or more", algorithm.name());
            return Err(KeyError::Weak(message));
        }
        let content = content(algorithm, kid.as_deref(), secret);
        let material = Material::Secret(Box::new(hmac::Key::new(hmac_algorithm(hash), secret)));
        Ok(Self { algorithm, kid, material, content })
    }

    /// An RSA key from its modulus and exponent, big-endian.
    pub(super) fn rsa(
        n: &[u8],
        e: &[u8],
        algorithm: Algorithm,
        kid: Option<String>,
    ) -> Result<Self, KeyError> {
        let bits = match n {
            [] | [0, ..] => return Err(malformed("the modulus must be a number without leading zeros")),
            [first, rest @ ..] => 8 * rest.len() + 8 - first.leading_zeros() as usize,
        };
        if !RSA_BITS.contains(&bits) {
            let message = format!("an RSA key has 2048 to 8192 bits here, not {bits}");
            return Err(if bits < 2048 { KeyError::Weak(message) } else { KeyError::Unsupported(message) });
        }
        // FIPS 186-5, 5.4: odd, and above 2^16. Its upper bound there would make checking slow, and no key in use is
        // near it.
        let odd = e.last().is_some_and(|byte| byte & 1 == 1);
        if !odd || !matches!(e, [first, _, _] | [first, _, _, _] if *first > 0) {
            return Err(KeyError::Weak(
                "the exponent of an RSA key is odd, over 2^16 and under 2^32".to_owned(),
            ));
        }
        Self::public(&rsa_public_key(n, e), algorithm, kid)
    }

    /// A public key in aws-lc's form: for RSA that of PKCS #1, for curves the point.
    pub(super) fn public(bytes: &[u8], algorithm: Algorithm, kid: Option<String>) -> Result<Self, KeyError> {
        let Some(verification) = verification(algorithm) else {
            let message = format!("a public key is not for {}", algorithm.name());
            return Err(KeyError::WrongAlgorithm(message));
        };
        let parsed = ParsedPublicKey::new(verification, bytes);
        let parsed = parsed.map_err(|_| malformed("the numbers are not those of a key"))?;
        let content = content(algorithm, kid.as_deref(), bytes);
        Ok(Self { algorithm, kid, material: Material::Public(parsed), content })
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// What makes it the same key as another.
    pub(super) fn content(&self) -> Content {
        self.content
    }

    /// Whether `signature` is its signature, or authentication code, of `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Material::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }

    /// The same for a message that may be large: it looks at the time while it hashes.
    pub(super) fn verifies_in_blocks(
        &self,
        message: &[u8],
        signature: &[u8],
        check_time: CheckTime<'_>,
    ) -> Result<bool, OutOfTime> {
        match (&self.material, digest_of(self.algorithm)) {
            (Material::Secret(key), _) => {
                let code = hmac_in_blocks(key, message, check_time)?;
                Ok(constant_time::verify_slices_are_equal(code.as_ref(), signature).is_ok())
            }
            (Material::Public(key), Some(hash)) => {
                let digest = digest_in_blocks(hash, message, check_time)?;
                Ok(key.verify_digest_sig(&digest, signature).is_ok())
            }
            // Ed25519 has no digest to begin with. It takes a millisecond or two for the longest message.
            (Material::Public(key), None) => Ok(key.verify_sig(message, signature).is_ok()),
        }
    }

    /// The authentication code of `message`; none by a public key.
    pub(super) fn mac(
        &self,
        message: &[u8],
        check_time: CheckTime<'_>,
    ) -> Result<Option<Vec<u8>>, OutOfTime> {
        match &self.material {
            Material::Secret(key) => Ok(Some(hmac_in_blocks(key, message, check_time)?.as_ref().to_vec())),
            Material::Public(_) => Ok(None),
        }
    }
}

/// The digest of `data`. Looks at the time after each block.
pub(super) fn digest_in_blocks(
    algorithm: &'static digest::Algorithm,
    data: &[u8],
    check_time: CheckTime<'_>,
) -> Result<digest::Digest, OutOfTime> {
    let mut context = digest::Context::new(algorithm);
    for block in data.chunks(BLOCK_BYTES) {
        context.update(block);
        check_time()?;
    }
    Ok(context.finish())
}

/// The authentication code of `message`. Looks at the time after each block.
pub(super) fn hmac_in_blocks(
    key: &hmac::Key,
    message: &[u8],
    check_time: CheckTime<'_>,
) -> Result<hmac::Tag, OutOfTime> {
    let mut context = hmac::Context::with_key(key);
    for block in message.chunks(BLOCK_BYTES) {
        context.update(block);
        check_time()?;
    }
    Ok(context.sign())
}

/// Each part with its length before it, so that no two keys can be written alike.
fn content(algorithm: Algorithm, kid: Option<&str>, bytes: &[u8]) -> Content {
    let mut context = digest::Context::new(&SHA256);
    for part in
        [algorithm.name().as_bytes(), &[u8::from(kid.is_some())], kid.unwrap_or_default().as_bytes(), bytes]
    {
        context.update(&part.len().to_le_bytes());
        context.update(part);
    }
    let mut content = Content::default();
    content.copy_from_slice(context.finish().as_ref());
    content
}

/// The DER of an `RSAPublicKey` (RFC 8017, A.1.1).
fn rsa_public_key(n: &[u8], e: &[u8]) -> Vec<u8> {
    let mut numbers = Vec::with_capacity(n.len() + e.len() + 16);
    for number in [n, e] {
        // A number whose first bit is set would be a negative one.
        let sign: &[u8] = if number.first().is_some_and(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
        der(0x02, &[sign, number], &mut numbers);
    }
    let mut key = Vec::with_capacity(numbers.len() + 4);
    der(0x30, &[&numbers], &mut key);
    key
}

/// Writes an element of up to 64 KiB.
fn der(tag: u8, parts: &[&[u8]], to: &mut Vec<u8>) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let [.., high, low] = length.to_be_bytes();
    to.push(tag);
    match (high, low) {
        (0, 0..0x80) => to.push(low),
        (0, _) => to.extend([0x81, low]),
        _ => to.extend([0x82, high, low]),
    }
    parts.iter().for_each(|part| to.extend(*part));
}

/// The hash of an HMAC.
pub(super) fn hmac_of(algorithm: Algorithm) -> Option<Hash> {
    match algorithm {
        Algorithm::Hs256 => Some(Hash::Sha256),
        Algorithm::Hs384 => Some(Hash::Sha384),
        Algorithm::Hs512 => Some(Hash::Sha512),
        _ => None,
    }
}

fn verification(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match algorithm {
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => return None,
        Algorithm::Rs256 => &sig::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &sig::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &sig::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &sig::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &sig::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &sig::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 => &sig::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &sig::ECDSA_P384_SHA384_FIXED,
        Algorithm::Es512 => &sig::ECDSA_P521_SHA512_FIXED,
        Algorithm::Eddsa => &sig::ED25519,
    })
}

/// The digest of which a signature is made; `None` of one that is made of the whole message.
fn digest_of(algorithm: Algorithm) -> Option<&'static digest::Algorithm> {
    match algorithm {
        Algorithm::Hs256 | Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 => Some(&SHA256),
        Algorithm::Hs384 | Algorithm::Rs384 | Algorithm::Ps384 | Algorithm::Es384 => Some(&SHA384),
        Algorithm::Hs512 | Algorithm::Rs512 | Algorithm::Ps512 | Algorithm::Es512 => Some(&SHA512),
        Algorithm::Eddsa => None,
    }
}

pub(super) fn hmac_algorithm(hash: Hash) -> hmac::Algorithm {
    match hash {
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha384 => hmac::HMAC_SHA384,
        Hash::Sha512 => hmac::HMAC_SHA512,
    }
}

pub(super) fn digest_algorithm(hash: Hash) -> &'static digest::Algorithm {
    match hash {
        Hash::Sha256 => &SHA256,
        Hash::Sha384 => &SHA384,
        Hash::Sha512 => &SHA512,
    }
}

pub(super) fn malformed(reason: &str) -> KeyError {
    KeyError::Malformed(reason.to_owned())
}
