//! `request`: read in every hook of an exchange, edited until its body begins to go on.

use portcullis_http::{RequestHead, Version, is_token, set_request_target, validate_authority};
use portcullis_policy::{Exchange, HookKind};
use wasmtime::Result;

use super::head::{
    Edit, HEAD_BYTES_MAX, append_header, as_text, check_size, header, header_values, headers, remove_header,
    set_header, text,
};
use crate::component::bindings::portcullis::policy::request::Host;
use crate::component::bindings::portcullis::policy::types::{Field, FieldBytes, Refused};
use crate::instance::stage::Stage;
use crate::instance::state::State;

/// The longest method that a policy may set: the registered ones have up to 17 letters.
const METHOD_BYTES_MAX: usize = 64;

impl State {
    fn request(&mut self) -> Result<&RequestHead> {
        Ok(&self.exchange()?.request)
    }

    /// Makes an edit of what is sent to the upstream: in the hook of the head, and in that of the body until the policy
    /// has let some of it go.
    pub(super) fn edit_outbound(&mut self, edit: impl FnOnce(&mut Exchange) -> Edit) -> Result<Edit> {
        match self.outbound()? {
            Some(exchange) => Ok(edit(exchange)),
            None => Ok(Err(Refused::ReadOnly)),
        }
    }

    /// Returns the exchange, if what is sent to the upstream may be edited.
    pub(super) fn outbound(&mut self) -> Result<Option<&mut Exchange>> {
        let stage = self.stage;
        let exchange = self.exchange()?;
        Ok(match stage {
            Stage::Hook(HookKind::RequestHead) => Some(exchange),
            Stage::Hook(HookKind::RequestBody) if !exchange.body_begun => Some(exchange),
            _ => None,
        })
    }

    pub(crate) fn edit_request(&mut self, edit: impl FnOnce(&mut RequestHead) -> Edit) -> Result<Edit> {
        self.edit_outbound(|exchange| edit(&mut exchange.request))
    }
}

/// The longest key of an endpoint.
const KEY_BYTES_MAX: usize = 1 << 10;

/// What of a head is not its fields.
pub(crate) fn fixed_size(request: &RequestHead) -> usize {
    request.method.len() + request.target().len() + request.authority.len()
}

impl Host for State {
    fn method(&mut self) -> Result<String> {
        Ok(self.request()?.method.clone())
    }

    fn set_method(&mut self, method: String) -> Result<Edit> {
        self.edit_request(|request| {
            if !is_token(method.as_bytes()) || method.len() > METHOD_BYTES_MAX {
                return Err(Refused::InvalidName);
            }
            // A request cannot become a tunnel on its way, nor a tunnel a request; and only OPTIONS has the target `*`.
            let of_its_target = request.target() != "*" || method == "OPTIONS";
            // An extended CONNECT of HTTP/2 is a GET here, and stays the one that it was matched as.
            let extended = request.upgrade.is_some() && request.version == Version::Http2;
            if method == "CONNECT" || request.method == "CONNECT" || extended || !of_its_target {
                return Err(Refused::InvalidValue);
            }
            request.method = method;
            Ok(())
        })
    }

    fn scheme(&mut self) -> Result<String> {
        Ok(self.request()?.scheme.as_str().to_owned())
    }

    fn authority(&mut self) -> Result<String> {
        Ok(self.request()?.authority.clone())
    }

    fn set_authority(&mut self, authority: String) -> Result<Edit> {
        self.edit_request(|request| {
            if !validate_authority(&authority) {
                return Err(Refused::InvalidName);
            }
            request.authority = authority;
            Ok(())
        })
    }

    fn path(&mut self) -> Result<String> {
        Ok(self.request()?.path().to_owned())
    }

    fn query(&mut self) -> Result<Option<String>> {
        self.note_read("request.query", "");
        Ok(self.request()?.query().map(str::to_owned))
    }

    fn set_path_and_query(&mut self, value: String) -> Result<Edit> {
        self.edit_request(|request| {
            check_size(fixed_size(request) + request.fields.size(), request.target().len(), value.len())?;
            // The target of CONNECT is its authority.
            let has_target = !request.target().is_empty();
            if !has_target || value.len() > HEAD_BYTES_MAX {
                return Err(Refused::InvalidValue);
            }
            set_request_target(request, &value).map_err(|_| Refused::InvalidValue)
        })
    }

    fn set_upstream(&mut self, name: String) -> Result<Edit> {
        self.edit_outbound(|exchange| {
            let at = exchange.upstreams.iter().position(|upstream| **upstream == *name);
            exchange.upstream = at.ok_or(Refused::InvalidValue)?;
            Ok(())
        })
    }

    fn set_endpoint_key(&mut self, key: String) -> Result<Edit> {
        self.set_endpoint_key_bytes(key.into_bytes())
    }

    fn set_endpoint_key_bytes(&mut self, key: Vec<u8>) -> Result<Edit> {
        self.edit_outbound(|exchange| {
            if key.len() > KEY_BYTES_MAX {
                return Err(Refused::TooLarge);
            }
            exchange.endpoint_key = Some(key.into());
            Ok(())
        })
    }

    fn header(&mut self, name: String) -> Result<Option<String>> {
        Ok(self.header_bytes(name)?.map(text))
    }

    fn header_bytes(&mut self, name: String) -> Result<Option<Vec<u8>>> {
        self.note_read("request.header ", &name);
        Ok(header(&self.request()?.fields, &name))
    }

    fn header_values(&mut self, name: String) -> Result<Vec<String>> {
        Ok(self.header_values_bytes(name)?.into_iter().map(text).collect())
    }

    fn header_values_bytes(&mut self, name: String) -> Result<Vec<Vec<u8>>> {
        self.note_read("request.header ", &name);
        Ok(header_values(&self.request()?.fields, &name))
    }

    fn headers(&mut self) -> Result<Vec<Field>> {
        Ok(as_text(self.headers_bytes()?))
    }

    fn headers_bytes(&mut self) -> Result<Vec<FieldBytes>> {
        self.note_reads("request.header ");
        Ok(headers(&self.request()?.fields))
    }

    fn set_header(&mut self, name: String, value: String) -> Result<Edit> {
        self.set_header_bytes(name, value.into_bytes())
    }

    fn set_header_bytes(&mut self, name: String, value: Vec<u8>) -> Result<Edit> {
        self.edit_request(|request| {
            let fixed = fixed_size(request);
            set_header(&mut request.fields, fixed, &name, &value)
        })
    }

    fn append_header(&mut self, name: String, value: String) -> Result<Edit> {
        self.append_header_bytes(name, value.into_bytes())
    }

    fn append_header_bytes(&mut self, name: String, value: Vec<u8>) -> Result<Edit> {
        self.edit_request(|request| {
            let fixed = fixed_size(request);
            append_header(&mut request.fields, fixed, &name, &value)
        })
    }

    fn remove_header(&mut self, name: String) -> Result<Edit> {
        self.edit_request(|request| remove_header(&mut request.fields, &name))
    }
}
