//! What all steps of a load share: the files, the mistakes, the plugins.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use portcullis_model::{ContentDigest, Name, PinnedPlugin};

use crate::diagnostic::Report;
use crate::files::read::{FILE_BYTES_MAX, canonical, read_file, tidy};
use crate::files::source::{Sources, Span};
use crate::plugins::lock::Lock;
use crate::plugins::traits::Traits;
use crate::plugins::{LoadedComponents, PluginInfo, PluginSources, Plugins, WantedPlugin};
use crate::syntax::suggest::shown;

/// One load under way.
pub(crate) struct Loader<'p> {
    pub(crate) plugins: &'p dyn Plugins,
    pub(crate) sources: Sources,
    pub(crate) reports: Vec<Report>,
    /// What is odd but not a mistake.
    pub(crate) warnings: Vec<Report>,
    /// Whether there are trusted proxies, so that what peers say about clients may count.
    pub(crate) has_trusted_proxies: bool,
    /// What the plugins of policies can do, by policy. A plugin that cannot be used has no entry.
    pub(crate) traits: BTreeMap<String, Traits>,
    /// Whether a file is missing or is not TOML: what refers to its contents would then be reported without being
    /// wrong.
    pub(crate) incomplete: bool,
    /// Every file and globbed folder that was looked at, absolute.
    pub(crate) files: BTreeSet<PathBuf>,
    /// Those of them that are sent to clients.
    pub(crate) public_files: BTreeSet<PathBuf>,
    /// What inspection said of a component, by digest: several policies may use one plugin.
    pub(crate) inspected: HashMap<[u8; 32], Result<PluginInfo, String>>,
    /// The components that were read, for compiling.
    pub(crate) components: LoadedComponents,
    /// The sources of plugins, and who signs them.
    pub(crate) plugin_sources: PluginSources,
    /// The lock file.
    pub(crate) lock: Lock,
    /// The manifests of the images so far.
    pub(crate) pins: BTreeSet<ContentDigest>,
    /// The registries that plugins come from.
    pub(crate) hosts: BTreeSet<Box<str>>,
    /// Those of them that did not answer.
    pub(crate) away: BTreeSet<Box<str>>,
    /// The components of images that were checked, by the image and whose signature it had to have.
    pub(crate) images: BTreeMap<(PinnedPlugin, Vec<Name>), [u8; 32]>,
    /// The plugins from registries, if the load only collects their names.
    pub(crate) wanted: Option<Vec<WantedPlugin>>,
    /// A config file, by its path without links, that is taken to have another text than it has.
    pub(crate) edited: Option<(PathBuf, String)>,
}

impl<'p> Loader<'p> {
    pub(crate) fn new(plugins: &'p dyn Plugins) -> Self {
        Self {
            plugins,
            sources: Sources::default(),
            reports: Vec::new(),
            warnings: Vec::new(),
            has_trusted_proxies: false,
            traits: BTreeMap::new(),
            incomplete: false,
            files: BTreeSet::new(),
            public_files: BTreeSet::new(),
            inspected: HashMap::new(),
            components: LoadedComponents::default(),
            plugin_sources: PluginSources::default(),
            lock: Lock::default(),
            pins: BTreeSet::new(),
            hosts: BTreeSet::new(),
            images: BTreeMap::new(),
            away: BTreeSet::new(),
            wanted: None,
            edited: None,
        }
    }

    /// Adds a warning.
    pub(crate) fn warn(&mut self, report: Report) {
        self.warnings.push(report);
    }

    pub(crate) fn report(&mut self, report: Report) {
        self.reports.push(report);
    }

    /// Reads a config file.
    pub(crate) fn read_config(&self, absolute: &Path) -> Result<Vec<u8>, String> {
        match &self.edited {
            Some((edited, text)) if *edited == canonical(absolute) => Ok(text.clone().into_bytes()),
            _ => read_file(absolute, FILE_BYTES_MAX),
        }
    }

    /// The absolute path that `path`, written at `span`, means.
    pub(crate) fn resolve(&self, path: &str, span: Span) -> PathBuf {
        tidy(&self.sources.folder(span).join(path))
    }

    /// Reads the file that was named at `span`; `what` says what it should hold. A failure is reported there.
    pub(crate) fn read(
        &mut self,
        path: &str,
        span: Span,
        what: &str,
        bytes_max: u64,
    ) -> Option<(PathBuf, Vec<u8>)> {
        let absolute = self.resolve(path, span);
        self.files.insert(absolute.clone());
        match read_file(&absolute, bytes_max) {
            Ok(bytes) => Some((absolute, bytes)),
            Err(reason) => {
                let message = format!("the {what} `{}` cannot be read", shown(path));
                let help = format!("it was looked for at {}", absolute.display());
                self.report(Report::new(span, message, reason).help(help));
                None
            }
        }
    }
}
