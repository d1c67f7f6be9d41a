//! What a request costs in the gateway, beside what it costs in nginx and HAProxy under the same load. README.md beside
//! this crate says how to read the answer.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a command line tool")]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod burst;
mod contender;
mod instructions;
mod load;
mod memory;
mod neighbour;
mod pin;
mod process;
mod report;
mod scenario;
mod upstream;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};

use contender::{Contender, Kind, Site};
use load::{Generator, Load};
use report::{Report, Sample};
use scenario::Scenario;

/// Measure CPU per request and memory per idle connection, beside nginx and HAProxy
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 110)]
struct Arguments {
    /// What to measure; repeat it for more than one [default: all]
    #[arg(long, value_enum)]
    scenario: Vec<Scenario>,
    /// How often each contender takes its turn
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long a turn is
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Client connections under load
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Connections that are held open to measure the memory of one
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    idle: u32,
    /// A quick look: 3 rounds of 2 seconds, 500 idle connections
    #[arg(long)]
    quick: bool,
    /// Write everything that was measured into a file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The gateway's binary [default: `portcullis` beside this one]
    #[arg(long, value_name = "PATH")]
    portcullis: Option<PathBuf>,
    /// Gateways to leave out
    #[arg(long, value_enum)]
    without: Vec<Kind>,
    /// Count the instructions of an exchange with valgrind instead, and compare them with bench/instructions.json
    #[arg(long)]
    instructions: bool,
    /// Be the server behind all contenders (this program starts itself so)
    #[arg(long, hide = true)]
    upstream: bool,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if arguments.quick {
        (arguments.rounds, arguments.seconds, arguments.idle) = (3, 2, 500);
    }
    let outcome = if arguments.upstream { upstream::serve().map(|()| true) } else { run(&arguments) };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures what was asked for. Returns whether instructions that were counted are as many as before.
fn run(arguments: &Arguments) -> Result<bool> {
    let cores = pin::Cores::find();
    let generator = Generator::find()?;
    let folder = tempfile::tempdir().context("cannot make a folder for the configurations")?;
    let (_upstream, port) = upstream::start(&cores)?;
    // Some more than are ever open, because some may still be closing.
    let connections = arguments.connections.max(arguments.idle).max(burst::REQUESTS) + 256;
    let site = Site::new(folder.path(), port, connections)?;

    if arguments.instructions {
        let binary =
            Kind::Portcullis.find(arguments.portcullis.as_deref())?.context("there is no gateway")?;
        return instructions::run(&binary, &site, &cores);
    }
    let mut contenders = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| !arguments.without.contains(kind)) {
        match kind.find(arguments.portcullis.as_deref())? {
            Some(binary) => contenders.push(Contender::start(kind, &binary, &site, &cores)?),
            None => println!("{kind} is not installed: it is left out (apt-get install {})", kind.package()),
        }
    }
    if contenders.is_empty() {
        bail!("no gateway is left to measure");
    }
    println!("{cores}; load: {generator}");
    for contender in &contenders {
        println!("{:<13} {}", contender.kind.to_string(), contender.version);
    }

    let scenarios: Vec<Scenario> = match arguments.scenario.as_slice() {
        [] => Scenario::value_variants().to_vec(),
        chosen => chosen.to_vec(),
    };
    let mut report = Report::default();
    for scenario in scenarios {
        println!("\n{}", scenario.title());
        if scenario == Scenario::Idle {
            idle(arguments.idle, &site, &cores, &contenders, &mut report)?;
        } else if scenario == Scenario::Neighbour {
            for contender in contenders.iter_mut().filter(|contender| contender.kind == Kind::Portcullis) {
                for round in 0..arguments.rounds {
                    let measured = neighbour::measure(contender, &generator, &cores, arguments.seconds)?;
                    println!("  round {:<2} {measured}", round + 1);
                    report.add_neighbour(measured);
                }
            }
        } else if scenario == Scenario::CacheBurst {
            for contender in contenders.iter_mut().filter(|contender| contender.kind.takes(scenario)) {
                for round in 0..arguments.rounds {
                    let measured = burst::measure(contender, &site, round)
                        .with_context(|| format!("{} in a burst", contender.kind))?;
                    println!("  round {:<2} {:<13} {measured}", round + 1, contender.kind.to_string());
                    report.add_burst(contender.kind, measured);
                }
            }
        } else {
            let before = site.kept_requests()?;
            requests(arguments, scenario, &generator, &cores, &mut contenders, &mut report)?;
            let asked = site.kept_requests()? - before;
            // While nothing is cached yet, a request of each connection may go there.
            if asked > u64::from(arguments.connections) * contenders.len() as u64 {
                bail!("{asked} requests of {} reached the upstream: those were no hits", scenario.name());
            }
        }
        report.print(scenario);
    }
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report.json(arguments, &contenders, &generator, &cores))?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("\nwritten to {}", path.display());
    }
    Ok(true)
}

/// Measures turns under load. Each contender has one turn in each round, in an order that rotates, so that neither a
/// slow moment of the machine nor the place in the order favours one of them.
fn requests(
    arguments: &Arguments,
    scenario: Scenario,
    generator: &Generator,
    cores: &pin::Cores,
    contenders: &mut [Contender],
    report: &mut Report,
) -> Result<()> {
    let load = |contender: &Contender, seconds: u32| Load {
        url: contender.url(scenario),
        http2: scenario.is_http2(),
        key: scenario.policies() > 0,
        connections: arguments.connections,
        duration: Duration::from_secs(u64::from(seconds)),
    };
    for contender in contenders.iter_mut().filter(|contender| contender.kind.takes(scenario)) {
        contender.check_alive()?;
        generator
            .run(&load(contender, 1), cores)
            .with_context(|| format!("{} while warming up", contender.kind))?;
    }
    for round in 0..arguments.rounds as usize {
        let count = contenders.len();
        for turn in 0..count {
            let Some(contender) = contenders.get_mut((turn + round) % count) else { continue };
            if !contender.kind.takes(scenario) {
                continue;
            }
            let before = contender.cpu()?;
            let answered = generator
                .run(&load(contender, arguments.seconds), cores)
                .with_context(|| format!("{} in {}", contender.kind, scenario.title()))?;
            let cpu = contender.cpu()?.saturating_sub(before);
            contender.check_alive()?;
            let sample = Sample::new(round, cpu, answered);
            println!("  round {:<2} {:<13} {}", round + 1, contender.kind.to_string(), sample);
            report.add(scenario, contender.kind, sample);
        }
    }
    Ok(())
}

fn idle(
    connections: u32,
    site: &Site,
    cores: &pin::Cores,
    contenders: &[Contender],
    report: &mut Report,
) -> Result<()> {
    for contender in contenders.iter().filter(|contender| contender.kind.takes(Scenario::Idle)) {
        // A process that was under load has free memory of its own, and would seem to need none.
        let mut fresh = contender.fresh(site, cores)?;
        let bytes = memory::per_connection(&fresh, connections)
            .with_context(|| format!("{} with idle connections", contender.kind))?;
        fresh.check_alive()?;
        report.add_idle(contender.kind, bytes);
    }
    Ok(())
}
