//! What follows from how things stand: asked after every event, until all is as it should be.

use std::time::{Duration, Instant};

use super::generation::{Generation, Phase, Worker};
use super::{Disabled, Effect, Intent, Machine, Note, TERMINATE_GRACE, Traffic, Why, WorkerId};

impl Machine {
    pub(super) fn settle(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.probation(now, effects);
        self.start_deadlines(now, effects);
        self.idle(now, effects);
        if let Some(at) = self.recycle_at()
            && now >= at
        {
            let served = self.rules.recycle_time.unwrap_or_default();
            self.due = Some(Why::Time(served));
        }
        if self.should_run() {
            self.recycle(now, effects);
            self.follow(now, effects);
            self.fill(now, effects);
        } else {
            let ending = self.current.take().into_iter().chain(self.next.take());
            self.leaving.extend(ending);
            self.frozen = false;
            self.due = None;
        }
        self.direct(now, effects);
        self.end_leaving(now, effects);
        self.end_deadlines(now, effects);
        self.leaving
            .retain(|generation| !generation.workers.is_empty());
    }

    /// A worker failed, that nobody had told to end.
    pub(super) fn failed(
        &mut self,
        id: WorkerId,
        why: String,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        effects.push(Effect::Tell(Note::Failed(id, why.clone())));
        if let Some(next) = self.next.take_if(|next| next.number == id.generation) {
            // Whoever serves goes on serving: to count this would let a bad release disable a good one.
            effects.push(Effect::Tell(Note::Kept(next.number, why)));
            self.recycle_after = Some(now + RECYCLE_PAUSE);
            self.leaving.push(next);
            return;
        }
        if self
            .current
            .as_ref()
            .is_none_or(|it| it.number != id.generation)
        {
            return;
        }
        if self
            .current
            .as_ref()
            .is_some_and(|it| it.workers.is_empty())
            && self.frozen
        {
            // Nobody wants it; the next request has another.
            (self.frozen, self.awake) = (false, false);
        }
        self.failures_in_row += 1;
        let pause = pause(self.failures_in_row);
        self.retry_at = Some(now + pause);
        if let Some(disabled) = &mut self.disabled {
            if std::mem::take(&mut disabled.trying) {
                disabled.pause = (disabled.pause * 2).min(PROBATION_PAUSE_MAX);
                disabled.until = Some(now + disabled.pause);
                disabled.why = why;
            }
            return;
        }
        self.failures.push_back(now);
        let within = self.rules.failures_within;
        self.failures.retain(|at| now.duration_since(*at) < within);
        let failures = self.failures.len();
        match self.rules.failures_max {
            Some(max) if failures >= max => {
                effects.push(Effect::Tell(Note::Disabled(failures, within)));
                self.disabled = Some(Disabled {
                    why,
                    until: self.rules.probation.map(|pause| now + pause),
                    pause: self.rules.probation.unwrap_or_default(),
                    trying: false,
                });
            }
            // Without a bound on failures their list still has one.
            _ => {
                self.failures.truncate(FAILURES_KEPT_MAX);
                effects.push(Effect::Tell(Note::Again(pause)));
            }
        }
    }

    pub(super) fn thaw(&mut self, effects: &mut Vec<Effect>) {
        if !std::mem::take(&mut self.frozen) {
            return;
        }
        let frozen = self.current.iter().flat_map(|it| &it.workers);
        effects.extend(frozen.map(|worker| Effect::Thaw(worker.id)));
    }

    fn probation(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let ready = (self.current.as_ref()).is_some_and(|it| it.ready().next().is_some());
        let Some(disabled) = &mut self.disabled else {
            return;
        };
        if disabled.trying {
            if ready {
                self.disabled = None;
                self.failures.clear();
                effects.push(Effect::Tell(Note::Recovered));
            }
        } else if disabled.until.is_some_and(|until| now >= until)
            && self.intent == Intent::Run
            && !self.offline
        {
            disabled.trying = true;
            self.awake = true;
            self.retry_at = None;
            effects.push(Effect::Tell(Note::Tries));
        }
    }

