//! Children that end with us, and what /proc says of them.

use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result};

/// `/proc` counts CPU time in USER_HZ, which is 100 on every Linux that we build for.
const TICK: Duration = Duration::from_millis(10);

/// A child that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        command.spawn().map(Self).with_context(|| format!("cannot start {command:?}"))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Returns how it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        Ok(self.0.try_wait()?)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // nginx's workers must end with their master, which ends them only on SIGTERM. `kill` is on every system.
        let polite = |id: u32| Command::new("kill").args(["-TERM", &id.to_string()]).status().is_ok();
        let until = std::time::Instant::now() + Duration::from_secs(2);
        if matches!(self.0.try_wait(), Ok(None)) && polite(self.0.id()) {
            while matches!(self.0.try_wait(), Ok(None)) && std::time::Instant::now() < until {
                pause();
            }
        }
        let (_, _) = (self.0.kill(), self.0.wait());
    }
}

/// Waits a little, between two looks at something that this process cannot be told of.
#[expect(
    clippy::disallowed_methods,
    reason = "this thread does nothing else, and a look at /proc has no event"
)]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// CPU time of a process and all its descendants, those that have ended included.
pub(crate) fn cpu(root: u32) -> Result<Duration> {
    let ticks: u64 = tree(root)?.iter().map(|stat| stat.ticks).sum();
    Ok(TICK * u32::try_from(ticks).context("too long a time")?)
}

/// Resident memory of a process and all its descendants. Pages that they share count for each.
pub(crate) fn resident_bytes(root: u32) -> Result<u64> {
    let mut kib = 0;
    for stat in tree(root)? {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", stat.id)).context("a process ended")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
        kib += line.trim_end_matches("kB").trim().parse::<u64>().context("/proc has another form")?;
    }
    Ok(kib * 1024)
}

/// What `/proc/ID/stat` says, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stat {
    id: u32,
    parent: u32,
    ticks: u64,
}

fn tree(root: u32) -> Result<Vec<Stat>> {
    let mut children: BTreeMap<u32, Vec<Stat>> = BTreeMap::new();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("this needs Linux's /proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // Processes come and go while we look.
        let Ok(text) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        let stat =
            parse_stat(id, &text).with_context(|| format!("/proc/{id}/stat has another form: {text}"))?;
        if id == root {
            found.push(stat);
        } else {
            children.entry(stat.parent).or_default().push(stat);
        }
    }
    anyhow::ensure!(!found.is_empty(), "process {root} has ended");
    let mut at = 0;
    while let Some(stat) = found.get(at) {
        found.extend(children.remove(&stat.id).unwrap_or_default());
        at += 1;
    }
    Ok(found)
}

fn parse_stat(id: u32, text: &str) -> Option<Stat> {
    // The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // Counted from the third: parent is the 4th; utime, stime, cutime and cstime are the 14th to 17th.
    let ticks = (11..15).map(number).sum::<Option<u64>>()?;
    Some(Stat { id, parent: u32::try_from(number(1)?).ok()?, ticks })
}

#[cfg(test)]
mod tests {
    use super::{Stat, cpu, parse_stat, resident_bytes};

    #[test]
    fn reads_a_line_of_proc_whatever_the_program_is_called() {
        let line = "77 (a) b (c) S 12 77 77 0 -1 4194560 1 2 3 4 100 20 3 1 20 0 1 0 5 6 7";
        assert_eq!(parse_stat(77, line), Some(Stat { id: 77, parent: 12, ticks: 124 }));
        assert_eq!(parse_stat(77, "77 (a) S 12"), None);
    }

    #[test]
    fn sees_this_process() {
        assert!(cpu(std::process::id()).is_ok());
        assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
        assert!(cpu(u32::MAX).is_err());
    }
}
