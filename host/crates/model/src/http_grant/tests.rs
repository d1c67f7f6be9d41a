use super::{HttpGrant, HttpUrl, HttpUrlError, Reach};

fn parts(url: &str) -> (bool, String, u16, &str) {
    let url = HttpUrl::parse(url).unwrap();
    (url.tls, url.host, url.port, url.path_and_query)
}

#[test]
fn takes_urls_apart() {
    assert_eq!(parts("https://Auth.Internal/check?a=b"), (true, "auth.internal".into(), 443, "/check?a=b"));
    assert_eq!(parts("http://10.0.0.1:8080"), (false, "10.0.0.1".into(), 8080, ""));
    assert_eq!(parts("http://[2001:DB8:0::1]/"), (false, "2001:db8::1".into(), 80, "/"));
    assert_eq!(parts("http://[::ffff:127.0.0.1]:1/"), (false, "127.0.0.1".into(), 1, "/"));
    assert_eq!(parts("http://localhost?x"), (false, "localhost".into(), 80, "?x"));
    assert_eq!(HttpUrl::parse("https://[2001:db8::1]:443/").unwrap().authority(), "[2001:db8::1]");
    assert_eq!(HttpUrl::parse("http://a.b:443/").unwrap().authority(), "a.b:443");
}

#[test]
fn refuses_what_programs_read_differently() {
    let refused = |url: &str| HttpUrl::parse(url).unwrap_err();
    for url in ["", "a.b/c", "//a.b", "ftp://a.b", "HTTP://a.b", "http:/a.b", "javascript://a.b"] {
        assert_eq!(refused(url), HttpUrlError::Scheme, "{url}");
    }
    assert_eq!(refused("http://good.test@evil.test/"), HttpUrlError::User);
    assert_eq!(refused("http://a.b/#x"), HttpUrlError::Fragment);
    for url in [
        "http://",
        "http:///x",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.0.0.0x1/",
        "http://0177.0.0.1/",
        "http://127.0.0.1./",
        "http://a..b/",
        "http://a.b./",
        "http://ä.test/",
        "http://a b/",
        "http://a%2eb/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://::1/",
        "http://[a.b]/",
    ] {
        assert_eq!(refused(url), HttpUrlError::Host, "{url}");
    }
    for url in ["http://a.b:/", "http://a.b:0/", "http://a.b:080/", "http://a.b:65536/", "http://a.b:+1/"] {
        assert_eq!(refused(url), HttpUrlError::Port, "{url}");
    }
    // What stands behind a backslash is no host; the path is refused later.
    assert_eq!(parts("http://a.b\\@evil.test/").3, "\\@evil.test/");
}

#[test]
fn covers_paths_to_the_end_of_a_segment() {
    let grant = |path: &str| HttpGrant {
        tls: false,
        host: "a.b".into(),
        port: 80,
        path: path.into(),
        private: false,
        ca: None,
    };
    for (prefix, path, covered) in [
        ("", "/", true),
        ("", "/x", true),
        ("/check", "/check", true),
        ("/check", "/check/x", true),
        ("/check", "/check/", true),
        ("/check", "/checkout", false),
        ("/check", "/", false),
        ("/check", "/check;x", false),
        ("/check/", "/check/x", true),
        ("/check/", "/check/", true),
        ("/check/", "/check", false),
        ("/", "/x", true),
    ] {
        assert_eq!(grant(prefix).has_path(path), covered, "{prefix} {path}");
    }
    let url = |url| HttpUrl::parse(url).unwrap();
    assert!(grant("").is_of(&url("http://a.b")) && grant("").is_of(&url("http://A.B:80/x")));
    for other in ["https://a.b:80", "http://a.b:81", "http://x.a.b", "http://a.bb"] {
        assert!(!grant("").is_of(&url(other)), "{other}");
    }
}

