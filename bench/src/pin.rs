//! Which core runs what.
//!
//! The contender has a core for itself, and load and upstream have the others: on two cores both on the second one, on
//! more each apart. CPU per request hardly depends on whether the contender is kept busy all the time, but it would on
//! moving between cores and on sharing one.

use std::fmt;
use std::path::Path;
use std::process::Command;

/// How processes are kept apart.
#[derive(Debug)]
pub(crate) struct Cores {
    count: usize,
    taskset: bool,
    /// `setpriv --pdeathsig` ends a child when this process is killed, when no destructor runs.
    setpriv: bool,
    processor: String,
}

/// What a process does in a measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    Contender,
    Upstream,
    Load,
}

impl Cores {
    pub(crate) fn find() -> Self {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let (taskset, setpriv) = (find("taskset").is_some(), find("setpriv").is_some());
        Self { count, taskset, setpriv, processor: processor() }
    }

    /// A command for `program` on the cores of its role.
    pub(crate) fn command(&self, role: Role, program: &Path) -> Command {
        let mut words: Vec<String> = Vec::new();
        if self.setpriv {
            words.extend(["setpriv", "--pdeathsig", "TERM"].map(str::to_owned));
        }
        if let Some(cores) = self.cores(role) {
            words.extend(["taskset".to_owned(), "--cpu-list".to_owned(), cores]);
        }
        let mut words = words.into_iter();
        match words.next() {
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(program);
                command
            }
            None => Command::new(program),
        }
    }

    fn cores(&self, role: Role) -> Option<String> {
        if !self.taskset || self.count < 2 {
            return None;
        }
        Some(match (role, self.count) {
            (Role::Contender, _) => "0".to_owned(),
            (_, 2) | (Role::Upstream, _) => "1".to_owned(),
            (Role::Load, count) => format!("2-{}", count - 1),
        })
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}; ", self.count, self.processor)?;
        match (self.cores(Role::Contender), self.cores(Role::Upstream), self.cores(Role::Load)) {
            (Some(contender), Some(upstream), Some(load)) => {
                write!(f, "cores: contender {contender}, upstream {upstream}, load {load}")
            }
            _ if self.count < 2 => f.write_str("one core for all: the figures are worth little"),
            _ => f.write_str("cores: not pinned, for there is no taskset; the figures vary more"),
        }
    }
}

/// The name of the processor, without which no figure means anything.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// Returns a program on the PATH, or in the folders for servers, which are not on the PATH of every user.
pub(crate) fn find(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}
