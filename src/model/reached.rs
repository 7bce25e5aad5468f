//! Whom a handler has sent a request on to, and how long that took: for the request's lines in the logs.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Where a handler leaves word of it, for whoever tells of the request however that ends.
///
/// It lies within the request's facts: a handler that sends nothing on pays for a few words that are zero.
#[derive(Debug, Default)]
pub struct Reached {
    /// Its number, and one more; 0: nobody.
    upstream: AtomicU32,
    attempts: AtomicU32,
    /// In nanoseconds, as is `response`; 0: there is none.
    connect: AtomicU64,
    response: AtomicU64,
}

/// How long the parts of an attempt took, as far as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// Until there was a connection: name, TCP and TLS. None where one was there, or none came about.
    pub connect: Option<Duration>,
    /// From the first byte of the request on that connection to the whole head of the response. None where there is none.
    pub response: Option<Duration>,
}

/// A request that was sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentOn {
    /// The number that its handler knows the upstream by: the one that answered, else the one that was tried last.
    pub upstream: u32,
    /// How often an upstream was tried, this time included.
    pub attempts: u32,
    /// Of the attempt with this upstream. Of one that was let go, nothing is known.
    pub took: Took,
}

impl Reached {
    /// The request is about to be sent to this upstream.
    pub fn begin(&self, upstream: u32) {
        let attempts = self.attempts.load(Relaxed);
        self.attempts.store(attempts.saturating_add(1), Relaxed);
        self.settle(upstream, Took::default());
    }

    /// The attempt with this upstream is the one that counts: it has answered, or none else will.
    pub fn settle(&self, upstream: u32, took: Took) {
        self.upstream.store(upstream.saturating_add(1), Relaxed);
        self.connect.store(nanos(took.connect), Relaxed);
        self.response.store(nanos(took.response), Relaxed);
    }

    /// Whom it was sent on to; none where that was nobody.
    pub fn sent_on(&self) -> Option<SentOn> {
        let upstream = self.upstream.load(Relaxed).checked_sub(1)?;
        let duration = |nanos| (nanos > 0).then(|| Duration::from_nanos(nanos));
        Some(SentOn {
            upstream,
            attempts: self.attempts.load(Relaxed),
            took: Took {
                connect: duration(self.connect.load(Relaxed)),
                response: duration(self.response.load(Relaxed)),
            },
        })
    }
}

/// One at least: what took no time that a clock could see was there all the same.
fn nanos(duration: Option<Duration>) -> u64 {
    // 584 years of them fit.
    duration.map_or(0, |duration| (duration.as_nanos() as u64).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attempt_that_counts_is_told_with_how_many_there_were() {
        let reached = Reached::default();
        assert_eq!(reached.sent_on(), None);
        reached.begin(0);
        let none = Took::default();
        let told = |upstream, attempts, took| {
            Some(SentOn {
                upstream,
                attempts,
                took,
            })
        };
        assert_eq!(reached.sent_on(), told(0, 1, none));
        let connected = Took {
            connect: Some(Duration::from_millis(3)),
            response: None,
        };
        reached.settle(0, connected);
        assert_eq!(reached.sent_on(), told(0, 1, connected));
        // What is known of one upstream is not said of the next.
        reached.begin(7);
        assert_eq!(reached.sent_on(), told(7, 2, none));
        // Two were asked side by side, and the first was faster.
        let answered = Took {
            connect: None,
            response: Some(Duration::from_micros(250)),
        };
        reached.settle(0, answered);
        assert_eq!(reached.sent_on(), told(0, 2, answered));
    }

    #[test]
    fn what_took_no_time_was_there_all_the_same() {
        let reached = Reached::default();
        reached.settle(
            0,
            Took {
                connect: None,
                response: Some(Duration::ZERO),
            },
        );
        let took = reached.sent_on().map(|sent| sent.took);
        assert!(took.is_some_and(|took| took.connect.is_none() && took.response.is_some()));
    }
}
