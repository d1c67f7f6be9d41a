//! One generation of the configuration, made ready to run. Immutable, and shared by all workers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use portcullis_cache::store::OpenError;
use portcullis_files::{FileError, check_root};
use portcullis_model::{Action, Forward, Gateway, Name, Route, Upstream};
use portcullis_net::{ListenerState, SystemRoots, TlsClientError, TlsServerError, UpstreamTlsContext};
use portcullis_policy::PolicyFactory;
use portcullis_telemetry::{AccessLog, Metrics};
use portcullis_traffic::{Counts, Edit, EditError, EndpointSet};

use crate::cache::invalidate::Invalidation;
use crate::cache::{self, CachedRoute, Caches};
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
    pub(crate) caches: Caches,
    /// What a change removes from them.
    pub(crate) invalidation: Invalidation,
    /// By index in the route table.
    pub(crate) routes: Vec<SharedRoute>,
    pub(crate) access_log: AccessLog,
    pub(crate) metrics: Arc<Metrics>,
    trust_changed: bool,
}

/// A route with everything that it names, so that nothing is looked up by name when it runs.
#[derive(Debug)]
pub(crate) struct SharedRoute {
    pub(crate) config: Route,
    /// In the order of `use`.
    pub(crate) policies: Vec<Arc<dyn PolicyFactory>>,
    /// In the order of `to`.
    pub(crate) upstreams: Vec<Arc<SharedUpstream>>,
    /// The way through its cache, if it has one.
    pub(crate) cache: Option<Arc<CachedRoute>>,
}

/// An upstream as it is now.
#[derive(Debug)]
pub struct UpstreamState<'a> {
    /// Its configuration.
    pub config: &'a Upstream,
    /// Its current endpoints.
    pub endpoints: Arc<EndpointSet>,
    /// The time that their health counts by.
    pub now: Duration,
    /// What is under way and what waits, if it has limits.
    pub counts: Option<Counts>,
    /// The endpoints that an operator has changed, each with a word for how.
    pub edits: Vec<(Name, &'static str)>,
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
    /// The folder of which a route serves files.
    #[error("route `{route}`: {source}")]
    Files {
        /// The route.
        route: Name,
        /// What is wrong.
        source: FileError,
    },
    /// The disk of a cache.
    #[error("cache `{cache}`: {source}")]
    Cache {
        /// The cache.
        cache: Name,
        /// What is wrong.
        source: OpenError,
    },
    /// A route names a policy that was not given.
    #[error("route `{route}`: policy `{policy}` was not loaded")]
    Policy {
        /// The route.
        route: Name,
        /// The policy.
        policy: Name,
    },
    /// A route names a cache that is not configured.
    #[error("route `{route}`: cache `{cache}` is not configured")]
    RouteCache {
        /// The route.
        route: Name,
        /// The cache.
        cache: Name,
    },
    /// A route names an upstream that is not configured.
    #[error("route `{route}`: upstream `{upstream}` is not configured")]
    RouteUpstream {
        /// The route.
        route: Name,
        /// The upstream.
        upstream: Name,
    },
}

impl SharedRoute {
    /// Returns the route with what it names, or `None` if something is missing, which is added to `errors` unless it is
    /// there already.
    fn resolve(
        config: &Route,
        policies: &HashMap<Name, Arc<dyn PolicyFactory>>,
        upstreams: &BTreeMap<Name, Arc<SharedUpstream>>,
        caches: &Caches,
        via: Option<&Name>,
        errors: &mut Vec<SnapshotError>,
    ) -> Option<Self> {
        let mut whole = true;
        let mut resolved =
            Self { config: config.clone(), policies: Vec::new(), upstreams: Vec::new(), cache: None };
        if let Action::Forward(Forward { cache: Some(cache), .. }) = &config.action {
            match caches.get(&cache.store) {
                Some(open) => {
                    let cached = CachedRoute::new(&config.name, cache, open.clone(), via);
                    resolved.cache = Some(Arc::new(cached));
                }
                None => {
                    whole = false;
                    let is_it = |error: &SnapshotError| matches!(error, SnapshotError::Cache { cache: failed, .. } if *failed == cache.store);
                    if !errors.iter().any(is_it) {
                        let (route, cache) = (config.name.clone(), cache.store.clone());
                        errors.push(SnapshotError::RouteCache { route, cache });
                    }
                }
            }
        }
        for policy in &config.policies {
            match policies.get(policy) {
                Some(factory) => resolved.policies.push(factory.clone()),
                None => {
                    whole = false;
                    let (route, policy) = (config.name.clone(), policy.clone());
                    errors.push(SnapshotError::Policy { route, policy });
                }
            }
        }
        for upstream in config.upstreams() {
            match upstreams.get(upstream) {
                Some(shared) => resolved.upstreams.push(shared.clone()),
                None => {
                    whole = false;
                    let is_it = |error: &SnapshotError| matches!(error, SnapshotError::Upstream { upstream: failed, .. } if failed == upstream);
                    if !errors.iter().any(is_it) {
                        let (route, upstream) = (config.name.clone(), upstream.clone());
                        errors.push(SnapshotError::RouteUpstream { route, upstream });
                    }
                }
            }
        }
        if let Action::Files(files) = &config.action
            && let Err(source) = check_root(&files.root)
        {
            whole = false;
            errors.push(SnapshotError::Files { route: config.name.clone(), source });
        }
        whole.then_some(resolved)
    }
}

