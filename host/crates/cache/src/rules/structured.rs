//! Targeted cache control (RFC 9213), such as CDN-Cache-Control: a dictionary of Structured Fields (RFC 9651).

#[cfg(test)]
mod tests;

use super::directives::{ResponseDirectives, SECONDS_MAX};

/// Reads the lines of a targeted field. Returns `None`, and the field has to be ignored as a whole, if it is empty, is
/// no dictionary, or gives a directive that is known an argument of another type.
pub(super) fn read_targeted<'a>(mut lines: impl Iterator<Item = &'a [u8]>) -> Option<ResponseDirectives> {
    let first = lines.next()?;
    let members = match lines.next() {
        None => dictionary(first)?,
        Some(second) => {
            let mut joined = first.to_vec();
            for line in std::iter::once(second).chain(lines) {
                joined.extend_from_slice(b", ");
                joined.extend_from_slice(line);
            }
            dictionary(&joined)?
        }
    };
    if members.is_empty() {
        return None;
    }
    let mut directives = ResponseDirectives::default();
    for (key, value) in members {
        add(&mut directives, &key, &value)?;
    }
    Some(directives)
}

fn add(directives: &mut ResponseDirectives, key: &[u8], value: &Value) -> Option<()> {
    match key {
        b"max-age" => directives.max_age = Some(value.seconds()?),
        b"s-maxage" => directives.s_maxage = Some(value.seconds()?),
        b"stale-while-revalidate" => directives.stale_while_revalidate = Some(value.seconds()?),
        b"stale-if-error" => directives.stale_if_error = Some(value.seconds()?),
        b"no-store" => directives.no_store = value.flag()?,
        b"public" => directives.public = value.flag()?,
        b"must-revalidate" => directives.must_revalidate = value.flag()?,
        b"proxy-revalidate" => directives.proxy_revalidate = value.flag()?,
        b"must-understand" => directives.must_understand = value.flag()?,
        b"immutable" => directives.immutable = value.flag()?,
        b"no-cache" => (directives.no_cache, directives.no_cache_fields) = value.flag_or_fields()?,
        b"private" => (directives.private, directives.private_fields) = value.flag_or_fields()?,
        _ => {}
    }
    Some(())
}

/// A value of a dictionary, as far as cache directives have it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Boolean(bool),
    Integer(i64),
    Text(Vec<u8>),
    /// A valid value of another type.
    Other,
}

impl Value {
    fn seconds(&self) -> Option<u32> {
        match self {
            Self::Integer(number) => {
                // A negative lifetime has passed.
                Some(u32::try_from((*number).clamp(0, i64::from(SECONDS_MAX))).unwrap_or(SECONDS_MAX))
            }
            _ => None,
        }
    }

    const fn flag(&self) -> Option<bool> {
        match self {
            Self::Boolean(set) => Some(*set),
            _ => None,
        }
    }

    /// Whether the directive holds as a whole, or else for which fields.
    fn flag_or_fields(&self) -> Option<(bool, Vec<String>)> {
        match self {
            Self::Boolean(set) => Some((*set, Vec::new())),
            Self::Text(list) => {
                let mut fields = Vec::new();
                let whole = !super::directives::add_field_names(list, &mut fields);
                Some((whole, fields))
            }
            _ => None,
        }
    }
}

/// Parses a dictionary (RFC 9651, 4.2.2). The last member of a name counts.
fn dictionary(text: &[u8]) -> Option<Vec<(Vec<u8>, Value)>> {
    let mut parser = Parser { rest: text.trim_ascii() };
    let mut members: Vec<(Vec<u8>, Value)> = Vec::new();
    while !parser.rest.is_empty() {
        let key = parser.key()?.to_vec();
        let value = if parser.take_byte(b'=') {
            if parser.rest.first() == Some(&b'(') { parser.inner_list()? } else { parser.item()? }
        } else {
            parser.parameters()?;
            Value::Boolean(true)
        };
        members.retain(|(known, _)| *known != key);
        members.push((key, value));
        parser.spaces();
        if parser.rest.is_empty() {
            break;
        }
        if !parser.take_byte(b',') {
            return None;
        }
        parser.spaces();
        // No comma may be the last.
        if parser.rest.is_empty() {
            return None;
        }
    }
    Some(members)
}

struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    fn take_byte(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn take_while(&mut self, is: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !is(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn spaces(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        let starts = self.rest.first().is_some_and(|byte| byte.is_ascii_lowercase() || *byte == b'*');
        starts.then(|| {
            self.take_while(|byte| {
                byte.is_ascii_lowercase()
                    || byte.is_ascii_digit()
                    || matches!(byte, b'_' | b'-' | b'.' | b'*')
            })
        })
    }

    fn item(&mut self) -> Option<Value> {
        let value = self.bare_item()?;
        self.parameters()?;
        Some(value)
    }

    fn inner_list(&mut self) -> Option<Value> {
        self.take_byte(b'(');
        loop {
            self.take_while(|byte| byte == b' ');
            if self.take_byte(b')') {
                self.parameters()?;
                return Some(Value::Other);
            }
            self.item()?;
            if !matches!(self.rest.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take_byte(b';') {
            self.take_while(|byte| byte == b' ');
            self.key()?;
            if self.take_byte(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn bare_item(&mut self) -> Option<Value> {
        match *self.rest.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'?' => self.boolean(),
            b':' => {
                self.enclosed(b':', |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
            }
            b'@' => {
                self.take_byte(b'@');
                matches!(self.number()?, Value::Integer(_)).then_some(Value::Other)
            }
            b'%' => {
                self.take_byte(b'%');
                self.enclosed(b'"', |byte| matches!(byte, 0x20..=0x7e) && byte != b'"')
            }
            first if first.is_ascii_alphabetic() || first == b'*' => {
                self.take_while(|byte| matches!(byte, b':' | b'/') || portcullis_http::is_token(&[byte]));
                Some(Value::Other)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Value> {
        let negative = self.take_byte(b'-');
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if digits.is_empty() {
            return None;
        }
        if self.take_byte(b'.') {
            let fraction = self.take_while(|byte| byte.is_ascii_digit());
            let fits = digits.len() <= 12 && (1..=3).contains(&fraction.len());
            return fits.then_some(Value::Other);
        }
        let number = digits
            .iter()
            .fold(0_i64, |number, digit| number.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
        (digits.len() <= 15).then_some(Value::Integer(if negative { -number } else { number }))
    }

    fn string(&mut self) -> Option<Value> {
        self.take_byte(b'"');
        let mut text = Vec::new();
        loop {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            match byte {
                b'"' => return Some(Value::Text(text)),
                b'\\' => {
                    let (escaped, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    text.push(Some(*escaped).filter(|byte| matches!(byte, b'"' | b'\\'))?);
                }
                0x20..=0x7e => text.push(*byte),
                _ => return None,
            }
        }
    }

    fn boolean(&mut self) -> Option<Value> {
        self.take_byte(b'?');
        if self.take_byte(b'1') {
            Some(Value::Boolean(true))
        } else {
            self.take_byte(b'0').then_some(Value::Boolean(false))
        }
    }

    /// Something between two equal bytes, whose content does not matter.
    fn enclosed(&mut self, quote: u8, is: impl Fn(u8) -> bool) -> Option<Value> {
        let opened = self.take_byte(quote);
        self.take_while(is);
        (opened && self.take_byte(quote)).then_some(Value::Other)
    }
}
