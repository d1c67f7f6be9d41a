use std::net::SocketAddr;

use super::{Resolver, interleave};
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

#[test]
fn a_failed_look_up_is_not_remembered() {
    on_worker(async {
        let resolver = Resolver::default();
        resolver.resolve("not a name:80").await.unwrap_err();
        assert_eq!(resolver.entries().len(), 0);
    });
}
