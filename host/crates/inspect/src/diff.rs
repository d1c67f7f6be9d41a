//! What a new version of a plugin, or of a configuration, adds, drops and needs.

mod config;
mod plugin;
mod schema;

pub use self::config::ConfigDiff;
pub use self::plugin::{NotAPlugin, PluginDiff, PluginFacts};
