//! What an operator has changed about the endpoints that an upstream lists.

use std::collections::BTreeMap;

use portcullis_model::{Endpoint, Name};

/// Endpoints of one upstream that may be changed. It only bounds what a script that has gone wrong can make.
const CHANGED_MAX: usize = 1000;

/// A change of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// One that is not there is used from now on; with these, or as it is listed if it is.
    Add {
        /// Its share.
        weight: Option<u32>,
        /// Whether it is a backup.
        priority: Option<u8>,
    },
    /// It is not there any more.
    Remove,
    /// It takes no more exchanges.
    Drain,
    /// It takes exchanges again.
    Undrain,
    /// It has this share.
    Weight(u32),
    /// It is as it is listed.
    Reset,
}

/// Why an endpoint cannot be changed so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditError {
    /// There is no such endpoint.
    Unknown,
    /// One that is to be added is there.
    Present,
    /// One that is to be as it is listed was not changed.
    Unchanged,
    /// As many were changed as may be.
    TooMany,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Changed {
    /// It is not listed, and has this priority.
    added: Option<u8>,
    removed: bool,
    drained: bool,
    weight: Option<u32>,
}

/// The changes of an upstream's endpoints.
#[derive(Debug, Default)]
pub struct Edits(BTreeMap<Name, Changed>);

impl Edits {
    /// Returns the endpoints that there are if these are `listed`.
    #[must_use]
    pub fn apply(&self, listed: &[Endpoint]) -> Vec<Endpoint> {
        let kept = listed.iter().filter_map(|endpoint| match self.0.get(&endpoint.address) {
            None => Some(endpoint.clone()),
            Some(changed) if changed.removed => None,
            Some(changed) => Some(Endpoint { weight: changed.weight(endpoint.weight), ..endpoint.clone() }),
        });
        let added = self.0.iter().filter_map(|(address, changed)| {
            let priority = changed.added?;
            let is_listed = listed.iter().any(|endpoint| endpoint.address == *address);
            let address = Name::clone(address);
            (!is_listed).then(|| Endpoint { address, weight: changed.weight(1), priority })
        });
        kept.chain(added).collect()
    }

    /// Changes an endpoint of an upstream that lists these.
    ///
    /// # Errors
    /// If it cannot be changed so. Then nothing is.
    pub fn edit(&mut self, listed: &[Endpoint], address: &Name, edit: Edit) -> Result<(), EditError> {
        let of_address = |endpoint: &&Endpoint| endpoint.address == *address;
        let in_list = listed.iter().find(of_address);
        let is_there = self.apply(listed).iter().any(|endpoint| endpoint.address == *address);
        match edit {
            Edit::Add { .. } if is_there => return Err(EditError::Present),
            Edit::Reset if !self.0.contains_key(address) => return Err(EditError::Unchanged),
            Edit::Add { .. } | Edit::Reset => {}
            _ if !is_there => return Err(EditError::Unknown),
            _ => {}
        }
        if self.0.len() >= CHANGED_MAX && !self.0.contains_key(address) {
            return Err(EditError::TooMany);
        }
        let changed = self.0.entry(Name::clone(address)).or_default();
        match edit {
            Edit::Add { weight, priority } => {
                let added = in_list.is_none().then(|| priority.unwrap_or_default());
                *changed = Changed { added, weight, ..Changed::default() };
            }
            Edit::Remove => *changed = Changed { removed: in_list.is_some(), ..Changed::default() },
            Edit::Drain => changed.drained = true,
            Edit::Undrain => {
                changed.drained = false;
                // The list itself drains it.
                if in_list.is_some_and(|endpoint| endpoint.weight == 0) {
                    changed.weight = changed.weight.or(Some(1));
                }
            }
            Edit::Weight(weight) => changed.weight = Some(weight),
            Edit::Reset => *changed = Changed::default(),
        }
        self.0.retain(|_, changed| *changed != Changed::default());
        Ok(())
    }

