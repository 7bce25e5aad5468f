//! What came of exchanges with an upstream, in numbers.

use http::StatusCode;

use crate::model::{Count, Took};
use crate::report::metrics::{Durations, Sum};

/// What came of a thread's exchanges with one upstream. Written by that thread alone, and read by all.
#[derive(Default)]
pub(super) struct Tally {
    answers: Count,
    errors: Count,
    failures: Count,
    /// Until the heads of responses.
    took: Durations,
}

/// What came of all threads' exchanges with one upstream.
#[derive(Default)]
pub(super) struct Tallied {
    pub(super) answers: u64,
    pub(super) errors: u64,
    pub(super) failures: u64,
    pub(super) took: Sum,
}

impl Tally {
    /// It has answered.
    pub(super) fn answered(&self, status: StatusCode, took: Took) {
        self.answers.add(1);
        if status.is_server_error() {
            self.errors.add(1);
        }
        if let Some(response) = took.response {
            self.took.add(response);
        }
    }

    /// An exchange ended without a response.
    pub(super) fn failed(&self) {
        self.failures.add(1);
    }

    /// How many responses it gave, and how many of those are 5xx.
    pub(super) fn answers(&self) -> (u64, u64) {
        (self.answers.get(), self.errors.get())
    }

    pub(super) fn add_to(&self, all: &mut Tallied) {
        all.answers += self.answers.get();
        all.errors += self.errors.get();
        all.failures += self.failures.get();
        self.took.add_to(&mut all.took);
    }
}
