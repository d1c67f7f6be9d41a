//! What all gateways share.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::upstream;

/// What all contenders share: the upstream's port, a folder, a certificate.
#[derive(Debug)]
pub(crate) struct Site {
    pub(super) folder: PathBuf,
    pub(super) upstream: u16,
    /// Client connections that each must be able to hold.
    pub(super) connections: u32,
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    /// Both in one file, which HAProxy needs.
    pub(super) both: PathBuf,
    /// A plugin that uses up its deadline.
    pub(super) burn: PathBuf,
}

impl Site {
    /// Returns how many requests for what caches keep have reached the upstream.
    pub(crate) fn kept_requests(&self) -> Result<u64> {
        upstream::count(self.upstream)
    }

    /// Writes the files into `folder`.
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
