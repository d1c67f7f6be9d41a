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
mod edit;
mod fields;
mod include;
mod keys;
mod listening;
mod loader;
mod locate;
mod lock;
mod pattern;
mod pem;
mod plugins;
mod policy;
mod reference;
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
pub use edit::{EditError, Edited, RolloutEdit, edit_rollout};
pub use fields::is_unseen_field;
pub use loader::read_file;
pub use locate::{Mistake, locate};
pub use lock::render_lock;
pub use plugins::{ImageRequest, Plan, Problem, Supply, WantedPlugin};
pub use policy::TICK;
pub use schema::schema;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use portcullis_model::{
    Capability, ContentDigest, Control, Gateway, Name, OciReference, PolicyConfig, Secret, Server, Share,
    Signer, SignerKey,
};

use crate::diagnostic::Report;
use crate::include::{Document, canonical};
use crate::keys::{ROOT, SERVER, Shape};
use crate::loader::{Loader, Named, Section, tidy};
use crate::lock::Lock;
use crate::policy::Used;
use crate::route::Names;
use crate::source::Span;
use crate::suggest::shown;
use crate::view::View;

/// What the configuration has to know of components, and of keys and certificates: it reads none of them itself.
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

    /// The component of an image in a registry, once it is known to be the one that is pinned and, where that is asked for,
    /// to be signed. May ask the registry.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn image(&self, wanted: &ImageRequest<'_>) -> Result<Vec<u8>, Problem>;

    /// Hears that all images were asked for, and which manifests are in use.
    fn images_done(&self, supply: &Supply, in_use: &BTreeSet<ContentDigest>);

    /// Whether signatures can be checked with that key.
    ///
    /// # Errors
    /// Why not.
    fn check_key(&self, key: &SignerKey) -> Result<(), Problem>;

    /// Whether TLS can judge servers by these authorities, in PEM.
    ///
    /// # Errors
    /// Why not, which reads on behind a caret.
    fn check_authorities(&self, pem: &[u8]) -> Result<(), String>;

    /// Whether `signature`, which lies beside a component's file, is `signer`'s of that component.
    ///
    /// # Errors
    /// Why not.
    fn verify_file(&self, signer: &Signer, component: &[u8], signature: &[u8]) -> Result<(), Problem>;
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
    /// Whether it imports the function that chooses an upstream.
    pub chooses_upstream: bool,
    /// The attributes that it sets whatever its settings are. `None` if it does not say which it sets: then it may set any.
    pub attributes: Option<Vec<String>>,
}

/// Reads the config file at `path` with everything that it names: included files, certificates, secrets, plugins.
///
/// Relative paths in a file start from the folder of that file. [`Gateway::files`] lists every file that was read, and the
/// folders in which includes with `*` were looked for.
///
/// # Errors
/// When anything is wrong, with all that is wrong. [`Diagnostics::files`] says what to watch for a repair.
pub fn load(path: &Path, plugins: &dyn Plugins) -> Result<Gateway, Diagnostics> {
    load_by(Loader::new(plugins), path)
}

/// Reads `oci://HOST/REPOSITORY:TAG` or `…@DIGEST`.
///
/// # Errors
/// Where it is none; with what to do about it.
pub fn parse_reference(text: &str) -> Result<OciReference, String> {
    reference::parse(text).map_err(|(label, help)| format!("{label}\n  = help: {help}"))
}

/// Reads the share of a canary or a shadow, as a config has it.
///
/// # Errors
/// Where it is none; the text says what one is.
pub fn parse_share(text: &str) -> Result<Share, String> {
    let share = units::percent(text).map_err(|error| format!("{}: {}", error.label, error.help))?;
    match share {
        1..=10_000 => Ok(Share::of_hundredths(share)),
        _ => Err("expected 0.01% to 100%".to_owned()),
    }
}

/// Reads the config as it would be if the file at `edited` had that text.
///
/// # Errors
/// As [`load`].
pub fn load_edited(
    path: &Path,
    plugins: &dyn Plugins,
    (edited, text): (&Path, &str),
) -> Result<Gateway, Diagnostics> {
    let mut loader = Loader::new(plugins);
    loader.edited = Some((canonical(edited), text.to_owned()));
    load_by(loader, path)
}

