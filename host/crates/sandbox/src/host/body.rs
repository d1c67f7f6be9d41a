//! `body`: the piece of a body that the hook was given.

use portcullis_policy::{Again, HookKind};
use wasmtime::Result;

use super::head::Edit;
use crate::component::bindings::portcullis::policy::body::Host;
use crate::component::bindings::portcullis::policy::types::Refused;
use crate::instance::at_hand::Piece;
use crate::instance::stage::Stage;
use crate::instance::state::State;

impl State {
    /// Returns the piece at hand, or an error, which traps, if there is no exchange.
    fn piece(&mut self) -> Result<Option<&mut Piece>> {
        self.exchange()?;
        Ok(self.at_hand.piece.as_deref_mut())
    }

    fn decide(&mut self, decide: impl FnOnce(&mut Piece) -> Edit) -> Result<Edit> {
        Ok(self.piece()?.map_or(Err(Refused::ReadOnly), decide))
    }

    fn ask(&mut self, again: Again) -> Result<Edit> {
        self.decide(|piece| {
            piece.ask(again);
            Ok(())
        })
    }
}

impl Host for State {
    fn size(&mut self) -> Result<u64> {
        Ok(self.piece()?.map_or(0, |piece| piece.size() as u64))
    }

    fn is_last(&mut self) -> Result<bool> {
        Ok(self.piece()?.is_some_and(|piece| piece.last))
    }

    fn is_absent(&mut self) -> Result<bool> {
        let stage = self.stage;
        let exchange = self.exchange()?;
        // RFC 9110, 6.4.1.
        let absent = exchange.request.method == "HEAD" || matches!(exchange.response.status, 204 | 304);
        Ok(stage == Stage::Hook(HookKind::ResponseBody) && absent)
    }

    fn read(&mut self, offset: u64, size: u64) -> Result<Vec<u8>> {
        Ok(self.piece()?.map(|piece| piece.read(offset, size).to_vec()).unwrap_or_default())
    }

    fn pass(&mut self, size: u64) -> Result<Edit> {
        self.decide(|piece| {
            piece.pass(size);
            Ok(())
        })
    }

    fn replace(&mut self, size: u64, with: Vec<u8>) -> Result<Edit> {
        let bytes_max = self.policy.limits.body_bytes;
        self.decide(|piece| match piece.replace(size, with.into(), bytes_max) {
            true => Ok(()),
            false => Err(Refused::TooLarge),
        })
    }

    fn hold(&mut self) -> Result<Edit> {
        self.ask(Again::WithMore)
    }

    fn collect(&mut self) -> Result<Edit> {
        self.ask(Again::AtEnd)
    }

    fn finish(&mut self) -> Result<Edit> {
        self.ask(Again::Never)
    }
}
