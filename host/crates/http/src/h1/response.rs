//! Reads the head of a response (RFC 9112, 4 and 6.3).

use std::mem::MaybeUninit;

use super::framing::{FramingFields, keep_alive};
use super::{BodyFraming, FramingError, HeadLimits, Lines, scan_lines};
use crate::{Known, ResponseHead, Version};

/// What was read of a response besides its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParsedResponse {
    /// Bytes of the buffer that were the head.
    pub head_len: usize,
    /// How its body is delimited. `None` also for 101 and for a 2xx to CONNECT, after which all bytes belong to the
    /// tunnel.
    pub framing: BodyFraming,
    /// The Content-Length. A response that has no body (to HEAD, 304) can have one, and it should be passed on: write
    /// such a head with `BodyFraming::Length`.
    pub content_length: Option<u64>,
    /// Whether the connection can be used again once the body has ended. Never for a tunnel.
    pub keep_alive: bool,
}

/// Why a response was refused. The connection cannot be used any more; the client gets 502.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// Not a status line and fields: bad characters, white space before a colon, a folded line, a bare CR.
    #[error("malformed response head")]
    Malformed,
    /// A line ends in LF without CR.
    #[error("line of the response head ends without cr")]
    BareLf,
    /// A version other than 1.0 and 1.1.
    #[error("unsupported http version of response")]
    Version,
    /// The status is outside 100 to 599.
    #[error("invalid status of response")]
    Status,
    /// The head exceeds the limit.
    #[error("response head too large")]
    TooLarge,
    /// There are more fields than the limit.
    #[error("too many response fields")]
    TooManyFields,
    /// The end of the body is not clear.
    #[error("{0} in response")]
    Framing(#[from] FramingError),
    /// A 1xx response with a body (RFC 9112, 6.3, rule 1), which would be read as the final response.
    #[error("informational response with a body")]
    InformationalBody,
}

/// Reads the head of a response from the start of `buf`. `request_method` is that of the request it answers.
///
/// Returns `None` if the head is not complete: call again with more bytes. On success `head` is replaced; it has all
/// fields unchanged, and the caller strips the hop-by-hop ones. On an error or `None` the content of `head` is
/// unspecified.
///
/// # Errors
/// If the head is refused, or `limits.head_bytes` bytes have arrived without a complete head.
pub fn parse_response(
    buf: &[u8],
    limits: &HeadLimits,
    request_method: &str,
    head: &mut ResponseHead,
) -> Result<Option<ParsedResponse>, ResponseError> {
    match buf.first() {
        None => return Ok(None),
        Some(b'H') => {}
        Some(_) => return Err(ResponseError::Malformed),
    }
    match scan_lines(buf) {
        Lines::BareLf => Err(ResponseError::BareLf),
        Lines::Partial if buf.len() < limits.head_bytes => Ok(None),
        Lines::Whole(end) if end <= limits.head_bytes => {
            let message = &buf[..end];
            if limits.fields <= 128 {
                parse_with::<128>(message, limits.fields, request_method, head).map(Some)
            } else {
                parse_with::<{ HeadLimits::FIELDS_MAX }>(message, limits.fields, request_method, head)
                    .map(Some)
            }
        }
        Lines::Partial | Lines::Whole(_) => Err(ResponseError::TooLarge),
    }
}

fn parse_with<const N: usize>(
    message: &[u8],
    fields_max: usize,
    request_method: &str,
    head: &mut ResponseHead,
) -> Result<ParsedResponse, ResponseError> {
    let mut lines = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; N];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, message, &mut lines[..fields_max.min(N)]) {
        Ok(httparse::Status::Complete(len)) if len == message.len() => {}
        Ok(_) => return Err(ResponseError::Malformed),
        Err(httparse::Error::TooManyHeaders) => return Err(ResponseError::TooManyFields),
        Err(httparse::Error::Version) => return Err(ResponseError::Version),
        Err(httparse::Error::Status) => return Err(ResponseError::Status),
        Err(_) => return Err(ResponseError::Malformed),
    }
    let (Some(minor), Some(status)) = (response.version, response.code) else {
        return Err(ResponseError::Malformed);
    };
    if !(100..=599).contains(&status) {
        return Err(ResponseError::Status);
    }
    head.clear();
    head.version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    head.status = status;
    let mut fields = FramingFields::default();
    let mut connection = false;
    for line in response.headers.iter() {
        let known =
            head.fields.push(line.name.as_bytes(), line.value).map_err(|_| ResponseError::TooLarge)?;
        match known {
            Known::ContentLength => fields.content_length(line.value)?,
            Known::TransferEncoding => fields.transfer_encoding(line.value)?,
            Known::Connection => connection = true,
            _ => {}
        }
    }
    let fields = fields.check(head.version)?;
    let mut keep_alive =
        if connection { keep_alive(head.version, &head.fields) } else { head.version == Version::Http11 };
    let framing = match status {
        101 => {
            keep_alive = false;
            BodyFraming::None
        }
        100..200 if fields.chunked || fields.length.is_some_and(|length| length > 0) => {
            return Err(ResponseError::InformationalBody);
        }
        100..200 => BodyFraming::None,
        200..300 if request_method == "CONNECT" => {
            keep_alive = false;
            BodyFraming::None
        }
        304 => BodyFraming::None,
        204 => {
            // It has no body by definition, but a server that announces one may send it: those bytes must not be read
            // as the next response.
            keep_alive &= !fields.chunked && fields.length.unwrap_or(0) == 0;
            BodyFraming::None
        }
        _ if request_method == "HEAD" => BodyFraming::None,
        _ if fields.chunked => BodyFraming::Chunked,
        _ => match fields.length {
            Some(length) => BodyFraming::Length(length),
            None => {
                keep_alive = false;
                BodyFraming::UntilClose
            }
        },
    };
    Ok(ParsedResponse { head_len: message.len(), framing, content_length: fields.length, keep_alive })
}
