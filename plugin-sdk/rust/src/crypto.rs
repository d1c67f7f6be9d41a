//! Signatures, authentication codes and digests, computed by the gateway as native code. Grant: `crypto = true`.
//!
//! Keys are imported once, in `configure`, and kept by the gateway; a [`Key`] is a plain number. Each is bound to one
//! algorithm, so that no message can choose another for it.
//!
//! ```
//! use portcullis_sdk::prelude::*;
//! use portcullis_sdk::crypto::{self, Algorithm, Key};
//! use portcullis_sdk::testing::MockGateway;
//!
//! /// Takes requests that carry a token by one of the keys.
//! #[derive(Config)]
//! struct Settings {
//!     /// A JSON Web Key Set.
//!     keys: String,
//! }
//!
//! struct Tokens {
//!     keys: Vec<Key>,
//! }
//!
//! #[policy(name = "tokens", description = "Takes requests that carry a token.", capabilities = ["crypto"])]
//! impl Tokens {
//!     fn configure(settings: Settings) -> Result<Self, crypto::KeyError> {
//!         Ok(Self { keys: crypto::import_jwks(&settings.keys, None)? })
//!     }
//!
//!     fn on_request_head(&self, request: &Request) -> Result<(), Stop> {
//!         let field = request.header("authorization").unwrap_or_default();
//!         let token = field.strip_prefix("Bearer ").unwrap_or_default();
//!         match crypto::verify_jws(token, &self.keys) {
//!             Ok(_) => Ok(()),
//!             Err(error) => Err(Reply::new(401).text(format!("{error}\n")).into()),
//!         }
//!     }
//! }
//!
//! let jwk = r#"{"kty": "RSA", "alg": "RS256", "kid": "1", "n": "sXch", "e": "AQAB"}"#;
//! let gateway = MockGateway::new();
//! let config = serde_json::json!({ "keys": format!(r#"{{"keys": [{jwk}]}}"#) });
//! let mut tokens = gateway.configure::<Tokens>(&config.to_string())?;
//! let token = gateway.sign_jws(jwk, r#"{"alg": "RS256", "kid": "1"}"#, r#"{"sub": "alice"}"#);
//! let mut exchange = gateway.exchange("GET", "/").header("authorization", &format!("Bearer {token}"));
//! assert_eq!(exchange.request_head(&mut tokens), Decision::Next);
//! # Ok::<(), String>(())
//! ```
//!
//! The mock computes digests and authentication codes as the gateway does. It knows no RSA and no curves: what stands
//! in for their signatures is made by [`MockGateway::sign_jws`](crate::testing::MockGateway::sign_jws) and
//! [`MockGateway::sign`](crate::testing::MockGateway::sign).

use std::fmt;

use crate::host;

/// The algorithms of JSON Web Signatures: RFC 7518, 3.1, without `none`, and `EdDSA` over Ed25519 (RFC 8037). More may
/// come; a gateway that does not know one says [`KeyError::Unsupported`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// ECDSA over P-384 with SHA-384.
    Es384,
    /// ECDSA over P-521 with SHA-512.
    Es512,
    /// EdDSA over Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// Its name in a token.
    ///
    /// ```
    /// # use portcullis_sdk::crypto::Algorithm;
    /// assert_eq!(Algorithm::EdDsa.name(), "EdDSA");
    /// ```
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of that name.
    ///
    /// ```
    /// # use portcullis_sdk::crypto::Algorithm;
    /// assert_eq!(Algorithm::from_name("RS256"), Some(Algorithm::Rs256));
    /// assert_eq!(Algorithm::from_name("none"), None);
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// The SHA-2 family (FIPS 180-4). More may come; a gateway that does not know one says [`Error::Unsupported`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hash {
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
}

impl Hash {
    /// Its name in the contract.
    ///
    /// ```
    /// # use portcullis_sdk::crypto::Hash;
    /// assert_eq!(Hash::Sha256.name(), "sha-256");
    /// ```
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }
}

/// A key that the gateway keeps. Valid in every instance of the policy, for as long as its configuration runs or until
/// it is [forgotten](Key::forget).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub(crate) u32);

impl Key {
    /// The key of a number that another instance passed on, perhaps through [`store`](crate::store).
    #[must_use]
    pub const fn of_number(number: u32) -> Self {
        Self(number)
    }

    /// Its number, to pass on.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Forgets it, in all instances. Its number is given to no other key.
    ///
    /// ```
    /// # use portcullis_sdk::{crypto::{import_secret, mac, Algorithm, Error}, testing::MockGateway};
    /// # MockGateway::new().run(|| -> Result<(), Box<dyn std::error::Error>> {
    /// let key = import_secret([7; 32], Algorithm::Hs256)?;
    /// key.forget();
    /// assert_eq!(mac(key, "message"), Err(Error::NoKey));
    /// # Ok(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forget(self) {
        host::crypto_forget_key(self.0);
    }
}

