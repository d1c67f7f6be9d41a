//! An endpoint as its set has it.

use std::sync::Arc;

use crate::Endpoint;

/// An endpoint of a set.
#[derive(Debug, Clone)]
pub struct Member {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Its share beside the others of its priority; 0 drains it.
    pub weight: u32,
    /// Endpoints with a higher number are used while none with a lower one can be.
    pub priority: u8,
}

impl Member {
    /// Returns whether it takes no more exchanges.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.weight == 0
    }
}
