//! `[registries.NAME]` and `[signers.NAME]`: where plugins come from, and who vouches for them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use portcullis_model::{
    ContentDigest, LockedPlugin, Name, OciReference, Origin, PinnedPlugin, Registry, Secret, Signer,
    SignerKey,
};

use crate::diagnostic::Report;
use crate::keys::{REGISTRY, SIGNER};
use crate::loader::{Loader, Named, Section};
use crate::policy::{Used, unknown};
use crate::server::{authorities, without_mark};
use crate::source::Span;
use crate::suggest::shown;
use crate::upstream::is_authority;
use crate::view::View;

/// Bytes of a public key's file.
const KEY_BYTES_MAX: u64 = 16 << 10;

/// What is said of plugins outside of policies.
#[derive(Debug, Clone, Default)]
pub struct Supply {
    /// The registries that have settings, by name order.
    pub registries: Vec<Registry>,
    /// The signers, by name order; a key that cannot be used is missing.
    pub signers: Vec<Signer>,
    /// Those of whom one must have signed each plugin that does not ship with the gateway.
    pub signed_by: Vec<Name>,
    /// The folder for compiled plugins and the plugin store; `None` is the user's.
    pub cache_dir: Option<PathBuf>,
    /// Bytes that the plugin store may have.
    pub store_max: u64,
}

/// An image that a policy's component is wanted of.
#[derive(Debug, Clone, Copy)]
pub struct ImageRequest<'a> {
    /// Which, exactly.
    pub plugin: &'a PinnedPlugin,
    /// What the lock file says of it; `None` where the config itself pins it.
    pub locked: Option<&'a LockedPlugin>,
    /// Of these one must have signed it; nobody where it is empty.
    pub signers: &'a [Signer],
    /// Where it may come from.
    pub supply: &'a Supply,
    /// Whether its registry did not answer for another image of this configuration: then it is not asked again, so that one
    /// that is away holds up a load once and not for each plugin.
    pub is_away: bool,
}

/// Why something about a plugin is refused: what reads on behind a caret, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub label: String,
    /// What to do about it.
    pub help: String,
    /// Whether it is about signatures.
    pub unsigned: bool,
    /// Whether the registry did not answer.
    pub away: bool,
}

/// A plugin out of a registry that a configuration wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPlugin {
    /// The policy that wants it.
    pub policy: Name,
    /// Which.
    pub reference: OciReference,
    /// Of these one must have signed it.
    pub signers: Vec<Signer>,
    /// Where it was written.
    pub origin: Origin,
}

/// What a configuration says of plugins, without any of them having been looked at.
#[derive(Debug)]
pub struct Plan {
    /// The plugins out of registries, by reference.
    pub wanted: Vec<WantedPlugin>,
    /// Where they come from.
    pub supply: Supply,
    /// The lock file's path.
    pub lock: PathBuf,
    /// What is in it.
    pub locked: Vec<LockedPlugin>,
}

/// Makes the registries. Secrets that they name go into `used`.
pub(crate) fn registries<'a>(
    loader: &mut Loader<'_>,
    section: &Section<'a>,
    secrets: &Section<'a>,
    values: &BTreeMap<Name, Secret>,
    used: &mut Used<'a>,
) -> Vec<Registry> {
    let mut hosts: BTreeMap<String, Span> = BTreeMap::new();
    let mut registries = Vec::new();
    for named in section.values().filter(|named| named.table.is_some()) {
        let view = View::new(named.table, &REGISTRY, named.span);
        let credentials = credentials(loader, named, view, secrets, values, used);
        let plain_http = view.bool("plain-http").unwrap_or(false);
        let ca = view.text("ca").and_then(|(path, span)| authorities(loader, path, span));
        let Some((typed, span)) = view.text("host") else { continue };
        if !is_authority(typed) {
            let message = format!("registry `{}` has no valid host", named.name);
            let help =
                "write the host as in references, such as \"registry.example.com\" or \"127.0.0.1:5000\"";
            loader.report(Report::new(span, message, "not a host").help(help));
            continue;
        }
        let host = typed.to_ascii_lowercase();
        if let Some(first) = hosts.get(&host) {
            let report = Report::new(span, format!("two registries have the host {host}"), "used before");
            loader.report(report.note("first used", *first).help("put all of it into one table"));
        }
        hosts.insert(host.clone(), span);
        check_plain_http(loader, named, view, &host, plain_http);
        registries.push(Registry { name: named.name.into(), host: host.into(), credentials, ca, plain_http });
    }
    registries
}

fn check_plain_http(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    host: &str,
    plain_http: bool,
) {
    if !plain_http {
        return;
    }
    if let Some(span) = view.key_span("ca") {
        let message = format!("registry `{}` has authorities, but no TLS", named.name);
        loader.report(Report::new(span, message, "without effect").help("remove it, or remove plain-http"));
    }
    if let (Some(span), false) = (view.key_span("password"), is_this_machine(host)) {
        let message = format!("the password for registry `{}` would be readable on its way", named.name);
        let help = "remove plain-http, so that the registry is spoken to with TLS";
        loader.report(Report::new(span, message, "sent without TLS").help(help));
    }
}

