//! `portcullis record`: exchanges of clients become files, each with all that its policies were given and did.
//!
//! The gateway takes the notes and takes what is secret out of them, on the control runtime; the command line writes the
//! files, as the user who asked.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use portcullis_admin::{RecordAnswer, RecordEndRequest, RecordRequest, Refused, Request};
use portcullis_model::text::hex;
use portcullis_model::{FailureMode, Lock, Name, PolicyConfig};
use portcullis_proxy::{Asking, Recorded, Recordings, Snapshot, Wanted};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::cli::{GatewayArgument, REFUSED, RecordArguments};
use crate::output::{Usage, print, tell};
use crate::run::control;
use crate::run::runtime;
use crate::run::signals::Signals;
use crate::shown::{counted, printable, shown};
use crate::trace::{Scrubber, client_to_json, hook_to_json, redact, request_to_json, response_to_json};

/// The version of the files.
pub(crate) const VERSION: u64 = 1;
/// The member that says what a file is, and has that version.
pub(crate) const VERSION_MEMBER: &str = "portcullis-record";
/// Settings beyond this, such as a list of a million addresses, are left out of a record.
const CONFIG_BYTES_MAX: usize = 256 << 10;
/// Files of the same name that are told apart.
const NAMESAKES_MAX: usize = 1000;

/// Asks for a recording and writes the files.
///
/// # Errors
/// Where no gateway answers or it refuses, and where a file cannot be written.
pub(crate) fn run(arguments: &RecordArguments) -> anyhow::Result<ExitCode> {
    let request = request(arguments).map_err(|error| error.context(Usage))?;
    // Before anything is asked for: what was recorded could not be asked for again.
    make_folder(&arguments.out)?;
    let (RecordAnswer { records }, interrupted) = ask(&arguments.gateway, &request)?;
    let mut text = String::new();
    for record in &records {
        let path = write(&arguments.out, record)?;
        text.push_str(&format!("{}\n", path.display()));
    }
    print(&text)?;
    let (count, wanted) = (records.len(), request.count);
    if count == 0 {
        let until = match interrupted {
            true => "until it was interrupted".to_owned(),
            false => format!("within {} s", request.seconds),
        };
        bail!(
            "no exchange of route `{}` that fits has ended {until}\n  \
             = help: `--for` waits longer, and `portcullis explain` says which route a request takes",
            shown(&request.route)
        );
    }
    if interrupted {
        // Whoever ended it knows that it is not all.
        tell(&format!("interrupted: {count} of {} recorded\n", counted(wanted as u64, "exchange")));
        return Ok(ExitCode::SUCCESS);
    }
    // Some is not all, and a script may want to know.
    Ok(if records.len() < request.count { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
}

/// Asks for the recording and waits. Where somebody interrupts it, it ends with what there is by then, and that is said.
fn ask(gateway: &GatewayArgument, request: &RecordRequest) -> anyhow::Result<(RecordAnswer, bool)> {
    let runtime = runtime::control_runtime()?;
    let asked = runtime.block_on(async {
        let mut interrupts = Signals::new()?;
        let mut answer = in_background(gateway, request.clone());
        tokio::select! {
            answer = &mut answer => return Ok((answer??, false)),
            _ = interrupts.stop() => {}
        }
        in_background(gateway, RecordEndRequest { id: request.id.clone() }).await?.context("interrupted")?;
        tokio::select! {
            answer = answer => Ok((answer??, true)),
            _ = interrupts.stop() => bail!("interrupted twice: nothing is written"),
        }
    });
    // A thread that still waits for an answer ends with the process.
    runtime.shutdown_background();
    asked
}

fn in_background<R: Request + Clone + Sync>(
    gateway: &GatewayArgument,
    request: R,
) -> JoinHandle<anyhow::Result<R::Answer>> {
    let gateway = gateway.clone();
    tokio::task::spawn_blocking(move || control::ask(&gateway, &request))
}

fn request(arguments: &RecordArguments) -> anyhow::Result<RecordRequest> {
    let RecordArguments { route, method, path, headers, client, count, seconds, bytes, keep_fields, .. } =
        arguments;
    let field = |typed: &String| -> anyhow::Result<(String, Option<String>)> {
        let (name, value) = match typed.split_once(':') {
            Some((name, value)) => (name, Some(value.trim().to_owned())),
            None => (typed.as_str(), None),
        };
        if !portcullis_http::is_token(name.as_bytes()) {
            bail!("-H `{}` is no field: write it as \"name\" or \"name: value\"", shown(typed));
        }
        Ok((name.to_ascii_lowercase(), value))
    };
    Ok(RecordRequest {
        route: route.clone(),
        method: method.clone(),
        path: path.clone(),
        fields: headers.iter().map(field).collect::<Result<_, _>>()?,
        client: *client,
        count: *count,
        seconds: *seconds,
        bytes: *bytes << 10,
        keep_fields: keep_fields.clone(),
        id: id(),
    })
}

/// A name for the recording that no other has.
fn id() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", std::process::id(), now.as_nanos())
}

/// Makes the folder for nobody else, where there is none.
fn make_folder(folder: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("the folder {} cannot be made", folder.display()))
}

