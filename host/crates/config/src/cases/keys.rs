//! Every key that a file of test cases may have.

use std::time::Duration;

use crate::syntax::keys::{GRANTS, POLICY_LIMITS};
use crate::syntax::shape::{Key, Kind, Presence, Shape};

/// The most that a case may let time pass: a year.
const AFTER_MAX: Duration = Duration::from_secs(366 * 86_400);

/// Text, which may be empty, or bytes.
const VALUE: Kind = Kind::Either(&[Kind::AnyText("text"), Kind::Table(&BYTES)]);
/// A body: all of it, or its pieces.
const BODY: Kind = Kind::Either(&[Kind::AnyText("text"), Kind::Table(&BYTES), Kind::List(&VALUE)]);
/// The value of a field, or those of its lines.
const FIELD: Kind = Kind::Either(&[Kind::AnyText("a value"), Kind::List(&Kind::AnyText("a value"))]);
/// The same as it is expected; `false` if there is to be none, `true` if any will do.
const EXPECTED_FIELD: Kind =
    Kind::Either(&[Kind::Bool, Kind::AnyText("a value"), Kind::List(&Kind::AnyText("a value"))]);
/// Lines, each by a text that is in it.
const LINES: Kind = Kind::Either(&[Kind::Choice(&["none"]), Kind::List(&Kind::Text("a text"))]);

const HEADERS: Key = Key {
    name: "headers",
    kind: Kind::Fields(&FIELD),
    presence: Presence::Absent("no fields"),
    example: r#"{ x-tenant = "acme", accept = ["text/html", "*/*"] }"#,
    doc: "The fields. A list gives a field several lines.",
};

const EXPECTED_HEADERS: Key = Key {
    name: "headers",
    kind: Kind::Fields(&EXPECTED_FIELD),
    presence: Presence::Absent("any fields"),
    example: r#"{ x-tenant = "acme", x-api-key = false }"#,
    doc: "Fields as they are in the end; `false` if there is to be none of the name, `true` if any value will do.",
};

const EXPECTED_BODY: Key = Key {
    name: "body",
    kind: Kind::Either(&[Kind::AnyText("text"), Kind::Table(&EXPECTED_BYTES)]),
    presence: Presence::Absent("any body"),
    example: r#""no entry\n""#,
    doc: "The whole body as it leaves the policy, or a text that is in it.",
};

pub(super) static ROOT: Shape = Shape {
    noun: "the file",
    keys: &[
        Key {
            name: "plugin",
            kind: Kind::Text("`builtin:NAME` or a path"),
            presence: Presence::Absent("that of the command line"),
            example: r#""../target/wasm32-wasip2/release/tenant.wasm""#,
            doc: "The component that is tested. A path starts from the folder of the file.",
        },
        Key {
            name: "policy",
            kind: Kind::Table(&POLICY),
            presence: Presence::Absent("no settings, and every grant that the plugin imports"),
            example: r#"{ config = { tenants = { acme = "good" } } }"#,
            doc: "What `[policies.NAME]` of a gateway would have.",
        },
        Key {
            name: "secrets",
            kind: Kind::Fields(&Kind::Text("a value")),
            presence: Presence::Absent("no secrets"),
            example: r#"{ password = "only-for-tests" }"#,
            doc: "Secrets by name, with their values.",
        },
        Key {
            name: "http",
            kind: Kind::List(&Kind::Table(&HTTP)),
            presence: Presence::Absent("no server answers"),
            example: r#"[{ url = "https://auth.internal/check", status = 204 }]"#,
            doc: "What servers answer that the policy asks, in all cases. Nothing is sent.",
        },
        Key {
            name: "case",
            kind: Kind::List(&Kind::Table(&CASE)),
            presence: Presence::Required,
            example: r#"[{ name = "lets all through", request = { url = "/" } }]"#,
            doc: "The cases, usually each under `[[case]]`.",
        },
    ],
};

pub(super) static POLICY: Shape = Shape {
    noun: "`policy`",
    keys: &[
        CONFIG,
        Key {
            name: "grants",
            kind: Kind::Table(&GRANTS),
            presence: Presence::Absent("all that the plugin imports, and the servers of `http`"),
            example: "{ log = true, store = true }",
            doc: "What the plugin may use of the gateway.",
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
            example: r#""allow""#,
            doc: "What a fault of the policy means for the exchange.",
        },
        Key {
            name: "isolation",
            kind: Kind::Choice(&["exchange", "worker"]),
            presence: Presence::Absent("the cases run in both"),
            example: r#""worker""#,
            doc: "The one isolation that the cases run in.",
        },
    ],
};

