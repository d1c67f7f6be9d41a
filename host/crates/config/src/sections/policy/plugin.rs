//! The component of a policy: finds it, and checks that it is the pinned one and signed.

use std::borrow::Cow;
use std::collections::hash_map::Entry;

use portcullis_model::{Name, OciReference, PinnedPlugin, PluginSource, Signer, SignerKey};

use crate::diagnostic::Report;
use crate::files::read::{beside, read_file};
use crate::files::source::Span;
use crate::loader::Loader;
use crate::plugins::lock::FILE_NAME;
use crate::plugins::pins;
use crate::plugins::pins::Pin;
use crate::plugins::{COMPONENTS_BYTES_MAX, ImageRequest, PluginInfo, Problem, WantedPlugin};
use crate::references::{Nameable, Named, is_wrong};
use crate::sections::signer::named_signers;
use crate::syntax::reference::{self, SCHEME};
use crate::syntax::suggest::{did_you_mean, list, shown};
use crate::syntax::units::show_size;
use crate::syntax::view::View;

/// Bytes of a component: a Python one has 18 MB.
const COMPONENT_BYTES_MAX: u64 = 256 << 20;
/// Bytes of a file's signature.
const SIGNATURE_BYTES_MAX: u64 = 64 << 10;

/// A component that was found.
pub(crate) struct Plugin {
    pub(crate) source: PluginSource,
    pub(crate) digest: [u8; 32],
    /// `None` if it cannot be used, which was reported.
    pub(crate) info: Option<PluginInfo>,
    pub(crate) span: Span,
}

/// Who must have signed a plugin: the policy's own list if it has one, or else the server's.
#[derive(Debug)]
pub(crate) struct SignedBy {
    /// One of these. No signature is needed if it is empty.
    pub(crate) names: Vec<Name>,
    /// The policy's own `signed-by`; `None` if the server's counts.
    pub(crate) own: Option<Span>,
}

pub(super) fn signed_by<'a>(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'a>,
    known: &mut Nameable<'_, 'a>,
) -> SignedBy {
    known.signers_used.uncertain |= is_wrong(view, "signed-by");
    let own = view.key_span("signed-by");
    let names = match own {
        Some(_) => {
            let by = format!("policy `{}`", named.name);
            named_signers(loader, known.signers, &view.texts("signed-by"), &by, &mut known.signers_used)
        }
        None => loader.plugin_sources.signed_by.clone(),
    };
    SignedBy { names, own }
}

/// Returns the component that is `typed` at `span`, for the policy `named`. `None` if there is none, which was
/// reported.
pub(crate) fn find(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    (typed, span): (&str, Span),
    signed_by: &SignedBy,
) -> Option<Plugin> {
    // A load that only collects what comes from registries looks at nothing else.
    if loader.wanted.is_some() && !typed.contains("://") {
        return None;
    }
    if let Some(name) = typed.strip_prefix("builtin:") {
        if let Some(own) = signed_by.own {
            let message = format!(
                "policy `{}` asks for the signature of a plugin that ships with the gateway",
                named.name
            );
            loader.report(
                Report::new(own, message, "without effect").help("remove it: it is a part of the binary"),
            );
        }
        let Some(bytes) = loader.plugins.builtin(name) else {
            loader.report(unknown_builtin(loader, named, name, span));
            return None;
        };
        let digest = inspect(loader, named, span, Cow::Borrowed(bytes))?;
        return Some(inspected(loader, named, PluginSource::Builtin(name.into()), digest, span));
    }
    let signers = signers(loader, signed_by)?;
    let (source, digest) = if typed.contains("://") {
        image(loader, named, (typed, span), signers)?
    } else if loader.plugins.builtin(typed).is_some() && !loader.resolve(typed, span).exists() {
        let message = format!("policy `{}` has a plugin that cannot be read", named.name);
        let help = format!("for the one that ships with the gateway write \"builtin:{typed}\"");
        loader.report(Report::new(span, message, "there is no such file").help(help));
        return None;
    } else {
        let (path, bytes) = loader.read(typed, span, "plugin", COMPONENT_BYTES_MAX)?;
        verify_file(loader, named, (typed, span), &bytes, &signers)?;
        (PluginSource::File(path), inspect(loader, named, span, Cow::Owned(bytes))?)
    };
    Some(inspected(loader, named, source, digest, span))
}