/// Whether nobody else can listen on the way there.
fn is_this_machine(host: &str) -> bool {
    let address = host
        .rsplit_once(':')
        .filter(|(_, port)| port.parse::<u16>().is_ok())
        .map_or(host, |(address, _)| address);
    let address = address.trim_start_matches('[').trim_end_matches(']');
    address == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn credentials<'a>(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'a>,
    secrets: &Section<'a>,
    values: &BTreeMap<Name, Secret>,
    used: &mut Used<'a>,
) -> Option<(String, Secret)> {
    let (user, password) = (view.text("username"), view.text("password"));
    let lonely = |there: &str, missing: &str, span: Span| {
        let message = format!("registry `{}` has a {there} without a {missing}", named.name);
        Report::new(span, message, format!("a {missing} is needed with it"))
    };
    match (user, password) {
        (Some((user, span)), None) if view.key_span("password").is_none() => {
            let help = format!(
                "add password = \"NAME\", where [secrets.NAME] holds the password of {}",
                shown(user)
            );
            loader.report(lonely("username", "password", span).help(help));
            None
        }
        (None, Some((name, span))) if view.key_span("username").is_none() => {
            used.names.insert(name);
            loader.report(lonely("password", "username", span).help("add username = \"NAME\""));
            None
        }
        (user, Some((name, span))) => {
            used.names.insert(name);
            if !secrets.contains_key(name) {
                let (report, meant) =
                    unknown("secret", (name, span), secrets, &format!("registry `{}`", named.name));
                loader.report(report);
                used.names.extend(meant);
            }
            let (user, span) = user?;
            // RFC 7617: what follows the first colon is the password.
            if user.contains(':') || user.chars().any(char::is_control) {
                let message = format!("registry `{}` has no valid username", named.name);
                loader.report(
                    Report::new(span, message, "a user's name has no `:`").help("write the name alone"),
                );
                return None;
            }
            Some((user.to_owned(), values.get(name)?.clone()))
        }
        _ => None,
    }
}

/// Makes the signers.
pub(crate) fn signers(loader: &mut Loader<'_>, section: &Section<'_>) -> Vec<Signer> {
    let mut signers = Vec::new();
    for named in section.values().filter(|named| named.table.is_some()) {
        let view = View::new(named.table, &SIGNER, named.span);
        let Some((key, span)) = key(loader, named, view) else { continue };
        if let Err(problem) = loader.plugins.check_key(&key) {
            let message = format!("the key of signer `{}` cannot be used", named.name);
            loader.report(Report::new(span, message, problem.label).help(problem.help));
            continue;
        }
        signers.push(Signer { name: named.name.into(), key, origin: loader.sources.origin(named.span) });
    }
    signers
}

fn key(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Option<(SignerKey, Span)> {
    let name = named.name;
    match (view.text("cosign"), view.text("minisign")) {
        (Some(_), Some((_, span))) => {
            let report =
                Report::new(span, format!("signer `{name}` has two keys"), "`cosign` names one already");
            loader.report(report.help("make two signers of it: `signed-by` takes either"));
            None
        }
        (None, None) => {
            if view.key_span("cosign").or(view.key_span("minisign")).is_none() {
                let help = "add cosign = \"keys/cosign.pub\" for images, or minisign = \"keys/minisign.pub\" for files";
                let report =
                    Report::new(named.span, format!("signer `{name}` has no key"), "a key is needed here");
                loader.report(report.help(help));
            }
            None
        }
        (Some((path, span)), None) => Some((SignerKey::Cosign(key_file(loader, path, span)?), span)),
        (None, Some((typed, span))) => {
            // A key begins so, and has a length that no path happens to have.
            let is_key = typed.starts_with("RW") && typed.len() == 56 && !typed.contains(['.', ' ']);
            let text = if is_key { typed.to_owned() } else { key_file(loader, typed, span)? };
            Some((SignerKey::Minisign(text), span))
        }
    }
}

fn key_file(loader: &mut Loader<'_>, path: &str, span: Span) -> Option<String> {
    let (_, bytes) = loader.read(path, span, "key file", KEY_BYTES_MAX)?;
    let text = String::from_utf8(without_mark(bytes));
    if text.is_err() {
        let message = format!("the key file `{}` is not usable", shown(path));
        loader.report(
            Report::new(span, message, "it is no text")
                .help("a public key is text, whichever program made it"),
        );
    }
    text.ok()
}

/// The signers that are named by a `signed-by`, whose names go into the loader's list of used ones.
pub(crate) fn named_signers<'a>(
    loader: &mut Loader<'_>,
    section: &Section<'a>,
    names: &[(&'a str, Span)],
    by: &str,
    used: &mut Used<'a>,
) -> Vec<Name> {
    let mut found: BTreeSet<Name> = BTreeSet::new();
    for (name, span) in names {
        used.names.insert(*name);
        if !section.contains_key(name) {
            let (report, meant) = unknown("signer", (name, *span), section, by);
            loader.report(report);
            used.names.extend(meant);
        } else if !found.insert((*name).into()) {
            let message = format!("{by} names the signer `{}` twice", shown(name));
            loader.report(Report::new(*span, message, "named before").help("remove one of the two"));
        }
    }
    found.into_iter().collect()
}

/// Reports the registries that no plugin comes from.
pub(crate) fn report_unused_registries(loader: &mut Loader<'_>, section: &Section<'_>) {
    let unused: Vec<&Registry> =
        loader.supply.registries.iter().filter(|registry| !loader.hosts.contains(&*registry.host)).collect();
    let unused: Vec<Report> = unused
        .into_iter()
        .filter_map(|registry| Some((registry, section.get(&*registry.name)?)))
        .map(|(registry, named)| {
            let message = format!("registry `{}` is not used", registry.name);
            let help = format!("name a plugin as oci://{}/..., or remove it", registry.host);
            Report::new(named.span, message, "no plugin comes from it").help(help)
        })
        .collect();
    loader.reports.extend(unused);
}

/// The manifests that the store must not lose.
pub(crate) fn in_use(loader: &Loader<'_>) -> BTreeSet<ContentDigest> {
    let locked = loader.lock.entries().iter().map(|entry| entry.manifest);
    locked.chain(loader.pins.iter().copied()).collect()
}

/// The path of a file that lies beside `path`.
pub(crate) fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(extension);
    PathBuf::from(name)
}
