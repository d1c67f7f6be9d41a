//! Records the requests that the `h2` crate refuses by itself: they never become an exchange that is served.

use std::rc::Rc;

use h2::Reason;
use portcullis_http::Version;
use portcullis_http::h2::Answered;

use crate::connection::Connection;
use crate::error::Malformed;
use crate::exchange_info::{ExchangeInfo, RawRequest};
use crate::response_writer::Sent;
use crate::serve::Serving;
use crate::slot::Slot;
use crate::timer::Timer;
use crate::worker::Worker;

/// Records a stream that the crate has answered.
pub(super) async fn record_stream(worker: &Rc<Worker>, connection: &Connection, answered: Answered) {
    let (status, reason) = match answered {
        Answered::Head => (431, "request head too large".to_owned()),
        Answered::Reset(code) => match Reason::from(code) {
            Reason::REFUSED_STREAM => (0, "more streams at once than the listener allows".to_owned()),
            Reason::PROTOCOL_ERROR => (0, "malformed head".to_owned()),
            other => (0, format!("refused with {other:?}")),
        },
    };
    write(worker, connection, status, &reason).await;
}

/// Records so many requests without an answer, whose connection ends.
pub(super) async fn record(worker: &Rc<Worker>, connection: &Connection, count: usize, reason: &str) {
    for _ in 0..count {
        write(worker, connection, 0, reason).await;
    }
}

async fn write(worker: &Rc<Worker>, connection: &Connection, status: u16, reason: &str) {
    let (slot, mut timer, mut info) = (Rc::new(Slot::default()), Timer::default(), ExchangeInfo::start());
    info.raw = Some(RawRequest::default());
    info.fail(&Malformed(reason));
    let mut exchange = worker.take_exchange();
    exchange.request.version = Version::Http2;
    connection.set_client(&mut exchange);
    slot.put(exchange);
    let mut serving = Serving { worker, connection, slot: &slot, timer: &mut timer };
    serving.finish(&mut info, None, Sent { status, bytes: 0 }).await;
}
