//! Times as the logs write them.
//!
//! Thousands of lines fall into one second: the texts of a second are made once and kept; only the milliseconds are
//! written anew.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// The texts of the second that was asked for last.
pub(super) struct Clock {
    /// Since 1970; none before the first use.
    second: Option<i64>,
    /// `2026-01-02T03:04:05.678Z`
    rfc3339: Vec<u8>,
    /// `02/Jan/2026:03:04:05 +0000`
    common: Vec<u8>,
}

impl Clock {
    pub(super) const fn new() -> Self {
        Self {
            second: None,
            rfc3339: Vec::new(),
            common: Vec::new(),
        }
    }

    /// Makes the texts those of this time.
    pub(super) fn set(&mut self, time: SystemTime) {
        // A clock before 1970 is a clock that was never set; its lines say 1970.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = i64::try_from(since.as_secs()).unwrap_or(0);
        if self.second != Some(second) {
            self.write_second(second);
        }
        let millis = since.subsec_millis();
        for (at, unit) in [(20, 100), (21, 10), (22, 1)] {
            // The remainder is a single digit, so the cast loses nothing.
            self.rfc3339[at] = b'0' + (millis / unit % 10) as u8;
        }
    }

    fn write_second(&mut self, second: i64) {
        let at = OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, seconds) = at.to_hms();
        self.rfc3339.clear();
        self.common.clear();
        // A write to a Vec cannot fail.
        let _ = write!(
            self.rfc3339,
            "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{seconds:02}.000Z",
            u8::from(month)
        );
        let name = MONTHS[usize::from(u8::from(month)) - 1];
        let _ = write!(
            self.common,
            "{day:02}/{name}/{year:04}:{hour:02}:{minute:02}:{seconds:02} +0000"
        );
        self.second = Some(second);
    }

    /// `2026-01-02T03:04:05.678Z`
    pub(super) fn rfc3339(&self) -> &str {
        std::str::from_utf8(&self.rfc3339).unwrap_or_default()
    }

    /// `2026-01-02`
    pub(super) fn date(&self) -> &[u8] {
        &self.rfc3339[..10]
    }

    /// `03:04:05`
    pub(super) fn time_of_day(&self) -> &[u8] {
        &self.rfc3339[11..19]
    }

    /// `02/Jan/2026:03:04:05 +0000`
    pub(super) fn common(&self) -> &[u8] {
        &self.common
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
