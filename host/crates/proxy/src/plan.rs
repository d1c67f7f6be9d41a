//! What happens to a request, decided from values alone and in three steps: the route that takes it, whether it gets as
//! far as the policies, and what happens once they have permitted it.
//!
//! The exchange carries out what these functions return, and `explain` prints it. Neither decides anything itself, so
//! they cannot differ.

use std::num::NonZeroU16;

use portcullis_http::RequestHead;
use portcullis_model::{Action, Files, Forward, Redirect, Respond, Route};
use portcullis_policy::Exchange;

use crate::error::ExchangeError;
use crate::https;
use crate::receive::Received;
use crate::respond;
use crate::table::{RouteTable, Sender};
use crate::target::edit_response::MadeBy;

/// What happens to a request that the policies of its route have permitted.
#[derive(Debug)]
pub(crate) enum Plan<'r> {
    /// The gateway refuses it.
    Refuse(ExchangeError),
    /// The gateway answers it.
    Answer(Answer<'r>),
    /// The gateway sends a file.
    Serve(&'r Files),
    /// It goes to an upstream of its route.
    Forward(&'r Forward),
}

/// How the gateway answers a request itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer<'r> {
    /// As the last that the request is meant for: `Max-Forwards` is used up.
    LastRecipient,
    /// By sending the client elsewhere.
    Redirect(&'r Redirect),
    /// With what the configuration says.
    Respond(&'r Respond),
}

impl Answer<'_> {
    /// Returns whom the answer is of.
    pub(crate) fn made_by(self) -> MadeBy {
        match self {
            Self::LastRecipient => MadeBy::Others,
            Self::Redirect(_) | Self::Respond(_) => MadeBy::Route,
        }
    }
}

/// Returns the index of the route that takes the request in `exchange`, which came to `listener`, and gives the path
/// the form that this route asks for.
///
/// # Errors
/// If no route takes it, or if its path may not be read as that route would.
pub(crate) fn route(
    table: &RouteTable,
    listener: &str,
    exchange: &mut Exchange,
) -> Result<usize, ExchangeError> {
    let sender = Sender::new(listener, &exchange.client);
    let found = table.choose(sender, &mut exchange.request).map_err(ExchangeError::Path)?;
    found.ok_or(ExchangeError::NoRoute)
}

/// Decides whether the policies of `route` see a request, whose body has `body_length` bytes, if that is known.
/// `https_port` is the port that serves the route with TLS.
///
/// # Errors
/// If the route is served over TLS only and this is not, as keys and cookies that came in the clear are not worth a
/// look; or if the body is larger than the route takes.
pub(crate) fn admit(
    route: &Route,
    request: &RequestHead,
    body_length: Option<u64>,
    https_port: impl FnOnce() -> Option<NonZeroU16>,
) -> Result<(), ExchangeError> {
    if let Some(error) = https::refusal(route, request, https_port) {
        return Err(error);
    }
    match route.body_bytes_max {
        Some(limit) if body_length.is_some_and(|length| length > limit) => {
            Err(ExchangeError::BodyTooLarge { limit })
        }
        _ => Ok(()),
    }
}

/// Returns what happens to a request that the policies of `route` have permitted, as they have left it.
pub(crate) fn act<'r>(route: &'r Route, request: &RequestHead, received: Received) -> Plan<'r> {
    if request.method == "CONNECT" && request.upgrade.is_none() {
        return Plan::Refuse(ExchangeError::Connect);
    }
    if respond::is_unwanted_trace(route, request) {
        return Plan::Refuse(ExchangeError::Trace);
    }
    if received.ends_here {
        return Plan::Answer(Answer::LastRecipient);
    }
    match &route.action {
        Action::Forward(forward) => Plan::Forward(forward),
        Action::Redirect(redirect) => Plan::Answer(Answer::Redirect(redirect)),
        Action::Respond(respond) => Plan::Answer(Answer::Respond(respond)),
        Action::Files(_) if !matches!(request.method.as_str(), "GET" | "HEAD") => {
            Plan::Refuse(ExchangeError::FileMethod)
        }
        Action::Files(files) => Plan::Serve(files),
    }
}
