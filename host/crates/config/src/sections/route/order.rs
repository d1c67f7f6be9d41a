//! Whether each route can win, and against each other route in one way only.
//!
//! Routes are tried in the order of `RouteMatch::specificity_by` their narrowest host that matches. A route that is
//! more specific than another never takes everything that the other would: it has a narrower host, a literal instead
//! of the other's parameter, a longer path, a method or one more field. So a route can only be shut out by one that
//! is equally specific, and then the order of their names would decide, which is not what an operator would expect.
//! Both are errors.

use std::collections::{BTreeMap, HashMap};

use portcullis_model::{
    FieldMatch, HostPattern, Name, PathPattern, PathSegment, Route, RouteMatch, takes_method,
};

use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::references::Section;

/// Routes with the same host and path, for a bound on work that is quadratic in them.
const SAME_PATH_MAX: usize = 1000;

/// What two routes that are tied have in common: a host, the literals (with `None` for a parameter) and the end.
type Path<'r> = (&'r HostPattern, Vec<Option<&'r str>>, bool);

/// Reports routes that are tied with or shut out by an earlier one. `listeners` are all that there are.
pub(crate) fn check(loader: &mut Loader<'_>, section: &Section<'_>, routes: &[&Route], listeners: &[Name]) {
    let mut groups: HashMap<Path<'_>, Vec<(Span, &Route)>> = HashMap::new();
    for route in routes {
        let Some(named) = section.get(&*route.name) else { continue };
        let path = &route.matches.path;
        let literals = path.segments.iter().map(|segment| match segment {
            PathSegment::Literal(text) => Some(text.as_str()),
            PathSegment::Parameter(_) => None,
        });
        let literals: Vec<_> = literals.collect();
        for host in route.matches.hosts() {
            groups.entry((host, literals.clone(), path.rest)).or_default().push((named.span, route));
        }
    }
    // Two routes may share several hosts; the first tie of a route is enough.
    let mut reports: BTreeMap<Span, Report> = BTreeMap::new();
    for group in groups.values_mut() {
        // In the order of the text, so that the later one is reported.
        group.sort_by_key(|(span, _)| *span);
        if let Some((span, _)) = group.get(SAME_PATH_MAX) {
            let message = format!("more than {SAME_PATH_MAX} routes have the same host and path");
            let help = "let one route take them all, and a policy tell them apart";
            reports.entry(*span).or_insert_with(|| Report::new(*span, message, "one too many").help(help));
            continue;
        }
        for (at, (span, later)) in group.iter().enumerate() {
            let meets = |earlier: &Route| {
                listeners.iter().any(|name| earlier.is_on(name) && later.is_on(name))
                    && tied(&earlier.matches, &later.matches)
            };
            let earlier = group.iter().take(at).find(|(_, earlier)| meets(earlier));
            if let Some((first, earlier)) = earlier {
                let note = format!("route `{}` is", earlier.name);
                reports
                    .entry(*span)
                    .or_insert_with(|| report(earlier, later, *span, listeners).note(note, *first));
            }
        }
    }
    loader.reports.extend(reports.into_values());
}

fn report(earlier: &Route, later: &Route, span: Span, listeners: &[Name]) -> Report {
    let (a, b) = (&earlier.name, &later.name);
    let everywhere = listeners.iter().all(|name| earlier.is_on(name) || !later.is_on(name));
    if everywhere && covers(&earlier.matches, &later.matches) {
        let message = format!("route `{b}` can never be reached");
        let label = format!("route `{a}` takes every request that `{b}` could take");
        return Report::new(span, message, label).help(if head_by_get(&earlier.matches, &later.matches) {
            "GET takes HEAD too: name HEAD in no route of its own, or give this one a further condition"
        } else {
            "remove one of the two, or give this one a condition that the other does not have"
        });
    }
    let message = format!("routes `{a}` and `{b}` are tied");
    let label = format!("some requests match this and `{a}`, and neither is more specific");
    Report::new(span, message, label)
        .help("give one of them a condition more, such as a method or a field, or make their conditions exclude each other")
}

/// Whether HEAD is taken by a route that only names GET.
fn head_by_get(earlier: &RouteMatch, later: &RouteMatch) -> bool {
    let head = |rule: &RouteMatch| rule.methods.iter().any(|method| method == "HEAD");
    !earlier.methods.is_empty() && head(later) && !head(earlier)
}

/// Whether both can match one request and neither is more specific.
pub(crate) fn tied(a: &RouteMatch, b: &RouteMatch) -> bool {
    let narrowness = |rule: &RouteMatch| rule.specificity_by(&HostPattern::Any);
    narrowness(a) == narrowness(b)
        && a.hosts().iter().any(|host| b.hosts().contains(host))
        && paths_overlap(&a.path, &b.path)
        && methods_overlap(&a.methods, &b.methods)
        && fields_overlap(&a.fields, &b.fields)
}

/// Whether `a` matches everything that `b`, which is tied with it, matches.
pub(crate) fn covers(a: &RouteMatch, b: &RouteMatch) -> bool {
    let takes = |method: &String| a.methods.iter().any(|named| takes_method(named, method));
    let methods = a.methods.is_empty() || (!b.methods.is_empty() && b.methods.iter().all(takes));
    let holds = |condition: &FieldMatch| {
        let same = |other: &FieldMatch| {
            other.name == condition.name && (condition.value.is_none() || condition.value == other.value)
        };
        b.fields.iter().any(same)
    };
    methods && a.fields.iter().all(holds) && b.hosts().iter().all(|host| a.hosts().contains(host))
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
    let takes = |list: &[String], method: &str| list.iter().any(|named| takes_method(named, method));
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
