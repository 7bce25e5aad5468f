//! A failed request for a terminal.

use std::fmt::Write as _;

use super::view::{self, Kind, plain};
use crate::report::failed::{Head, Record};

pub(super) fn text(record: &Record) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}", plain(&view::title(record)));
    let why = view::why(record);
    if !why.is_empty() {
        let _ = writeln!(text, "{}", plain(&why));
    }
    text.push('\n');
    for (name, fact) in view::facts(record) {
        let _ = writeln!(text, "{name:>18}  {}", plain(&fact));
    }
    text.push_str("\nTime\n");
    for lane in view::lanes(record) {
        let bar = bar(lane.from, lane.to, record.duration_ms);
        let indent = if lane.kind == Kind::Part { "  " } else { "" };
        let took = view::millis((lane.to - lane.from).max(0.0));
        let label = plain(&format!("{indent}{}  {}", lane.label, lane.end));
        let _ = writeln!(text, "  |{bar}| {took:>10}  {}", label.trim_end());
    }
    text.push_str("\nSteps\n");
    for step in &record.steps {
        let _ = writeln!(
            text,
            "{:>13}  {}",
            view::millis(step.ms),
            plain(&view::words(step))
        );
    }
    if record.steps_left_out > 0 {
        let _ = writeln!(
            text,
            "  ({} steps between these are left out)",
            record.steps_left_out
        );
    }
    head(&mut text, "Request", record.request.as_ref());
    head(&mut text, "Response", record.response.as_ref());
    text
}

fn head(text: &mut String, title: &str, head: Option<&Head>) {
    let Some(head) = head else { return };
    let _ = writeln!(text, "\n{title}");
    for (name, value) in &head.fields {
        let _ = writeln!(text, "  {}: {}", plain(name), plain(value));
    }
    if head.fields_left_out > 0 {
        let _ = writeln!(
            text,
            "  ({} more fields are left out)",
            head.fields_left_out
        );
    }
}

/// Where in the whole a span lies.
fn bar(from: f64, to: f64, whole: f64) -> String {
    let column = |at: f64| {
        let share = if whole > 0.0 {
            (at / whole).clamp(0.0, 1.0)
        } else {
            0.0
        };
        (share * WIDTH as f64).round() as usize
    };
    let from = column(from).min(WIDTH - 1);
    let to = column(to).clamp(from + 1, WIDTH);
    format!(
        "{}{}{}",
        " ".repeat(from),
        "=".repeat(to - from),
        " ".repeat(WIDTH - to)
    )
}

const WIDTH: usize = 40;
