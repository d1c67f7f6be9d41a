use portcullis_model::{Name, Secret};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Scrubber, redact};

fn record() -> Value {
    let field = |name: &str, value: &str| json!({ "name": name, "value": value });
    json!({
        "request": {
            "target": "/a?b=c&access_token=tok-12345678&x=y",
            "fields": [
                field("accept", "*/*"),
                field("authorization", "Bearer abcdefgh12345678"),
                field("cookie", "theme=dark; sid=0123456789abcdef"),
                field("x-own", "own-key-87654321"),
            ],
        },
        "response": { "status": 200, "fields": [field("set-cookie", "sid=fedcba9876543210"), field("etag", "1")] },
        "policies": [{ "name": "keys", "secrets": ["db"], "config": { "header": "x-own", "client-secret": "s3cr3t" } }],
        "hooks": [{
            "decision": { "decision": "next" },
            "edits": [
                { "edit": "request-header", "name": "x-own", "before": ["own-key-87654321"], "after": [] },
                { "edit": "request-header", "name": "x-db", "before": [], "after": ["pw=database-password"] },
                { "edit": "attribute", "name": "oidc.id-token", "value": "eyJabc" },
            ],
            "calls": [
                { "function": "rate-limit.check", "arguments": { "bucket": "k:own-key-87654321" }, "result": null },
                { "function": "store.get", "arguments": { "key": "0123456789abcdef" }, "result": null },
            ],
        }],
    })
}

fn redacted(keep: &[&str]) -> Value {
    let secrets = [(Name::from("db"), Secret::new(b"database-password".as_slice()))];
    let scrubber = Scrubber::of_secrets(secrets.iter().map(|(name, secret)| (name, secret)));
    let keep: Vec<String> = keep.iter().map(ToString::to_string).collect();
    let mut record = record();
    redact(&mut record, scrubber, &keep);
    record
}

#[test]
fn credentials_are_gone_wherever_they_stood() {
    let record = redacted(&[]);
    let text = record.to_string();
    for secret in [
        "abcdefgh12345678",
        "0123456789abcdef",
        "fedcba9876543210",
        "own-key-87654321",
        "tok-12345678",
        "database-password",
        "s3cr3t",
        "eyJabc",
    ] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert_eq!(record["request"]["target"], "/a?b=c&access_token=[removed:access_token]&x=y");
    assert_eq!(record["request"]["fields"][0]["value"], "*/*");
    assert_eq!(record["hooks"][0]["calls"][0]["arguments"]["bucket"], "k:[removed:x-own]");
    assert_eq!(record["hooks"][0]["calls"][1]["arguments"]["key"], "[removed:cookie]");
    assert_eq!(record["hooks"][0]["edits"][1]["after"][0], "pw=[secret:db]");
    assert_eq!(
        record["removed"],
        json!([
            "attribute oidc.id-token",
            "config keys",
            "request.header authorization",
            "request.header cookie",
            "request.header x-own",
            "request.query",
            "response.header set-cookie",
            "secret db",
        ])
    );
}

#[test]
fn what_was_computed_of_a_credential_is_gone_as_well() {
    let call = |function: &str, data: &str, result: Value| json!({ "function": function, "arguments": { "data": data }, "result": { "ok": result } });
    let mut record = record();
    record["hooks"][0]["calls"] = json!([
        call("crypto.digest", "own-key-87654321", json!({ "hex": "c0ffee" })),
        call("crypto.digest", "/a", json!("digest of a path")),
        call("crypto.mac", "/a", json!("[removed:crypto]")),
        call("crypto.verify", "own-key-87654321", json!(true)),
        call("crypto.verify-jws", "abcdefgh12345678", json!({ "payload": "{}" })),
    ]);
    redact(&mut record, Scrubber::default(), &[]);
    let results: Vec<&Value> =
        record["hooks"][0]["calls"].as_array().unwrap().iter().map(|call| &call["result"]["ok"]).collect();
    let mark = json!("[removed:crypto]");
    assert_eq!(
        results,
        [&mark, &json!("digest of a path"), &mark, &json!(true), &json!({ "payload": "{}" })]
    );
    let removed = record["removed"].as_array().unwrap();
    assert!(
        removed.contains(&json!("crypto.digest")) && removed.contains(&json!("crypto.mac")),
        "{removed:?}"
    );
}

#[test]
fn a_field_is_kept_where_that_was_asked_for() {
    let record = redacted(&["Authorization", "x-own"]);
    assert_eq!(record["request"]["fields"][1]["value"], "Bearer abcdefgh12345678");
    assert_eq!(record["hooks"][0]["edits"][0]["before"][0], "own-key-87654321");
    assert!(!record.to_string().contains("0123456789abcdef"));
}

#[test]
fn what_is_not_there_is_nothing_to_remove() {
    let mut record = json!({ "request": { "target": "/a?", "fields": [] }, "hooks": [], "policies": [], "response": null });
    redact(&mut record, Scrubber::default(), &[]);
    assert_eq!(record["removed"], json!([]));
    assert_eq!(record["response"], json!(null), "and nothing is put there");
}

