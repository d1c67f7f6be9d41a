//! The difference between two configurations: what a reload from one to the other would change, and for each policy
//! what its new plugin newly needs.

use std::collections::BTreeMap;

use portcullis_model::{Capability, Gateway, Name, PolicyConfig};
use serde_json::{Value, json};

use super::plugin::{PluginDiff, PluginFacts};
use crate::changes::Changes;
use portcullis_model::text::escape as shown;

/// What differs between two configs.
#[derive(Debug)]
pub struct ConfigDiff {
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

impl ConfigDiff {
    /// Compares two configurations, each with a function that returns what the plugin of a policy is like.
    ///
    /// # Errors
    /// The name of the first policy for which such a function failed, with its error.
    pub fn between<E>(
        (old, old_facts): (&Gateway, impl Fn(&PolicyConfig) -> Result<PluginFacts, E>),
        (new, new_facts): (&Gateway, impl Fn(&PolicyConfig) -> Result<PluginFacts, E>),
    ) -> Result<Self, (Name, E)> {
        let mut policies = BTreeMap::new();
        for after in &new.policies {
            let Some(before) = old.policies.iter().find(|policy| policy.name == after.name) else { continue };
            let failed = |error| (Name::clone(&after.name), error);
            let plugins = (old_facts(before).map_err(failed)?, new_facts(after).map_err(failed)?);
            let diff = PolicyDiff::between((before, plugins.0), (after, plugins.1));
            if !diff.is_same() {
                policies.insert(Name::clone(&after.name), diff);
            }
        }
        Ok(Self { changes: Changes::between(old, new), policies })
    }

    /// Returns whether a reload from one to the other would change nothing.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.changes.is_empty() && self.policies.is_empty()
    }

    /// Returns it as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
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

    /// Returns it as people read it.
    #[must_use]
    pub fn text(&self) -> String {
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
        (old, old_plugin): (&PolicyConfig, PluginFacts),
        (new, new_plugin): (&PolicyConfig, PluginFacts),
    ) -> Self {
        let granted = |policy: &PolicyConfig, other: &PolicyConfig| -> Vec<&'static str> {
            let only = |capability: &Capability| {
                policy.grants.allows(*capability) && !other.grants.allows(*capability)
            };
            Capability::ALL.into_iter().filter(only).map(Capability::name).collect()
        };
        Self {
            plugin: PluginDiff::between(old_plugin, new_plugin),
            granted: granted(new, old),
            taken: granted(old, new),
            settings: old.config_json != new.config_json,
            limits: (old.limits, old.on_error, old.tick, old.isolation)
                != (new.limits, new.on_error, new.tick, new.isolation)
                || (granted(new, old).is_empty() && granted(old, new).is_empty() && old.grants != new.grants),
        }
    }

    fn is_same(&self) -> bool {
        self.plugin.is_same()
            && self.granted.is_empty()
            && self.taken.is_empty()
            && !self.settings
            && !self.limits
    }
}
