//! How a recorder notes `crypto`: results that are made of a secret are not noted.
//!
//! `constant-time-eq` is not noted at all: one of its texts mostly is a secret, and what it says follows from them.

use serde_json::{Value, json};

use crate::component::bindings::portcullis::policy::crypto::{Error, Hash, JwsError, Verified};
use crate::host::recorded::Answer;

/// What a record shows in place of an authentication code. With the code, a reader of the record could pass for the
/// owner of the secret.
const CODE_MARK: &str = "[removed:crypto]";

/// An authentication code, or why there is none.
pub(super) struct Code(pub(super) Result<Vec<u8>, Error>);

/// Its name in WIT.
pub(super) fn hash_name(hash: Hash) -> &'static str {
    match hash {
        Hash::Sha256 => "sha256",
        Hash::Sha384 => "sha384",
        Hash::Sha512 => "sha512",
    }
}

impl Answer for Code {
    fn to_json(&self) -> Value {
        match &self.0 {
            Ok(_) => json!({ "ok": CODE_MARK }),
            Err(error) => json!({ "err": error.to_json() }),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        Result::from_json(value).map(Self)
    }
}

impl Answer for Error {
    fn to_json(&self) -> Value {
        json!(match self {
            Self::NoKey => "no-key",
            Self::WrongAlgorithm => "wrong-algorithm",
            Self::TooLarge => "too-large",
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        match value.as_str()? {
            "no-key" => Some(Self::NoKey),
            "wrong-algorithm" => Some(Self::WrongAlgorithm),
            "too-large" => Some(Self::TooLarge),
            _ => None,
        }
    }
}

impl Answer for JwsError {
    fn to_json(&self) -> Value {
        match self {
            Self::Malformed(reason) => json!({ "malformed": reason }),
            Self::Unsupported(reason) => json!({ "unsupported": reason }),
            Self::NoKey => json!("no-key"),
            Self::WrongSignature => json!("wrong-signature"),
            Self::TooLarge => json!("too-large"),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        let reason = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        match value.as_str() {
            Some("no-key") => Some(Self::NoKey),
            Some("wrong-signature") => Some(Self::WrongSignature),
            Some("too-large") => Some(Self::TooLarge),
            Some(_) => None,
            None => reason("malformed")
                .map(Self::Malformed)
                .or_else(|| reason("unsupported").map(Self::Unsupported)),
        }
    }
}

impl Answer for Verified {
    fn to_json(&self) -> Value {
        json!({ "key": self.key, "header": self.header, "payload": self.payload.to_json() })
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            key: u32::from_json(value.get("key")?)?,
            header: String::from_json(value.get("header")?)?,
            payload: Vec::from_json(value.get("payload")?)?,
        })
    }
}
