//! Keys of `[policies.NAME]`.

use std::time::Duration;

use crate::syntax::shape::{GIB, KIB, Key, Kind, Presence, Shape, up_to_a_day};

pub(crate) static POLICY: Shape = Shape {
    noun: "policy",
    keys: &[
        Key {
            name: "plugin",
            kind: Kind::Text("`builtin:NAME`, a path or `oci://` and an image"),
            presence: Presence::Required,
            example: r#""builtin:api-key""#,
            doc: "The component: `builtin:NAME` for one that ships with the gateway, the path of a `.wasm` file, or \
                  `oci://HOST/REPOSITORY:TAG` for an image in a registry, pinned by `portcullis.lock` or by `@sha256:DIGEST`.",
        },
        Key {
            name: "signed-by",
            kind: Kind::List(&Kind::Text("the name of a signer")),
            presence: Presence::Absent("`plugins-signed-by` of `server`"),
            example: r#"["release"]"#,
            doc: "One of these signers must have signed the plugin, which is checked before anything reads it.",
        },
        Key {
            name: "config",
            kind: Kind::Any,
            presence: Presence::Absent("an empty table"),
            example: r#"{ header = "x-api-key" }"#,
            doc: "The plugin's configuration, checked against the plugin's own schema. It is given to the plugin as JSON; dates \
                  have no place in JSON and are refused. A property that the schema marks as a file is a path here, and \
                  the plugin gets the file's text.",
        },
        Key {
            name: "grants",
            kind: Kind::Table(&GRANTS),
            presence: Presence::Absent("nothing is granted"),
            example: r#"{ log = true, rate-limit = true }"#,
            doc: "What the plugin may use of the gateway. Exactly what the component imports must be granted.",
        },
        Key {
            name: "isolation",
            kind: Kind::Choice(&["exchange", "worker"]),
            presence: Presence::Default(r#""exchange""#),
            example: r#""worker""#,
            doc: "What its instances are shared by. `exchange`: each exchange has a fresh one, configured already and wiped at \
                  the end, so that nothing one client sent can reach another. `worker`: a worker's exchanges use one after \
                  another, which is fastest.",
        },
        Key {
            name: "limits",
            kind: Kind::Table(&POLICY_LIMITS),
            presence: Presence::Absent("every default"),
            example: r#"{ deadline = "2ms", memory = "8MiB" }"#,
            doc: "What it may cost.",
        },
        Key {
            name: "on-error",
            kind: Kind::Choice(&["deny", "allow"]),
            presence: Presence::Default(r#""deny""#),
            example: r#""deny""#,
            doc: "What happens to an exchange when the plugin traps, runs out of time or breaks a limit: the client gets 500, \
                  or the chain goes on as if the policy were not there.",
        },
        Key {
            name: "quarantine",
            kind: Kind::Either(&[Kind::Bool, Kind::Table(&QUARANTINE)]),
            presence: Presence::Default("true"),
            example: r#"{ faults = 3, window = "1m" }"#,
            doc: "When a plugin that fails for everybody is not called any more: then `on-error = \"deny\"` applies at once, \
                  and one call at a time is let through to see whether it works again. With `on-error = \"allow\"` only its \
                  `on-completed` is left out. `false`: it is called whatever happens.",
        },
        Key {
            name: "tick",
            kind: Kind::Duration { min: Duration::from_millis(100), max: Duration::from_secs(86_400) },
            presence: Presence::Default(r#""10s""#),
            example: r#""1m""#,
            doc: "How often the plugin's `on-tick` is called. An error for a plugin that has none.",
        },
        Key {
            name: "canary",
            kind: Kind::Table(&CANARY),
            presence: Presence::Absent("every exchange takes `plugin`"),
            example: r#"{ plugin = "plugins/tenant_auth_2.wasm", share = "5%" }"#,
            doc: "Another version that takes a part of the exchanges in its place: see [rollouts.md](rollouts.md).",
        },
        Key {
            name: "shadow",
            kind: Kind::Table(&SHADOW),
            presence: Presence::Absent("nothing runs beside `plugin`"),
            example: r#"{ plugin = "plugins/tenant_auth_2.wasm" }"#,
            doc: "Another version that runs beside it without effect, and is compared with it: see [rollouts.md](rollouts.md).",
        },
    ],
};

/// Keys of a version that is tried, beside those that say when it runs. A missing one is inherited from the policy.
const TRIED_CONFIG: Key = Key {
    name: "config",
    kind: Kind::Any,
    presence: Presence::Absent("the policy's"),
    example: r#"{ header = "x-api-key" }"#,
    doc: "The version's configuration, if it is another one.",
};
const TRIED_GRANTS: Key = Key {
    name: "grants",
    kind: Kind::Table(&GRANTS),
    presence: Presence::Absent("the policy's"),
    example: "{ log = true }",
    doc: "What the version may use of the gateway, in place of the policy's grants. What it imports and was not granted \
          by the one or the other is an error.",
};
const TRIED_LIMITS: Key = Key {
    name: "limits",
    kind: Kind::Table(&POLICY_LIMITS),
    presence: Presence::Absent("the policy's"),
    example: r#"{ deadline = "5ms" }"#,
    doc: "What the version may cost. What is left out of it is as the policy has it.",
};
const TRIED_PLUGIN: Key = Key {
    name: "plugin",
    kind: Kind::Text("`builtin:NAME`, a path or `oci://` and an image"),
    presence: Presence::Required,
    example: r#""plugins/tenant_auth_2.wasm""#,
    doc: "The component of the version, as for the policy itself.",
};
const TRIED_SIGNED_BY: Key = Key {
    name: "signed-by",
    kind: Kind::List(&Kind::Text("the name of a signer")),
    presence: Presence::Absent("the policy's"),
    example: r#"["release"]"#,
    doc: "One of these signers must have signed the version's plugin.",
};

pub(crate) static CANARY: Shape = Shape {
    noun: "`canary`",
    keys: &[
        TRIED_PLUGIN,
        TRIED_SIGNED_BY,
        Key {
            name: "share",
            kind: Kind::Percent { min: 1, max: 10_000 },
            presence: Presence::Absent("an error without `match`"),
            example: r#""5%""#,
            doc: "Its part of the exchanges, whichever, down to `0.01%`.",
        },
        Key {
            name: "match",
            kind: Kind::Table(&CANARY_MATCH),
            presence: Presence::Absent("an error without `share`"),
            example: r#"{ headers = { x-canary = true } }"#,
            doc: "In place of a share: the exchanges that it takes.",
        },
        TRIED_CONFIG,
        TRIED_GRANTS,
        TRIED_LIMITS,
        Key {
            name: "abort",
            kind: Kind::Either(&[Kind::Choice(&["never"]), Kind::Table(&ABORT)]),
            presence: Presence::Absent("every default"),
            example: r#"{ faults = "0.5%", window = 1000 }"#,
            doc: "When the gateway takes it back by itself, or `\"never\"`.",
        },
    ],
};

pub(crate) static CANARY_MATCH: Shape = Shape {
    noun: "`match`",
    keys: &[Key {
        name: "headers",
        kind: Kind::Fields(&Kind::Either(&[Kind::True, Kind::Text("a value")])),
        presence: Presence::Required,
        example: r#"{ x-canary = true, x-tenant = "a" }"#,
        doc: "Fields that the request must have as the policy first sees it: with this value, or with any (`true`). Any client \
              can send them.",
    }],
};

pub(crate) static ABORT: Shape = Shape {
    noun: "`abort`",
    keys: &[
        Key {
            name: "faults",
            kind: Kind::Either(&[
                Kind::Percent { min: 0, max: 10_000 },
                Kind::Integer { min: 1, max: 1_000_000 },
            ]),
            presence: Presence::Default(r#""1%""#),
            example: "3",
            doc: "Exchanges of a window in which the version fails: more than this part, or this many. It is taken back as soon \
                  as they are reached.",
        },
        Key {
            name: "cpu",
            kind: Kind::Cost,
            presence: Presence::Default(r#""300%""#),
            example: r#""2ms""#,
            doc: "CPU time of an exchange in the mean of a window: more than this, or than this part of what the active version \
                  takes in the same time. A mean of up to `100us` is never too much of the latter.",
        },
        Key {
            name: "latency",
            kind: Kind::Cost,
            presence: Presence::Default(r#""300%""#),
            example: r#""50ms""#,
            doc: "The same for the time that an exchange spends in the version, waiting included; here up to `2ms` are never too \
                  much.",
        },
        Key {
            name: "window",
            kind: Kind::Integer { min: 10, max: 1_000_000 },
            presence: Presence::Default("100"),
            example: "1000",
            doc: "Exchanges of the version that are judged together.",
        },
    ],
};

pub(crate) static SHADOW: Shape = Shape {
    noun: "`shadow`",
    keys: &[
        TRIED_PLUGIN,
        TRIED_SIGNED_BY,
        Key {
            name: "share",
            kind: Kind::Percent { min: 1, max: 10_000 },
            presence: Presence::Default(r#""100%""#),
            example: r#""10%""#,
            doc: "The part of the exchanges that it sees, down to `0.01%`.",
        },
        Key {
            name: "samples",
            kind: Kind::Integer { min: 0, max: 1000 },
            presence: Presence::Default("20"),
            example: "100",
            doc: "Differences from the active version that are kept to be looked at, the newest; all are counted.",
        },
        TRIED_CONFIG,
        TRIED_GRANTS,
        TRIED_LIMITS,
    ],
};

pub(crate) static GRANTS: Shape = Shape {
    noun: "`grants`",
    keys: &[
        Key {
            name: "log",
            kind: Kind::Bool,
            presence: Presence::Default("false"),
            example: "true",
            doc: "Write to the gateway's log.",
        },
        Key {
            name: "clock",
            kind: Kind::Bool,
            presence: Presence::Default("false"),
            example: "true",
            doc: "Read the time.",
        },
        Key {
            name: "random",
            kind: Kind::Bool,
            presence: Presence::Default("false"),
            example: "true",
            doc: "Random bytes.",
        },
        Key {
            name: "rate-limit",
            kind: Kind::Either(&[Kind::Bool, Kind::Table(&RATE_GRANT)]),
            presence: Presence::Default("false"),
            example: "true",
            doc: "Rate-limit buckets that all workers share.",
        },
        Key {
            name: "metrics",
            kind: Kind::Bool,
            presence: Presence::Default("false"),
            example: "true",
            doc: "Export counters, gauges and histograms.",
        },
        Key {
            name: "store",
            kind: Kind::Either(&[Kind::Bool, Kind::Table(&STORE_GRANT)]),
            presence: Presence::Default("false"),
            example: r#"{ entries = 1000, bytes = "1MiB" }"#,
            doc: "A small key-value store that the policy's instances share.",
        },
        Key {
            name: "secrets",
            kind: Kind::List(&Kind::Text("the name of a secret")),
            presence: Presence::Absent("none"),
            example: r#"["token"]"#,
            doc: "Secrets that it may read.",
        },
        Key {
            name: "crypto",
            kind: Kind::Bool,
            presence: Presence::Default("false"),
            example: "true",
            doc: "Signatures (JWS), authentication codes and digests as native code.",
        },
        Key {
            name: "matchers",
            kind: Kind::Bool,
            presence: Presence::Default("false"),
            example: "true",
            doc: "Sets of patterns and of networks, and a reader of JSON, as native code.",
        },
        Key {
            name: "http",
            kind: Kind::List(&Kind::Either(&[Kind::Text("a URL"), Kind::Table(&HTTP_GRANT)])),
            presence: Presence::Absent("none"),
            example: r#"["https://auth.internal/check"]"#,
            doc: "HTTP servers that it may ask: scheme, host, port if it is not the usual one, and perhaps what paths begin \
                  with, up to the end of a segment.",
        },
        Key {
            name: "cache-purge",
            kind: Kind::Either(&[Kind::List(&Kind::Text("the name of a cache")), Kind::Table(&PURGE_GRANT)]),
            presence: Presence::Absent("none"),
            example: r#"["assets"]"#,
            doc: "Caches whose stored responses it may remove, by URL, prefix or tag.",
        },
    ],
};

pub(crate) static PURGE_GRANT: Shape = Shape {
    noun: "`cache-purge` grant",
    keys: &[
        Key {
            name: "caches",
            kind: Kind::List(&Kind::Text("the name of a cache")),
            presence: Presence::Required,
            example: r#"["assets"]"#,
            doc: "The caches.",
        },
        Key {
            name: "per-second",
            kind: Kind::Integer { min: 1, max: 10_000 },
            presence: Presence::Default("100"),
            example: "10",
            doc: "Purges in a second, over all workers. One more is no fault: the plugin gets the error `busy`, and decides.",
        },
    ],
};

pub(crate) static HTTP_GRANT: Shape = Shape {
    noun: "`http` grant",
    keys: &[
        Key {
            name: "url",
            kind: Kind::Text("a URL"),
            presence: Presence::Required,
            example: r#""http://127.0.0.1:9000""#,
            doc: "The server, and perhaps what paths begin with.",
        },
        Key {
            name: "private",
            kind: Kind::Bool,
            presence: Presence::Default("false"),
            example: "true",
            doc: "Whether it may be on this machine or in a private network. Without it a name that leads there is not connected \
                  to.",
        },
        Key {
            name: "ca",
            kind: Kind::Text("a path"),
            presence: Presence::Absent("the system's authorities"),
            example: r#""certs/internal-ca.pem""#,
            doc: "PEM file with the authorities that are trusted instead of the system's, for `https`.",
        },
    ],
};

pub(crate) static RATE_GRANT: Shape = Shape {
    noun: "`rate-limit`",
    keys: &[Key {
        name: "buckets",
        kind: Kind::Integer { min: 1, max: 16_777_216 },
        presence: Presence::Default("65536"),
        example: "1000000",
        doc: "Buckets kept at once, 32 bytes each; the one nearest to full again makes place for a new one.",
    }],
};

pub(crate) static STORE_GRANT: Shape = Shape {
    noun: "`store`",
    keys: &[
        Key {
            name: "entries",
            kind: Kind::Integer { min: 1, max: 10_000_000 },
            presence: Presence::Default("10000"),
            example: "1000",
            doc: "Entries kept at once.",
        },
        Key {
            name: "bytes",
            kind: Kind::Size { min: KIB, max: GIB },
            presence: Presence::Default(r#""16MiB""#),
            example: r#""1MiB""#,
            doc: "Keys and values kept at once.",
        },
    ],
};

pub(crate) static QUARANTINE: Shape = Shape {
    noun: "`quarantine`",
    keys: &[
        Key {
            name: "faults",
            kind: Kind::Integer { min: 1, max: 1000 },
            presence: Presence::Default("5"),
            example: "3",
            doc: "So many faults of one hook begin it, if no call of the hook succeeded, or if they are of so many clients and these are at least half.",
        },
        Key {
            name: "window",
            kind: up_to_a_day(1),
            presence: Presence::Default(r#""10s""#),
            example: r#""1m""#,
            doc: "The time over which calls and faults count.",
        },
        Key {
            name: "backoff",
            kind: up_to_a_day(1),
            presence: Presence::Default(r#""1s""#),
            example: r#""500ms""#,
            doc: "The time to the first call that is let through; each one that fails doubles it.",
        },
        Key {
            name: "backoff-max",
            kind: up_to_a_day(1),
            presence: Presence::Default(r#""1m""#),
            example: r#""5m""#,
            doc: "The most that it is doubled to.",
        },
    ],
};

pub(crate) static POLICY_LIMITS: Shape = Shape {
    noun: "`limits`",
    keys: &[
        Key {
            name: "deadline",
            kind: Kind::Duration { min: Duration::from_millis(1), max: Duration::from_secs(10) },
            presence: Presence::Default(r#""10ms""#),
            example: r#""2ms""#,
            doc: "CPU time of one hook call.",
        },
        Key {
            name: "configure-deadline",
            kind: Kind::Duration { min: Duration::from_millis(1), max: Duration::from_secs(300) },
            presence: Presence::Default(r#""5s""#),
            example: r#""30s""#,
            doc: "CPU time of `configure`, once for each instance.",
        },
        Key {
            name: "memory",
            kind: Kind::Size { min: 64 * KIB, max: 4 * GIB },
            presence: Presence::Default(r#""16MiB""#),
            example: r#""8MiB""#,
            doc: "Linear memory of one instance.",
        },
        Key {
            name: "body",
            kind: Kind::Size { min: KIB, max: GIB },
            presence: Presence::Default(r#""1MiB""#),
            example: r#""256KiB""#,
            doc: "Bytes of a body that it may hold back or be given at once.",
        },
        Key {
            name: "wall",
            kind: Kind::Duration { min: Duration::from_millis(1), max: Duration::from_secs(3600) },
            presence: Presence::Default(r#""30s""#),
            example: r#""2s""#,
            doc: "Time that one hook call may take, waiting and the turns of others included. It counts if `deadline` is more \
                  than 10 ms or the plugin waits for something; no less than `deadline`.",
        },
        Key {
            name: "instances",
            kind: Kind::Integer { min: 1, max: 100_000 },
            presence: Presence::Absent("as many as are free of `server.policy-instances-max`"),
            example: "64",
            doc: "Instances of the plugin that may be alive at once, over all workers: with `isolation = \"exchange\"` as many as \
                  exchanges are under way in it, with `\"worker\"` at least one for each worker. From an eighth of them on, \
                  one client gets no more than are left to the policy.",
        },
        Key {
            name: "hook-calls",
            kind: Kind::Integer { min: 1, max: 1000 },
            presence: Presence::Default("250"),
            example: "500",
            doc: "Calls of its hooks that may be under way at once, over all workers, if they wait for something or \
                  `deadline` is more than 10 ms. From an eighth of them on, one client gets no more than it leaves to others. \
                  One more is a fault.",
        },
        Key {
            name: "http-calls",
            kind: Kind::Integer { min: 1, max: 1000 },
            presence: Presence::Default("200"),
            example: "50",
            doc: "Requests of its own (`http-client`) that may be outstanding at once, over all workers. One more is no fault: the \
                  plugin gets the error `busy`, and decides.",
        },
        Key {
            name: "log-lines",
            kind: Kind::Integer { min: 1, max: 1_000_000 },
            presence: Presence::Default("100"),
            example: "10",
            doc: "Lines that it may write to the log in a second, over all workers; the rest are dropped and counted.",
        },
        Key {
            name: "log-bytes",
            kind: Kind::Size { min: 128, max: GIB },
            presence: Presence::Default(r#""64KiB""#),
            example: r#""1MiB""#,
            doc: "Bytes of these lines in a second.",
        },
    ],
};
