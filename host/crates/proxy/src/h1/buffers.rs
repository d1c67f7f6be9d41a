//! Buffers for reuse. A connection has buffers only while they hold bytes: otherwise each of ten thousand idle ones
//! would keep the size of its largest message. They belong to the thread, which is a worker, so connections to
//! endpoints and those of clients share them.

use std::cell::RefCell;

use bytes::BytesMut;

/// Buffers of each kind that are kept. No more than a few hundred are ever in use between two waits; a larger number
/// would only hold memory.
const KEEP_MAX: usize = 256;

/// A buffer that has grown beyond this is not kept.
const KEEP_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    static POOL: RefCell<Buffers> = const { RefCell::new(Buffers { read: Vec::new(), write: Vec::new() }) };
}

struct Buffers {
    read: Vec<BytesMut>,
    write: Vec<Vec<u8>>,
}

/// Returns a buffer to read into.
pub(super) fn take_read() -> BytesMut {
    POOL.with_borrow_mut(|pool| pool.read.pop()).unwrap_or_default()
}

/// Takes one back.
pub(super) fn release_read(mut buffer: BytesMut) {
    if !(1..=KEEP_BYTES_MAX).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    POOL.with_borrow_mut(|pool| {
        if pool.read.len() < KEEP_MAX {
            pool.read.push(buffer);
        }
    });
}

/// Returns a buffer to write from.
pub(super) fn take_write() -> Vec<u8> {
    POOL.with_borrow_mut(|pool| pool.write.pop()).unwrap_or_default()
}

/// Takes one back.
pub(super) fn release_write(mut buffer: Vec<u8>) {
    if !(1..=KEEP_BYTES_MAX).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    POOL.with_borrow_mut(|pool| {
        if pool.write.len() < KEEP_MAX {
            pool.write.push(buffer);
        }
    });
}
