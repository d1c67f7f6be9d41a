//! What differs between two configurations, for the log and for deciding what lives on.

use std::collections::BTreeMap;
use std::fmt;

use portcullis_model::{
    Cache, Candidate, Capability, Gateway, Listener, Name, PolicyConfig, Route, Upstream,
};
use portcullis_sandbox::ComponentInfo;

use portcullis_model::text::escape as shown;

/// What differs, and how; empty if nothing does.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What takes effect at once, one sentence each.
    pub live: Vec<String>,
    /// What takes effect at the next start only, one sentence each.
    pub restart: Vec<String>,
}

impl Changes {
    /// What leads from `old` to `new`. Only that something moved within its file is no change.
    pub fn between(old: &Gateway, new: &Gateway) -> Self {
        let mut changes = Self::default();
        changes.live.extend(compare("listener", &old.listeners, &new.listeners, changed));
        changes.live.extend(compare("upstream", &old.upstreams, &new.upstreams, changed));
        changes.live.extend(compare("cache", &old.caches, &new.caches, changed));
        changes.live.extend(compare("policy", &old.policies, &new.policies, |before, after| {
            policy_change(before, after, secrets_differ(after, old, new))
        }));
        changes.live.extend(compare("route", &old.routes, &new.routes, changed));
        let order = |gateway: &Gateway| -> Vec<Name> {
            gateway.routes.iter().map(|route| Name::clone(&route.name)).collect()
        };
        if changes.live.is_empty() && order(old) != order(new) {
            changes.live.push("routes are tried in another order".to_owned());
        }
        changes.server(old, new);
        changes
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty()
    }

    fn server(&mut self, old: &Gateway, new: &Gateway) {
        let (before, after) = (&old.server, &new.server);
        for (key, differs) in [
            ("trusted-proxies", before.trusted_proxies != after.trusted_proxies),
            ("watch", before.watch != after.watch),
            ("settle", before.settle != after.settle),
            ("drain-timeout", before.drain_timeout != after.drain_timeout),
            ("via", before.via != after.via),
            ("access-log", before.access_log != after.access_log),
            ("plugin-store-max", before.plugin_store_max != after.plugin_store_max),
            ("compress", before.compress != after.compress),
            ("encoders-max", before.encoders_max != after.encoders_max),
        ] {
            if differs {
                self.live.push(format!("server.{key} changed"));
            }
        }
        for (key, differs) in [
            // Threads own their listeners' queues, pools and instances: taking one away would end connections.
            ("workers", before.workers != after.workers),
            // The sandbox reserves memory and opens its cache once, for all generations.
            ("cache-dir", before.cache_dir != after.cache_dir),
            ("metrics", before.metrics != after.metrics),
            // Commands would find no gateway at the old place, and one with other settings at the new one.
            ("control", before.control != after.control),
            ("policy-memory-max", before.policy_memory_bytes_max != after.policy_memory_bytes_max),
            ("policy-instances-max", before.policy_instances_max != after.policy_instances_max),
            (
                "policy-compile-memory",
                before.policy_compile_memory_bytes != after.policy_compile_memory_bytes,
            ),
            ("policy-compile-time", before.policy_compile_time != after.policy_compile_time),
            ("policy-http-calls-max", before.policy_http_calls_max != after.policy_http_calls_max),
            ("file-reads-max", before.file_reads_max != after.file_reads_max),
            ("open-files-max", before.open_files_max != after.open_files_max),
        ] {
            if differs {
                self.restart.push(format!("server.{key}"));
            }
        }
    }
}

/// Returns what the plugin of policy `policy` imports and the one before it did not, a sentence for each capability.
/// Each was granted, because a component that imports what was not granted does not load.
pub fn newly_imported(policy: &str, old: &ComponentInfo, new: &ComponentInfo) -> Vec<String> {
    let plugin = match &new.manifest {
        Some(manifest) => shown(&format!("{} {}", manifest.name, manifest.version)).into_owned(),
        None => "its plugin".to_owned(),
    };
    let added = new.imports.iter().filter(|capability| !old.imports.contains(capability));
    added
        .map(|capability: &Capability| {
            let name = capability.name();
            format!("policy `{policy}`: {plugin} newly imports `{name}`, which is granted")
        })
        .collect()
}

fn secrets_differ(policy: &PolicyConfig, old: &Gateway, new: &Gateway) -> bool {
    let tried = policy.candidate.iter().flat_map(|candidate| &candidate.version().grants.secrets);
    let mut granted = policy.grants.secrets.iter().chain(tried);
    granted.any(|name| old.secrets.get(name) != new.secrets.get(name))
}

fn policy_change(before: &PolicyConfig, after: &PolicyConfig, secrets_differ: bool) -> Option<&'static str> {
    if before.digest != after.digest {
        Some("runs another version of its plugin")
    } else if secrets_differ {
        Some("got other secrets")
    } else if before == after {
        None
    } else {
        let alone = |policy: &PolicyConfig| PolicyConfig { candidate: None, ..policy.clone() };
        let only_what_is_tried = alone(before) == alone(after);
        Some(if only_what_is_tried { candidate_change(before, after) } else { "changed" })
    }
}

fn candidate_change(before: &PolicyConfig, after: &PolicyConfig) -> &'static str {
    match (before.candidate.as_deref(), after.candidate.as_deref()) {
        (Some(Candidate::Canary(_)), None) => "has no canary any more",
        (Some(Candidate::Shadow(_)), None) => "has no shadow any more",
        (Some(Candidate::Canary(_)), Some(Candidate::Canary(_))) => "changed its canary",
        (Some(Candidate::Shadow(_)), Some(Candidate::Shadow(_))) => "changed its shadow",
        (_, Some(Candidate::Canary(_))) => "has a canary",
        (_, Some(Candidate::Shadow(_))) => "has a shadow",
        (None, None) => "changed",
    }
}

fn changed<T: PartialEq>(before: &T, after: &T) -> Option<&'static str> {
    (before != after).then_some("changed")
}

/// What has a name.
trait Named {
    fn name(&self) -> &Name;
}

macro_rules! named {
    ($($kind:ty),*) => { $(impl Named for $kind { fn name(&self) -> &Name { &self.name } })* };
}
named!(Listener, Upstream, Cache, PolicyConfig, Route);

/// One sentence for each thing that was added, removed or changed, by name.
fn compare<T: Named>(
    kind: &str,
    old: &[T],
    new: &[T],
    change: impl Fn(&T, &T) -> Option<&'static str>,
) -> Vec<String> {
    let by_name =
        |list| -> BTreeMap<&Name, &T> { <[T]>::iter(list).map(|thing| (thing.name(), thing)).collect() };
    let (old, new) = (by_name(old), by_name(new));
    let removed =
        old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("{kind} `{name}` removed"));
    let rest = new.iter().filter_map(|(name, after)| match old.get(name) {
        None => Some(format!("{kind} `{name}` added")),
        Some(before) => change(before, after).map(|how| format!("{kind} `{name}` {how}")),
    });
    removed.chain(rest).collect()
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.live.is_empty() {
            return f.write_str("nothing changed");
        }
        f.write_str(&self.live.join(", "))
    }
}

#[cfg(test)]
mod tests;
