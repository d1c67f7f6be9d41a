//! What the functions of `request`, `response`, `body`, `trailers`, `outcome`, `exchange`, `connection` and `cache`
//! have in common: reading and editing the fields of a head.

use portcullis_http::{FieldError, Fields, is_field_value, is_gateway_owned, is_hop_by_hop, is_token};
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use crate::component::bindings::portcullis::policy;
use crate::component::bindings::portcullis::policy::types::{Field, FieldBytes, Refused};
use crate::instance::state::State;

/// Bytes that a head may have after an edit, as [`Fields::size`] counts them. A head that came in larger may still be
/// edited, but not grow.
pub(crate) const HEAD_BYTES_MAX: usize = 64 << 10;

/// Defines the functions.
pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    policy::types::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    policy::request::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    policy::response::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    policy::body::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    policy::trailers::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    policy::outcome::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    policy::exchange::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    policy::connection::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    policy::cache::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl policy::types::Host for State {}

/// The outcome of an edit: refusing is an answer, not an error.
pub(crate) type Edit = std::result::Result<(), Refused>;

/// The text of a value, with U+FFFD in the place of what is not UTF-8.
pub(crate) fn text(value: Vec<u8>) -> String {
    // Nearly always UTF-8 already, which then is the string without another copy.
    String::from_utf8(value).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// All values of a field as one, see [`Fields::get_joined`].
pub(crate) fn header(fields: &Fields, name: &str) -> Option<Vec<u8>> {
    Some(fields.get_joined(name.as_bytes())?.into_owned())
}

pub(crate) fn header_values(fields: &Fields, name: &str) -> Vec<Vec<u8>> {
    fields.get_all(name.as_bytes()).map(<[u8]>::to_vec).collect()
}

pub(crate) fn headers(fields: &Fields) -> Vec<FieldBytes> {
    let seen = fields.iter().filter(|(known, _, _)| !is_hop_by_hop(*known));
    seen.map(|(_, name, value)| (name.to_owned(), value.to_vec())).collect()
}

/// Lines as text, see [`text`].
pub(crate) fn as_text(lines: Vec<FieldBytes>) -> Vec<Field> {
    lines.into_iter().map(|(name, value)| (name, text(value))).collect()
}

/// Lines as bytes.
pub(crate) fn as_bytes(lines: Vec<Field>) -> Vec<FieldBytes> {
    lines.into_iter().map(|(name, value)| (name, value.into_bytes())).collect()
}

/// Replaces all lines of a field by one. `fixed` is what the rest of the head takes.
pub(crate) fn set_header(fields: &mut Fields, fixed: usize, name: &str, value: &[u8]) -> Edit {
    check_field(name, value)?;
    let old: usize = fields.get_all(name.as_bytes()).map(|old| line_size(name, old)).sum();
    check_size(fixed + fields.size(), old, line_size(name, value))?;
    fields.set(name.as_bytes(), value).map_err(refused)
}

/// Adds a line.
pub(crate) fn append_header(fields: &mut Fields, fixed: usize, name: &str, value: &[u8]) -> Edit {
    check_field(name, value)?;
    check_size(fixed + fields.size(), 0, line_size(name, value))?;
    fields.append(name.as_bytes(), value).map_err(refused)
}

/// Removes all lines.
pub(crate) fn remove_header(fields: &mut Fields, name: &str) -> Edit {
    check_name(name)?;
    fields.remove(name.as_bytes());
    Ok(())
}

pub(crate) fn check_name(name: &str) -> Edit {
    // A pseudo-field is no token either; which it is, is not for the guest to care.
    if is_gateway_owned(name.as_bytes()) {
        return Err(Refused::Forbidden);
    }
    if is_token(name.as_bytes()) { Ok(()) } else { Err(Refused::InvalidName) }
}

pub(crate) fn check_field(name: &str, value: &[u8]) -> Edit {
    check_name(name)?;
    if is_field_value(value) { Ok(()) } else { Err(Refused::InvalidValue) }
}

/// Whether a head of `size` may lose `old` and gain `new` bytes.
pub(crate) fn check_size(size: usize, old: usize, new: usize) -> Edit {
    if new > old && size - old + new > HEAD_BYTES_MAX { Err(Refused::TooLarge) } else { Ok(()) }
}

/// A line as [`Fields::size`] counts it.
pub(crate) fn line_size(name: &str, value: &[u8]) -> usize {
    name.len() + value.len() + 32
}

pub(crate) fn refused(error: FieldError) -> Refused {
    match error {
        FieldError::InvalidName => Refused::InvalidName,
        FieldError::InvalidValue => Refused::InvalidValue,
        FieldError::TooLarge => Refused::TooLarge,
    }
}
