//! `[policies.NAME]`: the plugin, what it is granted, what it may cost, and its configuration.

mod candidate;
mod http;
mod meaning;
mod plugin;
pub(crate) mod schema_error;
pub(crate) mod settings;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use portcullis_model::{
    Capability, FailureMode, Grants, Isolation, Name, PolicyConfig, QuarantineRule, RateQuota,
    ResourceLimits, StoreGrant, Version,
};

use self::candidate::{Inherited, Tried, candidate};
use crate::PluginInfo;
use crate::diagnostic::Report;
use crate::keys::POLICY;
use crate::loader::{Loader, Named, Section};
use crate::plugins;
use crate::source::Span;
use crate::suggest::{did_you_mean, list, shown};
use crate::units::show_duration;
use crate::view::View;

/// How often `on-tick` is called where nothing is said.
pub const TICK: Duration = Duration::from_secs(10);

/// What the versions of a policy can do, as far as routes have to know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traits {
    /// Whether it can choose an upstream of its route.
    pub(crate) chooses_upstream: bool,
    /// The attributes that it sets; `None` if that is not known.
    pub(crate) sets: Option<BTreeSet<String>>,
    /// The attributes that it reads when it sees the request, and where they are named.
    pub(crate) reads: Vec<(String, Span)>,
    /// Those that it reads then or later.
    pub(crate) reads_at_all: Vec<(String, Span)>,
}

impl Traits {
    /// Takes in what another version of the policy can do.
    fn join(&mut self, other: Self) {
        self.chooses_upstream |= other.chooses_upstream;
        self.sets = match (self.sets.take(), other.sets) {
            (Some(mut ours), Some(theirs)) => {
                ours.extend(theirs);
                Some(ours)
            }
            _ => None,
        };
        self.reads.extend(other.reads);
        self.reads_at_all.extend(other.reads_at_all);
    }
}

/// Names that something refers to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used<'a> {
    pub(crate) names: BTreeSet<&'a str>,
    /// Whether there may be more, because a reference could not be read.
    pub(crate) uncertain: bool,
}

/// Whether a key has a value of the wrong type, which was reported.
pub(crate) fn is_wrong(view: View<'_>, key: &str) -> bool {
    view.key_span(key).is_some() && view.node(key).is_none()
}

/// Makes the policies. Names of secrets that they are granted go into `used`, those of signers into `signers_used`.
pub(crate) fn policies<'a>(
    loader: &mut Loader<'_>,
    section: &Section<'a>,
    (secrets, used): (&Section<'a>, &mut Used<'a>),
    (signers, signers_used): (&Section<'a>, &mut Used<'a>),
) -> Vec<PolicyConfig> {
    let mut policies = Vec::new();
    for named in section.values().filter(|named| named.table.is_some()) {
        let view = View::new(named.table, &POLICY, named.span);
        let signed_by = signed_by(loader, named, view, signers, signers_used);
        let plugin =
            view.text("plugin").and_then(|plugin| plugin::find(loader, named, plugin, signed_by.as_ref()));
        let grants = grants(loader, named, view.view("grants"), secrets, used);
        used.uncertain |= is_wrong(view, "grants") || is_wrong(view.view("grants"), "secrets");
        let info = plugin.as_ref().and_then(|plugin| plugin.info.as_ref());
        if let (Some(info), Some(plugin)) = (info, &plugin) {
            check_missing(loader, named, view, plugin.span, info, &grants);
            check_unused(loader, named, view, info, &grants);
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
            limits: limits(loader, named, view.view("limits"), ResourceLimits::default()),
            quarantine: quarantine(loader, named, view),
            on_error: match view.word("on-error") {
                Some("allow") => FailureMode::Allow,
                _ => FailureMode::Deny,
            },
            tick: view.duration("tick").unwrap_or(TICK),
            config_is_sound: loader.reports.len() == count,
            signed_by: &signed_by.names,
        };
        let tried = candidate(loader, named, view, &inherited, (secrets, used), (signers, signers_used));
        match (tried.as_ref().map(|tried| tried.traits.clone()), loader.traits.get_mut(named.name)) {
            (Some(Some(theirs)), Some(traits)) => traits.join(theirs),
            // Of a version about which nothing is known, anything may be.
            (Some(None), _) => drop(loader.traits.remove(named.name)),
            _ => {}
        }
        if let Some(info) = info {
            check_tick(loader, named, view, info, tried.as_ref());
            if !tried.as_ref().is_some_and(|tried| tried.asks) {
                check_http_calls(loader, named, view.view("limits"), info);
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

/// Who must have signed a policy's plugin: its own list where it has one, else the server's.
struct SignedBy {
    names: Vec<Name>,
    own: Option<Span>,
}

impl SignedBy {
    fn as_ref(&self) -> plugin::SignedBy<'_> {
        plugin::SignedBy { names: &self.names, own: self.own }
    }
}

fn signed_by<'a>(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'a>,
    signers: &Section<'a>,
    used: &mut Used<'a>,
) -> SignedBy {
    used.uncertain |= is_wrong(view, "signed-by");
    let own = view.key_span("signed-by");
    let names = match own {
        Some(_) => {
            let by = format!("policy `{}`", named.name);
            plugins::named_signers(loader, signers, &view.texts("signed-by"), &by, used)
        }
        None => loader.supply.signed_by.clone(),
    };
    SignedBy { names, own }
}

fn grants<'a>(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'a>,
    secrets: &Section<'a>,
    used: &mut Used<'a>,
) -> Grants {
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
    }
}