    /// Workers that are not ready in time.
    fn start_deadlines(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let timeout = self.rules.startup_timeout;
        let mut late = Vec::new();
        for worker in self.generations_mut().flat_map(|it| &mut it.workers) {
            if let Phase::Starting { until } = worker.phase
                && now >= until
            {
                worker.phase = Phase::Killed;
                late.push(worker.id);
            }
        }
        for id in late {
            let timeout = humantime::format_duration(timeout);
            let number = id.number;
            let why = format!("worker {number} was not ready within startup_timeout ({timeout})");
            effects.push(Effect::Kill(id));
            self.failed(id, why.clone(), now, effects);
            let serves = (self.current.as_ref()).is_some_and(|it| it.ready().next().is_some());
            if !serves && self.traffic == Traffic::Hold {
                effects.push(Effect::LetGo(why));
            }
        }
    }

    fn idle(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.idle_at().is_none_or(|at| now < at) {
            return;
        }
        let after = self.rules.idle_timeout.unwrap_or_default();
        let suspends = self.rules.suspends;
        effects.push(Effect::Tell(Note::Idle(after, suspends)));
        if suspends {
            self.frozen = true;
        } else {
            self.awake = false;
        }
    }

    /// Begins what is to follow, if something is.
    fn recycle(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(why) = self.due.take() else {
            return;
        };
        let Some(current) = &self.current else {
            // Whatever is started now is new.
            return;
        };
        if self.frozen {
            // Nobody wants anything of it: it ends, and the next request starts another.
            self.thaw(effects);
            self.awake = self.rules.always;
            self.leaving.extend(self.current.take());
            return;
        }
        if self.leaving.len() >= LEAVING_MAX {
            self.due = Some(why);
            return;
        }
        if current.ready().next().is_none() {
            // Nothing is served yet that could go on being served meanwhile.
            if why == Why::Configuration || why == Why::Command {
                self.leaving.extend(self.current.take());
                self.leaving.extend(self.next.take());
                self.retry_at = None;
            }
            return;
        }
        if self.next.is_some() && why != Why::Configuration {
            // It is about to be done.
            return;
        }
        self.leaving.extend(self.next.take());
        let mut next = self.begin(why.clone());
        effects.push(Effect::Tell(Note::Recycles(next.number, why)));
        for _ in 0..self.wanted_workers() {
            self.launch(&mut next, now, effects);
        }
        self.next = Some(next);
    }

    /// The next generation takes over once all of it is ready, or when there is nobody to take over from.
    fn follow(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(next) = &self.next else {
            return;
        };
        let complete = next.workers.iter().all(Worker::is_ready);
        let alone = (self.current.as_ref()).is_none_or(|it| it.ready().next().is_none());
        if !complete && !alone {
            return;
        }
        let mut next = self.next.take();
        if let Some(next) = &mut next
            && complete
        {
            next.serving_since = Some(now);
            effects.push(Effect::Tell(Note::Serves(next.number)));
        }
        self.leaving
            .extend(std::mem::replace(&mut self.current, next));
        self.recycle_after = None;
    }

    /// Starts what workers there are too few.
    fn fill(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.lacks_workers() && self.retry_at.is_none_or(|at| now >= at) {
            let wanted = self.wanted_workers();
            let mut current = match self.current.take() {
                Some(current) => current,
                None => {
                    let why = match self.rules.always {
                        true => Why::Always,
                        false => Why::Demand,
                    };
                    let begun = self.begin(why);
                    effects.push(Effect::Tell(Note::Begins(begun.number, begun.why.clone())));
                    self.awake = true;
                    begun
                }
            };
            for _ in current.len_but_ending()..wanted {
                self.launch(&mut current, now, effects);
            }
            self.current = Some(current);
        }
        if let Some(current) = &mut self.current
            && current.serving_since.is_none()
            && current.ready().next().is_some()
        {
            current.serving_since = Some(now);
            self.used = self.used.max(now);
            effects.push(Effect::Tell(Note::Serves(current.number)));
        }
    }

    fn begin(&mut self, why: Why) -> Generation {
        self.generations += 1;
        Generation {
            number: self.generations,
            why,
            workers: Vec::new(),
            serving_since: None,
        }
    }

