use proptest::prelude::*;

use super::{SECONDS_MAX, http_date, parse_http_date};

#[track_caller]
fn check(unix_seconds: u64, expected: &str) {
    assert_eq!(std::str::from_utf8(&http_date(unix_seconds)).unwrap(), expected);
}

#[test]
fn formats_dates() {
    check(0, "Thu, 01 Jan 1970 00:00:00 GMT");
    check(784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT");
    check(951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT");
    check(951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT");
    check(951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT");
    check(1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT");
    check(4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT");
    check(253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT");
    check(u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT");
}

/// 2026-11-29.
const NOW: u64 = 1_796_000_000;

#[test]
fn reads_the_three_formats() {
    for (text, expected) in [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
        ("Sun Nov  6 08:49:37 1994", 784_111_777),
        ("Sun Nov 06 08:49:37 1994", 784_111_777),
        ("Sun Nov 16 08:49:37 1994", 784_975_777),
        // Case, and a day of the week that is not that of the date.
        ("sUN, 06 nOV 1994 08:49:37 gmt", 784_111_777),
        ("Mon, 06 Nov 1994 08:49:37 GMT", 784_111_777),
        // Leap years and seconds.
        ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
        // Numbers of 32 bits do not wrap.
        ("Tue, 19 Jan 2038 14:14:08 GMT", 2_147_523_248),
        ("Sun, 21 Nov 2286 04:46:39 GMT", 10_000_039_599),
        ("Fri, 31 Dec 9999 23:59:59 GMT", SECONDS_MAX),
        ("Wed, 31 Dec 1969 23:59:59 GMT", 0),
        ("Sat, 01 Jan 0000 00:00:00 GMT", 0),
        // The century of two digits: at most 50 years ahead.
        ("Thursday, 18-Aug-50 02:01:18 GMT", 2_544_400_878),
        ("Saturday, 18-Aug-76 02:01:18 GMT", 3_364_941_678),
        ("Thursday, 18-Aug-77 02:01:18 GMT", 240_717_678),
    ] {
        assert_eq!(parse_http_date(text.as_bytes(), NOW), Some(expected), "{text}");
    }
}

#[test]
fn refuses_other_dates() {
    for text in [
        "",
        "0",
        "-1",
        "now",
        "784111777",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 AEST",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun, 06  Nov  1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994  8:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 1900 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 23:60:00 GMT",
        "Sun, 06 Nov 1994 23:59:61 GMT",
        "Son, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nav 1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sundae, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 CET",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 94",
        "Sun, Nov 6 08:49:37 1994",
    ] {
        assert_eq!(parse_http_date(text.as_bytes(), NOW), None, "{text:?}");
    }
}

proptest! {
    #[test]
    fn reads_what_it_writes(seconds in 0..=SECONDS_MAX) {
        prop_assert_eq!(parse_http_date(&http_date(seconds), NOW), Some(seconds));
    }

    #[test]
    fn reads_any_bytes(text in prop::collection::vec(any::<u8>(), 0..40), now: u64) {
        let read = parse_http_date(&text, now);
        prop_assert!(read.is_none_or(|seconds| seconds <= SECONDS_MAX + 1));
    }

    /// Bytes that are a date but for one.
    #[test]
    fn reads_dates_with_a_byte_changed(seconds in 0..=SECONDS_MAX, at in 0..29_usize, byte: u8) {
        let mut text = http_date(seconds);
        text[at] = byte;
        let read = parse_http_date(&text, NOW);
        prop_assert!(read.is_none_or(|seconds| seconds <= SECONDS_MAX + 1));
    }
}
