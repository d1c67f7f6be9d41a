//! One health check of one endpoint, on a connection of its own: that the endpoint still accepts connections is a part
//! of what is asked.

use std::future::poll_fn;

use bytes::Bytes;
use portcullis_http::proxy_protocol::ProxyHeader;
use portcullis_http::{RequestHead, ResponseHead, Scheme};
use portcullis_model::{HealthCheck, HealthProbe, HostHeader, Name, Upstream, UpstreamProtocol};
use portcullis_net::Connector;

use crate::body::{Body, Frame};
use crate::call::{Call, CallEvent, CallResponse};
use crate::upstream::SharedUpstream;
use crate::{h1, h2};

/// Bytes of a body that are looked at.
const BODY_BYTES_MAX: usize = 64 << 10;

/// `SERVING` in `grpc.health.v1.HealthCheckResponse`.
const SERVING: u8 = 1;

/// Makes the check at `address` (`host:port`).
///
/// # Errors
/// What did not pass.
pub(super) async fn probe(
    upstream: &SharedUpstream,
    connector: &Connector,
    address: &str,
    check: &HealthCheck,
) -> Result<(), String> {
    match tokio::time::timeout(check.timeout, ask(upstream, connector, address, check)).await {
        Ok(asked) => asked,
        Err(_) => Err(format!("no answer within {:?}", check.timeout)),
    }
}

async fn ask(
    upstream: &SharedUpstream,
    connector: &Connector,
    address: &str,
    check: &HealthCheck,
) -> Result<(), String> {
    // A check is the gateway's own, and the endpoint expects a header before all else.
    let own = upstream.config.proxy_protocol.map(|_| ProxyHeader::Own);
    let connector = &upstream.connector(connector, own);
    let asked = Asked { upstream, connector, address, check };
    match &check.probe {
        HealthProbe::Tcp => {
            let connected = connector.connect(&asked.connect_to(), None, check.timeout).await;
            connected.map(drop).map_err(|error| error.reason().to_owned())
        }
        HealthProbe::Http { method, path, host, statuses, body } => {
            let mut request = RequestHead::default();
            request.method.push_str(method);
            let (path, query) =
                path.split_once('?').map_or((&**path, None), |(path, query)| (path, Some(query)));
            request.set_target(path, query);
            add(&mut request, "accept", "*/*");
            let (status, found) = asked.exchange(request, host.as_ref(), Body::Empty, body.is_some()).await?;
            if !(statuses.is_empty() && (200..300).contains(&status) || statuses.contains(&status)) {
                return Err(format!("it answered {status}"));
            }
            match body {
                Some(part) if !contains(&found.bytes, part.as_bytes()) => {
                    Err(format!("it answered {status} with a body that does not contain {part:?}"))
                }
                _ => Ok(()),
            }
        }
        HealthProbe::Grpc { service } => {
            let mut request = RequestHead::default();
            request.method.push_str("POST");
            request.set_target("/grpc.health.v1.Health/Check", None);
            add(&mut request, "content-type", "application/grpc");
            add(&mut request, "te", "trailers");
            let message = grpc_request(service.as_bytes());
            let (status, found) = asked.exchange(request, None, Body::Full(message), true).await?;
            grpc_answer(status, &found)
        }
    }
}

/// What came after the head of a response.
#[derive(Debug, Default)]
struct Found {
    bytes: Vec<u8>,
    /// `grpc-status`, of the head or of the trailers.
    grpc_status: Option<String>,
}

struct Asked<'a> {
    upstream: &'a SharedUpstream,
    connector: &'a Connector,
    address: &'a str,
    check: &'a HealthCheck,
}

impl Asked<'_> {
    /// Returns the address that is connected to.
    fn connect_to(&self) -> String {
        match (self.check.port, self.address.rsplit_once(':')) {
            (Some(port), Some((host, _))) => format!("{host}:{port}"),
            _ => self.address.to_owned(),
        }
    }

    /// Sends a request. Returns the status of the response, and with `whole` what follows its head.
    async fn exchange(
        &self,
        mut request: RequestHead,
        host: Option<&Name>,
        body: Body,
        whole: bool,
    ) -> Result<(u16, Found), String> {
        add(&mut request, "user-agent", "portcullis-health-check");
        let config = &self.upstream.config;
        let address = self.connect_to();
        let host: &str = match (host, &config.host) {
            (Some(host), _) | (None, HostHeader::Fixed(host)) => host,
            (None, HostHeader::Preserve | HostHeader::Endpoint) => &address,
        };
        let tls = self.upstream.tls.as_ref();
        let connected = self.connector.connect(&address, tls, self.check.timeout).await;
        let stream = connected.map_err(|error| error.reason().to_owned())?;
        let Upstream { head_bytes_max, field_case, http2, timeouts, .. } = config;
        let mut call: Box<dyn Call> = match config.protocol {
            UpstreamProtocol::Http1 => {
                let connection = h1::ClientConnection::new(stream, *head_bytes_max, *field_case, None);
                Box::new(Box::new(connection).start(&request, host, body, None, false))
            }
            UpstreamProtocol::Http2 => {
                let rules = h2::ConnectionRules {
                    head_bytes_max: *head_bytes_max,
                    http2: *http2,
                    settle: self.check.timeout,
                    keepalive: timeouts.keepalive,
                    peer: None,
                };
                let handshake = h2::handshake(stream, rules).await;
                let mut handle = handshake.map_err(|error| h2::describe(&error))?;
                let lease = handle.lease(false).ok_or("it closed the connection")?;
                let scheme = if tls.is_some() { Scheme::Https } else { Scheme::Http };
                Box::new(lease.start(&request, host, scheme, body))
            }
        };
        let mut head = ResponseHead::default();
        loop {
            match poll_fn(|cx| call.poll_event(cx, &mut head)).await {
                Ok(CallEvent::Final) => break,
                Ok(CallEvent::Informational) => head.clear(),
                Err(error) => return Err(error.to_string()),
            }
        }
        let mut found = Found { grpc_status: grpc_status(&head.fields), ..Found::default() };
        if whole {
            found.read(call.into_response(&head)).await?;
        }
        Ok((head.status, found))
    }
}

