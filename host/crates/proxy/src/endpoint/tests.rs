use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_net::Connector;
use portcullis_telemetry::Metrics;
use portcullis_traffic::Endpoints;

use super::LocalEndpoint;
use crate::h1::ClientConnection;
use crate::pool::Reusable as _;
use crate::testing::{LONG, name, on_worker, servers, upstream};

/// Returns the endpoint `app.test:80`.
fn endpoint() -> LocalEndpoint {
    let config = upstream(&["app.test:80"]);
    let shared = Arc::clone(&Endpoints::new(&config).current().members()[0].endpoint);
    let metrics = Metrics::new(1).endpoint(&config.name, shared.address());
    LocalEndpoint::new(shared, metrics, &config)
}

/// Takes all idle connections. Returns how many there were.
fn take_idle(endpoint: &LocalEndpoint) -> usize {
    std::iter::from_fn(|| endpoint.h1.reuse(None, None)).count()
}

/// Uses a connection to the endpoint as an exchange does. Returns the address that it leads to.
async fn exchange(endpoint: &LocalEndpoint, connector: &Connector) -> SocketAddr {
    let first = endpoint.addresses.next();
    let connection = match endpoint.h1.reuse(first, None) {
        Some(connection) => connection,
        None => {
            let connected = endpoint.addresses.connect(connector, None, LONG, first, |_| true).await;
            let (stream, peer) = connected.unwrap();
            Box::new(ClientConnection::new(stream, 1000, portcullis_model::FieldCase::Lower, peer))
        }
    };
    let peer = connection.peer().unwrap();
    endpoint.h1.keep(connection);
    peer
}

#[test]
fn every_address_of_a_name_gets_its_share_of_exchanges() {
    on_worker(async {
        let [(_a, a), (_b, b)] = servers();
        let (_, connector) = name(&[a, b]);
        let endpoint = endpoint();
        let mut counts = [0, 0];
        for _ in 0..21 {
            counts[usize::from(exchange(&endpoint, &connector).await == b)] += 1;
        }
        assert!(counts.iter().all(|count| *count >= 10), "{counts:?}");
        assert_eq!(take_idle(&endpoint), 2, "one connection to each is enough");
    });
}

#[test]
fn an_address_that_refuses_is_passed_over() {
    on_worker(async {
        let [(_a, a), (refusing, b)] = servers();
        drop(refusing);
        let (_, connector) = name(&[a, b]);
        let endpoint = endpoint();
        for _ in 0..10 {
            assert_eq!(exchange(&endpoint, &connector).await, a);
        }
        // Whichever has the first turn: once it was found to refuse, it is not tried again.
        assert!(take_idle(&endpoint) <= 2, "it was tried again");
    });
}

#[test]
fn idle_connections_to_what_a_name_has_no_more_are_closed() {
    on_worker(async {
        let [(_a, a), (_b, b)] = servers();
        let (addresses, connector) = name(&[a]);
        let endpoint = endpoint();
        assert_eq!(exchange(&endpoint, &connector).await, a);
        *addresses.lock().unwrap() = vec![b];
        // As the worker's housekeeping does it: the name is looked up again after some seconds.
        while !endpoint.h1.is_empty() {
            endpoint.sweep(&connector);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(exchange(&endpoint, &connector).await, b);
    });
}

#[test]
fn what_is_retired_keeps_nothing() {
    on_worker(async {
        let [(_a, a), _] = servers();
        let (_, connector) = name(&[a]);
        let endpoint = endpoint();
        exchange(&endpoint, &connector).await;
        assert!(!endpoint.h1.is_empty());
        endpoint.retire();
        assert!(endpoint.h1.is_empty());
        exchange(&endpoint, &connector).await;
        assert!(endpoint.h1.is_empty());
    });
}
