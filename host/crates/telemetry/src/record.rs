//! The record of one exchange, and its two forms.
//!
//! A line of text begins with the combined format, so that tools that know it can read it, followed by `key=value`
//! pairs. JSON is an object. In both, values that a client or a policy chose are escaped and cut, so that no request
//! can forge a line or fill the disk.
//!
//! The record has neither the query nor the referrer: queries contain tokens, keys and names of people, and a log is
//! kept longer and read by more people than the request.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use portcullis_model::PolicyCost;
use portcullis_model::text::push_decimal;

use crate::cache_result::CacheResult;
use crate::encoding_result::{EncodingReport, EncodingResult};
use crate::escape::{push_json, push_seconds, push_text};
use crate::fault_side::FaultSide;
use crate::timestamp::Timestamp;

/// Bytes of a path (or of an invalid one) that are kept.
const PATH_MAX: usize = 2048;
/// Bytes of any other text that are kept.
const TEXT_MAX: usize = 512;
/// Policies whose cost is listed separately. The total is always there.
const POLICIES_MAX: usize = 32;
/// Bytes of all attributes together, beyond which further ones are left out.
const ATTRIBUTES_MAX: usize = 4096;

/// One finished exchange. A value that is `None` is left out (JSON), or `-` if the combined format has a place for it.
#[derive(Debug, Clone)]
pub struct AccessRecord<'a> {
    /// When the exchange ended, which orders the records.
    pub ended: Instant,
    /// The same for people. The request's head was complete `duration` earlier.
    pub time: SystemTime,
    /// The client: the peer, or what a trusted proxy said.
    pub client: IpAddr,
    /// The peer of the connection.
    pub peer: IpAddr,
    /// The load balancer that named the peer.
    pub proxy: Option<IpAddr>,
    /// The listener's name.
    pub listener: &'a str,
    /// The method. Empty if the request could not be read.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host and port as the client named them.
    pub authority: &'a str,
    /// The path, normalised, without its query. The raw path if the request was refused before it was parsed.
    pub path: &'a [u8],
    /// `HTTP/1.1`, `HTTP/2.0`, …
    pub version: &'a str,
    /// The status that the client got; 0 if it got none.
    pub status: u16,
    /// The route.
    pub route: Option<&'a str>,
    /// The upstream.
    pub upstream: Option<&'a str>,
    /// The endpoint that was tried last, `host:port`.
    pub endpoint: Option<&'a str>,
    /// What the route's cache did, if it has one.
    pub cache: Option<CacheResult>,
    /// What became of the response, if the route encodes.
    pub encoding: Option<EncodingReport>,
    /// Endpoints that were tried.
    pub attempts: u32,
    /// Bytes of the request's body that were received.
    pub request_bytes: u64,
    /// Bytes of the response's body that were sent.
    pub response_bytes: u64,
    /// From the request's head to the response's last byte.
    pub duration: Duration,
    /// From forwarding the request to the endpoint's response head.
    pub upstream_duration: Option<Duration>,
    /// CPU time of the policies' hooks; `None` if none was called.
    pub policy_cpu: Option<Duration>,
    /// The version of TLS that the client speaks: `TLSv1.3`.
    pub tls: Option<&'a str>,
    /// 32 hexadecimal digits.
    pub trace_id: &'a str,
    /// The User-Agent field, unchanged.
    pub user_agent: Option<&'a [u8]>,
    /// What went wrong.
    pub error: Option<&'a str>,
    /// The side at fault.
    pub error_side: Option<FaultSide>,
}

