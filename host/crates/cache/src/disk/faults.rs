//! A disk that becomes full, for tests.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

#[derive(Debug, Default)]
pub(crate) struct Faults {
    full: AtomicBool,
}

impl Faults {
    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, SeqCst);
    }

    pub(crate) fn write(&self, _bytes: usize) -> io::Result<()> {
        if self.full.load(SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}
