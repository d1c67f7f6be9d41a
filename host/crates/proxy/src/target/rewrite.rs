//! Changes a request before it is sent to an upstream.

use portcullis_http::{RequestHead, set_request_target};
use portcullis_model::{FieldChange, FieldEdit, PathRewrite, RequestFilter, RouteMatch, Scope, Template};

use super::template::{fill, rewritten};
use crate::error::ExchangeError;

/// Applies `filters` in order to a request that the policies have permitted, on a route that matches `matches`.
///
/// # Errors
/// If the new path is not one that a client could ask for, or the fields find no room.
pub(crate) fn rewrite(
    filters: &[RequestFilter],
    matches: &RouteMatch,
    request: &mut RequestHead,
) -> Result<(), ExchangeError> {
    filters.iter().try_for_each(|filter| match filter {
        RequestFilter::Field(edit) => edit_field(edit, matches, request),
        RequestFilter::Path(path) => rewrite_path(path, matches, request),
    })
}

/// Applies those of `filters` that replace the path, to a request for a URL that is not forwarded.
///
/// # Errors
/// If the new path is not one that a client could ask for.
pub(crate) fn rewrite_only_path(
    filters: &[RequestFilter],
    matches: &RouteMatch,
    request: &mut RequestHead,
) -> Result<(), ExchangeError> {
    filters.iter().try_for_each(|filter| match filter {
        RequestFilter::Field(_) => Ok(()),
        RequestFilter::Path(path) => rewrite_path(path, matches, request),
    })
}

/// Replaces the path. One that a policy has changed so that the route does not take it any more stays as the policy
/// wrote it.
fn rewrite_path(
    path: &PathRewrite,
    matches: &RouteMatch,
    request: &mut RequestHead,
) -> Result<(), ExchangeError> {
    let Some(mut target) = rewritten(path, matches, request) else { return Ok(()) };
    if target.is_empty() {
        target.push('/');
    }
    if let Some(query) = request.query() {
        target.push('?');
        target.push_str(query);
    }
    // It is read as a client's is, so that what is forwarded is in normal form whatever the template made of it.
    set_request_target(request, &target).map_err(ExchangeError::Rewritten)
}

/// Changes a field. A value of which a variable has none is left out; then a client's own line does not stand in for it
/// either.
fn edit_field(
    edit: &FieldEdit<Template>,
    matches: &RouteMatch,
    request: &mut RequestHead,
) -> Result<(), ExchangeError> {
    let name = edit.name.as_bytes();
    let (value, replaces) = match &edit.change {
        FieldChange::Remove => (None, true),
        FieldChange::Set(value) => (fill(value, Scope::of(matches), request), true),
        FieldChange::Add(value) => (fill(value, Scope::of(matches), request), false),
    };
    let Some(value) = value else {
        if replaces {
            request.fields.remove(name);
        }
        return Ok(());
    };
    // An empty variable may have left a blank at an end.
    let value = value.trim_matches([' ', '\t']).as_bytes();
    let fields = &mut request.fields;
    let done = if replaces { fields.set(name, value) } else { fields.append(name, value) };
    done.map_err(|_| ExchangeError::HeadTooLarge)
}

#[cfg(test)]
mod tests {
    use portcullis_model::{PathPattern, PathSegment, Pattern, Template, TemplatePart as Part};

    use super::*;

    /// The target that is forwarded on a route for `/api/{id}/*`.
    fn check(parts: &[Part], target: &str, expected: Option<&str>) {
        let pattern = PathPattern {
            segments: vec![PathSegment::Literal("api".to_owned()), PathSegment::Parameter("id".to_owned())],
            rest: true,
        };
        let mut request = RequestHead::default();
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        request.set_target(path, query);
        let filters = [RequestFilter::Path(PathRewrite::To(Template(parts.to_vec())))];
        let matches = RouteMatch { path: pattern, ..RouteMatch::default() };
        let done = rewrite(&filters, &matches, &mut request);
        assert_eq!(done.is_ok().then(|| request.target()), expected, "{target}");
    }

    fn literal(text: &str) -> Part {
        Part::Literal(text.to_owned())
    }

