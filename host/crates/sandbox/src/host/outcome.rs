//! `outcome`: how the exchange ended, in `on-completed`.

use portcullis_policy::Outcome;
use wasmtime::Result;

use crate::component::bindings::portcullis::policy::outcome::Host;
use crate::instance::state::State;

impl State {
    /// Returns what `part` takes of the outcome, or its default before there is one.
    fn of_outcome<T: Default>(&mut self, part: impl FnOnce(&Outcome) -> T) -> Result<T> {
        self.exchange()?;
        Ok(self.at_hand.outcome.as_deref().map(part).unwrap_or_default())
    }
}

impl Host for State {
    fn status(&mut self) -> Result<u16> {
        self.of_outcome(|outcome| outcome.status)
    }

    fn request_bytes(&mut self) -> Result<u64> {
        self.of_outcome(|outcome| outcome.request_bytes)
    }

    fn response_bytes(&mut self) -> Result<u64> {
        self.of_outcome(|outcome| outcome.response_bytes)
    }

    fn duration_us(&mut self) -> Result<u64> {
        self.of_outcome(|outcome| outcome.duration_us)
    }

    fn endpoint(&mut self) -> Result<Option<String>> {
        self.of_outcome(|outcome| outcome.upstream.clone())
    }

    fn error(&mut self) -> Result<Option<String>> {
        self.of_outcome(|outcome| outcome.error.clone())
    }
}
