//! What a route does: `to`, `redirect` or `respond`, exactly one of them.

use portcullis_model::{Action, Forward, PathPattern, Redirect, RequestFilter, Respond};

use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::references::{Named, Section};
use crate::sections::field_match::is_token;
use crate::syntax::suggest::list;
use crate::syntax::template::{check_location, check_path, template};
use crate::syntax::view::View;

/// Redirects are temporary unless the operator says otherwise: browsers keep a permanent one for good.
const REDIRECT_STATUS: u16 = 307;
const RESPOND_STATUS: u16 = 200;

/// The keys that name an action.
const ACTIONS: [&str; 3] = ["to", "redirect", "respond"];

/// Reads the action of a route. `to` and `attempts` are what it says of forwarding, checked.
pub(super) fn action(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    pattern: &PathPattern,
    upstreams: &Section<'_>,
    mut forward: Forward,
) -> Action {
    let written: Vec<(&str, Span)> =
        ACTIONS.iter().filter_map(|key| Some((*key, view.key_span(key)?))).collect();
    match written.as_slice() {
        [] => {
            report_missing(loader, named, view, upstreams);
            return Action::Forward(forward);
        }
        [_] => {}
        [(first, _), others @ ..] => {
            for (key, span) in others {
                let message = format!("route `{}` has both `{first}` and `{key}`", named.name);
                let help = "remove one of the two, or make two routes of it";
                loader.report(Report::new(*span, message, "a route does one thing").help(help));
            }
        }
    }
    if !written.iter().any(|(key, _)| *key == "to") {
        for (key, what) in
            [("attempts", "says how often to ask one"), ("rewrite", "says which path to ask one for")]
        {
            let Some(span) = view.key_span(key) else { continue };
            let message = format!("route `{}` asks no upstream, and {what}", named.name);
            loader.report(Report::new(span, message, "without effect").help("remove it"));
        }
    }
    forward.filters.extend(rewrite(loader, named, view.view("rewrite"), pattern));
    if view.key_span("redirect").is_some() {
        return redirect(loader, named, view.view("redirect"), pattern)
            .map_or(Action::Forward(forward), Action::Redirect);
    }
    if view.key_span("respond").is_some() {
        return Action::Respond(respond(loader, named, view.view("respond")));
    }
    Action::Forward(forward)
}

fn report_missing(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>, upstreams: &Section<'_>) {
    let missing = ACTIONS.map(|key| view.missing(key));
    let [Some(span), Some(_), Some(_)] = missing else { return };
    let message = format!("route `{}` has no `to`, `redirect` or `respond`", named.name);
    let known: Vec<&str> = upstreams.keys().copied().collect();
    let help = match known.as_slice() {
        [] => "add to = \"NAME\", where [upstreams.NAME] names the servers".to_owned(),
        [only] => format!("add to = \"{only}\""),
        many => format!("add to = \"NAME\" with one of the upstreams {}", list(many)),
    };
    loader.report(Report::new(span, message, "one of them is needed here").help(help));
}

fn rewrite(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    pattern: &PathPattern,
) -> Option<RequestFilter> {
    let place = format!("`rewrite` of route `{}`", named.name);
    let (text, span) = view.text("path")?;
    match template(text, pattern).and_then(|path| check_path(&path).map(|()| path)) {
        Ok(path) => Some(RequestFilter::Path(path)),
        Err((label, help)) => {
            loader.report(Report::new(span, format!("`path` of {place} is not valid"), label).help(help));
            None
        }
    }
}

fn redirect(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    pattern: &PathPattern,
) -> Option<Redirect> {
    let place = format!("`redirect` of route `{}`", named.name);
    let status = view.integer("status").unwrap_or(REDIRECT_STATUS);
    if let (304..=306, Some(node)) = (status, view.node("status")) {
        let label = format!("{status} names no other place");
        let report = Report::new(node.span, format!("`status` of {place} is not valid"), label);
        loader.report(report.help("write 307 or 308, which keep the method, or 301, 302 or 303"));
    }
    let (text, span) = view.text("to")?;
    match template(text, pattern).and_then(|to| check_location(&to).map(|()| to)) {
        Ok(to) => Some(Redirect { status, to }),
        Err((label, help)) => {
            loader.report(Report::new(span, format!("`to` of {place} is not valid"), label).help(help));
            None
        }
    }
}

fn respond(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Respond {
    let status = view.integer("status").unwrap_or(RESPOND_STATUS);
    let body = view.text("body");
    if let (204 | 205 | 304, Some((_, span))) = (status, body) {
        let message = format!("`respond` of route `{}` has a body that is never sent", named.name);
        let label = format!("a response with status {status} has none");
        loader.report(Report::new(span, message, label).help("remove it, or write another status"));
    }
    let mut fields = fields(loader, named, view);
    let typed = fields.iter().any(|(name, _)| name == "content-type");
    if body.is_some() && !typed {
        fields.push(("content-type".to_owned(), "text/plain; charset=utf-8".to_owned()));
    }
    Respond { status, fields, body: body.map_or("", |(text, _)| text).as_bytes().into() }
}

/// Reads fields that the gateway is to send, names in lower case.
fn fields(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let table = view.node("headers").and_then(|node| node.as_table());
    for entry in table.map_or(&[][..], |table| &table.entries) {
        let name = entry.key.to_ascii_lowercase();
        let message = format!("`headers` in `respond` of route `{}` is not valid", named.name);
        let wrong = |span, label: &str, help: &str| Report::new(span, message.clone(), label).help(help);
        let Some(value) = entry.value.as_str() else { continue };
        let report = if !is_token(&name) {
            let help = "a field's name is of letters, digits and !#$%&'*+-.^_`|~";
            wrong(entry.key_span, "not the name of a field", help)
        } else if is_written_by_gateway(&name) {
            wrong(entry.key_span, "the gateway writes this field itself", "remove it")
        } else if fields.iter().any(|(other, _)| *other == name) {
            let help = "names of fields are compared without case; remove one of the two";
            wrong(entry.key_span, "listed before", help)
        } else if value.trim() != value || value.chars().any(|letter| letter != '\t' && letter.is_control()) {
            let help = "a field's value has no control characters, and no blanks at its ends";
            wrong(entry.value.span, "not the value of a field", help)
        } else {
            fields.push((name, value.to_owned()));
            continue;
        };
        loader.report(report);
    }
    fields
}

/// Whether a field (lower case) is about one connection or about framing.
fn is_written_by_gateway(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "content-length"
            | "date"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}
