//! The bindings of the SDK for Go: a package for each interface that the gateway offers.
//!
//! They call the gateway as the canonical ABI of components has it. For tests, which run natively, each package has a
//! second form whose functions are variables.

mod types;

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use wit_bindgen_core::wit_parser::{
    Docs, Function, InterfaceId, Resolve, SizeAlign, Type, TypeDefKind, TypeId, WorldItem,
};

use crate::tree::root;

const WORLD: &str = "imports";
/// The module of the SDK.
const MODULE: &str = "portcullis/policy";
/// Parameters that a function may take; beyond it they are passed in memory, which no function of ours needs.
const FLAT_MAX: usize = 16;

/// Names of Go that are written in capitals.
const CAPITALS: [&str; 8] = ["http", "json", "jwk", "jwks", "jws", "tls", "ttl", "url"];

/// The files of the packages, by their paths in the folder of the SDK.
pub(super) fn generate() -> Result<Vec<(String, String)>> {
    let mut resolve = Resolve::default();
    let (contract, _) = resolve.push_path(root().join("wit"))?;
    let world = resolve.select_world(&[contract], Some(WORLD))?;
    let mut sizes = SizeAlign::default();
    sizes.fill(&resolve);
    let mut files = Vec::new();
    for item in resolve.worlds[world].imports.values() {
        let WorldItem::Interface { id, .. } = item else {
            bail!("the world imports something else than interfaces")
        };
        let package = Package { resolve: &resolve, sizes: &sizes, id: *id };
        let name = package_name(package.name(*id));
        files.push((format!("{name}/{name}.go"), package.wasm()?));
        files.push((format!("{name}/{name}_native.go"), package.native()?));
    }
    Ok(files)
}

/// `rate-limit` is the package `ratelimit`.
fn package_name(interface: &str) -> String {
    interface.replace('-', "")
}

/// `set-header` is `SetHeader`, `read-json` is `ReadJSON`.
fn exported(name: &str) -> String {
    let word = |word: &str| match CAPITALS.contains(&word) {
        true => word.to_ascii_uppercase(),
        false => {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        }
    };
    name.split('-').map(word).collect()
}

/// `ttl-ms` is the parameter `ttlMs`.
fn parameter(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &exported(word))
}

fn docs(docs: &Docs, indent: &str) -> String {
    let lines = docs.contents.iter().flat_map(|text| text.trim().lines());
    lines.fold(String::new(), |text, line| text + format!("{indent}// {line}").trim_end() + "\n")
}

/// One interface as a package.
struct Package<'r> {
    resolve: &'r Resolve,
    sizes: &'r SizeAlign,
    id: InterfaceId,
}

