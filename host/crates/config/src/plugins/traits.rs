//! What a policy can do.

use std::collections::BTreeSet;

use crate::files::source::Span;

/// What the versions of a policy can do, as far as routes have to know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traits {
    /// Whether it can choose an upstream of its route.
    pub(crate) chooses_upstream: bool,
    /// The attributes that it sets; `None` if that is not known.
    pub(crate) sets: Option<BTreeSet<String>>,
    /// The attributes that it reads when it sees the request, and the places that name them.
    pub(crate) reads: Vec<(String, Span)>,
    /// Those that it reads then or later.
    pub(crate) reads_at_all: Vec<(String, Span)>,
}

impl Traits {
    /// Takes in what another version of the policy can do.
    pub(crate) fn join(&mut self, other: Self) {
        self.chooses_upstream |= other.chooses_upstream;
        self.sets = match (self.sets.take(), other.sets) {
            (Some(mut ours), Some(theirs)) => {
                ours.extend(theirs);
                Some(ours)
            }
            _ => None,
        };
        self.reads.extend(other.reads);
        self.reads_at_all.extend(other.reads_at_all);
    }
}
