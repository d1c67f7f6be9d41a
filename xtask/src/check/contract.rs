//! The contract grows as wit/README.md says: of a version that is on record in wit/released, nothing is changed, and a
//! later version of the same line has all of it. A version that is not on record is a draft, which can change freely
//! as far as earlier records of its line allow.
//!
//! Components are linked by the types of what they import. A name more in an enum, a case more in a variant or a field
//! more in a record is another type, with which no component loads that was built before. What can be added is an
//! interface, and a function or type in an interface that the gateway provides. An interface that a component exports
//! stays as it is: the gateway would ask old components for what they do not have.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};
use wit_parser::{Function, InterfaceId, Resolve, Type, TypeDefKind, TypeOwner, WorldItem};

use super::outcome::Outcome;
use crate::tree::root;

#[cfg(test)]
mod tests;

/// What a contract consists of.
#[derive(Debug, PartialEq, Eq)]
struct Contract {
    /// Such as `portcullis:policy@0.1.0`.
    package: String,
    version: String,
    interfaces: BTreeMap<String, Interface>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Interface {
    /// Whether components have it, and not the gateway.
    is_exported: bool,
    /// The types and functions by name, each written out.
    items: BTreeMap<String, String>,
}

/// The file beside the contract that names its digest, for the gateway and the SDK.
const DIGEST_FILE: &str = "digest";

/// Compares wit/ with the records of its line.
pub(super) fn check() -> Result<Outcome> {
    let folder = root().join("wit");
    let current = Contract::read(&folder)?;
    let mut findings = current.lost(&folder)?;
    let digest = folder.join(DIGEST_FILE);
    if std::env::var_os("PORTCULLIS_BLESS").is_some() {
        fs::write(&digest, format!("{}\n", current.digest()))?;
    }
    let named = fs::read_to_string(&digest).unwrap_or_default();
    if named.trim() != current.digest() {
        findings.push(format!(
            "wit/{DIGEST_FILE} is `{}` and should be `{}`",
            named.trim(),
            current.digest()
        ));
    }
    let state = if record_of(&folder, &current).is_dir() { "on record" } else { "a draft, not on record" };
    let figures = vec![format!("{}, {state}: {} interfaces", current.package, current.interfaces.len())];
    Ok(Outcome { findings, figures })
}

/// Records wit/ as its version, which says that components may be built for it, and writes its digest. A record is
/// renewed only by what keeps it: for anything else the version must be another one.
///
/// # Errors
/// If something of a record of its line would be lost.
pub(crate) fn record() -> Result<()> {
    let folder = root().join("wit");
    let current = Contract::read(&folder)?;
    let lost = current.lost(&folder)?;
    ensure!(
        lost.is_empty(),
        "{} is not what is on record; give it another version, or remove the record if nothing was built for it:\n  {}",
        current.package,
        lost.join("\n  ")
    );
    let record = record_of(&folder, &current);
    if record.is_dir() {
        fs::remove_dir_all(&record)?;
    }
    fs::create_dir_all(&record)?;
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|end| end == "wit")) {
            fs::copy(&path, record.join(name)).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    let digest = current.digest();
    fs::write(folder.join(DIGEST_FILE), format!("{digest}\n"))?;
    println!("recorded {}, {digest}, in {}", current.package, record.display());
    Ok(())
}

/// The records of the contract in `folder`, a folder for each version.
fn records(folder: &Path) -> PathBuf {
    folder.join("released")
}

/// Where the version of `contract` is put on record.
fn record_of(folder: &Path, contract: &Contract) -> PathBuf {
    records(folder).join(&contract.version)
}

impl Contract {
    /// What is on record in `folder` of this version, and of earlier ones of its line, and is no more there.
    fn lost(&self, folder: &Path) -> Result<Vec<String>> {
        let mut lost = Vec::new();
        if !records(folder).try_exists()? {
            return Ok(lost);
        }
        for entry in fs::read_dir(records(folder)).context("cannot list wit/released")? {
            let recorded = Self::read(&entry?.path())?;
            let is_earlier = numbers(&recorded.version)? <= numbers(&self.version)?;
            if is_earlier && line(&recorded.version) == line(&self.version) {
                let of = |finding| format!("{}: {finding}", recorded.version);
                lost.extend(grown(&recorded, self).into_iter().map(of));
            }
        }
        Ok(lost)
    }

    /// A digest of all that linking looks at. Comments, and the order of what is named, are not part of it.
    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (name, interface) in &self.interfaces {
            hash.update(format!("interface {name} {}\n", interface.is_exported));
            for (item, shape) in &interface.items {
                hash.update(format!("{item} {shape}\n"));
            }
        }
        let hex: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }

    /// Reads the files of a folder.
    fn read(folder: &Path) -> Result<Self> {
        let mut resolve = Resolve::default();
        let (package, _) =
            resolve.push_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let package = &resolve.packages[package];
        let mut interfaces: BTreeMap<String, Interface> = BTreeMap::new();
        for (name, id) in &package.interfaces {
            interfaces.insert(name.clone(), Interface::read(&resolve, *id));
        }
        for world in package.worlds.values() {
            for item in resolve.worlds[*world].exports.values() {
                if let WorldItem::Interface { id, .. } = item
                    && let Some(interface) = interfaces.get_mut(interface_name(&resolve, *id))
                {
                    interface.is_exported = true;
                }
            }
        }
        let version = package.name.version.as_ref().context("the package has no version")?.to_string();
        Ok(Self { package: package.name.to_string(), version, interfaces })
    }
}

