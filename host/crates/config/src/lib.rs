//! From the text of a config file to the validated [`Gateway`], with every mistake shown at its place.
//!
//! The steps, each in a file of its own: `include` reads the files, `tree` makes them trees that know their places,
//! `check` compares these with the table of `keys`, and `server`, `upstream`, `policy` and `route` make the model of what
//! is right and report what does not fit together. No step stops at a mistake; all of them are shown at once.
//!
//! Nothing here waits or knows a protocol: what a component is like comes from [`Plugins`].

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod check;
mod diagnostic;
mod include;
mod keys;
mod loader;
mod pattern;
mod pem;
mod policy;
mod route;
mod schema;
mod server;
mod source;
mod suggest;
mod tree;
mod units;
mod upstream;
mod view;

#[cfg(test)]
mod tests;

pub use diagnostic::{Diagnostic, Diagnostics};
pub use schema::schema;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use portcullis_model::{Capability, Control, Gateway};

use crate::diagnostic::Report;
use crate::include::{Document, FILE_BYTES_MAX};
use crate::keys::{ROOT, SERVER, Shape};
use crate::loader::{Loader, Named, Section, read_file, tidy};
use crate::policy::Used;
use crate::route::Names;
use crate::source::Span;
use crate::suggest::shown;
use crate::view::View;

/// What the configuration has to know of components.
pub trait Plugins {
    /// The component that ships as `builtin:NAME`.
    fn builtin(&self, name: &str) -> Option<&'static [u8]>;

    /// The names of all that ship.
    fn builtin_names(&self) -> Vec<&'static str>;

    /// What a component says of itself.
    ///
    /// # Errors
    /// When the bytes are no component of this contract; the text says why, and reads on behind a caret.
    fn inspect(&self, component: &[u8]) -> Result<PluginInfo, String>;
}

/// What a component says of itself, from its manifest and its imports and exports.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginInfo {
    /// The name in its manifest.
    pub name: String,
    /// The version in its manifest.
    pub version: String,
    /// JSON schema (2020-12) of its configuration. `None` where it has none: then any table is taken.
    pub config_schema: Option<serde_json::Value>,
    /// The capabilities that it imports; it must be granted exactly these.
    pub imports: Vec<Capability>,
    /// Whether it has `configure`, and so takes a configuration at all.
    pub has_lifecycle: bool,
    /// Whether it has `on-tick`.
    pub has_tick: bool,
}

/// Reads the config file at `path` with everything that it names: included files, certificates, secrets, plugins.
///
/// Relative paths in a file start from the folder of that file. [`Gateway::files`] lists every file that was read, and the
/// folders in which includes with `*` were looked for.
///
/// # Errors
/// When anything is wrong, with all that is wrong. [`Diagnostics::files`] says what to watch for a repair.
pub fn load(path: &Path, plugins: &dyn Plugins) -> Result<Gateway, Diagnostics> {
    let (absolute, text) = read_main(path);
    let text = match text {
        Ok(text) => text,
        Err(reason) => {
            let message = format!("the config file cannot be read: {reason}");
            let help = (!absolute.exists()).then(|| format!("it was looked for at {}", absolute.display()));
            return Err(Diagnostics::unreadable(path, message, help, absolute));
        }
    };
    let mut loader = Loader::new(plugins);
    loader.files.insert(absolute.clone());
    let documents = include::read_all(&mut loader, path, absolute, text);
    let gateway = if loader.incomplete { Gateway::default() } else { assemble(&mut loader, &documents) };
    let files: Vec<PathBuf> = loader.files.into_iter().collect();
    if loader.reports.is_empty() {
        Ok(Gateway { files, ..gateway })
    } else {
        Err(Diagnostics::new(loader.reports, &loader.sources, files))
    }
}

/// Where the control socket of the gateway of the config at `path` is, as far as the file still says it: mistakes and files
/// that are missing do not matter, so that a gateway can be asked while its config is being changed.
#[must_use]
pub fn control(path: &Path, plugins: &dyn Plugins) -> Control {
    let (absolute, text) = read_main(path);
    let Ok(text) = text else { return Control::Default };
    let mut loader = Loader::new(plugins);
    let documents = include::read_all(&mut loader, path, absolute, text);
    let server = single_server(&mut loader, &documents);
    server::control(&loader, server)
}

/// The absolute path of the main file, and its text or why there is none.
fn read_main(path: &Path) -> (PathBuf, Result<String, String>) {
    let absolute = std::path::absolute(path).map_or_else(|_| path.to_path_buf(), |path| tidy(&path));
    let text = read_file(&absolute, FILE_BYTES_MAX).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|error| {
            let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
            let line = valid.filter(|byte| **byte == b'\n').count();
            format!("it is not UTF-8 text, see line {}", line + 1)
        })
    });
    (absolute, text)
}

