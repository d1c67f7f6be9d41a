//! Keys of `compress`, of a route and of the server.

use crate::syntax::shape::{GIB, Key, Kind, Presence, Shape};

pub(crate) static COMPRESS: Shape = Shape {
    noun: "`compress`",
    keys: &[
        Key {
            name: "codings",
            kind: Kind::List(&Kind::Choice(&["zstd", "br", "gzip"])),
            presence: Presence::Default(r#"["zstd", "br", "gzip"]"#),
            example: r#"["br", "gzip"]"#,
            doc: "The codings that may be chosen. The client's weights decide; of those that it likes equally, the first here.",
        },
        Key {
            name: "types",
            kind: Kind::List(&Kind::Text("a media type")),
            presence: Presence::Absent(
                "text, JSON, XML, JavaScript, WebAssembly, SVG, icons and plain fonts; see [compression.md](compression.md)",
            ),
            example: r#"["text/*", "*+json", "application/json"]"#,
            doc: "The media types that are encoded: one, all of a kind (`text/*`), all with a suffix (`*+json`), or all (`*`).",
        },
        Key {
            name: "min-size",
            kind: Kind::Size { min: 0, max: GIB },
            presence: Presence::Default(r#""1KiB""#),
            example: r#""256B""#,
            doc: "Bytes that a body must have to be encoded. One whose length is not known is encoded.",
        },
        Key {
            name: "effort",
            kind: Kind::Choice(&["low", "normal", "high"]),
            presence: Presence::Default(r#""normal""#),
            example: r#""low""#,
            doc: "How much CPU encoding may cost. `high` costs some three times as much as `normal`, and saves a few percent.",
        },
        Key {
            name: "credentials",
            kind: Kind::Choice(&["same-origin", "never", "always"]),
            presence: Presence::Default(r#""same-origin""#),
            example: r#""never""#,
            doc: "Whether responses that may hold a secret are encoded (BREACH): those to requests with `Cookie` or with \
                  credentials that a browser adds by itself, and those with `Set-Cookie`, unless they say that they are for \
                  all. `same-origin`: if the browser says that the site's own page, or the user, asked.",
        },
    ],
};

pub(crate) static DECOMPRESS: Shape = Shape {
    noun: "`decompress`",
    keys: &[
        Key {
            name: "requests",
            kind: Kind::Bool,
            presence: Presence::Default("true"),
            example: "false",
            doc: "Whether bodies of requests are decoded. A request in another coding than zstd, br and gzip, or in several, is \
                  answered 415.",
        },
        Key {
            name: "responses",
            kind: Kind::Bool,
            presence: Presence::Default("true"),
            example: "false",
            doc: "Whether bodies of responses are. The upstream is then not told which codings the client takes, so that it \
                  mostly sends plain bodies.",
        },
        Key {
            name: "size",
            kind: Kind::Size { min: 1, max: 1 << 50 },
            presence: Presence::Default(r#""64MiB""#),
            example: r#""1MiB""#,
            doc: "Bytes that a decoded body may have.",
        },
        Key {
            name: "ratio",
            kind: Kind::Integer { min: 1, max: 1_000_000 },
            presence: Presence::Default("200"),
            example: "50",
            doc: "Bytes that a decoded body may have for each byte that was encoded, beyond its first 256 KiB.",
        },
    ],
};
