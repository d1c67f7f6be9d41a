use std::net::IpAddr;

use ipnet::IpNet;

use super::rewrite_forwarding_fields;
use crate::{RequestHead, Scheme};

/// Checks a request to http://gw.example with these fields. Its peer is trusted if it is in 10.0.0.0/8 or fd00::/8.
#[track_caller]
fn rewrite(peer: &str, fields: &[(&str, &str)]) -> (IpAddr, RequestHead) {
    let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
    let mut head = RequestHead::default();
    head.authority.push_str("gw.example");
    for (name, value) in fields {
        head.fields.append(name.as_bytes(), value.as_bytes()).unwrap();
    }
    let mut scratch = b"left over".to_vec();
    let client = rewrite_forwarding_fields(&mut head, peer.parse().unwrap(), &trusted, &mut scratch).unwrap();
    (client, head)
}

#[track_caller]
fn check(peer: &str, fields: &[(&str, &str)], client: &str, expected: &[(&str, &str)]) {
    let (address, head) = rewrite(peer, fields);
    assert_eq!(address.to_string(), client);
    let written: Vec<_> =
        head.fields.iter().map(|(_, name, value)| (name, std::str::from_utf8(value).unwrap())).collect();
    assert_eq!(written, expected);
}

/// The client that a chain behind the trusted peer 10.0.0.1 leads to.
#[track_caller]
fn chain(x_forwarded_for: &str) -> (String, String) {
    let (client, head) = rewrite("10.0.0.1", &[("x-forwarded-for", x_forwarded_for)]);
    let written = head.fields.get(b"x-forwarded-for").unwrap();
    (client.to_string(), String::from_utf8(written.to_vec()).unwrap())
}

#[test]
fn writes_the_fields_for_a_plain_client() {
    check(
        "192.0.2.1",
        &[("accept", "*/*")],
        "192.0.2.1",
        &[
            ("accept", "*/*"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "gw.example"),
            ("x-real-ip", "192.0.2.1"),
            ("forwarded", "for=192.0.2.1;host=gw.example;proto=http"),
        ],
    );
}

#[test]
fn believes_nothing_of_an_untrusted_peer() {
    check(
        "192.0.2.1",
        &[
            ("X-Forwarded-For", "1.1.1.1, 10.0.0.9"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-port", "443"),
            ("x-forwarded-prefix", "/admin"),
            ("x-forwarded-client-cert", "x"),
            ("x-real-ip", "1.1.1.1"),
            ("forwarded", "for=1.1.1.1;proto=https;host=evil.example"),
            ("true-client-ip", "1.1.1.1"),
            ("x-original-url", "/admin"),
            ("x-original-uri", "/admin"),
            ("x-http-method-override", "DELETE"),
            ("x-envoy-external-address", "1.1.1.1"),
            ("fly-client-ip", "1.1.1.1"),
            ("x-azure-clientip", "1.1.1.1"),
            ("cf-connecting-ipv6", "::1"),
            ("x-forward-for", "1.1.1.1"),
            ("x-remote-ip", "1.1.1.1"),
            ("client-cert", ":MIIB:"),
        ],
        "192.0.2.1",
        &[
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "gw.example"),
            ("x-real-ip", "192.0.2.1"),
            ("forwarded", "for=192.0.2.1;host=gw.example;proto=http"),
        ],
    );
}

#[test]
fn believes_a_trusted_peer() {
    check(
        "10.0.0.1",
        &[
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example:444"),
            ("x-forwarded-port", "444"),
            ("x-forwarded-prefix", "/shop"),
        ],
        "192.0.2.7",
        &[
            ("x-forwarded-prefix", "/shop"),
            ("x-forwarded-for", "192.0.2.7, 10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example:444"),
            ("x-real-ip", "192.0.2.7"),
            ("x-forwarded-port", "444"),
            ("forwarded", "for=192.0.2.7;host=\"shop.example:444\";proto=https, for=10.0.0.1"),
        ],
    );
    let (_, head) =
        rewrite("10.0.0.1", &[("x-forwarded-proto", "https"), ("x-forwarded-host", "shop.example")]);
    assert_eq!((head.scheme, head.authority.as_str()), (Scheme::Https, "gw.example"));
}

#[test]
fn walks_the_chain_over_trusted_hops_only() {
    let same = |input: &str, client: &str, written: &str| {
        assert_eq!(chain(input), (client.to_owned(), written.to_owned()), "{input:?}");
    };
    same("192.0.2.7, 10.0.0.3, 10.0.0.2", "192.0.2.7", "192.0.2.7, 10.0.0.3, 10.0.0.2, 10.0.0.1");
    // The addresses that the client has invented are to its left and are dropped.
    same("10.0.0.9, 1.1.1.1, 192.0.2.7, 10.0.0.2", "192.0.2.7", "192.0.2.7, 10.0.0.2, 10.0.0.1");
    // All trusted: the one farthest away.
    same("10.0.0.3, 10.0.0.2", "10.0.0.3", "10.0.0.3, 10.0.0.2, 10.0.0.1");
    same("192.0.2.7:1234", "192.0.2.7", "192.0.2.7, 10.0.0.1");
    same("[2001:db8::7]:1234", "2001:db8::7", "2001:db8::7, 10.0.0.1");
    same("[2001:db8::7]", "2001:db8::7", "2001:db8::7, 10.0.0.1");
    same("2001:DB8::7", "2001:db8::7", "2001:db8::7, 10.0.0.1");
    same("192.0.2.7, ::ffff:10.0.0.2", "192.0.2.7", "192.0.2.7, 10.0.0.2, 10.0.0.1");
}

