//! Reads the head of a request (RFC 9112, 3 and 5).

use std::mem::MaybeUninit;

use super::framing::{FramingFields, keep_alive};
use super::{BodyFraming, FramingError, HeadLimits, Lines, scan_lines};
use crate::authority::has_port;
use crate::{Known, PathError, RequestHead, Scheme, Version, set_client_target, validate_authority};

/// What was read of a request besides its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParsedRequest {
    /// Bytes of the buffer that were the head. What follows is the body, or the next request.
    pub head_len: usize,
    /// How its body is delimited.
    pub framing: BodyFraming,
    /// Whether the client wants the connection to stay open.
    pub keep_alive: bool,
    /// Whether the client waits for 100 (Continue) before it sends its body (RFC 9110, 10.1.1).
    pub expect_continue: bool,
}

/// Why a request was refused. The connection cannot be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not a request line and fields: bad characters, white space before a colon, a folded line, a bare CR.
    #[error("malformed request head")]
    Malformed,
    /// A line ends in LF without CR.
    #[error("line of the request head ends without cr")]
    BareLf,
    /// A version other than 1.0 and 1.1.
    #[error("unsupported http version")]
    Version,
    /// The method has more than 32 characters.
    #[error("method too long")]
    Method,
    /// The path or query is refused.
    #[error("invalid request target: {0}")]
    Path(#[from] PathError),
    /// The target has a form that its method does not allow, or a scheme other than http and https (RFC 9112, 3.2).
    #[error("invalid form of request target")]
    TargetForm,
    /// The request line alone exceeds the limit.
    #[error("request target too long")]
    TargetTooLong,
    /// The head exceeds the limit.
    #[error("request head too large")]
    TooLarge,
    /// There are more fields than the limit.
    #[error("too many request fields")]
    TooManyFields,
    /// HTTP/1.1 without Host (RFC 9112, 3.2).
    #[error("no host")]
    NoHost,
    /// Several Host fields (RFC 9112, 3.2).
    #[error("several host fields")]
    SeveralHosts,
    /// The host, of the target or the field, is malformed.
    #[error("invalid host")]
    Host,
    /// The end of the body is not clear.
    #[error("{0}")]
    Framing(#[from] FramingError),
    /// CONNECT with a body (RFC 9110, 9.3.6: it has none), which would be read as the start of the tunnel.
    #[error("connect with a body")]
    ConnectBody,
}

impl RequestError {
    /// Returns the status that the client gets.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TargetTooLong | Self::Path(PathError::TooLong) => 414,
            Self::TooLarge | Self::TooManyFields => 431,
            Self::Method | Self::Framing(FramingError::TransferCoding) => 501,
            Self::Version => 505,
            _ => 400,
        }
    }
}

/// Longer than every registered method (the longest has 17 characters).
const METHOD_BYTES_MAX: usize = 32;

/// Reads the head of a request from the start of `buf`, which may begin with one empty line (RFC 9112, 2.2).
///
/// Returns `None` if the head is not complete: call again with more bytes. On success `head` is replaced: the method,
/// the authority (the target's, else that of Host), the normalised target, and all fields except Host unchanged; the
/// caller strips the hop-by-hop ones. `head.upgrade` is the first protocol that the client offers, if Connection lists
/// `upgrade`, the version is 1.1 and there is no body; `h2c` is skipped. On an error or `None` the content of `head` is
/// unspecified.
///
/// # Errors
/// If the head is refused. This happens as soon as `limits.head_bytes` bytes have arrived without a complete head, so a
/// buffer needs no more room than that.
pub fn parse_request(
    buf: &[u8],
    limits: &HeadLimits,
    scheme: Scheme,
    head: &mut RequestHead,
) -> Result<Option<ParsedRequest>, RequestError> {
    let skipped = match buf {
        [b'\r', b'\n', ..] => 2,
        [b'\r'] => return Ok(None),
        _ => 0,
    };
    let message = &buf[skipped..];
    // Recognizes TLS and other protocols without waiting for a line end that may never arrive.
    match message.first() {
        None => return Ok(None),
        Some(first) if !first.is_ascii_alphanumeric() && !crate::is_token(&[*first]) => {
            return Err(RequestError::Malformed);
        }
        Some(_) => {}
    }
    match scan_lines(message) {
        Lines::BareLf => Err(RequestError::BareLf),
        Lines::Partial if message.len() < limits.head_bytes => check_line(message).map(|()| None),
        Lines::Whole(end) if end <= limits.head_bytes => {
            let parsed = parse_whole(&message[..end], limits.fields, scheme, head)?;
            Ok(Some(ParsedRequest { head_len: skipped + end, ..parsed }))
        }
        Lines::Partial | Lines::Whole(_) => {
            let line = memchr::memchr(b'\n', message).unwrap_or(message.len());
            Err(if line >= limits.head_bytes { RequestError::TargetTooLong } else { RequestError::TooLarge })
        }
    }
}

