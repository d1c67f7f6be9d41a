use super::{has_port, validate_authority};

#[test]
fn takes_hosts_and_ports() {
    for authority in [
        "a",
        "a.example",
        "A.Example.",
        "a_b-c.1",
        "192.0.2.1",
        "a:0",
        "a:65535",
        "a:00080",
        "[::1]",
        "[2001:db8::1]:443",
        "[::ffff:192.0.2.1]",
        "xn--bcher-kva.example",
    ] {
        assert!(validate_authority(authority), "{authority:?}");
    }
}

#[test]
fn refuses_all_else() {
    for authority in [
        "",
        ":",
        ":80",
        "a:",
        "a:65536",
        "a:000080",
        "a:+1",
        "a:1 ",
        "a:b",
        "a:1:2",
        "user@a",
        "user:pw@a",
        "a/b",
        "a?b",
        "a#b",
        "a b",
        " a",
        "a\t",
        "a%41",
        "a,b",
        ".",
        ".a",
        "a..b",
        "a\\b",
        "\u{e9}",
        "::1",
        "[::1",
        "[::1]a",
        "[::1]:",
        "[::1]80",
        "[]",
        "[192.0.2.1]",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "[v1.x]",
        "a[::1]",
        "*",
        "a*",
        "a\0",
    ] {
        assert!(!validate_authority(authority), "{authority:?}");
    }
    assert!(validate_authority(&"a".repeat(255)));
    assert!(!validate_authority(&"a".repeat(262)));
}

#[test]
fn knows_a_port() {
    assert!(has_port("a:1") && has_port("[::1]:1"));
    assert!(!has_port("a") && !has_port("[::1]"));
}
