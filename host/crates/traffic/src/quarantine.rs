//! Whether a policy that keeps failing is still called: quarantine with probes.
//!
//! A single fault changes nothing. A quarantine begins when a hook fails for all clients. That is judged over all
//! calls of the last [`QuarantineRule::window`] and over the clients that made them, because a client that knows a
//! request which makes a policy fail must not be able to turn the policy off for others. In the window there must
//! be
//!
//! - at least [`QuarantineRule::faults`] faults, the first of them a second ago or more, and
//! - either no call that succeeded, or faults of at least so many clients, and no more calls that succeeded than
//!   clients whose calls failed. However often the calls of a client fail, it is one client.
//!
//! After a back-off, one call at a time is let through as a probe. One that succeeds ends the quarantine; one that
//! fails doubles the back-off. A probe that ends without either (the client went away) blocks nothing: the next one
//! may go after another back-off. A client without a failed call need not wait for the back-off: its call is a
//! probe at once. A number of these are let through until the next regular probe. So a client that brought a
//! quarantine about cannot keep others out, and if all calls fail, each client fails once.

mod evidence;

use std::net::IpAddr;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portcullis_model::{Lock, QuarantineRule};

use self::evidence::{Clients, Evidence, Network};
use crate::nanos;

/// The state of one policy, shared by all workers.
#[derive(Debug)]
pub struct Quarantine {
    rule: QuarantineRule,
    /// 0 while the policy is called as usual; otherwise the nanosecond from which a probe may be let through. The
    /// call that takes the probe moves it on by a back-off, so that no other call takes it too.
    probe_at: AtomicU64,
    state: Lock<State>,
}

#[derive(Debug)]
struct State {
    /// The evidence on each hook.
    evidence: Box<[Evidence]>,
    /// When the current quarantine began.
    begun: Option<Duration>,
    /// The time between two probes.
    backoff: Duration,
    /// The number of the newest regular probe.
    probes: u64,
    /// The clients whose calls have failed, before it began and since.
    failed: Clients,
    /// How many more probes other clients may have until the next regular one.
    others_left: usize,
}

/// A call that is let through to see whether it succeeds. Its outcome goes to [`Quarantine::probed`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Probe {
    client: Network,
    /// Its number; `None` if the client did not wait for the back-off.
    regular: Option<u64>,
}

/// A change of the quarantine, which is logged.
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

/// The state of a quarantine that lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How long it has lasted.
    pub lasted: Duration,
    /// The time to the next probe; zero if the next call is one.
    pub probe_in: Duration,
}

impl Quarantine {
    /// A quarantine that has not begun, of a policy with so many `hooks`, whose faults are counted separately.
    #[must_use]
    pub fn new(rule: QuarantineRule, hooks: usize) -> Self {
        let state = State {
            evidence: (0..hooks).map(|_| Evidence::new(&rule)).collect(),
            begun: None,
            backoff: rule.backoff,
            probes: 0,
            failed: Clients::new(&rule),
            others_left: 0,
        };
        Self { rule, probe_at: AtomicU64::new(0), state: Lock::new(state) }
    }

    /// Leaves out of account that so many calls of a hook succeeded before.
    pub fn ignore(&self, hook: usize, succeeded: u64) {
        if let Some(evidence) = self.lock().evidence.get_mut(hook) {
            evidence.ignore(succeeded);
        }
    }

    /// Returns whether it lasts. In the usual case this reads one number that no thread writes.
    #[must_use]
    pub fn lasts(&self) -> bool {
        // Relaxed: a call that slips through as it begins, or is refused as it ends, is one more of those before.
        self.probe_at.load(Ordering::Relaxed) != 0
    }

    /// Returns the probe if the caller is let through although it lasts: the first caller after the back-off, or
    /// before that a client whose calls have not failed.
    pub fn probe(&self, client: IpAddr, now: Duration) -> Option<Probe> {
        if self.probe_at.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let client = Network::of(client);
        let mut state = self.lock();
        state.begun?;
        // Another worker may have taken the probe, or its probe may have ended the quarantine.
        if nanos(now) >= self.probe_at.load(Ordering::Relaxed) {
            self.probe_at.store(moment(now, state.backoff), Ordering::Relaxed);
            state.probes += 1;
            state.others_left = self.rule.faults.max(1);
            // Until this probe has ended, the client waits like all others.
            state.failed.add(client, now);
            return Some(Probe { client, regular: Some(state.probes) });
        }
        if state.others_left == 0 || state.failed.has(client) {
            return None;
        }
        state.others_left -= 1;
        state.failed.add(client, now);
        Some(Probe { client, regular: None })
    }

    /// Records that a call of `client` failed that was not a probe. `succeeded` is the number of calls of that hook
    /// that have succeeded so far.
    pub fn fault(&self, hook: usize, client: IpAddr, succeeded: u64, now: Duration) -> Option<Transition> {
        let mut state = self.lock();
        if state.begun.is_some() {
            // The call began before the quarantine did.
            state.failed.add(Network::of(client), now);
            return None;
        }
        let evidence = state.evidence.get_mut(hook)?;
        evidence.fault(Network::of(client), succeeded, now);
        if !evidence.is_conclusive(&self.rule, now) {
            return None;
        }
        state.failed = evidence.take_clients();
        state.evidence.iter_mut().for_each(Evidence::clear);
        state.begun = Some(now);
        state.backoff = self.rule.backoff;
        state.others_left = self.rule.faults.max(1);
        self.probe_at.store(moment(now, state.backoff), Ordering::Relaxed);
        Some(Transition::Begun { probe_in: state.backoff })
    }

    /// Records how a probe ended.
    pub fn probed(&self, probe: Probe, succeeded: bool, now: Duration) -> Option<Transition> {
        let mut state = self.lock();
        let begun = state.begun?;
        if succeeded {
            state.begun = None;
            state.failed.clear();
            self.probe_at.store(0, Ordering::Relaxed);
            return Some(Transition::Ended { lasted: now.saturating_sub(begun) });
        }
        // A probe that took so long that another was let through is out of date, and one that did not wait for the
        // back-off must not make others wait longer.
        if probe.regular != Some(state.probes) {
            return None;
        }
        state.backoff = self.rule.longer(state.backoff);
        self.probe_at.store(moment(now, state.backoff), Ordering::Relaxed);
        Some(Transition::ProbeFailed { probe_in: state.backoff })
    }

    /// Returns its state, or `None` if it does not last.
    #[must_use]
    pub fn standing(&self, now: Duration) -> Option<Standing> {
        let begun = self.lock().begun?;
        let probe_at = Duration::from_nanos(self.probe_at.load(Ordering::Relaxed));
        Some(Standing { lasted: now.saturating_sub(begun), probe_in: probe_at.saturating_sub(now) })
    }

    // Nothing under the lock panics.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Returns the nanosecond of `now + backoff`, which is never 0.
fn moment(now: Duration, backoff: Duration) -> u64 {
    nanos(now.saturating_add(backoff)).max(1)
}

#[cfg(test)]
mod tests;
