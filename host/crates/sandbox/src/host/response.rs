//! `response`: there from `on-response-head` on, edited until its body begins to go on.

use portcullis_http::ResponseHead;
use portcullis_policy::{Exchange, HookKind};
use wasmtime::Result;

use super::head::{
    Edit, append_header, as_text, header, header_values, headers, remove_header, set_header, text,
};
use crate::component::bindings::portcullis::policy::response::Host;
use crate::component::bindings::portcullis::policy::types::{Field, FieldBytes, Refused};
use crate::instance::stage::Stage;
use crate::instance::state::State;

impl State {
    /// The response; `None` in the hooks of the request. What runs decides, and not how far the exchange is: a response
    /// can begin while the request's body still streams.
    pub(crate) fn response(&mut self) -> Result<Option<&ResponseHead>> {
        let stage = self.stage;
        let response = &self.exchange()?.response;
        Ok(matches!(
            stage,
            Stage::Hook(HookKind::ResponseHead | HookKind::ResponseBody | HookKind::Completed)
        )
        .then_some(response))
    }

    pub(crate) fn edit_response(&mut self, edit: impl FnOnce(&mut ResponseHead) -> Edit) -> Result<Edit> {
        let stage = self.stage;
        let Exchange { response, body_begun, .. } = self.exchange()?;
        Ok(match stage {
            Stage::Hook(HookKind::ResponseHead) => edit(response),
            Stage::Hook(HookKind::ResponseBody) if !*body_begun => edit(response),
            _ => Err(Refused::ReadOnly),
        })
    }
}

/// Whether the status says that there is no body (RFC 9110, 15.3.5, 15.3.6 and 15.4.5).
fn is_bodiless(status: u16) -> bool {
    matches!(status, 204 | 205 | 304)
}

impl Host for State {
    fn status(&mut self) -> Result<u16> {
        Ok(self.response()?.map_or(0, |response| response.status))
    }

    fn set_status(&mut self, status: u16) -> Result<Edit> {
        self.edit_response(|response| {
            let keeps_body =
                response.status == status || !(is_bodiless(status) || is_bodiless(response.status));
            if !(200..=599).contains(&status) || !keeps_body {
                return Err(Refused::InvalidValue);
            }
            response.status = status;
            Ok(())
        })
    }

    fn header(&mut self, name: String) -> Result<Option<String>> {
        Ok(self.header_bytes(name)?.map(text))
    }

    fn header_bytes(&mut self, name: String) -> Result<Option<Vec<u8>>> {
        self.note_read("response.header ", &name);
        Ok(self.response()?.and_then(|response| header(&response.fields, &name)))
    }

    fn header_values(&mut self, name: String) -> Result<Vec<String>> {
        Ok(self.header_values_bytes(name)?.into_iter().map(text).collect())
    }

    fn header_values_bytes(&mut self, name: String) -> Result<Vec<Vec<u8>>> {
        self.note_read("response.header ", &name);
        Ok(self.response()?.map(|response| header_values(&response.fields, &name)).unwrap_or_default())
    }

    fn headers(&mut self) -> Result<Vec<Field>> {
        Ok(as_text(self.headers_bytes()?))
    }

    fn headers_bytes(&mut self) -> Result<Vec<FieldBytes>> {
        self.note_reads("response.header ");
        Ok(self.response()?.map(|response| headers(&response.fields)).unwrap_or_default())
    }

    fn set_header(&mut self, name: String, value: String) -> Result<Edit> {
        self.set_header_bytes(name, value.into_bytes())
    }

    fn set_header_bytes(&mut self, name: String, value: Vec<u8>) -> Result<Edit> {
        self.edit_response(|response| set_header(&mut response.fields, 0, &name, &value))
    }

    fn append_header(&mut self, name: String, value: String) -> Result<Edit> {
        self.append_header_bytes(name, value.into_bytes())
    }

    fn append_header_bytes(&mut self, name: String, value: Vec<u8>) -> Result<Edit> {
        self.edit_response(|response| append_header(&mut response.fields, 0, &name, &value))
    }

    fn remove_header(&mut self, name: String) -> Result<Edit> {
        self.edit_response(|response| remove_header(&mut response.fields, &name))
    }
}
