//! The command line of `portcullis endpoint`.

use clap::{Args, Subcommand};

use super::GatewayArgument;

/// What to do with endpoints.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum EndpointCommand {
    /// Show the endpoints of upstreams, and what was changed about them
    #[command(after_help = "\
Examples:
  portcullis endpoint list
  portcullis endpoint list app --json")]
    List(EndpointListArguments),

    /// Use a further endpoint, or one that was removed
    #[command(after_help = "\
Examples:
  portcullis endpoint add app 10.0.0.14:8080
  portcullis endpoint add app 10.0.0.14:8080 --weight 2 --priority 1")]
    Add(EndpointAddArguments),

    /// Use an endpoint no more; what it has under way ends there
    Remove(EndpointArguments),

    /// Send no more requests to an endpoint, and go on showing and checking it
    #[command(after_help = "\
What is under way ends there: `portcullis endpoint list` shows how much.

Examples:
  portcullis endpoint drain app 10.0.0.11:8080")]
    Drain(EndpointArguments),

    /// Send requests to a drained endpoint again
    Undrain(EndpointArguments),

    /// Change the share of an endpoint
    #[command(after_help = "\
Examples:
  portcullis endpoint weight app 10.0.0.11:8080 5")]
    Weight(EndpointWeightArguments),

    /// Undo all changes of an endpoint: it is as the config says
    Reset(EndpointArguments),
}

/// Of `endpoint list`.
#[derive(Debug, Clone, Args)]
pub(crate) struct EndpointListArguments {
    /// The upstream [default: all]
    pub(crate) upstream: Option<String>,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgument,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `endpoint remove`, `drain`, `undrain` and `reset`.
#[derive(Debug, Clone, Args)]
pub(crate) struct EndpointArguments {
    /// The upstream
    pub(crate) upstream: String,
    /// The endpoint, as `host:port`
    pub(crate) address: String,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgument,
}

/// Of `endpoint add`.
#[derive(Debug, Clone, Args)]
pub(crate) struct EndpointAddArguments {
    #[command(flatten)]
    pub(crate) endpoint: EndpointArguments,
    /// Its share beside the others [default: 1, or as the config says]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) weight: Option<u32>,
    /// Make it a backup: those with a higher number come later
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=9))]
    pub(crate) priority: Option<u8>,
}

/// Of `endpoint weight`.
#[derive(Debug, Clone, Args)]
pub(crate) struct EndpointWeightArguments {
    #[command(flatten)]
    pub(crate) endpoint: EndpointArguments,
    /// Its share beside the others
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) weight: u32,
}
