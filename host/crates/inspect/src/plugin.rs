//! What a plugin is, what it asks for and how it would run, for its author and for those who are to grant it something.

use std::fmt::Write as _;

use portcullis_model::text::escape as shown;
use portcullis_model::{Capability, Gateway, Grants, PolicyConfig};
use portcullis_policy::HookKind;
use portcullis_sandbox::{Anatomy, CONTRACT_DIGEST, CONTRACT_VERSION};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::abridged;

/// Settings that are listed, and characters of what is said about one.
const SETTINGS_MAX: usize = 200;
const DESCRIPTION_CHARS_MAX: usize = 160;
const VALUE_CHARS_MAX: usize = 60;
/// References of a schema that are followed for one setting.
const REFERENCES_MAX: usize = 8;

/// A plugin, taken apart.
#[derive(Debug)]
pub struct PluginView {
    source: String,
    digest: [u8; 32],
    anatomy: Anatomy,
    /// What a config grants it; `None` if no config was asked about.
    granted: Option<Vec<Granted>>,
}

/// What a policy of a config grants to the plugin.
#[derive(Debug)]
struct Granted {
    policy: PolicyConfig,
    /// Whether it is a version on trial.
    version: &'static str,
}

impl PluginView {
    /// Returns the view of the component `bytes`, which came from `source`.
    #[must_use]
    pub fn new(source: String, bytes: &[u8], anatomy: Anatomy) -> Self {
        Self { source, digest: Sha256::digest(bytes).into(), anatomy, granted: None }
    }

    /// Adds what the policies of `gateway` grant that have this plugin.
    #[must_use]
    pub fn with_config(mut self, gateway: &Gateway) -> Self {
        let versions = gateway.policies.iter().flat_map(|policy| {
            let tried = policy.candidate.as_ref().map(|tried| tried.version());
            std::iter::once(policy).chain(tried)
        });
        let of_it = versions.filter(|policy| policy.digest == self.digest);
        let granted = of_it.map(|policy| Granted { version: policy.version.name(), policy: policy.clone() });
        self.granted = Some(granted.collect());
        self
    }

