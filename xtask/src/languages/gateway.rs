//! A gateway that runs.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::tools::target;

/// Lines of the log that may wait to be read; the gateway writes some ten.
const LINES_MAX: usize = 4096;
/// Lines that are shown when it fails.
const LINES_SHOWN: usize = 40;

/// Dropping it kills the process.
pub(super) struct Gateway {
    child: Child,
    lines: Receiver<String>,
    seen: VecDeque<String>,
    /// The address that it listens on, once it is ready.
    pub(super) address: Option<SocketAddr>,
}

/// What `portcullis validate` says of a config that it must refuse.
pub(super) fn refusal(program: &Path, folder: &Path, config: &str) -> Result<String> {
    let path = folder.join("refused.toml");
    std::fs::write(&path, config)?;
    let output = command(program, folder).args(["validate", "-c"]).arg(&path).output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(!output.status.success(), "a config with a mistake was accepted:\n{config}");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    // Its control socket, and code that is compiled once for all runs of this.
    command.env_remove("RUNTIME_DIRECTORY").env("XDG_RUNTIME_DIR", folder);
    command.env("CACHE_DIRECTORY", target().join("xtask-languages/cache"));
    command
}

impl Gateway {
    /// Starts it with `portcullis.toml` in `folder`, and waits until it is ready.
    pub(super) fn start(program: &Path, folder: &Path, patience: Duration) -> Result<Self> {
        let mut command = command(program, folder);
        command.args(["run", "-c"]).arg(folder.join("portcullis.toml")).args(["--log-format", "json"]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let stderr = child.stderr.take().context("it has no standard error")?;
        let (sender, lines) = sync_channel(LINES_MAX);
        std::thread::spawn(move || {
            let lines = BufReader::new(stderr).lines().map_while(Result::ok);
            lines.map(|line| sender.send(line)).take_while(Result::is_ok).count()
        });
        let mut gateway = Self { child, lines, seen: VecDeque::new(), address: None };
        gateway.wait("ready", patience)?;
        Ok(gateway)
    }

    /// Waits for a line of the log with that `event`.
    pub(super) fn wait(&mut self, event: &str, patience: Duration) -> Result<()> {
        let since = Instant::now();
        loop {
            let Ok(line) = self.lines.recv_timeout(patience.saturating_sub(since.elapsed())) else {
                bail!("the gateway was not `{event}` within {} s{}", patience.as_secs(), self.said());
            };
            let read: Value = serde_json::from_str(&line).unwrap_or_default();
            if self.seen.len() == LINES_SHOWN {
                self.seen.pop_front();
            }
            self.seen.push_back(line);
            if read["listener"] == "web"
                && let Some(address) = read["address"].as_str()
            {
                self.address = Some(address.parse().context("an address in its log")?);
            }
            if read["event"] == event {
                return Ok(());
            }
            if read["event"] == "refused" {
                bail!("the gateway refused its config{}", self.said());
            }
        }
    }

    /// What it has said last.
    pub(super) fn said(&self) -> String {
        let seen: Vec<&str> = self.seen.iter().map(String::as_str).collect();
        format!("; its log:\n{}", seen.join("\n"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("the gateway, process {}, could not be ended: {error}", self.child.id());
        }
    }
}
