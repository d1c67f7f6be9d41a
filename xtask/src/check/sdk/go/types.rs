//! The types of the contract in Go: their names, their declarations, and how they are read from and written to memory.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use wit_bindgen_core::wit_parser::{Int, Type, TypeDef, TypeDefKind, TypeId, TypeOwner, Variant};

use super::{Package, docs, exported, package_name};

impl Package<'_> {
    /// The type that an alias stands for.
    pub(super) fn root(&self, ty: &Type) -> Type {
        match ty {
            Type::Id(id) => match &self.resolve.types[*id].kind {
                TypeDefKind::Type(inner) => self.root(inner),
                _ => *ty,
            },
            other => *other,
        }
    }

    /// How a type is made up, if it is no primitive.
    pub(super) fn shape(&self, ty: &Type) -> Option<&TypeDefKind> {
        match self.root(ty) {
            Type::Id(id) => Some(&self.resolve.types[id].kind),
            _ => None,
        }
    }

    /// Where the value of a case lies, behind the byte that says which one it is.
    pub(super) fn payload<'t>(&self, cases: impl IntoIterator<Item = Option<&'t Type>>) -> usize {
        self.sizes.payload_offset(Int::U8, cases).size_wasm32()
    }

    /// The type of a parameter. Bytes that may be absent are nil then.
    pub(super) fn parameter_type(&self, ty: &Type) -> Result<String> {
        match self.shape(ty) {
            Some(TypeDefKind::Option(inner))
                if matches!(self.shape(inner), Some(TypeDefKind::List(Type::U8))) =>
            {
                self.type_name(inner)
            }
            _ => self.type_name(ty),
        }
    }

    /// The type in Go.
    pub(super) fn type_name(&self, ty: &Type) -> Result<String> {
        Ok(match self.root(ty) {
            Type::Bool => "bool".to_owned(),
            Type::U8 => "uint8".to_owned(),
            Type::U16 => "uint16".to_owned(),
            Type::U32 => "uint32".to_owned(),
            Type::U64 => "uint64".to_owned(),
            Type::S64 => "int64".to_owned(),
            Type::F64 => "float64".to_owned(),
            Type::String => "string".to_owned(),
            Type::Id(id) => self.defined_name(id)?,
            other => bail!("a type that the contract has not used so far: {other:?}"),
        })
    }

    fn defined_name(&self, id: TypeId) -> Result<String> {
        let def = &self.resolve.types[id];
        Ok(match &def.kind {
            TypeDefKind::List(item) => {
                format!("[]{}", if *item == Type::U8 { "byte".to_owned() } else { self.type_name(item)? })
            }
            TypeDefKind::Option(inner) => format!("*{}", self.type_name(inner)?),
            TypeDefKind::Tuple(_) => self.in_types(self.pair(id)?),
            TypeDefKind::Result(pair) => {
                let value = pair.ok.as_ref().context("a list of results without values")?;
                format!("{}[{}]", self.in_types("Result"), self.type_name(value)?)
            }
            TypeDefKind::Record(_) | TypeDefKind::Variant(_) | TypeDefKind::Enum(_) => {
                self.qualified(def, "")?
            }
            other => bail!("a kind of type that the contract has not used so far: {other:?}"),
        })
    }

    /// A tuple is a field line, with a value that is text or bytes.
    fn pair(&self, id: TypeId) -> Result<&'static str> {
        let TypeDefKind::Tuple(tuple) = &self.resolve.types[id].kind else { bail!("this is no tuple") };
        match tuple.types.as_slice() {
            [Type::String, Type::String] => Ok("Field"),
            [Type::String, value] if matches!(self.shape(value), Some(TypeDefKind::List(Type::U8))) => {
                Ok("FieldBytes")
            }
            other => bail!("a tuple that the contract has not used so far: {other:?}"),
        }
    }

    /// A name of the package `types`.
    fn in_types(&self, name: &str) -> String {
        if self.name(self.id) == "types" { name.to_owned() } else { format!("types.{name}") }
    }

    /// A name that a type has in the package of its interface, such as that of the function which reads it.
    fn qualified(&self, def: &TypeDef, before: &str) -> Result<String> {
        let TypeOwner::Interface(owner) = def.owner else { bail!("a type outside of the interfaces") };
        let name = before.to_owned() + &exported(def.name.as_deref().context("a type without a name")?);
        Ok(if owner == self.id { name } else { format!("{}.{name}", package_name(self.name(owner))) })
    }

    /// The types of the interface itself.
    pub(super) fn types(&self) -> Result<String> {
        let mut text = String::new();
        for (name, id) in &self.resolve.interfaces[self.id].types {
            let def = &self.resolve.types[*id];
            let name = exported(name);
            match &def.kind {
                TypeDefKind::Record(record) => {
                    writeln!(text, "{}type {name} struct {{", docs(&def.docs, ""))?;
                    for field in &record.fields {
                        let docs = docs(&field.docs, "\t");
                        writeln!(text, "{docs}\t{} {}", exported(&field.name), self.type_name(&field.ty)?)?;
                    }
                    text.push_str("}\n\n");
                }
                TypeDefKind::Enum(cases) => {
                    write!(text, "{}type {name} uint8\n\nconst (\n", docs(&def.docs, ""))?;
                    for (at, case) in cases.cases.iter().enumerate() {
                        let iota = if at == 0 { format!(" {name} = iota") } else { String::new() };
                        writeln!(text, "{}\t{name}{}{iota}", docs(&case.docs, "\t"), exported(&case.name))?;
                    }
                    text.push_str(")\n\n");
                }
                TypeDefKind::Variant(variant) => text.push_str(&self.variant(&name, def, variant)?),
                TypeDefKind::Type(Type::Id(_)) => {}
                TypeDefKind::Type(primitive) => {
                    write!(text, "{}type {name} = {}\n\n", docs(&def.docs, ""), self.type_name(primitive)?)?;
                }
                TypeDefKind::Tuple(_) => {
                    let value = if self.pair(*id)? == "Field" { "string" } else { "[]byte" };
                    write!(
                        text,
                        "{}type {name} struct {{\n\tName string\n\tValue {value}\n}}\n\n",
                        docs(&def.docs, "")
                    )?;
                }
                other => bail!("a kind of type that the contract has not used so far: {other:?}"),
            }
        }
        if self.name(self.id) == "types" {
            text.push_str("// Result is the answer to one of several calls.\ntype Result[T any] struct {\n\tValue T\n\tErr error\n}\n\n");
        }
        Ok(text)
    }

    /// A variant: which case it is, and what the cases hold.
    fn variant(&self, name: &str, def: &TypeDef, variant: &Variant) -> Result<String> {
        let mut text = docs(&def.docs, "");
        write!(text, "type {name} struct {{\n\tKind {name}Kind\n")?;
        let holds = |wanted: &Type| variant.cases.iter().any(|case| case.ty.as_ref() == Some(wanted));
        if holds(&Type::String) {
            text.push_str("\tText string\n");
        }
        if holds(&Type::Bool) {
            text.push_str("\tBool bool\n");
        }
        write!(
            text,
            "}}\n\n// {name}Kind is which case of a {name} it is.\ntype {name}Kind uint8\n\nconst (\n"
        )?;
        for (at, case) in variant.cases.iter().enumerate() {
            let iota = if at == 0 { format!(" {name}Kind = iota") } else { String::new() };
            writeln!(text, "{}\t{name}{}{iota}", docs(&case.docs, "\t"), exported(&case.name))?;
        }
        text.push_str(")\n\n");
        if name == "Refused" || name.ends_with("Error") {
            let names: Vec<String> =
                variant.cases.iter().map(|case| format!("\"{}\"", case.name.replace('-', " "))).collect();
            write!(
                text,
                "func (e {name}) Error() string {{\n\tname := \"unknown\"\n\tif names := [...]string{{{}}}; int(e.Kind) < \
                 len(names) {{\n\t\tname = names[e.Kind]\n\t}}\n{}\treturn \"{}: \" + name\n}}\n\n",
                names.join(", "),
                if holds(&Type::String) {
                    "\tif e.Text != \"\" {\n\t\tname += \": \" + e.Text\n\t}\n"
                } else {
                    ""
                },
                if name == "Refused" { "refused" } else { self.name(self.id) }
            )?;
        }
        Ok(text)
    }

    /// The functions that read the types of the interface from memory.
    pub(super) fn loaders(&self) -> Result<String> {
        let mut text = String::new();
        for (name, id) in &self.resolve.interfaces[self.id].types {
            let name = exported(name);
            let mut body = String::new();
            match &self.resolve.types[*id].kind {
                TypeDefKind::Record(record) => {
                    let offsets = self.sizes.field_offsets(record.fields.iter().map(|field| &field.ty));
                    for (field, (offset, ty)) in record.fields.iter().zip(offsets) {
                        let at = format!("abi.Add(p, {})", offset.size_wasm32());
                        writeln!(body, "\tvalue.{} = {}", exported(&field.name), self.load(ty, &at)?)?;
                    }
                }
                TypeDefKind::Variant(variant) => {
                    let payload = self.payload(variant.cases.iter().map(|case| case.ty.as_ref()));
                    writeln!(body, "\tvalue.Kind = {name}Kind(abi.U8(p))\n\tswitch value.Kind {{")?;
                    for case in &variant.cases {
                        let Some(ty) = &case.ty else { continue };
                        let field = if *ty == Type::Bool { "Bool" } else { "Text" };
                        let load = self.load(ty, &format!("abi.Add(p, {payload})"))?;
                        writeln!(body, "\tcase {name}{}:\n\t\tvalue.{field} = {load}", exported(&case.name))?;
                    }
                    body.push_str("\t}\n");
                }
                _ => continue,
            }
            write!(
                text,
                "// Load{name} reads what the gateway wrote. It is for the bindings.\nfunc Load{name}(p unsafe.Pointer) {name} \
                 {{\n\tvar value {name}\n{body}\treturn value\n}}\n\n"
            )?;
        }
        Ok(text)
    }

    /// An expression that reads a value from memory.
    pub(super) fn load(&self, ty: &Type, at: &str) -> Result<String> {
        Ok(match self.root(ty) {
            Type::Bool => format!("abi.U8({at}) != 0"),
            Type::U8 => format!("abi.U8({at})"),
            Type::U16 => format!("abi.U16({at})"),
            Type::U32 => format!("abi.U32({at})"),
            Type::U64 => format!("abi.U64({at})"),
            Type::S64 => format!("int64(abi.U64({at}))"),
            Type::String => format!("abi.String({at})"),
            Type::Id(id) => self.load_defined(id, at)?,
            other => bail!("a type that the contract has not used so far: {other:?}"),
        })
    }

    fn load_defined(&self, id: TypeId, at: &str) -> Result<String> {
        let def = &self.resolve.types[id];
        let function = |ty: &Type| -> Result<String> {
            Ok(format!("func(p unsafe.Pointer) {} {{ return {} }}", self.type_name(ty)?, self.load(ty, "p")?))
        };
        Ok(match &def.kind {
            TypeDefKind::List(Type::U8) => format!("abi.Bytes({at})"),
            TypeDefKind::List(item) => {
                format!("abi.Load({at}, {}, {})", self.sizes.size(item).size_wasm32(), function(item)?)
            }
            TypeDefKind::Tuple(tuple) => {
                let name = self.in_types(self.pair(id)?);
                let value = tuple.types.get(1).context("a tuple of one")?;
                let value = self.load(value, &format!("abi.Add({at}, 8)"))?;
                format!("{name}{{Name: abi.String({at}), Value: {value}}}")
            }
            TypeDefKind::Option(inner) => {
                format!("abi.Option({at}, {}, {})", self.payload([None, Some(inner)]), function(inner)?)
            }
            TypeDefKind::Result(pair) => {
                let (Some(value), Some(error)) = (&pair.ok, &pair.err) else {
                    bail!("a result without values")
                };
                let payload = self.payload([Some(value), Some(error)]);
                let name = self.defined_name(id)?;
                let at_payload = format!("abi.Add(p, {payload})");
                format!(
                    "func(p unsafe.Pointer) {name} {{\n\t\tif abi.U8(p) != 0 {{\n\t\t\treturn {name}{{Err: {}}}\n\t\t}}\n\t\treturn \
                     {name}{{Value: {}}}\n\t}}({at})",
                    self.load(error, &at_payload)?,
                    self.load(value, &at_payload)?
                )
            }
            TypeDefKind::Enum(_) => format!("{}(abi.U8({at}))", self.defined_name(id)?),
            TypeDefKind::Record(_) | TypeDefKind::Variant(_) => {
                format!("{}({at})", self.qualified(def, "Load")?)
            }
            other => bail!("a kind of type that the contract has not used so far: {other:?}"),
        })
    }

    /// Statements that write a value to memory at `p`.
    pub(super) fn store(&self, ty: &Type, value: &str) -> Result<String> {
        self.store_at(ty, value, 0)
    }

    fn store_at(&self, ty: &Type, value: &str, offset: usize) -> Result<String> {
        let at = format!("abi.Add(p, {offset})");
        Ok(match self.root(ty) {
            Type::String => format!("\t\tabi.PutString({at}, {value})\n"),
            Type::U32 => format!("\t\tabi.PutU32({at}, {value})\n"),
            Type::Id(id) => match &self.resolve.types[id].kind {
                TypeDefKind::List(Type::U8) => format!("\t\tabi.PutBytes({at}, {value})\n"),
                TypeDefKind::Tuple(tuple) => {
                    let second = tuple.types.get(1).context("a tuple of one")?;
                    self.store_at(&Type::String, &format!("{value}.Name"), offset)?
                        + &self.store_at(second, &format!("{value}.Value"), offset + 8)?
                }
                TypeDefKind::Record(record) => {
                    let mut text = String::new();
                    let offsets = self.sizes.field_offsets(record.fields.iter().map(|field| &field.ty));
                    for (field, (inner, ty)) in record.fields.iter().zip(offsets) {
                        let value = format!("{value}.{}", exported(&field.name));
                        text.push_str(&self.store_at(ty, &value, offset + inner.size_wasm32())?);
                    }
                    text
                }
                TypeDefKind::List(item) => {
                    let size = self.sizes.size(item).size_wasm32();
                    format!(
                        "\t\tabi.PutList({at}, {value}, {size}, func(p unsafe.Pointer, value {}) {{\n{}\t\t}})\n",
                        self.type_name(item)?,
                        self.store(item, "value")?
                    )
                }
                other => bail!("a kind of item that the contract has not used so far: {other:?}"),
            },
            other => bail!("a type of item that the contract has not used so far: {other:?}"),
        })
    }
}