    /// Returns it as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Anatomy { info, .. } = &self.anatomy;
        let manifest = info.manifest.as_ref();
        let image = self.anatomy.no_image.as_deref();
        let direct = self.anatomy.not_direct.as_deref();
        json!({
            "source": self.source,
            "digest": digest(&self.digest),
            "name": manifest.map(|manifest| &manifest.name),
            "version": manifest.map(|manifest| &manifest.version),
            "description": manifest.map(|manifest| &manifest.description),
            "contract": {
                "versions": self.anatomy.contracts,
                "digest": manifest.and_then(|manifest| manifest.contract.as_ref()),
                "gateway": { "version": CONTRACT_VERSION, "digest": CONTRACT_DIGEST },
            },
            "made-with": self.anatomy.made_with,
            "bytes": {
                "all": self.anatomy.bytes, "code": self.anatomy.code_bytes, "data": self.anatomy.data_bytes,
                "debug": self.anatomy.debug_bytes, "memory": self.anatomy.memory_bytes,
            },
            "hooks": info.hooks.iter().map(HookKind::name).collect::<Vec<_>>(),
            "configure": info.has_lifecycle,
            "capabilities": names(&info.imports),
            "chooses-upstream": info.chooses_upstream,
            "attributes": manifest.and_then(|manifest| manifest.attributes.as_ref()),
            "wasi": self.anatomy.wasi,
            "image": { "possible": image.is_none(), "reason": image },
            "direct": { "possible": direct.is_none(), "reason": direct },
            "config-schema": manifest.and_then(|manifest| manifest.config_schema.as_ref()),
            "policies": self.granted.as_ref().map(|list| list.iter().map(Granted::to_json).collect::<Vec<_>>()),
        })
    }

    /// Returns it as text for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let _infallible = writeln!(text, "{name:<13} {value}");
        };
        let Anatomy { info, bytes, code_bytes, data_bytes, debug_bytes, memory_bytes, .. } = &self.anatomy;
        line("plugin", &shown(&self.source));
        match &info.manifest {
            Some(manifest) => {
                let about = if manifest.description.is_empty() { "" } else { ": " };
                let name = format!("{} {}{about}{}", manifest.name, manifest.version, manifest.description);
                line("name", &shown(&abridged(&name, DESCRIPTION_CHARS_MAX)));
            }
            None => line("name", "- (it has no manifest, so settings are checked by its `configure` alone)"),
        }
        line("digest", &digest(&self.digest));
        let sizes = format!(
            "{bytes} bytes: code {code_bytes}, data {data_bytes}, names and debug information {debug_bytes}"
        );
        line("size", &sizes);
        line("memory", &format!("{} KiB to start with", memory_bytes >> 10));
        line("contract", &self.contract());
        if !self.anatomy.made_with.is_empty() {
            line("made with", &list(self.anatomy.made_with.iter().map(String::as_str)));
        }
        let configure = info.has_lifecycle.then_some("configure");
        line("hooks", &list(configure.into_iter().chain(info.hooks.iter().map(HookKind::name))));
        match info.imports.as_slice() {
            [] => line("capabilities", "none: it needs no grants"),
            imports => {
                line("capabilities", &names(imports).join(", "));
                let grants: Vec<&str> = imports.iter().map(|capability| capability.grant_example()).collect();
                line("", &format!("grants = {{ {} }}", grants.join(", ")));
            }
        }
        if let Some(note) = self.other_wants() {
            line("", &note);
        }
        if info.chooses_upstream {
            line("upstreams", "it chooses among those of its route");
        }
        match info.manifest.as_ref().and_then(|manifest| manifest.attributes.as_ref()) {
            Some(names) if !names.is_empty() => {
                line("attributes", &format!("sets {}", list(names.iter().map(String::as_str))));
            }
            _ => {}
        }
        match self.anatomy.wasi.len() {
            0 => line("wasi", "none"),
            _ => line("wasi", &list(self.anatomy.wasi.iter().map(String::as_str))),
        }
        line("image", &self.image());
        match &self.anatomy.not_direct {
            None => line("calls", "direct"),
            Some(reason) => line("calls", &format!("by way of its component: {}", shown(reason))),
        }
        text.push_str(&self.settings());
        text.push_str(&self.grants());
        text
    }

    fn contract(&self) -> String {
        let versions = list(self.anatomy.contracts.iter().map(String::as_str));
        let named = self.anatomy.info.manifest.as_ref().and_then(|manifest| manifest.contract.as_deref());
        match named {
            Some(CONTRACT_DIGEST) => format!("{versions}, the text of this gateway ({CONTRACT_DIGEST})"),
            Some(other) => format!(
                "{versions}, text {} (this gateway has {CONTRACT_VERSION}, text {CONTRACT_DIGEST})",
                shown(&abridged(other, VALUE_CHARS_MAX * 2))
            ),
            None => format!("{versions} (its manifest does not say which text of it)"),
        }
    }

    /// What the manifest says that it wants, if that is something else than what it imports.
    fn other_wants(&self) -> Option<String> {
        let info = &self.anatomy.info;
        let wanted = &info.manifest.as_ref()?.capabilities;
        let imported = names(&info.imports);
        let same = wanted.len() == imported.len() && wanted.iter().all(|name| imported.contains(&&**name));
        (!same).then(|| {
            let wanted = if wanted.is_empty() { "none" } else { &list(wanted.iter().map(String::as_str)) };
            format!("its manifest says: {wanted}; what counts is what it imports")
        })
    }

    fn image(&self) -> String {
        match &self.anatomy.no_image {
            Some(reason) => format!(
                "no: with isolation = \"exchange\" each exchange runs `configure` anew, which is slow: {}",
                shown(&abridged(reason, DESCRIPTION_CHARS_MAX * 2))
            ),
            None if self.anatomy.wasi.iter().any(|name| name.starts_with("wasi:cli/std")) => {
                "yes, unless it prints in `configure`: it would keep a handle of standard output".to_owned()
            }
            None => "yes: with isolation = \"exchange\" instances start as `configure` left them".to_owned(),
        }
    }

    /// The settings, a line each.
    fn settings(&self) -> String {
        let manifest = self.anatomy.info.manifest.as_ref();
        let Some(schema) = manifest.and_then(|manifest| manifest.config_schema.as_ref()) else {
            return String::new();
        };
        let none = serde_json::Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        if properties.is_empty() {
            return "settings      none that its schema names\n".to_owned();
        }
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let width = properties.keys().map(|name| name.chars().count()).max().unwrap_or(0).min(30);
        let mut text = "settings\n".to_owned();
        for (name, property) in properties.iter().take(SETTINGS_MAX) {
            let target = followed(schema, property);
            let presence = match property.get("default") {
                Some(default) => format!(", default {}", abridged(&default.to_string(), VALUE_CHARS_MAX)),
                None if required.contains(&&**name) => ", required".to_owned(),
                None => String::new(),
            };
            let about = property.get("description").or_else(|| target.get("description"));
            let about = abridged(about.and_then(Value::as_str).unwrap_or_default(), DESCRIPTION_CHARS_MAX);
            let about = about.lines().collect::<Vec<_>>().join(" ");
            let line = format!("  {name:width$}  {}{presence}", kind(target));
            let line = if about.is_empty() { line } else { format!("{line}: {about}") };
            let _infallible = writeln!(text, "{}", shown(&line));
        }
        if properties.len() > SETTINGS_MAX {
            let _infallible = writeln!(text, "  and {} more", properties.len() - SETTINGS_MAX);
        }
        text
    }

    /// What the config grants, a paragraph for each policy.
    fn grants(&self) -> String {
        let Some(granted) = &self.granted else { return String::new() };
        if granted.is_empty() {
            return "policies      no policy of the config has this plugin\n".to_owned();
        }
        let mut text = String::new();
        for Granted { policy, version } in granted {
            let of = if *version == "active" { String::new() } else { format!(" ({version})") };
            let _infallible = writeln!(text, "policy        `{}`{of}", policy.name);
            let may: Vec<String> = Capability::ALL
                .into_iter()
                .filter(|capability| policy.grants.allows(*capability))
                .map(|capability| scope(&policy.grants, capability))
                .collect();
            let may = if may.is_empty() { "nothing".to_owned() } else { may.join("; ") };
            let _infallible = writeln!(text, "  may use     {may}");
            let limits = &policy.limits;
            let _infallible = writeln!(
                text,
                "  may cost    {:?} of CPU time a hook, {} KiB of memory, {} KiB of a body at once",
                limits.deadline,
                limits.memory_bytes >> 10,
                limits.body_bytes >> 10
            );
            let _infallible = writeln!(text, "  isolation   {}", policy.isolation.name());
        }
        text
    }
}

