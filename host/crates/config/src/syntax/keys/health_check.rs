//! Keys of an element of `health-checks`.

use std::time::Duration;

use crate::syntax::shape::{Key, Kind, Presence, Shape, up_to_a_day};

pub(crate) static HEALTH_CHECK: Shape = Shape {
    noun: "health check",
    keys: &[
        Key {
            name: "kind",
            kind: Kind::Choice(&["http", "grpc", "tcp"]),
            presence: Presence::Default(r#""http""#),
            example: r#""grpc""#,
            doc: "An HTTP request in the upstream's protocol, the gRPC health protocol, or a connection on which nothing is \
                  sent.",
        },
        Key {
            name: "path",
            kind: Kind::Text("a path"),
            presence: Presence::Default(r#""/""#),
            example: r#""/healthz""#,
            doc: "With `http`: the path, with a query if there is one.",
        },
        Key {
            name: "method",
            kind: Kind::Choice(&["GET", "HEAD", "OPTIONS"]),
            presence: Presence::Default(r#""GET""#),
            example: r#""HEAD""#,
            doc: "With `http`: the method.",
        },
        Key {
            name: "host",
            kind: Kind::Text("a host"),
            presence: Presence::Absent("the fixed `host` of the upstream, or else the endpoint's address"),
            example: r#""internal.example.com""#,
            doc: "With `http`: what `Host` says.",
        },
        Key {
            name: "status",
            kind: Kind::List(&Kind::Integer { min: 200, max: 599 }),
            presence: Presence::Absent("200 to 299"),
            example: "[200, 401]",
            doc: "With `http`: the statuses that pass.",
        },
        Key {
            name: "body",
            kind: Kind::Text("a text"),
            presence: Presence::Absent("any body passes"),
            example: r#""\"status\":\"up\"""#,
            doc: "With `http`: text that the body must contain, in its first 64 KiB.",
        },
        Key {
            name: "service",
            kind: Kind::Text("a service"),
            presence: Presence::Absent("the server as a whole"),
            example: r#""shop.v1.Orders""#,
            doc: "With `grpc`: the service that is asked about.",
        },
        Key {
            name: "port",
            kind: Kind::Integer { min: 1, max: 65_535 },
            presence: Presence::Absent("the endpoint's own"),
            example: "9000",
            doc: "The port of the endpoint that is asked.",
        },
        Key {
            name: "interval",
            kind: up_to_a_day(1),
            presence: Presence::Default(r#""10s""#),
            example: r#""2s""#,
            doc: "From the end of one check to the beginning of the next.",
        },
        Key {
            name: "jitter",
            kind: Kind::Percent { min: 0, max: 10_000 },
            presence: Presence::Default(r#""10%""#),
            example: r#""50%""#,
            doc: "How much longer or shorter each `interval` is, by chance, so that several gateways do not ask together.",
        },
        Key {
            name: "timeout",
            kind: Kind::Duration { min: Duration::from_millis(1), max: Duration::from_secs(300) },
            presence: Presence::Default(r#""2s""#),
            example: r#""500ms""#,
            doc: "How long a check may take, with connecting. One that takes longer has failed.",
        },
        Key {
            name: "rise",
            kind: Kind::Integer { min: 1, max: 100 },
            presence: Presence::Default("2"),
            example: "1",
            doc: "Passes in a row after which an endpoint that was left out is used again.",
        },
        Key {
            name: "fall",
            kind: Kind::Integer { min: 1, max: 100 },
            presence: Presence::Default("3"),
            example: "1",
            doc: "Failures in a row after which an endpoint is left out. The first check of an endpoint decides alone.",
        },
    ],
};
