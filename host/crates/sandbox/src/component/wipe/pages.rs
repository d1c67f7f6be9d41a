//! Which pages of a memory were written.

use std::cell::RefCell;
use std::fs::File;
use std::io;

use super::faults::{Faults, Moment};

/// The kernel's table of this process's pages, `/proc/self/pagemap`.
///
/// A memory is a private mapping of its image, and of nothing after the image's end. A page of it that was only read
/// belongs to the image; one that was written is a copy that belongs to the mapping, wherever it is now. (The newer
/// `PAGEMAP_SCAN` reports the same, takes as long, and needs `unsafe`.) Source: Linux,
/// Documentation/admin-guide/mm/pagemap.rst.
#[derive(Debug)]
pub(crate) struct PageMap {
    file: File,
    page_bytes: usize,
    /// Says when the table has to be read again; without it, each time.
    faults: Option<Faults>,
}

/// In an entry: the page is in memory.
const PRESENT: u64 = 1 << 63;
/// The page is in the swap space.
const SWAPPED: u64 = 1 << 62;
/// The page is that of a file, or shared.
const OF_FILE: u64 = 1 << 61;
const ENTRY_BYTES: usize = 8;

/// Larger memories are not looked at: to read their entries would take longer than to start anew.
const MEMORY_BYTES_MAX: usize = 64 << 20;

thread_local! {
    static ENTRIES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl PageMap {
    /// Opens it. Returns `None` if the kernel has none that reports what is needed.
    pub(crate) fn open() -> Option<Self> {
        let page_bytes = page_bytes()?;
        let file = File::open("/proc/self/pagemap").ok()?;
        let pages = Self { file, page_bytes, faults: Faults::open() };
        // A written page of our own: if the kernel does not report it, the kernel cannot be relied on.
        let probe = vec![1_u8; 2 * page_bytes];
        let address = probe.as_ptr().addr().next_multiple_of(page_bytes);
        let mut written = Vec::new();
        let seen = pages.written(address, page_bytes, page_bytes, &mut written);
        (seen.ok()? && written.len() == 1 && probe.iter().all(|byte| *byte == 1)).then_some(pages)
    }

    /// Returns the moment that this is. A memory whose guest runs on this thread alone has no new written pages for as
    /// long as it lasts.
    pub(super) fn now(&self) -> Option<Moment> {
        self.faults.as_ref()?.now()
    }

    /// Finds the regions of a memory that were written since it was mapped: their offsets and lengths, in bytes.
    /// Returns `false` if they have more than `bytes_max`, so that not all of them are listed.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(super) fn written(
        &self,
        address: usize,
        bytes: usize,
        bytes_max: usize,
        written: &mut Vec<(u32, u32)>,
    ) -> io::Result<bool> {
        written.clear();
        if bytes > MEMORY_BYTES_MAX || !address.is_multiple_of(self.page_bytes) {
            return Ok(false);
        }
        ENTRIES.with_borrow_mut(|entries| {
            entries.resize(bytes.div_ceil(self.page_bytes) * ENTRY_BYTES, 0);
            read_exact_at(&self.file, entries, (address / self.page_bytes * ENTRY_BYTES) as u64)?;
            let page_bytes = u32::try_from(self.page_bytes).map_err(io::Error::other)?;
            let (mut place, mut all) = (0_u32, 0);
            for entry in entries.chunks_exact(ENTRY_BYTES) {
                let entry = u64::from_ne_bytes(entry.try_into().unwrap_or_default());
                if is_written(entry) {
                    all += self.page_bytes;
                    match written.last_mut() {
                        Some((start, length)) if *start + *length == place => *length += page_bytes,
                        _ => written.push((place, page_bytes)),
                    }
                }
                place += page_bytes;
            }
            Ok(all <= bytes_max)
        })
    }
}

/// Whether the page is a copy that belongs to a private mapping. Of one that the kernel shares because nothing was ever
/// written there it says the same, and that page is restored for nothing.
fn is_written(entry: u64) -> bool {
    entry & SWAPPED != 0 || (entry & PRESENT != 0 && entry & OF_FILE == 0)
}

#[cfg(target_os = "linux")]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(not(target_os = "linux"))]
fn read_exact_at(_: &File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
fn page_bytes() -> Option<usize> {
    Some(rustix::param::page_size())
}

#[cfg(not(target_os = "linux"))]
fn page_bytes() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::{OF_FILE, PRESENT, SWAPPED, is_written};

    #[test]
    fn a_page_in_the_swap_space_was_written() {
        assert!(is_written(SWAPPED), "its copy is elsewhere, and comes back as it was");
        assert!(is_written(PRESENT));
        assert!(!is_written(PRESENT | OF_FILE), "it was only read");
        assert!(!is_written(0), "it was not touched");
    }
}
