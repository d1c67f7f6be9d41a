//! Keys of `[registries.NAME]`, `[signers.NAME]` and of the lock file.

use crate::syntax::shape::{Key, Kind, Presence, Shape};

pub(crate) static REGISTRY: Shape = Shape {
    noun: "registry",
    keys: &[
        Key {
            name: "host",
            kind: Kind::Text("a host, with a port if it needs one"),
            presence: Presence::Required,
            example: r#""registry.example.com""#,
            doc: "The host as it stands in `oci://HOST/...`. A registry without settings needs no table.",
        },
        Key {
            name: "username",
            kind: Kind::Text("a user's name"),
            presence: Presence::Absent("the user in docker's or podman's file, or none"),
            example: r#""portcullis""#,
            doc: "Who asks. It goes to the registry, and to the token service that the registry names.",
        },
        Key {
            name: "password",
            kind: Kind::Text("the name of a secret"),
            presence: Presence::Absent("none"),
            example: r#""registry-password""#,
            doc: "The secret that holds the user's password or access token.",
        },
        Key {
            name: "ca",
            kind: Kind::Text("a path"),
            presence: Presence::Absent("the system's authorities"),
            example: r#""certs/internal-ca.pem""#,
            doc: "PEM file with the authorities that are trusted instead of the system's. Hosts that the registry refers to \
                  may have a certificate of either.",
        },
        Key {
            name: "plain-http",
            kind: Kind::Bool,
            presence: Presence::Default("false"),
            example: "true",
            doc: "Speaks to it without TLS. Digests and signatures still hold; who listens learns what is fetched. With a \
                  password for this machine only.",
        },
    ],
};

pub(crate) static SIGNER: Shape = Shape {
    noun: "signer",
    keys: &[
        Key {
            name: "cosign",
            kind: Kind::Text("a path"),
            presence: Presence::Absent("`minisign` names the key"),
            example: r#""keys/release.pub""#,
            doc: "The public key of `cosign generate-key-pair`, for images and files.",
        },
        Key {
            name: "minisign",
            kind: Kind::Text("a key or the path of its file"),
            presence: Presence::Absent("`cosign` names the key"),
            example: r#""RWQrGUfXuKJAq7Vss9ArDOCyAI1WlIDy32qSj6W8ifgXTKhrS3cSmdme""#,
            doc: "The public key of `minisign -G`, or the path of its `.pub` file, for files.",
        },
    ],
};

pub(crate) static LOCK: Shape = Shape {
    noun: "the lock file",
    keys: &[
        Key {
            name: "version",
            kind: Kind::Integer { min: 1, max: 1 },
            presence: Presence::Required,
            example: "1",
            doc: "The form of the file.",
        },
        Key {
            name: "plugin",
            kind: Kind::List(&Kind::Table(&LOCKED)),
            presence: Presence::Absent("nothing is pinned"),
            example: "[]",
            doc: "One for each reference.",
        },
    ],
};

pub(crate) static LOCKED: Shape = Shape {
    noun: "`plugin`",
    keys: &[
        Key {
            name: "reference",
            kind: Kind::Text("`oci://HOST/REPOSITORY:TAG`"),
            presence: Presence::Required,
            example: r#""oci://registry.example.com/team/auth:1.4""#,
            doc: "The reference in the config.",
        },
        Key {
            name: "manifest",
            kind: Kind::Text("a digest"),
            presence: Presence::Required,
            example: r#""sha256:...""#,
            doc: "What the tag stood for.",
        },
        Key {
            name: "layer",
            kind: Kind::Text("a digest"),
            presence: Presence::Required,
            example: r#""sha256:...""#,
            doc: "The layer that holds the component.",
        },
        Key {
            name: "format",
            kind: Kind::Choice(&["wasm", "tar", "tar+gzip", "tar+zstd"]),
            presence: Presence::Required,
            example: r#""wasm""#,
            doc: "How the component lies in it.",
        },
        Key {
            name: "component",
            kind: Kind::Text("a digest"),
            presence: Presence::Required,
            example: r#""sha256:...""#,
            doc: "The component.",
        },
        Key {
            name: "size",
            kind: Kind::Integer { min: 0, max: i64::MAX },
            presence: Presence::Required,
            example: "81920",
            doc: "Bytes of the component.",
        },
    ],
};
