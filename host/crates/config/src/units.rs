//! Durations and sizes: a whole number and a unit, nothing else.

use std::time::Duration;

/// Why a text is no duration or size, and what was probably meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnitError {
    pub(crate) label: &'static str,
    pub(crate) help: String,
}

/// The units of time, the smallest first.
const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
/// The units of size, the smallest first.
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Reads `"10ms"`, `"5s"`, `"1m"` or `"1h"`.
pub(crate) fn duration(text: &str) -> Result<Duration, UnitError> {
    let error = |label, help: String| UnitError { label, help };
    let (digits, unit) = split(text);
    let Ok(number) = digits.parse::<u64>() else {
        return Err(error(
            "no duration",
            "write a whole number and ms, s, m or h, such as \"500ms\" or \"5s\"".into(),
        ));
    };
    if unit.is_empty() {
        return Err(error(
            "the unit is missing",
            format!("write \"{number}s\" for seconds or \"{number}ms\" for milliseconds"),
        ));
    }
    match TIMES.iter().find(|(name, _)| *name == unit) {
        Some((_, millis)) => Ok(Duration::from_millis(number.saturating_mul(*millis))),
        None => Err(error("no unit of time", time_help(number, unit))),
    }
}

/// Reads `"512B"`, `"64KiB"`, `"8MiB"` or `"1GiB"`.
pub(crate) fn size(text: &str) -> Result<u64, UnitError> {
    let error = |label, help: String| UnitError { label, help };
    let (digits, unit) = split(text);
    let Ok(number) = digits.parse::<u64>() else {
        return Err(error(
            "no size",
            "write a whole number and B, KiB, MiB or GiB, such as \"64KiB\"".into(),
        ));
    };
    if unit.is_empty() {
        return Err(error(
            "the unit is missing",
            format!("write \"{number}B\" for bytes or \"{number}KiB\" for units of 1024 bytes"),
        ));
    }
    match SIZES.iter().find(|(name, _)| *name == unit) {
        Some((_, bytes)) => Ok(number.saturating_mul(*bytes)),
        None => Err(error("no unit of size", size_help(number, unit))),
    }
}

fn time_help(number: u64, unit: &str) -> String {
    let known = match unit.to_ascii_lowercase().as_str() {
        "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hr" | "hrs" | "hour" | "hours" => "h",
        "msec" | "millis" | "millisecond" | "milliseconds" => "ms",
        "d" | "day" | "days" => return format!("write it in hours: \"{}h\"", number.saturating_mul(24)),
        lower => TIMES.iter().map(|(name, _)| *name).find(|name| *name == lower).unwrap_or(""),
    };
    if !known.is_empty() {
        return format!("write \"{number}{known}\"");
    }
    if unit.starts_with('.') {
        return "only whole numbers: write the next smaller unit, such as \"1500ms\" for a second and a half"
            .into();
    }
    if unit.bytes().any(|byte| byte.is_ascii_digit()) {
        return "one number and one unit: write \"90s\" for a minute and a half".into();
    }
    "the units of time are ms, s, m and h".into()
}

fn size_help(number: u64, unit: &str) -> String {
    let binary = match unit.to_ascii_lowercase().as_str() {
        "b" | "byte" | "bytes" => "B",
        "k" | "kb" | "kib" => "KiB",
        "m" | "mb" | "mib" => "MiB",
        "g" | "gb" | "gib" => "GiB",
        _ if unit.starts_with('.') => {
            return "only whole numbers: write the next smaller unit, such as \"1536KiB\"".into();
        }
        _ => return "the units of size are B, KiB, MiB and GiB".into(),
    };
    format!("write \"{number}{binary}\": sizes are binary, 1KiB is 1024 bytes")
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// The shortest way to write a duration.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    show(millis, &TIMES)
}

/// The shortest way to write a size.
pub(crate) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES)
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    let whole = units.iter().rev().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    let (name, factor) = whole.or(units.first()).copied().unwrap_or(("", 1));
    format!("{}{name}", value / factor)
}