const CONFIG: Key = Key {
    name: "config",
    kind: Kind::Any,
    presence: Presence::Absent("an empty table"),
    example: r#"{ header = "x-api-key" }"#,
    doc: "The plugin's configuration, checked against its schema.",
};

pub(super) static HTTP: Shape = Shape {
    noun: "an answer of `http`",
    keys: &[
        Key {
            name: "url",
            kind: Kind::Text("a URL"),
            presence: Presence::Required,
            example: r#""https://auth.internal/check""#,
            doc: "What is asked, without its query.",
        },
        Key {
            name: "method",
            kind: Kind::Text("a method"),
            presence: Presence::Absent("any method"),
            example: r#""POST""#,
            doc: "The method.",
        },
        Key {
            name: "status",
            kind: Kind::Integer { min: 200, max: 599 },
            presence: Presence::Default("200"),
            example: "204",
            doc: "The status.",
        },
        HEADERS,
        Key {
            name: "body",
            kind: VALUE,
            presence: Presence::Absent("an empty body"),
            example: r#""{}""#,
            doc: "The body.",
        },
        Key {
            name: "error",
            kind: Kind::Choice(&["busy", "connect", "protocol", "timeout", "too-large"]),
            presence: Presence::Absent("it answers"),
            example: r#""timeout""#,
            doc: "Why there is no answer.",
        },
    ],
};

pub(super) static BYTES: Shape = Shape {
    noun: "a value",
    keys: &[
        Key {
            name: "hex",
            kind: Kind::Text("hexadecimal digits"),
            presence: Presence::Absent("no bytes of it"),
            example: r#""00ff""#,
            doc: "The bytes.",
        },
        Key {
            name: "file",
            kind: Kind::Text("a path"),
            presence: Presence::Absent("no file"),
            example: r#""body.json""#,
            doc: "A file that has them.",
        },
        Key {
            name: "repeat",
            kind: Kind::Text("text"),
            presence: Presence::Absent("nothing is repeated"),
            example: r#""0123456789""#,
            doc: "Text that is repeated, for large bodies.",
        },
        Key {
            name: "times",
            kind: Kind::Integer { min: 1, max: 1 << 20 },
            presence: Presence::Default("1"),
            example: "100000",
            doc: "How many times.",
        },
    ],
};

pub(super) static EXPECTED_BYTES: Shape = Shape {
    noun: "a body",
    keys: &[
        Key {
            name: "contains",
            kind: Kind::Text("text"),
            presence: Presence::Absent("anything"),
            example: r#""no entry""#,
            doc: "Text that is in it.",
        },
        Key {
            name: "bytes",
            kind: Kind::Integer { min: 0, max: i64::MAX },
            presence: Presence::Absent("any length"),
            example: "1000000",
            doc: "Its length.",
        },
        Key {
            name: "hex",
            kind: Kind::Text("hexadecimal digits"),
            presence: Presence::Absent("any bytes"),
            example: r#""00ff""#,
            doc: "All of it, in hexadecimal digits.",
        },
        Key {
            name: "file",
            kind: Kind::Text("a path"),
            presence: Presence::Absent("any bytes"),
            example: r#""expected.json""#,
            doc: "A file that has all of it.",
        },
    ],
};

const REQUEST_KEY: Key = Key {
    name: "request",
    kind: Kind::Table(&REQUEST),
    presence: Presence::Required,
    example: r#"{ url = "/", headers = { x-tenant = "acme" } }"#,
    doc: "What the client sends.",
};

const RESPONSE_KEY: Key = Key {
    name: "response",
    kind: Kind::Table(&RESPONSE),
    presence: Presence::Absent("200 without fields and body"),
    example: r#"{ status = 404, body = "no such page\n" }"#,
    doc: "What the upstream answers, if the request is let through.",
};

const EXPECT_KEY: Key = Key {
    name: "expect",
    kind: Kind::Table(&EXPECT),
    presence: Presence::Absent("the request is let through, without a fault"),
    example: "{ reply = 403 }",
    doc: "What is to become of it.",
};

