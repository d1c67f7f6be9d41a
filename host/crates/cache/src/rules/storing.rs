//! Which responses may be stored, and with which fields (RFC 9111, 3).

#[cfg(test)]
mod tests;

use portcullis_http::{Fields, Known, ResponseHead, http_date, is_hop_by_hop, list_elements};

use super::freshness::{Policy, date, initial_age_millis, last_modified};
use super::invalidation::names_target;
use super::request::{Access, Request, WhyBypass};
use super::settings::{Cookies, Settings};
use super::stored::{Rules, Span, StoredHead};
use super::time::Exchanged;
use super::vary::{self, NoSelection};

/// A response with more lines is not stored: an answer adds Age and Content-Range, and a section has at most 1024.
pub(super) const LINES_MAX: usize = 1000;

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyNot {
    /// The request does not use the cache.
    Bypass(WhyBypass),
    /// The method of the request; or it is a POST whose response does not stand for the URL.
    Method,
    /// The status code: 1xx, 304, or one that `must-understand` needs known.
    Status,
    /// The request said `no-store`.
    RequestNoStore,
    /// The response said `no-store`, or its Cache-Control is torn.
    NoStore,
    /// The response said `private`.
    Private,
    /// The request had Authorization, and the response does not say that it may be shared.
    Authorization,
    /// The response sets a cookie.
    SetCookie,
    /// Vary has `*` or is malformed.
    VaryStar,
    /// Vary names too many fields, or their values are too long.
    VaryTooLarge,
    /// It has so many fields that those of an answer may not fit.
    TooManyFields,
    /// It is an error that a range may have caused, or a part whose place in the content is not known.
    Range,
    /// It says no lifetime, and none may be estimated.
    NoLifetime,
    /// It is stale at once and cannot be validated.
    Useless,
}

impl WhyNot {
    /// Returns the reason in a word, for logs and Cache-Status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass(why) => why.as_str(),
            Self::Method => "method",
            Self::Status => "status",
            Self::RequestNoStore => "request-no-store",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::VaryStar => "vary-star",
            Self::VaryTooLarge => "vary-too-large",
            Self::TooManyFields => "too-many-fields",
            Self::Range => "range",
            Self::NoLifetime => "no-lifetime",
            Self::Useless => "stale-at-once",
        }
    }
}

/// Returns the head to store of a response, or why the response must not or need not be stored. `content_length` is its
/// Content-Length, which is not among the fields.
///
/// # Errors
/// For what RFC 9111, 3 forbids or the settings do, and for what could answer no request.
pub fn storable(
    settings: &Settings,
    request: &Request<'_>,
    response: &ResponseHead,
    content_length: Option<u64>,
    times: Exchanged,
) -> Result<StoredHead, WhyNot> {
    let fields = &response.fields;
    let policy = Policy::read(settings, fields);
    permitted_by_request(request, response, &policy)?;
    let span = span(request, response, content_length)?;
    permitted_by_response(settings, request, response.status, fields, &policy)?;
    let selection = selection(fields, request)?;
    let may_estimate = may_estimate(settings, request);
    let head = Made { status: response.status, span, content_length, selection, may_estimate };
    let stored = make(settings, fields.clone(), &policy, head, times).ok_or(WhyNot::NoLifetime)?;
    let helps = stored.lifetime > 0
        || stored.stale_while_revalidate > 0
        || stored.stale_if_error > 0
        || (stored.has_validator() && matches!(stored.status, 200..=299));
    if helps { Ok(stored) } else { Err(WhyNot::Useless) }
}

fn permitted_by_request(
    request: &Request<'_>,
    response: &ResponseHead,
    policy: &Policy,
) -> Result<(), WhyNot> {
    match request.access() {
        Access::Bypass(why) => return Err(WhyNot::Bypass(why)),
        // A response to HEAD has no content to store; it may update what is stored, see `head_effect`.
        Access::Lookup if request.is_head() => return Err(WhyNot::Method),
        Access::Lookup => {}
        // RFC 9110, 9.3.3: a response to POST may be stored for GET if it says how long it is fresh and that it is what
        // its URL has.
        Access::Write => {
            let stands_for_url = request.head.method == "POST"
                && response.status == 200
                && policy.is_explicit(&response.fields)
                && names_target(request.head, &response.fields);
            if !stands_for_url {
                return Err(WhyNot::Method);
            }
        }
    }
    if request.no_store { Err(WhyNot::RequestNoStore) } else { Ok(()) }
}

