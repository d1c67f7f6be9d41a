//! `portcullis plugin lock`, `fetch` and `list`: pins, fetches and lists the plugins that come out of registries.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use portcullis_config::{Plan, WantedPlugin, render_lock};
use portcullis_model::{ContentDigest, LockedPlugin, Name, OciReference, PinnedPlugin};
use portcullis_registry::{Image, Registries};
use serde_json::json;

use crate::cli::{ConfigArgument, ListArguments, LockArguments};
use crate::output::print;
use crate::plugins::{Catalog, disagreement, registries, signed_name};
use crate::refusal::{Refusal, RefusedPart};
use crate::table::table;
use crate::words::counted;

fn plan(config: &ConfigArgument) -> anyhow::Result<Plan> {
    Ok(portcullis_config::plan(&config.find()?, &Catalog).map_err(Refusal::Config)?)
}

/// What was found of a wanted plugin.
struct Found {
    image: Image,
    /// The signer, if a signature was required.
    signer: Option<Name>,
}

/// Writes the lock file.
///
/// # Errors
/// If an image cannot be pinned.
pub(super) fn lock(arguments: &LockArguments) -> anyhow::Result<ExitCode> {
    let plan = plan(&arguments.config)?;
    if let Some(names) = &arguments.update {
        check_names(&plan, names)?;
    }
    let registries = registries(&plan.sources).map_err(anyhow::Error::msg)?;
    let mut entries: BTreeMap<String, LockedPlugin> =
        plan.locked.iter().map(|locked| (locked.reference.to_string(), locked.clone())).collect();
    let mut changes = Vec::new();
    let mut refused = Vec::new();
    for wanted in &plan.wanted {
        let key = wanted.reference.to_string();
        let before = plan.locked.iter().find(|locked| locked.reference == wanted.reference);
        let kept = before.filter(|_| !is_named(wanted, arguments.update.as_deref()));
        match pin(&registries, wanted, kept) {
            Ok(found) if wanted.reference.digest.is_some() => drop(found),
            Ok(found) => {
                let entry = found.image.lock(&wanted.reference);
                changes.extend(change(before, &entry, found.signer.as_deref()));
                changes.extend(before.and_then(|before| newly_imported(&registries, before, &found.image)));
                entries.insert(key, entry);
            }
            Err(part) => refused.push(*part),
        }
    }
    if !refused.is_empty() {
        return Err(Refusal::Parts { refused, files: Vec::new() }.into());
    }
    let is_wanted = |key: &str| plan.wanted.iter().any(|wanted| wanted.reference.to_string() == key);
    let strange: Vec<String> = entries.keys().filter(|key| !is_wanted(key)).cloned().collect();
    for key in strange {
        if arguments.prune {
            entries.remove(&key);
            changes.push(format!("- {key}\n"));
        } else {
            changes.push(format!("? {key} is not in this config, and stays (--prune removes it)\n"));
        }
    }
    let entries: Vec<LockedPlugin> = entries.into_values().collect();
    let path = plan.lock.as_path();
    let text = render_lock(&entries);
    let written = write_if_changed(path, &text, entries.is_empty())
        .with_context(|| format!("{} cannot be written", path.display()))?;
    let are = if entries.len() == 1 { "is" } else { "are" };
    let pinned = format!("{} {are} pinned", counted(entries.len() as u64, "plugin"));
    let state = if written { "written" } else { "unchanged" };
    print(&format!("{}{pinned}; {} is {state}\n", changes.concat(), path.display()))
}

/// Every name that `--update` was given must mean something, or a slip would pass for success.
fn check_names(plan: &Plan, names: &[String]) -> anyhow::Result<()> {
    for name in names {
        if !plan.wanted.iter().any(|wanted| is_named(wanted, Some(std::slice::from_ref(name)))) {
            let known: Vec<String> = plan
                .wanted
                .iter()
                .map(|wanted| format!("{} ({})", wanted.policy, wanted.reference))
                .collect();
            bail!(
                "no policy or reference `{name}` takes its plugin from a registry\n  = help: those that do are {}",
                known.join(", ")
            );
        }
    }
    Ok(())
}

/// Whether `--update` means this one.
fn is_named(wanted: &WantedPlugin, update: Option<&[String]>) -> bool {
    update.is_some_and(|names| {
        names.is_empty()
            || names.iter().any(|name| *name == *wanted.policy || *name == wanted.reference.to_string())
    })
}

