//! `[secrets.NAME]`.

use std::collections::BTreeMap;

use portcullis_model::{Name, Secret};

use crate::diagnostic::Report;
use crate::loader::Loader;
use crate::references::{Named, Section};
use crate::syntax::keys::SECRET;
use crate::syntax::view::{View, text};

/// Bytes of a secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Reads the secrets. Their values are in no message.
pub(crate) fn secrets(loader: &mut Loader<'_>, section: &Section<'_>) -> BTreeMap<Name, Secret> {
    let mut secrets = BTreeMap::new();
    for named in section.values().filter(|named| named.table.is_some()) {
        let view = View::new(named.table, &SECRET, named.span);
        if let Some(bytes) = secret(loader, named, view) {
            secrets.insert(named.name.into(), Secret::new(bytes));
        }
    }
    secrets
}

fn secret(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Option<Vec<u8>> {
    let name = named.name;
    let empty = |span| {
        Report::new(span, format!("secret `{name}` is empty"), "there is nothing in it")
            .help("give it a value")
    };
    match (view.node("env"), view.node("file")) {
        (Some(_), Some(file)) => {
            let message = format!("secret `{name}` has two places");
            loader.report(
                Report::new(file.span, message, "`env` names one already").help("leave one of the two out"),
            );
            None
        }
        (None, None) => {
            // A place of the wrong type was reported.
            if view.key_span("env").or(view.key_span("file")).is_none() {
                let message = format!("secret `{name}` does not say where it is");
                let help = "add env = \"NAME\" for an environment variable, or file = \"path\"";
                loader.report(Report::new(named.span, message, "`env` or `file` is needed here").help(help));
            }
            None
        }
        (Some(node), None) => {
            let (variable, span) = text(node)?;
            // Asking for a name with `=` in it panics in no version of std, but is never what was meant.
            let value = (!variable.contains('=')).then(|| std::env::var_os(variable)).flatten();
            let Some(value) = value else {
                let message = format!("secret `{name}` is not in the environment");
                let help = "set it where the gateway is started, or read the secret from a file = \"path\"";
                loader.report(Report::new(span, message, "there is no such variable").help(help));
                return None;
            };
            let bytes = value.into_encoded_bytes();
            if bytes.is_empty() {
                loader.report(empty(span));
            }
            Some(bytes)
        }
        (None, Some(node)) => {
            let (path, span) = text(node)?;
            let (_, mut bytes) = loader.read(path, span, "secret's file", SECRET_BYTES_MAX)?;
            if bytes.ends_with(b"\n") {
                bytes.pop();
                if bytes.ends_with(b"\r") {
                    bytes.pop();
                }
            }
            if bytes.is_empty() {
                loader.report(empty(span));
            }
            Some(bytes)
        }
    }
}
