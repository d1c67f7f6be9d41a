use proptest::prelude::*;

use super::{Policy, age, date, depends_on_client, initial_age_millis};
use crate::rules::directives::SECONDS_MAX;
use crate::rules::settings::{Heuristic, Settings};
use crate::rules::testing::{DATE, at, fields};
use crate::rules::time::{Exchanged, Time};

fn lifetime_of(settings: &Settings, status: u16, lines: &[(&str, &str)]) -> Option<u32> {
    let fields = fields(lines);
    Policy::read(settings, &fields).lifetime(settings, status, &fields, DATE, true)
}

#[track_caller]
fn check(lines: &[(&str, &str)], expected: u32) {
    assert_eq!(lifetime_of(&Settings::default(), 200, lines), Some(expected), "{lines:?}");
}

#[test]
fn section_4_2_1_precedence() {
    let future = at(DATE + 100);
    let past = at(DATE - 100);
    check(&[("cache-control", "max-age=60, s-maxage=1")], 1);
    check(&[("cache-control", "s-maxage=3600"), ("cache-control", "max-age=1")], 3600);
    check(&[("cache-control", "max-age=0, s-maxage=3600"), ("expires", &past)], 3600);
    check(&[("cache-control", "max-age=60"), ("expires", &past)], 60);
    check(&[("cache-control", "max-age=60"), ("expires", "0")], 60);
    check(&[("cache-control", "max-age=0"), ("expires", &future)], 0);
    check(&[("cache-control", "public"), ("expires", &future)], 100);
    check(&[("cache-control", "max-age=99999999999")], SECONDS_MAX);
    check(&[], 0);
}

#[test]
fn section_5_3_expires() {
    for (text, expected) in [
        (at(DATE + 100), 100),
        (at(DATE), 0),
        (at(DATE - 100), 0),
        ("0".to_owned(), 0),
        ("-1".to_owned(), 0),
        ("Thu, 18 Aug 2050 02:01:18 UTC".to_owned(), 0),
        ("Thursday, 18-Aug-50 02:01:18 GMT".to_owned(), 748_400_878),
        ("Thu Aug 18 02:01:18 2050".to_owned(), 748_400_878),
        ("Fri, 31 Dec 9999 23:59:59 GMT".to_owned(), SECONDS_MAX),
    ] {
        check(&[("expires", &text)], expected);
    }
    let (one, other) = (at(DATE + 100), at(DATE + 200));
    check(&[("expires", &one), ("expires", &one)], 100);
    check(&[("expires", &one), ("expires", &other)], 0);
}

#[test]
fn section_4_2_2_heuristics() {
    let day = at(DATE - 86_400);
    let century = at(DATE - 1_000_000_000);
    check(&[("last-modified", &day)], 8640);
    check(&[("last-modified", &century)], 86_400);
    check(&[("last-modified", &at(DATE + 10))], 0);
    check(&[("last-modified", "yesterday")], 0);
    check(&[("last-modified", &day), ("pragma", "no-cache")], 0);
    check(&[("last-modified", &day), ("expires", "0")], 0);
    let settings = Settings::default();
    for status in [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501] {
        assert_eq!(lifetime_of(&settings, status, &[("last-modified", &day)]), Some(8640), "{status}");
    }
    for status in [201, 202, 302, 303, 307, 400, 403, 500, 502, 503, 504, 599] {
        let lines = [("last-modified", &*day), ("cache-control", "public")];
        assert_eq!(lifetime_of(&settings, status, &lines[..1]), None, "{status}");
        assert_eq!(lifetime_of(&settings, status, &lines), Some(8640), "{status}");
    }
    let off = Settings { heuristic: None, ..Settings::default() };
    assert_eq!(lifetime_of(&off, 200, &[("last-modified", &day)]), Some(0));
    let half =
        Settings { heuristic: Some(Heuristic { percent: 50, seconds_max: 50_000 }), ..Settings::default() };
    assert_eq!(lifetime_of(&half, 200, &[("last-modified", &day)]), Some(43_200));
}

#[test]
fn the_operator_says_what_the_response_does_not() {
    let settings = Settings { ttl: vec![(404, 30), (503, 5)], lifetime_max: 600, ..Settings::default() };
    for (status, lines, expected) in [
        (404, &[][..], Some(30)),
        (503, &[], Some(5)),
        (500, &[], None),
        (404, &[("cache-control", "max-age=60")], Some(60)),
        (404, &[("cache-control", "max-age=0")], Some(0)),
        (404, &[("expires", "0")], Some(0)),
        (200, &[("cache-control", "max-age=3600")], Some(600)),
    ] {
        assert_eq!(lifetime_of(&settings, status, lines), expected, "{status} {lines:?}");
    }
}

