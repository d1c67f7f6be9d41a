//! What a component says of itself, as JSON that is written at compile time.

use crate::config::{Object, Property, Schema, Variant};

/// The digest of the contract that this SDK speaks.
const CONTRACT: &str = include_str!("../wit/digest").trim_ascii();

/// A policy's manifest. The build puts it into the component's custom section `portcullis:manifest`, where the gateway
/// reads it without running anything.
///
/// ```
/// use portcullis_sdk::Manifest;
///
/// const MANIFEST: Manifest<'static> =
///     Manifest { name: "a", version: "1.0.0", description: "", config_schema: None, capabilities: &[], attributes: None };
/// const JSON: [u8; MANIFEST.json_len()] = MANIFEST.json();
/// assert!(JSON.starts_with(br#"{"manifest":1,"name":"a","version":"1.0.0","description":"","contract":"sha256:"#));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Manifest<'a> {
    /// The policy's name.
    pub name: &'a str,
    /// The version of the policy's package.
    pub version: &'a str,
    /// One sentence for people.
    pub description: &'a str,
    /// The schema of its configuration; `None` if it takes none.
    pub config_schema: Option<&'a Schema>,
    /// The capabilities that it wants, by name, if it says so.
    pub capabilities: &'a [&'a str],
    /// The attributes that it sets whatever its settings are, if it says so; those that a setting names are told by the
    /// schema.
    pub attributes: Option<&'a [&'a str]>,
}

impl Manifest<'_> {
    /// The length of the JSON text in bytes.
    #[must_use]
    pub const fn json_len(&self) -> usize {
        let mut nowhere = Writer { into: &mut [], at: 0 };
        nowhere.manifest(self);
        nowhere.at
    }

    /// The JSON text. `N` is [`Manifest::json_len`].
    ///
    /// # Panics
    /// If `N` is something else.
    #[must_use]
    pub const fn json<const N: usize>(&self) -> [u8; N] {
        let mut text = [0; N];
        let mut writer = Writer { into: &mut text, at: 0 };
        writer.manifest(self);
        assert!(writer.at == N, "the length of a manifest is json_len()");
        text
    }
}

/// Writes JSON as far as there is place, and counts all of it.
struct Writer<'a> {
    into: &'a mut [u8],
    at: usize,
}

/// A constant function has no iterators; this is the loop in their place.
macro_rules! each {
    ($writer:ident, $items:expr, |$item:ident| $body:block) => {
        let items = $items;
        let mut at = 0;
        while at < items.len() {
            if at > 0 {
                $writer.raw(",");
            }
            let $item = &items[at];
            $body
            at += 1;
        }
    };
}

