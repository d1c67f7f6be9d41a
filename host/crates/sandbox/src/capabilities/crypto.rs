//! `crypto`: signatures, authentication codes and digests, by aws-lc on keys that a policy imported.

mod jwk;
mod jws;
mod key;
mod left_out;
mod noted;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use aws_lc_rs::{constant_time, hmac};
use portcullis_model::Capability;
use portcullis_policy::recorder::bytes_to_json;
use serde_json::json;
use wasmtime::Result as WasmResult;
use wasmtime::component::{HasSelf, Linker};

use self::key::Key;
pub(crate) use self::left_out::LeftOutKeys;
use self::noted::Code;
use super::numbered::{Numbered, Room};
use crate::bindings::portcullis::policy::crypto;
use crate::bindings::portcullis::policy::crypto::{Algorithm, Error, Hash, JwsError, KeyError, Verified};
use crate::budget::Look;
use crate::state::State;

/// Keys of a policy. They have no size worth counting beside their number.
const KEYS: Room = Room { count: 1000, bytes: usize::MAX };
/// Bytes that one call signs, hashes or authenticates: some milliseconds on a machine without instructions for it.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes between two looks at the time.
const BLOCK_BYTES: usize = 64 << 10;

/// The keys of a policy.
pub(crate) type Keys = Numbered<Key>;

