//! Settings of routes that have no effect.

use std::collections::BTreeSet;
use std::path::{Component, PathBuf};

use portcullis_model::{Action, Cache, Gateway, Listener, PathPattern, PathSegment, Route};

use crate::diagnostic::Report;
use crate::files::read::{canonical, canonical_new};
use crate::files::source::Span;
use crate::loader::Loader;
use crate::plugins::traits::Traits;
use crate::references::Section;
use crate::syntax::keys::ROUTE;
use crate::syntax::suggest::{did_you_mean, list, shown};
use crate::syntax::view::View;

/// The view of a route's table.
fn view<'a>(section: &Section<'a>, route: &Route) -> Option<View<'a>> {
    let named = section.get(&*route.name)?;
    Some(View::new(named.table, &ROUTE, named.span))
}

/// Reports settings of routes that have no effect.
pub(crate) fn check(loader: &mut Loader<'_>, section: &Section<'_>, gateway: &Gateway) {
    let Gateway { server, listeners, routes, .. } = gateway;
    // A proxy in front may end TLS and say so. Without a listener there is a larger mistake.
    let tls_is_here = server.trusted_proxies.is_empty() && !listeners.is_empty();
    let mut reported = BTreeSet::new();
    for route in routes {
        let Some(view) = view(section, route) else { continue };
        if tls_is_here {
            check_tls(loader, view, route, listeners);
        }
        check_slash(loader, view, route, routes);
        check_root(loader, view, route);
        check_cached(loader, view, route, &gateway.caches);
        check_choice(loader, view, route);
        check_attributes(loader, route, &mut reported);
        if let (true, Some(span)) = (route.policies.is_empty(), view.view("limits").key_span("hold"))
            && view.key_span("use").is_none()
        {
            let message = format!("route `{}` limits what its policies hold, but has none", route.name);
            loader.report(Report::new(span, message, "without effect").help("remove it"));
        }
    }
}

/// Reports a route that asks for TLS which nothing can give it.
fn check_tls(loader: &mut Loader<'_>, view: View<'_>, route: &Route, listeners: &[Listener]) {
    let served = || listeners.iter().any(|listener| listener.tls.is_some() && route.is_on(&listener.name));
    if route.tls_required && !served() {
        let span = view.key_span("tls").unwrap_or(view.span);
        let message =
            format!("route `{}` is served over TLS only, and no listener of it has TLS", route.name);
        let help = "give a listener `tls`, or name in server.trusted-proxies the proxy that ends TLS in front of the gateway";
        loader.report(Report::new(span, message, "no request could be served").help(help));
    }
}

/// Reports a folder that is served and has a cache in it, or is in one.
fn check_cached(loader: &mut Loader<'_>, view: View<'_>, route: &Route, caches: &[Cache]) {
    let Action::Files(files) = &route.action else { return };
    let Some((_, span)) = view.view("files").text("root") else { return };
    let root = canonical(&files.root);
    let overlaps = |cache: &&Cache| {
        let folder = cache.disk.as_ref().map(|disk| canonical_new(&disk.folder));
        folder.is_some_and(|folder| folder.starts_with(&root) || root.starts_with(folder))
    };
    let Some(cache) = caches.iter().find(overlaps) else { return };
    let message = format!("route `{}` would serve what a cache keeps", route.name);
    let label = format!("the folder of cache `{}` is in this folder, or above it", cache.name);
    let help = "serve a folder that has nothing in it but what is for everyone";
    loader.report(Report::new(span, message, label).help(help));
}

/// Reports a folder that is served and has files in it that the configuration reads, such as keys and the config
/// itself.
fn check_root(loader: &mut Loader<'_>, view: View<'_>, route: &Route) {
    let Action::Files(files) = &route.action else { return };
    let Some((_, span)) = view.view("files").text("root") else { return };
    if !files.root.is_dir() {
        return;
    }
    let root = canonical(&files.root);
    let is_served = |path: &PathBuf| {
        let path = canonical(path);
        let hidden = |part: Component<'_>| part.as_os_str().as_encoded_bytes().starts_with(b".");
        path.strip_prefix(&root).is_ok_and(|below| !below.components().any(hidden))
    };
    let mut read = loader.files.iter().filter(|path| !loader.public_files.contains(*path));
    let Some(found) = read.find(|path| is_served(path)) else { return };
    let message = format!("route `{}` would serve a file that the configuration reads", route.name);
    let label = format!("{} is in this folder", found.display());
    let help = "serve a folder that has nothing in it but what is for everyone";
    loader.report(Report::new(span, message, label).help(help));
}

