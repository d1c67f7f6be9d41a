//! What the health checks of an endpoint have found.

use std::sync::Arc;
use std::time::Duration;

use portcullis_model::HealthCheck;

/// What one check of an endpoint has found so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckState {
    /// The check.
    pub check: Arc<HealthCheck>,
    /// Whether the endpoint passes it. The first result decides at once; from then on it takes `fall` failures or
    /// `rise` passes in a row to change that.
    pub passes: bool,
    /// When that began, in the caller's time.
    pub since: Duration,
    /// Why the last check failed, or `None` if it passed.
    pub error: Option<String>,
    /// Results in a row that speak against `passes`.
    against: u32,
}

/// What a result changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckChange {
    /// The endpoint passes the check from now on.
    Passes,
    /// It fails the check from now on.
    Fails,
}

/// What all checks of an endpoint have found.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<CheckState>);

impl Checks {
    /// Records a result. Returns whether the endpoint passes that check from now on, if it did not before, or fails it
    /// from now on.
    pub(crate) fn record(
        &mut self,
        check: &Arc<HealthCheck>,
        error: Option<String>,
        now: Duration,
    ) -> Option<CheckChange> {
        let passed = error.is_none();
        let Some(state) = self.0.iter_mut().find(|state| state.check == *check) else {
            let check = Arc::clone(check);
            self.0.push(CheckState { check, passes: passed, since: now, error, against: 0 });
            return (!passed).then_some(CheckChange::Fails);
        };
        state.error = error;
        if state.passes == passed {
            state.against = 0;
            return None;
        }
        state.against = state.against.saturating_add(1);
        let needed = if passed { check.rise } else { check.fall };
        if state.against < needed {
            return None;
        }
        (state.passes, state.since, state.against) = (passed, now, 0);
        Some(if passed { CheckChange::Passes } else { CheckChange::Fails })
    }

    /// Forgets all checks that are not among `checks`.
    pub(crate) fn retain(&mut self, checks: &[Arc<HealthCheck>]) {
        self.0.retain(|state| checks.contains(&state.check));
    }

    /// Returns how many the endpoint fails.
    pub(crate) fn failing(&self) -> u32 {
        u32::try_from(self.0.iter().filter(|state| !state.passes).count()).unwrap_or(u32::MAX)
    }

    /// Returns the one that it has failed for longest.
    pub(crate) fn first_failing(&self) -> Option<&CheckState> {
        self.0.iter().filter(|state| !state.passes).min_by_key(|state| state.since)
    }

    /// What each of them has found.
    pub(crate) fn states(&self) -> &[CheckState] {
        &self.0
    }
}

#[cfg(test)]
mod tests;
