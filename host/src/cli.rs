//! The command line: what can be asked, and the help that teaches it.

mod cache;
mod config;
mod endpoint;
mod import;
mod plugin;
mod records;
mod rollout;
mod tip;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::cache::{CacheCommand, CacheInspectArguments, CacheListArguments, CachePurgeArguments};
pub(crate) use self::config::ConfigArgument;
pub(crate) use self::endpoint::{
    EndpointAddArguments, EndpointArguments, EndpointCommand, EndpointListArguments, EndpointWeightArguments,
};
pub(crate) use self::import::{ImportArguments, ReportFormat};
pub(crate) use self::plugin::{
    BuildArguments, CaseArguments, DevArguments, InspectArguments, ListArguments, LockArguments,
    NewArguments, PluginCommand, PluginLanguage, TestArguments, WitArguments,
};
pub(crate) use self::records::{DiffArguments, RecordArguments, ReplayArguments};
pub(crate) use self::rollout::{
    RolloutAbortArguments, RolloutActArguments, RolloutCommand, RolloutPromoteArguments,
    RolloutStatusArguments,
};
use self::tip::with_tip;

/// The exit code for a refusal: a wrong config, a busy port.
pub(crate) const REFUSED: u8 = 1;
/// The exit code for wrong usage, as clap has it.
pub(crate) const WRONG_USAGE: u8 = 2;

const HELP: &str = "\
Getting started:
  portcullis demo                  a complete gateway on http://127.0.0.1:8080,
                                   and curl commands to try
  portcullis validate              check ./portcullis.toml, and show all of its
                                   mistakes
  portcullis run                   run it; saving the file swaps it in without
                                   dropping a connection
  portcullis reload                load the file again, and show its mistakes
  portcullis routes                which route takes which request, and through
                                   which policies
  portcullis rollout status        how versions of policies on trial perform
  portcullis status                what runs: policies and their faults, routes,
                                   endpoints
  portcullis explain GET URL       what happens to a request: each route tried,
                                   each policy run, the upstream
  portcullis cache purge --url URL remove what is stored of a URL
  portcullis cache inspect URL     what is stored of a URL, and what a request
                                   would get
  portcullis record --route NAME   keep a client's exchange as a file
  portcullis replay FILE           run the policies of such a file again
  portcullis import NGINX_CONF     translate a configuration of nginx
  portcullis diff OLD NEW          what a new version of a plugin, or a config,
                                   adds, removes and requires
  portcullis plugin --help         write a plugin, and pin those from registries

A minimal portcullis.toml:
  [listeners.web]
  address = \"127.0.0.1:8080\"

  [upstreams.app]
  endpoints = [\"127.0.0.1:3000\"]

  [routes.all]
  match = { path = \"/*\" }
  to = \"app\"

Exit codes: 0 success, 1 refused (a wrong config, a busy port, no gateway that
answers), 2 wrong usage.";

/// A secure gateway whose policies are sandboxed WebAssembly components, swapped in while traffic flows
#[derive(Debug, Parser)]
#[command(version, about, after_help = HELP, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How the gateway's own log, which goes to standard error, is written.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogOptions {
    /// How log lines on standard error are written
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// What is logged: a level (error, warn, info, debug, trace), or levels by part, as in
    /// `info,portcullis_proxy=debug`
    #[arg(
        long,
        global = true,
        default_value = "info",
        value_name = "LEVELS",
        env = "PORTCULLIS_LOG",
        value_parser = log_levels
    )]
    pub(crate) log_level: String,
}

