//! `portcullis run`: starts the gateway, reloads it when files change or it is asked to, and drains it at the end.
//!
//! All of this happens on the control runtime, a single thread. Loading and compiling happen on its blocking threads,
//! one load at a time, so that neither a signal nor traffic ever waits for a compiler.

pub(crate) mod cache_dir;
mod caches;
pub(crate) mod compiler;
pub(crate) mod compose;
pub(crate) mod control;
mod endpoints;
pub(crate) mod footprint;
pub(crate) mod gateway;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod open_files;
pub(crate) mod process;
pub(crate) mod recording;
pub(crate) mod reloads;
pub(crate) mod report;
pub(crate) mod rollout;
pub(crate) mod rollouts;
pub(crate) mod runtime;
pub(crate) mod signals;
pub(crate) mod stamp;
pub(crate) mod status;
pub(crate) mod watch;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use tokio::sync::Notify;

use self::gateway::Running;
use self::reloads::{Reloads, Trigger};
use self::signals::{SignalAction, Signals, Stop};
use self::watch::Watch;
use crate::cli::REFUSED;

/// The same signal again within this time is a repeat of the first one and no second thought: who signals a whole
/// process group (`timeout`, `tini -g`, a wrapper that hands on what it gets as well) reaches the gateway twice.
const REPEAT: Duration = Duration::from_secs(1);

/// Runs the gateway of the config at `path` until a signal stops it. `ready` is called once, when it accepts
/// connections.
///
/// # Errors
/// If it cannot start.
pub(crate) fn run(path: &Path, ready: impl FnOnce(&Running)) -> anyhow::Result<ExitCode> {
    let runtime = runtime::control_runtime()?;
    let code = runtime.block_on(supervise(path, ready));
    // A compile that is still under way is of no use to anybody.
    runtime.shutdown_background();
    code
}

/// The life of the gateway, from the first load to the end of the drain. Dropping it leaves the workers running until
/// the process ends.
pub(crate) async fn supervise(path: &Path, ready: impl FnOnce(&Running)) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    open_files::raise();
    let changed = Arc::new(Notify::new());
    let watch = {
        let changed = Arc::clone(&changed);
        Watch::start(move || changed.notify_one()).context("no thread to watch files can be started")?
    };

    let read_at = SystemTime::now();
    let mut first = reloads::load(path, None, 1);
    let mut asked_meanwhile = false;
    let candidate = loop {
        tokio::select! {
            loaded = &mut first => break reloads::flatten(loaded)?,
            told = signals.next() => match told {
                SignalAction::Stop(stop) => {
                    tracing::info!(event = "stopped", "{} while starting: ends, without having served anything", stop.name());
                    return Ok(ExitCode::SUCCESS);
                }
                SignalAction::Reload => asked_meanwhile = true,
                // It is about to be opened.
                SignalAction::Reopen => {}
            },
        }
    };
    let (control, mut jobs, mut asked) = control::channel(path);
    // Before anything listens: a gateway without the control socket that its config names must not begin to serve.
    let socket = control::open(path, &candidate.composed.gateway.server.control, control).await?;
    let mut running = Running::start(candidate).await?;
    socket.tell();
    let mut reloads = Reloads::new(path, watch, &running, read_at);
    ready(&running);
    if asked_meanwhile {
        reloads.ask(Trigger::Asked);
    }
    let stop = loop {
        reloads.begin_if_due(&running);
        tokio::select! {
            told = signals.next() => match told {
                SignalAction::Stop(stop) => break stop,
                SignalAction::Reload => {
                    // Whatever the load says: the file that is written to may have been moved away.
                    logs::reopen(running.access_log());
                    reloads.ask(Trigger::Asked);
                }
                SignalAction::Reopen => logs::reopen(running.access_log()),
            },
            () = changed.notified() => reloads.ask(Trigger::Changed),
            Some(job) = jobs.recv() => job(&mut running),
            Some(asker) = asked.recv() => {
                logs::reopen(running.access_log());
                reloads.ask_and_tell(asker);
            }
            outcome = reloads.finished() => reloads.finish(outcome, &mut running),
        }
    };
    drop(reloads);
    // From here on there is nothing to ask, and the gateway that takes over may have the socket.
    drop(socket);
    Ok(drain(running, &mut signals, stop).await)
}

/// Lets exchanges end, or ends at once if a second signal says so.
async fn drain(running: Running, signals: &mut Signals, first: Stop) -> ExitCode {
    let timeout = running.drain_timeout();
    let access_log = running.access_log().clone();
    tracing::info!(
        "draining after {}: no new connections, and up to {timeout:?} for what is under way (a second signal ends it)",
        first.name()
    );
    let since = Instant::now();
    let mut drained = std::pin::pin!(running.drain(timeout));
    loop {
        tokio::select! {
            report = &mut drained => {
                let took = report::millis(since.elapsed());
                match report.cut_off {
                    0 => tracing::info!("drained in {took}"),
                    1 => tracing::warn!(cut_off = 1, "drained in {took}; 1 connection was cut off"),
                    cut_off => tracing::warn!(cut_off, "drained in {took}; {cut_off} connections were cut off"),
                }
                return ExitCode::SUCCESS;
            }
            told = signals.next() => match told {
                SignalAction::Stop(stop) if stop == first && since.elapsed() < REPEAT => {
                    tracing::debug!("{} again: a repeat of the first one", stop.name());
                }
                SignalAction::Stop(stop) => {
                    tracing::warn!("{}, a second signal: ending without waiting for what is under way", stop.name());
                    return ExitCode::from(REFUSED);
                }
                SignalAction::Reload | SignalAction::Reopen => logs::reopen(&access_log),
            },
        }
    }
}
