//! The endpoints that a request has been tried on.

use crate::EndpointId;

/// A set of endpoints. It is empty for nearly every request, and takes no memory then.
#[derive(Debug, Clone, Default)]
pub struct Tried(Vec<EndpointId>);

impl Tried {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds an endpoint.
    pub fn insert(&mut self, endpoint: EndpointId) {
        if !self.contains(endpoint) {
            self.0.push(endpoint);
        }
    }

    /// Returns whether the endpoint is in it. A request is tried on a few endpoints at most, so a search is quick.
    #[must_use]
    pub fn contains(&self, endpoint: EndpointId) -> bool {
        self.0.contains(&endpoint)
    }

    /// Returns whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Tried;
    use crate::Endpoint;

    #[test]
    fn contains_what_was_inserted_and_nothing_else() {
        let ids: Vec<_> = (0..300).map(|_| Endpoint::new("a".into(), None).id()).collect();
        let mut tried = Tried::new();
        assert!(tried.is_empty());
        for at in [0, 63, 64, 200, 63] {
            tried.insert(ids[at]);
        }
        let held: Vec<usize> = (0..300).filter(|at| tried.contains(ids[*at])).collect();
        assert_eq!(held, [0, 63, 64, 200]);
        assert!(!tried.is_empty());
    }
}
