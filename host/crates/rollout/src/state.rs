//! How a rollout stands: shared by all workers, and by the generations in which nothing of it changed.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use portcullis_model::{Candidate, Lock, Name, Selection, Share, Version};

use portcullis_policy::{Exchange, FaultKind};

use crate::compare::{Difference, Differences, Sample};
use crate::judge::{Judge, Verdict};
use crate::meter::Spent;
use crate::side::Side;

/// A rollout: which version an exchange takes, what the candidate has done so far, and how the rollout stands.
pub struct Rollout {
    policy: Name,
    candidate: Version,
    labels: Lock<[VersionLabel; 2]>,
    selection: Selection,
    /// Clients do not know them, so that one, which can choose its trace id, cannot choose its version.
    keys: RandomState,
    since: SystemTime,
    standing: AtomicU8,
    ending: Lock<Option<Ending>>,
    counts: [Counts; 2],
    judge: Option<Judge>,
    differences: Lock<Differences>,
    /// Exchanges that a shadow did not see, because it was with too many.
    skipped: AtomicU64,
    /// Exchanges whose bodies came faster than the shadow ran.
    left_behind: AtomicU64,
    refused: Lock<Refused>,
}

/// Requests of its own that a shadow was refused.
#[derive(Default)]
struct Refused {
    /// By what counted them before, as after a secret of the shadow became another.
    before: u64,
    counter: Option<Arc<AtomicU64>>,
}

/// What a version is, in words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionLabel {
    /// The source of its component.
    pub plugin: String,
    /// SHA-256 of the component in hexadecimal digits.
    pub digest: String,
}

/// How a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The candidate gets its part of the exchanges.
    Running,
    /// The candidate gets none.
    Aborted,
    /// The candidate gets all of them.
    Promoted,
}

impl Standing {
    const ALL: [Self; 3] = [Self::Running, Self::Aborted, Self::Promoted];

    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Aborted => "aborted",
            Self::Promoted => "promoted",
        }
    }
}

/// Why the candidate gets no exchanges, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// When that was decided.
    pub at: SystemTime,
    /// Why, in a sentence.
    pub reason: String,
    /// Whether the gateway decided it, by the rules of `abort`.
    pub automatic: bool,
}

/// What an operator can do to a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Every exchange that begins from now on takes the candidate.
    Promote,
    /// No exchange takes the candidate.
    Abort,
    /// The exchanges that the configuration says take it, and what was counted against the candidate is forgotten.
    Resume,
}

/// Why an operator's request cannot be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// It already stands so.
    #[error("it is {} already", .0.name())]
    Already(Standing),
    /// A shadow has a state of its own, and has never answered a client.
    #[error("a shadow has kept its state apart, and cannot serve as it is")]
    Shadow,
}

#[derive(Default)]
struct Counts {
    exchanges: AtomicU64,
    faulted: AtomicU64,
    replies: AtomicU64,
    calls: AtomicU64,
    cpu_ns: AtomicU64,
    latency_ns: AtomicU64,
    // Faults are rare, and each of them writes a line of the log anyway.
    faults: Lock<BTreeMap<&'static str, u64>>,
}

/// A reading of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutReport {
    /// The policy.
    pub policy: Name,
    /// What its candidate is.
    pub candidate: Version,
    /// Which exchanges the candidate gets while it runs.
    pub selection: Selection,
    /// How far it is.
    pub standing: Standing,
    /// Since when there is this rollout.
    pub since: SystemTime,
    /// Why it is not running.
    pub ending: Option<Ending>,
    /// The active version, and then the candidate.
    pub versions: [VersionReport; 2],
    /// Of a shadow: hooks whose outcome was compared.
    pub compared: u64,
    /// Of a shadow: hooks whose outcome differed.
    pub differing: u64,
    /// Of a shadow: exchanges that it did not see, because it was with too many.
    pub skipped: u64,
    /// Of a shadow: exchanges that it did not see to their end, because their bodies came faster than it ran.
    pub left_behind: u64,
    /// Of a shadow: requests of its own that it was refused, because it must have no effect.
    pub refused_requests: u64,
    /// Of a shadow: how often each thing differed, by its name.
    pub differences: Vec<(&'static str, u64)>,
    /// Of a shadow: the newest differences, the oldest first.
    pub samples: Vec<Sample>,
}

/// What one version has done since the rollout began.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionReport {
    /// Which it is.
    pub version: Version,
    /// What it is.
    pub label: VersionLabel,
    /// Exchanges that took it; of a shadow, that it saw.
    pub exchanges: u64,
    /// Those of them in which it failed.
    pub faulted: u64,
    /// Faults by kind.
    pub faults: Vec<(&'static str, u64)>,
    /// Exchanges that it answered in place of the upstream.
    pub replies: u64,
    /// Hook calls.
    pub calls: u64,
    /// CPU time of all its hooks.
    pub cpu: Duration,
    /// Time that exchanges spent in it, waiting included.
    pub latency: Duration,
}