fn load_by(mut loader: Loader<'_>, path: &Path) -> Result<Gateway, Diagnostics> {
    let documents = read(&mut loader, path)?;
    let mut gateway = if loader.incomplete { Gateway::default() } else { assemble(&mut loader, &documents) };
    gateway.warnings = diagnostic::warnings(loader.warnings, &loader.sources);
    let files: Vec<PathBuf> = loader.files.into_iter().collect();
    if loader.reports.is_empty() {
        Ok(Gateway { files, ..gateway })
    } else {
        Err(Diagnostics::new(loader.reports, &loader.sources, files))
    }
}

/// Reads of the config file at `path` what it says of plugins, without looking at any of them: what `portcullis plugins`
/// starts from, before there is a lock file.
///
/// # Errors
/// When anything of that is wrong, or no TOML.
pub fn plan(path: &Path, plugins: &dyn Plugins) -> Result<Plan, Diagnostics> {
    let mut loader = Loader::new(plugins);
    let documents = read(&mut loader, path)?;
    loader.wanted = Some(Vec::new());
    if !loader.incomplete {
        let sections = Sections::gather(&mut loader, &documents);
        supply(&mut loader, &documents, &sections);
        lock::read(&mut loader);
    }
    if !loader.reports.is_empty() {
        let files = loader.files.into_iter().collect();
        return Err(Diagnostics::new(loader.reports, &loader.sources, files));
    }
    let mut wanted = loader.wanted.unwrap_or_default();
    wanted.sort_by_key(|wanted| wanted.reference.to_string());
    let (lock, locked) = (loader.lock.path.1.clone(), loader.lock.entries().to_vec());
    Ok(Plan { wanted, supply: loader.supply, lock, locked })
}

/// Reads the main file and what it includes.
fn read(loader: &mut Loader<'_>, path: &Path) -> Result<Vec<Document>, Diagnostics> {
    let (absolute, text) = read_main(loader, path);
    let text = match text {
        Ok(text) => text,
        Err(reason) => {
            let message = format!("the config file cannot be read: {reason}");
            let help = (!absolute.exists()).then(|| format!("it was looked for at {}", absolute.display()));
            return Err(Diagnostics::unreadable(path, message, help, absolute));
        }
    };
    loader.lock = Lock::beside(path, &absolute);
    loader.files.insert(absolute.clone());
    Ok(include::read_all(loader, path, absolute, text))
}

/// The named tables of all files.
struct Sections<'a> {
    listeners: Section<'a>,
    upstreams: Section<'a>,
    policies: Section<'a>,
    routes: Section<'a>,
    secrets: Section<'a>,
    registries: Section<'a>,
    signers: Section<'a>,
}

impl<'a> Sections<'a> {
    fn gather(loader: &mut Loader<'_>, documents: &'a [Document]) -> Self {
        let mut gather = |key: &'static str| gather(loader, documents, key);
        Self {
            listeners: gather("listeners"),
            upstreams: gather("upstreams"),
            policies: gather("policies"),
            routes: gather("routes"),
            secrets: gather("secrets"),
            registries: gather("registries"),
            signers: gather("signers"),
        }
    }
}

/// Where the control socket of the gateway of the config at `path` is, as far as the file still says it: mistakes and files
/// that are missing do not matter, so that a gateway can be asked while its config is being changed.
#[must_use]
pub fn control(path: &Path, plugins: &dyn Plugins) -> Control {
    let mut loader = Loader::new(plugins);
    let (absolute, text) = read_main(&loader, path);
    let Ok(text) = text else { return Control::Default };
    let documents = include::read_all(&mut loader, path, absolute, text);
    let server = single_server(&mut loader, &documents);
    server::control(&loader, server)
}

/// The absolute path of the main file, and its text or why there is none.
fn read_main(loader: &Loader<'_>, path: &Path) -> (PathBuf, Result<String, String>) {
    let absolute = std::path::absolute(path).map_or_else(|_| path.to_path_buf(), |path| tidy(&path));
    let text = loader.read_config(&absolute).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|error| {
            let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
            let line = valid.filter(|byte| **byte == b'\n').count();
            format!("it is not UTF-8 text, see line {}", line + 1)
        })
    });
    (absolute, text)
}

