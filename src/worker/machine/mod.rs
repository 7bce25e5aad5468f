//! The life of a pool's workers, decided: events in, effects out. No clock, no process, no wait.
//!
//! ```text
//!             wanted                all or, at first, one is ready
//!   Idle ───────────────► Starting ─────────────────────────────► Running ◄─────────────┐
//!    ▲                     │  ▲  │ a worker fails: again, later      │                   │ the old are gone,
//!    │ idle_timeout        │  └──┘                                   │ recycle           │ or the new failed
//!    └─────────────────────┼──────────────────────────────────────── │ ─► Recycling ─────┘
//!                          │ too many failures                       │
//!                          ▼                                         │ stop, or the offline file
//!                       Disabled ─── start, probation ─► Starting    └─► Stopping ─► Stopped ─ start ─► Starting
//! ```
//!
//! Workers come in generations, each of as many workers as the pool has. One generation takes new requests; beside it there may
//! be one that is being started to follow it, and some whose requests come to their end. What holds after every event:
//!
//! - new requests go to workers of one generation, all of them ready and none of them told to end;
//! - a worker is told to end only after new requests no longer go to it;
//! - every worker that was launched is either gone, or ready, or has a deadline.

mod generation;
mod notes;
mod settle;
mod terms;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use generation::{Generation, Phase};
pub use notes::{Note, Why};
pub use terms::{Effect, Event, Rules, Seen, State, Traffic, WorkerId};

/// Whether the pool is to run at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intent {
    Run,
    Stop,
    /// For good.
    End,
}

/// A pool that rapid-fail protection has stopped.
#[derive(Clone, Debug)]
struct Disabled {
    why: String,
    /// When it tries again.
    until: Option<Instant>,
    /// How long it waited for that.
    pause: Duration,
    /// Whether it tries now.
    trying: bool,
}

/// The machine of one pool.
#[derive(Debug)]
pub struct Machine {
    rules: Rules,
    intent: Intent,
    /// Whether the offline file is there.
    offline: bool,
    /// Whether somebody wanted something, since the workers were last idle.
    awake: bool,
    /// Whether the workers stand still.
    frozen: bool,
    disabled: Option<Disabled>,
    /// What takes new requests, or will as soon as one of its workers is ready.
    current: Option<Generation>,
    /// What is to follow it.
    next: Option<Generation>,
    /// What comes to its end.
    leaving: Vec<Generation>,
    generations: u64,
    workers: u64,
    /// When workers failed, as far back as counts.
    failures: VecDeque<Instant>,
    /// How many of them in a row.
    failures_in_row: u32,
    /// Before when no worker is started again.
    retry_at: Option<Instant>,
    /// Recycling that was asked for, and could not begin yet.
    due: Option<Why>,
    /// Before when recycling that nobody ordered is not tried again, since it failed.
    recycle_after: Option<Instant>,
    /// When a worker last had a request.
    used: Instant,
    traffic: Traffic,
}

impl Machine {
    /// A pool whose workers are not started yet. New requests wait until the first event says otherwise.
    pub fn new(rules: Rules, now: Instant) -> Self {
        Self {
            rules,
            intent: Intent::Run,
            offline: false,
            awake: false,
            frozen: false,
            disabled: None,
            current: None,
            next: None,
            leaving: Vec::new(),
            generations: 0,
            workers: 0,
            failures: VecDeque::new(),
            failures_in_row: 0,
            retry_at: None,
            due: None,
            recycle_after: None,
            used: now,
            traffic: Traffic::Hold,
        }
    }

    /// Takes an event, and says what is to be done.
    pub fn on(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.take(event, now, &mut effects);
        self.settle(now, &mut effects);
        effects
    }

    /// How it stands.
    pub fn state(&self) -> State {
        let any = self.current.is_some() || self.next.is_some() || !self.leaving.is_empty();
        let serves = matches!(self.traffic, Traffic::To(_));
        match (self.intent, &self.disabled) {
            (Intent::Stop | Intent::End, _) if any => State::Stopping,
            (Intent::Stop | Intent::End, _) => State::Stopped,
            (Intent::Run, Some(disabled)) if !disabled.trying => State::Disabled,
            (Intent::Run, _) if self.offline && any => State::Stopping,
            (Intent::Run, _) if self.offline => State::Stopped,
            (Intent::Run, _) if self.frozen => State::Idle,
            (Intent::Run, _) if serves && (self.next.is_some() || !self.leaving.is_empty()) => {
                State::Recycling
            }
            (Intent::Run, _) if serves => State::Running,
            (Intent::Run, _) if self.current.is_some() => State::Starting,
            (Intent::Run, _) => State::Idle,
        }
    }

