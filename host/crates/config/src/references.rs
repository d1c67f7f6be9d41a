//! Names that sections give to their tables, and what refers to them.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::syntax::suggest::{did_you_mean, list, shown};
use crate::syntax::tree::Table;
use crate::syntax::view::View;

/// One named table of a section.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) name: &'a str,
    /// The place of the name.
    pub(crate) span: Span,
    pub(crate) table: Option<&'a Table>,
}

/// All tables of one section over all files, by name.
pub(crate) type Section<'a> = BTreeMap<&'a str, Named<'a>>;

/// Names that something refers to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used<'a> {
    pub(crate) names: BTreeSet<&'a str>,
    /// Whether there may be more, because a reference could not be read.
    pub(crate) uncertain: bool,
}

/// The secrets, signers and caches that policies may name, and those that they did name.
pub(crate) struct Nameable<'s, 'a> {
    pub(crate) secrets: &'s Section<'a>,
    pub(crate) secrets_used: Used<'a>,
    pub(crate) signers: &'s Section<'a>,
    pub(crate) signers_used: Used<'a>,
    /// `None` if any cache may be named.
    pub(crate) caches: Option<&'s Section<'a>>,
}

/// Whether a key has a value of the wrong type, which was reported.
pub(crate) fn is_wrong(view: View<'_>, key: &str) -> bool {
    view.key_span(key).is_some() && view.node(key).is_none()
}

/// A reference to something that is not there, and what was probably meant.
pub(crate) fn unknown<'a>(
    noun: &str,
    (name, span): (&str, Span),
    section: &Section<'a>,
    by: &str,
) -> (Report, Option<&'a str>) {
    let message = format!("{by} names the {noun} `{}`, which does not exist", shown(name));
    let names: Vec<&str> = section.keys().copied().collect();
    let plural = if noun == "policy" { "policies".to_owned() } else { format!("{noun}s") };
    let meant = did_you_mean(name, names.iter().copied());
    let help = match meant {
        Some(name) => format!("did you mean `{name}`?"),
        None if names.is_empty() => format!("there are no {plural}; add [{plural}.{}]", shown(name)),
        None => format!("the {plural} are {}", list(&names)),
    };
    (Report::new(span, message, format!("no such {noun}")).help(help), meant)
}

/// Reports what no route or policy uses.
pub(crate) fn report_unused(loader: &mut Loader<'_>, noun: &str, section: &Section<'_>, used: &Used<'_>) {
    if used.uncertain {
        return;
    }
    for named in section.values().filter(|named| !used.names.contains(named.name)) {
        let help = match noun {
            "policy" => "name it in the `use` of a route, or remove it",
            "upstream" => "name it in the `to` of a route, or remove it",
            "cache" => "name it in the `cache` of a route, or remove it",
            "listener" => "name it in the `listeners` of a route, or remove it",
            "signer" => {
                "name it in the `signed-by` of a policy or in `server.plugins-signed-by`, or remove it"
            }
            _ => "name it in the `grants.secrets` of a policy, or remove it",
        };
        let (message, label) = match noun {
            "listener" => (
                format!("listener `{}` serves no route", shown(named.name)),
                "every request would be answered 404",
            ),
            _ => (format!("{noun} `{}` is not used", shown(named.name)), "nothing names it"),
        };
        loader.report(Report::new(named.span, message, label).help(help));
    }
}
