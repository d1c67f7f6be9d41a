//! The folder for what is kept from one start to the next, if the configuration names none.

use std::path::PathBuf;

/// The user's cache folder, by the XDG base directory specification. `CACHE_DIRECTORY` is what systemd gives a unit
/// with `CacheDirectory=`. Without any, nothing is kept and plugins are compiled at each start.
pub(crate) fn default_cache_dir() -> Option<PathBuf> {
    let folder =
        |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    folder("CACHE_DIRECTORY")
        .or_else(|| folder("XDG_CACHE_HOME").map(|path| path.join("portcullis")))
        .or_else(|| folder("HOME").map(|path| path.join(".cache/portcullis")))
}
