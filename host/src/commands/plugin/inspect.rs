//! `portcullis plugin inspect`: what a plugin is, what it asks for, and what a config grants it.

use std::borrow::Cow;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use portcullis_inspect::PluginView;
use portcullis_model::text::escape as shown;

use crate::cli::InspectArguments;
use crate::output::print;
use crate::plugins::{self, Catalog, PLUGIN_BYTES_MAX};
use crate::refusal::Refusal;

/// Prints it.
///
/// # Errors
/// If it is no plugin, or the config is wrong.
pub(super) fn run(arguments: &InspectArguments) -> anyhow::Result<ExitCode> {
    let typed = arguments.plugin.as_str();
    let (source, bytes) = component(typed, arguments.config.as_deref())?;
    let anatomy = portcullis_sandbox::dissect(&bytes)
        .map_err(|error| anyhow::Error::from(error).context(format!("{} is no plugin", shown(typed))))?;
    let mut view = PluginView::new(source, &bytes, anatomy);
    if let Some(path) = &arguments.config {
        let loaded = portcullis_config::load(path, &Catalog).map_err(Refusal::Config)?;
        view = view.with_config(&loaded.gateway);
    }
    print(&if arguments.json { format!("{:#}\n", view.to_json()) } else { view.text() })
}

/// Returns where a plugin came from, and its bytes. `config` says how registries are asked.
fn component(typed: &str, config: Option<&Path>) -> anyhow::Result<(String, Cow<'static, [u8]>)> {
    if let Some(name) = typed.strip_prefix("builtin:") {
        let Some(bytes) = portcullis_plugins::builtin(name) else {
            bail!(
                "there is no builtin plugin `{}`\n  = help: the builtin plugins are {}",
                shown(name),
                portcullis_plugins::NAMES.join(", ")
            );
        };
        return Ok((typed.to_owned(), Cow::Borrowed(bytes)));
    }
    if typed.contains("://") {
        let reference = portcullis_config::parse_reference(typed)
            .map_err(|reason| anyhow::anyhow!("{} is no image: {reason}", shown(typed)))?;
        let image = plugins::fetch_unverified(&reference, config)?;
        return Ok((format!("{reference} ({})", image.manifest), Cow::Owned(image.component)));
    }
    let bytes = portcullis_config::read_file(Path::new(typed), PLUGIN_BYTES_MAX)
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("the plugin {} cannot be read", shown(typed)))?;
    Ok((typed.to_owned(), Cow::Owned(bytes)))
}
