//! Conditions on fields of a request.

use portcullis_model::FieldMatch;

use crate::diagnostic::Report;
use crate::loader::Loader;
use crate::syntax::tree::Value;
use crate::syntax::unseen_fields::unseen;
use crate::syntax::view::View;

/// The fields that `headers` asks for; `place` says of what, and the third what is said of the host, which is no field.
pub(crate) fn fields(
    loader: &mut Loader<'_>,
    place: &str,
    (host_label, host_help): (&str, &str),
    view: View<'_>,
) -> Vec<FieldMatch> {
    let mut fields: Vec<FieldMatch> = Vec::new();
    let entries =
        view.node("headers").and_then(|node| node.as_table()).map_or(&[][..], |table| &table.entries);
    for entry in entries {
        let name = entry.key.to_ascii_lowercase();
        let invalid = |span, label: &str, help: &str| {
            Report::new(span, format!("`headers` of {place} is not valid"), label).help(help)
        };
        if !is_token(&name) {
            let help = "a field's name is of letters, digits and !#$%&'*+-.^_`|~";
            loader.report(invalid(entry.key_span, "not the name of a field", help));
            continue;
        }
        if name == "host" {
            loader.report(invalid(entry.key_span, host_label, host_help));
            continue;
        }
        if let Some((label, help)) = unseen(&name, loader.has_trusted_proxies) {
            loader.report(invalid(entry.key_span, label, &help));
            continue;
        }
        if fields.iter().any(|other| other.name == name) {
            let help = "names of fields are compared without case; remove one of the two";
            loader.report(invalid(entry.key_span, "listed before", help));
            continue;
        }
        let value = match &entry.value.value {
            Value::String(value) => {
                let visible = value.chars().all(|letter| letter == '\t' || !letter.is_control());
                if !visible || value.trim() != value {
                    let help = "a field's value has no control characters, and no blanks at its ends";
                    loader.report(invalid(entry.value.span, "no request has this value", help));
                    continue;
                }
                Some(value.clone())
            }
            _ => None,
        };
        fields.push(FieldMatch { name, value });
    }
    fields.sort();
    fields
}

/// RFC 9110, 5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}