/// A record of one hook.
fn of_hook(target: &str, fields: Value, config: Value, edits: Value, calls: Value) -> Value {
    json!({
        "request": { "target": target, "fields": fields },
        "response": null,
        "policies": [{ "name": "keys", "secrets": [], "config": config }],
        "hooks": [{ "hook": "on-request-head", "decision": { "decision": "next" }, "edits": edits, "calls": calls }],
    })
}

#[test]
fn a_parameter_that_a_policy_took_away_is_gone() {
    let edits = json!([{ "edit": "target", "value": "/q?page=2" }]);
    let calls = json!([{ "function": "crypto.digest", "arguments": { "data": "demo key/123" }, "result": { "ok": "x" } }]);
    let target = "/q?page=2&my%2Dway=demo%20key%2F123";
    let mut record = of_hook(target, json!([]), json!({}), edits, calls);
    redact(&mut record, Scrubber::default(), &[]);
    assert_eq!(record["request"]["target"], "/q?page=2&my%2Dway=[removed:my-way]");
    assert_eq!(record["hooks"][0]["calls"][0]["arguments"]["data"], "[removed:my-way]");
    assert_eq!(record["hooks"][0]["edits"][0]["value"], "/q?page=2", "what is left stays");
    assert_eq!(record["removed"], json!(["crypto.digest", "request.query"]));
}

#[test]
fn what_the_settings_name_is_gone_whatever_it_is_called() {
    let fields = json!([
        { "name": "x-mine", "value": "mine-87654321" },
        { "name": "x-shown", "value": "shown-87654321" },
        { "name": "accept", "value": "*/*" },
    ]);
    let config = json!({ "header": "X-Mine", "query": "q1", "auth": { "request-fields": ["x-shown"] }, "rate": "1/s" });
    let mut record = of_hook("/?q1=query-87654321&q2=stays", fields, config, json!([]), json!([]));
    redact(&mut record, Scrubber::default(), &[]);
    let text = record.to_string();
    assert!(!text.contains("87654321") && text.contains("q2=stays") && text.contains("*/*"), "{text}");
    assert_eq!(record["policies"][0]["config"]["header"], "X-Mine", "the name is none");
}

#[test]
fn what_was_verified_is_gone_wherever_it_came_from() {
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLWl0";
    let fields =
        json!([{ "name": "x-odd", "value": format!("v1 {token}") }, { "name": "accept", "value": "*/*" }]);
    let call = |function: &str, arguments: Value| json!({ "function": function, "arguments": arguments, "result": { "ok": true } });
    let body_token = "eyJhbGciOiJub25lIn0.eyJib2R5IjoxfQ.Zm9yLW9uZS1ib2R5";
    let calls = json!([
        call("crypto.verify-jws", json!({ "token": token, "keys": [1] })),
        call("crypto.verify-jws", json!({ "token": body_token, "keys": [1] })),
        call("crypto.verify", json!({ "key": 1, "message": "what a webhook signs", "signature-bytes": 32 })),
        call("store.get", json!({ "key": format!("seen {body_token}") })),
        call("store.get", json!({ "key": "seen eyJzdWIiOiJhbGljZSJ9" })),
    ]);
    let mut record = of_hook("/", fields, json!({}), json!([]), calls);
    redact(&mut record, Scrubber::default(), &[]);
    let text = record.to_string();
    for part in token.split('.').chain(body_token.split('.')).chain(["what a webhook signs"]) {
        assert!(!text.contains(part), "{part} in {text}");
    }
    // If the request has it, the mark is that of the field: a replay with it makes the same calls.
    assert_eq!(record["request"]["fields"][0]["value"], "[removed:x-odd]");
    assert_eq!(record["hooks"][0]["calls"][0]["arguments"]["token"], "[removed:x-odd]");
    assert_eq!(record["hooks"][0]["calls"][1]["arguments"]["token"], "[removed:crypto]");
    assert_eq!(record["removed"], json!(["crypto.verify", "crypto.verify-jws", "request.header x-odd"]));
}

#[test]
fn addresses_and_forms_have_no_credentials() {
    let fields = json!([{ "name": "referer", "value": "https://a.test/in?code=c0de-1234567&page=1" }]);
    let config = json!({ "url": "https://user:pa55word-1@a.test/verify?k=1&api_key=key-12345678" });
    let calls = json!([
        { "function": "http-client.send",
          "arguments": { "method": "POST", "url": "https://a.test/?sig=s1g-1234567&a=b", "headers": [], "body": "grant_type=x&client_secret=s3cret-1234567", "timeout-ms": 1 },
          "result": { "ok": { "status": 200, "headers": [["location", "https://a.test/?token=t0ken-1234567"]], "body": "pa55word-1" } } },
    ]);
    let mut record = of_hook("/", fields, config, json!([]), calls);
    record["hooks"][0]["input"] = json!({ "chunk": "user=alice&password=hunter2-hunter2", "last": true });
    redact(&mut record, Scrubber::default(), &[]);
    let text = record.to_string();
    for secret in [
        "c0de-1234567",
        "pa55word-1",
        "key-12345678",
        "s1g-1234567",
        "s3cret-1234567",
        "t0ken-1234567",
        "hunter2",
    ] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    for left in
        ["page=1", "grant_type=x", "user=alice", "a=b", "https://[removed:userinfo]@a.test/verify?k=1"]
    {
        assert!(text.contains(left), "no {left} in {text}");
    }
}

