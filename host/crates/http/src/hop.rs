//! Fields that are for one connection only (RFC 9110, 7.6.1), and fields that only the gateway may write.

#[cfg(test)]
mod tests;

use crate::identity::{is_credential, is_identity};
use crate::{Fields, Known};

/// Removes from a client's request what must not be forwarded: the hop-by-hop fields and those that Connection
/// nominates, Content-Length and Host (both are written anew), the credentials for a proxy, and fields with an
/// underscore in their name ([`has_underscore`]). Of TE only `trailers` is kept. Trailer and Expect are kept.
///
/// Call it before policies see the request, and before the gateway adds its own fields.
pub fn strip_request_hop_by_hop(fields: &mut Fields) {
    let found = strip(fields, true);
    if found.te_trailers {
        // The one line that was kept may have `trailers` among other elements.
        let te = fields.get_known(Known::Te);
        if te.is_some_and(|te| te != b"trailers") {
            fields.remove_known(Known::Te);
            // This cannot fail: a section that held a longer line has room for this one.
            let added = fields.append_checked(b"te", b"trailers");
            debug_assert!(added.is_ok());
        }
    }
}

/// Removes from an upstream's response what must not be forwarded: the hop-by-hop fields and those that Connection
/// nominates, Content-Length (framing is written anew) and the challenges of a proxy. Trailer is kept.
pub fn strip_response_hop_by_hop(fields: &mut Fields) {
    strip(fields, false);
}

/// Removes from a client's trailers what must not be forwarded: see [`is_forbidden_trailer`], [`is_identity`] and
/// [`has_underscore`], and credentials. A policy that judges by the head does not look for them there, and a server
/// that adds trailers to the fields of the head would believe that a policy or the gateway has written them.
pub fn strip_request_trailers(trailers: &mut Fields) {
    trailers.retain_bytes(|known, name, _| {
        !is_forbidden(known, name) && !is_identity(name) && !is_credential(name) && !has_underscore(name)
    });
}

/// Removes from an upstream's trailers what must not be forwarded: see [`is_forbidden_trailer`].
pub fn strip_response_trailers(trailers: &mut Fields) {
    trailers.retain_bytes(|known, name, _| !is_forbidden(known, name));
}

/// What a pass over the fields has found.
struct Found {
    te_trailers: bool,
}

fn strip(fields: &mut Fields, request: bool) -> Found {
    let nominated = nominated(fields);
    let mut found = Found { te_trailers: false };
    fields.retain_bytes(|known, name, value| match known {
        Known::Te if request => {
            let keep = !found.te_trailers && accepts_trailers(value);
            found.te_trailers |= keep;
            keep
        }
        Known::Other if request && has_underscore(name) => false,
        Known::Other => !nominated.as_ref().is_some_and(|nominated| nominated.removes(name)),
        Known::ContentLength | Known::Host => false,
        _ => !is_hop_by_hop(known),
    });
    found
}

/// The fields that Connection nominates, without a limit of their number: a limit would be a way to keep a field that
/// must be removed (RFC 9110, 7.6.1), and the limit of the head bounds them. Sorted, so that many options do not cost a
/// comparison with each field.
struct Nominated {
    /// In lower case, one after the other.
    names: Vec<u8>,
    /// The range of each in `names`, in the order of the names.
    spans: Vec<(usize, usize)>,
}

impl Nominated {
    fn removes(&self, name: &[u8]) -> bool {
        let span = |&(start, end): &(usize, usize)| self.names.get(start..end).unwrap_or_default();
        self.spans.binary_search_by(|at| span(at).cmp(name)).is_ok()
            && !is_end_to_end(name)
            && !is_identity(name)
    }
}

/// Returns what Connection nominates, or `None` if its options name no further field, which is the usual case. Empty
/// elements of the list are ignored (RFC 9110, 5.6.1.2).
fn nominated(fields: &Fields) -> Option<Nominated> {
    const PLAIN: [&[u8]; 5] = [b"keep-alive", b"close", b"upgrade", b"te", b"http2-settings"];
    let mut found: Option<Nominated> = None;
    let options = fields.all_known(Known::Connection).flat_map(|value| value.split(|byte| *byte == b','));
    for option in options.map(<[u8]>::trim_ascii) {
        if option.is_empty() || PLAIN.iter().any(|plain| option.eq_ignore_ascii_case(plain)) {
            continue;
        }
        let found = found.get_or_insert_with(|| Nominated { names: Vec::new(), spans: Vec::new() });
        let start = found.names.len();
        found.names.extend(option.iter().map(u8::to_ascii_lowercase));
        found.spans.push((start, found.names.len()));
    }
    if let Some(Nominated { names, spans }) = &mut found {
        spans.sort_unstable_by_key(|&(start, end)| names.get(start..end));
    }
    found
}

