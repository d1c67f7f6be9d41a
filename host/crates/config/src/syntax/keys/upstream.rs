//! Keys of `[upstreams.NAME]`.

use std::time::Duration;

use super::health_check::HEALTH_CHECK;
use crate::syntax::shape::{KIB, Key, Kind, MIB, Presence, Shape, up_to_a_day};

pub(crate) static UPSTREAM: Shape = Shape {
    noun: "upstream",
    keys: &[
        Key {
            name: "endpoints",
            kind: Kind::List(&Kind::Either(&[Kind::Text("`host:port`"), Kind::Table(&ENDPOINT)])),
            presence: Presence::Required,
            example: r#"["10.0.0.11:8080", { address = "10.0.0.12:8080", weight = 2 }]"#,
            doc: "The servers: `host:port` each, the host an IP address or a name that is looked up when a connection is made.",
        },
        Key {
            name: "balance",
            kind: Kind::Either(&[
                Kind::Choice(&["round-robin", "least-requests", "peak-ewma", "random"]),
                Kind::Table(&BALANCE),
            ]),
            presence: Presence::Default(r#""round-robin""#),
            example: r#""least-requests""#,
            doc: "How an endpoint is chosen: in turn by weight; the one with the fewest exchanges under way in \
                  proportion to its weight; the one that answers soonest, by its latency and what it has under way; by \
                  chance; or by a hash.",
        },
        Key {
            name: "slow-start",
            kind: up_to_a_day(1),
            presence: Presence::Absent("it has its whole share at once"),
            example: r#""30s""#,
            doc: "For how long the share of an endpoint grows, from a tenth of it, that was added beside others or is \
                  let back in after it was left out.",
        },
        Key {
            name: "protocol",
            kind: Kind::Choice(&["h1", "h2"]),
            presence: Presence::Default(r#""h1""#),
            example: r#""h2""#,
            doc: "What is spoken to the endpoints. gRPC needs `h2`.",
        },
        Key {
            name: "tls",
            kind: Kind::Either(&[Kind::Bool, Kind::Table(&UPSTREAM_TLS)]),
            presence: Presence::Default("false"),
            example: r#"{ ca = "certs/internal-ca.pem" }"#,
            doc: "Whether TLS is spoken to the endpoints; a table says how. Their certificates are verified.",
        },
        Key {
            name: "proxy-protocol",
            kind: Kind::Choice(&["v1", "v2"]),
            presence: Presence::Absent("connections begin with TLS or HTTP"),
            example: r#""v2""#,
            doc: "Names the client in a header of the PROXY protocol in front of each connection, for servers that expect \
                  one. Such a connection serves no other client. Health checks say that they are the gateway's own. \
                  Not over HTTP/2.",
        },
        Key {
            name: "host",
            kind: Kind::Either(&[Kind::Choice(&["preserve", "endpoint"]), Kind::Table(&FIXED_HOST)]),
            presence: Presence::Default(r#""preserve""#),
            example: r#"{ value = "internal.example.com" }"#,
            doc: "What `Host` says: what the client sent, the endpoint's address, or a fixed value.",
        },
        Key {
            name: "hide-server",
            kind: Kind::Bool,
            presence: Presence::Default("false"),
            example: "true",
            doc: "Keeps the upstream's `Server` field from clients.",
        },
        Key {
            name: "field-case",
            kind: Kind::Choice(&["lower", "title"]),
            presence: Presence::Default(r#""lower""#),
            example: r#""title""#,
            doc: "How names of fields are written over HTTP/1, in heads: `content-length`, or `Content-Length` and \
                  `ETag` for servers that compare them with case.",
        },
        Key {
            name: "timeouts",
            kind: Kind::Table(&UPSTREAM_TIMEOUTS),
            presence: Presence::Absent("every default"),
            example: r#"{ response-head = "10s" }"#,
            doc: "How long an endpoint may take.",
        },
        Key {
            name: "ejection",
            kind: Kind::Table(&EJECTION),
            presence: Presence::Absent("every default"),
            example: r#"{ failures = 3, duration = "30s" }"#,
            doc: "When an endpoint that fails is left out, and for how long.",
        },
        Key {
            name: "health-checks",
            kind: Kind::List(&Kind::Table(&HEALTH_CHECK)),
            presence: Presence::Absent("no endpoint is asked anything"),
            example: r#"[{ path = "/healthz", interval = "5s" }]"#,
            doc: "What every endpoint is asked again and again. One that fails any of them is left out until it passes \
                  again.",
        },
        Key {
            name: "panic",
            kind: Kind::Percent { min: 0, max: 10_000 },
            presence: Presence::Absent("if none is healthy"),
            example: r#""50%""#,
            doc: "If fewer endpoints than this share are healthy, requests go to all of them. With `\"0%\"` they never go \
                  to one that is left out.",
        },
        Key {
            name: "limits",
            kind: Kind::Table(&UPSTREAM_LIMITS),
            presence: Presence::Absent("unbounded"),
            example: r#"{ requests = 500, waiting = 100 }"#,
            doc: "How many requests may be under way, over all workers, and how many may wait for one of them to end.",
        },
        Key {
            name: "idle-connections",
            kind: Kind::Integer { min: 0, max: 100_000 },
            presence: Presence::Default("64"),
            example: "128",
            doc: "Idle connections that each worker keeps to each endpoint; 0 keeps none.",
        },
        Key {
            name: "head",
            kind: Kind::Size { min: KIB, max: 16 * MIB },
            presence: Presence::Default(r#""64KiB""#),
            example: r#""128KiB""#,
            doc: "Status line and fields of a response. A larger head is answered 502.",
        },
        Key {
            name: "replay",
            kind: Kind::Size { min: 0, max: 16 * MIB },
            presence: Presence::Default(r#""64KiB""#),
            example: r#""1MiB""#,
            doc: "How much of a request's body is kept until the endpoint answers, so that a request that it did not take can be sent again.",
        },
        Key {
            name: "retry-budget",
            kind: Kind::Percent { min: 1, max: 10_000 },
            presence: Presence::Absent("none: only `attempts` of each route bounds retries"),
            example: r#""20%""#,
            doc: "The share of requests that may be tried on a further endpoint. Ten retries a second, and a hundred at once, are always allowed.",
        },
        Key {
            name: "http2",
            kind: Kind::Table(&UPSTREAM_HTTP2),
            presence: Presence::Absent("every default"),
            example: r#"{ window = "1MiB" }"#,
            doc: "What a connection of HTTP/2 carries.",
        },
    ],
};

pub(crate) static BALANCE: Shape = Shape {
    noun: "`balance`",
    keys: &[
        Key {
            name: "hash",
            kind: Kind::Either(&[Kind::Choice(&["client", "path"]), Kind::Table(&HASH)]),
            presence: Presence::Required,
            example: r#"{ header = "x-user" }"#,
            doc: "Requests with the same client address, path, header or cookie go to the same endpoint, while it is \
                  there and works.",
        },
        Key {
            name: "load-max",
            kind: Kind::Percent { min: 10_100, max: 100_000 },
            presence: Presence::Absent("a key goes to its endpoint however busy that is"),
            example: r#""125%""#,
            doc: "How much of its share of the exchanges under way an endpoint may have, over 100 %. Beyond that a \
                  request goes to the next endpoint of its key.",
        },
    ],
};

pub(crate) static HASH: Shape = Shape {
    noun: "`hash`",
    keys: &[
        Key {
            name: "header",
            kind: Kind::Text("the name of a header"),
            presence: Presence::Absent("a cookie decides"),
            example: r#""x-user""#,
            doc: "The header that decides, as the policies leave it. A request without it goes by its client's address.",
        },
        Key {
            name: "cookie",
            kind: Kind::Text("the name of a cookie"),
            presence: Presence::Absent("a header decides"),
            example: r#""session""#,
            doc: "The cookie that decides. A request without it goes by its client's address.",
        },
    ],
};

pub(crate) static UPSTREAM_LIMITS: Shape = Shape {
    noun: "`limits`",
    keys: &[
        Key {
            name: "requests",
            kind: Kind::Integer { min: 1, max: 10_000_000 },
            presence: Presence::Absent("unbounded"),
            example: "500",
            doc: "Requests to all endpoints together, from their first attempt to the last byte of the response; tunnels \
                  count too.",
        },
        Key {
            name: "endpoint-requests",
            kind: Kind::Integer { min: 1, max: 10_000_000 },
            presence: Presence::Absent("unbounded"),
            example: "100",
            doc: "Requests to each endpoint, and so its connections in use over HTTP/1. One that has as many gets no \
                  more; backups do not step in for it.",
        },
        Key {
            name: "waiting",
            kind: Kind::Integer { min: 0, max: 1_000_000 },
            presence: Presence::Default("0"),
            example: "100",
            doc: "Requests that may wait until another one has ended, in the order in which they came. One more is \
                  answered 503 with `Retry-After`.",
        },
        Key {
            name: "wait",
            kind: up_to_a_day(1),
            presence: Presence::Default(r#""1s""#),
            example: r#""5s""#,
            doc: "How long a request may wait. After that it is answered 503.",
        },
    ],
};

pub(crate) static UPSTREAM_HTTP2: Shape = Shape {
    noun: "`http2`",
    keys: &[
        Key {
            name: "streams",
            kind: Kind::Integer { min: 1, max: 1000 },
            presence: Presence::Default("100"),
            example: "50",
            doc: "Exchanges on one connection at once, if the endpoint allows so many.",
        },
        Key {
            name: "window",
            kind: Kind::Size { min: 16 * KIB, max: 2 * MIB },
            presence: Presence::Default(r#""128KiB""#),
            example: r#""1MiB""#,
            doc: "How much of one response may be on its way before the client takes it; a client that reads nothing makes the gateway hold so much.",
        },
        Key {
            name: "send-buffer",
            kind: Kind::Size { min: 16 * KIB, max: 64 * MIB },
            presence: Presence::Default(r#""256KiB""#),
            example: r#""1MiB""#,
            doc: "What may wait to be written on one connection of HTTP/2, over all its streams. Beyond that nothing more \
                  is read for it.",
        },
        Key {
            name: "idle-frames",
            kind: Kind::Integer { min: 100, max: 1_000_000 },
            presence: Presence::Default("1000"),
            example: "5000",
            doc: "HTTP/2 frames that do no work, such as SETTINGS, PING and RST_STREAM, which an endpoint may send at once; a \
                  fiftieth of that comes back in a second, and streams and data earn some. More end the connection.",
        },
    ],
};

pub(crate) static ENDPOINT: Shape = Shape {
    noun: "endpoint",
    keys: &[
        Key {
            name: "address",
            kind: Kind::Text("`host:port`"),
            presence: Presence::Required,
            example: r#""10.0.0.12:8080""#,
            doc: "Host and port; an IPv6 address stands in brackets.",
        },
        Key {
            name: "weight",
            kind: Kind::Integer { min: 0, max: 1000 },
            presence: Presence::Default("1"),
            example: "2",
            doc: "Its share beside the other endpoints of its priority. With 0 it is drained: it gets no more requests.",
        },
        Key {
            name: "priority",
            kind: Kind::Integer { min: 0, max: 9 },
            presence: Presence::Default("0"),
            example: "1",
            doc: "An endpoint with a higher number is a backup: it is used while no endpoint with a lower one can be.",
        },
    ],
};

pub(crate) static UPSTREAM_TLS: Shape = Shape {
    noun: "`tls`",
    keys: &[
        Key {
            name: "server-name",
            kind: Kind::Text("a host name"),
            presence: Presence::Absent("the endpoint's host"),
            example: r#""internal.example.com""#,
            doc: "The name that is asked for (SNI) and that the certificate must carry.",
        },
        Key {
            name: "ca",
            kind: Kind::Text("a path"),
            presence: Presence::Absent("the system's authorities"),
            example: r#""certs/internal-ca.pem""#,
            doc: "PEM file with the authorities that are trusted instead of the system's. A server that has one of these certificates itself is trusted too, within its names and dates.",
        },
        Key {
            name: "insecure-skip-verify",
            kind: Kind::Bool,
            presence: Presence::Default("false"),
            example: "true",
            doc: "Accepts any certificate. An attacker between the gateway and the endpoint can then read and change everything.",
        },
    ],
};

pub(crate) static FIXED_HOST: Shape = Shape {
    noun: "`host`",
    keys: &[Key {
        name: "value",
        kind: Kind::Text("a host"),
        presence: Presence::Required,
        example: r#""internal.example.com""#,
        doc: "What `Host` always says.",
    }],
};

pub(crate) static UPSTREAM_TIMEOUTS: Shape = Shape {
    noun: "`timeouts`",
    keys: &[
        Key {
            name: "connect",
            kind: up_to_a_day(1),
            presence: Presence::Default(r#""5s""#),
            example: r#""1s""#,
            doc: "To connect, TLS included.",
        },
        Key {
            name: "response-head",
            kind: up_to_a_day(1),
            presence: Presence::Default(r#""60s""#),
            example: r#""10s""#,
            doc: "From the end of the request to the end of the response's head.",
        },
        Key {
            name: "idle",
            kind: up_to_a_day(1),
            presence: Presence::Default(r#""60s""#),
            example: r#""5m""#,
            doc: "How long no byte of a body may move in either direction, and how long the endpoint may take nothing of what is ready for it.",
        },
        Key {
            name: "pool-idle",
            kind: up_to_a_day(1),
            presence: Presence::Absent(r#"`"4s"` over HTTP/1, `"60s"` over HTTP/2"#),
            example: r#""30s""#,
            doc: "A pooled connection that was not used for this long is closed, or sooner if the endpoint says so (`Keep-Alive: timeout=`).",
        },
        Key {
            name: "keepalive",
            kind: Kind::Duration { min: Duration::from_secs(2), max: Duration::from_secs(3600) },
            presence: Presence::Default(r#""30s""#),
            example: r#""10s""#,
            doc: "How long an endpoint's machine may give no sign of life, though it is asked for one, before its connection is given up.",
        },
    ],
};

pub(crate) static OUTLIERS: Shape = Shape {
    noun: "`outliers`",
    keys: &[
        Key {
            name: "failures",
            kind: Kind::Percent { min: 1, max: 10_000 },
            presence: Presence::Absent("failures are not compared"),
            example: r#""20%""#,
            doc: "How many more of its requests may fail than of the others', in percentage points. A status from 500 on is \
                  a failure here.",
        },
        Key {
            name: "latency",
            kind: Kind::Percent { min: 10_100, max: 1_000_000 },
            presence: Presence::Absent("times are not compared"),
            example: r#""300%""#,
            doc: "How long it may take on average to answer, beside the others. A difference under 10 ms does not count.",
        },
        Key {
            name: "window",
            kind: up_to_a_day(10),
            presence: Presence::Default(r#""10s""#),
            example: r#""30s""#,
            doc: "How long requests are counted before endpoints are compared.",
        },
        Key {
            name: "requests",
            kind: Kind::Integer { min: 1, max: 1_000_000 },
            presence: Presence::Default("50"),
            example: "100",
            doc: "Requests that an endpoint, and all others together, must have had in a window to be compared.",
        },
    ],
};

pub(crate) static EJECTION: Shape = Shape {
    noun: "`ejection`",
    keys: &[
        Key {
            name: "failures",
            kind: Kind::Integer { min: 0, max: 1000 },
            presence: Presence::Default("1"),
            example: "3",
            doc: "Failures in a row (refused, reset, timed out) after which an endpoint is left out; 0 never does.",
        },
        Key {
            name: "duration",
            kind: Kind::Duration { min: Duration::from_millis(1), max: Duration::from_secs(3600) },
            presence: Presence::Default(r#""10s""#),
            example: r#""30s""#,
            doc: "For how long it is left out.",
        },
        Key {
            name: "duration-max",
            kind: up_to_a_day(1),
            presence: Presence::Absent("`duration`: it does not grow"),
            example: r#""5m""#,
            doc: "For how long at most. Each time in a row is twice as long as the one before.",
        },
        Key {
            name: "share-max",
            kind: Kind::Percent { min: 1, max: 10_000 },
            presence: Presence::Default(r#""100%""#),
            example: r#""50%""#,
            doc: "How many of the endpoints may be left out for what they did, rounded down.",
        },
        Key {
            name: "outliers",
            kind: Kind::Table(&OUTLIERS),
            presence: Presence::Absent("endpoints are not compared"),
            example: r#"{ failures = "20%", latency = "300%" }"#,
            doc: "When an endpoint is left out that does worse than the others.",
        },
    ],
};
