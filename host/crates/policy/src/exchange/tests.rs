use super::Exchange;

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
