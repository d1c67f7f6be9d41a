//! The gateways by name.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::pin;
use crate::scenario::Scenario;

/// A gateway that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    Portcullis,
    Nginx,
    Haproxy,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Portcullis, Self::Nginx, Self::Haproxy];

    /// Returns its binary, or `None` if it is not installed. Only the gateway itself must be.
    pub(crate) fn find(self, given: Option<&Path>) -> Result<Option<PathBuf>> {
        match (self, given) {
            (Self::Portcullis, Some(path)) => {
                let path = path.canonicalize().with_context(|| format!("there is no {}", path.display()))?;
                Ok(Some(path))
            }
            (Self::Portcullis, None) => {
                let path = std::env::current_exe()?.with_file_name("portcullis");
                if !path.is_file() {
                    bail!(
                        "there is no {}: build it with `cargo build --release`, or name one with --portcullis PATH",
                        path.display()
                    );
                }
                Ok(Some(path))
            }
            (Self::Nginx, _) => Ok(pin::find("nginx")),
            (Self::Haproxy, _) => Ok(pin::find("haproxy")),
        }
    }

    /// Returns the first line of what its binary prints as its version.
    pub(super) fn version(self, binary: &Path) -> Result<String> {
        let flag = if self == Self::Portcullis { "--version" } else { "-v" };
        let output = Command::new(binary)
            .arg(flag)
            .output()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        // nginx prints its version on standard error.
        let text = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or("").to_owned())
    }

    /// Whether it takes part in a scenario. HAProxy has no policies, and nginx already stands for going without.
    pub(crate) fn takes(self, scenario: Scenario) -> bool {
        scenario.policies() == 0 || self != Self::Haproxy
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portcullis => "portcullis",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        })
    }
}