/// Writes a record, for nobody else to read, under a name that was free.
fn write(folder: &Path, record: &Value) -> anyhow::Result<PathBuf> {
    // From the gateway; but a name of a file is made of nothing else than digits.
    let id: String =
        record["trace-id"].as_str().unwrap_or_default().chars().filter(char::is_ascii_hexdigit).collect();
    for at in 1..=NAMESAKES_MAX {
        let name = if at == 1 { format!("record-{id}.json") } else { format!("record-{id}-{at}.json") };
        let path = folder.join(name);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                let text = format!("{record:#}\n");
                let written = file.write_all(printable(&text).as_bytes());
                written.with_context(|| format!("{} cannot be written", path.display()))?;
                return Ok(path);
            }
            // A client may send the same trace id again and again.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("{} cannot be written", path.display())),
        }
    }
    bail!("there are {NAMESAKES_MAX} records of the trace {id} in {} already", folder.display())
}

/// Begins what was asked for. Gives the recording, and when it ends.
///
/// # Errors
/// Where it is out of bounds, or names a route that does not run.
pub(crate) fn begin(
    recordings: &Recordings,
    snapshot: &Snapshot,
    request: &RecordRequest,
) -> Result<(Asking, Duration), Refused> {
    let routes = &snapshot.gateway().routes;
    let Some(route) = routes.iter().find(|route| *route.name == *request.route) else {
        let names: Vec<&str> = routes.iter().map(|route| &*route.name).collect();
        let refused = Refused::new(format!("there is no route `{}`", shown(&request.route)));
        return Err(refused.help(format!("the routes are {}", names.join(", "))));
    };
    for (what, value, max) in [
        ("exchanges", request.count, RecordRequest::COUNT_MAX),
        (
            "seconds",
            usize::try_from(request.seconds).unwrap_or(usize::MAX),
            RecordRequest::SECONDS_MAX as usize,
        ),
        ("bytes of all of them", request.count.saturating_mul(request.bytes), RecordRequest::BYTES_MAX),
    ] {
        if !(1..=max).contains(&value) {
            return Err(Refused::new(format!("a recording of {value} {what} is out of bounds: 1 to {max}")));
        }
    }
    let wanted = Wanted {
        route: Name::clone(&route.name),
        method: request.method.clone(),
        path: request.path.clone(),
        fields: request.fields.clone(),
        client: request.client,
        count: request.count,
        bytes_max: request.bytes,
    };
    let asking = recordings.ask(wanted).map_err(|error| Refused::new(error.to_string()))?;
    let (route, count, seconds) = (&*route.name, request.count, request.seconds);
    tracing::info!(
        event = "recording",
        state = "begun",
        route,
        "recording up to {} of route `{route}`, for up to {seconds} s",
        counted(count as u64, "exchange")
    );
    Ok((asking, Duration::from_secs(request.seconds)))
}

/// Waits for the exchanges, up to `time` or until it is told to end. Dropping the future ends the recording.
pub(crate) async fn collect(
    asking: Asking,
    time: Duration,
    request: &RecordRequest,
    end: &End,
) -> RecordAnswer {
    let mut collected =
        Collected { route: &request.route, asking: Some(asking), records: Vec::new(), heard: false };
    let all = async {
        while collected.records.len() < request.count {
            let Some(asking) = &mut collected.asking else { break };
            let Some(recorded) = asking.next().await else { break };
            collected.records.push(to_json(&recorded, &request.keep_fields));
        }
    };
    tokio::select! {
        _in_time = tokio::time::timeout(time, all) => {}
        () = end.told.notified() => {}
    }
    // Exchanges that have ended by then are in the answer, also if they were not taken from the channel yet.
    while let Some(recorded) = collected.asking.as_mut().and_then(Asking::next_ended) {
        collected.records.push(to_json(&recorded, &request.keep_fields));
    }
    collected.heard = true;
    collected.end();
    RecordAnswer { records: std::mem::take(&mut collected.records) }
}

