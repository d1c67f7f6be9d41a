//! Signatures, authentication codes and digests, by aws-lc on keys that a policy imported.

mod jwk;
mod jws;
mod key;
mod left_out;
mod types;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use aws_lc_rs::{constant_time, hmac as aws_hmac};

use self::key::Key;
pub use self::left_out::{LeftOut, LeftOutKeys};
pub use self::types::{Algorithm, Error, Hash, JwsError, KeyError, Verified};
use crate::numbered::{Numbered, Room};
use crate::{CheckTime, OutOfTime};

/// Keys of a policy. They have no size worth counting beside their number.
const KEYS: Room = Room { count: 1000, bytes: usize::MAX };
/// Bytes that one call signs, hashes or authenticates: some milliseconds on a machine without instructions for it.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The keys of a policy.
#[derive(Default)]
pub struct Keys(Numbered<Key>);

impl Keys {
    fn import(&self, key: Key) -> Result<u32, KeyError> {
        let content = key.content();
        self.0.number(content, KEYS, || Ok((key, 0)))?.ok_or(KeyError::TooMany)
    }

    /// Imports a JSON Web Key and returns its number.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn import_jwk(&self, jwk: &str, algorithm: Option<Algorithm>) -> Result<u32, KeyError> {
        jwk::read(jwk, algorithm).and_then(|key| self.import(key))
    }

    /// Imports a secret for authentication codes and returns its number.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn import_secret(&self, secret: &[u8], algorithm: Algorithm) -> Result<u32, KeyError> {
        Key::secret(secret, algorithm, None).and_then(|key| self.import(key))
    }

    /// Imports the keys of a set that can be used, and returns their numbers. Those that cannot go to `left_out`.
    ///
    /// # Errors
    /// When the call runs out of time; within that, when the set cannot be read or the policy has too many keys.
    pub fn import_set(
        &self,
        jwks: &str,
        algorithm: Option<Algorithm>,
        left_out: &LeftOutKeys,
        check_time: CheckTime<'_>,
    ) -> Result<Result<Vec<u32>, KeyError>, OutOfTime> {
        let read = match jwk::read_set(jwks, algorithm, check_time)? {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        let mut numbers = Vec::new();
        for (content, key) in read {
            check_time()?;
            left_out.note(content, key.as_ref().err());
            let Ok(key) = key else { continue };
            match self.import(key) {
                // A set may name a key twice.
                Ok(number) if numbers.contains(&number) => {}
                Ok(number) => numbers.push(number),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(numbers))
    }

    /// Forgets a key, if there is one of that number.
    pub fn forget(&self, number: u32) {
        self.0.forget(number);
    }

    fn named(&self, number: u32) -> Result<Arc<Key>, Error> {
        self.0.get(number).ok_or(Error::NoKey)
    }

    /// Returns whether `signature` is the signature, or authentication code, of `message` by that key.
    ///
    /// # Errors
    /// When the call runs out of time; within that, see [`Error`].
    pub fn verify(
        &self,
        number: u32,
        message: &[u8],
        signature: &[u8],
        check_time: CheckTime<'_>,
    ) -> Result<Result<bool, Error>, OutOfTime> {
        match self.named(number).and_then(|key| check_size(message).map(|()| key)) {
            Ok(key) => key.verifies_in_blocks(message, signature, check_time).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Checks a token by the keys of these numbers, and returns what it says.
    ///
    /// # Errors
    /// See [`JwsError`].
    pub fn verify_jws(&self, token: &str, numbers: &[u32]) -> Result<Verified, JwsError> {
        // More numbers than there can be keys.
        if numbers.len() > KEYS.count {
            return Err(JwsError::TooLarge);
        }
        let token = jws::parse(token)?;
        let (number, token) =
            token.verify(numbers.iter().filter_map(|number| Some((*number, self.0.get(*number)?))))?;
        Ok(Verified { key: number, header: token.header, payload: token.payload })
    }

    /// Returns the authentication code of `message` by that key.
    ///
    /// # Errors
    /// When the call runs out of time; within that, see [`Error`].
    pub fn mac(
        &self,
        number: u32,
        message: &[u8],
        check_time: CheckTime<'_>,
    ) -> Result<Result<Vec<u8>, Error>, OutOfTime> {
        match self.named(number).and_then(|key| check_size(message).map(|()| key)) {
            Ok(key) => Ok(key.mac(message, check_time)?.ok_or(Error::WrongAlgorithm)),
            Err(error) => Ok(Err(error)),
        }
    }
}

fn check_size(message: &[u8]) -> Result<(), Error> {
    if message.len() > MESSAGE_BYTES_MAX { Err(Error::TooLarge) } else { Ok(()) }
}

/// Returns the authentication code of `message` by `secret`.
///
/// # Errors
/// When the call runs out of time; within that, when one of them is too large.
pub fn hmac(
    hash: Hash,
    secret: &[u8],
    message: &[u8],
    check_time: CheckTime<'_>,
) -> Result<Result<Vec<u8>, Error>, OutOfTime> {
    if let Err(error) = check_size(secret).and_then(|()| check_size(message)) {
        return Ok(Err(error));
    }
    // RFC 2104, 2: a secret that is longer than a block of the hash is replaced by its digest. The digest is made here,
    // so that its time is checked.
    let algorithm = key::digest_algorithm(hash);
    let short;
    let secret = if secret.len() > algorithm.block_len() {
        short = key::digest_in_blocks(algorithm, secret, check_time)?;
        short.as_ref()
    } else {
        secret
    };
    let key = aws_hmac::Key::new(key::hmac_algorithm(hash), secret);
    Ok(Ok(key::hmac_in_blocks(&key, message, check_time)?.as_ref().to_vec()))
}

/// Returns the digest of `data`.
///
/// # Errors
/// When the call runs out of time; within that, when the data are too large.
pub fn digest(
    hash: Hash,
    data: &[u8],
    check_time: CheckTime<'_>,
) -> Result<Result<Vec<u8>, Error>, OutOfTime> {
    if let Err(error) = check_size(data) {
        return Ok(Err(error));
    }
    Ok(Ok(key::digest_in_blocks(key::digest_algorithm(hash), data, check_time)?.as_ref().to_vec()))
}

/// Returns whether two texts are equal, in a time that does not depend on where they differ.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}
