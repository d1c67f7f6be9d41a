//! Converts heads between HTTP/2 and the gateway's own form.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Uri};
use portcullis_http::h1::is_upgrade_protocol;
use portcullis_http::{
    FieldError, Fields, Known, PathError, RequestHead, ResponseHead, Scheme, Version, set_client_target,
    validate_authority,
};

/// A request that is not well-formed; the reason is for the log.
#[derive(Debug)]
pub(super) struct Malformed(pub(super) &'static str);

const TOO_MANY_FIELDS: &str = "too many fields";
const TOO_LARGE: &str = "field section too large";
const TOO_LONG: &str = ":path too long";

impl Malformed {
    /// The status that a client gets.
    pub(super) fn status(&self) -> StatusCode {
        match self.0 {
            TOO_MANY_FIELDS | TOO_LARGE => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            TOO_LONG => StatusCode::URI_TOO_LONG,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<FieldError> for Malformed {
    fn from(error: FieldError) -> Self {
        Self(match error {
            FieldError::InvalidName => "invalid field name",
            FieldError::InvalidValue => "invalid field value",
            FieldError::TooLarge => TOO_LARGE,
        })
    }
}

/// Reads a request's head, normalising as for HTTP/1. An extended CONNECT is read as the GET with an upgrade that it
/// stands for. `target` is its `:path` as the client wrote it, if `parts` has another one. Returns the declared length
/// of its body.
pub(super) fn read_request(
    parts: &http::request::Parts,
    target: Option<&[u8]>,
    scheme: Scheme,
    fields_max: usize,
    head: &mut RequestHead,
) -> Result<Option<u64>, Malformed> {
    head.clear();
    head.version = Version::Http2;
    head.scheme = scheme;
    head.method.push_str(parts.method.as_str());
    let length = read_fields(&parts.headers, fields_max, &mut head.fields)?;

    // RFC 9113, 8.3.1: Host must not differ from :authority.
    let mut hosts = parts.headers.get_all(http::header::HOST).iter();
    let (host, more) = (hosts.next(), hosts.next().is_some());
    let host = host.map(|host| host.to_str().map_err(|_| Malformed("invalid Host"))).transpose()?;
    let authority = match (parts.uri.authority().map(http::uri::Authority::as_str), host) {
        _ if more => return Err(Malformed("more than one Host")),
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Err(Malformed("Host and :authority differ"));
        }
        (Some(authority), _) => authority,
        (None, Some(host)) => host,
        (None, None) => return Err(Malformed("neither :authority nor Host")),
    };
    if !validate_authority(authority) {
        return Err(Malformed("invalid authority"));
    }
    head.authority.push_str(authority);

    let extended = parts.extensions.get::<h2::ext::Protocol>();
    // This is the only pseudo-field of which the crate checks only that it is text.
    if extended.is_some_and(|protocol| !is_upgrade_protocol(protocol.as_str())) {
        return Err(Malformed("invalid :protocol"));
    }
    head.upgrade = extended.map(|protocol| protocol.as_str().to_owned());
    if extended.is_some() {
        // RFC 8441, 5: the stream stands for the GET of an HTTP/1 handshake, and an HTTP/1 upstream gets that GET. So
        // it is matched, shown to policies and recorded as a GET; CONNECT is only how HTTP/2 frames it.
        "GET".clone_into(&mut head.method);
    }
    let target = match target {
        Some(target) => Some(std::str::from_utf8(target).map_err(|_| Malformed("invalid :path"))?),
        None => parts.uri.path_and_query().map(http::uri::PathAndQuery::as_str),
    };
    match target {
        _ if head.method == "CONNECT" && extended.is_none() => head.set_target("", None),
        Some("*") if head.method == "OPTIONS" => head.set_target("*", None),
        Some(target) => set_client_target(head, target).map_err(|error| match error {
            PathError::TooLong => Malformed(TOO_LONG),
            _ => Malformed("invalid :path"),
        })?,
        None => return Err(Malformed("no :path")),
    }
    Ok(length)
}

/// Reads a response's head. Returns the declared length of its body.
pub(super) fn read_response(
    status: StatusCode,
    headers: &HeaderMap,
    fields_max: usize,
    head: &mut ResponseHead,
) -> Result<Option<u64>, Malformed> {
    head.clear();
    head.version = Version::Http2;
    head.status = status.as_u16();
    // RFC 9110, 15: there are five classes, and a client would have to guess the meaning of another one.
    if !(100..600).contains(&head.status) {
        return Err(Malformed("invalid status"));
    }
    read_fields(headers, fields_max, &mut head.fields)
}

/// Reads a trailer section unchanged. The caller strips what is not allowed in one.
pub(super) fn read_trailers(headers: &HeaderMap, fields_max: usize) -> Result<Fields, Malformed> {
    let mut fields = Fields::new();
    read_fields(headers, fields_max, &mut fields)?;
    Ok(fields)
}

fn read_fields(
    headers: &HeaderMap,
    fields_max: usize,
    fields: &mut Fields,
) -> Result<Option<u64>, Malformed> {
    // RFC 9113, 8.2.3: crumbs are one field that was split for better compression, and browsers split every cookie.
    // SETTINGS_MAX_HEADER_LIST_SIZE limits all of them together, with 32 octets added for each.
    let crumbs = headers.get_all(http::header::COOKIE).iter().count();
    if headers.len() - crumbs.saturating_sub(1) > fields_max {
        return Err(Malformed(TOO_MANY_FIELDS));
    }
    let (mut length, mut cookie): (Option<u64>, Option<Vec<u8>>) = (None, None);
    for (name, value) in headers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes().trim_ascii());
        match Known::of(name) {
            // Read together with the target.
            Known::Host => {}
            Known::ContentLength => {
                let digits = std::str::from_utf8(value).unwrap_or_default();
                let parsed =
                    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
                let parsed = parsed.ok_or(Malformed("invalid Content-Length"))?;
                if length.replace(parsed).is_some_and(|other| other != parsed) {
                    return Err(Malformed("differing Content-Length"));
                }
                fields.append(name, value)?;
            }
            // RFC 9113, 8.2.2: these belong to a connection and are not allowed in HTTP/2.
            Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade => {
                return Err(Malformed("connection-specific field"));
            }
            Known::Te if value != b"trailers" => return Err(Malformed("invalid TE")),
            // RFC 9113, 8.2.3: a cookie may be split into crumbs, which HTTP/1 does not know.
            _ if name == b"cookie" => match &mut cookie {
                None => cookie = Some(value.to_vec()),
                Some(crumbs) => {
                    crumbs.extend_from_slice(b"; ");
                    crumbs.extend_from_slice(value);
                }
            },
            _ => fields.append(name, value)?,
        }
    }
    if let Some(cookie) = cookie {
        fields.append(b"cookie", &cookie)?;
    }
    Ok(length)
}

/// Writes a request's head for an upstream whose authority is `host`, as an extended CONNECT if `extended` is set.
pub(super) fn write_request(
    head: &RequestHead,
    host: &str,
    scheme: Scheme,
    length: Option<u64>,
    extended: bool,
) -> Result<http::Request<()>, http::Error> {
    let mut request = http::Request::new(());
    *request.method_mut() =
        if extended { Method::CONNECT } else { Method::from_bytes(head.method.as_bytes())? };
    let target = if head.target().is_empty() { "/" } else { head.target() };
    *request.uri_mut() =
        Uri::builder().scheme(scheme.as_str()).authority(host).path_and_query(target).build()?;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = write_fields(&head.fields, length)?;
    if let (Some(protocol), true) = (&head.upgrade, extended) {
        request.extensions_mut().insert(h2::ext::Protocol::from(protocol.as_str()));
    }
    Ok(request)
}

/// Writes a response's head.
pub(super) fn write_response(
    head: &ResponseHead,
    length: Option<u64>,
) -> Result<http::Response<()>, http::Error> {
    let mut response = http::Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status)?;
    *response.version_mut() = http::Version::HTTP_2;
    *response.headers_mut() = write_fields(&head.fields, length)?;
    Ok(response)
}

/// Writes fields, with `length` as the only Content-Length.
pub(super) fn write_fields(fields: &Fields, length: Option<u64>) -> Result<HeaderMap, http::Error> {
    let mut map = HeaderMap::with_capacity(fields.len() + 1);
    for (known, name, value) in fields.iter() {
        if known != Known::ContentLength {
            let value = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(value))?;
            map.try_append(HeaderName::from_bytes(name.as_bytes())?, value)?;
        }
    }
    if let Some(length) = length {
        map.try_append(http::header::CONTENT_LENGTH, HeaderValue::from(length))?;
    }
    Ok(map)
}
