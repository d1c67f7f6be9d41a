//! `cache`: what the cache of the route makes of the request at hand. What a policy says is kept in the exchange, and
//! noted if that has a recorder.

use portcullis_policy::Exchange;
use portcullis_policy::cache::{CacheKeyView, CacheWishes, WishError};
use portcullis_policy::recorder::{is_credential, mark};
use serde_json::{Value, json};
use wasmtime::Result;

use super::head::Edit;
use crate::component::bindings::portcullis::policy::cache::Host;
use crate::component::bindings::portcullis::policy::types::Refused;
use crate::instance::state::State;

impl State {
    /// Returns what the request would be looked up by now, if it can still be edited.
    fn cache_key(&mut self) -> Result<Option<CacheKeyView>> {
        self.note_reads("request.");
        let Some(exchange) = self.outbound()? else { return Ok(None) };
        let Exchange { request, upstreams, upstream, attributes, cache: wishes, .. } = exchange;
        let upstream = upstreams.get(*upstream).map_or("", |name| name);
        Ok(wishes.keys.as_ref().and_then(|keys| keys.key(request, upstream, attributes, wishes)))
    }

    /// Notes what a policy says to the cache, if the request can still be edited. `invalid` is what a wrong text is.
    fn wish(
        &mut self,
        invalid: Refused,
        say: impl FnOnce(&mut CacheWishes) -> std::result::Result<(), WishError>,
    ) -> Result<Edit> {
        self.edit_outbound(|exchange| {
            say(&mut exchange.cache).map_err(|error| match error {
                WishError::Invalid => invalid,
                WishError::TooLarge => Refused::TooLarge,
            })
        })
    }
}

impl Host for State {
    fn url(&mut self) -> Result<Option<String>> {
        Ok(self.cache_key()?.map(|key| key.url))
    }

    fn key(&mut self) -> Result<Vec<String>> {
        Ok(self.cache_key()?.map(|key| key.parts).unwrap_or_default())
    }

    fn vary_by(&mut self, name: String, value: String) -> Result<Edit> {
        let describe = |(name, value): &(String, String)| match is_credential(name) {
            true => json!({ "name": name, "value": mark(&name.to_ascii_lowercase()) }),
            false => json!({ "name": name, "value": value }),
        };
        self.observed("cache.vary-by", (name, value), describe, told, |state, (name, value)| {
            state.wish(Refused::InvalidName, |wishes| wishes.vary_by(&name, &value))
        })
    }

    fn add_tag(&mut self, tag: String) -> Result<Edit> {
        let describe = |tag: &String| json!({ "tag": tag });
        self.observed("cache.add-tag", tag, describe, told, |state, tag| {
            state.wish(Refused::InvalidValue, |wishes| wishes.add_tag(&tag))
        })
    }

    fn bypass(&mut self) -> Result<Edit> {
        self.observed(
            "cache.bypass",
            (),
            |()| json!({}),
            told,
            |state, ()| {
                state.wish(Refused::InvalidValue, |wishes| {
                    wishes.bypass();
                    Ok(())
                })
            },
        )
    }
}

fn told(said: &Edit) -> Value {
    match said {
        Ok(()) => json!({ "ok": null }),
        Err(Refused::InvalidName) => json!({ "err": "invalid-name" }),
        Err(Refused::InvalidValue) => json!({ "err": "invalid-value" }),
        Err(Refused::ReadOnly) => json!({ "err": "read-only" }),
        Err(Refused::TooLarge) => json!({ "err": "too-large" }),
        Err(Refused::Forbidden) => json!({ "err": "forbidden" }),
        Err(Refused::Other(why)) => json!({ "err": { "other": why } }),
    }
}
