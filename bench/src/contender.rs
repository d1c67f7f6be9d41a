//! The gateways that are compared, each set up to do the same work.
//!
//! One worker each, no access log, 64 kept connections to the upstream, the same forwarding fields, the same
//! certificate, and no limit on how many requests a connection may carry.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::pin::{Cores, Role};
use crate::process::{self, Guard, pause};
use crate::scenario::Scenario;

mod files;
mod kind;
mod nginx;
mod site;

pub(crate) use self::kind::Kind;
pub(crate) use self::site::Site;

/// How the names of files begin that callgrind writes.
const COUNTS: &str = "counts";

/// One of them, running.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) kind: Kind,
    pub(crate) version: String,
    binary: PathBuf,
    process: Guard,
    folder: PathBuf,
    log: PathBuf,
    plain: u16,
    tls: u16,
}

impl Contender {
    /// Starts it and waits until it accepts connections.
    pub(crate) fn start(kind: Kind, binary: &Path, site: &Site, cores: &Cores) -> Result<Self> {
        Self::start_in(kind, binary, site, cores, false)
    }

    /// Starts the gateway in callgrind.
    pub(crate) fn counted(binary: &Path, site: &Site, cores: &Cores) -> Result<Self> {
        Self::start_in(Kind::Portcullis, binary, site, cores, true)
    }

    fn start_in(kind: Kind, binary: &Path, site: &Site, cores: &Cores, counted: bool) -> Result<Self> {
        let (plain, tls) = free_ports()?;
        let folder = site.folder.join(format!("{kind}-{plain}"));
        std::fs::create_dir_all(&folder)?;
        let config = folder.join(if kind == Kind::Portcullis { "portcullis.toml" } else { "config" });
        std::fs::write(
            &config,
            files::config(kind, binary, site, &folder.display().to_string(), plain, tls),
        )?;
        let mut command = if counted {
            let mut command = cores.command(Role::Contender, Path::new("valgrind"));
            let counts = format!("--callgrind-out-file={}/{COUNTS}", folder.display());
            command.args(["--tool=callgrind", &counts]).arg(binary);
            command
        } else {
            cores.command(Role::Contender, binary)
        };
        match kind {
            Kind::Portcullis => command.args(["run", "--log-level", "warn", "-c"]).arg(&config),
            Kind::Nginx | Kind::NginxModules | Kind::NginxLua => {
                command.arg("-p").arg(&folder).arg("-e").arg("stderr").arg("-c").arg(&config)
            }
            Kind::Haproxy => command.arg("-db").arg("-f").arg(&config),
        };
        let log = folder.join("log");
        let output = std::fs::File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let version = kind.version(binary)?;
        let process = Guard::spawn(&mut command)?;
        let mut contender =
            Self { kind, version, binary: binary.to_owned(), process, folder, log, plain, tls };
        contender.wait_until_ready()?;
        Ok(contender)
    }

    /// Another process of the same kind, which has not done anything yet.
    pub(crate) fn fresh(&self, site: &Site, cores: &Cores) -> Result<Self> {
        Self::start(self.kind, &self.binary, site, cores)
    }

    /// Compiling plugins for the first time can take a while.
    fn wait_until_ready(&mut self) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(600);
        for port in [self.plain, self.tls] {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                self.check_alive()?;
                if Instant::now() >= until {
                    bail!("{} does not listen on port {port}; it said:\n{}", self.kind, self.said());
                }
                pause();
            }
        }
        Ok(())
    }

    pub(crate) fn check_alive(&mut self) -> Result<()> {
        match self.process.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}; it said:\n{}", self.kind, self.said()),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the files that callgrind has written, the newest last.
    pub(crate) fn counts(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let number =
                name.to_str().and_then(|name| name.strip_prefix(COUNTS)?.strip_prefix('.')?.parse().ok());
            files.extend(number.map(|number: u32| (number, self.folder.join(&name))));
        }
        files.sort();
        Ok(files.into_iter().map(|(_, path)| path).collect())
    }

    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string())
    }

    /// CPU time so far, of all its processes.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        process::cpu(self.process.id())
    }

    /// Resident memory of all its processes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        process::resident_bytes(self.process.id())
    }

    /// Where HTTP/1.1 is spoken without TLS.
    pub(crate) fn plain_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.plain))
    }

    pub(crate) fn url(&self, scenario: Scenario) -> String {
        let (scheme, port) = if scenario.is_tls() { ("https", self.tls) } else { ("http", self.plain) };
        format!("{scheme}://127.0.0.1:{port}/{}", scenario.path())
    }

    /// Where a path is found without TLS.
    pub(crate) fn plain_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.plain)
    }
}

/// Returns two free ports. Both are held while they are chosen, so that they differ.
fn free_ports() -> Result<(u16, u16)> {
    let bind = || std::net::TcpListener::bind("127.0.0.1:0").context("no port is free");
    let (first, second) = (bind()?, bind()?);
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}
