//! What policies say to the cache of the mock's route.

use super::state::{ExchangeState, Head};
use crate::Refused;

#[derive(Debug, Default)]
pub(crate) struct CacheWishes {
    /// Whether the route has no cache.
    pub(crate) is_missing: bool,
    pub(crate) bypass: bool,
    pub(crate) parts: Vec<(String, String)>,
    pub(crate) tags: Vec<String>,
}

impl CacheWishes {
    pub(crate) fn vary_by(&mut self, name: &str, value: &str) -> Result<(), Refused> {
        if !is_text(name) || name.len() > 256 {
            return Err(Refused::InvalidName);
        }
        let part = (name.to_owned(), value.to_owned());
        if value.len() > 4 << 10 {
            return Err(Refused::TooLarge);
        }
        add(&mut self.parts, part, 16)
    }

    pub(crate) fn add_tag(&mut self, tag: &str) -> Result<(), Refused> {
        if !is_text(tag) {
            return Err(Refused::InvalidValue);
        }
        if tag.len() > 1 << 10 {
            return Err(Refused::TooLarge);
        }
        add(&mut self.tags, tag.to_owned(), 64)
    }
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && !text.bytes().any(|byte| byte.is_ascii_control())
}

/// Adds what is not there yet, if there are fewer than `max`.
fn add<T: PartialEq>(all: &mut Vec<T>, new: T, max: usize) -> Result<(), Refused> {
    if all.contains(&new) {
        return Ok(());
    }
    if all.len() >= max {
        return Err(Refused::TooLarge);
    }
    all.push(new);
    Ok(())
}

impl ExchangeState {
    /// What policies say to the cache, as long as the request can be edited.
    pub(crate) fn wish(&mut self) -> Result<&mut CacheWishes, Refused> {
        self.editable(Head::Request)?;
        Ok(&mut self.cache)
    }

    fn is_looked_up(&self) -> bool {
        !self.cache.is_missing && self.editable(Head::Request).is_ok()
    }

    pub(crate) fn cache_url(&self) -> Option<String> {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        self.is_looked_up().then(|| format!("{}://{}{}{query}", self.scheme, self.authority, self.path))
    }

    pub(crate) fn cache_key(&self) -> Vec<String> {
        if !self.is_looked_up() {
            return Vec::new();
        }
        let upstream = self.upstreams.get(self.upstream).map(|name| format!("upstream: {name}"));
        let parts =
            self.cache.parts.iter().map(|(name, value)| format!("added by a policy: {name}: {value}"));
        upstream.into_iter().chain(parts).collect()
    }
}
