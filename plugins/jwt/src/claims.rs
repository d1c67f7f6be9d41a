//! What a token claims, and whether it holds now: RFC 7519, 4.1.

use serde_json::{Map, Value};

/// The claims of a token whose signature is right.
#[derive(Debug)]
pub(crate) struct Claims(Map<String, Value>);

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
    /// `None` where the payload is no JSON object.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        match serde_json::from_slice(payload) {
            Ok(Value::Object(claims)) => Some(Self(claims)),
            _ => None,
        }
    }

    /// A claim as one line of text: a string, number or boolean as it is, a list of strings with commas. None of another
    /// kind.
    pub(crate) fn text(&self, claim: &str) -> Option<String> {
        match self.0.get(claim)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Array(items) => {
                let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                texts.map(|texts| texts.join(","))
            }
            _ => None,
        }
    }

    /// A time in seconds since 1970. An error where it is there and is no number.
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
