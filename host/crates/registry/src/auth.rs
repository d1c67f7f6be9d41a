//! Authentication to a registry: `WWW-Authenticate` (RFC 9110, 11.6.1), and tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portcullis_model::Secret;
use serde::Deserialize;

/// The longest token, in characters: those of some registries have several thousand.
const TOKEN_MAX: usize = 32 << 10;

/// How to authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// With user and password.
    Basic,
    /// With a token, which `realm` issues.
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// Returns the first challenge of a field that is supported.
    pub(crate) fn parse(field: &str) -> Option<Self> {
        let mut rest = field.trim_start();
        while !rest.is_empty() {
            let (scheme, after) = rest.split_once(' ').unwrap_or((rest, ""));
            let (parameters, next) = parameters(after);
            let value = |name: &str| {
                parameters
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = value("realm")
            {
                return Some(Self::Bearer { realm, service: value("service") });
            }
            if scheme.eq_ignore_ascii_case("basic") {
                return Some(Self::Basic);
            }
            if next.len() >= rest.len() {
                return None;
            }
            rest = next.trim_start();
        }
        None
    }
}

/// Returns the parameters at the start of `text`, and what follows them: the next challenge.
fn parameters(mut text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        let Some((name, after)) = text.split_once('=') else { return (found, "") };
        // A blank within a name: another scheme begins.
        if name.contains([' ', '\t', ',']) {
            return (found, text);
        }
        let Some((value, rest)) = value(after) else { return (found, "") };
        found.push((name.to_owned(), value));
        text = rest;
    }
}

/// Returns a token or a quoted string, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text.get(..end)?.to_owned(), text.get(end..)?));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

/// Returns the value of `Authorization` for user and password (RFC 7617).
pub(crate) fn basic((user, password): &(String, Secret)) -> String {
    let mut pair = user.as_bytes().to_vec();
    pair.push(b':');
    pair.extend_from_slice(password.expose());
    format!("Basic {}", BASE64.encode(&pair))
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

/// Returns the value of `Authorization` with the token from a token server's answer.
pub(crate) fn bearer(answer: &[u8]) -> Option<String> {
    let answer: TokenAnswer = serde_json::from_slice(answer).ok()?;
    bearer_with(&answer.token.or(answer.access_token)?)
}

/// Returns the value of `Authorization` with this token.
pub(crate) fn bearer_of(token: &Secret) -> Option<String> {
    bearer_with(str::from_utf8(token.expose()).ok()?)
}

fn bearer_with(token: &str) -> Option<String> {
    let fits =
        !token.is_empty() && token.len() <= TOKEN_MAX && token.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| format!("Bearer {token}"))
}

#[cfg(test)]
mod tests {
    use portcullis_model::Secret;
    use proptest::prelude::*;

    use super::{Challenge, basic, bearer};

    #[test]
    fn reads_challenges() {
        let field = r#"Bearer realm="https://auth.test/token?a=b,c",service="registry \"x\"", scope="repository:a:pull,push""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.test/token?a=b,c".into(),
            service: Some("registry \"x\"".into()),
        };
        assert_eq!(Challenge::parse(field), Some(expected));
        assert_eq!(Challenge::parse(r#"Basic realm="x""#), Some(Challenge::Basic));
        let several = r#"Negotiate, Digest realm="d", qop=auth, bearer realm=https://a.test/"#;
        assert_eq!(
            Challenge::parse(several),
            Some(Challenge::Bearer { realm: "https://a.test/".into(), service: None })
        );
        for field in ["", "Bearer", "Bearer service=x", "Digest realm=\"x\"", "Bearer realm=\"x"] {
            assert_eq!(Challenge::parse(field), None, "{field}");
        }
    }

    #[test]
    fn reads_tokens_that_fit_a_field() {
        assert_eq!(bearer(br#"{"token":"a.b"}"#).unwrap(), "Bearer a.b");
        assert_eq!(bearer(br#"{"access_token":"c","expires_in":60}"#).unwrap(), "Bearer c");
        for answer in
            ["", "{}", r#"{"token":""}"#, r#"{"token":"a\r\nx: y"}"#, r#"{"token":"a b"}"#, r#"{"token":3}"#]
        {
            assert_eq!(bearer(answer.as_bytes()), None, "{answer}");
        }
        assert_eq!(
            basic(&("Aladdin".into(), Secret::new(&b"open sesame"[..]))),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
    }

    proptest! {
        #[test]
        fn takes_any_field(field in "[ -~]{0,80}", commas in "[a-zA-Z ,=\"\\\\]{0,60}") {
            let _challenges = (Challenge::parse(&field), Challenge::parse(&commas));
        }
    }
}
