//! One example behind the gateway.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use toml_edit::{DocumentMut, InlineTable, Item, Table, value};

use super::client::{Client, upstream};
use super::gateway::{Gateway, refusal};
use crate::tree::root;

/// A first start compiles a whole language.
const START_WITHIN: Duration = Duration::from_secs(300);
/// What it takes is measured; this is when to give up.
const RELOAD_WITHIN: Duration = Duration::from_secs(120);
/// The keys of a new list.
const KEYS: usize = 1000;
/// New lists. The figure is the middle one, for other things run on the machine as well.
const LISTS: usize = 3;
/// Requests that are measured, of each kind.
const REQUESTS: usize = 200;

/// What was measured.
#[derive(Debug)]
pub(super) struct Figures {
    /// From the start of the process until it is ready.
    pub(super) start: Duration,
    /// From writing new keys until one of them is let in.
    pub(super) live: Duration,
    /// What the policy adds to a request.
    request: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, live, request } = self;
        write!(
            f,
            "ready after {:.2} s; {KEYS} new keys live after {:.2} s; {:.2} ms for each request",
            start.as_secs_f32(),
            live.as_secs_f32(),
            request.as_secs_f32() * 1e3
        )
    }
}

/// Runs the example of that name with its own `gateway.toml`.
pub(super) fn run(name: &str, component: &Path, program: &Path, isolation: &str) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    std::fs::copy(component, folder.path().join("key-check.wasm"))?;
    let mut config = Config::of(name, isolation)?;
    let refused = refusal(program, folder.path(), &config.with_a_typo())?;
    ensure!(refused.contains("did you mean `header`?"), "its manifest finds no typo:\n{refused}");
    config.write(folder.path())?;

    let start = Instant::now();
    let mut gateway = Gateway::start(program, folder.path(), START_WITHIN)?;
    let start = start.elapsed();
    let address = gateway.address.context("its log names no address")?;
    let mut client = Client::connect(address)?;
    let mut key = config.first_key()?;
    lets_in(&mut client, &key, "alice").with_context(|| gateway.said())?;
    keeps_out(&mut client, &key)?;

    let mut live = Vec::new();
    for list in 1..=LISTS {
        let old = std::mem::replace(&mut key, format!("key-{list}-{}", KEYS - 1));
        config.set_keys((0..KEYS).map(|at| (format!("client-{at}"), format!("key-{list}-{at}"))));
        let written = Instant::now();
        config.write(folder.path())?;
        gateway.wait("reloaded", RELOAD_WITHIN)?;
        lets_in(&mut client, &key, &format!("client-{}", KEYS - 1)).with_context(|| gateway.said())?;
        live.push(written.elapsed());
        keeps_out(&mut client, &key)?;
        let status = client.get("/", Some(&old))?.status;
        ensure!(status == 403, "a key of the list before was answered {status}, not 403");
    }
    let request = request(&mut client, &key).with_context(|| gateway.said())?;
    Ok(Figures { start, live: middle(live), request })
}

/// What the policy adds to a request: with it and without, by turns.
fn request(client: &mut Client, key: &str) -> Result<Duration> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..REQUESTS {
        for (path, took) in [("/", &mut with), ("/plain", &mut without)] {
            let since = Instant::now();
            let status = client.get(path, Some(key))?.status;
            took.push(since.elapsed());
            ensure!(status == 200, "{path} was answered {status}");
        }
    }
    Ok(middle(with).saturating_sub(middle(without)))
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The server must be told the name, and not the key.
fn lets_in(client: &mut Client, key: &str, name: &str) -> Result<()> {
    let answer = client.get("/", Some(key))?;
    ensure!(answer.status == 200, "the key `{key}` was answered {}, not 200: {}", answer.status, answer.body);
    let told = answer.body.lines().any(|line| line == format!("x-client-name: {name}"));
    ensure!(told, "the server was not told the name `{name}`:\n{}", answer.body);
    ensure!(!answer.body.contains(key), "the server was told the key:\n{}", answer.body);
    Ok(())
}

fn keeps_out(client: &mut Client, key: &str) -> Result<()> {
    for (key, expected) in [(Some(format!("{key}-not")), 403), (None, 401)] {
        let status = client.get("/", key.as_deref())?.status;
        ensure!(status == expected, "the key {key:?} was answered {status}, not {expected}");
    }
    Ok(())
}

/// The example's config, on free ports, and with a route beside that has no policy.
struct Config(DocumentMut);

impl Config {
    fn of(name: &str, isolation: &str) -> Result<Self> {
        let path = root().join("examples").join(name).join("gateway.toml");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut config: DocumentMut = text.parse().with_context(|| format!("{}", path.display()))?;
        config["listeners"]["web"]["address"] = value("127.0.0.1:0");
        let endpoints: toml_edit::Array = [upstream()?.to_string()].into_iter().collect();
        config["upstreams"]["app"]["endpoints"] = value(endpoints);
        config["policies"]["keys"]["isolation"] = value(isolation);
        let mut path = InlineTable::new();
        path.insert("path", "/plain".into());
        let mut plain = Table::new();
        plain.insert("match", value(path));
        plain.insert("to", value("app"));
        config["routes"]["plain"] = Item::Table(plain);
        Ok(Self(config))
    }

    fn first_key(&self) -> Result<String> {
        let keys = self.0["policies"]["keys"]["config"]["keys"].as_table_like();
        let first = keys.and_then(|keys| keys.iter().next()).and_then(|(_, key)| key.as_str());
        Ok(first.context("gateway.toml has no keys")?.to_owned())
    }

    fn set_keys(&mut self, keys: impl Iterator<Item = (String, String)>) {
        let keys: InlineTable = keys.collect();
        self.0["policies"]["keys"]["config"]["keys"] = value(keys);
    }

    fn with_a_typo(&self) -> String {
        let mut config = self.0.clone();
        config["policies"]["keys"]["config"]["headr"] = value("x-api-key");
        config.to_string()
    }

    /// By renaming, as an editor does.
    fn write(&self, folder: &Path) -> Result<()> {
        let partial = folder.join("partial");
        std::fs::write(&partial, self.0.to_string())?;
        Ok(std::fs::rename(&partial, folder.join("portcullis.toml"))?)
    }
}
