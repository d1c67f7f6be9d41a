//! Asks a running gateway over its control socket.

use std::path::{Path, PathBuf};

use portcullis_admin::{AskError, Request, Surroundings};

use crate::cli::GatewayArgument;
use crate::output::tell;
use crate::plugins::Catalog;

/// Asks the gateway that `gateway` names.
///
/// # Errors
/// If no gateway runs there, or if it refuses, with advice.
pub(crate) fn ask<R: Request>(gateway: &GatewayArgument, request: &R) -> anyhow::Result<R::Answer> {
    let places = match &gateway.socket {
        Some(path) => vec![path.clone()],
        None => places(&gateway.config.find()?)?,
    };
    let of_another = |path: &Path, user: u32| {
        tell(&format!("note: the gateway of user {user} is asked, at {}\n", path.display()));
    };
    portcullis_admin::ask_known(&places, request, of_another).map_err(|error| match error {
        AskError::NotRunning { .. } => anyhow::anyhow!(
            "{error}\n  = help: start it with `portcullis run`, or name its config with `-c FILE`, as it was named then; a \
             gateway that puts its socket elsewhere, and one of another user, is found with `--socket PATH`, by the path \
             in its log"
        ),
        error => error.into(),
    })
}

fn places(config: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let usual = Surroundings::current().places(config);
    Ok(match portcullis_config::control(config, &Catalog) {
        portcullis_model::Control::Off => anyhow::bail!(
            "the gateway of {} cannot be asked: the file says `server.control = false`\n  \
             = help: set it to true, or to a path, and start the gateway again",
            config.display()
        ),
        portcullis_model::Control::Default => usual,
        // The file may have been changed since the gateway started.
        portcullis_model::Control::At(path) => std::iter::once(path).chain(usual).collect(),
    })
}
