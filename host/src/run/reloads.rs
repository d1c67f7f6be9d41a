//! The reloads: when one begins, what becomes of it, and who hears of that.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use portcullis_admin::ReloadAnswer;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::refusal::Refusal;
use crate::run::compose::{self, Candidate, Previous};
use crate::run::gateway::{Applied, Running};
use crate::run::watch::Watch;

/// A refusal that says the same as the one before it, this soon after it, is no news: a file that changed while it was
/// read is read again.
const SAME_WITHIN: Duration = Duration::from_secs(1);

/// The reason for a load. The greater one counts if both happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trigger {
    /// A file is another than before.
    Changed,
    /// SIGHUP, or `portcullis reload`.
    Asked,
}

/// Who waits for the outcome of a reload.
pub(crate) type Asker = oneshot::Sender<ReloadAnswer>;

pub(crate) type Loading = JoinHandle<Result<Candidate, Refusal>>;
pub(crate) type Loaded = Result<Result<Candidate, Refusal>, tokio::task::JoinError>;

/// The reloads: at most one under way, and at most one waiting for it, however many changes there are.
pub(crate) struct Reloads {
    path: PathBuf,
    watch: Watch,
    under_way: Option<UnderWay>,
    due: Option<Trigger>,
    /// Who waits for the next one to begin; each has a connection of the control socket, of which there are few.
    askers: Vec<Asker>,
    /// What the last load was refused for, and when.
    refused: Option<(String, Instant)>,
}

struct UnderWay {
    loading: Loading,
    trigger: Trigger,
    askers: Vec<Asker>,
    since: Instant,
    read_at: SystemTime,
}

impl Reloads {
    /// None yet. `running` was read from the config at `path` from `read_at` on.
    pub(crate) fn new(path: &Path, watch: Watch, running: &Running, read_at: SystemTime) -> Self {
        let path = path.to_path_buf();
        let reloads = Self { path, watch, under_way: None, due: None, askers: Vec::new(), refused: None };
        reloads.watch_for(running, &[], read_at);
        reloads
    }

    /// Has the configuration loaded again, as soon as no load is under way.
    pub(crate) fn ask(&mut self, trigger: Trigger) {
        self.due = self.due.max(Some(trigger));
    }

    /// The same, and sends the outcome to `asker`.
    pub(crate) fn ask_and_tell(&mut self, asker: Asker) {
        self.ask(Trigger::Asked);
        self.askers.push(asker);
    }

    /// Begins to load if there is a reason and nothing is under way.
    pub(crate) fn begin_if_due(&mut self, running: &Running) {
        if self.under_way.is_some() {
            return;
        }
        let Some(trigger) = self.due.take() else { return };
        let (since, read_at) = (Instant::now(), SystemTime::now());
        let loading = load(&self.path, Some(running.previous()), running.generation() + 1);
        let askers = std::mem::take(&mut self.askers);
        self.under_way = Some(UnderWay { loading, trigger, askers, since, read_at });
    }

    /// Returns the outcome of the load that is under way; waits for ever if none is. May be dropped at any time.
    pub(crate) async fn finished(&mut self) -> Loaded {
        match &mut self.under_way {
            Some(under_way) => (&mut under_way.loading).await,
            None => std::future::pending().await,
        }
    }

    /// Puts what was loaded into effect, or refuses it, and sends the outcome to the clients that asked.
    pub(crate) fn finish(&mut self, outcome: Loaded, running: &mut Running) {
        let Some(UnderWay { trigger, askers, since, read_at, .. }) = self.under_way.take() else { return };
        let applied = flatten(outcome).and_then(|candidate| {
            let files = candidate.composed.gateway.files.clone();
            running
                .apply(candidate, trigger == Trigger::Asked, since)
                .map_err(|error| Refusal::Other { error, files })
        });
        let refused_before = self.refused.take();
        let mut answer = ReloadAnswer::default();
        match applied {
            Ok(Applied::Live(changes)) => {
                answer.changes = changes.to_string();
                answer.restart = changes.restart;
                self.watch_for(running, &[], read_at);
            }
            Ok(Applied::Same) => {
                tracing::debug!("files were written, and the configuration they make is the one that runs");
                self.watch_for(running, &[], read_at);
            }
            Err(refusal) => {
                let text = refusal.to_string();
                let again = trigger == Trigger::Changed
                    && refused_before.is_some_and(|(before, at)| {
                        before == text && since.saturating_duration_since(at) < SAME_WITHIN + running.settle()
                    });
                running.refuse(&refusal, !again);
                answer.errors = refusal.count();
                // Whichever of them changes next may mend it.
                self.watch_for(running, refusal.files(), read_at);
                answer.refused = Some(text.clone());
                self.refused = Some((text, Instant::now()));
            }
        }
        answer.generation = running.generation();
        answer.took_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        for asker in askers {
            // The client may be gone.
            let _unheard = asker.send(answer.clone()).is_err();
        }
    }

    /// Watches the files of the running generation and `more`, or none if watching is off.
    fn watch_for(&self, running: &Running, more: &[PathBuf], read_at: SystemTime) {
        let wanted = running.is_watching();
        let files = running.files().chain(more.iter().cloned()).filter(|_| wanted);
        drop(self.watch.files(files, read_at, running.settle()));
    }
}

/// Loads the config at `path` on a thread that may block.
pub(crate) fn load(path: &Path, previous: Option<Previous>, generation: u64) -> Loading {
    let path = path.to_path_buf();
    tokio::task::spawn_blocking(move || compose::build(&path, previous.as_ref(), generation))
}

/// A panic while loading is our fault, and as little reason to stop what is running as any other.
pub(crate) fn flatten(loaded: Loaded) -> Result<Candidate, Refusal> {
    loaded.unwrap_or_else(|error| {
        let error = anyhow::anyhow!("loading the config failed inside: {error}; please report this");
        Err(Refusal::Other { error, files: Vec::new() })
    })
}
