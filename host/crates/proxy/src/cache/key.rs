//! What distinguishes stored responses.
//!
//! A key is the URL in its one usual form, a line break, and then all else that the upstream may answer by: the route
//! and its rules, the upstream, how the client spelt the host, what policies have set, fields that servers read in
//! place of parts of the URL, what the operator has named, and what policies have added. No part has a line break in it
//! but attributes and what policies have added, which have their length before them; so no two different requests have
//! the same key.

#[cfg(test)]
mod tests;

use std::hash::{Hash as _, Hasher};
use std::ops::Range;

use portcullis_http::{FieldError, Fields, Known, RequestHead, Scheme};
use portcullis_model::{CacheKey, CookieRule, QueryRule, RouteCache, canonical_host};
use portcullis_policy::Attributes;
use portcullis_policy::cache::CacheWishes;

/// The key rules of a route.
#[derive(Debug)]
pub(crate) struct KeyRules {
    rules: CacheKey,
    /// The route, and a hash of the rules: with other rules the route has other keys.
    space: String,
}

impl KeyRules {
    pub(crate) fn new(route: &str, cache: &RouteCache) -> Self {
        let mut hasher = Fnv::default();
        cache.key.hash(&mut hasher);
        (cache.cookies == CookieRule::Rfc).hash(&mut hasher);
        Self { rules: cache.key.clone(), space: format!("{route} {:016x}", hasher.finish()) }
    }

    /// Writes the key of `request`, which is about to be forwarded to `upstream` and of which policies have said
    /// `wishes`, in place of what is in `key`. Returns where its URL is.
    pub(crate) fn write(
        &self,
        request: &RequestHead,
        upstream: &str,
        attributes: &Attributes,
        wishes: &CacheWishes,
        key: &mut Vec<u8>,
    ) -> Range<usize> {
        key.clear();
        write_url(&self.rules.query, request, key);
        let url = 0..key.len();
        for part in ["\n", &self.space, "\n", upstream] {
            key.extend_from_slice(part.as_bytes());
        }
        // The upstream may see it, and may answer by it.
        if !key
            .get(authority_in(&url, request.scheme)..)
            .is_some_and(|rest| starts_with_host(rest, &request.authority))
        {
            push(key, b'h', "", request.authority.as_bytes());
        }
        self.write_fields(request, key);
        for name in &self.rules.attributes {
            if let Some(value) = attributes.get(name) {
                push(key, b'a', name, format!("{}:{value}", value.len()).as_bytes());
            }
        }
        for (name, value) in wishes.parts() {
            let lengths = format!("{}:{}", name.len(), value.len());
            push(key, b'p', &lengths, &[name.as_bytes(), value.as_bytes()].concat());
        }
        url
    }

    /// Appends to `fields` those of `request` that are part of its key, so that another request has the same key.
    pub(crate) fn copy_fields(&self, request: &RequestHead, fields: &mut Fields) -> Result<(), FieldError> {
        for (name, value) in request.fields.edits() {
            fields.append_checked(name, value)?;
        }
        let edited = |name: &[u8], value: &[u8]| request.fields.edits().any(|edit| edit == (name, value));
        let named = |name: &[u8]| self.rules.fields.iter().any(|field| field.as_bytes() == name);
        for (known, name, value) in request.fields.iter_bytes() {
            let says_where =
                matches!(known, Known::XForwardedHost | Known::XForwardedPort | Known::XForwardedProto);
            if (says_where || overrides_url(name) || named(name)) && !edited(name, value) {
                fields.append_checked(name, value)?;
            }
        }
        let mut kept = Vec::new();
        for (name, value) in request.cookies() {
            if self.rules.cookies.iter().any(|wanted| wanted.as_bytes() == name) {
                if !kept.is_empty() {
                    kept.extend_from_slice(b"; ");
                }
                kept.extend_from_slice(name);
                kept.push(b'=');
                kept.extend_from_slice(value);
            }
        }
        if !kept.is_empty() && fields.get(b"cookie").is_none() {
            fields.append(b"cookie", &kept)?;
        }
        Ok(())
    }

    fn write_fields(&self, request: &RequestHead, key: &mut Vec<u8>) {
        let rules = &self.rules;
        for (name, value) in request.fields.edits() {
            if !rules.irrelevant.iter().any(|irrelevant| irrelevant.as_bytes() == name) {
                push_bytes(key, b'e', name, value);
            }
        }
        for (known, name, value) in request.fields.iter_bytes() {
            let overrides = match known {
                Known::XForwardedHost => value != request.authority.as_bytes(),
                Known::XForwardedPort => true,
                _ => overrides_url(name),
            };
            if overrides {
                push_bytes(key, b'o', name, value);
            }
        }
        for name in &rules.fields {
            for value in request.fields.get_all(name.as_bytes()) {
                push(key, b'f', name, value);
            }
        }
        if !rules.cookies.is_empty() {
            for (name, value) in request.cookies() {
                if let Some(name) = rules.cookies.iter().find(|wanted| wanted.as_bytes() == name) {
                    push(key, b'c', name, value);
                }
            }
        }
    }
}

