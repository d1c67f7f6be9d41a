//! The command lines of `portcullis record`, `replay` and `diff`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::GatewayArgument;
use super::config::DEFAULT_CONFIGS;

/// Of `record`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RecordArguments {
    #[command(flatten)]
    pub(crate) gateway: GatewayArgument,
    /// The route whose exchanges are recorded
    #[arg(long, value_name = "NAME")]
    pub(crate) route: String,
    /// Only those with this method
    #[arg(long, value_name = "METHOD")]
    pub(crate) method: Option<String>,
    /// Only those with this path, or with this prefix if it ends in `*`
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// Only those with this field (and value), once for each
    #[arg(short = 'H', long = "header", value_name = "NAME[: VALUE]")]
    pub(crate) headers: Vec<String>,
    /// Only those of this client
    #[arg(long, value_name = "IP")]
    pub(crate) client: Option<IpAddr>,
    /// How many, up to 100
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) count: usize,
    /// How long to wait for them, in seconds, up to 600
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 60)]
    pub(crate) seconds: u64,
    /// How much is kept of each, in KiB, up to 16 MiB over all of them
    #[arg(long = "kib", value_name = "KIB", default_value_t = 160)]
    pub(crate) bytes: usize,
    /// The folder for the files, created if it is missing
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
    /// Keep a field whose name looks like a secret, once for each
    #[arg(long = "keep-field", value_name = "NAME")]
    pub(crate) keep_fields: Vec<String>,
}

/// Of `replay`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReplayArguments {
    /// The record
    #[arg(value_name = "FILE")]
    pub(crate) record: PathBuf,
    /// Take plugins, settings and secrets of the policies from this config, not from the record
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Take the plugin of a policy from here (a .wasm file or builtin:NAME), once for each
    #[arg(long = "plugin", value_name = "NAME=PATH")]
    pub(crate) plugins: Vec<String>,
    /// Restore a field that was removed from the record, once for each
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// Print a JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `diff`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DiffArguments {
    /// The old version: a plugin (a .wasm file, builtin:NAME or oci://...), or a config file
    #[arg(value_name = "OLD")]
    pub(crate) old: String,
    /// The new version, of the same kind
    #[arg(value_name = "NEW")]
    pub(crate) new: String,
    /// For images: the config with the settings of their registries [default: ./portcullis.toml, if it exists]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print a JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

impl DiffArguments {
    /// The config that was named, or else the first default one that exists.
    pub(crate) fn config(&self) -> Option<PathBuf> {
        let usual = || DEFAULT_CONFIGS.iter().map(PathBuf::from).find(|path| path.exists());
        self.config.clone().or_else(usual)
    }
}
