//! What a plugin that burns its whole deadline does to a route that has nothing to do with it.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::contender::Contender;
use crate::load::Generator;
use crate::pin::{Cores, Role};
use crate::process::Guard;

/// Client connections on the route that is watched, and on the one beside it.
const CONNECTIONS: u32 = 16;
const BURNING: u32 = 4;

/// The 99th percentile of one round, on the plain route.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Neighbour {
    /// With nothing else to do.
    pub(crate) alone: Duration,
    /// While each request of another route burns its policy's deadline.
    pub(crate) beside: Duration,
}

impl Neighbour {
    /// How much longer it takes.
    pub(crate) fn ratio(&self) -> f64 {
        self.beside.as_secs_f64() / self.alone.as_secs_f64().max(1e-9)
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p99 {:.2?} alone, {:.2?} beside it: {:.2}", self.alone, self.beside, self.ratio())
    }
}

/// One round. The plugin runs for a second before it is watched, so that the gateway has seen what it does.
pub(crate) fn measure(
    contender: &mut Contender,
    generator: &Generator,
    cores: &Cores,
    seconds: u32,
) -> Result<Neighbour> {
    let watched = contender.plain_url("");
    let alone = generator.p99(&watched, CONNECTIONS, seconds, cores).context("alone")?;
    let wrk = generator.wrk()?;
    let mut burning = cores.command(Role::Load, wrk);
    let longer = (seconds + 3).to_string();
    burning.args(["--threads", "1", "--connections", &BURNING.to_string(), "--duration", &longer]);
    burning.arg(contender.plain_url("burn/")).stdin(Stdio::null()).stdout(Stdio::null());
    let burning = Guard::spawn(&mut burning)?;
    generator.p99(&watched, CONNECTIONS, 1, cores).context("while it begins to burn")?;
    let beside = generator.p99(&watched, CONNECTIONS, seconds, cores).context("beside it")?;
    drop(burning);
    contender.check_alive()?;
    Ok(Neighbour { alone, beside })
}
