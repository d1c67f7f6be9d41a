//! The types of the contract from those of the service, and back.

use portcullis_model::text::cut;
use portcullis_services::crypto as service;

use crate::component::bindings::portcullis::policy::crypto::{Error, JwsError, KeyError, Verified};

/// Longer names are cut in what a policy is answered.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// The algorithm of that name.
pub(super) fn algorithm(name: &str) -> Result<service::Algorithm, KeyError> {
    let unknown = || KeyError::Unsupported(format!("the algorithm `{}`", cut(name, NAME_BYTES_MAX)));
    service::Algorithm::named(name).ok_or_else(unknown)
}

/// The same for one that may be left out.
pub(super) fn wanted(name: Option<&str>) -> Result<Option<service::Algorithm>, KeyError> {
    name.map(algorithm).transpose()
}

/// The hash of that name.
pub(super) fn hash(name: &str) -> Result<service::Hash, Error> {
    let unknown = || Error::Unsupported(format!("the hash `{}`", cut(name, NAME_BYTES_MAX)));
    service::Hash::named(name).ok_or_else(unknown)
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