/// Why a key was not imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// It cannot be read, and why.
    Malformed(String),
    /// It is of a kind, a curve or a use that is not known, and which.
    Unsupported(String),
    /// It is for another algorithm than the wanted one, or leaves open which one it is for.
    WrongAlgorithm(String),
    /// It is weaker than its algorithm demands, and how.
    Weak(String),
    /// No secret of that name was granted.
    NoSecret,
    /// The key is over 64 KiB, or the key set over 1 MiB.
    TooLarge,
    /// The policy has 1,000 keys.
    TooMany,
    /// Anything else, and what.
    Other(String),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "the key cannot be read: {why}"),
            Self::Unsupported(what) => write!(f, "the key is not supported: {what}"),
            Self::WrongAlgorithm(why) => write!(f, "the key is not for that algorithm: {why}"),
            Self::Weak(how) => write!(f, "the key is too weak: {how}"),
            Self::NoSecret => f.write_str("no secret of that name is granted"),
            Self::TooLarge => f.write_str("the key is over 64 KiB or the key set over 1 MiB"),
            Self::TooMany => f.write_str("the policy has 1000 keys already"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for KeyError {}

/// Why nothing was computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// There is no such key.
    NoKey,
    /// The key is a public one, which makes no authentication codes.
    WrongAlgorithm,
    /// The message is over 1 MiB.
    TooLarge,
    /// The gateway does not know the hash, and which.
    Unsupported(String),
    /// Anything else, and what.
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("there is no such key"),
            Self::WrongAlgorithm => f.write_str("a public key makes no authentication codes"),
            Self::TooLarge => f.write_str("the message is over 1 MiB"),
            Self::Unsupported(which) => write!(f, "it is not known here: {which}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwsError {
    /// It is not a JWS in compact serialization, and why.
    Malformed(String),
    /// Its header has an extension that must be understood and is not.
    Unsupported(String),
    /// None of the keys is for its algorithm and its `kid`.
    NoKey,
    /// Keys fit, but none of them made the signature.
    WrongSignature,
    /// It is over 64 KiB.
    TooLarge,
    /// Anything else, and what.
    Other(String),
}

impl fmt::Display for JwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "the token cannot be read: {why}"),
            Self::Unsupported(what) => write!(f, "the token is not supported: {what}"),
            Self::NoKey => f.write_str("no key is for the token's algorithm and key id"),
            Self::WrongSignature => f.write_str("the token's signature is wrong"),
            Self::TooLarge => f.write_str("the token is over 64 KiB"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for JwsError {}

/// A token whose signature is right. Nothing is said of its claims, such as `exp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The key that made it.
    pub key: Key,
    /// The protected header as JSON.
    pub header: String,
    /// The payload; of a JSON Web Token, its claims as JSON.
    pub payload: Vec<u8>,
}

/// Imports one JSON Web Key: a public key, or a secret (`kty` is `oct`). Its algorithm is its `alg` or the given one;
/// if there are both they must be the same, and if there is neither, the key's curve must determine it.
///
/// # Errors
/// Any but [`KeyError::NoSecret`].
///
/// ```
/// # use portcullis_sdk::{crypto::{import_jwk, Algorithm, KeyError}, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// let jwk = r#"{"kty": "RSA", "n": "sXch", "e": "AQAB"}"#;
/// assert!(import_jwk(jwk, Some(Algorithm::Rs256)).is_ok());
/// assert!(matches!(import_jwk(jwk, Some(Algorithm::Hs256)), Err(KeyError::WrongAlgorithm(_))));
/// # });
/// ```
pub fn import_jwk(jwk: &str, algorithm: Option<Algorithm>) -> Result<Key, KeyError> {
    host::crypto_import_jwk(jwk, algorithm).map(Key)
}

/// Imports all keys of a JSON Web Key Set that can be used; those that are for something else are left out.
///
/// # Errors
/// Any but [`KeyError::NoSecret`].
///
/// ```
/// # use portcullis_sdk::{crypto::import_jwks, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// let set = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKx"}, {"kty": "new"}]}"#;
/// assert_eq!(import_jwks(set, None).map(|keys| keys.len()), Ok(1));
/// # });
/// ```
pub fn import_jwks(jwks: &str, algorithm: Option<Algorithm>) -> Result<Vec<Key>, KeyError> {
    Ok(host::crypto_import_jwks(jwks, algorithm)?.into_iter().map(Key).collect())
}

