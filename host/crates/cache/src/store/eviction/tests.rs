use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::{Eviction, GHOSTS_MIN, HEAT_MAX, Heat, Seen, Slot};

/// The same policy over plain lists, written down as in the paper.
#[derive(Default)]
struct Model {
    small: VecDeque<u64>,
    main: VecDeque<u64>,
    ghosts: VecDeque<Option<u64>>,
    entries: BTreeMap<u64, (u64, u8)>,
}

impl Model {
    fn bytes(&self, queue: &VecDeque<u64>) -> u64 {
        queue.iter().map(|name| self.entries[name].0).sum()
    }

    fn insert(&mut self, name: u64, bytes: u64) {
        self.entries.insert(name, (bytes, 0));
        match self.ghosts.iter_mut().find(|ghost| **ghost == Some(name)) {
            Some(ghost) => {
                *ghost = None;
                self.main.push_back(name);
            }
            None => self.small.push_back(name),
        }
    }

    fn touch(&mut self, name: u64) {
        let heat = &mut self.entries.get_mut(&name).unwrap().1;
        *heat = (*heat + 1).min(HEAT_MAX);
    }

    fn remove(&mut self, name: u64) {
        self.small.retain(|other| *other != name);
        self.main.retain(|other| *other != name);
        self.entries.remove(&name);
    }

    fn evict(&mut self) -> Option<u64> {
        loop {
            let (small, main) = (self.bytes(&self.small), self.bytes(&self.main));
            if !self.small.is_empty() && (small * 10 > small + main || self.main.is_empty()) {
                let name = self.small.pop_front()?;
                let heat = &mut self.entries.get_mut(&name).unwrap().1;
                if *heat > 1 {
                    *heat = 0;
                    self.main.push_back(name);
                } else {
                    self.entries.remove(&name);
                    for ghost in &mut self.ghosts {
                        if *ghost == Some(name) {
                            *ghost = None;
                        }
                    }
                    self.ghosts.push_back(Some(name));
                    while self.ghosts.len() > self.main.len().max(GHOSTS_MIN) {
                        self.ghosts.pop_front();
                    }
                    return Some(name);
                }
            } else {
                let name = self.main.pop_front()?;
                let heat = &mut self.entries.get_mut(&name).unwrap().1;
                if *heat > 0 {
                    *heat -= 1;
                    self.main.push_back(name);
                } else {
                    self.entries.remove(&name);
                    return Some(name);
                }
            }
        }
    }
}

/// The policy with what a store keeps beside it.
#[derive(Default)]
struct Real {
    eviction: Eviction,
    names: BTreeMap<u64, Slot>,
    entries: Vec<(u64, Heat, bool)>,
}

impl Real {
    fn insert(&mut self, name: u64, bytes: u64) {
        let slot = self.eviction.insert(name, bytes);
        self.names.insert(name, slot);
        let entry = (name, Heat::default(), false);
        if slot as usize == self.entries.len() {
            self.entries.push(entry);
        } else {
            self.entries[slot as usize] = entry;
        }
    }

    fn touch(&self, name: u64) {
        self.entries[self.names[&name] as usize].1.touch();
    }

    fn remove(&mut self, name: u64) {
        if let Some(slot) = self.names.remove(&name) {
            self.eviction.remove(slot);
        }
    }

    fn evict(&mut self) -> Option<u64> {
        let entries = &self.entries;
        let look = |slot: Slot| {
            let (_, heat, in_use) = entries.get(slot as usize)?;
            Some(Seen { heat, in_use: *in_use })
        };
        let name = self.entries[self.eviction.evict(look)? as usize].0;
        self.names.remove(&name);
        Some(name)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Use(u64, u64),
    Remove(u64),
    Resize(u64, u64),
    Evict,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..60_u64, 1..40_u64).prop_map(|(name, bytes)| Step::Use(name, bytes)),
        1 => (0..60_u64).prop_map(Step::Remove),
        1 => (0..60_u64, 1..40_u64).prop_map(|(name, bytes)| Step::Resize(name, bytes)),
        4 => Just(Step::Evict),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    #[test]
    fn evicts_what_the_model_evicts(steps in steps()) {
        let (mut model, mut real) = (Model::default(), Real::default());
        for step in steps {
            match step {
                Step::Use(name, bytes) => {
                    if model.entries.contains_key(&name) {
                        model.touch(name);
                        real.touch(name);
                    } else {
                        model.insert(name, bytes);
                        real.insert(name, bytes);
                    }
                }
                Step::Remove(name) => {
                    model.remove(name);
                    real.remove(name);
                }
                Step::Resize(name, bytes) => {
                    if let Some(entry) = model.entries.get_mut(&name) {
                        entry.0 = bytes;
                        real.eviction.resize(real.names[&name], bytes);
                    }
                }
                Step::Evict => prop_assert_eq!(real.evict(), model.evict()),
            }
            prop_assert_eq!(real.eviction.len(), model.entries.len());
            prop_assert_eq!(real.eviction.bytes(), model.entries.values().map(|entry| entry.0).sum::<u64>());
        }
    }
}

/// Uses `name` in a cache of 100 entries. Returns whether it was there.
fn use_in_hundred(real: &mut Real, name: u64) -> bool {
    if real.names.contains_key(&name) {
        real.touch(name);
        return true;
    }
    if real.eviction.len() == 100 {
        real.evict().unwrap();
    }
    real.insert(name, 1);
    false
}

#[test]
fn a_scan_does_not_push_out_what_is_in_use() {
    let mut real = Real::default();
    for _ in 0..10 {
        for name in 0..80 {
            use_in_hundred(&mut real, name);
        }
    }
    // Ten times as many as fit pass by, and the eighty are used now and then: a queue in the order of uses would lose
    // all of them.
    let mut hits = 0;
    for scanned in 0..1_000 {
        use_in_hundred(&mut real, 1_000 + scanned);
        hits += usize::from(scanned % 10 == 0 && use_in_hundred(&mut real, (scanned / 10) % 80));
    }
    assert_eq!(hits, 100);
}

#[test]
fn an_entry_in_use_stays_and_an_eviction_that_frees_nothing_fails() {
    let mut real = Real::default();
    for name in 0..3 {
        real.insert(name, 1);
    }
    real.entries[0].2 = true;
    assert_eq!((real.evict(), real.evict(), real.evict()), (Some(1), Some(2), None));
    assert_eq!(real.eviction.len(), 1);
    real.entries[0].2 = false;
    assert_eq!(real.evict(), Some(0));
    assert_eq!(real.evict(), None);
}

#[test]
fn a_slot_that_the_store_knows_nothing_of_is_forgotten() {
    let mut eviction = super::Eviction::default();
    for name in 0..3 {
        eviction.insert(name, 100);
    }
    assert_eq!(eviction.evict(|_| None), None);
    assert_eq!((eviction.len(), eviction.bytes()), (0, 0));
}
