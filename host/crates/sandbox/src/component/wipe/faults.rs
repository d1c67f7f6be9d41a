//! Whether a memory can have been written in new places since it was last looked at.
//!
//! A page of a private mapping becomes the mapping's own by a page fault of the thread that writes it first, or of a
//! thread that has the kernel write it, and the kernel counts the faults of each thread. So a thread that has had no
//! fault since it last read which pages of a memory are written knows them still, if no other thread has run the
//! memory's guest meanwhile: reading the count takes a tenth of what reading the page table takes.
//!
//! There is one other way to a written page. The kernel joins pages of anonymous memory to huge ones by itself, and
//! then the page has places that were never written and need no fault any more. So huge pages are off for the whole
//! process, and if they cannot be, the page table is read each time. Source: Linux, mm/memory.c (`mm_account_fault`),
//! mm/khugepaged.c, prctl(2), getrusage(2).

use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(target_os = "linux")]
use nix::sys::resource::{UsageWho, getrusage};

/// A thread of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThreadMark(u64);

impl ThreadMark {
    /// The thread that asks.
    pub(crate) fn current() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        thread_local! {
            static MARK: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        Self(MARK.with(|mark| *mark))
    }
}

/// A thread, and how many page faults it had had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) thread: ThreadMark,
    faults: u64,
}

/// Counts page faults. That there is one shows that the process has no huge pages.
#[derive(Debug)]
pub(super) struct Faults(());

impl Faults {
    /// Turns huge pages off. Returns `None` if that, or counting faults, is not possible here.
    #[cfg(target_os = "linux")]
    pub(super) fn open() -> Option<Self> {
        rustix::thread::disable_transparent_huge_pages(true).ok()?;
        let are_off = rustix::thread::transparent_huge_pages_are_disabled().ok()?;
        // A process has faults before it comes here: a kernel that says none does not count them.
        let counts = count_of(UsageWho::RUSAGE_SELF).is_some_and(|faults| faults > 0) && count().is_some();
        (are_off && counts).then_some(Self(()))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn open() -> Option<Self> {
        None
    }

    /// Returns the moment that this is.
    pub(super) fn now(&self) -> Option<Moment> {
        Some(Moment { thread: ThreadMark::current(), faults: count()? })
    }
}

/// Returns how many page faults this thread has had.
#[cfg(target_os = "linux")]
fn count() -> Option<u64> {
    count_of(UsageWho::RUSAGE_THREAD)
}

#[cfg(target_os = "linux")]
fn count_of(who: UsageWho) -> Option<u64> {
    let usage = getrusage(who).ok()?;
    let [minor, major] = [usage.minor_page_faults(), usage.major_page_faults()].map(u64::try_from);
    minor.ok()?.checked_add(major.ok()?)
}

#[cfg(not(target_os = "linux"))]
fn count() -> Option<u64> {
    None
}