/// A word that is not a level must not make the log fall silent.
fn log_levels(typed: &str) -> Result<String, portcullis_telemetry::InitError> {
    portcullis_telemetry::check_levels(typed).map(|()| typed.to_owned())
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// The arguments of the process that compiles a plugin.
#[derive(Debug, Args)]
pub(crate) struct CompileArguments {
    /// Folder for compiled code
    #[arg(long)]
    pub(crate) cache_dir: Option<PathBuf>,
    /// The isolation of the policy
    #[arg(long)]
    pub(crate) isolation: String,
    /// Bytes that it may take
    #[arg(long)]
    pub(crate) memory_bytes: u64,
    /// Seconds of CPU time that it may take
    #[arg(long)]
    pub(crate) seconds: u64,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway
    #[command(after_help = "\
The config, the files it names (includes, certificates, keys, plugins) and the
folders they are in are watched: save one and it is checked, built beside the
running gateway and swapped in as a whole; a bad one is refused with its
mistakes, and the old one keeps running. `[server]` settings that need a
restart are named in the log.

Signals:
  SIGHUP            reopen the access log (for logrotate), and reload
  SIGUSR1           reopen the access log
  SIGTERM, SIGQUIT, stop accepting, finish open exchanges for up to
  SIGINT            `server.drain-timeout`, exit 0; a second one ends at once
                    with exit code 1 (the same one within a second is a repeat)

Examples:
  portcullis run
  portcullis run -c /etc/portcullis/edge.toml --log-format json")]
    Run(ConfigArgument),

    /// Check a config and everything it names, and run nothing
    #[command(after_help = "\
Checks what `run` would: the file and its includes, secrets, certificates and
keys, and every plugin, which is compiled and configured. All errors are shown
at once, each with its line. Exit code 0 if there are none, otherwise 1.

With `--against` it also reports, as a reload would, which capabilities the
plugins import that those of that config do not.

`-c -` reads the config from standard input; relative paths in it then start
from the current folder.

Examples:
  portcullis validate -c edge.toml && systemctl reload portcullis
  portcullis validate -c next.toml --against edge.toml
  render edge.tmpl | portcullis validate -c -")]
    Validate(ValidateArguments),

    /// Translate a configuration of nginx
    #[command(after_help = "\
Reads an nginx.conf and everything that it includes, and writes a config that
says the same, with comments where the meaning differs. Nothing is run, and no
file of nginx is changed.

The report on standard error has each directive with its file and line:
refused (the config does not say it; what to do instead), approximated (what
differs), converted, not needed. What guards a route in nginx and cannot be
said closes it: the route answers 503 until you decide. docs/from-nginx.md has
the answer for each directive.

Exit codes: 0 everything was said, 1 something was refused or is to be filled
in (the config is written all the same), 2 there is no result.

Examples:
  portcullis import /etc/nginx/nginx.conf --out portcullis.toml
  portcullis import nginx.conf --report json 2>report.json >portcullis.toml")]
    Import(ImportArguments),

    /// Compile a plugin within limits; for the gateway itself
    #[command(hide = true)]
    CompilePlugin(CompileArguments),

    /// Make the running gateway load its config again, and print the outcome
    #[command(after_help = "\
Asks the gateway that was started with the same config file, over its control
socket, as the user that it runs as or as root. It does what SIGHUP does: the
access log is reopened, and the config is loaded with everything that it
names, whether or not files are watched (`server.watch`). The command waits
for the outcome. If the config is refused, it prints the mistakes, and the old
one keeps running.

Exit code 0 if the config runs; 1 if it was refused, or if no gateway answers.

Examples:
  portcullis reload
  portcullis reload -c /etc/portcullis/edge.toml")]
    Reload(ReloadArguments),

    /// Print the JSON schema of the config file, for editors
    #[command(after_help = "\
Examples:
  portcullis schema > portcullis.schema.json
  # and in portcullis.toml, for editors with Even Better TOML (taplo):
  #:schema ./portcullis.schema.json")]
    Schema,

    /// Print the routes in the order in which they are tried
    #[command(after_help = "\
The first route of the list that matches a request takes it:
narrower hosts come first, then narrower paths, then routes that ask for a
method, then those that ask for more fields.

Examples:
  portcullis routes
  # routes without any policy:
  portcullis routes --json | jq -r '.[] | select(.policies == []) | .name'")]
    Routes(RoutesArguments),

    /// Show the state of a running gateway: its policies and their faults, routes, endpoints
    #[command(after_help = "\
Asks the gateway that was started with the same config file, over its control
socket (`server.control`): as the user that it runs as, or as root. The file
only identifies the gateway; the output shows what runs, even if the file has
changed since. Counts are those of this process and continue over reloads.

Exit code 0 if a gateway answered, whatever its state; 1 if none did.

Examples:
  portcullis status
  portcullis status -c /etc/portcullis/edge.toml
  # policies that have failed:
  portcullis status --json | jq '.policies[] | select(.faults != []) | .name'")]
    Status(StatusArguments),

    /// Explain what happens to a request, and why
    #[command(after_help = "\
Takes the request through the same code as a client's: the parser, the routes
in their order (and why each one did not match), the policies of the route
that takes it, and the choice of an upstream, which is not called. Each policy
is shown with its decision, its changes, its calls of the gateway, and the CPU
time that it took.

Policies run in a sandbox of their own, with empty stores and full quotas;
`--routes-only` leaves them out. With `--live` the running gateway answers:
with its current generation, its stores, its quotas and the health of its
endpoints, and which endpoint would be next. Policies never have an effect: no
quota is used up, nothing is stored, counted or logged. Secrets of the config
are not shown.

The request is what a client would send over HTTP/1.1, byte for byte: a URL is
not normalised, so a request that the strict parser refuses is refused here,
with the status that the client would get.

Exit codes: 0 explained, whatever happens to the request; 1 the config is
wrong, or no gateway answers; 2 wrong usage.

Examples:
  portcullis explain GET https://api.example.com/v1/users
  portcullis explain POST /v1/users -c edge.toml \\
    -H 'host: api.example.com' -H 'x-api-key: demo-key'
  # as seen from another address:
  portcullis explain GET http://localhost/ --client 203.0.113.7
  # has this client any quota left?
  portcullis explain GET /v1/users --live
  # which route takes it?
  portcullis explain GET /admin --json | jq -r .route")]
    Explain(ExplainArguments),

    /// Show and remove what the caches of a running gateway have stored
    #[command(after_help = "\
Examples:
  portcullis cache list
  portcullis cache inspect https://example.com/news -H 'accept-encoding: gzip'
  portcullis cache purge --url https://www.example.com/news
  portcullis cache purge --tag product-7 --soft")]
    Cache {
        #[command(subcommand)]
        command: CacheCommand,
    },

    /// Keep exchanges of clients as files, for a replay
    #[command(after_help = "\
Asks the running gateway to record the next matching exchanges of a route, and
writes each into a file of the folder that only this user can read. Only
matching exchanges are recorded, and only while this command waits.

A record has the input of the policies (the request, the pieces of body that
body hooks saw, the response, the client) and what they did: decisions, edits,
and each call of the gateway with its result. It contains no credentials:
fields, query parameters and attributes with names such as `authorization`,
`cookie`, `x-api-key` or `token`, fields that a policy removed from the
request, and the secrets of the config are replaced by marks, wherever they
occur. Paths, addresses, bodies and the content of stores are kept: treat it
like an access log.

The gateway logs the recording and its user. Ctrl-C (SIGINT, or SIGTERM) ends
the recording early: the exchanges recorded by then are written, and their
number is printed.

Exit codes: 0 all exchanges, or some if it was interrupted; 1 fewer, or none,
or no gateway answers; 2 wrong usage.

Examples:
  portcullis record --route api
  portcullis record --route api --method POST --path '/v1/users/*' \\
    -H 'x-beta: yes' --count 10 --for 300
  portcullis record --route api --client 203.0.113.7 --out /var/tmp/records \\
    --keep-field x-csrf-token")]
    Record(RecordArguments),

    /// Run the policies of a record again, and print what differs
    #[command(after_help = "\
Each hook of the record runs again with its recorded input; its calls of the
gateway are answered from the record. A hook counts as the same if it decides,
changes and calls the same, in the same order. Without -c and --plugin it uses
the plugin and the settings of the record, which shows that it can be
replayed; with another version of the plugin it shows what a fix changes, and
what else.

If a hook differs and has read something that was removed from the record, the
difference may mean nothing, and the output says so. `-H` restores a field,
and `-c` the secrets and settings of a config.

Exit codes: 0 no hook is different, 1 some are, 2 the record cannot be
replayed.

Examples:
  portcullis replay record-4bf92f3577b34da6a3ce929d0e0e4736.json
  portcullis replay record.json \\
    --plugin tenant=target/wasm32-wasip2/release/tenant.wasm
  portcullis replay record.json -c edge.toml -H 'x-api-key: demo-key' --json")]
    Replay(ReplayArguments),

    /// Compare two plugins, or two configs
    #[command(after_help = "\
OLD and NEW are two plugins (a .wasm file, builtin:NAME, or an image in a
registry) or two config files. For plugins it prints the version, the size,
and above all what the new one requires and the old one did not: capabilities,
hooks, and settings for which a valid config may now be refused, marked with
`!`. For configs it prints what a reload would change, and the same for the
plugin of each policy that differs.

An image is fetched by its tag or digest and checked against its digests. Its
signature is not checked, because nothing of it runs. Passwords and
authorities for its registry come from [registries] of a config.

Exit codes, like those of diff(1): 0 the same, 1 they differ, 2 they cannot be
compared.

Examples:
  portcullis diff tenant-1.4.wasm tenant-2.0.wasm
  portcullis diff edge.toml next.toml
  # nothing new to grant?
  portcullis diff old.wasm new.wasm --json | jq -e '.capabilities.added == []'")]
    Diff(DiffArguments),
    /// Show and control versions of policies on trial: canaries and shadows
    #[command(after_help = "\
A policy can try another version of itself: `canary = { plugin = \"...\", share
= \"5%\" }` in the config lets it take a part of the exchanges, `shadow = {
plugin = \"...\" }` runs it beside the active one without effect. The commands
here act on the running gateway, and on the file only with `--write`: without
it, their changes last until the process ends, or until the canary or shadow
changes in the config.

Examples:
  portcullis rollout status                  # all versions on trial
  portcullis rollout status tenant           # one of them, with samples
  portcullis rollout abort tenant --reason \"answers 403 to partners\"
  portcullis rollout promote tenant --write  # for good")]
    Rollout {
        #[command(subcommand)]
        command: RolloutCommand,
    },

    /// Add, remove, drain and re-weight endpoints of the running gateway
    #[command(after_help = "\
Changes are at once, and hold until they are undone or the gateway ends; a
reload keeps them. The config is not changed.

Examples:
  portcullis endpoint list app
  portcullis endpoint drain app 10.0.0.11:8080
  portcullis endpoint undrain app 10.0.0.11:8080")]
    Endpoint {
        #[command(subcommand)]
        command: EndpointCommand,
    },

    /// Write plugins, and pin those from registries
    #[command(
        visible_alias = "plugins",
        after_help = "\
For authors of policies (docs/writing-a-policy.md):
  portcullis plugin new tenant --lang rust
  portcullis plugin build tenant
  portcullis plugin wit -o wit/deps/portcullis
  portcullis plugin inspect tenant.wasm
  portcullis plugin test

For operators, about plugins in registries (docs/plugins.md). A policy names
one by a tag, plugin = \"oci://registry.example.com/team/auth:1.4\". The image
of the tag is pinned in portcullis.lock, beside the config: commit it. `run`
and `validate` use the pinned image from the plugin store under
`server.cache-dir`, and contact the registry only for images that the store
lacks.

  # pin new tags of the config:
  portcullis plugin lock
  # pin the current image of the tag of policy auth:
  portcullis plugin lock --update auth
  # fill the store, while an image is built or for a start without a registry:
  portcullis plugin fetch"
    )]
    Plugin {
        #[command(subcommand)]
        command: PluginCommand,
    },

    /// Run a gateway for trying things out, with its own upstream servers
    #[command(after_help = "\