impl Found {
    async fn read(&mut self, response: CallResponse) -> Result<(), String> {
        let mut body = response.body;
        while let Some(frame) = poll_fn(|cx| body.poll_next(cx)).await {
            match frame.map_err(|error| error.to_string())? {
                Frame::Data(piece) => {
                    let room = BODY_BYTES_MAX - self.bytes.len();
                    self.bytes.extend_from_slice(piece.get(..room).unwrap_or(&piece));
                    if self.bytes.len() == BODY_BYTES_MAX {
                        break;
                    }
                }
                Frame::Trailers(trailers) => self.grpc_status = grpc_status(&trailers),
            }
        }
        Ok(())
    }
}

/// Adds one of the few fields of a check. A head has room for them.
fn add(request: &mut RequestHead, name: &str, value: &str) {
    let added = request.fields.append_checked(name.as_bytes(), value.as_bytes());
    debug_assert!(added.is_ok(), "{name} is a valid field");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
}

fn grpc_status(fields: &portcullis_http::Fields) -> Option<String> {
    fields.get(b"grpc-status").map(|status| String::from_utf8_lossy(status).into_owned())
}

/// Returns a `HealthCheckRequest` with its prefix: `service` is field 1, a string.
fn grpc_request(service: &[u8]) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        message.push(u8::try_from(length).unwrap_or_default());
        message.extend_from_slice(service);
    }
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or_default().to_be_bytes());
    framed.extend_from_slice(&message);
    framed.into()
}

/// Judges the answer to a gRPC check.
fn grpc_answer(status: u16, found: &Found) -> Result<(), String> {
    if status != 200 {
        return Err(format!("it answered {status}, which is not gRPC"));
    }
    match found.grpc_status.as_deref() {
        None => return Err("it answered without a grpc-status".to_owned()),
        Some("0") => {}
        Some("5") => return Err("it does not know the service (grpc-status 5)".to_owned()),
        Some("12") => return Err("it has no health service (grpc-status 12)".to_owned()),
        Some(other) => return Err(format!("it answered grpc-status {other}")),
    }
    // The prefix of an uncompressed message of two bytes, and in it `status`: field 1, an enum.
    match found.bytes[..] {
        [0, 0, 0, 0, 2, 0x08, SERVING] => Ok(()),
        _ => Err("it says that it is not serving".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, contains, grpc_answer, grpc_request};

    #[test]
    fn a_grpc_request_names_its_service() {
        assert_eq!(&grpc_request(b"")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&grpc_request(b"a.B")[..], [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = grpc_request(&[b'x'; 300]);
        assert_eq!((&long[..8], long.len()), (&[0, 0, 0, 1, 47, 0x0a, 0xac, 0x02][..], 308));
    }

    #[test]
    fn only_serving_passes() {
        let answer = |status, grpc_status: Option<&str>, bytes: &[u8]| {
            let grpc_status = grpc_status.map(str::to_owned);
            grpc_answer(status, &Found { bytes: bytes.to_vec(), grpc_status }).err().unwrap_or_default()
        };
        assert_eq!(answer(200, Some("0"), &[0, 0, 0, 0, 2, 8, 1]), "");
        for bytes in [
            &[0, 0, 0, 0, 0][..],
            &[0, 0, 0, 0, 2, 8, 2],
            &[0, 0, 0, 0, 2, 8, 0],
            &[],
            &[1, 0, 0, 0, 2, 8, 1],
        ] {
            assert_eq!(answer(200, Some("0"), bytes), "it says that it is not serving");
        }
        assert!(answer(200, Some("5"), &[]).contains("does not know"));
        assert!(answer(200, Some("12"), &[]).contains("no health service"));
        assert!(answer(200, None, &[0, 0, 0, 0, 2, 8, 1]).contains("without a grpc-status"));
        assert!(answer(503, Some("0"), &[0, 0, 0, 0, 2, 8, 1]).contains("503"));
    }

    #[test]
    fn a_part_of_a_body_is_found_wherever_it_is() {
        assert!(contains(b"status: ok\n", b"ok") && contains(b"ok", b"ok") && contains(b"", b""));
        assert!(!contains(b"o", b"ok") && !contains(b"not o k", b"ok"));
    }
}
