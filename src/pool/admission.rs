//! Who may run, who waits, who is refused: the decisions, pure.

/// How many requests a pool has.
///
/// Packed into one word, so that an arrival and an ending can never miss each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Requests that hold a slot.
    pub(super) running: u32,
    /// Requests in the queue.
    pub(super) waiting: u32,
}

/// How many it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) concurrency: u32,
    pub(super) queue_length: u32,
}

/// What becomes of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Run,
    Wait,
    Refuse,
}

/// What becomes of a slot whose request has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// It is free.
    Freed,
    /// The request that has waited longest gets it.
    HandedOver,
}

impl State {
    pub(super) fn unpack(word: u64) -> Self {
        Self {
            running: (word >> 32) as u32,
            waiting: word as u32,
        }
    }

    pub(super) fn pack(self) -> u64 {
        u64::from(self.running) << 32 | u64::from(self.waiting)
    }

    /// A request arrives. It runs only if nobody waits: first come, first served.
    pub(super) fn arrive(self, limits: Limits) -> (Self, Arrival) {
        if self.running < limits.concurrency && self.waiting == 0 {
            (
                Self {
                    running: self.running + 1,
                    ..self
                },
                Arrival::Run,
            )
        } else if self.waiting < limits.queue_length {
            (
                Self {
                    waiting: self.waiting + 1,
                    ..self
                },
                Arrival::Wait,
            )
        } else {
            (self, Arrival::Refuse)
        }
    }

    /// A waiting request leaves the queue without having run.
    pub(super) fn leave(self) -> Self {
        debug_assert!(self.waiting > 0, "somebody left an empty queue");
        Self {
            waiting: self.waiting - 1,
            ..self
        }
    }

    /// A running request ends.
    pub(super) fn finish(self, limits: Limits) -> (Self, Slot) {
        debug_assert!(self.running > 0, "a request ended that did not run");
        if self.waiting > 0 && self.running <= limits.concurrency {
            (
                Self {
                    waiting: self.waiting - 1,
                    ..self
                },
                Slot::HandedOver,
            )
        } else {
            (
                Self {
                    running: self.running - 1,
                    ..self
                },
                Slot::Freed,
            )
        }
    }

    /// Gives a free slot to a waiting request, if there are both: after the limits were raised.
    pub(super) fn promote(self, limits: Limits) -> Option<Self> {
        (self.waiting > 0 && self.running < limits.concurrency).then(|| Self {
            running: self.running + 1,
            waiting: self.waiting - 1,
        })
    }
}

#[cfg(test)]
mod tests;