pub(super) static CASE: Shape = Shape {
    noun: "case",
    keys: &[
        Key {
            name: "name",
            kind: Kind::Text("a sentence"),
            presence: Presence::Required,
            example: r#""lets those in who have paid""#,
            doc: "What it shows.",
        },
        Key { presence: Presence::Absent("that of `policy`"), ..CONFIG },
        Key {
            name: "time",
            kind: Kind::Text("a time in UTC"),
            presence: Presence::Default(r#""2026-01-01T00:00:00Z""#),
            example: r#""2026-12-31T23:59:59Z""#,
            doc: "What the clocks of the policy say. Time stands still but for `after`.",
        },
        Key {
            name: "http",
            kind: Kind::List(&Kind::Table(&HTTP)),
            presence: Presence::Absent("those of the file"),
            example: r#"[{ url = "https://auth.internal/check", error = "timeout" }]"#,
            doc: "What servers answer in this case, before those of the file.",
        },
        REQUEST_KEY,
        RESPONSE_KEY,
        EXPECT_KEY,
        Key {
            name: "then",
            kind: Kind::List(&Kind::Table(&THEN)),
            presence: Presence::Absent("it is one exchange"),
            example: r#"[{ after = "1m", request = { url = "/" } }]"#,
            doc: "Further exchanges, usually each under `[[case.then]]`: with the same store, rate limits and metrics.",
        },
    ],
};

pub(super) static THEN: Shape = Shape {
    noun: "`then`",
    keys: &[
        Key {
            name: "after",
            kind: Kind::Duration { min: Duration::ZERO, max: AFTER_MAX },
            presence: Presence::Default(r#""0ms""#),
            example: r#""1m""#,
            doc: "How much time passes before it.",
        },
        REQUEST_KEY,
        RESPONSE_KEY,
        EXPECT_KEY,
    ],
};

pub(super) static REQUEST: Shape = Shape {
    noun: "`request`",
    keys: &[
        Key {
            name: "method",
            kind: Kind::Text("a method"),
            presence: Presence::Default(r#""GET""#),
            example: r#""POST""#,
            doc: "The method.",
        },
        Key {
            name: "url",
            kind: Kind::Text("a URL or a path"),
            presence: Presence::Required,
            example: r#""https://api.example.com/v1/users?page=2""#,
            doc: "The URL. For a path alone the host is `localhost`.",
        },
        HEADERS,
        Key {
            name: "body",
            kind: BODY,
            presence: Presence::Absent("no body"),
            example: r#"["{\"a\":", " 1}"]"#,
            doc: "The body. A list gives the pieces in which it arrives.",
        },
        Key {
            name: "client",
            kind: Kind::Text("an IP address"),
            presence: Presence::Default(r#""127.0.0.1""#),
            example: r#""203.0.113.7""#,
            doc: "The client's address.",
        },
        Key {
            name: "tls-server-name",
            kind: Kind::Text("a name"),
            presence: Presence::Absent("the host of the URL, if that is `https` and names no address"),
            example: r#""api.example.com""#,
            doc: "The name that the client asks for in TLS.",
        },
        Key {
            name: "client-certificate",
            kind: Kind::Table(&BYTES),
            presence: Presence::Absent("the client has shown none"),
            example: r#"{ file = "client.der" }"#,
            doc: "The certificate of the client that TLS has verified, in DER.",
        },
    ],
};

pub(super) static RESPONSE: Shape = Shape {
    noun: "`response`",
    keys: &[
        Key {
            name: "status",
            kind: Kind::Integer { min: 200, max: 599 },
            presence: Presence::Default("200"),
            example: "404",
            doc: "The status.",
        },
        HEADERS,
        Key {
            name: "body",
            kind: BODY,
            presence: Presence::Absent("no body"),
            example: r#"["first line\n", "second line\n"]"#,
            doc: "The body. A list gives the pieces in which it arrives.",
        },
    ],
};

pub(super) static EXPECT: Shape = Shape {
    noun: "`expect`",
    keys: &[
        Key {
            name: "reply",
            kind: Kind::Either(&[Kind::Integer { min: 200, max: 599 }, Kind::Table(&EXPECTED_RESPONSE)]),
            presence: Presence::Absent("the policy replies to nothing"),
            example: r#"{ status = 403, body = "who are you?\n" }"#,
            doc: "What the policy replies, in whichever hook.",
        },
        Key {
            name: "fault",
            kind: Kind::Either(&[FAULT_KIND, Kind::Table(&FAULT)]),
            presence: Presence::Absent("the policy does not fail"),
            example: r#"{ kind = "failed", message = "no such tenant" }"#,
            doc: "How the policy fails.",
        },
        Key {
            name: "refused",
            kind: Kind::Text("a text"),
            presence: Presence::Absent("`configure` takes its settings"),
            example: r#""tenants is empty""#,
            doc: "A part of what `configure` says of settings that it refuses. Then there is no exchange.",
        },
        Key {
            name: "request",
            kind: Kind::Table(&EXPECTED_REQUEST),
            presence: Presence::Absent("any request"),
            example: r#"{ path = "/v2/users", headers = { x-api-key = false } }"#,
            doc: "The request as it would be forwarded.",
        },
        Key {
            name: "response",
            kind: Kind::Table(&EXPECTED_RESPONSE),
            presence: Presence::Absent("any response"),
            example: r#"{ headers = { x-served-for = "acme" } }"#,
            doc: "The response as the client would get it.",
        },
        Key {
            name: "attributes",
            kind: Kind::Fields(&Kind::Either(&[Kind::Bool, Kind::AnyText("a value")])),
            presence: Presence::Absent("any attributes"),
            example: r#"{ tenant = "acme", plan = false }"#,
            doc: "Attributes as they are in the end; `false` if one is not to be set, `true` if any value will do.",
        },
        Key {
            name: "edits",
            kind: LINES,
            presence: Presence::Absent("any edits"),
            example: r#"["request - x-tenant", "attribute tenant"]"#,
            doc: "All edits, in order, each by a text that is in its line of `explain`; `\"none\"` if nothing is edited.",
        },
        Key {
            name: "log",
            kind: LINES,
            presence: Presence::Absent("any lines"),
            example: r#"["info: tenant acme"]"#,
            doc: "Lines that the policy logs by `log`, in order, each by a text that is in it; `\"none\"` if it logs nothing.",
        },
        Key {
            name: "calls",
            kind: LINES,
            presence: Presence::Absent("any calls"),
            example: r#"["store.get(key: \"acme\")"]"#,
            doc: "Calls of capabilities, in order, each by a text that is in its line of `explain`; `\"none\"` if there \
                  are none.",
        },
    ],
};

const FAULT_KIND: Kind =
    Kind::Choice(&["trap", "deadline", "memory", "invalid-return", "too-large", "timeout", "failed"]);

pub(super) static FAULT: Shape = Shape {
    noun: "`fault`",
    keys: &[
        Key {
            name: "kind",
            kind: FAULT_KIND,
            presence: Presence::Absent("any kind"),
            example: r#""failed""#,
            doc: "What sort of failure it is.",
        },
        Key {
            name: "message",
            kind: Kind::Text("a text"),
            presence: Presence::Absent("any message"),
            example: r#""no such tenant""#,
            doc: "A part of its message.",
        },
    ],
};

pub(super) static EXPECTED_REQUEST: Shape = Shape {
    noun: "`request` of `expect`",
    keys: &[
        Key {
            name: "method",
            kind: Kind::Text("a method"),
            presence: Presence::Absent("any method"),
            example: r#""GET""#,
            doc: "The method.",
        },
        Key {
            name: "path",
            kind: Kind::Text("a path"),
            presence: Presence::Absent("any path"),
            example: r#""/v2/users?page=2""#,
            doc: "Path and query.",
        },
        Key {
            name: "authority",
            kind: Kind::Text("a host"),
            presence: Presence::Absent("any host"),
            example: r#""api.example.com""#,
            doc: "Host and port.",
        },
        EXPECTED_HEADERS,
        EXPECTED_BODY,
    ],
};

pub(super) static EXPECTED_RESPONSE: Shape = Shape {
    noun: "an expected response",
    keys: &[
        Key {
            name: "status",
            kind: Kind::Integer { min: 200, max: 599 },
            presence: Presence::Absent("any status"),
            example: "403",
            doc: "The status.",
        },
        EXPECTED_HEADERS,
        EXPECTED_BODY,
    ],
};
