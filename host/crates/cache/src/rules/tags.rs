//! The tags of a response, by which it can be purged.

use portcullis_http::Fields;

/// Returns the tags of Surrogate-Key, which spaces divide, and of Cache-Tag, which commas divide.
pub fn tags(fields: &Fields) -> impl Iterator<Item = &[u8]> {
    let keys = fields.get_all(b"surrogate-key").flat_map(|line| line.split(u8::is_ascii_whitespace));
    let tags = fields.get_all(b"cache-tag").flat_map(|line| line.split(|byte| *byte == b','));
    keys.chain(tags.map(<[u8]>::trim_ascii)).filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use portcullis_http::Fields;

    use super::tags;

    #[test]
    fn tags_of_both_fields() {
        let mut fields = Fields::new();
        for (name, value) in [
            ("surrogate-key", "a  b/c"),
            ("Surrogate-Key", "d"),
            ("cache-tag", "e f, g ,,h"),
            ("cache-tag", ""),
        ] {
            fields.append(name.as_bytes(), value.as_bytes()).unwrap();
        }
        let found: Vec<_> = tags(&fields).map(|tag| std::str::from_utf8(tag).unwrap()).collect();
        assert_eq!(found, ["a", "b/c", "d", "e f", "g", "h"]);
    }
}
