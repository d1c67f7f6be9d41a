//! What can go wrong with an exchange, whose fault it is, and the one table that turns it into a response.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use portcullis_compress::DecodeError;
use portcullis_files::FileError;
use portcullis_http::PathError;
use portcullis_net::ConnectError;
use portcullis_policy::{BodySide, Fault};
pub(crate) use portcullis_telemetry::FaultSide;

use crate::body::BodyError;
use crate::call::NotSent;
use crate::table::PathRefused;

/// Why an exchange could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// No route takes the request.
    #[error("no route takes the request")]
    NoRoute,
    /// The route is served over TLS only, and the client came without.
    #[error("the route is served over TLS only")]
    TlsRequired {
        /// Where the same request is served; `None` if it cannot be sent there.
        location: Option<String>,
    },
    /// The path is refused, now that the route is known.
    #[error(transparent)]
    Path(PathRefused),
    /// The head leaves no room for the gateway's own fields.
    #[error("the request head is too large")]
    HeadTooLarge,
    /// The request's body is larger than the route allows.
    #[error("the request body is larger than {limit} bytes")]
    BodyTooLarge {
        /// What the route allows.
        limit: u64,
    },
    /// The request has passed gateways of this name too often.
    #[error("the request is in a loop, according to `Via`")]
    Loop,
    /// TRACE, on a route that does not name it: the answer would show what policies and proxies have added.
    #[error("TRACE is not among the methods that the route names")]
    Trace,
    /// CONNECT is for forward proxies.
    #[error("CONNECT is not served by a reverse proxy")]
    Connect,
    /// The route is a redirect, and no place can be named for this request.
    #[error(
        "no redirect can be made of the request: it lacks a host or path, or the path would name another server"
    )]
    NoLocation,
    /// The path that the route makes of the request's cannot be forwarded.
    #[error("the rewritten path cannot be forwarded: {0}")]
    Rewritten(PathError),
    /// The route serves files, and the request has another method than GET and HEAD.
    #[error("the route serves files, by GET and HEAD alone")]
    FileMethod,
    /// The file that the path names is not sent.
    #[error(transparent)]
    File(FileError),
    /// The file is not what the client expects by `If-Match` or `If-Unmodified-Since`.
    #[error("the file is not the one that the client expects")]
    Precondition,
    /// The file has none of the bytes that are asked for.
    #[error("the file has {length} bytes, and none of those that are asked for")]
    Range {
        /// The length of the file.
        length: u64,
    },
    /// The answer that the route has is more than a head can hold.
    #[error("the fields of the route's answer are too large")]
    ResponseTooLarge,
    /// Every endpoint that could be tried failed.
    #[error("no endpoint of upstream `{upstream}` could be reached: {source}")]
    Unreachable {
        /// The upstream.
        upstream: String,
        /// How the last one failed.
        source: ConnectError,
    },
    /// The upstream has no endpoint that may be tried.
    #[error("upstream `{upstream}` has no endpoint left to try")]
    NoEndpoint {
        /// The upstream.
        upstream: String,
    },
    /// The upstream, or each of its endpoints, has as many exchanges under way as it may have.
    #[error("upstream `{upstream}` has as many requests under way as it may have, and {}", waited_words(.waited))]
    Full {
        /// The upstream.
        upstream: String,
        /// How long the request waited; `None` if as many wait as may.
        waited: Option<Duration>,
    },
    /// The endpoint did not answer in time.
    #[error("endpoint {endpoint} sent no response head in time")]
    ResponseTimeout {
        /// The endpoint.
        endpoint: String,
    },
    /// The endpoint closed, reset or broke the protocol before it answered.
    #[error("endpoint {endpoint}: {reason}")]
    Upstream {
        /// The endpoint.
        endpoint: String,
        /// What it did.
        reason: String,
    },
    /// The endpoint did not act on the request, and says so.
    #[error("endpoint {endpoint} did not take the request: {reason}")]
    Unprocessed {
        /// The endpoint.
        endpoint: String,
        /// What it said.
        reason: String,
    },
    /// The endpoint answered with a status for which the route tries again, which then had no success.
    #[error("endpoint {endpoint} answered {status}")]
    Status {
        /// The endpoint.
        endpoint: String,
        /// The status.
        status: u16,
    },
    /// Nothing was sent to the endpoint.
    #[error("endpoint {endpoint} was not asked: {source}")]
    NotSent {
        /// The endpoint.
        endpoint: String,
        /// Why not.
        source: NotSent,
    },
    /// The response's head is larger than the upstream's `head` allows. What a client sends may decide how large it is.
    #[error("endpoint {endpoint} sent a response head that is too large")]
    ResponseHeadTooLarge {
        /// The endpoint.
        endpoint: String,
    },
    /// The request's body failed.
    #[error(transparent)]
    RequestBody(BodyError),
    /// The client wants an answer from the cache alone, and there is none.
    #[error("the client wants what is stored, and nothing is")]
    NotStored,
    /// The body of the request has another coding than those that are decoded, or several.
    #[error("the request body is encoded in a way that is not known")]
    Coding,
    /// As many bodies as may be are being decoded.
    #[error("too many bodies are being decoded")]
    Decoders,
    /// The upstream failed another request for the same response, which this one waited for.
    #[error("{0}")]
    Shared(Arc<SharedFailure>),
    /// The whole exchange took longer than the route allows.
    #[error("the exchange took longer than the route allows")]
    Timeout,
    /// The client went away before it was answered.
    #[error("the client went away")]
    ClientGone,
}

