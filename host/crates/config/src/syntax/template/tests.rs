use portcullis_model::{HostPattern, PathPattern, PathSegment, Pattern, RouteMatch, Scope};

use super::{check_location, check_path, template, value_template};

/// The path of the route is `/t/{id}/*`.
fn check(text: &str) -> Result<String, String> {
    let pattern = PathPattern {
        segments: vec![PathSegment::Literal("t".to_owned()), PathSegment::Parameter("id".to_owned())],
        rest: true,
    };
    let matches = RouteMatch { path: pattern, ..RouteMatch::default() };
    let parsed =
        template(text, Scope::of(&matches)).and_then(|parsed| check_location(&parsed).map(|()| parsed));
    parsed.map(|parsed| parsed.to_string()).map_err(|(label, _)| label)
}

#[test]
fn urls_and_paths_are_read_as_they_are_written() {
    for text in [
        "https://{host}{path}{query}",
        "http://www.{host}:8443/x",
        "{scheme}://{host}{rest}",
        "https://a.test",
        "https://[::1]:80/{id}#top",
        "https://a.test?from={id}",
        "/",
        "/new/{id}{rest}{query}",
        "{path}/",
    ] {
        assert_eq!(check(text).as_deref(), Ok(text), "{text}");
    }
}

#[test]
fn only_the_operator_names_the_server() {
    for text in [
        "//evil.test",
        "https://{id}.test/",
        "https://a.test{id}",
        "https://{scheme}/",
        "https:///x",
        "https://a.test/{path}",
        "/{rest}",
        "https://:80/",
        "https://",
        "https://user@a.test/",
        "{scheme}{host}",
        "{rest}",
        "{query}",
        "javascript:alert(1)",
        "a.test/x",
    ] {
        assert!(check(text).is_err(), "{text}");
    }
}

#[test]
fn a_rewritten_path_is_a_path_in_normal_form() {
    let pattern = PathPattern { segments: vec![PathSegment::Parameter("id".to_owned())], rest: true };
    let matches = RouteMatch { path: pattern, ..RouteMatch::default() };
    let is_path =
        |text: &str| template(text, Scope::of(&matches)).and_then(|parsed| check_path(&parsed)).is_ok();
    for text in ["/", "/v2{rest}", "{rest}", "/a{path}", "{path}", "/{id}/x", "/a%20b/"] {
        assert!(is_path(text), "{text}");
    }
    for text in [
        "v2{rest}",
        "{id}",
        "/a?b",
        "/a#b",
        "/{host}",
        "/x{query}",
        "/../x",
        "/a//b",
        "/./{id}",
        "/%41",
        "/a%2fb",
    ] {
        assert!(!is_path(text), "{text}");
    }
}

#[test]
fn what_no_url_can_hold_is_refused() {
    for text in
        ["/a b", "/a\r\nx: y", "/ä", "/{", "/}", "/{}", "/{nothing}", "/$host", "/a\\b", "/\"", "/\u{7f}"]
    {
        assert!(check(text).is_err(), "{text}");
    }
}

#[test]
fn the_value_of_a_field_may_hold_braces_that_enclose_no_name() {
    let pattern = PathPattern { segments: vec![PathSegment::Parameter("id".to_owned())], rest: false };
    let matches = RouteMatch { path: pattern, ..RouteMatch::default() };
    let read =
        |text: &str| value_template(text, Scope::of(&matches)).map(|read| (read.to_string(), read.0.len()));
    for (text, parts) in [
        ("plain", 1),
        ("{id}", 1),
        ("a {id} b{path}", 4),
        ("{\"a\":{\"b\":[{}]}}", 1),
        ("{{id}}", 3),
        ("{ id }", 1),
        ("costs 5$, and 3 $", 1),
        ("{", 1),
    ] {
        assert_eq!(read(text), Ok((text.to_owned(), parts)), "{text}");
    }
    for text in ["{rest}", "{unknown}", "$remote_addr", "x $host"] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn groups_of_expressions_are_variables() {
    let regex = |text: &str| Pattern::new(text).unwrap();
    let hosts = [r"^(?<user>[a-z]+)\.a\.test$", r"^(?<user>[a-z]+)\.(?<zone>b)\.test$"];
    let matches = RouteMatch {
        hosts: hosts.map(|host| HostPattern::Regex(regex(host))).to_vec(),
        path_regex: Some(regex("^/(?<lang>[a-z]+)/([0-9]+)")),
        ..RouteMatch::default()
    };
    let scope = Scope::of(&matches);
    let location = |text: &str| template(text, scope).and_then(|to| check_location(&to)).is_ok();
    for text in ["https://{user}.c.test/{lang}/{2}{query}", "/{user}/{1}"] {
        assert!(location(text), "{text}");
    }
    // Of the groups of the host, only those that each host has; of the path's, none in the name of the server.
    for text in ["/{zone}", "/{3}", "/{0}", "https://{lang}.c.test/"] {
        assert!(!location(text), "{text}");
    }
    let own = regex("^/x(/.*)$");
    let rule = Scope { regex: Some(&own), ..scope };
    let path = |text: &str, scope| template(text, scope).and_then(|path| check_path(&path)).is_ok();
    assert!(path("{1}", rule) && path("/y{1}", rule) && path("/{lang}/{2}", scope));
    assert!(!path("/{lang}", rule) && !path("/{user}", scope));
}
