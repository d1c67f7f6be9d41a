//! Whether each route can win, and against each other route in one way only.
//!
//! Routes are tried by `RouteMatch::specificity`. A route that is more specific than another never takes everything that
//! the other would: it has a narrower host, a literal where the other has a parameter, a longer path, a method or one
//! more field. So a route can only be shut out by one that is equally specific, and then the order of their names would
//! decide, which nobody would expect. Both are errors.

use std::collections::HashMap;

use portcullis_model::{FieldMatch, HostPattern, PathPattern, PathSegment, Route, RouteMatch};

use crate::diagnostic::Report;
use crate::loader::{Loader, Section};

/// Equally specific routes that are compared with each other, for a bound on quadratic work.
const COMPARED_MAX: usize = 2000;

/// Reports routes that are tied with or shut out by an earlier one.
pub(crate) fn check(loader: &mut Loader<'_>, section: &Section<'_>, routes: &[&Route]) {
    // Only routes with the same host and the same kind of path, methods and fields can be tied, and of those only ones
    // that have the same first literal; grouping keeps thousands of routes fast.
    let mut groups: HashMap<(&HostPattern, Vec<Option<&str>>, bool), Vec<&Route>> = HashMap::new();
    for route in routes {
        let path = &route.matches.path;
        let literals = path.segments.iter().map(|segment| match segment {
            PathSegment::Literal(text) => Some(text.as_str()),
            PathSegment::Parameter(_) => None,
        });
        groups.entry((&route.matches.host, literals.collect(), path.rest)).or_default().push(route);
    }
    for group in groups.values() {
        // In the order of the text, so that it is the later one that is reported.
        let mut group: Vec<&Route> = group.iter().copied().take(COMPARED_MAX).collect();
        let place = |route: &Route| section.get(&*route.name).map(|named| named.span);
        group.sort_by_key(|route| place(route));
        for (at, later) in group.iter().enumerate() {
            let earlier = group.iter().take(at).find(|earlier| tied(&earlier.matches, &later.matches));
            if let (Some(earlier), Some(span), Some(first)) =
                (earlier, place(later), earlier.and_then(|e| place(e)))
            {
                let report = report(earlier, later, span).note(format!("route `{}` is", earlier.name), first);
                loader.report(report);
            }
        }
    }
}

fn report(earlier: &Route, later: &Route, span: crate::source::Span) -> Report {
    let (a, b) = (&earlier.name, &later.name);
    if covers(&earlier.matches, &later.matches) {
        let message = format!("route `{b}` can never be reached");
        let label = format!("`{a}` takes every request that it matches");
        return Report::new(span, message, label)
            .help("remove one of the two, or give this one a condition that the other does not have");
    }
    let message = format!("routes `{a}` and `{b}` are tied");
    let label = format!("some requests match this and `{a}`, and neither is more specific");
    Report::new(span, message, label)
        .help("give one of them a condition more, such as a method or a field, or make their conditions exclude each other")
}

/// Whether both can match one request and neither is more specific.
pub(crate) fn tied(a: &RouteMatch, b: &RouteMatch) -> bool {
    a.specificity() == b.specificity()
        && a.host == b.host
        && paths_overlap(&a.path, &b.path)
        && methods_overlap(&a.methods, &b.methods)
        && fields_overlap(&a.fields, &b.fields)
}

/// Whether `a` matches everything that `b`, which is tied with it, matches.
pub(crate) fn covers(a: &RouteMatch, b: &RouteMatch) -> bool {
    let takes = |method: &String| {
        a.methods.contains(method) || (method == "HEAD" && a.methods.contains(&"GET".into()))
    };
    let methods = a.methods.is_empty() || (!b.methods.is_empty() && b.methods.iter().all(takes));
    let holds = |condition: &FieldMatch| {
        let same = |other: &FieldMatch| {
            other.name == condition.name && (condition.value.is_none() || condition.value == other.value)
        };
        b.fields.iter().any(same)
    };
    methods && a.fields.iter().all(holds)
}

/// For paths of the same kind: whether their literals agree.
fn paths_overlap(a: &PathPattern, b: &PathPattern) -> bool {
    let fits = |(a, b): (&PathSegment, &PathSegment)| match (a, b) {
        (PathSegment::Literal(a), PathSegment::Literal(b)) => a == b,
        _ => true,
    };
    a.segments.iter().zip(&b.segments).all(fits)
}

fn methods_overlap(a: &[String], b: &[String]) -> bool {
    let takes = |list: &[String], method: &str| {
        list.iter().any(|other| other == method || (method == "HEAD" && other == "GET"))
    };
    a.is_empty()
        || b.is_empty()
        || a.iter().any(|method| takes(b, method))
        || b.iter().any(|method| takes(a, method))
}

/// Two values of one field exclude each other. (A request may have both on two lines; then the route whose name comes
/// first takes it, which is documented.)
fn fields_overlap(a: &[FieldMatch], b: &[FieldMatch]) -> bool {
    let excludes = |a: &FieldMatch, b: &FieldMatch| {
        a.name == b.name && a.value.is_some() && b.value.is_some() && a.value != b.value
    };
    !a.iter().any(|a| b.iter().any(|b| excludes(a, b)))
}