fn waited_words(waited: &Option<Duration>) -> String {
    match waited {
        Some(waited) => format!("none ended within {waited:?}"),
        None => "no more may wait".to_owned(),
    }
}

/// How a request failed, for others that waited for its response.
#[derive(Debug, thiserror::Error)]
#[error("another request for the same response: {message}")]
pub(crate) struct SharedFailure {
    response: (u16, &'static str),
    message: String,
    side: FaultSide,
}

impl SharedFailure {
    /// The same failure, for others.
    pub(crate) fn of(error: &ExchangeError) -> Self {
        Self { response: error.response(), message: error.to_string(), side: error.side() }
    }
}

/// Why a response or a tunnel was cut off after its head was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The response's body failed, or the request's, which was still being sent.
    #[error(transparent)]
    Body(BodyError),
    /// The client closed its connection.
    #[error("the client went away")]
    ClientGone,
    /// The client's connection failed.
    #[error("the client went away: {0}")]
    ClientLost(io::Error),
    /// The client reset or closed its stream.
    #[error("the client {0} the stream")]
    StreamClosed(&'static str),
    /// The client's HTTP/2 stream or connection failed.
    #[error("{0}")]
    StreamLost(String),
    /// The client took too little for its idle timeout.
    #[error("the client took nothing of the response body for too long")]
    ClientStalled,
    /// Nothing arrived for the upstream's idle timeout.
    #[error("the upstream sent nothing of its response body for too long")]
    UpstreamSilent,
    /// The whole exchange took longer than the route allows.
    #[error("{}", ExchangeError::Timeout)]
    Timeout {
        /// The side that was waited for when the time had passed.
        waited_for: FaultSide,
    },
    /// The drain's timeout has passed.
    #[error("the drain is over")]
    DrainOver,
    /// The head cannot be written in the client's protocol, or the client did not take it.
    #[error("the response head could not be sent: {0}")]
    Head(String),
    /// Trailers cannot be written in the client's protocol.
    #[error("{0}")]
    Trailers(String),
    /// The client's connection cannot become a tunnel.
    #[error("the connection is still in use")]
    InUse,
    /// One side of a tunnel failed.
    #[error("the tunnel broke: {source}")]
    TunnelBroke {
        /// The side.
        side: FaultSide,
        /// What the operating system or the protocol says.
        source: io::Error,
    },
    /// Neither side of a tunnel sent anything.
    #[error("the tunnel was idle for {0:?}")]
    TunnelIdle(Duration),
    /// One side of a tunnel took too little.
    #[error("the {side} took nothing of the tunnel for {idle:?}")]
    TunnelStalled {
        /// The side.
        side: FaultSide,
        /// The tunnel's idle timeout.
        idle: Duration,
    },
}

/// Why a request could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed<'a>(pub(crate) &'a str);

/// Something that went wrong with an exchange, for its record.
pub(crate) trait Failure: std::fmt::Display {
    /// Returns the side that is at fault.
    fn side(&self) -> FaultSide;
}

impl Failure for StreamError {
    fn side(&self) -> FaultSide {
        match self {
            Self::Body(error) => error.side(),
            Self::ClientGone
            | Self::ClientLost(_)
            | Self::StreamClosed(_)
            | Self::StreamLost(_)
            | Self::ClientStalled => FaultSide::Client,
            Self::UpstreamSilent => FaultSide::Upstream,
            Self::Timeout { waited_for: side }
            | Self::TunnelBroke { side, .. }
            | Self::TunnelStalled { side, .. } => *side,
            Self::DrainOver | Self::Head(_) | Self::Trailers(_) | Self::InUse | Self::TunnelIdle(_) => {
                FaultSide::Gateway
            }
        }
    }
}

impl Failure for Malformed<'_> {
    fn side(&self) -> FaultSide {
        FaultSide::Client
    }
}