impl AccessRecord<'_> {
    /// Returns how many bytes the response had before it was encoded.
    fn plain_bytes(&self) -> Option<u64> {
        let encoded = |report: &EncodingReport| matches!(report.result, EncodingResult::Encoded(_));
        self.encoding.filter(encoded).map(|report| report.plain_bytes)
    }

    /// Appends the record as a line of text.
    pub(crate) fn push_text<'b>(
        &self,
        out: &mut Vec<u8>,
        timestamp: &mut Timestamp,
        attributes: impl Iterator<Item = (&'b str, &'b str)>,
    ) {
        push_address(out, self.client);
        out.extend_from_slice(b" - - [");
        timestamp.push_common(out, self.time);
        out.extend_from_slice(b"] \"");
        push_text(out, self.method.as_bytes(), TEXT_MAX);
        out.push(b' ');
        push_text(out, self.path, PATH_MAX);
        out.push(b' ');
        out.extend_from_slice(self.version.as_bytes());
        out.extend_from_slice(b"\" ");
        push_decimal(out, self.status.into());
        out.push(b' ');
        push_decimal(out, self.response_bytes);
        out.extend_from_slice(b" \"-\" \"");
        push_text(out, self.user_agent.unwrap_or(b"-"), TEXT_MAX);
        out.push(b'"');
        let mut pair = |key: &str, value: Option<&str>| {
            if let Some(value) = value {
                push_pair(out, key, value);
            }
        };
        pair("listener", Some(self.listener));
        pair("scheme", Some(self.scheme));
        pair("authority", Some(self.authority));
        pair("route", self.route);
        pair("upstream", self.upstream);
        pair("endpoint", self.endpoint);
        pair("cache", self.cache.map(CacheResult::as_str));
        pair("encoding", self.encoding.map(|encoding| encoding.result.as_str()));
        pair("tls", self.tls);
        pair("trace", Some(self.trace_id));
        if self.peer != self.client {
            out.extend_from_slice(b" peer=");
            push_address(out, self.peer);
        }
        if let Some(proxy) = self.proxy {
            out.extend_from_slice(b" proxy=");
            push_address(out, proxy);
        }
        // The combined format has only whole seconds.
        out.extend_from_slice(b" ended=");
        timestamp.push_rfc3339(out, self.time);
        out.extend_from_slice(b" attempts=");
        push_decimal(out, self.attempts.into());
        out.extend_from_slice(b" received=");
        push_decimal(out, self.request_bytes);
        if let Some(bytes) = self.plain_bytes() {
            out.extend_from_slice(b" plain=");
            push_decimal(out, bytes);
        }
        out.extend_from_slice(b" time=");
        push_seconds(out, micros(self.duration));
        if let Some(duration) = self.upstream_duration {
            out.extend_from_slice(b" upstream-time=");
            push_seconds(out, micros(duration));
        }
        if let Some(cpu) = self.policy_cpu {
            out.extend_from_slice(b" policy-time=");
            push_seconds(out, micros(cpu));
        }
        if let Some(error) = self.error {
            push_pair(out, "error", error);
        }
        if let Some(side) = self.error_side {
            push_pair(out, "error-side", side.as_str());
        }
        for (name, value) in bounded(attributes) {
            out.push(b' ');
            push_word(out, b"attribute.", name);
            out.push(b'=');
            push_word(out, b"", value);
        }
        out.push(b'\n');
    }

    /// Appends the record as a line of JSON, with what each policy has cost.
    pub(crate) fn push_json<'b>(
        &self,
        out: &mut Vec<u8>,
        timestamp: &mut Timestamp,
        attributes: impl Iterator<Item = (&'b str, &'b str)>,
        policies: impl Iterator<Item = (&'b str, &'b PolicyCost)>,
    ) {
        out.extend_from_slice(b"{\"time\":\"");
        timestamp.push_rfc3339(out, self.time);
        out.extend_from_slice(b"\",\"client\":\"");
        push_address(out, self.client);
        out.extend_from_slice(b"\",\"peer\":\"");
        push_address(out, self.peer);
        out.push(b'"');
        if let Some(proxy) = self.proxy {
            push_key(out, "proxy");
            out.push(b'"');
            push_address(out, proxy);
            out.push(b'"');
        }
        let mut text = |key: &str, value: Option<&[u8]>, max: usize| {
            if let Some(value) = value {
                push_key(out, key);
                push_json(out, value, max);
            }
        };
        text("listener", Some(self.listener.as_bytes()), TEXT_MAX);
        text("method", Some(self.method.as_bytes()), TEXT_MAX);
        text("scheme", Some(self.scheme.as_bytes()), TEXT_MAX);
        text("authority", Some(self.authority.as_bytes()), TEXT_MAX);
        text("path", Some(self.path), PATH_MAX);
        text("version", Some(self.version.as_bytes()), TEXT_MAX);
        text("route", self.route.map(str::as_bytes), TEXT_MAX);
        text("upstream", self.upstream.map(str::as_bytes), TEXT_MAX);
        text("endpoint", self.endpoint.map(str::as_bytes), TEXT_MAX);
        text("cache", self.cache.map(|result| result.as_str().as_bytes()), TEXT_MAX);
        text("encoding", self.encoding.map(|encoding| encoding.result.as_str().as_bytes()), TEXT_MAX);
        text("tls", self.tls.map(str::as_bytes), TEXT_MAX);
        text("trace_id", Some(self.trace_id.as_bytes()), TEXT_MAX);
        text("user_agent", self.user_agent, TEXT_MAX);
        text("error", self.error.map(str::as_bytes), TEXT_MAX);
        text("error_side", self.error_side.map(|side| side.as_str().as_bytes()), TEXT_MAX);
        let mut number = |key: &str, value: Option<u64>| {
            if let Some(value) = value {
                push_key(out, key);
                push_decimal(out, value);
            }
        };
        number("status", Some(self.status.into()));
        number("attempts", Some(self.attempts.into()));
        number("request_bytes", Some(self.request_bytes));
        number("response_bytes", Some(self.response_bytes));
        number("plain_bytes", self.plain_bytes());
        number("duration_us", Some(micros(self.duration)));
        number("upstream_duration_us", self.upstream_duration.map(micros));
        number("policy_cpu_ns", self.policy_cpu.map(nanos));
        push_policies(out, policies);
        let mut separator = b",\"attributes\":{".as_slice();
        for (name, value) in bounded(attributes) {
            out.extend_from_slice(separator);
            push_json(out, name.as_bytes(), TEXT_MAX);
            out.push(b':');
            push_json(out, value.as_bytes(), TEXT_MAX);
            separator = b",";
        }
        out.extend_from_slice(if separator == b"," { b"}}\n" } else { b"}\n" });
    }
}

