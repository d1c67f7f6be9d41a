//! Timestamps for lines, formatted once a second.

use std::time::{SystemTime, UNIX_EPOCH};

/// The last second that four digits of a year can express: the end of 9999.
const SECONDS_MAX: u64 = 253_402_300_799;

/// Returns `time` by RFC 3339 in UTC with milliseconds: `2026-01-31T23:59:59.999Z`.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    let mut out = Vec::new();
    Timestamp::default().push_rfc3339(&mut out, time);
    String::from_utf8_lossy(&out).into_owned()
}

/// Remembers the text of the last second.
#[derive(Debug, Default)]
pub(crate) struct Timestamp {
    second: Option<u64>,
    rfc3339: [u8; 19],
    common: [u8; 26],
}

impl Timestamp {
    /// Appends `time` by RFC 3339 in UTC with milliseconds: `2026-01-31T23:59:59.999Z`.
    pub(crate) fn push_rfc3339(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        let millis = self.at(time);
        out.extend_from_slice(&self.rfc3339);
        out.push(b'.');
        out.extend([millis / 100, millis / 10 % 10, millis % 10].map(|digit| b'0' + digit as u8));
        out.push(b'Z');
    }

    /// Appends `time` in the common log format, in UTC: `31/Jan/2026:23:59:59 +0000`.
    pub(crate) fn push_common(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        self.at(time);
        out.extend_from_slice(&self.common);
    }

    /// Prepares the texts for `time` and returns its milliseconds.
    fn at(&mut self, time: SystemTime) -> u32 {
        // A clock before 1970 is broken; what matters is that the line is written.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = since.as_secs().min(SECONDS_MAX);
        if self.second != Some(second) {
            self.second = Some(second);
            self.write(second);
        }
        since.subsec_millis()
    }

    fn write(&mut self, second: u64) {
        const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let (year, month, day) = civil(second / 86_400);
        let clock = [second / 3600 % 24, second / 60 % 60, second % 60];
        self.rfc3339 = *b"0000-00-00T00:00:00";
        put(&mut self.rfc3339[..2], year / 100);
        put(&mut self.rfc3339[2..4], year % 100);
        put(&mut self.rfc3339[5..7], month);
        put(&mut self.rfc3339[8..10], day);
        self.common = *b"00/Jan/0000:00:00:00 +0000";
        put(&mut self.common[..2], day);
        let at = (month as usize - 1) * 3;
        self.common[3..6].copy_from_slice(&MONTHS[at..at + 3]);
        put(&mut self.common[7..9], year / 100);
        put(&mut self.common[9..11], year % 100);
        for (index, value) in clock.into_iter().enumerate() {
            put(&mut self.rfc3339[11 + 3 * index..][..2], value);
            put(&mut self.common[12 + 3 * index..][..2], value);
        }
    }
}

/// Two digits.
fn put(place: &mut [u8], number: u64) {
    place.copy_from_slice(&[b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
}

/// Returns year, month and day of a day counted from 1970-01-01, by Hinnant's algorithm: years begin in March, so that
/// the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests;
