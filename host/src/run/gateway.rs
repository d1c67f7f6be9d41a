//! The running gateway: its workers and the generation that they run.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use portcullis_admin::WebServer;
use portcullis_model::Name;
use portcullis_proxy::{DrainReport, Edit, EditError, Listening, Recordings, Snapshot, Workers};
use portcullis_telemetry::AccessLog;

use crate::refusal::Refusal;
use crate::run::compose::{Candidate, Composed, Previous};
use crate::run::process::Process;
use crate::run::{metrics, open_files, report};
use portcullis_inspect::Changes;

/// How long the last records may take to be written at the end.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// A gateway that accepts connections.
#[derive(Debug)]
pub(crate) struct Running {
    workers: Workers,
    process: Process,
    composed: Arc<Composed>,
    access_log: AccessLog,
    generation: u64,
    started: Instant,
    /// When the generation began to run.
    generation_since: Instant,
    /// The server for metrics, until the drain.
    metrics: Option<WebServer>,
    /// Why what is on disk does not run, if it does not.
    refused: Option<Refused>,
}

/// Why the configuration on disk does not run.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// How many mistakes it has.
    pub(crate) errors: usize,
    /// The first of them, as a line.
    pub(crate) first: String,
    /// When the first one of a row was refused.
    pub(crate) since: Instant,
}

/// What came of a candidate that was sound.
#[derive(Debug)]
pub(crate) enum Applied {
    /// It runs, with these changes.
    Live(Changes),
    /// It is what runs already.
    Same,
}

impl Running {
    /// Starts the workers with their first generation. Dropping the future starts nothing.
    ///
    /// # Errors
    /// If an address cannot be listened on or a thread cannot be started; then nothing runs.
    pub(crate) async fn start(candidate: Candidate) -> anyhow::Result<Self> {
        let Candidate { composed, snapshot, process, access_log, roots } = candidate;
        process.outbound.trust(roots);
        report::warnings(&snapshot);
        let count = process.workers;
        let metrics = match composed.gateway.server.metrics {
            Some(address) => Some(metrics::serve(address, process.clone()).await?),
            None => None,
        };
        let workers =
            Workers::start(count, snapshot, &process.outbound).context("the gateway cannot start")?;
        process.caches.set(&workers.snapshot());
        process.metrics.generation_started(1);
        process.rollouts.set(composed.rollouts());
        if let Some(server) = &metrics {
            report::serves_metrics(server.address());
        }
        let composed = Arc::new(composed);
        let now = Instant::now();
        let running = Self {
            workers,
            process,
            composed,
            access_log,
            generation: 1,
            started: now,
            generation_since: now,
            metrics,
            refused: None,
        };
        running.share_files();
        report::started(&running.composed, &running.workers.listening(), count);
        Ok(running)
    }

    /// Shares the open files that there may be, and says so if they are fewer than what listeners may want.
    fn share_files(&self) {
        let server = &self.composed.gateway;
        open_files::warn(open_files::share(), &server.listeners);
    }

    /// The number of the generation that runs.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// How long it has been running, and how long on the generation that runs.
    pub(crate) fn ages(&self) -> (Duration, Duration) {
        (self.started.elapsed(), self.generation_since.elapsed())
    }

    /// What runs: the configuration and its policies.
    pub(crate) fn composed(&self) -> &Composed {
        &self.composed
    }

