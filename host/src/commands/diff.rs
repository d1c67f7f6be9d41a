//! `portcullis diff`: what a new version of a plugin, or of a config, adds, drops and asks for.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use portcullis_config::Loaded;
use portcullis_inspect::{ConfigDiff, PluginDiff, PluginFacts};
use portcullis_model::text::escape as shown;
use portcullis_model::{Name, PolicyConfig};

use crate::cli::DiffArguments;
use crate::output::print;
use crate::plugins::{self, Catalog};
use crate::refusal::Refusal;
use crate::run::compose::Composed;

/// The exit code for what differs, as diff(1) has it.
const DIFFERS: u8 = 1;
/// The exit code for what cannot be compared, as diff(1) has it.
pub(crate) const TROUBLE: u8 = 2;
/// A larger file is neither a plugin nor a config.
const BYTES_MAX: u64 = crate::plugins::PLUGIN_BYTES_MAX;

/// One side of a comparison.
enum Side {
    Plugin(Box<PluginFacts>),
    Config(Box<Loaded>),
}

/// Compares, prints, and says by the exit code whether there is a difference.
///
/// # Errors
/// If the two cannot be compared.
pub(crate) fn run(arguments: &DiffArguments) -> anyhow::Result<ExitCode> {
    let read = |typed: &str| Side::read(typed, arguments.config());
    let (same, json, text) = match (read(&arguments.old)?, read(&arguments.new)?) {
        (Side::Plugin(old), Side::Plugin(new)) => {
            let diff = PluginDiff::between(*old, *new);
            (diff.is_same(), diff.to_json(), diff.text(""))
        }
        (Side::Config(old), Side::Config(new)) => {
            let diff = ConfigDiff::between((&old.gateway, facts(&old)), (&new.gateway, facts(&new)))
                .map_err(|(name, error)| error.context(format!("policy `{name}` cannot be compared")))?;
            (diff.is_same(), diff.to_json(), diff.text())
        }
        _ => bail!(
            "{} and {} are not of one kind: a plugin is compared with a plugin, a config with a config",
            arguments.old,
            arguments.new
        ),
    };
    print(&if arguments.json { format!("{json:#}\n") } else { text })?;
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
}

/// What the plugins of `new` import that those of the config at `old` did not, a sentence each.
///
/// # Errors
/// If `old` is wrong.
pub(crate) fn newly_imported(old: &Path, new: &Composed) -> anyhow::Result<Vec<String>> {
    let old =
        load(old).with_context(|| format!("`--against {}` is no config to compare with", old.display()))?;
    let mut infos = BTreeMap::new();
    for policy in &old.gateway.policies {
        let component = old.components.get(&policy.digest);
        let component = component.with_context(|| format!("policy `{}`: no component", policy.name))?;
        infos.insert(Name::clone(&policy.name), portcullis_sandbox::inspect(component)?);
    }
    Ok(new.newly_imported_since(|policy| infos.get(policy).cloned()))
}

impl Side {
    /// `config` says how registries are asked.
    fn read(typed: &str, config: Option<PathBuf>) -> anyhow::Result<Self> {
        if let Some(name) = typed.strip_prefix("builtin:") {
            return Ok(Self::Plugin(Box::new(builtin(name)?)));
        }
        if typed.contains("://") {
            let reference = portcullis_config::parse_reference(typed)
                .map_err(|reason| anyhow::anyhow!("{} is no image: {reason}", shown(typed)))?;
            let image = plugins::fetch_unverified(&reference, config.as_deref())?;
            return Ok(Self::Plugin(Box::new(PluginFacts::of_image(
                &reference,
                image.manifest,
                &image.component,
            )?)));
        }
        let path = Path::new(typed);
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).with_context(|| format!("{typed} cannot be read"))?;
        file.take(BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .with_context(|| format!("{typed} cannot be read"))?;
        if bytes.len() as u64 > BYTES_MAX {
            bail!("{typed} is larger than {BYTES_MAX} bytes, and so neither a plugin nor a config");
        }
        // Text has no zero byte in front, and a component starts with one.
        if bytes.first() == Some(&0) {
            return Ok(Self::Plugin(Box::new(PluginFacts::of(path.display().to_string(), &bytes)?)));
        }
        Ok(Self::Config(Box::new(load(path)?)))
    }
}

/// Reads a config, with all that it names.
fn load(path: &Path) -> anyhow::Result<Loaded> {
    Ok(portcullis_config::load(path, &Catalog).map_err(Refusal::Config)?)
}

/// Returns a function that returns the facts of the plugin of a policy in a config.
fn facts(loaded: &Loaded) -> impl Fn(&PolicyConfig) -> anyhow::Result<PluginFacts> {
    |policy| {
        let bytes = loaded.components.get(&policy.digest).context("its component was not read")?;
        Ok(PluginFacts::of(policy.plugin.to_string(), bytes)?)
    }
}

/// Returns the facts of the plugin that ships as `name`.
fn builtin(name: &str) -> anyhow::Result<PluginFacts> {
    let Some(bytes) = portcullis_plugins::builtin(name) else {
        bail!(
            "there is no builtin plugin `{}`\n  = help: the builtin plugins are {}",
            shown(name),
            portcullis_plugins::NAMES.join(", ")
        );
    };
    Ok(PluginFacts::of(format!("builtin:{name}"), bytes)?)
}
