//! The macros of `portcullis-sdk`, which re-exports and explains them.

mod config;
mod policy;

use proc_macro::TokenStream;
use syn::parse_macro_input;

/// Makes a component of an `impl` block: its functions that are called after hooks become the component's exports.
///
/// Arguments, all optional: `name` and `description` (those of the package unless set), and `capabilities = ["…"]`,
/// which tells in the manifest what the operator will have to grant. The version is that of the package.
///
/// A package holds one policy.
///
/// ```
/// use portcullis_sdk::prelude::*;
///
/// struct Closed {
///     words: String,
/// }
///
/// /// What it takes.
/// #[derive(Config)]
/// struct Settings {
///     /// What is told to clients.
///     #[config(default = "closed for the night\n")]
///     words: String,
/// }
///
/// #[policy(name = "closed", description = "Lets nobody in.")]
/// impl Closed {
///     fn configure(settings: Settings) -> Result<Self, String> {
///         if settings.words.is_empty() {
///             return Err("`words` says nothing".to_owned());
///         }
///         Ok(Self { words: settings.words })
///     }
///
///     fn on_request_head(&self) -> Reply {
///         Reply::new(503).text(self.words.clone())
///     }
/// }
/// ```
///
/// What a hook may not do does not compile: the response cannot be had before there is one, and the request cannot be
/// edited once it is on its way.
///
/// ```compile_fail
/// use portcullis_sdk::prelude::*;
///
/// #[derive(Default)]
/// struct TooLate;
///
/// #[policy]
/// impl TooLate {
///     fn on_response_head(&self, request: &mut Request) {}
/// }
/// ```
#[proc_macro_attribute]
pub fn policy(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as policy::Arguments);
    let item = parse_macro_input!(item as syn::ItemImpl);
    let expanded = policy::expand(arguments, &item).unwrap_or_else(|error| {
        // The block stays, so that one mistake does not look like many.
        let error = error.into_compile_error();
        quote::quote! { #item #error }
    });
    expanded.into()
}

/// Makes a struct or an enum readable from a policy's configuration, and derives the JSON schema by which the gateway
/// checks it, at the operator's line, before the policy sees it.
///
/// Names are in kebab-case, unknown ones are refused, and doc comments become descriptions. Fields may be `String`,
/// `bool`, integers, `f64`, `Option`, `Vec`, `BTreeMap<String, T>`,
/// [`FileText`](../portcullis_sdk/struct.FileText.html), and other types that derive this. A variant without content is
/// read from its name; one with content from a table with its name as the only key.
///
/// Attributes of a field, in `#[config(…)]`:
///
/// - `default`: what `Default` gives, if it is left out; `default = …`: a literal or a variant.
/// - `rename = "…"`: another name.
/// - `minimum = …`, `maximum = …`: bounds of a whole number.
/// - `pattern = "…"`: a regular expression (ECMA 262) that a text must match.
///
/// ```
/// use portcullis_sdk::prelude::*;
/// use portcullis_sdk::testing::MockGateway;
///
/// #[derive(Config)]
/// struct Settings {
///     /// By what it tells clients apart.
///     #[config(default = Key::ClientAddress)]
///     key: Key,
///     /// How many at once.
///     #[config(default = 10, minimum = 1, maximum = 1000)]
///     burst: u32,
/// }
///
/// #[derive(Config, Debug, PartialEq)]
/// enum Key {
///     /// Written `"client-address"`.
///     ClientAddress,
///     /// Written `{ header = "x-user" }`.
///     Header(String),
/// }
///
/// struct Limit(Settings);
///
/// #[policy(name = "limit", description = "")]
/// impl Limit {
///     fn configure(settings: Settings) -> Self {
///         Self(settings)
///     }
/// }
///
/// let limit = MockGateway::new().configure::<Limit>(r#"{"key": {"header": "x-user"}}"#)?;
/// assert_eq!((&limit.0.key, limit.0.burst), (&Key::Header("x-user".to_owned()), 10));
/// # Ok::<(), String>(())
/// ```
#[proc_macro_derive(Config, attributes(config))]
pub fn config(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as syn::DeriveInput);
    config::expand(&item).unwrap_or_else(syn::Error::into_compile_error).into()
}
