//! The crate graph: which crate may use which.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use super::outcome::Findings;
use super::packages::packages;
use crate::tools::{cargo, output};
use crate::tree::sources;

/// A crate of ours and the crates of ours that it may use, as in ARCHITECTURE.md. The binary may use all; a plugin, an
/// example and the SDK stand in [`is_guest`].
const MAY_USE: &[(&str, &[&str])] = &[
    ("portcullis-model", &[]),
    ("portcullis-http", &["portcullis-model"]),
    ("portcullis-traffic", &["portcullis-model"]),
    ("portcullis-cache", &["portcullis-http", "portcullis-model"]),
    ("portcullis-compress", &["portcullis-http", "portcullis-model"]),
    ("portcullis-config", &["portcullis-model"]),
    ("portcullis-telemetry", &["portcullis-model"]),
    ("portcullis-files", &["portcullis-model", "portcullis-http", "portcullis-traffic"]),
    ("portcullis-policy", &["portcullis-model", "portcullis-http"]),
    ("portcullis-services", &["portcullis-model", "portcullis-traffic"]),
    ("portcullis-rewrite", &[]),
    ("portcullis-componentize", &[]),
    ("portcullis-import", &[]),
    (
        "portcullis-rollout",
        &["portcullis-policy", "portcullis-http", "portcullis-traffic", "portcullis-model"],
    ),
    (
        "portcullis-sandbox",
        &[
            "portcullis-policy",
            "portcullis-rewrite",
            "portcullis-services",
            "portcullis-http",
            "portcullis-traffic",
            "portcullis-model",
        ],
    ),
    ("portcullis-net", &["portcullis-http", "portcullis-model"]),
    ("portcullis-registry", &["portcullis-model", "portcullis-net"]),
    (
        "portcullis-proxy",
        &[
            "portcullis-cache",
            "portcullis-compress",
            "portcullis-files",
            "portcullis-policy",
            "portcullis-http",
            "portcullis-traffic",
            "portcullis-net",
            "portcullis-telemetry",
            "portcullis-model",
        ],
    ),
    ("portcullis-admin", &[]),
    (
        "portcullis-inspect",
        &[
            "portcullis-admin",
            "portcullis-http",
            "portcullis-model",
            "portcullis-policy",
            "portcullis-proxy",
            "portcullis-sandbox",
            "portcullis-telemetry",
        ],
    ),
    ("portcullis-plugins", &[]),
    ("portcullis-sdk", &["portcullis-sdk-macros"]),
    ("portcullis-sdk-macros", &[]),
    ("portcullis-wasm-build", &[]),
    ("portcullis-bench", &["portcullis-test-guests"]),
    ("portcullis-test-guests", &[]),
    ("portcullis-test-guests-source", &[]),
    ("xtask", &[]),
];

/// Dependencies that only some crates name: the dependency (with everything that starts with it and a hyphen), the
/// crates, and why.
const ONLY: &[(&str, &[&str], &str)] = &[
    ("wasmtime", &["portcullis-sandbox"], "everything else sees a policy, not an engine"),
    ("rustls", &["portcullis-net"], "TLS is configured in one place"),
    ("tokio-rustls", &["portcullis-net"], "TLS is configured in one place"),
    (
        "anyhow",
        &["portcullis", "xtask", "portcullis-wasm-build", "portcullis-bench"],
        "a library's errors are types that a caller can tell apart",
    ),
];

/// Crates that are free of I/O, and what they must not even depend on through others.
const PURE: &[&str] = &[
    "portcullis-model",
    "portcullis-http",
    "portcullis-traffic",
    "portcullis-cache",
    "portcullis-compress",
    "portcullis-config",
    "portcullis-services",
    "portcullis-componentize",
    "portcullis-rewrite",
    "portcullis-import",
];
const IMPURE: &[&str] = &["tokio", "mio", "hyper", "async-std", "smol"];

/// What a guest may use of ours: it is what an outsider could write.
fn is_guest(name: &str) -> bool {
    name.starts_with("portcullis-plugin-")
        || name.starts_with("portcullis-example-")
        || name.starts_with("guest-")
}

