use std::time::Duration;

use portcullis_sdk::testing::MockGateway;
use serde_json::json;

use super::*;

const JWK: &str = r#"{"kty": "RSA", "alg": "RS256", "kid": "1", "n": "sXch", "e": "AQAB"}"#;
const HEADER: &str = r#"{"alg": "RS256", "kid": "1"}"#;
/// The mock's clock begins at 2026-01-01T00:00:00Z.
const NOW: u64 = 1_767_225_600;

fn config(more: serde_json::Value) -> String {
    let mut config = json!({ "keys": format!(r#"{{"keys": [{JWK}]}}"#) });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config.to_string()
}

/// What becomes of a request with a token of these claims.
fn attempt(more: serde_json::Value, claims: &str) -> Result<(), String> {
    let gateway = MockGateway::new();
    let mut policy = gateway.configure::<Jwt>(&config(more)).unwrap();
    let token = gateway.sign_jws(JWK, HEADER, claims);
    let mut exchange = gateway.exchange("GET", "/").header("authorization", format!("Bearer {token}"));
    refusal(exchange.request_head(&mut policy))
}

fn refusal(decision: Decision) -> Result<(), String> {
    match decision {
        Decision::Next => Ok(()),
        Decision::Reply(reply) => {
            assert_eq!(reply.status, 401);
            let challenge = reply.headers.iter().find(|field| field.name == "www-authenticate").unwrap();
            Err(String::from_utf8(challenge.value.clone()).unwrap())
        }
        Decision::Fail(reason) => panic!("{reason}"),
    }
}

#[test]
fn a_valid_token_gets_in_and_its_claims_go_where_they_are_wanted() {
    let gateway = MockGateway::new();
    let more = json!({
        "attributes": { "tenant": "org" },
        "upstream-fields": { "X-User": "sub", "X-Groups": "groups", "X-None": "none" },
        "remove": true,
    });
    let mut policy = gateway.configure::<Jwt>(&config(more)).unwrap();
    let claims = format!(r#"{{"sub": "alice", "org": 7, "groups": ["a", "b"], "exp": {}}}"#, NOW + 60);
    let token = gateway.sign_jws(JWK, HEADER, claims);
    let mut exchange = gateway
        .exchange("GET", "/")
        .header("authorization", format!("bearer {token}"))
        .header("x-user", "mallory")
        .header("x-none", "mallory");
    assert_eq!(exchange.request_head(&mut policy), Decision::Next);
    assert_eq!(exchange.attribute_value("jwt.sub").as_deref(), Some("alice"));
    assert_eq!(exchange.attribute_value("tenant").as_deref(), Some("7"));
    assert_eq!(exchange.request_header("x-user").as_deref(), Some("alice"));
    assert_eq!(exchange.request_header("x-groups").as_deref(), Some("a,b"));
    assert_eq!(exchange.request_header("x-none"), None, "a claim that is not there is said by nobody");
    assert_eq!(exchange.request_header("authorization"), None);
}

#[test]
fn times_hold_with_leeway_and_not_a_second_longer() {
    let exp = |at: u64| attempt(json!({}), &format!(r#"{{"exp": {at}}}"#));
    assert!(exp(NOW + 1).is_ok() && exp(NOW - 29).is_ok());
    assert!(exp(NOW - 30).unwrap_err().contains("expired"));
    let nbf = |at: u64| attempt(json!({}), &format!(r#"{{"exp": {}, "nbf": {at}}}"#, NOW + 99));
    assert!(nbf(NOW + 30).is_ok());
    assert!(nbf(NOW + 31).unwrap_err().contains("not valid yet"));
    assert!(attempt(json!({ "leeway": 0 }), &format!(r#"{{"exp": {NOW}}}"#)).is_err());
    assert!(attempt(json!({}), "{}").unwrap_err().contains("no expiry"));
    assert!(attempt(json!({ "require-expiry": false }), "{}").is_ok());
    assert!(attempt(json!({}), r#"{"exp": "never"}"#).unwrap_err().contains("no number"));

    let gateway = MockGateway::new();
    let mut policy = gateway.configure::<Jwt>(&config(json!({}))).unwrap();
    let token = gateway.sign_jws(JWK, HEADER, format!(r#"{{"exp": {}}}"#, NOW + 1));
    let mut attempt = || {
        let field = format!("Bearer {token}");
        refusal(gateway.exchange("GET", "/").header("authorization", field).request_head(&mut policy))
    };
    assert!(attempt().is_ok());
    gateway.advance(Duration::from_secs(31));
    assert!(attempt().is_err());
}

#[test]
fn issuer_and_audience_must_be_the_wanted_ones() {
    let with = |claims: &str| {
        let rules = json!({ "issuer": "https://id.test", "audience": ["a", "b"], "require-expiry": false });
        attempt(rules, claims)
    };
    assert!(with(r#"{"iss": "https://id.test", "aud": "b"}"#).is_ok());
    assert!(with(r#"{"iss": "https://id.test", "aud": ["x", "a"]}"#).is_ok());
    for claims in
        [r#"{"aud": "a"}"#, r#"{"iss": "https://id.test/", "aud": "a"}"#, r#"{"iss": 7, "aud": "a"}"#]
    {
        assert!(with(claims).unwrap_err().contains("issuer"), "{claims}");
    }
    for aud in [r#""c""#, "[]", "[7]", "null", r#"{"a": 1}"#] {
        let claims = format!(r#"{{"iss": "https://id.test", "aud": {aud}}}"#);
        assert!(with(&claims).unwrap_err().contains("audience"), "{aud}");
    }
}

#[test]
fn what_is_no_valid_token_is_refused_with_the_reason() {
    let gateway = MockGateway::new();
    let mut policy = gateway.configure::<Jwt>(&config(json!({}))).unwrap();
    let mut not_text = gateway.exchange("GET", "/").header("authorization", b"Bearer a.b.c\xff");
    assert!(refusal(not_text.request_head(&mut policy)).unwrap_err().contains("not text"));
    let mut with = |values: &[&str]| {
        let exchange = gateway.exchange("GET", "/");
        let mut exchange =
            values.iter().fold(exchange, |exchange, value| exchange.header("authorization", value));
        refusal(exchange.request_head(&mut policy)).unwrap_err()
    };
    assert_eq!(with(&[]), "Bearer");
    assert_eq!(with(&["Basic YTpi"]), "Bearer");
    assert!(with(&["Bearer x"]).contains("cannot be read"));
    let good = gateway.sign_jws(JWK, HEADER, format!(r#"{{"exp": {}}}"#, NOW + 60));
    assert!(with(&[&format!("Bearer {good}"), "Bearer x"]).contains("more than one"));
    let other = JWK.replace("sXch", "sXci");
    let forged = gateway.sign_jws(&other, HEADER, "{}");
    assert!(with(&[&format!("Bearer {forged}")]).contains("signature is wrong"));
    let unknown = gateway.sign_jws(JWK, r#"{"alg": "RS256", "kid": "2"}"#, "{}");
    assert!(with(&[&format!("Bearer {unknown}")]).contains("no key"));
    let list = gateway.sign_jws(JWK, HEADER, "[]");
    assert!(with(&[&format!("Bearer {list}")]).contains("no JSON object"));
}

#[test]
fn a_secret_checks_tokens_without_being_seen() {
    let gateway = MockGateway::new().secret("shared", [7; 32]);
    let config = r#"{"secret": "shared", "header": "x-token", "require-expiry": false}"#;
    let mut policy = gateway.configure::<Jwt>(config).unwrap();
    let jwk = r#"{"kty": "oct", "k": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"}"#;
    let token = gateway.sign_jws(jwk, r#"{"alg": "HS256"}"#, "{}");
    let mut exchange = gateway.exchange("GET", "/").header("x-token", token);
    assert_eq!(exchange.request_head(&mut policy), Decision::Next);
}

#[test]
fn keys_that_say_their_algorithm_keep_it_beside_those_that_do_not() {
    let gateway = MockGateway::new();
    let open = JWK.replace(r#""alg": "RS256", "kid": "1""#, r#""kid": "open""#);
    let said = JWK.replace("RS256", "RS512").replace(r#""kid": "1""#, r#""kid": "said""#);
    let curve = r#"{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "curve", "x": "a", "y": "b"}"#;
    let unusable = r#"{"kty": "RSA", "use": "enc", "kid": "enc", "n": "a", "e": "AQAB"}"#;
    let set = format!(r#"{{"keys": [{open}, {said}, {unusable}, {curve}]}}"#);
    let config = json!({ "keys": set, "algorithm": "RS256", "require-expiry": false }).to_string();
    let mut policy = gateway.configure::<Jwt>(&config).unwrap();
    let signing = open.replace(r#""kid""#, r#""alg": "RS256", "kid""#);
    for (key, alg, kid) in
        [(signing.as_str(), "RS256", "open"), (&said, "RS512", "said"), (curve, "ES256", "curve")]
    {
        let header = format!(r#"{{"alg": "{alg}", "kid": "{kid}"}}"#);
        let token = gateway.sign_jws(key, &header, r#"{"sub": "a"}"#);
        let mut exchange = gateway.exchange("GET", "/").header("authorization", format!("Bearer {token}"));
        assert_eq!(refusal(exchange.request_head(&mut policy)), Ok(()), "{kid}");
    }
}

#[test]
fn a_token_that_could_be_read_in_two_ways_is_refused() {
    let more = || json!({ "require-expiry": false, "upstream-fields": { "x-roles": "roles" } });
    for claims in [
        r#"{"sub": "bob", "sub": "alice"}"#,
        r#"{"exp": 1, "exp": 99999999999}"#,
        r#"{"roles": ["user,admin"]}"#,
        r#"{"roles": ["user", ""]}"#,
        r#"{"roles": [" user"]}"#,
    ] {
        assert!(attempt(more(), claims).unwrap_err().contains("invalid_token"), "{claims}");
    }
    for claims in
        [r#"{"roles": ["user", "admin"]}"#, r#"{"roles": []}"#, r#"{"roles": "a,b"}"#, r#"{"a": {"b": 1}}"#]
    {
        assert_eq!(attempt(more(), claims), Ok(()), "{claims}");
    }
}

#[test]
fn refuses_settings_that_cannot_work() {
    let refused = |config: &str| MockGateway::new().configure::<Jwt>(config).unwrap_err();
    assert!(refused("{}").contains("there is no key"));
    assert!(refused(r#"{"keys": "{\"keys\": []}"}"#).contains("no key in it"));
    assert!(
        refused(r#"{"keys-file": "\n-----BEGIN PUBLIC KEY-----\nMII"}"#)
            .starts_with("/keys-file: this is PEM;")
    );
    assert!(refused(r#"{"keys": "x"}"#).starts_with("/keys: "));
    assert!(refused(r#"{"secret": "x"}"#).contains("no secret of that name"));
    assert!(refused(r#"{"secret": "x", "algorithm": "none"}"#).contains("`none`"));
    assert!(refused(&config(json!({ "upstream-fields": { "host": "sub" } }))).contains("`host`"));
}
