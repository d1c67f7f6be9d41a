//! Commands that run to their end.

use std::ffi::OsStr;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::gateway::{Killer, command};
use super::{tool, within};

/// How a command ended and what it printed.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Runs `portcullis` with `arguments`.
pub async fn portcullis<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ran {
    portcullis_in(Path::new("/"), arguments).await
}

/// Runs `portcullis` with `arguments` in a folder. In that of a [`TestGateway`](super::TestGateway), it can ask it.
pub async fn portcullis_in<A: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = A>) -> Ran {
    let mut portcullis = command();
    portcullis.current_dir(folder).env("XDG_RUNTIME_DIR", folder).args(arguments);
    run(portcullis).await
}

/// The same, with these variables in the environment.
pub async fn portcullis_with<A: AsRef<OsStr>>(
    folder: &Path,
    variables: &[(&str, &str)],
    arguments: impl IntoIterator<Item = A>,
) -> Ran {
    let mut portcullis = command();
    portcullis.current_dir(folder).env("XDG_RUNTIME_DIR", folder).args(arguments);
    portcullis.envs(variables.iter().copied());
    run(portcullis).await
}

/// Runs `portcullis` with `arguments` in a folder, with `input` on its standard input.
pub async fn portcullis_reading<A: AsRef<OsStr>>(
    folder: &Path,
    input: &str,
    arguments: impl IntoIterator<Item = A>,
) -> Ran {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    file.rewind().unwrap();
    let mut portcullis = command();
    portcullis.current_dir(folder).env("XDG_RUNTIME_DIR", folder).args(arguments);
    run_with(portcullis, file.into()).await
}

/// A `portcullis` that goes on until it is told to end. Dropping it kills it.
#[derive(Debug)]
pub struct Started(Option<Child>);

/// Starts `portcullis` with `arguments` in a folder.
pub fn portcullis_started<A: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = A>) -> Started {
    let mut portcullis = command();
    portcullis.current_dir(folder).env("XDG_RUNTIME_DIR", folder).args(arguments);
    portcullis.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Started(Some(portcullis.spawn().unwrap()))
}

/// The same, with these variables in the environment.
pub fn portcullis_started_with<A: AsRef<OsStr>>(
    folder: &Path,
    variables: &[(&str, &str)],
    arguments: impl IntoIterator<Item = A>,
) -> Started {
    let mut portcullis = command();
    portcullis.current_dir(folder).env("XDG_RUNTIME_DIR", folder).args(arguments);
    portcullis.envs(variables.iter().copied());
    portcullis.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Started(Some(portcullis.spawn().unwrap()))
}

impl Started {
    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.0.as_ref().unwrap()), signal).unwrap();
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.as_ref().map_or(0, Child::id)
    }

    /// Waits until it has ended.
    pub async fn ended(mut self) -> Ran {
        let child = self.0.take().unwrap();
        let killed_if_late = Killer(Some(Pid::from_child(&child)));
        let output = within("the command ends", async {
            tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap()
        })
        .await;
        killed_if_late.spare();
        Ran::from(output)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Runs curl, quietly, with `arguments`.
pub async fn curl<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ran {
    let mut curl = Command::new(tool("curl", "curl"));
    curl.args(["--silent", "--show-error", "--max-time", "20"]).args(arguments);
    run(curl).await
}

/// Runs any program, with nothing on its standard input.
pub async fn program(command: Command) -> Ran {
    run(command).await
}

/// Runs a script of the shell, as a user types it.
pub async fn sh(script: &str) -> Ran {
    let mut sh = Command::new("sh");
    sh.args(["-c", script]);
    run(sh).await
}

async fn run(command: Command) -> Ran {
    run_with(command, Stdio::null()).await
}

async fn run_with(mut command: Command, stdin: Stdio) -> Ran {
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    match command.spawn() {
        Ok(child) => Started(Some(child)).ended().await,
        Err(error) => panic!("{command:?} cannot be run: {error}"),
    }
}
