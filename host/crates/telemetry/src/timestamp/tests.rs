use std::time::{Duration, UNIX_EPOCH};

use super::Timestamp;

#[test]
fn both_forms_agree_with_date() {
    let mut timestamp = Timestamp::default();
    let mut check = |millis: u64, rfc3339: &str, common: &str| {
        let time = UNIX_EPOCH + Duration::from_millis(millis);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        timestamp.push_rfc3339(&mut first, time);
        timestamp.push_common(&mut second, time);
        assert_eq!(String::from_utf8(first).unwrap(), rfc3339);
        assert_eq!(String::from_utf8(second).unwrap(), common);
    };
    // By `date -u -d @N`.
    check(0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000");
    check(951_782_399_999, "2000-02-28T23:59:59.999Z", "28/Feb/2000:23:59:59 +0000");
    check(951_782_400_007, "2000-02-29T00:00:00.007Z", "29/Feb/2000:00:00:00 +0000");
    check(951_782_400_050, "2000-02-29T00:00:00.050Z", "29/Feb/2000:00:00:00 +0000");
    check(1_767_225_599_000, "2025-12-31T23:59:59.000Z", "31/Dec/2025:23:59:59 +0000");
    check(4_107_542_400_000, "2100-03-01T00:00:00.000Z", "01/Mar/2100:00:00:00 +0000");
    check(999_999_999_999_000, "9999-12-31T23:59:59.000Z", "31/Dec/9999:23:59:59 +0000");
}
