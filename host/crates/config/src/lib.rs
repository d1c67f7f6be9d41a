//! From the text of a config file to the validated [`Gateway`](portcullis_model::Gateway), with every mistake shown at
//! its place.
//!
//! `load` runs the steps: `files` reads the main file and what it includes; `syntax` makes trees of them that know
//! their places, and compares these with the table of `keys`; `sections` make the model of what is right; `assemble`
//! puts the parts together and reports what does not fit. No step stops at a mistake, so all of them are shown at
//! once.
//!
//! Nothing here waits or knows a protocol: what a component is like comes from [`Plugins`].

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod assemble;
mod cases;
mod certificates;
mod diagnostic;
mod edit;
mod files;
mod load;
mod loader;
mod locate;
mod plugins;
mod references;
mod schema;
mod sections;
mod syntax;

#[cfg(test)]
mod tests;

pub use cases::{
    At, CannedAnswer, Case, CaseExchange, CaseFile, CaseRequest, CaseResponse, Expected, ExpectedBody,
    ExpectedFault, ExpectedMessage, ExpectedValue, Place, load_cases,
};
pub use diagnostic::{Diagnostic, Diagnostics};
pub use edit::{EditError, Edited, RolloutEdit, edit_rollout};
pub use files::read::FILE_BYTES_MAX;
pub use files::read::read_file;
pub use load::{MainFile, control, load, load_edited, plan};
pub use locate::{Mistake, locate, locate_server_key};
pub use plugins::lock::render_lock;
pub use plugins::{
    Components, ImageRequest, Images, Keys, Loaded, LoadedComponents, Plan, PluginInfo, PluginSources,
    Plugins, Problem, WantedPlugin,
};
pub use schema::schema;
pub use sections::policy::TICK;
pub use sections::route::fields::is_written_by_gateway;
pub use sections::upstream::endpoint as endpoint_address;
pub use syntax::unseen_fields::is_unseen_field;

use portcullis_model::{OciReference, Share};

use crate::syntax::{reference, units};

/// Reads `oci://HOST/REPOSITORY:TAG` or `…@DIGEST`.
///
/// # Errors
/// If it is not one; the text ends with what to do about it.
pub fn parse_reference(text: &str) -> Result<OciReference, String> {
    reference::parse(text).map_err(|(label, help)| format!("{label}\n  = help: {help}"))
}

/// Reads the share of a canary or a shadow, as a config has it.
///
/// # Errors
/// If it is not one; the text says what is expected.
pub fn parse_share(text: &str) -> Result<Share, String> {
    let share = units::percent(text).map_err(|error| format!("{}: {}", error.label, error.help))?;
    match share {
        1..=10_000 => Ok(Share::of_hundredths(share)),
        _ => Err("expected 0.01% to 100%".to_owned()),
    }
}
