//! When to ask for what. Pure: the time and chance are handed in.
//!
//! ```text
//!            start ─► due ─► in flight ─┬─ answered ─► due at half of its life
//!                      ▲                └─ not ──────► due after 10 s, 20 s, 40 s … 1 h
//!                      └──────────────────────────────────────┘
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::subject::Fingerprint;

/// How patient it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The least between two answers, however short they are valid.
    pub(super) refresh_min: Duration,
    /// The most between two answers, however long they are valid: half of the ten days that CAs may give.
    pub(super) refresh_max: Duration,
    /// After a first failure.
    pub(super) retry_min: Duration,
    /// After many.
    pub(super) retry_max: Duration,
}

impl Pace {
    pub(super) const USUAL: Self = Self {
        refresh_min: Duration::from_secs(60),
        refresh_max: Duration::from_secs(5 * 86_400),
        retry_min: Duration::from_secs(10),
        retry_max: Duration::from_secs(3600),
    };
}

/// The life of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) begins: SystemTime,
    /// When there is to be a newer one.
    pub(super) ends: SystemTime,
    /// When it stops being shown: then, or before.
    pub(super) until: SystemTime,
}

/// Every certificate that is asked for.
#[derive(Debug)]
pub(super) struct Schedule {
    pace: Pace,
    entries: HashMap<Fingerprint, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// The responder, by host and port.
    responder: Arc<str>,
    due: SystemTime,
    in_flight: bool,
    failures: u32,
    /// When what is shown runs out; none once that is told.
    until: Option<SystemTime>,
    /// When the certificate itself ends, and with it every answer.
    not_after: SystemTime,
}

/// Chance between 0 and 1, for machines that were started together not to ask together.
pub(super) type Chance = f64;

