//! Keys of `[server]`, `[listeners.NAME]` and `[secrets.NAME]`.

use std::time::Duration;

use crate::syntax::keys::COMPRESS;
use crate::syntax::shape::{GIB, KIB, Key, Kind, MIB, Presence, Shape, up_to_a_day};

pub(crate) static SERVER: Shape = Shape {
    noun: "`server`",
    keys: &[
        Key {
            name: "workers",
            kind: Kind::Integer { min: 1, max: 1024 },
            presence: Presence::Absent("one for each CPU core"),
            example: "4",
            doc: "Threads that serve traffic, each with its own listeners, pools and plugin instances.",
        },
        Key {
            name: "trusted-proxies",
            kind: Kind::List(&Kind::Text("an IP address or network")),
            presence: Presence::Absent("no peer is trusted"),
            example: r#"["10.0.0.0/8", "192.168.1.7"]"#,
            doc: "Peers whose `X-Forwarded-*` and `Forwarded` fields count. From any other peer these fields are \
                  thrown away and written anew.",
        },
        Key {
            name: "drain-timeout",
            kind: up_to_a_day(1),
            presence: Presence::Default(r#""30s""#),
            example: r#""1m""#,
            doc: "How long exchanges may go on after SIGTERM before they are cut off.",
        },
        Key {
            name: "via",
            kind: Kind::Either(&[Kind::Bool, Kind::Text("a name")]),
            presence: Presence::Default(r#""portcullis""#),
            example: r#""edge""#,
            doc: "What the gateway calls itself in `Via`, which it adds to every request and response that it passes on. A \
                  request that has passed eight gateways of that name is in a loop and is answered 508. `false` \
                  adds nothing and detects no loop.",
        },
        Key {
            name: "metrics",
            kind: Kind::Text("an IP address and port"),
            presence: Presence::Absent("nowhere"),
            example: r#""127.0.0.1:9464""#,
            doc: "Where Prometheus reads the metrics, at `/metrics` over plain HTTP without a password: keep it to an \
                  address that only your monitoring reaches.",
        },
        Key {
            name: "cache-dir",
            kind: Kind::Text("a path"),
            presence: Presence::Absent("the user's cache folder"),
            example: r#""/var/cache/portcullis""#,
            doc: "Folder for compiled plugins and for those from registries. A user who can write there can run code in the \
                  gateway.",
        },
        Key {
            name: "access-log",
            kind: Kind::Table(&ACCESS_LOG),
            presence: Presence::Absent("text on standard output"),
            example: r#"{ format = "json", file = "access.log" }"#,
            doc: "One record for each exchange.",
        },
        Key {
            name: "compress",
            kind: Kind::Either(&[Kind::Bool, Kind::Table(&COMPRESS)]),
            presence: Presence::Default("false"),
            example: "true",
            doc: "How routes that say nothing of it encode responses for clients that accept it; see \
                  [compression.md](compression.md).",
        },
        Key {
            name: "encoders-max",
            kind: Kind::Integer { min: 1, max: 100_000 },
            presence: Presence::Default("128"),
            example: "32",
            doc: "Responses that may be encoded at once, for each worker, beside those that are small and here as a whole. One \
                  more is sent as it is.",
        },
        Key {
            name: "policy-instances-max",
            kind: Kind::Integer { min: 1, max: 100_000 },
            presence: Presence::Default("4000"),
            example: "20000",
            doc: "Plugin instances that may be alive at once, over all policies and workers. A policy needs one for each exchange that is in it, or with `isolation = \"worker\"` one for each worker.",
        },
        Key {
            name: "policy-memory-max",
            kind: Kind::Size { min: MIB, max: 1024 * GIB },
            presence: Presence::Default(r#""8GiB""#),
            example: r#""512MiB""#,
            doc: "Linear memory that plugin instances may have, over all policies and workers.",
        },
        Key {
            name: "policy-compile-memory",
            kind: Kind::Size { min: 256 * MIB, max: 1024 * GIB },
            presence: Presence::Default(r#""4GiB""#),
            example: r#""1GiB""#,
            doc: "Memory that compiling one plugin may take. One that may need much is compiled by a process of its own.",
        },
        Key {
            name: "policy-compile-time",
            kind: up_to_a_day(1000),
            presence: Presence::Default(r#""15m""#),
            example: r#""2m""#,
            doc: "CPU time, over all cores, that compiling one plugin may take, in whole seconds.",
        },
        Key {
            name: "policy-http-calls-max",
            kind: Kind::Integer { min: 1, max: 100_000 },
            presence: Presence::Default("1000"),
            example: "5000",
            doc: "Requests of policies' own (`http-client`) that may be outstanding at once, over all policies and workers. The \
                  policy that wants one more gets the error `busy`.",
        },
        Key {
            name: "file-reads-max",
            kind: Kind::Integer { min: 1, max: 1000 },
            presence: Presence::Default("8"),
            example: "32",
            doc: "Files that are opened or read at the same moment for `files` of routes, over all workers. Others wait for their \
                  turn.",
        },
        Key {
            name: "open-files-max",
            kind: Kind::Integer { min: 1, max: 1_000_000 },
            presence: Presence::Default("1000"),
            example: "5000",
            doc: "Files of more than 64 KiB that may be under way to clients at once, over all workers. One more is answered 503.",
        },
        Key {
            name: "control",
            kind: Kind::Either(&[Kind::Bool, Kind::Text("a path")]),
            presence: Presence::Default("true"),
            example: r#""/run/portcullis/edge.sock""#,
            doc: "The socket by which `portcullis status` and the like ask the gateway while it runs. `true`: in the user's \
                  runtime folder, under a name made of this file's path, so that the commands find it with `-c FILE`. A \
                  path: there, in a folder that only the gateway's user can write to. `false`: nowhere.",
        },
        Key {
            name: "watch",
            kind: Kind::Bool,
            presence: Presence::Default("true"),
            example: "false",
            doc: "Whether this file, and the files that it names, are loaded when they change. `false`: only SIGHUP and \
                  `portcullis reload` load them.",
        },
        Key {
            name: "settle",
            kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(600) },
            presence: Presence::Default(r#""2s""#),
            example: r#""10s""#,
            doc: "Changed files are loaded when nothing has changed for this long and their writers have closed \
                  them, so that what is half written does not run. If this file is the only one, renaming another \
                  into its place is enough, and writing it in one go waits for a fourth of this.",
        },
        Key {
            name: "plugin-store-max",
            kind: Kind::Size { min: MIB, max: 1024 * GIB },
            presence: Presence::Default(r#""1GiB""#),
            example: r#""200MiB""#,
            doc: "What is kept on disk of plugins out of registries. Above that, what was not used for longest is removed; what \
                  the config names is kept however large it is.",
        },
        Key {
            name: "plugins-signed-by",
            kind: Kind::List(&Kind::Text("the name of a signer")),
            presence: Presence::Absent("signatures are not asked for"),
            example: r#"["release"]"#,
            doc: "One of these signers must have signed each plugin that does not ship with the gateway, unless its policy \
                  has a `signed-by` of its own.",
        },
    ],
};

pub(crate) static ACCESS_LOG: Shape = Shape {
    noun: "`access-log`",
    keys: &[
        Key {
            name: "format",
            kind: Kind::Choice(&["text", "json", "off"]),
            presence: Presence::Default(r#""text""#),
            example: r#""json""#,
            doc: "One readable line, one JSON object a line, or nothing.",
        },
        Key {
            name: "file",
            kind: Kind::Text("a path"),
            presence: Presence::Absent("standard output"),
            example: r#""access.log""#,
            doc: "File to append to. SIGHUP opens it again, so that logrotate works.",
        },
    ],
};

pub(crate) static LISTENER: Shape = Shape {
    noun: "listener",
    keys: &[
        Key {
            name: "address",
            kind: Kind::Text("an IP address and port"),
            presence: Presence::Required,
            example: r#""0.0.0.0:8080""#,
            doc: "IP address and port. `0.0.0.0` is every IPv4 address, `[::]` every IPv6 one; port 0 takes a free port.",
        },
        Key {
            name: "protocols",
            kind: Kind::List(&Kind::Choice(&["h1", "h2"])),
            presence: Presence::Default(r#"["h1", "h2"]"#),
            example: r#"["h1"]"#,
            doc: "HTTP versions: over TLS the client chooses by ALPN, without TLS HTTP/2 is spoken by prior knowledge.",
        },
        Key {
            name: "tls",
            kind: Kind::Table(&LISTENER_TLS),
            presence: Presence::Absent("plain HTTP"),
            example: r#"{ certificates = [{ cert = "site.pem", key = "site.key" }] }"#,
            doc: "Makes the listener speak HTTPS.",
        },
        Key {
            name: "public-port",
            kind: Kind::Integer { min: 1, max: 65_535 },
            presence: Presence::Absent("the port of `address`"),
            example: "443",
            doc: "The port that clients connect to, if a load balancer or a container maps it to the one of `address`. \
                  Redirects of routes with `tls = \"required\"` name it. For listeners with `tls`.",
        },
        Key {
            name: "proxy-protocol",
            kind: Kind::Table(&PROXY_PROTOCOL),
            presence: Presence::Absent("connections begin with TLS or HTTP"),
            example: r#"{ from = ["10.0.0.0/24"] }"#,
            doc: "Load balancers in front of the listener that name the client of each connection in a header, see \
                  [below](#behind-a-load-balancer).",
        },
        Key {
            name: "timeouts",
            kind: Kind::Table(&LISTENER_TIMEOUTS),
            presence: Presence::Absent("every default"),
            example: r#"{ idle = "2m" }"#,
            doc: "How long a client may take.",
        },
        Key {
            name: "limits",
            kind: Kind::Table(&LISTENER_LIMITS),
            presence: Presence::Absent("every default"),
            example: r#"{ connections = 50000 }"#,
            doc: "How much a client may send.",
        },
        Key {
            name: "half-closed",
            kind: Kind::Choice(&["answer-last", "answer", "cancel"]),
            presence: Presence::Default(r#""answer-last""#),
            example: r#""answer""#,
            doc: "What becomes of an HTTP/1 client that closes its sending half behind a whole request, as `nc -N` does: it is \
                  answered, or taken for gone and its exchange given up (499). By default it is answered if the request said \
                  `Connection: close` or was HTTP/1.0. One that is answered and has really gone is noticed only when \
                  something is written to it.",
        },
        Key {
            name: "field-case",
            kind: Kind::Choice(&["lower", "title"]),
            presence: Presence::Default(r#""lower""#),
            example: r#""title""#,
            doc: "How names of fields are written over HTTP/1, in heads: `content-length`, or `Content-Length` and \
                  `ETag` for clients that compare them with case.",
        },
    ],
};

pub(crate) static LISTENER_TLS: Shape = Shape {
    noun: "`tls`",
    keys: &[
        Key {
            name: "certificates",
            kind: Kind::List(&Kind::Table(&CERTIFICATE)),
            presence: Presence::Required,
            example: r#"[{ cert = "site.pem", key = "site.key" }]"#,
            doc: "Chosen by the host name that the client asks for; the first one serves all other clients.",
        },
        Key {
            name: "min-version",
            kind: Kind::Choice(&["1.2", "1.3"]),
            presence: Presence::Default(r#""1.2""#),
            example: r#""1.3""#,
            doc: "The oldest TLS version that is spoken.",
        },
    ],
};

pub(crate) static CERTIFICATE: Shape = Shape {
    noun: "certificate",
    keys: &[
        Key {
            name: "cert",
            kind: Kind::Text("a path"),
            presence: Presence::Required,
            example: r#""certs/site.pem""#,
            doc: "PEM file with the certificate chain, the site's own certificate first.",
        },
        Key {
            name: "key",
            kind: Kind::Text("a path"),
            presence: Presence::Required,
            example: r#""certs/site.key""#,
            doc: "PEM file with the private key, without a passphrase.",
        },
    ],
};

pub(crate) static PROXY_PROTOCOL: Shape = Shape {
    noun: "`proxy-protocol`",
    keys: &[
        Key {
            name: "from",
            kind: Kind::List(&Kind::Text("an IP address or network")),
            presence: Presence::Required,
            example: r#"["10.0.0.0/24"]"#,
            doc: "The load balancers. Each of their connections must begin with a header of version 1 or 2.",
        },
        Key {
            name: "others",
            kind: Kind::Choice(&["refuse", "serve"]),
            presence: Presence::Default(r#""refuse""#),
            example: r#""serve""#,
            doc: "What becomes of connections of other peers: closed at once, or served as clients that connect \
                  directly, without a header.",
        },
        Key {
            name: "timeout",
            kind: up_to_a_day(1),
            presence: Presence::Default(r#""5s""#),
            example: r#""2s""#,
            doc: "From accept to the end of the header.",
        },
        Key {
            name: "size",
            kind: Kind::Size { min: 232, max: 64 * KIB },
            presence: Presence::Default(r#""2KiB""#),
            example: r#""512B""#,
            doc: "The longest header of version 2 that is accepted, with the fields that load balancers add to the addresses.",
        },
    ],
};

pub(crate) static LISTENER_TIMEOUTS: Shape = Shape {
    noun: "`timeouts`",
    keys: &[
        Key {
            name: "request-head",
            kind: up_to_a_day(1),
            presence: Presence::Default(r#""10s""#),
            example: r#""5s""#,
            doc: "From accept, or from a request's first byte, to the end of its head.",
        },
        Key {
            name: "idle",
            kind: up_to_a_day(1),
            presence: Presence::Default(r#""60s""#),
            example: r#""2m""#,
            doc: "How long a connection may stay open without an exchange, and a body without a byte of progress.",
        },
        Key {
            name: "handshake",
            kind: up_to_a_day(1),
            presence: Presence::Default(r#""10s""#),
            example: r#""5s""#,
            doc: "The TLS handshake.",
        },
        Key {
            name: "tunnel-idle",
            kind: up_to_a_day(1),
            presence: Presence::Default(r#""1h""#),
            example: r#""10m""#,
            doc: "How long a tunnel (WebSocket or any other upgrade) may stay open without a byte in either direction, or with an end that takes nothing.",
        },
        Key {
            name: "linger",
            kind: up_to_a_day(1),
            presence: Presence::Default(r#""5s""#),
            example: r#""2s""#,
            doc: "Behind an HTTP/1 answer after which the connection closes: how long the client may send nothing before it is \
                  closed altogether. What it sends is read and dropped, for `idle` at most, so that no reset destroys the \
                  answer.",
        },
    ],
};

pub(crate) static LISTENER_LIMITS: Shape = Shape {
    noun: "`limits`",
    keys: &[
        Key {
            name: "connections",
            kind: Kind::Integer { min: 1, max: 10_000_000 },
            presence: Presence::Default("10000"),
            example: "50000",
            doc: "Connections open at once, over all workers. A further one is closed at once.",
        },
        Key {
            name: "head",
            kind: Kind::Size { min: KIB, max: 16 * MIB },
            presence: Presence::Default(r#""32KiB""#),
            example: r#""64KiB""#,
            doc: "Start line and fields of a request. A larger head is answered 431.",
        },
        Key {
            name: "fields",
            kind: Kind::Integer { min: 1, max: 10_000 },
            presence: Presence::Default("100"),
            example: "200",
            doc: "Fields in a request's head. More are answered 431.",
        },
        Key {
            name: "streams",
            kind: Kind::Integer { min: 1, max: 10_000 },
            presence: Presence::Default("128"),
            example: "250",
            doc: "HTTP/2 exchanges open at once on one connection.",
        },
        Key {
            name: "linger",
            kind: Kind::Size { min: 0, max: 1024 * GIB },
            presence: Presence::Default(r#""256MiB""#),
            example: r#""10MiB""#,
            doc: "What is read and dropped behind an HTTP/1 answer after which the connection closes. A client that writes all \
                  of a larger body before it reads does not get an early answer to it, such as 413.",
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
            doc: "HTTP/2 frames that do no work, such as SETTINGS, PING and RST_STREAM, which a client may send at once; a \
                  fiftieth of that comes back in a second, and streams and data earn some. More end the connection.",
        },
    ],
};

pub(crate) static SECRET: Shape = Shape {
    noun: "secret",
    keys: &[
        Key {
            name: "env",
            kind: Kind::Text("the name of an environment variable"),
            presence: Presence::Absent("`file` says where it is"),
            example: r#""API_TOKEN""#,
            doc: "Environment variable that holds the secret.",
        },
        Key {
            name: "file",
            kind: Kind::Text("a path"),
            presence: Presence::Absent("`env` says where it is"),
            example: r#""/run/secrets/api-token""#,
            doc: "File that holds the secret, at most 64 KiB; one line end at its end is cut.",
        },
    ],
};
