//! The types of the contract from those of the service, and back.

use portcullis_services::crypto as service;

use crate::component::bindings::portcullis::policy::crypto::{
    Algorithm, Error, Hash, JwsError, KeyError, Verified,
};

impl From<Algorithm> for service::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Hs256 => Self::Hs256,
            Algorithm::Hs384 => Self::Hs384,
            Algorithm::Hs512 => Self::Hs512,
            Algorithm::Rs256 => Self::Rs256,
            Algorithm::Rs384 => Self::Rs384,
            Algorithm::Rs512 => Self::Rs512,
            Algorithm::Ps256 => Self::Ps256,
            Algorithm::Ps384 => Self::Ps384,
            Algorithm::Ps512 => Self::Ps512,
            Algorithm::Es256 => Self::Es256,
            Algorithm::Es384 => Self::Es384,
            Algorithm::Es512 => Self::Es512,
            Algorithm::Eddsa => Self::Eddsa,
        }
    }
}

impl From<Hash> for service::Hash {
    fn from(hash: Hash) -> Self {
        match hash {
            Hash::Sha256 => Self::Sha256,
            Hash::Sha384 => Self::Sha384,
            Hash::Sha512 => Self::Sha512,
        }
    }
}

impl From<service::KeyError> for KeyError {
    fn from(error: service::KeyError) -> Self {
        match error {
            service::KeyError::Malformed(why) => Self::Malformed(why),
            service::KeyError::Unsupported(what) => Self::Unsupported(what),
            service::KeyError::WrongAlgorithm(why) => Self::WrongAlgorithm(why),
            service::KeyError::Weak(why) => Self::Weak(why),
            service::KeyError::TooLarge => Self::TooLarge,
            service::KeyError::TooMany => Self::TooMany,
        }
    }
}

impl From<service::Error> for Error {
    fn from(error: service::Error) -> Self {
        match error {
            service::Error::NoKey => Self::NoKey,
            service::Error::WrongAlgorithm => Self::WrongAlgorithm,
            service::Error::TooLarge => Self::TooLarge,
        }
    }
}

impl From<service::JwsError> for JwsError {
    fn from(error: service::JwsError) -> Self {
        match error {
            service::JwsError::Malformed(why) => Self::Malformed(why),
            service::JwsError::Unsupported(what) => Self::Unsupported(what),
            service::JwsError::NoKey => Self::NoKey,
            service::JwsError::WrongSignature => Self::WrongSignature,
            service::JwsError::TooLarge => Self::TooLarge,
        }
    }
}

impl From<service::Verified> for Verified {
    fn from(verified: service::Verified) -> Self {
        let service::Verified { key, header, payload } = verified;
        Self { key, header, payload }
    }
}
