//! `[routes.NAME]`.

mod action;
mod cache;
pub(crate) mod effect;
pub(crate) mod fields;
mod matching;
mod order;
mod retry;

#[cfg(test)]
mod tests;

use portcullis_model::{Compress, Forward, Name, PathRules, Route, Scope, Upstream};

use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::references::{Named, Section, Used, is_wrong, unknown};
use crate::sections::compress;
use crate::syntax::keys::ROUTE;
use crate::syntax::view::View;

/// Bytes of one body that the policies of a route may hold back by default.
const HOLD_BYTES: usize = 1 << 20;

/// What routes may name, and what they did name.
pub(crate) struct Names<'s, 'a> {
    pub(crate) policies: &'s Section<'a>,
    pub(crate) upstreams: &'s Section<'a>,
    pub(crate) caches: &'s Section<'a>,
    pub(crate) listeners: &'s Section<'a>,
    pub(crate) policies_used: Used<'a>,
    pub(crate) upstreams_used: Used<'a>,
    pub(crate) caches_used: Used<'a>,
    pub(crate) listeners_used: Used<'a>,
}

/// Makes the routes in match order, and checks that each of them can win.
pub(crate) fn routes<'a>(
    loader: &mut Loader<'_>,
    section: &Section<'a>,
    names: &mut Names<'_, 'a>,
    upstreams: &[Upstream],
    compress: Option<&Compress>,
) -> Vec<Route> {
    let mut routes = Vec::new();
    for named in section.values().filter(|named| named.table.is_some()) {
        routes.push(route(loader, named, names, upstreams, compress));
    }
    let valid = routes.iter().filter_map(|(route, valid)| valid.then_some(route));
    let listeners: Vec<Name> = names.listeners.keys().map(|name| Name::from(*name)).collect();
    order::check(loader, section, &valid.collect::<Vec<_>>(), &listeners);
    let mut routes: Vec<Route> = routes.into_iter().map(|(route, _)| route).collect();
    // Stable: the section is in the order of the names.
    routes.sort_by_cached_key(|route| std::cmp::Reverse(route.matches.specificity()));
    routes
}

/// Makes one route, and says whether what it matches is known.
fn route<'a>(
    loader: &mut Loader<'_>,
    named: &Named<'a>,
    names: &mut Names<'_, 'a>,
    upstreams: &[Upstream],
    compress: Option<&Compress>,
) -> (Route, bool) {
    let view = View::new(named.table, &ROUTE, named.span);
    let count = loader.reports.len();
    let path_rules = PathRules {
        keeps_encoded_slash: view.word("encoded-slash") == Some("keep"),
        keeps_empty_segments: view.bool("merge-slashes") == Some(false),
    };
    let matches = matching::matches(loader, named, view, path_rules);
    // What the check of the keys found counts as well: a condition that cannot be read may exclude anything.
    let at = view.key_span("match").unwrap_or(named.span);
    let node = view.node("match").map_or(at, |node| node.span);
    let wrong_type = view.key_span("match").is_some() && !view.view("match").is_there();
    let valid = loader.reports.len() == count
        && !wrong_type
        && !loader.reports.iter().any(|report| report.is_in(node));
    let reference = |noun| Reference { noun, by: named.name };
    let used = &mut names.policies_used;
    let policies = references(loader, view.texts("use"), reference("policy"), names.policies, used);
    let used = &mut names.upstreams_used;
    let to = references(loader, view.texts("to"), reference("upstream"), names.upstreams, used);
    names.policies_used.uncertain |= is_wrong(view, "use");
    let acts_alone = action::acts_alone(view);
    names.upstreams_used.uncertain |= is_wrong(view, "to") || (view.node("to").is_none() && !acts_alone);
    let used = &mut names.listeners_used;
    let mut listeners =
        references(loader, view.texts("listeners"), reference("listener"), names.listeners, used);
    listeners.sort();
    // Without the key it is served on all, and a key that is wrong may mean any.
    used.uncertain |= listeners.is_empty();
    let sizes = upstreams
        .iter()
        .filter(|upstream| to.contains(&upstream.name))
        .map(|upstream| upstream.endpoints.len());
    let endpoints = u32::try_from(sizes.max().unwrap_or(1)).unwrap_or(u32::MAX).max(1);
    let limits = view.view("limits");
    let tries = retry::tries(loader, named, view, endpoints);
    let cache = cache::cache(loader, named, view, names.caches, &mut names.caches_used);
    let forward =
        Forward { upstreams: to, tries, host: None, filters: Vec::new(), cache: cache.map(Box::new) };
    let action = action::action(loader, named, view, Scope::of(&matches), names.upstreams, forward);
    let response_edits = fields::response_edits(loader, named, view, Scope::of(&matches));
    let compress = compress::of_route(loader, named, view, &action, compress);
    let route = Route {
        name: named.name.into(),
        matches,
        policies,
        action,
        response_edits,
        compress,
        decompress: compress::decompress(view),
        timeout: view.duration("timeout"),
        body_bytes_max: limits.size("body"),
        hold_bytes_max: limits.bytes("hold").unwrap_or(HOLD_BYTES),
        listeners,
        tls_required: view.word("tls") == Some("required"),
        path_rules,
        origin: loader.sources.origin(named.span),
    };
    (route, valid)
}

/// Who names what.
#[derive(Clone, Copy)]
struct Reference<'r> {
    noun: &'r str,
    by: &'r str,
}

fn references<'a>(
    loader: &mut Loader<'_>,
    typed: Vec<(&'a str, Span)>,
    reference: Reference<'_>,
    section: &Section<'a>,
    used: &mut Used<'a>,
) -> Vec<Name> {
    let mut found: Vec<Name> = Vec::new();
    for (name, span) in typed {
        let by = format!("route `{}`", reference.by);
        used.names.insert(name);
        if !section.contains_key(name) {
            let (report, meant) = unknown(reference.noun, (name, span), section, &by);
            loader.report(report);
            used.names.extend(meant);
        } else if found.iter().any(|other| **other == *name) {
            let message = format!("{by} names the {} `{name}` twice", reference.noun);
            let help = match reference.noun {
                "policy" => "remove one of the two; to run a plugin twice, give it a second policy",
                _ => "remove one of the two",
            };
            loader.report(Report::new(span, message, "named before").help(help));
        } else {
            found.push(name.into());
        }
    }
    found
}
