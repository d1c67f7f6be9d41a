//! Settings of a policy: their types and the schema that the gateway checks them by.

use std::collections::BTreeMap;

/// A type that can stand in a policy's settings. [`#[derive(Config)]`](crate::Config) implements it for structs and
/// enums.
///
/// ```
/// use portcullis_sdk::ConfigSchema;
/// use portcullis_sdk::config::Schema;
///
/// assert!(matches!(<Vec<bool>>::SCHEMA, Schema::Array(Schema::Boolean)));
/// ```
pub trait ConfigSchema {
    /// What JSON it is read from.
    const SCHEMA: &'static Schema;

    /// Whether a property of this type may be left out without a default. True for `Option`.
    const OPTIONAL: bool = false;
}

/// What JSON a setting is read from.
///
/// ```
/// use portcullis_sdk::{ConfigSchema, config::Schema};
///
/// assert!(matches!(u8::SCHEMA, Schema::Integer { minimum: 0, maximum: 255 }));
/// ```
#[derive(Debug, Clone, Copy)]
pub enum Schema {
    /// Text.
    String,
    /// The path of a file in the operator's config, replaced by the file's text.
    File,
    /// `true` or `false`.
    Boolean,
    /// A whole number within bounds.
    Integer {
        /// The smallest.
        minimum: i128,
        /// The greatest.
        maximum: i128,
    },
    /// Any number.
    Number,
    /// A list.
    Array(&'static Self),
    /// A table with names of the operator's choice.
    Map(&'static Self),
    /// A table with these names and no others.
    Object(&'static Object),
    /// One of these.
    Enum(&'static [Variant]),
}

/// A table of named settings.
///
/// ```
/// let empty = portcullis_sdk::config::Object { description: "", properties: &[] };
/// assert!(empty.properties.is_empty());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Object {
    /// What it is for.
    pub description: &'static str,
    /// Its settings.
    pub properties: &'static [Property],
}

/// A named setting.
///
/// ```
/// use portcullis_sdk::config::{Property, Schema};
///
/// let property = Property { name: "burst", required: false, ..Property::new(&Schema::String) };
/// assert_eq!(property.default, None);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Property {
    /// Its name, in kebab-case.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// What it is read from.
    pub schema: &'static Schema,
    /// Whether it must be there.
    pub required: bool,
    /// What it is if it is left out, as JSON.
    pub default: Option<&'static str>,
    /// The smallest number, if it is narrower than the type's.
    pub minimum: Option<i128>,
    /// The greatest number, if it is narrower than the type's.
    pub maximum: Option<i128>,
    /// A regular expression that the text must match.
    pub pattern: Option<&'static str>,
    /// What its text, or each text in it, means to the gateway: `sets-attribute`, `reads-attribute`, `request-field`,
    /// `url` or `template`. The gateway then refuses settings that could have no effect.
    pub means: Option<&'static str>,
    /// What the names in a map mean.
    pub keys_mean: Option<&'static str>,
}

impl Property {
    /// A required property without a name.
    ///
    /// ```
    /// # use portcullis_sdk::config::{Property, Schema};
    /// assert!(Property::new(&Schema::Boolean).required);
    /// ```
    #[must_use]
    pub const fn new(schema: &'static Schema) -> Self {
        Self {
            name: "",
            description: "",
            schema,
            required: true,
            default: None,
            minimum: None,
            maximum: None,
            pattern: None,
            means: None,
            keys_mean: None,
        }
    }
}

/// One of the values of an enum.
///
/// ```
/// let unit = portcullis_sdk::config::Variant { name: "route", description: "", content: None, means: None };
/// assert!(unit.content.is_none());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// Its name, in kebab-case.
    pub name: &'static str,
    /// What it means.
    pub description: &'static str,
    /// `None`: the name alone, as text. Else a table with the name and this.
    pub content: Option<&'static Schema>,
    /// What the text of its content means; see [`Property::means`].
    pub means: Option<&'static str>,
}

/// The text of a file that the operator named. In the config it is a path, relative to the config file's folder; the
/// gateway reads the file (UTF-8, at most 16 MiB), hands over its text, and loads again when it changes.
///
/// ```
/// use portcullis_sdk::{prelude::*, testing::MockGateway};
///
/// #[derive(Config)]
/// struct Settings {
///     words_file: FileText,
/// }
///
/// struct Words(Vec<String>);
///
/// #[policy(name = "words", description = "Knows words.")]
/// impl Words {
///     fn configure(settings: Settings) -> Self {
///         Self(settings.words_file.lines().map(str::to_owned).collect())
///     }
/// }
///
/// let words = MockGateway::new().configure::<Words>(r#"{"words-file": "one\ntwo\n"}"#)?;
/// assert_eq!(words.0, ["one", "two"]);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(transparent)]
pub struct FileText(pub String);

impl std::ops::Deref for FileText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl ConfigSchema for FileText {
    const SCHEMA: &'static Schema = &Schema::File;
}

impl ConfigSchema for String {
    const SCHEMA: &'static Schema = &Schema::String;
}

impl ConfigSchema for bool {
    const SCHEMA: &'static Schema = &Schema::Boolean;
}

impl ConfigSchema for f64 {
    const SCHEMA: &'static Schema = &Schema::Number;
}

macro_rules! integers {
    ($($integer:ty)*) => { $(
        impl ConfigSchema for $integer {
            const SCHEMA: &'static Schema =
                &Schema::Integer { minimum: <$integer>::MIN as i128, maximum: <$integer>::MAX as i128 };
        }
    )* };
}

integers!(u8 u16 u32 u64 i8 i16 i32 i64);

impl<T: ConfigSchema> ConfigSchema for Option<T> {
    const SCHEMA: &'static Schema = T::SCHEMA;
    const OPTIONAL: bool = true;
}

impl<T: ConfigSchema> ConfigSchema for Vec<T> {
    const SCHEMA: &'static Schema = &Schema::Array(T::SCHEMA);
}

impl<T: ConfigSchema> ConfigSchema for BTreeMap<String, T> {
    const SCHEMA: &'static Schema = &Schema::Map(T::SCHEMA);
}
