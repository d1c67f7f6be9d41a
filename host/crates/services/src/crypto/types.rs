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

/// A hash of the SHA-2 family (FIPS 180-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of FIPS 180-4")]
pub enum Hash {
    Sha256,
    Sha384,
    Sha512,
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
