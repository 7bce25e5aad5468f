//! How one upstream stands: whether requests may go to it, and since when. Pure; the time comes from outside.
//!
//! ```text
//!          failures in a row, or too many 5xx              its time has come: one request tries
//!   up ────────────────────────────────────────► ejected ──────────────────────────────────────► up, warming
//!                                                   ▲  │ the try failed: longer than before
//!                                                   └──┘
//! ```
//!
//! What checks of its health say stands beside that: down by them, it is not tried by requests at all.

use std::time::Duration;

use crate::config::{Ejection, Health};

/// Time since the balancer was made.
pub(super) type Age = Duration;

/// How one upstream stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    ejected: Option<Ejected>,
    /// Whether it gets fewer requests than its share, being back for a short time.
    warming: bool,
    /// Since when it works.
    back_at: Age,
    /// Failures one after the other.
    failures: u32,
    /// Ejections of late; each makes the next one longer.
    times: u32,
    window: Option<Window>,
    checks: Checks,
}

#[derive(Clone, Copy, Debug)]
struct Ejected {
    until: Age,
    /// A request is on its way to find out whether it works again.
    trying: bool,
}

/// A stretch of time in which an upstream's answers are counted.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: Age,
    before: Answers,
}

/// Answers of an upstream, ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// All of them.
    pub(super) all: u64,
    /// Those of status 5xx.
    pub(super) errors: u64,
}

/// What checks of its health have said.
#[derive(Clone, Copy, Debug, Default)]
struct Checks {
    down: bool,
    /// The last verdict, and how many times in a row; none before the first.
    last: Option<(bool, u32)>,
}

/// Whether requests may go to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// They may.
    Up,
    /// They may, fewer than otherwise: it is back since then.
    Warming(Age),
    /// They may not until then, and then one may try.
    Ejected(Age),
    /// They may not, and one tries just now.
    Trying,
    /// They may not: its checks say so.
    Down,
}

/// What a change was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It gets no requests for so long.
    Ejected(Duration),
    /// It would get none, were it not the last one.
    Spared,
    /// It gets requests again.
    Back,
    /// Its checks took it out.
    Down,
    /// Its checks brought it back.
    Recovered,
}

impl Standing {
    pub(super) fn mode(&self) -> Mode {
        match self.ejected {
            _ if self.checks.down => Mode::Down,
            Some(Ejected { trying: true, .. }) => Mode::Trying,
            Some(Ejected { until, .. }) => Mode::Ejected(until),
            None if self.warming => Mode::Warming(self.back_at),
            None => Mode::Up,
        }
    }

    /// It has been back for long enough to be as any other.
    pub(super) fn warmed(&mut self) {
        self.warming = false;
    }

    /// Whether this request may find out whether it works again. If so, the answer must be told: by [`Standing::failed`],
    /// [`Standing::succeeded`] or [`Standing::not_tried`].
    pub(super) fn try_again(&mut self, now: Age) -> bool {
        match &mut self.ejected {
            Some(ejected) if !self.checks.down && !ejected.trying && ejected.until <= now => {
                ejected.trying = true;
                true
            }
            _ => false,
        }
    }

    /// The request that was to find out ended without finding out.
    pub(super) fn not_tried(&mut self) {
        if let Some(ejected) = &mut self.ejected {
            ejected.trying = false;
        }
    }

    /// An exchange came to an answer. Of those that began before an ejection nobody can say what they prove.
    pub(super) fn succeeded(&mut self, now: Age, tried: bool) -> Option<Change> {
        self.failures = 0;
        let ejected = self.ejected?;
        if !tried && ejected.until > now {
            return None;
        }
        self.ejected = None;
        (self.warming, self.back_at) = (true, now);
        self.window = None;
        Some(Change::Back)
    }

    /// An exchange failed. `may_eject`: whether another upstream is there to take its requests.
    pub(super) fn failed(
        &mut self,
        now: Age,
        tried: bool,
        rules: &Ejection,
        may_eject: bool,
    ) -> Option<Change> {
        if self.ejected.is_some() {
            return tried.then(|| self.eject(now, rules));
        }
        self.failures = self.failures.saturating_add(1);
        if rules.after == 0 || self.failures < rules.after {
            return None;
        }
        if !may_eject {
            // Said once in a row of failures.
            return (self.failures == rules.after).then_some(Change::Spared);
        }
        Some(self.eject(now, rules))
    }

    /// It answered with 5xx. `answers`: all that it ever gave, this one among them.
    pub(super) fn erred(
        &mut self,
        now: Age,
        answers: Answers,
        rules: &Ejection,
        may_eject: bool,
    ) -> Option<Change> {
        // The answer that opens a window is counted in it.
        let opened = Window {
            since: now,
            before: Answers {
                all: answers.all.saturating_sub(1),
                errors: answers.errors.saturating_sub(1),
            },
        };
        let window = self
            .window
            .filter(|window| now.saturating_sub(window.since) <= WINDOW)
            .unwrap_or(opened);
        self.window = Some(window);
        let all = answers.all.saturating_sub(window.before.all);
        let errors = answers.errors.saturating_sub(window.before.errors);
        let too_many = errors * 100 >= all * u64::from(rules.errors);
        if rules.errors == 0 || all < WINDOW_ANSWERS_MIN || !too_many || self.ejected.is_some() {
            return None;
        }
        self.window = None;
        may_eject.then(|| self.eject(now, rules))
    }

    /// Each time longer than the last, and shorter again by one step for each step that it has worked since.
    fn eject(&mut self, now: Age, rules: &Ejection) -> Change {
        if self.ejected.is_none() {
            let worked = now.saturating_sub(self.back_at);
            let steps = worked.as_millis() / rules.time.as_millis().max(1);
            let steps = u32::try_from(steps).unwrap_or(u32::MAX);
            self.times = self.times.saturating_sub(steps);
        }
        let span = rules
            .time
            .saturating_mul(1_u32.checked_shl(self.times).unwrap_or(u32::MAX))
            .min(rules.time_max);
        self.times = (self.times + 1).min(TIMES_MAX);
        self.failures = 0;
        self.warming = false;
        self.ejected = Some(Ejected {
            until: now + span,
            trying: false,
        });
        Change::Ejected(span)
    }

    /// A check of its health came out so.
    pub(super) fn checked(&mut self, now: Age, good: bool, rules: &Health) -> Option<Change> {
        let checks = &mut self.checks;
        let row = match checks.last {
            Some((last, row)) if last == good => row.saturating_add(1),
            // Nothing is known of it before the first check, which then decides alone.
            None => u32::MAX,
            _ => 1,
        };
        checks.last = Some((good, row));
        match (checks.down, good) {
            (false, false) if row >= rules.unhealthy_after => {
                checks.down = true;
                Some(Change::Down)
            }
            (true, true) if row >= rules.healthy_after => {
                checks.down = false;
                self.failures = 0;
                (self.warming, self.back_at) = (true, now);
                Some(Change::Recovered)
            }
            _ => None,
        }
    }
}

/// Envoy's `interval` of outlier detection.
const WINDOW: Duration = Duration::from_secs(10);

/// Envoy's `failure_percentage_request_volume`.
const WINDOW_ANSWERS_MIN: u64 = 50;

/// Doubled so often, any time is above any bound.
const TIMES_MAX: u32 = 31;

#[cfg(test)]
mod tests;
