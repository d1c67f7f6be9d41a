//! The config that a command is about.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use portcullis_config::{FILE_BYTES_MAX, MainFile};

/// Where a config is looked for when none is named, in this order.
pub(super) const DEFAULT_CONFIGS: [&str; 2] = ["portcullis.toml", "/etc/portcullis/portcullis.toml"];
/// The name of standard input.
const STDIN: &str = "-";

/// Which config.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigArgument {
    /// The config file [default: ./portcullis.toml, then /etc/portcullis/portcullis.toml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A config as the command line names it.
#[derive(Debug)]
pub(crate) enum NamedConfig {
    /// A file.
    File(PathBuf),
    /// The text that came on standard input.
    Stdin(String),
}

impl ConfigArgument {
    /// The file that was named, or else the first default one that exists. Whether a named one can be read is for the
    /// loading to say, which knows better why not.
    pub(crate) fn find(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.config {
            if path == Path::new(STDIN) {
                bail!(
                    "`-c -` reads the config from standard input, and this command needs it as a file\n  \
                     = help: `validate` and `routes` take `-c -`; for others write it to a file, whose folder relative \
                     paths start from"
                );
            }
            return Ok(path.clone());
        }
        if let Some(path) = DEFAULT_CONFIGS.iter().map(PathBuf::from).find(|path| path.exists()) {
            return Ok(path);
        }
        bail!(
            "no config: there is neither ./{} nor {}\n  \
             = help: name one with `-c FILE`, or run `portcullis demo`, which writes one to learn from",
            DEFAULT_CONFIGS[0],
            DEFAULT_CONFIGS[1],
        )
    }

    /// Returns the file that [`Self::find`] finds, or with `-c -` the text on standard input, which is read to its end.
    ///
    /// # Errors
    /// If there is no config, or standard input does not hold one.
    pub(crate) fn find_or_read(&self) -> anyhow::Result<NamedConfig> {
        if self.config.as_deref() != Some(Path::new(STDIN)) {
            return Ok(NamedConfig::File(self.find()?));
        }
        let mut text = Vec::new();
        let read = std::io::stdin().take(FILE_BYTES_MAX + 1).read_to_end(&mut text);
        read.context("the config cannot be read from standard input")?;
        if text.len() as u64 > FILE_BYTES_MAX {
            bail!("the config on standard input is larger than {} MiB", FILE_BYTES_MAX >> 20);
        }
        let text = String::from_utf8(text).context("the config on standard input is not UTF-8 text")?;
        Ok(NamedConfig::Stdin(text))
    }
}

impl NamedConfig {
    /// Returns what to load.
    pub(crate) fn main_file(&self) -> MainFile<'_> {
        match self {
            Self::File(path) => path.into(),
            Self::Stdin(text) => MainFile::with_text("<stdin>", text),
        }
    }
}
