//! How many instructions one exchange takes in the gateway, counted by callgrind.
//!
//! A count varies by a thousandth where times vary by a tenth, so that a change which costs little by little is seen.
//! Those of the kernel are not counted, and code runs as without a pool of instances, for which valgrind has no room:
//! compare a count with an earlier count and with nothing else.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::contender::{Contender, Site};
use crate::load::{KEY, KEY_HEADER};
use crate::pin::{self, Cores};
use crate::process;
use crate::scenario::Scenario;

/// The figures that were measured last, and what a new one may differ by.
const EXPECTED: &str = include_str!("../instructions.json");
const TOLERANCE: f64 = 0.03;

/// Exchanges before the count begins, and those that are counted.
const WARM_UP: u32 = 300;
const COUNTED: u32 = 1000;

/// What is counted: an exchange that is forwarded, one that the cache answers, and one with three policies.
const EXCHANGES: [(&str, Scenario); 3] =
    [("plain", Scenario::H1), ("hit", Scenario::Cache100B), ("three-policies", Scenario::H1Policy3)];

/// Counts, prints the counts and compares them with those of before. Returns whether all are within the tolerance.
pub(crate) fn run(binary: &Path, site: &Site, cores: &Cores) -> Result<bool> {
    for program in ["valgrind", "callgrind_control"] {
        pin::find(program)
            .with_context(|| format!("{program} is not installed: apt-get install valgrind"))?;
    }
    let expected: BTreeMap<String, f64> =
        serde_json::from_str(EXPECTED).context("bench/instructions.json is no list of counts")?;
    println!("starting the gateway in valgrind, which takes a minute");
    let mut gateway = Contender::counted(binary, site, cores)?;
    let mut all_good = true;
    for (name, scenario) in EXCHANGES {
        let counted = count(&mut gateway, scenario)
            .with_context(|| format!("the gateway said:\n{}", gateway.said()))?;
        let before = expected.get(name).with_context(|| format!("bench/instructions.json has no {name}"))?;
        let change = counted / before - 1.0;
        let good = change.abs() <= TOLERANCE;
        all_good &= good;
        let verdict = if good { "" } else { "  NOT AS BEFORE" };
        println!("{name:<15} {counted:>8.0}  before {before:>8.0}  {:>+6.1} %{verdict}", change * 100.0);
    }
    if !all_good {
        println!("if that is meant, write the new counts into bench/instructions.json");
    }
    Ok(all_good)
}

/// Returns the instructions of one exchange.
fn count(gateway: &mut Contender, scenario: Scenario) -> Result<f64> {
    send(gateway.plain_address(), scenario, WARM_UP)?;
    control("-z", gateway)?;
    send(gateway.plain_address(), scenario, COUNTED)?;
    let seen = gateway.counts()?.len();
    control("-d", gateway)?;
    // It writes the file after it has answered.
    let mut totals = None;
    for _ in 0..500 {
        gateway.check_alive()?;
        let files = gateway.counts()?;
        totals = files.last().filter(|_| files.len() > seen).and_then(|file| totals_in(file));
        if totals.is_some() {
            break;
        }
        process::pause();
    }
    let totals = totals.context("callgrind has written no totals")?;
    Ok(totals as f64 / f64::from(COUNTED))
}

/// Sends a command to callgrind in the gateway's process.
fn control(command: &str, gateway: &Contender) -> Result<()> {
    let output = Command::new("callgrind_control").args([command, &gateway.id().to_string()]).output()?;
    let said = [output.stdout, output.stderr].concat();
    anyhow::ensure!(output.status.success(), "callgrind_control said: {}", String::from_utf8_lossy(&said));
    Ok(())
}

/// Reads `totals: 123`, which is at the end.
fn totals_in(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().rev().find_map(|line| line.strip_prefix("totals:"))?.trim().parse().ok()
}

/// Sends requests over one connection, each when the one before it is answered.
fn send(address: SocketAddr, scenario: Scenario, requests: u32) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_nodelay(true)?;
    let path = scenario.path();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: localhost\r\n{KEY_HEADER}: {KEY}\r\n\r\n");
    for _ in 0..requests {
        stream.write_all(request.as_bytes())?;
        let (mut response, mut buffer) = (Vec::new(), [0; 2048]);
        while !is_whole(&response) {
            let read = stream.read(&mut buffer)?;
            response.extend_from_slice(buffer.get(..read).unwrap_or_default());
            if read == 0 {
                bail!("it closed the connection after {:?}", String::from_utf8_lossy(&response));
            }
        }
        if !response.starts_with(b"HTTP/1.1 200") {
            bail!("it answered {:?}", String::from_utf8_lossy(&response));
        }
    }
    Ok(())
}

/// Whether a response of 100 bytes is complete.
fn is_whole(response: &[u8]) -> bool {
    let end = response.windows(4).position(|window| window == b"\r\n\r\n");
    end.is_some_and(|end| response.len() >= end + 4 + 100 || !response.starts_with(b"HTTP/1.1 200"))
}

#[cfg(test)]
mod tests {
    use super::{EXCHANGES, EXPECTED, is_whole};

    #[test]
    fn each_count_has_one_to_compare_with() {
        let expected: serde_json::Value = serde_json::from_str(EXPECTED).unwrap();
        for (name, _) in EXCHANGES {
            assert!(expected.get(name).is_some_and(|count| count.as_f64() > Some(1000.0)), "{name}");
        }
    }

    #[test]
    fn a_response_is_complete_with_its_last_byte() {
        let response = [&b"HTTP/1.1 200 OK\r\na: b\r\n\r\n"[..], &[b'x'; 100]].concat();
        assert!(is_whole(&response) && !is_whole(&response[..response.len() - 1]));
        assert!(is_whole(b"HTTP/1.1 503 \r\n\r\n") && !is_whole(b"HTTP/1.1 503 \r\n"));
    }
}
