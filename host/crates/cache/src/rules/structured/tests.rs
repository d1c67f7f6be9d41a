use proptest::prelude::*;

use super::{Value, dictionary, read_targeted};
use crate::rules::directives::{ResponseDirectives, SECONDS_MAX};

fn read(lines: &[&str]) -> Option<ResponseDirectives> {
    read_targeted(lines.iter().map(|line| line.as_bytes()))
}

#[test]
fn rfc_9213_section_2_1_lifetimes() {
    for (line, expected) in [
        ("max-age=3600", 3600),
        ("foobar, max-age=3600", 3600),
        ("max-age=3600;a=1;b", 3600),
        ("max-age=2147483648", SECONDS_MAX),
        ("max-age=99999999999", SECONDS_MAX),
        ("max-age=0", 0),
        ("max-age=-5", 0),
        // The last of several counts here, unlike in Cache-Control (RFC 9651, 4.2.2).
        ("max-age=1, max-age=2", 2),
        ("x=(1 \"a\" b;c=?0);d, max-age=3600", 3600),
        ("x=:YQ==:, y=1.5, z=@12, a=%\"f%c3\", b=*t/x, max-age=3600", 3600),
    ] {
        assert_eq!(read(&[line]).and_then(|read| read.max_age), Some(expected), "{line}");
    }
    assert_eq!(
        read(&["no-cache", "max-age=5"]).map(|read| (read.no_cache, read.max_age)),
        Some((true, Some(5)))
    );
}

#[test]
fn rfc_9213_section_2_1_an_invalid_field_is_ignored_as_a_whole() {
    for line in [
        "",
        " ",
        "max-age=10000, &&&&&",
        "max-age=\"10000\"",
        "max-age",
        "max-age=1.5",
        "max-age =100",
        "max-age= 100",
        "MaX-aGe=3600",
        "max-age=1000000000000000",
        "max-age=1,",
        ",max-age=1",
        "max-age=1 no-store",
        "no-store=1",
        "no-store=\"\"",
        "public=yes",
        "private=(a b)",
        "x=(a",
        "x=(a\"b\")",
        "x=\"a",
        "x=\"\\a\"",
        "x=\"\u{fc}\"",
        "x=?2",
        "x=1.",
        "x=1.2345",
        "x=-",
        "x=:a",
        "x=@a",
        "x=;a",
        "x;A=1",
        "a=1;",
    ] {
        assert_eq!(read(&[line]), None, "{line}");
    }
    assert_eq!(read(&[]), None);
}

#[test]
fn rfc_9213_section_2_1_flags_and_field_lists() {
    let all = read(&[
        "no-store, no-cache, private, public, must-revalidate, proxy-revalidate, must-understand, immutable",
    ]);
    let all = all.unwrap();
    assert!(all.no_store && all.no_cache && all.private && all.public && all.must_revalidate);
    assert!(all.proxy_revalidate && all.must_understand && all.immutable);
    assert_eq!(read(&["no-store=?0"]), Some(ResponseDirectives::default()));
    let named = read(&["private=\"A, b\", no-cache=\"c\""]).unwrap();
    assert_eq!((named.private, named.private_fields), (false, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!((named.no_cache, named.no_cache_fields), (false, vec!["c".to_owned()]));
    assert!(read(&["private=\"a b\""]).unwrap().private, "restrictive if it is no list of names");
    let windows = read(&["stale-while-revalidate=1, stale-if-error=2, s-maxage=3"]).unwrap();
    assert_eq!(
        (windows.stale_while_revalidate, windows.stale_if_error, windows.s_maxage),
        (Some(1), Some(2), Some(3))
    );
}

#[test]
fn rfc_9651_section_4_2_5_strings() {
    let members = dictionary(b"a=\"x\\\"\\\\y, \"").unwrap();
    assert_eq!(members, [(b"a".to_vec(), Value::Text(b"x\"\\y, ".to_vec()))]);
}

proptest! {
    #[test]
    fn reads_any_bytes(line in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Some(read) = read_targeted(std::iter::once(line.as_slice())) {
            prop_assert!(read.max_age.unwrap_or(0) <= SECONDS_MAX);
        }
    }

    #[test]
    fn reads_what_nearly_is_a_dictionary(line in "([a-z*=?01\"(); ,:.\\-@%\\\\]{0,4},? ?){0,8}") {
        if let Some(members) = dictionary(line.as_bytes()) {
            prop_assert!(members.iter().all(|(key, _)| !key.is_empty()));
        }
    }
}
