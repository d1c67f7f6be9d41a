//! The Date field.

#[cfg(test)]
mod tests;

/// The last second of the year 9999, behind which the format has no room.
const SECONDS_MAX: u64 = 253_402_300_799;

/// `unix_seconds` since 1970-01-01T00:00:00Z as an IMF-fixdate (RFC 9110, 5.6.7), such as `Sun, 06 Nov 1994 08:49:37 GMT`.
/// What lies behind the year 9999 is its last second.
#[must_use]
pub fn http_date(unix_seconds: u64) -> [u8; 29] {
    const DAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed";
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
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

fn put_two(place: &mut [u8], number: u64) {
    place[0] = b'0' + (number / 10) as u8;
    place[1] = b'0' + (number % 10) as u8;
}

/// Year, month (1 to 12) and day (1 to 31) of a day counted from 1970-01-01, by Hinnant's algorithm: eras of 400 years
/// that start on 1 March, so that the leap day comes last.
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
