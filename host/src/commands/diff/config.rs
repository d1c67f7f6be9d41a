//! Two configs beside each other: what a reload from one to the other would change, and of each policy what its new plugin
//! newly wants.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use portcullis_config::{Loaded, LoadedComponents};
use portcullis_model::{Capability, Name, PolicyConfig};
use serde_json::{Value, json};

use super::plugin::{PluginDiff, PluginFacts};
use crate::changes::Changes;
use crate::plugins::Catalog;
use crate::refusal::Refusal;
use crate::shown::shown;

/// What differs between two configs.
#[derive(Debug)]
pub(crate) struct ConfigDiff {
    changes: Changes,
    /// The policies of both that differ.
    policies: BTreeMap<Name, PolicyDiff>,
}

#[derive(Debug)]
struct PolicyDiff {
    plugin: PluginDiff,
    granted: Vec<&'static str>,
    taken: Vec<&'static str>,
    /// Whether its settings (`config`) are others.
    settings: bool,
    /// Whether its limits, `on-error` or `tick` are others.
    limits: bool,
}

/// Reads a config, with all that it names.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn load(path: &Path) -> anyhow::Result<Loaded> {
    Ok(portcullis_config::load(path, &Catalog).map_err(Refusal::Config)?)
}

impl ConfigDiff {
    /// # Errors
    /// If a plugin cannot be looked into.
    pub(crate) fn between(old: &Loaded, new: &Loaded) -> anyhow::Result<Self> {
        let mut policies = BTreeMap::new();
        for after in &new.gateway.policies {
            let before = old.gateway.policies.iter().find(|policy| policy.name == after.name);
            let Some(before) = before else { continue };
            let diff = PolicyDiff::between((before, &old.components), (after, &new.components))
                .with_context(|| format!("policy `{}` cannot be compared", after.name))?;
            if !diff.is_same() {
                policies.insert(Name::clone(&after.name), diff);
            }
        }
        Ok(Self { changes: Changes::between(&old.gateway, &new.gateway), policies })
    }

    pub(crate) fn is_same(&self) -> bool {
        self.changes.is_empty() && self.policies.is_empty()
    }

    pub(crate) fn to_json(&self) -> Value {
        let policies: serde_json::Map<String, Value> = self
            .policies
            .iter()
            .map(|(name, diff)| {
                let policy = json!({
                    "plugin": diff.plugin.to_json(),
                    "grants": { "added": diff.granted, "dropped": diff.taken },
                    "settings-differ": diff.settings,
                    "limits-differ": diff.limits,
                });
                (name.to_string(), policy)
            })
            .collect();
        json!({
            "same": self.is_same(),
            "changes": self.changes.live,
            "changes-at-restart": self.changes.restart,
            "policies": policies,
        })
    }

    pub(crate) fn text(&self) -> String {
        if self.is_same() {
            return "the two configs are the same\n".to_owned();
        }
        let mut lines: Vec<String> = self.changes.live.clone();
        lines.extend(self.changes.restart.iter().map(|what| format!("{what} changed (at the next start)")));
        let mut text: String = lines.iter().map(|line| format!("{}\n", shown(line))).collect();
        for (name, diff) in &self.policies {
            text.push_str(&format!("\npolicy `{}`\n", shown(name)));
            text.push_str(&diff.plugin.text("  "));
            for (mark, names) in [("+", &diff.granted), ("-", &diff.taken)] {
                for name in names {
                    text.push_str(&format!("  {:<13} {mark} {name}\n", "grant"));
                }
            }
            for (differs, what) in [(diff.settings, "config"), (diff.limits, "limits")] {
                if differs {
                    text.push_str(&format!("  {what:<13} changed\n"));
                }
            }
        }
        text
    }
}

impl PolicyDiff {
    fn between(
        (old, old_components): (&PolicyConfig, &LoadedComponents),
        (new, new_components): (&PolicyConfig, &LoadedComponents),
    ) -> anyhow::Result<Self> {
        let facts = |policy: &PolicyConfig, components: &LoadedComponents| -> anyhow::Result<PluginFacts> {
            let bytes = components.get(&policy.digest).context("its component was not read")?;
            PluginFacts::of(policy.plugin.to_string(), bytes)
        };
        let granted = |policy: &PolicyConfig, other: &PolicyConfig| -> Vec<&'static str> {
            let only = |capability: &Capability| {
                policy.grants.allows(*capability) && !other.grants.allows(*capability)
            };
            Capability::ALL.into_iter().filter(only).map(Capability::name).collect()
        };
        Ok(Self {
            plugin: PluginDiff::between(facts(old, old_components)?, facts(new, new_components)?),
            granted: granted(new, old),
            taken: granted(old, new),
            settings: old.config_json != new.config_json,
            limits: (old.limits, old.on_error, old.tick, old.isolation)
                != (new.limits, new.on_error, new.tick, new.isolation)
                || (granted(new, old).is_empty() && granted(old, new).is_empty() && old.grants != new.grants),
        })
    }

    fn is_same(&self) -> bool {
        self.plugin.is_same()
            && self.granted.is_empty()
            && self.taken.is_empty()
            && !self.settings
            && !self.limits
    }
}
