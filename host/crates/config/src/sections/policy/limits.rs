//! `limits` and `quarantine`: what a policy may cost, and how often it may fail.

use portcullis_model::{Capability, QuarantineRule, ResourceLimits};

use crate::diagnostic::Report;
use crate::loader::Loader;
use crate::plugins::PluginInfo;
use crate::references::Named;
use crate::syntax::units::show_duration;
use crate::syntax::view::View;

pub(super) fn limits(
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
    // What a version inherits was checked with its policy.
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

/// When a policy is not called any more for its faults.
pub(super) fn quarantine(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
) -> Option<QuarantineRule> {
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

/// A bound for what a plugin never does says nothing.
pub(super) fn check_http_calls(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    limits: View<'_>,
    info: &PluginInfo,
) {
    if let (Some(span), false) =
        (limits.key_span("http-calls"), info.imports.contains(&Capability::HttpClient))
    {
        let message = format!("policy `{}` limits requests that its plugin does not make", named.name);
        let label = format!("{} {} does not import `http-client`", info.name, info.version);
        loader.report(Report::new(span, message, label).help("remove it"));
    }
}
