//! `if` with a condition that a route can have.

use crate::syntax::Directive;
use crate::value::Value;

/// What an `if` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// These hosts.
    Host(Vec<String>),
    /// All other hosts than this one.
    OtherHost(String),
    /// Plain HTTP.
    Plain,
    /// These methods.
    Method(Vec<String>),
    /// All other methods than these.
    OtherMethod(Vec<String>),
    /// A field with this value, or with any.
    Field(String, Value),
    /// A field that has another value than this one, or is not there.
    OtherField(String, Value),
}

/// Reads the condition of an `if`. `None` if it has no counterpart.
pub(crate) fn condition(directive: &Directive) -> Option<Condition> {
    let text = directive.args.join(" ");
    let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?.trim();
    let mut words = inner.splitn(3, ' ').map(str::trim);
    let (variable, operator, value) = (words.next()?, words.next(), words.next().unwrap_or(""));
    let name = variable.strip_prefix('$')?;
    match (name, operator?) {
        ("scheme", "=") if value == "http" => Some(Condition::Plain),
        ("scheme", "!=") if value == "https" => Some(Condition::Plain),
        ("https", "!=") if value == "on" => Some(Condition::Plain),
        ("https", "=") if value.is_empty() => Some(Condition::Plain),
        ("server_port", "=") if value == "80" => Some(Condition::Plain),
        ("host" | "http_host", "=") => Some(Condition::Host(vec![value.to_owned()])),
        ("host" | "http_host", "!=") => Some(Condition::OtherHost(value.to_owned())),
        ("host" | "http_host", "~" | "~*") => Some(Condition::Host(words_of(value, true)?)),
        ("request_method", "=") => Some(Condition::Method(vec![value.to_owned()])),
        ("request_method", "!=") => Some(Condition::OtherMethod(vec![value.to_owned()])),
        ("request_method", "~" | "~*") => Some(Condition::Method(words_of(value, false)?)),
        ("request_method", "!~" | "!~*") => Some(Condition::OtherMethod(words_of(value, false)?)),
        (_, "=") => Some(Condition::Field(field(name)?, Value::from(value))),
        (_, "!=") if !value.is_empty() => Some(Condition::OtherField(field(name)?, Value::from(value))),
        (_, "!=") => Some(Condition::Field(field(name)?, Value::from(true))),
        _ => None,
    }
    .filter(|condition| !matches!(condition, Condition::Field(_, Value::Text(text)) if text.is_empty()))
}

fn field(variable: &str) -> Option<String> {
    Some(variable.strip_prefix("http_")?.replace('_', "-"))
}

/// Returns the words of a regular expression that says `^(a|b)$`.
fn words_of(regex: &str, host: bool) -> Option<Vec<String>> {
    let inner = regex.strip_prefix('^')?.strip_suffix('$')?;
    let inner = inner.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(inner);
    let inner = inner.strip_prefix("?:").unwrap_or(inner);
    let words: Vec<String> = inner.split('|').map(|word| word.replace("\\.", ".")).collect();
    let plain = |word: &String| {
        !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || (host && byte == b'.'))
    };
    words.iter().all(plain).then_some(words)
}
