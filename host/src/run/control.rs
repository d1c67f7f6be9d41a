//! The control socket from the gateway's side: what answers its requests, and its path.
//!
//! To let the command line ask something more: a `Request` in the `admin` crate, an `Answers` of it here (or beside
//! what it is about), and a line in [`requests`]. The answer is put together on the loop that owns the running gateway,
//! by [`Control::with_running`], while nothing else happens; what takes long takes out of it what it needs (snapshots
//! and factories are shared) and goes on by itself.

use std::path::Path;
use std::sync::Arc;

use portcullis_admin::{
    Answers, CacheInspectRequest, CacheListRequest, CachePurgeRequest, ControlSocket, EndpointRequest,
    ExplainRequest, RecordAnswer, RecordEndRequest, RecordRequest, Refused, ReloadAnswer, ReloadRequest,
    Requests, RolloutActRequest, RolloutsRequest, Status, StatusRequest, Surroundings,
};
use portcullis_inspect::explain_live;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::refusal::Refusal;
use crate::run::gateway::Running;
use crate::run::reloads::Asker;
use crate::run::runtime::block_on;
use crate::run::{recording, status};

/// Jobs that wait for the loop. Each connection of the socket has at most one.
const JOBS_MAX: usize = 16;

/// Something to be done with the running gateway.
pub(crate) type Job = Box<dyn FnOnce(&mut Running) + Send>;

/// What answers the requests of the control socket.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    config: Arc<Path>,
    jobs: mpsc::Sender<Job>,
    reloads: mpsc::Sender<Asker>,
    /// The turn to run policies on a blocking thread, of which there are few.
    explaining: Arc<Semaphore>,
    /// The turn to search caches on a blocking thread.
    purging: Arc<Semaphore>,
    /// Recordings that can be ended early.
    ends: recording::Ends,
}

/// Returns what answers requests about the gateway of the config at `config`, the jobs that it sends to its loop, and
/// who asks that loop for a reload.
pub(crate) fn channel(config: &Path) -> (Control, mpsc::Receiver<Job>, mpsc::Receiver<Asker>) {
    let (jobs, received) = mpsc::channel(JOBS_MAX);
    let (reloads, asked) = mpsc::channel(JOBS_MAX);
    let turn = || Arc::new(Semaphore::new(1));
    let (config, explaining, purging) = (config.into(), turn(), turn());
    (
        Control { config, jobs, reloads, explaining, purging, ends: recording::Ends::default() },
        received,
        asked,
    )
}

/// All that can be asked.
fn requests(control: Control) -> Requests<Control> {
    Requests::new(control)
        .with::<StatusRequest>()
        .with::<ReloadRequest>()
        .with::<ExplainRequest>()
        .with::<RecordRequest>()
        .with::<RecordEndRequest>()
        .with::<RolloutsRequest>()
        .with::<RolloutActRequest>()
        .with::<EndpointRequest>()
        .with::<CacheListRequest>()
        .with::<CacheInspectRequest>()
        .with::<CachePurgeRequest>()
}

impl Control {
    /// Does something with the running gateway, between two turns of its loop: it must not wait.
    ///
    /// # Errors
    /// If the gateway is about to end.
    pub(crate) async fn with_running<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Running) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let (send, receive) = oneshot::channel();
        let job: Job = Box::new(move |running| {
            // The client may be gone.
            let _unheard = send.send(job(running)).is_err();
        });
        let ending = || Refused::new("the gateway is about to end, and answers nothing more");
        self.jobs.send(job).await.map_err(|_| ending())?;
        receive.await.map_err(|_| ending())
    }

    /// Does what takes long on a blocking thread, one after the other for each of `turns`. It goes on to its end even
    /// if the client goes away.
    ///
    /// # Errors
    /// If the gateway is about to end.
    pub(super) async fn on_a_thread<T: Send + 'static>(
        &self,
        turns: &Arc<Semaphore>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let ending = || Refused::new("the gateway is about to end, and answers nothing more");
        let turn = turns.clone().acquire_owned().await.map_err(|_| ending())?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.map_err(|_| ending())
    }

    /// The turn to run policies for an explanation.
    pub(super) fn explaining(&self) -> &Arc<Semaphore> {
        &self.explaining
    }

    /// The turn to search caches.
    pub(super) fn purging(&self) -> &Arc<Semaphore> {
        &self.purging
    }
}

