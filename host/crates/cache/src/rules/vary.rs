//! Selection by Vary (RFC 9111, 4.1): the fields of the request that a response depends on, and their values.
//!
//! A selection is bytes: for each field that Vary names, in order, a line with its name and, if the request had it, `:`
//! and its normalised value. Neither a name nor a value can have a line feed, and no name a colon, so equal bytes are
//! equal selections.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use portcullis_http::{Fields, list_elements};

use super::request::Request;
use super::settings::VaryRules;

/// A response that varies on more fields than this is not stored.
const NAMES_MAX: usize = 32;
/// A response whose selection takes more bytes than this is not stored.
pub(super) const BYTES_MAX: usize = 16 << 10;

/// Why there is no selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoSelection {
    /// Vary has `*`, or something that is no field name: nothing is known to match.
    Star,
    /// It would take too much.
    TooLarge,
}

/// Returns the selection of a request by the Vary of its response.
pub(super) fn selection(response: &Fields, request: &Request<'_>) -> Result<Vec<u8>, NoSelection> {
    let mut names: Vec<String> = Vec::new();
    for name in response.get_all(b"vary").flat_map(list_elements) {
        let text = std::str::from_utf8(name).ok().filter(|_| portcullis_http::is_token(name));
        match text {
            None | Some("*") => return Err(NoSelection::Star),
            Some(text) => names.push(text.to_ascii_lowercase()),
        }
    }
    // Order and repetition of names mean nothing.
    names.sort_unstable();
    names.dedup();
    if names.len() > NAMES_MAX {
        return Err(NoSelection::TooLarge);
    }
    let mut selection = Vec::new();
    for name in &names {
        write(name.as_bytes(), request, &mut selection);
        if selection.len() > BYTES_MAX {
            return Err(NoSelection::TooLarge);
        }
    }
    Ok(selection)
}

/// Returns the selection of another request by the names of this one.
pub(super) fn reselection(selection: &[u8], request: &Request<'_>) -> Vec<u8> {
    let mut other = Vec::with_capacity(selection.len());
    for (name, _) in lines(selection) {
        write(name, request, &mut other);
    }
    other
}

/// Returns whether a request has the values of a selection. `language` is the Content-Language of the response.
/// Allocates nothing.
pub(super) fn matches(selection: &[u8], request: &Request<'_>, language: Option<&[u8]>) -> bool {
    lines(selection).all(|(name, value)| match (Kind::of(name, request.vary), value) {
        (Kind::Host, value) => value.is_some_and(|value| value == request.head.authority.as_bytes()),
        (kind, None) => kind.lines(name, request).next().is_none(),
        (kind, Some(value)) => {
            kind.lines(name, request).next().is_some()
                && (kind.matches(name, request, value) || kind.is_preferred(name, request, language))
        }
    })
}

/// Returns whether the bytes are a selection as this module writes it.
pub(super) fn is_selection(bytes: &[u8]) -> bool {
    let sorted = lines(bytes).zip(lines(bytes).skip(1)).all(|((one, _), (other, _))| one < other);
    sorted
        && (bytes.is_empty() || bytes.ends_with(b"\n"))
        && lines(bytes).count() <= NAMES_MAX
        && lines(bytes).all(|(name, value)| {
            portcullis_http::is_token(name)
                && !name.iter().any(u8::is_ascii_uppercase)
                && value.is_none_or(portcullis_http::is_field_value)
        })
}

/// Names and values of a selection.
pub(super) fn lines(selection: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    let lines = selection.strip_suffix(b"\n").map(|lines| lines.split(|byte| *byte == b'\n'));
    lines.into_iter().flatten().map(|line| match line.iter().position(|byte| *byte == b':') {
        Some(colon) => (&line[..colon], Some(&line[colon + 1..])),
        None => (line, None),
    })
}

fn write(name: &[u8], request: &Request<'_>, selection: &mut Vec<u8>) {
    selection.extend_from_slice(name);
    let kind = Kind::of(name, request.vary);
    if kind == Kind::Host {
        selection.push(b':');
        selection.extend_from_slice(request.head.authority.as_bytes());
    } else if kind.lines(name, request).next().is_some() {
        selection.push(b':');
        let mut elements: Vec<_> = kind.elements(name, request).map(|element| kind.normal(element)).collect();
        if kind == Kind::Set {
            elements.sort_unstable();
            elements.dedup();
        }
        selection.extend_from_slice(&elements.join(kind.separator()));
    }
    selection.push(b'\n');
}

