//! `exchange.reply`: checks what a policy wants its client to be answered. A guest is trusted no further than a client.

use portcullis_http::{FieldError, Fields, is_gateway_owned};
use portcullis_policy::Reply;

use super::head::{HEAD_BYTES_MAX, refused};
use crate::component::bindings::portcullis::policy::types::{Field, Refused};

/// Returns the reply, if the gateway can send it.
pub(super) fn check_reply(
    status: u16,
    headers: &[Field],
    body: Vec<u8>,
    body_bytes_max: usize,
) -> Result<Reply, Refused> {
    if !(200..=599).contains(&status) {
        return Err(Refused::InvalidValue);
    }
    let mut fields = Fields::new();
    let mut size = 0;
    for field in headers {
        if is_gateway_owned(field.name.as_bytes()) {
            return Err(Refused::Forbidden);
        }
        size += field.name.len() + field.value.len() + 32;
        let added = if size > HEAD_BYTES_MAX {
            Err(FieldError::TooLarge)
        } else {
            fields.append(field.name.as_bytes(), &field.value)
        };
        added.map_err(refused)?;
    }
    if body.len() > body_bytes_max {
        return Err(Refused::TooLarge);
    }
    Ok(Reply { status, fields, body: body.into() })
}
