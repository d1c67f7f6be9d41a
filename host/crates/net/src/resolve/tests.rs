use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tokio::time::{advance, pause, resume};

use super::{FAILED, FRESH, LAST_GOOD, Resolver, interleave};
use crate::testing::on_worker;

#[test]
fn families_alternate_and_the_preferred_comes_first() {
    let check = |input: &[&str], expected: &[&str]| {
        let parse = |list: &[&str]| -> Vec<SocketAddr> { list.iter().map(|a| a.parse().unwrap()).collect() };
        assert_eq!(interleave(parse(input)), parse(expected));
    };
    check(
        &["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"],
        &["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"],
    );
    check(&["1.1.1.1:1", "[::1]:1"], &["1.1.1.1:1", "[::1]:1"]);
    check(&[], &[]);
}

#[test]
fn a_name_is_looked_up_once_for_all_who_wait() {
    on_worker(async {
        let resolver = Resolver::default();
        let (first, second) =
            tokio::join!(resolver.resolve("localhost:80"), resolver.resolve("localhost:80"));
        assert!(std::sync::Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
        assert_eq!(resolver.entries().len(), 1);
    });
}

/// Answers of a name server, one for each look-up; after the last one it fails.
struct Server {
    answers: Mutex<VecDeque<io::Result<Vec<SocketAddr>>>>,
    asked: AtomicUsize,
}

impl Server {
    fn new<const N: usize>(answers: [Option<u8>; N]) -> (Arc<Self>, Resolver) {
        let answer = |last: Option<u8>| match last {
            Some(last) => Ok(vec![address(last)]),
            None => Err(io::Error::other("no answer")),
        };
        let answers = Mutex::new(answers.into_iter().map(answer).collect());
        let server = Arc::new(Self { answers, asked: AtomicUsize::new(0) });
        let asked = Arc::clone(&server);
        let resolver = Resolver::asking(move |_| {
            asked.asked.fetch_add(1, Ordering::SeqCst);
            let next = asked.answers.lock().unwrap().pop_front();
            next.unwrap_or_else(|| Err(io::Error::other("no answer")))
        });
        (server, resolver)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], 80))
}

/// Runs `test` in simulated time, which stands still while a look-up runs.
fn simulate<F: Future<Output = ()>>(test: F) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(24 * 3600), test).await.expect("the test ends within a day");
    });
}

async fn resolve(resolver: &Resolver) -> io::Result<Vec<SocketAddr>> {
    resolver.resolve("app.test:80").await.map(|addresses| addresses.to_vec())
}

/// Lets a look-up end after its waiter has gone: simulated time goes on once none runs.
async fn looked_up() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[test]
fn an_answer_is_used_for_a_while_and_then_asked_for_again() {
    simulate(async {
        let (server, resolver) = Server::new([Some(1), Some(2)]);
        for _ in 0..3 {
            assert_eq!(resolve(&resolver).await.unwrap(), [address(1)]);
        }
        assert_eq!(server.asked(), 1);
        advance(FRESH).await;
        assert_eq!(resolve(&resolver).await.unwrap(), [address(2)]);
        assert_eq!(server.asked(), 2);
    });
}

#[test]
fn the_last_good_answer_is_used_while_look_ups_fail() {
    simulate(async {
        let (server, resolver) = Server::new([Some(1)]);
        assert_eq!(resolve(&resolver).await.unwrap(), [address(1)]);
        for asked in 2..5 {
            advance(FRESH).await;
            assert_eq!(resolve(&resolver).await.unwrap(), [address(1)]);
            assert_eq!(server.asked(), asked);
        }
        advance(LAST_GOOD).await;
        assert!(resolve(&resolver).await.is_err(), "not for ever");
    });
}

#[test]
fn a_failure_is_remembered_for_a_moment() {
    simulate(async {
        let (server, resolver) = Server::new([None, Some(1)]);
        for _ in 0..3 {
            assert_eq!(resolve(&resolver).await.unwrap_err().to_string(), "no answer");
        }
        assert_eq!(server.asked(), 1, "three attempts to connect, one look-up");
        advance(FAILED).await;
        assert_eq!(resolve(&resolver).await.unwrap(), [address(1)]);
    });
}

#[test]
fn a_look_up_that_hangs_holds_up_only_those_who_know_no_address() {
    on_worker(async {
        let (release, hang) = mpsc::sync_channel::<()>(1);
        let (hang, asked) = (Mutex::new(hang), AtomicUsize::new(0));
        let resolver = Resolver::asking(move |_| {
            if asked.fetch_add(1, Ordering::SeqCst) > 0 {
                // Ends with the test, which drops the other end.
                let _ended = hang.lock().unwrap().recv();
            }
            Ok(vec![address(1)])
        });
        assert_eq!(resolve(&resolver).await.unwrap(), [address(1)]);
        // The clock goes on by itself: it would stand still for as long as the look-up hangs.
        pause();
        advance(FRESH).await;
        resume();
        assert_eq!(resolve(&resolver).await.unwrap(), [address(1)]);
        assert_eq!(resolver.refresh("app.test:80").unwrap().to_vec(), [address(1)]);
        drop(release);
    });
}

#[test]
fn a_refresh_returns_at_once_and_looks_up_behind() {
    simulate(async {
        let (server, resolver) = Server::new([Some(1), Some(2)]);
        assert!(resolver.refresh("app.test:80").is_none(), "it was never used");
        assert_eq!(server.asked(), 0);
        assert_eq!(resolve(&resolver).await.unwrap(), [address(1)]);
        let known = |resolver: &Resolver| resolver.refresh("app.test:80").unwrap().to_vec();
        assert_eq!(known(&resolver), [address(1)]);
        assert_eq!(server.asked(), 1, "the answer is fresh");
        advance(FRESH).await;
        assert_eq!(known(&resolver), [address(1)]);
        looked_up().await;
        assert_eq!(server.asked(), 2);
        assert_eq!(known(&resolver), [address(2)]);
    });
}
