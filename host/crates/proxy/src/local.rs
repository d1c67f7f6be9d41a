//! One worker's view of a snapshot: chains with instances of their own, and connections of their own.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use portcullis_model::{Name, Route};
use portcullis_net::{Connector, ListenerState};
use portcullis_policy::cache::CacheKeys;
use portcullis_policy::{Policy, PolicyChain, PolicyFactory, carry_over};
use portcullis_telemetry::{RouteMetrics, RoutePolicyMetrics};

use crate::cache::CachedRoute;
use crate::cache::view::keys_for_policies;
use crate::decompress::{Decoders, Decoding};
use crate::https;
use crate::snapshot::Snapshot;
use crate::upstream::{LocalUpstream, SharedUpstream};

/// A snapshot on one worker. Made anew for each generation; what did not change is carried over.
pub(crate) struct Local {
    pub(crate) snapshot: Arc<Snapshot>,
    /// By index in the route table.
    pub(crate) routes: Vec<Rc<LocalRoute>>,
    upstreams: HashMap<Name, Rc<LocalUpstream>>,
    policies: HashMap<Name, Rc<dyn Policy>>,
}

/// A route on one worker.
#[derive(Debug)]
pub(crate) struct LocalRoute {
    pub(crate) config: Rc<Route>,
    /// A copy of this worker's own, so that counting references to it stays on its core. The same holds for the names
    /// of the upstreams below.
    pub(crate) name: Name,
    pub(crate) chain: Rc<PolicyChain>,
    /// In the order of the route's `to`.
    pub(crate) upstreams: Vec<Rc<LocalUpstream>>,
    pub(crate) upstream_names: Arc<[Name]>,
    /// The listener to which clients without TLS are sent, if the route requires TLS.
    pub(crate) https: Option<Arc<ListenerState>>,
    /// The way through its cache, if it has one.
    pub(crate) cache: Option<Arc<CachedRoute>>,
    /// What its policies, if there are any, are shown of its cache: a copy of this worker's own.
    pub(crate) cache_keys: Option<Arc<dyn CacheKeys>>,
    pub(crate) metrics: Arc<RouteMetrics>,
    /// By position in the chain.
    pub(crate) policy_metrics: Vec<Arc<RoutePolicyMetrics>>,
}

impl Local {
    /// Returns how bodies are decoded on `route`, if they are, by this worker's `decoders`.
    pub(crate) fn decoding<'a>(&self, decoders: &'a Decoders, route: &LocalRoute) -> Option<Decoding<'a>> {
        Decoding::of(decoders, self.snapshot.gateway.server.encoders_max, &route.config)
    }

    /// Returns this worker's view of `snapshot`.
    pub(crate) fn new(snapshot: Arc<Snapshot>, connector: &Rc<Connector>, previous: Option<&Self>) -> Self {
        let mut policies: HashMap<Name, Rc<dyn Policy>> = HashMap::new();
        let mut upstreams: HashMap<Name, Rc<LocalUpstream>> = HashMap::new();
        let mut policy = |factory: &Arc<dyn PolicyFactory>| {
            let before = previous.and_then(|previous| previous.policies.get(factory.name()));
            let made = policies.entry(factory.name().clone());
            made.or_insert_with(|| carry_over(before, factory)).clone()
        };
        let mut upstream = |shared: &Arc<SharedUpstream>| {
            let old = previous.and_then(|previous| previous.upstreams.get(shared.name()));
            let kept = old.filter(|old| Arc::ptr_eq(&old.shared, shared)).cloned();
            let make = || LocalUpstream::new(shared.clone(), connector.clone(), old.map(Rc::as_ref));
            let made = upstreams.entry(shared.name().clone());
            made.or_insert_with(|| kept.unwrap_or_else(|| Rc::new(make()))).clone()
        };
        let routes = snapshot.routes.iter().map(|route| {
            let name = &route.config.name;
            let policies: Vec<Rc<dyn Policy>> = route.policies.iter().map(&mut policy).collect();
            let upstreams: Vec<Rc<LocalUpstream>> = route.upstreams.iter().map(&mut upstream).collect();
            Rc::new(LocalRoute {
                name: Name::from(&**name),
                upstream_names: upstreams.iter().map(|upstream| upstream.shared.name().clone()).collect(),
                https: https::listener(&route.config, &snapshot.listeners),
                metrics: snapshot.metrics.route(name),
                policy_metrics: (route.policies.iter())
                    .map(|policy| snapshot.metrics.route_policy(name, policy.name()))
                    .collect(),
                chain: Rc::new(PolicyChain::new(policies, route.config.hold_bytes_max)),
                upstreams,
                cache: route.cache.clone(),
                cache_keys: if route.policies.is_empty() { None } else { keys_for_policies(&route.config) },
                config: Rc::new(route.config.clone()),
            })
        });
        let routes = routes.collect();
        Self { snapshot, routes, upstreams, policies }
    }

    /// Releases what only this generation uses and `current` does not: exchanges may hold this generation for hours.
    pub(crate) fn retire(&self, current: &Self) {
        for (name, upstream) in &self.upstreams {
            upstream.retire(current.upstreams.get(name).map(Rc::as_ref));
        }
    }

    /// Closes connections that were idle for too long, and releases versions of policies that no exchange takes any
    /// more.
    pub(crate) fn sweep(&self) {
        for policy in self.policies.values() {
            policy.sweep();
        }
        for upstream in self.upstreams.values() {
            upstream.sweep();
        }
    }
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("generation", &self.snapshot.generation).finish_non_exhaustive()
    }
}
