//! The command line of `portcullis plugin`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::ConfigArgument;

/// What to do about plugins: what their authors need comes first, what operators need of registries after it.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum PluginCommand {
    /// Make a project for a new plugin, which builds
    #[command(after_help = "\
Makes a folder with a small policy that builds, test cases for it, a config to
try it with (the gateway answers by itself, so no server is needed), and a
README. The name is that of the policy, the package and the folder.

The SDK for Rust is not in a registry of crates: --sdk names its folder,
plugin-sdk/rust in a copy of the repository. Below such a copy it is found.
A policy in JavaScript or TypeScript needs no SDK, and has the contract in its
folder.

Examples:
  portcullis plugin new tenant --lang rust --sdk ../portcullis/plugin-sdk/rust
  portcullis plugin new tenant --lang js -o policies/tenant")]
    New(NewArguments),

    /// Build the plugin of a folder, with its language's own tools
    #[command(after_help = "\
With a Cargo.toml it runs `cargo build --release --target wasm32-wasip2`; with
a package.json it installs what that names, if that was not done, and runs
`npm run build`, which has to leave build/NAME.wasm. If a tool is missing, the
message says what to install. A manifest.json beside it is put into the
component, unless that has a manifest, with the digest of this gateway's
contract. The last line says how large the component is, which hooks it has and
which grants it needs.

Examples:
  portcullis plugin build
  portcullis plugin build policies/tenant && portcullis plugin test policies")]
    Build(BuildArguments),

    /// Run a gateway with the plugin of a folder, and build it again whenever a file is saved
    #[command(after_help = "\
Builds the plugin, runs its test cases, and starts a gateway with the config of
the folder, which swaps each new build in without dropping a connection. The
access log, and the plugin's own log, are on the terminal. If a build or a case
fails, the message is shown and the plugin from before keeps running. Ctrl-C
ends the gateway, and with it the command.

Examples:
  portcullis plugin dev
  portcullis plugin dev policies/tenant -c edge.toml --no-test")]
    Dev(DevArguments),

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

    /// Run test cases, written as TOML, against a plugin in the gateway's own sandbox
    #[command(after_help = "\
A path is a file of test cases, or a folder in which, and below which, files
that end in .cases.toml are looked for. Each case runs in both isolations,
through the code that the gateway runs for a client's request, and in any
language. Nothing is sent: what an upstream and other servers answer is part of
the case. Time stands still, and passes when a case says so.

What turns out otherwise is shown at its line, with what the policy did. All
keys are in docs/testing-a-policy.md.

Exit codes: 0 all cases passed, 1 some failed, 2 some could not be run (a file
that is wrong, a plugin that does not compile).

A file of test cases:
  plugin = \"../target/wasm32-wasip2/release/tenant.wasm\"
  policy.config = { tenants = { acme = \"good\" } }

  [[case]]
  name = \"lets those in who have paid\"
  request = { url = \"/\", headers = { x-tenant = \"acme\" } }
  expect.request.headers = { x-tenant = false }
  expect.attributes = { tenant = \"acme\" }

  [[case]]
  name = \"sends the others away\"
  request = { url = \"/\", headers = { x-tenant = \"nobody\" } }
  expect.reply = 403

Examples:
  portcullis plugin test
  portcullis plugin test tests --junit target/plugin-tests.xml
  portcullis plugin test tests/tenant.cases.toml --watch
  # the cases of an older version, against the new one:
  portcullis plugin test tests --plugin tenant-2.0.wasm")]
    Test(TestArguments),

    /// Print a test case made of a record, for `plugin test`
    #[command(after_help = "\
Takes a file that `portcullis record` has written, and one of its policies: the
case sends what that policy met, after those before it, and expects what it
did. Credentials are not in a record, so their marks have to be replaced; what
the policy asked of stores, quotas and servers is listed in a comment.

Examples:
  portcullis record --route api
  portcullis plugin case record-4bf92f3577b34da6.json --policy tenant \\
    > tests/recorded.cases.toml
  portcullis plugin test tests/recorded.cases.toml")]
    Case(CaseArguments),

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

/// A language that `plugin new` has a project for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PluginLanguage {
    /// Rust, with the SDK
    Rust,
    /// JavaScript, by componentize-js
    Js,
    /// TypeScript, by tsc and componentize-js, with the types of the contract
    Ts,
    /// C or C++, by zig or clang
    C,
    /// Go, by its own toolchain
    Go,
    /// Python, by componentize-py
    Python,
}

/// Of `plugin new`.
#[derive(Debug, Clone, Args)]
pub(crate) struct NewArguments {
    /// The name of the plugin
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The language
    #[arg(long, value_enum)]
    pub(crate) lang: PluginLanguage,
    /// The folder [default: NAME]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// The SDK for Rust [default: that of the repository around the current folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) sdk: Option<PathBuf>,
}

/// Of `plugin build`.
#[derive(Debug, Clone, Args)]
pub(crate) struct BuildArguments {
    /// The folder of the project
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
}

/// Of `plugin dev`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DevArguments {
    /// The folder of the project
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// The config of the gateway [default: gateway.toml in the folder]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Run no test cases
    #[arg(long)]
    pub(crate) no_test: bool,
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

/// Of `plugin test`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TestArguments {
    /// Files of test cases, or folders
    #[arg(value_name = "PATH", default_value = ".")]
    pub(crate) paths: Vec<PathBuf>,
    /// The plugin that is tested: a .wasm file or builtin:NAME [default: the one that each file names]
    #[arg(long, value_name = "PLUGIN")]
    pub(crate) plugin: Option<String>,
    /// Run only the cases with this text in their names
    #[arg(long, value_name = "TEXT")]
    pub(crate) case: Option<String>,
    /// Also write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Run the cases again whenever a file or the plugin changes
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Of `plugin case`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CaseArguments {
    /// The record
    #[arg(value_name = "RECORD")]
    pub(crate) record: PathBuf,
    /// The policy that the case is about, if the record has several
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
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
            // Compiling some languages takes long.
            Self::Dev(_) | Self::Test(_) | Self::Lock(_) | Self::Fetch(_) => true,
            Self::New(_)
            | Self::Build(_)
            | Self::Wit(_)
            | Self::Inspect(_)
            | Self::Case(_)
            | Self::List(_) => false,
        }
    }
}
