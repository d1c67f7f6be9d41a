//! What a component is, read from its bytes without compiling it.

#[cfg(test)]
mod tests;

use portcullis_model::Capability;
use portcullis_model::text::one_line;
use portcullis_policy::{HookKind, Hooks};
use serde_json::Value;
use wasmparser::{ComponentType, Encoding, InstanceTypeDeclaration, Parser, Payload};

use crate::InspectError;
use crate::contract::{DIGEST, PACKAGE, VERSION};

/// A larger file is no policy: CPython with its standard library is 40 MiB.
const BYTES_MAX: usize = 256 << 20;
/// Nested modules and components: componentize-py makes some 50.
const NESTED_MAX: usize = 1000;
/// A manifest, whose schema is the largest part.
const MANIFEST_BYTES_MAX: usize = 1 << 20;
/// The version of manifests that this gateway reads. One without a version is of the first.
const MANIFEST_VERSION: u64 = 1;
/// The custom section that carries the manifest.
pub const MANIFEST_SECTION: &str = "portcullis:manifest";

/// What a component says about itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ComponentInfo {
    /// The manifest. A component made without the SDK may have none.
    pub manifest: Option<Manifest>,
    /// The capabilities that it imports, in the order of the documentation.
    pub imports: Vec<Capability>,
    /// The hooks that it exports.
    pub hooks: Hooks,
    /// Whether it exports `lifecycle`.
    pub has_lifecycle: bool,
    /// Whether it imports what informs the cache of the route.
    pub informs_cache: bool,
    /// Whether it imports the function that chooses an upstream of the route.
    pub chooses_upstream: bool,
}

/// The manifest of a plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for, in a sentence; may be empty.
    pub description: String,
    /// The JSON schema of its configuration.
    pub config_schema: Option<Value>,
    /// The capabilities that it says it wants; what counts is what it imports.
    pub capabilities: Vec<String>,
    /// The attributes that it sets whatever its settings are; `None` if it does not say which it sets.
    pub attributes: Option<Vec<String>>,
    /// The digest of the contract that it was built against; `None` if it does not say.
    pub contract: Option<String>,
}

/// Reads what a component is, what it imports and which hooks it has. Compiles and runs nothing, and does not check the
/// code itself: that is for [`Sandbox::compile`](crate::Sandbox::compile).
///
/// # Errors
/// When the bytes are no component, when it imports what no gateway has, when it was made for another version of the
/// contract, when it has no hook, and when its manifest is broken.
pub fn inspect(component: &[u8]) -> Result<ComponentInfo, InspectError> {
    if !component.starts_with(b"\0asm") {
        return Err(InspectError::NotWasm);
    }
    if component.len() > BYTES_MAX {
        return Err(InspectError::TooLarge { what: "bytes", max: BYTES_MAX });
    }
    let malformed = |error: wasmparser::BinaryReaderError| InspectError::Malformed(error.to_string());

    let mut info = ComponentInfo::default();
    let mut exports = 0;
    // How deep the parser is in nested components and modules; imports and exports count at the top only.
    let (mut depth, mut nested) = (0_usize, 0_usize);
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(malformed)? {
            Payload::Version { encoding, .. } => {
                nested += 1;
                if nested > NESTED_MAX {
                    return Err(InspectError::TooLarge { what: "nested modules", max: NESTED_MAX });
                }
                if depth == 0 && encoding == Encoding::Module {
                    return Err(InspectError::CoreModule);
                }
                depth += 1;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentTypeSection(section) if depth == 1 => {
                for kind in section {
                    info.chooses_upstream |= has_set_upstream(&kind.map_err(malformed)?);
                }
            }
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    info.read_import(import.map_err(malformed)?.name.name)?;
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    exports += usize::from(info.read_export(export.map_err(malformed)?.name.name)?);
                }
            }
            Payload::CustomSection(section) if section.name() == MANIFEST_SECTION => {
                let earlier = info.manifest.replace(Manifest::parse(section.data())?);
                if earlier.is_some() {
                    return Err(InspectError::Manifest("there is more than one".to_owned()));
                }
            }
            _ => {}
        }
    }
    if exports == 0 {
        return Err(InspectError::NoHook);
    }
    info.imports.sort();
    info.imports.dedup();
    Ok(info)
}

impl ComponentInfo {
    /// What to say of a component that does not fit, if it was built against another contract of the same version.
    /// Additions make another digest as well, so the digest alone is no reason to refuse it.
    pub(crate) fn other_contract(&self) -> Option<String> {
        let found = self.manifest.as_ref()?.contract.as_deref().filter(|found| *found != DIGEST)?;
        Some(format!(
            "it was built against another text of {PACKAGE}@{VERSION}, {} and not {DIGEST}: build it with the contract \
             of this gateway",
            shown(found)
        ))
    }

    fn read_import(&mut self, name: &str) -> Result<(), InspectError> {
        if is_virtual_wasi(name) {
            return Ok(());
        }
        let unknown = || InspectError::UnknownImport(shown(name));
        match contract_interface(name)?.ok_or_else(unknown)? {
            "types" | "request" | "response" | "body" | "trailers" | "exchange" | "connection"
            | "outcome" => {}
            "cache" => self.informs_cache = true,
            interface => self.imports.push(Capability::from_name(interface).ok_or_else(unknown)?),
        }
        Ok(())
    }

