use proptest::prelude::*;

use super::{PathError, normalize_path, set_request_target};
use crate::RequestHead;

#[track_caller]
fn normal(path: &str, expected: &str) {
    let mut out = "left over".to_owned();
    assert_eq!(normalize_path(path, &mut out), Ok(()), "{path:?}");
    assert_eq!(out, expected, "{path:?}");
}

#[track_caller]
fn refused(path: &str, error: PathError) {
    let mut out = "left over".to_owned();
    assert_eq!(normalize_path(path, &mut out), Err(error), "{path:?}");
    assert_eq!(out, "left over");
}

#[test]
fn leaves_normal_paths_alone() {
    for path in [
        "/",
        "/a",
        "/a/",
        "/a/b.c/d",
        "/.well-known/x",
        "/...",
        "/a/..b",
        "/a/b..",
        "/a;p=1/b",
        "/!$&'()*+,;=:@-._~",
        "/%20%C3%A9%25",
        "/%252e%252e/",
        "/a..;x",
    ] {
        normal(path, path);
    }
}

/// RFC 3986, 6.2.2.
#[test]
fn decodes_what_needs_no_encoding_and_nothing_else() {
    normal("/%41%7a%30%2D%2e%5F%7E", "/Az0-._~");
    normal("/%c3%a9%3f%23%3b%26", "/%C3%A9%3F%23%3B%26");
    normal("/a|b^{c}[d]`\"<>", "/a%7Cb%5E%7Bc%7D%5Bd%5D%60%22%3C%3E");
    // Once, not twice.
    normal("/%2541", "/%2541");
    normal("/%252E%252E/a", "/%252E%252E/a");
}

#[test]
fn merges_slashes() {
    normal("//", "/");
    normal("//a", "/a");
    normal("/a///b//", "/a/b/");
}

/// RFC 3986, 5.2.4, after decoding.
#[test]
fn removes_dot_segments() {
    normal("/.", "/");
    normal("/./", "/");
    normal("/a/.", "/a/");
    normal("/a/./b", "/a/b");
    normal("/a/..", "/");
    normal("/a/../", "/");
    normal("/a/b/../../c", "/c");
    normal("/a/b/..", "/a/");
    normal("/a/%2e%2E/b", "/b");
    normal("/a/.%2e/b/%2e", "/b/");
    // Empty segments are no segments: otherwise `..` would take one of them back.
    normal("/a//../b", "/b");
    normal("/a/..//b", "/b");
}

#[test]
fn refuses_what_leads_above_the_root() {
    for path in ["/..", "/../", "/../a", "/a/../..", "/a/../../b", "/%2e%2e/a", "/./..", "//../a"] {
        refused(path, PathError::AboveRoot);
    }
}

#[test]
fn refuses_dot_segments_with_parameters() {
    for path in ["/..;/a", "/a/..;x=1/b", "/.;/a", "/a/%2e%2e;/b", "/a/..;"] {
        refused(path, PathError::DotParameters);
    }
}

#[test]
fn refuses_what_an_upstream_may_decode_differently() {
    for path in ["/a%2fb", "/a%2Fb", "/%5c", "/%5C..%5Ca"] {
        refused(path, PathError::EncodedSeparator);
    }
    for path in [
        "/a\\b",
        "/a b",
        "/a\tb",
        "/a\0",
        "/a\u{7f}",
        "/a%00",
        "/a%0d%0aX:y",
        "/a%7F",
        "/\u{e9}",
        "/a#b",
        "/a?b",
    ] {
        refused(path, PathError::Character);
    }
    for path in ["/%", "/%4", "/%4g", "/%g4", "/a%%32e", "/%2", "/%u002e", "/%+1"] {
        refused(path, PathError::PercentEncoding);
    }
    for path in ["", "a", "a/b", "*", "http://a/", "\\a", "?a", "%2Fa"] {
        refused(path, PathError::NotAbsolute);
    }
}

#[test]
fn sets_the_target_of_a_request() {
    let mut head = RequestHead::default();
    set_request_target(&mut head, "/a/../b?x=/../%2f&y?z").unwrap();
    assert_eq!((head.path(), head.query(), head.target()), ("/b", Some("x=/../%2f&y?z"), "/b?x=/../%2f&y?z"));
    for (target, error) in [
        ("/c#", PathError::Character),
        ("/c?a#b", PathError::Query),
        ("/c?a b", PathError::Query),
        ("/c?\u{e9}", PathError::Query),
    ] {
        assert_eq!(set_request_target(&mut head, target), Err(error));
        assert_eq!(head.target(), "/b?x=/../%2f&y?z");
    }
    set_request_target(&mut head, "/?").unwrap();
    assert_eq!((head.path(), head.query(), head.target()), ("/", Some(""), "/?"));
    set_request_target(&mut head, "/a").unwrap();
    assert_eq!((head.path(), head.query(), head.target()), ("/a", None, "/a"));
}

proptest! {
    #[test]
    fn is_idempotent_and_leaves_nothing_to_remove(
        path in prop_oneof![
            "/[a./%;|\\\\-]{0,24}",
            "(/|\\.|%2e|%2E|%41|%c3|%25|%2f|a|;|\\{){0,16}".prop_map(|path| format!("/{path}")),
            ".{0,24}",
        ],
    ) {
        let mut once = String::new();
        if normalize_path(&path, &mut once).is_ok() {
            let mut twice = String::new();
            prop_assert_eq!(normalize_path(&once, &mut twice), Ok(()));
            prop_assert_eq!(&once, &twice);
            prop_assert!(once.starts_with('/') && !once.contains("//"));
            prop_assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
            prop_assert!(once.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\#?".contains(&byte)));
        }
    }
}

/// What HTTP/2 cannot carry everywhere is encoded, and nothing else of a query.
#[test]
fn encodes_in_a_query_what_not_every_peer_can_be_sent() {
    let mut head = RequestHead::default();
    set_request_target(&mut head, "/?q=\"<a>\"&x[]=|^`{}'%22%zz").unwrap();
    assert_eq!(head.target(), "/?q=%22%3Ca%3E%22&x[]=|^`{}'%22%zz");
    assert_eq!(head.query(), Some("q=%22%3Ca%3E%22&x[]=|^`{}'%22%zz"));
    let once = head.target().to_owned();
    set_request_target(&mut head, &once).unwrap();
    assert_eq!(head.target(), once);
}

#[test]
fn refuses_targets_that_not_every_peer_can_be_sent_for_their_length() {
    let mut head = RequestHead::default();
    for (path, grown) in [("a", 1), ("?<", 3), ("<", 3)] {
        let (start, unit) = path.split_at(path.len() - 1);
        let most = (65_534 - 1 - start.len()) / grown;
        set_request_target(&mut head, &format!("/{start}{}", unit.repeat(most))).unwrap();
        let before = head.target().to_owned();
        let longer = format!("/{start}{}", unit.repeat(most + 1));
        assert_eq!(set_request_target(&mut head, &longer), Err(PathError::TooLong), "{path}");
        assert_eq!(head.target(), before, "{path}");
    }
}