/// The image that a plugin is pinned to, or shall be.
fn pin(
    registries: &Registries,
    wanted: &WantedPlugin,
    kept: Option<&LockedPlugin>,
) -> Result<Found, Box<RefusedPart>> {
    let manifest = match (wanted.reference.digest, kept) {
        (Some(digest), _) => digest,
        (None, Some(kept)) => kept.manifest,
        (None, None) => registries
            .resolve(&wanted.reference)
            .map_err(|error| refuse(wanted, &error.to_string(), &error.help()))?,
    };
    let found = take(registries, wanted, manifest)?;
    portcullis_sandbox::inspect(&found.image.component).map_err(|error| {
        refuse(wanted, &error.to_string(), "push a component that was built for this gateway")
    })?;
    match kept {
        Some(kept) => agree(wanted, kept, found),
        None => Ok(found),
    }
}

/// The image of that manifest, signed as it must be.
fn take(
    registries: &Registries,
    wanted: &WantedPlugin,
    manifest: ContentDigest,
) -> Result<Found, Box<RefusedPart>> {
    let reference = &wanted.reference;
    let signer = if wanted.signers.is_empty() {
        None
    } else {
        let name = PinnedPlugin { reference: reference.clone(), manifest };
        let signer = registries.verify(reference, manifest, &wanted.signers);
        Some(signer.map_err(|error| refuse(wanted, &error.to_string(), &error.help(&signed_name(&name))))?)
    };
    let image = registries
        .image(reference, manifest)
        .map_err(|error| refuse(wanted, &error.to_string(), &error.help()))?;
    Ok(Found { image, signer })
}

fn agree(wanted: &WantedPlugin, locked: &LockedPlugin, found: Found) -> Result<Found, Box<RefusedPart>> {
    if found.image.lock(&wanted.reference) == *locked {
        return Ok(found);
    }
    let problem = disagreement(locked, &found.image);
    Err(refuse(wanted, &problem.label, &problem.help))
}

fn refuse(wanted: &WantedPlugin, reason: &str, help: &str) -> Box<RefusedPart> {
    Box::new(RefusedPart {
        message: format!("{}: {reason}", wanted.reference),
        origin: Some(wanted.origin.clone()),
        reason: Some(format!("help: {help}")),
        ..RefusedPart::default()
    })
}

/// Returns a line about the change of a pin, or `None` if it stays.
fn change(before: Option<&LockedPlugin>, after: &LockedPlugin, signer: Option<&str>) -> Option<String> {
    let by = signer.map_or_else(String::new, |name| format!(", signed by `{name}`"));
    let LockedPlugin { reference, manifest, format, size, .. } = after;
    match before {
        None => Some(format!("+ {reference}\n    {manifest} ({format}, {size} bytes{by})\n")),
        Some(before) if before == after => None,
        Some(before) => {
            let old = before.manifest;
            Some(format!("~ {reference}\n    {old} ->\n    {manifest} ({format}, {size} bytes{by})\n"))
        }
    }
}

/// What the new version of a plugin asks for that the one before did not: what it was not granted will keep it from
/// loading.
fn newly_imported(registries: &Registries, before: &LockedPlugin, after: &Image) -> Option<String> {
    // Only if it is still there: nothing is fetched to be compared with.
    let is_there = before.manifest != after.manifest && registries.store().has(before.layer);
    let old = is_there.then(|| registries.image(&before.reference, before.manifest).ok()).flatten()?;
    let old = portcullis_sandbox::inspect(&old.component).ok()?.imports;
    let new = portcullis_sandbox::inspect(&after.component).ok()?.imports;
    let added: Vec<String> = new
        .iter()
        .filter(|import| !old.contains(import))
        .map(|import| format!("`{}`", import.name()))
        .collect();
    (!added.is_empty()).then(|| format!("    ! newly imports {}\n", added.join(", ")))
}

/// Writes the lock file beside itself and moves it in place. An empty one is not created if there was none.
fn write_if_changed(path: &Path, text: &str, is_empty: bool) -> std::io::Result<bool> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && is_empty => return Ok(false),
        // One of another length has another content.
        Ok(metadata) if metadata.len() == text.len() as u64 => {
            let before = portcullis_config::read_file(path, metadata.len());
            if before.is_ok_and(|before| before == text.as_bytes()) {
                return Ok(false);
            }
        }
        _ => {}
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = Path::new(&name);
    let written = std::fs::File::create(beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written
        .and_then(|()| std::fs::rename(beside, path))
        .inspect_err(|_| drop(std::fs::remove_file(beside)))?;
    Ok(true)
}

