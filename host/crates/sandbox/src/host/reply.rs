//! `exchange.reply`: checks what a policy wants its client to be answered. A guest is trusted no further than a client.

use portcullis_http::{FieldError, Fields, is_gateway_owned};
use portcullis_policy::Reply;

use super::head::{HEAD_BYTES_MAX, line_size, refused};
use crate::component::bindings::portcullis::policy::types::{FieldBytes, Refused};

/// Returns the reply, if the gateway can send it.
pub(super) fn check_reply(
    status: u16,
    headers: &[FieldBytes],
    body: Vec<u8>,
    body_bytes_max: usize,
) -> Result<Reply, Refused> {
    if !(200..=599).contains(&status) {
        return Err(Refused::InvalidValue);
    }
    let mut fields = Fields::new();
    let mut size = 0;
    for (name, value) in headers {
        if is_gateway_owned(name.as_bytes()) {
            return Err(Refused::Forbidden);
        }
        size += line_size(name, value);
        let added = if size > HEAD_BYTES_MAX {
            Err(FieldError::TooLarge)
        } else {
            fields.append(name.as_bytes(), value)
        };
        added.map_err(refused)?;
    }
    if body.len() > body_bytes_max {
        return Err(Refused::TooLarge);
    }
    Ok(Reply { status, fields, body: body.into() })
}
