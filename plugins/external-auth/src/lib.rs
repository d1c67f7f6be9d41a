//! Asks an HTTP service whether a request may pass.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod lines;

use std::time::Duration;

use portcullis_sdk::http_client::{self, Inbound, Outbound};
use portcullis_sdk::prelude::*;
use portcullis_sdk::{Field, Mistakes, log};

/// The one field whose lines are never joined (RFC 9110, 5.3).
const SET_COOKIE: &str = "set-cookie";

/// Settings of `builtin:external-auth`.
#[derive(Debug, Config)]
pub struct Settings {
    /// The service, which `grants.http` must name as well. It is asked with the original request in
    /// `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri` and `-For`, and lets it through by any status from 200 to 299.
    #[config(means = "url")]
    url: String,
    /// The method it is asked by.
    #[config(default = "GET", pattern = "^[A-Z]+$")]
    method: String,
    /// How long it may take, in milliseconds.
    #[config(default = 1000, minimum = 1, maximum = 30_000)]
    timeout_ms: u32,
    /// Fields of the request that it is shown: `authorization` and `cookie` if nothing is said.
    #[config(means = "request-field")]
    request_fields: Option<Vec<String>>,
    /// Fields of its answer that the upstream gets with a request that it lets through. What the client sent under
    /// these names is dropped.
    #[config(default)]
    upstream_fields: Vec<String>,
    /// Fields of its answer that the client gets with the response to a request that it lets through, such as
    /// `set-cookie` of a session that it renews. They take the place of the upstream's, except for `set-cookie`, which
    /// is added.
    #[config(default)]
    client_fields: Vec<String>,
    /// Fields of its answer that the client gets with a refusal: `content-type`, `location`, `set-cookie` and
    /// `www-authenticate` if nothing is said.
    reply_fields: Option<Vec<String>>,
}

/// The policy.
#[derive(Debug)]
pub struct ExternalAuth {
    method: String,
    url: String,
    timeout: Duration,
    request_fields: Vec<String>,
    upstream_fields: Vec<String>,
    client_fields: Vec<String>,
    reply_fields: Vec<String>,
}

#[policy(
    name = "external-auth",
    description = "Asks an HTTP service whether a request may pass.",
    capabilities = ["http-client", "log"],
    attributes = []
)]
impl ExternalAuth {
    fn configure(settings: Settings) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::new();
        let Settings {
            url,
            method,
            timeout_ms,
            request_fields,
            upstream_fields,
            client_fields,
            reply_fields,
        } = settings;
        if !url.starts_with("http://") && !url.starts_with("https://") {
            mistakes.add("/url", "it does not begin with http:// or https://");
        }
        let usual = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let request_fields = request_fields.unwrap_or_else(|| usual(&["authorization", "cookie"]));
        let reply_fields = reply_fields
            .unwrap_or_else(|| usual(&["content-type", "location", "set-cookie", "www-authenticate"]));
        let lists = [
            ("request-fields", &request_fields),
            ("upstream-fields", &upstream_fields),
            ("client-fields", &client_fields),
            ("reply-fields", &reply_fields),
        ];
        for (list, names) in lists {
            for (at, name) in names.iter().enumerate() {
                let pointer = format!("/{list}/{at}");
                // The gateway writes some fields itself; the others must be names.
                if Field::check_name(name).is_err() {
                    mistakes
                        .add(pointer, format!("`{name}` is not the name of a field that can be passed on"));
                } else if list == "upstream-fields" && name.eq_ignore_ascii_case(SET_COOKIE) {
                    let text = "`set-cookie` is for clients, and an upstream ignores it; write client-fields = [\"set-cookie\"]";
                    mistakes.add(pointer, text);
                }
            }
        }
        let timeout = Duration::from_millis(timeout_ms.into());
        mistakes.or(Self {
            method,
            url,
            timeout,
            request_fields,
            upstream_fields,
            client_fields,
            reply_fields,
        })
    }

    fn on_request_head(&self, request: &mut Request, exchange: &mut Exchange) -> Result<(), Stop> {
        // Only the service sets these, whatever it answers.
        for name in &self.upstream_fields {
            request.remove_header(name)?;
        }
        let answer = self.question(request, exchange).send().map_err(|error| {
            log::warn(format!("the service cannot be asked: {error}"));
            unavailable()
        })?;
        if answer.is_success() {
            for (name, value) in fields(&answer, &self.upstream_fields) {
                request.append_header(name, value)?;
            }
            let for_client = lines::write(fields(&answer, &self.client_fields));
            if !for_client.is_empty() && exchange.set_state(&for_client).is_err() {
                log::warn("the service's fields for the client are too long to be kept");
                return Err(unavailable().into());
            }
            return Ok(());
        }
        Err(self.refusal(&answer).into())
    }

    fn on_response_head(&self, response: &mut Response, exchange: &Exchange) -> Result<(), Stop> {
        if self.client_fields.is_empty() {
            return Ok(());
        }
        let state = exchange.state();
        let kept: Vec<(&str, &[u8])> = lines::read(&state).collect();
        // What the service says takes the place of what the upstream says; each cookie stands on a line of its own.
        for (name, _) in kept.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(SET_COOKIE)) {
            response.remove_header(name)?;
        }
        for (name, value) in kept {
            response.append_header(name, value)?;
        }
        Ok(())
    }

    fn question(&self, request: &Request, exchange: &Exchange) -> Outbound {
        let uri = match request.query() {
            Some(query) => format!("{}?{query}", request.path()),
            None => request.path(),
        };
        let mut question = http_client::request(&self.method, &self.url)
            .timeout(self.timeout)
            .header("x-forwarded-method", request.method())
            .header("x-forwarded-proto", request.scheme())
            .header("x-forwarded-host", request.authority())
            .header("x-forwarded-uri", uri)
            .header("x-forwarded-for", exchange.client_address().to_string());
        for name in &self.request_fields {
            // What is written above is not for the client to say.
            if !name.to_ascii_lowercase().starts_with("x-forwarded-") {
                for value in request.header_values_bytes(name) {
                    question = question.header(name, value);
                }
            }
        }
        question
    }

    /// The service's own answer, if it is one that a client can do something with.
    fn refusal(&self, answer: &Inbound) -> Reply {
        if !matches!(answer.status, 300..=303 | 307..=499) {
            log::warn(format!("the service answered {}", answer.status));
            return unavailable();
        }
        let mut reply = Reply::new(answer.status);
        for (name, value) in fields(answer, &self.reply_fields) {
            reply = reply.header(name, value);
        }
        reply.body.clone_from(&answer.body);
        reply
    }
}

/// The lines of an answer that have one of these names.
fn fields<'a>(answer: &'a Inbound, names: &'a [String]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    let wanted = |name: &str| names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
    answer
        .headers
        .iter()
        .filter(move |field| wanted(&field.name))
        .map(|field| (field.name.as_str(), field.value.as_slice()))
}

fn unavailable() -> Reply {
    Reply::new(503).text("the request cannot be authorized now\n")
}

#[cfg(test)]
mod tests;
