//! The command line of `portcullis cache`.

use clap::{Args, Subcommand};

use super::GatewayArgument;

/// What to do with caches.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CacheCommand {
    /// List the caches, what they hold and which routes use them
    #[command(after_help = "\
Examples:
  portcullis cache list
  portcullis cache list --json | jq '.[] | select(.evictions > 0) | .cache'")]
    List(CacheListArguments),

    /// Show what is stored of a URL, and what a request for it would get now
    #[command(after_help = "\
URL is the one that clients use. The request, a GET unless --method says
otherwise, with the fields of -H, goes through the routes and their policies
as `explain --live` does it: no upstream is asked, no policy has an effect, and
no use of the cache is counted. The first line says what would happen to it:
`hit`, `stale`, `validate`, `miss` or `bypass`, and why. Then follow all
responses that are stored of the URL, whatever else is part of their keys.

Values of cookies, of credentials and of what policies have set are hidden:
equal values have the same mark until the gateway is restarted.

Exit code 0 if a gateway answered, whatever is stored; 1 if none did or it
refused.

Examples:
  portcullis cache inspect https://www.example.com/news
  portcullis cache inspect https://www.example.com/news \\
    -H 'accept-encoding: br' -H 'accept-language: de'
  # when does it become stale?
  portcullis cache inspect www.example.com/news --json \\
    | jq '.responses[] | {tier, ttl_s}'")]
    Inspect(CacheInspectArguments),

    /// Remove stored responses, or mark them stale
    #[command(after_help = "\
A purge counts for each request that begins after this command has returned,
on all workers, in memory and on the disk, and for responses that are on their
way from an upstream: these are passed on and not stored.

  --url     exactly this URL, with its query: all variants, of all routes that
            share the cache, whatever fields, cookies or policies added to the
            key. Without a scheme it means http and https.
  --prefix  this URL and all below it: `https://a.test/img` takes `/img`,
            `/img/x` and `/img?x`, and not `/images`. `https://a.test/im*`
            takes all that begin so; `https://a.test` the whole host.
  --tag     all that have this tag in `Surrogate-Key` or `Cache-Tag`.
  --all     everything.

URLs are those that clients use. If a route rewrites paths, what it makes of
the URL is purged as well; what a policy makes of it is known by `portcullis
cache inspect` only. With --soft the responses stay, and are validated before
they are used; `stale` of the route counts from now on.

It prints how many responses it met, and if there were none, what is stored
with the same path. Exit code 0 even then, for the purge counts also for what
is on its way; 1 if no gateway answered, or it refused.

Examples:
  portcullis cache purge --url https://www.example.com/news
  portcullis cache purge --prefix 'https://www.example.com/img' --cache assets
  portcullis cache purge --tag product-7 --tag product-8 --soft
  portcullis cache purge --all --cache assets")]
    Purge(CachePurgeArguments),
}

/// Of `cache list`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CacheListArguments {
    #[command(flatten)]
    pub(crate) gateway: GatewayArgument,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `cache inspect`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CacheInspectArguments {
    /// The URL, as clients use it
    pub(crate) url: String,
    /// A field of the request, once for each
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// The method of the request
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    pub(crate) method: String,
    /// Only this cache
    #[arg(long, value_name = "NAME")]
    pub(crate) cache: Option<String>,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgument,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `cache purge`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CachePurgeArguments {
    #[command(flatten)]
    pub(crate) what: PurgeWhat,
    /// Only this cache, once for each [default: all]
    #[arg(long = "cache", value_name = "NAME")]
    pub(crate) caches: Vec<String>,
    /// Keep the responses, but for validation and as stale ones
    #[arg(long)]
    pub(crate) soft: bool,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgument,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to purge.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct PurgeWhat {
    /// Exactly this URL, once for each
    #[arg(long = "url", value_name = "URL")]
    pub(crate) urls: Vec<String>,
    /// This URL and all below it, once for each
    #[arg(long = "prefix", value_name = "URL")]
    pub(crate) prefixes: Vec<String>,
    /// All with this tag, once for each
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Everything
    #[arg(long, conflicts_with_all = ["urls", "prefixes", "tags"])]
    pub(crate) all: bool,
}
