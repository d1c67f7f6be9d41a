//! The real binary, running.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::hosts::{in_namespace_of, with_hosts, with_tmpfs};
use super::output::{LogLine, Output};
use super::{DEADLINE, within};

/// The file in a gateway's folder that is its `/etc/hosts`, if it has one of its own.
const HOSTS: &str = "hosts";

/// A running gateway. Dropping it kills the process and removes its folder; in a failing test it prints what the
/// gateway said.
#[derive(Debug)]
pub struct TestGateway {
    dir: TempDir,
    child: Option<Child>,
    output: Arc<Output>,
}

/// What a gateway is started with.
#[derive(Debug)]
pub struct Builder {
    dir: TempDir,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    open_files: Option<(u64, u64)>,
    has_hosts: bool,
    /// A folder within that of the gateway, and the size of the file system that it is.
    tmpfs: Option<(PathBuf, String)>,
    /// A process whose mounts it sees.
    namespace_of: Option<u32>,
}

/// Why a gateway did not start: what it printed, and how it ended.
#[derive(Debug)]
pub struct Failed {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Builder {
    /// Writes a file, by its path within the gateway's folder, where the config can name it.
    pub fn file(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        write(&self.dir.path().join(path), bytes.as_ref());
        self
    }

    /// Adds an argument after `run -c FILE`.
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets a variable of the gateway's environment.
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Limits the files that it may have open: softly, which it may raise, and hard.
    pub fn open_files(mut self, soft: u64, hard: u64) -> Self {
        self.open_files = Some((soft, hard));
        self
    }

    /// Gives it an `/etc/hosts` of its own, which [`TestGateway::set_hosts`] changes.
    pub fn hosts(mut self, text: &str) -> Self {
        std::fs::write(self.dir.path().join(HOSTS), text).unwrap();
        self.has_hosts = true;
        self
    }

    /// Puts a file system in memory of this size at a folder within that of the gateway. Others see it below
    /// `/proc/PID/root`.
    pub fn tmpfs(mut self, folder: &str, size: &str) -> Self {
        self.tmpfs = Some((self.dir.path().join(folder), size.to_owned()));
        self
    }

    /// Has it see the mounts of another process.
    pub fn namespace_of(mut self, pid: u32) -> Self {
        self.namespace_of = Some(pid);
        self
    }

    /// The folder, for configs that need absolute paths.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts with `config` and waits until it is ready.
    pub async fn start(self, config: &str) -> TestGateway {
        match self.try_start(config).await {
            Ok(gateway) => gateway,
            Err(failed) => {
                panic!("the gateway did not start, exit code {:?}:\n{}", failed.code, failed.stderr)
            }
        }
    }

    /// Starts with `config`, which may be refused.
    pub async fn try_start(self, config: &str) -> Result<TestGateway, Failed> {
        let path = self.dir.path().join("portcullis.toml");
        write(&path, config.as_bytes());
        self.launch(&["run".into(), "-c".into(), path.into_os_string()]).await
    }

    /// Starts `portcullis demo` on free ports in the folder, where it writes its own config.
    pub async fn start_demo(self) -> TestGateway {
        let mut command: Vec<OsString> = vec!["demo".into(), "--dir".into(), self.dir.path().into()];
        command.extend(["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"].map(OsString::from));
        match self.launch(&command).await {
            Ok(gateway) => gateway,
            Err(failed) => panic!("the demo did not start, exit code {:?}:\n{}", failed.code, failed.stderr),
        }
    }

    async fn launch(self, arguments_before: &[OsString]) -> Result<TestGateway, Failed> {
        let Self { dir, arguments, environment, open_files, has_hosts, tmpfs, namespace_of } = self;
        let mut command = limited(command(), open_files);
        if has_hosts {
            command = inside(with_hosts(&dir.path().join(HOSTS)), &command);
        }
        if let Some((folder, size)) = tmpfs {
            command = inside(with_tmpfs(&folder, &size), &command);
        }
        if let Some(pid) = namespace_of {
            command = inside(in_namespace_of(pid), &command);
        }
        let mut child = command
            // The control socket is in there, for `portcullis_in` of the same folder.
            .env("XDG_RUNTIME_DIR", dir.path())
            .args(["--log-format", "json"])
            .args(arguments_before)
            .args(arguments)
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Output::read(child.stderr.take().unwrap(), child.stdout.take().unwrap());
        let mut gateway = TestGateway { dir, child: Some(child), output };
        let ready = |output: &Output| output.log(0).into_iter().find(|line| is_event(line, "ready"));
        let output = Arc::clone(&gateway.output);
        match output.wait("the gateway is ready", ready).await {
            Some(_) => Ok(gateway),
            None => Err(Failed { code: gateway.wait().await.code(), stderr: gateway.stderr() }),
        }
    }
}

impl TestGateway {
    /// Starts with `config` and waits until it is ready.
    pub async fn start(config: &str) -> Self {
        Self::builder().start(config).await
    }

