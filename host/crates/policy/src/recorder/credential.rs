//! What is taken for a credential by its name: the one list of notes, records, replays, comparisons and explanations.

/// Parts of a name, in lower case with `-` between words, that say so wherever they stand.
const PARTS: [&str; 15] = [
    "authorization",
    "cookie",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "session",
    "credential",
    "signature",
    "assertion",
    "certificate",
    "bearer",
    "saml",
];

/// What a word of a name ends with that says so: `x-key`, `accessKey` and `subscription_key`, but not `keyword`.
const WORD_ENDS: [&str; 18] = [
    "key", "keys", "auth", "authn", "authz", "cert", "csrf", "xsrf", "hmac", "jwt", "jws", "otp", "pass",
    "passcode", "pwd", "sid", "sig", "ticket",
];

/// Names of parameters that say so as a whole: what OAuth and OpenID Connect carry in queries.
const PARAMETERS: [&str; 3] = ["code", "state", "nonce"];

/// How the names of settings end that have a credential for their value. A setting that ends with `key` has mostly
/// the name of something.
const SETTING_ENDS: [&str; 8] =
    ["secret", "password", "passphrase", "token", "private-key", "api-key", "credential", "authorization"];

/// How the names of settings end that say in which field, parameter or cookie of a request a credential stands.
const NAMING_ENDS: [&str; 7] =
    ["header", "headers", "query", "cookie", "parameter", "request-fields", "field"];

/// Returns whether the value of what has this name (a field, an attribute) is taken for a credential, which notes
/// that leave the gateway must not have. Rather one too many: a record is for looking at, and may be pasted anywhere.
#[must_use]
pub fn is_credential(name: &str) -> bool {
    let lower = normal(name);
    if PARTS.iter().any(|part| lower.contains(part)) {
        return true;
    }
    let is_end = |word: &str| WORD_ENDS.iter().any(|end| word.ends_with(end));
    lower.split(|char: char| !char.is_alphanumeric()).any(is_end)
}

/// The same for a parameter of a query or a form.
#[must_use]
pub fn is_credential_parameter(name: &str) -> bool {
    is_credential(name) || PARAMETERS.contains(&name.to_ascii_lowercase().as_str())
}

/// Returns whether the setting of a policy that has this name has a credential for its value.
#[must_use]
pub fn is_credential_setting(name: &str) -> bool {
    let name = normal(name);
    SETTING_ENDS.iter().any(|end| name.ends_with(end))
}

/// Returns whether the setting of a policy that has this name names the part of a request that carries a credential,
/// as `header` and `query` of `api-key` do: what it names is a credential, whatever it is called.
#[must_use]
pub fn names_credentials(setting: &str) -> bool {
    let name = normal(setting);
    NAMING_ENDS.iter().any(|end| {
        let before = name.strip_suffix(end);
        before.is_some_and(|before| before.is_empty() || before.ends_with('-'))
    })
}

/// What stands in the place of a value that was removed: a value like another, with which a policy can run again.
#[must_use]
pub fn mark(name: &str) -> String {
    format!("[removed:{name}]")
}

/// Returns whether `text` is a mark and nothing else.
#[must_use]
pub fn is_mark(text: &str) -> bool {
    let inside = ["[removed:", "[secret:"].iter().find_map(|begin| text.strip_prefix(begin));
    inside.and_then(|inside| inside.strip_suffix(']')).is_some_and(|name| !name.contains(['[', ']']))
}

/// In lower case, with `-` before each word: `apiKey` and `API_KEY` are `api-key`.
fn normal(name: &str) -> String {
    let mut normal = String::with_capacity(name.len() + 4);
    let mut before = None;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && before.is_some_and(|before: char| before.is_ascii_lowercase()) {
            normal.push('-');
        }
        normal.push(if letter == '_' { '-' } else { letter.to_ascii_lowercase() });
        before = Some(letter);
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::{
        is_credential, is_credential_parameter, is_credential_setting, is_mark, mark, names_credentials,
    };

    #[test]
    fn names_tell() {
        for name in [
            "authorization",
            "Proxy-Authorization",
            "X-API-Key",
            "x_api_key",
            "apikey",
            "apiKey",
            "subscription-key",
            "Ocp-Apim-Subscription-Key",
            "accessKey",
            "AWSAccessKeyId",
            "X-Amz-Signature",
            "x-amz-security-token",
            "x-jwt",
            "x-jwt-assertion",
            "sig",
            "oauth",
            "x-auth",
            "x-auth-request",
            "pwd",
            "user_pass",
            "csrf",
            "x-xsrf",
            "key",
            "PHPSESSID",
            "x-client-cert",
            "SAMLResponse",
        ] {
            assert!(is_credential(name), "{name}");
        }
        for name in [
            "accept",
            "host",
            "keyword",
            "x-request-id",
            "author",
            "page",
            "status-code",
            "x-country-code",
            "statement",
            "",
        ] {
            assert!(!is_credential(name) && !is_credential_parameter(name), "{name}");
        }
        for name in ["state", "code", "Nonce"] {
            assert!(is_credential_parameter(name) && !is_credential(name), "{name}");
        }
    }

    #[test]
    fn settings_have_credentials_or_name_them() {
        for name in ["secret", "client-secret", "clientSecret", "api_key", "password", "authorization"] {
            assert!(is_credential_setting(name), "{name}");
        }
        for name in ["header", "query", "cookie", "token-header", "keyHeader", "request-fields"] {
            assert!(names_credentials(name) && !is_credential_setting(name), "{name}");
        }
        for name in ["rate", "key", "keys", "audience", "jquery", "leeway"] {
            assert!(!names_credentials(name) && !is_credential_setting(name), "{name}");
        }
    }

    #[test]
    fn a_mark_is_known_as_a_whole() {
        assert!(is_mark(&mark("x-api-key")) && is_mark("[secret:db]"));
        for text in ["", "[removed:x", "a [removed:x]", "[removed:x] [removed:y]", "removed"] {
            assert!(!is_mark(text), "{text}");
        }
    }
}
