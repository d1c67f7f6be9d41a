//! The keys of key sets that a policy could not use, for the log: a token that nothing verifies is hard to explain
//! without them.

use portcullis_model::Lock;
use std::collections::BTreeMap;

use crate::numbered::Content;

/// Keys that are remembered.
const NOTED_MAX: usize = 1000;

/// A key of a set that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// Its `kid`, or its place in the set if it has none.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// What became of the keys of sets, by their digests: `None` for one that some call could use, or that was logged.
#[derive(Debug, Default)]
pub struct LeftOutKeys(Lock<BTreeMap<Content, Option<LeftOut>>>);

impl LeftOutKeys {
    /// Notes what a call made of a key. A policy may read a set twice, for keys of different algorithms, so a key
    /// counts as left out only if no call could use it.
    pub(super) fn note(&self, key: Content, left_out: Option<&LeftOut>) {
        let mut noted = self.0.lock();
        let has_room = noted.len() < NOTED_MAX;
        match left_out {
            // A policy that renews its keys goes through any number of them.
            None if has_room || noted.contains_key(&key) => drop(noted.insert(key, None)),
            Some(left_out) if has_room => {
                // The first call knows best: a later one asks for an algorithm.
                noted.entry(key).or_insert_with(|| Some(left_out.clone()));
            }
            _ => {}
        }
    }

    /// Takes those that were not logged yet.
    pub(super) fn take(&self) -> Vec<LeftOut> {
        let mut noted = self.0.lock();
        noted.values_mut().filter_map(Option::take).collect()
    }

    /// Logs them, each once.
    pub fn log(&self, policy: &str) {
        for LeftOut { name, reason } in self.take() {
            tracing::warn!(
                event = "key-left-out",
                %policy,
                kid = %name,
                "policy `{policy}`: the key `{name}` of its key set is left out: {reason}"
            );
        }
    }
}