/// A reference to something that is not there, and what was probably meant.
pub(crate) fn unknown<'a>(
    noun: &str,
    (name, span): (&str, Span),
    section: &Section<'a>,
    by: &str,
) -> (Report, Option<&'a str>) {
    let message = format!("{by} names the {noun} `{}`, which does not exist", shown(name));
    let names: Vec<&str> = section.keys().copied().collect();
    let plural = if noun == "policy" { "policies".to_owned() } else { format!("{noun}s") };
    let meant = did_you_mean(name, names.iter().copied());
    let help = match meant {
        Some(name) => format!("did you mean `{name}`?"),
        None if names.is_empty() => format!("there are no {plural}; add [{plural}.{}]", shown(name)),
        None => format!("the {plural} are {}", list(&names)),
    };
    (Report::new(span, message, format!("no such {noun}")).help(help), meant)
}

/// A component must be granted what it imports.
fn check_missing(
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
fn check_unused(
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

fn check_tick(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    info: &PluginInfo,
    tried: Option<&Tried>,
) {
    let has_tick = info.has_tick || tried.is_some_and(|tried| tried.has_tick);
    if let (Some(span), false) = (view.key_span("tick"), has_tick) {
        let message = format!("policy `{}` has a `tick`, but its plugin has no `on-tick`", named.name);
        let label = format!("{} {} is never woken", info.name, info.version);
        loader.report(Report::new(span, message, label).help("remove it"));
    }
}

/// A bound for what a plugin never does says nothing.
fn check_http_calls(loader: &mut Loader<'_>, named: &Named<'_>, limits: View<'_>, info: &PluginInfo) {
    if let (Some(span), false) =
        (limits.key_span("http-calls"), info.imports.contains(&Capability::HttpClient))
    {
        let message = format!("policy `{}` limits requests that its plugin does not make", named.name);
        let label = format!("{} {} does not import `http-client`", info.name, info.version);
        loader.report(Report::new(span, message, label).help("remove it"));
    }
}

/// When a policy is not called any more for its faults.
fn quarantine(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Option<QuarantineRule> {
    let table = view.view("quarantine");
    let defaults = QuarantineRule::default();
    let rule = QuarantineRule {
        faults: table.integer("faults").unwrap_or(defaults.faults),
        window: table.duration("window").unwrap_or(defaults.window),
        backoff: table.duration("backoff").unwrap_or(defaults.backoff),
        backoff_max: table.duration("backoff-max").unwrap_or(defaults.backoff_max),
    };
    if rule.backoff > rule.backoff_max {
        let span = table.key_span("backoff").or(table.key_span("backoff-max")).unwrap_or(named.span);
        let message =
            format!("the quarantine of policy `{}` has a `backoff` over its `backoff-max`", named.name);
        let label =
            format!("{} is more than {}", show_duration(rule.backoff), show_duration(rule.backoff_max));
        let help = format!("write backoff-max = \"{}\" or more", show_duration(rule.backoff));
        loader.report(Report::new(span, message, label).help(help));
    }
    (view.bool("quarantine") != Some(false)).then_some(rule)
}

fn limits(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    defaults: ResourceLimits,
) -> ResourceLimits {
    let limits = ResourceLimits {
        deadline: view.duration("deadline").unwrap_or(defaults.deadline),
        configure_deadline: view.duration("configure-deadline").unwrap_or(defaults.configure_deadline),
        memory_bytes: view.bytes("memory").unwrap_or(defaults.memory_bytes),
        body_bytes: view.bytes("body").unwrap_or(defaults.body_bytes),
        wall: view.duration("wall").unwrap_or(defaults.wall),
        instances: view.integer("instances").or(defaults.instances),
        hook_calls: view.integer("hook-calls").unwrap_or(defaults.hook_calls),
        http_calls: view.integer("http-calls").unwrap_or(defaults.http_calls),
        log_lines: view.integer("log-lines").unwrap_or(defaults.log_lines),
        log_bytes: view
            .size("log-bytes")
            .and_then(|bytes| bytes.try_into().ok())
            .unwrap_or(defaults.log_bytes),
    };
    // What a version inherits was looked at where it was typed.
    if let Some(span) = view.key_span("wall").or(view.key_span("deadline"))
        && limits.wall < limits.deadline
    {
        let message = format!("policy `{}` may compute for longer than a call of it may take", named.name);
        let label = format!("the deadline of {} would never be reached", show_duration(limits.deadline));
        let help =
            format!("write wall = \"{}\" or more, or a shorter deadline", show_duration(limits.deadline));
        loader.report(Report::new(span, message, label).help(help));
    }
    limits
}
