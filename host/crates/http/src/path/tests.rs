use proptest::prelude::*;

use portcullis_model::PathRules;

use super::{
    EncodedSlash, PathError, PathReading, normalize_path, read_path, set_client_target, set_request_target,
};
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

const KEEPS_SLASH: PathRules = PathRules { keeps_encoded_slash: true, keeps_empty_segments: false };
const KEEPS_EMPTY: PathRules = PathRules { keeps_encoded_slash: false, keeps_empty_segments: true };

#[track_caller]
fn read(path: &str, reading: impl Into<PathReading>, expected: Result<&str, PathError>) {
    let mut out = String::new();
    let result = read_path(path, reading.into(), &mut out).map(|()| out.as_str());
    assert_eq!(result, expected, "{path:?}");
}

#[test]
fn keeps_an_encoded_slash_as_a_character_of_its_segment() {
    for (path, expected) in [
        ("/@scope%2fname", "/@scope%2Fname"),
        ("/a%2F%2fb", "/a%2F%2Fb"),
        ("/%2F", "/%2F"),
        ("/api/queues/%2F/name", "/api/queues/%2F/name"),
        ("/a//b%2fc/./d/../e", "/a/b%2Fc/e"),
        ("/%2F.a/..b%2f...", "/%2F.a/..b%2F..."),
        ("/%252F..", "/%252F.."),
    ] {
        read(path, KEEPS_SLASH, Ok(expected));
    }
    for path in ["/%5c", "/a%5C..%5Cb"] {
        read(path, PathRules::LENIENT, Err(PathError::EncodedSeparator));
    }
}

/// What a server that decodes the slashes would walk out of the segment by.
#[test]
fn refuses_dot_segments_beside_encoded_slashes_under_any_rules() {
    for path in [
        "/..%2Fadmin",
        "/a%2f..%2fadmin",
        "/a%2F..",
        "/%2F..",
        "/%2f%2e%2E/x",
        "/a/..%2F..%2Fadmin",
        "/a%2F.%2Fb",
        "/.%2Fa",
        "/a%2F..;x",
        "/a%2F..;x%2Fb",
        "/a%2Fb/../c",
        "/a%2Fb/%2e%2e/c",
        "/%2F/..",
    ] {
        for rules in [KEEPS_SLASH, PathRules::LENIENT] {
            read(path, rules, Err(PathError::EncodedSeparator));
        }
        refused(path, PathError::EncodedSeparator);
    }
}

#[test]
fn keeps_empty_segments() {
    for (path, expected) in [
        ("//", "//"),
        ("//a", "//a"),
        ("/a///b//", "/a///b//"),
        ("/a//./b", "/a//b"),
        ("/a/../b//c", "/b//c"),
        ("/a/..//b", "//b"),
        ("/s3/key//part", "/s3/key//part"),
    ] {
        read(path, KEEPS_EMPTY, Ok(expected));
    }
    // A server that merges slashes first takes back another segment than one that does not.
    for path in ["/a//..", "/a//../b", "//../a", "/a///../../b", "/a//%2e%2e/b"] {
        read(path, KEEPS_EMPTY, Err(PathError::EmptySegment));
    }
    read("/a//b/../..", KEEPS_EMPTY, Err(PathError::EmptySegment));
    read("/../a", KEEPS_EMPTY, Err(PathError::AboveRoot));
    read("/a%2Fb//c", KEEPS_EMPTY, Err(PathError::EncodedSeparator));
    read("/a%2fb//c", PathRules::LENIENT, Ok("/a%2Fb//c"));
}

#[test]
fn reads_a_path_as_other_servers_might() {
    let reading = |keeps_empty_segments, drops_parameters| PathReading {
        encoded_slash: EncodedSlash::Decoded,
        keeps_empty_segments,
        drops_parameters,
    };
    read("/a%2Fb%2f%2Fc", reading(false, false), Ok("/a/b/c"));
    read("/a%2Fb%2f%2Fc", reading(true, false), Ok("/a/b//c"));
    read("/%2F/x", reading(false, false), Ok("/x"));
    read("/admin;x=1/b;y", reading(false, true), Ok("/admin/b"));
    read("/;/admin", reading(false, true), Ok("/admin"));
    read("/a;p%2Fadmin;q", reading(false, true), Ok("/a/admin"));
    read("/a/..;/b", reading(false, true), Err(PathError::DotParameters));
}

#[test]
fn a_clients_path_is_kept_as_it_was_written_if_a_route_may_choose_its_form() {
    let mut head = RequestHead::default();
    for (target, path, written) in [
        ("/a%2fb?q=%2f//", "/a%2Fb", Some("/a%2fb")),
        ("/a//b", "/a/b", Some("/a//b")),
        ("/a/./b?x=//", "/a/b", None),
        ("/%2f", "/%2F", Some("/%2f")),
    ] {
        head.clear();
        set_client_target(&mut head, target).unwrap();
        assert_eq!((head.path(), head.written_path()), (path, written), "{target}");
    }
    head.set_path("/longer/than/before");
    assert_eq!((head.target(), head.query()), ("/longer/than/before", None));
    set_client_target(&mut head, "/a%2fb?q").unwrap();
    head.set_path("/c");
    assert_eq!((head.target(), head.path(), head.query()), ("/c?q", "/c", Some("q")));
    // A policy's edit is read by the rules of the route.
    assert_eq!(set_request_target(&mut head, "/a%2Fb//c"), Err(PathError::EncodedSeparator));
    head.path_rules = PathRules::LENIENT;
    set_request_target(&mut head, "/a%2fb//c?q").unwrap();
    assert_eq!(head.target(), "/a%2Fb//c?q");
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
        for rules in [PathRules::default(), KEEPS_SLASH, KEEPS_EMPTY, PathRules::LENIENT] {
            let (mut once, mut twice) = (String::new(), String::new());
            if read_path(&path, rules.into(), &mut once).is_ok() {
                prop_assert_eq!(read_path(&once, rules.into(), &mut twice), Ok(()));
                prop_assert_eq!(&once, &twice);
                prop_assert!(once.starts_with('/'));
                prop_assert!(rules.keeps_empty_segments || !once.contains("//"));
                prop_assert!(rules.keeps_encoded_slash || !once.contains("%2F"));
                // However a server splits it.
                let segments = once.replace("%2F", "/");
                prop_assert!(segments.split('/').all(|segment| segment != "." && segment != ".."));
                prop_assert!(once.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\#?".contains(&byte)));
            }
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
