//! Numbers as a person reads them at a glance.

/// `1234`.
pub(super) fn count(number: f64) -> String {
    format!("{number:.0}")
}

/// A rate: with one decimal while it is small.
pub(super) fn rate(number: f64) -> String {
    match number {
        _ if number == 0.0 => "0".to_owned(),
        _ if number < 100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

/// `12.3K`, in steps of 1024.
pub(super) fn bytes(number: f64) -> String {
    let mut number = number;
    for unit in ["", "K", "M", "G"] {
        if number < 1000.0 {
            let decimals = usize::from(!unit.is_empty() && number < 100.0);
            return format!("{number:.decimals$}{unit}");
        }
        number /= 1024.0;
    }
    format!("{number:.1}T")
}

/// `212ms`, `59s`, `12m`, `3h12m`, `4d3h`.
pub(super) fn age(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0 if seconds > 0.0 => format!("{:.0}ms", seconds * 1000.0),
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m{}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d{}h", whole / 86_400, whole / 3600 % 24),
    }
}

/// `[||||      12/64]`: as full as it is, in signs that every terminal has.
pub(super) fn bar(now: f64, max: f64) -> String {
    let text = format!("{now:.0}/{max:.0}");
    let room = BAR.saturating_sub(text.len());
    let share = if max > 0.0 { (now / max).min(1.0) } else { 0.0 };
    let mut full = (share * room as f64) as usize;
    if now > 0.0 {
        // Little is not nothing.
        full = full.max(1).min(room);
    }
    format!("[{}{}{text}]", "|".repeat(full), " ".repeat(room - full))
}

/// Room between the brackets.
const BAR: usize = 14;
