//! The load: wrk for HTTP/1.1 if it is installed, otherwise and for HTTP/2 h2load.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::pin::{self, Cores, Role};

/// The key that is sent with each request if the route asks for one.
pub(crate) const KEY_HEADER: &str = "x-api-key";
/// The key itself.
pub(crate) const KEY: &str = "bench-key";

/// Streams on each HTTP/2 connection.
const STREAMS: u32 = 10;

/// The programs that make load.
#[derive(Debug)]
pub(crate) struct Generator {
    wrk: Option<PathBuf>,
    h2load: Option<PathBuf>,
}

/// One turn.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) url: String,
    pub(crate) http2: bool,
    /// Whether the key is sent.
    pub(crate) key: bool,
    pub(crate) connections: u32,
    pub(crate) duration: Duration,
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Answered {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
}

impl Generator {
    pub(crate) fn find() -> Result<Self> {
        let found = Self { wrk: pin::find("wrk"), h2load: pin::find("h2load") };
        if found.wrk.is_none() && found.h2load.is_none() {
            bail!("there is nothing to make load with: apt-get install wrk nghttp2-client");
        }
        Ok(found)
    }

    /// wrk, which alone tells percentiles.
    pub(crate) fn wrk(&self) -> Result<&Path> {
        self.wrk.as_deref().context("wrk is not installed: apt-get install wrk")
    }

    /// The 99th percentile of response times under a load that waits for each answer.
    pub(crate) fn p99(&self, url: &str, connections: u32, seconds: u32, cores: &Cores) -> Result<Duration> {
        let program = self.wrk()?;
        let (connections, seconds) = (connections.to_string(), seconds.to_string());
        let words =
            ["--threads", "1", "--connections", &connections, "--duration", &seconds, "--latency", url];
        let output = cores.command(Role::Load, program).args(words).output();
        let output = output.with_context(|| format!("cannot run {}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        parse_wrk(&text)
            .and_then(|_| parse_p99(&text))
            .with_context(|| format!("wrk said:\n{text}{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Loads `load.url` for its duration. Fails if a response is not 2xx: a contender must not gain by refusing.
    pub(crate) fn run(&self, load: &Load, cores: &Cores) -> Result<Answered> {
        let seconds = load.duration.as_secs().to_string();
        let connections = load.connections.to_string();
        let header = format!("{KEY_HEADER}: {KEY}");
        let mut words: Vec<&str> = Vec::new();
        let streams = STREAMS.to_string();
        let wrk = self.wrk.as_deref().filter(|_| !load.http2);
        let program = match (wrk, self.h2load.as_deref()) {
            (Some(wrk), _) => {
                words.extend(["--threads", "1", "--connections", &connections, "--duration", &seconds]);
                wrk
            }
            (None, Some(h2load)) => {
                words.extend(["--threads", "1", "--clients", &connections, "--duration", &seconds]);
                match load.http2 {
                    true => words.extend(["--max-concurrent-streams", &streams]),
                    false => words.push("--h1"),
                }
                h2load
            }
            (None, None) => bail!("h2load is not installed: apt-get install nghttp2-client"),
        };
        if load.key {
            words.extend(["--header", &header]);
        }
        let output = cores.command(Role::Load, program).args(&words).arg(&load.url).output();
        let output = output.with_context(|| format!("cannot run {}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let answered = if wrk.is_some() { parse_wrk(&text) } else { parse_h2load(&text) };
        answered.with_context(|| {
            format!("{} said:\n{text}{}", program.display(), String::from_utf8_lossy(&output.stderr))
        })
    }
}

impl fmt::Display for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (&self.wrk, &self.h2load) {
            (Some(_), Some(_)) => "wrk for HTTP/1.1, h2load for HTTP/2",
            (Some(_), None) => "wrk for HTTP/1.1, none for HTTP/2",
            _ => "h2load",
        })
    }
}

/// `  123 requests in 5.01s, 45.67MB read`, `Requests/sec: 24.6`, and perhaps lines that tell of failures.
fn parse_wrk(text: &str) -> Result<Answered> {
    if let Some(line) = text.lines().find(|line| line.contains("Non-2xx") || line.contains("Socket errors")) {
        bail!("not every request was answered with 2xx: {}", line.trim());
    }
    let before =
        |mark: &str| text.lines().find_map(|line| line.split_once(mark)).map(|(before, _)| before.trim());
    let after =
        |mark: &str| text.lines().find_map(|line| line.split_once(mark)).map(|(_, after)| after.trim());
    let requests = before(" requests in ").and_then(|number| number.parse().ok());
    let per_second = after("Requests/sec:").and_then(|number| number.parse().ok());
    answered(requests, per_second)
}

/// `     99%    1.23ms` among wrk's percentiles.
fn parse_p99(text: &str) -> Result<Duration> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix("99%")).unwrap_or_default().trim();
    let digits = value.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let seconds_each = match &value[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => bail!("its percentiles have another form than this program knows"),
    };
    let number: f64 = digits.parse().context("its percentiles have another form than this program knows")?;
    Ok(Duration::from_secs_f64(number * seconds_each))
}

/// `finished in 5.00s, 24.60 req/s, ...` and
/// `requests: 123 total, 123 started, 123 done, 123 succeeded, 0 failed, ...`.
fn parse_h2load(text: &str) -> Result<Answered> {
    let line = |mark: &str| text.lines().find_map(|line| line.strip_prefix(mark));
    let counts = line("requests: ").unwrap_or_default();
    let count = |name: &str| -> Option<u64> {
        let part = counts.split(", ").find_map(|part| part.strip_suffix(name));
        part?.trim().parse().ok()
    };
    let answered_2xx: Option<u64> = line("status codes: ")
        .and_then(|rest| rest.split(" 2xx").next())
        .and_then(|number| number.trim().parse().ok());
    let (done, failed) = (count("succeeded"), count("failed"));
    // Requests under way when the time is over count as neither.
    if failed != Some(0) || answered_2xx < done {
        bail!("not every request was answered with 2xx: {counts}");
    }
    let per_second =
        line("finished in ").and_then(|rest| rest.split(", ").nth(1)?.strip_suffix(" req/s")?.parse().ok());
    answered(done, per_second)
}

fn answered(requests: Option<u64>, per_second: Option<f64>) -> Result<Answered> {
    match (requests, per_second) {
        (Some(0), _) => bail!("no request was answered"),
        (Some(requests), Some(per_second)) => Ok(Answered { requests, per_second }),
        _ => bail!("its output has another form than this program knows"),
    }
}

#[cfg(test)]
mod tests;
