//! `canary` and `shadow` of `[policies.NAME]`: another version, and which exchanges it gets.

use portcullis_model::{
    AbortRules, Canary, Candidate, Capability, CostRule, FailureMode, FaultRule, Grants, Isolation, Name,
    PolicyConfig, QuarantineRule, ResourceLimits, Selection, Shadow, Share, Version,
};

use super::grants::{check_missing, check_unused, grants};
use super::limits::{check_http_calls, limits};
use super::plugin::{Plugin, SignedBy, find, signed_by};
use super::{meaning, settings};
use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::plugins::traits::Traits;
use crate::references::{Nameable, Named, is_wrong};
use crate::sections::field_match::fields;
use crate::syntax::check::meant_key;
use crate::syntax::keys::CANARY;
use crate::syntax::tree::Value;
use crate::syntax::units::Cost;
use crate::syntax::view::View;

/// Differences that a shadow keeps by default: a screen or two of them.
const SAMPLES: usize = 20;

/// What a version inherits from its policy if it has no setting of its own.
pub(super) struct Inherited<'b> {
    pub(super) grants: &'b Grants,
    pub(super) isolation: Isolation,
    pub(super) limits: ResourceLimits,
    pub(super) quarantine: Option<QuarantineRule>,
    pub(super) on_error: FailureMode,
    pub(super) tick: std::time::Duration,
    /// Who must have signed the plugin.
    pub(super) signed_by: &'b [Name],
    /// Whether the policy's own `config` is sound as far as it concerns the policy's own plugin.
    pub(super) config_is_sound: bool,
}

/// A version that was read.
pub(super) struct TriedVersion {
    pub(super) candidate: Candidate,
    pub(super) has_tick: bool,
    /// Whether it sends requests of its own.
    pub(super) asks: bool,
    /// What it can do; `None` if it cannot be used, which was reported.
    pub(super) traits: Option<Traits>,
    plugin: Span,
}

impl TriedVersion {
    /// Reports a version in which nothing differs from `active`: the operator has probably named the wrong file.
    pub(super) fn check_differs(&self, loader: &mut Loader<'_>, active: &PolicyConfig) {
        let version = self.candidate.version();
        let same = version.digest == active.digest
            && version.config_json == active.config_json
            && version.limits == active.limits
            && version.grants == active.grants;
        if same {
            let message =
                format!("the {} of policy `{}` is the version that is active", version.version, active.name);
            let help = "name another plugin, or give it another `config`; remove it if the rollout is over";
            loader.report(
                Report::new(self.plugin, message, "the same component, in the same words").help(help),
            );
        }
    }
}

/// Reads the version that is tried, if there is one.
pub(super) fn candidate<'a>(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'a>,
    inherited: &Inherited<'_>,
    names: &mut Nameable<'_, 'a>,
) -> Option<TriedVersion> {
    names.secrets_used.uncertain |= is_wrong(view, "canary") || is_wrong(view, "shadow");
    let (canary, shadow) = (view.view("canary"), view.view("shadow"));
    if canary.is_there() && shadow.is_there() {
        let message = format!("policy `{}` has a canary and a shadow", named.name);
        let help = "remove one of the two: first a shadow, to see what would be different, and then a canary";
        loader.report(
            Report::new(shadow.span, message, "one version is tried at a time")
                .note("the canary", canary.span)
                .help(help),
        );
        return None;
    }
    let (version, tried) = match (canary.is_there(), shadow.is_there()) {
        (true, _) => (Version::Canary, canary),
        (_, true) => (Version::Shadow, shadow),
        _ => return None,
    };
    // What is missing has to be added to the version, so it is reported there.
    let here = Named { span: tried.span, ..*named };
    let signed_by = match tried.key_span("signed-by") {
        Some(_) => signed_by(loader, &here, tried, names),
        // The policy's own `signed-by` was reported with the policy.
        None => SignedBy { names: inherited.signed_by.to_vec(), own: None },
    };
    let found = tried.text("plugin").and_then(|plugin| find(loader, &here, plugin, &signed_by));
    let grants = grants_of(loader, &here, tried, version, found.as_ref(), inherited, names);
    let config_json = config_of(loader, named, &here, view, tried, found.as_ref(), inherited);
    let candidate = |version: PolicyConfig, loader: &mut Loader<'_>| match version.version {
        Version::Shadow => Some(Candidate::Shadow(Shadow {
            version,
            share: tried.percent("share").unwrap_or(Share::ALL),
            samples: tried.integer("samples").unwrap_or(SAMPLES),
        })),
        _ => Some(Candidate::Canary(Canary {
            version,
            selection: selection(loader, named, tried)?,
            abort: abort(tried),
        })),
    };
    let Some(found) = found else {
        // Its other mistakes are reported all the same.
        if version == Version::Canary {
            selection(loader, named, tried);
        }
        return None;
    };
    let info = found.info.as_ref();
    if let Some(info) = info {
        check_http_calls(loader, &here, tried.view("limits"), info);
    }
    let has_tick = info.is_some_and(|info| info.has_tick);
    let own = tried.key_span("config").map(|span| (tried.node("config"), span));
    let settings = own.unwrap_or_else(|| (view.node("config"), view.key_span("config").unwrap_or(here.span)));
    let traits = info.map(|info| meaning::check(loader, &here, info, settings, Some(&grants)));
    let asks = info.is_some_and(|info| info.imports.contains(&Capability::HttpClient));
    let span = found.span;
    let version = PolicyConfig {
        name: named.name.into(),
        version,
        plugin: found.source,
        digest: found.digest,
        grants,
        isolation: inherited.isolation,
        limits: limits(loader, named, tried.view("limits"), inherited.limits),
        quarantine: inherited.quarantine,
        on_error: inherited.on_error,
        tick: inherited.tick,
        config_json,
        candidate: None,
        origin: loader.sources.origin(tried.span),
    };
    Some(TriedVersion { candidate: candidate(version, loader)?, has_tick, asks, traits, plugin: span })
}

