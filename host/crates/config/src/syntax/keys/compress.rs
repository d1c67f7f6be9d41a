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
