//! Limits how often a client, a route or a named party may ask.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

use std::net::IpAddr;
use std::time::Duration;

use portcullis_sdk::prelude::*;
use portcullis_sdk::rate_limit::{Quota, Verdict, check};
use portcullis_sdk::{Field, Mistakes};

/// Settings of `builtin:rate-limit`.
#[derive(Debug, Config)]
pub struct Settings {
    /// How many requests in which time: a number, `/`, and `s`, `m` or `h`, such as `100/s` or `5/m`.
    #[config(pattern = "^[1-9][0-9]*/[smh]$")]
    rate: String,
    /// How many may come at once beyond the one that is due. Unless set, one less than the number of `rate`, so that
    /// all of it may come at once.
    burst: Option<u32>,
    /// What is counted apart: each client address (IPv6: each /64), the whole route, each value of a request field, or
    /// each value of an attribute that an earlier policy set. A request without that field or attribute is counted
    /// under its client's address.
    #[config(default = Key::ClientAddress)]
    key: Key,
    /// What the limit is called in the `RateLimit` fields.
    #[config(default = "default")]
    name: String,
    /// Whether answers carry the `RateLimit` and `RateLimit-Policy` fields.
    #[config(default = true)]
    fields: bool,
}

/// What is counted apart.
#[derive(Debug, Config)]
enum Key {
    /// Each address of a client; the first 64 bits of an IPv6 address, because one client has all of a /64.
    ClientAddress,
    /// The route: all its clients together.
    Route,
    /// Each value of this request field. Clients choose it, so put a policy before this one that checks it.
    #[config(means = "request-field")]
    Header(String),
    /// Each value of this attribute, such as `api-key.name`.
    #[config(means = "reads-attribute")]
    Attribute(String),
}

/// The policy.
#[derive(Debug)]
pub struct RateLimit {
    quota: Quota,
    key: Key,
    fields: Option<FieldTexts>,
}

/// What the fields of draft-ietf-httpapi-ratelimit-headers say in every answer.
#[derive(Debug)]
struct FieldTexts {
    /// The name, as a string of structured fields (RFC 9651, 3.3.3).
    name: String,
    /// All of `RateLimit-Policy`.
    policy: String,
}

#[policy(
    name = "rate-limit",
    description = "Limits how often a client, a route or a named party may ask.",
    capabilities = ["rate-limit"],
    attributes = []
)]
impl RateLimit {
    fn configure(settings: Settings) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::new();
        let rate = parse_rate(&settings.rate);
        if rate.is_none() {
            let text = format!(
                "\"{}\" is not a rate; write a number, `/`, and s, m or h, such as \"100/s\"",
                settings.rate
            );
            mistakes.add("/rate", text);
        }
        if let Key::Header(name) = &settings.key
            && Field::check_name(name) == Err(Refused::InvalidName)
        {
            mistakes.add("/key/header", format!("\"{name}\": {}", Refused::InvalidName));
        }
        if !settings.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            || settings.name.is_empty()
        {
            mistakes
                .add("/name", format!("\"{}\": expected letters, digits, `-`, `_` and `.`", settings.name));
        }
        let (requests, per) = mistakes.or(rate.unwrap_or((1, Duration::from_secs(1))))?;
        let name = format!("\"{}\"", settings.name);
        let policy = format!("{name};q={requests};w={}", per.as_secs());
        Ok(Self {
            quota: Quota { requests, per, burst: settings.burst.unwrap_or(requests - 1) },
            key: settings.key,
            fields: settings.fields.then_some(FieldTexts { name, policy }),
        })
    }

    fn on_request_head(&self, request: &Request, exchange: &mut Exchange) -> Result<(), Stop> {
        let verdict = check(&self.bucket(request, exchange), self.quota, 1);
        if !verdict.allowed {
            return Err(self.refuse(&verdict).into());
        }
        if self.fields.is_some() {
            // For the response, which another policy may answer or the upstream much later.
            let reset = seconds(verdict.reset_after);
            let state = [verdict.remaining.to_le_bytes(), reset.to_le_bytes()];
            exchange.set_state(state.as_flattened())?;
        }
        Ok(())
    }

    fn on_response_head(&self, response: &mut Response, exchange: &Exchange) {
        let Some(fields) = &self.fields else { return };
        let state = exchange.state();
        // Without state the request never came by here: the gateway answered it before.
        let Some((remaining, reset)) = state.split_first_chunk::<4>() else { return };
        let Ok(reset) = <[u8; 4]>::try_from(reset) else { return };
        let limit = fields.limit(u32::from_le_bytes(*remaining), u32::from_le_bytes(reset));
        // Both are lists: an upstream's own limits, and those of other policies, stay beside this one. The only refusal
        // left is that the head is full, and then an answer without this advice is better than none.
        if response.append_header("ratelimit-policy", &fields.policy).is_ok() {
            response.append_header("ratelimit", limit).unwrap_or_default();
        }
    }

    /// The bucket that a request is counted in. The first letter keeps kinds apart.
    fn bucket(&self, request: &Request, exchange: &Exchange) -> String {
        let named = match &self.key {
            Key::ClientAddress => None,
            Key::Route => return format!("r{}", exchange.route()),
            Key::Header(name) => request.header(name),
            Key::Attribute(name) => exchange.attribute(name),
        };
        match named {
            Some(mut value) => {
                value.insert(0, 'v');
                value
            }
            None => match exchange.client_address() {
                IpAddr::V4(address) => {
                    let mut text = String::with_capacity("a255.255.255.255".len());
                    for (octet, before) in address.octets().into_iter().zip("a...".chars()) {
                        text.push(before);
                        push_number(&mut text, octet.into());
                    }
                    text
                }
                IpAddr::V6(address) => format!("a{:x}", address.to_bits() >> 64),
            },
        }
    }

    fn refuse(&self, verdict: &Verdict) -> Reply {
        // At least one second: zero would ask for the same again at once.
        let retry = seconds(verdict.retry_after).max(1);
        let reply = Reply::new(429).header("retry-after", retry.to_string()).text("too many requests\n");
        match &self.fields {
            None => reply,
            Some(fields) => reply
                .header("ratelimit-policy", &fields.policy)
                .header("ratelimit", fields.limit(verdict.remaining, seconds(verdict.reset_after))),
        }
    }
}

impl FieldTexts {
    /// The value of `RateLimit`.
    fn limit(&self, remaining: u32, reset: u32) -> String {
        let mut text = String::with_capacity(self.name.len() + "r=;;t=".len() + 2 * DIGITS_MAX);
        text.push_str(&self.name);
        text.push_str(";r=");
        push_number(&mut text, remaining);
        text.push_str(";t=");
        push_number(&mut text, reset);
        text
    }
}

/// The most digits of a number.
const DIGITS_MAX: usize = 10;

/// Appends a number. `format!` takes as long as all the rest of a hook.
fn push_number(text: &mut String, mut number: u32) {
    let mut digits = [0; DIGITS_MAX];
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend(digits[from..].iter().map(|digit| char::from(*digit)));
}

fn parse_rate(text: &str) -> Option<(u32, Duration)> {
    let (requests, unit) = text.split_once('/')?;
    let digits = requests.bytes().all(|byte| byte.is_ascii_digit());
    let requests = requests.parse().ok().filter(|requests| digits && *requests > 0)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some((requests, Duration::from_secs(seconds)))
}

/// Whole seconds, rounded up: too late is right, too early is not.
fn seconds(duration: Duration) -> u32 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    u32::try_from(whole).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