impl Schedule {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            entries: HashMap::new(),
        }
    }

    /// Takes a certificate up, with the answer that there is already.
    pub(super) fn add(
        &mut self,
        fingerprint: Fingerprint,
        responder: Arc<str>,
        not_after: SystemTime,
        life: Option<Life>,
        (now, chance): (SystemTime, Chance),
    ) {
        let due = life.map_or(now, |life| self.refresh(life, now, chance));
        let entry = Entry {
            responder,
            due,
            in_flight: false,
            failures: 0,
            until: life.map(|life| life.until),
            not_after,
        };
        self.entries.insert(fingerprint, entry);
    }

    /// Whether a certificate was taken up.
    pub(super) fn knows(&self, fingerprint: Fingerprint) -> bool {
        self.entries.contains_key(&fingerprint)
    }

    /// Lets go of every other certificate.
    pub(super) fn retain(&mut self, keep: impl Fn(Fingerprint) -> bool) {
        self.entries.retain(|fingerprint, _| keep(*fingerprint));
    }

    /// What is to be asked for now; whoever calls this asks. Those that have waited longest come first.
    pub(super) fn start(&mut self, now: SystemTime) -> Vec<Fingerprint> {
        let mut at_work: HashMap<Arc<str>, usize> = HashMap::new();
        for entry in self.entries.values().filter(|entry| entry.in_flight) {
            *at_work.entry(Arc::clone(&entry.responder)).or_default() += 1;
        }
        let mut total: usize = at_work.values().sum();
        let latest = now + self.pace.refresh_max * 2;
        let mut due: Vec<_> = (self.entries.iter_mut())
            .filter(|(_, entry)| !entry.in_flight && now < entry.not_after)
            // A clock that was set back leaves nobody waiting until it has caught up.
            .filter(|(_, entry)| entry.due <= now || entry.due > latest)
            .collect();
        due.sort_unstable_by_key(|(fingerprint, entry)| (entry.due, **fingerprint));
        let mut started = Vec::new();
        for (fingerprint, entry) in due {
            let of_responder = at_work.entry(Arc::clone(&entry.responder)).or_default();
            if total < IN_FLIGHT_MAX && *of_responder < IN_FLIGHT_OF_RESPONDER_MAX {
                total += 1;
                *of_responder += 1;
                entry.in_flight = true;
                started.push(*fingerprint);
            }
        }
        started
    }

    /// An answer came.
    pub(super) fn answered(
        &mut self,
        fingerprint: Fingerprint,
        life: Life,
        (now, chance): (SystemTime, Chance),
    ) {
        let due = self.refresh(life, now, chance);
        if let Some(entry) = self.entries.get_mut(&fingerprint) {
            entry.due = due;
            entry.in_flight = false;
            entry.failures = 0;
            entry.until = Some(life.until);
        }
    }

    /// None came, or none that is of use. How often in a row by now.
    pub(super) fn failed(
        &mut self,
        fingerprint: Fingerprint,
        (now, chance): (SystemTime, Chance),
    ) -> u32 {
        let pace = self.pace;
        let Some(entry) = self.entries.get_mut(&fingerprint) else {
            return 0;
        };
        let doubled = 2_u32.saturating_pow(entry.failures);
        let wait = pace.retry_min.saturating_mul(doubled).min(pace.retry_max);
        entry.in_flight = false;
        entry.failures = entry.failures.saturating_add(1);
        entry.due = now + wait.mul_f64(0.75 + chance / 4.0);
        entry.failures
    }

    /// Whose answer has run out since this was last asked.
    pub(super) fn ran_out(&mut self, now: SystemTime) -> Vec<Fingerprint> {
        let mut out = Vec::new();
        for (fingerprint, entry) in &mut self.entries {
            if entry.until.is_some_and(|until| until <= now) {
                entry.until = None;
                out.push(*fingerprint);
            }
        }
        out
    }

    /// How long there is nothing to do, if nothing that is in flight ends meanwhile.
    pub(super) fn rest(&self, now: SystemTime) -> Duration {
        let any_in_flight = self.entries.values().any(|entry| entry.in_flight);
        let waiting = self.entries.values().filter(|entry| !entry.in_flight);
        let due = waiting
            .filter(|entry| now < entry.not_after)
            // What is due already waits for one that is in flight.
            .filter(|entry| !any_in_flight || entry.due > now)
            .map(|entry| entry.due);
        let until = self.entries.values().filter_map(|entry| entry.until);
        due.chain(until)
            .min()
            .map_or(REST_MAX, |next| {
                next.duration_since(now).unwrap_or_default()
            })
            .clamp(REST_MIN, REST_MAX)
    }

    /// When a certificate is asked for next, and how often that has failed in a row.
    pub(super) fn next(&self, fingerprint: Fingerprint) -> Option<(SystemTime, u32)> {
        let entry = self.entries.get(&fingerprint)?;
        Some((entry.due, entry.failures))
    }

    /// Half of an answer's life. Where a responder gives one that is older than that, a quarter of what is left.
    fn refresh(&self, life: Life, now: SystemTime, chance: Chance) -> SystemTime {
        let between =
            |later: SystemTime, earlier| later.duration_since(earlier).unwrap_or_default();
        // What stops being shown before there is a newer one has to be replaced before.
        let ends = life.ends.min(life.until);
        let whole = between(ends, life.begins);
        let half = between(life.begins + whole / 2, now) + whole.mul_f64(chance / 20.0);
        let wait = half.max(between(ends, now) / 4);
        now + wait.clamp(self.pace.refresh_min, self.pace.refresh_max)
    }
}

/// Requests at once.
const IN_FLIGHT_MAX: usize = 8;

/// Of them to one responder: one that is dead does not keep others waiting.
const IN_FLIGHT_OF_RESPONDER_MAX: usize = 2;

/// Looks again at least so often: clocks are set, and machines sleep.
const REST_MAX: Duration = Duration::from_secs(60);

/// Keeps a slip here from taking a core.
const REST_MIN: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests;
