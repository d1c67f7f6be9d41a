use proptest::prelude::*;

use super::{Proxies, exemption, parse};
use crate::error::Error;
use crate::url::Url;

fn proxies(variables: &[(&str, &str)]) -> Proxies {
    Proxies::read(&|name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
    })
}

/// The proxy by way of which `url` is requested.
fn way(proxies: &Proxies, url: &str) -> Result<Option<String>, Error> {
    let url = Url::parse(url, None).unwrap();
    Ok(proxies.of(&url)?.map(|proxy| format!("{} of {}", proxy.address, proxy.variable)))
}

#[test]
fn each_scheme_has_its_own_variable_in_either_case() {
    let both = proxies(&[
        ("HTTPS_PROXY", "http://one:1"),
        ("https_proxy", "http://two:2"),
        ("http_proxy", "three:3"),
    ]);
    assert_eq!(way(&both, "https://a.test/").unwrap().unwrap(), "one:1 of HTTPS_PROXY");
    assert_eq!(way(&both, "http://a.test/").unwrap().unwrap(), "three:3 of http_proxy");
    let one = proxies(&[("https_proxy", "HTTP://proxy.test/")]);
    assert_eq!(way(&one, "https://a.test/").unwrap().unwrap(), "proxy.test:80 of https_proxy");
    assert_eq!(way(&one, "http://a.test/").unwrap(), None);
    let v6 = proxies(&[("HTTP_PROXY", "http://[::1]:8")]);
    assert_eq!(way(&v6, "http://a.test/").unwrap().unwrap(), "[::1]:8 of HTTP_PROXY");
}

#[test]
fn this_machine_is_asked_by_way_of_nobody() {
    let all = proxies(&[("HTTPS_PROXY", "proxy:1"), ("HTTP_PROXY", "proxy:1")]);
    for host in ["localhost", "127.0.0.1", "127.9.9.9:5000", "[::1]:5000", "[::ffff:127.0.0.1]"] {
        assert_eq!(way(&all, &format!("http://{host}/")).unwrap(), None, "{host}");
        assert_eq!(way(&all, &format!("https://{host}/")).unwrap(), None, "{host}");
    }
    assert!(way(&all, "https://localhost.test/").unwrap().is_some());
}

#[test]
fn exempts_hosts_domains_addresses_networks_and_ports() {
    let cases = [
        ("*", &["a.test", "10.0.0.1"][..], &[][..]),
        ("a.test", &["a.test", "b.a.test", "A.test:8443"], &["ba.test", "test", "a.test.evil"]),
        (".a.test, *.b.test", &["c.a.test", "c.b.test"], &["a.test", "b.test", "ca.test"]),
        ("a.test:5000", &["a.test:5000", "b.a.test:5000"], &["a.test", "a.test:500"]),
        ("10.1.2.3", &["10.1.2.3", "10.1.2.3:5000"], &["10.1.2.4", "310.1.2.3.test"]),
        ("10.0.0.0/8,fd00::/8", &["10.200.0.1", "[fd00::5]:5000"], &["11.0.0.1", "[fe80::1]", "a.test"]),
        ("fd00::1", &["[fd00::1]:5000"], &["[fd00::2]"]),
        ("[fd00::1]:5000", &["[fd00::1]:5000"], &["[fd00::1]"]),
        (" , ,a.test:port,", &[], &["a.test"]),
    ];
    for (list, direct, proxied) in cases {
        for variable in ["NO_PROXY", "no_proxy"] {
            let proxies = proxies(&[("HTTPS_PROXY", "proxy:1"), (variable, list)]);
            for host in direct {
                assert_eq!(way(&proxies, &format!("https://{host}/")).unwrap(), None, "{list}: {host}");
            }
            for host in proxied {
                assert!(way(&proxies, &format!("https://{host}/")).unwrap().is_some(), "{list}: {host}");
            }
        }
    }
}

#[test]
fn reads_who_we_are_and_never_shows_it() {
    let proxy = parse("HTTPS_PROXY", "http://al%40d:pass:w%2Frd%25@proxy.test:3128").unwrap();
    let (user, password) = proxy.credentials.as_ref().unwrap();
    assert_eq!((user.as_str(), password.expose()), ("al@d", &b"pass:w/rd%"[..]));
    assert!(!format!("{proxy:?}").contains("w/rd"));
    // Aladdin's (RFC 7617, 2).
    let aladdin = parse("HTTPS_PROXY", "Aladdin:open%20sesame@proxy.test:3128").unwrap();
    assert_eq!(aladdin.authorization().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(parse("HTTPS_PROXY", "http://proxy.test").unwrap().authorization(), None);
}

#[test]
fn says_what_is_wrong_without_the_password() {
    for (value, expected) in [
        ("https://u:pass1@proxy.test", "no TLS here"),
        ("socks5://u:pass1@proxy.test", "only a proxy that speaks HTTP"),
        ("http://u:pass1@", "not the form"),
        ("http://u:pass1@proxy.test:port", "not the form"),
        ("http://u:pass1@proxy.test/path", "not the form"),
        ("http://u:pass1%2@proxy.test", "RFC 3986"),
        ("http://u:pass1%zz@proxy.test", "RFC 3986"),
        ("http://a%3ab:pass1@proxy.test", "RFC 3986"),
    ] {
        let error = way(&proxies(&[("HTTPS_PROXY", value)]), "https://a.test/").unwrap_err();
        let text = format!("{error} {} {error:?}", error.help());
        assert!(text.contains(expected) && text.contains("HTTPS_PROXY") && !text.contains("pass1"), "{text}");
        // Who is asked without it is asked all the same.
        let exempt = proxies(&[("HTTPS_PROXY", value), ("NO_PROXY", "a.test")]);
        assert_eq!(way(&exempt, "https://a.test/").unwrap(), None);
    }
}

proptest! {
    #[test]
    fn takes_any_text(proxy in "\\PC{0,40}", list in "[a-z0-9.:*/,\\[\\] ]{0,40}", host in "[a-z0-9.]{1,20}") {
        let _proxy = parse("HTTPS_PROXY", &proxy);
        for entry in list.split(',') {
            if let Some(exemption) = exemption(entry) {
                let _covers = exemption.covers(&host, 443);
            }
        }
    }
}