/// What is known of the values of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A list, of which only the division into lines and the space around its commas do not matter.
    List,
    /// A list of lines that commas do not divide: Cookie.
    Cookie,
    /// A list without case and inner white space.
    Sequence,
    /// A list without case, inner white space and order.
    Set,
    /// Not among the fields: Host.
    Host,
}

impl Kind {
    fn of(name: &[u8], rules: VaryRules) -> Self {
        match (name, rules) {
            (b"host", _) => Self::Host,
            (b"cookie", _) => Self::Cookie,
            (b"accept-encoding", VaryRules::Case | VaryRules::Languages)
            | (b"accept-language", VaryRules::Languages) => Self::Set,
            (b"accept-language", VaryRules::Case) => Self::Sequence,
            _ => Self::List,
        }
    }

    const fn separator(self) -> &'static [u8] {
        match self {
            Self::Cookie => b"; ",
            // No element has one, whatever its quotes do.
            Self::Set => b"\t",
            _ => b",",
        }
    }

    fn lines<'a>(self, name: &[u8], request: &Request<'a>) -> impl Iterator<Item = &'a [u8]> {
        request.head.fields.get_all(name)
    }

    fn elements<'a>(self, name: &[u8], request: &Request<'a>) -> impl Iterator<Item = &'a [u8]> {
        // A line of Cookie is one element. Two iterators of one type: one of them is empty.
        let (whole, divided) = if self == Self::Cookie { (usize::MAX, 0) } else { (0, usize::MAX) };
        let whole = self.lines(name, request).take(whole).filter(|line| !line.is_empty());
        whole.chain(self.lines(name, request).take(divided).flat_map(list_elements))
    }

    fn normal(self, element: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Sequence | Self::Set => Cow::Owned(plain(element).collect()),
            Self::List | Self::Cookie | Self::Host => Cow::Borrowed(element),
        }
    }

    /// Whether the request's elements, normalised, are `value`.
    fn matches(self, name: &[u8], request: &Request<'_>, value: &[u8]) -> bool {
        if self == Self::Set {
            let stored = || value.split(|byte| *byte == b'\t').filter(|stored| !stored.is_empty());
            let mut elements = self.elements(name, request);
            return elements.all(|element| stored().any(|stored| is_plain(element, stored)))
                && stored()
                    .all(|stored| self.elements(name, request).any(|element| is_plain(element, stored)));
        }
        let mut rest = Some(value);
        let mut first = true;
        for element in self.elements(name, request) {
            let separator = if std::mem::take(&mut first) { &b""[..] } else { self.separator() };
            rest = rest.and_then(|rest| rest.strip_prefix(separator)).and_then(|rest| match self {
                Self::Sequence => {
                    let length = plain(element).count();
                    let (start, behind) = rest.split_at_checked(length)?;
                    is_plain(element, start).then_some(behind)
                }
                _ => rest.strip_prefix(element),
            });
        }
        rest == Some(b"")
    }

    /// Whether the response is in the language that the request prefers to all others.
    fn is_preferred(self, name: &[u8], request: &Request<'_>, language: Option<&[u8]>) -> bool {
        let wanted = self == Self::Set && name == b"accept-language";
        wanted && language.is_some_and(|language| preferred(self.elements(name, request)) == Some(language))
    }
}

/// An element in lower case without white space.
fn plain(element: &[u8]) -> impl Iterator<Item = u8> {
    element.iter().filter(|byte| !matches!(byte, b' ' | b'\t')).map(u8::to_ascii_lowercase)
}

fn is_plain(element: &[u8], stored: &[u8]) -> bool {
    plain(element).eq(stored.iter().copied())
}

/// Returns the language with a higher weight than all others, as it is written.
fn preferred<'a>(languages: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let mut best: Option<(&[u8], u16)> = None;
    let mut alone = false;
    for element in languages {
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let language = parts.next()?;
        let weight = match parts.next() {
            None => 1000,
            Some(weight) => parse_weight(weight)?,
        };
        let higher = best.is_none_or(|(_, known)| weight > known);
        alone = higher || (alone && best.is_some_and(|(_, known)| weight < known));
        if higher {
            best = Some((language, weight));
        }
    }
    best.filter(|(language, weight)| alone && *weight > 0 && *language != b"*").map(|(language, _)| language)
}

/// Reads `q=0.5` as thousandths (RFC 9110, 12.4.2).
fn parse_weight(text: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, value) = text.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("q"))?;
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    let valid = matches!(whole, "0" | "1")
        && decimals.len() <= 3
        && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths: u16 = format!("{whole}{decimals:0<3}").parse().ok()?;
    (valid && thousandths <= 1000).then_some(thousandths)
}