/// Appends the cost of each policy that did anything; nothing if none did.
fn push_policies<'a>(out: &mut Vec<u8>, policies: impl Iterator<Item = (&'a str, &'a PolicyCost)>) {
    let mut separator = b",\"policies\":[".as_slice();
    for (name, cost) in policies.filter(|(_, cost)| !cost.is_nothing()).take(POLICIES_MAX) {
        out.extend_from_slice(separator);
        out.extend_from_slice(b"{\"name\":");
        push_json(out, name.as_bytes(), TEXT_MAX);
        let mut number = |key: &str, value: u64| {
            push_key(out, key);
            push_decimal(out, value);
        };
        number("calls", cost.calls.into());
        number("cpu_ns", nanos(cost.cpu));
        number("memory_bytes", cost.memory_bytes);
        if cost.faults > 0 {
            number("faults", cost.faults.into());
        }
        out.push(b'}');
        separator = b",";
    }
    if separator == b"," {
        out.push(b']');
    }
}

/// Returns the attributes that fit.
fn bounded<'a>(
    attributes: impl Iterator<Item = (&'a str, &'a str)>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let mut left = ATTRIBUTES_MAX;
    attributes.take_while(move |(name, value)| {
        let bytes = name.len().min(TEXT_MAX) + value.len().min(TEXT_MAX);
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (index, byte) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                push_decimal(out, byte.into());
            }
        }
        // Writing to a Vec does not fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

fn push_key(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

fn push_pair(out: &mut Vec<u8>, key: &str, value: &str) {
    out.push(b' ');
    out.extend_from_slice(key.as_bytes());
    out.push(b'=');
    push_word(out, b"", value);
}

/// Appends text unchanged if nothing in it is ambiguous, otherwise in quotes and escaped.
fn push_word(out: &mut Vec<u8>, prefix: &[u8], text: &str) {
    let plain = !text.is_empty()
        && text.len() <= TEXT_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/@[]*".contains(&byte));
    if plain {
        out.extend_from_slice(prefix);
        out.extend_from_slice(text.as_bytes());
    } else {
        out.push(b'"');
        out.extend_from_slice(prefix);
        push_text(out, text.as_bytes(), TEXT_MAX);
        out.push(b'"');
    }
}

#[cfg(test)]
pub(crate) mod tests;
