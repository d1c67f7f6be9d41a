//! `portcullis record`: exchanges of clients become files, each with all that its policies were given and did.
//!
//! The gateway records the exchanges and removes their secrets, on the control runtime (`run/recording.rs`); the
//! command line writes the files, as the user who runs it.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, bail};
use portcullis_admin::{RecordAnswer, RecordEndRequest, RecordRequest, Request};
use portcullis_model::text::escape as shown;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::cli::{GatewayArgument, REFUSED, RecordArguments};
use crate::commands::ask::ask;
use crate::output::{Usage, print, printable, tell};
use crate::run::runtime;
use crate::run::signals::Signals;
use crate::words::counted;

/// Files of the same name that get different numbers.
const SAME_NAME_MAX: usize = 1000;

/// Asks for a recording and writes the files.
///
/// # Errors
/// If no gateway answers, if it refuses, or if a file cannot be written.
pub(crate) fn run(arguments: &RecordArguments) -> anyhow::Result<ExitCode> {
    let request = request(arguments).map_err(|error| error.context(Usage))?;
    // Before anything is asked for: what was recorded could not be asked for again.
    make_folder(&arguments.out)?;
    let (RecordAnswer { records }, interrupted) = wait_for(&arguments.gateway, &request)?;
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
        // The user who interrupted it knows that it is not complete.
        tell(&format!("interrupted: {count} of {} recorded\n", counted(wanted as u64, "exchange")));
        return Ok(ExitCode::SUCCESS);
    }
    // Some is not all, and a script may want to know.
    Ok(if records.len() < request.count { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
}

/// Asks for the recording and waits. If it is interrupted, it ends with the exchanges recorded so far; the `bool` says
/// so.
fn wait_for(gateway: &GatewayArgument, request: &RecordRequest) -> anyhow::Result<(RecordAnswer, bool)> {
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
    tokio::task::spawn_blocking(move || ask(&gateway, &request))
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

/// Creates the folder, if it is missing, without rights for others.
fn make_folder(folder: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("the folder {} cannot be made", folder.display()))
}

/// Writes a record under a free name, without rights for others.
fn write(folder: &Path, record: &Value) -> anyhow::Result<PathBuf> {
    // From the gateway; but a name of a file is made of nothing else than digits.
    let id: String =
        record["trace-id"].as_str().unwrap_or_default().chars().filter(char::is_ascii_hexdigit).collect();
    for at in 1..=SAME_NAME_MAX {
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
    bail!("there are {SAME_NAME_MAX} records of the trace {id} in {} already", folder.display())
}
