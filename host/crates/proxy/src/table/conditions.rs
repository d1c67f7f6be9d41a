//! Whether a request meets the conditions of a route.

use std::borrow::Cow;

use portcullis_http::RequestHead;
use portcullis_model::{Condition, Subject};

/// Returns whether `request` meets `condition`.
pub(super) fn holds(condition: &Condition, request: &RequestHead) -> bool {
    match &condition.on {
        Subject::Field(name) => condition.test.holds(request.fields.get_all(name.as_bytes())),
        Subject::Query(name) => condition.test.holds(parameters(request, name)),
        Subject::Cookie(name) => condition.test.holds(cookies(request, name)),
    }
}

/// Returns the values of a condition's subject in `request`, for people.
pub(crate) fn found(subject: &Subject, request: &RequestHead) -> String {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let values: Vec<String> = match subject {
        Subject::Field(name) => request.fields.get_all(name.as_bytes()).map(text).collect(),
        Subject::Query(name) => parameters(request, name).map(|value| text(&value)).collect(),
        Subject::Cookie(name) => cookies(request, name).map(text).collect(),
    };
    values.join(", ")
}

/// The decoded values of the parameter `name`.
fn parameters<'r>(request: &'r RequestHead, name: &'r str) -> impl Iterator<Item = Cow<'r, [u8]>> {
    let pairs = request.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (*decoded(key) == *name.as_bytes()).then(|| decoded(value))
    })
}

fn cookies<'r>(request: &'r RequestHead, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
    request.cookies().filter(move |(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
}

/// Decodes a part of a query as forms write it: `+` is a space, and a `%` without two digits stands for itself.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = text.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(if *byte == b'+' { b' ' } else { *byte });
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use portcullis_model::{Pattern, Test};

    use super::*;

    fn check(on: Subject, test: Test, expected: bool) {
        let mut request = RequestHead::default();
        request.set_target("/x", Some("a=1&b=two+%77ords&a=2&&bare&%64=%zz&e="));
        for (name, value) in [("x-a", "one"), ("x-a", "two"), ("cookie", "c=1; d=x=y")] {
            request.fields.append(name.as_bytes(), value.as_bytes()).unwrap();
        }
        let condition = Condition { on, test };
        assert_eq!(holds(&condition, &request), expected, "{condition}");
    }

    #[test]
    fn one_value_of_several_is_enough() {
        let exact = |text: &str| Test::Exact(text.to_owned());
        let query = |name: &str| Subject::Query(name.to_owned());
        for value in ["1", "2"] {
            check(query("a"), exact(value), true);
        }
        check(query("a"), exact("3"), false);
        check(query("b"), exact("two words"), true);
        check(query("b"), Test::Prefix("two w".to_owned()), true);
        check(query("b"), Test::Pattern(Pattern::new("^two$").unwrap()), false);
        check(query("bare"), exact(""), true);
        check(query("d"), exact("%zz"), true);
        check(query("e"), Test::Present, true);
        check(query("f"), Test::Present, false);
        check(query("f"), Test::Absent, true);
        check(query("a"), Test::Absent, false);
        check(query(""), Test::Present, false);
        let (field, cookie) =
            (Subject::Field("x-a".to_owned()), |name: &str| Subject::Cookie(name.to_owned()));
        check(field.clone(), exact("two"), true);
        check(field.clone(), Test::Pattern(Pattern::new("(?i)^O").unwrap()), true);
        check(field, Test::Absent, false);
        check(cookie("d"), exact("x=y"), true);
        check(cookie("D"), Test::Absent, true);
    }
}
