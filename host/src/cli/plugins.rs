//! The command line of `portcullis plugins`.

use clap::{Args, Subcommand};

use super::ConfigArgument;

/// Of `plugins`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PluginsArguments {
    #[command(subcommand)]
    pub(crate) command: PluginsCommand,
}

/// What to do about plugins from registries.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum PluginsCommand {
    /// Write portcullis.lock: which image each tag in the config stands for
    #[command(after_help = "\
Asks the registries for the images of tags that are not pinned yet, fetches
them, checks their signatures if the config requires them, and writes
portcullis.lock beside the config. Nothing is written if anything fails. A
running gateway notices the changed file and swaps the plugins in.

Examples:
  portcullis plugins lock -c edge.toml
  portcullis plugins lock --update                  # all pins
  portcullis plugins lock --update auth             # that of policy auth
  portcullis plugins lock --update oci://registry.example.com/team/auth:1.4")]
    Lock(LockArguments),

    /// Fetch what is pinned into the plugin store
    #[command(after_help = "\
Checks everything that is pinned, in portcullis.lock or in the config by a
digest, down to the bytes of the components, and fetches what is missing or
damaged in the store. After that `run` needs no registry.

Examples:
  # in the build of an image, with the same server.cache-dir:
  portcullis plugins fetch -c /etc/portcullis/edge.toml")]
    Fetch(ConfigArgument),

    /// Print the plugins from registries, what they are pinned to and whether the store has them
    #[command(after_help = "\
Examples:
  portcullis plugins list
  # what a start would fetch:
  portcullis plugins list --json | jq '.[] | select(.stored|not) | .reference'")]
    List(ListArguments),
}

/// Of `plugins lock`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LockArguments {
    #[command(flatten)]
    pub(crate) config: ConfigArgument,
    /// Pin the current images of the tags of these policies or references [default: all of them]
    #[arg(long, value_name = "NAME", num_args = 0..)]
    pub(crate) update: Option<Vec<String>>,
    /// Remove the pins that this config does not name
    #[arg(long)]
    pub(crate) prune: bool,
}

/// Of `plugins list`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    pub(crate) config: ConfigArgument,
    /// Print a JSON array instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
