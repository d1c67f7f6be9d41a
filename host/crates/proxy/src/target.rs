//! What routes do with a request that their policies have permitted: a file for each action, and one for each way to
//! change a message.

pub(crate) mod edit_response;
pub(crate) mod files;
pub(crate) mod forward;
mod redirect;
mod respond;
pub(crate) mod rewrite;
mod template;

use bytes::Bytes;
use portcullis_model::Route;
use portcullis_policy::{Exchange, Permitted};

use crate::error::ExchangeError;
use crate::plan::Answer;
use crate::respond::last_recipient;

/// Puts the gateway's own answer to a permitted request into the exchange, and returns its body. The answer then goes
/// back through the policies like every other.
///
/// # Errors
/// If the route has no answer to this request.
pub(crate) fn answer(
    answer: Answer<'_>,
    route: &Route,
    permitted: Permitted<Box<Exchange>>,
) -> (Box<Exchange>, Result<Bytes, ExchangeError>) {
    let mut exchange = permitted.into_inner();
    let Exchange { request, response, .. } = &mut *exchange;
    let body = match answer {
        Answer::LastRecipient => Ok(last_recipient(request, response)),
        Answer::Redirect(action) => redirect::redirect(action, &route.matches, request, response),
        Answer::Respond(action) => respond::respond(action, response),
    };
    (exchange, body)
}
