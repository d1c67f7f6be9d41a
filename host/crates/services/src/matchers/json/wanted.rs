//! What is asked for of a document, as a tree.

/// What is asked for at a place of the document and below it.
#[derive(Default)]
pub(super) struct Wanted {
    /// Places in the outcome of this value itself.
    pub(super) here: Vec<usize>,
    /// By name, in order.
    pub(super) members: Vec<(String, Self)>,
    /// Those whose name is a number: the number and the place in `members`, in order.
    pub(super) items: Vec<(usize, usize)>,
}

impl Wanted {
    pub(super) fn add(&mut self, steps: &[String], place: usize) {
        let Some((first, rest)) = steps.split_first() else {
            self.here.push(place);
            return;
        };
        let at = match self.members.binary_search_by(|(name, _)| name.cmp(first)) {
            Ok(at) => at,
            Err(at) => {
                self.members.insert(at, (first.clone(), Self::default()));
                at
            }
        };
        self.members[at].1.add(rest, place);
    }

    /// Finds the steps that are numbers of items. RFC 6901, 4: without leading zeros. `-` is the item behind the last,
    /// which there never is.
    pub(super) fn number_items(&mut self) {
        let number = |name: &str| name.parse::<usize>().ok().filter(|number| number.to_string() == name);
        let steps = self.members.iter().enumerate();
        self.items = steps.filter_map(|(at, (name, _))| Some((number(name)?, at))).collect();
        self.items.sort_unstable();
        self.members.iter_mut().for_each(|(_, below)| below.number_items());
    }
}