impl Package<'_> {
    fn name(&self, id: InterfaceId) -> &str {
        self.resolve.interfaces[id].name.as_deref().unwrap_or_default()
    }

    fn functions(&self) -> impl Iterator<Item = &Function> {
        self.resolve.interfaces[self.id].functions.values()
    }

    /// The head of a file. Packages that it does not use are left out.
    fn head(&self, constraint: &str, body: &str) -> String {
        let interface = &self.resolve.interfaces[self.id];
        let imports = [
            ("runtime.", "runtime".to_owned()),
            ("unsafe.", "unsafe".to_owned()),
            ("abi.", format!("{MODULE}/abi")),
            ("types.", format!("{MODULE}/types")),
        ];
        let here = package_name(self.name(self.id));
        let used =
            imports.iter().filter(|(mark, path)| body.contains(mark) && !path.ends_with(&format!("/{here}")));
        let imports: String = used.map(|(_, path)| format!("\t\"{path}\"\n")).collect();
        let imports = if imports.is_empty() { imports } else { format!("import (\n{imports})\n\n") };
        format!(
            "// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.\n\n//go:build {constraint}\n\n{}package \
             {here}\n\n{imports}{body}",
            docs(&interface.docs, "")
        )
    }

    /// What runs in the gateway.
    fn wasm(&self) -> Result<String> {
        let mut body = self.types()?;
        body.push_str(&self.loaders()?);
        for function in self.functions() {
            body.push_str(&self.call(function).with_context(|| function.name.clone())?);
        }
        Ok(self.head("wasip1", &body))
    }

    /// What runs in tests.
    fn native(&self) -> Result<String> {
        let mut body = self.types()?;
        let here = package_name(self.name(self.id));
        let mut fields = String::new();
        let mut functions = String::new();
        for function in self.functions() {
            let name = exported(&function.name);
            let (parameters, results) = (self.parameters(function)?, self.results(function)?);
            writeln!(fields, "\t{name} func({parameters}) {results}")?;
            let arguments: Vec<String> = function.params.iter().map(|param| parameter(&param.name)).collect();
            let give = if results.is_empty() { "" } else { "return " };
            write!(
                functions,
                "{}func {name}({parameters}) {results} {{\n\tif Mock.{name} == nil {{\n\t\tpanic(\"{here}.{name} is called \
                 and {here}.Mock.{name} is not set\")\n\t}}\n\t{give}Mock.{name}({})\n}}\n\n",
                docs(&function.docs, ""),
                arguments.join(", ")
            )?;
        }
        if !fields.is_empty() {
            write!(
                body,
                "// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set \
                 panics.\nvar Mock struct {{\n{fields}}}\n\n{functions}"
            )?;
        }
        Ok(self.head("!wasip1", &body))
    }

    fn parameters(&self, function: &Function) -> Result<String> {
        let parameters = function
            .params
            .iter()
            .map(|param| Ok(format!("{} {}", parameter(&param.name), self.parameter_type(&param.ty)?)));
        Ok(parameters.collect::<Result<Vec<_>>>()?.join(", "))
    }

    /// The results as Go has them: an absent value is a `false`, a failure an error.
    fn results(&self, function: &Function) -> Result<String> {
        let Some(result) = function.result else { return Ok(String::new()) };
        let mut results = Vec::new();
        let value = match self.shape(&result) {
            Some(TypeDefKind::Result(result)) => {
                results.push("error".to_owned());
                result.ok
            }
            _ => Some(result),
        };
        if let Some(value) = value {
            match self.shape(&value) {
                Some(TypeDefKind::Option(inner)) => {
                    results.insert(0, "bool".to_owned());
                    results.insert(0, self.type_name(inner)?);
                }
                _ => results.insert(0, self.type_name(&value)?),
            }
        }
        Ok(match results.as_slice() {
            [one] => one.clone(),
            several => format!("({})", several.join(", ")),
        })
    }

    /// The function that is imported, and the one that calls it.
    fn call(&self, function: &Function) -> Result<String> {
        let name = exported(&function.name);
        let mut lowered = Lowered::default();
        for param in &function.params {
            self.lower(&param.ty, &parameter(&param.name), &mut lowered, true)?;
        }
        let direct = match &function.result {
            None => Some(String::new()),
            Some(result) => self.direct(result)?,
        };
        if direct.is_none() {
            lowered.flat.push(("unsafe.Pointer", "abi.Ret()".to_owned()));
        }
        if lowered.flat.len() > FLAT_MAX {
            bail!("it takes more than {FLAT_MAX} values");
        }
        let raw: Vec<String> =
            lowered.flat.iter().enumerate().map(|(at, (ty, _))| format!("p{at} {ty}")).collect();
        let arguments: Vec<&str> = lowered.flat.iter().map(|(_, value)| value.as_str()).collect();
        let interface = self.resolve.id_of(self.id).context("an interface without a name")?;
        let mut text = format!(
            "//go:wasmimport {interface} {}\nfunc import{name}({}) {}\n\n",
            function.name,
            raw.join(", "),
            direct.as_deref().unwrap_or_default()
        );
        let (parameters, results) = (self.parameters(function)?, self.results(function)?);
        writeln!(text, "{}func {name}({parameters}) {results} {{", docs(&function.docs, ""))?;
        text.push_str(&lowered.before);
        let call = format!("import{name}({})", arguments.join(", "));
        match (&function.result, direct) {
            (Some(result), Some(_)) => {
                let value = match result {
                    Type::Bool => format!("{call} != 0"),
                    other => format!("{}({call})", self.type_name(other)?),
                };
                writeln!(text, "\tresult := {value}\n{}\treturn result", lowered.after)?;
            }
            (Some(result), None) => {
                writeln!(text, "\t{call}\n{}\tdefer abi.Done()\n\tp := abi.Ret()", lowered.after)?;
                text.push_str(&self.give(result)?);
            }
            (None, _) => writeln!(text, "\t{call}\n{}", lowered.after.trim_end_matches('\n'))?,
        }
        text.push_str("}\n\n");
        Ok(text)
    }

    /// The type of a result that is returned and not written to memory.
    fn direct(&self, result: &Type) -> Result<Option<String>> {
        Ok(match self.root(result) {
            Type::String => None,
            Type::U64 | Type::S64 => Some("uint64".to_owned()),
            Type::F64 => Some("float64".to_owned()),
            Type::Id(id) => match self.resolve.types[id].kind {
                TypeDefKind::Enum(_) => Some("uint32".to_owned()),
                _ => None,
            },
            Type::F32 | Type::Char | Type::ErrorContext => {
                bail!("a type that the contract has not used so far")
            }
            _ => Some("uint32".to_owned()),
        })
    }

    /// The statements that return what lies at `p`.
    fn give(&self, result: &Type) -> Result<String> {
        let value_of = |ty: &Type, at: String, end: &str| -> Result<String> {
            Ok(match self.shape(ty) {
                Some(TypeDefKind::Option(inner)) => {
                    let payload = self.payload([None, Some(inner)]);
                    format!(
                        "\tif abi.U8({at}) == 0 {{\n\t\tvar none {}\n\t\treturn none, false{end}\n\t}}\n\treturn {}, \
                         true{end}\n",
                        self.type_name(inner)?,
                        self.load(inner, &format!("abi.Add({at}, {payload})"))?
                    )
                }
                _ => format!("\treturn {}{end}\n", self.load(ty, &at)?),
            })
        };
        let Some(TypeDefKind::Result(pair)) = self.shape(result) else {
            return value_of(result, "p".to_owned(), "");
        };
        let payload = self.payload([pair.ok.as_ref(), pair.err.as_ref()]);
        let at = format!("abi.Add(p, {payload})");
        let error = pair.err.as_ref().context("a failure without a reason")?;
        let error = self.load(error, &at)?;
        let Some(value) = &pair.ok else {
            return Ok(format!("\tif abi.U8(p) != 0 {{\n\t\treturn {error}\n\t}}\n\treturn nil\n"));
        };
        let (zeros, none) = match self.shape(value) {
            Some(TypeDefKind::Option(inner)) => (self.type_name(inner)?, "none, false"),
            _ => (self.type_name(value)?, "none"),
        };
        Ok(format!(
            "\tif abi.U8(p) != 0 {{\n\t\tvar none {zeros}\n\t\treturn {none}, {error}\n\t}}\n{}",
            value_of(value, at, ", nil")?
        ))
    }
}

