//! `cargo xtask languages`: the examples in other languages than Rust, built with those languages' own tools and tried
//! behind the real gateway.
//!
//! They are one policy, a list of keys, written in each language. A known key must be let in, an unknown one and none
//! must not, and a new list of a thousand keys must be live soon: that is what images of unchanged code are for.

mod build;
mod client;
mod gateway;
mod programs;
mod projects;
mod trial;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::tools::{cargo, passes, target};

/// What is promised for a release build.
const LIVE_WITHIN: Duration = Duration::from_secs(1);
/// For the build that the tests use.
const LIVE_WITHIN_DEV: Duration = Duration::from_secs(5);
/// A machine that has other things to do takes longer, but no larger part of the time that compiling takes it.
const LIVE_PART_DEV: u32 = 10;

const HELP: &str = "\
cargo xtask languages [--only NAME] [--gateway PATH] [--within SECONDS]

  --only NAME      javascript or python alone
  --gateway PATH   a release build of the gateway, which is held to what is promised; without it a dev build is made
  --within SECONDS how soon new keys must be live: 1 for a gateway that is named; else 5, or a tenth of the
                   time that it takes to start";

/// A language that has an example, `examples/NAME`.
struct Language {
    name: &'static str,
    /// The programs that build it, and what to do if one is missing.
    tools: &'static [(&'static str, &'static str)],
    build: fn(&Path) -> Result<()>,
}

const LANGUAGES: &[Language] = &[
    Language {
        name: "javascript",
        tools: &[
            ("node", "install Node.js 18 or newer, such as with `apt-get install nodejs`"),
            ("npm", "install npm, such as with `apt-get install npm`"),
        ],
        build: build::javascript,
    },
    Language {
        name: "python",
        tools: &[(
            "python3",
            "install Python 3.10 or newer with venv, such as with `apt-get install python3 python3-venv`",
        )],
        build: build::python,
    },
];

/// Runs what the command line asks for.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let (mut only, mut gateway, mut within) = (None, None, None);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match *word {
            "--only" => only = Some(*rest.next().context("--only wants the name of a language")?),
            "--gateway" => gateway = Some(*rest.next().context("--gateway wants a path")?),
            "--within" => within = Some(seconds(rest.next().copied())?),
            other => bail!("`{other}` is not understood\n{HELP}"),
        }
    }
    let chosen: Vec<&Language> =
        LANGUAGES.iter().filter(|language| only.is_none_or(|only| only == language.name)).collect();
    if chosen.is_empty() {
        bail!("there is no example in `{}`\n{HELP}", only.unwrap_or_default());
    }
    // All that is missing at once, before anything takes its time.
    let missing: Vec<String> = chosen.iter().flat_map(|language| language.missing()).collect();
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    let (gateway, promised) = match gateway {
        Some(path) => (
            PathBuf::from(path).canonicalize().with_context(|| format!("no gateway at {path}"))?,
            Some(LIVE_WITHIN),
        ),
        None => (dev_gateway()?, None),
    };
    for language in chosen {
        language.try_out(&gateway, within.or(promised))?;
    }
    Ok(())
}

/// The part of it that every change must pass: JavaScript, with the gateway that the tests use.
pub(crate) fn javascript() -> Result<()> {
    run(&["--only", "javascript"])
}

/// Policies in C, Go and Python, by the gateway's own `plugin new`, `plugin build` and `plugin test`.
pub(crate) fn projects() -> Result<()> {
    projects::run(&dev_gateway()?)
}

fn seconds(word: Option<&str>) -> Result<Duration> {
    let seconds = word.and_then(|word| word.parse().ok()).filter(|seconds| *seconds > 0.0);
    let within = seconds.and_then(|seconds| Duration::try_from_secs_f32(seconds).ok());
    within.context("--within wants a number of seconds, such as 2.5")
}

fn dev_gateway() -> Result<PathBuf> {
    if !passes(cargo().args(["build", "--quiet", "--package", "portcullis"]))? {
        bail!("the gateway does not build");
    }
    Ok(target().join("debug/portcullis"))
}

impl Language {
    fn missing(&self) -> Vec<String> {
        let missing = self.tools.iter().filter(|(tool, _)| !programs::is_there(tool, "--version"));
        missing
            .map(|(tool, help)| format!("`{tool}` for examples/{} is missing: {help}", self.name))
            .collect()
    }

    fn try_out(&self, gateway: &Path, within: Option<Duration>) -> Result<()> {
        let component = build::component(self)?;
        let megabytes = std::fs::metadata(&component)?.len() as f64 / 1e6;
        println!("{}: a component of {megabytes:.1} MB", self.name);
        for isolation in ["exchange", "worker"] {
            let tried = trial::run(self.name, &component, gateway, isolation)
                .with_context(|| format!("examples/{} with isolation = \"{isolation}\"", self.name))?;
            println!("  isolation = \"{isolation}\": {tried}");
            let within = within.unwrap_or_else(|| LIVE_WITHIN_DEV.max(tried.start / LIVE_PART_DEV));
            // Only images share their code with those of the last configuration.
            if isolation == "exchange" && tried.live > within {
                bail!(
                    "examples/{}: new keys were live after {:.2} s, and it may take {:.2} s",
                    self.name,
                    tried.live.as_secs_f32(),
                    within.as_secs_f32()
                );
            }
        }
        Ok(())
    }
}
