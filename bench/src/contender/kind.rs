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
    /// nginx that does the work of the policies with its own modules
    NginxModules,
    /// nginx that does the work of the policies in Lua
    NginxLua,
    Haproxy,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Portcullis, Self::Nginx, Self::NginxModules, Self::NginxLua, Self::Haproxy];

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
                        "there is no {}: build it with `cargo build --profile dist`, or name one with --portcullis PATH",
                        path.display()
                    );
                }
                Ok(Some(path))
            }
            (Self::Nginx | Self::NginxModules, _) => Ok(pin::find("nginx")),
            (Self::NginxLua, _) => {
                let nginx = pin::find("nginx");
                Ok(nginx.filter(|nginx| modules(nginx).is_some_and(|folder| folder.join(LUA).is_file())))
            }
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

    /// Returns the package of Debian that has it.
    pub(crate) const fn package(self) -> &'static str {
        match self {
            Self::Portcullis => "portcullis",
            Self::Nginx | Self::NginxModules => "nginx",
            Self::NginxLua => "libnginx-mod-http-lua",
            Self::Haproxy => "haproxy",
        }
    }

    /// Whether it takes part in a scenario. HAProxy has no policies, and nginx already stands for going without; its
    /// cache does not join requests, and has no files.
    pub(crate) fn takes(self, scenario: Scenario) -> bool {
        match self {
            Self::Portcullis | Self::Nginx => true,
            Self::NginxModules | Self::NginxLua => {
                matches!(scenario, Scenario::H1Policy1 | Scenario::H1Policy3)
            }
            Self::Haproxy => {
                scenario.policies() == 0 && !matches!(scenario, Scenario::CacheBurst | Scenario::Cache1MbDisk)
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portcullis => "portcullis",
            Self::Nginx => "nginx",
            Self::NginxModules => "nginx-modules",
            Self::NginxLua => "nginx-lua",
            Self::Haproxy => "haproxy",
        })
    }
}

/// The modules that nginx needs for Lua.
pub(super) const LUA: &str = "ngx_http_lua_module.so";
pub(super) const LUA_NEEDS: &str = "ndk_http_module.so";

/// Returns the folder of nginx's modules, which it says with its version.
pub(super) fn modules(nginx: &Path) -> Option<PathBuf> {
    let said = Command::new(nginx).arg("-V").output().ok()?.stderr;
    let said = String::from_utf8_lossy(&said);
    let path = said.split_whitespace().find_map(|word| word.strip_prefix("--modules-path="))?;
    Some(PathBuf::from(path))
}
