//! Durations and sizes, as the file writes them. Pure.

use std::time::Duration;

/// The units of a duration, longest first, in milliseconds.
const DURATIONS: &[(&str, u64)] = &[
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The units of a size, in bytes; those of 1024 first, as they are preferred for showing.
const SIZES: &[(&str, u64)] = &[
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads `250ms`, `30s`, `2m`, `12h`, `365d`; none where it is anything else or too long to count.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, DURATIONS).map(Duration::from_millis)
}

/// Reads `512B`, `16KiB`, `1MiB`, `30MB`, `1GiB`; none where it is anything else or too large to count.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    parse(text, SIZES)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes a duration in the longest unit that leaves no rest.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    match DURATIONS
        .iter()
        .find(|(_, unit)| millis.is_multiple_of(*unit))
    {
        Some((name, unit)) if millis > 0 => format!("{}{name}", millis / unit),
        _ => "0s".to_owned(),
    }
}

/// Writes a size in the largest unit that leaves no rest.
pub(super) fn show_size(bytes: u64) -> String {
    match SIZES.iter().find(|(_, unit)| bytes.is_multiple_of(*unit)) {
        Some((name, unit)) if bytes > 0 => format!("{}{name}", bytes / unit),
        _ => "0".to_owned(),
    }
}

/// What was likely meant by a duration that cannot be read: `30 s`, `30sec`, `30`.
pub(super) fn mend_duration(text: &str) -> Option<String> {
    mend(text, |unit| match unit {
        "" | "sec" | "secs" | "second" | "seconds" => Some("s"),
        "msec" | "millis" | "milliseconds" => Some("ms"),
        "min" | "mins" | "minute" | "minutes" => Some("m"),
        "hr" | "hour" | "hours" => Some("h"),
        "day" | "days" => Some("d"),
        _ => DURATIONS.iter().map(|(name, _)| *name).find(|n| *n == unit),
    })
}

/// What was likely meant by a size that cannot be read: `16K`, `16 kib`, `30mb`.
pub(super) fn mend_size(text: &str) -> Option<String> {
    mend(text, |unit| match unit {
        "" | "byte" | "bytes" => Some("B"),
        "k" => Some("KiB"),
        "m" => Some("MiB"),
        "g" => Some("GiB"),
        _ => SIZES
            .iter()
            .map(|(name, _)| *name)
            .find(|name| name.eq_ignore_ascii_case(unit)),
    })
}

fn mend(text: &str, unit: impl Fn(&str) -> Option<&'static str>) -> Option<String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return None;
    }
    let (number, written) = text.split_at(digits);
    let unit = unit(&written.trim().to_ascii_lowercase())?;
    Some(format!("{number}{unit}"))
}
