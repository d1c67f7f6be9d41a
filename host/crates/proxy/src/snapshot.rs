//! One generation of the configuration, made ready to run. Immutable, and shared by all workers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{Gateway, Name, Upstream};
use portcullis_net::{ListenerState, SystemRoots, TlsClientError, TlsServerError, UpstreamTlsContext};
use portcullis_policy::PolicyFactory;
use portcullis_telemetry::{AccessLog, Metrics};
use portcullis_traffic::EndpointState;

use crate::table::RouteTable;
use crate::upstream::SharedUpstream;

/// A generation that can run.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) generation: u64,
    pub(crate) gateway: Gateway,
    pub(crate) table: RouteTable,
    pub(crate) listeners: BTreeMap<Name, Arc<ListenerState>>,
    pub(crate) upstreams: BTreeMap<Name, Arc<SharedUpstream>>,
    pub(crate) policies: HashMap<Name, Arc<dyn PolicyFactory>>,
    pub(crate) access_log: AccessLog,
    pub(crate) metrics: Arc<Metrics>,
    trust_changed: bool,
}

/// Why a configuration cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A listener's TLS.
    #[error("listener `{listener}`: {source}")]
    Listener {
        /// The listener.
        listener: Name,
        /// What is wrong.
        source: TlsServerError,
    },
    /// An upstream's TLS.
    #[error("upstream `{upstream}`: {source}")]
    Upstream {
        /// The upstream.
        upstream: Name,
        /// What is wrong.
        source: TlsClientError,
    },
    /// A route names a policy that was not given.
    #[error("route `{route}`: policy `{policy}` was not loaded")]
    Policy {
        /// The route.
        route: Name,
        /// The policy.
        policy: Name,
    },
}

impl Snapshot {
    /// Makes `gateway` ready, with `roots` as what the machine believes now. What `previous` has and `gateway` does not change is taken over: TLS sessions, the counts and
    /// the health of endpoints, connections.
    ///
    /// # Errors
    /// All of them, not only the first; nothing has changed then.
    pub fn build(
        gateway: Gateway,
        policies: HashMap<Name, Arc<dyn PolicyFactory>>,
        access_log: AccessLog,
        metrics: Arc<Metrics>,
        previous: Option<&Self>,
        generation: u64,
        roots: &SystemRoots,
    ) -> Result<Self, Vec<SnapshotError>> {
        let mut errors = Vec::new();
        let mut listeners = BTreeMap::new();
        for listener in &gateway.listeners {
            // One that was given another name is the one at the same address.
            let old = previous.and_then(|previous| {
                let at_its_address = || {
                    let mut listeners = previous.listeners.values();
                    listeners.find(|state| state.listener().address == listener.address)
                };
                previous.listeners.get(&listener.name).or_else(at_its_address)
            });
            match ListenerState::build(listener.clone(), old.map(Arc::as_ref)) {
                Ok(state) => {
                    listeners.insert(listener.name.clone(), Arc::new(state));
                }
                Err(source) => {
                    errors.push(SnapshotError::Listener { listener: listener.name.clone(), source })
                }
            }
        }
        let mut upstreams = BTreeMap::new();
        let mut trust_changed = false;
        for upstream in &gateway.upstreams {
            let old = previous.and_then(|previous| previous.upstreams.get(&upstream.name));
            if let Some(same) = old.filter(|old| is_same(&old.config, upstream)) {
                match same.tls.as_ref().map_or(Ok(true), |tls| tls.believes(roots)) {
                    Ok(true) => {
                        upstreams.insert(upstream.name.clone(), same.clone());
                        continue;
                    }
                    Ok(false) => trust_changed = true,
                    Err(source) => {
                        errors.push(SnapshotError::Upstream { upstream: upstream.name.clone(), source });
                        continue;
                    }
                }
            }
            let tls =
                upstream.tls.as_ref().map(|tls| UpstreamTlsContext::build(tls, upstream.protocol, roots));
            match tls.transpose() {
                Ok(tls) => {
                    let shared = SharedUpstream::new(upstream.clone(), tls, &metrics, old.map(Arc::as_ref));
                    upstreams.insert(upstream.name.clone(), Arc::new(shared));
                }
                Err(source) => {
                    errors.push(SnapshotError::Upstream { upstream: upstream.name.clone(), source })
                }
            }
        }
        for route in &gateway.routes {
            for policy in route.policies.iter().filter(|policy| !policies.contains_key(*policy)) {
                errors.push(SnapshotError::Policy { route: route.name.clone(), policy: policy.clone() });
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let table = RouteTable::new(&gateway.routes);
        Ok(Self {
            generation,
            gateway,
            table,
            listeners,
            upstreams,
            policies,
            access_log,
            metrics,
            trust_changed,
        })
    }

    /// Whether an upstream of which nothing else changed is judged by other authorities of the machine than before.
    #[must_use]
    pub fn trust_changed(&self) -> bool {
        self.trust_changed
    }

    /// Its number.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The configuration that it was made of.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The policies, by name.
    #[must_use]
    pub fn policies(&self) -> &HashMap<Name, Arc<dyn PolicyFactory>> {
        &self.policies
    }

    /// The upstreams, by name, each with the state of its endpoints in the order of the config, and the time by which that
    /// counts.
    pub fn upstreams(&self) -> impl Iterator<Item = (&Upstream, &[Arc<EndpointState>], Duration)> {
        self.upstreams.values().map(|upstream| (&upstream.config, upstream.state.endpoints(), upstream.now()))
    }

    /// What is odd about certificates; for the log, once for each load.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.listeners.iter().flat_map(|(name, state)| {
            state.warnings().iter().map(move |warning| format!("listener `{name}`: {warning}"))
        })
    }
}

/// Whether two configurations of an upstream differ at most in where they stand.
fn is_same(old: &Upstream, new: &Upstream) -> bool {
    let old = Upstream { origin: new.origin.clone(), ..old.clone() };
    old == *new
}
