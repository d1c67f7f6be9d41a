//! Keys of `[caches.NAME]`, and of a route's `cache`.

use std::time::Duration;

use crate::syntax::shape::{GIB, KIB, Key, Kind, MIB, Presence, Shape, up_to_a_day};

/// A duration up to a year, the longest that RFC 9111 thought of.
static UP_TO_A_YEAR: Kind = Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(365 * 86_400) };

const fn up_to_a_year() -> Kind {
    Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(365 * 86_400) }
}

pub(crate) static CACHE: Shape = Shape {
    noun: "cache",
    keys: &[
        Key {
            name: "memory",
            kind: Kind::Size { min: MIB, max: 1024 * GIB },
            presence: Presence::Default(r#""64MiB""#),
            example: r#""1GiB""#,
            doc: "Bytes that the cache may hold in memory: bodies, heads, keys and what the store itself needs for them.",
        },
        Key {
            name: "object",
            kind: Kind::Size { min: KIB, max: 64 * GIB },
            presence: Presence::Default(r#""8MiB""#),
            example: r#""64MiB""#,
            doc: "Bytes of a body in memory. A response with a longer one is stored on the `disk` alone, or not at all.",
        },
        Key {
            name: "disk",
            kind: Kind::Table(&DISK),
            presence: Presence::Absent("responses are kept in memory alone"),
            example: r#"{ folder = "/var/cache/portcullis/assets", size = "10GiB" }"#,
            doc: "Keeps responses on a disk as well, over restarts, and those that are too large for memory.",
        },
    ],
};

pub(crate) static DISK: Shape = Shape {
    noun: "`disk`",
    keys: &[
        Key {
            name: "folder",
            kind: Kind::Text("a path"),
            presence: Presence::Required,
            example: r#""/var/cache/portcullis/assets""#,
            doc: "The folder, absolute or relative to the file that names it. It is made (mode 0700) if the one above it exists, \
                  and nothing else may be in it. It belongs to the gateway's user and to one cache of one process.",
        },
        Key {
            name: "size",
            kind: Kind::Size { min: 16 * MIB, max: 1024 * 1024 * GIB },
            presence: Presence::Required,
            example: r#""10GiB""#,
            doc: "Bytes that its files may take. They never take more, not even for a moment.",
        },
        Key {
            name: "object",
            kind: Kind::Size { min: KIB, max: 1024 * GIB },
            presence: Presence::Absent("1 GiB, or half of `size` if that is less"),
            example: r#""4GiB""#,
            doc: "Bytes of a body. A response with a longer one is not stored on the disk.",
        },
        Key {
            name: "files",
            kind: Kind::Integer { min: 100, max: 100_000_000 },
            presence: Presence::Absent("one for each 16 KiB of `size`, 1,000,000 at most"),
            example: "5000000",
            doc: "How many files there may be, one for each response. Each takes about 300 bytes of memory, beside `memory`.",
        },
        Key {
            name: "threads",
            kind: Kind::Integer { min: 1, max: 256 },
            presence: Presence::Default("4"),
            example: "16",
            doc: "How many threads read and write its files.",
        },
        Key {
            name: "queue",
            kind: Kind::Integer { min: 1, max: 1_000_000 },
            presence: Presence::Default("1000"),
            example: "10000",
            doc: "How many reads and writes may wait for those threads, and how many times 64 KiB to be written. A read too many is a \
                  miss; what is not written is not stored.",
        },
        Key {
            name: "open-files",
            kind: Kind::Integer { min: 1, max: 1_000_000 },
            presence: Presence::Default("1000"),
            example: "200",
            doc: "How many of its files may be open to be sent piece by piece. One more is a miss.",
        },
        Key {
            name: "timeout",
            kind: Kind::Duration { min: Duration::from_millis(1), max: Duration::from_secs(60) },
            presence: Presence::Default(r#""500ms""#),
            example: r#""100ms""#,
            doc: "How long a request waits for the disk to find its response, before it goes on to the upstream. While the disk \
                  does not answer at all, requests do not wait.",
        },
    ],
};

pub(crate) static ROUTE_CACHE: Shape = Shape {
    noun: "`cache`",
    keys: &[
        Key {
            name: "store",
            kind: Kind::Text("the name of a cache"),
            presence: Presence::Required,
            example: r#""assets""#,
            doc: "The cache that keeps the responses.",
        },
        Key {
            name: "ttl",
            kind: Kind::Either(&[up_to_a_year(), Kind::Fields(&UP_TO_A_YEAR)]),
            presence: Presence::Absent("such a response is not fresh"),
            example: r#"{ 200 = "1h", 404 = "30s", 5xx = "1s" }"#,
            doc: "How long a response is fresh that says nothing of it: by status (`404`) or class (`5xx`), the status first. \
                  A duration alone is for 2xx, 301 and 308. A `Cache-Control` of the response always comes first.",
        },
        Key {
            name: "heuristic",
            kind: Kind::Bool,
            presence: Presence::Default("false"),
            example: "true",
            doc: "Whether a response with `Last-Modified` that says nothing else is fresh for a tenth of its age, a day at most \
                  (RFC 9111, 4.2.2).",
        },
        Key {
            name: "cookies",
            kind: Kind::Choice(&["skip", "rfc"]),
            presence: Presence::Default(r#""skip""#),
            example: r#""rfc""#,
            doc: "What becomes of a response with `Set-Cookie`: it is not stored, or it is stored like any other and sent to every \
                  client.",
        },
        Key {
            name: "client-directives",
            kind: Kind::Choice(&["ignore", "rfc"]),
            presence: Presence::Default(r#""ignore""#),
            example: r#""rfc""#,
            doc: "Whether `Cache-Control` of a request counts: `no-cache`, `max-age`, `only-if-cached` and the others. With `rfc` every \
                  client can have the upstream asked.",
        },
        Key {
            name: "targeted",
            kind: Kind::Either(&[Kind::Choice(&["none"]), Kind::List(&Kind::Text("the name of a header"))]),
            presence: Presence::Default(r#"["CDN-Cache-Control"]"#),
            example: r#"["Gateway-Cache-Control", "CDN-Cache-Control"]"#,
            doc: "Fields of a response that count in place of `Cache-Control` and `Expires`: the first of them that it has and that is \
                  valid (RFC 9213); or none.",
        },
        Key {
            name: "lifetime-max",
            kind: up_to_a_year(),
            presence: Presence::Absent("as long as the response or `ttl` says"),
            example: r#""24h""#,
            doc: "The longest time that a response is fresh, whatever it or `ttl` says.",
        },
        Key {
            name: "object",
            kind: Kind::Size { min: KIB, max: 64 * GIB },
            presence: Presence::Absent("what the cache takes"),
            example: r#""1MiB""#,
            doc: "Bytes of a body. A longer response of this route is not stored; the cache's own `object` holds as well.",
        },
        Key {
            name: "vary",
            kind: Kind::Choice(&["exact", "case", "languages"]),
            presence: Presence::Default(r#""case""#),
            example: r#""languages""#,
            doc: "How requests are compared in a field that `Vary` names. `exact`: all but white space and the division into lines \
                  counts. `case`: neither does the order of `Accept-Encoding`, nor case in that and in `Accept-Language`. \
                  `languages`: nor the order of `Accept-Language`, and a response in the language that a request likes best is for it.",
        },
        Key {
            name: "stale",
            kind: Kind::Table(&STALE),
            presence: Presence::Absent("a stale response is used only if it says so"),
            example: r#"{ while-revalidate = "30s", on-error = "1h" }"#,
            doc: "How long a response that says nothing of it may be used after it has become stale.",
        },
        Key {
            name: "key",
            kind: Kind::Table(&CACHE_KEY),
            presence: Presence::Absent("the URL, the upstream, and what policies have set"),
            example: r#"{ query = ["v"], cookies = ["lang"] }"#,
            doc: "What else distinguishes requests.",
        },
        Key {
            name: "bypass",
            kind: Kind::Table(&BYPASS),
            presence: Presence::Absent("no request passes by the cache"),
            example: r#"{ cookies = ["session"] }"#,
            doc: "Requests that pass by the cache: they are not answered from it, and their answers are not stored.",
        },
        Key {
            name: "collapse",
            kind: Kind::Table(&COLLAPSE),
            presence: Presence::Absent("every default"),
            example: r#"{ wait = "1s" }"#,
            doc: "How requests for a response that is not stored wait for the one that gets it.",
        },
        Key {
            name: "cache-status",
            kind: Kind::Bool,
            presence: Presence::Default("true"),
            example: "false",
            doc: "Whether responses say in `Cache-Status` (RFC 9211) what the cache did.",
        },
    ],
};

pub(crate) static STALE: Shape = Shape {
    noun: "`stale`",
    keys: &[
        Key {
            name: "while-revalidate",
            kind: up_to_a_year(),
            presence: Presence::Default(r#""0s""#),
            example: r#""30s""#,
            doc: "While it is renewed in the background (RFC 5861).",
        },
        Key {
            name: "on-error",
            kind: up_to_a_year(),
            presence: Presence::Default(r#""0s""#),
            example: r#""1h""#,
            doc: "If the upstream cannot be reached or answers 500, 502, 503 or 504 (RFC 5861).",
        },
    ],
};

pub(crate) static CACHE_KEY: Shape = Shape {
    noun: "`key`",
    keys: &[
        Key {
            name: "query",
            kind: Kind::Either(&[
                Kind::Choice(&["all", "none"]),
                Kind::List(&Kind::Text("a parameter")),
                Kind::Table(&QUERY),
            ]),
            presence: Presence::Default(r#""all""#),
            example: r#"["v", "page"]"#,
            doc: "The parameters of the query that count: all as they are written, none, these, or all `except` some. The upstream gets \
                  all of them, so leave out none that changes a response.",
        },
        Key {
            name: "headers",
            kind: Kind::List(&Kind::Text("the name of a header")),
            presence: Presence::Absent("none but those that policies set"),
            example: r#"["accept-language"]"#,
            doc: "Fields of the request. Those that `Vary` of a response names count in any case.",
        },
        Key {
            name: "cookies",
            kind: Kind::List(&Kind::Text("the name of a cookie")),
            presence: Presence::Absent("none"),
            example: r#"["lang"]"#,
            doc: "Cookies of the request.",
        },
        Key {
            name: "attributes",
            kind: Kind::List(&Kind::Text("the name of an attribute")),
            presence: Presence::Absent("none"),
            example: r#"["tenant"]"#,
            doc: "Attributes that the route's policies have set.",
        },
        Key {
            name: "irrelevant",
            kind: Kind::List(&Kind::Text("the name of a header")),
            presence: Presence::Absent("every field that a policy sets counts"),
            example: r#"["x-request-id"]"#,
            doc: "Fields that policies set and that no response depends on. A field that names a user or a tenant is not one of them.",
        },
    ],
};

pub(crate) static QUERY: Shape = Shape {
    noun: "`query`",
    keys: &[Key {
        name: "except",
        kind: Kind::List(&Kind::Text("a parameter")),
        presence: Presence::Required,
        example: r#"["utm_source", "utm_medium"]"#,
        doc: "Parameters that do not count.",
    }],
};

pub(crate) static BYPASS: Shape = Shape {
    noun: "`bypass`",
    keys: &[
        Key {
            name: "headers",
            kind: Kind::Fields(&Kind::Either(&[Kind::True, Kind::Text("a value")])),
            presence: Presence::Absent("no fields"),
            example: r#"{ x-preview = true }"#,
            doc: "Requests that have one of these fields: with this value, or with any (`true`).",
        },
        Key {
            name: "cookies",
            kind: Kind::List(&Kind::Text("the name of a cookie")),
            presence: Presence::Absent("no cookies"),
            example: r#"["session"]"#,
            doc: "Requests that have one of these cookies.",
        },
    ],
};

pub(crate) static COLLAPSE: Shape = Shape {
    noun: "`collapse`",
    keys: &[
        Key {
            name: "wait",
            kind: up_to_a_day(0),
            presence: Presence::Default(r#""5s""#),
            example: r#""1s""#,
            doc: "How long a request waits for the head of a response that another one gets, before it goes to the upstream \
                  itself. `\"0s\"`: none waits.",
        },
        Key {
            name: "waiting",
            kind: Kind::Integer { min: 1, max: 1_000_000 },
            presence: Presence::Default("10000"),
            example: "1000",
            doc: "How many may wait for one response. Further ones go to the upstream.",
        },
        Key {
            name: "pass",
            kind: up_to_a_day(1),
            presence: Presence::Default(r#""10s""#),
            example: r#""1m""#,
            doc: "For how long requests for a URL do not wait for each other after a response to it could not be shared.",
        },
    ],
};
