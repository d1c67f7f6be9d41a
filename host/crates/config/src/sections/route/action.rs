//! What a route does: `to`, `redirect`, `respond` or `files`, exactly one of them.

use portcullis_model::{
    Action, Files, Forward, PathRewrite, Pattern, Redirect, RequestFilter, Respond, Scope, Symlinks,
    Template, media_type,
};

use super::fields::{request_edits, sent_fields};

use crate::diagnostic::Report;
use crate::files::read::reason;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::references::{Named, Section};
use crate::sections::host_header::host_header;
use crate::syntax::keys::REWRITE_RULE;
use crate::syntax::pattern;
use crate::syntax::suggest::list;
use crate::syntax::template::{check_location, check_path, template};
use crate::syntax::tree::Node;
use crate::syntax::view::View;

/// Redirects are temporary unless the operator says otherwise: browsers keep a permanent one for good.
const REDIRECT_STATUS: u16 = 307;
const RESPOND_STATUS: u16 = 200;
/// Bytes of a body that is read from a file. It is kept in memory.
const BODY_FILE_BYTES_MAX: u64 = 1 << 20;

/// The keys that name an action.
const ACTIONS: [&str; 4] = ["to", "redirect", "respond", "files"];
/// The file that stands for a folder.
const INDEX: &str = "index.html";

/// Whether a route has an action that asks no upstream.
pub(super) fn acts_alone(view: View<'_>) -> bool {
    ACTIONS.iter().any(|key| *key != "to" && view.key_span(key).is_some())
}

/// Reads the action of a route. `to`, `attempts` and `retry` are what it says of forwarding, checked.
pub(super) fn action(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    scope: Scope<'_>,
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
        for (key, what) in [
            ("attempts", "says how often to ask one"),
            ("retry", "says when to ask one again"),
            ("rewrite", "says what to ask one for"),
            ("request-headers", "changes the fields that one would get"),
            ("cache", "says how to keep its responses"),
            ("decompress", "says how to decode what comes from it and goes to it"),
        ] {
            let Some(span) = view.key_span(key) else { continue };
            if key == "rewrite" && view.key_span("files").is_some() {
                continue;
            }
            let message = format!("route `{}` asks no upstream, and {what}", named.name);
            loader.report(Report::new(span, message, "without effect").help("remove it"));
        }
    }
    forward.filters.extend(request_edits(loader, named, view, scope));
    rewrite(loader, named, view, scope, &mut forward);
    if view.key_span("redirect").is_some() {
        return redirect(loader, named, view.view("redirect"), scope)
            .map_or(Action::Forward(forward), Action::Redirect);
    }
    if view.key_span("respond").is_some() {
        return Action::Respond(respond(loader, named, view.view("respond")));
    }
    if view.key_span("files").is_some() {
        return files(loader, named, view, &mut forward).map_or(Action::Forward(forward), Action::Files);
    }
    Action::Forward(forward)
}

fn report_missing(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>, upstreams: &Section<'_>) {
    let missing = ACTIONS.map(|key| view.missing(key));
    let [Some(span), Some(_), Some(_), Some(_)] = missing else { return };
    let message = format!("route `{}` has no `to`, `redirect`, `respond` or `files`", named.name);
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
    scope: Scope<'_>,
    forward: &mut Forward,
) {
    let place = format!("`rewrite` of route `{}`", named.name);
    let (key, node) = (view.key_span("rewrite"), view.node("rewrite"));
    let view = view.view("rewrite");
    forward.host = host_header(loader, &place, view);
    let is_empty = node.and_then(Node::as_table).is_some_and(|table| table.entries.is_empty());
    if let Some(span) = key.filter(|_| is_empty) {
        let report = Report::new(span, format!("{place} changes nothing"), "without effect");
        loader.report(report.help("add path = \"/v2{rest}\" or host = \"endpoint\", or remove it"));
    }
    let path = match view.text("path") {
        Some(typed) => new_path(loader, &place, typed, scope).map(PathRewrite::To),
        None => rules(loader, &place, view, scope).map(PathRewrite::First),
    };
    forward.filters.extend(path.map(RequestFilter::Path));
}

/// Reads the rules of `rewrite.path`.
fn rules(
    loader: &mut Loader<'_>,
    place: &str,
    view: View<'_>,
    scope: Scope<'_>,
) -> Option<Vec<(Pattern, Template)>> {
    let mut rules = Vec::new();
    for node in view.node("path")?.elements() {
        let view = View::new(node.as_table(), &REWRITE_RULE, node.span);
        let Some((regex, span)) = view.text("regex") else { continue };
        match pattern::regex(regex) {
            Ok(regex) => {
                let typed = view.text("to");
                let scope = Scope { regex: Some(&regex), ..scope };
                let to = typed.and_then(|typed| new_path(loader, place, typed, scope));
                rules.extend(to.map(|to| (regex, to)));
            }
            Err((label, help)) => {
                let message = format!("`path` of {place} is not valid");
                loader.report(Report::new(span, message, label).help(help));
            }
        }
    }
    Some(rules)
}