#[test]
fn garbage_ends_the_walk() {
    for garbage in
        ["unknown", "_hidden", "1.2.3", "1.2.3.4.5", "a.example", "\"192.0.2.7\"", "[::1", "\u{e9}"]
    {
        let (client, written) = chain(&format!("192.0.2.7, {garbage}, 10.0.0.2"));
        assert_eq!((client.as_str(), written.as_str()), ("10.0.0.2", "10.0.0.2, 10.0.0.1"), "{garbage:?}");
    }
}

/// RFC 9110, 5.6.1.2: a recipient ignores empty elements; RFC 7239, 4 for pairs.
#[test]
fn empty_elements_are_no_hops() {
    for list in ["1.2.3.4,", "1.2.3.4, ,", ",,1.2.3.4,,", "9.9.9.9, ,1.2.3.4 ,\t, 10.0.0.2"] {
        assert_eq!(chain(list).0, "1.2.3.4", "{list:?}");
    }
    assert_eq!(chain(", ,").0, "10.0.0.1");
    for list in ["for=1.2.3.4,", "for=1.2.3.4 , ,", "for=1.2.3.4;, ,", ";for=1.2.3.4;;proto=https"] {
        let (client, _) = rewrite("10.0.0.1", &[("forwarded", list)]);
        assert_eq!(client.to_string(), "1.2.3.4", "{list:?}");
    }
    // The last element counts, not the comma after it.
    let lines =
        [("x-forwarded-proto", "https,"), ("x-forwarded-proto", ","), ("x-forwarded-host", "a.example, ,")];
    let (_, head) = rewrite("10.0.0.1", &lines);
    assert_eq!(head.scheme, Scheme::Https);
    assert_eq!(head.fields.get(b"x-forwarded-host"), Some(&b"a.example"[..]));
}

#[test]
fn bounds_the_chain() {
    let (client, written) = chain(&vec!["10.0.0.2"; 1000].join(","));
    assert_eq!((client.as_str(), written.split(',').count()), ("10.0.0.2", 16));
}

#[test]
fn joins_several_lines_in_order() {
    let (client, _) =
        rewrite("10.0.0.1", &[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-for", "10.0.0.3, 10.0.0.2")]);
    assert_eq!(client.to_string(), "192.0.2.7");
}

#[test]
fn takes_the_last_word_on_scheme_and_host() {
    let (_, head) = rewrite(
        "10.0.0.1",
        &[("x-forwarded-proto", "https, http"), ("x-forwarded-host", "evil.example, shop.example")],
    );
    assert_eq!(head.scheme, Scheme::Http);
    assert_eq!(head.fields.get(b"x-forwarded-host"), Some(&b"shop.example"[..]));
    let (_, head) = rewrite("10.0.0.1", &[("x-forwarded-proto", "gopher"), ("x-forwarded-host", "a b")]);
    assert_eq!(head.scheme, Scheme::Http);
    assert_eq!(head.fields.get(b"x-forwarded-host"), Some(&b"gw.example"[..]));
    assert_eq!(rewrite("10.0.0.1", &[("x-forwarded-proto", "WSS")]).1.scheme, Scheme::Https);
}

/// RFC 7239, 4 to 6.
#[test]
fn follows_forwarded_where_there_is_no_other() {
    let forwarded =
        "for=\"[2001:db8::7]:4711\";Proto=https;host=shop.example, for=10.0.0.2;proto=http;by=10.0.0.1";
    let (client, head) = rewrite("fd00::1", &[("forwarded", forwarded)]);
    assert_eq!((client.to_string().as_str(), head.scheme), ("2001:db8::7", Scheme::Https));
    let expected = "for=\"[2001:db8::7]\";host=shop.example;proto=https, for=10.0.0.2, for=\"[fd00::1]\"";
    assert_eq!(head.fields.get(b"forwarded"), Some(expected.as_bytes()));
    assert_eq!(head.fields.get(b"x-forwarded-for"), Some(&b"2001:db8::7, 10.0.0.2, fd00::1"[..]));

    let client = |fields: &[(&str, &str)]| rewrite("10.0.0.1", fields).0.to_string();
    assert_eq!(client(&[("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
    // An open quote or an unknown node of a client swallows nothing of what the trusted proxy has added.
    assert_eq!(client(&[("forwarded", "for=\"1.1.1.1, for=192.0.2.7")]), "192.0.2.7");
    for garbage in
        ["for=unknown", "for=_x", "for", "for=\"10.0.0.9", "for=10.0.0.9;for=10.0.0.8", "proto=http"]
    {
        assert_eq!(
            client(&[("forwarded", &format!("for=1.1.1.1, {garbage}, for=10.0.0.2"))]),
            "10.0.0.2",
            "{garbage}"
        );
    }
}

#[test]
fn unmaps_the_peer() {
    assert_eq!(rewrite("::ffff:192.0.2.1", &[]).0.to_string(), "192.0.2.1");
    assert_eq!(rewrite("::ffff:10.0.0.1", &[("x-forwarded-for", "192.0.2.7")]).0.to_string(), "192.0.2.7");
}

#[test]
fn leaves_the_host_out_where_there_is_none() {
    let mut head = RequestHead::default();
    rewrite_forwarding_fields(&mut head, "192.0.2.1".parse().unwrap(), &[], &mut Vec::new()).unwrap();
    assert_eq!(head.fields.get(b"x-forwarded-host"), None);
    assert_eq!(head.fields.get(b"forwarded"), Some(&b"for=192.0.2.1;proto=http"[..]));
}

#[test]
fn writes_addresses_as_the_standard_library_does() {
    for octets in [[0, 9, 10, 99], [100, 101, 199, 255], [1, 20, 30, 200]] {
        let address = IpAddr::from(octets);
        assert_eq!(
            rewrite(&address.to_string(), &[]).1.fields.get(b"x-real-ip"),
            Some(address.to_string().as_bytes())
        );
    }
}
