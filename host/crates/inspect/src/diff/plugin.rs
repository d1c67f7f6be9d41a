//! The difference between two plugins.

use std::fmt::Write as _;

use portcullis_model::{Capability, ContentDigest, OciReference};
use portcullis_policy::{HookKind, Hooks};
use portcullis_sandbox::{ComponentInfo, InspectError};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::schema::{self, SettingChange};
use portcullis_model::text::escape as shown;

/// The parts of a plugin that are compared.
#[derive(Debug, Clone)]
pub struct PluginFacts {
    /// The place that it came from.
    source: String,
    /// The manifest of the image, if it came from a registry.
    manifest: Option<ContentDigest>,
    digest: [u8; 32],
    bytes: usize,
    info: ComponentInfo,
}

/// Bytes that are not a plugin.
#[derive(Debug, thiserror::Error)]
#[error("{source_name} is no plugin")]
pub struct NotAPlugin {
    source_name: String,
    #[source]
    error: InspectError,
}

/// What differs between two plugins.
#[derive(Debug)]
pub struct PluginDiff {
    old: PluginFacts,
    new: PluginFacts,
    settings: Vec<SettingChange>,
}

impl PluginFacts {
    /// Returns the facts of the component `bytes`, which came from `source`.
    ///
    /// # Errors
    /// If the bytes are not a plugin.
    pub fn of(source: String, bytes: &[u8]) -> Result<Self, NotAPlugin> {
        let info = match portcullis_sandbox::inspect(bytes) {
            Ok(info) => info,
            Err(error) => return Err(NotAPlugin { source_name: source, error }),
        };
        Ok(Self { source, manifest: None, digest: Sha256::digest(bytes).into(), bytes: bytes.len(), info })
    }

    /// Returns the facts of the component of an image in a registry. If the reference is a tag, the source also names
    /// the manifest, because the tag may be moved to another one.
    ///
    /// # Errors
    /// If the bytes are not a plugin.
    pub fn of_image(
        reference: &OciReference,
        manifest: ContentDigest,
        component: &[u8],
    ) -> Result<Self, NotAPlugin> {
        let source = match reference.digest {
            Some(_) => reference.to_string(),
            None => format!("{reference}@{manifest}"),
        };
        Ok(Self { manifest: Some(manifest), ..Self::of(source, component)? })
    }

    /// Returns what follows from its imports and exports.
    #[must_use]
    pub fn info(&self) -> &ComponentInfo {
        &self.info
    }

    fn name(&self) -> &str {
        self.info.manifest.as_ref().map_or("unnamed", |manifest| &manifest.name)
    }

    fn version(&self) -> &str {
        self.info.manifest.as_ref().map_or("", |manifest| &manifest.version)
    }

    fn schema(&self) -> Option<&Value> {
        self.info.manifest.as_ref()?.config_schema.as_ref()
    }

    fn to_json(&self) -> Value {
        json!({
            "source": self.source,
            "manifest": self.manifest.map(|manifest| manifest.to_string()),
            "signature": self.manifest.map(|_| "not-checked"),
            "name": self.name(),
            "version": self.version(),
            "digest": digest(&self.digest),
            "bytes": self.bytes,
            "capabilities": names(&self.info.imports),
            "hooks": hooks(self.info.hooks),
        })
    }
}

impl PluginDiff {
    /// Compares two plugins.
    #[must_use]
    pub fn between(old: PluginFacts, new: PluginFacts) -> Self {
        let settings = schema::changes(old.schema(), new.schema());
        Self { old, new, settings }
    }

    /// Returns whether the two are byte for byte the same.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.old.digest == self.new.digest
    }

    /// Returns what the new one imports and the old one did not.
    #[must_use]
    pub fn added(&self) -> Vec<Capability> {
        without(&self.new.info.imports, &self.old.info.imports)
    }

    fn dropped(&self) -> Vec<Capability> {
        without(&self.old.info.imports, &self.new.info.imports)
    }

    /// Returns it as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (before, after) = (hooks(self.old.info.hooks), hooks(self.new.info.hooks));
        json!({
            "same": self.is_same(),
            "old": self.old.to_json(),
            "new": self.new.to_json(),
            "capabilities": { "added": names(&self.added()), "dropped": names(&self.dropped()) },
            "hooks": { "added": without(&after, &before), "dropped": without(&before, &after) },
            "settings": self.settings.iter().map(|change| json!({
                "setting": change.setting, "breaks": change.breaks, "change": change.change,
            })).collect::<Vec<_>>(),
        })
    }

    /// Returns it as text for people, each line with `indent` before it. What is the same is left out.
    #[must_use]
    pub fn text(&self, indent: &str) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: std::fmt::Arguments<'_>| {
            // Nothing else than a string, which takes what fits into memory.
            let _infallible = writeln!(text, "{indent}{name:<13} {value}");
        };
        let (old, new) = (&self.old, &self.new);
        for (name, before, after) in [
            ("plugin", old.source.as_str(), new.source.as_str()),
            ("name", old.name(), new.name()),
            ("version", old.version(), new.version()),
        ] {
            if before == after {
                line(name, format_args!("{}", shown(after)));
            } else {
                line(name, format_args!("{} -> {}", shown(before), shown(after)));
            }
        }
        if old.manifest.or(new.manifest).is_some() {
            let note =
                "not checked: an image is only looked at here, and `signed-by` holds when a config loads it";
            line("signature", format_args!("{note}"));
        }
        if self.is_same() {
            line("digest", format_args!("{} (the same bytes)", digest(&new.digest)));
            return text;
        }
        line("digest", format_args!("{} -> {}", digest(&old.digest), digest(&new.digest)));
        let grown =
            i128::try_from(new.bytes).unwrap_or_default() - i128::try_from(old.bytes).unwrap_or_default();
        line("size", format_args!("{} -> {} bytes ({grown:+})", old.bytes, new.bytes));
        for capability in self.added() {
            line(
                "capability",
                format_args!("+ {} (grant it, or the policy does not load)", capability.name()),
            );
        }
        for capability in self.dropped() {
            line(
                "capability",
                format_args!("- {} (take its grant away, or the policy does not load)", capability.name()),
            );
        }
        let (before, after) = (hooks(old.info.hooks), hooks(new.info.hooks));
        for hook in without(&after, &before) {
            line("hook", format_args!("+ {hook}"));
        }
        for hook in without(&before, &after) {
            line("hook", format_args!("- {hook}"));
        }
        for SettingChange { setting, breaks, change } in &self.settings {
            let mark = if *breaks { "!" } else { " " };
            match setting.as_str() {
                "" => line("settings", format_args!("{mark} {change}")),
                setting => line("settings", format_args!("{mark} `{setting}` {change}")),
            }
        }
        if self.settings.iter().any(|change| change.breaks) {
            line("", format_args!("! may refuse settings that the old version took"));
        }
        text
    }
}

/// The WIT names of the hooks, in the order of an exchange.
fn hooks(hooks: Hooks) -> Vec<&'static str> {
    hooks.iter().map(HookKind::name).collect()
}

fn names(capabilities: &[Capability]) -> Vec<&'static str> {
    capabilities.iter().map(|capability| capability.name()).collect()
}

fn without<T: Copy + PartialEq>(these: &[T], those: &[T]) -> Vec<T> {
    these.iter().filter(|one| !those.contains(one)).copied().collect()
}

fn digest(bytes: &[u8; 32]) -> String {
    bytes.iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