/// The server, the secrets, where plugins come from, and the policies that they are of.
fn supply(
    loader: &mut Loader<'_>,
    documents: &[Document],
    sections: &Sections<'_>,
) -> (Server, BTreeMap<Name, Secret>, Vec<PolicyConfig>) {
    let Sections { policies, secrets, registries, signers, .. } = sections;
    let broken = broken_sections(documents);
    let used_by = |section: &Section<'_>, key: &str| Used {
        uncertain: section.is_empty() && broken.contains(key),
        ..Used::default()
    };
    let (mut secrets_used, mut signers_used) = (used_by(policies, "policies"), used_by(policies, "policies"));
    let view = single_server(loader, documents);
    let server = server::server(loader, view);
    loader.has_trusted_proxies =
        !server.trusted_proxies.is_empty() || view.key_span("trusted-proxies").is_some();
    let values = server::secrets(loader, secrets);
    signers_used.uncertain |= policy::is_wrong(view, "plugins-signed-by");
    let default_signers = view.texts("plugins-signed-by");
    loader.supply = Supply {
        registries: plugins::registries(loader, registries, secrets, &values, &mut secrets_used),
        signers: plugins::signers(loader, signers),
        signed_by: plugins::named_signers(loader, signers, &default_signers, "`server`", &mut signers_used),
        cache_dir: server.cache_dir.clone(),
        store_max: server.plugin_store_max,
    };
    let policy_list =
        policy::policies(loader, policies, (secrets, &mut secrets_used), (signers, &mut signers_used));
    route::report_unused(loader, "secret", secrets, &secrets_used);
    route::report_unused(loader, "signer", signers, &signers_used);
    if !secrets_used.uncertain {
        plugins::report_unused_registries(loader, registries);
    }
    if !loader.pins.is_empty() {
        loader.plugins.images_done(&loader.supply, &plugins::in_use(loader));
    }
    (server, values, policy_list)
}

/// Makes the model of all files together.
fn assemble(loader: &mut Loader<'_>, documents: &[Document]) -> Gateway {
    let sections = Sections::gather(loader, documents);
    let Sections { listeners, upstreams, policies, routes, .. } = &sections;
    let broken = broken_sections(documents);
    if listeners.is_empty() && !broken.contains("listeners") {
        let report = Report::of_file(0, "there is no listener, so no client could connect");
        loader.report(report.help("add [listeners.web] with address = \"0.0.0.0:8080\""));
    }
    if routes.is_empty() && !broken.contains("routes") {
        let report = Report::of_file(0, "there is no route, so every request would be answered 404");
        loader.report(
            report.help("add [routes.all] with to = \"NAME\", where [upstreams.NAME] names the servers"),
        );
    }
    let listener_list = server::listeners(loader, listeners);
    let upstream_list = upstream::upstreams(loader, upstreams);
    let (server, secrets, policy_list) = supply(loader, documents, &sections);
    let used = Used { uncertain: routes.is_empty(), ..Used::default() };
    let mut names = Names {
        policies,
        upstreams,
        listeners,
        policies_used: used.clone(),
        upstreams_used: used.clone(),
        listeners_used: used,
    };
    let route_list = route::routes(loader, routes, &mut names, &upstream_list);
    let Names { policies_used, upstreams_used, listeners_used, .. } = names;
    route::report_unused(loader, "policy", policies, &policies_used);
    route::report_unused(loader, "upstream", upstreams, &upstreams_used);
    route::report_unused(loader, "listener", listeners, &listeners_used);
    let gateway = Gateway {
        server,
        listeners: listener_list,
        upstreams: upstream_list,
        policies: policy_list,
        routes: route_list,
        secrets,
        ..Gateway::default()
    };
    route::effect::check(loader, routes, &gateway);
    let metrics = single_server_view(documents).and_then(|view| view.text("metrics").map(|(_, span)| span));
    listening::check(loader, &gateway, metrics, (listeners, upstreams));
    gateway
}

/// The first `[server]` of all files.
fn single_server_view(documents: &[Document]) -> Option<View<'_>> {
    let entry = documents.iter().find_map(|document| document.root.get("server"))?;
    Some(View::new(entry.value.as_table(), &SERVER, entry.key_span))
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
