use portcullis_http::{RequestHead, ResponseHead, Scheme};
use portcullis_model::{PathPattern, PathSegment, Redirect, RouteMatch, Template, TemplatePart as Part};

use super::redirect;

fn literal(text: &str) -> Part {
    Part::Literal(text.to_owned())
}

fn request(target: &str) -> RequestHead {
    let mut request = RequestHead::default();
    request.authority.push_str("a.test:8080");
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    request.set_target(path, query);
    request
}

/// The `Location` of `request` by a template, on a route for `/old/{id}/*`.
fn location(parts: &[Part], request: &RequestHead) -> Option<String> {
    let pattern = PathPattern {
        segments: vec![PathSegment::Literal("old".to_owned()), PathSegment::Parameter("id".to_owned())],
        rest: true,
    };
    let action = Redirect { status: 307, to: Template(parts.to_vec()) };
    let mut head = ResponseHead::default();
    let body =
        redirect(&action, &RouteMatch { path: pattern, ..RouteMatch::default() }, request, &mut head).ok()?;
    let location = String::from_utf8(head.fields.get(b"location").unwrap().to_vec()).unwrap();
    assert_eq!((head.status, body), (307, format!("307 Temporary Redirect\n{location}\n").into()));
    Some(location)
}

#[test]
fn variables_are_filled_in() {
    let found = |parts: &[Part], target: &str| location(parts, &request(target));
    let whole = [Part::Scheme, literal("://"), Part::Host, Part::Path, Part::Query];
    assert_eq!(found(&whole, "/old/1?a=b").as_deref(), Some("http://a.test/old/1?a=b"));
    assert_eq!(found(&whole, "/old/1?").as_deref(), Some("http://a.test/old/1?"));
    assert_eq!(found(&whole, "/old/1").as_deref(), Some("http://a.test/old/1"));
    let id = Part::Segment { name: "id".to_owned(), at: 1 };
    let parts = [literal("/new/"), id, Part::Rest];
    assert_eq!(found(&parts, "/old/7/x/y?q").as_deref(), Some("/new/7/x/y"));
    assert_eq!(found(&parts, "/old/7").as_deref(), Some("/new/7"));
    assert_eq!(found(&parts, "/old/7/").as_deref(), Some("/new/7/"));
}

#[test]
fn what_a_url_cannot_hold_is_encoded() {
    let query = [literal("/x"), Part::Query];
    assert_eq!(
        location(&query, &request("/old/1?a={b}|^`\\%7B")).as_deref(),
        Some("/x?a=%7Bb%7D%7C%5E%60%5C%7B")
    );
}

#[test]
fn a_path_never_becomes_the_name_of_a_server() {
    assert_eq!(location(&[Part::Path], &request("//evil.test/x")), None);
    assert_eq!(location(&[literal("/"), Part::Rest], &request("/old/1/evil.test")), None);
    let absolute = [literal("https://a.test"), Part::Path];
    assert_eq!(location(&absolute, &request("//evil.test")).as_deref(), Some("https://a.test//evil.test"));
}

#[test]
fn a_request_without_what_is_asked_for_is_not_redirected() {
    assert_eq!(location(&[Part::Path], &request("*")), None);
    let mut nameless = request("/old/1");
    nameless.authority.clear();
    nameless.scheme = Scheme::Https;
    assert_eq!(location(&[literal("https://"), Part::Host], &nameless), None);
    // A policy has changed the path.
    assert_eq!(location(&[literal("/x"), Part::Rest], &request("/elsewhere")), None);
}
