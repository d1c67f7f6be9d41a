//! When an endpoint is left out for what it did.

use portcullis_model::{Ejection, Outliers, Panic};

use crate::diagnostic::Report;
use crate::loader::Loader;
use crate::references::Named;
use crate::syntax::view::View;

/// How long exchanges are counted, and how many there must have been.
const WINDOW: std::time::Duration = std::time::Duration::from_secs(10);
const REQUESTS: u32 = 50;

/// Reads `ejection`.
pub(super) fn ejection(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Ejection {
    let (table, default) = (view.view("ejection"), Ejection::default());
    let failures = table.integer("failures").unwrap_or(default.failures);
    let outliers = outliers(loader, named, table.view("outliers"));
    if failures == 0 && !table.view("outliers").is_there() {
        for key in ["duration", "duration-max", "share-max"] {
            let Some(span) = table.key_span(key) else { continue };
            let message =
                format!("upstream `{}` never leaves an endpoint out, so `{key}` says nothing", named.name);
            let help = "remove it, or write failures = 1";
            loader.report(Report::new(span, message, "without effect").help(help));
        }
    }
    let duration = table.duration("duration").unwrap_or(default.duration);
    let duration_max = table.duration("duration-max").unwrap_or(duration);
    if let (true, Some(span)) = (duration_max < duration, table.key_span("duration-max")) {
        let message =
            format!("`duration-max` of `ejection` of upstream `{}` is shorter than `duration`", named.name);
        let help =
            "write the longest time of all, at least as long as the first one, which is 10s by default";
        loader.report(Report::new(span, message, "without effect").help(help));
    }
    Ejection {
        failures,
        duration,
        duration_max,
        share_max: table.percent("share-max").unwrap_or(default.share_max),
        outliers,
    }
}

fn outliers(loader: &mut Loader<'_>, named: &Named<'_>, table: View<'_>) -> Option<Outliers> {
    if !table.is_there() {
        return None;
    }
    if let Some(span) = table.missing("failures").and(table.missing("latency")) {
        let message = format!("`outliers` of upstream `{}` compares nothing", named.name);
        let help = "add failures = \"20%\" or latency = \"300%\", or remove it";
        loader.report(Report::new(span, message, "`failures` or `latency` is needed here").help(help));
        return None;
    }
    Some(Outliers {
        failures: table.percent("failures"),
        latency: table.percent("latency"),
        window: table.duration("window").unwrap_or(WINDOW),
        requests_min: table.integer("requests").unwrap_or(REQUESTS),
    })
}

/// Reads `panic`.
pub(super) fn panic(view: View<'_>) -> Panic {
    match view.percent("panic") {
        Some(share) if share.hundredths() == 0 => Panic::Off,
        Some(share) => Panic::Below(share),
        None => Panic::NoneLeft,
    }
}
