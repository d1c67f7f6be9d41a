//! What the project does with itself. `cargo xtask help` lists it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a command line tool")]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod check;
mod languages;
mod tools;
mod tree;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask check [NAME...]   what a machine can judge of the tree; all of it, or the checks named
cargo xtask list              the checks and what each one proves
cargo xtask record-contract   puts wit/ on record as its version: from then on it only grows
cargo xtask languages         builds the examples in other languages and tries them behind the gateway
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["check", names @ ..] => check::run(names),
        ["record-contract"] => check::record_contract().map(|()| true),
        ["languages", words @ ..] => languages::run(words).map(|()| true),
        ["list"] => {
            check::list();
            Ok(true)
        }
        ["help" | "--help" | "-h"] | [] => {
            print!("{HELP}");
            Ok(true)
        }
        [other, ..] => Err(anyhow::anyhow!("`{other}` is no task\n{HELP}")),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
