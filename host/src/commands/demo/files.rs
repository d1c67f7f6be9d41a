//! The files of the demo. Files that the user has edited are kept; the others are written again.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use portcullis_model::text::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::certificate;
use crate::cli::DemoArguments;

/// The config; the addresses are filled in.
const CONFIG: &str = include_str!("portcullis.toml");

/// What the demo wrote the last time, to recognise edits.
const STATE: &str = ".demo-state.json";

/// The paths of the files.
#[derive(Debug)]
pub(crate) struct Files {
    /// The folder.
    pub(crate) dir: PathBuf,
    /// The config.
    pub(crate) config: PathBuf,
    /// The authority that signed the certificate.
    pub(crate) authority: PathBuf,
    /// The component behind `/live/*`.
    pub(crate) live: PathBuf,
    /// Whether an edited config was kept.
    pub(crate) kept: bool,
}

/// Writes the files for a demo whose upstream servers listen on `upstreams`.
///
/// # Errors
/// If a file cannot be written, or if an address was named that an edited config would ignore.
pub(crate) fn prepare(arguments: &DemoArguments, upstreams: [SocketAddr; 2]) -> anyhow::Result<Files> {
    fs::create_dir_all(&arguments.dir).with_context(|| {
        format!("the folder {} cannot be made (`--dir` names another)", arguments.dir.display())
    })?;
    let path = |name: &str| arguments.dir.join(name);
    let before = State::read(&path(STATE));
    let http = arguments.http.or(before.http).unwrap_or(DemoArguments::HTTP);
    let https = arguments.https.or(before.https).unwrap_or(DemoArguments::HTTPS);

    let config = path("portcullis.toml");
    let kept = !arguments.reset && was_edited(&config, before.config.as_deref());
    if kept && (arguments.http.is_some() || arguments.https.is_some()) {
        bail!(
            "{} was edited and is kept, so `--http` and `--https` have no effect: change the listeners' addresses \
             there, or write it anew with `--reset`",
            config.display()
        );
    }
    if !kept {
        let text = CONFIG.replace("@HTTP@", &http.to_string()).replace("@HTTPS@", &https.to_string());
        write(&config, text.as_bytes())?;
    }
    write(&path("upstreams.toml"), upstreams_toml(upstreams).as_bytes())?;

    let live = path("live.wasm");
    if arguments.reset || !was_edited(&live, before.live.as_deref()) {
        write(&live, portcullis_plugins::LIVE_DEMO)?;
    }
    let authority = path("ca.pem");
    certificate_files(&authority, &path("localhost.pem"), &path("localhost.key"), arguments.reset)?;

    let state = State {
        config: if kept { before.config } else { digest_of(&config) },
        live: Some(digest(portcullis_plugins::LIVE_DEMO)),
        http: Some(http),
        https: Some(https),
    };
    write(&path(STATE), format!("{:#}\n", state.as_json()).as_bytes())?;
    Ok(Files { dir: arguments.dir.clone(), config, authority, live, kept })
}

/// The servers' ports are others each time, so they stand in a file of their own.
fn upstreams_toml([one, two]: [SocketAddr; 2]) -> String {
    format!(
        "# Written anew at each start of `portcullis demo`, for its two servers take other ports each time.\n\
         # This file is included by portcullis.toml; an own server of yours belongs there.\n\n\
         [upstreams.both]\n\
         endpoints = [\"{one}\", \"{two}\"]\n\
         balance = \"round-robin\"\n"
    )
}

fn certificate_files(authority: &Path, certificate: &Path, key: &Path, reset: bool) -> anyhow::Result<()> {
    let fresh = |path: &Path| {
        let written = fs::metadata(path).and_then(|metadata| metadata.modified());
        written.is_ok_and(|written| !certificate::is_old(written))
    };
    if !reset && [authority, certificate, key].into_iter().all(fresh) {
        return Ok(());
    }
    let made = certificate::make()?;
    write(authority, made.authority.as_bytes())?;
    write(certificate, made.certificate.as_bytes())?;
    write_with(key, made.key.as_bytes(), 0o600)
}

/// Whether there is a file that is not what the demo wrote.
fn was_edited(path: &Path, written: Option<&str>) -> bool {
    match fs::read(path) {
        Ok(bytes) => written != Some(digest(&bytes).as_str()),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

fn digest_of(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|bytes| digest(&bytes))
}

/// Returns the SHA-256 of `bytes` in hexadecimal digits.
fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_with(path, bytes, 0o644)
}

/// Replaces a file as a whole; it never has more permissions than `mode`.
fn write_with(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let partial = path.with_extension("partial");
    let replace = || -> io::Result<()> {
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial)?;
        file.write_all(bytes)?;
        fs::rename(&partial, path)
    };
    replace().with_context(|| format!("{} cannot be written", path.display()))
}

/// What the demo remembers from one start to the next.
#[derive(Debug, Default)]
struct State {
    config: Option<String>,
    live: Option<String>,
    http: Option<SocketAddr>,
    https: Option<SocketAddr>,
}

impl State {
    /// What cannot be read is forgotten: then everything counts as edited, and is kept.
    fn read(path: &Path) -> Self {
        let value: Value =
            fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let address = |key: &str| text(key).and_then(|text| text.parse().ok());
        Self { config: text("config"), live: text("live"), http: address("http"), https: address("https") }
    }

    fn as_json(&self) -> Value {
        let address = |address: Option<SocketAddr>| address.map(|address| address.to_string());
        json!({
            "config": self.config,
            "live": self.live,
            "http": address(self.http),
            "https": address(self.https),
        })
    }
}

#[cfg(test)]
mod tests;
