//! `--write`: what an operator has decided about a rollout, written into the config, so that it outlives the process.
//!
//! The file is changed only if the result is certain: the policy must stand there as the gateway runs it, the edited
//! config must load, and it must differ from the one before in what was decided and in nothing else. Then the new text,
//! complete and on the disk, takes the file's place in one step.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use portcullis_admin::RolloutStatus;
use portcullis_config::{
    Edited, Loaded, LoadedComponents, RolloutEdit, TICK, edit_rollout, load, load_edited,
};
use portcullis_model::{
    AbortRules, Canary, Candidate, Capability, Gateway, PolicyConfig, ResourceLimits, Selection, Version,
};
use portcullis_policy::HookKind;
use portcullis_sandbox::inspect;

use crate::plugins::Catalog;
use crate::run::rollout::fingerprint;
use portcullis_inspect::Changes;

/// An edited config file that lies ready beside the one whose place it shall take. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Without links.
    file: PathBuf,
    /// As it is called in messages.
    name: String,
    /// What it was made of.
    before: String,
    /// Its path; `None` once it is in place.
    beside: Option<PathBuf>,
    /// Keys of the policy that are gone because the version has no use for them.
    removed: Vec<String>,
}

/// What was put in place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// The name of the file.
    pub(super) file: String,
    /// Keys of the policy that are gone because the version has no use for them.
    pub(super) removed: Vec<String>,
}

/// Returns the edited config for a rollout that the gateway has reported. Nothing has changed yet.
///
/// # Errors
/// If the file is not what the gateway runs, cannot be written, or would not be right with the edit.
pub(super) fn prepare(config: &Path, told: &RolloutStatus, edit: RolloutEdit) -> anyhow::Result<Prepared> {
    let Loaded { gateway, components } = load(config, &Catalog).map_err(|error| {
        anyhow!("{} cannot be edited while it is wrong: {error}\n  = help: mend it first", config.display())
    })?;
    let policy = gateway.policies.iter().find(|policy| *policy.name == *told.policy);
    let policy = policy.filter(|policy| fingerprint(policy) == told.fingerprint).ok_or_else(|| {
        anyhow!(
            "policy `{}` is not written in {} as the gateway runs it, so that nothing was changed\n  = help: the file was \
             changed meanwhile, or is not the gateway's: look at both, and ask again once the gateway runs what is written",
            told.policy,
            config.display()
        )
    })?;
    let name = policy.origin.file.to_string();
    let file = Path::new(&name).canonicalize().with_context(|| format!("{name} cannot be found"))?;
    let metadata = writable(&file, &name)?;
    let before = read(&file).with_context(|| format!("{name} cannot be read"))?;
    let useless = match (edit, policy.candidate.as_deref()) {
        (RolloutEdit::Promote, Some(tried)) => Useless::of(tried.version(), &components)?,
        _ => Useless::default(),
    };
    let Edited { text, removed } = edit_rollout(&before, &told.policy, edit, &useless.keys())
        .map_err(|error| anyhow!("{name} cannot be edited: {error}"))?;
    check(config, (&file, &text), expected(&gateway, policy, edit, &useless), told)?;
    let beside = write_beside(&file, &text, &metadata).with_context(|| {
        format!("{name} cannot be written: nothing was changed, and the new text found no place beside it")
    })?;
    Ok(Prepared { file, name, before, beside: Some(beside), removed })
}

/// The text of a config file.
fn read(path: &Path) -> anyhow::Result<String> {
    /// As much as is read of a config.
    const BYTES_MAX: u64 = 16 << 20;
    let bytes = portcullis_config::read_file(path, BYTES_MAX).map_err(|reason| anyhow!(reason))?;
    String::from_utf8(bytes).context("it is no UTF-8")
}

impl Prepared {
    /// Puts it in place.
    ///
    /// # Errors
    /// If the file has changed since it was read, or cannot be replaced; it stays as it is.
    pub(super) fn put_in_place(mut self) -> anyhow::Result<Written> {
        let now = read(&self.file).with_context(|| format!("{} cannot be read", self.name))?;
        if now != self.before {
            bail!("{} was changed meanwhile, and is left as it is", self.name);
        }
        if let Some(beside) = &self.beside {
            std::fs::rename(beside, &self.file)
                .with_context(|| format!("{} cannot be replaced, and is left as it is", self.name))?;
            self.beside = None;
        }
        // So that it is there after a power failure as well. Not every file system can say so of a folder.
        let _best_effort =
            self.file.parent().map(|folder| File::open(folder).and_then(|folder| folder.sync_all()));
        let (file, removed) = (std::mem::take(&mut self.name), std::mem::take(&mut self.removed));
        Ok(Written { file, removed })
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(beside) = self.beside.take() {
            // It is of no more use, and of no harm either.
            drop(std::fs::remove_file(beside));
        }
    }
}

