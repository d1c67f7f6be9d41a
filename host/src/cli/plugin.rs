//! The command line of `portcullis plugin`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ConfigArgument;

/// What to do about plugins: what their authors need comes first, what operators need of registries after it.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum PluginCommand {
    /// Write the contract of this gateway: the WIT files that plugins are built against
    #[command(after_help = "\
Prints the contract as one WIT file, or writes its files and its digest into a
folder, as tools for components want them: usually wit/deps/portcullis. Files
that are the same already are not touched, and a folder that has other .wit
files is refused, because tools would read those as a part of it.

Examples:
  portcullis plugin wit -o wit/deps/portcullis
  portcullis plugin wit | less")]
    Wit(WitArguments),

    /// Print what a plugin is, what it asks for, and what a config grants it
    #[command(after_help = "\
Reads the plugin and runs nothing of it: its name and version, the contract
that it was built against, its hooks, the capabilities that it imports and that
have to be granted, its settings with their defaults, its sizes, the tools that
made it, what it imports of WASI (which is virtual), and how it would run:
whether instances can start from an image of what `configure` left (isolation =
\"exchange\"), and whether its hooks are called directly.

With -c it also prints what each policy of that config grants to this plugin;
a config that is wrong, for example because it does not grant what the plugin
imports, is refused as `validate` refuses it. `portcullis diff`
compares two versions.

Examples:
  portcullis plugin inspect target/wasm32-wasip2/release/tenant.wasm
  portcullis plugin inspect tenant.wasm -c gateway.toml
  portcullis plugin inspect builtin:jwt --json | jq .config-schema")]
    Inspect(InspectArguments),

    /// Write portcullis.lock: which image each tag in the config stands for
    #[command(after_help = "\
Asks the registries for the images of tags that are not pinned yet, fetches
them, checks their signatures if the config requires them, and writes
portcullis.lock beside the config. Nothing is written if anything fails. A
running gateway notices the changed file and swaps the plugins in.

Examples:
  portcullis plugin lock -c edge.toml
  portcullis plugin lock --update                  # all pins
  portcullis plugin lock --update auth             # that of policy auth
  portcullis plugin lock --update oci://registry.example.com/team/auth:1.4")]
    Lock(LockArguments),

    /// Fetch what is pinned into the plugin store
    #[command(after_help = "\
Checks everything that is pinned, in portcullis.lock or in the config by a
digest, down to the bytes of the components, and fetches what is missing or
damaged in the store. After that `run` needs no registry.

Examples:
  # in the build of an image, with the same server.cache-dir:
  portcullis plugin fetch -c /etc/portcullis/edge.toml")]
    Fetch(ConfigArgument),

    /// Print the plugins from registries, what they are pinned to and whether the store has them
    #[command(after_help = "\
Examples:
  portcullis plugin list
  # what a start would fetch:
  portcullis plugin list --json | jq '.[] | select(.stored|not) | .reference'")]
    List(ListArguments),
}

/// Of `plugin wit`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WitArguments {
    /// The folder for the files [default: print them]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Of `plugin inspect`.
#[derive(Debug, Clone, Args)]
pub(crate) struct InspectArguments {
    /// The plugin: a .wasm file, builtin:NAME, or an image in a registry
    #[arg(value_name = "PLUGIN")]
    pub(crate) plugin: String,
    /// Also print what this config grants it
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print a JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `plugin lock`.
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

/// Of `plugin list`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    pub(crate) config: ConfigArgument,
    /// Print a JSON array instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

impl PluginCommand {
    /// Returns whether it may leave files in the gateway's own folders.
    pub(crate) fn serves_or_keeps(&self) -> bool {
        match self {
            Self::Lock(_) | Self::Fetch(_) => true,
            Self::Wit(_) | Self::Inspect(_) | Self::List(_) => false,
        }
    }
}
