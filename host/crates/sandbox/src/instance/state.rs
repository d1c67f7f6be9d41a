//! What a store holds: the exchange at hand, what the policy may use, and what it has used.

use std::sync::Arc;

use portcullis_policy::Exchange;
use wasmtime::{Result, bail};

use crate::direct::guest::Guest;
use crate::instance::at_hand::AtHand;
use crate::instance::budget::Budget;
use crate::instance::memory::MemoryLimiter;
use crate::instance::output::Stdio;
use crate::instance::stage::Stage;
use crate::policy::policy_services::PolicyServices;

/// The data of a store.
pub(crate) struct State {
    /// There for the length of a hook of an exchange.
    pub(crate) exchange: Option<Box<Exchange>>,
    /// What the hook was given beside it, and has decided.
    pub(crate) at_hand: AtHand,
    /// What is running.
    pub(crate) stage: Stage,
    /// What host functions need of an instance that is called directly.
    pub(crate) guest: Option<Box<Guest>>,
    pub(crate) policy: Arc<PolicyServices>,
    pub(crate) memory: MemoryLimiter,
    pub(crate) budget: Budget,
    pub(crate) stdio: Stdio,
    /// Handles of virtual WASI that the guest has and has not dropped.
    pub(crate) wasi_handles: u32,
    /// Whether it ever had one: the numbers of later ones tell of it.
    pub(crate) had_handles: bool,
}

impl State {
    /// Returns the exchange, or an error, which traps, if there is none.
    pub(crate) fn exchange(&mut self) -> Result<&mut Exchange> {
        match self.exchange.as_deref_mut() {
            Some(exchange) => Ok(exchange),
            None => bail!(
                "there is no exchange at hand in `{}`: request, response and exchange are for the hooks of an exchange",
                self.stage.name()
            ),
        }
    }
}