pub(super) fn check() -> Result<Findings> {
    let text = output(cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
    let graph = Graph::read(&serde_json::from_str(&text).context("cargo metadata wrote no JSON")?)?;
    let mut findings = graph.own_edges();
    findings.extend(graph.unused_edges());
    for package in packages()? {
        let text = sources_below(&package.folder)?;
        findings.extend(graph.unnamed(&package.name, &text));
    }
    findings.extend(graph.restricted());
    findings.extend(graph.impure());
    Ok(findings)
}

/// Returns all Rust below a folder in one text.
fn sources_below(folder: &str) -> Result<String> {
    let sources = sources(&[".rs"])?;
    let below = sources.iter().filter(|source| source.path.starts_with(&format!("{folder}/")));
    Ok(below.map(|source| source.text.as_str()).collect())
}

/// Names of packages by id, and normal dependencies.
struct Graph {
    names: BTreeMap<String, String>,
    members: BTreeSet<String>,
    edges: BTreeMap<String, Vec<String>>,
}

impl Graph {
    fn read(metadata: &Value) -> Result<Self> {
        let list = |value: &Value| value.as_array().cloned().context("cargo metadata has another form");
        let text =
            |value: &Value| value.as_str().map(str::to_owned).context("cargo metadata has another form");
        let mut graph = Self { names: BTreeMap::new(), members: BTreeSet::new(), edges: BTreeMap::new() };
        for package in list(&metadata["packages"])? {
            graph.names.insert(text(&package["id"])?, text(&package["name"])?);
        }
        for member in list(&metadata["workspace_members"])? {
            graph.members.insert(text(&member)?);
        }
        for node in list(&metadata["resolve"]["nodes"])? {
            let mut edges = Vec::new();
            for edge in list(&node["deps"])? {
                // A normal dependency has no kind; "dev" and "build" ones do not end up in the gateway.
                if list(&edge["dep_kinds"])?.iter().any(|kind| kind["kind"].is_null()) {
                    edges.push(text(&edge["pkg"])?);
                }
            }
            graph.edges.insert(text(&node["id"])?, edges);
        }
        Ok(graph)
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.get(id).map_or(id, String::as_str)
    }

    fn uses(&self, id: &str) -> &[String] {
        self.edges.get(id).map_or(&[], Vec::as_slice)
    }

    fn own_edges(&self) -> Findings {
        let mut findings = Vec::new();
        for id in &self.members {
            let name = self.name(id);
            let may: &[&str] = match MAY_USE.iter().find(|(of, _)| *of == name) {
                Some((_, may)) => may,
                None if name == "portcullis" => continue,
                None if is_guest(name) => &["portcullis-sdk"],
                None => {
                    findings.push(format!("{name} is not in the table: say what it may use"));
                    continue;
                }
            };
            let used =
                self.uses(id).iter().filter(|used| self.members.contains(*used)).map(|used| self.name(used));
            for used in used.filter(|used| !may.contains(used)) {
                findings.push(format!("{name} uses {used}, which it may not"));
            }
        }
        findings
    }

    /// Edges that the table allows and no manifest has.
    fn unused_edges(&self) -> Findings {
        let mut findings = Vec::new();
        for (name, may) in MAY_USE {
            let Some(id) = self.members.iter().find(|id| self.name(id) == *name) else {
                findings.push(format!("{name} is in the table, but not in the workspace"));
                continue;
            };
            let unused =
                may.iter().filter(|other| !self.uses(id).iter().any(|used| self.name(used) == **other));
            findings.extend(
                unused.map(|other| format!("{name} may use {other} and does not: take the edge out")),
            );
        }
        findings
    }

    /// Crates of ours that the manifest of `name` has and its sources, in `text`, do not name.
    fn unnamed(&self, name: &str, text: &str) -> Findings {
        let Some(id) = self.members.iter().find(|id| self.name(id) == name) else { return Vec::new() };
        let own =
            self.uses(id).iter().filter(|used| self.members.contains(*used)).map(|used| self.name(used));
        let unnamed = own.filter(|used| !text.contains(&used.replace('-', "_")));
        unnamed.map(|used| format!("{name} depends on {used} and does not name it: take it out")).collect()
    }

    fn restricted(&self) -> Findings {
        let mut findings = Vec::new();
        for id in &self.members {
            for used in self.uses(id).iter().map(|used| self.name(used)) {
                let family = |base: &str| {
                    used.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
                };
                let rule = ONLY.iter().find(|(base, ..)| family(base));
                if let Some((base, holders, why)) =
                    rule.filter(|(_, holders, _)| !holders.contains(&self.name(id)))
                {
                    let name = self.name(id);
                    findings.push(format!(
                        "{name} uses {used}: {base} belongs to {} ({why})",
                        holders.join(", ")
                    ));
                }
            }
        }
        findings
    }

    fn impure(&self) -> Findings {
        let mut findings = Vec::new();
        for id in self.members.iter().filter(|id| PURE.contains(&self.name(id))) {
            let mut seen = BTreeSet::from([id]);
            let mut paths = vec![(id, self.name(id).to_owned())];
            while let Some((at, path)) = paths.pop() {
                if IMPURE.contains(&self.name(at)) {
                    findings.push(format!("{path}: what does no I/O must not bring a runtime along"));
                    continue;
                }
                for next in self.uses(at) {
                    if seen.insert(next) {
                        paths.push((next, format!("{path} -> {}", self.name(next))));
                    }
                }
            }
        }
        findings
    }
}

#[cfg(test)]
mod tests;
