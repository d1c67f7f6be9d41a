//! Lets requests through that carry a valid JSON Web Token.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod claims;

use std::collections::BTreeMap;

use claims::{Claims, Rules};
use portcullis_sdk::crypto::{self, Algorithm, Key};
use portcullis_sdk::prelude::*;
use portcullis_sdk::{Field, Mistakes, clock};

/// Settings of `builtin:jwt`. Keys come from one or more of `keys`, `keys-file` and `secret`.
#[derive(Debug, Config)]
pub struct Settings {
    /// A JSON Web Key Set.
    keys: Option<String>,
    /// A file with a JSON Web Key Set.
    keys_file: Option<FileText>,
    /// The name of a secret, granted by `secrets`, for tokens by HMAC. The policy itself never sees it.
    secret: Option<String>,
    /// The algorithm of `secret` (`HS256` if nothing is said) and of keys that do not say theirs, such as `RS256`.
    algorithm: Option<String>,
    /// What `iss` must be.
    issuer: Option<String>,
    /// One of these must be in `aud`.
    audience: Option<Vec<String>>,
    /// How many seconds clocks may differ by.
    #[config(default = 30, maximum = 3600)]
    leeway: u32,
    /// Whether a token without `exp` is refused.
    #[config(default = true)]
    require_expiry: bool,
    /// The field that carries the token; in `authorization` it stands behind `Bearer`.
    #[config(default = "authorization", means = "request-field")]
    header: String,
    /// Whether the upstream does not get the token.
    #[config(default)]
    remove: bool,
    /// Attributes to set, and the claim that each is set to. `jwt.sub` is always there if the token has `sub`.
    #[config(default, keys_mean = "sets-attribute")]
    attributes: BTreeMap<String, String>,
    /// Fields that the upstream gets, and the claim that each is set to. What the client sent under these names is
    /// dropped.
    #[config(default)]
    upstream_fields: BTreeMap<String, String>,
}

/// The policy.
#[derive(Debug)]
pub struct Jwt {
    keys: Vec<Key>,
    rules: Rules,
    header: String,
    remove: bool,
    attributes: BTreeMap<String, String>,
    upstream_fields: BTreeMap<String, String>,
}

/// Why a request is refused: what the client is told (RFC 6750, 3).
#[derive(Debug)]
enum Refused {
    /// It has no token.
    Missing,
    /// Its token is not valid, and why.
    Invalid(String),
}