/// Imports bytes as the secret of [`Algorithm::Hs256`] and its like. They must be as long as the hash.
///
/// # Errors
/// [`KeyError::WrongAlgorithm`], [`KeyError::Weak`] and [`KeyError::TooMany`].
///
/// ```
/// # use portcullis_sdk::{crypto::{import_secret, Algorithm}, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// assert!(import_secret([7; 32], Algorithm::Hs256).is_ok());
/// assert!(import_secret([7; 31], Algorithm::Hs256).is_err());
/// # });
/// ```
pub fn import_secret(secret: impl AsRef<[u8]>, algorithm: Algorithm) -> Result<Key, KeyError> {
    host::crypto_import_secret(secret.as_ref(), algorithm).map(Key)
}

/// The same with a secret that the operator granted by `secrets = ["name"]`, without the policy seeing it.
///
/// # Errors
/// Those of [`import_secret`], and [`KeyError::NoSecret`].
///
/// ```
/// # use portcullis_sdk::{crypto::{import_granted_secret, Algorithm, KeyError}, testing::MockGateway};
/// let gateway = MockGateway::new().secret("shared", [7; 32]);
/// assert!(gateway.run(|| import_granted_secret("shared", Algorithm::Hs256)).is_ok());
/// assert_eq!(gateway.run(|| import_granted_secret("other", Algorithm::Hs256)), Err(KeyError::NoSecret));
/// ```
pub fn import_granted_secret(name: &str, algorithm: Algorithm) -> Result<Key, KeyError> {
    host::crypto_import_granted_secret(name, algorithm).map(Key)
}

/// Whether `signature` is the key's signature or authentication code of `message`.
///
/// # Errors
/// [`Error::NoKey`] and [`Error::TooLarge`].
///
/// ```
/// # use portcullis_sdk::{crypto::*, testing::MockGateway};
/// # MockGateway::new().run(|| -> Result<(), Box<dyn std::error::Error>> {
/// let key = import_secret([7; 32], Algorithm::Hs256)?;
/// let code = mac(key, "message")?;
/// assert_eq!(verify(key, "message", &code), Ok(true));
/// assert_eq!(verify(key, "another", &code), Ok(false));
/// # Ok(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify(key: Key, message: impl AsRef<[u8]>, signature: impl AsRef<[u8]>) -> Result<bool, Error> {
    host::crypto_verify(key.0, message.as_ref(), signature.as_ref())
}

/// Checks a token in compact serialization by those of the keys, at most eight, that are for its `alg` and, if both
/// have one, its `kid`.
///
/// # Errors
/// Any [`JwsError`].
///
/// ```
/// # use portcullis_sdk::{crypto::{verify_jws, JwsError}, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// assert!(matches!(verify_jws("no token", &[]), Err(JwsError::Malformed(_))));
/// # });
/// ```
pub fn verify_jws(token: &str, keys: &[Key]) -> Result<Verified, JwsError> {
    let keys: Vec<u32> = keys.iter().map(|key| key.0).collect();
    host::crypto_verify_jws(token, &keys)
}

/// The authentication code of a message (HMAC) by an imported secret, with the hash of its algorithm.
///
/// # Errors
/// Any [`Error`].
///
/// ```
/// # use portcullis_sdk::{crypto::{import_secret, mac, Algorithm}, testing::MockGateway};
/// # MockGateway::new().run(|| -> Result<(), Box<dyn std::error::Error>> {
/// assert_eq!(mac(import_secret([7; 48], Algorithm::Hs384)?, "message")?.len(), 48);
/// # Ok(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn mac(key: Key, message: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
    host::crypto_mac(key.0, message.as_ref())
}

/// The same by a secret of any length that the policy has at hand, such as a derived one.
///
/// # Errors
/// [`Error::TooLarge`].
///
/// ```
/// # use portcullis_sdk::{crypto::{hmac, Hash}, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// assert_eq!(hmac(Hash::Sha256, "key", "message").map(|code| code.len()), Ok(32));
/// # });
/// ```
pub fn hmac(hash: Hash, secret: impl AsRef<[u8]>, message: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
    host::crypto_hmac(hash, secret.as_ref(), message.as_ref())
}

/// The digest of some bytes.
///
/// # Errors
/// [`Error::TooLarge`].
///
/// ```
/// # use portcullis_sdk::{crypto::{digest, Hash}, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// assert_eq!(digest(Hash::Sha256, "abc").map(|digest| digest[0]), Ok(0xba));
/// # });
/// ```
pub fn digest(hash: Hash, data: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
    host::crypto_digest(hash, data.as_ref())
}

/// Whether two texts are the same, in a time that depends on their lengths alone.
///
/// ```
/// # use portcullis_sdk::{crypto::constant_time_eq, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// assert!(constant_time_eq("token", "token"));
/// # });
/// ```
#[must_use]
pub fn constant_time_eq(a: impl AsRef<[u8]>, b: impl AsRef<[u8]>) -> bool {
    host::crypto_constant_time_eq(a.as_ref(), b.as_ref())
}