impl VersionReport {
    /// Returns the mean CPU time of an exchange.
    #[must_use]
    pub fn cpu_mean(&self) -> Duration {
        mean(self.cpu, self.exchanges)
    }

    /// Returns the mean time that an exchange spent in it.
    #[must_use]
    pub fn latency_mean(&self) -> Duration {
        mean(self.latency, self.exchanges)
    }
}

fn mean(sum: Duration, count: u64) -> Duration {
    let nanos = u64::try_from(sum.as_nanos()).unwrap_or(u64::MAX);
    nanos.checked_div(count).map_or(Duration::ZERO, Duration::from_nanos)
}

impl Refused {
    fn count(&self) -> u64 {
        self.before + self.counter.as_ref().map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

impl Rollout {
    /// Returns a rollout that begins now. `labels` are of the active version and of the candidate; `keys` are what
    /// clients do not know, the same for all rollouts of a process: so a larger share takes what a smaller one took.
    #[must_use]
    pub fn new(policy: Name, candidate: &Candidate, labels: [VersionLabel; 2], keys: RandomState) -> Self {
        let (selection, judge, samples) = match candidate {
            Candidate::Canary(canary) => (canary.selection.clone(), canary.abort.map(Judge::new), 0),
            Candidate::Shadow(shadow) => (Selection::Share(shadow.share), None, shadow.samples),
        };
        Self {
            policy,
            candidate: candidate.version().version,
            labels: Lock::new(labels),
            selection,
            keys,
            since: SystemTime::now(),
            standing: AtomicU8::new(Standing::Running as u8),
            ending: Lock::default(),
            counts: Default::default(),
            judge,
            differences: Lock::new(Differences::new(samples)),
            skipped: AtomicU64::new(0),
            left_behind: AtomicU64::new(0),
            refused: Lock::default(),
        }
    }

    /// Returns the policy.
    #[must_use]
    pub fn policy(&self) -> &Name {
        &self.policy
    }

    /// Sets the label of the active version after it has changed, while the candidate has not.
    pub fn relabel(&self, active: VersionLabel) {
        self.labels.lock()[Side::Active as usize] = active;
    }

    /// Sets what counts the requests that the candidate is refused. A rollout outlives the counter of one candidate.
    pub(crate) fn count_refused_by(&self, counter: Option<Arc<AtomicU64>>) {
        let mut refused = self.refused.lock();
        let is_same = match (&refused.counter, &counter) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        if !is_same {
            refused.before = refused.count();
            refused.counter = counter;
        }
    }

    /// Returns what its candidate is.
    #[must_use]
    pub fn candidate(&self) -> Version {
        self.candidate
    }

    /// Returns how it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let standing = self.standing.load(Ordering::Acquire);
        Standing::ALL.into_iter().find(|known| *known as u8 == standing).unwrap_or(Standing::Aborted)
    }

    /// Returns the version that answers an exchange that takes `side`. A shadow never does.
    pub(crate) fn version_of(&self, side: Side) -> Version {
        match side {
            Side::Candidate if self.candidate != Version::Shadow => self.candidate,
            Side::Active | Side::Candidate => Version::Active,
        }
    }

    /// Returns the side that an exchange takes whose first hook of this policy comes now.
    pub(crate) fn side_for(&self, exchange: &Exchange) -> Side {
        let taken = match self.standing() {
            Standing::Running => match &self.selection {
                Selection::Share(share) => self.draw(&exchange.trace_id) < u64::from(share.hundredths()),
                Selection::Match(conditions) => {
                    let fields = &exchange.request.fields;
                    conditions
                        .iter()
                        .all(|condition| fields.holds(&condition.name, condition.value.as_deref()))
                }
            },
            Standing::Aborted => false,
            Standing::Promoted => true,
        };
        if taken { Side::Candidate } else { Side::Active }
    }

    /// Returns a number below 10,000 that is the same for the same trace id, and another for another policy.
    fn draw(&self, trace_id: &str) -> u64 {
        self.keys.hash_one((&*self.policy, trace_id)) % u64::from(Share::ALL.hundredths())
    }

    /// Counts an exchange that takes this side.
    pub(crate) fn begin(&self, side: Side) {
        self.count(side).exchanges.fetch_add(1, Ordering::Relaxed);
        if let Some(verdict) = self.judge.as_ref().and_then(|judge| judge.begin(side)) {
            self.abort_by(&verdict);
        }
    }

    /// Counts the cost of a hook of this side.
    pub(crate) fn spent(&self, side: Side, spent: Spent) {
        let counts = self.count(side);
        counts.calls.fetch_add(1, Ordering::Relaxed);
        counts.cpu_ns.fetch_add(spent.cpu_ns, Ordering::Relaxed);
        counts.latency_ns.fetch_add(spent.latency_ns, Ordering::Relaxed);
        if let Some(judge) = &self.judge {
            judge.spent(side, spent);
        }
    }

    pub(crate) fn replied(&self, side: Side) {
        self.count(side).replies.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a fault, and says whether it is the first of its kind.
    pub(crate) fn failed(&self, side: Side, kind: FaultKind, first_of_exchange: bool) -> bool {
        let counts = self.count(side);
        let first_of_kind = {
            let mut faults = counts.faults.lock();
            let count = faults.entry(kind.name()).or_default();
            *count += 1;
            *count == 1
        };
        if first_of_exchange {
            counts.faulted.fetch_add(1, Ordering::Relaxed);
            if let Some(verdict) = self.judge.as_ref().and_then(|judge| judge.failed(side)) {
                self.abort_by(&verdict);
            }
        }
        first_of_kind
    }

    pub(crate) fn skipped(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn left_behind(&self) {
        self.left_behind.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds the outcome of a comparison, which is usually empty.
    pub(crate) fn compared(&self, found: Vec<Difference>, sample: impl FnOnce(Vec<Difference>) -> Sample) {
        self.differences.lock().add(found, sample);
    }

    /// Does what an operator asks for.
    ///
    /// # Errors
    /// If it makes no sense as the rollout stands; nothing has changed then.
    pub fn act(&self, act: Act, reason: &str) -> Result<(), ActError> {
        let to = match act {
            Act::Promote if self.candidate == Version::Shadow => return Err(ActError::Shadow),
            Act::Promote => Standing::Promoted,
            Act::Abort => Standing::Aborted,
            Act::Resume => Standing::Running,
        };
        let mut ending = self.ending.lock();
        if self.standing() == to {
            return Err(ActError::Already(to));
        }
        *ending = (to != Standing::Running).then(|| Ending {
            at: SystemTime::now(),
            reason: reason.to_owned(),
            automatic: false,
        });
        if let Some(judge) = &self.judge {
            judge.forget();
        }
        self.standing.store(to as u8, Ordering::Release);
        Ok(())
    }

    /// Aborts the canary. If several workers reach a verdict at once, the first one does.
    #[cold]
    fn abort_by(&self, verdict: &Verdict) {
        let mut ending = self.ending.lock();
        // A version that was promoted is the one that serves: it is for a person to say what takes its place.
        if self.standing() != Standing::Running {
            return;
        }
        let reason = verdict.to_string();
        self.standing.store(Standing::Aborted as u8, Ordering::Release);
        *ending = Some(Ending { at: SystemTime::now(), reason: reason.clone(), automatic: true });
        drop(ending);
        let [active, candidate] = self.versions();
        tracing::error!(
            event = "rollout-aborted",
            policy = %self.policy,
            plugin = %candidate.label.plugin,
            exchanges = candidate.exchanges,
            faulted = candidate.faulted,
            cpu_us = candidate.cpu_mean().as_micros(),
            latency_us = candidate.latency_mean().as_micros(),
            active_exchanges = active.exchanges,
            active_faulted = active.faulted,
            active_cpu_us = active.cpu_mean().as_micros(),
            active_latency_us = active.latency_mean().as_micros(),
            "the canary of policy `{}` was taken back: {reason}; all exchanges take {} again",
            self.policy,
            active.label.plugin,
        );
    }

    /// Returns a reading of it all.
    #[must_use]
    pub fn report(&self) -> RolloutReport {
        let differences = self.differences.lock();
        RolloutReport {
            policy: self.policy.clone(),
            candidate: self.candidate,
            selection: self.selection.clone(),
            standing: self.standing(),
            since: self.since,
            ending: self.ending.lock().clone(),
            versions: self.versions(),
            compared: differences.compared(),
            differing: differences.differing(),
            skipped: self.skipped.load(Ordering::Relaxed),
            left_behind: self.left_behind.load(Ordering::Relaxed),
            refused_requests: self.refused.lock().count(),
            differences: differences.counts(),
            samples: differences.samples(),
        }
    }

    fn versions(&self) -> [VersionReport; 2] {
        let labels = self.labels.lock().clone();
        [(Side::Active, Version::Active), (Side::Candidate, self.candidate)].map(|(side, version)| {
            let counts = self.count(side);
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            VersionReport {
                version,
                label: labels[side as usize].clone(),
                exchanges: read(&counts.exchanges),
                faulted: read(&counts.faulted),
                faults: counts.faults.lock().iter().map(|(kind, count)| (*kind, *count)).collect(),
                replies: read(&counts.replies),
                calls: read(&counts.calls),
                cpu: Duration::from_nanos(read(&counts.cpu_ns)),
                latency: Duration::from_nanos(read(&counts.latency_ns)),
            }
        })
    }

    fn count(&self, side: Side) -> &Counts {
        &self.counts[side as usize]
    }
}

impl std::fmt::Debug for Rollout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rollout")
            .field("policy", &self.policy)
            .field("candidate", &self.candidate)
            .field("standing", &self.standing())
            .finish_non_exhaustive()
    }
}