/// The parameters of a call as the canonical ABI has them.
#[derive(Default)]
struct Lowered {
    /// Statements before the call.
    before: String,
    /// Statements behind it.
    after: String,
    /// Types and values.
    flat: Vec<(&'static str, String)>,
    /// Variables that were named.
    names: usize,
}

impl Package<'_> {
    /// Takes a value apart. At the `top`, absent bytes are nil.
    fn lower(&self, ty: &Type, value: &str, to: &mut Lowered, top: bool) -> Result<()> {
        let flat = match self.root(ty) {
            Type::String => ("string", value.to_owned()),
            Type::Bool => ("uint32", format!("abi.Bool({value})")),
            Type::U64 => ("uint64", value.to_owned()),
            Type::S64 => ("uint64", format!("uint64({value})")),
            Type::F64 => ("float64", value.to_owned()),
            Type::U8 | Type::U16 | Type::U32 => ("uint32", format!("uint32({value})")),
            Type::Id(id) => return self.lower_defined(id, value, to, top),
            other => bail!("a type that the contract has not used so far: {other:?}"),
        };
        to.flat.push(flat);
        Ok(())
    }

    fn lower_defined(&self, id: TypeId, value: &str, to: &mut Lowered, top: bool) -> Result<()> {
        match &self.resolve.types[id].kind {
            TypeDefKind::Enum(_) => to.flat.push(("uint32", format!("uint32({value})"))),
            TypeDefKind::List(Type::U8) => {
                to.flat.push(("unsafe.Pointer", format!("abi.Data({value})")));
                to.flat.push(("uint32", format!("uint32(len({value}))")));
            }
            TypeDefKind::List(item) => {
                let size = self.sizes.size(item).size_wasm32();
                let name = format!("list{}", to.names);
                to.names += 1;
                writeln!(
                    to.before,
                    "\t{name} := abi.Store({value}, {size}, func(p unsafe.Pointer, value {}) {{\n{}\t}})",
                    self.type_name(item)?,
                    self.store(item, "value")?
                )?;
                writeln!(to.after, "\truntime.KeepAlive({name})\n\truntime.KeepAlive({value})")?;
                to.flat.push(("unsafe.Pointer", format!("abi.Start({name})")));
                to.flat.push(("uint32", format!("uint32(len({value}))")));
            }
            TypeDefKind::Option(inner) => {
                let bytes = top && matches!(self.shape(inner), Some(TypeDefKind::List(Type::U8)));
                to.flat.push(("uint32", format!("abi.Bool({value} != nil)")));
                if bytes {
                    return self.lower(inner, value, to, top);
                }
                let name = format!("given{}", to.names);
                to.names += 1;
                let ty = self.type_name(inner)?;
                writeln!(
                    to.before,
                    "\tvar {name} {ty}\n\tif {value} != nil {{\n\t\t{name} = *{value}\n\t}}"
                )?;
                self.lower(inner, &name, to, top)?;
            }
            TypeDefKind::Record(record) => {
                for field in &record.fields {
                    self.lower(&field.ty, &format!("{value}.{}", exported(&field.name)), to, false)?;
                }
            }
            other => bail!("a kind of parameter that the contract has not used so far: {other:?}"),
        }
        Ok(())
    }
}
