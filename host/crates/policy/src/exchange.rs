//! The part of an exchange that policies see and edit.

use std::any::Any;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use portcullis_http::{Fields, RequestHead, ResponseHead};
use portcullis_model::{Name, PolicyCost, TlsVersion};

use crate::attributes::Attributes;
use crate::cache::CacheWishes;
use crate::client_gone::ClientGone;
use crate::hook::HookKind;
use crate::recorder::Recorder;

/// One request and its response, as data. It is moved into a policy's instance for the length of a hook and back
/// again, so that no hook needs a lock or a copy.
#[derive(Debug)]
pub struct Exchange {
    /// The request, normalised. Policies may edit it until it is forwarded: in the hook of the head, and in that of the
    /// body until they have let the first bytes go.
    pub request: RequestHead,
    /// The response; meaningful from [`HookKind::ResponseHead`] on.
    pub response: ResponseHead,
    /// How far the exchange is: the hooks that run now. After a head hook comes the phase of its body.
    pub phase: HookKind,
    /// Who sent the request.
    pub client: ClientInfo,
    /// The route that was matched.
    pub route: Name,
    /// The upstreams that the route lists, among which a policy may choose.
    pub upstreams: Arc<[Name]>,
    /// Index into `upstreams` of the one that is used.
    pub upstream: usize,
    /// What the endpoint is chosen by, if a policy has said so.
    pub endpoint_key: Option<Box<[u8]>>,
    /// 32 hexadecimal digits: the trace id of a valid `traceparent`, else made by the gateway.
    pub trace_id: String,
    /// What policies have set for each other.
    pub attributes: Attributes,
    /// What policies have said to the cache of the route.
    pub cache: CacheWishes,
    /// What each policy keeps between its hooks; by position in the chain.
    pub policies: Vec<PolicySlot>,
    /// Position in the chain of the policy whose hook is running.
    pub policy_at: usize,
    /// Of a body hook: whether that policy has let some of the body go in an earlier call, so that the head may be on
    /// its way and cannot be edited any more.
    pub body_begun: bool,
    /// The trailers of the message whose body hook runs, once its end is known. In [`HookKind::Completed`] those that
    /// were sent behind the response.
    pub trailers: Option<Box<Fields>>,
    /// Whether the client has gone away, for hooks that wait.
    pub gone: ClientGone,
    /// Notes, if an explanation, a recording or a replay asked for them.
    pub recorder: Option<Box<Recorder>>,
}

/// What one policy of the chain keeps in an exchange from one of its hooks to the next.
#[derive(Default)]
pub struct PolicySlot {
    /// Bytes that the policy keeps for itself.
    pub state: Vec<u8>,
    /// The instance that serves this exchange alone, if the policy is isolated by exchange. Only the crate that runs
    /// the policy knows its type.
    pub instance: Option<Box<dyn Any + Send>>,
    /// What a policy that chooses between others keeps, such as the version that this exchange takes. Only the crate of
    /// that policy knows its type.
    pub choice: Option<Box<dyn Any + Send>>,
    /// What the policy has cost so far. The code that makes a call adds its cost, on whichever thread, and the chain
    /// adds faults. Explanations, records and rollouts all read this account.
    pub cost: PolicyCost,
}

/// Who sent a request.
#[derive(Debug, Clone)]
pub struct ClientInfo {
    /// The client: the peer of the connection, or what a trusted proxy said.
    pub address: IpAddr,
    /// The peer of the connection.
    pub peer: IpAddr,
    /// The name that the client asked for in TLS.
    pub tls_server_name: Option<Arc<str>>,
    /// DER of the client certificate that TLS verified.
    pub certificate: Option<Arc<[u8]>>,
    /// What TLS agreed on; `None` without TLS.
    pub tls: Option<ClientTls>,
    /// The listener that accepted the connection.
    pub listener: Name,
}

/// What the TLS handshake with a client agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// The version.
    pub version: TlsVersion,
    /// The cipher suite, by its name in IANA's registry.
    pub cipher: Cow<'static, str>,
    /// The protocol that ALPN agreed on.
    pub alpn: Option<Cow<'static, str>>,
}

impl ClientTls {
    /// Returns what most clients agree on that speak HTTP/1.1, for exchanges without a connection.
    #[must_use]
    pub fn of_http1() -> Self {
        Self {
            version: TlsVersion::V1_3,
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            alpn: Some("http/1.1".into()),
        }
    }
}

impl Default for ClientInfo {
    fn default() -> Self {
        let unspecified = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            address: unspecified,
            peer: unspecified,
            tls_server_name: None,
            certificate: None,
            tls: None,
            listener: Name::from(""),
        }
    }
}

impl std::fmt::Debug for PolicySlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (state, instance) = (self.state.len(), self.instance.is_some());
        f.debug_struct("PolicySlot").field("state_bytes", &state).field("instance", &instance).finish()
    }
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            request: RequestHead::default(),
            response: ResponseHead::default(),
            phase: HookKind::default(),
            client: ClientInfo::default(),
            route: Name::from(""),
            upstreams: Arc::from([]),
            upstream: 0,
            endpoint_key: None,
            trace_id: String::new(),
            attributes: Attributes::default(),
            cache: CacheWishes::default(),
            policies: Vec::new(),
            policy_at: 0,
            body_begun: false,
            trailers: None,
            gone: ClientGone::default(),
            recorder: None,
        }
    }
}

impl Exchange {
    /// Returns whether it may change anything beyond itself. An exchange that only serves an explanation may not.
    #[must_use]
    pub fn has_effects(&self) -> bool {
        self.recorder.as_ref().is_none_or(|recorder| recorder.has_effects())
    }

    /// Returns the slot of the policy whose hook is running, and makes it if the chain has not.
    pub fn slot(&mut self) -> &mut PolicySlot {
        if self.policies.len() <= self.policy_at {
            self.policies.resize_with(self.policy_at + 1, PolicySlot::default);
        }
        &mut self.policies[self.policy_at]
    }

    /// Prepares it for the next request and keeps its buffers.
    pub fn clear(&mut self) {
        self.request.clear();
        self.response.clear();
        self.phase = HookKind::default();
        self.client.tls_server_name = None;
        self.client.certificate = None;
        self.client.tls = None;
        self.upstream = 0;
        self.endpoint_key = None;
        self.trace_id.clear();
        self.attributes.clear();
        self.cache.clear();
        for slot in &mut self.policies {
            slot.state.clear();
            slot.instance = None;
            slot.choice = None;
            slot.cost = PolicyCost::default();
        }
        self.policy_at = 0;
        self.body_begun = false;
        self.trailers = None;
        self.recorder = None;
        if self.gone.is_notified() {
            self.gone = ClientGone::default();
        }
    }
}

#[cfg(test)]
mod tests;
