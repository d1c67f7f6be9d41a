use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CredentialFile, CredentialFiles, Credentials, Found};
use crate::error::Error;

/// Files with that content in a folder, in order.
fn files(dir: &tempfile::TempDir, contents: &[Value]) -> CredentialFiles {
    let file = |(number, content): (usize, &Value)| {
        let path = dir.path().join(format!("{number}.json"));
        std::fs::write(&path, content.to_string()).unwrap();
        CredentialFile { path, must_exist: false }
    };
    CredentialFiles(contents.iter().enumerate().map(file).collect())
}

fn find(contents: &[Value], host: &str, repository: &str) -> Result<Found, Error> {
    files(&tempfile::tempdir().unwrap(), contents).find(host, repository)
}

/// The user whose password is found.
fn user(auths: Value, host: &str, repository: &str) -> Option<String> {
    match find(&[json!({ "auths": auths })], host, repository).unwrap().credentials?.0 {
        Credentials::Password(user, password) => {
            assert_eq!(password.expose(), b"pass:word");
            Some(user)
        }
        other => panic!("{other:?}"),
    }
}

/// An entry of that user.
fn of(user: &str) -> Value {
    use base64::Engine as _;
    json!({ "auth": base64::engine::general_purpose::STANDARD.encode(format!("{user}:pass:word")) })
}

#[test]
fn the_entry_that_says_most_of_a_repository_counts() {
    let auths = json!({
        "r.test": of("host"), "r.test/team": of("team"), "r.test/team/auth": of("auth"), "r.test:5000": of("port"),
        "https://d.test/v1/": of("address"), "https://index.docker.io/v1/": of("docker"), "p.test/team": of("part"),
    });
    for (host, repository, expected) in [
        ("r.test", "team/auth", Some("auth")),
        ("r.test", "team/auth2", Some("team")),
        ("r.test", "team2/auth", Some("host")),
        ("r.test", "teams", Some("host")),
        ("r.test:5000", "team/auth", Some("port")),
        ("r.test:5001", "team/auth", None),
        ("d.test", "a", Some("address")),
        ("docker.io", "library/a", Some("docker")),
        ("p.test", "team/a", Some("part")),
        // Credentials for a part are used for no other part.
        ("p.test", "other", None),
        ("test", "a", None),
    ] {
        assert_eq!(user(auths.clone(), host, repository).as_deref(), expected, "{host}/{repository}");
    }
}

#[test]
fn reads_each_form_of_an_entry() {
    let form = |entry: Value| {
        find(&[json!({ "auths": { "r.test": entry } })], "r.test", "a").map(|found| {
            found.credentials.map(|(credentials, _)| match credentials {
                Credentials::Password(user, password) => {
                    format!("{user} {}", String::from_utf8_lossy(password.expose()))
                }
                Credentials::Identity(token) => {
                    format!("identity {}", String::from_utf8_lossy(token.expose()))
                }
                Credentials::Token(token) => format!("token {}", String::from_utf8_lossy(token.expose())),
            })
        })
    };
    // user:password, and with zeros behind it.
    assert_eq!(form(json!({ "auth": "dXNlcjpwYXNzd29yZA==" })).unwrap().unwrap(), "user password");
    assert_eq!(form(json!({ "auth": "dXNlcjpwYXNzd29yZAAA" })).unwrap().unwrap(), "user password");
    assert_eq!(form(json!({ "username": "user", "password": "p" })).unwrap().unwrap(), "user p");
    let identity = json!({ "auth": "PHRva2VuPjo=", "identitytoken": "refresh" });
    assert_eq!(form(identity).unwrap().unwrap(), "identity refresh");
    assert_eq!(form(json!({ "registrytoken": "abc" })).unwrap().unwrap(), "token abc");
    for empty in [
        json!({}),
        json!(null),
        json!({ "auth": "" }),
        json!({ "username": "user" }),
        json!({ "email": "x" }),
    ] {
        assert_eq!(form(empty.clone()).unwrap(), None, "{empty}");
    }
    for wrong in [
        json!({ "auth": "c2VjcmV0" }),
        json!({ "auth": "secret!" }),
        json!({ "auth": "/zpzZWNyZXQ=" }),
        json!({ "registrytoken": "secret\r\nx: y" }),
        json!({ "auth": ["secret"] }),
        json!("secret"),
    ] {
        let error = form(wrong.clone()).unwrap_err();
        let text = format!("{error} {error:?} {}", error.help());
        assert!(
            text.contains("0.json") && !text.contains("secret") && !text.contains("c2VjcmV0"),
            "{wrong}: {text}"
        );
    }
}

