//! What is recorded of an exchange while it runs, for its record, its policies and its metrics.

use std::rc::Rc;

use portcullis_compress::Asked;
use portcullis_http::RequestHead;
use portcullis_telemetry::{CacheResult, EncodingReport};
use tokio::time::Instant;

use crate::endpoint::LocalEndpoint;
use crate::error::{Failure, FaultSide};
use crate::gate::UnderWay;
use crate::recording::Recording;

/// Bytes of a target that are kept for a record, which shows fewer.
const RAW_BYTES_MAX: usize = 4096;

/// Method and path of a request as the client sent them, for the record of a request that was refused or rewritten.
/// Neither is checked if it was refused.
#[derive(Debug, Default)]
pub(crate) struct RawRequest {
    /// Empty if there was no method in what the client sent.
    pub(crate) method: String,
    /// Without its query, which may hold secrets.
    pub(crate) path: Vec<u8>,
}

impl RawRequest {
    /// Reads the start of an invalid HTTP/1 head. Returns `None` if the client has sent none.
    pub(crate) fn h1(head: &[u8]) -> Option<Self> {
        let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        let line = head[start..].split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let first = words.next().unwrap_or_default();
        let is_method = !first.is_empty() && first.len() <= 32 && first.iter().all(u8::is_ascii_graphic);
        match (is_method, words.next()) {
            (true, target) => Some(Self::new(&String::from_utf8_lossy(first), target.unwrap_or_default())),
            (false, _) => Some(Self::new("", line)),
        }
    }

    /// Returns the record of a method and a target.
    pub(crate) fn new(method: &str, target: &[u8]) -> Self {
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        let path = path[..path.len().min(RAW_BYTES_MAX)].to_vec();
        Self { method: method.to_owned(), path }
    }
}

/// What is known of one exchange while it runs.
#[derive(Debug)]
pub(crate) struct ExchangeInfo {
    /// When its head was complete.
    pub(crate) started: Instant,
    /// When it was forwarded.
    pub(crate) forwarded: Option<Instant>,
    /// When the upstream's final head had arrived, or forwarding failed.
    pub(crate) answered: Option<Instant>,
    /// Endpoints that were tried.
    pub(crate) attempts: u32,
    /// The last endpoint that was tried. It belongs to this worker: counting references to what all workers share would
    /// make them contend for one cache line.
    pub(crate) endpoint: Option<Rc<LocalEndpoint>>,
    /// Counts the exchange at the endpoint for as long as this is kept.
    pub(crate) in_flight: Option<UnderWay>,
    /// What the route's cache did, if it has one.
    pub(crate) cache: Option<CacheResult>,
    /// What the client says of codings, if the route encodes.
    pub(crate) asked: Option<Asked>,
    /// What became of the response, if the route encodes.
    pub(crate) encoding: Option<EncodingReport>,
    /// The URL that the client asked to change, if it may be stored in a cache.
    pub(crate) changes: Option<Box<RequestHead>>,
    /// What went wrong.
    pub(crate) error: Option<String>,
    /// The side at fault, if something went wrong.
    side: Option<FaultSide>,
    /// The request as the client sent it, if it was refused before it was parsed, or rewritten.
    pub(crate) raw: Option<RawRequest>,
    /// The recording of the exchange, if an operator has asked for one.
    pub(crate) recording: Option<Box<Recording>>,
}

impl ExchangeInfo {
    /// Returns the information on an exchange that starts now.
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            forwarded: None,
            answered: None,
            attempts: 0,
            endpoint: None,
            in_flight: None,
            cache: None,
            asked: None,
            encoding: None,
            changes: None,
            error: None,
            side: None,
            raw: None,
            recording: None,
        }
    }

    /// Returns the address of the last endpoint that was tried.
    pub(crate) fn endpoint_address(&self) -> Option<&str> {
        self.endpoint.as_ref().map(|endpoint| &**endpoint.address())
    }

    /// Keeps the first error. Later ones are mostly its consequences.
    pub(crate) fn fail(&mut self, error: &dyn Failure) {
        if self.error.is_none() {
            (self.error, self.side) = (Some(error.to_string()), Some(error.side()));
        }
    }

    /// Replaces the error, if there is one, by its cause: at the end of a drain, one side sees the other as gone.
    pub(crate) fn attribute_to_drain(&mut self) {
        if self.error.is_some() {
            self.error = Some("cut off at the end of the drain".to_owned());
            self.side = Some(FaultSide::Gateway);
        }
    }

    /// Returns the side at fault, if something went wrong.
    pub(crate) fn fault_side(&self) -> Option<FaultSide> {
        self.side.filter(|_| self.error.is_some())
    }
}

#[cfg(test)]
mod tests;