    /// Returns whether the export is a hook. Others (`_initialize`, `cabi_…`, `wasi:cli/run`) are ignored.
    fn read_export(&mut self, name: &str) -> Result<bool, InspectError> {
        let Some(interface) = contract_interface(name)? else { return Ok(false) };
        if interface == "lifecycle" {
            self.has_lifecycle = true;
            return Ok(false);
        }
        let Some(kind) = HookKind::ALL.into_iter().find(|kind| kind.interface() == interface) else {
            return Ok(false);
        };
        self.hooks = self.hooks.with(kind);
        Ok(true)
    }
}

/// Whether an instance of this type has the function that chooses an upstream. Tools leave out of an import what a
/// component does not use.
fn has_set_upstream(kind: &ComponentType<'_>) -> bool {
    let ComponentType::Instance(declarations) = kind else { return false };
    declarations.iter().any(|declaration| {
        matches!(declaration, InstanceTypeDeclaration::Export { name, .. } if name.name == "set-upstream")
    })
}

/// The interface of the contract that `name` (`package/interface@version`) is; `None` for another package.
fn contract_interface(name: &str) -> Result<Option<&str>, InspectError> {
    let Some(rest) = name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('/')) else {
        return Ok(None);
    };
    let (interface, version) = rest.split_once('@').unwrap_or((rest, ""));
    match (numbers(version), numbers(VERSION)) {
        (Some(found), Some(own)) if line(found) == line(own) && found <= own => Ok(Some(interface)),
        (Some(found), Some(own)) if line(found) == line(own) => {
            Err(InspectError::NewerVersion { found: shown(name), wanted: VERSION })
        }
        _ => Err(InspectError::WrongVersion { found: shown(name), wanted: VERSION }),
    }
}

/// The three numbers of a version that has nothing else.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.split('.').map(|part| {
        let plain = part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
        part.parse().ok().filter(|_| plain)
    });
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// What versions have in common that only add to each other: the major number, and before 1.0 the minor one too.
fn line([major, minor, _]: [u32; 3]) -> (u32, Option<u32>) {
    (major, (major == 0).then_some(minor))
}

/// A name that a stranger chose, for one line.
fn shown(name: &str) -> String {
    const BYTES_MAX: usize = 200;
    one_line(name, BYTES_MAX)
}

/// Whether `name` is an interface of WASI 0.2, of any patch version. All of them load, because language runtimes import
/// them whether they use them or not; most of their functions trap when called: see `wasi.rs`.
fn is_virtual_wasi(name: &str) -> bool {
    const PACKAGES: [&str; 7] = ["cli", "clocks", "filesystem", "http", "io", "random", "sockets"];
    let Some((package, interface)) = name.strip_prefix("wasi:").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    PACKAGES.contains(&package)
        && interface.split_once('@').is_some_and(|(_, version)| version.starts_with("0.2."))
}

impl Manifest {
    fn parse(bytes: &[u8]) -> Result<Self, InspectError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(InspectError::TooLarge { what: "bytes of manifest", max: MANIFEST_BYTES_MAX });
        }
        let broken = |reason: String| InspectError::Manifest(reason);
        let Value::Object(mut object) =
            serde_json::from_slice(bytes).map_err(|error| broken(error.to_string()))?
        else {
            return Err(broken("it is no JSON object".to_owned()));
        };
        match object.remove("manifest") {
            None => {}
            Some(Value::Number(version)) if version.as_u64() == Some(MANIFEST_VERSION) => {}
            Some(Value::Number(version)) => {
                return Err(broken(format!(
                    "it is of version {version}, and this gateway reads version {MANIFEST_VERSION}: take a newer \
                     gateway, or build the component with the SDK of this one"
                )));
            }
            Some(_) => return Err(broken("`manifest`, its version, is no number".to_owned())),
        }
        let mut text = |key: &str| match object.remove(key) {
            Some(Value::String(text)) => Ok(Some(text)),
            None => Ok(None),
            Some(_) => Err(broken(format!("`{key}` is no string"))),
        };
        let (name, version, description) = (text("name")?, text("version")?, text("description")?);
        let contract = text("contract")?;
        let missing = |key: &str| broken(format!("`{key}` is missing"));
        let capabilities = match object.remove("capabilities") {
            None => Vec::new(),
            Some(list) => serde_json::from_value(list)
                .map_err(|_| broken("`capabilities` is no list of strings".to_owned()))?,
        };
        let attributes = match object.remove("attributes") {
            None => None,
            Some(list) => Some(
                serde_json::from_value(list)
                    .map_err(|_| broken("`attributes` is no list of strings".to_owned()))?,
            ),
        };
        Ok(Self {
            attributes,
            contract,
            name: name.filter(|name| !name.is_empty()).ok_or_else(|| missing("name"))?,
            version: version.ok_or_else(|| missing("version"))?,
            description: description.unwrap_or_default(),
            config_schema: object.remove("config-schema"),
            capabilities,
        })
    }
}
