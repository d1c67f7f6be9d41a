//! The two versions of a rollout.

/// One of the two versions of a rollout. Also the index of what is kept for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Active = 0,
    Candidate = 1,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Active, Self::Candidate];
}
