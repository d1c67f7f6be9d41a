//! The store against a map without bounds: what it returns is what was stored last and not purged since.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tools::{TestHead, content, filled, head, key, settings};
use crate::store::{Key, Mode, Purge, Settings, Store};

#[derive(Debug, Clone)]
enum Step {
    Fill { path: u8, variant: u8, tag: u8, bytes: usize },
    Update { path: u8, variant: u8 },
    Forget { path: u8, variant: u8 },
    Purge { how: u8, path: u8, soft: bool },
    Find { path: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let path = 0..12_u8;
    let fill = (path.clone(), 0..3_u8, 0..3_u8, prop_oneof![0..100_usize, 0..150_000_usize]);
    let step = prop_oneof![
        6 => fill.prop_map(|(path, variant, tag, bytes)| Step::Fill { path, variant, tag, bytes }),
        1 => (path.clone(), 0..3_u8).prop_map(|(path, variant)| Step::Update { path, variant }),
        1 => (path.clone(), 0..3_u8).prop_map(|(path, variant)| Step::Forget { path, variant }),
        1 => (0..4_u8, path.clone(), any::<bool>()).prop_map(|(how, path, soft)| Step::Purge { how, path, soft }),
        6 => path.prop_map(|path| Step::Find { path }),
    ];
    prop::collection::vec(step, 1..120)
}

#[derive(Debug, Clone, PartialEq)]
struct Known {
    version: u64,
    tag: u8,
    bytes: usize,
    stale: bool,
}

type Model = BTreeMap<(u8, u8), Known>;

fn path(path: u8) -> String {
    format!("/{}/{path}", path % 3)
}

fn purge(store: &Store<TestHead>, model: &mut Model, how: u8, at: u8, soft: bool) {
    let at_key = key(&path(at));
    let (prefix, tag) = (format!("https://host/{}/", at % 3), [at % 3]);
    let what = match how {
        0 => Purge::Key(at_key.bytes()),
        1 => Purge::Url(at_key.url()),
        2 => Purge::Prefix(prefix.as_bytes()),
        _ => Purge::Tag(&tag),
    };
    store.purge(&what, if soft { Mode::Soft } else { Mode::Hard }, 5);
    let meant = |path: u8, known: &Known| match how {
        0 | 1 => path == at,
        2 => path % 3 == at % 3,
        _ => known.tag == at % 3,
    };
    if soft {
        model
            .iter_mut()
            .filter(|((path, _), known)| meant(*path, known))
            .for_each(|(_, known)| known.stale = true);
    } else {
        model.retain(|(path, _), known| !meant(*path, known));
    }
}

/// Compares what is found. Everything that is known is there, unless entries had to go.
fn find(store: &Store<TestHead>, model: &Model, at: u8, all: bool) -> Result<(), TestCaseError> {
    let found = store.find(key(&path(at)).bytes());
    let entries = found.as_deref().map(|variants| variants.entries()).unwrap_or_default();
    for entry in entries {
        let known = model.get(&(at, entry.variant()[0]));
        let body = content(entry);
        let seen = Known {
            version: entry.head().version,
            tag: known.map_or(0, |known| known.tag),
            bytes: body.len(),
            stale: entry.stale_since().is_some(),
        };
        prop_assert_eq!(Some(&seen), known);
        prop_assert!(body == vec![at; body.len()]);
    }
    if all {
        prop_assert_eq!(entries.len(), model.keys().filter(|(path, _)| *path == at).count());
    }
    Ok(())
}

fn run(settings: Settings, steps: Vec<Step>, all: bool) -> Result<(), TestCaseError> {
    let (store, mut model) = (Store::new(settings.clone()), Model::new());
    let entry = |store: &Store<TestHead>, at: &Key, variant: u8| {
        let found = store.find(at.bytes())?;
        found.entries().iter().find(|entry| entry.variant() == [variant]).cloned()
    };
    for (version, step) in (1..).zip(steps) {
        match step {
            Step::Fill { path: at, variant, tag, bytes } => {
                filled(&store, &key(&path(at)), &[variant], version, &[&[tag]], &vec![at; bytes]);
                model.insert((at, variant), Known { version, tag, bytes, stale: false });
            }
            Step::Update { path: at, variant } => {
                if let Some(old) = entry(&store, &key(&path(at)), variant) {
                    store.update(store.ticket(), &old, head(version)).unwrap();
                    let known = model.get_mut(&(at, variant)).unwrap();
                    (known.version, known.stale) = (version, false);
                }
            }
            Step::Forget { path: at, variant } => {
                if let Some(old) = entry(&store, &key(&path(at)), variant) {
                    prop_assert!(store.forget(&old));
                    prop_assert!(!store.forget(&old));
                    model.remove(&(at, variant));
                }
            }
            Step::Purge { how, path, soft } => purge(&store, &mut model, how, path, soft),
            Step::Find { path } => find(&store, &model, path, all)?,
        }
        prop_assert!(store.stats().bytes <= settings.memory.bytes_max);
        prop_assert!(store.stats().entries <= settings.memory.entries_max);
        prop_assert!(!all || store.stats().entries == model.len());
    }
    for at in 0..12 {
        find(&store, &model, at, all)?;
    }
    store.purge(&Purge::Prefix(b""), Mode::Hard, 1);
    prop_assert_eq!(store.stats().entries, 0);
    prop_assert_eq!(store.stats().bytes, Store::<TestHead>::new(settings).stats().bytes);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn has_what_was_stored_last(steps in steps()) {
        let mut roomy = settings();
        roomy.memory.bytes_max = 64 << 20;
        run(roomy, steps, true)?;
    }

    #[test]
    fn never_has_anything_else_when_entries_have_to_go(steps in steps()) {
        let mut tight = settings();
        (tight.memory.bytes_max, tight.memory.entries_max) = (400 << 10, 6);
        tight.memory.object_bytes_max = 200 << 10;
        run(tight, steps, false)?;
    }
}
