//! Takes secrets out of what is shown or written: the marks that stand in their place say which it was.

use portcullis_model::{Name, Secret};
use portcullis_policy::recorder::hex;
use serde_json::Value;

/// Shorter ones are only replaced where they are all of a text: `a` within other words says nothing.
const WITHIN_BYTES_MIN: usize = 4;

/// A piece of a removed field that is shorter than this may be an ordinary word: it is replaced between other characters
/// than letters and digits only.
const WORD_BYTES_MAX: usize = 12;

/// Secrets, and what is written in their place.
#[derive(Clone, Default)]
pub(crate) struct Scrubber {
    /// Longer ones first, so that none is replaced in part.
    needles: Vec<Needle>,
}

#[derive(Clone)]
struct Needle {
    text: String,
    mark: String,
    /// Whether it must stand alone, as a word does.
    as_word: bool,
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

    /// Takes `secret` out wherever it stands, and writes `mark` instead.
    pub(crate) fn add(&mut self, secret: &[u8], mark: &str) {
        self.push(secret, mark, false);
        self.sort();
    }

    /// Takes the value of a removed field out, and the parts that a policy may take it apart to: the words of a cookie or
    /// of a credential.
    pub(crate) fn add_field(&mut self, value: &[u8], mark: &str) {
        const PART_BYTES_MIN: usize = 8;
        self.push(value, mark, value.len() < WORD_BYTES_MAX);
        let is_between = |byte: &u8| matches!(byte, b' ' | b'\t' | b';' | b',' | b'=' | b'"');
        for part in value.split(is_between).filter(|part| part.len() >= PART_BYTES_MIN) {
            self.push(part, mark, part.len() < WORD_BYTES_MAX);
        }
        self.sort();
    }

    fn push(&mut self, secret: &[u8], mark: &str, as_word: bool) {
        // A secret from a file may be used with and without the line end behind it.
        for secret in [secret, secret.trim_ascii()] {
            if secret.is_empty() {
                continue;
            }
            let text = std::str::from_utf8(secret).ok().map(str::to_owned);
            // Bytes that are no text are written as digits, and so may be the secret among them.
            let digits = (secret.len() >= WITHIN_BYTES_MIN).then(|| hex(secret));
            for text in [text, digits].into_iter().flatten() {
                if !self.needles.iter().any(|other| other.text == text) {
                    self.needles.push(Needle { text, mark: mark.to_owned(), as_word });
                }
            }
        }
    }

    fn sort(&mut self) {
        self.needles.sort_by_key(|needle| std::cmp::Reverse(needle.text.len()));
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
    pub(crate) fn scrubbed(&self, text: &str) -> Option<String> {
        let mut clean: Option<String> = None;
        for needle in &self.needles {
            let now = clean.as_deref().unwrap_or(text);
            if now == needle.text {
                return Some(needle.mark.clone());
            }
            if needle.text.len() >= WITHIN_BYTES_MIN
                && let Some(replaced) = needle.replace(now)
            {
                clean = Some(replaced);
            }
        }
        clean
    }
}

impl Needle {
    /// `text` with the mark wherever this stands; `None` where it does not.
    fn replace(&self, text: &str) -> Option<String> {
        let is_word = |char: Option<char>| char.is_some_and(char::is_alphanumeric);
        let mut replaced = String::new();
        let mut from = 0;
        for (at, found) in text.match_indices(&self.text) {
            let end = at + found.len();
            let alone = !is_word(text[..at].chars().next_back()) && !is_word(text[end..].chars().next());
            if alone || !self.as_word {
                replaced.push_str(&text[from..at]);
                replaced.push_str(&self.mark);
                from = end;
            }
        }
        (from > 0).then(|| {
            replaced.push_str(&text[from..]);
            replaced
        })
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
    fn a_field_is_marked_with_its_parts_and_words_stay_words() {
        let mut scrubber = Scrubber::default();
        scrubber.add_field(b"Bearer abcdefgh-ijklmnop", "[removed:authorization]");
        scrubber.add_field(b"demo-key", "[removed:x-api-key]");
        let mut value = json!([
            "abcdefgh-ijklmnop",
            "client:demo-key",
            "demo-keys",
            "Bearer abcdefgh-ijklmnop",
            "Bearer"
        ]);
        scrubber.scrub(&mut value);
        let (token, key) = ("[removed:authorization]", "[removed:x-api-key]");
        assert_eq!(value, json!([token, format!("client:{key}"), "demo-keys", token, "Bearer"]));
    }

    #[test]
    fn nothing_of_it_is_printed() {
        assert!(!format!("{:?}", scrubber()).contains("hunter"));
    }
}
