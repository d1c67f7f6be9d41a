//! `crypto`: signatures, authentication codes and digests, on keys that a policy imported.

mod convert;
mod recorded;

use portcullis_model::Capability;
use portcullis_model::text::cut;
use portcullis_policy::recorder::bytes_to_json;
use portcullis_services::crypto::{self as service, Keys};
use serde_json::json;
use wasmtime::Result as WasmResult;
use wasmtime::component::{HasSelf, Linker};

use self::convert::{NAME_BYTES_MAX, algorithm, wanted};
use self::recorded::Code;
use crate::component::bindings::portcullis::policy::crypto;
use crate::component::bindings::portcullis::policy::crypto::{Error, JwsError, KeyError, Verified};
use crate::instance::state::State;

pub(super) fn link(linker: &mut Linker<State>) -> WasmResult<()> {
    crypto::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl State {
    fn keys(&self) -> WasmResult<&Keys> {
        self.require(Capability::Crypto)?;
        Ok(&self.policy.keys)
    }
}

impl crypto::Host for State {
    fn import_jwk(&mut self, jwk: String, algorithm: Option<String>) -> WasmResult<Result<u32, KeyError>> {
        let keys = self.keys()?;
        Ok(wanted(algorithm.as_deref()).and_then(|algorithm| Ok(keys.import_jwk(&jwk, algorithm)?)))
    }

    fn import_jwks(
        &mut self,
        jwks: String,
        algorithm: Option<String>,
    ) -> WasmResult<Result<Vec<u32>, KeyError>> {
        self.require(Capability::Crypto)?;
        let algorithm = match wanted(algorithm.as_deref()) {
            Ok(algorithm) => algorithm,
            Err(error) => return Ok(Err(error)),
        };
        let Self { policy, budget, .. } = self;
        let imported = policy.keys.import_set(&jwks, algorithm, &policy.left_out, &mut || budget.check())?;
        Ok(imported.map_err(KeyError::from))
    }

    fn import_secret(&mut self, secret: Vec<u8>, name: String) -> WasmResult<Result<u32, KeyError>> {
        let keys = self.keys()?;
        Ok(algorithm(&name).and_then(|algorithm| Ok(keys.import_secret(&secret, algorithm)?)))
    }

    fn import_granted_secret(&mut self, secret: String, name: String) -> WasmResult<Result<u32, KeyError>> {
        let keys = self.keys()?;
        // Those that were granted, and no others.
        let Some(secret) = self.policy.secrets.get(&*secret) else { return Ok(Err(KeyError::NoSecret)) };
        Ok(algorithm(&name).and_then(|algorithm| Ok(keys.import_secret(secret.expose(), algorithm)?)))
    }

    fn forget_key(&mut self, key: u32) -> WasmResult<()> {
        self.keys()?;
        let describe = |key: &u32| json!({ "key": key });
        self.recorded("crypto.forget-key", key, describe, |state, key| {
            // The key is another exchange's as well.
            if state.has_effects() {
                state.keys()?.forget(key);
            }
            Ok(())
        })
    }

    fn verify(&mut self, key: u32, message: Vec<u8>, signature: Vec<u8>) -> WasmResult<Result<bool, Error>> {
        self.keys()?;
        // A right code by a secret is as good as the secret for this message, so only its length is recorded.
        let describe = |(key, message, signature): &(u32, Vec<u8>, Vec<u8>)| json!({ "key": key, "message": bytes_to_json(message), "signature-bytes": signature.len() });
        self.recorded(
            "crypto.verify",
            (key, message, signature),
            describe,
            |state, (key, message, signature)| {
                let Self { policy, budget, .. } = state;
                let verified = policy.keys.verify(key, &message, &signature, &mut || budget.check())?;
                Ok(verified.map_err(Error::from))
            },
        )
    }

    fn verify_jws(&mut self, token: String, keys: Vec<u32>) -> WasmResult<Result<Verified, JwsError>> {
        self.keys()?;
        let describe = |(token, keys): &(String, Vec<u32>)| json!({ "token": token, "keys": keys });
        self.recorded("crypto.verify-jws", (token, keys), describe, |state, (token, keys)| {
            let verified = state.keys()?.verify_jws(&token, &keys);
            Ok(verified.map(Verified::from).map_err(JwsError::from))
        })
    }

    fn mac(&mut self, key: u32, message: Vec<u8>) -> WasmResult<Result<Vec<u8>, Error>> {
        self.keys()?;
        let describe =
            |(key, message): &(u32, Vec<u8>)| json!({ "key": key, "message": bytes_to_json(message) });
        let code = self.recorded("crypto.mac", (key, message), describe, |state, (key, message)| {
            let Self { policy, budget, .. } = state;
            let code = policy.keys.mac(key, &message, &mut || budget.check())?;
            Ok(Code(code.map_err(Error::from)))
        });
        Ok(code?.0)
    }

    fn hmac(
        &mut self,
        hash: String,
        secret: Vec<u8>,
        message: Vec<u8>,
    ) -> WasmResult<Result<Vec<u8>, Error>> {
        self.require(Capability::Crypto)?;
        // The secret is the policy's own.
        let describe = |(hash, _, message): &(String, Vec<u8>, Vec<u8>)| json!({ "hash": cut(hash, NAME_BYTES_MAX), "message": bytes_to_json(message) });
        let code = self.recorded(
            "crypto.hmac",
            (hash, secret, message),
            describe,
            |state, (hash, secret, message)| {
                let hash = match convert::hash(&hash) {
                    Ok(hash) => hash,
                    Err(error) => return Ok(Code(Err(error))),
                };
                let code = service::hmac(hash, &secret, &message, &mut || state.budget.check())?;
                Ok(Code(code.map_err(Error::from)))
            },
        );
        Ok(code?.0)
    }

    fn digest(&mut self, hash: String, data: Vec<u8>) -> WasmResult<Result<Vec<u8>, Error>> {
        self.require(Capability::Crypto)?;
        let describe = |(hash, data): &(String, Vec<u8>)| json!({ "hash": cut(hash, NAME_BYTES_MAX), "data": bytes_to_json(data) });
        self.recorded("crypto.digest", (hash, data), describe, |state, (hash, data)| {
            let hash = match convert::hash(&hash) {
                Ok(hash) => hash,
                Err(error) => return Ok(Err(error)),
            };
            let digest = service::digest(hash, &data, &mut || state.budget.check())?;
            Ok(digest.map_err(Error::from))
        })
    }

    fn constant_time_eq(&mut self, a: Vec<u8>, b: Vec<u8>) -> WasmResult<bool> {
        self.require(Capability::Crypto)?;
        Ok(service::constant_time_eq(&a, &b))
    }
}
