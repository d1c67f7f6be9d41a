//! The command line of `portcullis rollout`.

use clap::{Args, Subcommand};
use portcullis_model::Share;

use super::GatewayArgument;

/// What to do with versions on trial.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Show the versions on trial beside the active ones
    #[command(after_help = "\
Exchanges, faults, replies and times are counted since the rollout began; CPU
and latency are means for an exchange. A fault is an exchange in which the
version failed, a reply one that it answered in place of the upstream.

Examples:
  portcullis rollout status
  portcullis rollout status tenant -c /etc/portcullis/edge.toml
  portcullis rollout status --json | jq '.[] | select(.state == \"aborted\")'")]
    Status(RolloutStatusArguments),

    /// Let a canary take all exchanges, at once; with --write, for good
    #[command(after_help = "\
Exchanges that have begun keep their version. The canary is no longer aborted
automatically. The promotion lasts as long as the process, and the command
prints what to write in the config to keep it; `--write` writes it. The
settings of the canary's table then become the policy's, the table is removed,
and the rest of the file stays as it was typed. A file that differs from what
the gateway runs is not changed.

A shadow has never answered a client: with `--write` it becomes the policy's
own version in the config, and with `--share` a canary. `--share` also changes
the share of a canary.

Examples:
  portcullis rollout promote tenant
  portcullis rollout promote tenant --write
  portcullis rollout promote tenant --write --share 20%")]
    Promote(RolloutPromoteArguments),

    /// Stop giving exchanges to a canary or a shadow
    #[command(after_help = "\
Exchanges that have begun keep their version; after them its instances are
freed. The gateway itself does the same to a canary, by the rules of its
`abort`. With `--write` its table is removed from the config as well.

Examples:
  portcullis rollout abort tenant
  portcullis rollout abort tenant --write --reason \"answers 403 to partners\"")]
    Abort(RolloutAbortArguments),

    /// Give exchanges to a canary or a shadow again, as configured
    #[command(after_help = "\
After an abort or a promotion. The counts against a canary start again at zero.

Examples:
  portcullis rollout resume tenant")]
    Resume(RolloutActArguments),
}

/// Of `rollout status`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RolloutStatusArguments {
    /// The policy [default: all with a version on trial]
    pub(crate) policy: Option<String>,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgument,
    /// Print JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `rollout promote`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RolloutPromoteArguments {
    #[command(flatten)]
    pub(crate) act: RolloutActArguments,
    /// Write it into the config too, so that a restart keeps it
    #[arg(long)]
    pub(crate) write: bool,
    /// Not to all exchanges: make it a canary that takes this share of them
    #[arg(long, value_name = "PERCENT", requires = "write", value_parser = portcullis_config::parse_share)]
    pub(crate) share: Option<Share>,
}

/// Of `rollout abort`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RolloutAbortArguments {
    #[command(flatten)]
    pub(crate) act: RolloutActArguments,
    /// Remove it from the config too, so that a restart does not bring it back
    #[arg(long)]
    pub(crate) write: bool,
}

/// Of `rollout promote`, `abort` and `resume`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RolloutActArguments {
    /// The policy
    pub(crate) policy: String,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgument,
    /// The reason, for the log and the status
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}
