//! What became of each directive.

use std::collections::BTreeMap;

use crate::syntax::{Directive, Place};

/// What became of a directive, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The answers stay as they were without it.
    Unneeded,
    /// The result says the same.
    Converted,
    /// The result says something close to it; the note says what differs.
    Approximated,
    /// The result does not say it; the note says what to do.
    Refused,
}

impl Verdict {
    /// All of them, worst first.
    pub const ALL: [Self; 4] = [Self::Refused, Self::Approximated, Self::Converted, Self::Unneeded];

    /// Returns its word in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unneeded => "not needed",
            Self::Converted => "converted",
            Self::Approximated => "approximated",
            Self::Refused => "refused",
        }
    }
}

/// What became of one directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where it stands.
    pub place: Place,
    /// Its name.
    pub directive: String,
    /// What became of it.
    pub verdict: Verdict,
    /// What differs, what to do, or what it has become. May be empty.
    pub note: String,
}

/// What became of all directives.
#[derive(Debug, Clone, Default)]
pub struct Report {
    findings: BTreeMap<usize, Finding>,
}

impl Report {
    /// Notes what became of a directive. If it is used in several places, the worst verdict counts, and all notes of
    /// that are kept.
    pub(crate) fn note(&mut self, directive: &Directive, verdict: Verdict, note: &str) {
        let new = Finding {
            place: directive.place,
            directive: directive.name.clone(),
            verdict,
            note: note.to_owned(),
        };
        match self.findings.get_mut(&directive.id) {
            Some(old) if old.verdict == verdict => {
                if !note.is_empty() && !old.note.contains(note) {
                    old.note =
                        if old.note.is_empty() { note.to_owned() } else { format!("{}; {note}", old.note) };
                }
            }
            Some(old) if old.verdict > verdict => (),
            _ => {
                self.findings.insert(directive.id, new);
            }
        }
    }

    /// Notes what became of a directive and of all that is in its block.
    pub(crate) fn note_all(&mut self, directive: &Directive, verdict: Verdict, note: &str) {
        self.note(directive, verdict, note);
        for inner in directive.inner() {
            self.note_all(inner, verdict, &format!("stands in `{}`", directive.name));
        }
    }

    /// Returns whether anything was noted of a directive.
    pub(crate) fn knows(&self, directive: &Directive) -> bool {
        self.findings.contains_key(&directive.id)
    }

    /// Returns whether a directive was refused.
    pub(crate) fn is_refused(&self, directive: &Directive) -> bool {
        self.findings.get(&directive.id).is_some_and(|finding| finding.verdict == Verdict::Refused)
    }

    /// Returns what became of each directive, in the order of the files and lines.
    #[must_use]
    pub fn findings(&self) -> Vec<&Finding> {
        let mut findings: Vec<&Finding> = self.findings.values().collect();
        findings.sort_by_key(|finding| finding.place);
        findings
    }

    /// Returns how many directives have a verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.values().filter(|finding| finding.verdict == verdict).count()
    }
}
