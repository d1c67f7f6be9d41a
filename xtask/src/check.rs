//! `cargo xtask check`: what a machine can judge.

mod circles;
mod contract;
mod docs;
mod functions;
mod graph;
mod outcome;
mod packages;
mod prose;
mod rust;
mod sdk;
mod words;

use std::time::Instant;

use anyhow::{Result, bail};

pub(crate) use self::contract::record as record_contract;
use self::outcome::Outcome;
use crate::languages;
use crate::tools::{cargo, cargo_tool, passes};

/// cargo-deny's version is fixed, so that a new one does not turn a green tree red.
const CARGO_DENY: &str = "0.20.2";

/// A check by name.
struct Check {
    name: &'static str,
    proves: &'static str,
    /// What to do when it fails.
    help: &'static str,
    run: fn() -> Result<Outcome>,
}

/// The quick ones first.
const CHECKS: &[Check] = &[
    Check {
        name: "format",
        proves: "rustfmt has nothing to change",
        help: "run `cargo fmt --all`",
        run: || command(cargo().args(["fmt", "--all", "--", "--check"])),
    },
    Check {
        name: "length",
        proves: "no source file is over 600 lines",
        help: "split the file by subject; a table that reads better whole is listed with its reason in xtask/src/check/words.rs",
        run: || words::lengths().map(Outcome::from),
    },
    Check {
        name: "leftovers",
        proves: "nothing is left for later, silenced without a word, or tied to one machine",
        help: "finish it, or open an issue and leave it out of the source",
        run: || words::forbidden().map(Outcome::from),
    },
    Check {
        name: "functions",
        proves: "no function is over 100 lines",
        help: "split it; a function that reads better whole is listed with its reason in xtask/src/check/functions.rs",
        run: functions::check,
    },
    Check {
        name: "circles",
        proves: "no more files of a crate use each other in a circle than before",
        help: "move what both need to a file of its own, or hand it over as a parameter",
        run: circles::check,
    },
    Check {
        name: "columns",
        proves: "no line of a comment or a document is over 120 columns",
        help: "wrap it",
        run: || prose::columns().map(Outcome::from),
    },
    Check {
        name: "words",
        proves: "comments and documents are in plain English, as far as the rate of some words shows it",
        help: "write `if` for a condition and keep `where` for places; name who does something",
        run: || prose::rates().map(Outcome::from),
    },
    Check {
        name: "graph",
        proves: "each crate uses the crates that ARCHITECTURE.md lets it use, all of them and no others",
        help: "move the code to where its dependency is allowed; a new edge is a change of design, of ARCHITECTURE.md and of xtask/src/check/graph.rs",
        run: || graph::check().map(Outcome::from),
    },
    Check {
        name: "links",
        proves: "every link between the documents leads somewhere, and every test that a promise names is there",
        help: "correct the path, the heading or the name of the test",
        run: || docs::links().map(Outcome::from),
    },
    Check {
        name: "contract",
        proves: "a component that was built for a version of wit/ that is on record still loads, and wit/digest is current",
        help: "wit/README.md says what can be added; `cargo xtask record-contract` puts a version on record",
        run: contract::check,
    },
    Check {
        name: "bindings",
        proves: "the SDK's bindings, which are checked in, are those of wit/",
        help: "run `PORTCULLIS_BLESS=1 cargo xtask check bindings`",
        run: || sdk::bindings().map(Outcome::from),
    },
    Check {
        name: "package",
        proves: "the SDK can be published as it is: its packages have all that they are built from",
        help: "what a package needs lies inside of it; what it leaves out is in `exclude` of its Cargo.toml",
        run: sdk::package,
    },
    Check {
        name: "deny",
        proves: "licences, sources and doubled versions are as deny.toml has them",
        help: "read deny.toml: each entry has its reason; a new one needs one as well",
        run: deny,
    },
    Check {
        name: "clippy",
        proves: "clippy has nothing to say about any target",
        help: "mend it, or `#[expect(lint, reason = \"...\")]` if it is right as it is",
        run: || {
            command(cargo().args([
                "clippy",
                "--workspace",
                "--all-targets",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ]))
        },
    },
    Check {
        name: "rustdoc",
        proves: "the links inside the doc comments lead somewhere",
        help: "correct the link, or write `code` if none is meant",
        run: || {
            let mut doc = cargo();
            doc.env("RUSTDOCFLAGS", "-D rustdoc::broken_intra_doc_links");
            command(doc.args(["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"]))
        },
    },
    Check {
        name: "examples",
        proves: "the configurations and commands in the documents are accepted by the gateway as built",
        help: "correct the document, or the gateway",
        run: || docs::examples().map(Outcome::from),
    },
    Check {
        name: "javascript",
        proves: "the policy in JavaScript builds, runs in both isolations, and has a new configuration live in time",
        help: "`cargo xtask languages --only javascript` runs it alone; it takes node, npm and a registry of npm's",
        run: || languages::javascript().map(|()| Outcome::default()),
    },
    Check {
        name: "languages",
        proves: "new policies in C, Go and Python build, and do in both isolations what tests/languages expects of them",
        help: "it takes go, python3 with venv, and an index of pip's; the cases are run by `portcullis plugin test`",
        run: || languages::projects().map(|()| Outcome::default()),
    },
];

/// Runs the named checks, or all. Returns `false` if one of them failed.
pub(crate) fn run(names: &[&str]) -> Result<bool> {
    if let Some(unknown) = names.iter().find(|name| CHECKS.iter().all(|check| check.name != **name)) {
        bail!("`{unknown}` is no check; `cargo xtask list` names them");
    }
    let chosen = CHECKS.iter().filter(|check| names.is_empty() || names.contains(&check.name));
    let mut failed = Vec::new();
    for check in chosen {
        let since = Instant::now();
        // A check that cannot run has failed: a missing tool must not look like a clean tree.
        let Outcome { findings, figures } =
            (check.run)().unwrap_or_else(|error| vec![format!("{error:#}")].into());
        let verdict = if findings.is_empty() { "ok" } else { "FAILED" };
        println!("check {:<10} {verdict} ({:.1} s)", check.name, since.elapsed().as_secs_f32());
        figures.iter().for_each(|figure| println!("  {figure}"));
        if !findings.is_empty() {
            failed.push(check.name);
            findings.iter().for_each(|finding| println!("  {finding}"));
            println!("  help: {}", check.help);
        }
    }
    if failed.is_empty() {
        println!("all checks passed");
    } else {
        println!("failed: {}; once mended, try `cargo xtask check {}`", failed.join(", "), failed.join(" "));
    }
    Ok(failed.is_empty())
}

/// Prints the checks.
pub(crate) fn list() {
    for check in CHECKS {
        println!("{:<10} {}", check.name, check.proves);
    }
}

/// A command that prints what it finds by itself.
fn command(command: &mut std::process::Command) -> Result<Outcome> {
    let findings = if passes(command)? { Vec::new() } else { vec!["what it found stands above".to_owned()] };
    Ok(findings.into())
}

fn deny() -> Result<Outcome> {
    let mut deny = std::process::Command::new(cargo_tool("deny", CARGO_DENY)?);
    // Not `advisories`: it clones a database from a git host, and this must work with a crate registry alone. With a
    // network, run `cargo deny check advisories`.
    command(deny.args(["--locked", "--log-level", "error", "check", "bans", "licenses", "sources"]))
}
