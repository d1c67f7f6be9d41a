//! What the tests of the rules share: heads of requests and responses, and a stored response, at a fixed time.

use portcullis_http::{Fields, RequestHead, ResponseHead, http_date};

use super::request::Request;
use super::settings::Settings;
use super::stored::StoredHead;
use super::storing::{WhyNot, storable};
use super::time::{Exchanged, Time};

/// The Date of responses, in seconds since 1970; they are received at once.
pub(super) const DATE: u64 = 1_796_000_000;

/// A date as fields have it.
pub(super) fn at(seconds: u64) -> String {
    String::from_utf8(http_date(seconds).to_vec()).unwrap()
}

/// So many seconds after `DATE`.
pub(super) const fn after(seconds: u64) -> Time {
    Time::from_seconds(DATE + seconds)
}

/// A response that comes so many seconds after `DATE`, without delay.
pub(super) const fn at_once(seconds: u64) -> Exchanged {
    Exchanged { sent: after(seconds), received: after(seconds) }
}

pub(super) fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.append(name.as_bytes(), value.as_bytes()).unwrap();
    }
    fields
}

/// A request for `http://a.example/f/page?q=1`.
pub(super) fn request_head(method: &str, lines: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::default();
    head.method = method.to_owned();
    head.authority = "a.example".to_owned();
    head.set_target("/f/page", Some("q=1"));
    head.fields = fields(lines);
    head
}

pub(super) fn response(status: u16, lines: &[(&str, &str)]) -> ResponseHead {
    ResponseHead { status, fields: fields(lines), ..ResponseHead::default() }
}

/// Stores a response at `DATE`, with that Date if it has none.
pub(super) fn store_as(
    settings: &Settings,
    (method, asked): (&str, &[(&str, &str)]),
    (status, lines): (u16, &[(&str, &str)]),
) -> Result<StoredHead, WhyNot> {
    let head = request_head(method, asked);
    storable(settings, &Request::read(settings, &head, false), &response(status, lines), None, at_once(0))
}

/// Stores a response to a plain GET, which has to be storable.
pub(super) fn stored(lines: &[(&str, &str)]) -> StoredHead {
    store_as(&Settings::default(), ("GET", &[]), (200, lines)).unwrap()
}

/// The lines of a section.
pub(super) fn lines(fields: &Fields) -> Vec<(String, String)> {
    fields
        .iter()
        .map(|(_, name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned()))
        .collect()
}

/// The value of a field.
pub(super) fn value<'f>(fields: &'f Fields, name: &str) -> Option<&'f str> {
    fields.get(name.as_bytes()).map(|value| std::str::from_utf8(value).unwrap())
}
