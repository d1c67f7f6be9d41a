//! `grants`: what a policy may use, compared with what its plugin imports.

use portcullis_model::{Capability, Grants, Name, PurgeGrant, RateQuota, StoreGrant};

use super::http;
use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::plugins::PluginInfo;
use crate::references::{Nameable, Named, is_wrong, unknown};
use crate::syntax::suggest::shown;
use crate::syntax::view::View;

pub(super) fn grants<'a>(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'a>,
    names: &mut Nameable<'_, 'a>,
) -> Grants {
    let cache_purge = cache_purge(loader, named, view, names);
    let (secrets, used) = (names.secrets, &mut names.secrets_used);
    let (rate, store) = (view.view("rate-limit"), view.view("store"));
    let quota = RateQuota::default();
    let room = StoreGrant::default();
    let mut granted: Vec<Name> = Vec::new();
    for (name, span) in view.texts("secrets") {
        used.names.insert(name);
        if granted.iter().any(|other| **other == *name) {
            let message = format!("policy `{}` is granted the secret `{}` twice", named.name, shown(name));
            loader.report(Report::new(span, message, "granted before").help("remove one of the two"));
        } else if !secrets.contains_key(name) {
            let by = format!("policy `{}`", named.name);
            let (report, meant) = unknown("secret", (name, span), secrets, &by);
            loader.report(report);
            used.names.extend(meant);
        } else {
            granted.push(name.into());
        }
    }
    let has = |key: &str| view.bool(key).unwrap_or(false);
    Grants {
        log: has("log"),
        clock: has("clock"),
        random: has("random"),
        rate_limit: (rate.is_there() || has("rate-limit"))
            .then(|| RateQuota { buckets_max: rate.integer("buckets").unwrap_or(quota.buckets_max) }),
        metrics: has("metrics"),
        store: (store.is_there() || has("store")).then(|| StoreGrant {
            entries_max: store.integer("entries").unwrap_or(room.entries_max),
            bytes_max: store.bytes("bytes").unwrap_or(room.bytes_max),
        }),
        secrets: granted,
        crypto: has("crypto"),
        matchers: has("matchers"),
        http: http::grants(loader, named, view),
        cache_purge,
    }
}

/// The caches that a policy may purge.
fn cache_purge(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    names: &Nameable<'_, '_>,
) -> Option<PurgeGrant> {
    // What is wrong with it is reported, and is no reason to report that it is missing.
    view.key_span("cache-purge")?;
    let table = view.view("cache-purge");
    let mut caches: Vec<Name> = Vec::new();
    let texts = if table.is_there() { table.texts("caches") } else { view.texts("cache-purge") };
    for (name, span) in texts {
        if caches.iter().any(|other| **other == *name) {
            let message =
                format!("policy `{}` is granted to purge the cache `{}` twice", named.name, shown(name));
            loader.report(Report::new(span, message, "granted before").help("remove one of the two"));
        } else if let Some(known) = names.caches.filter(|known| !known.contains_key(name)) {
            let by = format!("policy `{}`", named.name);
            loader.report(unknown("cache", (name, span), known, &by).0);
        } else {
            caches.push(name.into());
        }
    }
    let per_second = table.integer("per-second").unwrap_or(PurgeGrant::PER_SECOND);
    Some(PurgeGrant { caches, per_second })
}

/// A component must be granted what it imports.
pub(super) fn check_missing(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    plugin: Span,
    info: &PluginInfo,
    grants: &Grants,
) {
    let given = view.view("grants");
    if is_wrong(view, "grants") {
        return;
    }
    let missing: Vec<Capability> = Capability::ALL
        .into_iter()
        // A key that is there but wrong was reported, or says `false` and shall be reported here.
        .filter(|capability| info.imports.contains(capability) && !grants.allows(*capability))
        .filter(|capability| {
            given.key_span(capability.grant_key()).is_none()
                || given.bool(capability.grant_key()) == Some(false)
        })
        .collect();
    if !missing.is_empty() {
        let what = if missing.len() == 1 { "a capability that was" } else { "capabilities that were" };
        let message = format!("policy `{}` wants {what} not granted", named.name);
        let names: Vec<String> =
            missing.iter().map(|capability| format!("`{}`", capability.name())).collect();
        let typed: Vec<_> = missing.iter().map(|capability| capability.grant_example()).collect();
        let help = match view.key_span("grants") {
            Some(_) => {
                format!("grant it with {}, or use a version that does not import it", typed.join(", "))
            }
            None => {
                format!("add grants = {{ {} }}, or use a version that does not import it", typed.join(", "))
            }
        };
        let help = if missing.len() == 1 { help } else { help.replace(" it", " them") };
        let label = format!("the component imports {}", names.join(", "));
        loader.report(Report::new(view.key_span("grants").unwrap_or(plugin), message, label).help(help));
    }
}

/// And nothing else.
pub(super) fn check_unused(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    info: &PluginInfo,
    grants: &Grants,
) {
    let given = view.view("grants");
    if is_wrong(view, "grants") {
        return;
    }
    for capability in grants.useless(&info.imports) {
        let message =
            format!("policy `{}` is granted `{}`, but does not use it", named.name, capability.grant_key());
        let label = format!("{} {} does not import it", info.name, info.version);
        let span = given.key_span(capability.grant_key()).unwrap_or(named.span);
        loader
            .report(Report::new(span, message, label).help("remove it: a policy gets no more than it uses"));
    }
}