    /// Starts a second gateway with the config of another, which runs.
    pub async fn beside(other: &Self) -> Self {
        let path = other.dir.path().join("portcullis.toml");
        let builder = Self::builder().variable("XDG_RUNTIME_DIR", other.dir.path());
        match builder.launch(&["run".into(), "-c".into(), path.into_os_string()]).await {
            Ok(gateway) => gateway,
            Err(failed) => panic!("the second gateway did not start:\n{}", failed.stderr),
        }
    }

    /// For a gateway with further files, arguments or variables.
    pub fn builder() -> Builder {
        Builder {
            dir: tempfile::tempdir().unwrap(),
            arguments: Vec::new(),
            environment: Vec::new(),
            open_files: None,
            has_hosts: false,
            tmpfs: None,
            namespace_of: None,
        }
    }

    /// The folder with the config and its files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The actual address of a listener, as the log last said.
    pub fn address(&self, listener: &str) -> SocketAddr {
        let lines = self.output.log(0);
        let said = lines
            .iter()
            .rev()
            .find(|line| line.text("listener") == Some(listener) && line.text("address").is_some());
        match said.and_then(|line| line.text("address")) {
            Some(address) => address.parse().unwrap(),
            None => panic!("no listener `{listener}` in the log"),
        }
    }

    /// A URL on a listener, by its actual address.
    pub fn url(&self, listener: &str, path: &str) -> String {
        let line = |line: &LogLine| line.text("listener") == Some(listener);
        let tls = self
            .output
            .log(0)
            .iter()
            .rev()
            .find(|said| line(said))
            .and_then(|line| line.fields.get("tls")?.as_bool());
        let scheme = if tls == Some(true) { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address(listener))
    }

    /// The generation that runs, as the log last said.
    pub fn generation(&self) -> u64 {
        let lines = self.output.log(0);
        lines
            .iter()
            .rev()
            .filter(|line| is_event(line, "ready") || is_event(line, "reloaded"))
            .find_map(|line| line.number("generation"))
            .unwrap_or(0)
    }

    /// Changes the `/etc/hosts` of a gateway that has one of its own.
    pub fn set_hosts(&self, text: &str) {
        // In place: it is the file and not its name that the gateway sees.
        std::fs::write(self.dir.path().join(HOSTS), text).unwrap();
    }

    /// Replaces a file as a whole, by renaming, as an editor does.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        write(&self.dir.path().join(path), bytes.as_ref());
    }

