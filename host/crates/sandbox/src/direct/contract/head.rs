//! `request` and `response`, and what their functions have in common: reading and editing the fields of a head.

use portcullis_http::Fields;
use wasmtime::{Caller, Linker, Result};

use crate::component::bindings::portcullis::policy;
use crate::direct::abi::{Writer, enter};
use crate::direct::define::{Name, edited, give, give_found, typed};
use crate::host::head::{self, Edit};
use crate::host::request::fixed_size;
use crate::instance::state::State;

pub(super) fn request(linker: &mut Linker<State>, name: Name<'_>, function: &str) -> Result<bool> {
    use policy::request::Host;
    match function {
        "method" => give(linker, name, |state| Ok(&state.exchange()?.request.method)),
        "scheme" => give(linker, name, |state| Ok(state.exchange()?.request.scheme.as_str())),
        "authority" => give(linker, name, |state| Ok(&state.exchange()?.request.authority)),
        "path" => give(linker, name, |state| Ok(state.exchange()?.request.path())),
        "query" => typed(linker, name, |state, (): ()| state.query()),
        "set-method" => typed(linker, name, |state, (method,)| state.set_method(method)),
        "set-authority" => typed(linker, name, |state, (authority,)| state.set_authority(authority)),
        "set-path-and-query" => typed(linker, name, |state, (value,)| state.set_path_and_query(value)),
        "set-upstream" => typed(linker, name, |state, (upstream,)| state.set_upstream(upstream)),
        "set-endpoint-key" => typed(linker, name, |state, (key,)| state.set_endpoint_key(key)),
        "set-endpoint-key-bytes" => typed(linker, name, |state, (key,)| state.set_endpoint_key_bytes(key)),
        "header" => header(linker, name, Form::Text, request_fields),
        "header-bytes" => header(linker, name, Form::Bytes, request_fields),
        "header-values" => header_values(linker, name, Form::Text, request_fields),
        "header-values-bytes" => header_values(linker, name, Form::Bytes, request_fields),
        "headers" => typed(linker, name, |state, (): ()| Host::headers(state)),
        "headers-bytes" => typed(linker, name, |state, (): ()| Host::headers_bytes(state)),
        "set-header" => edit_field(linker, name, Form::Text, set_request_header),
        "set-header-bytes" => edit_field(linker, name, Form::Bytes, set_request_header),
        "append-header" => edit_field(linker, name, Form::Text, append_request_header),
        "append-header-bytes" => edit_field(linker, name, Form::Bytes, append_request_header),
        "remove-header" => edit_name(linker, name, |state, name| {
            state.edit_request(|request| head::remove_header(&mut request.fields, name))
        }),
        _ => Ok(false),
    }
}

fn request_fields<'a>(state: &'a mut State, name: &str) -> Result<Option<&'a Fields>> {
    state.note_read("request.header ", name);
    Ok(Some(&state.exchange()?.request.fields))
}

fn set_request_header(state: &mut State, name: &str, value: &[u8]) -> Result<Edit> {
    state.edit_request(|request| {
        let fixed = fixed_size(request);
        head::set_header(&mut request.fields, fixed, name, value)
    })
}

fn append_request_header(state: &mut State, name: &str, value: &[u8]) -> Result<Edit> {
    state.edit_request(|request| {
        let fixed = fixed_size(request);
        head::append_header(&mut request.fields, fixed, name, value)
    })
}

pub(super) fn response(linker: &mut Linker<State>, name: Name<'_>, function: &str) -> Result<bool> {
    use policy::response::Host;
    match function {
        "status" => typed(linker, name, |state, (): ()| state.status()),
        "set-status" => typed(linker, name, |state, (status,)| state.set_status(status)),
        "header" => header(linker, name, Form::Text, response_fields),
        "header-bytes" => header(linker, name, Form::Bytes, response_fields),
        "header-values" => header_values(linker, name, Form::Text, response_fields),
        "header-values-bytes" => header_values(linker, name, Form::Bytes, response_fields),
        "headers" => typed(linker, name, |state, (): ()| Host::headers(state)),
        "headers-bytes" => typed(linker, name, |state, (): ()| Host::headers_bytes(state)),
        "set-header" => edit_field(linker, name, Form::Text, set_response_header),
        "set-header-bytes" => edit_field(linker, name, Form::Bytes, set_response_header),
        "append-header" => edit_field(linker, name, Form::Text, append_response_header),
        "append-header-bytes" => edit_field(linker, name, Form::Bytes, append_response_header),
        "remove-header" => edit_name(linker, name, |state, name| {
            state.edit_response(|response| head::remove_header(&mut response.fields, name))
        }),
        _ => Ok(false),
    }
}

fn response_fields<'a>(state: &'a mut State, name: &str) -> Result<Option<&'a Fields>> {
    state.note_read("response.header ", name);
    Ok(state.response()?.map(|response| &response.fields))
}

fn set_response_header(state: &mut State, name: &str, value: &[u8]) -> Result<Edit> {
    state.edit_response(|response| head::set_header(&mut response.fields, 0, name, value))
}

fn append_response_header(state: &mut State, name: &str, value: &[u8]) -> Result<Edit> {
    state.edit_response(|response| head::append_header(&mut response.fields, 0, name, value))
}

