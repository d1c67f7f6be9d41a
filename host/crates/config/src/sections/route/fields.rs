//! Fields that a route sends or changes: `headers` of `respond`, `request-headers` and `response-headers`.

use portcullis_model::{FieldChange, FieldEdit, RequestFilter, ResponseEdits, Scope, Template};

use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::references::Named;
use crate::sections::field_match::is_token;
use crate::syntax::template::{TemplateError, next_name, value_template, variable_names};
use crate::syntax::tree::{Entry, Node};
use crate::syntax::view::{View, text};

/// Reads `headers` of a route's `respond`, names in lower case.
pub(super) fn sent_fields(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let message = format!("`headers` in `respond` of route `{}` is not valid", named.name);
    for entry in entries(view, "headers") {
        let name = entry.key.to_ascii_lowercase();
        let Some(value) = entry.value.as_str() else { continue };
        let wrong = if let Some(error) = name_error(&name) {
            (entry.key_span, error)
        } else if fields.iter().any(|(other, _)| *other == name) {
            (entry.key_span, owned(TWICE))
        } else if let Some(error) = value_error(value) {
            (entry.value.span, error)
        } else {
            fields.push((name, value.to_owned()));
            continue;
        };
        report(loader, &message, wrong);
    }
    fields
}

/// Reads `request-headers` of a route.
pub(super) fn request_edits(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    scope: Scope<'_>,
) -> Vec<RequestFilter> {
    let value = |text: &str| value_template(text, scope);
    let edits: Vec<FieldEdit<Template>> = edits(loader, named, view, "request-headers", value);
    edits.into_iter().map(RequestFilter::Field).collect()
}

/// Reads `response-headers` of a route.
pub(super) fn response_edits(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    scope: Scope<'_>,
) -> ResponseEdits {
    let value = |text: &str| match next_name(text) {
        Some((_, name, _)) if variable_names(scope).contains(&name) => Err((
            format!("`{{{name}}}` would be sent as it stands"),
            "write the value out: fields of a response have no variables".to_owned(),
        )),
        _ => Ok(text.to_owned()),
    };
    let fields = edits(loader, named, view, "response-headers", value);
    ResponseEdits { fields, always: view.view("response-headers").bool("always").unwrap_or(false) }
}

/// Reads the changes under `key`: what is removed, what is set, what is added. `value` reads a value.
fn edits<V>(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    key: &str,
    value: impl Fn(&str) -> Result<V, TemplateError>,
) -> Vec<FieldEdit<V>> {
    let place = format!("`{key}` of route `{}`", named.name);
    let table = view.node(key).and_then(Node::as_table);
    let (key_span, view) = (view.key_span(key), view.view(key));
    let is_empty = table.is_some_and(|table| table.entries.iter().all(|entry| entry.key == "always"));
    if let Some(span) = key_span.filter(|_| is_empty) {
        let report = Report::new(span, format!("{place} changes nothing"), "without effect");
        loader
            .report(report.help("write as in set = { x-from = \"gateway\" } or remove = [\"x-powered-by\"]"));
    }
    let mut edits: Vec<FieldEdit<V>> = Vec::new();
    for (typed, span) in view.texts("remove") {
        let name = typed.to_ascii_lowercase();
        match new_name(&edits, &name) {
            Ok(()) => edits.push(FieldEdit { name, change: FieldChange::Remove }),
            Err(error) => report(loader, &format!("`remove` in {place} is not valid"), (span, error)),
        }
    }
    for word in ["set", "add"] {
        for entry in entries(view, word) {
            let message = format!("`{word}` in {place} is not valid");
            let name = entry.key.to_ascii_lowercase();
            if let Err(error) = new_name(&edits, &name) {
                report(loader, &message, (entry.key_span, error));
                continue;
            }
            for (typed, span) in entry.value.elements().iter().filter_map(text) {
                let read = value_error(typed).map_or_else(|| value(typed), Err);
                match read {
                    Ok(value) if word == "set" => {
                        edits.push(FieldEdit { name: name.clone(), change: FieldChange::Set(value) });
                    }
                    Ok(value) => {
                        edits.push(FieldEdit { name: name.clone(), change: FieldChange::Add(value) })
                    }
                    Err(error) => report(loader, &message, (span, error)),
                }
            }
        }
    }
    edits
}

/// Checks the name of a field that is to be changed, which `edits` does not change yet.
fn new_name<V>(edits: &[FieldEdit<V>], name: &str) -> Result<(), TemplateError> {
    match name_error(name) {
        Some(error) => Err(error),
        None if edits.iter().any(|edit| edit.name == name) => Err(owned(TWICE)),
        None => Ok(()),
    }
}

const TWICE: (&str, &str) =
    ("listed before", "names of fields are compared without case; remove one of the two");

/// Returns what is wrong with the name (in lower case) of a field that the configuration writes.
fn name_error(name: &str) -> Option<TemplateError> {
    if !is_token(name) {
        Some(owned(("not the name of a field", "a field's name is of letters, digits and !#$%&'*+-.^_`|~")))
    } else if name == "host" {
        Some(owned(("the host has a key of its own", "write rewrite = { host = { value = \"...\" } }")))
    } else if is_written_by_gateway(name) {
        Some(owned(("the gateway writes this field itself", "remove it")))
    } else {
        None
    }
}

fn value_error(value: &str) -> Option<TemplateError> {
    let wrong = value.trim() != value || value.chars().any(|letter| letter != '\t' && letter.is_control());
    let help = "a field's value has no control characters, and no blanks at its ends";
    wrong.then(|| owned(("not the value of a field", help)))
}

/// Returns whether a field (lower case) is about one connection or about framing, or only the gateway knows its value.
#[must_use]
pub fn is_written_by_gateway(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "content-length"
            | "date"
            | "expect"
            | "host"
            | "http2-settings"
            | "keep-alive"
            | "max-forwards"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "via"
    )
}

fn entries<'a>(view: View<'a>, key: &str) -> &'a [Entry] {
    view.node(key).and_then(Node::as_table).map_or(&[][..], |table| &table.entries)
}

fn owned((label, help): (&str, &str)) -> TemplateError {
    (label.to_owned(), help.to_owned())
}

fn report(loader: &mut Loader<'_>, message: &str, (span, (label, help)): (Span, TemplateError)) {
    loader.report(Report::new(span, message.to_owned(), label).help(help));
}
