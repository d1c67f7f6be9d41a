//! What an instance was refused.

use std::fmt::Debug;

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

/// Refuses an instance, or what an instance wants more of, because a test says so.
pub(crate) trait InjectedRefusals: Debug + Send + Sync {
    /// Returns why there is no instance.
    fn instance(&self) -> Option<String>;

    /// Returns why the memory does not grow, by `more` to `bytes`.
    fn memory(&self, bytes: usize, more: u64) -> Option<Refusal>;

    /// Returns why a table does not grow, to `elements` in all.
    fn table(&self, elements: usize) -> Option<Refusal>;
}
