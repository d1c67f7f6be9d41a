//! How a recorder notes `crypto`: results that are made of a secret are not noted.
//!
//! `constant-time-eq` is not noted at all: one of its texts mostly is a secret, and what it says follows from them.

use serde_json::{Value, json};

use crate::component::bindings::portcullis::policy::crypto::{Error, JwsError, Verified};
use crate::host::recorded::{Answer, named_text};

/// What a record shows in place of an authentication code. With the code, a reader of the record could pass for the
/// owner of the secret.
const CODE_MARK: &str = "[removed:crypto]";

/// An authentication code, or why there is none.
pub(super) struct Code(pub(super) Result<Vec<u8>, Error>);

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
        match self {
            Self::NoKey => json!("no-key"),
            Self::WrongAlgorithm => json!("wrong-algorithm"),
            Self::TooLarge => json!("too-large"),
            Self::Unsupported(which) => json!({ "unsupported": which }),
            Self::Other(what) => json!({ "other": what }),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        match value.as_str() {
            Some("no-key") => Some(Self::NoKey),
            Some("wrong-algorithm") => Some(Self::WrongAlgorithm),
            Some("too-large") => Some(Self::TooLarge),
            Some(_) => None,
            None => named_text(value, "unsupported")
                .map(Self::Unsupported)
                .or_else(|| named_text(value, "other").map(Self::Other)),
        }
    }
}

impl Answer for JwsError {
    fn to_json(&self) -> Value {
        match self {
            Self::Malformed(reason) => json!({ "malformed": reason }),
            Self::Unsupported(reason) => json!({ "unsupported": reason }),
            Self::Other(what) => json!({ "other": what }),
            Self::NoKey => json!("no-key"),
            Self::WrongSignature => json!("wrong-signature"),
            Self::TooLarge => json!("too-large"),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        match value.as_str() {
            Some("no-key") => Some(Self::NoKey),
            Some("wrong-signature") => Some(Self::WrongSignature),
            Some("too-large") => Some(Self::TooLarge),
            Some(_) => None,
            None => named_text(value, "malformed")
                .map(Self::Malformed)
                .or_else(|| named_text(value, "unsupported").map(Self::Unsupported))
                .or_else(|| named_text(value, "other").map(Self::Other)),
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
