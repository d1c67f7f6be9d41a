//! Asks an HTTP service whether a request may pass.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

use std::time::Duration;

use portcullis_sdk::http_client::{self, Inbound, Outbound};
use portcullis_sdk::prelude::*;
use portcullis_sdk::{Field, log};

/// Settings of `builtin:external-auth`.
#[derive(Debug, Config)]
pub struct Settings {
    /// The service, which `grants.http` must name as well. It is asked with the original request in `X-Forwarded-Method`,
    /// `-Proto`, `-Host`, `-Uri` and `-For`, and lets it through by any status from 200 to 299.
    url: String,
    /// The method it is asked by.
    #[config(default = "GET", pattern = "^[A-Z]+$")]
    method: String,
    /// How long it may take, in milliseconds.
    #[config(default = 1000, minimum = 1, maximum = 30_000)]
    timeout_ms: u32,
    /// Fields of the request that it is shown: `authorization` and `cookie` where nothing is said.
    request_fields: Option<Vec<String>>,
    /// Fields of its answer that the upstream gets with a request that it lets through. What the client sent under these
    /// names is dropped.
    #[config(default)]
    upstream_fields: Vec<String>,
    /// Fields of its answer that the client gets with a refusal: `content-type`, `location`, `set-cookie` and
    /// `www-authenticate` where nothing is said.
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
    reply_fields: Vec<String>,
}

#[policy(
    name = "external-auth",
    description = "Asks an HTTP service whether a request may pass.",
    capabilities = ["http-client", "log"]
)]
impl ExternalAuth {
    fn configure(settings: Settings) -> Result<Self, String> {
        let Settings { url, method, timeout_ms, request_fields, upstream_fields, reply_fields } = settings;
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err("url must begin with http:// or https://".to_owned());
        }
        let usual = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let request_fields = request_fields.unwrap_or_else(|| usual(&["authorization", "cookie"]));
        let reply_fields = reply_fields
            .unwrap_or_else(|| usual(&["content-type", "location", "set-cookie", "www-authenticate"]));
        for name in request_fields.iter().chain(&upstream_fields).chain(&reply_fields) {
            // The gateway writes some fields itself; the others must be names.
            if Field::check_name(name).is_err() {
                return Err(format!("`{name}` is not the name of a field that can be passed on"));
            }
        }
        let timeout = Duration::from_millis(timeout_ms.into());
        Ok(Self { method, url, timeout, request_fields, upstream_fields, reply_fields })
    }

    fn on_request_head(&self, request: &mut Request, exchange: &Exchange) -> Result<(), Reply> {
        // Nobody but the service says these, whatever it answers.
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
            return Ok(());
        }
        Err(self.refusal(&answer))
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
                for value in request.header_values(name) {
                    question = question.header(name, value);
                }
            }
        }
        question
    }

    /// The service's own answer, where it is one that a client can do something with.
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