/// Makes the model of all files together.
fn assemble(loader: &mut Loader<'_>, documents: &[Document]) -> Gateway {
    let server = single_server(loader, documents);
    let mut gather = |key: &'static str| gather(loader, documents, key);
    let (listeners, upstreams) = (gather("listeners"), gather("upstreams"));
    let (policies, routes, secrets) = (gather("policies"), gather("routes"), gather("secrets"));
    let broken = broken_sections(documents);
    if listeners.is_empty() && !broken.contains("listeners") {
        let report = Report::of_file(0, "there is no listener, so that nobody could connect");
        loader.report(report.help("add [listeners.web] with address = \"0.0.0.0:8080\""));
    }
    if routes.is_empty() && !broken.contains("routes") {
        let report = Report::of_file(0, "there is no route, so that every request would be answered 404");
        loader.report(
            report.help("add [routes.all] with to = \"NAME\", where [upstreams.NAME] names the servers"),
        );
    }
    let server = server::server(loader, server);
    let listener_list = server::listeners(loader, &listeners);
    let upstream_list = upstream::upstreams(loader, &upstreams);
    let secret_map = server::secrets(loader, &secrets);
    let used_by = |section: &Section<'_>, key: &str| Used {
        uncertain: section.is_empty() && (key == "routes" || broken.contains(key)),
        ..Used::default()
    };
    let mut secrets_used = used_by(&policies, "policies");
    let policy_list = policy::policies(loader, &policies, &secrets, &mut secrets_used);
    let mut names = Names {
        policies: &policies,
        upstreams: &upstreams,
        policies_used: used_by(&routes, "routes"),
        upstreams_used: used_by(&routes, "routes"),
    };
    let route_list = route::routes(loader, &routes, &mut names, &upstream_list);
    let Names { policies_used, upstreams_used, .. } = names;
    route::report_unused(loader, "policy", &policies, &policies_used);
    route::report_unused(loader, "upstream", &upstreams, &upstreams_used);
    route::report_unused(loader, "secret", &secrets, &secrets_used);
    Gateway {
        server,
        listeners: listener_list,
        upstreams: upstream_list,
        policies: policy_list,
        routes: route_list,
        secrets: secret_map,
        files: Vec::new(),
    }
}

/// Sections that are misspelt or no tables, which was reported: that they are empty is no second mistake.
fn broken_sections(documents: &[Document]) -> BTreeSet<&'static str> {
    let entries = documents.iter().flat_map(|document| &document.root.entries);
    let broken = entries.filter_map(|entry| match ROOT.key(&entry.key) {
        Some(key) => (entry.value.as_table().is_none()).then_some(key.name),
        None => check::meant_key(&entry.key, &ROOT),
    });
    broken.collect()
}

/// The one `[server]` of all files.
fn single_server<'a>(loader: &mut Loader<'_>, documents: &'a [Document]) -> View<'a> {
    let mut found: Option<View<'a>> = None;
    for document in documents {
        let Some(entry) = document.root.get("server") else { continue };
        match found {
            Some(first) => loader.report(
                Report::new(entry.key_span, "`server` is set in two files", "set before")
                    .note("first set", first.span)
                    .help("put all of it into one file"),
            ),
            None => found = Some(View::new(entry.value.as_table(), &SERVER, entry.key_span)),
        }
    }
    found.unwrap_or(View::new(None, &SERVER, Span { file: 0, start: 0, end: 0 }))
}

/// The named tables of one section over all files; a name that is there twice is reported.
fn gather<'a>(loader: &mut Loader<'_>, documents: &'a [Document], key: &'static str) -> Section<'a> {
    let mut section: Section<'a> = BTreeMap::new();
    let noun = ROOT.key(key).map_or(key, |key| match &key.kind {
        keys::Kind::Named(Shape { noun, .. }) => noun,
        _ => key.name,
    });
    let tables = documents.iter().filter_map(|document| document.root.get(key)?.value.as_table());
    for entry in tables.flat_map(|table| &table.entries) {
        let named = Named { name: &entry.key, span: entry.key_span, table: entry.value.as_table() };
        match section.get(named.name) {
            Some(first) => loader.reports.push(
                Report::new(
                    named.span,
                    format!("there are two {} `{}`", plural(noun), shown(named.name)),
                    "defined before",
                )
                .note("first defined", first.span)
                .help("give one of them another name; names are unique over all included files"),
            ),
            None => {
                section.insert(named.name, named);
            }
        }
    }
    section
}

fn plural(noun: &str) -> String {
    if noun == "policy" { "policies".into() } else { format!("{noun}s") }
}
