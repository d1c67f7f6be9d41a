//! `cache` of a route.

use std::time::Duration;

use portcullis_model::{
    Bypass, CacheKey, Collapse, CookieRule, QueryRule, RouteCache, StaleRules, StatusClass, VaryRule,
};

use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::references::{Named, Section, Used, unknown};
use crate::sections::field_match::{fields, is_token};
use crate::syntax::tree::Value;
use crate::syntax::units;
use crate::syntax::unseen_fields::unseen;
use crate::syntax::view::View;

/// The field that all caches between an origin and its clients obey.
const CDN_CACHE_CONTROL: &str = "cdn-cache-control";
/// How long a request waits for another one by default.
const WAIT: Duration = Duration::from_secs(5);
/// How many may wait for one response by default.
const WAITING: u32 = 10_000;
/// For how long requests do not wait for each other after a response was not shared.
const PASS: Duration = Duration::from_secs(10);

/// Where something of a `cache` is written, for messages.
#[derive(Clone, Copy)]
struct Place<'p> {
    route: &'p str,
    key: &'static str,
}

impl Place<'_> {
    fn invalid(self, span: Span, label: &str, help: &str) -> Report {
        Report::new(span, format!("`{}` of `cache` of route `{}` is not valid", self.key, self.route), label)
            .help(help)
    }
}

/// Reads the `cache` of a route.
pub(super) fn cache<'a>(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    route: View<'a>,
    section: &Section<'a>,
    used: &mut Used<'a>,
) -> Option<RouteCache> {
    used.uncertain |= route.key_span("cache").is_some() && route.node("cache").is_none();
    let view = route.view("cache");
    let store = route.text("cache").or_else(|| view.text("store"));
    used.uncertain |= view.is_there() && store.is_none();
    let (store, span) = store?;
    used.names.insert(store);
    if !section.contains_key(store) {
        let (report, meant) = unknown("cache", (store, span), section, &format!("route `{}`", named.name));
        loader.report(report);
        used.names.extend(meant);
    }
    let (stale, collapse) = (view.view("stale"), view.view("collapse"));
    Some(RouteCache {
        store: store.into(),
        ttl: ttl(loader, named, view),
        heuristic: view.bool("heuristic").unwrap_or(false),
        cookies: if view.word("cookies") == Some("rfc") { CookieRule::Rfc } else { CookieRule::Skip },
        targeted: targeted(loader, named, view),
        lifetime_max: view.duration("lifetime-max"),
        object_bytes_max: view.size("object"),
        vary: match view.word("vary") {
            Some("exact") => VaryRule::Exact,
            Some("languages") => VaryRule::Languages,
            _ => VaryRule::Case,
        },
        heeds_clients: view.word("client-directives") == Some("rfc"),
        stale: StaleRules {
            while_revalidate: stale.duration("while-revalidate").unwrap_or_default(),
            on_error: stale.duration("on-error").unwrap_or_default(),
        },
        key: key(loader, named, view.view("key")),
        bypass: bypass(loader, named, view.view("bypass")),
        collapse: Collapse {
            wait: collapse.duration("wait").unwrap_or(WAIT),
            waiting_max: collapse.integer("waiting").unwrap_or(WAITING),
            pass: collapse.duration("pass").unwrap_or(PASS),
        },
        reports: view.bool("cache-status").unwrap_or(true),
    })
}