#[test]
fn keys_that_sign_are_gone_and_public_ones_stay() {
    let keys = json!({ "keys": [
        { "kty": "oct", "k": "symmetric-key-12345678" },
        { "kty": "RSA", "n": "public-modulus", "e": "AQAB", "d": "private-exponent-1234" },
    ] });
    let config = json!({ "keys": keys.to_string(), "set": keys, "keys-file": { "text": keys.to_string() } });
    let mut record = of_hook("/", json!([]), config, json!([]), json!([]));
    redact(&mut record, Scrubber::default(), &[]);
    let text = record.to_string();
    assert!(!text.contains("symmetric-key") && !text.contains("private-exponent"), "{text}");
    assert!(text.contains("public-modulus"), "{text}");
    assert_eq!(record["removed"], json!(["config keys"]));
}

fn percent(text: &str, upper: bool, all: bool) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' if !all => {
            char::from(byte).to_string()
        }
        _ if upper => format!("%{byte:02X}"),
        _ => format!("%{byte:02x}"),
    };
    text.bytes().map(encode).collect()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let four = |three: &[u8]| {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        let letter = move |at: usize| match at <= three.len() {
            true => char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize]),
            false => '=',
        };
        [letter(0), letter(1), letter(2), letter(3)]
    };
    bytes.chunks(3).flat_map(four).collect()
}

/// The ways in which a credential may stand in a text.
fn encodings(credential: &str, user: &str) -> Vec<String> {
    let json = json!(credential).to_string();
    let unicode: String = credential.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    vec![
        credential.to_owned(),
        percent(credential, true, false),
        percent(credential, false, false),
        percent(credential, true, true),
        percent(credential, true, false).replace("%20", "+"),
        percent(&percent(credential, true, false), true, false),
        json[1..json.len() - 1].to_owned(),
        unicode,
        base64(format!("{user}:{credential}").as_bytes()),
        base64(credential.as_bytes()),
        portcullis_model::text::hex(credential.as_bytes()),
    ]
}

proptest! {
    #[test]
    fn whatever_an_operator_calls_it_a_credential_is_nowhere_in_any_encoding(
        name in "[a-z][a-z0-9-]{0,11}",
        credential in "[a-zA-Z0-9 !-/:-@\\[-`{-~äö]{14,40}",
        user in "[a-z]{1,9}",
        place in 0..6_u8,
        written in 0..5_usize,
    ) {
        // What stands for something else between words of a cookie is no single credential.
        prop_assume!(credential.trim() == credential && name != "b");
        let all = encodings(&credential, &user);
        let in_query = format!("/a?b=c&{name}={}", [&all[1], &all[2], &all[3], &all[4], &all[1]][written]);
        let field = |name: &str, value: &str| json!([{ "name": name, "value": value }]);
        let (mut target, mut fields, mut config, mut edits) = ("/a?b=c".to_owned(), json!([]), json!({}), json!([]));
        match place {
            // Taken away by a policy, named by its settings, or recognisable by its name.
            0 => (target, edits) = (in_query, json!([{ "edit": "target", "value": "/a?b=c" }])),
            1 => (target, config) = (in_query, json!({ "query": name })),
            2 => {
                fields = field(&name, &credential);
                edits = json!([{ "edit": "request-header", "name": name, "before": [credential], "after": [] }]);
            }
            3 => (fields, config) = (field(&name, &credential), json!({ "token-header": name })),
            4 => fields = field("authorization", &format!("Basic {}", all[8])),
            _ => fields = field("cookie", &format!("a=b; sid={credential}")),
        }
        prop_assume!(place != 5 || !credential.contains([';', ',', '=', '"', ' ', '.', ':', '&']));
        let texts: Vec<String> = all.iter().map(|text| format!("at {text} of it")).collect();
        let calls = json!([
            { "function": "store.set", "arguments": { "key": texts[0], "value": texts.join(" | ") }, "result": all },
            { "function": "http-client.send", "arguments": { "url": format!("https://a.test/{}?x={}", all[3], all[1]) }, "result": null },
        ]);
        let mut record = of_hook(&target, fields, config, edits, calls);
        redact(&mut record, Scrubber::default(), &[]);
        let text = record.to_string();
        let json_text = json!(credential).to_string();
        for form in all.iter().chain([&json_text[1..json_text.len() - 1].to_owned()]) {
            prop_assert!(!text.contains(form.as_str()), "{} in {}", form, text);
            let escaped = json!(form).to_string();
            prop_assert!(!text.contains(&escaped[1..escaped.len() - 1]), "{} in {}", form, text);
        }
    }
}
