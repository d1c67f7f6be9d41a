//! Answers from the configuration.

use bytes::Bytes;
use portcullis_http::ResponseHead;
use portcullis_model::Respond;

use crate::error::ExchangeError;

/// Makes `head` the answer and returns its body.
///
/// # Errors
/// If the fields are more than a section holds.
pub(super) fn respond(respond: &Respond, head: &mut ResponseHead) -> Result<Bytes, ExchangeError> {
    head.clear();
    head.status = respond.status;
    for (name, value) in &respond.fields {
        let set = head.fields.set(name.as_bytes(), value.as_bytes());
        set.map_err(|_| ExchangeError::ResponseTooLarge)?;
    }
    Ok(Bytes::from_owner(respond.body.clone()))
}