fn new_path(
    loader: &mut Loader<'_>,
    place: &str,
    (text, span): (&str, Span),
    scope: Scope<'_>,
) -> Option<Template> {
    match template(text, scope).and_then(|path| check_path(&path).map(|()| path)) {
        Ok(path) => Some(path),
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
    scope: Scope<'_>,
) -> Option<Redirect> {
    let place = format!("`redirect` of route `{}`", named.name);
    let status = view.integer("status").unwrap_or(REDIRECT_STATUS);
    if let (304..=306, Some(node)) = (status, view.node("status")) {
        let label = format!("{status} names no other place");
        let report = Report::new(node.span, format!("`status` of {place} is not valid"), label);
        loader.report(report.help("write 307 or 308, which keep the method, or 301, 302 or 303"));
    }
    let (text, span) = view.text("to")?;
    match template(text, scope).and_then(|to| check_location(&to).map(|()| to)) {
        Ok(to) => Some(Redirect { status, to }),
        Err((label, help)) => {
            loader.report(Report::new(span, format!("`to` of {place} is not valid"), label).help(help));
            None
        }
    }
}

fn respond(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Respond {
    let place = format!("`respond` of route `{}`", named.name);
    let status = view.integer("status").unwrap_or(RESPOND_STATUS);
    let (body, file) = (view.text("body"), view.text("body-file"));
    if let (204 | 205 | 304, Some((_, span))) = (status, body.or(file)) {
        let label = format!("a response with status {status} has none");
        let report = Report::new(span, format!("{place} has a body that is never sent"), label);
        loader.report(report.help("remove it, or write another status"));
    }
    let mut fields = sent_fields(loader, named, view);
    let (body, media_type): (std::sync::Arc<[u8]>, _) = match (body, file) {
        (None, None) => return Respond { status, fields, body: [].into() },
        (Some(_), Some((_, span))) => {
            let report =
                Report::new(span, format!("{place} has both `body` and `body-file`"), "a second body");
            loader.report(report.help("remove one of the two"));
            ([].into(), "")
        }
        (Some((text, _)), None) => (text.as_bytes().into(), "text/plain; charset=utf-8"),
        (None, Some((path, span))) => {
            let body = match loader.read(path, span, "body", BODY_FILE_BYTES_MAX) {
                Some((absolute, bytes)) => {
                    loader.public_files.insert(absolute);
                    bytes.into()
                }
                None => [].into(),
            };
            (body, media_type(path))
        }
    };
    if !fields.iter().any(|(name, _)| name == "content-type") {
        fields.push(("content-type".to_owned(), media_type.to_owned()));
    }
    Respond { status, fields, body }
}

/// Reads `files` of a route. `forward` has what the route's `rewrite` says.
fn files(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>, forward: &mut Forward) -> Option<Files> {
    let place = format!("`files` of route `{}`", named.name);
    if let (true, Some(span)) = (forward.host.is_some(), view.view("rewrite").key_span("host")) {
        let message = format!("route `{}` asks no upstream, and says what `Host` says to one", named.name);
        loader.report(Report::new(span, message, "without effect").help("remove it"));
    }
    if let (Some("keep"), Some(span)) = (view.word("encoded-slash"), view.key_span("encoded-slash")) {
        let message = format!("route `{}` keeps `%2F`, and serves files", named.name);
        loader.report(Report::new(span, message, "no file has a slash in its name").help("remove it"));
    }
    let path = forward.filters.drain(..).find_map(|filter| match filter {
        RequestFilter::Path(path) => Some(path),
        RequestFilter::Field(_) => None,
    });
    let view = view.view("files");
    let (index, symlinks) = (index(loader, &place, view), view.word("symlinks"));
    let precompressed = view.bool("precompressed").unwrap_or(false);
    let (typed, span) = view.text("root")?;
    let root = loader.resolve(typed, span);
    let wrong = match std::fs::metadata(&root) {
        Ok(metadata) if metadata.is_dir() => None,
        Ok(_) => Some("it is not a folder".to_owned()),
        Err(error) => Some(reason(&error)),
    };
    if let Some(label) = wrong {
        let report = Report::new(span, format!("`root` of {place} is not valid"), label);
        loader.report(report.help(format!("it was looked for at {}", root.display())));
    }
    let symlinks = match symlinks {
        Some("refuse") => Symlinks::Refuse,
        Some("follow") => Symlinks::Follow,
        _ => Symlinks::Inside,
    };
    Some(Files { root, path, index, symlinks, precompressed })
}

fn index(loader: &mut Loader<'_>, place: &str, view: View<'_>) -> String {
    let Some((name, span)) = view.text("index") else { return INDEX.to_owned() };
    let label = match name {
        name if name.contains(['/', '\\']) => "a path",
        name if name.starts_with('.') => "a hidden file",
        name => return name.to_owned(),
    };
    let report = Report::new(span, format!("`index` of {place} is not valid"), label);
    loader.report(report.help("write the name of a file, such as \"index.html\""));
    INDEX.to_owned()
}
