use super::http_date;

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
