//! `trailers`: the trailer fields of the message whose body ends in the hook that runs.

use portcullis_http::{Fields, is_forbidden_trailer};
use portcullis_policy::HookKind;
use wasmtime::Result;

use super::head::{
    Edit, append_header, as_text, header, header_values, headers, remove_header, set_header, text,
};
use crate::component::bindings::portcullis::policy::trailers::Host;
use crate::component::bindings::portcullis::policy::types::{Field, FieldBytes, Refused};
use crate::instance::stage::Stage;
use crate::instance::state::State;

impl State {
    /// Returns the trailers, if there are some in this hook.
    pub(crate) fn trailers(&mut self) -> Result<Option<&Fields>> {
        Ok(self.exchange()?.trailers.as_deref())
    }

    /// Makes an edit in the hook in which a body ends, if trailers can be sent behind it.
    pub(crate) fn edit_trailers(
        &mut self,
        name: &str,
        edit: impl FnOnce(&mut Fields) -> Edit,
    ) -> Result<Edit> {
        let is_last = self.at_hand.piece.as_ref().is_some_and(|piece| piece.last);
        let stage = self.stage;
        let exchange = self.exchange()?;
        let ends = match stage {
            // What follows the head of an upgrade is the tunnel.
            Stage::Hook(HookKind::RequestBody) => exchange.request.upgrade.is_none(),
            Stage::Hook(HookKind::ResponseBody) => {
                exchange.request.method != "HEAD" && !matches!(exchange.response.status, 204 | 205 | 304)
            }
            _ => false,
        };
        if !is_last || !ends {
            return Ok(Err(Refused::ReadOnly));
        }
        if is_forbidden_trailer(&name.to_ascii_lowercase()) {
            return Ok(Err(Refused::Forbidden));
        }
        Ok(edit(exchange.trailers.get_or_insert_default()))
    }
}

impl Host for State {
    fn header(&mut self, name: String) -> Result<Option<String>> {
        Ok(self.header_bytes(name)?.map(text))
    }

    fn header_bytes(&mut self, name: String) -> Result<Option<Vec<u8>>> {
        self.note_read("trailer ", &name);
        Ok(self.trailers()?.and_then(|trailers| header(trailers, &name)))
    }

    fn header_values(&mut self, name: String) -> Result<Vec<String>> {
        Ok(self.header_values_bytes(name)?.into_iter().map(text).collect())
    }

    fn header_values_bytes(&mut self, name: String) -> Result<Vec<Vec<u8>>> {
        self.note_read("trailer ", &name);
        Ok(self.trailers()?.map(|trailers| header_values(trailers, &name)).unwrap_or_default())
    }

    fn headers(&mut self) -> Result<Vec<Field>> {
        Ok(as_text(self.headers_bytes()?))
    }

    fn headers_bytes(&mut self) -> Result<Vec<FieldBytes>> {
        self.note_reads("trailer ");
        Ok(self.trailers()?.map(headers).unwrap_or_default())
    }

    fn set_header(&mut self, name: String, value: String) -> Result<Edit> {
        self.set_header_bytes(name, value.into_bytes())
    }

    fn set_header_bytes(&mut self, name: String, value: Vec<u8>) -> Result<Edit> {
        self.edit_trailers(&name, |trailers| set_header(trailers, 0, &name, &value))
    }

    fn append_header(&mut self, name: String, value: String) -> Result<Edit> {
        self.append_header_bytes(name, value.into_bytes())
    }

    fn append_header_bytes(&mut self, name: String, value: Vec<u8>) -> Result<Edit> {
        self.edit_trailers(&name, |trailers| append_header(trailers, 0, &name, &value))
    }

    fn remove_header(&mut self, name: String) -> Result<Edit> {
        self.edit_trailers(&name, |trailers| remove_header(trailers, &name))
    }
}
