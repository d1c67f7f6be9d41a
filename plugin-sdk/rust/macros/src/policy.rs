//! `#[policy]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, LitStr, Result, Token, Type};

/// What stands in the brackets of `#[policy(…)]`.
#[derive(Default)]
pub(crate) struct Arguments {
    name: Option<LitStr>,
    description: Option<LitStr>,
    capabilities: Vec<LitStr>,
    attributes: Option<Vec<LitStr>>,
}

const CAPABILITIES: [&str; 11] = [
    "log",
    "clock",
    "random",
    "rate-limit",
    "metrics",
    "store",
    "secrets",
    "crypto",
    "matchers",
    "http-client",
    "cache-purge",
];

impl syn::parse::Parse for Arguments {
    fn parse(input: syn::parse::ParseStream<'_>) -> Result<Self> {
        let mut arguments = Self::default();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match key.to_string().as_str() {
                "name" => arguments.name = Some(input.parse()?),
                "description" => arguments.description = Some(input.parse()?),
                "capabilities" => {
                    let list;
                    syn::bracketed!(list in input);
                    let names: Punctuated<LitStr, Token![,]> = Punctuated::parse_terminated(&list)?;
                    arguments.capabilities = names.into_iter().collect();
                }
                "attributes" => {
                    let list;
                    syn::bracketed!(list in input);
                    let names: Punctuated<LitStr, Token![,]> = Punctuated::parse_terminated(&list)?;
                    arguments.attributes = Some(names.into_iter().collect());
                }
                _ => {
                    let known = "expected `name`, `description`, `capabilities` or `attributes`";
                    return Err(Error::new(key.span(), known));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        for name in &arguments.capabilities {
            if !CAPABILITIES.contains(&name.value().as_str()) {
                let known = CAPABILITIES.join("`, `");
                return Err(Error::new(name.span(), format!("no such capability; there are `{known}`")));
            }
        }
        Ok(arguments)
    }
}

/// A hook: what it is called in the `impl` block and in the trait, and what it can be given.
struct Hook {
    function: &'static str,
    method: &'static str,
    // Type, name in the trait's method, and how it can be had.
    arguments: &'static [(&'static str, &'static str, Access)],
    returns: Returns,
}

#[derive(Clone, Copy, PartialEq)]
enum Access {
    Read,
    Edit,
    Own,
}

enum Returns {
    Decision,
    BodyDecision,
}

const HOOKS: [Hook; 6] = [
    Hook {
        function: "on_request_head",
        method: "request_head",
        arguments: &[("Request", "request", Access::Edit), ("Exchange", "exchange", Access::Edit)],
        returns: Returns::Decision,
    },
    Hook {
        function: "on_request_body",
        method: "request_body",
        arguments: &[
            ("Chunk", "chunk", Access::Own),
            ("Trailers", "trailers", Access::Edit),
            ("Request", "request", Access::Edit),
            ("Exchange", "exchange", Access::Edit),
        ],
        returns: Returns::BodyDecision,
    },
    Hook {
        function: "on_response_head",
        method: "response_head",
        arguments: &[
            ("Response", "response", Access::Edit),
            ("Request", "request", Access::Read),
            ("Exchange", "exchange", Access::Edit),
        ],
        returns: Returns::Decision,
    },
    Hook {
        function: "on_response_body",
        method: "response_body",
        arguments: &[
            ("Chunk", "chunk", Access::Own),
            ("Trailers", "trailers", Access::Edit),
            ("Response", "response", Access::Edit),
            ("Request", "request", Access::Read),
            ("Exchange", "exchange", Access::Edit),
        ],
        returns: Returns::BodyDecision,
    },
    Hook {
        function: "on_completed",
        method: "completed",
        arguments: &[
            ("Outcome", "outcome", Access::Read),
            ("Trailers", "trailers", Access::Read),
            ("Response", "response", Access::Read),
            ("Request", "request", Access::Read),
            ("Exchange", "exchange", Access::Edit),
        ],
        returns: Returns::Decision,
    },
    Hook { function: "on_tick", method: "tick", arguments: &[], returns: Returns::Decision },
];

pub(crate) fn expand(arguments: Arguments, item: &ItemImpl) -> Result<TokenStream> {
    if let Some((_, path, _)) = &item.trait_ {
        return Err(Error::new(path.span(), "#[policy] belongs on an `impl` block of the policy itself"));
    }
    if !item.generics.params.is_empty() {
        return Err(Error::new(
            item.generics.span(),
            "a policy has no type parameters: the gateway makes it",
        ));
    }
    let policy = match &*item.self_ty {
        Type::Path(path) => path.path.get_ident(),
        _ => None,
    };
    let policy =
        policy.ok_or_else(|| Error::new(item.self_ty.span(), "expected the name of the policy's type"))?;

    let mut exported = Vec::new();
    let mut methods = TokenStream::new();
    let mut configure = None;
    for function in item.items.iter().filter_map(as_function) {
        let name = function.sig.ident.to_string();
        if name == "configure" {
            configure = Some(settings_type(function)?);
        } else if let Some(hook) = HOOKS.iter().find(|hook| hook.function == name) {
            methods.extend(method(hook, function)?);
        } else if name.starts_with("on_") {
            let known: Vec<&str> = HOOKS.iter().map(|hook| hook.function).collect();
            let message = format!("no such hook; there are `{}`", known.join("`, `"));
            return Err(Error::new(function.sig.ident.span(), message));
        } else {
            continue;
        }
        exported.push(function.sig.ident.clone());
    }

    let (schema, from_config) = match configure {
        Some(settings) => (
            quote! { ::core::option::Option::Some(<#settings as ::portcullis_sdk::ConfigSchema>::SCHEMA) },
            quote! {
                let settings = ::portcullis_sdk::__private::settings::<#settings>(config)?;
                ::portcullis_sdk::IntoConfigured::<Self>::into_configured(Self::configure(settings))
            },
        ),
        None => (
            quote! { ::core::option::Option::None },
            quote! {
                let _ = config;
                ::core::result::Result::Ok(<Self as ::core::default::Default>::default())
            },
        ),
    };
    let or_package = |text: Option<LitStr>, variable: &str| match text {
        Some(text) => quote! { #text },
        None => quote! { ::core::env!(#variable) },
    };
    let name = or_package(arguments.name, "CARGO_PKG_NAME");
    let description = or_package(arguments.description, "CARGO_PKG_DESCRIPTION");
    let capabilities = arguments.capabilities;
    let attributes = match arguments.attributes {
        Some(names) => quote! { ::core::option::Option::Some(&[#(#names),*]) },
        None => quote! { ::core::option::Option::None },
    };

    Ok(quote! {
        #item

        const _: () = {
            impl ::portcullis_sdk::Policy for #policy {
                const MANIFEST: ::portcullis_sdk::Manifest<'static> = ::portcullis_sdk::Manifest {
                    name: #name,
                    version: ::core::env!("CARGO_PKG_VERSION"),
                    description: #description,
                    config_schema: #schema,
                    capabilities: &[#(#capabilities),*],
                    attributes: #attributes,
                };

                fn from_config(
                    config: &str,
                ) -> ::core::result::Result<Self, ::std::string::String> {
                    #from_config
                }

                #methods
            }

            // Natively nothing but tests calls it; this keeps a private policy from looking unused.
            const _: fn(&str) -> ::core::result::Result<#policy, ::std::string::String> =
                <#policy as ::portcullis_sdk::Policy>::from_config;
        };

        #[cfg(target_family = "wasm")]
        const _: () = {
            ::portcullis_sdk::__export!(#policy, [#(#exported)*]);
        };
    })
}

fn as_function(item: &ImplItem) -> Option<&ImplItemFn> {
    match item {
        ImplItem::Fn(function) => Some(function),
        _ => None,
    }
}

/// The type of what `configure` is given.
fn settings_type(function: &ImplItemFn) -> Result<&Type> {
    let mut inputs = function.sig.inputs.iter();
    match (inputs.next(), inputs.next()) {
        (Some(FnArg::Typed(settings)), None) => Ok(&settings.ty),
        _ => Err(Error::new(
            function.sig.inputs.span(),
            "expected `fn configure(settings: S) -> Result<Self, String>`, where `S` derives `Config`",
        )),
    }
}

/// The trait's method that calls a hook with the arguments that it wants.
fn method(hook: &Hook, function: &ImplItemFn) -> Result<TokenStream> {
    if let Some(asyncness) = function.sig.asyncness {
        return Err(Error::new(asyncness.span(), "hooks are not `async`: calls to the gateway just return"));
    }
    let mut inputs = function.sig.inputs.iter();
    let is_self = |input: &&FnArg| matches!(input, FnArg::Receiver(receiver) if receiver.reference.is_some());
    if inputs.next().filter(is_self).is_none() {
        return Err(Error::new(function.sig.ident.span(), "a hook takes `&self` or `&mut self` first"));
    }
    let given: Vec<TokenStream> = inputs.map(|input| argument(hook, input)).collect::<Result<_>>()?;

    let function = Ident::new(hook.function, proc_macro2::Span::call_site());
    let method = Ident::new(hook.method, proc_macro2::Span::call_site());
    let call = quote! { Self::#function(self, #(#given),*) };
    let (call, returns) = match hook.returns {
        Returns::Decision => (
            quote! { ::portcullis_sdk::IntoDecision::into_decision(#call) },
            quote! { -> ::portcullis_sdk::Decision },
        ),
        Returns::BodyDecision => (
            quote! { ::portcullis_sdk::IntoBodyDecision::into_body_decision(#call) },
            quote! { -> ::portcullis_sdk::BodyDecision },
        ),
    };
    let parameters = hook.arguments.iter().map(|(kind, name, access)| {
        let kind = Ident::new(kind, proc_macro2::Span::call_site());
        let name = Ident::new(name, proc_macro2::Span::call_site());
        match access {
            Access::Own => quote! { #name: ::portcullis_sdk::#kind },
            Access::Read => quote! { #name: &::portcullis_sdk::#kind },
            Access::Edit => quote! { #name: &mut ::portcullis_sdk::#kind },
        }
    });
    let names = hook.arguments.iter().map(|(_, name, _)| Ident::new(name, proc_macro2::Span::call_site()));
    Ok(quote! {
        fn #method(&mut self, #(#parameters),*) #returns {
            let _ = (#(&#names,)*);
            #call
        }
    })
}

/// What is passed for one argument of a hook: found by the name of its type.
fn argument(hook: &Hook, input: &FnArg) -> Result<TokenStream> {
    let FnArg::Typed(input) = input else {
        return Err(Error::new(input.span(), "`self` comes first"));
    };
    let (wanted, kind) = match &*input.ty {
        Type::Reference(reference) if reference.mutability.is_some() => (Access::Edit, &*reference.elem),
        Type::Reference(reference) => (Access::Read, &*reference.elem),
        owned => (Access::Own, owned),
    };
    let name = match kind {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    };
    let known = hook.arguments.iter().find(|(kind, ..)| name.as_deref() == Some(kind));
    let Some((kind, variable, access)) = known else {
        return Err(Error::new(
            input.ty.span(),
            format!("`{}` can be given {}", hook.function, choices(hook)),
        ));
    };
    let variable = Ident::new(variable, proc_macro2::Span::call_site());
    match (access, wanted) {
        (Access::Own, Access::Own) => Ok(quote! { #variable }),
        (Access::Own, Access::Read) => Ok(quote! { &#variable }),
        (Access::Edit, Access::Edit) => Ok(quote! { &mut *#variable }),
        (Access::Edit | Access::Read, Access::Read) => Ok(quote! { &*#variable }),
        (Access::Read, Access::Edit) => {
            let message = format!("`{kind}` cannot be edited in `{}`: take `&{kind}`", hook.function);
            Err(Error::new(input.ty.span(), message))
        }
        _ => {
            let message = format!("`{}` can be given {}", hook.function, choices(hook));
            Err(Error::new(input.ty.span(), message))
        }
    }
}

fn choices(hook: &Hook) -> String {
    let written = hook.arguments.iter().map(|(kind, _, access)| match access {
        Access::Own => format!("`{kind}`"),
        Access::Read => format!("`&{kind}`"),
        Access::Edit => format!("`&{kind}` or `&mut {kind}`"),
    });
    let written: Vec<String> = written.collect();
    if written.is_empty() { "nothing but `self`".to_owned() } else { written.join(", ") }
}
