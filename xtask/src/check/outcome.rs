//! What a check returns.

/// What is wrong, each with its place: nothing, if a check passes.
pub(super) type Findings = Vec<String>;

/// What a check found, and what it measured.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) findings: Findings,
    /// Printed whether the check passes or not.
    pub(super) figures: Vec<String>,
}

impl From<Findings> for Outcome {
    fn from(findings: Findings) -> Self {
        Self { findings, figures: Vec::new() }
    }
}
