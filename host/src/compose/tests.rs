use super::{chain_of, in_parallel};

#[test]
fn results_come_in_the_order_of_the_items() {
    let items: Vec<u64> = (0..100).collect();
    let doubled = in_parallel(&items, |item| item * 2);
    assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
    assert!(in_parallel(&[] as &[u8], |item| *item).is_empty());
}

#[test]
fn an_error_is_shown_with_its_causes_once() {
    #[derive(Debug)]
    struct Outer(std::io::Error);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("cannot load")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    assert_eq!(chain_of(&Outer(std::io::Error::other("no such thing"))), "cannot load: no such thing");
}
