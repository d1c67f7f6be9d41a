//! What upstreams need beside their exchanges: their endpoints are checked, and compared with each other.
//!
//! It happens on one thread of the process, so that an endpoint is asked once, however many workers there are, and what
//! it has found is published in the endpoint itself, which all workers share. The thread is started when a
//! configuration has work for it first, and ends with the workers.

mod checks;
mod judges;
mod probe;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use tokio::task::LocalSet;

use self::checks::Checks;
use self::judges::Judges;
use crate::worker::Published;

/// The thread. Dropping this ends it.
#[derive(Debug)]
pub(crate) struct Upkeep(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// There is another snapshot, or an upstream has other endpoints, or the thread is to end.
    changed: Notify,
    ended: AtomicBool,
}

impl Upkeep {
    /// Starts the thread, which looks after the upstreams of the snapshot that is published.
    pub(crate) fn start(published: Arc<Published>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        std::thread::Builder::new().name("upkeep".to_owned()).spawn(move || {
            LocalSet::new().block_on(&runtime, run(&published, &own));
            // A name that is being looked up may take seconds to give up.
            runtime.shutdown_background();
        })?;
        Ok(Self(shared))
    }

    /// Has the thread look at what is published now.
    pub(crate) fn look(&self) {
        self.0.changed.notify_one();
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}

async fn run(published: &Published, shared: &Shared) {
    let (mut checks, mut judges) = (Checks::default(), Judges::default());
    while !shared.ended.load(Ordering::Relaxed) {
        let snapshot = published.snapshot.load_full();
        checks.follow(&snapshot);
        judges.follow(&snapshot);
        drop(snapshot);
        tokio::select! {
            () = shared.changed.notified() => {}
            never = judges.run() => match never {},
        }
    }
}