impl Interface {
    fn read(resolve: &Resolve, id: InterfaceId) -> Self {
        let interface = &resolve.interfaces[id];
        let types = interface
            .types
            .iter()
            .map(|(name, id)| (format!("type {name}"), definition(resolve, &resolve.types[*id].kind)));
        let functions = interface
            .functions
            .iter()
            .map(|(name, function)| (format!("function {name}"), signature(resolve, function)));
        Self { is_exported: false, items: types.chain(functions).collect() }
    }
}

/// What of `recorded` is no more in `current`, and what was added to what cannot grow.
fn grown(recorded: &Contract, current: &Contract) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, before) in &recorded.interfaces {
        let Some(now) = current.interfaces.get(name) else {
            findings.push(format!("interface {name} is gone"));
            continue;
        };
        for (item, shape) in &before.items {
            match now.items.get(item) {
                None => findings.push(format!("{name}: {item} is gone")),
                Some(now) if now != shape => {
                    findings.push(format!("{name}: {item} was `{shape}` and is `{now}`"));
                }
                Some(_) => {}
            }
        }
        if before.is_exported != now.is_exported {
            findings.push(format!("interface {name} is now on the other side"));
        }
        let added = now.items.keys().filter(|item| before.is_exported && !before.items.contains_key(*item));
        findings.extend(added.map(|item| {
            format!("{name}: {item} is new, and components that export {name} do not have it; make an interface of it")
        }));
    }
    findings
}

/// The numbers of a version.
fn numbers(version: &str) -> Result<Vec<u32>> {
    version
        .split('.')
        .map(|part| part.parse().with_context(|| format!("`{version}` is not three numbers")))
        .collect()
}

/// What versions that only add to each other begin with: the major number, and before 1.0 the minor one too.
fn line(version: &str) -> &str {
    let dots = if version.starts_with("0.") { 1 } else { 0 };
    version.match_indices('.').nth(dots).map_or(version, |(at, _)| &version[..at])
}

fn interface_name(resolve: &Resolve, id: InterfaceId) -> &str {
    resolve.interfaces[id].name.as_deref().unwrap_or_default()
}

/// A function as a component sees it: its parameters are part of its type by name.
fn signature(resolve: &Resolve, function: &Function) -> String {
    let parameters = function
        .params
        .iter()
        .map(|parameter| format!("{}: {}", parameter.name, shape(resolve, &parameter.ty)));
    let result = function.result.map(|result| format!(" -> {}", shape(resolve, &result))).unwrap_or_default();
    let kind = if function.kind.is_async() { "async func" } else { "func" };
    format!("{kind}({}){result}", parameters.collect::<Vec<_>>().join(", "))
}

/// A type as its users write it: by its name, if it has one.
fn shape(resolve: &Resolve, ty: &Type) -> String {
    let Type::Id(id) = ty else { return format!("{ty:?}").to_lowercase() };
    let ty = &resolve.types[*id];
    match (&ty.name, ty.owner) {
        (Some(name), TypeOwner::Interface(owner)) => format!("{}.{name}", interface_name(resolve, owner)),
        (Some(name), _) => name.clone(),
        (None, _) => definition(resolve, &ty.kind),
    }
}

/// What a type consists of.
fn definition(resolve: &Resolve, kind: &TypeDefKind) -> String {
    let shape = |ty: &Type| shape(resolve, ty);
    let maybe = |ty: &Option<Type>| ty.as_ref().map_or("_".to_owned(), shape);
    let list = |items: Vec<String>| items.join(", ");
    match kind {
        TypeDefKind::Record(record) => {
            let field = |(name, ty): (&String, &Type)| format!("{name}: {}", shape(ty));
            format!(
                "record {{ {} }}",
                list(record.fields.iter().map(|it| field((&it.name, &it.ty))).collect())
            )
        }
        TypeDefKind::Variant(variant) => {
            let case = |name: &str, ty: &Option<Type>| match ty {
                Some(ty) => format!("{name}({})", shape(ty)),
                None => name.to_owned(),
            };
            format!("variant {{ {} }}", list(variant.cases.iter().map(|it| case(&it.name, &it.ty)).collect()))
        }
        TypeDefKind::Enum(names) => {
            format!("enum {{ {} }}", list(names.cases.iter().map(|it| it.name.clone()).collect()))
        }
        TypeDefKind::Flags(names) => {
            format!("flags {{ {} }}", list(names.flags.iter().map(|it| it.name.clone()).collect()))
        }
        TypeDefKind::Tuple(tuple) => format!("tuple<{}>", list(tuple.types.iter().map(shape).collect())),
        TypeDefKind::Option(ty) => format!("option<{}>", shape(ty)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", maybe(&result.ok), maybe(&result.err)),
        TypeDefKind::List(ty) => format!("list<{}>", shape(ty)),
        TypeDefKind::Map(key, value) => format!("map<{}, {}>", shape(key), shape(value)),
        TypeDefKind::FixedLengthList(ty, length) => format!("list<{}, {length}>", shape(ty)),
        TypeDefKind::Future(ty) => format!("future<{}>", maybe(ty)),
        TypeDefKind::Stream(ty) => format!("stream<{}>", maybe(ty)),
        TypeDefKind::Type(ty) => shape(ty),
        TypeDefKind::Resource => "resource".to_owned(),
        TypeDefKind::Handle(handle) => format!("{handle:?}"),
        TypeDefKind::Unknown => "unknown".to_owned(),
    }
}
