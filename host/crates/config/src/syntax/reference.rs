//! `oci://HOST/REPOSITORY:TAG`, `…@DIGEST`: the names of images (OCI distribution specification 1.1, "Pulling
//! manifests").

use portcullis_model::{ContentDigest, OciReference};

use crate::syntax::authority::is_authority;

/// What is wrong: the label and the help.
type Wrong = (String, String);

/// What such a reference begins with.
pub(crate) const SCHEME: &str = "oci://";
/// Characters of a repository.
const REPOSITORY_MAX: usize = 255;
/// Characters of a tag.
const TAG_MAX: usize = 128;

/// Reads a reference. It says which image: by a tag, by a digest, or both.
pub(crate) fn parse(text: &str) -> Result<OciReference, Wrong> {
    const FORM: &str = "write \"oci://HOST/REPOSITORY:TAG\" or \"oci://HOST/REPOSITORY@sha256:DIGEST\"";
    let wrong = |label: &str, help: &str| Err((label.to_owned(), help.to_owned()));
    let Some(rest) = text.strip_prefix(SCHEME) else {
        return wrong("only oci:// leads to a plugin over the network", FORM);
    };
    let Some((host, path)) = rest.split_once('/').filter(|(host, path)| !host.is_empty() && !path.is_empty())
    else {
        return wrong("expected a host and a repository", FORM);
    };
    if !is_authority(host) {
        return wrong("not a host", FORM);
    }
    let (path, digest) = match path.split_once('@') {
        None => (path, None),
        Some((path, digest)) => match ContentDigest::parse(digest) {
            Some(digest) => (path, Some(digest)),
            None => return wrong("not a digest", "a digest is sha256: and 64 digits of 0-9 and a-f"),
        },
    };
    let (repository, tag) = match path.split_once(':') {
        None => (path, None),
        Some((repository, tag)) => (repository, Some(tag)),
    };
    if let Some(tag) = tag
        && !is_tag(tag)
    {
        return wrong("not a tag", "a tag has letters, digits, `_`, `.` and `-`, at most 128 of them");
    }
    if !is_repository(repository) {
        let help = if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
            format!("repositories have no upper-case letters: {}", repository.to_ascii_lowercase())
        } else {
            "a repository is parts of a-z, 0-9, `.`, `_` and `-`, with `/` between them".to_owned()
        };
        return Err(("not a repository".to_owned(), help));
    }
    if tag.is_none() && digest.is_none() {
        return Err((
            "it does not say which image".to_owned(),
            format!(
                "add the tag, as in \"{text}:1.0\"; `portcullis plugin lock` then pins what it stands for"
            ),
        ));
    }
    Ok(OciReference {
        registry: host.to_ascii_lowercase().into(),
        repository: repository.into(),
        tag: tag.map(Into::into),
        digest,
    })
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
fn is_tag(tag: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(letter)
        && tag.bytes().all(|byte| letter(byte) || byte == b'.' || byte == b'-')
}

/// Parts of lower-case letters and digits, with one `.`, one or two `_` or any number of `-` between them.
fn is_repository(repository: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str| {
        let mut separator = String::new();
        for byte in part.bytes() {
            if !alphanumeric(byte) {
                separator.push(char::from(byte));
                continue;
            }
            let sound = matches!(separator.as_str(), "" | "." | "_" | "__")
                || separator.bytes().all(|byte| byte == b'-');
            if !sound {
                return false;
            }
            separator.clear();
        }
        // One at the end separates nothing; one at the beginning neither.
        separator.is_empty() && part.bytes().next().is_some_and(alphanumeric)
    };
    repository.len() <= REPOSITORY_MAX && repository.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::parse;

    #[test]
    fn reads_references() {
        for text in [
            "oci://registry.example/auth:1",
            "oci://registry.example:5000/team/a.b_c__d---e/f:v1.2_3-rc.1",
            "oci://[::1]:5000/auth:latest",
            "oci://127.0.0.1:5000/auth@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "oci://localhost/auth:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(parse(text).map(|reference| reference.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(&*parse("oci://Registry.Example/auth:1").unwrap().registry, "registry.example");
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "oci://",
            "oci://host",
            "oci://host/",
            "oci:///auth:1",
            "oci://ho st/auth:1",
            "oci://user@host/auth:1",
            "oci://host:99999/auth:1",
            "oci://host/auth",
            "oci://host/auth:",
            "oci://host/auth:.1",
            "oci://host/auth:1/2",
            "oci://host/Auth:1",
            "oci://host/a//b:1",
            "oci://host/../b:1",
            "oci://host/a/.:1",
            "oci://host/-a:1",
            "oci://host/a-:1",
            "oci://host/a..b:1",
            "oci://host/a___b:1",
            "oci://host/a._b:1",
            "oci://host/a?b=c:1",
            "oci://host/a@sha256:00",
            "oci://host/a@sha512:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "oci://host/a@sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
            "https://host/a:1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_alike(text in "oci://[a-z.:\\[\\]0-9]{1,12}/[a-z0-9/._-]{1,12}(:[a-zA-Z0-9._-]{1,9})?") {
            if let Ok(reference) = parse(&text) {
                prop_assert_eq!(reference.to_string(), text);
            }
        }

        #[test]
        fn takes_any_text(text in "\\PC{0,60}") {
            let _references = (parse(&text), parse(&format!("oci://{text}")));
        }
    }
}
