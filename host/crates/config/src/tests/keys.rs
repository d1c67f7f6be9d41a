//! What must hold for every key.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::keys::Shape;

thread_local! {
    /// Keys that were asked for on this thread, by the address of their table.
    static ASKED: RefCell<BTreeSet<(usize, String)>> = const { RefCell::new(BTreeSet::new()) };
}

/// Hears which keys are asked for.
pub(crate) fn asked(shape: &'static Shape, key: &str) {
    ASKED.with_borrow_mut(|asked| asked.insert((std::ptr::from_ref(shape) as usize, key.to_owned())));
}