    /// Forgets changes of endpoints that are not listed any more. What was added and is listed by now is as listed.
    pub fn follow(&mut self, listed: &[Endpoint]) {
        self.0.retain(|address, changed| {
            if listed.iter().any(|endpoint| endpoint.address == *address) {
                changed.added = None;
            } else if changed.added.is_none() {
                return false;
            }
            *changed != Changed::default()
        });
    }

    /// Returns the endpoints that were changed, each with a word for how.
    pub fn words(&self) -> impl Iterator<Item = (&Name, &'static str)> {
        self.0.iter().map(|(address, changed)| {
            let word = match changed {
                Changed { removed: true, .. } => "removed",
                Changed { drained: true, .. } => "drained",
                Changed { added: Some(_), .. } => "added",
                Changed { .. } => "weight",
            };
            (address, word)
        })
    }
}

impl Changed {
    fn weight(&self, listed: u32) -> u32 {
        if self.drained { 0 } else { self.weight.unwrap_or(listed) }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::Name;

    use super::{Edit, EditError, Edits};
    use crate::endpoints::testing::listed;

    const ADD: Edit = Edit::Add { weight: None, priority: None };

    fn weights(edits: &Edits, list: &[(&str, u32)]) -> Vec<(String, u32)> {
        edits
            .apply(&listed(list))
            .iter()
            .map(|endpoint| (endpoint.address.to_string(), endpoint.weight))
            .collect()
    }

    fn expect(edits: &Edits, list: &[(&str, u32)], expected: &[(&str, u32)]) {
        let expected: Vec<_> = expected.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
        assert_eq!(weights(edits, list), expected);
    }

    #[test]
    fn each_change_can_be_undone() {
        let (mut edits, list) = (Edits::default(), [("a", 2), ("b", 3)]);
        let mut edit = |address: &str, edit: Edit| edits.edit(&listed(&list), &Name::from(address), edit);
        assert_eq!(edit("a", Edit::Drain), Ok(()));
        assert_eq!(edit("b", Edit::Remove), Ok(()));
        assert_eq!(edit("c", Edit::Add { weight: Some(7), priority: Some(1) }), Ok(()));
        assert_eq!(edit("c", ADD), Err(EditError::Present));
        assert_eq!(edit("b", Edit::Drain), Err(EditError::Unknown));
        expect(&edits, &list, &[("a", 0), ("c", 7)]);
        let words: Vec<_> = edits.words().map(|(name, word)| (&**name, word)).collect();
        assert_eq!(words, [("a", "drained"), ("b", "removed"), ("c", "added")]);
        let mut edit = |address: &str, edit: Edit| edits.edit(&listed(&list), &Name::from(address), edit);
        assert_eq!(edit("a", Edit::Undrain), Ok(()));
        assert_eq!(edit("b", ADD), Ok(()));
        assert_eq!(edit("c", Edit::Remove), Ok(()));
        assert_eq!(edit("a", Edit::Reset), Err(EditError::Unchanged));
        expect(&edits, &list, &list);
        assert_eq!(edits.words().count(), 0);
    }

    #[test]
    fn changes_stay_for_as_long_as_what_they_change() {
        let (mut edits, list) = (Edits::default(), [("a", 2), ("b", 3), ("z", 0)]);
        for (address, edit) in
            [("a", Edit::Weight(9)), ("b", Edit::Drain), ("c", ADD), ("d", ADD), ("z", Edit::Undrain)]
        {
            edits.edit(&listed(&list), &address.into(), edit).unwrap();
        }
        expect(&edits, &list, &[("a", 9), ("b", 0), ("z", 1), ("c", 1), ("d", 1)]);
        let next = [("a", 4), ("c", 5)];
        edits.follow(&listed(&next));
        expect(&edits, &next, &[("a", 9), ("c", 5), ("d", 1)]);
        expect(&edits, &list, &[("a", 9), ("b", 3), ("z", 0), ("d", 1)]);
    }

    #[test]
    fn there_is_a_bound() {
        let mut edits = Edits::default();
        for at in 0..super::CHANGED_MAX {
            edits.edit(&[], &at.to_string().into(), ADD).unwrap();
        }
        assert_eq!(edits.edit(&[], &"x".into(), ADD), Err(EditError::TooMany));
    }
}
