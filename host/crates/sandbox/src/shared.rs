//! What belongs to a policy's name: it is shared by all workers and outlives reloads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwapOption;
use portcullis_model::{Grants, Name};
use portcullis_policy::FaultKind;
use portcullis_traffic::RateLimiter;

use crate::PolicyReport;
use crate::capabilities::{metrics::Registry, rate_limit, store::Store};
use crate::state::Stage;

/// The policies that are alive, by name.
#[derive(Default)]
pub(crate) struct SharedPolicies(Mutex<HashMap<Name, Weak<PolicyShared>>>);

/// What the policies of one name share. Dropped with the last of them.
pub(crate) struct PolicyShared {
    name: Name,
    /// There once `rate-limit` was granted.
    pub(crate) limiter: ArcSwapOption<RateLimiter>,
    pub(crate) store: Store,
    pub(crate) metrics: Registry,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Of workers that are gone.
    calls: [u64; Calls::STAGES],
    workers: Vec<Arc<Calls>>,
    faults: HashMap<(Stage, FaultKind), u64>,
}

/// Calls that one worker made, by hook. Written by that worker alone, so that no core waits for another's cache line.
#[derive(Debug, Default)]
pub(crate) struct Calls([AtomicU64; Self::STAGES]);

impl Calls {
    const STAGES: usize = 7;

    /// Counts a call.
    pub(crate) fn add(&self, stage: Stage) {
        let count = &self.0[stage as usize];
        count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }
}

impl SharedPolicies {
    /// What belongs to the name; made where no policy of that name is alive.
    pub(crate) fn get(&self, name: &Name) -> Arc<PolicyShared> {
        let mut policies = self.lock();
        policies.retain(|_, shared| shared.strong_count() > 0);
        if let Some(shared) = policies.get(name).and_then(Weak::upgrade) {
            return shared;
        }
        let shared = Arc::new(PolicyShared {
            name: name.clone(),
            limiter: ArcSwapOption::empty(),
            store: Store::default(),
            metrics: Registry::default(),
            counts: Mutex::default(),
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PolicyShared {
    /// Gives the policy what its grants say it may have, where it has nothing yet.
    pub(crate) fn provide(&self, grants: &Grants) {
        if let Some(quota) = grants.rate_limit
            && self.limiter.load().is_none()
        {
            self.limiter.store(Some(Arc::new(rate_limit::table(quota))));
        }
        if let Some(grant) = grants.store {
            self.store.provide(grant);
        }
    }

    /// Sets the limits to what the grants say. Buckets that fit are kept.
    pub(crate) fn adjust(&self, grants: &Grants) {
        if let Some(quota) = grants.rate_limit {
            let old = self.limiter.load_full();
            if let Some(new) = rate_limit::resized(old.as_deref(), quota) {
                self.limiter.store(Some(Arc::new(new)));
            }
        }
        if let Some(grant) = grants.store {
            self.store.adjust(grant);
        }
    }

    /// Counters for a new worker.
    pub(crate) fn add_worker(&self) -> Arc<Calls> {
        let calls = Arc::new(Calls::default());
        self.lock().workers.push(calls.clone());
        calls
    }

    /// Keeps the counts of a worker that is going away.
    pub(crate) fn remove_worker(&self, calls: &Arc<Calls>) {
        let mut counts = self.lock();
        for (sum, count) in counts.calls.iter_mut().zip(&calls.0) {
            *sum += count.load(Ordering::Relaxed);
        }
        counts.workers.retain(|other| !Arc::ptr_eq(other, calls));
    }

    pub(crate) fn count_fault(&self, stage: Stage, kind: FaultKind) {
        *self.lock().faults.entry((stage, kind)).or_default() += 1;
    }

    fn report(&self) -> PolicyReport {
        const STAGES: [Stage; Calls::STAGES] = [
            Stage::Configure,
            Stage::RequestHead,
            Stage::RequestBody,
            Stage::ResponseHead,
            Stage::ResponseBody,
            Stage::Completed,
            Stage::Tick,
        ];
        let counts = self.lock();
        let calls = STAGES.map(|stage| {
            let at = stage as usize;
            let alive: u64 = counts.workers.iter().map(|calls| calls.0[at].load(Ordering::Relaxed)).sum();
            (stage.name(), counts.calls[at] + alive)
        });
        let faults = counts.faults.iter().map(|((stage, kind), count)| (stage.name(), *kind, *count));
        let mut faults: Vec<_> = faults.collect();
        drop(counts);
        faults.sort_by_key(|(hook, kind, _)| (*hook, kind.to_string()));
        PolicyReport {
            policy: self.name.clone(),
            calls: calls.into_iter().filter(|(_, count)| *count > 0).collect(),
            faults,
            guest: self.metrics.read(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many instances are alive, over all policies and workers.
#[derive(Debug)]
pub(crate) struct InstanceCount {
    alive: AtomicU32,
    max: u32,
}

/// One of them; gives its place back when dropped.
#[derive(Debug)]
pub(crate) struct InstancePlace(Arc<InstanceCount>);

impl InstanceCount {
    pub(crate) fn new(max: u32) -> Self {
        Self { alive: AtomicU32::new(0), max }
    }

    /// A place for an instance, where one is free.
    pub(crate) fn take(self: &Arc<Self>) -> Option<InstancePlace> {
        let taken = self.alive.fetch_update(Ordering::AcqRel, Ordering::Acquire, |alive| {
            (alive < self.max).then_some(alive + 1)
        });
        taken.is_ok().then(|| InstancePlace(self.clone()))
    }

    pub(crate) fn alive(&self) -> u32 {
        self.alive.load(Ordering::Acquire)
    }

    pub(crate) fn max(&self) -> u32 {
        self.max
    }
}

impl Drop for InstancePlace {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::AcqRel);
    }
}
