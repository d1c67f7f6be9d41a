//! Writes heads. Framing and connection fields are always the gateway's own; the fields of the head are written
//! unchanged and must not contain hop-by-hop fields any more (see `hop`).

use portcullis_model::text::push_decimal;

use super::BodyFraming;
use crate::{Fields, Known, RequestHead, ResponseHead, Version, reason_phrase};

/// Appends the head of a request to `out`. `host` is the value of Host, `upgrade` the protocol that is asked for.
///
/// A request that is not CONNECT has a path as its target; CONNECT names the head's authority. The version is always
/// 1.1 (RFC 9110, 6.2). [`BodyFraming::UntilClose`] does not exist for requests and is written as chunked.
pub fn write_request_head(
    out: &mut Vec<u8>,
    head: &RequestHead,
    host: &str,
    framing: BodyFraming,
    upgrade: Option<&str>,
) {
    let target = if head.method == "CONNECT" { &head.authority } else { head.target() };
    out.extend_from_slice(head.method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(host.as_bytes());
    out.extend_from_slice(b"\r\n");
    let te = write_fields(out, &head.fields);
    match framing {
        // RFC 9110, 8.6: methods that usually have content declare that they have none. Some servers answer 411
        // otherwise.
        BodyFraming::None if matches!(head.method.as_str(), "POST" | "PUT" | "PATCH") => write_length(out, 0),
        BodyFraming::None => {}
        BodyFraming::Length(length) => write_length(out, length),
        BodyFraming::Chunked | BodyFraming::UntilClose => out.extend_from_slice(CHUNKED),
    }
    match upgrade {
        Some(protocol) => write_upgrade(out, protocol),
        // RFC 9110, 10.1.4: TE is valid for one hop and must be listed.
        None if te => out.extend_from_slice(b"connection: te\r\n"),
        None => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// What a response head contains besides status and fields.
#[derive(Debug, Clone, Copy)]
pub struct ResponseOptions<'a> {
    /// The version of the client's request.
    pub version: Version,
    /// How the body is delimited, after [`BodyFraming::for_client`]. A response to HEAD or a 304 that knows its length
    /// has that length, although no body follows. A response that has an empty body but could have one has `Length(0)`.
    pub framing: BodyFraming,
    /// Whether the connection stays open; without effect for `UntilClose`, which closes it.
    pub keep_alive: bool,
    /// The protocol after a 101.
    pub upgrade: Option<&'a str>,
}

/// Appends the head of a response to `out`. The status line has HTTP/1.1 for clients of HTTP/1.0 too (RFC 9110, 6.2). A
/// 1xx gets no framing and no connection fields except those of an upgrade; a 204 no framing (RFC 9110, 8.6).
pub fn write_response_head(out: &mut Vec<u8>, head: &ResponseHead, options: ResponseOptions<'_>) {
    write_status_line(out, head.status);
    write_fields(out, &head.fields);
    let informational = head.status < 200;
    let mut keep_alive = options.keep_alive;
    if !informational && head.status != 204 {
        match options.framing {
            BodyFraming::None => {}
            BodyFraming::Length(length) => write_length(out, length),
            BodyFraming::Chunked => out.extend_from_slice(CHUNKED),
            BodyFraming::UntilClose => keep_alive = false,
        }
    }
    if let Some(protocol) = options.upgrade {
        write_upgrade(out, protocol);
    } else if !informational {
        match (keep_alive, options.version) {
            (true, Version::Http10) => out.extend_from_slice(b"connection: keep-alive\r\n"),
            (true, _) => {}
            (false, _) => out.extend_from_slice(b"connection: close\r\n"),
        }
    }
    out.extend_from_slice(b"\r\n");
}

const CHUNKED: &[u8] = b"transfer-encoding: chunked\r\n";

/// Appends all fields. Returns whether TE was among them.
pub(super) fn write_fields(out: &mut Vec<u8>, fields: &Fields) -> bool {
    let mut te = false;
    for (known, name, value) in fields.iter_bytes() {
        te |= known == Known::Te;
        write_field(out, name, value);
    }
    te
}

/// Appends one field line.
pub(super) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    push_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

fn write_upgrade(out: &mut Vec<u8>, protocol: &str) {
    out.extend_from_slice(b"connection: upgrade\r\n");
    write_field(out, b"upgrade", protocol.as_bytes());
}

fn write_status_line(out: &mut Vec<u8>, status: u16) {
    let whole: &[u8] = match status {
        200 => b"HTTP/1.1 200 OK\r\n",
        204 => b"HTTP/1.1 204 No Content\r\n",
        206 => b"HTTP/1.1 206 Partial Content\r\n",
        301 => b"HTTP/1.1 301 Moved Permanently\r\n",
        302 => b"HTTP/1.1 302 Found\r\n",
        304 => b"HTTP/1.1 304 Not Modified\r\n",
        400 => b"HTTP/1.1 400 Bad Request\r\n",
        401 => b"HTTP/1.1 401 Unauthorized\r\n",
        403 => b"HTTP/1.1 403 Forbidden\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        429 => b"HTTP/1.1 429 Too Many Requests\r\n",
        502 => b"HTTP/1.1 502 Bad Gateway\r\n",
        503 => b"HTTP/1.1 503 Service Unavailable\r\n",
        _ => {
            out.extend_from_slice(b"HTTP/1.1 ");
            push_decimal(out, u64::from(status));
            out.push(b' ');
            out.extend_from_slice(reason_phrase(status).as_bytes());
            b"\r\n"
        }
    };
    out.extend_from_slice(whole);
}
