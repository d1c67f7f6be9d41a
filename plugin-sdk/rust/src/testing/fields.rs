//! The field lines of a head, with the gateway's rules.

use crate::{Field, FieldBytes, Refused, Reply};

/// The body limit of a policy, unless its operator sets another.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// What a head may have after an edit.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The text of a value, with U+FFFD in the place of what is not UTF-8.
pub(crate) fn text(value: Vec<u8>) -> String {
    String::from_utf8_lossy(&value).into_owned()
}

/// The field lines of a head.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, Vec<u8>)>);

impl Fields {
    pub(crate) fn joined(&self, name: &str) -> Option<Vec<u8>> {
        let values = self.values(name);
        let separator = if name.eq_ignore_ascii_case("cookie") { b"; " } else { b", " };
        (!values.is_empty()).then(|| values.join(&separator[..]))
    }

    pub(crate) fn values(&self, name: &str) -> Vec<Vec<u8>> {
        let lines = self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| value.clone()).collect()
    }

    pub(crate) fn all(&self) -> Vec<FieldBytes> {
        self.0.iter().map(|(name, value)| FieldBytes { name: name.clone(), value: value.clone() }).collect()
    }

    pub(crate) fn set(&mut self, name: &str, value: &[u8]) -> Result<(), Refused> {
        check(name, value)?;
        let old = self.values(name).iter().map(|old| line_size(name, old)).sum();
        self.check_size(old, line_size(name, value))?;
        let at = self.0.iter().position(|(key, _)| key.eq_ignore_ascii_case(name)).unwrap_or(self.0.len());
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.0.insert(at, (name.to_ascii_lowercase(), value.to_vec()));
        Ok(())
    }

    /// Whether a head may lose `old` and gain `new` bytes: one that is too large already may shrink.
    fn check_size(&self, old: usize, new: usize) -> Result<(), Refused> {
        let size: usize = self.0.iter().map(|(name, value)| line_size(name, value)).sum();
        if new > old && size - old + new > HEAD_BYTES_MAX { Err(Refused::TooLarge) } else { Ok(()) }
    }

    pub(crate) fn append(&mut self, name: &str, value: &[u8]) -> Result<(), Refused> {
        check(name, value)?;
        self.check_size(0, line_size(name, value))?;
        self.0.push((name.to_ascii_lowercase(), value.to_vec()));
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<(), Refused> {
        check(name, b"")?;
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        Ok(())
    }
}

/// A line as the gateway counts it.
fn line_size(name: &str, value: &[u8]) -> usize {
    name.len() + value.len() + 32
}

/// Whether the gateway can send a reply.
pub(crate) fn check_reply(reply: &Reply) -> Result<(), Refused> {
    if !(200..600).contains(&reply.status) {
        return Err(Refused::InvalidValue);
    }
    let mut fields = Fields::default();
    reply.headers.iter().try_for_each(|field| fields.append(&field.name, &field.value))?;
    if reply.body.len() > BODY_BYTES_MAX { Err(Refused::TooLarge) } else { Ok(()) }
}

fn check(name: &str, value: &[u8]) -> Result<(), Refused> {
    Field::check_name(name)?;
    Field::check_value(value)
}

/// Refuses the fields that may not be trailers, of which these are the most usual.
pub(crate) fn check_trailer(name: &str) -> Result<(), Refused> {
    let name = name.to_ascii_lowercase();
    let forbidden = [
        "age",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-range",
        "content-type",
        "cookie",
        "expires",
        "location",
        "range",
        "retry-after",
        "set-cookie",
        "trailer",
        "vary",
        "www-authenticate",
    ];
    let is_forbidden = forbidden.contains(&name.as_str())
        || ["if-", "x-forwarded-"].iter().any(|prefix| name.starts_with(prefix));
    if is_forbidden { Err(Refused::Forbidden) } else { Field::check_name(&name) }
}
