//! How many requests may be under way.

use portcullis_model::UpstreamLimits;

use crate::diagnostic::Report;
use crate::loader::Loader;
use crate::references::Named;
use crate::syntax::view::View;

/// Reads `limits`.
pub(super) fn limits(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> UpstreamLimits {
    let (table, default) = (view.view("limits"), UpstreamLimits::default());
    let mut without_effect = |span, message: String, help: &str| {
        loader.report(Report::new(span, message, "without effect").help(help));
    };
    let bounds = table.key_span("requests").or(table.key_span("endpoint-requests"));
    if let (None, Some(span)) = (bounds, view.key_span("limits").filter(|_| table.is_there())) {
        let message = format!("`limits` of upstream `{}` bounds nothing", named.name);
        without_effect(span, message, "add requests = 500 or endpoint-requests = 100, or remove it");
    }
    let waiting_max = table.integer("waiting").unwrap_or(default.waiting_max);
    if let (0, Some(span), Some(_)) = (waiting_max, table.key_span("wait"), bounds) {
        let message = format!("no request waits for upstream `{}`, so `wait` says nothing", named.name);
        without_effect(span, message, "remove it, or add waiting = 100");
    }
    UpstreamLimits {
        requests_max: table.integer("requests"),
        endpoint_requests_max: table.integer("endpoint-requests"),
        waiting_max,
        wait: table.duration("wait").unwrap_or(default.wait),
    }
}
