//! Mistakes that a plugin finds in its settings, shown at their places.

use portcullis_model::{Name, Version};

use crate::assemble::{Sections, single_server};
use crate::diagnostic::{Diagnostics, Report};
use crate::load::{MainFile, read};
use crate::loader::Loader;
use crate::plugins::Plugins;
use crate::sections::policy::schema_error::Place;
use crate::syntax::keys::POLICY;
use crate::syntax::view::View;

/// A mistake in the settings of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The policy.
    pub policy: Name,
    /// Which version of it.
    pub version: Version,
    /// The JSON pointer of the value in its `config`; `/` or nothing for all of it.
    pub pointer: String,
    /// What is wrong, and behind the first `; ` what to do.
    pub text: String,
}

impl Mistake {
    /// Reads what a plugin says of its settings: lines of the form `POINTER: TEXT`. `None` if it has another form.
    #[must_use]
    pub fn read(policy: &Name, version: Version, said: &str) -> Option<Vec<Self>> {
        let lines = said.lines().map(|line| {
            let (pointer, text) = line.split_once(": ").filter(|(pointer, _)| pointer.starts_with('/'))?;
            let (pointer, text) = (pointer.to_owned(), text.to_owned());
            Some(Self { policy: policy.clone(), version, pointer, text })
        });
        lines.collect::<Option<Vec<_>>>().filter(|mistakes| !mistakes.is_empty())
    }
}

/// Shows at the place of a value of `[server]` why it cannot be used. `key` names it, such as `access-log.file`;
/// `help` says what to do. `None` if the config at `main` has changed so that it does not have the key any more.
#[must_use]
pub fn locate_server_key<'a>(
    main: impl Into<MainFile<'a>>,
    plugins: &dyn Plugins,
    key: &str,
    (message, reason, help): (&str, &str, Option<&str>),
) -> Option<Diagnostics> {
    let mut loader = Loader::new(plugins);
    let documents = read(&mut loader, main.into()).ok()?;
    let mut view = single_server(&mut loader, &documents);
    if loader.incomplete || !loader.reports.is_empty() {
        return None;
    }
    let (tables, name) = key.rsplit_once('.').unwrap_or(("", key));
    for table in tables.split('.').filter(|table| !table.is_empty()) {
        view = view.view(table);
    }
    let span = view.node(name)?.span;
    let report = Report::new(span, message, reason);
    let report = match help {
        Some(help) => report.help(help),
        None => report,
    };
    let files = loader.files.into_iter().collect();
    Some(Diagnostics::new(vec![report], &loader.sources, files))
}

/// Shows mistakes at their places in the config at `main`. `None` if the file has changed so that one has no place
/// any more.
#[must_use]
pub fn locate<'a>(
    main: impl Into<MainFile<'a>>,
    plugins: &dyn Plugins,
    mistakes: &[Mistake],
) -> Option<Diagnostics> {
    let mut loader = Loader::new(plugins);
    let documents = read(&mut loader, main.into()).ok()?;
    let sections = Sections::gather(&mut loader, &documents);
    if loader.incomplete || !loader.reports.is_empty() {
        return None;
    }
    let mut reports = Vec::new();
    for mistake in mistakes {
        let named = sections.policies.get(&*mistake.policy)?;
        let policy = View::new(named.table, &POLICY, named.span);
        let version = match mistake.version {
            Version::Active => policy,
            Version::Canary => policy.view("canary"),
            Version::Shadow => policy.view("shadow"),
        };
        // A version that is tried may have the settings of its policy.
        let view = if version.key_span("config").is_some() { version } else { policy };
        let place = Place {
            policy: named.name,
            node: view.node("config"),
            config: view.key_span("config").unwrap_or(named.span),
            schema: &serde_json::Value::Null,
            files: &std::collections::BTreeSet::new(),
        };
        let (span, path) = place.locate(mistake.pointer.trim_end_matches('/'));
        let message = match path.as_str() {
            "config" => format!("policy `{}` refuses its configuration", named.name),
            path => format!("`{path}` of policy `{}` is not valid", named.name),
        };
        let report = match mistake.text.split_once("; ") {
            Some((label, help)) => Report::new(span, message, label).help(help),
            None => Report::new(span, message, mistake.text.as_str()),
        };
        reports.push(report);
    }
    let files = loader.files.into_iter().collect();
    Some(Diagnostics::new(reports, &loader.sources, files))
}