#[test]
fn knows_where_addresses_lead() {
    let of = |address: &str| Reach::of(address.parse().unwrap());
    for address in
        ["1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1", "192.0.1.1", "2606:4700::1", "2a00::"]
    {
        assert_eq!(of(address), Reach::Public, "{address}");
    }
    for address in [
        "10.0.0.1",
        "127.0.0.1",
        "127.255.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "198.18.0.1",
        "192.0.2.1",
        "::1",
        "fc00::1",
        "fdff::1",
        "fec0::1",
        "2001:db8::1",
        "2001::1",
        "100::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
    ] {
        assert_eq!(of(address), Reach::Private, "{address}");
    }
    for address in [
        "169.254.169.254",
        "fe80::1",
        "febf::1",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
    ] {
        assert_eq!(of(address), Reach::Link, "{address}");
    }
    for address in
        ["0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "ff02::1", "::ffff:0.0.0.0"]
    {
        assert_eq!(of(address), Reach::Never, "{address}");
    }
    assert_eq!(of("64:ff9b::1.1.1.1"), Reach::Public);
    assert_eq!(of("::ffff:1.1.1.1"), Reach::Public);
}

#[test]
fn a_name_leads_inside_only_where_it_may_and_never_to_the_link() {
    let grant = |host: &str, private| HttpGrant {
        tls: false,
        host: host.into(),
        port: 80,
        path: String::new(),
        private,
        ca: None,
    };
    let may = |grant: &HttpGrant, address: &str| grant.may_reach(address.parse().unwrap());
    let (outside, inside) = (grant("a.b", false), grant("a.b", true));
    assert!(may(&outside, "1.1.1.1") && may(&inside, "1.1.1.1"));
    assert!(!may(&outside, "10.0.0.1") && may(&inside, "10.0.0.1"));
    assert!(!may(&outside, "169.254.169.254") && !may(&inside, "169.254.169.254"));
    assert!(may(&grant("169.254.169.254", true), "169.254.169.254"), "where it is named itself");
    assert!(!may(&grant("169.254.169.254", false), "169.254.169.254"));
    assert!(!may(&grant("0.0.0.0", true), "0.0.0.0"));
}

/// The services of one cloud for its machines are reached by no name, also not inside a network of one's own.
fn no_name_leads_to(services: &[&str]) {
    for service in services {
        let address: std::net::IpAddr = service.parse().unwrap();
        for host in ["a.test", "10.0.0.1", "[::1]"] {
            for private in [false, true] {
                let grant = HttpGrant {
                    tls: false,
                    host: host.into(),
                    port: 80,
                    path: String::new(),
                    private,
                    ca: None,
                };
                assert!(!grant.may_reach(address), "{host} ({private}) leads to {service}");
            }
        }
        assert_eq!(Reach::of(address), Reach::Link, "{service}");
    }
}

#[test]
fn no_name_leads_to_the_services_of_aws() {
    no_name_leads_to(&[
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "169.254.169.123",
        "169.254.169.253",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd00:ec2::123",
        "fd00:ec2::253",
    ]);
}

#[test]
fn no_name_leads_to_the_services_of_google() {
    no_name_leads_to(&["169.254.169.254", "fd20:ce::254"]);
}

#[test]
fn no_name_leads_to_the_services_of_azure() {
    no_name_leads_to(&["169.254.169.254", "168.63.129.16", "fe80::1234:5678:9abc"]);
}

#[test]
fn no_name_leads_to_the_services_of_oracle() {
    no_name_leads_to(&["169.254.169.254", "192.0.0.192", "fd00:c1::a9fe:a9fe"]);
}

#[test]
fn no_name_leads_to_the_services_of_alibaba_and_tencent() {
    no_name_leads_to(&["100.100.100.200", "169.254.0.23", "169.254.10.10"]);
}

#[test]
fn no_name_leads_to_the_services_of_other_clouds() {
    // Akamai, Scaleway, Rancher, OpenStack and those that follow it (DigitalOcean, Hetzner, IBM, OVH, Vultr).
    no_name_leads_to(&[
        "fd00:a9fe:a9fe::1",
        "169.254.42.42",
        "fd00:42::42",
        "169.254.169.250",
        "169.254.169.254",
        "fe80::a9fe:a9fe",
    ]);
}

#[test]
fn no_other_way_to_write_an_address_leads_to_the_services_of_a_cloud() {
    for service in ["169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "169.254.170.2"] {
        let v4: std::net::Ipv4Addr = service.parse().unwrap();
        let bits = u128::from(v4.to_bits());
        let v6 = |prefix: &str, embedded: u128| {
            let prefix: std::net::Ipv6Addr = prefix.parse().unwrap();
            std::net::Ipv6Addr::from_bits(prefix.to_bits() | embedded).to_string()
        };
        let (first, rest) = (bits >> 16, bits & 0xffff);
        let forms = [
            // Mapped, translated, compatible, NAT64, 6to4, Teredo's client and server.
            v6("::ffff:0:0", bits),
            v6("::ffff:0:0:0", bits),
            v6("::", bits),
            v6("64:ff9b::", bits),
            v6("2002::1", bits << 80),
            v6("2001::", bits ^ 0xffff_ffff),
            v6("2001::", bits << 64),
            // NAT64 in a network of one's own, whose prefix has 48, 56, 64 or 96 bits.
            v6("64:ff9b:1::", first << 64 | rest << 40),
            v6("64:ff9b:1:aa00::", (bits >> 24) << 64 | (bits & 0xff_ffff) << 32),
            v6("64:ff9b:1:aaaa::", bits << 24),
            v6("64:ff9b:1:aaaa::", bits),
        ];
        no_name_leads_to(&forms.each_ref().map(String::as_str));
    }
    // What such a form embeds is near at the most, if the translator is.
    for address in ["64:ff9b:1::8.8.8.8", "::8.8.8.8", "2001::8.8.8.8", "fd00::8.8.8.8", "fd00::a9fe:1"] {
        assert_eq!(Reach::of(address.parse().unwrap()), Reach::Private, "{address}");
    }
    assert_eq!(Reach::of("::ffff:0:8.8.8.8".parse().unwrap()), Reach::Public);
}
