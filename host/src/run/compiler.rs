//! Compiling a plugin whose code may take long, or much memory, in a process of its own: this binary once more, with
//! limits that the kernel keeps. Whatever such a plugin has in it, the gateway goes on serving.
//!
//! The process leaves the code in the cache for the gateway. Without a cache it has shown that the
//! gateway may compile the plugin itself.

use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use portcullis_model::{Isolation, Server};
use portcullis_sandbox::{Compiler, Sandbox, SandboxError, SandboxOptions};
use rustix::process::{Resource, Rlimit, Signal};

use crate::cli::CompileArguments;
use crate::output::print;
use crate::plugins::PLUGIN_BYTES_MAX;
use portcullis_model::text::escape as shown;

/// What the process says when it is done, so that nothing else passes for it.
const DONE: &str = "compiled\n";
/// Places for instances: the process makes none, and a pool has memory for each.
const INSTANCES_MAX: u32 = 4;
/// A compilation that uses less than this in the other time stands still. The lowest share that a process of its
/// priority gets of two cores beside a hundred busy processes is ten times as much.
const PROGRESS_CPU: Duration = Duration::from_millis(10);
const PROGRESS_WITHIN: Duration = Duration::from_secs(120);
/// Bytes of its output that are reported.
const REASON_BYTES_MAX: usize = 4 << 10;

/// Starts such processes.
#[derive(Debug)]
pub(crate) struct ChildCompiler {
    cache_dir: Option<PathBuf>,
    memory_bytes: u64,
    time: Duration,
}

impl ChildCompiler {
    /// For a gateway with these settings, which keeps code in `cache_dir`.
    pub(crate) fn new(server: &Server, cache_dir: Option<PathBuf>) -> Self {
        Self { cache_dir, memory_bytes: server.policy_compile_memory_bytes, time: server.policy_compile_time }
    }

