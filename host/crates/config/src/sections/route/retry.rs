//! How often a request is tried.

use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{Retry, Tries};

use crate::diagnostic::Report;
use crate::loader::Loader;
use crate::references::Named;
use crate::syntax::tree::{Node, Value};
use crate::syntax::view::View;

/// Attempts by default.
const ATTEMPTS: u32 = 3;
/// The longest pauses by default.
const DELAY: Duration = Duration::from_millis(25);
const DELAY_MAX: Duration = Duration::from_millis(250);

/// Reads `attempts` and `retry` of a route whose upstreams have up to so many `endpoints`.
pub(super) fn tries(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>, endpoints: u32) -> Tries {
    let attempts = view.integer("attempts").unwrap_or(ATTEMPTS);
    let table = view.view("retry");
    if !table.is_there() {
        return Tries { attempts: attempts.min(endpoints), retry: None };
    }
    let mut without_effect = |span, message: String, help: &str| {
        loader.report(Report::new(span, message, "without effect").help(help));
    };
    if let (1, Some(span)) = (attempts, view.key_span("retry")) {
        let message = format!("route `{}` tries each request once, so `retry` says nothing", named.name);
        without_effect(span, message, "remove it, or allow more `attempts`");
    }
    let on = table.node("on").map_or(&[][..], Node::elements);
    let has = |word: &str| on.iter().any(|node| node.as_str() == Some(word));
    let status = |node: &Node| match node.value {
        Value::Integer(status) => u16::try_from(status).ok(),
        _ => None,
    };
    let mut on_statuses: Vec<u16> = on.iter().filter_map(status).collect();
    on_statuses.sort_unstable();
    on_statuses.dedup();
    if let (false, Some(span)) = (has("timeout"), table.key_span("try-timeout")) {
        let message = format!("route `{}` tries nothing again that took too long", named.name);
        without_effect(span, message, "add \"timeout\" to `on`, or remove try-timeout");
    }
    let delay = table.duration("delay").unwrap_or(DELAY);
    let delay_max = table.duration("delay-max").unwrap_or(DELAY_MAX.max(delay));
    if let (true, Some(span)) = (delay_max < delay, table.key_span("delay-max")) {
        let message = format!("`delay-max` of `retry` of route `{}` is shorter than `delay`", named.name);
        without_effect(span, message, "write the longest pause of all, at least as long as the first one");
    }
    let retry = Retry {
        on_reset: has("reset"),
        on_timeout: has("timeout"),
        on_statuses,
        try_timeout: table.duration("try-timeout"),
        delay,
        delay_max,
        non_idempotent: table.bool("non-idempotent").unwrap_or(false),
    };
    Tries { attempts, retry: Some(Arc::new(retry)) }
}
