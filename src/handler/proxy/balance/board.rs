//! How all upstreams of a proxy stand, shared by all data threads: decided under a lock, published in one word for each.
//!
//! A request reads one word that hardly ever changes, and only where something is amiss the words of the upstreams. The lock
//! is taken when something goes wrong or comes right again.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::outlook::{Unwell, UpstreamFailure};
use super::standing::{Age, Answers, Change, Mode, Standing};
use crate::config;
use crate::model::Reason;

/// How all upstreams stand.
pub(super) struct Board {
    upstreams: Box<[Published]>,
    /// Upstreams that are not simply up.
    troubled: AtomicUsize,
    standings: Mutex<Box<[Standing]>>,
    born: Instant,
    rules: config::Ejection,
    slow_start: Duration,
}

struct Published {
    name: String,
    /// Takes requests of its own accord: others may be ejected while it is there.
    counts: bool,
    mode: AtomicU64,
    /// Since when its exchanges fail, in milliseconds and one; 0: the last one did not.
    failing: AtomicU64,
    /// Since when its state is what it is, in milliseconds.
    since: AtomicU64,
    last_failure: Mutex<Option<UpstreamFailure>>,
}

impl Board {
    /// `upstreams`: the name of each, and whether it gets new clients at all.
    pub(super) fn new(
        upstreams: impl Iterator<Item = (String, bool)>,
        config: &config::Balance,
    ) -> Self {
        let upstreams: Box<[Published]> = upstreams
            .map(|(name, counts)| Published {
                name,
                counts,
                mode: AtomicU64::new(pack(Mode::Up)),
                failing: AtomicU64::new(0),
                since: AtomicU64::new(0),
                last_failure: Mutex::default(),
            })
            .collect();
        Self {
            standings: Mutex::new(upstreams.iter().map(|_| Standing::default()).collect()),
            upstreams,
            troubled: AtomicUsize::new(0),
            born: Instant::now(),
            rules: config.eject,
            slow_start: config.slow_start,
        }
    }

    pub(super) fn now(&self) -> Age {
        self.born.elapsed()
    }

    /// Whether any upstream is not simply up.
    pub(super) fn is_troubled(&self) -> bool {
        self.troubled.load(Relaxed) > 0
    }

    pub(super) fn mode(&self, index: usize) -> Mode {
        unpack(self.upstreams[index].mode.load(Relaxed))
    }

    pub(super) fn name(&self, index: usize) -> &str {
        &self.upstreams[index].name
    }

    /// Whether requests may go to it.
    pub(super) fn is_usable(&self, index: usize) -> bool {
        matches!(self.mode(index), Mode::Up | Mode::Warming(_))
    }

    /// The share of its share that it gets now, in percent.
    pub(super) fn warmth(&self, index: usize, now: Age) -> u64 {
        let Mode::Warming(since) = self.mode(index) else {
            return 100;
        };
        let warm = now.saturating_sub(since);
        if warm >= self.slow_start {
            self.change(index, |standing| {
                standing.warmed();
                None
            });
            return 100;
        }
        let percent = warm.as_millis() * 100 / self.slow_start.as_millis().max(1);
        u64::try_from(percent).unwrap_or(100).max(WARMTH_MIN)
    }

    /// Whether this request may find out whether an ejected upstream works again.
    pub(super) fn try_again(&self, index: usize, now: Age) -> bool {
        let Mode::Ejected(until) = self.mode(index) else {
            return false;
        };
        let mut may = false;
        if until <= now {
            self.change(index, |standing| {
                may = standing.try_again(now);
                None
            });
        }
        may
    }

    /// The request that was to find out ended without finding out.
    pub(super) fn not_tried(&self, index: usize) {
        self.change(index, |standing| {
            standing.not_tried();
            None
        });
    }

    /// An exchange came to an answer; whether requests go to it again now.
    pub(super) fn succeeded(&self, index: usize, tried: bool) -> bool {
        let upstream = &self.upstreams[index];
        if upstream.failing.load(Relaxed) == 0 && !tried {
            return false;
        }
        upstream.failing.store(0, Relaxed);
        let now = self.now();
        let change = self.change(index, |standing| standing.succeeded(now, tried));
        if change == Some(Change::Back) {
            tracing::info!(
                upstream = upstream.name,
                "an upstream that was ejected answers and gets requests again"
            );
        }
        change.is_some()
    }

    /// An exchange failed. `reason`: what its request is refused for; none where it was answered, and the answer broke off.
    pub(super) fn failed(&self, index: usize, tried: bool, reason: Option<Reason>, cause: &str) {
        let now = self.now();
        self.fails(index, now);
        self.note_failure(index, reason, cause);
        let may_eject = self.others_usable(index) > 0;
        let change = self.change(index, |standing| {
            standing.failed(now, tried, &self.rules, may_eject)
        });
        self.tell_ejection(index, change, cause);
    }

    /// For how long its exchanges have failed.
    pub(super) fn failing_for(&self, index: usize) -> Duration {
        match self.upstreams[index].failing.load(Relaxed) {
            0 => Duration::ZERO,
            since => self.now().saturating_sub(Age::from_millis(since - 1)),
        }
    }

    /// Whether its latest exchange failed.
    pub(super) fn is_failing(&self, index: usize) -> bool {
        self.upstreams[index].failing.load(Relaxed) != 0
    }

