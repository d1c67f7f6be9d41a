//! Every key that a config file may have: the one table that checks, the JSON schema and the reference are made from.

mod gateway;
mod plugins;
mod policy;
mod route;

use std::time::Duration;

pub(crate) use gateway::{CERTIFICATE, ENDPOINT, LISTENER, SECRET, SERVER, UPSTREAM};
pub(crate) use plugins::{LOCK, LOCKED, REGISTRY, SIGNER};
pub(crate) use policy::{CANARY, HTTP_GRANT, POLICY};
pub(crate) use route::ROUTE;

/// The keys of one kind of table.
#[derive(Debug)]
pub(crate) struct Shape {
    /// What the table is called in messages, such as `listener`; names of named tables follow it.
    pub(crate) noun: &'static str,
    pub(crate) keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) presence: Presence,
    /// A value as it would be typed.
    pub(crate) example: &'static str,
    /// What it is, in a sentence or two of Markdown.
    pub(crate) doc: &'static str,
}

/// What holds if a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The key must be there.
    Required,
    /// It is as if this were typed.
    Default(&'static str),
    /// It is as these words say.
    Absent(&'static str),
}

/// What a value must be.
#[derive(Debug)]
pub(crate) enum Kind {
    Bool,
    /// Only `true`.
    True,
    /// A string that the section's own code reads on; the word says what it holds.
    Text(&'static str),
    /// One of these strings.
    Choice(&'static [&'static str]),
    Integer {
        min: i64,
        max: i64,
    },
    Duration {
        min: Duration,
        max: Duration,
    },
    Size {
        min: u64,
        max: u64,
    },
    /// A part of a whole, in hundredths of a per cent.
    Percent {
        min: u32,
        max: u32,
    },
    /// A duration from a microsecond to a minute, or a part of what something else takes.
    Cost,
    /// A table with these keys.
    Table(&'static Shape),
    /// A size, or `"unlimited"`.
    Limit {
        min: u64,
        max: u64,
    },
    /// Such tables under names of the operator's choice.
    Named(&'static Shape),
    /// A table from field names to values.
    Fields(&'static Self),
    /// A list with at least one element.
    List(&'static Self),
    /// One of these; no two of them may be written alike.
    Either(&'static [Self]),
    /// Any table; the plugin says what it holds.
    Any,
}

/// `include` and the sections.
pub(crate) static ROOT: Shape = Shape {
    noun: "the file",
    keys: &[
        Key {
            name: "include",
            kind: Kind::List(&Kind::Text("a path")),
            presence: Presence::Absent("nothing is included"),
            example: r#"["conf.d/*.toml"]"#,
            doc: "Further config files, relative to the folder of this one. `*` and `?` match within a file or folder name.",
        },
        Key {
            name: "server",
            kind: Kind::Table(&SERVER),
            presence: Presence::Absent("every default"),
            example: r#"{ workers = 4 }"#,
            doc: "What belongs to the process as a whole.",
        },
        Key {
            name: "listeners",
            kind: Kind::Named(&LISTENER),
            presence: Presence::Absent("an error: a gateway needs one"),
            example: r#"{ web = { address = "0.0.0.0:8080" } }"#,
            doc: "Addresses that clients connect to.",
        },
        Key {
            name: "upstreams",
            kind: Kind::Named(&UPSTREAM),
            presence: Presence::Absent("an error: a route needs one"),
            example: r#"{ api = { endpoints = ["10.0.0.11:8080"] } }"#,
            doc: "Sets of interchangeable servers behind the gateway.",
        },
        Key {
            name: "policies",
            kind: Kind::Named(&POLICY),
            presence: Presence::Absent("no policies"),
            example: r#"{ keys = { plugin = "builtin:api-key" } }"#,
            doc: "Plugins with their configuration, ready to be used by routes.",
        },
        Key {
            name: "routes",
            kind: Kind::Named(&ROUTE),
            presence: Presence::Absent("an error: a gateway needs one"),
            example: r#"{ all = { to = "api" } }"#,
            doc: "Which requests go through which policies to which upstream.",
        },
        Key {
            name: "secrets",
            kind: Kind::Named(&SECRET),
            presence: Presence::Absent("no secrets"),
            example: r#"{ token = { env = "API_TOKEN" } }"#,
            doc: "Values that are read from the environment or from files, for policies that are granted them and for registries. Never printed.",
        },
        Key {
            name: "registries",
            kind: Kind::Named(&REGISTRY),
            presence: Presence::Absent(
                "registries are asked with what docker and podman keep, or without a password",
            ),
            example: r#"{ internal = { host = "registry.internal:5000", ca = "certs/internal-ca.pem" } }"#,
            doc: "How registries that plugins come from are spoken to.",
        },
        Key {
            name: "signers",
            kind: Kind::Named(&SIGNER),
            presence: Presence::Absent("no signers"),
            example: r#"{ release = { cosign = "keys/release.pub" } }"#,
            doc: "Whose signatures vouch for plugins, for `signed-by` and `plugins-signed-by`.",
        },
    ],
};

impl Shape {
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// A duration up to a day.
const fn up_to_a_day(min_ms: u64) -> Kind {
    Kind::Duration { min: Duration::from_millis(min_ms), max: Duration::from_secs(86_400) }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