Starts two small upstream servers inside the process and a gateway in front of
them, with three routes: open, with policies (an API key, header rules, a rate
limit), and with a policy that you rebuild while it is swapped in. The config
is written to the folder for you to edit, and is kept the next time.

Examples:
  portcullis demo
  portcullis demo --http 127.0.0.1:9080 --https 127.0.0.1:9443
  portcullis demo --reset            # discard earlier edits")]
    Demo(DemoArguments),
}

impl Command {
    /// Returns whether it may leave files on disk: it runs a gateway, or fetches something for one.
    pub(crate) fn serves_or_keeps(&self) -> bool {
        match self {
            Self::Run(_)
            | Self::Demo(_)
            | Self::Rollout { .. }
            | Self::Record(_)
            | Self::CompilePlugin(_) => true,
            Self::Plugin { command } => command.serves_or_keeps(),
            Self::Validate(_)
            | Self::Endpoint { .. }
            | Self::Reload(_)
            | Self::Schema
            | Self::Routes(_)
            | Self::Status(_)
            | Self::Cache { .. }
            | Self::Explain(_)
            | Self::Replay(_)
            | Self::Diff(_)
            | Self::Import(_) => false,
        }
    }
}

/// Of `validate`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ValidateArguments {
    #[command(flatten)]
    pub(crate) config: ConfigArgument,
    /// Also report what the plugins import that those of this config do not
    #[arg(long, value_name = "OLD")]
    pub(crate) against: Option<PathBuf>,
}

