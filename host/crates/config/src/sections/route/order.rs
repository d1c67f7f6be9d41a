//! Whether each route can win, and against each other route in one way only.
//!
//! Routes are tried in the order of `RouteMatch::specificity_by` their narrowest host that matches. Of two routes with
//! the same priority, the more specific one never takes everything that the other would: it has a narrower host, a
//! literal instead of the other's parameter, a longer path, a regular expression, a method or one more condition. So
//! it can only be shut out by one that is equally specific, and then the order of their names would decide, which is
//! not what an operator would expect. A route with a greater priority can shut out any other. All three are errors.
//!
//! What two regular expressions have in common is not asked: they are taken for such that can be found in one text.

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;
use portcullis_model::{
    Condition, HostPattern, Name, PathPattern, PathSegment, Route, RouteMatch, takes_method,
};

use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::references::Section;

/// Routes with the same host and path, for a bound on work that is quadratic in them.
const SAME_PATH_MAX: usize = 1000;

/// What two routes that are tied have in common: a host (`None` for a regular expression), the priority, the literals
/// (with `None` for a parameter) and the end.
type Path<'r> = (Option<&'r HostPattern>, i32, Vec<Option<&'r str>>, bool);

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
        let mut by_regex = false;
        for host in route.matches.hosts() {
            let is_regex = matches!(host, HostPattern::Regex(_));
            if is_regex && std::mem::replace(&mut by_regex, true) {
                continue;
            }
            let host = (!is_regex).then_some(host);
            let path = (host, route.matches.priority, literals.clone(), path.rest);
            groups.entry(path).or_default().push((named.span, route));
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
    check_priorities(section, routes, listeners, &mut reports);
    loader.reports.extend(reports.into_values());
}

/// Reports routes that one with a greater priority leaves nothing.
fn check_priorities(
    section: &Section<'_>,
    routes: &[&Route],
    listeners: &[Name],
    reports: &mut BTreeMap<Span, Report>,
) {
    let lowest = routes.iter().map(|route| route.matches.priority).min().unwrap_or_default();
    let preferred: Vec<&&Route> = routes.iter().filter(|route| route.matches.priority > lowest).collect();
    for later in routes {
        let shuts_out = |earlier: &&&&Route| {
            earlier.matches.priority > later.matches.priority
                && covers(&earlier.matches, &later.matches)
                && listeners.iter().all(|name| earlier.is_on(name) || !later.is_on(name))
        };
        let Some(earlier) = preferred.iter().find(shuts_out) else { continue };
        let (Some(first), Some(second)) = (section.get(&*earlier.name), section.get(&*later.name)) else {
            continue;
        };
        let (a, b) = (&earlier.name, &later.name);
        let message = format!("route `{b}` can never be reached");
        let label =
            format!("route `{a}` has a greater priority and takes every request that `{b}` could take");
        let help = "give it a greater priority than that, or remove it";
        let report = Report::new(second.span, message, label).help(help);
        reports.entry(second.span).or_insert_with(|| report.note(format!("route `{a}` is"), first.span));
    }
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
    Report::new(span, message, label).help(
        "give one of them a condition more, such as a method or a field, make their conditions exclude \
             each other, or let `priority` decide",
    )
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
        && hosts_overlap(a.hosts(), b.hosts())
        && paths_overlap(a, b)
        && methods_overlap(&a.methods, &b.methods)
        && conditions_overlap(&a.conditions, &b.conditions)
        && clients_overlap(&a.clients, &b.clients)
}

/// Whether `a` certainly matches everything that `b` matches.
pub(crate) fn covers(a: &RouteMatch, b: &RouteMatch) -> bool {
    let takes = |method: &String| a.methods.iter().any(|named| takes_method(named, method));
    let methods = a.methods.is_empty() || (!b.methods.is_empty() && b.methods.iter().all(takes));
    let holds = |condition: &Condition| {
        let implies =
            |other: &Condition| other.on == condition.on && condition.test.is_implied_by(&other.test);
        b.conditions.iter().any(implies)
    };
    let is_known = |client: &IpNet| a.clients.iter().any(|network| network.contains(client));
    let clients = a.clients.is_empty() || (!b.clients.is_empty() && b.clients.iter().all(is_known));
    let is_found = |regex| b.path_regex.as_ref() == Some(regex) || finds_path(regex, &b.path);
    methods
        && clients
        && a.path.covers(&b.path)
        && a.path_regex.as_ref().is_none_or(is_found)
        && a.conditions.iter().all(holds)
        && b.hosts().iter().all(|host| a.hosts().contains(host))
}

/// Whether `path` is one path, and `regex` is found in it.
fn finds_path(regex: &portcullis_model::Pattern, path: &PathPattern) -> bool {
    path.is_one_path() && regex.is_in(path.to_string().as_bytes())
}

/// Whether the same pattern is in both, or a regular expression: a host in which both are found is taken for possible.
fn hosts_overlap(a: &[HostPattern], b: &[HostPattern]) -> bool {
    let is_regex = |host: &HostPattern| matches!(host, HostPattern::Regex(_));
    a.iter().any(|host| b.contains(host)) || (a.iter().any(is_regex) && b.iter().any(is_regex))
}

/// For paths of the same kind: whether their literals agree.
fn paths_overlap(a: &RouteMatch, b: &RouteMatch) -> bool {
    let fits = |(a, b): (&PathSegment, &PathSegment)| match (a, b) {
        (PathSegment::Literal(a), PathSegment::Literal(b)) => a == b,
        _ => true,
    };
    a.path.segments.iter().zip(&b.path.segments).all(fits)
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
fn conditions_overlap(a: &[Condition], b: &[Condition]) -> bool {
    let excludes = |a: &Condition, b: &Condition| a.on == b.on && a.test.excludes(&b.test);
    !a.iter().any(|a| b.iter().any(|b| excludes(a, b)))
}

fn clients_overlap(a: &[IpNet], b: &[IpNet]) -> bool {
    let overlap = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
    a.is_empty() || b.is_empty() || a.iter().any(|a| b.iter().any(|b| overlap(a, b)))
}
