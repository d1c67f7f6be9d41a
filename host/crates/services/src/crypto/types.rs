//! Algorithms, and why a key, a signature or a token is not accepted.

/// A signature algorithm of RFC 7518 or RFC 8037. A key is for one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of RFC 7518, 3.1, and RFC 8037, 3.1")]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    Eddsa,
}

impl Algorithm {
    const ALL: [Self; 13] = [
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
        Self::Eddsa,
    ];

    /// Returns its name in a JWS.
    #[must_use]
    pub fn name(self) -> &'static str {
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
            Self::Eddsa => "EdDSA",
        }
    }

    /// Returns the algorithm that has that name in a JWS.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == text)
    }
}

/// A hash of the SHA-2 family (FIPS 180-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of FIPS 180-4")]
pub enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// Returns the hash of that name, such as `sha-256`.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        match text {
            "sha-256" => Some(Self::Sha256),
            "sha-384" => Some(Self::Sha384),
            "sha-512" => Some(Self::Sha512),
            _ => None,
        }
    }
}

/// Why a key was not imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// It cannot be read, and why.
    Malformed(String),
    /// It is of a kind, a curve or a use that is not known here, and which.
    Unsupported(String),
    /// It is made for another algorithm than the wanted one, or leaves open which one it is for.
    WrongAlgorithm(String),
    /// It is weaker than its algorithm demands, and how.
    Weak(String),
    /// The key or the key set is too large.
    TooLarge,
    /// The policy has as many keys as it may.
    TooMany,
}

/// Why nothing was checked, signed or hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// There is no key of that number.
    NoKey,
    /// The key is a public one, which makes no authentication codes.
    WrongAlgorithm,
    /// The message is too large.
    TooLarge,
}

/// Why a token is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwsError {
    /// It is not a JWS in compact serialization (RFC 7515, 7.1), and why.
    Malformed(String),
    /// Its header has an extension that is not known here.
    Unsupported(String),
    /// None of the keys is for its algorithm and its `kid`.
    NoKey,
    /// Keys fit, but none of them made the signature.
    WrongSignature,
    /// It is too large, or too many keys are named.
    TooLarge,
}

/// A token whose signature is right. Nothing is said of its claims, such as `exp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The number of the key that signed it.
    pub key: u32,
    /// The protected header as JSON.
    pub header: String,
    /// The payload.
    pub payload: Vec<u8>,
}