impl Failure for BodyError {
    fn side(&self) -> FaultSide {
        match self {
            Self::Downstream(_)
            | Self::DownstreamTimeout
            | Self::TooLarge { .. }
            | Self::Unheld { side: BodySide::Request, .. }
            | Self::Decode { side: BodySide::Request, .. } => FaultSide::Client,
            Self::Upstream(_)
            | Self::Unheld { side: BodySide::Response, .. }
            | Self::Decode { side: BodySide::Response, .. } => FaultSide::Upstream,
            Self::Policy { .. } => FaultSide::Policy,
            Self::File(_) | Self::Encode(_) => FaultSide::Gateway,
        }
    }
}

impl Failure for Fault {
    fn side(&self) -> FaultSide {
        FaultSide::Policy
    }
}

impl Failure for ExchangeError {
    fn side(&self) -> FaultSide {
        match self {
            Self::NoRoute
            | Self::TlsRequired { .. }
            | Self::Path(_)
            | Self::HeadTooLarge
            | Self::BodyTooLarge { .. }
            | Self::Loop
            | Self::Trace
            | Self::Connect
            | Self::NoLocation
            | Self::Rewritten(_)
            | Self::FileMethod
            | Self::Precondition
            | Self::Range { .. }
            | Self::NotSent { source: NotSent::HeadTooLarge { .. } | NotSent::Malformed(_), .. }
            | Self::NotStored
            | Self::Coding
            | Self::ClientGone => FaultSide::Client,
            // Without a socket or a port of our own, the endpoint was not reached at all.
            Self::Unreachable { source, .. } if !source.is_endpoint_fault() => FaultSide::Gateway,
            Self::ResponseTooLarge | Self::Decoders => FaultSide::Gateway,
            Self::File(error) if is_missing(error) => FaultSide::Client,
            Self::File(_) => FaultSide::Gateway,
            Self::Unreachable { .. }
            | Self::NoEndpoint { .. }
            | Self::Full { .. }
            | Self::NotSent { source: NotSent::ExtendedConnect, .. }
            | Self::ResponseTimeout { .. }
            | Self::Upstream { .. }
            | Self::Unprocessed { .. }
            | Self::Status { .. }
            | Self::ResponseHeadTooLarge { .. }
            | Self::Timeout => FaultSide::Upstream,
            Self::RequestBody(error) => error.side(),
            Self::Shared(failure) => failure.side,
        }
    }
}

/// Returns whether a file counts as not there. The client does not learn which of the reasons it is.
fn is_missing(error: &FileError) -> bool {
    matches!(
        error,
        FileError::NotFound
            | FileError::Name
            | FileError::Hidden
            | FileError::NoIndex { .. }
            | FileError::NotRegular
            | FileError::Link
    )
}

/// Whether an error counts as a failure of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndpointFault {
    /// It does, because no client can cause it.
    Always,
    /// It does if the endpoint answered no other exchange meanwhile. Otherwise the endpoint works, and this request is
    /// at fault.
    IfSilent,
    /// It does not: nothing was sent to the endpoint, or the client or the gateway is at fault.
    Never,
}

impl ExchangeError {
    /// Returns whether it counts as a failure of the endpoint, which may then be ejected for a while.
    pub(crate) fn endpoint_fault(&self) -> EndpointFault {
        match self {
            Self::Unreachable { source, .. } if source.is_endpoint_fault() => EndpointFault::Always,
            Self::ResponseTimeout { .. } | Self::Upstream { .. } => EndpointFault::IfSilent,
            _ => EndpointFault::Never,
        }
    }