impl Writer<'_> {
    const fn byte(&mut self, byte: u8) {
        if self.at < self.into.len() {
            self.into[self.at] = byte;
        }
        self.at += 1;
    }

    const fn raw(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            self.byte(bytes[at]);
            at += 1;
        }
    }

    const fn string(&mut self, text: &str) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let bytes = text.as_bytes();
        let mut at = 0;
        self.byte(b'"');
        while at < bytes.len() {
            let byte = bytes[at];
            match byte {
                b'"' | b'\\' => {
                    self.byte(b'\\');
                    self.byte(byte);
                }
                b'\n' => self.raw("\\n"),
                0..=0x1f => {
                    self.raw("\\u00");
                    self.byte(HEX[(byte >> 4) as usize]);
                    self.byte(HEX[(byte & 15) as usize]);
                }
                _ => self.byte(byte),
            }
            at += 1;
        }
        self.byte(b'"');
    }

    const fn integer(&mut self, value: i128) {
        let mut digits = [0; 40];
        let mut from = digits.len();
        let mut rest = value.unsigned_abs();
        loop {
            from -= 1;
            digits[from] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if value < 0 {
            self.byte(b'-');
        }
        while from < digits.len() {
            self.byte(digits[from]);
            from += 1;
        }
    }

    const fn member(&mut self, name: &str, value: &str) {
        self.raw(",");
        self.string(name);
        self.raw(":");
        self.string(value);
    }

    const fn manifest(&mut self, manifest: &Manifest<'_>) {
        self.raw("{\"manifest\":1,\"name\":");
        self.string(manifest.name);
        self.member("version", manifest.version);
        self.member("description", manifest.description);
        self.member("contract", CONTRACT);
        if let Some(schema) = manifest.config_schema {
            self.raw(",\"config-schema\":{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",");
            self.schema(schema, None, None);
            self.raw("}");
        }
        if !manifest.capabilities.is_empty() {
            self.raw(",\"capabilities\":[");
            each!(self, manifest.capabilities, |name| {
                self.string(name);
            });
            self.raw("]");
        }
        if let Some(attributes) = manifest.attributes {
            self.raw(",\"attributes\":[");
            each!(self, attributes, |name| {
                self.string(name);
            });
            self.raw("]");
        }
        self.raw("}");
    }

    /// The members of a schema, without the braces around them: `means` is what its texts mean, `keys` what its names
    /// do.
    const fn schema(&mut self, schema: &Schema, means: Option<&str>, keys: Option<&str>) {
        match schema {
            Schema::String => {
                self.raw("\"type\":\"string\"");
                if let Some(means) = means {
                    self.member("x-portcullis-value", means);
                }
            }
            Schema::File => self.raw("\"type\":\"string\",\"x-portcullis-file\":true"),
            Schema::Boolean => self.raw("\"type\":\"boolean\""),
            Schema::Number => self.raw("\"type\":\"number\""),
            Schema::Integer { minimum, maximum } => {
                self.raw("\"type\":\"integer\",\"minimum\":");
                self.integer(*minimum);
                self.raw(",\"maximum\":");
                self.integer(*maximum);
            }
            Schema::Array(items) => {
                self.raw("\"type\":\"array\",\"items\":{");
                self.schema(items, means, None);
                self.raw("}");
            }
            Schema::Map(values) => {
                self.raw("\"type\":\"object\"");
                if let Some(keys) = keys {
                    self.raw(",\"propertyNames\":{\"x-portcullis-value\":");
                    self.string(keys);
                    self.raw("}");
                }
                self.raw(",\"additionalProperties\":{");
                self.schema(values, means, None);
                self.raw("}");
            }
            Schema::Object(object) => self.object(object),
            Schema::Enum(variants) => self.variants(variants),
        }
    }

    const fn object(&mut self, object: &Object) {
        self.raw("\"type\":\"object\"");
        if !object.description.is_empty() {
            self.member("description", object.description);
        }
        self.raw(",\"properties\":{");
        each!(self, object.properties, |property| {
            self.property(property);
        });
        self.raw("}");
        let mut required = 0;
        let mut at = 0;
        while at < object.properties.len() {
            if object.properties[at].required {
                self.raw(if required == 0 { ",\"required\":[" } else { "," });
                self.string(object.properties[at].name);
                required += 1;
            }
            at += 1;
        }
        if required > 0 {
            self.raw("]");
        }
        self.raw(",\"additionalProperties\":false");
    }

    const fn property(&mut self, property: &Property) {
        self.string(property.name);
        self.raw(":{");
        // The bounds that the author wrote are within those of the type, and JSON names nothing twice.
        match (property.schema, property.minimum, property.maximum) {
            (Schema::Integer { minimum, maximum }, low, high) => {
                let minimum = if let Some(low) = low { low } else { *minimum };
                let maximum = if let Some(high) = high { high } else { *maximum };
                self.schema(&Schema::Integer { minimum, maximum }, None, None);
            }
            (schema, ..) => self.schema(schema, property.means, property.keys_mean),
        }
        // An object says what it is itself, unless the place where it stands says more.
        let told = matches!(property.schema, Schema::Object(object) if !object.description.is_empty());
        if !property.description.is_empty() && !told {
            self.member("description", property.description);
        }
        if let Some(pattern) = property.pattern {
            self.member("pattern", pattern);
        }
        if let Some(default) = property.default {
            self.raw(",\"default\":");
            self.raw(default);
        }
        self.raw("}");
    }

    const fn variants(&mut self, variants: &[Variant]) {
        let mut units = 0;
        let mut at = 0;
        while at < variants.len() {
            if variants[at].content.is_none() {
                units += 1;
            }
            at += 1;
        }
        let mixed = units < variants.len();
        if mixed {
            self.raw("\"anyOf\":[");
        }
        if units > 0 {
            self.raw(if mixed { "{\"enum\":[" } else { "\"enum\":[" });
            let mut written = 0;
            let mut at = 0;
            while at < variants.len() {
                if variants[at].content.is_none() {
                    if written > 0 {
                        self.raw(",");
                    }
                    self.string(variants[at].name);
                    written += 1;
                }
                at += 1;
            }
            self.raw(if mixed { "]}" } else { "]" });
        }
        let mut written = units;
        let mut at = 0;
        while at < variants.len() {
            if let Some(content) = variants[at].content {
                if written > 0 {
                    self.raw(",");
                }
                self.raw("{\"type\":\"object\",\"properties\":{");
                self.string(variants[at].name);
                self.raw(":{");
                self.schema(content, variants[at].means, None);
                if !variants[at].description.is_empty() {
                    self.member("description", variants[at].description);
                }
                self.raw("}},\"required\":[");
                self.string(variants[at].name);
                self.raw("],\"additionalProperties\":false}");
                written += 1;
            }
            at += 1;
        }
        if mixed {
            self.raw("]");
        }
    }
}
