//! `[signers.NAME]`: whose signatures of plugins count.

use std::collections::BTreeSet;

use portcullis_model::{Name, Signer, SignerKey};

use crate::diagnostic::Report;
use crate::files::read::without_mark;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::references::{Named, Section, Used, unknown};
use crate::syntax::keys::SIGNER;
use crate::syntax::suggest::shown;
use crate::syntax::view::View;

/// Bytes of a public key's file.
const KEY_BYTES_MAX: u64 = 16 << 10;

/// Makes the signers.
pub(crate) fn signers(loader: &mut Loader<'_>, section: &Section<'_>) -> Vec<Signer> {
    let mut signers = Vec::new();
    for named in section.values().filter(|named| named.table.is_some()) {
        let view = View::new(named.table, &SIGNER, named.span);
        let Some((key, span)) = key(loader, named, view) else { continue };
        if let Err(problem) = loader.plugins.check_key(&key) {
            let message = format!("the key of signer `{}` cannot be used", named.name);
            loader.report(Report::new(span, message, problem.label).help(problem.help));
            continue;
        }
        signers.push(Signer { name: named.name.into(), key, origin: loader.sources.origin(named.span) });
    }
    signers
}

fn key(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Option<(SignerKey, Span)> {
    let name = named.name;
    match (view.text("cosign"), view.text("minisign")) {
        (Some(_), Some((_, span))) => {
            let report =
                Report::new(span, format!("signer `{name}` has two keys"), "`cosign` names one already");
            loader.report(report.help("make two signers of it: `signed-by` takes either"));
            None
        }
        (None, None) => {
            if view.key_span("cosign").or(view.key_span("minisign")).is_none() {
                let help = "add cosign = \"keys/cosign.pub\" for images, or minisign = \"keys/minisign.pub\" for files";
                let report =
                    Report::new(named.span, format!("signer `{name}` has no key"), "a key is needed here");
                loader.report(report.help(help));
            }
            None
        }
        (Some((path, span)), None) => Some((SignerKey::Cosign(key_file(loader, path, span)?), span)),
        (None, Some((typed, span))) => {
            // A key begins so, and has a length that no path happens to have.
            let is_key = typed.starts_with("RW") && typed.len() == 56 && !typed.contains(['.', ' ']);
            let text = if is_key { typed.to_owned() } else { key_file(loader, typed, span)? };
            Some((SignerKey::Minisign(text), span))
        }
    }
}

fn key_file(loader: &mut Loader<'_>, path: &str, span: Span) -> Option<String> {
    let (_, bytes) = loader.read(path, span, "key file", KEY_BYTES_MAX)?;
    let text = String::from_utf8(without_mark(bytes));
    if text.is_err() {
        let message = format!("the key file `{}` is not usable", shown(path));
        loader.report(
            Report::new(span, message, "it is not text")
                .help("a public key is text, whichever program made it"),
        );
    }
    text.ok()
}

/// The signers that are named by a `signed-by`, whose names go into the loader's list of used ones.
pub(crate) fn named_signers<'a>(
    loader: &mut Loader<'_>,
    section: &Section<'a>,
    names: &[(&'a str, Span)],
    by: &str,
    used: &mut Used<'a>,
) -> Vec<Name> {
    let mut found: BTreeSet<Name> = BTreeSet::new();
    for (name, span) in names {
        used.names.insert(*name);
        if !section.contains_key(name) {
            let (report, meant) = unknown("signer", (name, *span), section, by);
            loader.report(report);
            used.names.extend(meant);
        } else if !found.insert((*name).into()) {
            let message = format!("{by} names the signer `{}` twice", shown(name));
            loader.report(Report::new(*span, message, "named before").help("remove one of the two"));
        }
    }
    found.into_iter().collect()
}
