//! Jobs of several policies, in turn: one that has many does not hold up those of another.

use std::collections::VecDeque;

use portcullis_model::Name;

/// Jobs that wait, by policy. The policy whose turn is next comes first; each has a job.
#[derive(Debug)]
pub(super) struct Queue<J>(VecDeque<(Name, VecDeque<J>)>);

impl<J> Default for Queue<J> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<J> Queue<J> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, policy: Name, job: J) {
        match self.0.iter_mut().find(|(other, _)| *other == policy) {
            Some((_, jobs)) => jobs.push_back(job),
            None => self.0.push_back((policy, VecDeque::from([job]))),
        }
    }

    /// Returns the first job of the policy whose turn it is, which is the last one's then.
    pub(super) fn pop(&mut self) -> Option<J> {
        let (policy, mut jobs) = self.0.pop_front()?;
        let job = jobs.pop_front();
        if !jobs.is_empty() {
            self.0.push_back((policy, jobs));
        }
        job
    }
}
