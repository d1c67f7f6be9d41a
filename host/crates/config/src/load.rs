//! The steps of a load, in order.

use std::path::{Path, PathBuf};

use portcullis_model::{Control, Gateway};

use crate::assemble::{Sections, assemble, server_and_policies, single_server};
use crate::diagnostic::{self, Diagnostics};
use crate::files::include::{self, Document};
use crate::files::read::{canonical, tidy};
use crate::loader::Loader;
use crate::plugins::lock::Lock;
use crate::plugins::{Loaded, Plan, Plugins, pins};
use crate::sections::server;

/// The main file of a configuration.
#[derive(Debug, Clone, Copy)]
pub struct MainFile<'a> {
    pub(crate) path: &'a Path,
    /// Its text, if that is not read from the path.
    pub(crate) text: Option<&'a str>,
}

impl<'a> MainFile<'a> {
    /// A text that comes from elsewhere, such as standard input. `name` is what messages call it; paths in it start
    /// from the current folder.
    #[must_use]
    pub fn with_text(name: &'a str, text: &'a str) -> Self {
        Self { path: Path::new(name), text: Some(text) }
    }
}

impl<'a> From<&'a Path> for MainFile<'a> {
    fn from(path: &'a Path) -> Self {
        Self { path, text: None }
    }
}

impl<'a> From<&'a PathBuf> for MainFile<'a> {
    fn from(path: &'a PathBuf) -> Self {
        Self { path, text: None }
    }
}

/// Reads the config file at `main` with everything that it names: included files, certificates, secrets, plugins.
///
/// Relative paths in a file start from the folder of that file. [`Gateway::files`] lists every file that was read,
/// and the folders in which includes with `*` were looked for.
///
/// # Errors
/// If anything is wrong, with all that is wrong. [`Diagnostics::files`] says what to watch for a repair.
pub fn load<'a>(main: impl Into<MainFile<'a>>, plugins: &dyn Plugins) -> Result<Loaded, Diagnostics> {
    load_by(Loader::new(plugins), main.into())
}

/// Reads the config as it would be if the file at `edited` had that text.
///
/// # Errors
/// As [`load`].
pub fn load_edited(
    path: &Path,
    plugins: &dyn Plugins,
    (edited, text): (&Path, &str),
) -> Result<Loaded, Diagnostics> {
    let mut loader = Loader::new(plugins);
    loader.edited = Some((canonical(edited), text.to_owned()));
    load_by(loader, path.into())
}

fn load_by(mut loader: Loader<'_>, main: MainFile<'_>) -> Result<Loaded, Diagnostics> {
    let documents = read(&mut loader, main)?;
    let mut gateway = if loader.incomplete { Gateway::default() } else { assemble(&mut loader, &documents) };
    gateway.warnings = diagnostic::warnings(loader.warnings, &loader.sources);
    let files: Vec<PathBuf> = loader.files.into_iter().collect();
    if loader.reports.is_empty() {
        let gateway = Gateway { files, ..gateway };
        Ok(Loaded { gateway, components: loader.components })
    } else {
        Err(Diagnostics::new(loader.reports, &loader.sources, files))
    }
}

/// Reads what the config file at `path` says of plugins, without inspecting any of them. `portcullis plugin lock`
/// starts from this, before there is a lock file.
///
/// # Errors
/// If any of that is wrong, or the file is not TOML.
pub fn plan(path: &Path, plugins: &dyn Plugins) -> Result<Plan, Diagnostics> {
    let mut loader = Loader::new(plugins);
    let documents = read(&mut loader, path.into())?;
    loader.wanted = Some(Vec::new());
    if !loader.incomplete {
        let sections = Sections::gather(&mut loader, &documents);
        server_and_policies(&mut loader, &documents, &sections);
        pins::read(&mut loader);
    }
    if !loader.reports.is_empty() {
        let files = loader.files.into_iter().collect();
        return Err(Diagnostics::new(loader.reports, &loader.sources, files));
    }
    let mut wanted = loader.wanted.unwrap_or_default();
    wanted.sort_by_key(|wanted| wanted.reference.to_string());
    let (lock, locked) = (loader.lock.path.1.clone(), loader.lock.entries().to_vec());
    Ok(Plan { wanted, sources: loader.plugin_sources, lock, locked })
}

/// Returns the place of the control socket of the gateway with the config at `path`. Mistakes elsewhere and missing
/// files do not matter, so that a gateway can be asked while its config is being changed.
#[must_use]
pub fn control(path: &Path, plugins: &dyn Plugins) -> Control {
    let mut loader = Loader::new(plugins);
    let (absolute, text) = read_main(&loader, path);
    let Ok(text) = text else { return Control::Default };
    let documents = include::read_all(&mut loader, path, absolute, text);
    let server = single_server(&mut loader, &documents);
    server::control(&loader, server)
}

/// Reads the main file and what it includes.
pub(crate) fn read(loader: &mut Loader<'_>, main: MainFile<'_>) -> Result<Vec<Document>, Diagnostics> {
    let path = main.path;
    let (absolute, text) = match main.text {
        Some(text) => (absolute(path), Ok(text.to_owned())),
        None => read_main(loader, path),
    };
    let text = match text {
        Ok(text) => text,
        Err(reason) => {
            let message = format!("the config file cannot be read: {reason}");
            let help = (!absolute.exists()).then(|| format!("it was looked for at {}", absolute.display()));
            return Err(Diagnostics::unreadable(path, message, help, absolute));
        }
    };
    loader.lock = Lock::beside(path, &absolute);
    if main.text.is_none() {
        loader.files.insert(absolute.clone());
    }
    Ok(include::read_all(loader, path, absolute, text))
}

/// The absolute path of the main file, and its text or why it cannot be read.
fn read_main(loader: &Loader<'_>, path: &Path) -> (PathBuf, Result<String, String>) {
    let absolute = absolute(path);
    let text = loader.read_config(&absolute).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|error| {
            let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
            let line = valid.filter(|byte| **byte == b'\n').count();
            format!("it is not UTF-8 text, see line {}", line + 1)
        })
    });
    (absolute, text)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).map_or_else(|_| path.to_path_buf(), |path| tidy(&path))
}
