//! `portcullis run`: starts the gateway, reloads it when files change or SIGHUP comes, and drains it at the end.
//!
//! All of this happens on the control runtime, a single thread. Loading and compiling happen on its blocking threads, one
//! load at a time, so that neither a signal nor traffic ever waits for a compiler.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::cli::REFUSED;
use crate::compose::{self, Candidate, Previous};
use crate::control;
use crate::gateway::{Applied, Running};
use crate::refusal::Refusal;
use crate::report;
use crate::watch::{QUIET, Watch};

/// Threads that may load and compile at once: one does, and the other stands by for name look-ups.
const BLOCKING_THREADS_MAX: usize = 2;

/// Runs the gateway of the config at `path` until it is told to stop. `ready` is called once, when it accepts
/// connections.
///
/// # Errors
/// Where it cannot start.
pub(crate) fn run(path: &Path, ready: impl FnOnce(&Running)) -> anyhow::Result<ExitCode> {
    let runtime = control_runtime()?;
    let code = runtime.block_on(supervise(path, ready));
    // A compile that is still under way is of no use to anybody.
    runtime.shutdown_background();
    code
}

/// The runtime for everything but traffic.
pub(crate) fn control_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("control")
        .build()
        .context("the control runtime cannot be started")
}

/// The life of the gateway, from the first load to the end of the drain. Dropping it leaves the workers running until the
/// process ends.
pub(crate) async fn supervise(path: &Path, ready: impl FnOnce(&Running)) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let changed = Arc::new(Notify::new());
    let watch = {
        let changed = Arc::clone(&changed);
        Watch::start(move || changed.notify_one()).context("no thread to watch files can be started")?
    };

    let read_at = SystemTime::now();
    let mut first = load(path, None, 1);
    let candidate = tokio::select! {
        loaded = &mut first => flatten(loaded)?,
        () = signals.stop() => return Ok(ExitCode::SUCCESS),
    };
    let (control, mut jobs) = control::channel(path);
    // Before anything listens: a gateway that cannot be asked as it was told to must not begin to serve.
    let socket = control::open(path, &candidate.composed.gateway.server.control, control).await?;
    let mut running = Running::start(candidate).await?;
    socket.tell();
    drop(watch.files(running.files(), read_at));
    ready(&running);

    let mut reloads = Reloads { path: path.to_path_buf(), watch, under_way: None, due: None, refused: None };
    loop {
        reloads.begin_if_due(&running);
        tokio::select! {
            told = signals.next() => match told {
                Told::Stop => break,
                Told::Reload => reloads.ask(Trigger::Asked),
            },
            () = changed.notified() => reloads.ask(Trigger::Changed),
            Some(job) = jobs.recv() => job(&mut running),
            outcome = reloads.finished() => reloads.finish(outcome, &mut running),
        }
    }
    drop(reloads);
    // From here on there is nothing to ask, and the gateway that takes over may have the socket.
    drop(socket);
    Ok(drain(running, &mut signals).await)
}

/// Lets exchanges end, or ends at once at a second signal.
async fn drain(running: Running, signals: &mut Signals) -> ExitCode {
    let timeout = running.drain_timeout();
    tracing::info!(
        "draining: no new connections, and up to {timeout:?} for what is under way (a second signal ends it)"
    );
    let since = Instant::now();
    tokio::select! {
        report = running.drain(timeout) => {
            let took = report::millis(since.elapsed());
            if report.cut_off == 0 {
                tracing::info!("drained in {took}");
            } else {
                tracing::warn!(cut_off = report.cut_off, "drained in {took}; {} connections were cut off", report.cut_off);
            }
            ExitCode::SUCCESS
        }
        () = signals.stop() => {
            tracing::warn!("a second signal: ending without waiting for what is under way");
            ExitCode::from(REFUSED)
        }
    }
}

/// Why to load again. The greater one counts where both happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trigger {
    /// A file is another than before.
    Changed,
    /// SIGHUP.
    Asked,
}

type Loading = JoinHandle<Result<Candidate, Refusal>>;
type Loaded = Result<Result<Candidate, Refusal>, tokio::task::JoinError>;

/// The reloads: at most one under way, and at most one waiting for it, however many changes there are.
struct Reloads {
    path: PathBuf,
    watch: Watch,
    under_way: Option<UnderWay>,
    due: Option<Trigger>,
    /// What the last load was refused for, and when.
    refused: Option<(String, Instant)>,
}

struct UnderWay {
    loading: Loading,
    trigger: Trigger,
    since: Instant,
    read_at: SystemTime,
}

impl Reloads {
    fn ask(&mut self, trigger: Trigger) {
        self.due = self.due.max(Some(trigger));
    }

    fn begin_if_due(&mut self, running: &Running) {
        if self.under_way.is_some() {
            return;
        }
        let Some(trigger) = self.due.take() else { return };
        let (since, read_at) = (Instant::now(), SystemTime::now());
        let loading =
            load(&self.path, Some(running.previous(trigger == Trigger::Asked)), running.generation() + 1);
        self.under_way = Some(UnderWay { loading, trigger, since, read_at });
    }

    /// The outcome of the load that is under way; waits for ever where none is. May be dropped at any time.
    async fn finished(&mut self) -> Loaded {
        match &mut self.under_way {
            Some(under_way) => (&mut under_way.loading).await,
            None => std::future::pending().await,
        }
    }

    fn finish(&mut self, outcome: Loaded, running: &mut Running) {
        let Some(UnderWay { trigger, since, read_at, .. }) = self.under_way.take() else { return };
        let applied = flatten(outcome).and_then(|candidate| {
            let files = candidate.composed.gateway.files.clone();
            running
                .apply(candidate, trigger == Trigger::Asked, since)
                .map_err(|error| Refusal::Other { error, files })
        });
        let refused_before = self.refused.take();
        match applied {
            Ok(Applied::Live) => drop(self.watch.files(running.files(), read_at)),
            Ok(Applied::Same) => {
                tracing::debug!("files were written, and the configuration they make is the one that runs");
                drop(self.watch.files(running.files(), read_at));
            }
            Err(refusal) => {
                let text = refusal.to_string();
                // A file that changes while it is read may or may not have been read as it is now, so it is read again.
                // That this gives the same is nothing new; who saves a file again waits for longer than that.
                let again = trigger == Trigger::Changed
                    && refused_before.is_some_and(|(before, at)| {
                        before == text && since.saturating_duration_since(at) < QUIET
                    });
                if !again {
                    running.refuse(&refusal);
                }
                self.refused = Some((text, Instant::now()));
                // Whichever of them changes next may mend it.
                let files = running.files().chain(refusal.files().iter().cloned());
                drop(self.watch.files(files, read_at));
            }
        }
    }
}

fn load(path: &Path, previous: Option<Previous>, generation: u64) -> Loading {
    let path = path.to_path_buf();
    tokio::task::spawn_blocking(move || compose::build(&path, previous.as_ref(), generation))
}

/// A panic while loading is our fault, and as little reason to stop what is running as any other.
fn flatten(loaded: Loaded) -> Result<Candidate, Refusal> {
    loaded.unwrap_or_else(|error| {
        let error = anyhow::anyhow!("loading the config failed inside: {error}; please report this");
        Err(Refusal::Other { error, files: Vec::new() })
    })
}

/// The signals that the gateway heeds.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Stop,
    Reload,
}

impl Signals {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be received");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The next one. Dropping the future loses none.
    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hangup.recv() => Told::Reload,
        }
    }

    /// The next one that says stop. Dropping the future loses none of those.
    pub(crate) async fn stop(&mut self) {
        while self.next().await != Told::Stop {}
    }
}