#[test]
fn errors_of_one_client_are_not_those_of_all() {
    for status in [400, 401, 403, 405, 413, 429, 431] {
        assert!(depends_on_client(status), "{status}");
    }
    for status in [200, 301, 404, 410, 414, 451, 500, 503] {
        assert!(!depends_on_client(status), "{status}");
    }
}

#[test]
fn rfc_9213_section_2_2_a_targeted_field_replaces_the_others() {
    let (future, past) = (at(DATE + 100), at(DATE - 100));
    check(&[("cdn-cache-control", "max-age=60"), ("cache-control", "max-age=1, no-store")], 60);
    check(&[("cdn-cache-control", "max-age=1"), ("cache-control", "max-age=3600")], 1);
    check(&[("cdn-cache-control", "max-age=60"), ("expires", &past)], 60);
    check(&[("cdn-cache-control", "max-age=0"), ("expires", &future)], 0);
    check(&[("cdn-cache-control", "public"), ("expires", &future)], 0);
    check(&[("cdn-cache-control", "max-age=60, &&&"), ("cache-control", "max-age=1")], 1);
    check(&[("cdn-cache-control", ""), ("cache-control", "max-age=1")], 1);
    let off = Settings { targeted: Vec::new(), ..Settings::default() };
    let lines = [("cdn-cache-control", "max-age=60"), ("cache-control", "max-age=1")];
    assert_eq!(lifetime_of(&off, 200, &lines), Some(1));
    // The order of the settings counts, not that of the response (2.2).
    let targeted = ["own-cache-control", "cdn-cache-control"].map(str::to_owned).to_vec();
    let two = Settings { targeted, ..Settings::default() };
    for (own, expected) in [("max-age=7", 7), ("no-store", 0), ("", 60), ("max-age=x y", 60)] {
        let lines = [lines[0], ("own-cache-control", own), lines[1]];
        assert_eq!(lifetime_of(&two, 200, &lines).unwrap_or(0), expected, "{own}");
    }
}

#[test]
fn section_5_1_age() {
    for (lines, expected) in [
        (&[][..], 0),
        (&["30"], 30),
        (&["7200, 0"], 7200),
        (&["0, 7200"], 0),
        (&["7200", "0"], 7200),
        (&["0", "7200"], 0),
        (&["2147483649"], SECONDS_MAX),
        (&["99999999999999999999"], SECONDS_MAX),
        (&["abc"], 0),
        (&["-7200"], 0),
        (&["7200.0"], 0),
        (&["7200;foo=bar"], 7200),
        (&["7200 ;foo=\"0, 1\""], 7200),
        (&[";7200"], 0),
        (&["0;foo=7200"], 0),
        (&["", "7200"], 0),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("age", *line)).collect();
        assert_eq!(age(&fields(&lines)), expected, "{lines:?}");
    }
}

#[test]
fn section_4_2_3_initial_age() {
    let times =
        |sent, received| Exchanged { sent: Time::from_millis(sent), received: Time::from_millis(received) };
    let now = DATE * 1000;
    for (lines, date, sent, received, expected) in [
        (&[][..], DATE, now, now, 0),
        (&[], DATE - 10, now, now, 10_000),
        (&[], DATE + 10, now, now, 0),
        (&[("age", "30")], DATE, now, now, 30_000),
        (&[("age", "30")], DATE - 40, now, now, 40_000),
        (&[("age", "30")], DATE - 20, now - 5000, now, 35_000),
        // The fraction of a second counts only where both ends have one.
        (&[], DATE, now + 900, now + 900, 0),
        (&[], DATE, now + 200, now + 900, 700),
        (&[], DATE, now, now - 5000, 0),
    ] {
        let fields = fields(lines);
        assert_eq!(initial_age_millis(&fields, date, times(sent, received)), expected, "{lines:?} {date}");
    }
    assert_eq!(date(&fields(&[("date", "foo")]), DATE), None);
    assert_eq!(date(&fields(&[("date", &at(DATE))]), DATE), Some(DATE));
}

proptest! {
    #[test]
    fn reads_any_fields(
        cache_control in "[ -~]{0,40}", expires in "[ -~]{0,30}", age in "[ -~]{0,10}", status in 200..600_u16,
    ) {
        let fields = fields(&[("cache-control", cache_control.trim()), ("expires", expires.trim()), ("age", age.trim())]);
        let settings = Settings::default();
        let lifetime = Policy::read(&settings, &fields).lifetime(&settings, status, &fields, DATE, true);
        prop_assert!(lifetime.unwrap_or(0) <= SECONDS_MAX);
        let times = Exchanged { sent: Time::from_seconds(DATE), received: Time::from_seconds(DATE) };
        prop_assert!(initial_age_millis(&fields, DATE, times) <= u64::from(SECONDS_MAX) * 1000);
    }
}