/// Returns which part a 206 is; `None` for other responses, which are whole.
fn span(
    request: &Request<'_>,
    response: &ResponseHead,
    content_length: Option<u64>,
) -> Result<Option<Span>, WhyNot> {
    match response.status {
        // Only a response that is right for every request without Range may be kept: an error may be this range's.
        206 if request.has_range => {
            let mut lines = response.fields.get_all(b"content-range");
            let span = lines.next().and_then(content_range).filter(|_| lines.next().is_none());
            let fits = |span: &Span| content_length.is_none_or(|length| length == span.end - span.start);
            span.filter(fits).map(Some).ok_or(WhyNot::Range)
        }
        206 => Err(WhyNot::Range),
        200 => Ok(None),
        _ if request.has_range => Err(WhyNot::Range),
        _ => Ok(None),
    }
}

/// Reads a Content-Range such as `bytes 0-4/10` (RFC 9110, 14.4). The length of the whole has to be known.
fn content_range(value: &[u8]) -> Option<Span> {
    let value = std::str::from_utf8(value).ok()?;
    let (unit, range) = value.split_once(' ')?;
    let (range, complete) = range.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok())?
    };
    let span =
        Span { start: number(first)?, end: number(last)?.checked_add(1)?, complete: number(complete)? };
    (unit.eq_ignore_ascii_case("bytes") && span.is_valid()).then_some(span)
}

/// Returns whether the response, or an update of it, lets a shared cache keep it.
pub(super) fn permitted_by_response(
    settings: &Settings,
    request: &Request<'_>,
    status: u16,
    fields: &Fields,
    policy: &Policy,
) -> Result<(), WhyNot> {
    let directives = &policy.directives;
    // `must-understand` needs a status code whose rules for caches are kept, and lifts `no-store` for it (5.2.2.3).
    let is_understood = !portcullis_http::reason_phrase(status).is_empty();
    let is_lifted = directives.must_understand && is_understood;
    if status < 200 || status == 304 || (directives.must_understand && !is_understood) {
        Err(WhyNot::Status)
    } else if directives.no_store && !is_lifted {
        Err(WhyNot::NoStore)
    } else if directives.private {
        Err(WhyNot::Private)
    } else if request.authorization
        && !(directives.public || directives.must_revalidate || directives.s_maxage.is_some())
    {
        Err(WhyNot::Authorization)
    } else if settings.cookies == Cookies::Skip && sets_cookie(fields) {
        Err(WhyNot::SetCookie)
    } else if fields.len() > LINES_MAX {
        Err(WhyNot::TooManyFields)
    } else {
        Ok(())
    }
}

fn sets_cookie(fields: &Fields) -> bool {
    fields.get(b"set-cookie").is_some() || fields.get(b"set-cookie2").is_some()
}

pub(super) fn selection(fields: &Fields, request: &Request<'_>) -> Result<Vec<u8>, WhyNot> {
    vary::selection(fields, request).map_err(|why| match why {
        NoSelection::Star => WhyNot::VaryStar,
        NoSelection::TooLarge => WhyNot::VaryTooLarge,
    })
}

/// What of a stored head does not come from its fields.
pub(super) struct Made {
    pub(super) status: u16,
    pub(super) span: Option<Span>,
    pub(super) content_length: Option<u64>,
    pub(super) selection: Vec<u8>,
    /// Whether its lifetime may be estimated.
    pub(super) may_estimate: bool,
}

