//! Conditions on fields, evaluated one way for routes, rollouts and recordings.

use crate::Fields;

impl Fields {
    /// Returns whether there is a line of the field `name`, with exactly this value if one is given.
    #[must_use]
    pub fn holds(&self, name: &str, value: Option<&str>) -> bool {
        let mut lines = self.get_all(name.as_bytes());
        match value {
            None => lines.next().is_some(),
            Some(value) => lines.any(|line| line == value.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Fields;

    #[test]
    fn a_field_holds_by_its_presence_or_by_one_of_its_lines() {
        let mut fields = Fields::default();
        for value in [&b"1"[..], b"2"] {
            fields.append(b"x-a", value).unwrap();
        }
        for (name, value, expected) in [
            ("x-a", None, true),
            ("X-A", Some("2"), true),
            ("x-a", Some("1, 2"), false),
            ("x-b", None, false),
        ] {
            assert_eq!(fields.holds(name, value), expected, "{name} {value:?}");
        }
    }
}
