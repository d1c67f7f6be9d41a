//! Goes through a JSON document (RFC 8259) once, strictly, and remembers the places of the wanted values.

use std::borrow::Cow;

use super::error::JsonError;
use super::wanted::Wanted;
use crate::{CheckTime, OutOfTime};

/// Values between two looks at the time.
const VALUES_BETWEEN_LOOKS: u32 = 1024;

/// Why reading has stopped.
pub(super) enum Stop {
    /// The policy gets this.
    Error(JsonError),
    /// The call has used up its time.
    OutOfTime(OutOfTime),
}

pub(super) fn malformed(why: impl Into<String>) -> Stop {
    Stop::Error(JsonError::Malformed(why.into()))
}

pub(super) struct Scanner<'d, 'l> {
    text: &'d str,
    at: usize,
    /// Objects and arrays that are being skipped, the outermost first.
    open: Vec<u8>,
    /// Values since the last look at the time.
    values: u32,
    check_time: CheckTime<'l>,
}

impl<'d, 'l> Scanner<'d, 'l> {
    pub(super) fn new(text: &'d str, check_time: CheckTime<'l>) -> Self {
        Self { text, at: 0, open: Vec::new(), values: 0, check_time }
    }

    /// Reads all of it, and puts what is wanted into `found`.
    pub(super) fn document(&mut self, wanted: &Wanted, found: &mut [Option<&'d str>]) -> Result<(), Stop> {
        self.value(wanted, found)?;
        self.skip_space();
        if self.at < self.text.len() { Err(self.unexpected()) } else { Ok(()) }
    }

    /// A value that is asked for, or leads to one.
    fn value(&mut self, wanted: &Wanted, found: &mut [Option<&'d str>]) -> Result<(), Stop> {
        self.skip_space();
        let (text, begin) = (self.text, self.at);
        match self.peek() {
            Some(b'{') if !wanted.members.is_empty() => self.members(wanted, found)?,
            Some(b'[') if !wanted.items.is_empty() => self.items(wanted, found)?,
            _ => self.skip_value()?,
        }
        for place in &wanted.here {
            found[*place] = Some(&text[begin..self.at]);
        }
        Ok(())
    }

    fn members(&mut self, wanted: &Wanted, found: &mut [Option<&'d str>]) -> Result<(), Stop> {
        // A bit for each name that is asked for: there are no more of them than pointers.
        let mut seen = 0_u64;
        self.at += 1;
        if self.takes(b'}') {
            return Ok(());
        }
        loop {
            let name = text(self.name()?)?;
            match wanted.members.binary_search_by(|(known, _)| (**known).cmp(&name)) {
                Ok(at) if seen & (1 << at) != 0 => {
                    return Err(malformed("a member that is asked for is there twice"));
                }
                Ok(at) => {
                    seen |= 1 << at;
                    self.value(&wanted.members[at].1, found)?;
                }
                Err(_) => self.skip_value()?,
            }
            if self.takes(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn items(&mut self, wanted: &Wanted, found: &mut [Option<&'d str>]) -> Result<(), Stop> {
        let mut numbers = wanted.items.iter().copied().peekable();
        self.at += 1;
        if self.takes(b']') {
            return Ok(());
        }
        for number in 0.. {
            match numbers.next_if(|(wanted, _)| *wanted == number) {
                Some((_, at)) => self.value(&wanted.members[at].1, found)?,
                None => self.skip_value()?,
            }
            if self.takes(b']') {
                break;
            }
            self.expect(b',')?;
        }
        Ok(())
    }

    /// Passes over a value, without recursion: it may be as deep as it is large.
    fn skip_value(&mut self) -> Result<(), Stop> {
        self.open.clear();
        loop {
            self.values += 1;
            if self.values >= VALUES_BETWEEN_LOOKS {
                self.values = 0;
                (self.check_time)().map_err(Stop::OutOfTime)?;
            }
            self.skip_space();
            match self.peek() {
                Some(b'{') => {
                    self.at += 1;
                    if !self.takes(b'}') {
                        self.open.push(b'}');
                        self.name()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.at += 1;
                    if !self.takes(b']') {
                        self.open.push(b']');
                        continue;
                    }
                }
                Some(b'"') => drop(self.string()?),
                Some(b't') => self.literal("true")?,
                Some(b'f') => self.literal("false")?,
                Some(b'n') => self.literal("null")?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                _ => return Err(self.unexpected()),
            }
            // A value has ended, and perhaps those around it.
            loop {
                let Some(end) = self.open.last().copied() else { return Ok(()) };
                if !self.takes(end) {
                    self.expect(b',')?;
                    if end == b'}' {
                        self.name()?;
                    }
                    break;
                }
                self.open.pop();
            }
        }
    }

    /// The name of a member, in its quotes, and the colon behind it.
    fn name(&mut self) -> Result<&'d str, Stop> {
        self.skip_space();
        let name = self.string()?;
        self.expect(b':')?;
        Ok(name)
    }

    /// A string in its quotes.
    fn string(&mut self) -> Result<&'d str, Stop> {
        let begin = self.at;
        if self.next() != Some(b'"') {
            self.at = begin;
            return Err(self.unexpected());
        }
        loop {
            match self.next() {
                Some(b'"') => return Ok(&self.text[begin..self.at]),
                Some(b'\\') => match self.next() {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                    Some(b'u') => {
                        for _ in 0..4 {
                            if !self.next().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                                return Err(malformed("an escape is not one of JSON"));
                            }
                        }
                    }
                    _ => return Err(malformed("an escape is not one of JSON")),
                },
                Some(0..=0x1f) => return Err(malformed("a string has a control character")),
                Some(_) => {}
                None => return Err(malformed("it ends within a string")),
            }
        }
    }

    fn number(&mut self) -> Result<(), Stop> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Stop> {
        let begin = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == begin { Err(self.unexpected()) } else { Ok(()) }
    }

    fn literal(&mut self, literal: &str) -> Result<(), Stop> {
        if !self.text[self.at..].starts_with(literal) {
            return Err(self.unexpected());
        }
        self.at += literal.len();
        Ok(())
    }

    /// Whether this comes next, behind white space; then it is passed.
    fn takes(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.takes(byte) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    fn unexpected(&self) -> Stop {
        match self.text[self.text.floor_char_boundary(self.at)..].chars().next() {
            Some(char) => malformed(format!("{char:?} at byte {} is not expected there", self.at)),
            None => malformed("it ends too early"),
        }
    }
}

/// What a string means that is written so, in its quotes.
pub(super) fn text(written: &str) -> Result<Cow<'_, str>, Stop> {
    if written.contains('\\') {
        let text = serde_json::from_str(written).map_err(|error| malformed(error.to_string()))?;
        return Ok(Cow::Owned(text));
    }
    let inner = written.strip_prefix('"').and_then(|written| written.strip_suffix('"'));
    Ok(Cow::Borrowed(inner.unwrap_or(written)))
}
