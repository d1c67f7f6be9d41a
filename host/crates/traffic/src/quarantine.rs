//! Whether something that keeps failing is still called: quarantine with probes.
//!
//! A fault alone changes nothing. Where one hook fails [`QuarantineRule::faults`] times within
//! [`QuarantineRule::window`], and these are at least half of what it was asked for meanwhile, the whole is not called any
//! more. That they must be half is for the sake of whom it serves: one client that knows a request which makes a policy
//! trap must not be able to turn the policy off for everybody else.
//!
//! After a back-off one call at a time is let through as a probe. One that succeeds ends the quarantine; one that fails
//! doubles the back-off. A probe of which nothing is heard (the client went away) blocks nothing: after another back-off
//! the next one may go. Where it begins again soon after its end, the back-off goes on from where it was.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_model::QuarantineRule;

use crate::nanos;

/// The state of one policy, shared by all workers.
#[derive(Debug)]
pub struct Quarantine {
    rule: QuarantineRule,
    /// 0 where it is called as usual; otherwise the nanosecond from which a probe may be let through. Who takes the probe
    /// moves it on by a back-off, so that nobody else does.
    probe_at: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Recent faults of each hook, the oldest first; at most as many as make a quarantine.
    strikes: Box<[VecDeque<Strike>]>,
    /// When the quarantine that lasts began.
    begun: Option<Duration>,
    /// Between two probes.
    backoff: Duration,
    /// Until when a quarantine that begins goes on with the back-off of the last one.
    remembered_until: Duration,
    /// The number of the newest probe.
    probes: u64,
}

/// A fault: when, and how many times the hook had been asked by then.
#[derive(Debug, Clone, Copy)]
struct Strike {
    at: Duration,
    asked: u64,
}

/// A call that is let through to see whether it succeeds. Its outcome is for [`Quarantine::probed`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Probe(u64);

/// What has become of the quarantine: worth a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// It has begun.
    Begun {
        /// The time to the first probe.
        probe_in: Duration,
    },
    /// A probe failed, and it goes on.
    ProbeFailed {
        /// The time to the next probe.
        probe_in: Duration,
    },
    /// A probe succeeded, and it is over.
    Ended {
        /// How long it lasted.
        lasted: Duration,
    },
}

/// How a quarantine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How long it has lasted.
    pub lasted: Duration,
    /// The time to the next probe; zero where the next call is one.
    pub probe_in: Duration,
}

impl Quarantine {
    /// Nothing has failed yet. Faults are told apart by so many `hooks`.
    #[must_use]
    pub fn new(rule: QuarantineRule, hooks: usize) -> Self {
        let strikes = (0..hooks).map(|_| VecDeque::new()).collect();
        let state = State {
            strikes,
            begun: None,
            backoff: rule.backoff,
            remembered_until: Duration::ZERO,
            probes: 0,
        };
        Self { rule, probe_at: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// Whether it lasts. In the usual case this reads one number that nobody writes.
    #[must_use]
    pub fn lasts(&self) -> bool {
        // Relaxed: a call that slips through as it begins, or is refused as it ends, is one more of those before.
        self.probe_at.load(Ordering::Relaxed) != 0
    }

    /// The probe, for the one caller that is let through though it lasts; for a moment that has come.
    pub fn probe(&self, now: Duration) -> Option<Probe> {
        let due = self.probe_at.load(Ordering::Relaxed);
        if due == 0 || nanos(now) < due {
            return None;
        }
        let mut state = self.lock();
        // Another worker may have taken it, or its probe may have ended all.
        if self.probe_at.load(Ordering::Relaxed) != due {
            return None;
        }
        self.probe_at.store(moment(now, state.backoff), Ordering::Relaxed);
        state.probes += 1;
        Some(Probe(state.probes))
    }

    /// A call failed that was no probe. `asked` is how many times that hook was asked so far, this time included.
    pub fn fault(&self, hook: usize, asked: u64, now: Duration) -> Option<Transition> {
        let mut state = self.lock();
        if state.begun.is_some() {
            // It began before the quarantine did.
            return None;
        }
        let faults = self.rule.faults.max(1);
        let strikes = state.strikes.get_mut(hook)?;
        if strikes.len() >= faults {
            strikes.pop_front();
        }
        strikes.push_back(Strike { at: now, asked });
        let oldest = strikes.front().filter(|_| strikes.len() >= faults)?;
        let within = now.saturating_sub(oldest.at) <= self.rule.window;
        // From the oldest of them to this one, both included.
        let asked = asked.saturating_sub(oldest.asked).saturating_add(1);
        let mostly = asked <= 2 * u64::try_from(faults).unwrap_or(u64::MAX);
        if !within || !mostly {
            return None;
        }
        state.strikes.iter_mut().for_each(VecDeque::clear);
        state.begun = Some(now);
        state.backoff = match now < state.remembered_until {
            true => self.rule.longer(state.backoff),
            false => self.rule.backoff,
        };
        self.probe_at.store(moment(now, state.backoff), Ordering::Relaxed);
        Some(Transition::Begun { probe_in: state.backoff })
    }

    /// How a probe ended.
    pub fn probed(&self, probe: Probe, succeeded: bool, now: Duration) -> Option<Transition> {
        let mut state = self.lock();
        let begun = state.begun?;
        if succeeded {
            state.begun = None;
            state.remembered_until = now.saturating_add(self.rule.window.max(state.backoff));
            self.probe_at.store(0, Ordering::Relaxed);
            return Some(Transition::Ended { lasted: now.saturating_sub(begun) });
        }
        // One that took so long that another was let through says nothing about now.
        if probe.0 != state.probes {
            return None;
        }
        state.backoff = self.rule.longer(state.backoff);
        self.probe_at.store(moment(now, state.backoff), Ordering::Relaxed);
        Some(Transition::ProbeFailed { probe_in: state.backoff })
    }

    /// How it stands; `None` where it does not last.
    #[must_use]
    pub fn standing(&self, now: Duration) -> Option<Standing> {
        let begun = self.lock().begun?;
        let probe_at = Duration::from_nanos(self.probe_at.load(Ordering::Relaxed));
        Some(Standing { lasted: now.saturating_sub(begun), probe_in: probe_at.saturating_sub(now) })
    }

    // Nothing is done under the lock that could panic half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The nanosecond of `now + backoff`; never 0.
fn moment(now: Duration, backoff: Duration) -> u64 {
    nanos(now.saturating_add(backoff)).max(1)
}

#[cfg(test)]
mod tests;
