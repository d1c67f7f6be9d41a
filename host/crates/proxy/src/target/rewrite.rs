//! Changes a request before it is sent to an upstream.

use portcullis_http::{RequestHead, set_request_target};
use portcullis_model::{PathPattern, RequestFilter};

use super::template::fill;
use crate::error::ExchangeError;

/// Applies `filters` in order to a request that the policies have permitted, on a route with the path `pattern`. A path
/// that a policy has changed so that `pattern` does not take it any more stays as the policy wrote it.
///
/// # Errors
/// If the new path is not one that a client could ask for.
pub(crate) fn rewrite(
    filters: &[RequestFilter],
    pattern: &PathPattern,
    request: &mut RequestHead,
) -> Result<(), ExchangeError> {
    for RequestFilter::Path(template) in filters {
        let Some(mut target) = fill(template, pattern, request) else { continue };
        if target.is_empty() {
            target.push('/');
        }
        if let Some(query) = request.query() {
            target.push('?');
            target.push_str(query);
        }
        // It is read as a client's is, so that what is forwarded is in normal form whatever the template made of it.
        set_request_target(request, &target).map_err(ExchangeError::Rewritten)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use portcullis_model::{PathSegment, Template, TemplatePart as Part};

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
        let filters = [RequestFilter::Path(Template(parts.to_vec()))];
        let done = rewrite(&filters, &pattern, &mut request);
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
    fn what_comes_out_is_in_normal_form_or_refused() {
        check(&[literal("/v2//"), Part::Rest], "/api/7/a", Some("/v2/a"));
        check(&[literal("/.."), Part::Rest], "/api/7/a", None);
        check(&[literal("/v2/..;x"), Part::Rest], "/api/7/a", None);
        check(&[literal("/a%2Fb")], "/api/7", None);
        check(&[literal("/a\r\nx: y")], "/api/7", None);
    }
}