    /// Whether the upstream is at fault and not this request, so that another one would fail too.
    pub(crate) fn is_of_upstream(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::NoEndpoint { .. }
                | Self::Full { .. }
                | Self::ResponseTimeout { .. }
                | Self::Upstream { .. }
                | Self::Unprocessed { .. }
                | Self::Status { .. }
                | Self::ResponseHeadTooLarge { .. }
        )
    }

    /// Returns what the endpoint did, for a log line that names it.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Unreachable { source, .. } => source.reason().to_owned(),
            Self::ResponseTimeout { .. } => "no response head in time".to_owned(),
            Self::Upstream { reason, .. } => reason.clone(),
            _ => self.to_string(),
        }
    }

    /// Returns the status and the short reason that the client gets. The log gets the whole error.
    pub(crate) fn response(&self) -> (u16, &'static str) {
        match self {
            Self::NoRoute => (404, "no route takes this request"),
            // 308 keeps the method and the body (RFC 9110, 15.4.9).
            Self::TlsRequired { location: Some(_) } => (308, "this is served over https only"),
            Self::TlsRequired { location: None } => (421, "this is served over https only"),
            Self::Path(PathRefused::Form(_)) => (400, "invalid path"),
            Self::Path(PathRefused::Guarded { .. }) => (400, "the path can be read in two ways"),
            Self::HeadTooLarge => (431, "the request head is too large"),
            Self::BodyTooLarge { .. }
            | Self::RequestBody(
                BodyError::TooLarge { .. } | BodyError::Unheld { side: BodySide::Request, .. },
            ) => (413, "the request body is too large"),
            Self::RequestBody(BodyError::Unheld { side: BodySide::Response, .. }) => {
                (502, "the upstream's response is too large for a policy")
            }
            Self::NoLocation => (400, "no redirect can be made of this request"),
            Self::Rewritten(_) => (400, "invalid path"),
            Self::ResponseTooLarge => (500, "the answer is too large"),
            Self::FileMethod => (405, "files are read by GET and HEAD alone"),
            Self::Precondition => (412, "the file is not the expected one"),
            Self::Range { .. } => (416, "the file has no such bytes"),
            Self::File(error) if is_missing(error) => (404, "no such file"),
            Self::File(FileError::Denied) => (403, "the file cannot be read"),
            Self::File(FileError::Busy | FileError::Stopped) => (503, "too many files are being read"),
            Self::File(FileError::TimedOut) => (504, "the file could not be read in time"),
            Self::File(_) | Self::RequestBody(BodyError::File(_)) => (500, "the file cannot be read"),
            Self::Coding => (415, "the request body is encoded in a way that is not known"),
            Self::Decoders => (503, "too many bodies are being decoded"),
            Self::RequestBody(BodyError::Decode {
                side: BodySide::Request,
                error: DecodeError::TooLarge(_) | DecodeError::TooDense(_),
            }) => (413, "the request body is too large when it is decoded"),
            Self::RequestBody(BodyError::Decode { side: BodySide::Request, .. }) => {
                (400, "the request body is not what its coding says")
            }
            Self::RequestBody(BodyError::Decode { side: BodySide::Response, .. }) => {
                (502, "the upstream sent no valid response")
            }
            Self::RequestBody(BodyError::Encode(_)) => (500, "the response cannot be encoded"),
            Self::Loop => (508, "the request is in a loop"),
            Self::Trace => (405, "TRACE is not allowed"),
            Self::Connect => (501, "CONNECT is not supported"),
            Self::Unreachable { source, .. } if source.is_timeout() => {
                (504, "the upstream did not answer in time")
            }
            Self::Unreachable { .. } => (502, "the upstream could not be reached"),
            Self::NoEndpoint { .. } => (503, "no upstream server is available"),
            Self::Full { .. } => (503, "the upstream is busy"),
            Self::ResponseTimeout { .. } | Self::Timeout => (504, "the upstream did not answer in time"),
            Self::Upstream { .. }
            | Self::ResponseHeadTooLarge { .. }
            | Self::RequestBody(BodyError::Upstream(_)) => (502, "the upstream sent no valid response"),
            Self::Status { status, .. } => (*status, "the upstream has no other answer"),
            Self::Unprocessed { .. } => (502, "the upstream took no further request"),
            Self::NotSent { source: NotSent::HeadTooLarge { .. }, .. } => {
                (431, "the request head is too large for the upstream")
            }
            Self::NotSent { source: NotSent::ExtendedConnect | NotSent::Malformed(_), .. } => {
                (502, "the request cannot be sent to the upstream")
            }
            Self::RequestBody(BodyError::DownstreamTimeout) => (408, "the request body took too long"),
            Self::RequestBody(BodyError::Downstream(_)) => (400, "the request body is malformed"),
            Self::RequestBody(BodyError::Policy { .. }) => (500, "a policy failed"),
            Self::NotStored => (504, "nothing is stored for this request"),
            Self::Shared(failure) => failure.response,
            // Not sent, but shown in the record, as nginx does.
            Self::ClientGone => (499, "the client closed the request"),
        }
    }
}