/// Keeps a component and inspects it, both once, and returns its digest. `None` if there are too many, which was
/// reported.
fn inspect(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    span: Span,
    component: Cow<'static, [u8]>,
) -> Option<[u8; 32]> {
    let Some(digest) = loader.components.add(component) else {
        let message = format!("policy `{}` has a plugin for which there is no room", named.name);
        let label = format!("the plugins are larger than {} together", show_size(COMPONENTS_BYTES_MAX));
        let help = "use fewer or smaller plugins; policies that name the same one share it";
        loader.report(Report::new(span, message, label).help(help));
        return None;
    };
    if let (Entry::Vacant(entry), Some(component)) =
        (loader.inspected.entry(digest), loader.components.get(&digest))
    {
        entry.insert(loader.plugins.inspect(component));
    }
    Some(digest)
}

fn inspected(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    source: PluginSource,
    digest: [u8; 32],
    span: Span,
) -> Plugin {
    // Every digest here was inspected.
    let info = loader.inspected.get(&digest).cloned().unwrap_or_else(|| Err("it was not inspected".into()));
    let info = info.map_err(|reason| {
        let message = format!("policy `{}` has a plugin that cannot be used", named.name);
        let help = "a plugin is a WebAssembly component; docs/writing-a-policy.md shows how to build one";
        loader.report(Report::new(span, message, reason).help(help));
    });
    Plugin { source, digest, info: info.ok(), span }
}

/// Returns the signers with their keys. `None` if the key of one cannot be used, which was reported: then signatures
/// cannot be judged.
fn signers(loader: &Loader<'_>, signed_by: &SignedBy) -> Option<Vec<Signer>> {
    let known = &loader.plugin_sources.signers;
    let find = |name: &Name| known.iter().find(|signer| signer.name == *name).cloned();
    signed_by.names.iter().map(find).collect()
}

fn image(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    (typed, span): (&str, Span),
    signers: Vec<Signer>,
) -> Option<(PluginSource, [u8; 32])> {
    let reference = match reference::parse(typed) {
        Ok(reference) => reference,
        Err((label, help)) => {
            // An unused registry would be a second report of the same mistake.
            let host = typed.strip_prefix(SCHEME).and_then(|rest| rest.split('/').next()).unwrap_or_default();
            loader.hosts.insert(host.to_ascii_lowercase().into());
            let message = format!("policy `{}` has a plugin whose reference is not valid", named.name);
            loader.report(Report::new(span, message, label).help(help));
            return None;
        }
    };
    loader.hosts.insert(reference.registry.clone());
    if let Some(wanted) = &mut loader.wanted {
        let origin = loader.sources.origin(span);
        wanted.push(WantedPlugin { policy: named.name.into(), reference, signers, origin });
        return None;
    }
    let (manifest, locked) = match reference.digest {
        Some(digest) => (digest, None),
        None => {
            let locked = locked(loader, named, &reference, span)?;
            (locked.manifest, Some(locked))
        }
    };
    loader.pins.insert(manifest);
    let plugin = PinnedPlugin { reference, manifest };
    // Several policies may be of one image, which may take a while to unpack.
    let names = signers.iter().map(|signer| Name::clone(&signer.name)).collect();
    let checked = (plugin, names);
    if let Some(digest) = loader.images.get(&checked) {
        return Some((PluginSource::Oci(Box::new(checked.0)), *digest));
    }
    let plugin = &checked.0;
    let request = ImageRequest {
        plugin,
        locked: locked.as_deref(),
        signers: &signers,
        sources: &loader.plugin_sources,
        is_away: loader.away.contains(&plugin.reference.registry),
    };
    match loader.plugins.image(&request) {
        Ok(bytes) => {
            let digest = inspect(loader, named, span, Cow::Owned(bytes))?;
            let source = PluginSource::Oci(Box::new(plugin.clone()));
            loader.images.insert(checked, digest);
            Some((source, digest))
        }
        Err(problem) => {
            if problem.away {
                loader.away.insert(plugin.reference.registry.clone());
            }
            report_problem(loader, named, span, problem, &signers);
            None
        }
    }
}

