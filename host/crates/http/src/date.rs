//! Dates, as Date, Expires, Last-Modified and the conditional fields have them.

#[cfg(test)]
mod tests;

/// The last second of the year 9999, the last that the format can express.
const SECONDS_MAX: u64 = 253_402_300_799;
const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

/// Returns `unix_seconds` since 1970-01-01T00:00:00Z as an IMF-fixdate (RFC 9110, 5.6.7), such as
/// `Sun, 06 Nov 1994 08:49:37 GMT`. Times after the year 9999 become its last second.
#[must_use]
pub fn http_date(unix_seconds: u64) -> [u8; 29] {
    const DAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed";
    let seconds = unix_seconds.min(SECONDS_MAX);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_from_days(days);
    let name = |names: &[u8], index: u64| {
        let at = index as usize * 3;
        [names[at], names[at + 1], names[at + 2]]
    };
    let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    date[..3].copy_from_slice(&name(DAYS, days % 7));
    put_two(&mut date[5..7], day);
    date[8..11].copy_from_slice(&name(MONTHS, month - 1));
    put_two(&mut date[12..14], year / 100);
    put_two(&mut date[14..16], year % 100);
    put_two(&mut date[17..19], second / 3600);
    put_two(&mut date[20..22], second / 60 % 60);
    put_two(&mut date[23..25], second % 60);
    date
}

/// Reads a date in one of the three formats of RFC 9110, 5.6.7, as seconds since 1970-01-01T00:00:00Z; an earlier one
/// is 0. Returns `None` if it is anything else. Names of days and months and `GMT` may be in any case (RFC 9111, 4.2).
/// The name of the day need not be that of the date. `now`, in the same seconds, decides the century of an RFC 850
/// date.
#[must_use]
pub fn parse_http_date(text: &[u8], now: u64) -> Option<u64> {
    match text.len() {
        29 if text[3] == b',' => parse_fixdate(text),
        24 if text[3] == b' ' => parse_asctime(text),
        _ => parse_rfc850(text, now),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn parse_fixdate(text: &[u8]) -> Option<u64> {
    let separated = text.get(3..5)? == b", " && text[7] == b' ' && text[11] == b' ' && text[16] == b' ';
    (separated && is_day(&text[..3]) && is_gmt(&text[25..]))
        .then(|| seconds(number(&text[12..16])?, month(&text[8..11])?, number(&text[5..7])?, &text[17..25]))?
}

/// `Sun Nov  6 08:49:37 1994`.
fn parse_asctime(text: &[u8]) -> Option<u64> {
    let separated = text[3] == b' ' && text[7] == b' ' && text[10] == b' ' && text[19] == b' ';
    let day = if text[8] == b' ' { &text[9..10] } else { &text[8..10] };
    (separated && is_day(&text[..3]))
        .then(|| seconds(number(&text[20..])?, month(&text[4..7])?, number(day)?, &text[11..19]))?
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`.
fn parse_rfc850(text: &[u8], now: u64) -> Option<u64> {
    const DAYS: [&[u8]; 7] =
        [b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday", b"Sunday"];
    let comma = text.iter().position(|byte| *byte == b',')?;
    let (day, date) = text.split_at(comma);
    let known = DAYS.iter().any(|known| day.eq_ignore_ascii_case(known));
    let separated = date.len() == 24
        && date.starts_with(b", ")
        && date[4] == b'-'
        && date[8] == b'-'
        && date[11] == b' '
        && is_gmt(&date[20..]);
    if !known || !separated {
        return None;
    }
    let (month, day) = (month(&date[5..8])?, number(&date[2..4])?);
    let (this_year, ..) = civil_from_days(now.min(SECONDS_MAX) / 86_400);
    // A year that seems to be more than 50 years ahead is the last one in the past with these two digits.
    let ahead = this_year + 50;
    let year = ahead - (ahead - number(&date[9..11])?) % 100;
    seconds(year, month, day, &date[12..20])
}

fn is_day(name: &[u8]) -> bool {
    [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"].iter().any(|day| name.eq_ignore_ascii_case(*day))
}

/// Whether `text` is ` GMT`.
fn is_gmt(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b" GMT")
}

/// The month, 1 to 12, of a name.
fn month(name: &[u8]) -> Option<u64> {
    let at = (0..12_u8).find(|at| {
        let from = usize::from(*at) * 3;
        name.eq_ignore_ascii_case(&MONTHS[from..from + 3])
    })?;
    Some(u64::from(at) + 1)
}

/// A number of digits alone.
fn number(digits: &[u8]) -> Option<u64> {
    let read =
        |number: u64, digit: &u8| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'));
    digits.iter().try_fold(0, read)
}

/// Seconds since 1970 of a date and a `time` such as `08:49:37`.
fn seconds(year: u64, month: u64, day: u64, time: &[u8]) -> Option<u64> {
    let (hour, minute, second) = (number(&time[..2])?, number(&time[3..5])?, number(&time[6..])?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    // 60 is a leap second.
    let valid = (1..=days).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !valid || time[2] != b':' || time[5] != b':' {
        return None;
    }
    let days = days_from_civil(year, month, day);
    Some(days.map_or(0, |days| days * 86_400 + hour * 3600 + minute * 60 + second))
}

/// The days from 1970-01-01 to a date, or `None` if it is earlier; the reverse of [`civil_from_days`].
const fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 {
        return None;
    }
    let (year, shifted) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * shifted + 2) / 5 + day - 1;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

fn put_two(place: &mut [u8], number: u64) {
    place[0] = b'0' + (number / 10) as u8;
    place[1] = b'0' + (number % 10) as u8;
}

/// Returns year, month (1 to 12) and day (1 to 31) of a day counted from 1970-01-01, by Hinnant's algorithm: eras of
/// 400 years that start on 1 March, so that the leap day comes last.
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + if month <= 2 { 1 } else { 0 }, month, day)
}