/// The version's own grants, or else the policy's.
fn grants_of<'a>(
    loader: &mut Loader<'_>,
    here: &Named<'_>,
    tried: View<'a>,
    version: Version,
    found: Option<&Plugin>,
    inherited: &Inherited<'_>,
    names: &mut Nameable<'_, 'a>,
) -> Grants {
    let info = found.and_then(|found| Some((found.info.as_ref()?, found.span)));
    if tried.key_span("grants").is_some() {
        let own = grants(loader, here, tried.view("grants"), names);
        names.secrets_used.uncertain |=
            is_wrong(tried, "grants") || is_wrong(tried.view("grants"), "secrets");
        if let Some((info, span)) = info {
            check_missing(loader, here, tried, span, info, &own);
            check_unused(loader, here, tried, info, &own);
        }
        return own;
    }
    if let Some((info, span)) = info {
        let missing: Vec<String> = info
            .imports
            .iter()
            .filter(|capability| !inherited.grants.allows(**capability))
            .map(|capability| format!("`{}`", capability.name()))
            .collect();
        if !missing.is_empty() {
            let message =
                format!("the {version} of policy `{}` wants more than the policy was granted", here.name);
            let all: Vec<_> = info.imports.iter().map(|capability| capability.grant_example()).collect();
            let help = format!("to grant it, add to `{version}`: grants = {{ {} }}", all.join(", "));
            let label = format!("the component imports {}", missing.join(", "));
            loader.report(Report::new(span, message, label).help(help));
        }
    }
    inherited.grants.clone()
}

/// The version's own configuration, or else the policy's, checked against the version's schema.
fn config_of(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    here: &Named<'_>,
    view: View<'_>,
    tried: View<'_>,
    found: Option<&Plugin>,
    inherited: &Inherited<'_>,
) -> String {
    let info = found.and_then(|found| found.info.as_ref());
    let span = found.map(|found| found.span);
    if tried.key_span("config").is_some() {
        return settings::config_json(loader, here, tried, span, info);
    }
    // A version that takes no configuration any more does not mind that the active one does.
    if info.is_some_and(|info| !info.has_lifecycle) {
        return "{}".to_owned();
    }
    let count = loader.reports.len();
    let json = settings::config_json(loader, named, view, span, info);
    if inherited.config_is_sound {
        for report in loader.reports.split_off(count) {
            loader.reports.push(match span {
                Some(span) => report.note("as asked for by the plugin of the version that is tried,", span),
                None => report,
            });
        }
    } else {
        // Reported already.
        loader.reports.truncate(count);
    }
    json
}

fn selection(loader: &mut Loader<'_>, named: &Named<'_>, canary: View<'_>) -> Option<Selection> {
    let name = named.name;
    match (canary.key_span("share"), canary.key_span("match")) {
        (Some(_), None) => canary.percent("share").map(Selection::Share),
        (None, Some(span)) => {
            let place = format!("the canary of policy `{name}`");
            let of_host = (
                "a canary is not chosen by the host",
                "give the host a route of its own, with a policy of its own",
            );
            let count = loader.reports.len();
            let conditions = fields(loader, &place, of_host, canary.view("match"));
            let asked = canary.view("match").key_span("headers").is_some();
            if conditions.is_empty() && asked && loader.reports.len() == count {
                let message = format!("{place} matches nothing in particular");
                let help =
                    "name a field, such as match = { headers = { x-canary = true } }, or write a share";
                loader.report(Report::new(span, message, "it would take every exchange").help(help));
            }
            Some(Selection::Match(conditions))
        }
        // A slip in the name of a key is one mistake, not two.
        (None, None) if is_misspelt(named) => None,
        (None, None) => {
            let message = format!("the canary of policy `{name}` does not say which exchanges it takes");
            let help = "add share = \"5%\", or match = { headers = { x-canary = true } }";
            loader.report(Report::new(canary.span, message, "it has neither `share` nor `match`").help(help));
            None
        }
        (Some(share), Some(matches)) => {
            let message = format!("the canary of policy `{name}` has a `share` and a `match`");
            let report = Report::new(matches, message, "it is one or the other").note("the share", share);
            loader.report(report.help("remove one of the two"));
            None
        }
    }
}

/// Whether `share` or `match` of the canary is there under a misspelt name.
fn is_misspelt(named: &Named<'_>) -> bool {
    let canary = named.table.and_then(|table| table.get("canary")?.value.as_table());
    let mut keys = canary.into_iter().flat_map(|table| &table.entries);
    keys.any(|entry| matches!(meant_key(&entry.key, &CANARY), Some("share" | "match")))
}

fn abort(canary: View<'_>) -> Option<AbortRules> {
    if canary.word("abort") == Some("never") {
        return None;
    }
    let (view, defaults) = (canary.view("abort"), AbortRules::default());
    let faults = match view.node("faults").map(|node| &node.value) {
        Some(Value::Integer(_)) => view.integer("faults").map(FaultRule::Count),
        _ => view.percent("faults").map(FaultRule::Share),
    };
    let cost = |key: &str| {
        Some(match view.cost(key)? {
            Cost::Time(time) => CostRule::Mean(time),
            Cost::Percent(part) => CostRule::Ratio(Share::of_hundredths(part)),
        })
    };
    Some(AbortRules {
        faults: faults.unwrap_or(defaults.faults),
        cpu: cost("cpu").unwrap_or(defaults.cpu),
        latency: cost("latency").unwrap_or(defaults.latency),
        window: view.integer("window").unwrap_or(defaults.window),
    })
}
