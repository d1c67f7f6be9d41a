use proptest::prelude::*;

use super::{Verdict, WhyValidate, is_failure, select};
use crate::rules::request::Request;
use crate::rules::settings::Settings;
use crate::rules::stored::StoredHead;
use crate::rules::storing::storable;
use crate::rules::testing::{DATE, after, at, at_once, request_head, response, store_as, stored};
use crate::rules::time::Time;

const FRESH: Verdict = Verdict::Fresh;
const STALE: Verdict = Verdict::Validate(WhyValidate::Stale);
const ASKED: Verdict = Verdict::Validate(WhyValidate::Request);

fn verdict(stored: &StoredHead, asked: &str, seconds: u64) -> Verdict {
    let head = request_head("GET", &[("cache-control", asked)]);
    stored.verdict(&Request::read(&Settings::default(), &head, false), after(seconds), None)
}

fn usable_on_error(stored: &StoredHead, asked: &str, seconds: u64) -> bool {
    let head = request_head("GET", &[("cache-control", asked)]);
    stored.usable_on_error(&Request::read(&Settings::default(), &head, false), after(seconds), None)
}

#[test]
fn section_4_2_fresh_until_its_lifetime_is_over() {
    let plain = stored(&[("cache-control", "max-age=60")]);
    assert_eq!((verdict(&plain, "", 59), verdict(&plain, "", 60)), (FRESH, STALE));
    assert_eq!((plain.fresh_until(), plain.ttl(after(20)), plain.ttl(after(70))), (after(60), 40, -10));
    let aged = stored(&[("cache-control", "max-age=60"), ("age", "50")]);
    assert_eq!((verdict(&aged, "", 9), verdict(&aged, "", 10)), (FRESH, STALE));
    assert_eq!((aged.age(after(7)), aged.fresh_until()), (57, after(10)));
    let old = stored(&[("cache-control", "max-age=60"), ("age", "2147483648")]);
    assert_eq!((verdict(&old, "", 0), old.fresh_until()), (STALE, Time::default()));
    let ever = stored(&[("cache-control", "max-age=99999999999")]);
    assert_eq!(verdict(&ever, "", 1_000_000_000), FRESH);
    // A clock that is set back makes nothing older.
    assert_eq!(plain.age(Time::default()), 0);
}

/// Milliseconds count: a lifetime of a second is a second.
#[test]
fn section_4_2_a_second_is_a_second() {
    let settings = Settings::default();
    let head = request_head("GET", &[]);
    let request = Request::read(&settings, &head, false);
    let received = after(0).plus_millis(900);
    let times = crate::rules::time::Exchanged { sent: received, received };
    let made = response(200, &[("cache-control", "max-age=1"), ("date", &at(DATE))]);
    let stored = storable(&settings, &request, &made, None, times).unwrap();
    let at = |millis| stored.verdict(&request, received.plus_millis(millis), None);
    assert_eq!((at(999), at(1000)), (FRESH, STALE));
}

#[test]
fn section_5_2_2_4_no_cache() {
    let no_cache = stored(&[("cache-control", "max-age=60, no-cache"), ("etag", "\"a\"")]);
    assert_eq!(verdict(&no_cache, "max-stale", 0), Verdict::Validate(WhyValidate::NoCache));
    assert!(!usable_on_error(&no_cache, "", 0) && !no_cache.is_fresh(after(0)));
    let qualified = stored(&[("cache-control", "max-age=60, no-cache=\"a\"")]);
    assert_eq!(verdict(&qualified, "", 0), FRESH);
}

#[test]
fn section_5_2_1_requests() {
    let stored = stored(&[("cache-control", "max-age=1500"), ("age", "1000")]);
    for (asked, seconds, expected) in [
        ("no-cache", 0, ASKED),
        ("max-age=0", 0, ASKED),
        ("max-age=999", 0, ASKED),
        ("max-age=1000", 0, FRESH),
        ("max-age=1000", 1, ASKED),
        ("max-age=600, max-stale", 0, ASKED),
        ("min-fresh=500", 0, FRESH),
        ("min-fresh=501", 0, ASKED),
        ("min-fresh=x", 0, ASKED),
        ("max-stale", 10_000, Verdict::Stale { refresh: false }),
        ("max-stale=10", 510, Verdict::Stale { refresh: false }),
        ("max-stale=10", 511, STALE),
        ("max-stale=x", 501, STALE),
        ("max-age=3000", 501, STALE),
        ("max-age=3000, max-stale", 501, Verdict::Stale { refresh: false }),
        ("nothing-to-see-here", 0, FRESH),
    ] {
        assert_eq!(verdict(&stored, asked, seconds), expected, "{asked} {seconds}");
    }
}