    /// Removes a file.
    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.dir.path().join(path)).unwrap();
    }

    /// Replaces the config and waits until it runs. Gives its generation.
    pub async fn write_config_and_wait(&self, config: &str) -> u64 {
        self.write_and_wait("portcullis.toml", config).await
    }

    /// Replaces a file of the config and waits until what it makes runs. Gives its generation.
    pub async fn write_and_wait(&self, path: &str, bytes: impl AsRef<[u8]>) -> u64 {
        let mark = self.output.mark();
        self.write(path, bytes);
        self.reloaded(mark).await
    }

    /// Replaces the config by one that is refused, and waits for that. Gives what the log says.
    pub async fn write_config_and_expect_refusal(&self, config: &str) -> String {
        self.write_and_expect_refusal("portcullis.toml", config).await
    }

    /// Replaces a file by one that makes the config be refused, and waits for that. Gives what the log says.
    pub async fn write_and_expect_refusal(&self, path: &str, bytes: impl AsRef<[u8]>) -> String {
        let mark = self.output.mark();
        self.write(path, bytes);
        match self.verdict(mark).await {
            Err(refusal) => refusal,
            Ok(generation) => panic!("generation {generation} was accepted"),
        }
    }

    /// Sends SIGHUP and waits until the next generation runs. Gives its number.
    pub async fn reload(&self) -> u64 {
        let mark = self.output.mark();
        self.signal(Signal::HUP);
        self.reloaded(mark).await
    }

    async fn reloaded(&self, mark: usize) -> u64 {
        match self.verdict(mark).await {
            Ok(generation) => generation,
            Err(refusal) => panic!("the config was refused: {refusal}"),
        }
    }

    /// What becomes of a change that was made when the log was `mark` lines long.
    async fn verdict(&self, mark: usize) -> Result<u64, String> {
        let verdict = |output: &Output| {
            output.log(mark).into_iter().find_map(|line| {
                if is_event(&line, "reloaded") {
                    Some(Ok(line.number("generation").unwrap()))
                } else if is_event(&line, "refused") {
                    Some(Err(line.message))
                } else {
                    None
                }
            })
        };
        match self.output.wait("a change of the config is taken up", verdict).await {
            Some(verdict) => verdict,
            None => panic!("the gateway has ended"),
        }
    }

    /// All log lines so far.
    pub fn log(&self) -> Vec<LogLine> {
        self.output.log(0)
    }

    /// Waits for a log line, among those that were written as well.
    pub async fn wait_for_log(&self, what: &str, wanted: impl Fn(&LogLine) -> bool) -> LogLine {
        let found = |output: &Output| output.log(0).into_iter().find(|line| wanted(line));
        match self.output.wait(what, found).await {
            Some(line) => line,
            None => panic!("the gateway has ended without: {what}"),
        }
    }

    /// Waits for a line on standard output, where the access log goes, among those that were written as well.
    pub async fn wait_for_access_line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let found = |output: &Output| output.stdout().into_iter().find(|line| wanted(line));
        match self.output.wait(what, found).await {
            Some(line) => line,
            None => panic!("the gateway has ended without: {what}"),
        }
    }

    /// Standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        self.output.stdout()
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        self.output.stderr().join("\n")
    }

    /// The process, for measuring it.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().map(Pid::from_child).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Sends SIGTERM and waits for the end.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait().await
    }

    /// Waits until the process ends by itself.
    pub async fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let killer = Killer(Some(Pid::from_child(&child)));
        let status = within("the gateway ends", async {
            tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap()
        })
        .await;
        killer.spare();
        status
    }
}

/// Ends a process that has outlived [`DEADLINE`], so that the thread that waits for it ends too.
pub(super) struct Killer(pub(super) Option<Pid>);

impl Killer {
    /// It has ended by itself.
    pub(super) fn spare(mut self) {
        self.0 = None;
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            eprintln!("a process did not end within {DEADLINE:?} and is killed");
            kill_process(pid, Signal::KILL).unwrap_or_default();
        }
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- the gateway's standard error ---\n{}", self.stderr());
            eprintln!("--- the gateway's standard output ---\n{}", self.stdout().join("\n"));
        }
    }
}

/// The binary, in an environment that is the same everywhere. Compiled plugins are shared between the tests.
pub(super) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command
        .env_remove("PORTCULLIS_LOG")
        .env_remove("CACHE_DIRECTORY")
        .env_remove("RUNTIME_DIRECTORY")
        // What the machine says about registries is none of a test's business.
        .envs(
            ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"]
                .map(|name| (name, "")),
        )
        .env("REGISTRY_AUTH_FILE", "")
        .env("DOCKER_CONFIG", "/nowhere")
        .env("XDG_CONFIG_HOME", "/nowhere")
        .env("XDG_CACHE_HOME", PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cache"));
    command
}

/// The same command, with these limits of open files, soft and hard.
fn limited(command: Command, open_files: Option<(u64, u64)>) -> Command {
    let Some((soft, hard)) = open_files else { return command };
    let mut shell = Command::new("sh");
    let script = format!("ulimit -S -n {soft} && ulimit -H -n {hard} && exec \"$0\" \"$@\"");
    shell.args(["-c", &script]);
    inside(shell, &command)
}

/// Appends `command` to `outer`, which runs it in the same environment.
fn inside(mut outer: Command, command: &Command) -> Command {
    outer.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}

fn is_event(line: &LogLine, event: &str) -> bool {
    line.text("event") == Some(event)
}

fn write(path: &Path, bytes: &[u8]) {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&partial, bytes).unwrap();
    std::fs::rename(&partial, path).unwrap();
}
