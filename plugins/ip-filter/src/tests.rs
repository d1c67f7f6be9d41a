use std::net::IpAddr;

use portcullis_sdk::testing::{Configured, MockExchange, MockGateway};

use super::*;

fn configure(config: &str) -> Result<Configured<IpFilter>, String> {
    MockGateway::new().configure(config)
}

fn lets_in(config: &str, address: &str) -> bool {
    let mut exchange = MockExchange::new("GET", "/").client_address(address);
    match exchange.request_head(&mut configure(config).unwrap()) {
        Decision::Next => true,
        Decision::Reply(reply) => {
            assert_eq!(reply.status, 403);
            false
        }
        Decision::Fail(reason) => panic!("{reason}"),
    }
}

#[test]
fn allow_refuses_all_others() {
    let config = r#"{"allow": ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]}"#;
    for (address, expected) in [
        ("192.0.1.255", false),
        ("192.0.2.0", true),
        ("192.0.2.255", true),
        ("192.0.3.0", false),
        ("198.51.100.7", true),
        ("198.51.100.8", false),
        ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", false),
        ("2001:db8::", true),
        ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true),
        ("2001:db9::", false),
        ("::ffff:192.0.2.9", true),
    ] {
        assert_eq!(lets_in(config, address), expected, "{address}");
    }
}

#[test]
fn deny_alone_lets_all_others_in_and_wins_over_allow() {
    assert!(!lets_in(r#"{"deny": ["10.0.0.0/8"]}"#, "10.1.2.3"));
    assert!(lets_in(r#"{"deny": ["10.0.0.0/8"]}"#, "11.1.2.3"));
    assert!(lets_in(r#"{"deny": ["10.0.0.0/8"]}"#, "::1"));
    let both = r#"{"allow": ["10.0.0.0/8"], "deny": ["10.9.0.0/16"]}"#;
    assert!(lets_in(both, "10.8.0.1"));
    assert!(!lets_in(both, "10.9.0.1"));
}

#[test]
fn whole_families_and_mapped_networks() {
    assert!(!lets_in(r#"{"deny": ["0.0.0.0/0"]}"#, "255.255.255.255"));
    assert!(lets_in(r#"{"deny": ["0.0.0.0/0"]}"#, "::1"));
    assert!(!lets_in(r#"{"deny": ["::/0"]}"#, "ffff::"));
    assert!(!lets_in(r#"{"deny": ["::ffff:10.0.0.0/104"]}"#, "10.200.0.1"));
}

#[test]
fn reads_files() {
    let config = r##"{"allow-file": "# offices\n\n192.0.2.0/25 # one\r\n192.0.2.128/25\n"}"##;
    assert!(lets_in(config, "192.0.2.127"));
    assert!(lets_in(config, "192.0.2.128"));
    assert!(!lets_in(config, "192.0.3.1"));
}

/// Against the plain way to say it, over many networks and the addresses at their edges.
#[test]
fn agrees_with_a_search_one_by_one() {
    let mut seed = 7_u32;
    let mut random = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed >> 8
    };
    let networks: Vec<(u32, u32)> = (0..2000)
        .map(|_| {
            let length = 8 + random() % 25;
            (((random() << 8 | random()) >> (32 - length)) << (32 - length), length)
        })
        .collect();
    let list: Vec<String> = networks
        .iter()
        .map(|(bits, length)| format!("{}/{length}", std::net::Ipv4Addr::from(*bits)))
        .collect();
    let set = Networks::read("allow", &list, None, &mut Mistakes::new());
    for (bits, length) in &networks {
        let last = bits | u32::MAX.checked_shr(*length).unwrap_or(0);
        for address in [*bits, bits.wrapping_sub(1), last, last.wrapping_add(1)] {
            let plain =
                networks.iter().any(|(bits, length)| address >> (32 - length) == bits >> (32 - length));
            assert_eq!(set.contains(IpAddr::V4(address.into())), plain, "{address:#x}");
        }
    }
}

#[test]
fn tells_each_mistake_at_its_place() {
    let refused =
        configure(r#"{"allow": ["10.0.0.1/8", "::/0", "all"], "deny": ["localhost"]}"#).unwrap_err();
    let places: Vec<&str> = refused.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    assert_eq!(places, ["/allow/0", "/allow/2", "/deny/0"], "{refused}");
}

#[test]
fn refuses_wrong_settings() {
    for (config, expected) in [
        ("{}", "/: neither allow nor deny has a network; add one to either"),
        (
            r#"{"allow": []}"#,
            "/allow: there is no network, so no client would get in; add one, or leave it out",
        ),
        (
            r#"{"allow-file": "\n"}"#,
            "/allow-file: there is no network, so no client would get in; add one, or leave it out",
        ),
        (
            r#"{"deny": ["10.0.0.0/8", "ten"]}"#,
            "/deny/1: `ten` is not a network; write one such as 192.0.2.0/24 or 2001:db8::/32",
        ),
        (
            r#"{"deny": ["10.0.0.1/8"]}"#,
            "/deny/0: `10.0.0.1/8` has bits beyond its prefix; the network is 10.0.0.0/8",
        ),
        (
            r#"{"deny": ["10.0.0.0/33"]}"#,
            "/deny/0: `10.0.0.0/33`: the prefix length of an IPv4 network is 0 to 32",
        ),
        (r#"{"deny": ["::/+1"]}"#, "/deny/0: `::/+1`: the prefix length of an IPv6 network is 0 to 128"),
        (
            r#"{"deny-file": "::1\n1.2.3"}"#,
            "/deny-file: line 2: `1.2.3` is not a network; write one such as 192.0.2.0/24 or 2001:db8::/32",
        ),
    ] {
        assert_eq!(configure(config).unwrap_err(), expected, "{config}");
    }
}
