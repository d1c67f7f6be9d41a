//! What an explanation says of the upstream that a request would go to.

use portcullis_model::{Endpoint, Forward, Name, Tries, Upstream};
use portcullis_policy::Exchange;
use portcullis_traffic::Member;

use super::Explainer;
use crate::upstream::{self, balance_key};

/// An upstream, as a request would meet it.
#[derive(Debug)]
pub struct UpstreamView {
    /// Its configuration.
    pub config: Upstream,
    /// How often the request would be tried.
    pub tries: Tries,
    /// Its endpoints.
    pub endpoints: Vec<EndpointView>,
    /// Whether a policy has set the key that the endpoint is chosen by.
    pub by_policy: bool,
    /// The endpoint that would be chosen now, if that is known: from a running gateway, or because there is only one.
    pub next: Option<usize>,
}

/// An endpoint.
#[derive(Debug)]
pub struct EndpointView {
    /// `host:port`.
    pub address: Name,
    /// Its share.
    pub weight: u32,
    /// Whether it is a backup: endpoints with a higher number come after those with a lower one.
    pub priority: u8,
    /// What Host would say.
    pub host: String,
    /// Its health; `None` if no gateway runs.
    pub health: Option<EndpointHealth>,
}

/// The health of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointHealth {
    /// It failed, and no answer has come from it since, or it fails a health check.
    pub left_out: bool,
    /// An exchange may be sent there now: it is healthy, or fails no check and a probe is due.
    pub available: bool,
    /// Exchanges under way.
    pub in_flight: u32,
}

impl Explainer<'_> {
    /// The upstream `name`, as the route's `action` would ask it.
    pub(super) fn upstream(
        &self,
        name: &Name,
        action: &Forward,
        exchange: &Exchange,
    ) -> Option<UpstreamView> {
        let request = &exchange.request;
        let shared = self.upstreams.and_then(|upstreams| upstreams.get(name));
        let config = match shared {
            Some(shared) => &shared.config,
            None => self.gateway.upstreams.iter().find(|upstream| upstream.name == *name)?,
        };
        let host = |address: &str| {
            upstream::host(action.host.as_ref().unwrap_or(&config.host), request, address).to_owned()
        };
        let (endpoints, next): (Vec<EndpointView>, Option<usize>) = match shared {
            Some(shared) => {
                let (set, now) = (shared.endpoints.current(), shared.now());
                let view = |Member { endpoint, weight, priority }: &Member| EndpointView {
                    address: endpoint.address().clone(),
                    weight: *weight,
                    priority: *priority,
                    host: host(endpoint.address()),
                    health: Some(EndpointHealth {
                        left_out: endpoint.health().is_left_out(),
                        available: endpoint.health().is_available(now),
                        in_flight: endpoint.in_flight(),
                    }),
                };
                (set.members().iter().map(view).collect(), set.peek(now, balance_key(config, exchange)))
            }
            None => {
                let view = |endpoint: &Endpoint| EndpointView {
                    address: endpoint.address.clone(),
                    weight: endpoint.weight,
                    priority: endpoint.priority,
                    host: host(&endpoint.address),
                    health: None,
                };
                let endpoints = &config.endpoints;
                (endpoints.iter().map(view).collect(), (endpoints.len() == 1).then_some(0))
            }
        };
        let (by_policy, tries) = (exchange.endpoint_key.is_some(), action.tries.clone());
        Some(UpstreamView { endpoints, by_policy, next, config: config.clone(), tries })
    }
}
