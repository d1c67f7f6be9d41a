//! Takes secrets out of what is shown or written: the marks that stand in their place say which it was.

use portcullis_model::{Name, Secret};
use portcullis_policy::recorder::hex;
use serde_json::Value;

/// Shorter ones are only replaced where they are all of a text: `a` within other words says nothing.
const WITHIN_BYTES_MIN: usize = 4;

/// Secrets, and what is written in their place.
#[derive(Clone, Default)]
pub(crate) struct Scrubber {
    /// The secret and its mark; longer ones first, so that none is replaced in part.
    needles: Vec<(String, String)>,
}

impl Scrubber {
    /// For the secrets that a config names.
    pub(crate) fn of_secrets<'a>(secrets: impl IntoIterator<Item = (&'a Name, &'a Secret)>) -> Self {
        let mut scrubber = Self::default();
        for (name, secret) in secrets {
            scrubber.add(secret.expose(), &secret_mark(name));
        }
        scrubber
    }

    /// Takes `secret` out as well, and writes `mark` instead.
    pub(crate) fn add(&mut self, secret: &[u8], mark: &str) {
        // A secret from a file may be used with and without the line end behind it.
        for secret in [secret, secret.trim_ascii()] {
            if secret.is_empty() {
                continue;
            }
            let text = std::str::from_utf8(secret).ok().map(str::to_owned);
            // Bytes that are no text are written as digits, and so may be the secret among them.
            let digits = (secret.len() >= WITHIN_BYTES_MIN).then(|| hex(secret));
            for needle in [text, digits].into_iter().flatten() {
                if !self.needles.iter().any(|(other, _)| *other == needle) {
                    self.needles.push((needle, mark.to_owned()));
                }
            }
        }
        self.needles.sort_by_key(|(needle, _)| std::cmp::Reverse(needle.len()));
    }

    /// Takes them out of every text in `value`, the names of members too.
    pub(crate) fn scrub(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(clean) = self.scrubbed(text) {
                    *text = clean;
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.scrub(value)),
            Value::Object(members) => {
                for (name, mut value) in std::mem::take(members) {
                    self.scrub(&mut value);
                    members.insert(self.scrubbed(&name).unwrap_or(name), value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// `text` without them; `None` where there was none in it.
    fn scrubbed(&self, text: &str) -> Option<String> {
        let mut clean: Option<String> = None;
        for (needle, mark) in &self.needles {
            let now = clean.as_deref().unwrap_or(text);
            if now == needle {
                return Some(mark.clone());
            }
            if needle.len() >= WITHIN_BYTES_MIN && now.contains(needle.as_str()) {
                clean = Some(now.replace(needle.as_str(), mark));
            }
        }
        clean
    }
}

impl std::fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scrubber").field("needles", &self.needles.len()).finish()
    }
}

/// What stands in the place of a named secret.
pub(crate) fn secret_mark(name: &str) -> String {
    format!("[secret:{name}]")
}

#[cfg(test)]
mod tests {
    use portcullis_model::{Name, Secret};
    use serde_json::json;

    use super::Scrubber;

    fn scrubber() -> Scrubber {
        let secrets = [
            (Name::from("long"), Secret::new(b"hunter2-hunter2\n".as_slice())),
            (Name::from("part"), Secret::new(b"hunter2".as_slice())),
            (Name::from("pin"), Secret::new(b"42".as_slice())),
            (Name::from("bytes"), Secret::new([0xff_u8, 0xfe, 0xfd, 0xfc].as_slice())),
        ];
        Scrubber::of_secrets(secrets.iter().map(|(name, secret)| (name, secret)))
    }

    #[test]
    fn secrets_are_marked_wherever_they_stand() {
        let mut value = json!({
            "list": ["Bearer hunter2-hunter2", "hunter2", "plain"],
            "hex": "00fffefdfc00",
            "named hunter2": null,
        });
        scrubber().scrub(&mut value);
        assert_eq!(
            value,
            json!({
                "list": ["Bearer [secret:long]", "[secret:part]", "plain"],
                "hex": "00[secret:bytes]00",
                "named [secret:part]": null,
            })
        );
    }

    #[test]
    fn a_short_one_is_marked_where_it_is_all() {
        let mut value = json!(["42", "1427"]);
        scrubber().scrub(&mut value);
        assert_eq!(value, json!(["[secret:pin]", "1427"]));
    }

    #[test]
    fn nothing_of_it_is_printed() {
        assert!(!format!("{:?}", scrubber()).contains("hunter"));
    }
}
