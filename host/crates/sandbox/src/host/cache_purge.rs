//! `cache-purge`: removes stored responses from the caches that the policy was granted. It waits until that is done.

use portcullis_model::{Capability, Version};
use portcullis_policy::cache_purger::{PurgeError, PurgeRequest, Purged};
use portcullis_services::clock;
use serde_json::{Value, json};
use wasmtime::Result as WasmResult;
use wasmtime::component::{HasSelf, Linker};

use super::recorded::{Answer, named_text};
use crate::component::bindings::portcullis::policy::cache_purge;
use crate::component::bindings::portcullis::policy::cache_purge::{Error, Host};
use crate::instance::stage::Stage;
use crate::instance::state::State;

/// The longest URL or tag.
const TEXT_BYTES_MAX: usize = 8 << 10;

pub(super) fn link(linker: &mut Linker<State>) -> WasmResult<()> {
    cache_purge::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl From<PurgeError> for Error {
    fn from(error: PurgeError) -> Self {
        match error {
            PurgeError::Invalid(why) => Self::Invalid(why),
            PurgeError::Busy => Self::Busy,
            PurgeError::NotLasting => Self::NotLasting,
        }
    }
}

impl State {
    async fn purge(&mut self, what: Purged, soft: bool) -> Result<u64, Error> {
        let policy = self.policy.clone();
        if self.stage == Stage::Configure {
            let why = "`configure` must not wait; purge in `on-tick` or in a hook of an exchange";
            return Err(Error::NotAllowed(why.to_owned()));
        }
        let (Purged::Url(text) | Purged::Prefix(text) | Purged::Tag(text)) = &what;
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return Err(Error::Invalid("it is empty or has more than 8 KiB".to_owned()));
        }
        if !self.has_effects() || policy.version == Version::Shadow {
            // As if nothing were stored: what the policy does next is what it would do.
            return Ok(0);
        }
        let (Some(purger), Some(grant)) = (policy.purger.get(), &policy.grants.cache_purge) else {
            return Err(Error::Other("there are no caches here".to_owned()));
        };
        if policy.purge_window.admit(clock::monotonic().as_secs(), 0).is_none() {
            return Err(Error::Busy);
        }
        let request = PurgeRequest { policy: policy.name.clone(), caches: grant.caches.clone(), what, soft };
        Ok(purger.purge(request).await?)
    }

    /// Purges, and notes that if the exchange has a recorder. In a replay the record answers.
    async fn purge_noted(
        &mut self,
        function: &'static str,
        what: Purged,
        soft: bool,
    ) -> WasmResult<Result<u64, Error>> {
        self.require(Capability::CachePurge)?;
        if self.recorder().is_none() {
            return Ok(self.purge(what, soft).await);
        }
        let arguments = match &what {
            Purged::Url(url) | Purged::Prefix(url) => json!({ "url": url, "soft": soft }),
            Purged::Tag(tag) => json!({ "tag": tag, "soft": soft }),
        };
        let recorded = self.recorder().and_then(|recorder| recorder.answer(function, &arguments));
        let recorded = recorded.as_ref().and_then(Answer::from_json);
        let from_record = recorded.is_some();
        let answer = match recorded {
            Some(answer) => answer,
            None => self.purge(what, soft).await,
        };
        if let Some(recorder) = self.recorder() {
            recorder.note(function, arguments, answer.to_json(), from_record);
        }
        Ok(answer)
    }
}

impl Host for State {
    async fn url(&mut self, url: String, soft: bool) -> WasmResult<Result<u64, Error>> {
        self.purge_noted("cache-purge.url", Purged::Url(url), soft).await
    }

    async fn prefix(&mut self, url: String, soft: bool) -> WasmResult<Result<u64, Error>> {
        self.purge_noted("cache-purge.prefix", Purged::Prefix(url), soft).await
    }

    async fn tag(&mut self, tag: String, soft: bool) -> WasmResult<Result<u64, Error>> {
        self.purge_noted("cache-purge.tag", Purged::Tag(tag), soft).await
    }
}

impl Answer for Error {
    fn to_json(&self) -> Value {
        match self {
            Self::Invalid(why) => json!({ "invalid": why }),
            Self::NotAllowed(why) => json!({ "not-allowed": why }),
            Self::Busy => json!("busy"),
            Self::NotLasting => json!("not-lasting"),
            Self::Other(what) => json!({ "other": what }),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        match value.as_str() {
            Some("busy") => Some(Self::Busy),
            Some("not-lasting") => Some(Self::NotLasting),
            Some(_) => None,
            None => named_text(value, "invalid")
                .map(Self::Invalid)
                .or_else(|| named_text(value, "not-allowed").map(Self::NotAllowed))
                .or_else(|| named_text(value, "other").map(Self::Other)),
        }
    }
}
