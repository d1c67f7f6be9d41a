//! Lets requests through that carry a known API key, and tells the rest of the chain whose it is.
//!
//! Keys are known by their SHA-256 digests alone: neither the config nor this component's memory holds one.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod keys;

use keys::{KeyList, Keys};
use portcullis_sdk::prelude::*;
use portcullis_sdk::{Field, Mistakes};

/// Settings of `builtin:api-key`.
#[derive(Debug, Config)]
pub struct Settings {
    /// The request field that carries the key; `x-api-key` if neither this nor `query` is set.
    #[config(means = "request-field")]
    header: Option<String>,
    /// The query parameter that carries the key, if the field is absent.
    query: Option<String>,
    /// The keys.
    #[config(default)]
    keys: Vec<Key>,
    /// A file of further keys: `name:digest` on each line; empty lines and those that begin with `#` are skipped.
    keys_file: Option<FileText>,
    /// The attribute that takes the name of the key.
    #[config(default = "api-key.name", means = "sets-attribute")]
    attribute: String,
    /// The request field in which the upstream is told the name of the key. What a client sends in it is dropped.
    forward_name_as: Option<String>,
}

/// A key.
#[derive(Debug, Config)]
struct Key {
    /// Whose it is.
    name: String,
    /// SHA-256 of the key, in hexadecimal: `printf %s KEY | sha256sum`.
    #[config(pattern = "^[0-9A-Fa-f]{64}$")]
    sha256: String,
}

/// The policy.
#[derive(Debug)]
pub struct ApiKey {
    header: Option<String>,
    query: Option<String>,
    keys: Keys,
    attribute: String,
    forward_name_as: Option<String>,
}

#[policy(name = "api-key", description = "Lets requests through that carry a known API key.", attributes = [])]
impl ApiKey {
    fn configure(settings: Settings) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::new();
        let header = match (settings.header, &settings.query) {
            (None, None) => Some("x-api-key".to_owned()),
            (header, _) => header,
        };
        let named = [("header", &header), ("forward-name-as", &settings.forward_name_as)];
        for (setting, name) in named.into_iter().filter_map(|(setting, name)| Some((setting, name.as_ref()?)))
        {
            let checked = Field::check_name(name).map_err(|refused| format!("`{name}`: {refused}"));
            mistakes.take(format!("/{setting}"), checked);
        }
        if settings.query.as_deref() == Some("") {
            mistakes.add("/query", "expected the name of a parameter");
        }
        let mut keys = KeyList::default();
        for (at, key) in settings.keys.iter().enumerate() {
            mistakes.take(format!("/keys/{at}"), keys.add(&key.name, &key.sha256));
        }
        if let Some(file) = &settings.keys_file {
            keys.add_lines(file, |error| mistakes.add("/keys-file", error));
        }
        if keys.is_empty() && mistakes.is_empty() {
            let place = if settings.keys_file.is_some() { "/keys-file" } else { "" };
            mistakes.add(place, "there is no key, so no client would get in; add one to keys or keys-file");
        }
        mistakes.or(Self {
            header,
            query: settings.query,
            keys: keys.into(),
            attribute: settings.attribute,
            forward_name_as: settings.forward_name_as,
        })
    }

    fn on_request_head(&self, request: &mut Request, exchange: &mut Exchange) -> Result<(), Stop> {
        let name =
            self.presented(request).and_then(|key| self.keys.name_of(&key)).ok_or_else(unauthorized)?;
        // Neither the upstream nor a later policy has any use for the key.
        if let Some(header) = &self.header {
            request.remove_header(header)?;
        }
        if let Some(query) = &self.query {
            request.remove_query(query)?;
        }
        exchange.set_attribute(&self.attribute, name)?;
        if let Some(forward) = &self.forward_name_as {
            request.set_header(forward, name)?;
        }
        Ok(())
    }

    /// The one key that the request carries. Several are none: which of them counts would be a guess that an upstream
    /// or a log may make differently.
    fn presented(&self, request: &Request) -> Option<Vec<u8>> {
        let of_header =
            self.header.as_ref().map(|name| request.header_values_bytes(name)).unwrap_or_default();
        let values = match &self.query {
            Some(name) if of_header.is_empty() => request.query_values_bytes(name),
            _ => of_header,
        };
        <[Vec<u8>; 1]>::try_from(values).ok().map(|[key]| key)
    }
}

/// The same for a missing and for a wrong key: it tells nothing to who tries keys. RFC 9110, 15.5.2 asks for a
/// challenge; no scheme is registered for API keys, so it names what is wanted.
fn unauthorized() -> Reply {
    Reply::new(401).header("www-authenticate", "ApiKey").text("a valid API key is needed\n")
}

#[cfg(test)]
mod tests;
