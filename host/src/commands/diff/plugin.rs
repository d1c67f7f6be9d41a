//! Two plugins beside each other.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, bail};
use portcullis_model::{Capability, ContentDigest, OciReference};
use portcullis_policy::{HookKind, Hooks};
use portcullis_registry::Image;
use portcullis_sandbox::ComponentInfo;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::schema::{self, SettingChange};
use crate::shown::shown;

/// What is compared of a plugin.
#[derive(Debug, Clone)]
pub(crate) struct PluginFacts {
    /// Where it came from.
    source: String,
    /// Where that is a registry: the manifest of the image.
    manifest: Option<ContentDigest>,
    digest: [u8; 32],
    bytes: usize,
    info: ComponentInfo,
}

/// What differs between two plugins.
#[derive(Debug)]
pub(crate) struct PluginDiff {
    old: PluginFacts,
    new: PluginFacts,
    settings: Vec<SettingChange>,
}

impl PluginFacts {
    /// Of the component `bytes`, which came from `source`.
    ///
    /// # Errors
    /// Where the bytes are no plugin.
    pub(crate) fn of(source: String, bytes: &[u8]) -> anyhow::Result<Self> {
        let info = portcullis_sandbox::inspect(bytes).with_context(|| format!("{source} is no plugin"))?;
        Ok(Self { source, manifest: None, digest: Sha256::digest(bytes).into(), bytes: bytes.len(), info })
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

/// The component that ships as `name`.
///
/// # Errors
/// Where there is none, with those that there are.
pub(crate) fn builtin(name: &str) -> anyhow::Result<PluginFacts> {
    let Some(bytes) = portcullis_plugins::builtin(name) else {
        bail!(
            "there is no builtin plugin `{}`\n  = help: the builtin plugins are {}",
            shown(name),
            portcullis_plugins::NAMES.join(", ")
        );
    };
    PluginFacts::of(format!("builtin:{name}"), bytes)
}

/// The component in the file at `path`.
///
/// # Errors
/// Where it is none.
pub(crate) fn file(path: &Path, bytes: &[u8]) -> anyhow::Result<PluginFacts> {
    PluginFacts::of(path.display().to_string(), bytes)
}

/// The component in an image.
///
/// # Errors
/// Where it is none.
pub(crate) fn image(reference: &OciReference, image: &Image) -> anyhow::Result<PluginFacts> {
    // What a tag stood for is told too: it may stand for another in a moment.
    let source = match reference.digest {
        Some(_) => reference.to_string(),
        None => format!("{reference}@{}", image.manifest),
    };
    Ok(PluginFacts { manifest: Some(image.manifest), ..PluginFacts::of(source, &image.component)? })
}

impl PluginDiff {
    pub(crate) fn between(old: PluginFacts, new: PluginFacts) -> Self {
        let settings = schema::changes(old.schema(), new.schema());
        Self { old, new, settings }
    }

    /// Whether the two are byte for byte the same.
    pub(crate) fn is_same(&self) -> bool {
        self.old.digest == self.new.digest
    }

    /// What the new one imports and the old one did not.
    pub(crate) fn added(&self) -> Vec<Capability> {
        without(&self.new.info.imports, &self.old.info.imports)
    }

    fn dropped(&self) -> Vec<Capability> {
        without(&self.old.info.imports, &self.new.info.imports)
    }

    pub(crate) fn to_json(&self) -> Value {
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

    /// Lines that begin with `indent`. What is the same is left out.
    pub(crate) fn text(&self, indent: &str) -> String {
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
pub(crate) fn hooks(hooks: Hooks) -> Vec<&'static str> {
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