#[test]
fn the_first_file_that_knows_the_registry_counts() {
    let [other, first, second] = [
        json!({ "auths": { "o.test": of("other") } }),
        json!({ "auths": { "r.test": of("first") } }),
        json!({ "auths": { "r.test/a": of("second") } }),
    ];
    let found = find(&[json!({}), other, first, second], "r.test", "a").unwrap();
    let (credentials, path) = found.credentials.unwrap();
    assert!(matches!(credentials, Credentials::Password(user, _) if user == "first"));
    assert!(path.ends_with("2.json") && found.hint.is_none());
}

#[test]
fn programs_are_named_and_not_run() {
    for (content, expected) in [
        (json!({ "credHelpers": { "r.test": "ecr-login" } }), Some("docker-credential-ecr-login")),
        (
            json!({ "credHelpers": { "https://r.test": "gcloud\u{7}" } }),
            Some("docker-credential-gcloud\\u{7}"),
        ),
        (json!({ "credsStore": "desktop", "auths": { "r.test": {} } }), Some("docker-credential-desktop")),
        (json!({ "credHelpers": { "o.test": "ecr-login" } }), None),
        (json!({ "credsStore": "" }), None),
    ] {
        let found = find(std::slice::from_ref(&content), "r.test", "a").unwrap();
        assert!(found.credentials.is_none());
        match (found.hint, expected) {
            (Some(hint), Some(expected)) => {
                assert!(
                    hint.contains(expected) && hint.contains("0.json") && hint.contains("not run"),
                    "{hint}"
                );
            }
            (hint, expected) => assert_eq!(hint.as_deref(), expected, "{content}"),
        }
    }
    // What is written beside counts.
    let beside = json!({ "credsStore": "desktop", "auths": { "r.test": of("written") } });
    let found = find(&[beside], "r.test", "a").unwrap();
    assert!(found.credentials.is_some() && found.hint.is_none());
}

#[test]
fn what_is_there_must_be_readable_and_what_was_named_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let find = |path: PathBuf, must_exist: bool| {
        CredentialFiles(vec![CredentialFile { path, must_exist }]).find("r.test", "a")
    };
    let missing = dir.path().join("missing/auth.json");
    assert!(find(missing.clone(), false).unwrap().credentials.is_none());
    assert!(
        matches!(find(missing.clone(), true), Err(Error::CredentialFile { path, .. }) if path == missing)
    );
    let huge = dir.path().join("huge.json");
    std::fs::write(&huge, " ".repeat((1 << 20) + 1)).unwrap();
    assert!(find(huge, false).unwrap_err().to_string().contains("larger than 1048576 bytes"));
    assert!(find(dir.path().to_path_buf(), false).unwrap_err().to_string().contains("it is no file"));
    let broken = dir.path().join("broken.json");
    std::fs::write(&broken, "{\n  \"auths\": secret }").unwrap();
    let error = find(broken, false).unwrap_err();
    assert!(error.to_string().contains("line 2") && !format!("{error:?}").contains("secret"), "{error}");
}

proptest! {
    #[test]
    fn takes_any_entry(key in "\\PC{0,30}", auth in "\\PC{0,30}", host in "[a-z.:0-9]{1,20}") {
        let content: super::Content =
            serde_json::from_value(json!({ "auths": { key: { "auth": auth } }, "credHelpers": {} })).unwrap();
        let _found = content.find(&host, "team/auth");
    }
}
