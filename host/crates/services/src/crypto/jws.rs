//! JSON Web Signatures in compact serialization: RFC 7515.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::key::Key;
use super::types::JwsError;

/// Bytes of a token: what fits into a head.
const TOKEN_BYTES_MAX: usize = 64 << 10;
/// Keys that are tried, so that a token costs no more than so many checks.
const KEYS_MAX: usize = 8;

/// A token that is well formed; of its signature nothing is known yet.
pub(super) struct Token<'t> {
    /// The protected header as JSON.
    pub(super) header: String,
    pub(super) payload: Vec<u8>,
    parameters: Header,
    signature: Vec<u8>,
    /// Header and payload as they were signed.
    signed: &'t str,
}

/// The parameters of the header that count here.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Whether there is a `crit`.
    critical: bool,
    /// Whether the payload is not base64url (RFC 7797).
    plain_payload: bool,
}

/// Takes a token apart.
pub(super) fn parse(token: &str) -> Result<Token<'_>, JwsError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(JwsError::TooLarge);
    }
    let parts = token.rsplit_once('.').and_then(|(signed, signature)| {
        let (header, payload) = signed.split_once('.')?;
        Some((signed, header, payload, signature))
    });
    let (signed, header, payload, signature) =
        parts.ok_or_else(|| malformed("it does not have three parts"))?;
    let header = String::from_utf8(decode("header", header)?)
        .map_err(|_| malformed("its header is not UTF-8 text"))?;
    let parameters: Header = serde_json::from_str(&header)
        .map_err(|error| JwsError::Malformed(format!("its header cannot be read: {error}")))?;
    // RFC 7515, 4.1.11: no extension is known here, so none may be critical.
    if parameters.critical || parameters.plain_payload {
        return Err(JwsError::Unsupported("its header has a critical extension".to_owned()));
    }
    let (payload, signature) = (decode("payload", payload)?, decode("signature", signature)?);
    Ok(Token { header, payload, parameters, signature, signed })
}

impl Token<'_> {
    /// Looks for the key that signed it. What the header says only leaves keys out: each key checks by its own
    /// algorithm.
    pub(super) fn verify(self, keys: impl Iterator<Item = (u32, Arc<Key>)>) -> Result<(u32, Self), JwsError> {
        let Header { alg, kid, .. } = &self.parameters;
        let fits = |key: &Key| {
            let same_kid = match (kid.as_deref(), key.kid()) {
                (Some(wanted), Some(has)) => wanted == has,
                _ => true,
            };
            key.algorithm().name() == alg && same_kid
        };
        // Each once, however many times it is named.
        let mut tried = Vec::new();
        for (number, key) in keys.filter(|(_, key)| fits(key)) {
            if tried.contains(&number) {
                continue;
            }
            if tried.len() == KEYS_MAX {
                break;
            }
            tried.push(number);
            if key.verifies(self.signed.as_bytes(), &self.signature) {
                return Ok((number, self));
            }
        }
        Err(if tried.is_empty() { JwsError::NoKey } else { JwsError::WrongSignature })
    }
}

/// Base64url without padding, white space or bits that mean nothing: there is one way to write a token.
fn decode(part: &str, text: &str) -> Result<Vec<u8>, JwsError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text);
    bytes.map_err(|error| JwsError::Malformed(format!("its {part} is not base64url: {error}")))
}

fn malformed(reason: &str) -> JwsError {
    JwsError::Malformed(reason.to_owned())
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let (mut alg, mut kid, mut critical, mut plain_payload) = (None, None, false, false);
        let mut seen = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "alg" => alg = Some(map.next_value::<String>()?),
                "kid" => kid = Some(map.next_value::<String>()?),
                "b64" => plain_payload = !map.next_value::<bool>()?,
                other => {
                    critical |= other == "crit";
                    map.next_value::<IgnoredAny>()?;
                }
            }
            // RFC 7515, 4: a name that is there twice could be read in two ways.
            if !seen.insert(name) {
                return Err(A::Error::custom("a parameter is there twice"));
            }
        }
        let alg = alg.ok_or_else(|| A::Error::missing_field("alg"))?;
        Ok(Header { alg, kid, critical, plain_payload })
    }
}
