//! Single values: read, or what is wrong with them and what would be right.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderValue;
use toml::de::DeValue;

use super::keys::nearest;
use super::values::{
    mend_duration, mend_size, parse_duration, parse_size, show_duration, show_size,
};

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Wrong {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            help: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The value is of another kind than its key asks for.
pub(super) fn kind(key: &str, wanted: &str, value: &DeValue<'_>) -> Wrong {
    let is = match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    Wrong::new(
        "wrong-type",
        format!("`{key}` must be {wanted}, and this is {is}"),
    )
}

pub(super) fn string<'t>(key: &str, value: &'t DeValue<'t>) -> Result<&'t str, Wrong> {
    value.as_str().ok_or_else(|| {
        let wrong = kind(key, "a string", value);
        match value {
            DeValue::Integer(number) => wrong.help(format!("write \"{number}\"")),
            DeValue::Float(number) => wrong.help(format!("write \"{number}\"")),
            DeValue::Boolean(boolean) => wrong.help(format!("write \"{boolean}\"")),
            _ => wrong,
        }
    })
}

/// A string that says something and can be shown in a log.
pub(super) fn text<'t>(key: &str, value: &'t DeValue<'t>) -> Result<&'t str, Wrong> {
    let text = string(key, value)?;
    if text.is_empty() {
        return Err(Wrong::new(
            "empty-value",
            format!("`{key}` must not be empty"),
        ));
    }
    if text.contains(char::is_control) {
        let message = format!("`{key}` must not hold control characters");
        return Err(Wrong::new("control-character", message));
    }
    Ok(text)
}

/// A field's value. HTTP lets other bytes pass (RFC 9110, 5.5, obs-text), and no two readers agree on what they mean.
pub(super) fn field_value(key: &str, value: &DeValue<'_>) -> Result<HeaderValue, Wrong> {
    let text = string(key, value)?;
    let visible = |byte: u8| matches!(byte, b' '..=b'~' | b'\t');
    match HeaderValue::from_str(text) {
        Ok(value) if text.bytes().all(visible) && text.trim() == text => Ok(value),
        _ => {
            let message = format!("{text:?} cannot be the value of a field");
            Err(Wrong::new("bad-header", message)
                .help("write visible ASCII, with spaces only between words"))
        }
    }
}

pub(super) fn boolean(key: &str, value: &DeValue<'_>) -> Result<bool, Wrong> {
    value.as_bool().ok_or_else(|| {
        let wrong = kind(key, "true or false", value);
        match value.as_str() {
            Some(text @ ("true" | "false")) => wrong.help(format!("write {text} without quotes")),
            _ => wrong,
        }
    })
}

pub(super) fn integer(
    key: &str,
    value: &DeValue<'_>,
    bounds: &RangeInclusive<u64>,
) -> Result<u64, Wrong> {
    let Some(written) = value.as_integer() else {
        let wrong = kind(key, "a whole number", value);
        return Err(match value.as_str().map(str::parse::<u64>) {
            Some(Ok(number)) => wrong.help(format!("write {number} without quotes")),
            _ => wrong,
        });
    };
    let number = u64::from_str_radix(written.as_str(), written.radix());
    match number {
        Ok(number) if bounds.contains(&number) => Ok(number),
        _ => Err(out_of_range(key, written, bounds.start(), bounds.end())),
    }
}

pub(super) fn duration(
    key: &str,
    value: &DeValue<'_>,
    bounds: &RangeInclusive<Duration>,
) -> Result<Duration, Wrong> {
    let Some(text) = value.as_str() else {
        let wrong = kind(key, "a duration", value);
        return Err(match value {
            DeValue::Integer(number) => wrong.help(format!(
                "a duration has a unit and stands in quotes: write \"{number}s\" for seconds"
            )),
            _ => wrong.help("write a duration as in \"250ms\", \"30s\" or \"2m\""),
        });
    };
    let Some(duration) = parse_duration(text) else {
        let wrong = Wrong::new("bad-duration", format!("{text:?} is no duration"));
        return Err(wrong.help(match mend_duration(text) {
            Some(meant) => format!("write \"{meant}\""),
            None => "a duration is a number and one of ms, s, m, h, d, as in \"30s\"".to_owned(),
        }));
    };
    if bounds.contains(&duration) {
        return Ok(duration);
    }
    let (least, most) = (show_duration(*bounds.start()), show_duration(*bounds.end()));
    Err(out_of_range(key, text, least, most))
}

pub(super) fn size(
    key: &str,
    value: &DeValue<'_>,
    bounds: &RangeInclusive<u64>,
) -> Result<u64, Wrong> {
    let bytes = match value {
        DeValue::String(text) => parse_size(text).ok_or_else(|| {
            let wrong = Wrong::new("bad-size", format!("{text:?} is no size"));
            wrong.help(match mend_size(text) {
                Some(meant) => format!("write \"{meant}\""),
                None => "a size is a number of bytes, or a number and one of B, KiB, MiB, GiB, kB, MB, GB, as in \
                         \"16KiB\""
                    .to_owned(),
            })
        })?,
        DeValue::Integer(number) => {
            u64::from_str_radix(number.as_str(), number.radix()).map_err(|_| {
                out_of_range(key, number, show_size(*bounds.start()), show_size(*bounds.end()))
            })?
        }
        _ => {
            return Err(kind(key, "a size", value)
                .help("write a size as in \"16KiB\", \"1MiB\" or 30000"));
        }
    };
    if bounds.contains(&bytes) {
        return Ok(bytes);
    }
    let (least, most) = (show_size(*bounds.start()), show_size(*bounds.end()));
    Err(out_of_range(key, show_size(bytes), least, most))
}

fn out_of_range(
    key: &str,
    is: impl std::fmt::Display,
    least: impl std::fmt::Display,
    most: impl std::fmt::Display,
) -> Wrong {
    let message = format!("`{key}` is {is}, and must be from {least} to {most}");
    Wrong::new("out-of-range", message)
}

pub(super) fn one_of<T: Copy>(
    key: &str,
    value: &DeValue<'_>,
    words: &[(&'static str, T)],
) -> Result<T, Wrong> {
    // Whoever writes true wants something of it, and no word of these is "true".
    if value.as_bool().is_some() {
        let words = either(words.iter().map(|(word, _)| *word));
        return Err(kind(key, "a string", value).help(format!("write {words}")));
    }
    let text = string(key, value)?;
    if let Some((_, meant)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*meant);
    }
    let wrong = Wrong::new("unknown-value", format!("`{key}` cannot be {text:?}"));
    let near = nearest(
        &text.to_ascii_lowercase(),
        words.iter().map(|(word, _)| *word),
    );
    Err(wrong.help(match near {
        Some(word) => format!("write \"{word}\""),
        None => format!("write {}", either(words.iter().map(|(word, _)| *word))),
    }))
}

/// `"a", "b" or "c"`
pub(super) fn either<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut words: Vec<_> = words
        .into_iter()
        .map(|word| format!("\"{word}\""))
        .collect();
    match words.pop() {
        Some(last) if !words.is_empty() => format!("{} or {last}", words.join(", ")),
        Some(only) => only,
        None => String::new(),
    }
}