fn locked(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    reference: &OciReference,
    span: Span,
) -> Option<Box<portcullis_model::LockedPlugin>> {
    let label = match pins::pin(loader, reference) {
        Pin::Locked(locked) => return Some(locked),
        Pin::Broken => return None,
        Pin::NoFile => format!("there is no {FILE_NAME}"),
        Pin::Unknown => format!("{FILE_NAME} does not have it"),
    };
    let message = format!("policy `{}` has a plugin that is not pinned", named.name);
    let main = loader.sources.get(0).map_or_else(|| "FILE".to_owned(), |source| source.name.to_string());
    let help = format!(
        "a tag may stand for something else tomorrow: run `portcullis plugin lock -c {main}`, see what it pins, and commit {FILE_NAME}"
    );
    loader.report(Report::new(span, message, label).help(help));
    None
}

fn report_problem(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    span: Span,
    problem: Problem,
    signers: &[Signer],
) {
    let what = if problem.unsigned { "is not signed as it must be" } else { "cannot be fetched" };
    let message = format!("policy `{}` has a plugin that {what}", named.name);
    let mut report = Report::new(span, message, problem.label).help(problem.help);
    if problem.unsigned {
        for signer in signers {
            let portcullis_model::Origin { file, line } = &signer.origin;
            report = report.remark(format!("the key of `{}` is named at {file}:{line}", signer.name));
        }
    }
    loader.report(report);
}

/// Checks the signature in the file beside a component. `None` if there is no valid one, which was reported.
fn verify_file(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    (typed, span): (&str, Span),
    component: &[u8],
    signers: &[Signer],
) -> Option<()> {
    let mut problem = None;
    for signer in signers {
        let extension = signer.key.extension();
        let path = beside(&loader.resolve(typed, span), extension);
        loader.files.insert(path.clone());
        let verified = match read_file(&path, SIGNATURE_BYTES_MAX) {
            Ok(signature) => loader.plugins.verify_file(signer, component, &signature),
            Err(reason) => Err(Problem {
                label: format!("{}{extension} cannot be read: {reason}", shown(typed)),
                help: match signer.key {
                    SignerKey::Cosign(_) => {
                        format!("sign it: cosign sign-blob --key cosign.key --bundle {typed}.sig {typed}")
                    }
                    SignerKey::Minisign(_) => format!("sign it: minisign -Sm {typed}"),
                },
                unsigned: true,
                away: false,
            }),
        };
        match verified {
            Ok(()) => return Some(()),
            // Of several the first is shown.
            Err(error) => drop(problem.get_or_insert(error)),
        }
    }
    match problem {
        None => Some(()),
        Some(problem) => {
            report_problem(loader, named, span, problem, signers);
            None
        }
    }
}

fn unknown_builtin(loader: &Loader<'_>, named: &Named<'_>, name: &str, span: Span) -> Report {
    let names = loader.plugins.builtin_names();
    let message =
        format!("policy `{}` wants the builtin plugin `{}`, which does not exist", named.name, shown(name));
    let help = match did_you_mean(name, names.iter().copied()) {
        Some(name) => format!("did you mean \"builtin:{name}\"?"),
        None => format!("the builtin plugins are {}", list(&names)),
    };
    Report::new(span, message, "no such plugin").help(help)
}
