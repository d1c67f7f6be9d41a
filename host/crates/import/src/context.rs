//! What a translation has at hand.

use std::collections::BTreeMap;

use crate::draft::{Draft, Section};
use crate::report::{Report, Verdict};
use crate::syntax::{Directive, Place, Tree};
use crate::value::Value;

/// A translation under way.
#[derive(Debug)]
pub(crate) struct Import<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) report: Report,
    pub(crate) draft: Draft,
    /// The `upstream` blocks, by name.
    pub(crate) groups: BTreeMap<&'a str, &'a Directive>,
    /// `limit_req_zone` and `proxy_cache_path`, by the name of the zone.
    pub(crate) zones: BTreeMap<String, &'a Directive>,
    /// `compress` of the whole server.
    pub(crate) compress: Value,
    /// The folder that relative paths start from.
    pub(crate) folder: &'a str,
}

impl<'a> Import<'a> {
    pub(crate) fn new(tree: &'a Tree, folder: &'a str) -> Self {
        Self {
            tree,
            report: Report::default(),
            draft: Draft::default(),
            groups: BTreeMap::new(),
            zones: BTreeMap::new(),
            compress: Value::Flag(false),
            folder,
        }
    }

    /// Returns a place as messages have it.
    pub(crate) fn place(&self, place: Place) -> String {
        let file = self.tree.files.get(place.file).map_or("", String::as_str);
        format!("{file}:{}", place.line)
    }

    /// Notes what became of a directive, and says it above the table that it has become a part of.
    pub(crate) fn say(&mut self, section: &mut Section, directive: &Directive, verdict: Verdict, note: &str) {
        self.report.note(directive, verdict, note);
        let word = match verdict {
            Verdict::Refused => "REFUSED",
            verdict => verdict.word(),
        };
        section.comment(format!("{} `{}`: {word}: {note}", self.place(directive.place), directive.name));
    }

    /// Like [`Self::say`], for what guards the route: it answers 503 until the operator has decided.
    pub(crate) fn close(&mut self, section: &mut Section, directive: &Directive, note: &str) {
        let note = format!("{note}. Until then the route is closed");
        self.say(section, directive, Verdict::Refused, &note);
        section.closed = true;
    }

    /// Returns a path as the result names it: absolute.
    pub(crate) fn path(&self, path: &str) -> String {
        if path.starts_with('/') || self.folder.is_empty() {
            path.to_owned()
        } else {
            format!("{}/{path}", self.folder.trim_end_matches('/'))
        }
    }
}
