//! Upstreams for tests.

use std::cell::Cell;
use std::time::Duration;

use portcullis_model::{
    Balance, Ejection, Endpoint, HostHeader, Origin, Upstream, UpstreamHttp2, UpstreamProtocol,
    UpstreamTimeouts,
};

/// Returns the endpoints with these addresses and weights, as a config lists them.
pub(crate) fn listed(endpoints: &[(&str, u32)]) -> Vec<Endpoint> {
    let endpoint = |(address, weight): &(&str, u32)| Endpoint {
        address: (*address).into(),
        weight: *weight,
        priority: 0,
    };
    endpoints.iter().map(endpoint).collect()
}

/// Returns an upstream with these endpoints.
pub(crate) fn upstream(balance: Balance, endpoints: &[(&str, u32)]) -> Upstream {
    Upstream {
        name: "u".into(),
        endpoints: listed(endpoints),
        balance,
        limits: portcullis_model::UpstreamLimits::default(),
        slow_start: Duration::ZERO,
        protocol: UpstreamProtocol::default(),
        tls: None,
        proxy_protocol: None,
        host: HostHeader::default(),
        hide_server: false,
        field_case: portcullis_model::FieldCase::Lower,
        timeouts: UpstreamTimeouts::default(),
        ejection: Ejection::default(),
        health_checks: Vec::new(),
        panic: portcullis_model::Panic::default(),
        idle_connections_max: 1,
        head_bytes_max: 1,
        replay_bytes_max: 0,
        retry_budget: None,
        http2: UpstreamHttp2::default(),
        origin: Origin::default(),
    }
}

/// Returns the next of a fixed series of numbers: SplitMix64, from 0 in each test.
pub(crate) fn chance() -> u64 {
    thread_local!(static SEED: Cell<u64> = const { Cell::new(0) });
    let seed = SEED.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    SEED.set(seed);
    crate::rendezvous::bits(seed, 0)
}