/// Returns whether a nomination does not remove the field. RFC 9110, 7.6.1 forbids a sender to nominate a field that is
/// for all recipients. A sender that does so wants to remove what a proxy in front of the gateway, which passes
/// Connection on, has added: the client's address, or whether it is authorized. Names that the gateway knows are never
/// removed by nomination either.
fn is_end_to_end(name: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 16] = [
        b"accept",
        b"access-control-",
        b"cf-",
        b"client-",
        b"content-",
        b"if-",
        b"sec-",
        b"true-client-",
        b"x-amzn-",
        b"x-auth",
        b"x-client-",
        b"x-envoy-",
        b"x-forwarded-",
        b"x-original-",
        b"x-real-",
        b"x-ssl-",
    ];
    matches!(
        name,
        b"age"
            | b"authorization"
            | b"baggage"
            | b"cache-control"
            | b"cookie"
            | b"etag"
            | b"expires"
            | b"last-modified"
            | b"location"
            | b"origin"
            | b"pragma"
            | b"range"
            | b"referer"
            | b"set-cookie"
            | b"strict-transport-security"
            | b"traceparent"
            | b"tracestate"
            | b"user-agent"
            | b"vary"
            | b"www-authenticate"
            | b"x-api-key"
            | b"x-request-id"
            | b"x-user"
    ) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn accepts_trailers(te: &[u8]) -> bool {
    te.split(|byte| *byte == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Returns whether a known field is for one connection only.
#[must_use]
pub const fn is_hop_by_hop(known: Known) -> bool {
    matches!(
        known,
        Known::Connection
            | Known::Http2Settings
            | Known::KeepAlive
            | Known::ProxyAuthenticate
            | Known::ProxyAuthorization
            | Known::ProxyConnection
            | Known::Te
            | Known::TransferEncoding
            | Known::Upgrade
    )
}

/// Returns whether only the gateway writes the field of that name (any case): framing, hop-by-hop, Host, and the
/// pseudo-fields of HTTP/2. A policy that sets one is refused.
#[must_use]
pub fn is_gateway_owned(name: &[u8]) -> bool {
    if name.first() == Some(&b':') {
        return true;
    }
    // No owned name is longer, so longer names need not be converted.
    let mut lowered = [0; 24];
    let Some(lowered) = lowered.get_mut(..name.len()) else { return false };
    lowered.copy_from_slice(name);
    lowered.make_ascii_lowercase();
    let known = Known::of(lowered);
    is_hop_by_hop(known) || matches!(known, Known::ContentLength | Known::Host)
}

/// Returns whether a field of that name (in lower case) is not allowed in a trailer section (RFC 9110, 6.5.1): framing,
/// routing, request modifiers, authentication, how to process the content, and what the gateway reports of the client.
#[must_use]
pub fn is_forbidden_trailer(name: &str) -> bool {
    is_forbidden(Known::of(name.as_bytes()), name.as_bytes())
}

pub(crate) fn is_forbidden(known: Known, name: &[u8]) -> bool {
    // Every field that the gateway acts on: none of them makes sense after the content.
    known != Known::Other
        || name.starts_with(b"if-")
        || name.starts_with(b"x-forwarded-")
        || matches!(
            name,
            b"age"
                | b"authentication-info"
                | b"authorization"
                | b"cache-control"
                | b"content-encoding"
                | b"content-range"
                | b"content-type"
                | b"cookie"
                | b"expires"
                | b"location"
                | b"pragma"
                | b"proxy-authentication-info"
                | b"range"
                | b"retry-after"
                | b"set-cookie"
                | b"vary"
                | b"warning"
                | b"www-authenticate"
        )
}

/// Returns whether a name has an underscore. Such fields of clients are dropped, as nginx does: CGI, WSGI, PHP and
/// others convert `-` and `_` to the same character, so `X_Forwarded_For` or `x_user` would replace the field that the
/// gateway or a policy has set.
#[must_use]
pub fn has_underscore(name: &[u8]) -> bool {
    memchr::memchr(b'_', name).is_some()
}