/// Refuses a complete request line of a version that is not read here, whatever follows it: a client of HTTP/0.9 sends
/// no more than its line and waits for the answer, and one that speaks HTTP/2 here by mistake waits as well.
fn check_line(message: &[u8]) -> Result<(), RequestError> {
    let Some(end) = memchr::memchr(b'\n', message) else { return Ok(()) };
    match message.get(..end + 1) {
        Some(line) if line.ends_with(b" HTTP/1.1\r\n") || line.ends_with(b" HTTP/1.0\r\n") => Ok(()),
        Some(line) if names_other_version(line) => Err(RequestError::Version),
        _ => Err(RequestError::Malformed),
    }
}

/// The usual limits of fields take 4 KiB of stack. Only an operator who raises them pays for more.
fn parse_whole(
    message: &[u8],
    fields_max: usize,
    scheme: Scheme,
    head: &mut RequestHead,
) -> Result<ParsedRequest, RequestError> {
    if fields_max <= 128 {
        parse_with::<128>(message, fields_max, scheme, head)
    } else {
        parse_with::<{ HeadLimits::FIELDS_MAX }>(message, fields_max, scheme, head)
    }
}

fn parse_with<const N: usize>(
    message: &[u8],
    fields_max: usize,
    scheme: Scheme,
    head: &mut RequestHead,
) -> Result<ParsedRequest, RequestError> {
    let mut lines = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; N];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(message, &mut lines[..fields_max.min(N)]) {
        // Otherwise httparse and this codec would see different ends of the head.
        Ok(httparse::Status::Complete(len)) if len == message.len() => {}
        Ok(_) => return Err(RequestError::Malformed),
        Err(httparse::Error::TooManyHeaders) => return Err(RequestError::TooManyFields),
        Err(httparse::Error::Version) if names_other_version(message) => return Err(RequestError::Version),
        Err(_) => return Err(RequestError::Malformed),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(RequestError::Malformed);
    };
    if method.len() > METHOD_BYTES_MAX {
        return Err(RequestError::Method);
    }
    head.clear();
    head.version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    head.scheme = scheme;
    head.method.push_str(method);
    let seen = read_fields(request.headers, head)?;
    read_target(target, seen.host, head)?;
    let framing = seen.framing.check(head.version)?;
    let framing = match framing {
        FramingFields { chunked: true, .. } => BodyFraming::Chunked,
        FramingFields { length: Some(length), .. } => BodyFraming::Length(length),
        FramingFields { .. } => BodyFraming::None,
    };
    let connect = method == "CONNECT";
    if connect && framing != BodyFraming::None {
        return Err(RequestError::ConnectBody);
    }
    if seen.upgrade && !connect && framing.is_empty() && head.version == Version::Http11 {
        head.upgrade = offered_protocol(&head.fields);
    }
    let expect_continue = seen.expect
        && head.version == Version::Http11
        && !framing.is_empty()
        && head.fields.has_token(Known::Expect, "100-continue");
    let keep_alive = if seen.connection {
        keep_alive(head.version, &head.fields)
    } else {
        head.version == Version::Http11
    };
    Ok(ParsedRequest { head_len: message.len(), framing, keep_alive, expect_continue })
}

/// What was found among the fields.
#[derive(Default)]
struct Seen<'a> {
    host: Option<&'a [u8]>,
    framing: FramingFields,
    connection: bool,
    upgrade: bool,
    expect: bool,
}

/// Moves the fields to `head`, all except Host.
fn read_fields<'a>(lines: &[httparse::Header<'a>], head: &mut RequestHead) -> Result<Seen<'a>, RequestError> {
    let mut seen = Seen::default();
    for line in lines {
        let name = line.name.as_bytes();
        // httparse has checked names and values against the same character tables as `Fields::append`.
        if name.eq_ignore_ascii_case(b"host") {
            if seen.host.replace(line.value).is_some() {
                return Err(RequestError::SeveralHosts);
            }
            continue;
        }
        let known = head.fields.push(name, line.value).map_err(|_| RequestError::TooLarge)?;
        match known {
            Known::ContentLength => seen.framing.content_length(line.value)?,
            Known::TransferEncoding => seen.framing.transfer_encoding(line.value)?,
            Known::Connection => seen.connection = true,
            Known::Upgrade => seen.upgrade = true,
            Known::Expect => seen.expect = true,
            _ => {}
        }
    }
    seen.upgrade = seen.upgrade && seen.connection && head.fields.has_token(Known::Connection, "upgrade");
    Ok(seen)
}