/// Reports `/api/`, which takes that path alone and not what is below it, as it would elsewhere. If another route takes
/// `/api` or `/api/*`, it is meant.
fn check_slash(loader: &mut Loader<'_>, view: View<'_>, route: &Route, routes: &[Route]) {
    let path = &route.matches.path;
    let Some((PathSegment::Literal(last), before)) = path.segments.split_last() else { return };
    if !last.is_empty() || path.rest {
        return;
    }
    let beside = |other: &PathPattern| other.segments == before;
    if routes.iter().any(|other| beside(&other.matches.path)) {
        return;
    }
    let matching = view.view("match");
    let Some((typed, span)) = matching.text("path") else { return };
    let below = format!("{typed}*");
    let message = format!("`path` of route `{}` takes {typed} alone, and nothing below it", route.name);
    let help = format!(
        "write path = \"{below}\" for it and everything below; if the one path is meant, say by a route for \"{}\" or \"{below}\" what becomes of the others",
        typed.trim_end_matches('/')
    );
    loader.report(Report::new(span, message, "no prefix").help(help));
}

/// Reports attributes that a policy of the route reads and that no policy before it sets. `reported` holds the places
/// that were reported for another route.
fn check_attributes(loader: &mut Loader<'_>, route: &Route, reported: &mut BTreeSet<Span>) {
    let mut reports = Vec::new();
    let all: Vec<Option<&Traits>> = route.policies.iter().map(|name| loader.traits.get(&**name)).collect();
    // `None` if one of these policies may set any attribute.
    let set_by = |policies: &[Option<&Traits>]| -> Option<BTreeSet<String>> {
        policies.iter().map(|traits| traits.and_then(|traits| traits.sets.clone())).try_fold(
            BTreeSet::new(),
            |mut all, sets| {
                all.extend(sets?);
                Some(all)
            },
        )
    };
    for (at, (policy, traits)) in route.policies.iter().zip(&all).enumerate() {
        let Some(traits) = traits else { continue };
        let before = set_by(all.get(..at).unwrap_or_default());
        let ever = set_by(&all);
        let reads = traits.reads.iter().map(|read| (read, &before));
        for ((attribute, span), known) in reads.chain(traits.reads_at_all.iter().map(|read| (read, &ever))) {
            let Some(known) = known.as_ref().filter(|known| !known.contains(attribute)) else { continue };
            if !reported.insert(*span) {
                continue;
            }
            let message =
                format!("policy `{policy}` reads the attribute `{}`, which nothing sets", shown(attribute));
            let label = format!("no policy before it in route `{}` sets it", route.name);
            let setter = loader
                .traits
                .iter()
                .find(|(_, traits)| traits.sets.as_ref().is_some_and(|sets| sets.contains(attribute)));
            let names: Vec<&str> = known.iter().map(String::as_str).collect();
            let help = match (did_you_mean(attribute, names.iter().copied()), setter) {
                (Some(name), _) => format!("did you mean `{name}`?"),
                (None, Some((setter, _))) => {
                    format!(
                        "put policy `{setter}`, which sets it, before `{policy}` in the `use` of the route"
                    )
                }
                (None, None) if names.is_empty() => {
                    "put a policy before it that sets the attribute".to_owned()
                }
                (None, None) => format!("the attributes that are set here are {}", list(&names)),
            };
            reports.push(Report::new(*span, message, label).help(help));
        }
    }
    loader.reports.extend(reports);
}

/// Reports upstreams that no policy can choose.
fn check_choice(loader: &mut Loader<'_>, view: View<'_>, route: &Route) {
    let chooses = |policy: &portcullis_model::Name| {
        loader.traits.get(&**policy).is_none_or(|traits| traits.chooses_upstream)
    };
    // A reference that was wrong was reported, and could be the one that chooses.
    let all_known = view.texts("use").len() == route.policies.len();
    let Some(first) = route.upstreams().first() else { return };
    if !all_known || route.policies.iter().any(chooses) {
        return;
    }
    let others = view.texts("to").into_iter().filter(|(name, _)| *name != &**first);
    let others: Vec<_> =
        others.filter(|(name, _)| route.upstreams().iter().any(|other| **other == **name)).collect();
    for (name, span) in others {
        let message = format!("route `{}` never uses the upstream `{name}`", route.name);
        let label = format!("only a policy can choose another one than `{first}`, and no policy here does");
        let help = "to share requests among the servers of both, put them into `endpoints` of one upstream";
        loader.report(Report::new(span, message, label).help(help));
    }
}
