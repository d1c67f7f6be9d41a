//! Opening the access log anew, after logrotate has moved its file away.

use std::time::Duration;

use portcullis_telemetry::AccessLog;

/// How often, and after which pause, a log that cannot keep up is asked again: its queue empties within that time or
/// never.
const ATTEMPTS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(20);

/// Has the file of the access log opened anew under its name, and returns at once. Records that were handed over before
/// still go into the old one. A file that cannot be opened is logged, and the old one goes on.
pub(crate) fn reopen(log: &AccessLog) {
    if log.reopen() {
        return told();
    }
    let log = log.clone();
    tokio::spawn(async move {
        for _ in 1..ATTEMPTS {
            tokio::time::sleep(PAUSE).await;
            if log.reopen() {
                return told();
            }
        }
        tracing::error!(
            event = "logs-reopened",
            "the access log could not be opened anew: it does not keep up with what it has to write"
        );
    });
}

fn told() {
    tracing::info!(event = "logs-reopened", "the access log is opened anew");
}
