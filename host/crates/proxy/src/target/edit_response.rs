//! Changes the fields of a response before it is sent to the client.

use portcullis_http::ResponseHead;
use portcullis_model::{FieldChange, FieldEdit, ResponseEdits};

use crate::error::ExchangeError;

/// Who made a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MadeBy {
    /// The upstream, or the route's own action.
    Route,
    /// The gateway, which refuses the request or reports a failure, or a policy.
    Others,
}

/// Applies the changes of a route to a response, if they are for one that `made_by` made.
///
/// # Errors
/// If the fields find no room.
pub(crate) fn edit_response(
    edits: &ResponseEdits,
    made_by: MadeBy,
    head: &mut ResponseHead,
) -> Result<(), ExchangeError> {
    if made_by == MadeBy::Others && !edits.always {
        return Ok(());
    }
    for FieldEdit { name, change } in &edits.fields {
        let name = name.as_bytes();
        let done = match change {
            FieldChange::Remove => {
                head.fields.remove(name);
                Ok(())
            }
            FieldChange::Set(value) => head.fields.set(name, value.as_bytes()),
            FieldChange::Add(value) => head.fields.append(name, value.as_bytes()),
        };
        done.map_err(|_| ExchangeError::ResponseTooLarge)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_without_room_is_an_error_and_never_sent_without_its_changes() {
        let change = FieldChange::Add("1".to_owned());
        let edits =
            ResponseEdits { fields: vec![FieldEdit { name: "x-a".to_owned(), change }], always: false };
        let mut head = ResponseHead::default();
        while head.fields.append(b"x-b", b"1").is_ok() {}
        assert!(edit_response(&edits, MadeBy::Others, &mut head).is_ok());
        assert!(edit_response(&edits, MadeBy::Route, &mut head).is_err());
    }
}
