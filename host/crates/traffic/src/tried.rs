//! Which endpoints a request has been tried on.

/// A set of endpoint indices. Up to 64 endpoints it takes no memory of its own.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    first: u64,
    more: Vec<u64>,
}

impl Tried {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { first: 0, more: Vec::new() }
    }

    /// Adds an index.
    pub fn insert(&mut self, index: usize) {
        let (word, bit) = (index / 64, 1 << (index % 64));
        let Some(word) = word.checked_sub(1) else {
            self.first |= bit;
            return;
        };
        if self.more.len() <= word {
            self.more.resize(word + 1, 0);
        }
        if let Some(bits) = self.more.get_mut(word) {
            *bits |= bit;
        }
    }

    /// Whether the index is in it.
    #[must_use]
    pub fn contains(&self, index: usize) -> bool {
        let bits = match (index / 64).checked_sub(1) {
            None => self.first,
            Some(word) => self.more.get(word).copied().unwrap_or(0),
        };
        bits & (1 << (index % 64)) != 0
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first == 0 && self.more.iter().all(|bits| *bits == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::Tried;

    #[test]
    fn holds_what_was_inserted_and_nothing_else() {
        let mut tried = Tried::new();
        assert!(tried.is_empty());
        for index in [0, 63, 64, 200] {
            tried.insert(index);
        }
        let held: Vec<usize> = (0..300).filter(|index| tried.contains(*index)).collect();
        assert_eq!(held, [0, 63, 64, 200]);
        assert!(!tried.is_empty());
    }
}
