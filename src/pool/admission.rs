//! The decisions of admission, without a clock, a thread or a wait: what an arrival, an end and a going-away make of the
//! counts.
//!
//! ```text
//!            arrive                     finish (slot handed on)
//!   ─────────┬──────────► running ◄───────────────┐
//!            │ no slot                            │
//!            ├──────────► waiting ────────────────┘
//!            │ no place      │ leave
//!            └─► refused     └─► gone
//! ```
//!
//! At rest a request waits only while every slot is taken, or while there are none to take ([`Limits::held`]). Transitions keep
//! that, except that limits may change: then [`State::grant`] is asked until it has nothing more to give.

/// How many requests run and wait in a pool. Both fit one word, so that they change together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Requests that hold a slot.
    pub running: u32,
    /// Requests in the queue.
    pub waiting: u32,
}

/// How many requests may run and wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests that may hold a slot at once.
    pub concurrency: u32,
    /// Requests that may wait at once.
    pub queue_length: u32,
}

/// What becomes of a request that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It has a slot.
    Admitted,
    /// It has a place at the end of the queue.
    Queued,
    /// Slots and queue are full.
    Refused,
}

/// What becomes of a slot whose work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It is free.
    Freed,
    /// It goes to the request that has waited longest.
    HandedOn,
}

impl State {
    /// A request arrives. It never overtakes one that waits.
    pub fn arrive(self, limits: Limits) -> (State, Arrival) {
        let State { running, waiting } = self;
        if waiting == 0 && running < limits.concurrency {
            let running = running + 1;
            (State { running, waiting }, Arrival::Admitted)
        } else if waiting < limits.queue_length {
            let waiting = waiting + 1;
            (State { running, waiting }, Arrival::Queued)
        } else {
            (self, Arrival::Refused)
        }
    }

    /// A request that waits goes away.
    pub fn leave(self) -> State {
        debug_assert!(self.waiting > 0, "only a request that waits can leave");
        State {
            waiting: self.waiting.saturating_sub(1),
            ..self
        }
    }

    /// A request's work is done. Its slot is not handed on while more run than the limit, lowered meanwhile, allows.
    pub fn finish(self, limits: Limits) -> (State, Finish) {
        debug_assert!(self.running > 0, "only a request that runs can finish");
        let freed = State {
            running: self.running.saturating_sub(1),
            ..self
        };
        match freed.grant(limits) {
            Some(handed_on) => (handed_on, Finish::HandedOn),
            None => (freed, Finish::Freed),
        }
    }

    /// Gives a free slot to the request that has waited longest, where there are both.
    pub fn grant(self, limits: Limits) -> Option<State> {
        (self.waiting > 0 && self.running < limits.concurrency).then(|| State {
            running: self.running + 1,
            waiting: self.waiting - 1,
        })
    }

    /// Both counts in one word.
    pub fn pack(self) -> u64 {
        pack(self.running, self.waiting)
    }

    /// The counts in a word.
    pub fn unpack(word: u64) -> Self {
        let (running, waiting) = unpack(word);
        Self { running, waiting }
    }
}

impl Limits {
    /// Limits as the configuration has them. Without a single slot nothing would ever end a wait, so there is one at least;
    /// more than a count can hold is as good as no limit.
    pub fn new(concurrency: usize, queue_length: usize) -> Self {
        Self {
            concurrency: u32::try_from(concurrency).unwrap_or(u32::MAX).max(1),
            queue_length: u32::try_from(queue_length).unwrap_or(u32::MAX),
        }
    }

    /// The same queue where nobody may run for now: all who come wait.
    pub fn held(self) -> Self {
        Self {
            concurrency: 0,
            ..self
        }
    }

    /// Both limits in one word.
    pub fn pack(self) -> u64 {
        pack(self.concurrency, self.queue_length)
    }

    /// The limits in a word.
    pub fn unpack(word: u64) -> Self {
        let (concurrency, queue_length) = unpack(word);
        Self {
            concurrency,
            queue_length,
        }
    }
}

fn pack(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn unpack(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

#[cfg(test)]
mod tests;