/// Of `reload`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReloadArguments {
    #[command(flatten)]
    pub(crate) gateway: GatewayArgument,
    /// Print a JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `explain`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExplainArguments {
    /// The method, such as GET
    #[arg(value_name = "METHOD")]
    pub(crate) method: String,
    /// The URL; for a path alone the host is `localhost`, or the one that -H names
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// A field of the request, once for each
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgument,
    /// Ask the running gateway
    #[arg(long, conflicts_with = "routes_only")]
    pub(crate) live: bool,
    /// The client's address
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) client: IpAddr,
    /// The request comes over TLS, as it does for an https:// URL
    #[arg(long)]
    pub(crate) tls: bool,
    /// The name that the client asks for in TLS [default: the URL's host]
    #[arg(long, value_name = "NAME")]
    pub(crate) sni: Option<String>,
    /// The listener, for its limits [default: the first one that has, or does not have, TLS]
    #[arg(long, value_name = "NAME")]
    pub(crate) listener: Option<String>,
    /// Run no policy
    #[arg(long)]
    pub(crate) routes_only: bool,
    /// Print a JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `routes`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RoutesArguments {
    #[command(flatten)]
    pub(crate) config: ConfigArgument,
    /// Print a JSON array instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which running gateway, for every command that asks one.
#[derive(Debug, Clone, Args)]
pub(crate) struct GatewayArgument {
    #[command(flatten)]
    pub(crate) config: ConfigArgument,
    /// Its control socket [default: the one of the config]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

/// Of `status`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    pub(crate) gateway: GatewayArgument,
    /// Print JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `demo`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArguments {
    /// The folder for the config, the certificate and the plugin
    #[arg(long, value_name = "DIR", default_value = "portcullis-demo")]
    pub(crate) dir: PathBuf,
    /// Address to listen on without TLS [default: that of the config in the folder, else 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
    /// Address to listen on with TLS [default: that of the config in the folder, else 127.0.0.1:8443]
    #[arg(long, value_name = "ADDR")]
    pub(crate) https: Option<SocketAddr>,
    /// Write all files again, even a config that was edited
    #[arg(long)]
    pub(crate) reset: bool,
}

impl DemoArguments {
    /// The default address of the demo without TLS.
    pub(crate) const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
    /// The default address of the demo with TLS.
    pub(crate) const HTTPS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);
}

/// Reads the command line. Wrong usage ends the process with exit code 2, `--help` with 0.
pub(crate) fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| with_tip(error).exit())
}

#[cfg(test)]
mod tests;
