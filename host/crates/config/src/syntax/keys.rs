//! Every key that a config file may have: the one table that checks, the JSON schema and the reference are made from.

mod cache;
mod compress;
mod gateway;
mod health_check;
mod plugins;
mod policy;
mod route;
mod upstream;

use crate::syntax::shape::{Key, Kind, Presence, Shape};

pub(crate) use cache::{CACHE, ROUTE_CACHE};
pub(crate) use compress::{COMPRESS, DECOMPRESS};
pub(crate) use gateway::{CERTIFICATE, LISTENER, SECRET, SERVER};
pub(crate) use health_check::HEALTH_CHECK;
pub(crate) use plugins::{LOCK, LOCKED, REGISTRY, SIGNER};
pub(crate) use policy::{CANARY, GRANTS, HTTP_GRANT, POLICY, POLICY_LIMITS};
pub(crate) use route::{HOST_REGEX, REWRITE_RULE, ROUTE, VALUE_MATCH};
pub(crate) use upstream::{ENDPOINT, UPSTREAM};

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
            presence: Presence::Absent("no upstreams: no route forwards"),
            example: r#"{ api = { endpoints = ["10.0.0.11:8080"] } }"#,
            doc: "Sets of interchangeable servers behind the gateway.",
        },
        Key {
            name: "caches",
            kind: Kind::Named(&CACHE),
            presence: Presence::Absent("no caches: every request that a route forwards reaches its upstream"),
            example: r#"{ assets = { memory = "256MiB" } }"#,
            doc: "Responses of upstreams that are kept, for routes with `cache`.",
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
