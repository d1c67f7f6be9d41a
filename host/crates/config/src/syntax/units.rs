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
            "not a duration",
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
        None => Err(error("not a unit of time", time_help(number, unit))),
    }
}

/// Reads `"512B"`, `"64KiB"`, `"8MiB"` or `"1GiB"`.
pub(crate) fn size(text: &str) -> Result<u64, UnitError> {
    let error = |label, help: String| UnitError { label, help };
    let (digits, unit) = split(text);
    let Ok(number) = digits.parse::<u64>() else {
        return Err(error(
            "not a size",
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
        None => Err(error("not a unit of size", size_help(number, unit))),
    }
}

/// Reads `"5%"`, `"0.5%"` or `"12.25%"`, in hundredths of a per cent.
pub(crate) fn percent(text: &str) -> Result<u32, UnitError> {
    let error = |label, help: &str| UnitError { label, help: help.into() };
    let Some(number) = text.strip_suffix('%') else {
        return Err(match text.parse::<f64>() {
            Ok(part) if part > 0.0 && part < 1.0 => {
                let (label, percent) = ("the unit is missing", part * 100.0);
                UnitError {
                    label,
                    help: format!("write \"{percent}%\", or \"{text}%\" if it was in percent already"),
                }
            }
            Ok(_) => UnitError { label: "the unit is missing", help: format!("write \"{text}%\"") },
            Err(_) => error("no percentage", "write a number and %, such as \"5%\" or \"0.5%\""),
        });
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return Err(error("no percentage", "write a number and %, such as \"5%\" or \"0.5%\""));
    }
    if part.len() > 2 {
        return Err(error("too fine", "at most two digits behind the point, such as \"0.25%\""));
    }
    let hundredths = format!("{part:0<2}").parse().unwrap_or(0);
    let whole: u32 = whole.parse().unwrap_or(u32::MAX);
    Ok(whole.saturating_mul(100).saturating_add(hundredths))
}

/// What something may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    /// So much.
    Time(Duration),
    /// This part of something else, in hundredths of a per cent.
    Percent(u32),
}

/// The longest cost: no hook may take as long.
const COST_MAX: Duration = Duration::from_secs(60);
/// The largest part: beyond that it is no bound.
const COST_PERCENT_MAX: u32 = 1_000_000;

/// Reads a duration, for which there are microseconds too, or a percentage.
pub(crate) fn cost(text: &str) -> Result<Cost, UnitError> {
    let out_of_bounds = |help: &str| UnitError { label: "no cost of a hook", help: help.into() };
    if text.ends_with('%') {
        return match percent(text)? {
            part @ 100..=COST_PERCENT_MAX => Ok(Cost::Percent(part)),
            _ => {
                Err(out_of_bounds("a percentage of what the active version takes is of \"1%\" to \"10000%\""))
            }
        };
    }
    let (digits, unit) = split(text);
    let time = match (digits.parse::<u64>(), unit) {
        (Ok(micros), "us") => Duration::from_micros(micros),
        _ => duration(text).map_err(|error| match error.label {
            "not a duration" => UnitError {
                label: "neither a duration nor a percentage",
                help: "write such as \"2ms\", \"500us\", or \"300%\" of what the active version takes".into(),
            },
            _ => error,
        })?,
    };
    match time {
        Duration::ZERO => Err(out_of_bounds("nothing is done in no time; the least is \"1us\"")),
        time if time > COST_MAX => Err(out_of_bounds("the most is \"60s\"")),
        time => Ok(Cost::Time(time)),
    }
}

/// A percentage as one would write it.
pub(crate) fn show_percent(hundredths: u32) -> String {
    portcullis_model::Share::of_hundredths(hundredths).to_string()
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
