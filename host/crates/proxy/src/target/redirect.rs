//! Sends the client elsewhere.

use bytes::Bytes;
use portcullis_http::{RequestHead, ResponseHead, reason_phrase};
use portcullis_model::{Redirect, RouteMatch, Scope};

use super::template::fill;
use crate::error::ExchangeError;

/// Makes `head` the redirect of `request`, whose route matches `matches`, and returns its body.
///
/// # Errors
/// If no place can be named for this request.
pub(super) fn redirect(
    redirect: &Redirect,
    matches: &RouteMatch,
    request: &RequestHead,
    head: &mut ResponseHead,
) -> Result<Bytes, ExchangeError> {
    let location = location(redirect, matches, request).ok_or(ExchangeError::NoLocation)?;
    head.clear();
    head.status = redirect.status;
    let text = format!("{} {}\n{location}\n", redirect.status, reason_phrase(redirect.status));
    for (name, value) in [("location", location.as_str()), ("content-type", "text/plain; charset=utf-8")] {
        head.fields.set(name.as_bytes(), value.as_bytes()).map_err(|_| ExchangeError::NoLocation)?;
    }
    Ok(Bytes::from(text))
}

/// Returns the value of `Location`, or `None` if it would start with two slashes, or a slash and a backslash:
/// browsers take that for the name of another server.
fn location(redirect: &Redirect, matches: &RouteMatch, request: &RequestHead) -> Option<String> {
    let location = fill(&redirect.to, Scope::of(matches), request)?;
    let mut letters = location.chars();
    match (letters.next(), letters.next()) {
        (Some('/'), Some('/' | '\\')) => None,
        _ => Some(location),
    }
}

#[cfg(test)]
mod tests;
