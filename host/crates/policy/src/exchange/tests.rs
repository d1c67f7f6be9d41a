use super::{Attributes, Exchange};

#[test]
fn attributes_keep_their_order_and_their_last_value() {
    let mut attributes = Attributes::default();
    assert!(attributes.set("b", "1") && attributes.set("a", "2") && attributes.set("b", "3"));
    assert_eq!(attributes.get("b"), Some("3"));
    assert_eq!(attributes.get("c"), None);
    assert_eq!(attributes.iter().collect::<Vec<_>>(), [("b", "3"), ("a", "2")]);
}

#[test]
fn attributes_are_bounded_by_names_and_values_together() {
    let mut attributes = Attributes::default();
    let most = "x".repeat(Attributes::BYTES_MAX - 4);
    assert!(!attributes.set("name", &format!("{most}x")), "one byte too many");
    assert_eq!(attributes.get("name"), None);
    assert!(attributes.set("name", &most));
    assert!(!attributes.set("n", ""), "nothing fits beside it");
    // What a value takes is free again when another one takes its place.
    assert!(attributes.set("name", "short") && attributes.set("n", &most[..100]));
    assert!(!attributes.set("name", &most));
    assert_eq!(attributes.get("name"), Some("short"), "a refused value changes nothing");
    attributes.clear();
    assert!(attributes.set("name", &most) && attributes.iter().count() == 1);
}

#[test]
fn a_cleared_exchange_knows_nothing_of_the_last_one() {
    let mut exchange =
        Exchange { upstream: 1, policy_at: 2, trace_id: "t".to_owned(), ..Exchange::default() };
    exchange.slot().state = b"secret".to_vec();
    exchange.slot().instance = Some(Box::new(7));
    exchange.client.tls_server_name = Some("a.test".into());
    exchange.client.certificate = Some([1, 2][..].into());
    assert!(exchange.attributes.set("user", "alice"));
    exchange.response.status = 200;
    exchange.clear();
    let rest = (exchange.upstream, exchange.policy_at, exchange.trace_id.as_str(), exchange.response.status);
    assert_eq!(rest, (0, 0, "", 0));
    assert!(
        exchange.policies.iter().all(|slot| slot.state.is_empty() && slot.instance.is_none())
            && exchange.attributes.iter().count() == 0
    );
    assert!(exchange.client.tls_server_name.is_none() && exchange.client.certificate.is_none());
}