impl Granted {
    fn to_json(&self) -> Value {
        let Self { policy, version } = self;
        let may = Capability::ALL.into_iter().filter(|capability| policy.grants.allows(*capability));
        json!({
            "policy": &*policy.name,
            "version": version,
            "isolation": policy.isolation.name(),
            "grants": may.map(|capability| (capability.name().to_owned(), scope(&policy.grants, capability).into()))
                .collect::<serde_json::Map<String, Value>>(),
            "deadline-us": u64::try_from(policy.limits.deadline.as_micros()).unwrap_or(u64::MAX),
            "memory-bytes": policy.limits.memory_bytes,
            "body-bytes": policy.limits.body_bytes,
        })
    }
}

/// A capability as it was granted, with its bounds.
fn scope(grants: &Grants, capability: Capability) -> String {
    let name = capability.name();
    match capability {
        Capability::RateLimit => match &grants.rate_limit {
            Some(quota) => format!("{name} ({} buckets)", quota.buckets_max),
            None => name.to_owned(),
        },
        Capability::Store => match &grants.store {
            Some(room) => format!("{name} ({} entries, {} KiB)", room.entries_max, room.bytes_max >> 10),
            None => name.to_owned(),
        },
        Capability::Secrets => {
            let secrets: Vec<&str> = grants.secrets.iter().map(|secret| &**secret).collect();
            format!("{name} ({})", secrets.join(", "))
        }
        Capability::HttpClient => {
            let servers = grants.http.iter().map(|grant| {
                let scheme = if grant.tls { "https" } else { "http" };
                format!("{scheme}://{}:{}{}", grant.host, grant.port, grant.path)
            });
            format!("{name} ({})", servers.collect::<Vec<_>>().join(", "))
        }
        Capability::CachePurge => match &grants.cache_purge {
            Some(grant) => format!("{name} ({})", grant.caches.join(", ")),
            None => name.to_owned(),
        },
        _ => name.to_owned(),
    }
}

