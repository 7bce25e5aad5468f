//! Which requests are recorded. Pure.

use std::time::Duration;

use crate::config;
use crate::model::{Blame, Reason, SpanContext, TraceParent};

/// Which requests are recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// A trace that begins here is recorded if the last 56 bits of its id are no less: OpenTelemetry's consistent probability sampling,
    /// by which others who see the same id decide alike.
    threshold: u64,
    /// Whether anybody is believed of which trace a request belongs to.
    pub trusts_anybody: bool,
    keep_errors: bool,
    keep_slower_than: Option<Duration>,
}

/// Chance for one request: an id of a trace, and one of a span.
pub type Chance = [u8; 24];

/// How a request ended, as far as it matters to whether it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// The response's status; none where the client saw no response.
    pub status: Option<u16>,
    /// Why it was refused, or why its response broke off.
    pub reason: Option<Reason>,
    /// From its beginning to its end.
    pub duration: Duration,
}

impl Sampling {
    /// As configured.
    pub fn new(settings: &config::Traces) -> Self {
        // Both ends are exact: no id is less than 0, and none is as large as what 56 bits do not hold.
        let threshold = (1.0 - settings.sample) * ALL as f64;
        Self {
            threshold: threshold as u64,
            trusts_anybody: settings.trust_parent,
            keep_errors: settings.keep_errors,
            keep_slower_than: settings.keep_slower_than,
        }
    }

    /// The span of a request that begins. `said`: what it says of its trace; `believed`: whether it comes from a hop that is trusted.
    ///
    /// Whoever is believed has decided already. All others begin a trace of ours, with an id of ours: with one of theirs they could
    /// choose one that is recorded, or write into somebody else's trace. What they said is kept as a link.
    pub fn begin(&self, said: Option<&TraceParent>, believed: bool, chance: Chance) -> SpanContext {
        let (trace, id) = ids(chance);
        if let Some(said) = said.filter(|_| believed) {
            return SpanContext {
                trace: said.trace(),
                id,
                parent: Some(said.parent()),
                link: None,
                sampled: said.is_sampled(),
                state: None,
            };
        }
        SpanContext {
            trace,
            id,
            parent: None,
            link: said.map(|said| (said.trace(), said.parent())),
            sampled: self.takes(trace),
            state: None,
        }
    }

    /// Whether a trace that begins here is recorded.
    fn takes(&self, trace: u128) -> bool {
        (trace as u64 & (ALL - 1)) >= self.threshold
    }

    /// Whether any trace that begins here is recorded.
    pub fn may_take(&self) -> bool {
        self.threshold < ALL
    }

    /// Whether a request may be kept at its end that was not to be recorded.
    pub fn may_keep(&self) -> bool {
        self.keep_errors || self.keep_slower_than.is_some()
    }

    /// Whether a request is kept for how it ended.
    ///
    /// What was refused for its client's own doing is not: whoever scans a server would have all of it recorded.
    pub fn keeps(&self, ended: &Ended) -> bool {
        let slow = self
            .keep_slower_than
            .is_some_and(|than| ended.duration > than);
        slow || (self.keep_errors && ended.failed())
    }
}

impl Ended {
    /// Whether something failed that is not the client's doing: those of its doing are told by status too (501).
    pub fn failed(&self) -> bool {
        match self.reason {
            Some(reason) => reason.blame() != Blame::Client,
            None => self.status.is_some_and(|status| status >= 500),
        }
    }
}

/// All zeros are no id (W3C Trace Context, sections 3.2.2.3 and 3.2.2.4).
fn ids(chance: Chance) -> (u128, u64) {
    let mut trace = [0; 16];
    let mut span = [0; 8];
    trace.copy_from_slice(&chance[..16]);
    span.copy_from_slice(&chance[16..]);
    (
        u128::from_be_bytes(trace).max(1),
        u64::from_be_bytes(span).max(1),
    )
}

