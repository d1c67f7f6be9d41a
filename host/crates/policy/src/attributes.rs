//! Named text that policies set for each other.

/// Named text that policies set for later policies, for the choice of an upstream and for the access record.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    entries: Vec<(String, String)>,
    bytes: usize,
}

impl Attributes {
    /// Names and values together, in bytes; more is refused. Enough for a few claims of a token.
    pub const BYTES_MAX: usize = 16 * 1024;

    /// Returns the value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Sets `name`. Returns `false` and changes nothing if the attributes of this exchange would exceed
    /// [`Self::BYTES_MAX`].
    #[must_use]
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        let old = self.entries.iter_mut().find(|(key, _)| key == name);
        let freed = old.as_ref().map_or(0, |(key, value)| key.len() + value.len());
        let bytes = self.bytes - freed + name.len() + value.len();
        if bytes > Self::BYTES_MAX {
            return false;
        }
        self.bytes = bytes;
        match old {
            Some((_, slot)) => value.clone_into(slot),
            None => self.entries.push((name.to_owned(), value.to_owned())),
        }
        true
    }

    /// Returns all, in the order in which they were first set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests;
