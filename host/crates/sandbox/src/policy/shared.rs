//! What belongs to a policy's name: it is shared by all workers and outlives reloads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, Weak};
use std::time::{Duration, SystemTime};

use portcullis_model::text::cut;
use portcullis_model::{Grants, Lock, Name, Version};
use portcullis_policy::{FaultKind, HookKind};
use portcullis_services::metrics::Registry;
use portcullis_services::rate_limit::Buckets;
use portcullis_services::store::Store;
use portcullis_traffic::Transition;

use crate::policy::report::{LastFault, PolicyReport, Standings, UnderWay};

/// Bytes of the last fault's text that are kept: what happened and where, not the whole backtrace.
const FAULT_BYTES_MAX: usize = 1 << 10;

const HOOKS: usize = HookKind::COUNT;

/// The policies that are alive, by name.
#[derive(Default)]
pub(crate) struct SharedPolicies(Lock<HashMap<Name, Weak<PolicyShared>>>);

/// A version of a policy that exchanges run on, as far as a report asks it.
pub(crate) trait Live: Send + Sync {
    /// Returns how many of its instances are alive.
    fn instances(&self) -> u32;
    /// Returns how its quarantine stands.
    fn standings(&self) -> Standings;
    /// Returns what it has under way.
    fn under_way(&self) -> UnderWay;
}

/// What the policies of one name share. Dropped with the last of them.
pub(crate) struct PolicyShared {
    name: Name,
    pub(crate) buckets: Buckets,
    pub(crate) store: Store,
    pub(crate) metrics: Registry,
    /// What lives of the policy's generations: the one that went live last.
    live: Lock<Option<Weak<dyn Live>>>,
    /// The same of its canaries.
    live_canary: Lock<Option<Weak<dyn Live>>>,
    /// Of the quarantine: begun, probe failed, ended.
    transitions: [AtomicU64; 3],
    counts: Lock<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Of workers that are gone, by the version that they ran: what a version was asked never becomes less.
    gone: Vec<(Version, Sums)>,
    workers: Vec<Arc<Calls>>,
    faults: HashMap<(HookKind, FaultKind), u64>,
    last_fault: Option<LastFault>,
}

/// What one worker has made a policy do. Written by that worker alone, so that no core waits for another's cache line.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Calls {
    /// The version of the policy that the worker runs.
    version: Version,
    /// Calls, by hook.
    calls: [AtomicU64; HOOKS],
    /// Times that a hook has decided, by hook: calls that succeeded, of a body the last one, for there are many.
    succeeded: [AtomicU64; HOOKS],
    /// Calls that were not made because of the quarantine, by hook.
    refused: [AtomicU64; HOOKS],
    cpu_nanos: AtomicU64,
    memory_bytes_max: AtomicU64,
}

/// The same over several workers.
#[derive(Debug, Clone, Default)]
struct Sums {
    calls: [u64; HOOKS],
    succeeded: [u64; HOOKS],
    refused: [u64; HOOKS],
    cpu_nanos: u64,
    memory_bytes_max: u64,
}

impl Calls {
    fn new(version: Version) -> Self {
        Self {
            version,
            calls: Default::default(),
            succeeded: Default::default(),
            refused: Default::default(),
            cpu_nanos: AtomicU64::new(0),
            memory_bytes_max: AtomicU64::new(0),
        }
    }

    /// Counts a call.
    pub(crate) fn add(&self, hook: HookKind) {
        bump(&self.calls[hook as usize], 1);
    }

    /// Counts that a hook has decided.
    pub(crate) fn succeed(&self, hook: HookKind) {
        bump(&self.succeeded[hook as usize], 1);
    }

    /// Counts a call that was not made.
    pub(crate) fn refuse(&self, hook: HookKind) {
        bump(&self.refused[hook as usize], 1);
    }

