//! Fills in the templates of a route from a request.

use portcullis_http::RequestHead;
use portcullis_model::{PathRewrite, RouteMatch, Scope, Template, TemplatePart, canonical_host};

/// Returns `template` with the variables that `request` gives them, or `None` if one of them has no value: a request
/// without a host or without a path, or one whose path a policy has changed so that the route does not take it any
/// more.
///
/// Of the host and the path nothing is encoded, since they are in a form that any part of a URL can hold. Of the query,
/// which stays as the client wrote it, the characters are that RFC 3986 does not allow in one.
pub(super) fn fill(template: &Template, scope: Scope<'_>, request: &RequestHead) -> Option<String> {
    let pattern = &scope.matches.path;
    let path = request.path();
    let mut out = String::new();
    for part in &template.0 {
        match part {
            TemplatePart::Literal(text) => out.push_str(text),
            TemplatePart::Scheme => out.push_str(request.scheme.as_str()),
            TemplatePart::Host if request.host().is_empty() => return None,
            TemplatePart::Host => out.push_str(request.host()),
            TemplatePart::Path if !path.starts_with('/') => return None,
            TemplatePart::Path => out.push_str(path),
            TemplatePart::Rest | TemplatePart::Segment { .. } if !pattern.matches(path) => return None,
            TemplatePart::Rest => out.push_str(pattern.rest_of(path)),
            TemplatePart::Segment { at, .. } => out.push_str(path.split('/').nth(at + 1)?),
            TemplatePart::PathGroup { group, .. } => out.push_str(scope.path_regex()?.capture(path, *group)?),
            TemplatePart::HostGroup(name) => out.push_str(&host_group(scope, name, request.host())?),
            TemplatePart::Query => {
                let Some(query) = request.query() else { continue };
                out.push('?');
                for letter in query.chars() {
                    match letter {
                        '\\' | '^' | '`' | '{' | '|' | '}' => {
                            out.push_str(&format!("%{:02X}", u32::from(letter)));
                        }
                        _ => out.push(letter),
                    }
                }
            }
        }
    }
    Some(out)
}

/// Returns what the group `name` took of the host, in the first expression of the route that takes it.
fn host_group(scope: Scope<'_>, name: &str, host: &str) -> Option<String> {
    let host = canonical_host(host);
    let regexes = scope.host_regexes()?;
    let regex = regexes.into_iter().find(|regex| regex.is_in(host.as_bytes()))?;
    regex.capture(&host, regex.group(name)?).map(str::to_owned)
}

/// Returns the path that takes the place of that of `request`, on a route that matches `matches`; `None` if it stays.
pub(super) fn rewritten(
    rewrite: &PathRewrite,
    matches: &RouteMatch,
    request: &RequestHead,
) -> Option<String> {
    match rewrite {
        PathRewrite::To(path) => fill(path, Scope::of(matches), request),
        PathRewrite::First(rules) => {
            let (regex, to) = rules.iter().find(|(regex, _)| regex.is_in(request.path().as_bytes()))?;
            fill(to, Scope { matches, regex: Some(regex) }, request)
        }
    }
}
