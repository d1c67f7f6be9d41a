//! TOML as a tree in which every key and value knows its place.

use toml::de::{DeTable, DeValue};

use crate::diagnostic::Report;
use crate::files::source::Span;

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
}

/// A TOML value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Datetime,
    Array(Vec<Node>),
    Table(Table),
}

/// A table, its entries in the order of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

/// One key of a table.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

impl Value {
    /// What it is, in words.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "a number",
            Self::Float(_) => "a number with a fraction",
            Self::Bool(_) => "true or false",
            Self::Datetime => "a date",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Node {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The elements of a list; anything else is a list of itself.
    pub(crate) fn elements(&self) -> &[Self] {
        match &self.value {
            Value::Array(list) => list,
            _ => std::slice::from_ref(self),
        }
    }
}

impl Table {
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// Parses a file. If it is not TOML, the place at which the parser stopped is reported and `None` returned.
pub(crate) fn parse(file: u32, text: &str, reports: &mut Vec<Report>) -> Option<Table> {
    let (root, errors) = DeTable::parse_recoverable(text);
    // One slip often leads to many errors of the parser; the first of them is the one that helps.
    if let Some(error) = errors.first() {
        let range = error.span().unwrap_or(0..0);
        reports.push(syntax_error(Span::new(file, &range), error.message(), text));
    }
    if !errors.is_empty() {
        return None;
    }
    let count = reports.len();
    let table = convert_table(file, root.get_ref(), reports);
    (reports.len() == count).then_some(table)
}

fn syntax_error(span: Span, message: &str, source: &str) -> Report {
    if let Some(report) = odd_letter(span, source).or_else(|| bare_text(span, source)) {
        return report;
    }
    if message.contains("duplicate key") {
        return Report::new(span, "a key or table is defined twice", "defined before in this file")
            .help("remove one of the two, or give one of them another name");
    }
    let text = message.lines().collect::<Vec<_>>().join(", ");
    let help = match text.as_str() {
        text if text.contains("must be quoted") => "write text in quotes: key = \"text\"",
        text if text.contains("table") => "a table begins with its name in brackets: [listeners.web]",
        text if text.contains("basic string") => {
            "text ends with the quote that it began with, on the same line"
        }
        _ => "see https://toml.io for how TOML is written",
    };
    Report::new(span, "this is not TOML", text).help(help)
}

/// A character that looks like another one, or like nothing, outside of quotes.
fn odd_letter(span: Span, source: &str) -> Option<Report> {
    let start = source.floor_char_boundary(span.start as usize);
    let line_start = source.get(..start)?.rfind('\n').map_or(0, |at| at + 1);
    let line = source.get(line_start..)?.lines().next()?;
    let mut quote = None;
    for (at, letter) in line.char_indices() {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            None if letter == '#' => return None,
            None if !letter.is_ascii()
                && !"\u{201c}\u{201d}\u{201e}\u{2018}\u{2019}\u{ab}\u{bb}".contains(letter) =>
            {
                let place = Span {
                    file: span.file,
                    start: (line_start + at) as u32,
                    end: (line_start + at + letter.len_utf8()) as u32,
                };
                let what = match letter {
                    '\u{a0}' | '\u{202f}' | '\u{2007}' => "a no-break space",
                    '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{2060}' => "a character that is not shown",
                    letter if letter.is_whitespace() => "an unusual space",
                    _ => "no character of a bare key or value",
                };
                let label = format!("U+{:04X} is {what}", letter as u32);
                let help = "type the plain ASCII character in its place, or put the text in quotes";
                return Some(Report::new(place, "this is not TOML", label).help(help));
            }
            None => {}
        }
    }
    None
}

/// Text without quotes, such as `address = 127.0.0.1:80`.
fn bare_text(span: Span, source: &str) -> Option<Report> {
    let start = source.floor_char_boundary(span.start as usize);
    let line_start = source.get(..start)?.rfind('\n').map_or(0, |at| at + 1);
    let line = source.get(line_start..)?.lines().next()?;
    let (key, value) = line.split_once('=')?;
    let value = value.split('#').next()?.trim();
    let name = key.trim();
    let plain = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || more.contains(letter))
    };
    // A number, a date, or what only looks like text.
    let text = plain(value, ".:/-_*+%")
        && value.contains(|letter: char| !letter.is_ascii_digit())
        && plain(name, "-_.");
    let known = matches!(value, "true" | "false" | "inf" | "nan");
    if !text || known {
        return None;
    }
    let from = line_start + line.find('=')? + 1;
    let from = from + source.get(from..)?.find(value)?;
    let place = Span { file: span.file, start: from as u32, end: (from + value.len()) as u32 };
    // Without the value, which may be a secret.
    let help = format!("write {name} = \"...\"");
    Some(Report::new(place, "this is not TOML", "text stands in quotes").help(help))
}

fn convert_table(file: u32, table: &DeTable<'_>, reports: &mut Vec<Report>) -> Table {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_span: Span::new(file, &key.span()),
            value: convert(Span::new(file, &value.span()), value.get_ref(), reports),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span);
    Table { entries }
}

fn convert(span: Span, value: &DeValue<'_>, reports: &mut Vec<Report>) -> Node {
    let mut invalid = |what: &str| {
        reports.push(
            Report::new(span, format!("this {what} is out of range"), "")
                .help("TOML's whole numbers have 64 bits, from -9223372036854775808 to 9223372036854775807"),
        );
        Value::Integer(0)
    };
    let value = match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => invalid("whole number"),
        },
        DeValue::Float(digits) => match digits.as_str().parse() {
            Ok(number) => Value::Float(number),
            Err(_) => invalid("number"),
        },
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(list) => Value::Array(
            list.iter()
                .map(|element| convert(Span::new(span.file, &element.span()), element.get_ref(), reports))
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(convert_table(span.file, table, reports)),
    };
    Node { span, value }
}
