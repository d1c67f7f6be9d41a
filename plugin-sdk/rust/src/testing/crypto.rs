//! Keys and signatures of the mock. Digests and authentication codes are real; a signature by a public key is stood in
//! for by an authentication code whose secret is what the key says.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::crypto::{Algorithm, Error, Hash, JwsError, Key, KeyError, Verified};

/// The keys that were imported; a number is the place of one, plus one. Of one that was forgotten the place is empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crypto(Vec<Option<MockKey>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct MockKey {
    algorithm: Algorithm,
    kid: Option<String>,
    secret: Vec<u8>,
    public: bool,
}

impl Crypto {
    fn import(&mut self, key: MockKey) -> Result<u32, KeyError> {
        let at = self.0.iter().position(|other| other.as_ref() == Some(&key));
        let at = match at {
            Some(at) => at,
            None if self.0.iter().flatten().count() >= 1000 => return Err(KeyError::TooMany),
            None => {
                self.0.push(Some(key));
                self.0.len() - 1
            }
        };
        Ok(at as u32 + 1)
    }

    fn key(&self, number: u32) -> Result<&MockKey, Error> {
        let place = (number as usize).checked_sub(1).and_then(|at| self.0.get(at));
        place.and_then(Option::as_ref).ok_or(Error::NoKey)
    }

    pub(crate) fn forget(&mut self, number: u32) {
        if let Some(place) = (number as usize).checked_sub(1).and_then(|at| self.0.get_mut(at)) {
            *place = None;
        }
    }

    pub(crate) fn import_jwk(&mut self, jwk: &str, wanted: Option<Algorithm>) -> Result<u32, KeyError> {
        self.import(read(&parse(jwk)?, wanted)?)
    }

    pub(crate) fn import_jwks(
        &mut self,
        jwks: &str,
        wanted: Option<Algorithm>,
    ) -> Result<Vec<u32>, KeyError> {
        let set = parse(jwks)?;
        let keys =
            set["keys"].as_array().ok_or_else(|| KeyError::Malformed("it has no `keys`".to_owned()))?;
        let mut numbers = Vec::new();
        for jwk in keys {
            match read(jwk, wanted) {
                Ok(key) => numbers.push(self.import(key)?),
                Err(KeyError::TooMany) => return Err(KeyError::TooMany),
                Err(_) => {}
            }
        }
        numbers.dedup();
        Ok(numbers)
    }

    pub(crate) fn import_secret(&mut self, secret: &[u8], algorithm: Algorithm) -> Result<u32, KeyError> {
        self.import(secret_key(secret, algorithm, None)?)
    }

    pub(crate) fn verify(&self, number: u32, message: &[u8], signature: &[u8]) -> Result<bool, Error> {
        let key = self.key(number)?;
        check_size(message)?;
        Ok(key.sign(message) == signature)
    }

    pub(crate) fn mac(&self, number: u32, message: &[u8]) -> Result<Vec<u8>, Error> {
        let key = self.key(number)?;
        check_size(message)?;
        if key.public { Err(Error::WrongAlgorithm) } else { Ok(key.sign(message)) }
    }

    pub(crate) fn verify_jws(&self, token: &str, numbers: &[u32]) -> Result<Verified, JwsError> {
        let malformed = |what: &str| JwsError::Malformed(what.to_owned());
        if token.len() > 64 << 10 {
            return Err(JwsError::TooLarge);
        }
        let decode = |text: &str| BASE64URL.decode(text).map_err(|error| malformed(&error.to_string()));
        let parts: Vec<&str> = token.split('.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err(malformed("it does not have three parts"));
        };
        let signed = &token[..header.len() + 1 + payload.len()];
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let header = String::from_utf8(header).map_err(|_| malformed("its header is not UTF-8 text"))?;
        let parameters: Value =
            serde_json::from_str(&header).map_err(|error| malformed(&error.to_string()))?;
        if parameters.get("crit").is_some() || parameters["b64"] == false {
            return Err(JwsError::Unsupported("its header has a critical extension".to_owned()));
        }
        let alg = parameters["alg"].as_str().ok_or_else(|| malformed("its header has no `alg`"))?;
        let kid = parameters["kid"].as_str();
        let mut error = JwsError::NoKey;
        for number in numbers {
            let Ok(key) = self.key(*number) else { continue };
            let other_kid = kid.zip(key.kid.as_deref()).is_some_and(|(wanted, has)| wanted != has);
            if key.algorithm.name() != alg || other_kid {
                continue;
            }
            if key.sign(signed.as_bytes()) == signature {
                return Ok(Verified { key: Key(*number), header, payload });
            }
            error = JwsError::WrongSignature;
        }
        Err(error)
    }
}

impl MockKey {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let hash = hash_of(self.algorithm).unwrap_or(Hash::Sha256);
        let domain: &[u8] = if self.public { self.algorithm.name().as_bytes() } else { &[] };
        compute_hmac(hash, &self.secret, &[domain, message].concat())
    }
}

/// A signature of `message` that the mock takes for one by that key.
pub(crate) fn sign(jwk: &str, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    Ok(read(&parse(jwk)?, Some(algorithm))?.sign(message))
}