    /// Counts what a call has cost.
    pub(crate) fn spend(&self, cpu: Duration, memory_bytes: u64) {
        bump(&self.cpu_nanos, u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX));
        if self.memory_bytes_max.load(Ordering::Relaxed) < memory_bytes {
            self.memory_bytes_max.store(memory_bytes, Ordering::Relaxed);
        }
    }
}

/// Only the worker writes, so that this need not be one step.
fn bump(count: &AtomicU64, by: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

impl Sums {
    fn add(&mut self, calls: &Calls) {
        let add = |sums: &mut [u64], counts: &[AtomicU64]| {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum = sum.wrapping_add(count.load(Ordering::Relaxed));
            }
        };
        add(&mut self.calls, &calls.calls);
        add(&mut self.succeeded, &calls.succeeded);
        add(&mut self.refused, &calls.refused);
        self.cpu_nanos = self.cpu_nanos.wrapping_add(calls.cpu_nanos.load(Ordering::Relaxed));
        self.memory_bytes_max = self.memory_bytes_max.max(calls.memory_bytes_max.load(Ordering::Relaxed));
    }

    fn add_sums(&mut self, other: &Self) {
        let add = |sums: &mut [u64], others: &[u64]| {
            for (sum, other) in sums.iter_mut().zip(others) {
                *sum = sum.wrapping_add(*other);
            }
        };
        add(&mut self.calls, &other.calls);
        add(&mut self.succeeded, &other.succeeded);
        add(&mut self.refused, &other.refused);
        self.cpu_nanos = self.cpu_nanos.wrapping_add(other.cpu_nanos);
        self.memory_bytes_max = self.memory_bytes_max.max(other.memory_bytes_max);
    }
}

impl SharedPolicies {
    /// Returns what belongs to the name. It is made if no policy of that name is alive.
    pub(crate) fn get(&self, name: &Name) -> Arc<PolicyShared> {
        let mut policies = self.lock();
        policies.retain(|_, shared| shared.strong_count() > 0);
        if let Some(shared) = policies.get(name).and_then(Weak::upgrade) {
            return shared;
        }
        let shared = Arc::new(PolicyShared {
            name: name.clone(),
            buckets: Buckets::default(),
            store: Store::default(),
            metrics: Registry::default(),
            live: Lock::default(),
            live_canary: Lock::default(),
            transitions: Default::default(),
            counts: Lock::default(),
        });
        policies.insert(name.clone(), Arc::downgrade(&shared));
        shared
    }

    pub(crate) fn report(&self) -> Vec<PolicyReport> {
        let alive: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        let mut reports: Vec<_> = alive.iter().map(|shared| shared.report()).collect();
        reports.sort_by(|a, b| a.policy.cmp(&b.policy));
        reports
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Weak<PolicyShared>>> {
        self.0.lock()
    }
}

impl PolicyShared {
    /// The policy's name.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// Gives the policy what its grants say it may have, if it has nothing yet.
    pub(crate) fn provide(&self, grants: &Grants) {
        if let Some(quota) = grants.rate_limit {
            self.buckets.provide(quota);
        }
        if let Some(grant) = grants.store {
            self.store.provide(grant);
        }
    }

    /// Sets the limits to what the grants say. Buckets that fit are kept.
    pub(crate) fn adjust(&self, grants: &Grants) {
        if let Some(quota) = grants.rate_limit {
            self.buckets.adjust(quota);
        }
        if let Some(grant) = grants.store {
            self.store.adjust(grant);
        }
    }

    /// Counters for a new worker, which runs that version.
    pub(crate) fn add_worker(&self, version: Version) -> Arc<Calls> {
        let calls = Arc::new(Calls::new(version));
        self.lock().workers.push(calls.clone());
        calls
    }

    /// Keeps the counts of a worker that is going away.
    pub(crate) fn remove_worker(&self, calls: &Arc<Calls>) {
        let mut counts = self.lock();
        counts.gone_of(calls.version).add(calls);
        counts.workers.retain(|other| !Arc::ptr_eq(other, calls));
    }