    /// What the workers run.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.workers.snapshot()
    }

    /// Changes an endpoint of an upstream. Returns `None` if there is no upstream of that name.
    pub(crate) fn edit_endpoint(
        &self,
        upstream: &str,
        address: &Name,
        edit: Edit,
    ) -> Option<Result<(), EditError>> {
        self.workers.edit_endpoint(upstream, address, edit)
    }

    /// Returns the handle by which recordings are started.
    pub(crate) fn recordings(&self) -> Recordings {
        self.workers.recordings()
    }

    /// What lives as long as the process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Notes that a candidate was not put into effect, and with `tell` says why.
    pub(crate) fn refuse(&mut self, refusal: &Refusal, tell: bool) {
        self.process.config_refused.store(true, Ordering::Relaxed);
        let since = self.refused.as_ref().map_or_else(Instant::now, |before| before.since);
        self.refused = Some(Refused { errors: refusal.count(), first: refusal.first(), since });
        if tell {
            self.process.metrics.reload_refused();
            report::refused(refusal, self.generation);
        }
    }

    /// What the configuration on disk is refused for, if it is.
    pub(crate) fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// Whether changed files are loaded.
    pub(crate) fn is_watching(&self) -> bool {
        self.composed.gateway.server.watch
    }

    /// How long files must not have changed before they are loaded.
    pub(crate) fn settle(&self) -> Duration {
        self.composed.gateway.server.settle
    }

    /// Returns its listeners.
    pub(crate) fn listening(&self) -> Vec<Listening> {
        self.workers.listening()
    }

    /// Returns the access log.
    pub(crate) fn access_log(&self) -> &AccessLog {
        &self.access_log
    }

    /// What the next candidate is built upon.
    pub(crate) fn previous(&self) -> Previous {
        Previous {
            process: self.process.clone(),
            composed: Arc::clone(&self.composed),
            snapshot: self.workers.snapshot(),
            access_log: self.access_log.clone(),
        }
    }

    /// The files that what runs was made of.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        let files: BTreeSet<PathBuf> = self.composed.gateway.files.iter().cloned().collect();
        files.into_iter()
    }

    /// Returns how long exchanges may continue in a drain.
    pub(crate) fn drain_timeout(&self) -> Duration {
        self.composed.gateway.server.drain_timeout
    }

    /// Puts a candidate into effect. One that changes nothing is put aside, unless it was `asked` for: then it is the
    /// next generation nevertheless.
    ///
    /// # Errors
    /// If a new listener's address is not available; then the earlier generation continues.
    pub(crate) fn apply(
        &mut self,
        candidate: Candidate,
        asked: bool,
        since: Instant,
    ) -> anyhow::Result<Applied> {
        let Candidate { composed, snapshot, access_log, roots, .. } = candidate;
        let changes = Changes::between(&self.composed.gateway, &composed.gateway);
        if changes.is_empty() && !asked {
            // The lines that messages name may be others, and so may the files.
            self.composed = Arc::new(composed);
            if self.mend() {
                report::mended(self.generation);
            }
            return Ok(Applied::Same);
        }
        report::warnings(&snapshot);
        let of_upstreams = snapshot.trust_changed();
        let listened = self.workers.listening();
        self.workers.apply(snapshot)?;
        self.process.caches.set(&self.workers.snapshot());
        if self.process.outbound.trust(roots) || of_upstreams {
            report::trust_changed();
        }
        self.mend();
        let before = self.generation;
        self.generation += 1;
        self.generation_since = Instant::now();
        self.process.metrics.generation_started(self.generation);
        self.process.rollouts.set(composed.rollouts());
        report::reloaded(
            before,
            self.generation,
            since.elapsed(),
            &changes,
            &composed,
            &composed.newly_imported(&self.composed),
            (&listened, &self.workers.listening()),
        );
        self.composed = Arc::new(composed);
        self.access_log = access_log;
        Ok(Applied::Live(changes))
    }

    /// The configuration on disk is no longer refused. Returns whether it was.
    fn mend(&mut self) -> bool {
        self.process.config_refused.store(false, Ordering::Relaxed);
        self.refused.take().is_some()
    }

    /// Stops accepting, gives up the address of the metrics (a successor may want it), lets exchanges end for up to
    /// `timeout`, ends the workers and writes what they recorded. Dropping the future leaves the rest to the end of
    /// the process.
    pub(crate) async fn drain(self, timeout: Duration) -> DrainReport {
        if let Some(metrics) = self.metrics {
            metrics.stop().await;
        }
        let report = self.workers.drain(timeout).await;
        let access_log = self.access_log;
        // It waits for a disk, which must not keep a second signal from being heard.
        let synced = tokio::task::spawn_blocking(move || access_log.sync(LOG_TIMEOUT)).await;
        if !synced.unwrap_or(false) {
            tracing::warn!("not all of the access log could be written");
        }
        report
    }
}
