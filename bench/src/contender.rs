//! The gateways that are compared, each set up to do the same work.
//!
//! One worker each, no access log, 64 kept connections to the upstream, the same forwarding fields, the same certificate,
//! and no limit on how many requests a connection may carry.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::pin::{self, Cores, Role};
use crate::process::{self, Guard, pause};
use crate::scenario::Scenario;

mod files;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    Portcullis,
    Nginx,
    Haproxy,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Portcullis, Self::Nginx, Self::Haproxy];

    /// Its binary. `None` where it is not installed, which only the gateway itself must be.
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

    fn version(self, binary: &Path) -> Result<String> {
        let flag = if self == Self::Portcullis { "--version" } else { "-v" };
        let output = Command::new(binary)
            .arg(flag)
            .output()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        // nginx tells its version on standard error.
        let text = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or("").to_owned())
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

/// What all contenders share: the upstream's port, a folder, a certificate.
#[derive(Debug)]
pub(crate) struct Site {
    folder: PathBuf,
    upstream: u16,
    /// Client connections that each must be able to hold.
    connections: u32,
    cert: PathBuf,
    key: PathBuf,
    /// Both in one file, as HAProxy wants them.
    both: PathBuf,
    /// A plugin that uses up its deadline.
    burn: PathBuf,
}

impl Site {
    pub(crate) fn new(folder: &Path, upstream: u16, connections: u32) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .context("cannot make a certificate")?;
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let write = |name: &str, text: &str| -> Result<PathBuf> {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path)
        };
        Ok(Self {
            folder: folder.to_owned(),
            upstream,
            connections,
            burn: {
                let path = folder.join("burn.wasm");
                std::fs::write(&path, portcullis_test_guests::MISBEHAVE)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                path
            },
            both: write("both.pem", &format!("{cert}{key}"))?,
            cert: write("cert.pem", &cert)?,
            key: write("key.pem", &key)?,
        })
    }
}

/// One of them, running.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) kind: Kind,
    pub(crate) version: String,
    binary: PathBuf,
    process: Guard,
    log: PathBuf,
    plain: u16,
    tls: u16,
}

impl Contender {
    /// Starts it and waits until it accepts connections.
    pub(crate) fn start(kind: Kind, binary: &Path, site: &Site, cores: &Cores) -> Result<Self> {
        let (plain, tls) = free_ports()?;
        let folder = site.folder.join(format!("{kind}-{plain}"));
        std::fs::create_dir_all(&folder)?;
        let config = folder.join(if kind == Kind::Portcullis { "portcullis.toml" } else { "config" });
        std::fs::write(&config, files::config(kind, site, &folder, plain, tls))?;
        let mut command = cores.command(Role::Contender, binary);
        match kind {
            Kind::Portcullis => command.args(["run", "--log-level", "warn", "-c"]).arg(&config),
            Kind::Nginx => command.arg("-p").arg(&folder).arg("-e").arg("stderr").arg("-c").arg(&config),
            Kind::Haproxy => command.arg("-db").arg("-f").arg(&config),
        };
        let log = folder.join("log");
        let output = std::fs::File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let version = kind.version(binary)?;
        let process = Guard::spawn(&mut command)?;
        let mut contender = Self { kind, version, binary: binary.to_owned(), process, log, plain, tls };
        contender.wait_until_ready()?;
        Ok(contender)
    }

    /// Another process of the same kind, which has not done anything yet.
    pub(crate) fn fresh(&self, site: &Site, cores: &Cores) -> Result<Self> {
        Self::start(self.kind, &self.binary, site, cores)
    }

    /// Compiling plugins for the first time can take a while.
    fn wait_until_ready(&mut self) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(120);
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

    fn said(&self) -> String {
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
        let path = match scenario {
            Scenario::OnePolicy => "one/",
            Scenario::ThreePolicies => "three/",
            Scenario::ThreeFresh => "fresh/",
            _ => "",
        };
        format!("{scheme}://127.0.0.1:{port}/{path}")
    }

    /// Where a path is found without TLS.
    pub(crate) fn plain_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.plain)
    }
}

/// Two ports that nobody has. Both are held while they are chosen, so that they differ.
fn free_ports() -> Result<(u16, u16)> {
    let bind = || std::net::TcpListener::bind("127.0.0.1:0").context("no port is free");
    let (first, second) = (bind()?, bind()?);
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}
