//! `compress` of a route, and of `[server]` for all routes that say nothing of it.

use portcullis_model::{Action, Coding, Compress, Credentials, Decompress, Effort, MediaPattern};

use crate::diagnostic::Report;
use crate::loader::Loader;
use crate::references::Named;
use crate::syntax::view::View;

/// Bytes below which what encoding saves is less than what a packet carries anyhow.
const BYTES_MIN: u64 = 1024;

/// Bytes that a decoded body may have by default.
const DECODED_BYTES_MAX: u64 = 64 << 20;
/// How much a body may grow by default. Text that repeats itself seldom comes near it, and a bomb goes beyond.
const RATIO_MAX: u32 = 200;

/// The media types that are encoded by default: those that are not compressed in themselves.
const TYPES: [&str; 19] = [
    "text/*",
    "*+json",
    "*+xml",
    "*+text",
    "application/json",
    "application/json5",
    "application/x-ndjson",
    "application/jsonl",
    "application/javascript",
    "application/xml",
    "application/yaml",
    "application/toml",
    "application/graphql",
    "application/wasm",
    "application/vnd.apple.mpegurl",
    "application/vnd.ms-fontobject",
    "font/ttf",
    "font/otf",
    "image/x-icon",
];

/// Reads the `compress` of `place`, or takes `default` if it has none.
pub(crate) fn compress(
    loader: &mut Loader<'_>,
    place: &str,
    parent: View<'_>,
    default: Option<&Compress>,
) -> Option<Compress> {
    let view = parent.view("compress");
    match parent.bool("compress") {
        Some(false) => return None,
        Some(true) => {}
        None if view.is_there() => {}
        None => return default.cloned(),
    }
    Some(Compress {
        codings: codings(loader, place, view),
        types: types(loader, place, view),
        bytes_min: view.size("min-size").unwrap_or(BYTES_MIN),
        effort: match view.word("effort") {
            Some("low") => Effort::Low,
            Some("high") => Effort::High,
            _ => Effort::Normal,
        },
        credentials: match view.word("credentials") {
            Some("never") => Credentials::Never,
            Some("always") => Credentials::Always,
            _ => Credentials::SameOrigin,
        },
    })
}

/// Reads the `compress` of the route `named`, which does `action`. A redirect has a few words for a body, which
/// browsers do not show.
pub(crate) fn of_route(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    action: &Action,
    default: Option<&Compress>,
) -> Option<Compress> {
    let is_redirect = matches!(action, Action::Redirect(_));
    if let (true, Some(span)) = (is_redirect, view.key_span("compress")) {
        let message = format!("route `{}` redirects, and says how its responses are encoded", named.name);
        loader.report(Report::new(span, message, "without effect").help("remove it"));
    }
    let place = format!("route `{}`", named.name);
    compress(loader, &place, view, default).filter(|_| !is_redirect)
}

/// Reads the `decompress` of a route.
pub(crate) fn decompress(route: View<'_>) -> Option<Decompress> {
    let view = route.view("decompress");
    let is_on = route.bool("decompress").unwrap_or(view.is_there());
    let decompress = Decompress {
        requests: view.bool("requests").unwrap_or(true),
        responses: view.bool("responses").unwrap_or(true),
        bytes_max: view.size("size").unwrap_or(DECODED_BYTES_MAX),
        ratio_max: view.integer("ratio").unwrap_or(RATIO_MAX),
    };
    is_on.then_some(decompress)
}

fn codings(loader: &mut Loader<'_>, place: &str, view: View<'_>) -> Vec<Coding> {
    if view.node("codings").is_none() {
        return Coding::ALL.to_vec();
    }
    let mut codings = Vec::new();
    for (name, span) in view.texts("codings") {
        match Coding::named(name.as_bytes()) {
            Some(coding) if codings.contains(&coding) => {
                let message = format!("`codings` of `compress` of {place} names `{name}` twice");
                loader.report(Report::new(span, message, "named before").help("remove one of the two"));
            }
            Some(coding) => codings.push(coding),
            // Reported by the check of the keys.
            None => {}
        }
    }
    codings
}

fn types(loader: &mut Loader<'_>, place: &str, view: View<'_>) -> Vec<MediaPattern> {
    if view.node("types").is_none() {
        return TYPES.iter().filter_map(|text| MediaPattern::parse(text)).collect();
    }
    let mut patterns = Vec::new();
    for (text, span) in view.texts("types") {
        match MediaPattern::parse(text) {
            Some(pattern) => patterns.push(pattern),
            None => {
                let message = format!("`types` of `compress` of {place} is not valid");
                let label = if text.contains(';') { "with parameters" } else { "not a media type" };
                let help = "write one as in \"application/json\", a kind as in \"text/*\", or a suffix as in \"*+json\"";
                loader.report(Report::new(span, message, label).help(help));
            }
        }
    }
    patterns
}

#[cfg(test)]
mod tests {
    use portcullis_model::MediaPattern;

    #[test]
    fn the_types_of_the_default_are_patterns() {
        let parsed = super::TYPES.iter().filter_map(|text| MediaPattern::parse(text));
        assert_eq!(parsed.count(), super::TYPES.len());
    }
}
