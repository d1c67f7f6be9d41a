use portcullis_http::Scheme;

use super::{Extent, TypedUrl, UrlError};

fn check(text: &str, schemes: usize, authority: &str, target: &str) {
    let url = TypedUrl::parse(text).unwrap();
    assert_eq!((url.schemes.len(), &*url.authority, &*url.target), (schemes, authority, target), "{text}");
}

#[test]
fn a_url_is_read_as_people_write_it() {
    check("https://a.test/b?c", 1, "a.test", "/b?c");
    check("HTTP://A.test:80", 1, "A.test:80", "/");
    check("a.test/b", 2, "a.test", "/b");
    check("//a.test?b", 2, "a.test", "/?b");
    check("https://[::1]:8443/", 1, "[::1]:8443", "/");
    check("a.test/ü b", 2, "a.test", "/%C3%BC%20b");
    check("a.test/?to=https://b.test/", 2, "a.test", "/?to=https://b.test/");
    assert_eq!(TypedUrl::parse("http://a.test/").unwrap().schemes, [Scheme::Http]);
}

#[test]
fn what_is_no_url_is_refused_with_the_reason() {
    for (text, expected) in [
        ("/path", UrlError::NoHost),
        ("", UrlError::NoHost),
        ("https:///a", UrlError::NoHost),
        ("ftp://a.test/", UrlError::Scheme),
        ("https://user@a.test/", UrlError::Host("user@a.test".to_owned())),
        ("a b", UrlError::Host("a b".to_owned())),
        ("a\n/", UrlError::Host("a\\n".to_owned())),
        ("https://a.test/#top", UrlError::Fragment),
        ("https://a.test/*", UrlError::Star),
    ] {
        assert_eq!(TypedUrl::parse(text), Err(expected), "{text:?}");
    }
    assert_eq!(TypedUrl::parse(&"a".repeat(9000)), Err(UrlError::TooLong));
}

#[test]
fn a_prefix_ends_with_a_segment_or_with_a_star() {
    let extent = |text| TypedUrl::parse_prefix(text).unwrap().extent;
    assert_eq!(extent("a.test/a"), Extent::Below);
    assert_eq!(extent("a.test/a*"), Extent::Beginning);
}