#[test]
fn section_4_2_4_what_forbids_stale_responses() {
    for cache_control in
        ["max-age=2, must-revalidate", "max-age=2, proxy-revalidate", "s-maxage=2", "max-age=9, s-maxage=2"]
    {
        let settings = Settings { stale_if_error: 60, stale_while_revalidate: 60, ..Settings::default() };
        let strict = store_as(&settings, ("GET", &[]), (200, &[("cache-control", cache_control)])).unwrap();
        assert_eq!(verdict(&strict, "max-stale", 1), FRESH, "{cache_control}");
        assert_eq!(verdict(&strict, "max-stale", 2), STALE, "{cache_control}");
        assert!(!usable_on_error(&strict, "stale-if-error=60", 2), "{cache_control}");
        assert!(usable_on_error(&strict, "", 1), "{cache_control}");
    }
}

#[test]
fn rfc_5861_section_3_stale_while_revalidate() {
    let stored = stored(&[("cache-control", "max-age=10, stale-while-revalidate=5")]);
    let refresh = Verdict::Stale { refresh: true };
    assert_eq!(
        (verdict(&stored, "", 9), verdict(&stored, "", 10), verdict(&stored, "", 14)),
        (FRESH, refresh, refresh)
    );
    assert_eq!(verdict(&stored, "", 15), STALE);
    assert_eq!(verdict(&stored, "max-age=100", 12), STALE, "5.2.1.1: such a client wants no stale response");
    assert_eq!(verdict(&stored, "min-fresh=1", 12), STALE);
}

#[test]
fn rfc_5861_section_4_stale_if_error() {
    let stored = stored(&[("cache-control", "max-age=10, stale-if-error=5")]);
    for (asked, seconds, expected) in [
        ("", 9, true),
        ("max-age=0", 9, true),
        ("no-cache", 9, false),
        ("", 14, true),
        ("", 15, false),
        ("stale-if-error=20", 15, true),
        ("stale-if-error=20", 30, false),
    ] {
        assert_eq!(usable_on_error(&stored, asked, seconds), expected, "{asked} {seconds}");
    }
    for status in [500, 502, 503, 504] {
        assert!(is_failure(status));
    }
    for status in [200, 304, 404, 429, 501, 505, 599] {
        assert!(!is_failure(status), "{status}");
    }
}

#[test]
fn rfc_8246_section_2_immutable() {
    let stored = stored(&[("cache-control", "max-age=10, immutable"), ("etag", "\"a\"")]);
    assert_eq!(verdict(&stored, "max-age=0", 5), FRESH, "a reload");
    assert_eq!(verdict(&stored, "no-cache", 5), ASKED, "a forced reload");
    assert_eq!(verdict(&stored, "", 10), STALE);
}

#[test]
fn a_soft_purge_makes_stale_from_then() {
    let stored = stored(&[("cache-control", "max-age=100, stale-while-revalidate=10, stale-if-error=20")]);
    let head = request_head("GET", &[]);
    let request = Request::read(&Settings::default(), &head, false);
    let at = |seconds| stored.verdict(&request, after(seconds), Some(after(50)));
    assert_eq!(
        (at(50), at(59), at(60)),
        (Verdict::Stale { refresh: true }, Verdict::Stale { refresh: true }, STALE)
    );
    assert!(stored.usable_on_error(&request, after(69), Some(after(50))));
    assert!(!stored.usable_on_error(&request, after(70), Some(after(50))));
    // Whichever came first: its lifetime was over before.
    assert_eq!(stored.verdict(&request, after(111), Some(after(105))), STALE);
}

#[test]
fn a_route_can_ignore_what_clients_ask() {
    let settings = Settings { client_directives: false, ..Settings::default() };
    let stored = stored(&[("cache-control", "max-age=60")]);
    let head = request_head("GET", &[("cache-control", "no-cache, max-age=0"), ("pragma", "no-cache")]);
    assert_eq!(stored.verdict(&Request::read(&settings, &head, false), after(5), None), FRESH);
}

#[test]
fn keeps_what_can_still_help() {
    for (lines, expected) in [
        (&[("cache-control", "max-age=60")][..], after(60 + 3600)),
        (&[("cache-control", "s-maxage=60")], after(60)),
        (&[("cache-control", "max-age=60, stale-if-error=86400")], after(60 + 86_400)),
        (&[("cache-control", "max-age=60, age=70")], after(60 + 3600)),
        (&[("cache-control", "max-age=60"), ("etag", "\"a\"")], Time::from_millis(u64::MAX)),
    ] {
        assert_eq!(stored(lines).keep_until(), expected, "{lines:?}");
    }
}

fn variant(asked: &[(&str, &str)], lines: &[(&str, &str)]) -> StoredHead {
    let status = if asked.iter().any(|(name, _)| *name == "range") { 206 } else { 200 };
    store_as(&Settings::default(), ("GET", asked), (status, lines)).unwrap()
}