/// How many there are of what decides: 56 bits, those that W3C Trace Context (level 2) has be random.
const ALL: u64 = 1 << 56;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::settings;
    use super::*;
    use crate::model::{Blame, Reason};

    fn sampling(sample: f64) -> Sampling {
        Sampling::new(&settings(sample))
    }

    fn ended(status: u16, reason: Option<Reason>, millis: u64) -> Ended {
        Ended {
            status: Some(status),
            reason,
            duration: Duration::from_millis(millis),
        }
    }

    fn said(sampled: bool) -> TraceParent {
        TraceParent::of(7, 8, sampled, false)
    }

    proptest! {
        #[test]
        fn all_or_none_is_exact(chance in proptest::array::uniform24(any::<u8>())) {
            prop_assert!(sampling(1.0).begin(None, false, chance).sampled);
            prop_assert!(!sampling(0.0).begin(None, false, chance).sampled);
        }

        #[test]
        fn what_a_small_share_takes_a_larger_one_takes_too(
            chance in proptest::array::uniform24(any::<u8>()),
            shares in proptest::array::uniform2(0.0..=1.0_f64),
        ) {
            let small = sampling(shares[0].min(shares[1])).begin(None, false, chance);
            let large = sampling(shares[0].max(shares[1])).begin(None, false, chance);
            prop_assert!(large.sampled || !small.sampled);
        }

        #[test]
        fn a_stranger_decides_nothing(
            chance in proptest::array::uniform24(any::<u8>()),
            trace in 1..u128::MAX,
            parent in 1..u64::MAX,
            sampled: bool,
        ) {
            let said = TraceParent::of(trace, parent, sampled, false);
            let sampling = sampling(0.5);
            let alone = sampling.begin(None, false, chance);
            let begun = sampling.begin(Some(&said), false, chance);
            prop_assert_eq!(begun.link, Some((trace, parent)));
            prop_assert_eq!(SpanContext { link: None, ..begun }, alone);
        }

        #[test]
        fn whoever_is_believed_has_decided(
            chance in proptest::array::uniform24(any::<u8>()),
            share in 0.0..=1.0_f64,
            sampled: bool,
        ) {
            let begun = sampling(share).begin(Some(&said(sampled)), true, chance);
            prop_assert_eq!((begun.trace, begun.parent, begun.sampled), (7, Some(8), sampled));
            prop_assert_eq!(begun.link, None);
        }
    }

    #[test]
    fn a_share_is_that_share_of_chance() {
        let sampling = sampling(0.25);
        let mut taken = 0;
        for number in 0..1000_u64 {
            let mut chance = [0; 24];
            // Spread evenly over what decides.
            let even = number * (ALL / 1000) + ALL / 2000;
            chance[8..16].copy_from_slice(&even.to_be_bytes());
            taken += u32::from(sampling.begin(None, false, chance).sampled);
        }
        assert_eq!(taken, 250);
    }

    #[test]
    fn what_failed_is_kept_and_what_a_client_did_wrong_is_not() {
        let sampling = sampling(0.0);
        assert!(sampling.keeps(&ended(503, Some(Reason::QueueFull), 1)));
        assert!(sampling.keeps(&ended(500, None, 1)));
        assert!(!sampling.keeps(&ended(200, None, 1)));
        assert!(!sampling.keeps(&ended(404, None, 1)));
        for reason in Reason::ALL {
            let kept = sampling.keeps(&ended(500, Some(*reason), 1));
            assert_eq!(kept, reason.blame() != Blame::Client, "{}", reason.as_str());
        }
    }

    #[test]
    fn what_took_longer_is_kept() {
        let sampling = sampling(0.0);
        assert!(!sampling.keeps(&ended(200, None, 1000)));
        assert!(sampling.keeps(&ended(200, None, 1001)));
        let never = Sampling::new(&config::Traces {
            keep_slower_than: None,
            keep_errors: false,
            ..settings(0.0)
        });
        assert!(!never.may_keep());
        assert!(!never.keeps(&ended(503, None, 1_000_000)));
    }
}
