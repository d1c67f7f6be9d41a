//! The policies of a record, ready to run again.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use portcullis_config::{Loaded, LoadedComponents};
use portcullis_model::text::hex;
use portcullis_model::{
    Capability, FailureMode, Gateway, Grants, HttpGrant, Isolation, Name, PluginSource, PolicyConfig,
    PurgeGrant, RateQuota, ResourceLimits, Secret, StoreGrant, Version,
};
use portcullis_policy::Policy;
use portcullis_policy::recorder::HookRecord;
use serde_json::{Value, json};

use super::list;
use crate::cli::ReplayArguments;
use crate::plugins::{Catalog, PLUGIN_BYTES_MAX};
use crate::refusal::Refusal;
use crate::run::compose;
use portcullis_inspect::trace::{Scrubber, secret_mark};
use portcullis_model::text::escape as shown;

/// The policies whose hooks a record has.
pub(super) struct Policies {
    ready: HashMap<Name, Ready>,
    /// What the record does not have any more.
    removed: Vec<String>,
}

struct Ready {
    policy: Rc<dyn Policy>,
    plugin: String,
    /// Whether its plugin is, byte for byte, that of the record.
    same_plugin: bool,
    /// Secrets that it was granted and did not get.
    missing: Vec<String>,
}

impl Policies {
    /// Readies them: with the plugins and settings of the record, or of the config that was named, but for plugins that
    /// were named one by one.
    ///
    /// # Errors
    /// If one of them cannot run.
    pub(super) fn ready(
        record: &Value,
        arguments: &ReplayArguments,
        scrubber: &mut Scrubber,
    ) -> anyhow::Result<Self> {
        let mut plugins = BTreeMap::new();
        for typed in &arguments.plugins {
            let Some((name, plugin)) = typed.split_once('=') else {
                bail!("--plugin `{}` names no policy: write it as NAME=PATH", shown(typed));
            };
            plugins.insert(name, plugin);
        }
        let (config, mut components) = match &arguments.config {
            Some(path) => {
                let loaded = portcullis_config::load(path, &Catalog).map_err(Refusal::Config)?;
                (Some(loaded.gateway), loaded.components)
            }
            None => (None, LoadedComponents::default()),
        };
        let recorded = list(&record["policies"]);
        let ran = |policy: &&Value| {
            let same =
                |hook: &Value| hook["policy"] == policy["name"] && hook["version"] == policy["version"];
            list(&record["hooks"]).iter().any(same)
        };
        let server = config.as_ref().map(|config| config.server.clone()).unwrap_or_default();
        let mut gateway = Gateway { server, ..Gateway::default() };
        let mut missing: HashMap<Name, Vec<String>> = HashMap::new();
        for policy in recorded.iter().filter(ran) {
            let name = policy["name"].as_str().context("a policy of the record has no name")?;
            let plugin = plugins.remove(name);
            let made = match &config {
                Some(config) => of_config(config, name, policy["version"].as_str(), plugin, &mut components)?,
                None => of_record(policy, name, plugin, &mut components)?,
            };
            for secret in &made.grants.secrets {
                let known = config.as_ref().and_then(|config| config.secrets.get(secret));
                let value = known.cloned().unwrap_or_else(|| Secret::new(secret_mark(secret).into_bytes()));
                if known.is_none() {
                    missing.entry(Name::clone(&made.name)).or_default().push(secret.to_string());
                } else {
                    scrubber.add(value.expose(), &secret_mark(secret));
                }
                gateway.secrets.insert(Name::clone(secret), value);
            }
            gateway.policies.push(made);
        }
        if let Some(name) = plugins.keys().next() {
            bail!("--plugin names the policy `{}`, of which the record has no hook", shown(name));
        }
        let composed = compose::policies(Loaded { gateway, components })?;
        let factories = composed.factories();
        let ready = composed.gateway.policies.iter().filter_map(|policy| {
            let digest = recorded.iter().filter(ran).find(|recorded| recorded["name"] == *policy.name)?;
            let ready = Ready {
                policy: factories.get(&policy.name)?.clone().detached(),
                plugin: policy.plugin.to_string(),
                same_plugin: digest["digest"] == format!("sha256:{}", hex(&policy.digest)),
                missing: missing.remove(&policy.name).unwrap_or_default(),
            };
            Some((Name::clone(&policy.name), ready))
        });
        let removed = list(&record["removed"]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(Self { ready: ready.collect(), removed })
    }

    /// The policy of a recorded hook, and its position.
    pub(super) fn of(&self, hook: &Value) -> anyhow::Result<(Rc<dyn Policy>, usize)> {
        /// More policies than a route has.
        const POSITIONS_MAX: u64 = 10_000;
        let name = hook["policy"].as_str().unwrap_or_default();
        let ready =
            self.ready.get(name).with_context(|| format!("the record has no policy `{}`", shown(name)))?;
        let at = hook["at"].as_u64().filter(|at| *at < POSITIONS_MAX).context("its position is missing")?;
        Ok((ready.policy.clone(), usize::try_from(at)?))
    }

    /// What the record does not have any more.
    pub(super) fn removed(&self) -> &[String] {
        &self.removed
    }

    /// Why a difference in this hook may mean nothing.
    pub(super) fn doubts(&self, recorded: &Value, replayed: &HookRecord) -> Vec<String> {
        let mut doubts = Vec::new();
        for what in &replayed.removed_reads {
            let help = match what.strip_prefix("request.header ") {
                Some(name) => format!(": give it with -H '{name}: …'"),
                None => String::new(),
            };
            doubts.push(format!("it reads {what}, which was removed from the record{help}"));
        }
        let name = recorded["policy"].as_str().unwrap_or_default();
        let missing = self.ready.get(name).map_or(&[][..], |ready| &ready.missing);
        if !missing.is_empty() {
            let secrets = missing.join("`, `");
            doubts.push(format!(
                "secrets are in no record, and it was granted `{secrets}`: name a config with -c"
            ));
        }
        if self.removed.contains(&format!("config {name}")) {
            doubts.push("its settings are not all in the record: name a config with -c".to_owned());
        }
        doubts
    }

    pub(super) fn to_json(&self) -> Value {
        let sorted: BTreeMap<&Name, &Ready> = self.ready.iter().collect();
        let policies = sorted.iter().map(|(name, ready)| {
            json!({ "name": &***name, "plugin": ready.plugin, "same-plugin": ready.same_plugin })
        });
        policies.collect()
    }
}

/// A policy as a config has it.
fn of_config(
    config: &Gateway,
    name: &str,
    version: Option<&str>,
    plugin: Option<&str>,
    components: &mut LoadedComponents,
) -> anyhow::Result<PolicyConfig> {
    let found = config.policies.iter().find(|policy| *policy.name == *name);
    let mut policy = found.cloned().with_context(|| {
        let names: Vec<&str> = config.policies.iter().map(|policy| &*policy.name).collect();
        format!("the config has no policy `{}`\n  = help: its policies are {}", shown(name), names.join(", "))
    })?;
    // It was the version that was tried which had the exchange; it may have become the active one since.
    if let Some(tried) =
        policy.candidate.take().filter(|tried| Some(tried.version().version.name()) == version)
    {
        policy = tried.version().clone();
        policy.version = Version::Active;
    }
    if let Some(plugin) = plugin {
        let (source, bytes) = component(plugin)?;
        policy.grants = grants(&bytes, policy.grants.secrets)?;
        (policy.plugin, policy.digest) = (source, add(components, bytes)?);
    }
    Ok(policy)
}

/// A policy as the record has it.
fn of_record(
    policy: &Value,
    name: &str,
    plugin: Option<&str>,
    components: &mut LoadedComponents,
) -> anyhow::Result<PolicyConfig> {
    if policy["config"].is_null() {
        bail!("the settings of policy `{}` are too large for a record: name a config with -c", shown(name));
    }
    let plugin = plugin.or_else(|| policy["plugin"].as_str()).unwrap_or_default();
    let (source, bytes) = component(plugin).with_context(|| {
        format!(
            "policy `{}`: --plugin {}=PATH names another plugin, and -c a config",
            shown(name),
            shown(name)
        )
    })?;
    let secrets: Vec<Name> =
        list(&policy["secrets"]).iter().filter_map(Value::as_str).map(Name::from).collect();
    let defaults = ResourceLimits::default();
    let number = |name: &str| policy[name].as_u64();
    let bytes_of =
        |name: &str, default: usize| number(name).and_then(|bytes| bytes.try_into().ok()).unwrap_or(default);
    Ok(PolicyConfig {
        name: Name::from(name),
        version: Version::Active,
        candidate: None,
        isolation: if policy["isolation"] == Isolation::Worker.name() {
            Isolation::Worker
        } else {
            Isolation::Exchange
        },
        plugin: source,
        grants: grants(&bytes, secrets)?,
        digest: add(components, bytes)?,
        limits: ResourceLimits {
            deadline: number("deadline-us").map_or(defaults.deadline, Duration::from_micros),
            memory_bytes: bytes_of("memory-bytes", defaults.memory_bytes),
            body_bytes: bytes_of("body-bytes", defaults.body_bytes),
            ..defaults
        },
        on_error: if policy["on-error"] == "allow" { FailureMode::Allow } else { FailureMode::Deny },
        // One exchange shows what it shows, however often it is run.
        quarantine: None,
        tick: Duration::from_secs(10),
        config_json: policy["config"].to_string(),
        origin: portcullis_model::Origin::default(),
    })
}

/// Keeps a component to be compiled, and returns its digest.
fn add(components: &mut LoadedComponents, component: Cow<'static, [u8]>) -> anyhow::Result<[u8; 32]> {
    components.add(component).context("the plugins are too large together")
}

fn component(typed: &str) -> anyhow::Result<(PluginSource, Cow<'static, [u8]>)> {
    if let Some(name) = typed.strip_prefix("builtin:") {
        let bytes = portcullis_plugins::builtin(name)
            .with_context(|| format!("there is no builtin plugin `{}`", shown(name)))?;
        return Ok((PluginSource::Builtin(Name::from(name)), Cow::Borrowed(bytes)));
    }
    let path =
        std::path::absolute(Path::new(typed)).with_context(|| format!("`{}` is no path", shown(typed)))?;
    // The record may have been edited: what it names is read as warily as what a config does.
    let bytes = portcullis_config::read_file(&path, PLUGIN_BYTES_MAX)
        .map_err(|reason| anyhow::anyhow!("the plugin {} cannot be read: {reason}", shown(typed)))?;
    Ok((PluginSource::File(path), Cow::Owned(bytes)))
}

fn nobody() -> HttpGrant {
    HttpGrant {
        tls: true,
        host: "replay.invalid".to_owned(),
        port: 443,
        path: String::new(),
        private: false,
        ca: None,
    }
}

/// All that the component imports. That is no more than it could do here: its calls are answered from the record, and
/// the others find empty stores and full quotas.
fn grants(component: &[u8], secrets: Vec<Name>) -> anyhow::Result<Grants> {
    let info = portcullis_sandbox::inspect(component)?;
    let has = |capability: Capability| info.imports.contains(&capability);
    Ok(Grants {
        log: has(Capability::Log),
        clock: has(Capability::Clock),
        random: has(Capability::Random),
        rate_limit: has(Capability::RateLimit).then(RateQuota::default),
        metrics: has(Capability::Metrics),
        store: has(Capability::Store).then(StoreGrant::default),
        crypto: has(Capability::Crypto),
        matchers: has(Capability::Matchers),
        // Requests in the record are answered from it; others go to a name that never resolves (RFC 6761, 6.4).
        http: has(Capability::HttpClient).then(nobody).into_iter().collect(),
        // There is none here.
        cache_purge: has(Capability::CachePurge)
            .then(|| PurgeGrant { caches: Vec::new(), per_second: PurgeGrant::PER_SECOND }),
        secrets,
    })
}
