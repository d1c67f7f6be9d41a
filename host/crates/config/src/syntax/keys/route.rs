//! Keys of `[routes.NAME]`.

use std::time::Duration;

use super::upstream::FIXED_HOST;
use crate::syntax::keys::{COMPRESS, DECOMPRESS, ROUTE_CACHE};
use crate::syntax::shape::{GIB, Key, Kind, Presence, Shape, up_to_a_day};

pub(crate) static ROUTE: Shape = Shape {
    noun: "route",
    keys: &[
        Key {
            name: "match",
            kind: Kind::Table(&MATCH),
            presence: Presence::Absent("every request"),
            example: r#"{ host = "api.example.com", path = "/v1/*" }"#,
            doc: "The requests that the route takes: all conditions must hold. If several routes would take a request, the \
                  most specific one does.",
        },
        Key {
            name: "priority",
            kind: Kind::Integer { min: -1_000_000, max: 1_000_000 },
            presence: Presence::Default("0"),
            example: "10",
            doc: "Of routes whose hosts are equally narrow, those with the greatest number are tried first, whatever their \
                  paths are. Where two routes are tied, it decides.",
        },
        Key {
            name: "use",
            kind: Kind::List(&Kind::Text("the name of a policy")),
            presence: Presence::Absent("no policies"),
            example: r#"["keys", "limit"]"#,
            doc: "Policies in the order in which they see the request; they see the response in the reverse order.",
        },
        Key {
            name: "to",
            kind: Kind::Either(&[
                Kind::Text("the name of an upstream"),
                Kind::List(&Kind::Text("the name of an upstream")),
            ]),
            presence: Presence::Absent("the route has `redirect`, `respond` or `files`"),
            example: r#""api""#,
            doc: "The upstream that requests are forwarded to. Of a list, the first, unless a policy chooses another one of \
                  it. Each route has exactly one of `to`, `redirect`, `respond` and `files`.",
        },
        Key {
            name: "rewrite",
            kind: Kind::Table(&REWRITE),
            presence: Presence::Absent("the request is forwarded as it was matched"),
            example: r#"{ path = "/v2{rest}" }"#,
            doc: "With `to`: what is changed in a request, after the policies and before it is sent. With `files`, its `path` is \
                  the one that is looked for in the folder.",
        },
        Key {
            name: "request-headers",
            kind: Kind::Table(&REQUEST_HEADERS),
            presence: Presence::Absent("fields are forwarded as the policies leave them"),
            example: r#"{ set = { x-original-path = "{path}" }, remove = ["cookie"] }"#,
            doc: "With `to`: fields that are changed in a request, after the policies and before it is sent.",
        },
        Key {
            name: "response-headers",
            kind: Kind::Table(&RESPONSE_HEADERS),
            presence: Presence::Absent("fields are sent as the policies leave them"),
            example: r#"{ set = { cache-control = "no-cache" }, remove = ["x-powered-by"] }"#,
            doc: "Fields that are changed in a response, after the policies and before it is sent.",
        },
        Key {
            name: "cache",
            kind: Kind::Either(&[Kind::Text("the name of a cache"), Kind::Table(&ROUTE_CACHE)]),
            presence: Presence::Absent("every request is forwarded"),
            example: r#"{ store = "assets", ttl = "10m" }"#,
            doc: "With `to`: keeps responses and answers from them, after the policies have permitted a request; see \
                  [cache.md](cache.md). A name alone takes every default.",
        },
        Key {
            name: "compress",
            kind: Kind::Either(&[Kind::Bool, Kind::Table(&COMPRESS)]),
            presence: Presence::Absent("what `compress` of `server` says"),
            example: r#"{ effort = "low" }"#,
            doc: "Encodes responses for clients that accept it, as the last step before they are sent; see \
                  [compression.md](compression.md). `true` takes every default, `false` switches it off.",
        },
        Key {
            name: "decompress",
            kind: Kind::Either(&[Kind::Bool, Kind::Table(&DECOMPRESS)]),
            presence: Presence::Default("false"),
            example: r#"{ responses = false, size = "1MiB" }"#,
            doc: "With `to`: decodes bodies, so that policies and the upstream get plain ones; see \
                  [compression.md](compression.md#plain-bodies-for-policies). `true` takes every default.",
        },
        Key {
            name: "redirect",
            kind: Kind::Table(&REDIRECT),
            presence: Presence::Absent("the route has `to`, `respond` or `files`"),
            example: r#"{ to = "https://www.example.com{path}{query}", status = 308 }"#,
            doc: "Sends the client elsewhere instead of forwarding.",
        },
        Key {
            name: "respond",
            kind: Kind::Table(&RESPOND),
            presence: Presence::Absent("the route has `to`, `redirect` or `files`"),
            example: r#"{ status = 404, body = "nothing here" }"#,
            doc: "Answers every request alike instead of forwarding.",
        },
        Key {
            name: "files",
            kind: Kind::Table(&FILES),
            presence: Presence::Absent("the route has `to`, `redirect` or `respond`"),
            example: r#"{ root = "/srv/www" }"#,
            doc: "Serves the files of a folder instead of forwarding.",
        },
        Key {
            name: "listeners",
            kind: Kind::List(&Kind::Text("the name of a listener")),
            presence: Presence::Absent("every listener"),
            example: r#"["internal"]"#,
            doc: "The listeners that serve the route. On every other listener it does not exist: a request there takes another \
                  route, or is answered 404.",
        },
        Key {
            name: "tls",
            kind: Kind::Choice(&["required"]),
            presence: Presence::Absent("served with TLS and without"),
            example: r#""required""#,
            doc: "What becomes of a client that comes over plain HTTP: it is sent to `https` with 308, or answered 421 if its \
                  request cannot be sent there. Policies and upstreams do not see such a request.",
        },
        Key {
            name: "timeout",
            kind: up_to_a_day(1),
            presence: Presence::Absent("unbounded, so that streams and tunnels live"),
            example: r#""30s""#,
            doc: "From the request's head to the response's last byte.",
        },
        Key {
            name: "limits",
            kind: Kind::Table(&ROUTE_LIMITS),
            presence: Presence::Absent("every default"),
            example: r#"{ body = "10MiB" }"#,
            doc: "What one exchange may take.",
        },
        Key {
            name: "attempts",
            kind: Kind::Integer { min: 1, max: 100 },
            presence: Presence::Default("3"),
            example: "1",
            doc: "With `to`: endpoints that are tried while nothing of the request was sent, the first included. Never more than \
                  the upstream has, unless `retry` lets it ask them again.",
        },
        Key {
            name: "retry",
            kind: Kind::Table(&RETRY),
            presence: Presence::Absent("a request is never tried again once something of it was sent"),
            example: r#"{ on = ["reset", "timeout", 503], try-timeout = "2s" }"#,
            doc: "With `to`: when a request is tried again that was sent, within `attempts` and the upstream's \
                  `retry-budget`.",
        },
        Key {
            name: "encoded-slash",
            kind: Kind::Choice(&["refuse", "keep"]),
            presence: Presence::Default(r#""refuse""#),
            example: r#""keep""#,
            doc: "What becomes of `%2F` in a path: it is refused with 400, or it stays, for the route's match, for policies and \
                  for the upstream, as a character of its segment. npm, GitLab and RabbitMQ need that.",
        },
        Key {
            name: "merge-slashes",
            kind: Kind::Bool,
            presence: Presence::Default("true"),
            example: "false",
            doc: "Whether `//` in a path becomes `/`. Object stores such as S3 tell the two apart.",
        },
    ],
};

pub(crate) static MATCH: Shape = Shape {
    noun: "`match`",
    keys: &[
        Key {
            name: "host",
            kind: Kind::Either(&[
                Kind::Text("a host"),
                Kind::Table(&HOST_REGEX),
                Kind::List(&Kind::Either(&[Kind::Text("a host"), Kind::Table(&HOST_REGEX)])),
            ]),
            presence: Presence::Absent("any host"),
            example: r#"["example.com", "*.example.com"]"#,
            doc: "One host or several, without a port: exactly this one, with `*.` every host below it, or those in which \
                  a regular expression is found.",
        },
        Key {
            name: "path",
            kind: Kind::Either(&[Kind::Text("a path"), Kind::Table(&PATH_REGEX)]),
            presence: Presence::Default(r#""/*""#),
            example: r#""/users/{id}""#,
            doc: "`/exact`, `/prefix/*` (which takes `/prefix` too), or `/users/{id}` for any one segment. Written in the \
                  normal form that the gateway brings every path into. Or a regular expression.",
        },
        Key {
            name: "method",
            kind: Kind::Either(&[Kind::Text("a method"), Kind::List(&Kind::Text("a method"))]),
            presence: Presence::Absent("any method"),
            example: r#"["GET", "POST"]"#,
            doc: "One method or several. `GET` takes `HEAD` too.",
        },
        Key {
            name: "headers",
            kind: Kind::Fields(&VALUE),
            presence: Presence::Absent("any fields"),
            example: r#"{ x-beta = true, x-tenant = "a" }"#,
            doc: "Fields that the request must have: with this value, with any (`true`), with one that begins so or in which \
                  a regular expression is found; or that it must not have (`false`).",
        },
        Key {
            name: "query",
            kind: Kind::Fields(&VALUE),
            presence: Presence::Absent("any query"),
            example: r#"{ preview = true, version = { prefix = "2." } }"#,
            doc: "Parameters of the query, in the same way. Names and values are compared after decoding.",
        },
        Key {
            name: "cookies",
            kind: Kind::Fields(&VALUE),
            presence: Presence::Absent("any cookies"),
            example: r#"{ canary = "1" }"#,
            doc: "Cookies, in the same way.",
        },
        Key {
            name: "client",
            kind: Kind::Either(&[
                Kind::Text("an address or network"),
                Kind::List(&Kind::Text("an address or network")),
            ]),
            presence: Presence::Absent("any client"),
            example: r#"["10.0.0.0/8", "2001:db8::7"]"#,
            doc: "Addresses and networks of clients, of which one must fit. Behind `trusted-proxies` it is the address that \
                  they say.",
        },
    ],
};

/// What a field, a parameter or a cookie must be.
static VALUE: Kind = Kind::Either(&[Kind::Bool, Kind::Text("a value"), Kind::Table(&VALUE_MATCH)]);

pub(crate) static VALUE_MATCH: Shape = Shape {
    noun: "a condition",
    keys: &[
        Key {
            name: "prefix",
            kind: Kind::Text("the beginning of a value"),
            presence: Presence::Absent("`regex` is there"),
            example: r#""v2.""#,
            doc: "What the value begins with.",
        },
        Key {
            name: "regex",
            kind: Kind::Text("a regular expression"),
            presence: Presence::Absent("`prefix` is there"),
            example: "'^v[23]$'",
            doc: "What is found in the value.",
        },
    ],
};

pub(crate) static HOST_REGEX: Shape = Shape {
    noun: "`host`",
    keys: &[Key {
        name: "regex",
        kind: Kind::Text("a regular expression"),
        presence: Presence::Required,
        example: r"'^(?<user>[a-z0-9-]+)\.example\.com$'",
        doc: "What is found in the host, which is in lower case. Groups with a name are variables of the route.",
    }],
};

pub(crate) static PATH_REGEX: Shape = Shape {
    noun: "`path`",
    keys: &[
        Key {
            name: "regex",
            kind: Kind::Text("a regular expression"),
            presence: Presence::Required,
            example: r"'^/img/(?<id>[0-9]+)\.png$'",
            doc: "What is found in the path, in its normal form. Its groups are variables of the route: `{id}`, or `{1}` \
                  for the first.",
        },
        Key {
            name: "under",
            kind: Kind::Text("a path"),
            presence: Presence::Default(r#""/*""#),
            example: r#""/img/*""#,
            doc: "What must take the path as well: a path as without `regex`, which says how narrow the route is.",
        },
    ],
};

pub(crate) static REWRITE: Shape = Shape {
    noun: "`rewrite`",
    keys: &[
        Key {
            name: "path",
            kind: Kind::Either(&[
                Kind::Text("a path"),
                Kind::Table(&REWRITE_RULE),
                Kind::List(&Kind::Table(&REWRITE_RULE)),
            ]),
            presence: Presence::Absent("the path that was matched"),
            example: r#""/v2{rest}""#,
            doc: "The path that the upstream is asked for; the query stays. `{rest}` is what `/*` of `match.path` took, \
                  `{path}` the whole path, and `{name}` the segment of the parameter, or what the group took, of that name \
                  in `match.path`. Or a rule, or several, of which the first counts whose expression is found.",
        },
        Key {
            name: "host",
            kind: Kind::Either(&[Kind::Choice(&["preserve", "endpoint"]), Kind::Table(&FIXED_HOST)]),
            presence: Presence::Absent("what `host` of the upstream says"),
            example: r#"{ value = "internal.example.com" }"#,
            doc: "What `Host` says to the upstream: what the client sent, the endpoint's address, or a fixed value.",
        },
    ],
};

pub(crate) static REWRITE_RULE: Shape = Shape {
    noun: "a rule of `rewrite.path`",
    keys: &[
        Key {
            name: "regex",
            kind: Kind::Text("a regular expression"),
            presence: Presence::Required,
            example: "'^/old/(.*)$'",
            doc: "What is found in the path. Otherwise the path stays.",
        },
        Key {
            name: "to",
            kind: Kind::Text("a path"),
            presence: Presence::Required,
            example: r#""/new/{1}""#,
            doc: "The new path. The groups of `regex` are variables.",
        },
    ],
};

pub(crate) static REQUEST_HEADERS: Shape = Shape {
    noun: "`request-headers`",
    keys: &[
        Key {
            name: "set",
            kind: Kind::Fields(&Kind::Text("a value")),
            presence: Presence::Absent("none"),
            example: r#"{ x-original-path = "{path}" }"#,
            doc: "Fields that get this value in place of what they have. `{scheme}`, `{host}`, `{path}`, `{query}`, `{rest}` and \
                  the parameters of `match.path` are variables, as in `redirect.to`.",
        },
        Key {
            name: "add",
            kind: Kind::Fields(&Kind::Either(&[Kind::Text("a value"), Kind::List(&Kind::Text("a value"))])),
            presence: Presence::Absent("none"),
            example: r#"{ x-passed = ["edge", "inner"] }"#,
            doc: "Fields that get a line with this value, or several, beside those that they have. With the same variables.",
        },
        Key {
            name: "remove",
            kind: Kind::List(&Kind::Text("the name of a field")),
            presence: Presence::Absent("none"),
            example: r#"["cookie"]"#,
            doc: "Fields that are removed.",
        },
    ],
};

pub(crate) static RESPONSE_HEADERS: Shape = Shape {
    noun: "`response-headers`",
    keys: &[
        Key {
            name: "set",
            kind: Kind::Fields(&Kind::Text("a value")),
            presence: Presence::Absent("none"),
            example: r#"{ strict-transport-security = "max-age=31536000" }"#,
            doc: "Fields that get this value in place of what they have.",
        },
        Key {
            name: "add",
            kind: Kind::Fields(&Kind::Either(&[Kind::Text("a value"), Kind::List(&Kind::Text("a value"))])),
            presence: Presence::Absent("none"),
            example: r#"{ vary = "accept" }"#,
            doc: "Fields that get a line with this value, or several, beside those that they have.",
        },
        Key {
            name: "remove",
            kind: Kind::List(&Kind::Text("the name of a field")),
            presence: Presence::Absent("none"),
            example: r#"["x-powered-by"]"#,
            doc: "Fields that are removed.",
        },
        Key {
            name: "always",
            kind: Kind::Bool,
            presence: Presence::Default("false"),
            example: "true",
            doc: "Whether the changes also apply if the gateway or a policy answers in place of the upstream or the action: to \
                  errors, refusals and replies.",
        },
    ],
};

pub(crate) static RETRY: Shape = Shape {
    noun: "`retry`",
    keys: &[
        Key {
            name: "on",
            kind: Kind::List(&Kind::Either(&[
                Kind::Choice(&["reset", "timeout"]),
                Kind::Integer { min: 400, max: 599 },
            ])),
            presence: Presence::Required,
            example: r#"["reset", "timeout", 502, 503, 504]"#,
            doc: "What it is tried again for: `reset`, the connection ended before the head of a response; `timeout`, the \
                  head did not come in time; a status of the response, which is then dropped.",
        },
        Key {
            name: "try-timeout",
            kind: up_to_a_day(1),
            presence: Presence::Absent("`timeouts` of the upstream alone"),
            example: r#""2s""#,
            doc: "With `timeout` in `on`: how long an attempt that another one may follow takes at most to connect, and \
                  from the end of the request to the head of the response.",
        },
        Key {
            name: "delay",
            kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(60) },
            presence: Presence::Default(r#""25ms""#),
            example: r#""100ms""#,
            doc: "The longest pause before the first retry of a request that was sent, or once all endpoints were tried. \
                  It doubles with each, and a random part of it is waited for.",
        },
        Key {
            name: "delay-max",
            kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(60) },
            presence: Presence::Default(r#""250ms""#),
            example: r#""1s""#,
            doc: "The longest pause of all.",
        },
        Key {
            name: "non-idempotent",
            kind: Kind::Bool,
            presence: Presence::Default("false"),
            example: "true",
            doc: "Also tries POST and PATCH again, which may then be acted on twice.",
        },
    ],
};

pub(crate) static REDIRECT: Shape = Shape {
    noun: "`redirect`",
    keys: &[
        Key {
            name: "to",
            kind: Kind::Text("a URL"),
            presence: Presence::Required,
            example: r#""https://{host}{path}{query}""#,
            doc: "Where to: a URL, or a path on the same host. `{scheme}`, `{host}`, `{path}` and `{query}` (with its `?`) are \
                  those of the request, `{rest}` is what `/*` of `match.path` took, and `{name}` the segment of its parameter \
                  of that name.",
        },
        Key {
            name: "status",
            kind: Kind::Integer { min: 301, max: 308 },
            presence: Presence::Default("307"),
            example: "308",
            doc: "301, 302, 303, 307 or 308. 307 (temporary) and 308 (permanent) keep the method and the body.",
        },
    ],
};

pub(crate) static RESPOND: Shape = Shape {
    noun: "`respond`",
    keys: &[
        Key {
            name: "status",
            kind: Kind::Integer { min: 200, max: 599 },
            presence: Presence::Default("200"),
            example: "404",
            doc: "The status.",
        },
        Key {
            name: "body",
            kind: Kind::Text("the text of a body"),
            presence: Presence::Absent("an empty body"),
            example: r#""nothing here""#,
            doc: "The body. A response to HEAD has its length alone.",
        },
        Key {
            name: "body-file",
            kind: Kind::Text("a path"),
            presence: Presence::Absent("the body is `body`"),
            example: r#""errors/maintenance.html""#,
            doc: "The file with the body, of at most 1 MiB. It is read with the configuration, and watched like it.",
        },
        Key {
            name: "headers",
            kind: Kind::Fields(&Kind::Text("a value")),
            presence: Presence::Absent(
                "`content-type` if there is a body: `text/plain; charset=utf-8`, or by the extension of `body-file`",
            ),
            example: r#"{ content-type = "text/html" }"#,
            doc: "The fields of the answer.",
        },
    ],
};

pub(crate) static FILES: Shape = Shape {
    noun: "`files`",
    keys: &[
        Key {
            name: "root",
            kind: Kind::Text("a path"),
            presence: Presence::Required,
            example: r#""/srv/www""#,
            doc: "The folder. The path of the request is looked for below it; to take a prefix off, add a `rewrite`.",
        },
        Key {
            name: "index",
            kind: Kind::Text("the name of a file"),
            presence: Presence::Default(r#""index.html""#),
            example: r#""start.html""#,
            doc: "The file that stands for a folder. A folder without one is answered 404: folders are not listed.",
        },
        Key {
            name: "symlinks",
            kind: Kind::Choice(&["inside", "refuse", "follow"]),
            presence: Presence::Default(r#""inside""#),
            example: r#""refuse""#,
            doc: "Which symbolic links below the folder are followed: those that stay inside, none, or all.",
        },
        Key {
            name: "precompressed",
            kind: Kind::Bool,
            presence: Presence::Default("false"),
            example: "true",
            doc: "Whether `app.js.zst`, `app.js.br` or `app.js.gz` is sent in place of `app.js` to a client that accepts its \
                  coding, if it is not older than that; see [compression.md](compression.md#files-that-are-encoded-already).",
        },
    ],
};

pub(crate) static ROUTE_LIMITS: Shape = Shape {
    noun: "`limits`",
    keys: &[
        Key {
            name: "body",
            kind: Kind::Limit { min: 0, max: 1 << 50 },
            presence: Presence::Default(r#""unlimited""#),
            example: r#""10MiB""#,
            doc: "Bytes of a request's body, or `\"unlimited\"`: bodies stream through and are not kept. A larger one is answered 413.",
        },
        Key {
            name: "hold",
            kind: Kind::Size { min: 1, max: GIB },
            presence: Presence::Default(r#""1MiB""#),
            example: r#""64KiB""#,
            doc: "Bytes that the route's policies may hold back of one body.",
        },
    ],
};
