//! How often something may happen. Pure.

use std::time::Instant;

/// Lets some through at once, and then so many a second.
#[derive(Debug)]
pub struct Pace {
    burst: u32,
    a_second: f64,
    room: f64,
    seen: Option<Instant>,
}

impl Pace {
    /// `burst` at once, and `a_second` when these are used up.
    pub fn new(burst: u32, a_second: f64) -> Self {
        Self {
            burst,
            a_second,
            room: f64::from(burst),
            seen: None,
        }
    }

    /// Whether one more may go through.
    pub fn take(&mut self, now: Instant) -> bool {
        if let Some(seen) = self.seen {
            let waited = now.saturating_duration_since(seen).as_secs_f64();
            self.room = (self.room + waited * self.a_second).min(f64::from(self.burst));
        }
        self.seen = Some(now);
        let fits = self.room >= 1.0;
        if fits {
            self.room -= 1.0;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_more_go_through_than_the_burst_and_what_the_time_gives(waits in prop::collection::vec(0..3_000_u64, 1..200)) {
            let mut pace = Pace::new(5, 2.0);
            let began = Instant::now();
            let mut now = began;
            let mut through = 0_u32;
            for wait in waits {
                now += Duration::from_millis(wait);
                through += u32::from(pace.take(now));
                let most = 5.0 + now.duration_since(began).as_secs_f64() * 2.0;
                prop_assert!(f64::from(through) <= most + 1e-6);
            }
        }
    }

    #[test]
    fn a_pause_gives_the_whole_burst_again_and_no_more() {
        let mut pace = Pace::new(3, 1.0);
        let now = Instant::now();
        let through = |pace: &mut Pace, now| (0..10).filter(|_| pace.take(now)).count();
        assert_eq!(through(&mut pace, now), 3);
        assert_eq!(through(&mut pace, now + Duration::from_secs(1)), 1);
        assert_eq!(through(&mut pace, now + Duration::from_secs(3600)), 3);
    }
}
