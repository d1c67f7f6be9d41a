//! What a store holds: the exchange at hand, what the policy may use, and what it has used.

use std::sync::Arc;

use portcullis_policy::{Exchange, Hook};
use wasmtime::{ResourceLimiter, Result, bail};

use crate::budget::Budget;
use crate::engine;
use crate::factory::PolicyContext;
use crate::fault::is_out_of_memory;
use crate::shared::MemoryShare;
use crate::wasi::Stdio;

/// The data of a store.
pub(crate) struct State {
    /// There for the length of a hook of an exchange.
    pub(crate) exchange: Option<Box<Exchange>>,
    /// What is running.
    pub(crate) stage: Stage,
    pub(crate) policy: Arc<PolicyContext>,
    pub(crate) memory: MemoryLimiter,
    pub(crate) budget: Budget,
    pub(crate) stdio: Stdio,
    /// Handles of virtual WASI that the guest has and has not dropped.
    pub(crate) wasi_handles: u32,
    /// Whether it ever had one: the numbers of later ones tell of it.
    pub(crate) had_handles: bool,
}

/// What runs in an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Configure,
    RequestHead,
    RequestBody,
    ResponseHead,
    ResponseBody,
    Completed,
    Tick,
}

impl Stage {
    pub(crate) fn of(hook: &Hook) -> Self {
        match hook {
            Hook::RequestHead => Self::RequestHead,
            Hook::RequestBody { .. } => Self::RequestBody,
            Hook::ResponseHead => Self::ResponseHead,
            Hook::ResponseBody { .. } => Self::ResponseBody,
            Hook::Completed(_) => Self::Completed,
        }
    }

    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 7] = [
        Self::Configure,
        Self::RequestHead,
        Self::RequestBody,
        Self::ResponseHead,
        Self::ResponseBody,
        Self::Completed,
        Self::Tick,
    ];

    /// The function's name in WIT.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::RequestHead => "on-request-head",
            Self::RequestBody => "on-request-body",
            Self::ResponseHead => "on-response-head",
            Self::ResponseBody => "on-response-body",
            Self::Completed => "on-completed",
            Self::Tick => "on-tick",
        }
    }
}

impl State {
    /// The exchange. An error, which traps, where there is none.
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

/// Bounds what an instance takes, and remembers that it wanted more.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    bytes: usize,
    bytes_max: usize,
    /// Of what all instances may have together.
    share: MemoryShare,
    /// What was let through last.
    last_more: u64,
    table_elements: usize,
    refused: Option<Refusal>,
    /// Bytes of a memory that is not the guest's and has yet to be made.
    kept: Option<usize>,
    /// What a test has go wrong.
    #[cfg(test)]
    pub(crate) plan: Arc<crate::tests::injected::Plan>,
}

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Memory: so many bytes in all.
    Memory(usize),
    /// Tables: so many elements in all.
    Table(usize),
    /// So many bytes more, of the memory that all policies have together.
    Total(u64),
    /// Memory that the operating system did not have.
    System,
}

/// Elements of all tables of an instance: each takes 8 bytes.
const TABLE_ELEMENTS_MAX: usize = 4 * engine::TABLE_ELEMENTS_MAX;

impl MemoryLimiter {
    pub(crate) fn new(bytes_max: usize, share: MemoryShare) -> Self {
        Self {
            bytes: 0,
            bytes_max,
            share,
            last_more: 0,
            table_elements: 0,
            refused: None,
            kept: None,
            #[cfg(test)]
            plan: Arc::default(),
        }
    }

    /// What all instances have together, and may have.
    pub(crate) fn total(&self) -> (u64, u64) {
        (self.share.total().bytes(), self.share.total().max())
    }

    /// Bytes of linear memory that the instance has. They never become fewer.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that it may have.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Lifts the bound: to read a memory is to grow it by a page.
    pub(crate) fn unbound(&mut self) {
        self.bytes_max = usize::MAX;
    }

    /// The instance will have a second memory that keeps what is in its own at first. It is never written, so that it is
    /// the image's own, and takes nothing.
    pub(crate) fn keep(&mut self, bytes: usize) {
        self.kept = Some(bytes);
    }

    /// Gives its share of what all may have together back for as long as nobody uses the instance.
    pub(crate) fn rest(&mut self) {
        self.share.release();
    }

    /// Takes the share again. Whether there was that much left.
    pub(crate) fn wake(&mut self) -> bool {
        let bytes = self.bytes as u64;
        let had = self.share.grow(bytes);
        if !had {
            self.refused = Some(Refusal::Total(bytes));
        }
        had
    }

    /// Whether anything was refused since [`MemoryLimiter::take_refused`].
    pub(crate) fn has_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// What was refused since this was last asked.
    pub(crate) fn take_refused(&mut self) -> Option<Refusal> {
        self.refused.take()
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        // The first of two that are equally large: it does not matter which one it is.
        if current == 0 && self.kept == Some(desired) {
            self.kept = None;
            return Ok(true);
        }
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        if bytes > self.bytes_max {
            self.refused = Some(Refusal::Memory(bytes));
            return Ok(false);
        }
        let more = (bytes - self.bytes) as u64;
        #[cfg(test)]
        if self.plan.refuses_growth() {
            self.refused = Some(self.plan.refusal(bytes, more));
            return Ok(false);
        }
        if !self.share.grow(more) {
            self.refused = Some(Refusal::Total(more));
            return Ok(false);
        }
        self.bytes = bytes;
        self.last_more = more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        // Any other failure is that the memory is as large as it says itself that it gets.
        if is_out_of_memory(&error) {
            let more = std::mem::take(&mut self.last_more);
            self.bytes -= usize::try_from(more).unwrap_or_default();
            self.share.shrink(more);
            self.refused = Some(Refusal::System);
        }
        Ok(())
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        if is_out_of_memory(&error) {
            self.refused = Some(Refusal::System);
        }
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let elements = self.table_elements.saturating_add(desired.saturating_sub(current));
        #[cfg(test)]
        if self.plan.refuses_growth() {
            self.refused = Some(Refusal::Table(elements));
            return Ok(false);
        }
        if elements > TABLE_ELEMENTS_MAX || desired > engine::TABLE_ELEMENTS_MAX {
            self.refused = Some(Refusal::Table(elements));
            return Ok(false);
        }
        self.table_elements = elements;
        Ok(true)
    }

    fn instances(&self) -> usize {
        engine::CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        engine::TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        engine::MEMORIES_MAX as usize
    }
}
