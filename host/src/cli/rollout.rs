//! The command line of `portcullis rollout`.

use clap::{Args, Subcommand};
use portcullis_model::Share;

use super::GatewayArgument;

/// What to do with versions that are tried.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Show the versions on trial beside the active ones
    #[command(after_help = "\
Exchanges, faults, replies and times count since the rollout began; CPU and
latency are means for an exchange. A fault is an exchange in which the version
failed, a reply one that it answered in place of the upstream.

Examples:
  portcullis rollout status
  portcullis rollout status tenant -c /etc/portcullis/edge.toml
  portcullis rollout status --json | jq '.[] | select(.state == \"aborted\")'")]
    Status(RolloutStatusArguments),

    /// Let a canary take all exchanges, at once; with --write, for good
    #[command(after_help = "\
Exchanges that have begun end with the version that they have. It is not taken
back by itself any more. The promotion lasts as long as the process, and the
command says what to write in the config so that it outlives it; `--write`
writes it. Then what the canary's table says is the policy's, the table is
gone, and all else in the file is as it was typed. A file that is not what the
gateway runs is left alone.

A shadow never answered anybody: with `--write` it becomes the policy's own
version by the config, and with `--share` a canary. `--share` also makes the
share of a canary another.

Examples:
  portcullis rollout promote tenant
  portcullis rollout promote tenant --write
  portcullis rollout promote tenant --write --share 20%")]
    Promote(RolloutPromoteArguments),

    /// Give a canary or a shadow no more exchanges
    #[command(after_help = "\
Exchanges that have begun end with the version that they have; then its
instances are freed. The same is done to a canary by the gateway itself, by
the rules of its `abort`. With `--write` its table is taken out of the config
as well.

Examples:
  portcullis rollout abort tenant
  portcullis rollout abort tenant --write --reason \"answers 403 to partners\"")]
    Abort(RolloutAbortArguments),

    /// Give a canary or a shadow the exchanges again that the config says
    #[command(after_help = "\
After an abort or a promotion. What counted against a canary is forgotten.

Examples:
  portcullis rollout resume tenant")]
    Resume(RolloutActArguments),
}

/// Of `rollout status`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RolloutStatusArguments {
    /// The policy [default: all that try a version]
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
    /// Take it out of the config too, so that a restart does not bring it back
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
