//! Checks what a hook returned. A guest is trusted no further than a client.

use bytes::Bytes;
use portcullis_http::{FieldError, Fields, is_gateway_owned};
use portcullis_model::ResourceLimits;
use portcullis_model::text::one_line;
use portcullis_policy::{BodyDecision, Decision, FaultKind, Reply};

use crate::component::bindings::portcullis::policy::types;
use crate::host::head::HEAD_BYTES_MAX;
use crate::instance::fault::Failure;

/// Of a head hook.
pub(crate) fn head(decision: types::Decision, limits: &ResourceLimits) -> Result<Decision, Failure> {
    match decision {
        types::Decision::Next => Ok(Decision::Next),
        types::Decision::Reply(reply) => Ok(Decision::Reply(check_reply(reply, limits)?)),
    }
}

/// Of a body hook.
pub(crate) fn body(decision: types::BodyDecision, limits: &ResourceLimits) -> Result<Decision, Failure> {
    Ok(match decision {
        types::BodyDecision::Forward => Decision::Body(BodyDecision::Forward),
        types::BodyDecision::Hold => Decision::Body(BodyDecision::Hold),
        types::BodyDecision::Replace(bytes) => {
            Decision::Body(BodyDecision::Replace(check_size(bytes, "replaced a piece of body by", limits)?))
        }
        types::BodyDecision::Reply(reply) => Decision::Reply(check_reply(reply, limits)?),
    })
}

fn check_reply(reply: types::Reply, limits: &ResourceLimits) -> Result<Reply, Failure> {
    let types::Reply { status, headers, body } = reply;
    if !(200..=599).contains(&status) {
        let message = format!("it replied with the status {status}, which is not one from 200 to 599");
        return Err(Failure::new(FaultKind::InvalidReturn, message));
    }
    let mut fields = Fields::new();
    let mut size = 0;
    for field in &headers {
        let name = || one_line(&field.name, 100);
        if is_gateway_owned(field.name.as_bytes()) {
            let message = format!("it replied with the field `{}`, which the gateway alone writes", name());
            return Err(Failure::new(FaultKind::InvalidReturn, message));
        }
        size += field.name.len() + field.value.len() + 32;
        let added = if size > HEAD_BYTES_MAX {
            Err(FieldError::TooLarge)
        } else {
            fields.append(field.name.as_bytes(), &field.value)
        };
        added.map_err(|error| {
            let kind = match error {
                FieldError::TooLarge => FaultKind::TooLarge,
                FieldError::InvalidName | FieldError::InvalidValue => FaultKind::InvalidReturn,
            };
            Failure::new(kind, format!("it replied with the field `{}`: {error}", name()))
        })?;
    }
    let body = check_size(body, "replied with a body of", limits)?;
    Ok(Reply { status, fields, body })
}

fn check_size(bytes: Vec<u8>, what: &str, limits: &ResourceLimits) -> Result<Bytes, Failure> {
    if bytes.len() > limits.body_bytes {
        let message = format!("it {what} {} bytes; its body limit is {}", bytes.len(), limits.body_bytes);
        return Err(Failure::new(FaultKind::TooLarge, message));
    }
    Ok(bytes.into())
}
