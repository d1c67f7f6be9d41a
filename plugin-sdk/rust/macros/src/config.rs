//! `#[derive(Config)]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, Field, Fields, Ident, Lit, LitStr, Result, Token, UnOp,
    Variant,
};

pub(crate) fn expand(item: &DeriveInput) -> Result<TokenStream> {
    if !item.generics.params.is_empty() {
        let message = "settings have no type parameters: their schema is fixed when the policy is built";
        return Err(Error::new_spanned(&item.generics, message));
    }
    if let Some(attribute) = item.attrs.iter().find(|attribute| attribute.path().is_ident("config")) {
        return Err(Error::new_spanned(attribute, "#[config(…)] belongs on a field"));
    }
    match &item.data {
        Data::Struct(data) => {
            let Fields::Named(_) = data.fields else {
                return Err(Error::new_spanned(&item.ident, "settings are a struct with named fields"));
            };
            let table = table(&data.fields, &docs(&item.attrs), "")?;
            let (fields, defaults, object) = (table.mirror, table.defaults, table.object);
            let schema = quote! { ::portcullis_sdk::config::Schema::Object(&#object) };
            let keyword = quote! { struct };
            Ok(implement(item, &keyword, &quote! { #fields }, &defaults, &schema))
        }
        Data::Enum(data) => {
            let mut mirrors = Vec::new();
            let mut defaults = TokenStream::new();
            let mut variants = Vec::new();
            for variant in &data.variants {
                let (mirror, more, schema) = case(variant)?;
                mirrors.push(mirror);
                defaults.extend(more);
                variants.push(schema);
            }
            let schema = quote! { ::portcullis_sdk::config::Schema::Enum(&[#(#variants),*]) };
            let keyword = quote! { enum };
            Ok(implement(item, &keyword, &quote! { #(#mirrors,)* }, &defaults, &schema))
        }
        Data::Union(_) => Err(Error::new_spanned(&item.ident, "settings are a struct or an enum")),
    }
}

/// The implementations. Serde derives the reading on a mirror of the type: one derive cannot add another to its item,
/// and this way neither the policy's package needs serde nor its author the attributes.
fn implement(
    item: &DeriveInput,
    keyword: &TokenStream,
    body: &TokenStream,
    defaults: &TokenStream,
    schema: &TokenStream,
) -> TokenStream {
    let name = &item.ident;
    let remote = name.to_string();
    let mirror = format_ident!("__{name}Mirror");
    let fields = matches!(item.data, Data::Enum(_)).then(|| quote! { rename_all_fields = "kebab-case", });
    quote! {
        const _: () = {
            #[derive(::portcullis_sdk::__private::serde::Deserialize)]
            #[serde(
                crate = "::portcullis_sdk::__private::serde",
                remote = #remote,
                rename_all = "kebab-case",
                #fields
                deny_unknown_fields
            )]
            #[allow(dead_code, reason = "serde reads it and makes the remote type")]
            #keyword #mirror { #body }

            #defaults

            impl<'de> ::portcullis_sdk::__private::serde::Deserialize<'de> for #name {
                fn deserialize<D>(deserializer: D) -> ::core::result::Result<Self, D::Error>
                where
                    D: ::portcullis_sdk::__private::serde::Deserializer<'de>,
                {
                    #mirror::deserialize(deserializer)
                }
            }

            impl ::portcullis_sdk::ConfigSchema for #name {
                const SCHEMA: &'static ::portcullis_sdk::config::Schema = &#schema;
            }
        };
    }
}

/// A table: a struct, or the content of a variant.
struct Table {
    mirror: TokenStream,
    defaults: TokenStream,
    object: TokenStream,
}

fn table(fields: &Fields, description: &str, scope: &str) -> Result<Table> {
    let mut mirror = TokenStream::new();
    let mut defaults = TokenStream::new();
    let mut properties = Vec::new();
    for field in fields {
        let (Some(name), kind) = (&field.ident, &field.ty) else {
            return Err(Error::new_spanned(field, "expected a named field"));
        };
        let options = Options::of(field)?;
        let key = match &options.rename {
            Some(rename) => rename.value(),
            None => unraw(name).replace('_', "-"),
        };
        let serde_default = match &options.default {
            None => TokenStream::new(),
            Some(Fallback::OfType) => quote! { default, },
            Some(Fallback::Value(value)) => {
                // Two variants can have fields of the same name.
                let function = format_ident!("default_{scope}{}", unraw(name));
                defaults.extend(default_function(&function, kind, value));
                let path = function.to_string();
                quote! { default = #path, }
            }
        };
        mirror.extend(quote! {
            #[serde(rename = #key, #serde_default)]
            #name: #kind,
        });
        let description = docs(&field.attrs);
        let json = option(options.default.as_ref().and_then(Fallback::json));
        let minimum = option(options.minimum.as_ref());
        let maximum = option(options.maximum.as_ref());
        let pattern = option(options.pattern.as_ref());
        let means = option(options.means.as_ref());
        let keys_mean = option(options.keys_mean.as_ref());
        let may_be_absent = options.default.is_some();
        properties.push(quote! {
            ::portcullis_sdk::config::Property {
                name: #key,
                description: #description,
                schema: <#kind as ::portcullis_sdk::ConfigSchema>::SCHEMA,
                required: !(#may_be_absent || <#kind as ::portcullis_sdk::ConfigSchema>::OPTIONAL),
                default: #json,
                minimum: #minimum,
                maximum: #maximum,
                pattern: #pattern,
                means: #means,
                keys_mean: #keys_mean,
            }
        });
    }
    let object = quote! {
        ::portcullis_sdk::config::Object { description: #description, properties: &[#(#properties),*] }
    };
    Ok(Table { mirror, defaults, object })
}

/// A variant: its mirror, the functions of its defaults, and its schema.
fn case(variant: &Variant) -> Result<(TokenStream, TokenStream, TokenStream)> {
    let name = &variant.ident;
    let key = kebab(&unraw(name));
    let description = docs(&variant.attrs);
    let means = option(means_of(&variant.attrs)?.as_ref());
    let (mirror, defaults, content) = match &variant.fields {
        Fields::Unit => (quote! { #name }, TokenStream::new(), quote! { ::core::option::Option::None }),
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
            let kind = &fields.unnamed[0].ty;
            let schema = quote! {
                ::core::option::Option::Some(<#kind as ::portcullis_sdk::ConfigSchema>::SCHEMA)
            };
            (quote! { #name(#kind) }, TokenStream::new(), schema)
        }
        Fields::Unnamed(fields) => {
            return Err(Error::new_spanned(fields, "a variant holds one value, or named fields"));
        }
        Fields::Named(_) => {
            let table = table(&variant.fields, "", &format!("{}_", unraw(name)))?;
            let (fields, object) = (table.mirror, table.object);
            let schema = quote! {
                ::core::option::Option::Some(&::portcullis_sdk::config::Schema::Object(&#object))
            };
            (quote! { #name { #fields } }, table.defaults, schema)
        }
    };
    let schema = quote! {
        ::portcullis_sdk::config::Variant { name: #key, description: #description, content: #content, means: #means }
    };
    Ok((quote! { #[serde(rename = #key)] #mirror }, defaults, schema))
}

/// What `#[config(…)]` says of a field.
#[derive(Default)]
struct Options {
    default: Option<Fallback>,
    rename: Option<LitStr>,
    minimum: Option<TokenStream>,
    maximum: Option<TokenStream>,
    pattern: Option<LitStr>,
    means: Option<LitStr>,
    keys_mean: Option<LitStr>,
}

/// What texts can mean to the gateway.
const MEANINGS: [&str; 5] = ["sets-attribute", "reads-attribute", "request-field", "url", "template"];

/// Reads such a word.
fn meaning(word: LitStr) -> Result<LitStr> {
    if MEANINGS.contains(&word.value().as_str()) {
        return Ok(word);
    }
    Err(Error::new(word.span(), format!("no such meaning; there are `{}`", MEANINGS.join("`, `"))))
}

/// What `#[config(means = "…")]` says of a variant.
fn means_of(attributes: &[Attribute]) -> Result<Option<LitStr>> {
    let mut means = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("config")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("means") {
                return Err(meta.error("expected `means`"));
            }
            means = Some(meaning(meta.value()?.parse()?)?);
            Ok(())
        })?;
    }
    Ok(means)
}

/// What a field is if it is left out.
enum Fallback {
    /// What `Default` gives.
    OfType,
    /// This literal, or this variant.
    Value(Expr),
}

impl Options {
    fn of(field: &Field) -> Result<Self> {
        let mut options = Self::default();
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("config")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("default") {
                    options.default = Some(match meta.input.peek(Token![=]) {
                        true => Fallback::Value(checked(meta.value()?.parse()?)?),
                        false => Fallback::OfType,
                    });
                } else if meta.path.is_ident("rename") {
                    options.rename = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("minimum") {
                    options.minimum = Some(integer(&meta.value()?.parse()?)?);
                } else if meta.path.is_ident("maximum") {
                    options.maximum = Some(integer(&meta.value()?.parse()?)?);
                } else if meta.path.is_ident("pattern") {
                    options.pattern = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("means") {
                    options.means = Some(meaning(meta.value()?.parse()?)?);
                } else if meta.path.is_ident("keys_mean") {
                    options.keys_mean = Some(meaning(meta.value()?.parse()?)?);
                } else {
                    let known = "expected `default`, `rename`, `minimum`, `maximum`, `pattern`, `means` or `keys_mean`";
                    return Err(meta.error(known));
                }
                Ok(())
            })?;
        }
        Ok(options)
    }
}

/// A default that the schema can show: a literal, a negative number, or the path of a variant without content.
fn checked(value: Expr) -> Result<Expr> {
    let fits = match &value {
        Expr::Lit(literal) => {
            matches!(literal.lit, Lit::Str(_) | Lit::Int(_) | Lit::Float(_) | Lit::Bool(_))
        }
        Expr::Unary(negative) => matches!(negative.op, UnOp::Neg(_)),
        Expr::Path(_) => true,
        _ => false,
    };
    if fits { Ok(value) } else { Err(Error::new_spanned(value, "a default is a literal or a variant")) }
}

impl Fallback {
    /// The default as JSON, as a literal of that text.
    fn json(&self) -> Option<TokenStream> {
        let Self::Value(value) = self else { return None };
        let text = match value {
            Expr::Lit(literal) => json(&literal.lit)?,
            Expr::Unary(negative) => match &*negative.expr {
                Expr::Lit(literal) => format!("-{}", json(&literal.lit)?),
                _ => return None,
            },
            Expr::Path(path) => format!("\"{}\"", kebab(&unraw(&path.path.segments.last()?.ident))),
            _ => return None,
        };
        Some(quote! { #text })
    }
}

fn json(literal: &Lit) -> Option<String> {
    match literal {
        Lit::Str(text) => {
            let escape = |c: char| match c {
                '"' | '\\' => format!("\\{c}"),
                c if c < ' ' => format!("\\u{:04x}", u32::from(c)),
                c => c.to_string(),
            };
            Some(format!("\"{}\"", text.value().chars().map(escape).collect::<String>()))
        }
        Lit::Int(number) => Some(number.base10_digits().to_owned()),
        Lit::Float(number) => Some(number.base10_digits().to_owned()),
        Lit::Bool(truth) => Some(truth.value.to_string()),
        _ => None,
    }
}

/// The function that makes a default. A literal text becomes whatever is made from text, such as `String`.
fn default_function(function: &Ident, kind: &syn::Type, value: &Expr) -> TokenStream {
    let is_text = matches!(value, Expr::Lit(literal) if matches!(literal.lit, Lit::Str(_)));
    let value = if is_text {
        quote! { ::core::convert::From::from(#value) }
    } else {
        quote! { #value }
    };
    quote! {
        fn #function() -> #kind {
            #value
        }
    }
}

/// A whole number with its sign.
fn integer(value: &Expr) -> Result<TokenStream> {
    let number = match value {
        Expr::Unary(negative) if matches!(negative.op, UnOp::Neg(_)) => &*negative.expr,
        number => number,
    };
    match number {
        Expr::Lit(literal) if matches!(literal.lit, Lit::Int(_)) => Ok(quote! { #value }),
        _ => Err(Error::new_spanned(value, "expected a whole number")),
    }
}

fn option(value: Option<impl quote::ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote! { ::core::option::Option::Some(#value) },
        None => quote! { ::core::option::Option::None },
    }
}

/// The doc comment: lines of a paragraph joined, paragraphs apart.
fn docs(attributes: &[Attribute]) -> String {
    let mut text = String::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        let syn::Meta::NameValue(meta) = &attribute.meta else { continue };
        let Expr::Lit(literal) = &meta.value else { continue };
        let Lit::Str(line) = &literal.lit else { continue };
        let line = line.value();
        let line = line.trim();
        if line.is_empty() {
            text.push('\n');
        } else {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push(' ');
            }
            text.push_str(line);
        }
    }
    text.trim().to_owned()
}

fn unraw(name: &Ident) -> String {
    let name = name.to_string();
    name.strip_prefix("r#").map(str::to_owned).unwrap_or(name)
}

/// `ClientAddress` to `client-address`.
fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab
}
