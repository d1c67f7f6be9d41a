//! The record that each exchange ends with.

use std::rc::Rc;

use portcullis_policy::Exchange;

use crate::connection::Connection;
use crate::exchange::{Matched, Sent};
use crate::slot::Slot;
use crate::trace::Trace;
use crate::worker::Worker;

impl Worker {
    /// Writes the record of an exchange that is over.
    pub(crate) fn record(
        &self,
        _connection: &Connection,
        _exchange: &Exchange,
        _slot: &Rc<Slot>,
        _trace: &Trace,
        _route: Option<&Matched>,
        _sent: &Sent,
    ) {
    }
}