    fn command(&self, isolation: Isolation) -> Command {
        // The file that runs, also if another version has been put in its place since.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg("compile-plugin")
            .args(["--isolation", isolation.name()])
            .args(["--memory-bytes", &self.memory_bytes.to_string()])
            .args(["--seconds", &self.time.as_secs().max(1).to_string()]);
        if let Some(dir) = &self.cache_dir {
            command.arg("--cache-dir").arg(dir);
        }
        // Nothing of the gateway's environment is needed. The allocator would take a gigabyte at once, which would
        // count.
        command.env_clear().env("MIMALLOC_ARENA_EAGER_COMMIT", "0");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Compiler for ChildCompiler {
    fn compile(&self, component: &[u8], isolation: Isolation) -> Result<(), SandboxError> {
        let failed = |what: &str, error: std::io::Error| {
            SandboxError::Compile(format!("the process that compiles it cannot be {what}: {error}"))
        };
        let mut child = self.command(isolation).spawn().map_err(|error| failed("started", error))?;
        // It reads all before it writes anything. If it ended early, its status says why.
        if let Some(mut stdin) = child.stdin.take() {
            drop(stdin.write_all(component));
        }
        let output = child.wait_with_output().map_err(|error| failed("waited for", error))?;
        if output.status.success() && output.stdout == DONE.as_bytes() {
            return Ok(());
        }
        Err(SandboxError::Compile(self.reason(output.status, &String::from_utf8_lossy(&output.stderr))))
    }
}

impl ChildCompiler {
    /// Why it did not end well.
    fn reason(&self, status: ExitStatus, said: &str) -> String {
        let said = said.trim();
        let signal = status.signal();
        if signal == Some(Signal::XCPU.as_raw()) {
            return format!(
                "it takes more than {} s of CPU time: its functions are too large, or too many \
                 (`server.policy-compile-time`)",
                self.time.as_secs().max(1)
            );
        }
        let out_of_memory = signal == Some(Signal::KILL.as_raw())
            || (signal == Some(Signal::ABORT.as_raw()) && said.contains("memory allocation"))
            || said.contains("Cannot allocate memory");
        if out_of_memory {
            return format!(
                "it takes more than {} MiB of memory: its functions are too large (`server.policy-compile-memory`)",
                self.memory_bytes >> 20
            );
        }
        let said = &said[..said.floor_char_boundary(REASON_BYTES_MAX)];
        match signal {
            Some(signal) => format!("the process that compiles it was ended by signal {signal}: {said}"),
            None => said.strip_prefix("error: ").unwrap_or(said).to_owned(),
        }
    }
}

/// Logs that a plugin is being compiled if that takes more than a moment, so that it is clear what the gateway waits
/// for.
pub(crate) struct LongCompileNotice {
    /// Dropped when it is done.
    _done: Option<mpsc::SyncSender<()>>,
}

impl LongCompileNotice {
    pub(crate) fn begin(plugin: &str) -> Self {
        /// Most are compiled by then, or come from the cache.
        const MOMENT: Duration = Duration::from_secs(1);
        let (done, wait) = mpsc::sync_channel(1);
        let plugin = shown(plugin).into_owned();
        let thread = std::thread::Builder::new().name("compiling".to_owned()).spawn(move || {
            if wait.recv_timeout(MOMENT) == Err(mpsc::RecvTimeoutError::Timeout) {
                tracing::info!("compiling {plugin}, once; this may take a minute");
            }
        });
        // Without the thread only the log line is missing.
        Self { _done: thread.is_ok().then_some(done) }
    }
}

/// What the process does: takes limits, reads the component from standard input, and compiles it into the cache.
///
/// # Errors
/// If a limit cannot be set, or the component does not compile.
pub(crate) fn run(arguments: &CompileArguments) -> anyhow::Result<ExitCode> {
    limit(arguments).context("the limits of the process that compiles cannot be set")?;
    let (cache_dir, worker) = (arguments.cache_dir.clone(), arguments.isolation == Isolation::Worker.name());
    let (done, outcome) = mpsc::sync_channel(1);
    std::thread::Builder::new().name("compile".to_owned()).spawn(move || {
        let isolation = if worker { Isolation::Worker } else { Isolation::Exchange };
        // It fails only if the waiting thread has given up.
        drop(done.send(compile(cache_dir, isolation)));
    })?;
    while_it_progresses(&outcome, cpu_time, PROGRESS_WITHIN)?;
    print(DONE)
}

/// Waits for the outcome for as long as the compilation uses CPU time, of which the process has a limited amount. On a
/// busy machine that can take many times the limit: other processes come first.
///
/// # Errors
/// What the compilation failed of, or that it stands still.
fn while_it_progresses(
    outcome: &mpsc::Receiver<anyhow::Result<()>>,
    cpu_time: impl Fn() -> Duration,
    within: Duration,
) -> anyhow::Result<()> {
    let mut used = cpu_time();
    loop {
        match outcome.recv_timeout(within) {
            Ok(outcome) => return outcome,
            Err(mpsc::RecvTimeoutError::Disconnected) => anyhow::bail!("its thread ended without a result"),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        let now = cpu_time();
        if now.saturating_sub(used) < PROGRESS_CPU {
            anyhow::bail!("it made no progress in {} s", within.as_secs());
        }
        used = now;
    }
}

/// CPU time that all threads of this process have used.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn compile(cache_dir: Option<PathBuf>, isolation: Isolation) -> anyhow::Result<()> {
    let mut component = Vec::new();
    std::io::stdin().take(PLUGIN_BYTES_MAX).read_to_end(&mut component).context("no component came")?;
    let options = SandboxOptions { cache_dir, instances_max: INSTANCES_MAX, ..SandboxOptions::default() };
    Ok(Sandbox::new(options)?.rehearse(&component, isolation)?)
}

fn limit(arguments: &CompileArguments) -> std::io::Result<()> {
    let set = |resource, current: u64, maximum: u64| {
        let limit = Rlimit { current: Some(current), maximum: Some(maximum) };
        rustix::process::setrlimit(resource, limit).map_err(std::io::Error::from)
    };
    // What is private and written counts, and not the address space that is reserved for memories.
    set(Resource::Data, arguments.memory_bytes, arguments.memory_bytes)?;
    // The first limit ends it with a signal that says why.
    set(Resource::Cpu, arguments.seconds, arguments.seconds + 5)?;
    set(Resource::Core, 0, 0)?;
    // A gateway that was killed leaves nothing behind.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // Workers first; and if memory runs out all the same, this goes rather than the gateway. Neither is a must.
    let _as_it_was = rustix::process::setpriority_process(None, 10);
    let _as_it_was = std::fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[test]
    fn a_compilation_is_waited_for_while_it_uses_cpu_time() {
        let (done, outcome) = mpsc::sync_channel(1);
        let looks = Cell::new(0);
        let cpu_time = || {
            looks.set(looks.get() + 1);
            if looks.get() == 100 {
                done.send(Ok(())).unwrap();
            }
            PROGRESS_CPU * looks.get()
        };
        while_it_progresses(&outcome, cpu_time, SOON).unwrap();
        assert_eq!(looks.get(), 100);
    }

    #[test]
    fn one_that_stands_still_is_given_up() {
        let (done, outcome) = mpsc::sync_channel(1);
        let error = while_it_progresses(&outcome, || PROGRESS_CPU, SOON).unwrap_err();
        assert!(error.to_string().starts_with("it made no progress"), "{error}");
        drop(done);
        let error = while_it_progresses(&outcome, || PROGRESS_CPU, SOON).unwrap_err();
        assert!(error.to_string().contains("without a result"), "{error}");
    }

    #[test]
    fn the_cpu_time_of_this_process_grows() {
        let before = cpu_time();
        while cpu_time() == before {
            std::hint::spin_loop();
        }
    }
}
