//! What unit tests of several files use: a worker's runtime, servers, names and upstreams.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_model::{
    Balance, Ejection, Endpoint, HostHeader, Origin, Upstream, UpstreamHttp2, UpstreamProtocol,
    UpstreamTimeouts,
};
use portcullis_net::Connector;
use tokio::task::LocalSet;

/// Longer than any of these tests takes on a slow machine.
pub(crate) const LONG: Duration = Duration::from_secs(240);

/// Runs a test as a worker runs.
pub(crate) fn on_worker<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(LONG, test).await.expect("the test ends in time");
    });
}

/// Returns two servers that only accept, with one port and two addresses.
pub(crate) fn servers() -> [(TcpListener, SocketAddr); 2] {
    loop {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        // Another process may have that port there; then the next one is tried.
        if let Ok(second) = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), port)) {
            return [first, second].map(|server| {
                let address = server.local_addr().unwrap();
                (server, address)
            });
        }
    }
}

/// Returns a connector for which every name has the addresses that the test sets.
pub(crate) fn name(addresses: &[SocketAddr]) -> (Arc<Mutex<Vec<SocketAddr>>>, Connector) {
    let addresses = Arc::new(Mutex::new(addresses.to_vec()));
    let asked = Arc::clone(&addresses);
    (addresses, Connector::looking_up(move |_| Ok(asked.lock().unwrap().clone())))
}

/// Returns endpoints with these addresses, as a config lists them.
pub(crate) fn listed(addresses: &[&str]) -> Vec<Endpoint> {
    addresses.iter().map(|address| Endpoint { address: (*address).into(), weight: 1, priority: 0 }).collect()
}

/// Returns an upstream of HTTP/1 with these endpoints.
pub(crate) fn upstream(addresses: &[&str]) -> Upstream {
    Upstream {
        name: "app".into(),
        endpoints: listed(addresses),
        balance: Balance::default(),
        limits: portcullis_model::UpstreamLimits::default(),
        slow_start: std::time::Duration::ZERO,
        protocol: UpstreamProtocol::default(),
        tls: None,
        proxy_protocol: None,
        host: HostHeader::default(),
        hide_server: false,
        field_case: portcullis_model::FieldCase::Lower,
        timeouts: UpstreamTimeouts { pool_idle: LONG, ..UpstreamTimeouts::default() },
        ejection: Ejection::default(),
        health_checks: Vec::new(),
        panic: portcullis_model::Panic::default(),
        idle_connections_max: 10,
        head_bytes_max: 1000,
        replay_bytes_max: 0,
        retry_budget: None,
        http2: UpstreamHttp2::default(),
        origin: Origin::default(),
    }
}