    /// Whether every worker is gone, for good.
    pub fn is_over(&self) -> bool {
        self.intent == Intent::End && self.state() == State::Stopped
    }

    /// When time alone changes something.
    pub fn deadline(&self) -> Option<Instant> {
        let workers = self.generations().flat_map(|it| &it.workers);
        let phases = workers.filter_map(|worker| worker.phase.deadline());
        let missing = self.lacks_workers().then_some(self.retry_at).flatten();
        let probation = self.disabled.as_ref().and_then(|it| match it.trying {
            true => None,
            false => it.until,
        });
        phases
            .chain(missing)
            .chain(probation.filter(|_| self.intent == Intent::Run && !self.offline))
            .chain(self.idle_at())
            .chain(self.recycle_at())
            .min()
    }

    /// What a worker does: `starting`, `ready`, `draining` or `ending`.
    pub fn phase(&self, id: WorkerId) -> &'static str {
        let workers = self.generations().flat_map(|it| &it.workers);
        match workers.filter(|it| it.id == id).map(|it| it.phase).next() {
            Some(Phase::Starting { .. }) => "starting",
            Some(Phase::Ready { .. }) if self.frozen && self.is_current(id) => "suspended",
            Some(Phase::Ready { .. }) => "ready",
            Some(Phase::Draining { .. }) => "draining",
            Some(Phase::Terminating { .. } | Phase::Killed) | None => "ending",
        }
    }

    /// Whether a worker belongs to those that take new requests, or will.
    pub fn is_current(&self, id: WorkerId) -> bool {
        (self.current.as_ref()).is_some_and(|current| current.number == id.generation)
    }

    /// Whether a worker was told to end, or will be.
    pub fn is_leaving(&self, id: WorkerId) -> bool {
        matches!(self.phase(id), "draining" | "ending")
    }

    fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.current.iter().chain(&self.next).chain(&self.leaving)
    }

    fn generations_mut(&mut self) -> impl Iterator<Item = &mut Generation> {
        (self.current.iter_mut())
            .chain(&mut self.next)
            .chain(&mut self.leaving)
    }

    /// When workers that are not used are idle.
    fn idle_at(&self) -> Option<Instant> {
        let may = !self.frozen && (!self.rules.always || self.rules.suspends);
        let timeout = self.rules.idle_timeout.filter(|_| may)?;
        let serves = matches!(self.traffic, Traffic::To(_)) && self.next.is_none();
        serves.then(|| self.used + timeout)
    }

    /// When a generation has served long enough.
    fn recycle_at(&self) -> Option<Instant> {
        let served_since = self.current.as_ref()?.serving_since?;
        let due = served_since + self.rules.recycle_time?;
        let serves = matches!(self.traffic, Traffic::To(_)) && self.should_run();
        let may = serves && self.next.is_none() && self.due.is_none();
        may.then(|| due.max(self.recycle_after.unwrap_or(due)))
    }

    /// Whether there are to be workers.
    fn should_run(&self) -> bool {
        self.intent == Intent::Run
            && !self.offline
            && self.disabled.as_ref().is_none_or(|it| it.trying)
            && (self.rules.always || self.awake)
    }

    fn lacks_workers(&self) -> bool {
        let wanted = self.wanted_workers();
        let has = (self.current.as_ref()).map_or(0, Generation::len_but_ending);
        self.should_run() && !self.frozen && has < wanted
    }

    /// On probation one worker is tried.
    fn wanted_workers(&self) -> usize {
        match &self.disabled {
            Some(_) => 1,
            None => self.rules.workers.max(1),
        }
    }

    fn take(&mut self, event: Event, now: Instant, effects: &mut Vec<Effect>) {
        match event {
            Event::Tick => {}
            Event::Wanted => {
                self.used = now;
                self.awake = true;
                self.thaw(effects);
            }
            Event::Ready(id) => self.ready(id, now),
            Event::Died(id, why) => self.died(id, why, now, effects),
            Event::Unresponsive(id, why) => self.unresponsive(id, why, now, effects),
            Event::Drained(id) => {
                let worker = self.generations_mut().find_map(|it| it.find(id));
                if let Some(worker) = worker
                    && let Phase::Draining { until } = worker.phase
                {
                    let kill_at = until.max(now + TERMINATE_GRACE);
                    worker.phase = Phase::Terminating { kill_at };
                    effects.push(Effect::Terminate(id));
                }
            }
            Event::Seen(id, seen) => self.seen(id, seen, now),
            Event::Recycle(why) => self.due = Some(why),
            Event::Stop => self.intend(Intent::Stop, now, effects),
            Event::Start => {
                self.forgive();
                self.intend(Intent::Run, now, effects);
            }
            Event::Reload(rules) => {
                self.rules = *rules;
                // What failed may be what was changed.
                self.forgive();
                self.due = Some(Why::Configuration);
            }
            Event::Offline(there) => {
                if there != self.offline {
                    effects.push(Effect::Tell(Note::Offline(there)));
                }
                self.offline = there;
            }
            Event::End => self.intend(Intent::End, now, effects),
        }
    }

    /// The end is never taken back.
    fn intend(&mut self, intent: Intent, now: Instant, effects: &mut Vec<Effect>) {
        if self.intent == intent || self.intent == Intent::End {
            return;
        }
        self.intent = intent;
        match intent {
            Intent::Run => {
                self.used = now;
                effects.push(Effect::Tell(Note::Start));
            }
            Intent::Stop => {
                // What waited is let go, and whoever comes after the next start has to want it anew.
                self.awake = false;
                effects.push(Effect::Tell(Note::Stop));
            }
            Intent::End => {}
        }
    }

    /// Forgets what failed.
    fn forgive(&mut self) {
        self.disabled = None;
        self.failures.clear();
        self.failures_in_row = 0;
        self.retry_at = None;
        self.recycle_after = None;
    }

    fn ready(&mut self, id: WorkerId, now: Instant) {
        let worker = self.generations_mut().find_map(|it| it.find(id));
        if let Some(worker) = worker
            && let Phase::Starting { .. } = worker.phase
        {
            worker.phase = Phase::Ready { since: now };
        }
    }

    fn seen(&mut self, id: WorkerId, seen: Seen, now: Instant) {
        let Some(current) = &mut self.current else {
            return;
        };
        let Some(worker) = current.find(id) else {
            return;
        };
        if seen.requests != worker.requests || seen.in_flight > 0 {
            worker.requests = seen.requests;
            self.used = now;
        }
        let over = |limit: Option<u64>, has| limit.filter(|limit| has >= *limit);
        let memory = seen.memory.unwrap_or(0);
        let why = if let Some(limit) = over(self.rules.recycle_requests, seen.requests) {
            Some(Why::Requests(limit))
        } else {
            over(self.rules.recycle_memory, memory).map(|limit| Why::Memory { memory, limit })
        };
        let too_soon = self.recycle_after.is_some_and(|after| now < after);
        if why.is_some() && self.due.is_none() && self.next.is_none() && !too_soon {
            self.due = why;
        }
    }

    fn died(&mut self, id: WorkerId, why: String, now: Instant, effects: &mut Vec<Effect>) {
        let Some(worker) = self.generations_mut().find_map(|it| it.remove(id)) else {
            return;
        };
        let was_ready = match worker.phase {
            Phase::Starting { .. } => None,
            Phase::Ready { since } => Some(since),
            // It was told to, or did so before.
            Phase::Draining { .. } | Phase::Terminating { .. } | Phase::Killed => return,
        };
        if was_ready.is_some_and(|since| now.duration_since(since) >= STABLE_AFTER) {
            self.failures_in_row = 0;
        }
        self.failed(id, why, now, effects);
    }

    fn unresponsive(&mut self, id: WorkerId, why: String, now: Instant, effects: &mut Vec<Effect>) {
        let Some(worker) = self.generations_mut().find_map(|it| it.find(id)) else {
            return;
        };
        if !matches!(worker.phase, Phase::Ready { .. }) {
            return;
        }
        worker.phase = Phase::Killed;
        effects.push(Effect::Kill(id));
        self.failed(id, why, now, effects);
    }
}

/// How long a worker may take from SIGTERM to its end, where shutdown_timeout leaves it no more: systemd and Docker give 90 and
/// 10 seconds.
pub const TERMINATE_GRACE: Duration = Duration::from_secs(10);

/// A worker that served for so long did not fail in its start: the next one is started as if it were the first that failed.
const STABLE_AFTER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