/// What a recording has so far. The log is told how it ends, also where whoever asked has gone.
struct Collected<'a> {
    route: &'a str,
    asking: Option<Asking>,
    records: Vec<Value>,
    /// Whether somebody is there to be answered.
    heard: bool,
}

impl Collected<'_> {
    fn end(&mut self) {
        if self.asking.take().is_none() {
            return;
        }
        let (route, count) = (self.route, self.records.len());
        let unheard = if self.heard { "" } else { ", and the command that asked for it is gone" };
        tracing::info!(
            event = "recording",
            state = "ended",
            route,
            count,
            "the recording of route `{route}` has ended with {}{unheard}",
            counted(count as u64, "exchange")
        );
    }
}

impl Drop for Collected<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// The recordings that can be ended early, by their names. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends(Arc<Lock<BTreeMap<String, Arc<Notify>>>>);

/// A recording that can be ended early, for as long as this is kept.
#[derive(Debug)]
pub(crate) struct End {
    ends: Ends,
    id: String,
    told: Arc<Notify>,
}

impl Ends {
    /// A recording of that name. There are no more of them than there are recordings, of which there is a bounded number.
    pub(crate) fn of(&self, id: &str) -> End {
        let end = End { ends: self.clone(), id: id.to_owned(), told: Arc::default() };
        if !id.is_empty() {
            self.lock().insert(end.id.clone(), end.told.clone());
        }
        end
    }

    /// Ends the recording of that name, and says whether there is one.
    pub(crate) fn end(&self, id: &str) -> bool {
        let told = self.lock().get(id).cloned();
        told.is_some_and(|told| {
            told.notify_one();
            true
        })
    }

    // Nothing is done under the lock that could panic half-way.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Notify>>> {
        self.0.lock()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut ends = self.ends.lock();
        // Another may have taken the name since.
        if ends.get(&self.id).is_some_and(|told| Arc::ptr_eq(told, &self.told)) {
            ends.remove(&self.id);
        }
    }
}

/// A record, without what is secret.
fn to_json(recorded: &Recorded, keep: &[String]) -> Value {
    let gateway = recorded.snapshot.gateway();
    let route = gateway.routes.iter().find(|route| route.name == recorded.route);
    let policies = route.into_iter().flat_map(|route| &route.policies);
    let policies = policies.filter_map(|name| gateway.policies.iter().find(|policy| policy.name == *name));
    // A version that is tried may have taken the exchange.
    let tried =
        |policy: &'_ PolicyConfig| policy.candidate.as_ref().map(|candidate| candidate.version().clone());
    let policies = policies.flat_map(|policy| std::iter::once(policy.clone()).chain(tried(policy)));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut record = json!({
        VERSION_MEMBER: VERSION,
        "gateway": env!("CARGO_PKG_VERSION"),
        "recorded-unix-ms": u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        "generation": recorded.snapshot.generation(),
        "route": &*recorded.route,
        "upstreams": recorded.upstreams.iter().map(|name| &**name).collect::<Vec<_>>(),
        "trace-id": recorded.trace_id,
        "client": client_to_json(&recorded.client),
        "request": request_to_json(&recorded.request),
        "response": recorded.response.as_ref().map(response_to_json),
        "status": recorded.status,
        "policies": policies.map(|config| policy(&config)).collect::<Vec<_>>(),
        "hooks": recorded.hooks.iter().map(hook_to_json).collect::<Vec<_>>(),
        "notes-left-out": recorded.left_out,
    });
    redact(&mut record, Scrubber::of_secrets(&gateway.secrets), keep);
    record
}

fn policy(policy: &PolicyConfig) -> Value {
    let config = (policy.config_json.len() <= CONFIG_BYTES_MAX)
        .then(|| serde_json::from_str::<Value>(&policy.config_json).ok())
        .flatten();
    json!({
        "name": &*policy.name,
        "version": policy.version.name(),
        "isolation": policy.isolation.name(),
        "plugin": policy.plugin.to_string(),
        "digest": format!("sha256:{}", hex(&policy.digest)),
        "config": config,
        "secrets": policy.grants.secrets.iter().map(|name| &**name).collect::<Vec<_>>(),
        "deadline-us": u64::try_from(policy.limits.deadline.as_micros()).unwrap_or(u64::MAX),
        "memory-bytes": policy.limits.memory_bytes,
        "body-bytes": policy.limits.body_bytes,
        "on-error": match policy.on_error {
            FailureMode::Deny => "deny",
            FailureMode::Allow => "allow",
        },
    })
}