/// What a version had of its policy while it was tried, and has no use for as the policy itself: a config that grants
/// or bounds what a plugin never does is refused.
#[derive(Debug, Default)]
struct Useless {
    grants: Vec<Capability>,
    http_calls: bool,
    tick: bool,
}

impl Useless {
    fn of(version: &PolicyConfig, components: &LoadedComponents) -> anyhow::Result<Self> {
        let failed = || format!("the plugin that policy `{}` tries cannot be looked into", version.name);
        let component = components.get(&version.digest).with_context(failed)?;
        let info = inspect(component).with_context(failed)?;
        Ok(Self {
            grants: version.grants.useless(&info.imports),
            http_calls: !info.imports.contains(&Capability::HttpClient),
            tick: !info.hooks.has(HookKind::Tick),
        })
    }

    /// The keys of all that, below the policy.
    fn keys(&self) -> Vec<String> {
        let grants = self.grants.iter().map(|capability| format!("grants.{}", capability.grant_key()));
        let http_calls = self.http_calls.then(|| "limits.http-calls".to_owned());
        let tick = self.tick.then(|| "tick".to_owned());
        grants.chain(http_calls).chain(tick).collect()
    }

    /// The policy without it.
    fn taken_from(&self, mut policy: PolicyConfig) -> PolicyConfig {
        self.grants.iter().for_each(|capability| policy.grants.revoke(*capability));
        if self.http_calls {
            policy.limits.http_calls = ResourceLimits::default().http_calls;
        }
        if self.tick {
            policy.tick = TICK;
        }
        policy
    }
}

/// What the config comes to once the edit is done, policy by policy.
fn expected(gateway: &Gateway, policy: &PolicyConfig, edit: RolloutEdit, useless: &Useless) -> Gateway {
    let tried = policy.candidate.as_deref();
    let version = |version: Version| {
        let tried = tried.map_or_else(|| policy.clone(), |tried| tried.version().clone());
        PolicyConfig { version, ..tried }
    };
    let edited = match edit {
        RolloutEdit::Abort => PolicyConfig { candidate: None, ..policy.clone() },
        RolloutEdit::Promote => useless.taken_from(version(Version::Active)),
        RolloutEdit::Canary { share } => {
            let abort = match tried {
                Some(Candidate::Canary(canary)) => canary.abort,
                _ => Some(AbortRules::default()),
            };
            let selection = Selection::Share(share);
            let canary = Canary { version: version(Version::Canary), selection, abort };
            PolicyConfig { candidate: Some(Box::new(Candidate::Canary(canary))), ..policy.clone() }
        }
    };
    let mut expected = gateway.clone();
    for place in expected.policies.iter_mut().filter(|place| place.name == policy.name) {
        *place = edited.clone();
    }
    expected
}

/// The edited config must be right, and come to what is expected.
fn check(
    config: &Path,
    edited: (&Path, &str),
    expected: Gateway,
    told: &RolloutStatus,
) -> anyhow::Result<()> {
    let RolloutStatus { policy, candidate, origin, .. } = told;
    let by_hand = format!("make the change by hand, at {origin}: nothing was changed");
    let gateway = load_edited(config, &Catalog, edited).map_err(|error| {
        anyhow!("with the {candidate} of policy `{policy}` written so, the config would be wrong:\n{error}\n  = help: {by_hand}")
    })?.gateway;
    let changes = Changes::between(&expected, &gateway);
    if changes.is_empty() {
        return Ok(());
    }
    let others: Vec<String> = changes.live.into_iter().chain(changes.restart).collect();
    bail!(
        "the {candidate} of policy `{policy}` cannot be written by itself, because more would become another: {}\n  \
         = help: {by_hand}",
        others.join(", ")
    )
}

/// Returns the current file, if it may be written.
fn writable(file: &Path, name: &str) -> anyhow::Result<Metadata> {
    let metadata = std::fs::metadata(file).with_context(|| format!("{name} cannot be read"))?;
    // Another file takes its place, which its mode alone would not hinder.
    if metadata.permissions().readonly() {
        bail!("{name} is read-only (mode {:04o}), so that nothing was changed", metadata.mode() & 0o7777);
    }
    OpenOptions::new()
        .write(true)
        .open(file)
        .with_context(|| format!("{name} cannot be written, so that nothing was changed"))?;
    Ok(metadata)
}

/// Writes the new text beside the file, for the same users to read and to write.
fn write_beside(file: &Path, text: &str, like: &Metadata) -> std::io::Result<PathBuf> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let beside = file.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let written = (|| {
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        new.write_all(text.as_bytes())?;
        let own = new.metadata()?;
        if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
            fchown(&new, Some(like.uid()), Some(like.gid()))?;
        }
        // After the owner, which takes special bits away.
        new.set_permissions(like.permissions())?;
        new.sync_all()
    })();
    match written {
        Ok(()) => Ok(beside),
        Err(error) => {
            if error.kind() != std::io::ErrorKind::AlreadyExists {
                drop(std::fs::remove_file(&beside));
            }
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests;