/// Reads the fields that count in place of `Cache-Control`, in order.
fn targeted(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Vec<String> {
    if view.word("targeted").is_some() {
        return Vec::new();
    }
    if view.node("targeted").is_none() {
        return vec![CDN_CACHE_CONTROL.to_owned()];
    }
    let place = Place { route: named.name, key: "targeted" };
    let mut fields: Vec<String> = Vec::new();
    for (typed, span) in view.texts("targeted") {
        let name = typed.to_ascii_lowercase();
        // Other fields for caches, such as Surrogate-Control, have a syntax of their own.
        let target = name.strip_suffix("-cache-control");
        if !is_token(&name) || target.is_none_or(str::is_empty) {
            let help =
                "write the name of a field such as \"CDN-Cache-Control\", which ends in `-Cache-Control`";
            loader.report(place.invalid(span, "not a targeted field as RFC 9213 has it", help));
        } else if !fields.contains(&name) {
            fields.push(name);
        }
    }
    fields
}

/// Reads how long responses of each status are fresh. Single statuses come before classes.
fn ttl(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Vec<(StatusClass, Duration)> {
    if let Some(duration) = view.duration("ttl") {
        return [StatusClass::Hundred(2), StatusClass::Exactly(301), StatusClass::Exactly(308)]
            .map(|class| (class, duration))
            .to_vec();
    }
    let table = view.node("ttl").and_then(|node| node.as_table());
    let mut times = Vec::new();
    for entry in table.map_or(&[][..], |table| &table.entries) {
        let Some(class) = status_class(&entry.key) else {
            let place = Place { route: named.name, key: "ttl" };
            let help = "write a status from 200 to 599, such as 404, or a class, such as 5xx";
            loader.report(place.invalid(entry.key_span, "not the status of a response", help));
            continue;
        };
        if let Value::String(text) = &entry.value.value
            && let Ok(duration) = units::duration(text)
        {
            times.push((class, duration));
        }
    }
    times.sort_by_key(|(class, _)| match class {
        StatusClass::Exactly(status) => (0, *status),
        StatusClass::Hundred(digit) => (1, *digit),
    });
    times
}

fn status_class(text: &str) -> Option<StatusClass> {
    match text.strip_suffix("xx") {
        Some(digit) => digit.parse().ok().filter(|digit| (2..=5).contains(digit)).map(StatusClass::Hundred),
        None => text.parse().ok().filter(|status| (200..=599).contains(status)).map(StatusClass::Exactly),
    }
}

fn key(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> CacheKey {
    let mut names = |key, check: Check| names(loader, Place { route: named.name, key }, view, check);
    let except = view.view("query");
    CacheKey {
        fields: names("headers", Check::Field),
        cookies: names("cookies", Check::Cookie),
        attributes: names("attributes", Check::Text),
        irrelevant: names("irrelevant", Check::Field),
        query: match view.word("query") {
            Some("none") => QueryRule::Only(Vec::new()),
            Some(_) => QueryRule::All,
            None if except.is_there() => QueryRule::Except(sorted(except.texts("except"))),
            None => match sorted(view.texts("query")) {
                only if only.is_empty() => QueryRule::All,
                only => QueryRule::Only(only),
            },
        },
    }
}

fn sorted(texts: Vec<(&str, Span)>) -> Vec<String> {
    let mut texts: Vec<String> = texts.into_iter().map(|(text, _)| text.to_owned()).collect();
    texts.sort();
    texts.dedup();
    texts
}

/// What a list of names holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    Field,
    Cookie,
    Text,
}

/// Reads a list of names, sorted; those of fields in lower case.
fn names(loader: &mut Loader<'_>, place: Place<'_>, view: View<'_>, check: Check) -> Vec<String> {
    let mut found = Vec::new();
    for (typed, span) in view.texts(place.key) {
        let name = if check == Check::Field { typed.to_ascii_lowercase() } else { typed.to_owned() };
        let report = match check {
            Check::Field if !is_token(&name) => {
                place.invalid(span, "not the name of a header", "write a name such as \"accept-language\"")
            }
            Check::Cookie if !is_token(&name) => {
                place.invalid(span, "not the name of a cookie", "write a name such as \"lang\"")
            }
            Check::Field if name == "host" => {
                place.invalid(span, "the host is part of every key", "remove it")
            }
            Check::Field => match unseen(&name, loader.has_trusted_proxies) {
                Some((label, help)) => place.invalid(span, label, &help),
                None => {
                    found.push(name);
                    continue;
                }
            },
            Check::Cookie | Check::Text => {
                found.push(name);
                continue;
            }
        };
        loader.report(report);
    }
    found.sort();
    found.dedup();
    found
}

fn bypass(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Vec<Bypass> {
    let place = format!("`bypass` of route `{}`", named.name);
    let host = ("the host is no header here", "give the host a route of its own without `cache`");
    let mut all: Vec<Bypass> = fields(loader, &place, host, view).into_iter().map(Bypass::Field).collect();
    let cookies = names(loader, Place { route: named.name, key: "cookies" }, view, Check::Cookie);
    all.extend(cookies.into_iter().map(Bypass::Cookie));
    all
}
