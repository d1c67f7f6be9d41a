//! The command line of `portcullis import`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Of `import`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ImportArguments {
    /// The nginx.conf; what it includes is read as well
    #[arg(value_name = "NGINX_CONF")]
    pub(crate) config: PathBuf,
    /// Write the config there, into a file that does not exist yet [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// How the report on standard error is written
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    pub(crate) report: ReportFormat,
}

/// The form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people: what was refused, approximated and converted, each with its line
    Text,
    /// One JSON object
    Json,
}