/// What a property refers to, or itself.
fn followed<'s>(root: &'s Value, property: &'s Value) -> &'s Value {
    let mut target = property;
    for _ in 0..REFERENCES_MAX {
        let reference = target.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
        match reference.and_then(|path| root.pointer(path)) {
            Some(next) => target = next,
            None => break,
        }
    }
    target
}

/// What a value has to be, in a word or two.
fn kind(schema: &Value) -> String {
    if let Some(choices) = schema["enum"].as_array() {
        let choices: Vec<String> = choices.iter().map(ToString::to_string).collect();
        return abridged(&choices.join(" or "), VALUE_CHARS_MAX * 2).into_owned();
    }
    match &schema["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => list(kinds.iter().filter_map(Value::as_str)),
        _ => "any value".to_owned(),
    }
}

fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<_> = names.map(shown).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

fn names(capabilities: &[Capability]) -> Vec<&'static str> {
    capabilities.iter().map(|capability| capability.name()).collect()
}

fn digest(bytes: &[u8; 32]) -> String {
    format!("sha256:{}", portcullis_model::text::hex(bytes))
}

#[cfg(test)]
mod tests {
    use portcullis_model::{Capability, Grants, StoreGrant};
    use portcullis_sandbox::{Anatomy, ComponentInfo, Manifest};
    use serde_json::json;

    use super::{PluginView, scope};

    fn anatomy() -> Anatomy {
        let schema = json!({
            "type": "object",
            "properties": {
                "header": { "type": "string", "default": "x-tenant", "description": "The field.\nOf requests." },
                "mode": { "$ref": "#/$defs/mode" },
                "tenants": { "type": "object" },
            },
            "required": ["tenants"],
            "$defs": { "mode": { "enum": ["good", "overdue"] } },
        });
        let manifest = Manifest {
            name: "tenant".to_owned(),
            version: "0.1.0".to_owned(),
            description: String::new(),
            config_schema: Some(schema),
            capabilities: vec!["log".to_owned()],
            attributes: Some(vec!["tenant".to_owned()]),
            contract: None,
        };
        let imports = vec![Capability::Log, Capability::Store];
        Anatomy {
            info: ComponentInfo { manifest: Some(manifest), imports, ..ComponentInfo::default() },
            no_image: Some("it changes a\u{1b}[1m table".to_owned()),
            ..Anatomy::default()
        }
    }

    #[test]
    fn the_settings_are_listed_with_their_types_and_defaults() {
        let text = PluginView::new("a.wasm".to_owned(), b"", anatomy()).text();
        for line in [
            "name          tenant 0.1.0",
            "  header   string, default \"x-tenant\": The field. Of requests.",
            "  mode     \"good\" or \"overdue\"",
            "  tenants  object, required",
            "capabilities  log, store",
            "              grants = { log = true, store = true }",
            "              its manifest says: log; what counts is what it imports",
            "attributes    sets tenant",
            "calls         direct",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line:?} in:\n{text}");
        }
        assert!(text.contains("it changes a\\u{1b}[1m table"), "{text}");
    }

    #[test]
    fn what_is_granted_is_shown_with_its_bounds() {
        let grants = Grants {
            log: true,
            store: Some(StoreGrant { entries_max: 5, bytes_max: 4096 }),
            secrets: vec!["password".into()],
            ..Grants::default()
        };
        assert_eq!(scope(&grants, Capability::Log), "log");
        assert_eq!(scope(&grants, Capability::Store), "store (5 entries, 4 KiB)");
        assert_eq!(scope(&grants, Capability::Secrets), "secrets (password)");
    }
}