pub(super) fn trailers(linker: &mut Linker<State>, name: Name<'_>, function: &str) -> Result<bool> {
    use policy::trailers::Host;
    match function {
        "header" => header(linker, name, Form::Text, trailer_fields),
        "header-bytes" => header(linker, name, Form::Bytes, trailer_fields),
        "header-values" => header_values(linker, name, Form::Text, trailer_fields),
        "header-values-bytes" => header_values(linker, name, Form::Bytes, trailer_fields),
        "headers" => typed(linker, name, |state, (): ()| Host::headers(state)),
        "headers-bytes" => typed(linker, name, |state, (): ()| Host::headers_bytes(state)),
        "set-header" => edit_field(linker, name, Form::Text, set_trailer),
        "set-header-bytes" => edit_field(linker, name, Form::Bytes, set_trailer),
        "append-header" => edit_field(linker, name, Form::Text, append_trailer),
        "append-header-bytes" => edit_field(linker, name, Form::Bytes, append_trailer),
        "remove-header" => edit_name(linker, name, |state, name| {
            state.edit_trailers(name, |trailers| head::remove_header(trailers, name))
        }),
        _ => Ok(false),
    }
}

fn trailer_fields<'a>(state: &'a mut State, name: &str) -> Result<Option<&'a Fields>> {
    state.note_read("trailer ", name);
    state.trailers()
}

fn set_trailer(state: &mut State, name: &str, value: &[u8]) -> Result<Edit> {
    state.edit_trailers(name, |trailers| head::set_header(trailers, 0, name, value))
}

fn append_trailer(state: &mut State, name: &str, value: &[u8]) -> Result<Edit> {
    state.edit_trailers(name, |trailers| head::append_header(trailers, 0, name, value))
}

/// How values of fields are given and taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As text: what is given has U+FFFD in the place of what is not UTF-8, and what is taken must be UTF-8.
    Text,
    /// As they are.
    Bytes,
}

impl Form {
    /// Appends a value in this form.
    fn append(self, value: &[u8], to: &mut Vec<u8>) {
        // Nearly always it is UTF-8.
        if self == Self::Text && std::str::from_utf8(value).is_err() {
            to.extend_from_slice(String::from_utf8_lossy(value).as_bytes());
        } else {
            to.extend_from_slice(value);
        }
    }
}

/// All values of a field joined, see [`head::header`].
fn header(
    linker: &mut Linker<State>,
    (module, name): Name<'_>,
    form: Form,
    fields: for<'a> fn(&'a mut State, &str) -> Result<Option<&'a Fields>>,
) -> Result<bool> {
    linker.func_wrap(
        module,
        name,
        move |mut caller: Caller<'_, State>, name: u32, length: u32, out: u32| -> Result<()> {
            let (mut reader, state) = enter(&mut caller)?;
            let mut scratch = state.take_scratch();
            let name = reader.text(name, length)?;
            let value = fields(state, name)?.and_then(|fields| fields.get_joined(name.as_bytes()));
            let found = value.is_some();
            if let Some(value) = value {
                form.append(&value, &mut scratch);
            }
            give_found(&mut caller, found, &scratch, out)?;
            caller.data_mut().put_back(scratch);
            Ok(())
        },
    )?;
    Ok(true)
}

/// The value of each line of a field.
fn header_values(
    linker: &mut Linker<State>,
    (module, name): Name<'_>,
    form: Form,
    fields: for<'a> fn(&'a mut State, &str) -> Result<Option<&'a Fields>>,
) -> Result<bool> {
    linker.func_wrap(
        module,
        name,
        move |mut caller: Caller<'_, State>, name: u32, length: u32, out: u32| -> Result<()> {
            let (mut reader, state) = enter(&mut caller)?;
            let name = reader.text(name, length)?;
            let mut scratch = state.take_scratch();
            let mut lines =
                fields(state, name)?.into_iter().flat_map(|fields| fields.get_all(name.as_bytes()));
            // Nearly always there is one line.
            let first = lines.next().map(|line| form.append(line, &mut scratch));
            let in_form = |line: &[u8]| {
                let mut value = Vec::with_capacity(line.len());
                form.append(line, &mut value);
                value
            };
            let more: Vec<Vec<u8>> = lines.map(in_form).collect();
            let count = more.len() + usize::from(first.is_some());
            let mut writer = Writer(&mut caller);
            let place = writer.allocate(count * 8, 4)?;
            if first.is_some() {
                writer.give(place, &scratch)?;
            }
            for (at, value) in (1_u32..).zip(&more) {
                writer.give(place + 8 * at, value)?;
            }
            let mut list = [0; 8];
            list[..4].copy_from_slice(&place.to_le_bytes());
            list[4..].copy_from_slice(&u32::try_from(count)?.to_le_bytes());
            writer.write(out, &list)?;
            caller.data_mut().put_back(scratch);
            Ok(())
        },
    )?;
    Ok(true)
}

/// An edit with the name of a field and a value.
fn edit_field(
    linker: &mut Linker<State>,
    (module, name): Name<'_>,
    form: Form,
    edit: fn(&mut State, &str, &[u8]) -> Result<Edit>,
) -> Result<bool> {
    linker.func_wrap(
        module,
        name,
        move |mut caller: Caller<'_, State>,
              name: u32,
              name_length: u32,
              value: u32,
              length: u32,
              out: u32| {
            let (mut reader, state) = enter(&mut caller)?;
            let (name, value) = reader.text_and_bytes((name, name_length), (value, length))?;
            if form == Form::Text {
                std::str::from_utf8(value)?;
            }
            let edit = edit(state, name, value)?;
            edited(caller, &edit, out)
        },
    )?;
    Ok(true)
}

/// An edit with the name of a field alone.
fn edit_name(
    linker: &mut Linker<State>,
    (module, name): Name<'_>,
    edit: fn(&mut State, &str) -> Result<Edit>,
) -> Result<bool> {
    linker.func_wrap(
        module,
        name,
        move |mut caller: Caller<'_, State>, name: u32, length: u32, out: u32| {
            let (mut reader, state) = enter(&mut caller)?;
            let edit = edit(state, reader.text(name, length)?)?;
            edited(caller, &edit, out)
        },
    )?;
    Ok(true)
}
