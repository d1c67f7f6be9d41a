//! What a token claims, and whether it holds now: RFC 7519, 4.1.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

/// The claims of a token whose signature is right.
#[derive(Debug)]
pub(crate) struct Claims(Map<String, Value>);

/// The words of the error for a name that is there twice.
const TWICE: &str = "a name is there twice";

/// A JSON object in which no name is there twice. RFC 7519, 4 leaves it to the reader to refuse such a token or to take
/// the last claim: an upstream that takes the first one would see another token than this policy.
struct Once(Map<String, Value>);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = Once;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
                let mut claims = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if claims.insert(name, value).is_some() {
                        return Err(A::Error::custom(TWICE));
                    }
                }
                Ok(Once(claims))
            }
        }

        deserializer.deserialize_map(Names)
    }
}

/// What claims must say.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<Vec<String>>,
    /// Seconds.
    pub(crate) leeway: f64,
    pub(crate) require_expiry: bool,
}

impl Claims {
    /// The claims of a payload. The error says why there are none.
    pub(crate) fn read(payload: &[u8]) -> Result<Self, String> {
        match serde_json::from_slice(payload) {
            Ok(Once(claims)) => Ok(Self(claims)),
            Err(error) if error.to_string().contains(TWICE) => Err("it has a claim twice".to_owned()),
            Err(_) => Err("its payload is no JSON object".to_owned()),
        }
    }

    /// A claim as one line of text: a string, number or boolean as it is, a list of strings with commas. `None` if it
    /// is absent or of another kind. A list is refused if the reader could take it for another one: `["a,b"]` for
    /// `["a", "b"]`.
    pub(crate) fn text(&self, claim: &str) -> Result<Option<String>, String> {
        Ok(match self.0.get(claim) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::Bool(value)) => Some(value.to_string()),
            Some(Value::Array(items)) => {
                let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                let ambiguous = |text: &&str| text.is_empty() || text.contains(',') || text.trim() != *text;
                match texts {
                    Some(texts) if texts.iter().any(ambiguous) => {
                        return Err(format!(
                            "an element of {claim} would be ambiguous in a list with commas"
                        ));
                    }
                    Some(texts) if texts.is_empty() => None,
                    texts => texts.map(|texts| texts.join(",")),
                }
            }
            _ => None,
        })
    }

    /// A time in seconds since 1970. An error if it is there and is no number.
    fn time(&self, claim: &str) -> Result<Option<f64>, &'static str> {
        match self.0.get(claim) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or("a time of it is no number"),
        }
    }

    fn is_for(&self, audience: &[String]) -> bool {
        let wanted =
            |value: &Value| value.as_str().is_some_and(|text| audience.iter().any(|one| one == text));
        match self.0.get("aud") {
            Some(Value::Array(items)) => items.iter().any(wanted),
            Some(value) => wanted(value),
            None => false,
        }
    }
}

impl Rules {
    /// Whether the claims hold at `now`, in seconds since 1970; or why not.
    pub(crate) fn check(&self, claims: &Claims, now: f64) -> Result<(), &'static str> {
        match claims.time("exp")? {
            Some(expiry) if now >= expiry + self.leeway => return Err("it has expired"),
            None if self.require_expiry => return Err("it has no expiry"),
            _ => {}
        }
        if claims.time("nbf")?.is_some_and(|from| now < from - self.leeway) {
            return Err("it is not valid yet");
        }
        let issuer = claims.0.get("iss").and_then(Value::as_str);
        if self.issuer.is_some() && issuer != self.issuer.as_deref() {
            return Err("it is by another issuer");
        }
        if self.audience.as_ref().is_some_and(|audience| !claims.is_for(audience)) {
            return Err("it is for another audience");
        }
        Ok(())
    }
}