    fn note_failure(&self, index: usize, reason: Option<Reason>, cause: &str) {
        let noted = UpstreamFailure {
            time: SystemTime::now(),
            what: cause.into(),
            reason,
        };
        *lock(&self.upstreams[index].last_failure) = Some(noted);
    }

    /// When an exchange or a check of its health failed last, and why.
    pub(super) fn last_failure(&self, index: usize) -> Option<UpstreamFailure> {
        lock(&self.upstreams[index].last_failure).clone()
    }

    /// For how long its state has been what it is.
    pub(super) fn stands_for(&self, index: usize) -> Duration {
        let since = self.upstreams[index].since.load(Relaxed);
        self.now().saturating_sub(Age::from_millis(since))
    }

    /// Notes the time of the first failure in a row.
    fn fails(&self, index: usize, now: Age) {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX - 1) + 1;
        let failing = &self.upstreams[index].failing;
        let _ = failing.compare_exchange(0, now, Relaxed, Relaxed);
    }

    /// It answered with 5xx; never more than half of all are ejected for that, since a fault that all have is none of theirs.
    pub(super) fn erred(&self, index: usize, answers: Answers) {
        if self.rules.errors == 0 {
            return;
        }
        let now = self.now();
        let all = self.upstreams.iter().filter(|it| it.counts).count();
        let may_eject = self.others_usable(index) * 2 >= all;
        let change = self.change(index, |standing| {
            standing.erred(now, answers, &self.rules, may_eject)
        });
        let cause = format!("{}% of its answers or more were 5xx", self.rules.errors);
        if change.is_some() {
            self.fails(index, now);
            self.note_failure(index, None, &cause);
        }
        self.tell_ejection(index, change, &cause);
    }

    /// A check of its health came out so; whether requests go to it again now.
    pub(super) fn checked(
        &self,
        index: usize,
        outcome: Result<(), &Unwell>,
        rules: &config::Health,
    ) -> bool {
        let now = self.now();
        let upstream = &self.upstreams[index].name;
        let good = outcome.is_ok();
        if let Err(unwell) = outcome {
            self.note_failure(index, unwell.reason, &unwell.what);
        }
        let outcome = outcome.map_err(|unwell| unwell.what.as_str());
        let change = self.change(index, |standing| standing.checked(now, good, rules));
        if change == Some(Change::Recovered) && self.is_usable(index) {
            // Requests failed before that, and none has since.
            self.upstreams[index].failing.store(0, Relaxed);
        }
        match (change, outcome) {
            (Some(Change::Down), Err(cause)) => tracing::warn!(
                upstream,
                cause,
                "an upstream is down by its health checks and gets no requests"
            ),
            (Some(Change::Recovered), _) => tracing::info!(
                upstream,
                "an upstream is well by its health checks and gets requests again"
            ),
            (_, Err(cause)) => tracing::debug!(upstream, cause, "a health check failed"),
            _ => {}
        }
        change == Some(Change::Recovered)
    }

    fn tell_ejection(&self, index: usize, change: Option<Change>, cause: &str) {
        let upstream = &self.upstreams[index].name;
        match change {
            Some(Change::Ejected(span)) => tracing::warn!(
                upstream, cause, for_time = %humantime::format_duration(span),
                "an upstream is ejected and gets no requests"
            ),
            Some(Change::Spared) => tracing::warn!(
                upstream,
                cause,
                "an upstream fails and would be ejected, were it not the last one"
            ),
            _ => {}
        }
    }

    fn others_usable(&self, except: usize) -> usize {
        let others = self.upstreams.iter().enumerate();
        others
            .filter(|(index, it)| *index != except && it.counts && self.is_usable(*index))
            .count()
    }

    /// Changes how an upstream stands, and publishes it.
    fn change(
        &self,
        index: usize,
        change: impl FnOnce(&mut Standing) -> Option<Change>,
    ) -> Option<Change> {
        let mut standings = self.lock();
        let changed = change(&mut standings[index]);
        let mode = standings[index].mode();
        let before = self.mode(index);
        if std::mem::discriminant(&mode) != std::mem::discriminant(&before) {
            let now = u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX);
            self.upstreams[index].since.store(now, Relaxed);
        }
        self.upstreams[index].mode.store(pack(mode), Relaxed);
        let troubled = standings.iter().filter(|it| it.mode() != Mode::Up).count();
        self.troubled.store(troubled, Relaxed);
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Box<[Standing]>> {
        lock(&self.standings)
    }
}

/// Nothing is left half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What it is in the lowest three bits, and above them since or until when, in milliseconds.
fn pack(mode: Mode) -> u64 {
    let at = |age: Age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX >> 3) << 3;
    match mode {
        Mode::Up => 0,
        Mode::Warming(since) => 1 | at(since),
        Mode::Ejected(until) => 2 | at(until),
        Mode::Trying => 3,
        Mode::Down => 4,
    }
}

fn unpack(word: u64) -> Mode {
    let at = Age::from_millis(word >> 3);
    match word & 7 {
        0 => Mode::Up,
        1 => Mode::Warming(at),
        2 => Mode::Ejected(at),
        3 => Mode::Trying,
        _ => Mode::Down,
    }
}

/// Envoy's min_weight_percent: with less, an upstream that is back would hardly be noticed.
const WARMTH_MIN: u64 = 10;
