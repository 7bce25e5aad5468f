//! The times of the day at which workers are replaced, by the local clock.

use chrono::{Local, NaiveDateTime, Timelike as _};

use crate::config::TimeOfDay;

/// Rings at each of some times of the day.
pub(super) struct Clock {
    times: Vec<TimeOfDay>,
    /// Until when it was looked.
    looked: NaiveDateTime,
}

impl Clock {
    pub(super) fn new(times: &[TimeOfDay]) -> Self {
        Self {
            times: times.to_vec(),
            looked: Local::now().naive_local(),
        }
    }

    /// The time that has come since it was looked last, if one has.
    pub(super) fn rings(&mut self) -> Option<String> {
        if self.times.is_empty() {
            return None;
        }
        self.rings_at(Local::now().naive_local())
    }

    fn rings_at(&mut self, now: NaiveDateTime) -> Option<String> {
        let before = std::mem::replace(&mut self.looked, now);
        // A clock that was set, or summer time: what was passed over is not made up for, and nothing rings twice in a minute.
        if now <= before || now - before > chrono::TimeDelta::minutes(1) {
            return None;
        }
        let is_due = |time: &&TimeOfDay| {
            let (hour, minute) = (u32::from(time.hour), u32::from(time.minute));
            let is = |at: NaiveDateTime| at.hour() == hour && at.minute() == minute;
            is(now) && !is(before)
        };
        self.times.iter().find(is_due).map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDate, TimeDelta};

    use super::*;

    #[test]
    fn each_time_of_the_day_rings_once_a_day() {
        let times = [(3, 30), (0, 0)].map(|(hour, minute)| TimeOfDay { hour, minute });
        let start = NaiveDate::from_ymd_opt(2026, 3, 1).and_then(|it| it.and_hms_opt(23, 0, 0));
        let mut now = start.expect("a time");
        let mut clock = Clock {
            times: times.to_vec(),
            looked: now,
        };
        let mut rang = Vec::new();
        for _ in 0..48 * 3600 {
            now += TimeDelta::seconds(1);
            rang.extend(clock.rings_at(now));
        }
        assert_eq!(rang, ["00:00", "03:30", "00:00", "03:30"]);
    }

    #[test]
    fn a_clock_that_is_set_rings_for_nothing_that_it_passed_over() {
        let times = [TimeOfDay { hour: 3, minute: 0 }];
        let start = NaiveDate::from_ymd_opt(2026, 3, 1).and_then(|it| it.and_hms_opt(2, 59, 0));
        let start = start.expect("a time");
        let mut clock = Clock {
            times: times.to_vec(),
            looked: start,
        };
        assert_eq!(clock.rings_at(start + TimeDelta::hours(2)), None);
        assert_eq!(clock.rings_at(start), None);
        assert_eq!(
            clock.rings_at(start + TimeDelta::minutes(1)).as_deref(),
            Some("03:00")
        );
    }
}