    /// Counts a fault and remembers it as the last.
    pub(crate) fn count_fault(&self, hook: HookKind, kind: FaultKind, message: &str) {
        let mut counts = self.lock();
        *counts.faults.entry((hook, kind)).or_default() += 1;
        let message = cut(message, FAULT_BYTES_MAX).to_owned();
        counts.last_fault = Some(LastFault { hook: hook.name(), kind, message, at: SystemTime::now() });
    }

    /// How many times a hook of a version has decided, over all workers that run it or did.
    pub(crate) fn succeeded(&self, version: Version, hook: HookKind) -> u64 {
        let counts = self.lock();
        let mut sums = Sums::default();
        counts.gone.iter().filter(|(of, _)| *of == version).for_each(|(_, gone)| sums.add_sums(gone));
        counts.workers.iter().filter(|calls| calls.version == version).for_each(|calls| sums.add(calls));
        sums.succeeded[hook as usize]
    }

    /// Exchanges run on `version` from now on.
    pub(crate) fn goes_live(&self, version: Weak<dyn Live>, which: Version) {
        let live = match which {
            Version::Active | Version::Shadow => &self.live,
            Version::Canary => &self.live_canary,
        };
        *live.lock() = Some(version);
    }

    /// Counts what has become of a quarantine.
    pub(crate) fn count_transition(&self, transition: Transition) {
        let at = match transition {
            Transition::Begun { .. } => 0,
            Transition::ProbeFailed { .. } => 1,
            Transition::Ended { .. } => 2,
        };
        self.transitions[at].fetch_add(1, Ordering::Relaxed);
    }

    fn report(&self) -> PolicyReport {
        let [live, canary] =
            [&self.live, &self.live_canary].map(|live| live.lock().as_ref().and_then(Weak::upgrade));
        let counts = self.lock();
        let sums = counts.sums();
        let faults = counts.faults.iter().map(|((hook, kind), count)| (hook.name(), *kind, *count));
        let mut faults: Vec<_> = faults.collect();
        let last_fault = counts.last_fault.clone();
        drop(counts);
        let by_hook = |counts: [u64; HOOKS]| {
            HookKind::ALL
                .into_iter()
                .map(move |hook| (hook.name(), counts[hook as usize]))
                .filter(|(_, count)| *count > 0)
        };
        faults.extend(by_hook(sums.refused).map(|(hook, count)| (hook, FaultKind::Quarantined, count)));
        faults.sort_by_key(|(hook, kind, _)| (*hook, kind.to_string()));
        let standings = live.as_ref().map(|live| live.standings()).unwrap_or_default();
        PolicyReport {
            policy: self.name.clone(),
            instances: live.as_ref().map_or(0, |live| live.instances()),
            calls: by_hook(sums.calls).collect(),
            faults,
            last_fault,
            cpu: Duration::from_nanos(sums.cpu_nanos),
            memory_bytes_max: sums.memory_bytes_max,
            quarantine: standings,
            under_way: live.iter().chain(&canary).map(|live| live.under_way()).collect(),
            transitions: [("begun", 0), ("probe-failed", 1), ("ended", 2)]
                .map(|(name, at)| (name, self.transitions[at].load(Ordering::Relaxed))),
            guest: self.metrics.read(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }
}

impl Counts {
    fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        self.gone.iter().for_each(|(_, gone)| sums.add_sums(gone));
        self.workers.iter().for_each(|calls| sums.add(calls));
        sums
    }

    fn gone_of(&mut self, version: Version) -> &mut Sums {
        let known = self.gone.iter().position(|(of, _)| *of == version);
        let at = known.unwrap_or_else(|| {
            self.gone.push((version, Sums::default()));
            self.gone.len() - 1
        });
        &mut self.gone[at].1
    }
}
