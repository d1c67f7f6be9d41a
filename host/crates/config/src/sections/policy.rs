//! `[policies.NAME]`: the plugin, what it is granted, what it may cost, and its configuration.

mod candidate;
mod grants;
mod http;
mod limits;
mod meaning;
mod plugin;
pub(crate) mod schema_error;
pub(crate) mod settings;

#[cfg(test)]
mod tests;

use std::time::Duration;

use portcullis_model::{FailureMode, Grants, Isolation, PolicyConfig, ResourceLimits, Version};

use self::candidate::{Inherited, TriedVersion, candidate};
use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::plugins::PluginInfo;
use crate::references::{Nameable, Named, Section, is_wrong};
use crate::syntax::keys::POLICY;
use crate::syntax::view::View;

/// How often `on-tick` is called by default.
pub const TICK: Duration = Duration::from_secs(10);

/// Makes the policies. What they name is added to the used ones of `names`.
pub(crate) fn policies<'a>(
    loader: &mut Loader<'_>,
    section: &Section<'a>,
    names: &mut Nameable<'_, 'a>,
) -> Vec<PolicyConfig> {
    let mut policies = Vec::new();
    for named in section.values().filter(|named| named.table.is_some()) {
        let view = View::new(named.table, &POLICY, named.span);
        let signed_by = plugin::signed_by(loader, named, view, names);
        let plugin = view.text("plugin").and_then(|plugin| plugin::find(loader, named, plugin, &signed_by));
        let grants = grants::grants(loader, named, view.view("grants"), names);
        names.secrets_used.uncertain |= is_wrong(view, "grants") || is_wrong(view.view("grants"), "secrets");
        let info = plugin.as_ref().and_then(|plugin| plugin.info.as_ref());
        if let (Some(info), Some(plugin)) = (info, &plugin) {
            grants::check_missing(loader, named, view, plugin.span, info, &grants);
            grants::check_unused(loader, named, view, info, &grants);
        }
        let count = loader.reports.len();
        let config_json =
            settings::config_json(loader, named, view, plugin.as_ref().map(|plugin| plugin.span), info);
        if let (Some(info), true) = (info, loader.reports.len() == count) {
            let at = view.key_span("config").unwrap_or(named.span);
            let known = (!is_wrong(view, "grants")).then_some(&grants);
            let traits = meaning::check(loader, named, info, (view.node("config"), at), known);
            loader.traits.insert(named.name.to_owned(), traits);
        }
        let inherited = Inherited {
            grants: &grants,
            isolation: match view.word("isolation") {
                Some("worker") => Isolation::Worker,
                _ => Isolation::Exchange,
            },
            limits: limits::limits(loader, named, view.view("limits"), ResourceLimits::default()),
            quarantine: limits::quarantine(loader, named, view),
            on_error: match view.word("on-error") {
                Some("allow") => FailureMode::Allow,
                _ => FailureMode::Deny,
            },
            tick: view.duration("tick").unwrap_or(TICK),
            config_is_sound: loader.reports.len() == count,
            signed_by: &signed_by.names,
        };
        let tried = candidate(loader, named, view, &inherited, names);
        match (tried.as_ref().map(|tried| tried.traits.clone()), loader.traits.get_mut(named.name)) {
            (Some(Some(theirs)), Some(traits)) => traits.join(theirs),
            // A version that cannot be used may do anything.
            (Some(None), _) => drop(loader.traits.remove(named.name)),
            _ => {}
        }
        if let Some(info) = info {
            check_tick(loader, named, view, info, tried.as_ref());
            if !tried.as_ref().is_some_and(|tried| tried.asks) {
                limits::check_http_calls(loader, named, view.view("limits"), info);
            }
        }
        let Inherited { isolation, limits, quarantine, on_error, tick, .. } = inherited;
        let Some(plugin) = plugin else { continue };
        let mut policy = PolicyConfig {
            name: named.name.into(),
            version: Version::Active,
            plugin: plugin.source,
            digest: plugin.digest,
            grants,
            isolation,
            limits,
            quarantine,
            on_error,
            tick,
            config_json,
            candidate: None,
            origin: loader.sources.origin(named.span),
        };
        if let Some(tried) = tried {
            tried.check_differs(loader, &policy);
            policy.candidate = Some(Box::new(tried.candidate));
        }
        policies.push(policy);
    }
    policies
}

/// The parts of a policy that a file of test cases has as a config has them.
pub(crate) struct Tested {
    /// `None` if none are typed.
    pub(crate) grants: Option<Grants>,
    pub(crate) limits: ResourceLimits,
}

/// Reads these parts of the table `view` about the plugin that is named at a place.
pub(crate) fn tested<'a>(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'a>,
    names: &mut Nameable<'_, 'a>,
    (plugin, info): (Span, &PluginInfo),
) -> Tested {
    let grants = view.key_span("grants").map(|_| {
        let grants = grants::grants(loader, named, view.view("grants"), names);
        grants::check_missing(loader, named, view, plugin, info, &grants);
        grants::check_unused(loader, named, view, info, &grants);
        grants
    });
    let limits = limits::limits(loader, named, view.view("limits"), ResourceLimits::default());
    Tested { grants, limits }
}

fn check_tick(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    info: &PluginInfo,
    tried: Option<&TriedVersion>,
) {
    let has_tick = info.has_tick || tried.is_some_and(|tried| tried.has_tick);
    if let (Some(span), false) = (view.key_span("tick"), has_tick) {
        let message = format!("policy `{}` has a `tick`, but its plugin has no `on-tick`", named.name);
        let label = format!("{} {} is never woken", info.name, info.version);
        loader.report(Report::new(span, message, label).help("remove it"));
    }
}
