//! What a record has of credentials whose names the operator chose.

use serde_json::Value;

use crate::harness::{TestClient, TestGateway, TestUpstream, eventually, portcullis_in};
use crate::setup::{config, digest};

/// Of RFC 7515, A.1: the key and the token that it signed.
const JWKS: &str = r#"{ "keys": [{ "kty": "oct", "alg": "HS256", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow" }] }"#;
const TOKEN: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// A key with what is written in other ways in a query.
const KEY: &str = "demo+key/123 456";

#[tokio::test]
async fn no_credential_is_in_a_record_whatever_the_operator_calls_it() {
    let upstream = TestUpstream::named("app").await;
    let policies = format!(
        "[policies.keys]\nplugin = \"builtin:api-key\"\n\
         config = {{ query = \"door\", keys = [{{ name = \"alice\", sha256 = \"{}\" }}] }}\n\
         [policies.tokens]\nplugin = \"builtin:jwt\"\ngrants = {{ crypto = true, clock = true }}\n\
         config = {{ keys-file = \"jwks.json\", header = \"x-pass-me\", remove = false }}\n",
        digest(KEY)
    );
    let gateway = TestGateway::builder()
        .file("jwks.json", JWKS)
        .start(&config(upstream.address(), &["keys", "tokens"], &policies))
        .await;
    let dir = gateway.dir().to_path_buf();
    let recording =
        tokio::spawn(
            async move { portcullis_in(&dir, ["record", "--route", "all", "--out", "records"]).await },
        );
    let address = gateway.address("web");
    eventually("an exchange is recorded", async || {
        let mut client = TestClient::h1(address).await;
        let headers = [("x-pass-me", TOKEN), ("referer", "https://a.test/?page=1&access_token=tok-11223344")];
        client.get_with("/?page=2&door=demo%2Bkey%2f123+456", &headers).await;
        recording.is_finished().then_some(())
    })
    .await;
    let ran = recording.await.unwrap();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let text = std::fs::read_to_string(gateway.dir().join(ran.stdout.trim())).unwrap();
    let secrets = TOKEN.split('.').chain([
        "demo",
        "123",
        "456",
        "tok-11223344",
        &TOKEN[..30],
        "AyM1SysPpbyDfgZld3umj1qz",
    ]);
    // Digits of addresses, times and digests are not those of the key.
    for secret in secrets.filter(|secret| secret.len() > 3) {
        assert!(!text.contains(secret), "{secret} in:\n{text}");
    }
    let record: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(record["request"]["target"], "/?page=2&door=[removed:door]");
    let removed = record["removed"].to_string();
    for what in ["request.query", "request.header x-pass-me", "request.header referer"] {
        assert!(removed.contains(what), "no {what} in {removed}");
    }
    let calls: Vec<&Value> = record["hooks"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|hook| hook["calls"].as_array().unwrap())
        .collect();
    let verified =
        calls.iter().find(|call| call["function"] == "crypto.verify-jws").expect("it was verified");
    assert_eq!(verified["arguments"]["token"], "[removed:x-pass-me]");
}