pub(super) fn link(linker: &mut Linker<State>) -> WasmResult<()> {
    crypto::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl Keys {
    fn import(&self, key: Key) -> Result<u32, KeyError> {
        let content = key.content();
        self.number(content, KEYS, || Ok((key, 0)))?.ok_or(KeyError::TooMany)
    }

    fn import_set(
        &self,
        jwks: &str,
        algorithm: Option<Algorithm>,
        left_out: &LeftOutKeys,
        look: Look<'_>,
    ) -> WasmResult<Result<Vec<u32>, KeyError>> {
        let read = match jwk::read_set(jwks, algorithm, look)? {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        let mut numbers = Vec::new();
        for (content, key) in read {
            look()?;
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

    fn named(&self, number: u32) -> Result<Arc<Key>, Error> {
        self.get(number).ok_or(Error::NoKey)
    }

    fn verify(
        &self,
        number: u32,
        message: &[u8],
        signature: &[u8],
        look: Look<'_>,
    ) -> WasmResult<Result<bool, Error>> {
        match self.named(number).and_then(|key| check_size(message).map(|()| key)) {
            Ok(key) => key.verifies_in_blocks(message, signature, look).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    fn verify_jws(&self, token: &str, numbers: &[u32]) -> Result<Verified, JwsError> {
        // More numbers than there can be keys.
        if numbers.len() > KEYS.count {
            return Err(JwsError::TooLarge);
        }
        let token = jws::parse(token)?;
        let (number, token) =
            token.verify(numbers.iter().filter_map(|number| Some((*number, self.get(*number)?))))?;
        Ok(Verified { key: number, header: token.header, payload: token.payload })
    }

    fn mac(&self, number: u32, message: &[u8], look: Look<'_>) -> WasmResult<Result<Vec<u8>, Error>> {
        match self.named(number).and_then(|key| check_size(message).map(|()| key)) {
            Ok(key) => Ok(key.mac(message, look)?.ok_or(Error::WrongAlgorithm)),
            Err(error) => Ok(Err(error)),
        }
    }
}

fn check_size(message: &[u8]) -> Result<(), Error> {
    if message.len() > MESSAGE_BYTES_MAX { Err(Error::TooLarge) } else { Ok(()) }
}

fn hmac(hash: Hash, secret: &[u8], message: &[u8], look: Look<'_>) -> WasmResult<Result<Vec<u8>, Error>> {
    if let Err(error) = check_size(secret).and_then(|()| check_size(message)) {
        return Ok(Err(error));
    }
    // RFC 2104, 2: of a secret that is longer than a block of the hash its digest counts. Made here, where it is no call
    // that nobody can stop.
    let algorithm = key::digest_algorithm(hash);
    let short;
    let secret = if secret.len() > algorithm.block_len() {
        short = key::digest_in_blocks(algorithm, secret, look)?;
        short.as_ref()
    } else {
        secret
    };
    let key = hmac::Key::new(key::hmac_algorithm(hash), secret);
    Ok(Ok(key::hmac_in_blocks(&key, message, look)?.as_ref().to_vec()))
}

fn digest(hash: Hash, data: &[u8], look: Look<'_>) -> WasmResult<Result<Vec<u8>, Error>> {
    if let Err(error) = check_size(data) {
        return Ok(Err(error));
    }
    Ok(Ok(key::digest_in_blocks(key::digest_algorithm(hash), data, look)?.as_ref().to_vec()))
}

impl State {
    fn keys(&self) -> WasmResult<&Keys> {
        self.require(Capability::Crypto)?;
        Ok(&self.policy.keys)
    }
}

impl crypto::Host for State {
    fn import_jwk(&mut self, jwk: String, algorithm: Option<Algorithm>) -> WasmResult<Result<u32, KeyError>> {
        let keys = self.keys()?;
        Ok(jwk::read(&jwk, algorithm).and_then(|key| keys.import(key)))
    }

    fn import_jwks(
        &mut self,
        jwks: String,
        algorithm: Option<Algorithm>,
    ) -> WasmResult<Result<Vec<u32>, KeyError>> {
        self.require(Capability::Crypto)?;
        let Self { policy, budget, .. } = self;
        policy.keys.import_set(&jwks, algorithm, &policy.left_out, &mut || budget.check())
    }

    fn import_secret(&mut self, secret: Vec<u8>, algorithm: Algorithm) -> WasmResult<Result<u32, KeyError>> {
        let keys = self.keys()?;
        Ok(Key::secret(&secret, algorithm, None).and_then(|key| keys.import(key)))
    }

    fn import_granted_secret(
        &mut self,
        name: String,
        algorithm: Algorithm,
    ) -> WasmResult<Result<u32, KeyError>> {
        let keys = self.keys()?;
        // Those that were granted, and no others.
        let Some(secret) = self.policy.secrets.get(&*name) else { return Ok(Err(KeyError::NoSecret)) };
        Ok(Key::secret(secret.expose(), algorithm, None).and_then(|key| keys.import(key)))
    }

    fn verify(&mut self, key: u32, message: Vec<u8>, signature: Vec<u8>) -> WasmResult<Result<bool, Error>> {
        self.keys()?;
        let describe = |(key, message, signature): &(u32, Vec<u8>, Vec<u8>)| // What is right as a signature by a secret is as good as the secret for this message.
            json!({ "key": key, "message": bytes_to_json(message), "signature-bytes": signature.len() });
        self.noted(
            "crypto.verify",
            (key, message, signature),
            describe,
            |state, (key, message, signature)| {
                let Self { policy, budget, .. } = state;
                policy.keys.verify(key, &message, &signature, &mut || budget.check())
            },
        )
    }

    fn verify_jws(&mut self, token: String, keys: Vec<u32>) -> WasmResult<Result<Verified, JwsError>> {
        self.keys()?;
        let describe = |(token, keys): &(String, Vec<u32>)| json!({ "token": token, "keys": keys });
        self.noted("crypto.verify-jws", (token, keys), describe, |state, (token, keys)| {
            Ok(state.keys()?.verify_jws(&token, &keys))
        })
    }

    fn mac(&mut self, key: u32, message: Vec<u8>) -> WasmResult<Result<Vec<u8>, Error>> {
        self.keys()?;
        let describe =
            |(key, message): &(u32, Vec<u8>)| json!({ "key": key, "message": bytes_to_json(message) });
        let code = self.noted("crypto.mac", (key, message), describe, |state, (key, message)| {
            let Self { policy, budget, .. } = state;
            policy.keys.mac(key, &message, &mut || budget.check()).map(Code)
        });
        Ok(code?.0)
    }

    fn hmac(&mut self, hash: Hash, secret: Vec<u8>, message: Vec<u8>) -> WasmResult<Result<Vec<u8>, Error>> {
        self.require(Capability::Crypto)?;
        // The secret is the policy's own.
        let describe = |(hash, _, message): &(Hash, Vec<u8>, Vec<u8>)| json!({ "hash": noted::hash_name(*hash), "message": bytes_to_json(message) });
        let code =
            self.noted("crypto.hmac", (hash, secret, message), describe, |state, (hash, secret, message)| {
                hmac(hash, &secret, &message, &mut || state.budget.check()).map(Code)
            });
        Ok(code?.0)
    }

    fn digest(&mut self, hash: Hash, data: Vec<u8>) -> WasmResult<Result<Vec<u8>, Error>> {
        self.require(Capability::Crypto)?;
        let describe = |(hash, data): &(Hash, Vec<u8>)| json!({ "hash": noted::hash_name(*hash), "data": bytes_to_json(data) });
        self.noted("crypto.digest", (hash, data), describe, |state, (hash, data)| {
            digest(hash, &data, &mut || state.budget.check())
        })
    }

    fn constant_time_eq(&mut self, a: Vec<u8>, b: Vec<u8>) -> WasmResult<bool> {
        self.require(Capability::Crypto)?;
        Ok(constant_time::verify_slices_are_equal(&a, &b).is_ok())
    }
}
