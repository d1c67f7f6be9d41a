use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use portcullis_http::proxy_protocol::{ProxyAddresses, ProxyHeader};

use super::{Pool, Reusable};
use crate::addresses::Addresses;

const LONG: Duration = Duration::from_secs(3600);

/// A connection that is only counted.
#[derive(Debug)]
struct Fake {
    number: u32,
    peer: Option<SocketAddr>,
    keep_for: Option<Duration>,
    announced: Option<ProxyHeader>,
    alive: bool,
    open: Rc<Cell<u32>>,
}

impl Reusable for Fake {
    fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    fn announced(&self) -> Option<ProxyHeader> {
        self.announced
    }

    fn keep_for(&self) -> Option<Duration> {
        self.keep_for
    }

    fn is_alive(&mut self) -> bool {
        self.alive
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

/// Opens connections and counts those that are open.
#[derive(Default)]
struct Opener(Rc<Cell<u32>>);

impl Opener {
    fn open(&self, number: u32) -> Box<Fake> {
        self.0.set(self.0.get() + 1);
        Box::new(Fake {
            number,
            peer: None,
            keep_for: None,
            announced: None,
            alive: true,
            open: self.0.clone(),
        })
    }

    fn count(&self) -> u32 {
        self.0.get()
    }
}

fn pool(idle_max: usize, idle_for: Duration) -> Pool<Fake> {
    Pool::new(Rc::new(Addresses::of("app.test:80".into())), idle_max, idle_for)
}

fn numbers(pool: &Pool<Fake>) -> Vec<u32> {
    std::iter::from_fn(|| pool.reuse(None, None)).map(|connection| connection.number).collect()
}

#[test]
fn the_last_one_kept_is_used_first_and_what_is_too_many_is_closed() {
    let (opener, pool) = (Opener::default(), pool(2, LONG));
    for number in 1..=3 {
        pool.keep(opener.open(number));
    }
    assert_eq!(opener.count(), 2);
    assert_eq!(numbers(&pool), [2, 1]);
    assert!(pool.is_empty());
}

#[test]
fn a_dead_or_old_connection_is_not_used() {
    let (opener, pool) = (Opener::default(), pool(4, LONG));
    pool.keep(opener.open(1));
    let mut dead = opener.open(2);
    dead.alive = false;
    pool.keep(dead);
    assert_eq!(numbers(&pool), [1]);
    let (opener, pool) = (Opener::default(), self::pool(4, Duration::ZERO));
    pool.keep(opener.open(1));
    assert!(pool.is_empty() && opener.count() == 0, "nothing may be idle");
}

#[test]
fn an_endpoint_that_allows_no_idle_time_is_believed() {
    let (opener, pool) = (Opener::default(), pool(4, LONG));
    let mut connection = opener.open(1);
    connection.keep_for = Some(Duration::ZERO);
    pool.keep(connection);
    assert!(pool.is_empty() && opener.count() == 0);
}

#[test]
fn a_connection_to_the_address_that_was_chosen_is_taken() {
    let (opener, pool) = (Opener::default(), pool(4, LONG));
    let peer = |last: u8| SocketAddr::from(([127, 0, 0, last], 80));
    for last in [1, 2, 1] {
        let mut connection = opener.open(last.into());
        connection.peer = Some(peer(last));
        pool.keep(connection);
    }
    assert_eq!(pool.reuse(Some(peer(2)), None).map(|found| found.number), Some(2));
    assert!(pool.reuse(Some(peer(2)), None).is_none());
    assert!(pool.reuse(Some(peer(1)), None).is_some());
}

#[test]
fn a_retired_pool_closes_what_is_idle_and_what_comes_back() {
    let (opener, pool) = (Opener::default(), pool(4, LONG));
    pool.keep(opener.open(1));
    let in_use = opener.open(2);
    pool.retire();
    assert_eq!(opener.count(), 1, "the one in use");
    pool.keep(in_use);
    assert!(pool.is_empty() && opener.count() == 0);
}

fn client(port: u16) -> Option<ProxyHeader> {
    let (source, destination) =
        (SocketAddr::from(([192, 0, 2, 1], port)), SocketAddr::from(([192, 0, 2, 2], 80)));
    Some(ProxyHeader::Proxied(ProxyAddresses { source, destination }))
}

#[test]
fn a_connection_that_named_its_client_serves_no_other() {
    let (opener, pool) = (Opener::default(), pool(2, LONG));
    let keep = |number, announced| {
        let mut connection = opener.open(number);
        connection.announced = announced;
        pool.keep(connection);
    };
    keep(1, client(1));
    keep(2, client(2));
    assert!(pool.reuse(None, client(3)).is_none() && pool.reuse(None, None).is_none());
    assert!(pool.reuse(None, Some(ProxyHeader::Own)).is_none());
    // Clients that have gone do not keep out those that come.
    keep(3, client(3));
    assert!(pool.reuse(None, client(1)).is_none());
    assert_eq!(pool.reuse(None, client(3)).map(|found| found.number), Some(3));
    assert_eq!(pool.reuse(None, client(2)).map(|found| found.number), Some(2));
}
