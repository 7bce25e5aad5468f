//! How often a batch is sent, and how long it is waited in between. Pure.

use std::time::Duration;

use super::collector::{PartialSuccess, Said};
use crate::report::metrics::SpanLoss;

/// One batch on its way.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    tries: u32,
}

/// What is done with a batch next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is through.
    Done(PartialSuccess),
    /// It is sent again after a while.
    Again { after: Duration, why: String },
    /// It is dropped.
    Dropped { because: SpanLoss, why: String },
}

impl Delivery {
    /// `elapsed`: since it was sent first; `chance`: any number.
    pub(super) fn next(&mut self, said: Said, elapsed: Duration, chance: u32) -> Next {
        match said {
            Said::Taken(partial) => Next::Done(partial),
            Said::Refused(why) => Next::Dropped {
                because: SpanLoss::Refused,
                why,
            },
            Said::Later { after, why } => {
                // A collector that says 0, or a date that is past by our clock, is not asked without end.
                let pause = self.pause(chance);
                let after = after.map_or(pause, |after| after.max(pause));
                self.tries = self.tries.saturating_add(1);
                // Tried once more at the end of the time, not given up just before it.
                if elapsed >= GIVE_UP_AFTER {
                    let because = SpanLoss::Unreachable;
                    return Next::Dropped { because, why };
                }
                Next::Again { after, why }
            }
        }
    }

    /// Longer each time; and not the same for all whose collector is back.
    fn pause(&self, chance: u32) -> Duration {
        let longest = PAUSE_MIN
            .saturating_mul(1 << self.tries.min(16))
            .min(PAUSE_MAX);
        longest / 2 + longest / 2 * (chance % 1000) / 1000
    }
}

/// How long a batch is tried. By then the queue is of more use to what came since.
pub(super) const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// The first pause: a connection that was closed a moment ago is opened anew.
const PAUSE_MIN: Duration = Duration::from_millis(500);

/// The longest: a collector that is back is found within this.
const PAUSE_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn later(after: Option<Duration>) -> Said {
        Said::Later {
            after,
            why: "down".into(),
        }
    }

    proptest! {
        #[test]
        fn a_collector_that_stays_down_is_tried_a_while_and_no_more(chances in proptest::collection::vec(any::<u32>(), 100)) {
            let mut delivery = Delivery::default();
            let mut elapsed = Duration::ZERO;
            let mut tries = 0;
            for chance in chances {
                tries += 1;
                match delivery.next(later(None), elapsed, chance) {
                    Next::Again { after, .. } => {
                        prop_assert!(after >= PAUSE_MIN / 2 && after <= PAUSE_MAX);
                        elapsed += after;
                    }
                    Next::Dropped { because, .. } => {
                        prop_assert_eq!(because, SpanLoss::Unreachable);
                        break;
                    }
                    Next::Done(_) => panic!("nothing was taken"),
                }
            }
            prop_assert!(elapsed >= GIVE_UP_AFTER && elapsed <= GIVE_UP_AFTER + PAUSE_MAX);
            prop_assert!((9..=25).contains(&tries), "{}", tries);
        }

        #[test]
        fn what_a_collector_says_of_when_to_come_back_is_kept_to(seconds in 0..60_u64, tries in 0..20) {
            let mut delivery = Delivery::default();
            let after = Duration::from_secs(seconds);
            for _ in 0..tries {
                let next = delivery.next(later(Some(after)), Duration::ZERO, 7);
                let Next::Again { after: said, .. } = next else {
                    panic!("it is to be tried again");
                };
                prop_assert!(said >= after && said >= PAUSE_MIN / 2, "{said:?}");
                prop_assert!(said <= after.max(PAUSE_MAX), "{said:?}");
            }
        }
    }

    #[test]
    fn what_is_refused_is_not_sent_again() {
        let next = Delivery::default().next(Said::Refused("400".into()), Duration::ZERO, 0);
        let because = SpanLoss::Refused;
        let why = "400".into();
        assert_eq!(next, Next::Dropped { because, why });
    }
}
