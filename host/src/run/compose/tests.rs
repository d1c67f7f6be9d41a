use super::{chain_of, in_parallel};
use crate::plugins;

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

#[test]
fn no_policy_that_ships_chooses_an_upstream() {
    use portcullis_config::Components as _;
    for name in portcullis_plugins::NAMES {
        let component = portcullis_plugins::builtin(name).expect("it is named because it ships");
        let info = plugins::Catalog.inspect(component).expect("it is a component of this contract");
        assert!(!info.chooses_upstream, "{name}");
    }
}

#[test]
fn the_config_and_the_gateway_drop_the_same_fields() {
    let names = [
        "x_foo",
        "connection",
        "upgrade",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "transfer-encoding",
        "http2-settings",
        "content-length",
        "expect",
        "cf-connecting-ip",
        "client-ip",
        "true-client-ip",
        "x-original-url",
        "x-forwarded-prefix",
        "x-forwarded-port",
        "x-url-scheme",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-foo",
        "te",
        "authorization",
        "cookie",
        "via",
        "traceparent",
        "accept",
        "x-api-key",
        "content-type",
        "origin",
        "forwarded",
        "x-real-ip",
        "trailer",
    ];
    for (name, trusted) in names.into_iter().flat_map(|name| [(name, false), (name, true)]) {
        let peer = std::net::IpAddr::from([127, 0, 0, 1]);
        let proxies = ["127.0.0.1/32".parse().expect("a network")];
        let proxies = if trusted { proxies.as_slice() } else { &[] };
        let mut head = portcullis_http::RequestHead::default();
        head.authority.push_str("a.test");
        let value: &[u8] = if name == "te" { b"trailers" } else { b"127.0.0.1" };
        head.fields.append(name.as_bytes(), value).expect("a name and a value");
        portcullis_http::strip_request_hop_by_hop(&mut head.fields);
        let written = portcullis_http::rewrite_forwarding_fields(&mut head, peer, proxies, &mut Vec::new());
        assert!(written.is_ok());
        let seen = head.fields.get(name.as_bytes()).is_some() && name != "expect";
        let unseen = portcullis_config::is_unseen_field(name, trusted);
        // One that counts from trusted proxies is there only if such a proxy sends what it should.
        let is_seen = seen || (trusted && name == "x-forwarded-port");
        assert_eq!(!is_seen, unseen, "{name} {trusted}");
    }
}

/// A route changes no field that the gateway keeps to itself.
#[test]
fn a_route_writes_none_of_the_fields_that_the_gateway_owns() {
    let names =
        ["connection", "content-length", "host", "http2-settings", "keep-alive", "proxy-connection", "te"];
    let others = ["proxy-authenticate", "proxy-authorization", "transfer-encoding", "upgrade"];
    for name in names.into_iter().chain(others) {
        assert!(portcullis_http::is_gateway_owned(name.as_bytes()), "{name}");
        assert!(portcullis_config::is_written_by_gateway(name), "{name}");
    }
    for name in ["cookie", "x-forwarded-for", "server", "location"] {
        assert!(!portcullis_http::is_gateway_owned(name.as_bytes()), "{name}");
        assert!(!portcullis_config::is_written_by_gateway(name), "{name}");
    }
}