#[policy(
    name = "jwt",
    description = "Lets requests through that carry a valid JSON Web Token.",
    capabilities = ["clock", "crypto"],
    attributes = ["jwt.sub"]
)]
impl Jwt {
    fn configure(settings: Settings) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::new();
        let algorithm = settings.algorithm.as_deref().and_then(|name| {
            let known = Algorithm::from_name(name);
            mistakes.take(
                "/algorithm",
                known.ok_or_else(|| format!("`{name}` is not an algorithm; write one such as RS256")),
            )
        });
        let mut keys = Vec::new();
        let sets = [("keys", settings.keys.as_deref()), ("keys-file", settings.keys_file.as_deref())];
        for (name, set) in sets.into_iter().filter_map(|(name, set)| Some((name, set?))) {
            keys.extend(mistakes.take(format!("/{name}"), read_set(set, algorithm)).unwrap_or_default());
        }
        if let Some(name) = &settings.secret {
            let key = crypto::import_granted_secret(name, algorithm.unwrap_or(Algorithm::Hs256));
            keys.extend(mistakes.take("/secret", key));
        }
        if keys.is_empty() && mistakes.is_empty() {
            mistakes.add("", "there is no key; set keys, keys-file or secret");
        }
        let names =
            settings.upstream_fields.keys().map(|name| (name, format!("/upstream-fields/{}", escaped(name))));
        for (name, pointer) in names.chain([(&settings.header, "/header".to_owned())]) {
            if Field::check_name(name).is_err() {
                mistakes.add(pointer, format!("`{name}` is not the name of a field that a policy can write"));
            }
        }
        let rules = Rules {
            issuer: settings.issuer,
            audience: settings.audience,
            leeway: f64::from(settings.leeway),
            require_expiry: settings.require_expiry,
        };
        let Settings { header, remove, attributes, upstream_fields, .. } = settings;
        mistakes.or(Self { keys, rules, header, remove, attributes, upstream_fields })
    }

    fn on_request_head(&self, request: &mut Request, exchange: &mut Exchange) -> Result<(), Stop> {
        // Only a token sets these.
        for name in self.upstream_fields.keys() {
            request.remove_header(name)?;
        }
        let claims = self.claims(request).map_err(refuse)?;
        let text = |claim: &str| claims.text(claim).map_err(|why| refuse(Refused::Invalid(why)));
        if let Some(subject) = text("sub")? {
            exchange.set_attribute("jwt.sub", &subject)?;
        }
        for (attribute, claim) in &self.attributes {
            if let Some(value) = text(claim)? {
                exchange.set_attribute(attribute, &value)?;
            }
        }
        for (field, claim) in &self.upstream_fields {
            if let Some(value) = text(claim)? {
                let invalid = |_| refuse(Refused::Invalid(format!("`{claim}` does not fit into a field")));
                request.set_header(field, value).map_err(invalid)?;
            }
        }
        if self.remove {
            request.remove_header(&self.header)?;
        }
        Ok(())
    }

    /// The claims of the request's token, if it is valid now.
    fn claims(&self, request: &Request) -> Result<Claims, Refused> {
        let invalid = |why: &str| Refused::Invalid(why.to_owned());
        let values = request.header_values_bytes(&self.header);
        let value = match values.as_slice() {
            [] => return Err(Refused::Missing),
            [value] => std::str::from_utf8(value).map_err(|_| invalid("the token is not text"))?,
            // Others could take another one.
            _ => return Err(invalid("there is more than one token")),
        };
        let token = if self.header.eq_ignore_ascii_case("authorization") {
            match value.split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_matches(' '),
                _ => return Err(Refused::Missing),
            }
        } else {
            value
        };
        let verified =
            crypto::verify_jws(token, &self.keys).map_err(|error| Refused::Invalid(error.to_string()))?;
        let claims = Claims::read(&verified.payload).map_err(|why| invalid(&why))?;
        let now = clock::unix_time().as_secs_f64();
        self.rules.check(&claims, now).map_err(invalid)?;
        Ok(claims)
    }
}

/// Reads a key set. Keys that do not say their algorithm take `algorithm`; those that do say it keep their own. The
/// gateway logs the keys that cannot be used at all.
fn read_set(set: &str, algorithm: Option<Algorithm>) -> Result<Vec<Key>, String> {
    if set.trim_start().starts_with("-----BEGIN") {
        let text = "this is PEM; a JSON Web Key Set (JSON with `keys`) is wanted, as the token's issuer publishes it";
        return Err(text.to_owned());
    }
    let import = |algorithm| crypto::import_jwks(set, algorithm).map_err(|error| error.to_string());
    let mut keys = import(None)?;
    if algorithm.is_some() {
        keys.extend(import(algorithm)?);
    }
    if keys.is_empty() {
        let text = "there is no key in it that can check a signature; the log says why of each, and keys without `alg` need algorithm";
        return Err(text.to_owned());
    }
    Ok(keys)
}

/// A key of the settings as a part of a JSON pointer (RFC 6901, 3).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn refuse(refused: Refused) -> Reply {
    let challenge = match &refused {
        Refused::Missing => "Bearer".to_owned(),
        Refused::Invalid(why) => {
            let why: String =
                why.chars().filter(|char| matches!(char, ' '..='~') && !"\"\\".contains(*char)).collect();
            format!("Bearer error=\"invalid_token\", error_description=\"{why}\"")
        }
    };
    Reply::new(401).header("www-authenticate", challenge).text("a valid token is needed\n")
}

#[cfg(test)]
mod tests;
