//! What becomes of the head of a response.

#[cfg(test)]
mod tests;

use portcullis_http::{FieldError, Fields, is_weak_match, list_elements};
use portcullis_model::Coding;

/// Says in a response's fields that its content is encoded: `Content-Encoding` and `Vary` are added, a strong `ETag`
/// becomes weak, and what is about the plain bytes goes: `Accept-Ranges` and digests.
///
/// # Errors
/// If there is no room. The response may then be sent as it is.
pub fn mark_encoded(fields: &mut Fields, coding: Coding) -> Result<(), FieldError> {
    fields.append(b"content-encoding", coding.name().as_bytes())?;
    if let Err(full) = mark_varying(fields).and_then(|()| weaken(fields)) {
        fields.remove(b"content-encoding");
        return Err(full);
    }
    remove_digests(fields);
    Ok(())
}

/// Says in a response's fields that other clients may get another coding.
///
/// # Errors
/// If there is no room.
pub fn mark_varying(fields: &mut Fields) -> Result<(), FieldError> {
    let is_covering = |name: &[u8]| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding");
    let is_covered = fields.get_all(b"vary").flat_map(list_elements).any(is_covering);
    if is_covered { Ok(()) } else { fields.append(b"vary", b"accept-encoding") }
}

/// Says in the fields of a message, whose `Content-Encoding` was removed, that its content was decoded: a strong `ETag`
/// becomes weak, and what is about the encoded bytes goes.
pub fn mark_decoded(fields: &mut Fields) {
    // A section without room goes without the tag, which would be wrong.
    if weaken(fields).is_err() {
        fields.remove(b"etag");
    }
    remove_digests(fields);
}

/// Removes what is about the bytes of content that was changed.
fn remove_digests(fields: &mut Fields) {
    for name in ["accept-ranges", "content-md5", "content-digest", "repr-digest", "digest"] {
        fields.remove(name.as_bytes());
    }
}

/// Says in the fields of a 304 that the client holds the encoded response, if the request's `If-None-Match` has the
/// weak form of its strong tag: the client would not find what it holds by the strong one (RFC 9111, 4.3.4).
///
/// # Errors
/// If there is no room.
pub fn mark_not_modified(fields: &mut Fields, request: &Fields) -> Result<(), FieldError> {
    let Some(tag) = fields.get(b"etag").filter(|tag| !tag.starts_with(b"W/")) else { return Ok(()) };
    let is_its = |held: &[u8]| held.starts_with(b"W/") && is_weak_match(held, tag);
    if !request.get_all(b"if-none-match").flat_map(list_elements).any(is_its) {
        return Ok(());
    }
    weaken(fields)?;
    mark_varying(fields)
}

/// Makes a strong tag weak: the encoded bytes are others, and mean the same.
fn weaken(fields: &mut Fields) -> Result<(), FieldError> {
    let Some(tag) = fields.get(b"etag").filter(|tag| !tag.starts_with(b"W/")) else { return Ok(()) };
    let weak = [b"W/", tag].concat();
    fields.set(b"etag", &weak)
}