#[test]
fn section_4_1_selects_the_best_of_several() {
    let fresh = ("cache-control", "max-age=60");
    let old = at(DATE - 10);
    let variants = [
        variant(&[("foo", "1")], &[fresh, ("vary", "foo")]),
        variant(&[("foo", "2")], &[fresh, ("vary", "foo"), ("date", &old)]),
        variant(&[("foo", "2")], &[fresh, ("vary", "foo")]),
        variant(&[], &[("cache-control", "max-age=100")]),
        variant(&[("foo", "4")], &[("cache-control", "max-age=5"), ("vary", "foo")]),
    ];
    for (asked, seconds, expected) in [
        (&[("foo", "1")][..], 0, Some(0)),
        (&[("foo", "2")], 0, Some(2)),
        (&[("foo", "3")], 0, Some(3)),
        (&[], 0, Some(3)),
        (&[("foo", "4")], 4, Some(4)),
        // What is stale is not better because it varies.
        (&[("foo", "4")], 5, Some(3)),
        (&[("foo", "1")], 1000, Some(0)),
    ] {
        let head = request_head("GET", asked);
        let request = Request::read(&Settings::default(), &head, false);
        assert_eq!(select(variants.iter(), &request, after(seconds)), expected, "{asked:?} {seconds}");
    }
    let head = request_head("GET", &[("foo", "9")]);
    let request = Request::read(&Settings::default(), &head, false);
    assert_eq!(select(variants[..3].iter(), &request, after(0)), None);
    assert_eq!(select([].iter(), &request, after(0)), None);
}

#[test]
fn section_3_3_a_part_answers_ranges_inside_it() {
    let part = variant(
        &[("range", "bytes=4-8")],
        &[("cache-control", "max-age=60"), ("content-range", "bytes 4-8/10"), ("etag", "\"a\"")],
    );
    for (method, asked, expected) in [
        ("GET", &[("range", "bytes=4-8")][..], true),
        ("GET", &[("range", "bytes=6-8")], true),
        ("GET", &[("range", "bytes=4-4,5-6")], true),
        ("GET", &[("range", "bytes=3-8")], false),
        ("GET", &[("range", "bytes=4-9")], false),
        ("GET", &[("range", "bytes=4-")], false),
        ("GET", &[("range", "bytes=-1")], false),
        ("GET", &[("range", "bytes=10-")], false),
        ("GET", &[], false),
        ("HEAD", &[("range", "bytes=4-8")], false),
        ("GET", &[("range", "bytes=4-8"), ("if-range", "\"a\"")], true),
        ("GET", &[("range", "bytes=4-8"), ("if-range", "\"b\"")], false),
        ("GET", &[("if-none-match", "\"a\"")], true),
    ] {
        let head = request_head(method, asked);
        assert_eq!(
            part.suits(&Request::read(&Settings::default(), &head, false)),
            expected,
            "{method} {asked:?}"
        );
    }
    assert_ne!(part.variant(), stored(&[("cache-control", "max-age=60")]).variant());
}

proptest! {
    /// In simulated time: the age never falls, a response is never fresh behind its lifetime, and never again fresh.
    #[test]
    fn age_grows_and_freshness_ends(
        max_age in 0..200_u64, age in 0..200_u64, delay in 0..5_u64, steps in prop::collection::vec(0..4000_u64, 1..30),
    ) {
        let settings = Settings::default();
        let head = request_head("GET", &[]);
        let request = Request::read(&settings, &head, false);
        let (cache_control, age) = (format!("max-age={max_age}"), age.to_string());
        let made = response(200, &[("cache-control", &cache_control), ("age", &age), ("etag", "\"a\"")]);
        let times = crate::rules::time::Exchanged { sent: after(0), received: after(delay) };
        let stored = storable(&settings, &request, &made, None, times).unwrap();
        let (mut now, mut last, mut was_stale) = (after(delay), 0, false);
        for step in steps {
            now = now.plus_millis(step);
            prop_assert!(stored.age(now) >= last);
            last = stored.age(now);
            let fresh = stored.verdict(&request, now, None) == FRESH;
            prop_assert_eq!(fresh, stored.is_fresh(now));
            prop_assert_eq!(fresh, now < stored.fresh_until());
            prop_assert_eq!(fresh, u64::from(last) < max_age);
            prop_assert!(!(fresh && was_stale));
            was_stale |= !fresh;
        }
    }

    /// Whatever a client asks, a response that must not be used stale is not, and one that is fresh to the client is
    /// fresh.
    #[test]
    fn no_request_makes_a_strict_response_stale(asked in "(max-stale|max-stale=99|max-age=[0-9]{1,2}|min-fresh=[0-9]|no-cache|, ){0,4}", seconds in 0..200_u64) {
        let strict = stored(&[("cache-control", "max-age=60, must-revalidate"), ("etag", "\"a\"")]);
        let verdict = verdict(&strict, asked.trim(), seconds);
        let stale = matches!(verdict, Verdict::Stale { .. });
        prop_assert!(!stale && (seconds < 60 || verdict != FRESH));
        prop_assert!(seconds < 60 || !usable_on_error(&strict, asked.trim(), seconds));
        prop_assert!(strict.times() == at_once(0));
    }
}