/// Whether the lifetime of a response to the request may be estimated. Not if the client may be signed in and the route
/// does not trust the origin with cookies: such a response is shared only if it or the operator says for how long.
pub(super) fn may_estimate(settings: &Settings, request: &Request<'_>) -> bool {
    settings.cookies == Cookies::Rfc || !request.has_cookie
}

/// Makes a stored head of the fields of a response. Returns `None` if the response has no lifetime.
pub(super) fn make(
    settings: &Settings,
    mut fields: Fields,
    policy: &Policy,
    mut made: Made,
    times: Exchanged,
) -> Option<StoredHead> {
    let received = times.received.seconds();
    let date = date(&fields, received).unwrap_or_else(|| {
        // RFC 9110, 6.6.1: the recipient writes the Date that is missing, and may replace one that is no date.
        set(&mut fields, b"date", &http_date(received));
        received
    });
    let initial_age_millis = initial_age_millis(&fields, date, times);
    let lifetime = policy.lifetime(settings, made.status, &fields, date, made.may_estimate)?;
    drop_unstored(&mut fields, &policy.directives.private_fields);
    let directives = &policy.directives;
    let forbidden = directives.must_revalidate || directives.proxy_revalidate || directives.no_cache;
    // `s-maxage` implies `proxy-revalidate` (5.2.2.10), but a response that has it and says itself how long it may be
    // used stale means what it says.
    let implied = directives.s_maxage.is_some();
    // One that may be of a client which is signed in, and says nothing of caches, is for others only if the origin says
    // so each time.
    let guarded =
        !made.may_estimate && !policy.is_explicit(&fields) && settings.ttl_of(made.status).is_none();
    let window = |said: Option<u32>, default: u32| match said {
        _ if forbidden => 0,
        Some(seconds) => seconds,
        None if implied || guarded => 0,
        None => default,
    };
    let stale_while_revalidate = window(directives.stale_while_revalidate, settings.stale_while_revalidate);
    let stale_if_error = window(directives.stale_if_error, settings.stale_if_error);
    fields.shrink();
    made.selection.shrink_to_fit();
    Some(StoredHead {
        status: made.status,
        times,
        initial_age_millis,
        date,
        lifetime,
        stale_while_revalidate,
        stale_if_error,
        rules: Rules {
            no_cache: directives.no_cache,
            never_stale: forbidden || implied || guarded,
            immutable: directives.immutable,
        },
        modified: last_modified(&fields, date),
        withheld: withheld(&fields, &directives.no_cache_fields),
        fields,
        selection: made.selection,
        span: made.span,
        content_length: made.content_length,
        added_tags: Vec::new(),
    })
}

/// Sets a field of a response that is stored or made of a stored one. It may only be missing if an update has brought
/// the section to its limit, and such a response is not stored.
pub(super) fn set(fields: &mut Fields, name: &[u8], value: &[u8]) {
    let full = fields.set(name, value).is_err();
    debug_assert!(!full || fields.len() > LINES_MAX);
}

/// Returns those of the named fields that the response has.
fn withheld(fields: &Fields, names: &[String]) -> Vec<String> {
    let present = names.iter().filter(|name| fields.get(name.as_bytes()).is_some());
    let mut withheld: Vec<_> = present.cloned().collect();
    withheld.sort_unstable();
    withheld.dedup();
    withheld
}

/// Drops the fields that must not be stored (3.1): those for one connection, those that Connection names, what a proxy
/// asks and answers for itself, those of `private="..."`; and Age, which is computed anew, and Trailer, because
/// trailers are not stored.
pub(super) fn drop_unstored(fields: &mut Fields, private: &[String]) {
    let nominated: Vec<Vec<u8>> =
        fields.all_known(Known::Connection).flat_map(list_elements).map(<[u8]>::to_ascii_lowercase).collect();
    fields.retain(|known, name, _| {
        let is_own = is_hop_by_hop(known) || matches!(known, Known::ContentLength | Known::Trailer);
        !is_own
            && !matches!(name, "age" | "proxy-authentication-info")
            && !private.iter().any(|field| field == name)
            && !nominated.iter().any(|field| field == name.as_bytes())
    });
}
