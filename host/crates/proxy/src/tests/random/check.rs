//! What a client asserts of the response that it got.

use super::plan::response_body;
use super::{Notes, broken, note};
use crate::tests::message::{Message, Received};

/// Checks what came for request `id`; `None` if the client went away before the end of it.
pub(super) fn response(id: u64, method: &str, received: Option<&Received>, notes: &Notes) {
    match received {
        Some(Received::Whole(response)) => whole(id, method, response, notes),
        Some(Received::Cut(response)) => {
            is_of_another(id, response, notes);
            let from_endpoint = response.field("x-id").is_some();
            if from_endpoint && !response_body(id).starts_with(&response.body) {
                broken(notes, format!("{id}: a response was changed and cut off"));
            }
        }
        Some(Received::Nothing) | None => {}
    }
}

fn whole(id: u64, method: &str, response: &Message, notes: &Notes) {
    if is_of_another(id, response, notes) {
        return;
    }
    match (response.field("x-id"), response.status()) {
        (Some(_), 200) => {
            let expected = if method == "HEAD" { Vec::new() } else { response_body(id) };
            if response.body == expected {
                note(notes, |ledger| ledger.answered += 1);
            } else {
                let (got, all) = (response.body.len(), expected.len());
                broken(notes, format!("{id}: {got} bytes of {all} were taken for whole"));
            }
        }
        // The gateway's own.
        (None, 400..) => {}
        (number, status) => broken(notes, format!("{id}: {status} with number {number:?}")),
    }
}

/// Returns whether the response belongs to another request.
fn is_of_another(id: u64, response: &Message, notes: &Notes) -> bool {
    let other = response.field("x-id").filter(|number| *number != id.to_string());
    if let Some(other) = other {
        broken(notes, format!("{id} got the response to {other}"));
    }
    other.is_some()
}