/// Reads the target, in whichever form its method allows, and the authority.
fn read_target(target: &str, host: Option<&[u8]>, head: &mut RequestHead) -> Result<(), RequestError> {
    let host = match host {
        // A host must be valid even if the target overrules it.
        Some(host) => {
            let host = std::str::from_utf8(host).map_err(|_| RequestError::Host)?;
            if !validate_authority(host) {
                return Err(RequestError::Host);
            }
            host
        }
        None if head.version == Version::Http10 => "",
        None => return Err(RequestError::NoHost),
    };
    if head.method == "CONNECT" {
        // authority-form (RFC 9112, 3.2.3); `head.clear` has left the target empty.
        if !validate_authority(target) || !has_port(target) {
            return Err(RequestError::TargetForm);
        }
        head.authority.push_str(target);
        return Ok(());
    }
    if target.starts_with('/') {
        head.authority.push_str(host);
        return Ok(set_client_target(head, target)?);
    }
    if target == "*" {
        if head.method != "OPTIONS" {
            return Err(RequestError::TargetForm);
        }
        head.authority.push_str(host);
        head.set_target("*", None);
        return Ok(());
    }
    read_absolute(target, head)
}

/// Reads an absolute-form target, whose authority overrules Host (RFC 9112, 3.2.2). Its scheme does not show how the
/// client reached the gateway.
fn read_absolute(target: &str, head: &mut RequestHead) -> Result<(), RequestError> {
    let (scheme, rest) = target.split_once("://").ok_or(RequestError::TargetForm)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(RequestError::TargetForm);
    }
    let end = rest.bytes().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if !validate_authority(authority) {
        return Err(RequestError::Host);
    }
    head.authority.push_str(authority);
    if path.is_empty() {
        // RFC 9112, 3.2.4: the last proxy turns OPTIONS on a bare authority into asterisk-form.
        head.set_target(if head.method == "OPTIONS" { "*" } else { "/" }, None);
    } else if path.starts_with('?') {
        let mut rooted = String::with_capacity(path.len() + 1);
        rooted.push('/');
        rooted.push_str(path);
        set_client_target(head, &rooted)?;
    } else {
        set_client_target(head, path)?;
    }
    Ok(())
}

/// Returns the first protocol of Upgrade that may be tunnelled, or `None` if the field is malformed. h2c may not: its
/// requests would bypass the policies (and RFC 9113, 3.1 has withdrawn it).
fn offered_protocol(fields: &crate::Fields) -> Option<String> {
    let mut offered = None;
    for value in fields.all_known(Known::Upgrade) {
        for protocol in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            match read_protocol(protocol)? {
                Offered::Http => {}
                Offered::Other(protocol) => {
                    offered.get_or_insert_with(|| protocol.to_owned());
                }
            }
        }
    }
    offered
}

/// A protocol that a connection can become.
enum Offered<'a> {
    /// Another version of HTTP, whose requests would bypass the policies.
    Http,
    Other(&'a str),
}

/// Reads a protocol (RFC 9110, 7.8): a name, and optionally a version after a slash. Returns `None` if it is not one.
fn read_protocol(protocol: &[u8]) -> Option<Offered<'_>> {
    let mut parts = protocol.splitn(2, |byte| *byte == b'/');
    let name = parts.next().unwrap_or_default();
    if !crate::is_token(name) || parts.next().is_some_and(|version| !crate::is_token(version)) {
        return None;
    }
    if [&b"h2c"[..], b"h2", b"http"].iter().any(|other| name.eq_ignore_ascii_case(other)) {
        return Some(Offered::Http);
    }
    std::str::from_utf8(protocol).ok().map(Offered::Other)
}

/// Returns whether a request may ask for its connection, or its stream, to become this protocol. It is written into the
/// head that an upstream gets, and must not be HTTP, whose requests would bypass the policies.
#[must_use]
pub fn is_upgrade_protocol(protocol: &str) -> bool {
    matches!(read_protocol(protocol.as_bytes()), Some(Offered::Other(_)))
}

/// Returns whether the request line is well-formed except that it names another version (`HTTP/2.0`).
fn names_other_version(message: &[u8]) -> bool {
    let line = message.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut parts = line.split(|byte| *byte == b' ').skip(2);
    let (version, rest) = (parts.next().unwrap_or_default(), parts.next());
    rest.is_none()
        && matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit())
}