    fn launch(&mut self, into: &mut Generation, now: Instant, effects: &mut Vec<Effect>) {
        self.workers += 1;
        let id = WorkerId {
            generation: into.number,
            number: self.workers,
        };
        into.workers.push(Worker {
            id,
            phase: Phase::Starting {
                until: now + self.rules.startup_timeout,
            },
            requests: 0,
        });
        effects.push(Effect::Launch(id));
    }

    /// Says where new requests go, where that has changed; before anything is done to those that they went to.
    fn direct(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let traffic = match (self.intent, &self.disabled) {
            (Intent::Stop | Intent::End, _) => Traffic::Stopped,
            (Intent::Run, _) if self.offline => Traffic::Offline,
            (Intent::Run, Some(disabled)) => Traffic::Disabled(disabled.why.clone()),
            (Intent::Run, None) => {
                let ready = self.current.iter().flat_map(Generation::ready);
                let ready: Vec<WorkerId> = ready.filter(|_| !self.frozen).collect();
                match ready.is_empty() {
                    true => Traffic::Hold,
                    false => Traffic::To(ready),
                }
            }
        };
        if traffic == self.traffic {
            return;
        }
        let froze = self.frozen && matches!(self.traffic, Traffic::To(_));
        self.traffic = traffic;
        // Before what was decided so far is done to workers, as whoever is killed must have lost its requests first; but whoever
        // stood still must go on before it gets any.
        let thawed = effects.iter().rposition(|it| matches!(it, Effect::Thaw(_)));
        let at = thawed.map_or(0, |at| at + 1);
        effects.insert(at, Effect::Traffic(self.traffic.clone()));
        if froze {
            let still = self.current.iter().flat_map(Generation::ready);
            effects.extend(still.map(Effect::Freeze));
        }
        self.used = self.used.max(now);
    }

    /// Whoever no longer takes requests ends when the last is done; whoever had none yet, at once.
    fn end_leaving(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let shutdown = self.rules.shutdown_timeout;
        let ends = self.intent == Intent::End;
        for worker in self.leaving.iter_mut().flat_map(|it| &mut it.workers) {
            let at_once = match worker.phase {
                Phase::Starting { .. } => true,
                Phase::Ready { .. } => ends,
                // The server's own drain is over.
                Phase::Draining { .. } if ends => true,
                Phase::Terminating { kill_at } if ends => {
                    let kill_at = kill_at.min(now + shutdown.min(TERMINATE_GRACE));
                    worker.phase = Phase::Terminating { kill_at };
                    continue;
                }
                _ => continue,
            };
            if at_once {
                let kill_at = now + shutdown.min(TERMINATE_GRACE);
                worker.phase = Phase::Terminating { kill_at };
                effects.push(Effect::Terminate(worker.id));
            } else {
                let until = now + shutdown;
                worker.phase = Phase::Draining { until };
                effects.push(Effect::Drain(worker.id));
            }
        }
    }

    /// Whoever does not end in time.
    fn end_deadlines(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for worker in self.generations_mut().flat_map(|it| &mut it.workers) {
            match worker.phase {
                Phase::Draining { until } if now >= until => {
                    let kill_at = now + TERMINATE_GRACE;
                    worker.phase = Phase::Terminating { kill_at };
                    effects.push(Effect::Tell(Note::Cut(worker.id)));
                    effects.push(Effect::Terminate(worker.id));
                }
                Phase::Terminating { kill_at } if now >= kill_at => {
                    worker.phase = Phase::Killed;
                    effects.push(Effect::Tell(Note::Killed(worker.id)));
                    effects.push(Effect::Kill(worker.id));
                }
                _ => {}
            }
        }
    }
}

/// How long is waited before a worker is started again: little at first, since most failures are accidents.
fn pause(failures_in_row: u32) -> Duration {
    let doubled = 1 << failures_in_row.saturating_sub(1).min(16);
    (PAUSE_MIN * doubled).min(PAUSE_MAX)
}

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// After recycling failed: what called for it (requests, memory, time) still does.
const RECYCLE_PAUSE: Duration = Duration::from_secs(60);

/// The longest that a disabled pool waits before it tries again.
const PROBATION_PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Generations that may come to their end at once: each costs as much memory as the one that serves.
const LEAVING_MAX: usize = 2;

/// Failures that are remembered where no number of them disables the pool.
const FAILURES_KEPT_MAX: usize = 64;