/// Fetches what is pinned.
///
/// # Errors
/// If something is not pinned, or cannot be fetched.
pub(super) fn fetch(config: &ConfigArgument) -> anyhow::Result<ExitCode> {
    let plan = plan(config)?;
    let registries = registries(&plan.sources).map_err(anyhow::Error::msg)?;
    let mut refused = Vec::new();
    let mut text = String::new();
    for wanted in &plan.wanted {
        let locked = plan.locked.iter().find(|locked| locked.reference == wanted.reference);
        let Some(manifest) = wanted.reference.digest.or(locked.map(|locked| locked.manifest)) else {
            refused.push(*refuse(
                wanted,
                "it is not pinned",
                "run `portcullis plugin lock`, and commit portcullis.lock",
            ));
            continue;
        };
        let had = registries.store().has(manifest);
        let found = take(&registries, wanted, manifest).and_then(|found| match locked {
            Some(locked) => agree(wanted, locked, found),
            None => Ok(found),
        });
        match found {
            Ok(Found { signer, .. }) => {
                let how = if had { "in the store" } else { "fetched" };
                let by = signer.map_or_else(String::new, |name| format!(", signed by `{name}`"));
                text.push_str(&format!("{}: {how}{by}\n", wanted.reference));
            }
            Err(part) => refused.push(*part),
        }
    }
    if !refused.is_empty() {
        return Err(Refusal::Parts { refused, files: Vec::new() }.into());
    }
    if text.is_empty() {
        text = "no plugin comes out of a registry\n".to_owned();
    }
    print(&text)
}

/// What `list` says of one plugin.
struct Row<'a> {
    reference: &'a OciReference,
    policy: &'a str,
    manifest: Option<ContentDigest>,
    locked: Option<&'a LockedPlugin>,
    stored: bool,
    signed_by: Vec<&'a str>,
}

/// Prints the plugins from registries.
///
/// # Errors
/// If the config is wrong.
pub(super) fn list(arguments: &ListArguments) -> anyhow::Result<ExitCode> {
    let plan = plan(&arguments.config)?;
    let registries = registries(&plan.sources).map_err(anyhow::Error::msg)?;
    let rows: Vec<Row<'_>> = plan
        .wanted
        .iter()
        .map(|wanted| {
            let locked = plan.locked.iter().find(|locked| locked.reference == wanted.reference);
            let manifest = wanted.reference.digest.or(locked.map(|locked| locked.manifest));
            let layer_is_there = locked.is_none_or(|locked| registries.store().has(locked.layer));
            Row {
                reference: &wanted.reference,
                policy: &wanted.policy,
                manifest,
                locked,
                stored: layer_is_there && manifest.is_some_and(|digest| registries.store().has(digest)),
                signed_by: wanted.signers.iter().map(|signer| &*signer.name).collect(),
            }
        })
        .collect();
    if arguments.json {
        let list: Vec<_> = rows.iter().map(Row::json).collect();
        return print(&format!("{:#}\n", serde_json::Value::from(list)));
    }
    let header = ["POLICY", "PLUGIN", "PINNED", "FORMAT", "BYTES", "STORE", "SIGNED BY"];
    print(&table(header, rows.iter().map(Row::cells)))
}

impl Row<'_> {
    fn json(&self) -> serde_json::Value {
        json!({
            "policy": self.policy,
            "reference": self.reference.to_string(),
            "manifest": self.manifest.map(|digest| digest.to_string()),
            "component": self.locked.map(|locked| locked.component.to_string()),
            "format": self.locked.map(|locked| &*locked.format),
            "bytes": self.locked.map(|locked| locked.size),
            "stored": self.stored,
            "signers": self.signed_by,
        })
    }

    fn cells(&self) -> [String; 7] {
        let short = |digest: ContentDigest| digest.hex().chars().take(12).collect();
        let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let signers = self.signed_by.join(" or ");
        [
            self.policy.to_owned(),
            self.reference.to_string(),
            or(self.manifest.map(short)),
            or(self.locked.map(|locked| locked.format.to_string())),
            or(self.locked.map(|locked| locked.size.to_string())),
            if self.stored { "yes" } else { "no" }.to_owned(),
            or((!signers.is_empty()).then_some(signers)),
        ]
    }
}