    #[test]
    fn the_query_stays_and_the_path_is_replaced() {
        check(&[Part::Rest], "/api/7/a%20b?q=1", Some("/a%20b?q=1"));
        check(&[Part::Rest], "/api/7/", Some("/"));
        check(&[Part::Rest], "/api/7?", Some("/?"));
        let id = Part::Segment { name: "id".to_owned(), at: 1 };
        check(&[literal("/v2/"), id, literal("/x"), Part::Rest], "/api/7/y", Some("/v2/7/x/y"));
        check(&[literal("/all"), Part::Path], "/api/7/y", Some("/all/api/7/y"));
    }

    #[test]
    fn a_path_that_is_not_the_routes_any_more_stays() {
        check(&[Part::Rest], "/elsewhere?q", Some("/elsewhere?q"));
        check(&[literal("/x"), Part::Path], "*", Some("*"));
    }

    #[test]
    fn fields_are_set_added_and_removed_in_order() {
        let pattern = PathPattern { segments: vec![PathSegment::Literal("api".to_owned())], rest: true };
        let edit = |name: &str, change| RequestFilter::Field(FieldEdit { name: name.to_owned(), change });
        let filters = [
            edit("x-gone", FieldChange::Remove),
            edit("x-path", FieldChange::Set(Template(vec![Part::Path]))),
            edit("x-rest", FieldChange::Set(Template(vec![Part::Rest]))),
            edit("x-host", FieldChange::Set(Template(vec![Part::Host]))),
            edit("x-list", FieldChange::Add(Template(vec![literal("of "), Part::Query]))),
            edit("x-list", FieldChange::Add(Template(vec![Part::Host]))),
            RequestFilter::Path(PathRewrite::To(Template(vec![literal("/new")]))),
        ];
        let mut request = RequestHead::default();
        request.set_target("/api/a", None);
        for name in ["x-gone", "x-path", "x-path", "x-host", "x-list", "x-gone"] {
            request.fields.append(name.as_bytes(), b"client").unwrap();
        }
        let matches = RouteMatch { path: pattern, ..RouteMatch::default() };
        rewrite(&filters, &matches, &mut request).unwrap();
        let fields: Vec<(&str, &[u8])> =
            request.fields.iter().map(|(_, name, value)| (name, value)).collect();
        // There is no host, so that the fields with one are left out.
        let expected: [(&str, &[u8]); 4] =
            [("x-path", b"/api/a"), ("x-list", b"client"), ("x-rest", b"/a"), ("x-list", b"of")];
        assert_eq!((fields.as_slice(), request.target()), (expected.as_slice(), "/new"));
    }

    #[test]
    fn the_first_expression_that_is_found_rewrites() {
        let group = |group: usize| Part::PathGroup { name: group.to_string(), group };
        let rule = |regex: &str, parts: &[Part]| (Pattern::new(regex).unwrap(), Template(parts.to_vec()));
        let filters = [RequestFilter::Path(PathRewrite::First(vec![
            rule("^/old(/.*)$", &[group(1)]),
            rule("^/(a|b)/([0-9]+)$", &[literal("/"), group(2), literal("/"), group(1), Part::Path]),
            rule("^/bad(.*)$", &[group(1)]),
        ]))];
        for (path, expected) in [
            ("/old/x/y", Some("/x/y?q")),
            ("/b/7", Some("/7/b/b/7?q")),
            ("/old", Some("/old?q")),
            ("/bad", Some("/?q")),
            ("/badly", None),
        ] {
            let mut request = RequestHead::default();
            request.set_target(path, Some("q"));
            let done = rewrite(&filters, &RouteMatch::default(), &mut request);
            assert_eq!(done.is_ok().then(|| request.target()), expected, "{path}");
        }
    }

    #[test]
    fn what_comes_out_is_in_normal_form_or_refused() {
        check(&[literal("/v2//"), Part::Rest], "/api/7/a", Some("/v2/a"));
        check(&[literal("/.."), Part::Rest], "/api/7/a", None);
        check(&[literal("/v2/..;x"), Part::Rest], "/api/7/a", None);
        check(&[literal("/a%2Fb")], "/api/7", None);
        check(&[literal("/a\r\nx: y")], "/api/7", None);
    }
}