impl Answers<StatusRequest> for Control {
    async fn answer(&self, _: StatusRequest) -> Result<Status, Refused> {
        let config = self.config.display().to_string();
        self.with_running(move |running| status::of(running, config)).await
    }
}

impl Answers<ReloadRequest> for Control {
    async fn answer(&self, _: ReloadRequest) -> Result<ReloadAnswer, Refused> {
        let ending = || Refused::new("the gateway is about to end, and loads nothing more");
        let (asker, outcome) = oneshot::channel();
        self.reloads.send(asker).await.map_err(|_| ending())?;
        outcome.await.map_err(|_| ending())
    }
}

impl Answers<ExplainRequest> for Control {
    async fn answer(&self, request: ExplainRequest) -> Result<serde_json::Value, Refused> {
        let snapshot = self.with_running(|running| running.snapshot()).await?;
        let explained =
            self.on_a_thread(&self.explaining, move || block_on(explain_live(&snapshot, request)));
        let explained = explained.await?.map_err(|error| Refused::new(format!("{error:#}")))?;
        explained.map_err(|error| Refused::new(error.to_string()))
    }
}

impl Answers<RecordRequest> for Control {
    async fn answer(&self, request: RecordRequest) -> Result<RecordAnswer, Refused> {
        let (recordings, snapshot) =
            self.with_running(|running| (running.recordings(), running.snapshot())).await?;
        let (asking, time) = recording::begin(&recordings, &snapshot, &request)?;
        drop(snapshot);
        let end = self.ends.of(&request.id);
        Ok(recording::collect(asking, time, &request, &end).await)
    }
}

impl Answers<RecordEndRequest> for Control {
    async fn answer(&self, request: RecordEndRequest) -> Result<(), Refused> {
        match self.ends.end(&request.id) {
            true => Ok(()),
            false => Err(Refused::new("the recording is not under way")),
        }
    }
}

/// What came of opening the control socket.
#[derive(Debug)]
pub(crate) enum Opened {
    /// It is open, for as long as this is kept.
    Socket { _open: ControlSocket },
    /// It is turned off.
    Off,
    /// No path was configured and no folder can hold it, for this reason: the gateway runs without a socket.
    Without(String),
}

impl Opened {
    /// Logs it, once the gateway serves. If the gateway cannot start, it reports that instead, often with the same
    /// cause: another gateway with the same config has the ports as well.
    pub(crate) fn tell(&self) {
        if let Self::Without(reason) = self {
            tracing::warn!(
                "{reason}; the gateway runs, and `portcullis status` will not find it (`server.control` names another \
                 place, or turns it off)"
            );
        }
    }
}

/// Opens the socket as `setting` says.
///
/// # Errors
/// If a socket cannot be opened at the configured path.
pub(crate) async fn open(
    config: &Path,
    setting: &portcullis_model::Control,
    control: Control,
) -> anyhow::Result<Opened> {
    let opened = match setting {
        portcullis_model::Control::Off => return Ok(Opened::Off),
        portcullis_model::Control::At(path) => {
            let opened = ControlSocket::open(path, requests(control)).await;
            opened.map_err(|error| {
                Refusal::of_control_socket(config.into(), &error, vec![config.to_path_buf()])
            })?
        }
        portcullis_model::Control::Default => {
            let opened = match Surroundings::current().place(config) {
                Ok(path) => {
                    ControlSocket::open(&path, requests(control)).await.map_err(|error| error.to_string())
                }
                Err(reason) => Err(format!("no folder can hold the control socket: {reason}")),
            };
            match opened {
                Ok(socket) => socket,
                Err(reason) => return Ok(Opened::Without(reason)),
            }
        }
    };
    tracing::info!(event = "control", path = %opened.path().display(), "control socket at {}", opened.path().display());
    Ok(Opened::Socket { _open: opened })
}