/// A token that the mock takes for one that was signed by that key.
pub(crate) fn sign_jws(jwk: &str, header: &str, payload: &[u8]) -> Result<String, KeyError> {
    let alg = parse(header)?["alg"].as_str().and_then(Algorithm::from_name);
    let alg = alg.ok_or_else(|| KeyError::Unsupported("the header has no `alg` that is known".to_owned()))?;
    let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(payload));
    let signature = sign(jwk, alg, signed.as_bytes())?;
    Ok(format!("{signed}.{}", BASE64URL.encode(signature)))
}

fn parse(text: &str) -> Result<Value, KeyError> {
    serde_json::from_str(text).map_err(|error| KeyError::Malformed(error.to_string()))
}

/// Reads a key, and checks of it what a policy can be wrong about: kind, algorithm, use and the length of a secret.
fn read(jwk: &Value, wanted: Option<Algorithm>) -> Result<MockKey, KeyError> {
    let member = |name: &str| jwk[name].as_str();
    let unsupported = |what: &str| Err(KeyError::Unsupported(what.to_owned()));
    if jwk.get("d").is_some() {
        return unsupported("a private key");
    }
    if member("use").is_some_and(|usage| usage != "sig") {
        return unsupported("its use");
    }
    let (curve, family) = match (member("kty"), member("crv")) {
        (Some("oct"), _) => (None, "HS"),
        (Some("RSA"), _) => (None, "RS, PS"),
        (Some("EC"), Some("P-256")) => (Some(Algorithm::Es256), "ES256"),
        (Some("EC"), Some("P-384")) => (Some(Algorithm::Es384), "ES384"),
        (Some("EC"), Some("P-521")) => (Some(Algorithm::Es512), "ES512"),
        (Some("OKP"), Some("Ed25519")) => (Some(Algorithm::EdDsa), "EdDSA"),
        (None, _) => return Err(KeyError::Malformed("it has no `kty`".to_owned())),
        _ => return unsupported("its kind or curve"),
    };
    let said = match member("alg") {
        Some(alg) => match Algorithm::from_name(alg) {
            Some(alg) => Some(alg),
            None => return unsupported(alg),
        },
        None => None,
    };
    let algorithm = said.or(wanted).or(curve);
    let right = |algorithm: &Algorithm| family.split(", ").any(|prefix| algorithm.name().starts_with(prefix));
    let agreed = wanted.is_none_or(|wanted| Some(wanted) == algorithm);
    let Some(algorithm) = algorithm.filter(right).filter(|_| agreed) else {
        return Err(KeyError::WrongAlgorithm("what it says, is and is wanted for do not agree".to_owned()));
    };
    let kid = member("kid").map(str::to_owned);
    if family == "HS" {
        let secret = BASE64URL.decode(member("k").unwrap_or_default());
        return secret_key(&secret.map_err(|error| KeyError::Malformed(error.to_string()))?, algorithm, kid);
    }
    let secret = ["n", "e", "x", "y"].map(|name| member(name).unwrap_or_default()).join(".").into_bytes();
    Ok(MockKey { algorithm, kid, secret, public: true })
}

fn secret_key(secret: &[u8], algorithm: Algorithm, kid: Option<String>) -> Result<MockKey, KeyError> {
    let Some(hash) = hash_of(algorithm) else {
        return Err(KeyError::WrongAlgorithm(format!("a secret is not for {}", algorithm.name())));
    };
    let needed = compute_digest(hash, b"").len();
    if secret.len() < needed {
        return Err(KeyError::Weak(format!("{} needs a secret of {needed} bytes or more", algorithm.name())));
    }
    Ok(MockKey { algorithm, kid, secret: secret.to_vec(), public: false })
}

fn hash_of(algorithm: Algorithm) -> Option<Hash> {
    match algorithm {
        Algorithm::Hs256 => Some(Hash::Sha256),
        Algorithm::Hs384 => Some(Hash::Sha384),
        Algorithm::Hs512 => Some(Hash::Sha512),
        _ => None,
    }
}

fn check_size(message: &[u8]) -> Result<(), Error> {
    if message.len() > 1 << 20 { Err(Error::TooLarge) } else { Ok(()) }
}

pub(crate) fn digest(hash: Hash, data: &[u8]) -> Result<Vec<u8>, Error> {
    check_size(data)?;
    Ok(compute_digest(hash, data))
}

pub(crate) fn hmac(hash: Hash, secret: &[u8], message: &[u8]) -> Result<Vec<u8>, Error> {
    check_size(secret)?;
    check_size(message)?;
    Ok(compute_hmac(hash, secret, message))
}

fn compute_digest(hash: Hash, data: &[u8]) -> Vec<u8> {
    match hash {
        Hash::Sha256 => Sha256::digest(data).to_vec(),
        Hash::Sha384 => Sha384::digest(data).to_vec(),
        Hash::Sha512 => Sha512::digest(data).to_vec(),
    }
}

/// RFC 2104, 2.
fn compute_hmac(hash: Hash, secret: &[u8], message: &[u8]) -> Vec<u8> {
    let block = if hash == Hash::Sha256 { 64 } else { 128 };
    let mut key = if secret.len() > block { compute_digest(hash, secret) } else { secret.to_vec() };
    key.resize(block, 0);
    let padded = |pad: u8| key.iter().map(move |byte| byte ^ pad);
    let inner: Vec<u8> = padded(0x36).chain(message.iter().copied()).collect();
    let outer: Vec<u8> = padded(0x5c).chain(compute_digest(hash, &inner)).collect();
    compute_digest(hash, &outer)
}
