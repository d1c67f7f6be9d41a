use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_net::Connector;
use tokio::task::LocalSet;

use super::Pool;
use crate::h1::ClientConnection;

const LONG: Duration = Duration::from_secs(30);

/// Runs a test as a worker runs.
fn on_worker<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(LONG, test).await.expect("the test ends in time");
    });
}

/// Two servers that only accept, of one port and two addresses.
fn servers() -> [(TcpListener, SocketAddr); 2] {
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

/// A name whose addresses a test sets.
fn name(addresses: &[SocketAddr]) -> (Arc<Mutex<Vec<SocketAddr>>>, Connector) {
    let addresses = Arc::new(Mutex::new(addresses.to_vec()));
    let asked = Arc::clone(&addresses);
    (addresses, Connector::looking_up(move |_| Ok(asked.lock().unwrap().clone())))
}

/// Uses the pool as an exchange does. Returns where it led.
async fn exchange(pool: &Pool, connector: &Connector) -> SocketAddr {
    let first = pool.addresses.next();
    let connection = match pool.reuse_h1(first) {
        Some(connection) => connection,
        None => {
            let (stream, peer) = pool.connect(connector, None, LONG, first, |_| true).await.unwrap();
            Box::new(ClientConnection::new(stream, 1000, peer))
        }
    };
    let peer = connection.peer().unwrap();
    pool.keep(connection);
    peer
}

#[test]
fn every_address_of_a_name_gets_its_share_of_exchanges() {
    on_worker(async {
        let [(_a, a), (_b, b)] = servers();
        let (_, connector) = name(&[a, b]);
        let pool = Pool::new("app.test:80".into(), 10, LONG);
        let mut counts = [0, 0];
        for _ in 0..21 {
            counts[usize::from(exchange(&pool, &connector).await == b)] += 1;
        }
        assert!(counts.iter().all(|count| *count >= 10), "{counts:?}");
        assert_eq!(pool.h1.borrow().len(), 2, "one connection to each is enough");
    });
}

#[test]
fn an_address_that_refuses_is_passed_over() {
    on_worker(async {
        let [(_a, a), (refusing, b)] = servers();
        drop(refusing);
        let (_, connector) = name(&[a, b]);
        let pool = Pool::new("app.test:80".into(), 10, LONG);
        for _ in 0..10 {
            assert_eq!(exchange(&pool, &connector).await, a);
        }
        // Whichever has the first turn: once it was found to refuse, it is not tried again.
        assert!(pool.h1.borrow().len() <= 2, "it was tried again");
    });
}

#[test]
fn idle_connections_to_what_a_name_has_no_more_are_closed() {
    on_worker(async {
        let [(_a, a), (_b, b)] = servers();
        let (addresses, connector) = name(&[a]);
        let pool = Pool::new("app.test:80".into(), 10, LONG);
        assert_eq!(exchange(&pool, &connector).await, a);
        *addresses.lock().unwrap() = vec![b];
        // As the worker's housekeeping does it: the name is looked up again after some seconds.
        while !pool.is_empty() {
            pool.follow(&connector);
            pool.sweep();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(exchange(&pool, &connector).await, b);
    });
}

#[test]
fn what_is_retired_keeps_nothing() {
    on_worker(async {
        let [(_a, a), _] = servers();
        let (_, connector) = name(&[a]);
        let pool = Pool::new("app.test:80".into(), 10, LONG);
        exchange(&pool, &connector).await;
        assert!(!pool.is_empty());
        pool.retire();
        assert!(pool.is_empty());
        exchange(&pool, &connector).await;
        assert!(pool.is_empty());
    });
}