impl Snapshot {
    /// Makes `gateway` ready, with `roots` as what the machine believes now. What `previous` has and `gateway` does
    /// not change is taken over: TLS sessions, the counts and the health of endpoints, connections.
    ///
    /// # Errors
    /// All of them, not only the first; nothing has changed then.
    pub fn build(
        gateway: Gateway,
        policies: &HashMap<Name, Arc<dyn PolicyFactory>>,
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
            if let Some(same) = old.filter(|old| old.config == *upstream) {
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
                    let shared =
                        SharedUpstream::new(upstream.clone(), tls, metrics.clone(), old.map(Arc::as_ref));
                    upstreams.insert(upstream.name.clone(), Arc::new(shared));
                }
                Err(source) => {
                    errors.push(SnapshotError::Upstream { upstream: upstream.name.clone(), source })
                }
            }
        }
        let caches = previous.map(|previous| &previous.caches);
        let caches = cache::open(&gateway.caches, caches, &metrics, |cache, source| {
            errors.push(SnapshotError::Cache { cache: cache.clone(), source });
        });
        let via = gateway.server.via.as_ref();
        let mut routes = Vec::with_capacity(gateway.routes.len());
        for route in &gateway.routes {
            routes.extend(SharedRoute::resolve(route, policies, &upstreams, &caches, via, &mut errors));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let table = RouteTable::new(&gateway.routes);
        let cached = routes.iter().filter_map(|route| Some((&route.config, route.cache.as_deref()?)));
        let before = previous.map(|previous| &previous.invalidation);
        let invalidation = Invalidation::new(cached, &caches, before);
        Ok(Self {
            generation,
            gateway,
            table,
            listeners,
            upstreams,
            caches,
            invalidation,
            routes,
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

    /// Has the caches heed the bounds that this generation gives them, and the upstreams what was changed about their
    /// endpoints since it was built. Until then those of the generation before it hold.
    pub(crate) fn begin(&self) {
        cache::put_into_effect(&self.caches);
        for upstream in self.upstreams.values() {
            upstream.begin();
        }
    }

    /// Lets a successor of this process have the folders of caches, which go on in memory alone once it waits for them.
    pub(crate) fn hand_over_caches(&self) {
        cache::hand_over(&self.caches);
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

    /// The upstreams, by name.
    pub fn upstreams(&self) -> impl Iterator<Item = UpstreamState<'_>> {
        self.upstreams.values().map(|upstream| UpstreamState {
            config: &upstream.config,
            endpoints: upstream.endpoints.current(),
            now: upstream.now(),
            counts: upstream.gate.as_ref().map(|gate| gate.counts()),
            edits: upstream.edits(),
        })
    }

    /// Returns whether an upstream needs the upkeep thread.
    pub(crate) fn needs_upkeep(&self) -> bool {
        let needs =
            |upstream: &Upstream| !upstream.health_checks.is_empty() || upstream.ejection.outliers.is_some();
        self.gateway.upstreams.iter().any(needs)
    }

    /// Changes an endpoint of an upstream while exchanges run. Returns `None` if there is no upstream of that name.
    pub(crate) fn edit_endpoint(
        &self,
        upstream: &str,
        address: &Name,
        edit: Edit,
    ) -> Option<Result<(), EditError>> {
        Some(self.upstreams.get(upstream)?.edit(address, edit))
    }

    /// What is odd about certificates; for the log, once for each load.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.listeners.iter().flat_map(|(name, state)| {
            state.warnings().iter().map(move |warning| format!("listener `{name}`: {warning}"))
        })
    }
}

#[cfg(test)]
mod tests;
