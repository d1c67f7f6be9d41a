use portcullis_sdk::testing::{Configured, MockGateway};

use super::*;

fn status(decision: &Decision) -> u16 {
    match decision {
        Decision::Next => 200,
        Decision::Reply(reply) => reply.status,
        Decision::Fail(reason) => panic!("{reason}"),
    }
}

/// How many of `count` requests get through at once.
fn passing(gateway: &MockGateway, policy: &mut Configured<RateLimit>, count: u32) -> u32 {
    (0..count).map(|_| u32::from(gateway.exchange("GET", "/").request_head(policy) == Decision::Next)).sum()
}

#[test]
fn refuses_past_the_burst_and_says_when_to_come_again() {
    let gateway = MockGateway::new();
    let mut policy = gateway.configure::<RateLimit>(r#"{"rate": "6/m", "burst": 1}"#).unwrap();
    assert_eq!(passing(&gateway, &mut policy, 2), 2);
    let Decision::Reply(reply) = gateway.exchange("GET", "/").request_head(&mut policy) else {
        panic!("the third is one too many")
    };
    assert_eq!(reply.status, 429);
    assert_eq!(reply.header_value("retry-after"), Some("10"));
    assert_eq!(reply.header_value("ratelimit-policy"), Some("\"default\";q=6;w=60"));
    assert_eq!(reply.header_value("ratelimit"), Some("\"default\";r=0;t=20"));

    gateway.advance(Duration::from_millis(9_999));
    assert_eq!(status(&gateway.exchange("GET", "/").request_head(&mut policy)), 429);
    gateway.advance(Duration::from_millis(1));
    assert_eq!(status(&gateway.exchange("GET", "/").request_head(&mut policy)), 200);
}

#[test]
fn without_a_burst_all_of_the_rate_may_come_at_once() {
    let gateway = MockGateway::new();
    let mut policy = gateway.configure::<RateLimit>(r#"{"rate": "5/s"}"#).unwrap();
    assert_eq!(passing(&gateway, &mut policy, 9), 5);
}

#[test]
fn retry_after_is_never_zero() {
    let gateway = MockGateway::new();
    let mut policy = gateway.configure::<RateLimit>(r#"{"rate": "1000/s", "burst": 0}"#).unwrap();
    assert_eq!(passing(&gateway, &mut policy, 1), 1);
    let Decision::Reply(reply) = gateway.exchange("GET", "/").request_head(&mut policy) else {
        panic!("the second is one too many")
    };
    assert_eq!(reply.header_value("retry-after"), Some("1"));
}

#[test]
fn answers_carry_the_fields_beside_those_of_others() {
    let gateway = MockGateway::new();
    let mut policy = gateway.configure::<RateLimit>(r#"{"rate": "10/s", "name": "api"}"#).unwrap();
    let mut exchange = gateway.exchange("GET", "/").with_response_header("ratelimit", "\"upstream\";r=3");
    exchange.request_head(&mut policy);
    assert_eq!(exchange.response_head(&mut policy), Decision::Next);
    assert_eq!(exchange.response_header("ratelimit-policy").as_deref(), Some("\"api\";q=10;w=1"));
    let both = "\"upstream\";r=3, \"api\";r=9;t=1";
    assert_eq!(exchange.response_header("ratelimit").as_deref(), Some(both));
}

#[test]
fn fields_can_be_left_out_and_need_a_counted_request() {
    let gateway = MockGateway::new();
    let mut silent = gateway.configure::<RateLimit>(r#"{"rate": "10/s", "fields": false}"#).unwrap();
    let mut exchange = gateway.exchange("GET", "/");
    exchange.request_head(&mut silent);
    exchange.response_head(&mut silent);
    assert_eq!(exchange.response_header("ratelimit"), None);

    let mut policy = gateway.configure::<RateLimit>(r#"{"rate": "10/s"}"#).unwrap();
    let mut uncounted = gateway.exchange("GET", "/");
    assert_eq!(uncounted.response_head(&mut policy), Decision::Next);
    assert_eq!(uncounted.response_header("ratelimit"), None);
}

#[test]
fn counts_apart_by_each_key() {
    let from = |gateway: &MockGateway, address: &str| gateway.exchange("GET", "/").client_address(address);
    for (key, same, other) in [
        (r#""client-address""#, ["192.0.2.1", "192.0.2.1"], "192.0.2.2"),
        (r#""client-address""#, ["2001:db8::1", "2001:db8::2"], "2001:db8:0:1::1"),
    ] {
        let gateway = MockGateway::new();
        let config = format!(r#"{{"rate": "1/h", "key": {key}}}"#);
        let mut policy = gateway.configure::<RateLimit>(&config).unwrap();
        let statuses = [same[0], same[1], other]
            .map(|address| status(&from(&gateway, address).request_head(&mut policy)));
        assert_eq!(statuses, [200, 429, 200], "{key} {same:?}");
    }

    let gateway = MockGateway::new();
    let mut by_route = gateway.configure::<RateLimit>(r#"{"rate": "1/h", "key": "route"}"#).unwrap();
    let routes = [("a", "192.0.2.1"), ("a", "192.0.2.2"), ("b", "192.0.2.1")];
    let statuses = routes
        .map(|(route, address)| status(&from(&gateway, address).route(route).request_head(&mut by_route)));
    assert_eq!(statuses, [200, 429, 200]);

    let gateway = MockGateway::new();
    let mut by_header =
        gateway.configure::<RateLimit>(r#"{"rate": "1/h", "key": {"header": "x-user"}}"#).unwrap();
    let users = ["a", "a", "b"];
    let statuses = users.map(|user| {
        status(&gateway.exchange("GET", "/").header("x-user", user).request_head(&mut by_header))
    });
    assert_eq!(statuses, [200, 429, 200]);

    let gateway = MockGateway::new();
    let mut by_attribute =
        gateway.configure::<RateLimit>(r#"{"rate": "1/h", "key": {"attribute": "api-key.name"}}"#).unwrap();
    let statuses = users.map(|user| {
        let mut exchange = gateway.exchange("GET", "/").attribute("api-key.name", user);
        status(&exchange.request_head(&mut by_attribute))
    });
    assert_eq!(statuses, [200, 429, 200]);
}

#[test]
fn a_request_without_the_key_counts_under_its_address() {
    let gateway = MockGateway::new();
    let mut policy =
        gateway.configure::<RateLimit>(r#"{"rate": "1/h", "key": {"header": "x-user"}}"#).unwrap();
    let statuses = ["192.0.2.1", "192.0.2.1", "192.0.2.2"].map(|address| {
        status(&gateway.exchange("GET", "/").client_address(address).request_head(&mut policy))
    });
    assert_eq!(statuses, [200, 429, 200]);
    // A field that reads like an address is no way into that address's bucket.
    let mut forged = gateway.exchange("GET", "/").client_address("192.0.2.3").header("x-user", "192.0.2.1");
    assert_eq!(forged.request_head(&mut policy), Decision::Next);
}

#[test]
fn refuses_wrong_settings() {
    for (config, expected) in [
        (
            r#"{"rate": "0/s"}"#,
            "/rate: \"0/s\" is not a rate; write a number, `/`, and s, m or h, such as \"100/s\"",
        ),
        (
            r#"{"rate": "+1/s"}"#,
            "/rate: \"+1/s\" is not a rate; write a number, `/`, and s, m or h, such as \"100/s\"",
        ),
        (
            r#"{"rate": "10/w"}"#,
            "/rate: \"10/w\" is not a rate; write a number, `/`, and s, m or h, such as \"100/s\"",
        ),
        (r#"{"rate": "1/s", "key": {"header": "a b"}}"#, "/key/header: \"a b\": invalid name"),
        (r#"{"rate": "1/s", "name": "a\"b"}"#, "/name: \"a\"b\": expected letters, digits, `-`, `_` and `.`"),
    ] {
        assert_eq!(MockGateway::new().configure::<RateLimit>(config).unwrap_err(), expected, "{config}");
    }
}

#[test]
fn numbers_are_written_as_they_always_are() {
    for number in [0, 7, 10, 255, 4_000_000_000, u32::MAX] {
        let mut text = "=".to_owned();
        push_number(&mut text, number);
        assert_eq!(text, format!("={number}"));
    }
}
