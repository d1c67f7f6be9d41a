//! How much a policy may write to the log in a second.

use portcullis_model::Lock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a policy has written to the log in the current second, over all workers.
#[derive(Debug)]
pub struct LogWindow {
    lines_max: u32,
    bytes_max: u32,
    /// The second, counted from 1, in which no more may be written: a flood costs a look at this, and no lock.
    full: AtomicU64,
    dropped: AtomicU64,
    window: Lock<Window>,
}

#[derive(Debug, Default)]
struct Window {
    second: u64,
    lines: u32,
    bytes: u32,
}

impl LogWindow {
    /// Returns a window of so many lines and bytes in a second.
    #[must_use]
    pub fn new(lines_max: u32, bytes_max: u32) -> Self {
        Self {
            lines_max,
            bytes_max,
            full: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            window: Lock::default(),
        }
    }

    /// Returns how many lines were dropped since the last one, if a line of so many bytes may be written in this
    /// second; else counts it as dropped and returns `None`.
    pub fn admit(&self, second: u64, bytes: usize) -> Option<u64> {
        let second = second + 1;
        if self.full.load(Ordering::Relaxed) == second {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let mut window = self.window.lock();
        if window.second != second {
            *window = Window { second, ..Window::default() };
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(window.bytes);
        if window.lines >= self.lines_max || bytes > self.bytes_max {
            self.full.store(second, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        window.lines += 1;
        window.bytes = bytes;
        Some(self.dropped.swap(0, Ordering::Relaxed))
    }
}
