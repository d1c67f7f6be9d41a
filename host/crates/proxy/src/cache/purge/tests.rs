use portcullis_cache::store::Purge;

use super::{Extent, each_part, path_of_url};

fn check(url: &str, extent: Extent, expected: &[(bool, &str)]) {
    let mut parts = Vec::new();
    each_part(url.as_bytes(), extent, &mut |purge| {
        parts.push(match purge {
            Purge::Prefix(prefix) => (true, String::from_utf8_lossy(prefix).into_owned()),
            Purge::Url(url) => (false, String::from_utf8_lossy(url).into_owned()),
            Purge::Key(_) | Purge::Tag(_) => panic!("{purge:?}"),
        });
    });
    let expected: Vec<_> = expected.iter().map(|(is_prefix, url)| (*is_prefix, (*url).to_owned())).collect();
    assert_eq!(parts, expected, "{url}");
}

#[test]
fn a_prefix_ends_where_a_segment_ends() {
    let below = "https://a.test/a";
    check(below, Extent::Exactly, &[(false, below)]);
    check(below, Extent::Beginning, &[(true, below)]);
    check(below, Extent::Below, &[(false, below), (true, "https://a.test/a/"), (true, "https://a.test/a?")]);
    check("https://a.test/", Extent::Below, &[(true, "https://a.test/")]);
    check("https://a.test/a?b=", Extent::Below, &[(true, "https://a.test/a?b=")]);
}

#[test]
fn similar_urls_have_the_same_path() {
    for url in ["http://b.test/a/b", "https://[::1]:8443/a/b/", "https://a.test/a/b?c=/d"] {
        assert_eq!(path_of_url(url.as_bytes()), b"/a/b", "{url}");
    }
    assert_eq!(path_of_url(b"https://a.test/"), b"/");
}