/// Appends the URL of a request as keys have it whose query counts by `rule`.
pub(super) fn write_url(rule: &QueryRule, request: &RequestHead, key: &mut Vec<u8>) {
    push_origin(request.scheme, &request.authority, key);
    key.extend_from_slice(request.path().as_bytes());
    let Some(query) = request.query() else { return };
    let keep = |parameter: &&str| match rule {
        QueryRule::All => true,
        QueryRule::Only(names) => !is_left_out(parameter, names),
        QueryRule::Except(names) => !names.iter().any(|name| is_exactly(parameter, name)),
    };
    if *rule == QueryRule::All {
        key.push(b'?');
        key.extend_from_slice(query.as_bytes());
        return;
    }
    let mut separator = b'?';
    for parameter in query.split('&').filter(keep) {
        key.push(separator);
        key.extend_from_slice(parameter.as_bytes());
        separator = b'&';
    }
}

/// Appends scheme, host and port: the host in lower case, without a dot behind it, and the port unless the scheme has
/// it.
fn push_origin(scheme: Scheme, authority: &str, key: &mut Vec<u8>) {
    let (host, port) = split_authority(authority);
    key.extend_from_slice(scheme.as_str().as_bytes());
    key.extend_from_slice(b"://");
    key.extend_from_slice(canonical_host(host).as_bytes());
    let usual = if scheme == Scheme::Https { "443" } else { "80" };
    if !port.is_empty() && port != usual {
        key.push(b':');
        key.extend_from_slice(port.as_bytes());
    }
}

fn split_authority(authority: &str) -> (&str, &str) {
    match authority.rfind(':') {
        Some(at) if !authority[at..].contains(']') => (&authority[..at], &authority[at + 1..]),
        _ => (authority, ""),
    }
}

/// Where the host begins in a URL that begins at the start of `url`.
fn authority_in(url: &Range<usize>, scheme: Scheme) -> usize {
    url.start + scheme.as_str().len() + "://".len()
}

/// Whether `rest`, a URL from its host on, has exactly `authority` there.
fn starts_with_host(rest: &[u8], authority: &str) -> bool {
    rest.strip_prefix(authority.as_bytes())
        .is_some_and(|path| matches!(path.first(), Some(b'/' | b'*' | b'\n') | None))
}

/// Whether servers and frameworks read the field `name` in place of a part of the URL or of the method. A client that
/// sends one gets an answer of its own, so that what it says of the URL reaches no other client.
fn overrides_url(name: &[u8]) -> bool {
    matches!(
        name,
        b"front-end-https"
            | b"x-forwarded-path"
            | b"x-forwarded-prefix"
            | b"x-forwarded-scheme"
            | b"x-forwarded-server"
            | b"x-forwarded-ssl"
            | b"x-forwarded-uri"
            | b"x-forwarded-url"
            | b"x-host"
            | b"x-http-destinationurl"
            | b"x-http-host-override"
            | b"x-http-method"
            | b"x-http-method-override"
            | b"x-method-override"
            | b"x-original-host"
            | b"x-original-uri"
            | b"x-original-url"
            | b"x-proxy-host"
            | b"x-rewrite-url"
            | b"x-url-scheme"
    )
}

/// Whether a parameter is certainly none of `names`, however a server reads it: as another spelling of a name, as the
/// end of one behind `;`, as part of an array.
fn is_left_out(parameter: &str, names: &[String]) -> bool {
    let name = parameter.split('=').next().unwrap_or_default();
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    plain && !parameter.contains(';') && !names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// Whether a parameter is `name` and nothing else.
fn is_exactly(parameter: &str, name: &str) -> bool {
    parameter.split('=').next() == Some(name) && !parameter.contains(';')
}

fn push(key: &mut Vec<u8>, kind: u8, name: &str, value: &[u8]) {
    push_bytes(key, kind, name.as_bytes(), value);
}

fn push_bytes(key: &mut Vec<u8>, kind: u8, name: &[u8], value: &[u8]) {
    key.extend_from_slice(&[b'\n', kind]);
    key.extend_from_slice(name);
    key.push(b':');
    key.extend_from_slice(value);
}

/// A part of a key behind its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'k> {
    /// The letter that says what it is.
    pub(super) kind: u8,
    pub(super) name: &'k [u8],
    pub(super) value: &'k [u8],
}

/// What a key has behind its URL, as [`KeyRules::write`] has written it: the route with its rules, the upstream, and
/// the parts.
pub(super) fn read(rest: &[u8]) -> Option<(&[u8], &[u8], Vec<Part<'_>>)> {
    let (space, rest) = line(rest.strip_prefix(b"\n")?);
    let (upstream, mut rest) = line(rest.strip_prefix(b"\n")?);
    let mut parts = Vec::new();
    while let Some((kind, behind)) = rest.strip_prefix(b"\n").and_then(|part| part.split_first()) {
        let (name, value) = split_once(behind, b':')?;
        let (name, value, behind) = match kind {
            b'a' => {
                let (length, value) = split_once(value, b':')?;
                let (value, behind) = split_at(value, length)?;
                (name, value, behind)
            }
            b'p' => {
                // The first text is the length of the name.
                let (length, both) = split_once(value, b':')?;
                let (name, value) = split_at(both, name)?;
                let (value, behind) = split_at(value, length)?;
                (name, value, behind)
            }
            _ => {
                let (value, behind) = line(value);
                (name, value, behind)
            }
        };
        parts.push(Part { kind: *kind, name, value });
        rest = behind;
    }
    rest.is_empty().then_some((space, upstream, parts))
}

/// The bytes up to a line break, and the rest with it.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()))
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// The bytes up to a length that is written in digits, and the rest.
fn split_at<'k>(bytes: &'k [u8], length: &[u8]) -> Option<(&'k [u8], &'k [u8])> {
    bytes.split_at_checked(std::str::from_utf8(length).ok()?.parse().ok()?)
}

/// FNV-1a: the same on every machine and in every version, so that keys on a disk stay valid.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
